/* SPDX-License-Identifier: Apache-2.0
 * Datasets and groups of N5. Groups need no document, and nothing lists them: s0, s1, ... are asked for one by one
 * until one is missing.
 *
 * In BigDataViewer's way of using N5 each setup is a volume. Each level of each time point is a dataset with a document
 * of its own, and all are read: a volume has one form for all its times, and nobody promises that they have.
 */
#include "base/log.h"
#include "sched/opening.h"

#include <stdio.h>
#include <string.h>

static const char document[] = "attributes.json";

struct levels {
	struct vx_array array[VX_MAX_SCALES];
	struct vx_n5_space own[VX_MAX_SCALES];
	struct vx_err err[VX_MAX_SCALES];
};

/* One dataset; what is wrong with it alone goes to `bad`. -ENODATA: it is not there, and `bad` says so. */
static int read_dataset(struct vx_opening *o, const char *dir, struct vx_array *a, struct vx_n5_space *own,
			struct vx_err *bad, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *text = NULL;
	int r = vx_opening_read(o, dir, document, &text, bad);

	if (r == 0)
		r = vx_opening_parsed(o, dir, document, vx_n5_parse((const char *)text->data, text->len, a, bad));
	if (r == 0) {
		vx_n5_space_parse((const char *)text->data, text->len, own);
		*bad = (struct vx_err){0};
		return 0;
	}
	if (r == -ENODATA)
		return vx_fail(bad, r, "%s has no %s", dir, document);
	if (!vx_opening_may_go_on(r)) {
		*e = *bad;
		return r;
	}
	if (dir[0])
		vx_fail_prefix(bad, "%s", dir);
	return 0;
}

static int read_level(struct vx_opening *o, const char *dir, struct levels *l, unsigned i, struct vx_err *e)
{
	return read_dataset(o, dir, &l->array[i], &l->own[i], &l->err[i], e);
}

/* The document of what may be a group: 0, -ENODATA when there is none, or the failure. */
static int read_group(struct vx_opening *o, const char *dir, struct vx_n5_group *ret, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *text = NULL;
	int r = vx_opening_read(o, dir, document, &text, e);

	if (r == 0)
		r = vx_opening_parsed(o, dir, document, vx_n5_group_parse((const char *)text->data, text->len, ret, e));
	return r;
}

/* Levels that the group lists must be there, or are bad; those that it does not list end with the first missing. 1 when
 * one is there, or the first if all else hangs on it; else 0. */
static int read_levels(struct vx_opening *o, const char *dir, struct vx_n5_group *g, bool needs_first, struct levels *l,
		       struct vx_err *e)
{
	bool listed = g->image.nlevels > 0, found = false;
	int r = 0;

	for (unsigned i = 0; i < (listed ? g->image.nlevels : VX_MAX_SCALES); i++) {
		VX_AUTO_FREE char *at = NULL;
		char guess[16];

		snprintf(guess, sizeof guess, "s%u", i);
		at = vx_path_join(dir, listed ? g->image.level[i].path : guess);
		r = at ? read_level(o, at, l, i, e) : vx_no_memory(e);
		found |= r == 0;
		if (r < 0 && (r != -ENODATA || !listed || (needs_first && !found)))
			break;
		if (!listed && (r = vx_image_add(&g->image, guess, &(struct vx_json){0}, e)) < 0)
			break;
	}
	return r < 0 && r != -ENODATA ? r : found;
}

/* The extent of voxels is often put down one level up. */
static void look_above(struct vx_opening *o, struct vx_n5_group *g)
{
	struct vx_err ignored = {0};
	struct vx_n5_group above = {0};

	if (read_group(o, "..", &above, &ignored) < 0)
		return;
	g->space = above.space;
	vx_n5_group_free(&above);
}

static int build(struct vx_opening *o, const char *dir, struct vx_n5_group *g, struct levels *l, struct vx_volume **ret,
		 struct vx_err *e)
{
	VX_AUTO_FREE char *prefix = vx_opening_key(o, dir);

	vx_n5_calibrate(&g->image, g, l->own, l->array, l->err);
	return prefix ? vx_image_build(&g->image, l->array, l->err, prefix, ret, e) : vx_no_memory(e);
}

static int add(struct vx_opening *o, const char *dir, const char *name, struct vx_n5_group *g, struct levels *l,
	       struct vx_err *e)
{
	struct vx_volume *v = NULL;
	int r = build(o, dir, g, l, &v, e);

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

/* ---- BigDataViewer: setup<N>/timepoint<M>/s<K> ---- */

/* Some numbers of setups and of time points are left out: they end where this many in a row are missing. */
#define BDV_GAP 8

/* Time points of one setup. They are common to all setups, of which each may lack some: so only for the first setup are
 * gaps looked beyond, others have what is known by then and what follows at once. */
struct bdv_times {
	uint32_t n; /* one past the last that is there */
	bool *is_there;
};

struct bdv_setup {
	unsigned id;
	struct vx_n5_group group;
};

struct bdv {
	unsigned nsetups;
	struct bdv_setup *setup;
	uint32_t times; /* the most of those setups that were opened; 0: none was */
	struct vx_err first;
};

static int bdv_add_time(struct bdv_times *t, uint32_t time, struct vx_err *e)
{
	bool *more = realloc(t->is_there, (time + 1) * sizeof *more);

	if (!more)
		return vx_no_memory(e);
	t->is_there = more;
	memset(more + t->n, 0, (time - t->n) * sizeof *more);
	more[time] = true;
	t->n = time + 1;
	return 0;
}

/* A further time point is read as the first is, so its levels must have the same form. 1, or 0 when it is not there. */
static int bdv_check_time(struct vx_opening *o, const char *dir, const struct vx_n5_group *g, struct levels *l,
			  struct vx_err *e)
{
	for (unsigned i = 0; i < g->image.nlevels; i++) {
		VX_AUTO_FREE char *at = NULL;
		struct vx_array a;
		struct vx_n5_space own;
		struct vx_err bad = {0};
		int r;

		if (i && l->err[i].code)
			continue;
		at = vx_path_join(dir, g->image.level[i].path);
		r = at ? read_dataset(o, at, &a, &own, &bad, e) : vx_no_memory(e);
		if (r < 0 && r != -ENODATA)
			return r;
		if (r < 0 && i == 0)
			return 0;
		if (!bad.code && !l->err[i].code && !vx_n5_is_same_form(&a, &l->array[i]))
			vx_fail(&bad, -EOPNOTSUPP, "%s has another form than in the first time point", at);
		if (!l->err[i].code)
			l->err[i] = bad;
	}
	return 1;
}

/* The first time point says what the levels are, and perhaps the extent of voxels, without a unit. */
static int bdv_first_time(struct vx_opening *o, const char *dir, struct vx_n5_group *g, struct levels *l,
			  struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *text = NULL;
	struct vx_err ignored = {0};
	int r = read_levels(o, dir, g, true, l, e);

	if (r > 0 && !g->space.has_size && vx_opening_read(o, dir, document, &text, &ignored) == 0)
		vx_n5_space_parse((const char *)text->data, text->len, &g->space);
	if (g->space.unit_is_assumed)
		memset(g->space.unit, 0, sizeof g->space.unit);
	for (unsigned i = 0; r > 0 && i < g->image.nlevels; i++) {
		const struct vx_array *a = &l->array[i];

		if (l->err[i].code)
			continue;
		if (a->rank != 3)
			vx_fail(&l->err[i], -EOPNOTSUPP, "%s/%s has %u axes, and time points around it", dir,
				g->image.level[i].path, a->rank);
		else if (g->has_dtype && a->dtype != g->dtype)
			vx_fail(&l->err[i], -EBADMSG, "%s/%s: its type is %s and that of its setup %s", dir,
				g->image.level[i].path, vx_dtype_name(a->dtype), vx_dtype_name(g->dtype));
	}
	return r;
}

static bool bdv_is_hopeless(const struct vx_n5_group *g, const struct levels *l)
{
	for (unsigned i = 0; i < g->image.nlevels; i++)
		if (!l->err[i].code)
			return false;
	return true;
}

/* `known` time points are looked for in any case, and then `gap` beyond the last. */
static int bdv_find_times(struct vx_opening *o, const char *dir, struct vx_n5_group *g, uint32_t known, uint32_t gap,
			  struct levels *l, struct bdv_times *ret, struct vx_err *e)
{
	for (uint32_t t = 0; t < (ret->n > known ? ret->n : known) + gap && t <= VX_MAX_TIMES; t++) {
		VX_AUTO_FREE char *at = NULL;
		char own[32];
		int r;

		snprintf(own, sizeof own, "timepoint%u", t);
		at = vx_path_join(dir, own);
		r = !at ? vx_no_memory(e) : ret->n ? bdv_check_time(o, at, g, l, e) : bdv_first_time(o, at, g, l, e);
		if (r > 0)
			r = bdv_add_time(ret, t, e);
		if (r < 0)
			return r;
		if (ret->n && bdv_is_hopeless(g, l))
			break;
	}
	return 0;
}

static int bdv_add(struct vx_opening *o, const char *dir, const char *name, struct vx_n5_group *g, struct levels *l,
		   const struct bdv_times *t, struct vx_err *e)
{
	bool *absent = calloc(t->n, sizeof *absent);
	struct vx_volume *v = NULL;
	int r;

	if (!absent)
		return vx_no_memory(e);
	for (uint32_t i = 0; i < t->n; i++)
		absent[i] = !t->is_there[i];
	for (unsigned i = 0; i < g->image.nlevels; i++)
		l->array[i].times_apart = t->n;
	r = build(o, dir, g, l, &v, e);
	if (r < 0) {
		free(absent);
		return r;
	}
	v->time_absent = absent;
	r = vx_opening_add(o, name, v, e);
	return r < 0 ? r : 1;
}

/* 1, or 0 when it has no time points. */
static int bdv_open_setup(struct vx_opening *o, const char *dir, const char *name, struct vx_n5_group *g, struct bdv *b,
			  struct vx_err *e)
{
	VX_AUTO_FREE struct levels *l = calloc(1, sizeof *l);
	struct bdv_times times = {0};
	int r = l ? bdv_find_times(o, dir, g, b->times, b->times ? 1 : BDV_GAP, l, &times, e) : vx_no_memory(e);

	if (r == 0 && times.n)
		r = bdv_add(o, dir, name, g, l, &times, e);
	if (r > 0 && times.n > b->times)
		b->times = times.n;
	free(times.is_there);
	return r;
}

/* What is wrong with one setup spares the others. */
static int bdv_spare(struct vx_opening *o, struct bdv *b, int r, struct vx_err *e)
{
	if (!vx_opening_may_go_on(r))
		return r;
	vx_log(VX_LOG_WARN, "%s: %s", o->name, e->why);
	if (!b->first.code)
		b->first = *e;
	return 0;
}

static int bdv_find_setup(struct vx_opening *o, const char *dir, unsigned id, struct bdv *b, struct vx_err *e)
{
	struct bdv_setup found = {.id = id}, *more;
	int r = read_group(o, dir, &found.group, e);

	if (r == -ENODATA)
		return 0;
	if (r < 0)
		return vx_fail_prefix(e, "%s", dir);
	more = realloc(b->setup, (b->nsetups + 1) * sizeof *more);
	if (!more) {
		vx_n5_group_free(&found.group);
		return vx_no_memory(e);
	}
	b->setup = more;
	b->setup[b->nsetups++] = found;
	return 1;
}

static int bdv_find_setups(struct vx_opening *o, const char *dir, struct bdv *b, struct vx_err *e)
{
	for (unsigned id = 0, end = BDV_GAP; id < end; id++) {
		VX_AUTO_FREE char *at = NULL;
		char own[24];
		int r;

		if (id == VX_MAX_VOLUMES)
			return vx_fail(e, -EFBIG, "setups from the %dth on are not supported", VX_MAX_VOLUMES);
		snprintf(own, sizeof own, "setup%u", id);
		at = vx_path_join(dir, own);
		r = at ? bdv_find_setup(o, at, id, b, e) : vx_no_memory(e);
		if (r)
			end = id + 1 + BDV_GAP;
		if (r < 0 && (r = bdv_spare(o, b, r, e)) < 0)
			return r;
	}
	return 0;
}

/* How many were opened. */
static int bdv_open_setups(struct vx_opening *o, const char *dir, const char *name, struct bdv *b, struct vx_err *e)
{
	bool alone = b->nsetups == 1 && !b->first.code;
	int n = 0;

	for (unsigned i = 0; i < b->nsetups; i++) {
		VX_AUTO_FREE char *at = NULL, *full = NULL;
		char own[24];
		int r;

		snprintf(own, sizeof own, "setup%u", b->setup[i].id);
		at = vx_path_join(dir, own);
		full = vx_path_join(name, alone ? "" : own);
		r = at && full ? bdv_open_setup(o, at, full, &b->setup[i].group, b, e) : vx_no_memory(e);
		if (r == 0)
			r = vx_fail(e, -ENODATA, "%s has no time points", at);
		n += r > 0;
		if (r < 0 && (r = bdv_spare(o, b, r, e)) < 0)
			return r;
	}
	return n;
}

/* The root: a volume for each setup. */
static int bdv_open(struct vx_opening *o, const char *dir, const char *name, struct vx_err *e)
{
	struct bdv b = {0};
	int r = bdv_find_setups(o, dir, &b, e);

	if (r == 0)
		r = bdv_open_setups(o, dir, name, &b, e);
	if (r == 0 && b.first.code)
		r = vx_fail(e, b.first.code, "%s", b.first.why);
	for (unsigned i = 0; i < b.nsetups; i++)
		vx_n5_group_free(&b.setup[i].group);
	free(b.setup);
	return r > 0 ? 1 : r;
}

/* ---- what there is ---- */

/* 1, 0 when there is nothing here, or the failure. */
static int open_group(struct vx_opening *o, const char *dir, const char *name, struct vx_n5_group *g, struct levels *l,
		      struct vx_err *e)
{
	bool listed = g->image.nlevels > 0;
	struct bdv one = {0};
	int r = read_levels(o, dir, g, false, l, e);

	if (r == 0) /* a setup lists factors, a root nothing */
		r = listed ? bdv_open_setup(o, dir, name, g, &one, e) : bdv_open(o, dir, name, e);
	else if (r > 0)
		r = add(o, dir, name, g, l, e);
	return r == 0 && listed ? add(o, dir, name, g, l, e) : r;
}

static int open_node(struct vx_opening *o, const char *dir, const char *name, struct vx_err *e)
{
	VX_AUTO_FREE struct levels *l = calloc(1, sizeof *l);
	struct vx_n5_group g = {0};
	int r = l ? read_group(o, dir, &g, e) : vx_no_memory(e);

	if (r == 0 || r == -ENODATA)
		r = g.is_dataset ? open_dataset(o, dir, name, &g, l, e) : open_group(o, dir, name, &g, l, e);
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
