/* SPDX-License-Identifier: Apache-2.0
 * `attributes.json` of one N5 dataset. N5 lists axes the fastest first; they are turned here.
 */
#include "base/limits.h"
#include "vol/array.h"

#include <stdio.h>
#include <string.h>

static void turn(uint64_t *x, unsigned n)
{
	for (unsigned i = 0; i < n / 2; i++) {
		uint64_t y = x[i];

		x[i] = x[n - 1 - i];
		x[n - 1 - i] = y;
	}
}

static int check_version(const struct vx_json *top, struct vx_err *e)
{
	struct vx_json j;
	const char *s;
	int r;

	if (!vx_json_find(top, "n5", &j))
		return 0;
	if ((r = vx_json_string(&j, &s, e)) < 0)
		return r;
	if (strtoul(s, NULL, 10) > 4)
		return vx_fail(e, -EOPNOTSUPP, "version %s of N5 is not supported", vx_quote(s).text);
	return 0;
}

static int parse_type(const struct vx_json *top, struct vx_array *a, struct vx_err *e)
{
	struct vx_json j;
	const char *s;
	int r = vx_json_get(top, "dataType", &j, e);

	if (r < 0 || (r = vx_json_string(&j, &s, e)) < 0)
		return r;
	if (!vx_dtype_find(s, &a->dtype) || a->dtype == VX_F16 || a->dtype == VX_BOOL)
		return vx_fail(e, -EOPNOTSUPP, "%s %s is not supported", j.path, vx_quote(s).text);
	a->big_endian = true;
	if (vx_json_find(top, "isLabelMultiset", &j) && json_is_true(j.value))
		return vx_fail(e, -EOPNOTSUPP, "label multisets are not supported");
	return 0;
}

static int parse_compression(const struct vx_json *top, struct vx_array *a, struct vx_err *e)
{
	static const struct {
		const char *type;
		enum vx_link_kind kind;
	} known[] = {{"gzip", VX_LINK_GZIP},    {"bzip2", VX_LINK_BZIP2}, {"xz", VX_LINK_XZ},
		     {"lz4", VX_LINK_LZ4_JAVA}, {"zstd", VX_LINK_ZSTD},   {"blosc", VX_LINK_BLOSC}};
	struct vx_json j, type, zlib;
	const char *s;
	int r;

	if (vx_json_find(top, "compression", &j)) {
		if ((r = vx_json_object(&j, e)) < 0 || (r = vx_json_get(&j, "type", &type, e)) < 0)
			return r;
	} else if (!vx_json_find(top, "compressionType", &type)) { /* as version 0 had it */
		if (vx_json_find(top, "codecs", &j))
			return vx_fail(e, -EOPNOTSUPP, "%s in the place of \"compression\" are not supported", j.path);
		return vx_json_get(top, "compression", &j, e);
	}
	if ((r = vx_json_string(&type, &s, e)) < 0)
		return r;
	if (!strcmp(s, "raw"))
		return 0;
	for (unsigned i = 0; i < VX_ARRAY_LEN(known); i++) {
		if (strcmp(s, known[i].type))
			continue;
		a->links[0] = known[i].kind;
		a->nlinks = 1;
		vx_array_note(a, s);
		if (a->links[0] == VX_LINK_GZIP && vx_json_find(&j, "useZlib", &zlib) && json_is_true(zlib.value))
			a->links[0] = VX_LINK_ZLIB;
		return 0;
	}
	return vx_fail(e, -EOPNOTSUPP, "%s %s is not supported", type.path, vx_quote(s).text);
}

/* Some writers name the axes of a dataset, in its own order. */
static void parse_names(const struct vx_json *top, struct vx_array *a)
{
	struct vx_json j;

	if (!vx_json_find(top, "axes", &j) || json_array_size(j.value) != a->rank)
		return;
	for (unsigned i = 0; i < a->rank; i++) {
		const char *s = json_string_value(json_array_get(j.value, i));

		if (s)
			snprintf(a->name[a->rank - 1 - i], sizeof a->name[0], "%s", s);
	}
}

static int parse(const struct vx_json *top, struct vx_array *a, struct vx_err *e)
{
	struct vx_json j;
	int r = check_version(top, e);

	if (r < 0 || (r = vx_json_get(top, "dimensions", &j, e)) < 0 ||
	    (r = vx_array_lengths(&j, 0, &a->rank, a->shape, e)) < 0 ||
	    (r = vx_json_get(top, "blockSize", &j, e)) < 0 ||
	    (r = vx_array_lengths(&j, 1, &a->rank, a->inner, e)) < 0 || (r = parse_type(top, a, e)) < 0 ||
	    (r = parse_compression(top, a, e)) < 0)
		return r;
	parse_names(top, a);
	turn(a->shape, a->rank);
	turn(a->inner, a->rank);
	memcpy(a->object, a->inner, sizeof a->object);
	for (unsigned k = 0; k < a->rank; k++)
		a->order[k] = k;
	vx_array_settle(a);
	a->n5_header = true;
	a->separator = '/';
	a->key_fast_first = true;
	return 0;
}

bool vx_n5_is_same_form(const struct vx_array *a, const struct vx_array *b)
{
	return a->dtype == b->dtype && a->rank == b->rank && !memcmp(a->shape, b->shape, sizeof a->shape) &&
	       !memcmp(a->chunk, b->chunk, sizeof a->chunk) && a->nlinks == b->nlinks &&
	       !memcmp(a->links, b->links, sizeof a->links);
}

int vx_n5_parse(const char *text, size_t len, struct vx_array *ret, struct vx_err *e)
{
	VX_AUTO_JSON struct vx_json top = {0};
	int r = vx_json_parse_loose("attributes.json", text, len, VX_MAX_METADATA_BYTES, &top, e);

	memset(ret, 0, sizeof *ret);
	ret->format = &vx_format_n5;
	return r < 0 ? r : parse(&top, ret, e);
}
