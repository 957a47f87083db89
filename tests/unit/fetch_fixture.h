/* SPDX-License-Identifier: Apache-2.0
 * What the tests of remote stores stand on: a folder of objects, tests/lib/faultd.py serving it during the whole run,
 * a fetcher for each test, and requests that can be waited for. Included once in a program.
 */
#ifndef VX_TESTS_FETCH_FIXTURE_H
#define VX_TESTS_FETCH_FIXTURE_H

#include "../lib/vxserver.h"
#include "../lib/vxtest.h"
#include "base/ledger.h"
#include "fetch/fetch.h"

#include <ftw.h>
#include <sys/stat.h>

#define MANY 300
#define BIG 1000000

struct wish {
	struct vx_fetch f;
	struct vx_fetched got;
	bool over;
	struct wish *then; /* submitted from within done */
};

static const char *server_script = "faultd.py";
static char top[64];
static int port;
static struct vx_pool *pool;
static struct vx_fetcher *fetcher;
static struct vx_store *store;
static struct vx_fetch_opts opts;
static struct wish wishes[MANY];
static pthread_mutex_t mtx = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t over = PTHREAD_COND_INITIALIZER;

/* --- objects --- */

static inline size_t object_size(unsigned i)
{
	return i == 0 ? BIG : i * 1237 % 90000;
}

static uint8_t object_byte(unsigned i, size_t at)
{
	return (uint8_t)((at * 2654435761u + i * 40503u) >> 7);
}

static inline void write_object(unsigned i, const char *name)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", top, name);
	f = fopen(path, "wb");
	ck_assert_ptr_nonnull(f);
	for (size_t at = 0; at < object_size(i); at++)
		fputc(object_byte(i, at), f);
	ck_assert_int_eq(fclose(f), 0);
}

static inline bool is_object(const struct vx_buf *b, unsigned i, size_t size)
{
	if (b->len != size)
		return false;
	for (size_t at = 0; at < size; at++)
		if (b->data[at] != object_byte(i, at))
			return false;
	return true;
}

/* --- the server --- */

static inline void start_server(void)
{
	port = vxs_start(server_script, top);
}

static inline void start_all(void)
{
	char name[32];

	strcpy(top, "/tmp/voxfs-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "%u", i);
		write_object(i, name);
	}
	write_object(1, "z.gz");
	write_object(2, "b.br");
	write_object(3, "s.zstd");
	write_object(4, "a b\xc3\xbc#?%.raw");
	start_server();
}

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static inline void stop_all(void)
{
	vxs_stop();
	nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline const char *control(const char *method, const char *path, const char *body)
{
	return vxs_control(port, method, path, body);
}

static inline void rules(const char *json)
{
	control("POST", "/__faults", json);
}

static inline int stat_of(const char *name)
{
	return vxs_stat(port, name);
}

static inline void await_stat(const char *name, int value)
{
	while (stat_of(name) < value)
		;
}

/* --- requests --- */

static inline void open_at(const char *auth, const char *tail)
{
	struct vx_err e;
	char url[128];

	vx_store_close(&store);
	snprintf(url, sizeof url, "http://%s127.0.0.1:%d%s", auth, port, tail);
	ck_assert_int_eq(vx_store_open(&store, fetcher, url, &e), 0);
}

static inline void renew_fetcher(void)
{
	struct vx_err e;

	vx_store_close(&store);
	vx_fetcher_free(&fetcher);
	ck_assert_int_eq(vx_fetcher_new(&fetcher, &opts, pool, &e), 0);
	open_at("", "/");
}

static inline void setup(void)
{
	control("POST", "/__reset", "");
	memset(wishes, 0, sizeof wishes);
	vx_fetch_opts_default(&opts);
	opts.connections = 32;
	opts.hedge = false; /* requests are counted */
	opts.tries = 3;
	opts.retry_ms = 1;
	opts.retry_max_ms = 4;
	ck_assert_int_eq(vx_pool_new(&pool, 1 << 22), 0);
	renew_fetcher();
}

static inline void teardown(void)
{
	unsigned active, waiting;

	vx_fetcher_depth(fetcher, &active, &waiting);
	ck_assert_uint_eq(active + waiting, 0);
	vx_fetcher_stop(fetcher);
	vx_store_close(&store);
	vx_fetcher_free(&fetcher);
	for (unsigned i = 0; i < MANY; i++)
		vx_buf_put(wishes[i].got.body);
	ck_assert_uint_eq(vx_pool_bytes_used(pool), 0);
	vx_pool_free(&pool);
}

static inline void on_done(struct vx_fetch *r, struct vx_fetched *got)
{
	struct wish *w = vx_container_of(r, struct wish, f);

	if (w->then)
		vx_store_submit(store, &w->then->f);
	pthread_mutex_lock(&mtx);
	ck_assert(!w->over);
	w->got = *got;
	w->over = true;
	pthread_cond_signal(&over);
	pthread_mutex_unlock(&mtx);
}

static inline struct wish *submit(unsigned i, const char *key)
{
	struct wish *w = &wishes[i];

	snprintf(w->f.key, sizeof w->f.key, "%s", key);
	if (!w->f.cap)
		w->f.cap = BIG;
	w->f.done = on_done;
	vx_store_submit(store, &w->f);
	return w;
}

static inline void await(struct wish *w)
{
	pthread_mutex_lock(&mtx);
	while (!w->over)
		pthread_cond_wait(&over, &mtx);
	pthread_mutex_unlock(&mtx);
}

static inline struct wish *get(const char *key)
{
	struct wish *w = &wishes[0];

	vx_buf_put(vx_steal(w->got.body));
	w->over = false;
	submit(0, key);
	await(w);
	return w;
}

/* Of the next requests. */
static inline void set_range(uint64_t off, uint64_t len, bool suffix)
{
	wishes[0].f.range.off = off;
	wishes[0].f.range.len = len;
	wishes[0].f.range.suffix = suffix;
}

static inline void expect_part(const char *key, unsigned i, uint64_t off, uint64_t len)
{
	struct wish *w = get(key);
	bool same = true;

	ck_assert_msg(w->got.err.code == 0, "%s: %s", key, w->got.err.why);
	ck_assert_uint_eq(w->got.body->len, len);
	for (uint64_t at = 0; at < len; at++)
		same &= w->got.body->data[at] == object_byte(i, off + at);
	ck_assert_msg(same, "bytes of %s", key);
}

static inline void expect(const char *key, unsigned i)
{
	struct wish *w = get(key);

	ck_assert_msg(w->got.err.code == 0, "%s: %s", key, w->got.err.why);
	ck_assert(is_object(w->got.body, i, object_size(i)));
}

static inline void expect_error(const char *key, int code, const char *words)
{
	struct wish *w = get(key);

	ck_assert_msg(w->got.err.code == code, "%s: %d %s", key, w->got.err.code, w->got.err.why);
	ck_assert_msg(strstr(w->got.err.why, words), "'%s' is not in: %s", words, w->got.err.why);
	ck_assert_ptr_null(w->got.body);
}

#endif
