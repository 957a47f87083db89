/* SPDX-License-Identifier: Apache-2.0
 * How many bytes a cache directory holds, counted by all processes that write into it, in one small file under its
 * flock. Bytes are added before a file is made and taken away after it has gone: a process that dies in between leaves
 * the sum too large, never too small, and the next round of making room (diskcache_evict.c) counts anew.
 */
#include "fetch/diskcache_impl.h"

#include "base/clock.h"

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <xxhash.h>

#define FILE_NAME "usage"
#define PATIENCE_MS 500 /* with a process that sits on the lock: stopped, or on a disk that hangs */

struct record {
	char magic[8];
	uint64_t bytes, added, sum;
};

static const char magic[8] = "voxfsus";

int vx_dc_usage_open(struct vx_diskcache *dc)
{
	vx_close_scope(&dc->usage_fd);
	dc->usage_fd = openat(dc->dir_fd, FILE_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return dc->usage_fd < 0 ? -errno : 0;
}

static int lock(int fd)
{
	struct timespec nap = {.tv_nsec = (long)VX_MS};

	for (int ms = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; ms++) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (ms == PATIENCE_MS)
			return -EAGAIN;
		nanosleep(&nap, NULL);
	}
	return 0;
}

static uint64_t sum_of(const struct record *r)
{
	return XXH3_64bits(r, offsetof(struct record, sum));
}

int vx_dc_usage_lock(struct vx_diskcache *dc, struct vx_dc_usage *ret)
{
	struct record r;
	struct stat st;
	int e = dc->usage_fd < 0 ? vx_dc_usage_open(dc) : 0;

	if (e < 0 || (e = lock(dc->usage_fd)) < 0)
		return e;
	if (fstat(dc->usage_fd, &st) == 0 && st.st_nlink == 0) {
		/* Somebody has emptied the directory: another file counts now. */
		if ((e = vx_dc_usage_open(dc)) < 0 || (e = lock(dc->usage_fd)) < 0)
			return e;
	}
	*ret = (struct vx_dc_usage){.known = false};
	if (pread(dc->usage_fd, &r, sizeof r, 0) == sizeof r && !memcmp(r.magic, magic, sizeof magic) &&
	    le64toh(r.sum) == sum_of(&r))
		*ret = (struct vx_dc_usage){le64toh(r.bytes), le64toh(r.added), true};
	return 0;
}

int vx_dc_usage_unlock(struct vx_diskcache *dc, const struct vx_dc_usage *u)
{
	int e = 0;

	if (u) {
		struct record r = {.bytes = htole64(u->bytes), .added = htole64(u->added)};

		memcpy(r.magic, magic, sizeof magic);
		r.sum = htole64(sum_of(&r));
		if (pwrite(dc->usage_fd, &r, sizeof r, 0) != sizeof r)
			e = errno ? -errno : -EIO;
		dc->bytes = u->bytes;
	}
	flock(dc->usage_fd, LOCK_UN);
	return e;
}

int vx_dc_reserve(struct vx_diskcache *dc, uint64_t charge)
{
	struct vx_dc_usage u;
	int r = vx_dc_usage_lock(dc, &u);

	if (r < 0)
		return r;
	if (!u.known)
		r = -ENODATA;
	else if (charge > dc->limit || u.bytes > dc->limit - charge)
		r = -ENOSPC;
	dc->bytes = u.bytes;
	if (r < 0) {
		vx_dc_usage_unlock(dc, NULL);
		return r;
	}
	u.bytes += charge;
	u.added += charge;
	return vx_dc_usage_unlock(dc, &u);
}

static void take_away(struct vx_dc_usage *u, uint64_t charge)
{
	u->bytes -= charge < u->bytes ? charge : u->bytes;
}

void vx_dc_unreserve(struct vx_diskcache *dc, uint64_t charge)
{
	struct vx_dc_usage u;

	if (vx_dc_usage_lock(dc, &u) < 0)
		return;
	take_away(&u, charge);
	vx_dc_usage_unlock(dc, u.known ? &u : NULL);
}

int vx_dc_publish(struct vx_diskcache *dc, const char *from, const char *name, uint64_t charge)
{
	char dir[3] = {name[0], name[1]};
	struct vx_dc_usage u;
	struct stat old;
	uint64_t gone;
	int r = vx_dc_usage_lock(dc, &u);

	if (r < 0)
		return r;
	gone = fstatat(dc->dir_fd, name, &old, AT_SYMLINK_NOFOLLOW) == 0 ? vx_dc_charge((uint64_t)old.st_size) : 0;
	r = renameat(dc->dir_fd, from, dc->dir_fd, name) < 0 ? -errno : 0;
	if (r == -ENOENT && (mkdirat(dc->dir_fd, dir, 0700) == 0 || errno == EEXIST))
		r = renameat(dc->dir_fd, from, dc->dir_fd, name) < 0 ? -errno : 0;
	if (r == 0) {
		take_away(&u, gone);
		vx_dc_evict_saw(dc, name, charge, gone);
	}
	vx_dc_usage_unlock(dc, r == 0 && gone && u.known ? &u : NULL);
	return r;
}

int vx_dc_remove(struct vx_diskcache *dc, const char *name, ino_t ino)
{
	struct vx_dc_usage u;
	struct stat st;
	uint64_t charge = 0;
	int r = vx_dc_usage_lock(dc, &u);

	if (r < 0)
		return r;
	if (fstatat(dc->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	else if (ino && st.st_ino != ino)
		r = -ENOENT;
	else if (unlinkat(dc->dir_fd, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0)
		r = -errno;
	else if (S_ISREG(st.st_mode))
		charge = vx_dc_charge((uint64_t)st.st_size);
	take_away(&u, charge);
	vx_dc_evict_saw(dc, name, 0, charge);
	vx_dc_usage_unlock(dc, r == 0 && u.known ? &u : NULL);
	return r;
}
