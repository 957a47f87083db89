/* SPDX-License-Identifier: Apache-2.0
 * Groups of N5. There is no standard: n5-viewer lists factors of scales, COSEM has `multiscales` like OME's, others
 * only have s0, s1, ... Extents of voxels are looked for under all the names that are in use, on the dataset first.
 */
#include "base/limits.h"
#include "vol/image.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- extents of voxels ---- */

/* How many numbers above 0 were read; 0 when that is no list of them. */
static unsigned numbers(const json_t *list, double *ret)
{
	size_t n = json_array_size(list);

	if (n < 2 || n > VX_ARRAY_RANK_MAX)
		return 0;
	for (size_t i = 0; i < n; i++) {
		ret[i] = json_number_value(json_array_get(list, i));
		if (!(ret[i] > 0) || !isfinite(ret[i]))
			return 0;
	}
	return (unsigned)n;
}

static void set_unit(struct vx_n5_space *s, unsigned i, const char *unit)
{
	snprintf(s->unit[i], sizeof s->unit[i], "%s", unit ? unit : "");
}

/* {"dimensions": [x, y, z], "unit": "um"}, or the bare list. */
static bool pixel_resolution(const json_t *j, struct vx_n5_space *s)
{
	const json_t *list = json_is_object(j) ? json_object_get(j, "dimensions") : j;
	unsigned n = numbers(list, s->size);

	for (unsigned i = 0; i < n && i < 3; i++)
		set_unit(s, i, json_string_value(json_object_get(j, "unit")));
	return n > 0;
}

/* Neuroglancer's: "resolution" with "units", a list or one for all; nanometres when nothing is said. */
static bool resolution(const json_t *top, struct vx_n5_space *s)
{
	const json_t *units = json_object_get(top, "units");
	unsigned n = numbers(json_object_get(top, "resolution"), s->size);

	for (unsigned i = 0; i < n && i < 3; i++) {
		const char *u = json_string_value(json_is_array(units) ? json_array_get(units, i) : units);

		set_unit(s, i, units ? u : "nm");
	}
	s->unit_is_assumed = n && !units;
	return n > 0;
}

/* COSEM's, which lists axes as C does; told apart by name. */
static bool transform(const json_t *t, struct vx_n5_space *s)
{
	static const char order[] = "xyzct";
	const json_t *axes = json_object_get(t, "axes");
	double scale[VX_ARRAY_RANK_MAX];
	unsigned n = numbers(json_object_get(t, "scale"), scale);

	if (!n || json_array_size(axes) != n)
		return false;
	for (unsigned i = 0; i < n; i++) {
		const char *name = json_string_value(json_array_get(axes, i));
		const char *at = name && name[0] && !name[1] ? strchr(order, name[0]) : NULL;

		if (!at || at - order >= (int)n)
			return false;
		s->size[at - order] = scale[i];
		set_unit(s, (unsigned)(at - order), json_string_value(json_array_get(json_object_get(t, "units"), i)));
	}
	return true;
}

static void parse_space(const json_t *top, struct vx_n5_space *s)
{
	memset(s, 0, sizeof *s);
	s->has_factors = numbers(json_object_get(top, "downsamplingFactors"), s->factors) > 0;
	if (transform(json_object_get(top, "transform"), s))
		s->has_size = s->is_exact = true;
	else if (pixel_resolution(json_object_get(top, "pixelResolution"), s) || resolution(top, s)) {
		s->has_size = true;
		s->is_exact = !s->has_factors; /* with factors beside it, it is that of the finest scale */
	}
}

void vx_n5_space_parse(const char *text, size_t len, struct vx_n5_space *ret)
{
	VX_AUTO_JSON struct vx_json top = {0};

	memset(ret, 0, sizeof *ret);
	if (vx_json_parse_loose("attributes.json", text, len, VX_MAX_METADATA_BYTES, &top, NULL) == 0)
		parse_space(top.value, ret);
}

/* ---- groups ---- */

static int add_listed(struct vx_n5_group *g, const char *path, const struct vx_json *j, struct vx_err *e)
{
	struct vx_n5_space *more;
	int r = vx_image_add(&g->image, path, j, e);

	if (r < 0)
		return r;
	more = realloc(g->listed, g->image.nlevels * sizeof *more);
	if (!more)
		return vx_no_memory(e);
	g->listed = more;
	memset(&more[g->nlisted], 0, sizeof *more);
	g->nlisted = g->image.nlevels;
	return 0;
}

static int parse_multiscales(const struct vx_json *list, struct vx_n5_group *g, struct vx_err *e)
{
	struct vx_json image, datasets, item, path;
	const char *s;
	size_t n;
	int r;

	vx_json_at(list, 0, &image);
	if ((r = vx_json_get(&image, "datasets", &datasets, e)) < 0 ||
	    (r = vx_json_array(&datasets, 1, VX_MAX_SCALES, &n, e)) < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		vx_json_at(&datasets, i, &item);
		if ((r = vx_json_get(&item, "path", &path, e)) < 0 || (r = vx_json_string(&path, &s, e)) < 0 ||
		    (r = add_listed(g, s, &path, e)) < 0)
			return r;
		if (transform(json_object_get(item.value, "transform"), &g->listed[i]))
			g->listed[i].has_size = g->listed[i].is_exact = true;
	}
	return 0;
}

/* [[1, 1, 1], [2, 2, 1], ...]: s0, s1, ... */
static int parse_factors(const struct vx_json *list, struct vx_n5_group *g, struct vx_err *e)
{
	struct vx_json item;
	char path[24];
	size_t n;
	int r = vx_json_array(list, 1, VX_MAX_SCALES, &n, e);

	for (size_t i = 0; r >= 0 && i < n; i++) {
		vx_json_at(list, i, &item);
		snprintf(path, sizeof path, "s%zu", i);
		r = add_listed(g, path, &item, e);
		if (r == 0)
			g->listed[i].has_factors = numbers(item.value, g->listed[i].factors) > 0;
	}
	return r;
}

static bool is_list_of_lists(const json_t *j)
{
	return json_array_size(j) > 0 && json_is_array(json_array_get(j, 0));
}

static int parse(const struct vx_json *top, struct vx_n5_group *g, struct vx_err *e)
{
	struct vx_json j;
	int r = 0;

	parse_space(top->value, &g->space);
	if (vx_json_find(top, "dimensions", &j)) {
		g->is_dataset = true;
		return 0;
	}
	if (vx_json_find(top, "dataType", &j) && json_is_string(j.value))
		g->has_dtype = vx_dtype_find(json_string_value(j.value), &g->dtype);
	if (vx_json_find(top, "multiscales", &j) && json_is_object(json_array_get(j.value, 0)))
		r = parse_multiscales(&j, g, e);
	else if (vx_json_find(top, "scales", &j) && is_list_of_lists(j.value))
		r = parse_factors(&j, g, e);
	else if (vx_json_find(top, "downsamplingFactors", &j) && is_list_of_lists(j.value))
		r = parse_factors(&j, g, e);
	return r;
}

int vx_n5_group_parse(const char *text, size_t len, struct vx_n5_group *ret, struct vx_err *e)
{
	VX_AUTO_JSON struct vx_json top = {0};
	int r = vx_json_parse_loose("attributes.json", text, len, VX_MAX_METADATA_BYTES, &top, e);

	memset(ret, 0, sizeof *ret);
	if (r < 0 || (r = parse(&top, ret, e)) < 0)
		vx_n5_group_free(ret);
	return r;
}

void vx_n5_group_free(struct vx_n5_group *g)
{
	vx_image_free(&g->image);
	free(g->listed);
	*g = (struct vx_n5_group){0};
}

/* ---- what follows for the levels ---- */

/* From shapes, when nobody says by how much a level is coarser. */
static double guessed_factor(const struct vx_array *finest, const struct vx_array *a, unsigned axis)
{
	return a->shape[axis] ? fmax(1, rint((double)finest->shape[axis] / (double)a->shape[axis])) : 1;
}

static void calibrate_level(struct vx_level *l, struct vx_axis *axis, const struct vx_n5_space *exact,
			    const struct vx_n5_space *base, const struct vx_n5_space *factors,
			    const struct vx_array *finest, const struct vx_array *a)
{
	const struct vx_n5_space *from = exact ? exact : base;

	for (unsigned i = 0; from && i < a->rank; i++) {
		unsigned d = a->rank - 1 - i; /* N5's order */
		double by = factors ? factors->factors[d] : guessed_factor(finest, a, i);

		if (!(by > 0))
			by = 1; /* fewer factors than axes */
		l->scale[i] = from->size[d] * (exact ? 1 : by);
		if (from->unit[d][0] && !axis[i].unit[0])
			memcpy(axis[i].unit, from->unit[d], sizeof axis[i].unit);
	}
}

void vx_n5_calibrate(struct vx_image *im, const struct vx_n5_group *g, const struct vx_n5_space *own,
		     const struct vx_array *array, const struct vx_err *err)
{
	const struct vx_array *finest = NULL;

	for (unsigned i = 0; i < im->nlevels; i++) {
		const struct vx_n5_space *listed = i < g->nlisted ? &g->listed[i] : NULL, *exact, *base, *factors;

		if (err[i].code)
			continue;
		finest = finest ? finest : &array[i];
		if (!im->naxes) {
			im->naxes = array[i].rank;
			for (unsigned d = 0; d < im->naxes; d++)
				memcpy(im->axis[d].name, array[i].name[d], sizeof im->axis[d].name);
		}
		if (array[i].rank != im->naxes)
			continue;
		exact = own[i].has_size && own[i].is_exact ? &own[i] : listed && listed->is_exact ? listed : NULL;
		base = own[i].has_size ? &own[i] : g->space.has_size ? &g->space : own[0].has_size ? &own[0] : NULL;
		factors = own[i].has_factors ? &own[i] : listed && listed->has_factors ? listed : NULL;
		calibrate_level(&im->level[i], im->axis, exact, base, factors, finest, &array[i]);
	}
}
