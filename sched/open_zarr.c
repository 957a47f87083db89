/* SPDX-License-Identifier: Apache-2.0
 * Arrays and groups of Zarr, version 2 or 3. Which documents there are decides; consolidated metadata only helps to
 * find arrays, since it may be stale: each array's own document is read.
 *
 * What a group gives, in this order: the images that it describes, each with its labels; the images of a collection
 * (bioformats2raw, a well, `labels`); the arrays that consolidated metadata lists.
 */
#include "base/log.h"
#include "sched/docs.h"
#include "sched/opening.h"

#include <stdio.h>
#include <string.h>

#define BIOFORMATS_MAX 1024 /* images looked for in 0/, 1/, ... */

static const char *const group_document[] = {".zattrs", "zarr.json"}; /* by version, 2 and 3 */

/* `name` is what the volume is called beside the cloudpath's name; `dir` where it is. */
static int open_node(struct vx_opening *o, const char *dir, const char *name, bool v3, struct vx_err *e);

/* "labels" of "" and "cells" is "labels/cells": for directories and for names. */
static int open_below(struct vx_opening *o, const char *dir, const char *below, const char *name, const char *own,
		      bool v3, struct vx_err *e)
{
	VX_AUTO_FREE char *path = vx_path_join(dir, below), *full = vx_path_join(name, own);

	return path && full ? open_node(o, path, full, v3, e) : vx_no_memory(e);
}

/* What is wrong with one of several spares the others: it is told, and `first` remembers it. */
static int spare_others(const struct vx_opening *o, int r, struct vx_err *first, const struct vx_err *e)
{
	if (r >= 0 || !vx_opening_may_go_on(r))
		return r;
	vx_log(VX_LOG_WARN, "%s: %s", o->name, e->why);
	if (!first->code)
		*first = *e;
	return 0;
}

/* One of several, all of which should be there. */
static int open_one_of(struct vx_opening *o, const char *dir, const char *below, const char *name, const char *own,
		       bool v3, struct vx_err *first, struct vx_err *e)
{
	int r = open_below(o, dir, below, name, own, v3, e);

	if (r == 0)
		r = vx_fail(e, -ENODATA, "%s%s%s is not there", dir, dir[0] ? "/" : "", below);
	return spare_others(o, r, first, e);
}

/* ---- arrays ---- */

/* Whether the array's first chunk is there under this separator: 1, 0, or why nobody can say. */
static int has_first_chunk(struct vx_opening *o, const char *dir, unsigned rank, char separator, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *b = NULL;
	VX_AUTO_FREE char *at = vx_opening_key(o, dir), *key = NULL;
	char name[2 * VX_ARRAY_RANK_MAX + 1] = "";
	struct vx_err found = {0};
	int r;

	for (unsigned i = 0; i < rank; i++) {
		name[2 * i] = '0';
		name[2 * i + 1] = i + 1 < rank ? separator : 0;
	}
	key = at ? vx_path_join(at, name) : NULL;
	r = key ? vx_doc_read(o->store, key, 1, &b, &found) : vx_no_memory(&found);
	if (r == -ENODATA || r == -EACCES)
		return 0;
	if (r == 0 || r == -EBADMSG)
		return 1; /* usually larger than what is wanted of it */
	*e = found;
	return r;
}

/* Early writers did not put it down. */
static int settle_separator(struct vx_opening *o, const char *dir, char usual, struct vx_array *a, struct vx_err *e)
{
	char other = usual == '.' ? '/' : '.';
	int r = 0;

	if (o->path.separator)
		a->separator = o->path.separator;
	if (a->separator)
		return 0;
	r = has_first_chunk(o, dir, a->rank, other, e);
	a->separator = r > 0 ? other : usual;
	return r < 0 ? r : 0;
}

static int read_array2(struct vx_opening *o, const char *dir, char usual, bool named, struct vx_array *a,
		       struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *text = NULL, *attributes = NULL;
	struct vx_err ignored = {0};
	int r = vx_opening_read(o, dir, ".zarray", &text, e);

	if (r == 0)
		r = vx_opening_parsed(o, dir, ".zarray", vx_zarr2_parse((const char *)text->data, text->len, a, e));
	if (r < 0)
		return r;
	if (!named && vx_opening_read(o, dir, ".zattrs", &attributes, &ignored) == 0)
		vx_zarr2_names((const char *)attributes->data, attributes->len, a);
	return settle_separator(o, dir, usual, a, e);
}

static int read_array3(struct vx_opening *o, const char *dir, struct vx_array *a, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *text = NULL;
	int r = vx_opening_read(o, dir, "zarr.json", &text, e);

	if (r == 0)
		r = vx_opening_parsed(o, dir, "zarr.json", vx_zarr3_parse((const char *)text->data, text->len, a, e));
	return r;
}

/* ---- images ---- */

/* Reads the arrays of all levels; failures that concern one go to its error. */
static int read_levels(struct vx_opening *o, const char *dir, const struct vx_image *im, bool v3,
		       struct vx_array *array, struct vx_err *err, struct vx_err *e)
{
	for (unsigned i = 0; i < im->nlevels; i++) {
		VX_AUTO_FREE char *at = vx_path_join(dir, im->level[i].path);
		int r = !at  ? vx_no_memory(&err[i])
			: v3 ? read_array3(o, at, &array[i], &err[i])
			     : read_array2(o, at, '/', im->naxes > 0, &array[i], &err[i]);

		if (r == 0)
			continue;
		if (r == -ENODATA)
			r = vx_fail(&err[i], r, "it has no %s", v3 ? "zarr.json" : ".zarray");
		if (!vx_opening_may_go_on(r)) {
			*e = err[i];
			return r;
		}
		vx_fail_prefix(&err[i], "%s", at);
	}
	return 0;
}

static int add_image(struct vx_opening *o, const char *dir, const char *name, const struct vx_image *im,
		     const struct vx_array *array, const struct vx_err *err, struct vx_err *e)
{
	VX_AUTO_FREE char *prefix = vx_opening_key(o, dir);
	struct vx_volume *v = NULL;
	int r = prefix ? vx_image_build(im, array, err, prefix, &v, e) : vx_no_memory(e);

	return r < 0 ? r : vx_opening_add(o, name, v, e);
}

static int open_image(struct vx_opening *o, const char *dir, const char *name, const struct vx_image *im, bool v3,
		      struct vx_err *e)
{
	VX_AUTO_FREE struct vx_array *array = calloc(im->nlevels, sizeof *array);
	VX_AUTO_FREE struct vx_err *err = calloc(im->nlevels, sizeof *err);
	int r = array && err ? read_levels(o, dir, im, v3, array, err, e) : vx_no_memory(e);

	return r < 0 ? r : add_image(o, dir, name, im, array, err, e);
}

static int open_array(struct vx_opening *o, const char *dir, const char *name, const struct vx_array *a,
		      struct vx_err *e)
{
	struct vx_image im = {0};
	struct vx_err none = {0};
	int r = vx_image_add(&im, "", &(struct vx_json){0}, e);

	if (r == 0)
		r = add_image(o, dir, name, &im, a, &none, e);
	vx_image_free(&im);
	return r < 0 ? r : 1;
}

/* ---- groups ---- */

/* Each path a group or an array of its own. How many were opened, or a failure; `first` is what was wrong with one. */
static int open_parts(struct vx_opening *o, const char *dir, const char *name, const char *word,
		      const struct vx_paths *paths, bool v3, struct vx_err *first, struct vx_err *e)
{
	int n = 0;

	for (unsigned i = 0; i < paths->n; i++) {
		VX_AUTO_FREE char *own = vx_path_join(word, paths->at[i]);
		bool alone = paths->n == 1 && !word[0];
		int r = own ? open_one_of(o, dir, paths->at[i], name, alone ? "" : own, v3, first, e) : vx_no_memory(e);

		if (r < 0)
			return r;
		n += r > 0;
	}
	return n;
}

/* The attributes of a group that is there or not: 1, 0. */
static int read_attributes(struct vx_opening *o, const char *dir, bool v3, struct vx_ome *ret, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *text = NULL;
	int r = vx_opening_read(o, dir, group_document[v3], &text, e);

	if (r == -ENODATA)
		return 0;
	if (r == 0)
		r = vx_opening_parsed(o, dir, group_document[v3],
				      vx_ome_parse((const char *)text->data, text->len, v3, ret, e));
	return r < 0 ? r : 1;
}

/* What is wrong with labels does not concern their image. */
static int open_labels(struct vx_opening *o, const char *dir, const char *name, bool v3, struct vx_err *e)
{
	VX_AUTO_FREE char *at = vx_path_join(dir, "labels");
	struct vx_ome labels = {0};
	struct vx_err first = {0};
	int r = at ? read_attributes(o, at, v3, &labels, e) : vx_no_memory(e);

	if (r > 0)
		r = open_parts(o, at, name, "labels", &labels.labels, v3, &first, e);
	else if (r < 0 && vx_opening_may_go_on(r))
		r = 0;
	vx_ome_free(&labels);
	return r;
}

/* The first is what one expects under the name; others have a name of their own. */
static int open_images(struct vx_opening *o, const char *dir, const char *name, const struct vx_ome *ome, bool v3,
		       struct vx_err *e)
{
	struct vx_err first = {0};
	int n = 0, r;

	for (unsigned i = 0; i < ome->nimages; i++) {
		char number[16];
		const struct vx_image *im = &ome->image[i];
		VX_AUTO_FREE char *full = NULL;

		snprintf(number, sizeof number, "%u", i);
		full = vx_path_join(name, i == 0 ? "" : im->name && im->name[0] ? im->name : number);
		r = full ? open_image(o, dir, full, im, v3, e) : vx_no_memory(e);
		if (r < 0 && (!vx_opening_may_go_on(r) || ome->nimages == 1))
			return r;
		if (r < 0 && !first.code)
			first = *e;
		n += r == 0;
	}
	if (!n)
		return vx_fail(e, first.code, "%s", first.why);
	r = open_labels(o, dir, name, v3, e);
	return r < 0 ? r : 1;
}

/* 0, 1, ... up to the first that is not there: how many were opened. */
static int open_numbered(struct vx_opening *o, const char *dir, const char *name, bool v3, struct vx_err *first,
			 struct vx_err *e)
{
	int n = 0;

	for (unsigned i = 0; i < BIOFORMATS_MAX; i++) {
		char number[16];
		int r;

		snprintf(number, sizeof number, "%u", i);
		r = open_below(o, dir, number, name, number, v3, e);
		if (r == 0)
			break;
		r = spare_others(o, r, first, e);
		if (r < 0)
			return r;
		n += r > 0;
	}
	return n;
}

/* bioformats2raw: the series that its OME group lists; all that there are where it does not, or cannot be read. */
static int open_series(struct vx_opening *o, const char *dir, const char *name, bool v3, struct vx_err *e)
{
	VX_AUTO_FREE char *at = vx_path_join(dir, "OME");
	struct vx_ome list = {0};
	struct vx_err first = {0};
	int r = at ? read_attributes(o, at, v3, &list, e) : vx_no_memory(e);

	if (r < 0)
		vx_fail_prefix(e, "%s", at ? at : dir);
	r = spare_others(o, r, &first, e);
	if (r >= 0)
		r = list.parts.n ? open_parts(o, dir, name, "", &list.parts, v3, &first, e)
				 : open_numbered(o, dir, name, v3, &first, e);
	vx_ome_free(&list);
	if (r != 0)
		return r < 0 ? r : 1;
	return first.code ? vx_fail(e, first.code, "%s", first.why)
			  : vx_fail(e, -ENOENT, "%s: no image of the series is there", o->name);
}

/* A store that answers every question alike would have collections in collections without end. */
static int open_bioformats(struct vx_opening *o, const char *dir, const char *name, bool v3, struct vx_err *e)
{
	int r;

	if (o->inside)
		return vx_fail(e, -EOPNOTSUPP, "%s: a collection of series inside another", dir);
	o->inside = true;
	r = open_series(o, dir, name, v3, e);
	o->inside = false;
	return r;
}

/* Arrays that consolidated metadata lists; `document` is the group's own in version 3. */
static int open_listed(struct vx_opening *o, const char *dir, const char *name, const struct vx_buf *document, bool v3,
		       struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *text = NULL;
	struct vx_paths arrays = {0};
	struct vx_err first = {0};
	int r = v3 ? 0 : vx_opening_read(o, dir, ".zmetadata", &text, e);

	if (r == 0) {
		const struct vx_buf *from = v3 ? document : text;

		r = vx_opening_parsed(o, dir, v3 ? "zarr.json" : ".zmetadata",
				      vx_zarr_consolidated((const char *)from->data, from->len, v3, &arrays, e));
	}
	if (r == 0)
		r = open_parts(o, dir, name, "", &arrays, v3, &first, e);
	vx_paths_free(&arrays);
	if (r == 0 && first.code)
		return vx_fail(e, first.code, "%s", first.why);
	return r == -ENODATA ? 0 : r;
}

/* A group without anything that says what is in it. */
static int bare_group(struct vx_opening *o, const char *dir, bool v3, struct vx_err *e)
{
	static const char *const guesses[] = {"0", "s0", "data"};
	VX_AUTO_FREE char *at = vx_opening_key(o, dir);
	struct vx_err ignored = {0};

	for (unsigned i = 0; i < VX_ARRAY_LEN(guesses); i++) {
		VX_AUTO_FREE char *path = vx_path_join(dir, guesses[i]);
		VX_AUTO_BUF struct vx_buf *text = NULL;

		if (!path || vx_opening_read(o, path, v3 ? "zarr.json" : ".zarray", &text, &ignored) < 0)
			continue;
		return vx_fail(
		    e, -ENOENT,
		    "%s%s%s is a group without multiscales or consolidated metadata; it has %s, which may be "
		    "what you mean",
		    vx_store_url(o->store), at && at[0] ? "/" : "", at ? at : "", guesses[i]);
	}
	return vx_fail(e, -ENOENT,
		       "%s%s%s is a group without multiscales or consolidated metadata: name one of its arrays",
		       vx_store_url(o->store), at && at[0] ? "/" : "", at ? at : "");
}

static int open_group(struct vx_opening *o, const char *dir, const char *name, const struct vx_ome *ome,
		      const struct vx_buf *document, bool v3, struct vx_err *e)
{
	struct vx_err first = {0};
	int r;

	if (ome->field)
		return vx_fail(e, -EOPNOTSUPP, "it is a plate of wells: name one of their images, such as %s/0",
			       ome->field);
	if (ome->nimages)
		return open_images(o, dir, name, ome, v3, e);
	if (ome->is_bioformats)
		return open_bioformats(o, dir, name, v3, e);
	r = open_parts(o, dir, name, "", ome->parts.n ? &ome->parts : &ome->labels, v3, &first, e);
	if (r == 0 && first.code)
		return vx_fail(e, first.code, "%s", first.why);
	if (r == 0)
		r = open_listed(o, dir, name, document, v3, e);
	return r == 0 ? bare_group(o, dir, v3, e) : r;
}

/* ---- nodes ---- */

static int open_node3(struct vx_opening *o, const char *dir, const char *name, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *text = NULL;
	struct vx_array a;
	struct vx_ome ome = {0};
	int r = vx_opening_read(o, dir, "zarr.json", &text, e);

	if (r < 0)
		return r == -ENODATA ? 0 : r;
	r = vx_opening_parsed(o, dir, "zarr.json", vx_zarr3_parse((const char *)text->data, text->len, &a, e));
	if (r == 0)
		return open_array(o, dir, name, &a, e);
	if (r != -EISDIR)
		return r;
	r = vx_opening_parsed(o, dir, "zarr.json", vx_ome_parse((const char *)text->data, text->len, true, &ome, e));
	if (r == 0)
		r = open_group(o, dir, name, &ome, text, true, e);
	vx_ome_free(&ome);
	return r;
}

static int open_node2(struct vx_opening *o, const char *dir, const char *name, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *text = NULL;
	struct vx_array a;
	struct vx_ome ome = {0};
	int r = read_array2(o, dir, '.', false, &a, e);

	if (r == 0)
		return open_array(o, dir, name, &a, e);
	if (r != -ENODATA)
		return r;
	r = read_attributes(o, dir, false, &ome, e);
	if (r == 0)
		r = vx_opening_read(o, dir, ".zgroup", &text, e);
	if (r == -ENODATA)
		return 0;
	if (r >= 0)
		r = open_group(o, dir, name, &ome, NULL, false, e);
	vx_ome_free(&ome);
	return r;
}

static int open_node(struct vx_opening *o, const char *dir, const char *name, bool v3, struct vx_err *e)
{
	int r = v3 ? open_node3(o, dir, name, e) : open_node2(o, dir, name, e);
	VX_AUTO_FREE char *at = NULL;

	if (r < 0 && dir[0] && strncmp(e->why, dir, strlen(dir))) {
		at = vx_opening_key(o, dir);
		vx_fail_prefix(e, "%s", at ? at : dir);
	}
	return r;
}

int vx_open_zarr(struct vx_opening *o, struct vx_err *e)
{
	int r = 0;

	if (o->path.format != VX_ZARR2)
		r = open_node(o, "", "", true, e);
	if (r == 0 && o->path.format != VX_ZARR3)
		r = open_node(o, "", "", false, e);
	if (r < 0 && strncmp(e->why, vx_store_url(o->store), strlen(vx_store_url(o->store))))
		vx_fail_prefix(e, "%s", vx_store_url(o->store));
	if (r != -ENODATA)
		return r;
	/* A group of which no array is there: perhaps it is of another format, too. */
	if (!o->denied.code)
		o->denied = *e;
	return 0;
}
