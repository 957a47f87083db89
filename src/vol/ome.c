/* SPDX-License-Identifier: Apache-2.0
 * The attributes of a group: OME-Zarr from 0.1 to 0.5, and what COSEM writes in its manner. Versions are told by what
 * is there, not by their number, which is often missing or wrong.
 */
#include "base/limits.h"
#include "vol/image.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void copy_text(char *to, size_t size, const json_t *from)
{
	const char *s = json_string_value(from);

	snprintf(to, size, "%s", s ? s : "");
}

/* ---- axes ---- */

static enum vx_axis_kind kind_of(const json_t *type)
{
	const char *s = json_string_value(type);

	if (!s)
		return VX_AXIS_ANY;
	return !strcmp(s, "space")     ? VX_AXIS_SPACE
	       : !strcmp(s, "channel") ? VX_AXIS_IS_CHANNEL
	       : !strcmp(s, "time")    ? VX_AXIS_IS_TIME
				       : VX_AXIS_OTHER;
}

/* Objects since 0.4, bare names in 0.3. */
static int parse_axes(const struct vx_json *image, struct vx_image *im, struct vx_err *e)
{
	struct vx_json j, item;
	size_t n;
	int r;

	if (!vx_json_find(image, "axes", &j) || json_is_null(j.value))
		return 0;
	if ((r = vx_json_array(&j, 2, VX_ARRAY_RANK_MAX, &n, e)) < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		vx_json_at(&j, i, &item);
		if (json_is_object(item.value)) {
			copy_text(im->axis[i].name, sizeof im->axis[i].name, json_object_get(item.value, "name"));
			copy_text(im->axis[i].unit, sizeof im->axis[i].unit, json_object_get(item.value, "unit"));
			im->kind[i] = kind_of(json_object_get(item.value, "type"));
		} else {
			copy_text(im->axis[i].name, sizeof im->axis[i].name, item.value);
		}
	}
	im->naxes = (unsigned)n;
	return 0;
}

/* ---- scales ---- */

/* Multiplies by the scales of a list of coordinate transformations; what is not understood makes them unknown. */
static void apply(const json_t *list, unsigned naxes, double *scale)
{
	size_t i;
	json_t *t;

	json_array_foreach(list, i, t)
	{
		const char *type = json_string_value(json_object_get(t, "type"));
		const json_t *factors = json_object_get(t, "scale");

		if (!type || strcmp(type, "scale"))
			continue; /* where an image begins does not matter here */
		for (unsigned d = 0; d < naxes; d++)
			scale[d] *=
			    json_array_size(factors) == naxes ? json_number_value(json_array_get(factors, d)) : 0;
	}
}

/* COSEM's: {"axes": ["z", "y", "x"], "scale": [...], "units": [...]}. */
static void apply_transform(const json_t *t, struct vx_image *im, struct vx_level *l)
{
	const json_t *axes = json_object_get(t, "axes"), *scale = json_object_get(t, "scale");
	const json_t *units = json_object_get(t, "units");
	size_t n = json_array_size(axes);

	if (n < 2 || n > VX_ARRAY_RANK_MAX || json_array_size(scale) != n || (im->naxes && im->naxes != n))
		return;
	for (size_t d = 0; d < n; d++) {
		if (!im->naxes || !im->axis[d].name[0])
			copy_text(im->axis[d].name, sizeof im->axis[d].name, json_array_get(axes, d));
		if (!im->axis[d].unit[0])
			copy_text(im->axis[d].unit, sizeof im->axis[d].unit, json_array_get(units, d));
		l->scale[d] = json_number_value(json_array_get(scale, d));
	}
	im->naxes = (unsigned)n;
}

static int parse_dataset(const struct vx_json *j, const json_t *outer, struct vx_image *im, struct vx_err *e)
{
	struct vx_json path;
	const json_t *own = json_object_get(j->value, "coordinateTransformations");
	struct vx_level *l;
	const char *s;
	int r = vx_json_object(j, e);

	if (r < 0 || (r = vx_json_get(j, "path", &path, e)) < 0 || (r = vx_json_string(&path, &s, e)) < 0 ||
	    (r = vx_image_add(im, s, &path, e)) < 0)
		return r;
	l = &im->level[im->nlevels - 1];
	if (im->naxes && (json_array_size(own) || json_array_size(outer))) {
		for (unsigned d = 0; d < VX_ARRAY_RANK_MAX; d++)
			l->scale[d] = 1;
		apply(own, im->naxes, l->scale);
		apply(outer, im->naxes, l->scale);
	} else if (json_is_object(json_object_get(j->value, "transform"))) {
		apply_transform(json_object_get(j->value, "transform"), im, l);
	}
	return 0;
}

static int parse_image(const struct vx_json *j, struct vx_image *im, struct vx_err *e)
{
	struct vx_json list, item;
	const json_t *outer = json_object_get(j->value, "coordinateTransformations");
	const char *name = json_string_value(json_object_get(j->value, "name"));
	size_t n;
	int r = vx_json_object(j, e);

	if (r < 0 || (r = parse_axes(j, im, e)) < 0)
		return r;
	if (!im->naxes && vx_json_find(j, "coordinateSystems", &item))
		return vx_fail(e, -EOPNOTSUPP, "%s: this version of OME-Zarr is not supported", item.path);
	if (name && !(im->name = strdup(name)))
		return vx_no_memory(e);
	if ((r = vx_json_get(j, "datasets", &list, e)) < 0 || (r = vx_json_array(&list, 1, VX_MAX_SCALES, &n, e)) < 0)
		return r;
	for (size_t i = 0; r >= 0 && i < n; i++) {
		vx_json_at(&list, i, &item);
		r = parse_dataset(&item, outer, im, e);
	}
	return r;
}

static int parse_images(const struct vx_json *m, struct vx_ome *o, struct vx_err *e)
{
	struct vx_json list, item;
	size_t n;
	int r;

	if (!vx_json_find(m, "multiscales", &list) || !json_array_size(list.value))
		return 0;
	if ((r = vx_json_array(&list, 1, 256, &n, e)) < 0)
		return r;
	o->image = calloc(n, sizeof *o->image);
	if (!o->image)
		return vx_no_memory(e);
	o->nimages = (unsigned)n;
	for (size_t i = 0; r >= 0 && i < n; i++) {
		vx_json_at(&list, i, &item);
		o->image[i].is_label = json_is_object(json_object_get(m->value, "image-label"));
		r = parse_image(&item, &o->image[i], e);
	}
	return r;
}

/* ---- collections ---- */

/* A list of paths, or of objects with a `path`. */
static int parse_paths(const struct vx_json *m, const char *name, struct vx_paths *ret, struct vx_err *e)
{
	struct vx_json list, item, path;
	const char *s;
	size_t n;
	int r;

	if (!vx_json_find(m, name, &list) || json_is_null(list.value))
		return 0;
	if ((r = vx_json_array(&list, 0, VX_MAX_VOLUMES, &n, e)) < 0)
		return r;
	for (size_t i = 0; r >= 0 && i < n; i++) {
		vx_json_at(&list, i, &item);
		path = item;
		if (json_is_object(item.value) && (r = vx_json_get(&item, "path", &path, e)) < 0)
			return r;
		if ((r = vx_json_string(&path, &s, e)) < 0)
			return r;
		r = vx_paths_add(ret, s, &path, e);
	}
	return r;
}

static int parse_collections(const struct vx_json *m, struct vx_ome *o, struct vx_err *e)
{
	struct vx_json j, wells;
	int r;

	if ((r = parse_paths(m, "labels", &o->labels, e)) < 0 || (r = parse_paths(m, "series", &o->parts, e)) < 0)
		return r;
	if (vx_json_find(m, "well", &j) && (r = parse_paths(&j, "images", &o->parts, e)) < 0)
		return r;
	if (vx_json_find(m, "bioformats2raw.layout", &j))
		o->is_bioformats = true;
	if (vx_json_find(m, "plate", &j) && json_is_object(j.value)) {
		const char *well = NULL;

		if (vx_json_find(&j, "wells", &wells))
			well = json_string_value(json_object_get(json_array_get(wells.value, 0), "path"));
		o->field = strdup(well ? well : "A/1");
		if (!o->field)
			return vx_no_memory(e);
	}
	return 0;
}

int vx_ome_parse(const char *text, size_t len, bool v3, struct vx_ome *ret, struct vx_err *e)
{
	VX_AUTO_JSON struct vx_json top = {0};
	struct vx_json attributes, m;
	int r = vx_json_parse_loose(v3 ? "zarr.json" : ".zattrs", text, len, VX_MAX_METADATA_BYTES, &top, e);

	memset(ret, 0, sizeof *ret);
	if (r < 0)
		return r;
	attributes = top;
	if (v3 && !vx_json_find(&top, "attributes", &attributes))
		return 0;
	if (!vx_json_find(&attributes, "ome", &m) || !json_is_object(m.value))
		m = attributes;
	if (!json_is_object(m.value))
		return 0;
	r = parse_images(&m, ret, e);
	if (r == 0)
		r = parse_collections(&m, ret, e);
	if (r < 0)
		vx_ome_free(ret);
	return r;
}

void vx_ome_free(struct vx_ome *o)
{
	for (unsigned i = 0; i < o->nimages; i++)
		vx_image_free(&o->image[i]);
	free(o->image);
	vx_paths_free(&o->labels);
	vx_paths_free(&o->parts);
	free(o->field);
	*o = (struct vx_ome){0};
}

/* ---- groups without OME's attributes ---- */

static bool is_array_of_ours(const json_t *document)
{
	size_t rank = json_array_size(json_object_get(document, "shape"));

	return rank >= 2 && rank <= VX_ARRAY_RANK_MAX;
}

/* The path of the array that a key of consolidated metadata describes; false: it describes none. */
static bool array_path(const char *key, const json_t *document, bool v3, char *ret, size_t size)
{
	static const char suffix[] = "/.zarray";
	const char *type = json_string_value(json_object_get(document, "node_type"));
	size_t len = strlen(key);

	if (v3 ? !type || strcmp(type, "array") : len < sizeof suffix || strcmp(key + len - strlen(suffix), suffix))
		return false;
	return (size_t)snprintf(ret, size, "%.*s", (int)(v3 ? len : len - strlen(suffix)), key) < size;
}

int vx_zarr_consolidated(const char *text, size_t len, bool v3, struct vx_paths *ret, struct vx_err *e)
{
	VX_AUTO_JSON struct vx_json top = {0};
	struct vx_json j, metadata;
	char path[VX_MAX_NAME + 1];
	const char *key;
	json_t *document;
	int r = vx_json_parse_loose(v3 ? "zarr.json" : ".zmetadata", text, len, VX_MAX_METADATA_BYTES, &top, e);

	memset(ret, 0, sizeof *ret);
	if (r < 0)
		return r;
	j = top;
	if (v3 && !vx_json_find(&top, "consolidated_metadata", &j))
		return 0;
	if (!vx_json_find(&j, "metadata", &metadata))
		return 0;
	json_object_foreach((json_t *)metadata.value, key, document)
	{
		if (!array_path(key, document, v3, path, sizeof path) || !is_array_of_ours(document))
			continue;
		r = vx_paths_add(ret, path, &metadata, e);
		if (r < 0)
			break;
	}
	if (r < 0)
		vx_paths_free(ret);
	return r;
}

void vx_zarr2_names(const char *text, size_t len, struct vx_array *a)
{
	VX_AUTO_JSON struct vx_json top = {0};
	struct vx_json list;

	if (vx_json_parse_loose(".zattrs", text, len, VX_MAX_METADATA_BYTES, &top, NULL) < 0)
		return; /* the array does not depend on its attributes */
	if (!vx_json_find(&top, "_ARRAY_DIMENSIONS", &list) || json_array_size(list.value) != a->rank)
		return;
	for (unsigned i = 0; i < a->rank; i++)
		copy_text(a->name[i], sizeof a->name[i], json_array_get(list.value, i));
}
