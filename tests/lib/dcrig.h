/* SPDX-License-Identifier: Apache-2.0
 * What the tests of the disk cache stand on: a directory, a cache in it, entries whose bytes follow from their number,
 * and the files behind them. Included once in a program.
 */
#ifndef VX_TESTS_DCRIG_H
#define VX_TESTS_DCRIG_H

#include "base/clock.h"
#include "base/ledger.h"
#include "fetch/diskcache_impl.h"
#include "vxtest.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <string.h>

static char top[64];
static struct vx_diskcache *dc;
static struct vx_pool *pool;
static struct vx_diskcache_opts opts;

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static inline void make_top(void)
{
	strcpy(top, "/tmp/voxfs-dc-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
}

static inline void open_cache(void)
{
	struct vx_err e = {0};

	ck_assert_int_eq(vx_pool_new(&pool, 1 << 20), 0);
	ck_assert_msg(vx_diskcache_new(&dc, &opts, pool, &e) == 0, "%s", e.why);
}

static inline void close_cache(void)
{
	vx_diskcache_free(&dc);
	ck_assert_uint_eq(vx_pool_bytes_used(pool), 0);
	vx_pool_free(&pool);
}

/* Everything has been written. */
static inline void drain(void)
{
	struct vx_diskcache_stats s;

	do {
		sched_yield();
		vx_diskcache_stats(dc, &s);
	} while (s.waiting_bytes);
}

static inline void setup(void)
{
	make_top();
	vx_diskcache_opts_default(&opts);
	opts.dir = top;
	opts.limit = (uint64_t)64 << 20;
	open_cache();
}

static inline void teardown(void)
{
	close_cache();
	nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- entries ---- */

static inline void identify(struct vx_entry_id *id, unsigned i)
{
	struct vx_fetch f = {.cap = 0};

	snprintf(f.key, sizeof f.key, "8_8_8/%u", i);
	ck_assert_int_eq(vx_entry_identify(id, "http://h/v", 10, "", &f), 0);
}

static inline uint8_t byte_of(unsigned i, size_t at)
{
	return (uint8_t)((at * 2654435761u + i * 40503u) >> 9);
}

static inline void put(unsigned i, size_t len)
{
	struct vx_buf *b = vx_buf_get(pool, len + 1);
	struct vx_entry e = {.payload_len = len, .total = len + i, .checked_ns = vx_dc_wall_ns()};
	struct vx_entry_id id;

	b->len = len;
	for (size_t at = 0; at < len; at++)
		b->data[at] = byte_of(i, at);
	snprintf(e.etag, sizeof e.etag, "\"%u\"", i);
	snprintf(e.content_encoding, sizeof e.content_encoding, "gzip");
	identify(&id, i);
	vx_dc_put(dc, &id, &e, b, b->data);
	vx_buf_put(b);
}

/* False: absent. What is there must be right. */
static inline bool get(unsigned i, size_t len)
{
	struct vx_dc_found found = {.body = NULL};
	struct vx_entry_id id;
	bool same = true;
	char etag[16];

	identify(&id, i);
	if (!vx_dc_get(dc, &id, 1 << 30, &found))
		return false;
	snprintf(etag, sizeof etag, "\"%u\"", i);
	ck_assert_uint_eq(found.body->len, len);
	for (size_t at = 0; at < len; at++)
		same &= found.body->data[at] == byte_of(i, at);
	ck_assert_msg(same, "bytes of %u", i);
	ck_assert_str_eq(found.entry.etag, etag);
	ck_assert_str_eq(found.entry.content_encoding, "gzip");
	ck_assert_uint_eq(found.entry.total, len + i);
	vx_buf_put(found.body);
	return true;
}

/* ---- files ---- */

static inline const char *path_of(unsigned i)
{
	static char path[128];
	char name[VX_ENTRY_NAME];
	struct vx_entry_id id;

	identify(&id, i);
	vx_entry_name(id.text, id.len, name);
	snprintf(path, sizeof path, "%s/%s", top, name);
	return path;
}

static inline bool is_there(unsigned i)
{
	return access(path_of(i), F_OK) == 0;
}

static inline size_t read_path(const char *path, uint8_t *to, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, to, size);

	ck_assert_int_ge(n, 0);
	close(fd);
	return (size_t)n;
}

static inline void write_path(const char *path, const void *from, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, from, len), (ssize_t)len);
	close(fd);
}

static uint64_t summed, files;

static inline int sum_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	if (flag == FTW_F && ftw->level == 2) {
		summed += vx_dc_charge((uint64_t)st->st_size);
		files++;
	}
	return 0;
}

/* Bytes of all entries and files being written. */
static inline uint64_t bytes_on_disk(void)
{
	summed = files = 0;
	ck_assert_int_eq(nftw(top, sum_one, 16, FTW_PHYS), 0);
	return summed;
}

static inline void set_age(unsigned i, unsigned seconds)
{
	struct timespec t[2];

	clock_gettime(CLOCK_REALTIME, &t[0]);
	t[0].tv_sec -= seconds;
	t[1] = t[0];
	ck_assert_int_eq(utimensat(AT_FDCWD, path_of(i), t, 0), 0);
}

#define LEDGER(name) atomic_load(&vx_ledger.diskcache_##name)

#endif
