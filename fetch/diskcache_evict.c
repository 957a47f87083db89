/* SPDX-License-Identifier: Apache-2.0
 * Making room in a cache directory, a folder at a time, by one process at a time: whoever holds the flock of
 * `evicting`. A round counts every entry and how long it has not been used, which also puts right what processes that
 * died have left; then it removes the oldest down to seven eighths of the limit. So an entry is looked at twice for
 * each eighth of the cache that goes, and nothing but a histogram is kept in memory.
 *
 * Counting takes a while and others write meanwhile. What was added since the round began is added to what was counted,
 * so that something may count twice, but nothing is left out: files being written are in `new`, which is read first,
 * with their size to be in their name.
 */
#include "fetch/diskcache_impl.h"

#include "base/clock.h"
#include "base/ledger.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#define LOCK_NAME "evicting"
#define AGAIN_NS (5 * VX_SEC) /* after a round that did not help, or for the sake of others on the disk */
#define SOON_NS (20 * VX_MS)  /* while another process does it */
#define NAME_DIGITS (VX_ENTRY_NAME - 4)

static uint64_t high(const struct vx_diskcache *dc)
{
	return dc->limit - dc->limit / 16;
}

bool vx_dc_evict_is_due(const struct vx_diskcache *dc)
{
	return (dc->bytes > high(dc) || dc->full) && vx_now_ns() >= dc->evict.not_before_ns;
}

bool vx_dc_evict_stops(const struct vx_diskcache *dc)
{
	const struct vx_dc_evict *v = &dc->evict;

	return dc->quit && ((v->active && !v->counting) || vx_now_ns() >= dc->end_by_ns);
}

static unsigned bucket_of(uint64_t age_ms)
{
	unsigned log = age_ms ? 63 - (unsigned)__builtin_clzll(age_ms) : 0;
	uint64_t eighth = log >= 3 ? age_ms >> (log - 3) & 7 : age_ms << (3 - log) & 7;
	unsigned b = log * 8 + (unsigned)eighth;

	return b < VX_DC_AGES ? b : VX_DC_AGES - 1;
}

static unsigned bucket(const struct vx_dc_evict *v, const struct stat *st)
{
	uint64_t then = (uint64_t)st->st_mtim.tv_sec * 1000 + (uint64_t)st->st_mtim.tv_nsec / VX_MS;

	return st->st_mtim.tv_sec < 0 ? VX_DC_AGES - 1 : bucket_of(then < v->now_ms ? v->now_ms - then : 0);
}

static int lock_round(struct vx_diskcache *dc)
{
	int fd = openat(dc->dir_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

bool vx_dc_evict_begin(struct vx_diskcache *dc, uint64_t wanted)
{
	struct vx_dc_evict *v = &dc->evict;
	struct vx_dc_usage u;
	uint64_t now = vx_now_ns();
	int fd;

	if (now < v->not_before_ns)
		return false;
	fd = lock_round(dc);
	if (fd < 0) {
		v->not_before_ns = now + SOON_NS;
		return false;
	}
	if (vx_dc_usage_lock(dc, &u) < 0) {
		close(fd);
		return false;
	}
	vx_dc_usage_unlock(dc, NULL);
	*v = (struct vx_dc_evict){
	    .active = true,
	    .counting = true,
	    .lock_fd = fd,
	    .wanted = wanted,
	    .now_ms = vx_dc_wall_ns() / VX_MS,
	    .added_before = u.added,
	};
	VX_COUNT(diskcache_rounds);
	return true;
}

void vx_dc_evict_end(struct vx_diskcache *dc)
{
	struct vx_dc_evict *v = &dc->evict;

	if (!v->active)
		return;
	v->active = false;
	v->not_before_ns = dc->full || (dc->bytes > high(dc) && !v->helped) ? vx_now_ns() + AGAIN_NS : 0;
	dc->full = false;
	vx_close_scope(&v->lock_fd);
	v->lock_fd = -1;
}

/* A folder that is still to be counted will show what was added by itself; one that has been does not show what went.
 */
void vx_dc_evict_saw(struct vx_diskcache *dc, const char *name, uint64_t added, uint64_t removed)
{
	struct vx_dc_evict *v = &dc->evict;

	if (!v->active || !v->counting)
		return;
	if (strtoul((char[]){name[0], name[1], 0}, NULL, 16) >= v->dir)
		v->added_before += added;
	else
		v->counted -= vx_min_u64(removed, v->counted);
}

/* ---- a folder ---- */

static DIR *open_folder(struct vx_diskcache *dc, const char *name)
{
	int fd = openat(dc->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

/* A file whose writer has died is nobody's. */
static void count_new(struct vx_diskcache *dc)
{
	DIR *d = open_folder(dc, "new");
	struct dirent *f;

	while (d && (f = readdir(d))) {
		unsigned long long charge;
		VX_AUTO_CLOSE int fd = -1;

		if (f->d_name[0] == '.' || (dc->writing[0] && !strcmp(f->d_name, strchr(dc->writing, '/') + 1)))
			continue;
		fd = openat(dirfd(d), f->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			unlinkat(dirfd(d), f->d_name, 0);
		else if (sscanf(f->d_name, "%llx.", &charge) == 1 && charge <= dc->limit)
			dc->evict.counted += charge;
	}
	if (d)
		closedir(d);
}

static void count_one(struct vx_dc_evict *v, const struct stat *st)
{
	uint64_t charge = vx_dc_charge((uint64_t)st->st_size);

	v->counted += charge;
	v->age[bucket(v, st)] += charge;
}

static void remove_if_old(struct vx_diskcache *dc, const char *name, const struct stat *st)
{
	struct vx_dc_evict *v = &dc->evict;
	uint64_t charge = vx_dc_charge((uint64_t)st->st_size);
	unsigned b = bucket(v, st);

	if (b < v->oldest_kept || (b == v->oldest_kept && !v->partly))
		return;
	if (vx_dc_remove(dc, name, st->st_ino) < 0)
		return;
	if (b == v->oldest_kept)
		v->partly -= vx_min_u64(charge, v->partly);
	v->helped = true;
	VX_COUNT(diskcache_evictions);
	VX_COUNT_ADD(diskcache_evicted_bytes, charge);
}

static void do_folder(struct vx_diskcache *dc, unsigned number)
{
	char folder[8], name[VX_ENTRY_NAME];
	struct dirent *f;
	struct stat st;
	DIR *d;

	snprintf(folder, sizeof folder, "%02x", number);
	d = open_folder(dc, folder);
	while (d && !vx_dc_evict_stops(dc) && (f = readdir(d))) {
		if (strlen(f->d_name) != NAME_DIGITS || fstatat(dirfd(d), f->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		snprintf(name, sizeof name, "%.2s/%.30s", folder, f->d_name);
		if (dc->evict.counting)
			count_one(&dc->evict, &st);
		else
			remove_if_old(dc, name, &st);
	}
	if (d)
		closedir(d);
}

/* ---- the round ---- */

/* Everything is counted: what is to go? False: nothing, the round is over. */
static bool judge(struct vx_diskcache *dc)
{
	struct vx_dc_evict *v = &dc->evict;
	struct vx_dc_usage u;
	uint64_t low, excess;
	unsigned b = VX_DC_AGES;

	if (vx_dc_usage_lock(dc, &u) < 0)
		return false;
	u.bytes = v->counted + (u.added - v->added_before);
	u.known = true;
	if (vx_dc_usage_unlock(dc, &u) < 0)
		return false;
	low = dc->full ? vx_min_u64(u.bytes, dc->limit) / 8 * 7 : dc->limit / 8 * 7;
	low = vx_min_u64(low, dc->limit - v->wanted);
	if (u.bytes <= (dc->full ? low : vx_min_u64(high(dc), dc->limit - v->wanted)))
		return false;
	excess = u.bytes - low;
	while (b > 0 && v->age[b - 1] < excess)
		excess -= v->age[--b];
	v->oldest_kept = b ? b - 1 : 0;
	v->partly = excess;
	return true;
}

void vx_dc_evict_step(struct vx_diskcache *dc)
{
	struct vx_dc_evict *v = &dc->evict;

	if (v->counting && v->dir == 0)
		count_new(dc);
	do_folder(dc, v->dir++);
	if (v->dir < VX_DC_DIRS && !vx_dc_evict_stops(dc))
		return;
	v->dir = 0;
	if (vx_dc_evict_stops(dc) || !v->counting || !judge(dc))
		vx_dc_evict_end(dc);
	else
		v->counting = false;
}
