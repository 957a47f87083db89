/* SPDX-License-Identifier: Apache-2.0
 * numcodecs' filters of elements, as metadata describes them.
 */
#include "vol/array.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* "<i4"; numbers of 16 bits with a point are not filtered. */
static int parse_element(const struct vx_json *j, struct vx_element *ret, struct vx_err *e)
{
	const char *s;
	int r = vx_json_string(j, &s, e);

	if (r < 0)
		return r;
	if (strlen(s) == 3 && strchr("<>|", s[0]) && strchr("iuf", s[1]) && strchr("1248", s[2])) {
		*ret = (struct vx_element){.kind = s[1], .width = (uint32_t)(s[2] - '0'), .big_endian = s[0] == '>'};
		if ((s[0] != '|' || ret->width == 1) && (s[1] != 'f' || ret->width >= 4))
			return 0;
	}
	return vx_fail(e, -EOPNOTSUPP, "%s %s is not supported", j->path, vx_quote(s).text);
}

/* The member, or what stands in for it. */
static int element(const struct vx_json *config, const char *name, const struct vx_element *absent,
		   struct vx_element *ret, struct vx_err *e)
{
	struct vx_json j;

	if (vx_json_find(config, name, &j) && !json_is_null(j.value))
		return parse_element(&j, ret, e);
	if (!absent)
		return vx_json_get(config, name, &j, e);
	*ret = *absent;
	return 0;
}

/* What the next filter is given. */
static struct vx_element current(const struct vx_array *a)
{
	struct vx_element t = {.kind = 'u', .width = vx_dtype_width(a->dtype), .big_endian = a->big_endian};

	return a->nfilters ? a->filters[a->nfilters - 1].stored : t;
}

static int parse_scale(const struct vx_json *config, struct vx_filter *f, struct vx_err *e)
{
	struct vx_json scale, offset;
	int r = vx_json_get(config, "scale", &scale, e);

	if (r < 0 || (r = vx_json_real(&scale, &f->scale, e)) < 0 ||
	    (r = vx_json_get(config, "offset", &offset, e)) < 0)
		return r;
	if (!(fabs(f->scale) > 0))
		return vx_fail(e, -EBADMSG, "%s is 0", scale.path);
	return vx_json_real(&offset, &f->offset, e);
}

static int parse_shuffle(const struct vx_json *config, struct vx_filter *f, struct vx_err *e)
{
	struct vx_json j;
	int64_t step = 4;
	int r = vx_json_find(config, "elementsize", &j) ? vx_json_int(&j, 1, 65536, &step, e) : 0;

	f->step = (uint32_t)step;
	return r;
}

static int parse_filter(const struct vx_json *config, const char *id, const struct vx_element *given,
			struct vx_filter *f, struct vx_err *e)
{
	int r = 0;

	if (!strcmp(id, "shuffle")) {
		f->kind = VX_FILTER_SHUFFLE;
		f->plain = f->stored = *given;
		return parse_shuffle(config, f, e);
	}
	if (!strcmp(id, "astype")) {
		f->kind = VX_FILTER_CAST;
		r = element(config, "decode_dtype", NULL, &f->plain, e);
		return r < 0 ? r : element(config, "encode_dtype", NULL, &f->stored, e);
	}
	f->kind = !strcmp(id, "delta") ? VX_FILTER_DELTA : !strcmp(id, "quantize") ? VX_FILTER_CAST : VX_FILTER_SCALE;
	r = element(config, "dtype", NULL, &f->plain, e);
	if (r == 0)
		r = element(config, "astype", &f->plain, &f->stored, e);
	if (r == 0 && f->kind == VX_FILTER_SCALE)
		r = parse_scale(config, f, e);
	return r;
}

int vx_array_filter(const struct vx_json *config, const char *id, struct vx_array *a, struct vx_err *e)
{
	static const char *const known[] = {"delta", "fixedscaleoffset", "astype", "quantize", "shuffle", "bitround"};
	struct vx_element given = current(a);
	struct vx_filter f = {0};
	bool found = false;
	int r;

	for (unsigned i = 0; i < VX_ARRAY_LEN(known); i++)
		found |= !strcmp(id, known[i]);
	if (!found)
		return 0;
	vx_array_note(a, id);
	if (!strcmp(id, "bitround"))
		return 1; /* what was lost is lost */
	if (a->nlinks || a->nfilters == VX_FILTERS_MAX)
		return vx_fail(e, -EOPNOTSUPP, "%s: the filter %s is not supported in this place", config->path, id);
	r = parse_filter(config, id, &given, &f, e);
	if (r < 0)
		return r;
	if (f.plain.width != given.width)
		return vx_fail(e, -EOPNOTSUPP, "%s: the filter %s takes elements of %u bytes and is given %u",
			       config->path, id, f.plain.width, given.width);
	a->filters[a->nfilters++] = f;
	return 1;
}
