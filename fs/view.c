/* SPDX-License-Identifier: Apache-2.0
 * The name grammar. Each box has one spelling, so it is never held twice: "+1", "01" and "-0" do not exist.
 */
#include "fs/view.h"
#include "base/ledger.h"

#include <stdio.h>
#include <string.h>

#define RAW ".raw"

/* A volume of several time points holds nothing itself. */
static bool is_readable(const struct vx_source *s, unsigned mip)
{
	return !s->times && mip < s->meta->nscales && !s->meta->scales[mip].bad.code;
}

static bool find_control(const char *name, struct vx_view *ret)
{
	if (!strcmp(name, "stats.json"))
		ret->kind = VX_NODE_STATS;
	else if (!strcmp(name, "errors"))
		ret->kind = VX_NODE_ERRORS;
	else
		return false;
	return true;
}

static bool find_in_root(const struct vx_fs *fs, const char *name, struct vx_view *ret)
{
	if (!strcmp(name, ".voxfs")) {
		ret->kind = VX_NODE_CONTROL;
		return true;
	}
	for (unsigned i = 0; i < fs->nsources; i++)
		if (!strcmp(fs->sources[i]->name, name)) {
			ret->kind = VX_NODE_VOLUME;
			ret->src = fs->sources[i];
			return true;
		}
	return false;
}

static bool find_mip(const struct vx_view *parent, const char *name, struct vx_view *ret)
{
	char canonical[16];
	unsigned mip;

	if (parent->mip != 0 || sscanf(name, "mip%3u", &mip) != 1)
		return false;
	snprintf(canonical, sizeof canonical, "mip%u", mip);
	if (strcmp(canonical, name) || mip == 0 || !is_readable(parent->src, mip))
		return false;
	ret->kind = VX_NODE_VOLUME;
	ret->mip = mip;
	return true;
}

static bool find_time(const struct vx_view *parent, const char *name, struct vx_view *ret)
{
	char canonical[16];
	unsigned time;

	if (!parent->src->times || sscanf(name, "t%8u", &time) != 1)
		return false;
	snprintf(canonical, sizeof canonical, "t%u", time);
	if (strcmp(canonical, name) || time >= parent->src->meta->times || !parent->src->times[time])
		return false;
	ret->kind = VX_NODE_VOLUME;
	ret->src = parent->src->times[time];
	return true;
}

/* ret->mip says of which scale. */
static bool find_info(struct vx_source *src, struct vx_view *ret)
{
	const char *text = vx_source_info(src, ret->mip);

	ret->kind = VX_NODE_INFO;
	ret->bytes = text ? strlen(text) : 0;
	return text;
}

static bool find_box(const struct vx_fs *fs, const struct vx_view *parent, const char *name, struct vx_view *ret)
{
	const struct vx_scale *s = &parent->src->meta->scales[parent->mip];
	size_t len = strlen(name);

	if (!is_readable(parent->src, parent->mip))
		return false;
	if (!strcmp(name, "all" RAW)) {
		ret->kind = VX_NODE_ALL;
		ret->box = s->bounds;
		return vx_volume_box_bytes(parent->src->meta, &ret->box, &ret->bytes);
	}
	if (len <= strlen(RAW) || strcmp(name + len - strlen(RAW), RAW) ||
	    !vx_box_parse(name, len - strlen(RAW), &ret->box) || !vx_box_contains(&s->bounds, &ret->box) ||
	    !vx_volume_box_bytes(parent->src->meta, &ret->box, &ret->bytes))
		return false;
	ret->kind = ret->bytes <= fs->opt->eager ? VX_NODE_EAGER : VX_NODE_LAZY;
	return true;
}

bool vx_view_find(const struct vx_fs *fs, const struct vx_view *parent, const char *name, struct vx_view *ret)
{
	*ret = (struct vx_view){.src = parent->src, .mip = parent->mip};
	if (parent->kind == VX_NODE_ROOT)
		return find_in_root(fs, name, ret);
	if (parent->kind == VX_NODE_CONTROL)
		return find_control(name, ret);
	if (parent->kind != VX_NODE_VOLUME)
		return false;
	if (!strcmp(name, "info.json"))
		return find_info(parent->src, ret);
	return find_time(parent, name, ret) || find_mip(parent, name, ret) || find_box(fs, parent, name, ret);
}

static bool check_box(const struct vx_fs *fs, struct vx_view *v)
{
	const struct vx_box *bounds = &v->src->meta->scales[v->mip].bounds;

	if (!is_readable(v->src, v->mip) || vx_box_empty(&v->box) || !vx_box_contains(bounds, &v->box) ||
	    !vx_volume_box_bytes(v->src->meta, &v->box, &v->bytes))
		return false;
	if (v->kind == VX_NODE_ALL)
		return vx_box_equal(&v->box, bounds);
	return v->kind == (v->bytes <= fs->opt->eager ? VX_NODE_EAGER : VX_NODE_LAZY);
}

bool vx_view_check(const struct vx_fs *fs, struct vx_view *v)
{
	v->bytes = 0;
	switch (v->kind) {
	case VX_NODE_CONTROL:
	case VX_NODE_STATS:
	case VX_NODE_ERRORS:
		return !v->src;
	case VX_NODE_VOLUME:
		return v->src && v->mip < v->src->meta->nscales && (v->mip == 0 || is_readable(v->src, v->mip));
	case VX_NODE_INFO:
		return v->src && v->mip < v->src->meta->nscales && find_info(v->src, v);
	case VX_NODE_ALL:
	case VX_NODE_EAGER:
	case VX_NODE_LAZY:
		return v->src && v->mip < v->src->meta->nscales && check_box(fs, v);
	case VX_NODE_ROOT:
		break;
	}
	return false;
}

/* Resident boxes, gathered under the cache's lock; what is done with them takes other locks. */
struct resident {
	struct resident_box {
		struct vx_box box;
		uint64_t bytes;
	} * at;
	size_t n, cap;
};

static void gather(void *ctx, const struct vx_box *box, uint64_t bytes)
{
	struct resident *r = ctx;

	if (r->n == r->cap) {
		size_t cap = r->cap * 2 + 64;
		void *bigger = realloc(r->at, cap * sizeof *r->at);

		if (!bigger)
			return; /* a listing is a help, no promise */
		r->at = bigger;
		r->cap = cap;
	}
	r->at[r->n++] = (struct resident_box){.box = *box, .bytes = bytes};
}

static void list_resident(const struct vx_view *dir, const struct resident_box *b,
			  void (*f)(void *ctx, const char *name, const struct vx_view *v), void *ctx)
{
	struct vx_view v = {.kind = VX_NODE_EAGER, .src = dir->src, .mip = dir->mip, .box = b->box, .bytes = b->bytes};
	char name[VX_BOX_NAME_MAX + sizeof RAW];
	int n = vx_box_print(&b->box, name);

	memcpy(name + n, RAW, sizeof RAW);
	f(ctx, name, &v);
}

static void list_one(const struct vx_fs *fs, const struct vx_view *dir, const char *name,
		     void (*f)(void *ctx, const char *name, const struct vx_view *v), void *ctx)
{
	struct vx_view v;

	if (vx_view_find(fs, dir, name, &v))
		f(ctx, name, &v);
}

static void list_volume(const struct vx_fs *fs, const struct vx_view *dir,
			void (*f)(void *ctx, const char *name, const struct vx_view *v), void *ctx)
{
	struct resident r = {0};

	list_one(fs, dir, "info.json", f, ctx);
	list_one(fs, dir, "all" RAW, f, ctx);
	for (uint32_t t = 0; dir->src->times && t < dir->src->meta->times; t++) {
		char name[16];

		snprintf(name, sizeof name, "t%u", t);
		list_one(fs, dir, name, f, ctx);
	}
	for (unsigned m = 1; m < dir->src->meta->nscales; m++) {
		char name[16];

		snprintf(name, sizeof name, "mip%u", m);
		list_one(fs, dir, name, f, ctx);
	}
	vx_cache_each_whole(fs->cache, dir->src, dir->mip, gather, &r);
	for (size_t i = 0; i < r.n; i++)
		list_resident(dir, &r.at[i], f, ctx);
	free(r.at);
}

void vx_view_list(const struct vx_fs *fs, const struct vx_view *dir,
		  void (*f)(void *ctx, const char *name, const struct vx_view *v), void *ctx)
{
	if (dir->kind == VX_NODE_ROOT) {
		list_one(fs, dir, ".voxfs", f, ctx);
		for (unsigned i = 0; i < fs->nsources; i++)
			list_one(fs, dir, fs->sources[i]->name, f, ctx);
	} else if (dir->kind == VX_NODE_CONTROL) {
		list_one(fs, dir, "stats.json", f, ctx);
		list_one(fs, dir, "errors", f, ctx);
	} else if (dir->kind == VX_NODE_VOLUME) {
		list_volume(fs, dir, f, ctx);
	}
}

bool vx_view_is_dir(const struct vx_view *v)
{
	return v->kind == VX_NODE_ROOT || v->kind == VX_NODE_VOLUME || v->kind == VX_NODE_CONTROL;
}

void vx_view_stat(const struct vx_fs *fs, const struct vx_view *v, uint64_t ino, struct stat *ret)
{
	memset(ret, 0, sizeof *ret);
	ret->st_ino = ino;
	ret->st_mode = (vx_view_is_dir(v) ? S_IFDIR | 0555 : S_IFREG | 0444) & ~(mode_t)fs->opt->umask;
	ret->st_nlink = vx_view_is_dir(v) ? 2 : 1;
	ret->st_size = (off_t)v->bytes;
	ret->st_blocks = (blkcnt_t)((v->bytes + 511) / 512);
	ret->st_blksize = 1 << 18; /* what cat and cp read at once: fits a second-level cache */
	ret->st_uid = fs->uid;
	ret->st_gid = fs->gid;
	ret->st_mtim = ret->st_atim = ret->st_ctim = fs->started;
}

void vx_view_path(const struct vx_view *v, char ret[VX_VIEW_PATH_MAX])
{
	char box[VX_BOX_NAME_MAX] = "all", mip[16] = "", time[16] = "";

	if (!v->src) {
		snprintf(ret, VX_VIEW_PATH_MAX, ".voxfs");
		return;
	}
	if (v->mip)
		snprintf(mip, sizeof mip, "mip%u/", v->mip);
	if (v->kind != VX_NODE_ALL)
		vx_box_print(&v->box, box);
	if (v->src->volume)
		snprintf(time, sizeof time, "t%u/", v->src->time);
	snprintf(ret, VX_VIEW_PATH_MAX, "%s/%s%s%s" RAW, v->src->name, time, mip, box);
}

void vx_view_fail(struct vx_fs *fs, fuse_req_t req, uint64_t ino, const struct vx_view *v, const struct vx_err *e)
{
	char path[VX_VIEW_PATH_MAX];
	int code = e->code == -ECANCELED ? -EINTR : e->code;

	if (code != -EINTR) {
		vx_view_path(v, path);
		vx_error_note(path, e);
		vx_nodes_set_error(fs->nodes, ino, e->why);
		VX_COUNT(fuse_errors);
	}
	fuse_reply_err(req, -code);
}
