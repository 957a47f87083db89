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
#include "fs/dir.h"
#include "fs/handle.h"
#include "fs/lazy.h"
#include "fs/notify.h"
#include "fs/passthrough.h"
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

/* ---- opening boxes ---- */

struct box_open {
	struct vx_pending pending;
	struct vx_waiter waiter;
	struct vx_fs *fs;
	struct vx_view view;
	struct fuse_file_info fi;
	uint64_t unique, t0;
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

/* One open less. */
static void give_back(struct vx_fs *fs, struct vx_cbox *b)
{
	if (!vx_session_passthrough(fs->session))
		vx_cache_unmap(fs->cache, b);
	vx_boxes_close(fs->boxes, b);
}

static void close_box(struct vx_fs *fs, uint64_t fh)
{
	struct vx_cbox *b = vx_handles_close_box(fs->handles, fh);

	if (b) /* else closed already: the kernel may send a RELEASE again to a new server */
		give_back(fs, b);
}

/* The box is open for this request. The answer may be the kernel's last word on it: nothing is touched after. */
static void reply_box(struct vx_fs *fs, fuse_req_t req, uint64_t unique, fuse_ino_t ino, const struct vx_view *v,
		      struct fuse_file_info *fi, struct vx_cbox *b)
{
	bool passthrough = vx_session_passthrough(fs->session);
	struct vx_err e = {0};
	int r = passthrough ? 0 : vx_cache_map(fs->cache, b, &e);

	if (r < 0) {
		vx_boxes_close(fs->boxes, b);
		vx_view_fail(fs, req, ino, v, &e);
		return;
	}
	fi->fh = vx_handles_open_box(fs->handles, b, unique);
	if (!fi->fh) {
		give_back(fs, b);
		fuse_reply_err(req, ENFILE);
		return;
	}
	fi->keep_cache = 1;
	fi->noflush = 1;
	if (passthrough)
		r = vx_session_reply_passthrough(req, fi->fh, b->object.share_id);
	else
		r = fuse_reply_open(req, fi);
	if (r != 0) /* the client is gone: there will be no RELEASE */
		close_box(fs, fi->fh);
}

static void open_done(struct vx_waiter *w, struct vx_cbox *b, const struct vx_err *e)
{
	struct box_open *o = vx_container_of(w, struct box_open, waiter);
	fuse_req_t req = vx_pending_claim(&o->fs->pending, &o->pending);

	if (req && e->code)
		vx_view_fail(o->fs, req, o->pending.ino, &o->view, e);
	else if (req) {
		VX_TIMING(open_miss, vx_now_ns() - o->t0);
		vx_nodes_set_error(o->fs->nodes, o->pending.ino, ""); /* an earlier failure is over */
		reply_box(o->fs, req, o->unique, o->pending.ino, &o->view, &o->fi, b);
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
	*o = (struct box_open){.pending = {.ino = ino, .view = &o->view, .cancel = open_cancel, .free = open_free},
			       .waiter = {.done = open_done},
			       .fs = fs,
			       .view = *v,
			       .fi = *fi,
			       .unique = vx_request_unique(),
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
	struct vx_cbox *b = vx_handles_asked_again(fs->handles, vx_request_unique());
	struct vx_err e = {0};
	int r;

	vx_session_passthrough(fs->session); /* decided before the first box is shared */
	if (b)                               /* the server before had opened it for this request, but not answered */
		give_back(fs, vx_steal(b));
	r = vx_boxes_open_resident(fs->boxes, v->src, v->mip, &v->box, &b, &e);
	if (r == 0) {
		reply_box(fs, req, vx_request_unique(), ino, v, fi, b);
		VX_TIMING(open_hit, vx_now_ns() - t0);
	} else if (r == -EAGAIN) {
		open_missing_box(fs, req, ino, v, fi, t0);
	} else {
		vx_view_fail(fs, req, ino, v, &e);
	}
}

/* ---- opening the rest ---- */

static void open_text(struct vx_fs *fs, fuse_req_t req, struct fuse_file_info *fi, char *text)
{
	fi->fh = text ? vx_handles_put(fs->handles, text, free) : 0;
	if (!fi->fh) {
		free(text);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fi->direct_io = 1; /* its size is not known before it is made */
	if (fuse_reply_open(req, fi) != 0)
		free(vx_handles_drop(fs->handles, fi->fh));
}

static void close_lazy(void *p)
{
	vx_lazy_close(p);
}

static void open_lazy(struct vx_fs *fs, fuse_req_t req, const struct vx_view *v, struct fuse_file_info *fi)
{
	struct vx_lazy *z = vx_lazy_open(fs, v);

	fi->fh = z ? vx_handles_put(fs->handles, z, close_lazy) : 0;
	if (!fi->fh) {
		if (z)
			vx_lazy_close(z);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	/* A read that fetches must be interruptible. Reads through the page cache are not: the kernel sends them for
	 * nobody in particular. Maps go through the page cache all the same. */
	fi->direct_io = vx_session_maps_direct(fs->session);
	fi->keep_cache = 1;
	fi->noflush = 1;
	if (fuse_reply_open(req, fi) != 0)
		vx_lazy_close(vx_handles_drop(fs->handles, fi->fh));
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
		open_text(fs, req, fi, vx_control_stats(fs));
		return;
	case VX_NODE_ERRORS:
		open_text(fs, req, fi, vx_control_errors(fs));
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

/* Forgets the handle before the answer: a RELEASE that is sent again, because its server died, finds nothing then. The
 * kernel itself has let go of the object before it sends one. */
static void on_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vx_fs *fs = fs_of(req);
	struct vx_view v;
	void *p = NULL;

	VX_COUNT(fuse_releases);
	close_box(fs, fi->fh); /* whether or not the node is known */
	if (vx_nodes_get(fs->nodes, ino, &v))
		p = vx_handles_drop(fs->handles, fi->fh);
	if (p && (v.kind == VX_NODE_STATS || v.kind == VX_NODE_ERRORS))
		free(p);
	else if (p)
		vx_lazy_close(p);
	fuse_reply_err(req, 0);
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

/* A file that the server before has opened is made anew where it is met. */
struct remake {
	struct vx_fs *fs;
	const struct vx_view *view;
};

static void *remake_lazy(void *ctx)
{
	const struct remake *m = ctx;

	return vx_lazy_open(m->fs, m->view);
}

static void *remake_text(void *ctx)
{
	const struct remake *m = ctx;

	return m->view->kind == VX_NODE_STATS ? vx_control_stats(m->fs) : vx_control_errors(m->fs);
}

static void read_lazily(struct vx_fs *fs, fuse_req_t req, fuse_ino_t ino, const struct vx_view *v, uint64_t fh,
			size_t size, off_t off)
{
	struct remake m = {.fs = fs, .view = v};
	struct vx_lazy *z = vx_handles_get_or(fs->handles, fh, remake_lazy, &m, close_lazy);

	if (z)
		vx_lazy_read(z, req, ino, size, (uint64_t)off);
	else
		fuse_reply_err(req, ENOMEM);
}

static void read_text(struct vx_fs *fs, fuse_req_t req, const struct vx_view *v, uint64_t fh, size_t size, off_t off)
{
	struct remake m = {.fs = fs, .view = v};
	const char *text = vx_handles_get_or(fs->handles, fh, remake_text, &m, free);

	if (text)
		reply_slice(req, text, strlen(text), size, off);
	else
		fuse_reply_err(req, ENOMEM);
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct vx_fs *fs = fs_of(req);
	struct vx_cbox *b;
	struct vx_view v;

	VX_COUNT(fuse_reads);
	if (!view_of(req, ino, &v))
		return;
	switch (v.kind) {
	case VX_NODE_EAGER: /* mounts without passthrough: the box is mapped while it is open */
		b = vx_handles_box(fs->handles, fi->fh);
		if (b && vx_cache_mapped(fs->cache, b)) {
			VX_COUNT_ADD(fuse_read_bytes, size);
			reply_slice(req, vx_cache_mapped(fs->cache, b), v.bytes, size, off);
			return;
		}
		read_lazily(fs, req, ino, &v, fi->fh, size, off); /* it was lost with the server that had it */
		return;
	case VX_NODE_LAZY:
	case VX_NODE_ALL:
		read_lazily(fs, req, ino, &v, fi->fh, size, off);
		return;
	case VX_NODE_STATS:
	case VX_NODE_ERRORS:
		read_text(fs, req, &v, fi->fh, size, off);
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
    .opendir = vx_on_opendir,
    .readdir = vx_on_readdir,
    .releasedir = vx_on_releasedir,
    .open = on_open,
    .release = on_release,
    .read = on_read,
    .getxattr = on_getxattr,
    .listxattr = on_listxattr,
};
