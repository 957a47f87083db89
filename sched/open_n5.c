/* SPDX-License-Identifier: Apache-2.0
 * Datasets and groups of N5. Groups need no document, and nothing lists them: s0, s1, ... are asked for one by one
 * until one is missing.
 */
#include "sched/docs.h"
#include "sched/opening.h"

#include <stdio.h>
#include <string.h>

static const char document[] = "attributes.json";

struct levels {
	struct vx_array array[VX_MAX_SCALES];
	struct vx_n5_space own[VX_MAX_SCALES];
	struct vx_err err[VX_MAX_SCALES];
};

/* One dataset; what is wrong with it alone goes to its error. -ENODATA: it is not there. */
static int read_level(struct vx_opening *o, const char *dir, struct levels *l, unsigned i, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *text = NULL;
	int r = vx_opening_read(o, dir, document, &text, &l->err[i]);

	if (r == 0)
		r = vx_n5_parse((const char *)text->data, text->len, &l->array[i], &l->err[i]);
	if (r == 0) {
		vx_n5_space_parse((const char *)text->data, text->len, &l->own[i]);
		return 0;
	}
	if (r == -ENODATA)
		return vx_fail(&l->err[i], r, "%s has no %s", dir, document);
	if (!vx_opening_may_go_on(r)) {
		*e = l->err[i];
		return r;
	}
	if (dir[0])
		vx_fail_prefix(&l->err[i], "%s", dir);
	return 0;
}

/* Levels that the group lists must be there, or are bad; those that it does not list end with the first missing. */
static int read_levels(struct vx_opening *o, const char *dir, struct vx_n5_group *g, struct levels *l, struct vx_err *e)
{
	bool listed = g->image.nlevels > 0;
	int r = 0;

	for (unsigned i = 0; i < (listed ? g->image.nlevels : VX_MAX_SCALES); i++) {
		VX_AUTO_FREE char *at = NULL;
		char guess[16];

		snprintf(guess, sizeof guess, "s%u", i);
		at = vx_path_join(dir, listed ? g->image.level[i].path : guess);
		r = at ? read_level(o, at, l, i, e) : vx_fail(e, -ENOMEM, "no memory");
		if (r < 0 && (r != -ENODATA || !listed))
			break;
		if (!listed && (r = vx_image_add(&g->image, guess, &(struct vx_json){0}, e)) < 0)
			break;
	}
	return r == -ENODATA ? 0 : r;
}

/* The extent of voxels is often put down one level up. */
static void look_above(struct vx_opening *o, struct vx_n5_group *g)
{
	VX_AUTO_BUF struct vx_buf *text = NULL;
	VX_AUTO_FREE char *key = vx_path_join(o->path.inner, "../attributes.json");
	struct vx_err ignored = {0};
	struct vx_n5_group above = {0};

	if (!key || vx_doc_read(o->store, key, VX_MAX_METADATA_BYTES, &text, &ignored) < 0 ||
	    vx_n5_group_parse((const char *)text->data, text->len, &above, &ignored) < 0)
		return;
	g->space = above.space;
	vx_n5_group_free(&above);
}

static int add(struct vx_opening *o, const char *dir, const char *name, struct vx_n5_group *g, struct levels *l,
	       struct vx_err *e)
{
	VX_AUTO_FREE char *prefix = vx_opening_key(o, dir);
	struct vx_volume *v = NULL;
	int r;

	vx_n5_calibrate(&g->image, g, l->own, l->array, l->err);
	r = prefix ? vx_image_build(&g->image, l->array, l->err, prefix, &v, e) : vx_fail(e, -ENOMEM, "no memory");
	r = r < 0 ? r : vx_opening_add(o, name, v, e);
	return r < 0 ? r : 1;
}

static int open_dataset(struct vx_opening *o, const char *dir, const char *name, struct vx_n5_group *g,
			struct levels *l, struct vx_err *e)
{
	bool has_size = g->space.has_size;
	int r = vx_image_add(&g->image, "", &(struct vx_json){0}, e);

	if (r < 0 || (r = read_level(o, dir, l, 0, e)) < 0)
		return r;
	if (!has_size && !dir[0])
		look_above(o, g);
	return add(o, dir, name, g, l, e);
}

/* 1, 0 when there is nothing here, or the failure. */
static int open_node(struct vx_opening *o, const char *dir, const char *name, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *text = NULL;
	VX_AUTO_FREE struct levels *l = calloc(1, sizeof *l);
	struct vx_n5_group g = {0};
	int r = l ? vx_opening_read(o, dir, document, &text, e) : vx_fail(e, -ENOMEM, "no memory");

	if (r == 0)
		r = vx_n5_group_parse((const char *)text->data, text->len, &g, e);
	else if (r == -ENODATA)
		r = 0;
	if (r == 0 && g.is_dataset) {
		r = open_dataset(o, dir, name, &g, l, e);
	} else if (r == 0) {
		r = read_levels(o, dir, &g, l, e);
		if (r == 0 && g.image.nlevels)
			r = add(o, dir, name, &g, l, e);
	}
	vx_n5_group_free(&g);
	return r;
}

int vx_open_n5(struct vx_opening *o, struct vx_err *e)
{
	int r = open_node(o, "", "", e);

	if (r < 0 && strncmp(e->why, vx_store_url(o->store), strlen(vx_store_url(o->store))))
		return vx_fail_prefix(e, "%s", vx_store_url(o->store));
	return r;
}
