/* SPDX-License-Identifier: Apache-2.0
 * From an image to a volume: the first sound array says what the volume is, the others must agree with it.
 */
#include "vol/image.h"
#include "base/limits.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- paths ---- */

bool vx_path_is_sound(const char *path)
{
	size_t n;

	for (const char *p = path;; p += n + 1) {
		n = strcspn(p, "/");
		if (!n || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		for (size_t i = 0; i < n; i++)
			if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
				return false;
		if (!p[n])
			return p + n - path <= VX_MAX_NAME;
	}
}

char *vx_path_join(const char *dir, const char *name)
{
	char *ret;

	return asprintf(&ret, "%s%s%s", dir, dir[0] && name[0] ? "/" : "", name) < 0 ? NULL : ret;
}

int vx_paths_add(struct vx_paths *p, const char *path, const struct vx_json *j, struct vx_err *e)
{
	char **more;

	if (!vx_path_is_sound(path))
		return vx_fail(e, -EBADMSG, "%s %s is no path within the group", j->path, vx_quote(path).text);
	if (p->n == VX_MAX_VOLUMES)
		return vx_fail(e, -EFBIG, "%s: more than %d entries are not supported", j->path, VX_MAX_VOLUMES);
	more = realloc(p->at, (p->n + 1) * sizeof *p->at);
	if (!more)
		return vx_no_memory(e);
	p->at = more;
	p->at[p->n] = strdup(path);
	if (!p->at[p->n])
		return vx_no_memory(e);
	p->n++;
	return 0;
}

void vx_paths_free(struct vx_paths *p)
{
	for (unsigned i = 0; i < p->n; i++)
		free(p->at[i]);
	free(p->at);
	*p = (struct vx_paths){0};
}

/* ---- images ---- */

int vx_image_add(struct vx_image *im, const char *path, const struct vx_json *j, struct vx_err *e)
{
	struct vx_level *more;

	if (path[0] && !vx_path_is_sound(path))
		return vx_fail(e, -EBADMSG, "%s %s is no path within the group", j->path, vx_quote(path).text);
	if (im->nlevels == VX_MAX_SCALES)
		return vx_fail(e, -EFBIG, "%s: more than %d scales are not supported", j->path, VX_MAX_SCALES);
	more = realloc(im->level, (im->nlevels + 1) * sizeof *im->level);
	if (!more)
		return vx_no_memory(e);
	im->level = more;
	memset(&more[im->nlevels], 0, sizeof *more);
	more[im->nlevels].path = strdup(path);
	if (!more[im->nlevels].path)
		return vx_no_memory(e);
	im->nlevels++;
	return 0;
}

void vx_image_free(struct vx_image *im)
{
	for (unsigned i = 0; i < im->nlevels; i++)
		free(im->level[i].path);
	free(im->level);
	free(im->name);
	*im = (struct vx_image){0};
}

/* ---- units ---- */

double vx_unit_nm(const char *unit)
{
	static const struct {
		const char *name;
		double nm;
	} known[] = {{"nm", 1},
		     {"nanometer", 1},
		     {"nanometre", 1},
		     {"nanometers", 1},
		     {"um", 1e3},
		     {"\xc2\xb5m", 1e3},
		     {"\xce\xbcm", 1e3},
		     {"micrometer", 1e3},
		     {"micron", 1e3},
		     {"micrometre", 1e3},
		     {"micrometers", 1e3},
		     {"microns", 1e3},
		     {"mm", 1e6},
		     {"millimeter", 1e6},
		     {"millimetre", 1e6},
		     {"millimeters", 1e6},
		     {"cm", 1e7},
		     {"centimeter", 1e7},
		     {"centimetre", 1e7},
		     {"m", 1e9},
		     {"meter", 1e9},
		     {"metre", 1e9},
		     {"km", 1e12},
		     {"kilometer", 1e12},
		     {"pm", 1e-3},
		     {"picometer", 1e-3},
		     {"picometre", 1e-3},
		     {"angstrom", 0.1},
		     {"\xc3\x85", 0.1},
		     {"\xe2\x84\xab", 0.1},
		     {"\xc3\xa5ngstrom", 0.1}};

	for (unsigned i = 0; i < VX_ARRAY_LEN(known); i++)
		if (!strcmp(unit, known[i].name))
			return known[i].nm;
	return 0;
}

static bool is_space(const struct vx_axis *a)
{
	return a->role >= VX_ROLE_X && a->role <= VX_ROLE_Z;
}

/* Nanometres where every axis in space says its unit; else what they agree on. */
static void find_units(struct vx_volume *v, double nm[VX_AXES_MAX])
{
	const char *first = NULL;
	bool all = true, same = true;

	for (unsigned i = 0; i < v->naxes; i++) {
		const struct vx_axis *a = &v->axis[i];

		nm[i] = is_space(a) ? vx_unit_nm(a->unit) : 1;
		if (a->role == VX_ROLE_TIME)
			memcpy(v->time_unit, a->unit, sizeof v->time_unit);
		if (!is_space(a))
			continue;
		all &= nm[i] > 0;
		first = first ? first : a->unit;
		same &= !strcmp(first, a->unit);
	}
	if (first && all) {
		strcpy(v->voxel_unit, "nm");
		return;
	}
	for (unsigned i = 0; i < v->naxes; i++)
		nm[i] = 1;
	if (first && same)
		snprintf(v->voxel_unit, sizeof v->voxel_unit, "%s", first);
}

/* All three or none: an axis that the array does not have counts as 1. */
static void set_resolution(const struct vx_volume *v, const struct vx_level *l, const double *nm, struct vx_scale *s)
{
	double size[3] = {1, 1, 1};

	for (unsigned i = 0; i < v->naxes; i++) {
		if (!is_space(&v->axis[i]))
			continue;
		size[v->axis[i].role - VX_ROLE_X] = l->scale[i] * nm[i];
		if (!(l->scale[i] * nm[i] > 0) || !isfinite(l->scale[i] * nm[i]))
			return;
	}
	memcpy(s->resolution, size, sizeof size);
}

/* ---- the volume ---- */

/* What the volume is, from its first sound array. */
static int set_head(struct vx_volume *v, const struct vx_image *im, const struct vx_array *a, struct vx_err *e)
{
	enum vx_axis_kind kind[VX_ARRAY_RANK_MAX] = {VX_AXIS_ANY};
	uint64_t channels, times;
	int r;

	if (im->naxes && im->naxes != a->rank)
		return vx_fail(e, -EBADMSG, "%u axes are described and the array has %u", im->naxes, a->rank);
	v->naxes = a->rank;
	for (unsigned i = 0; i < a->rank; i++) {
		if (im->naxes)
			v->axis[i] = im->axis[i];
		if (im->naxes)
			kind[i] = im->kind[i];
		if (!v->axis[i].name[0])
			memcpy(v->axis[i].name, a->name[i], sizeof a->name[i]);
	}
	r = vx_axes_assign(v->axis, kind, a->shape, a->rank, e);
	if (r < 0)
		return r;
	channels = vx_array_extent(a, v->axis, VX_ROLE_CHANNEL);
	times = vx_array_extent(a, v->axis, VX_ROLE_TIME);
	if (channels > VX_MAX_CHANNELS)
		return vx_fail(e, -EFBIG, "%llu channels; at most %d are supported", (unsigned long long)channels,
			       VX_MAX_CHANNELS);
	if (times > VX_MAX_TIMES)
		return vx_fail(e, -EFBIG, "%llu time points; at most %d are supported", (unsigned long long)times,
			       VX_MAX_TIMES);
	v->format = a->format;
	v->dtype = a->dtype;
	v->channels = channels ? (uint32_t)channels : 1; /* an empty array: the scale will say so */
	v->times = times ? (uint32_t)times : 1;
	v->type = strdup(im->is_label ? "segmentation" : "image");
	return v->type ? 0 : vx_no_memory(e);
}

static int make_scale(struct vx_volume *v, unsigned i, const struct vx_image *im, const struct vx_array *a,
		      const char *prefix, const double *nm)
{
	struct vx_scale *s = &v->scales[i];
	VX_AUTO_FREE char *dir = vx_path_join(prefix, im->level[i].path);

	if (!dir)
		return vx_no_memory(&s->bad);
	set_resolution(v, &im->level[i], nm, s);
	if (vx_array_scale(a, dir, v, s, &s->bad) < 0 && dir[0])
		vx_fail_prefix(&s->bad, "%s", dir);
	return s->bad.code;
}

static int make_scales(struct vx_volume *v, const struct vx_image *im, const struct vx_array *array,
		       const struct vx_err *err, const char *prefix, struct vx_err *e)
{
	double nm[VX_AXES_MAX];
	bool good = false;

	find_units(v, nm);
	v->scales = calloc(im->nlevels, sizeof *v->scales);
	if (!v->scales)
		return vx_no_memory(e);
	v->nscales = im->nlevels;
	for (unsigned i = 0; i < im->nlevels; i++) {
		v->scales[i].bad = err[i];
		if (!err[i].code && make_scale(v, i, im, &array[i], prefix, nm) == -ENOMEM)
			return vx_no_memory(e);
		good |= !v->scales[i].bad.code;
	}
	if (!good)
		return vx_fail(e, v->scales[0].bad.code, "%s", v->scales[0].bad.why);
	return 0;
}

int vx_image_build(const struct vx_image *im, const struct vx_array *array, const struct vx_err *err,
		   const char *prefix, struct vx_volume **ret, struct vx_err *e)
{
	struct vx_volume *v;
	unsigned first = 0;
	int r;

	while (first < im->nlevels && err[first].code)
		first++;
	if (first == im->nlevels)
		return im->nlevels ? vx_fail(e, err[0].code, "%s", err[0].why)
				   : vx_fail(e, -EBADMSG, "the image has no scales");
	v = calloc(1, sizeof *v);
	if (!v)
		return vx_no_memory(e);
	r = set_head(v, im, &array[first], e);
	if (r == 0)
		r = make_scales(v, im, array, err, prefix, e);
	if (r < 0) {
		vx_volume_free(&v);
		return r;
	}
	for (unsigned i = 0; i < v->naxes; i++)
		if (v->axis[i].role == VX_ROLE_TIME && isfinite(im->level[first].scale[i]))
			v->time_step = im->level[first].scale[i];
	*ret = v;
	return 0;
}
