/* SPDX-License-Identifier: Apache-2.0
 * The FUSE operations. Each validates, calls, and answers exactly once; none waits. Open boxes carry their cache entry
 * as file handle, so that the hit path allocates nothing.
 *
 * A node is opened in one mode for ever: boxes by passthrough (or, on mounts without it, through the page cache), lazy
 * and control files directly. The kernel refuses a mixture with EIO.
 */
#include "base/clock.h"
#include "base/ledger.h"
#include "fs/control.h"
#include "fs/lazy.h"
#include "fs/notify.h"
#include "fs/session.h"
#include "fs/view.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#define FOR_EVER 86400.0 /* what a name means never changes while the mount lives */
#define ERROR_XATTR "user.voxfs.error"

static struct vx_fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* The view of a node that a request names; answers ENOENT when the kernel asks for one that it has forgotten. */
static bool view_of(fuse_req_t req, fuse_ino_t ino, struct vx_view *ret)
{
	if (vx_nodes_get(fs_of(req)->nodes, ino, ret))
		return true;
	fuse_reply_err(req, ENOENT);
	return false;
}

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	/* Contents never change behind the kernel's back; answers come from memory; listings need no attributes. */
	conn->want &=
	    ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
			FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_WRITEBACK_CACHE);
	if (conn->capable & FUSE_CAP_EXPLICIT_INVAL_DATA)
		conn->want |= FUSE_CAP_EXPLICIT_INVAL_DATA;
	conn->max_background = 128;
	conn->congestion_threshold = 96;
	conn->max_readahead = 1 << 20;
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct vx_fs *fs = fs_of(req);
	struct fuse_entry_param e = {.attr_timeout = FOR_EVER, .entry_timeout = FOR_EVER};
	struct vx_view dir, v;
	fuse_ino_t ino;

	VX_COUNT(fuse_lookups);
	if (!view_of(req, parent, &dir))
		return;
	if (!vx_view_find(fs, &dir, name, &v)) {
		fuse_reply_entry(req, &e); /* number 0: remembered as absent */
		return;
	}
	ino = vx_nodes_lookup(fs->nodes, &v, parent);
	if (!ino) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	e.ino = ino;
	vx_view_stat(fs, &v, ino, &e.attr);
	if (fuse_reply_entry(req, &e) != 0)
		vx_nodes_forget(fs->nodes, ino, 1); /* the kernel never learnt of it */
	vx_notifier_poke(fs->notifier);
}

static void on_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	vx_nodes_forget(fs_of(req)->nodes, ino, nlookup);
	fuse_reply_none(req);
}

static void on_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		vx_nodes_forget(fs_of(req)->nodes, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vx_view v;
	struct stat st;

	(void)fi;
	if (!view_of(req, ino, &v))
		return;
	vx_view_stat(fs_of(req), &v, ino, &st);
	fuse_reply_attr(req, &st, FOR_EVER);
}

static void on_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	(void)ino, (void)attr, (void)to_set, (void)fi;
	fuse_reply_err(req, EROFS);
}

static void on_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct vx_cache_stats s;
	struct statvfs v = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = VX_MAX_NAME};

	(void)ino;
	vx_cache_stats(fs_of(req)->cache, &s);
	v.f_blocks = s.limit / 4096;
	v.f_bfree = v.f_bavail = (s.limit - vx_min_u64(s.bytes, s.limit)) / 4096;
	v.f_files = s.objects;
	fuse_reply_statfs(req, &v);
}

/* ---- directories: a snapshot taken at opendir ---- */

struct listing {
	struct vx_fs *fs;
	fuse_req_t req;
	char *buf;
	size_t len, cap;
	off_t entries;
	bool failed;
};

static void list_add_ino(struct listing *l, const char *name, fuse_ino_t ino, mode_t mode)
{
	struct stat st = {.st_ino = ino, .st_mode = mode};
	size_t need = fuse_add_direntry(l->req, NULL, 0, name, NULL, 0);

	if (l->failed)
		return;
	if (l->len + need > l->cap) {
		size_t cap = (l->len + need) * 2 + 4096;
		char *bigger = realloc(l->buf, cap);

		if (!bigger) {
			l->failed = true;
			return;
		}
		l->buf = bigger;
		l->cap = cap;
	}
	l->entries++;
	/* The offset of an entry is where the next one begins, so that READDIR is one copy. */
	fuse_add_direntry(l->req, l->buf + l->len, l->cap - l->len, name, &st, (off_t)(l->len + need));
	l->len += need;
}

static void list_add(void *ctx, const char *name, const struct vx_view *v)
{
	struct listing *l = ctx;
	uint64_t ino = vx_nodes_find(l->fs->nodes, v);

	list_add_ino(l, name, ino ? ino : 0xffffffff, vx_view_is_dir(v) ? S_IFDIR : S_IFREG);
}

static void on_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct listing *l;
	struct vx_view v;

	if (!view_of(req, ino, &v))
		return;
	l = calloc(1, sizeof *l);
	if (!l) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	l->fs = fs_of(req);
	l->req = req;
	list_add_ino(l, ".", ino, S_IFDIR);
	list_add_ino(l, "..", 0xffffffff, S_IFDIR);
	vx_view_list(l->fs, &v, list_add, l);
	if (l->failed) {
		free(l->buf);
		free(l);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fi->fh = (uintptr_t)l;
	if (fuse_reply_open(req, fi) != 0) {
		free(l->buf);
		free(l);
	}
}

/* Whole entries only: a record never straddles two answers. */
static size_t whole_entries(const struct listing *l, size_t off, size_t size)
{
	size_t end = off;

	while (end < l->len) {
		uint64_t next;

		memcpy(&next, l->buf + end + 8, sizeof next); /* struct fuse_dirent: ino, off, ... */
		if (next - off > size)
			break;
		end = next;
	}
	return end - off;
}

static void on_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	const struct listing *l = (const struct listing *)(uintptr_t)fi->fh;

	(void)ino;
	if (off < 0 || (size_t)off >= l->len)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, l->buf + off, whole_entries(l, (size_t)off, size));
}

static void on_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct listing *l = (struct listing *)(uintptr_t)fi->fh;

	(void)ino;
	free(l->buf);
	free(l);
	fuse_reply_err(req, 0);
}

/* ---- opening boxes ---- */

struct box_open {
	struct vx_pending pending;
	struct vx_waiter waiter;
	struct vx_fs *fs;
	fuse_ino_t ino;
	struct vx_view view;
	struct fuse_file_info fi;
	uint64_t t0;
};

static void open_free(struct vx_pending *p)
{
	free(vx_container_of(p, struct box_open, pending));
}

static bool open_cancel(struct vx_pending *p)
{
	struct box_open *o = vx_container_of(p, struct box_open, pending);

	return vx_boxes_cancel(o->fs->boxes, &o->waiter);
}

/* The box is open for this request. The answer may be the kernel's last word on it: nothing is touched after. */
static void reply_box(struct vx_fs *fs, fuse_req_t req, fuse_ino_t ino, const struct vx_view *v,
		      struct fuse_file_info *fi, struct vx_cbox *b)
{
	struct vx_err e = {0};
	int r;

	fi->fh = (uintptr_t)b;
	if (vx_session_passthrough(fs->session)) {
		r = vx_session_reply_passthrough(req, fi->fh, b->share_id);
	} else {
		r = vx_cache_map(fs->cache, b, &e);
		if (r < 0) {
			vx_boxes_close(fs->boxes, b);
			vx_view_fail(fs, req, ino, v, &e);
			return;
		}
		fi->keep_cache = 1;
		fi->noflush = 1;
		r = fuse_reply_open(req, fi);
		if (r != 0)
			vx_cache_unmap(fs->cache, b);
	}
	if (r != 0) /* the client is gone: there will be no RELEASE */
		vx_boxes_close(fs->boxes, b);
}

static void open_done(struct vx_waiter *w, struct vx_cbox *b, const struct vx_err *e)
{
	struct box_open *o = vx_container_of(w, struct box_open, waiter);
	fuse_req_t req = vx_pending_claim(&o->fs->pending, &o->pending);

	if (req && e->code)
		vx_view_fail(o->fs, req, o->ino, &o->view, e);
	else if (req) {
		VX_TIMING(open_miss, vx_now_ns() - o->t0);
		vx_nodes_set_error(o->fs->nodes, o->ino, ""); /* an earlier failure is over */
		reply_box(o->fs, req, o->ino, &o->view, &o->fi, b);
	} else if (b)
		vx_boxes_close(o->fs->boxes, b);
	free(o);
}

static void open_missing_box(struct vx_fs *fs, fuse_req_t req, fuse_ino_t ino, const struct vx_view *v,
			     struct fuse_file_info *fi, uint64_t t0)
{
	struct box_open *o = calloc(1, sizeof *o);
	struct vx_cbox *b = NULL;
	struct vx_err e = {0};
	uint32_t client = (uint32_t)fuse_req_ctx(req)->pid;
	int r;

	if (!o) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*o = (struct box_open){.pending = {.cancel = open_cancel, .free = open_free},
			       .waiter = {.done = open_done},
			       .fs = fs,
			       .ino = ino,
			       .view = *v,
			       .fi = *fi,
			       .t0 = t0};
	if (!vx_pending_begin(&fs->pending, &o->pending, req)) {
		free(o);
		return;
	}
	r = vx_boxes_open(fs->boxes, v->src, v->mip, &v->box, v->bytes, client, &o->waiter, &b, &e);
	if (r != -EINPROGRESS)
		open_done(&o->waiter, b, &e); /* resident after all, or failed at once */
}

static void open_box(struct vx_fs *fs, fuse_req_t req, fuse_ino_t ino, const struct vx_view *v,
		     struct fuse_file_info *fi)
{
	uint64_t t0 = vx_now_ns();
	struct vx_cbox *b = NULL;
	struct vx_err e = {0};
	int r;

	vx_session_passthrough(fs->session); /* decided before the first box is shared */
	r = vx_boxes_open_resident(fs->boxes, v->src, v->mip, &v->box, &b, &e);
	if (r == 0) {
		reply_box(fs, req, ino, v, fi, b);
		VX_TIMING(open_hit, vx_now_ns() - t0);
	} else if (r == -EAGAIN) {
		open_missing_box(fs, req, ino, v, fi, t0);
	} else {
		vx_view_fail(fs, req, ino, v, &e);
	}
}

/* ---- opening the rest ---- */

static void open_text(fuse_req_t req, struct fuse_file_info *fi, char *text)
{
	if (!text) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fi->fh = (uintptr_t)text;
	fi->direct_io = 1; /* its size is not known before it is made */
	if (fuse_reply_open(req, fi) != 0)
		free(text);
}

static void open_lazy(struct vx_fs *fs, fuse_req_t req, const struct vx_view *v, struct fuse_file_info *fi)
{
	struct vx_lazy *z = vx_lazy_open(fs, v);

	if (!z) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fi->fh = (uintptr_t)z;
	/* A read that fetches must be interruptible. Reads through the page cache are not: the kernel sends them for
	 * nobody in particular. Maps go through the page cache all the same. */
	fi->direct_io = vx_session_maps_direct(fs->session);
	fi->keep_cache = 1;
	fi->noflush = 1;
	if (fuse_reply_open(req, fi) != 0)
		vx_lazy_close(z);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vx_fs *fs = fs_of(req);
	struct vx_view v;

	VX_COUNT(fuse_opens);
	if (!view_of(req, ino, &v))
		return;
	if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EROFS);
		return;
	}
	switch (v.kind) {
	case VX_NODE_EAGER:
		open_box(fs, req, ino, &v, fi);
		return;
	case VX_NODE_LAZY:
	case VX_NODE_ALL:
		open_lazy(fs, req, &v, fi);
		return;
	case VX_NODE_STATS:
		open_text(req, fi, vx_control_stats(fs));
		return;
	case VX_NODE_ERRORS:
		open_text(req, fi, vx_control_errors(fs));
		return;
	case VX_NODE_INFO:
		fi->keep_cache = 1;
		fi->noflush = 1;
		fuse_reply_open(req, fi);
		return;
	case VX_NODE_ROOT:
	case VX_NODE_VOLUME:
	case VX_NODE_CONTROL:
		break;
	}
	fuse_reply_err(req, EISDIR);
}

static void on_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vx_fs *fs = fs_of(req);
	struct vx_view v;
	void *handle = (void *)(uintptr_t)fi->fh;
	bool known = vx_nodes_get(fs->nodes, ino, &v);

	VX_COUNT(fuse_releases);
	fuse_reply_err(req, 0); /* first: a count may be too high for a moment, never too low */
	if (!known)
		return;
	switch (v.kind) {
	case VX_NODE_EAGER:
		if (!vx_session_passthrough(fs->session))
			vx_cache_unmap(fs->cache, handle);
		vx_boxes_close(fs->boxes, handle);
		return;
	case VX_NODE_LAZY:
	case VX_NODE_ALL:
		vx_lazy_close(handle);
		return;
	case VX_NODE_STATS:
	case VX_NODE_ERRORS:
		free(handle);
		return;
	default:
		return;
	}
}

/* ---- reading ---- */

static void reply_slice(fuse_req_t req, const char *text, uint64_t len, size_t size, off_t off)
{
	uint64_t at = (uint64_t)off;

	if (at >= len)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, text + at, vx_min_u64(size, len - at));
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct vx_fs *fs = fs_of(req);
	void *handle = (void *)(uintptr_t)fi->fh;
	struct vx_view v;

	VX_COUNT(fuse_reads);
	if (!view_of(req, ino, &v))
		return;
	switch (v.kind) {
	case VX_NODE_EAGER: /* mounts without passthrough: the box is mapped while it is open */
		VX_COUNT_ADD(fuse_read_bytes, size);
		reply_slice(req, vx_cache_mapped(fs->cache, handle), v.bytes, size, off);
		return;
	case VX_NODE_LAZY:
	case VX_NODE_ALL:
		vx_lazy_read(handle, req, ino, size, (uint64_t)off);
		return;
	case VX_NODE_STATS:
	case VX_NODE_ERRORS:
		reply_slice(req, handle, strlen(handle), size, off);
		return;
	case VX_NODE_INFO:
		reply_slice(req, vx_source_info(v.src, v.mip), v.bytes, size, off);
		return;
	case VX_NODE_ROOT:
	case VX_NODE_VOLUME:
	case VX_NODE_CONTROL:
		break;
	}
	fuse_reply_err(req, EISDIR);
}

/* ---- the sentence of a failure ---- */

static void reply_xattr(fuse_req_t req, const char *value, size_t len, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, len);
	else if (size < len)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, value, len);
}

static void on_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	VX_AUTO_FREE char *why = strcmp(name, ERROR_XATTR) ? NULL : vx_nodes_error(fs_of(req)->nodes, ino);

	if (why)
		reply_xattr(req, why, strlen(why), size);
	else
		fuse_reply_err(req, ENODATA);
}

static void on_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	VX_AUTO_FREE char *why = vx_nodes_error(fs_of(req)->nodes, ino);

	reply_xattr(req, ERROR_XATTR, why ? sizeof ERROR_XATTR : 0, size);
}

const struct fuse_lowlevel_ops vx_ops = {
    .init = on_init,
    .lookup = on_lookup,
    .forget = on_forget,
    .forget_multi = on_forget_multi,
    .getattr = on_getattr,
    .setattr = on_setattr,
    .statfs = on_statfs,
    .opendir = on_opendir,
    .readdir = on_readdir,
    .releasedir = on_releasedir,
    .open = on_open,
    .release = on_release,
    .read = on_read,
    .getxattr = on_getxattr,
    .listxattr = on_listxattr,
};
