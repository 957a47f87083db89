/* SPDX-License-Identifier: Apache-2.0
 * The listing is built in the wire's own form, so that READDIR is one copy; the offset of an entry is where the next
 * one begins.
 */
#include "fs/dir.h"
#include "fs/handle.h"
#include "fs/view.h"

#include <string.h>
#include <sys/stat.h>

static struct vx_fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static bool find_dir(fuse_req_t req, fuse_ino_t ino, struct vx_view *ret)
{
	if (vx_nodes_get(fs_of(req)->nodes, ino, ret))
		return true;
	fuse_reply_err(req, ENOENT);
	return false;
}

struct listing {
	struct vx_fs *fs;
	fuse_req_t req;
	char *buf;
	size_t len, cap;
	off_t entries;
	_Atomic size_t told; /* where the last answer ended: an entry begins there */
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

static void listing_free(void *p)
{
	struct listing *l = p;

	if (l)
		free(l->buf);
	free(l);
}

/* NULL when memory is short. */
static struct listing *listing_make(fuse_req_t req, fuse_ino_t ino, const struct vx_view *v)
{
	struct listing *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	l->fs = fs_of(req);
	l->req = req;
	list_add_ino(l, ".", ino, S_IFDIR);
	list_add_ino(l, "..", 0xffffffff, S_IFDIR);
	vx_view_list(l->fs, v, list_add, l);
	if (!l->failed)
		return l;
	listing_free(l);
	return NULL;
}

void vx_on_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vx_fs *fs = fs_of(req);
	struct listing *l;
	struct vx_view v;

	if (!find_dir(req, ino, &v))
		return;
	l = listing_make(req, ino, &v);
	fi->fh = l ? vx_handles_put(fs->handles, l, listing_free) : 0;
	if (!fi->fh) {
		listing_free(l);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (fuse_reply_open(req, fi) != 0)
		listing_free(vx_handles_drop(fs->handles, fi->fh));
}

/* Whole entries only: a record never straddles two answers. */
static size_t whole_entries(const struct listing *l, size_t off, size_t size)
{
	size_t end = off;

	while (end < l->len) {
		uint64_t next;

		memcpy(&next, l->buf + end + 8, sizeof next); /* struct fuse_dirent: ino, off, ... */
		if (next <= end || next > l->len || next - off > size)
			break;
		end = next;
	}
	return end - off;
}

/* The first entry at or behind `off`, which may be from another server's listing, or anything: clients can seek. */
static size_t entry_at(const struct listing *l, size_t off)
{
	size_t at = 0;

	while (at < off && at < l->len) {
		uint64_t next;

		memcpy(&next, l->buf + at + 8, sizeof next);
		at = next;
	}
	return at;
}

void vx_on_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct vx_fs *fs = fs_of(req);
	struct listing *known = vx_handles_get(fs->handles, fi->fh), *l = known;
	struct vx_view v;
	size_t at, n;

	if (!known) { /* opened by the server before */
		if (!find_dir(req, ino, &v))
			return;
		l = listing_make(req, ino, &v);
	}
	if (!l) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	at = off < 0 ? l->len : (size_t)off == l->told ? (size_t)off : entry_at(l, (size_t)off);
	n = at < l->len ? whole_entries(l, at, size) : 0;
	l->told = at + n;
	fuse_reply_buf(req, n ? l->buf + at : NULL, n);
	if (!known)
		listing_free(l);
}

void vx_on_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	listing_free(vx_handles_drop(fs_of(req)->handles, fi->fh));
	fuse_reply_err(req, 0);
}
