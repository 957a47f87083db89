/* SPDX-License-Identifier: Apache-2.0
 * `.zarray`, the metadata of one Zarr v2 array.
 */
#include "base/limits.h"
#include "vol/array.h"

#include <stdio.h>
#include <string.h>

static int parse_format(const struct vx_json *top, struct vx_err *e)
{
	struct vx_json j;
	int64_t n;
	int r = vx_json_get(top, "zarr_format", &j, e);

	if (r < 0 || (r = vx_json_int(&j, 0, 1000, &n, e)) < 0)
		return r;
	return n == 2 ? 0 : vx_fail(e, -EOPNOTSUPP, "%s is %lld; it must be 2 here", j.path, (long long)n);
}

/* "<u2": byte order, kind, bytes. */
static int parse_dtype(const struct vx_json *top, struct vx_array *a, struct vx_err *e)
{
	static const struct {
		const char *text;
		enum vx_dtype type;
	} known[] = {
	    {"b1", VX_BOOL}, {"i1", VX_I8},  {"u1", VX_U8},  {"i2", VX_I16}, {"u2", VX_U16}, {"i4", VX_I32},
	    {"u4", VX_U32},  {"i8", VX_I64}, {"u8", VX_U64}, {"f2", VX_F16}, {"f4", VX_F32}, {"f8", VX_F64},
	};
	struct vx_json j;
	const char *s;
	int r = vx_json_get(top, "dtype", &j, e);

	if (r < 0)
		return r;
	if (json_is_array(j.value))
		return vx_fail(e, -EOPNOTSUPP, "%s is structured, which is not supported", j.path);
	if ((r = vx_json_string(&j, &s, e)) < 0)
		return r;
	for (unsigned i = 0; s[0] && i < VX_ARRAY_LEN(known); i++) {
		if (strcmp(s + 1, known[i].text))
			continue;
		if (s[0] != '<' && s[0] != '>' && (s[0] != '|' || vx_dtype_width(known[i].type) > 1))
			break;
		a->dtype = known[i].type;
		a->big_endian = s[0] == '>';
		return 0;
	}
	return vx_fail(e, -EOPNOTSUPP, "%s %s is not supported", j.path, vx_quote(s).text);
}

static int parse_order(const struct vx_json *top, struct vx_array *a, struct vx_err *e)
{
	struct vx_json j;
	const char *s;
	int r = vx_json_get(top, "order", &j, e);

	if (r < 0 || (r = vx_json_string(&j, &s, e)) < 0)
		return r;
	if (strcmp(s, "C") && strcmp(s, "F"))
		return vx_fail(e, -EBADMSG, "%s is %s; it must be \"C\" or \"F\"", j.path, vx_quote(s).text);
	for (unsigned k = 0; k < a->rank; k++)
		a->order[k] = s[0] == 'C' ? k : a->rank - 1 - k;
	return 0;
}

static int parse_separator(const struct vx_json *top, struct vx_array *a, struct vx_err *e)
{
	struct vx_json j;

	if (!vx_json_find(top, "dimension_separator", &j) || json_is_null(j.value))
		return 0;
	return vx_array_separator(&j, a, e);
}

/* The id; old writers of Java spelt it "type". */
static int codec_id(const struct vx_json *codec, const char **ret, struct vx_err *e)
{
	struct vx_json j;
	int r = vx_json_object(codec, e);

	if (r < 0)
		return r;
	if (!vx_json_find(codec, "id", &j) && !vx_json_find(codec, "type", &j))
		return vx_json_get(codec, "id", &j, e);
	return vx_json_string(&j, ret, e);
}

static int parse_filters(const struct vx_json *top, struct vx_array *a, struct vx_err *e)
{
	struct vx_json j, item;
	const char *id;
	size_t n;
	int r;

	if (!vx_json_find(top, "filters", &j) || json_is_null(j.value))
		return 0;
	if ((r = vx_json_array(&j, 0, VX_CHAIN_LINKS_MAX - 1, &n, e)) < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		vx_json_at(&j, i, &item);
		if ((r = codec_id(&item, &id, e)) < 0 || (r = vx_array_filter(&item, id, a, e)) < 0)
			return r;
		if (r > 0)
			continue;
		if ((r = vx_array_numcodec(&item, id, &a->links[a->nlinks], e)) < 0)
			return r;
		a->nlinks++;
		vx_array_note(a, id);
	}
	return 0;
}

static int parse_compressor(const struct vx_json *top, struct vx_array *a, struct vx_err *e)
{
	struct vx_json j;
	const char *id;
	int r = vx_json_get(top, "compressor", &j, e);

	if (r < 0 || json_is_null(j.value))
		return r;
	if ((r = codec_id(&j, &id, e)) < 0 || !strcmp(id, "raw"))
		return r;
	if ((r = vx_array_numcodec(&j, id, &a->links[a->nlinks], e)) < 0)
		return r;
	a->nlinks++;
	vx_array_note(a, id);
	return 0;
}

static int parse(const struct vx_json *top, struct vx_array *a, struct vx_err *e)
{
	struct vx_json j;
	int r = parse_format(top, e);

	if (r < 0 || (r = vx_json_get(top, "shape", &j, e)) < 0 ||
	    (r = vx_array_lengths(&j, 0, &a->rank, a->shape, e)) < 0 || (r = vx_json_get(top, "chunks", &j, e)) < 0 ||
	    (r = vx_array_lengths(&j, 1, &a->rank, a->inner, e)) < 0 || (r = parse_dtype(top, a, e)) < 0 ||
	    (r = vx_json_get(top, "fill_value", &j, e)) < 0 || (r = vx_array_fill(&j, a, true, e)) < 0 ||
	    (r = parse_order(top, a, e)) < 0 || (r = parse_separator(top, a, e)) < 0 ||
	    (r = parse_filters(top, a, e)) < 0 || (r = parse_compressor(top, a, e)) < 0)
		return r;
	memcpy(a->object, a->inner, sizeof a->object);
	vx_links_turn(a->links, a->nlinks);
	vx_array_settle(a);
	return 0;
}

int vx_zarr2_parse(const char *text, size_t len, struct vx_array *ret, struct vx_err *e)
{
	VX_AUTO_JSON struct vx_json top = {0};
	int r = vx_json_parse_loose(".zarray", text, len, VX_MAX_METADATA_BYTES, &top, e);

	memset(ret, 0, sizeof *ret);
	ret->format = &vx_format_zarr2;
	return r < 0 ? r : parse(&top, ret, e);
}
