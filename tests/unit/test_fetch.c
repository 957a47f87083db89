/* SPDX-License-Identifier: Apache-2.0
 * http:// stores against tests/lib/faultd.py, which misbehaves on demand. One server for the whole run;
 * each test starts with no rules and a fetcher of its own. Nothing here measures time: where a request
 * must be under way first, the server is asked whether it has come.
 */
#include "base/ledger.h"
#include "fetch/fetch.h"

#include <arpa/inet.h>
#include <check.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#ifndef VX_SOURCE_ROOT
#define VX_SOURCE_ROOT "."
#endif

#define MANY 300
#define BIG 1000000

struct wish {
	struct vx_fetch f;
	struct vx_fetched got;
	bool over;
	struct wish *then; /* submitted from within done */
};

static char top[64];
static int port, server_stdin;
static pid_t server;
static struct vx_pool *pool;
static struct vx_fetcher *fetcher;
static struct vx_store *store;
static struct vx_fetch_opts opts;
static struct wish wishes[MANY];
static pthread_mutex_t mtx = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t over = PTHREAD_COND_INITIALIZER;

/* --- objects --- */

static size_t object_size(unsigned i)
{
	return i == 0 ? BIG : i * 1237 % 90000;
}

static uint8_t object_byte(unsigned i, size_t at)
{
	return (uint8_t)((at * 2654435761u + i * 40503u) >> 7);
}

static void write_object(unsigned i, const char *name)
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

static bool is_object(const struct vx_buf *b, unsigned i, size_t size)
{
	if (b->len != size)
		return false;
	for (size_t at = 0; at < size; at++)
		if (b->data[at] != object_byte(i, at))
			return false;
	return true;
}

/* --- the server --- */

static void start_server(void)
{
	const char *script = getenv("VX_FAULTD") ? getenv("VX_FAULTD") : VX_SOURCE_ROOT "/tests/lib/faultd.py";
	int in[2], out[2];
	FILE *said;

	ck_assert_int_eq(pipe(in) | pipe(out), 0);
	server = fork();
	ck_assert_int_ge(server, 0);
	if (server == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		execl("/usr/bin/python3", "python3", script, "--root", top, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	server_stdin = in[1];
	said = fdopen(out[0], "r");
	ck_assert_int_eq(fscanf(said, "PORT %d", &port), 1);
	fclose(said);
}

static void start_all(void)
{
	char name[32];

	setenv("no_proxy", "*", 1);
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

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void stop_all(void)
{
	close(server_stdin);
	waitpid(server, NULL, 0);
	nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Sends one control request, returns the answer's body; the caller does not free it. */
static const char *control(const char *method, const char *path, const char *body)
{
	static char reply[1 << 18];
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	size_t len = 0;
	ssize_t n;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	dprintf(fd, "%s %s HTTP/1.1\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", method, path, strlen(body),
		body);
	while ((n = read(fd, reply + len, sizeof reply - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	reply[len] = 0;
	ck_assert_msg(strncmp(reply, "HTTP/1.1 200", 12) == 0, "%s %s: %s", method, path, reply);
	return strstr(reply, "\r\n\r\n") + 4;
}

static void rules(const char *json)
{
	control("POST", "/__faults", json);
}

/* A number of /__stats; -1 when it is not there. */
static int stat_of(const char *name)
{
	const char *all = control("GET", "/__stats", "");
	char quoted[64];
	const char *at;

	snprintf(quoted, sizeof quoted, "\"%s\": ", name);
	at = strstr(all, quoted);
	return at ? atoi(at + strlen(quoted)) : -1;
}

static void await_stat(const char *name, int value)
{
	while (stat_of(name) < value)
		;
}

/* --- requests --- */

static void open_at(const char *auth, const char *tail)
{
	struct vx_err e;
	char url[128];

	vx_store_close(&store);
	snprintf(url, sizeof url, "http://%s127.0.0.1:%d%s", auth, port, tail);
	ck_assert_int_eq(vx_store_open(&store, fetcher, url, &e), 0);
}

static void renew_fetcher(void)
{
	struct vx_err e;

	vx_store_close(&store);
	vx_fetcher_free(&fetcher);
	ck_assert_int_eq(vx_fetcher_new(&fetcher, &opts, pool, &e), 0);
	open_at("", "/");
}

static void setup(void)
{
	control("POST", "/__reset", "");
	memset(wishes, 0, sizeof wishes);
	vx_fetch_opts_default(&opts);
	opts.connections = 32;
	opts.tries = 3;
	opts.retry_ms = 1;
	opts.retry_max_ms = 4;
	ck_assert_int_eq(vx_pool_new(&pool, 1 << 22), 0);
	renew_fetcher();
}

static void teardown(void)
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

static void on_done(struct vx_fetch *r, struct vx_fetched *got)
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

static struct wish *submit(unsigned i, const char *key)
{
	struct wish *w = &wishes[i];

	snprintf(w->f.key, sizeof w->f.key, "%s", key);
	if (!w->f.cap)
		w->f.cap = BIG;
	w->f.done = on_done;
	vx_store_submit(store, &w->f);
	return w;
}

static void await(struct wish *w)
{
	pthread_mutex_lock(&mtx);
	while (!w->over)
		pthread_cond_wait(&over, &mtx);
	pthread_mutex_unlock(&mtx);
}

static struct wish *get(const char *key)
{
	struct wish *w = &wishes[0];

	vx_buf_put(vx_steal(w->got.body));
	w->over = false;
	submit(0, key);
	await(w);
	return w;
}

static void expect(const char *key, unsigned i)
{
	struct wish *w = get(key);

	ck_assert_msg(w->got.err.code == 0, "%s: %s", key, w->got.err.why);
	ck_assert(is_object(w->got.body, i, object_size(i)));
}

static void expect_error(const char *key, int code, const char *words)
{
	struct wish *w = get(key);

	ck_assert_msg(w->got.err.code == code, "%s: %d %s", key, w->got.err.code, w->got.err.why);
	ck_assert_msg(strstr(w->got.err.why, words), "'%s' is not in: %s", words, w->got.err.why);
	ck_assert_ptr_null(w->got.body);
}

/* --- tests --- */

START_TEST(many_at_once)
{
	uint64_t requests = vx_ledger.store_requests, bytes = vx_ledger.store_bytes, size = 0;
	char key[16];

	for (unsigned i = 0; i < MANY; i++) {
		snprintf(key, sizeof key, "%u", i);
		submit(i, key);
		size += object_size(i);
	}
	for (unsigned i = 0; i < MANY; i++) {
		await(&wishes[i]);
		ck_assert_msg(wishes[i].got.err.code == 0, "%u: %s", i, wishes[i].got.err.why);
		ck_assert_msg(is_object(wishes[i].got.body, i, object_size(i)), "bytes of %u", i);
		ck_assert_str_eq(wishes[i].got.content_encoding, "");
	}
	ck_assert_int_eq(stat_of("total"), MANY);
	ck_assert_int_le(stat_of("connections"), 32);
	ck_assert_int_le(stat_of("max_concurrent"), 32);
	ck_assert_uint_eq(vx_ledger.store_requests, requests + MANY);
	ck_assert_uint_eq(vx_ledger.store_bytes, bytes + size);
}
END_TEST

START_TEST(one_connection_is_kept)
{
	opts.connections = 1;
	renew_fetcher();
	for (unsigned i = 1; i < 20; i++) {
		char key[16];

		snprintf(key, sizeof key, "%u", i);
		expect(key, i);
	}
	ck_assert_int_eq(stat_of("connections"), 1);
}
END_TEST

START_TEST(errors_pass)
{
	uint64_t retries = vx_ledger.store_retries, errors = vx_ledger.store_errors;

	rules("[{\"match\": \"5\", \"do\": \"status\", \"status\": 503, \"body\": \"busy\", \"times\": 2}]");
	expect("5", 5);
	ck_assert_int_eq(stat_of("/5"), 3);
	ck_assert_uint_eq(vx_ledger.store_retries, retries + 2);
	rules(
	    "[{\"match\": \"6\", \"do\": \"reset\", \"times\": 1}, {\"match\": \"6\", \"do\": \"cut\", \"times\": 1}]");
	expect("6", 6);
	rules("[{\"match\": \"7\", \"do\": \"status\", \"status\": 429, \"headers\": {\"Retry-After\": \"9\"},"
	      "\"times\": 1}]");
	expect("7", 7);
	ck_assert_int_eq(stat_of("/7"), 2);
	ck_assert_uint_eq(vx_ledger.store_errors, errors);
}
END_TEST

START_TEST(errors_stay)
{
	uint64_t errors = vx_ledger.store_errors;

	rules("[{\"match\": \"5\", \"do\": \"status\", \"status\": 503}]");
	expect_error("5", -EIO, "HTTP status 503, 3 tries: http://127.0.0.1");
	ck_assert_int_eq(stat_of("/5"), 3);
	ck_assert_uint_eq(vx_ledger.store_errors, errors + 1);
}
END_TEST

START_TEST(some_answers_are_final)
{
	static const struct {
		int status, code;
	} cases[] = {{404, -ENODATA}, {410, -ENODATA}, {401, -EACCES}, {403, -EACCES}, {400, -EIO}, {501, -EIO},
		     {204, -EIO},     {206, -EIO},     {302, -EIO},    {304, -EIO},    {418, -EIO}};

	for (size_t i = 0; i < VX_ARRAY_LEN(cases); i++) {
		char json[128], words[32];

		control("POST", "/__reset", "");
		snprintf(json, sizeof json, "[{\"match\": \"5\", \"do\": \"status\", \"status\": %d}]",
			 cases[i].status);
		rules(json);
		snprintf(words, sizeof words, "status %d, 1 try", cases[i].status);
		expect_error("5", cases[i].code, words);
		ck_assert_int_eq(stat_of("/5"), 1);
	}
	expect_error("nothing", -ENODATA, "404");
}
END_TEST

START_TEST(a_long_error_page_is_not_read)
{
	uint64_t bytes = vx_ledger.store_bytes;
	char *json = malloc(600000);

	strcpy(json, "[{\"match\": \"5\", \"do\": \"status\", \"status\": 404, \"body\": \"");
	memset(json + strlen(json), 'x', 500000);
	strcpy(json + 500000, "\"}]");
	rules(json);
	free(json);
	expect_error("5", -ENODATA, "404");
	ck_assert_uint_lt(vx_ledger.store_bytes - bytes, 450000);
	rules("[]");
	expect("5", 5);
}
END_TEST

START_TEST(stalls_end)
{
	opts.stall_ms = 100;
	opts.tries = 2;
	renew_fetcher();
	rules("[{\"match\": \"/5\", \"do\": \"stall\"}, {\"match\": \"/6\", \"do\": \"stall\", \"at\": \"head\"}]");
	expect_error("5", -ETIMEDOUT, "2 tries");
	expect_error("6", -ETIMEDOUT, "2 tries");
	ck_assert_int_eq(stat_of("total"), 4);
}
END_TEST

START_TEST(cut_answers)
{
	rules("[{\"match\": \"/5\", \"do\": \"cut\"}, {\"match\": \"/6\", \"do\": \"reset\"},"
	      "{\"match\": \"/7\", \"do\": \"reset\", \"after\": 1000}, {\"match\": \"/8\", \"do\": \"lie\", "
	      "\"delta\": 9},"
	      "{\"match\": \"/9\", \"do\": \"cut\", \"bytes\": 0}, {\"match\": \"/10$\", \"do\": \"lie\", \"delta\": "
	      "-9}]");
	for (unsigned i = 5; i < 10; i++) {
		char key[16];

		snprintf(key, sizeof key, "%u", i);
		expect_error(key, -EIO, "3 tries");
	}
	/* A length too small cannot be told from a shorter object; what decodes it will. */
	ck_assert_int_eq(get("10")->got.err.code, 0);
	ck_assert(is_object(wishes[0].got.body, 10, object_size(10) - 9));
}
END_TEST

START_TEST(lengths_left_out)
{
	rules("[{\"match\": \"/(0|5)$\", \"do\": \"nolength\"}, {\"match\": \"/(11|12)$\", \"do\": \"nolength\","
	      "\"how\": \"close\"}]");
	expect("0", 0);
	expect("5", 5);
	expect("11", 11);
	wishes[0].f.expect = 10;
	expect("12", 12);
	expect("0", 0);
	wishes[0].f.expect = 100 * BIG;
	expect("0", 0);
}
END_TEST

START_TEST(empty_objects)
{
	rules("[{\"match\": \"x\", \"do\": \"nolength\"}]");
	ck_assert_int_eq(get("x")->got.err.code, 0);
	ck_assert_uint_eq(wishes[0].got.body->len, 0);
	rules("[{\"match\": \"x\", \"do\": \"status\", \"status\": 200}]");
	ck_assert_int_eq(get("x")->got.err.code, 0);
	ck_assert_uint_eq(wishes[0].got.body->len, 0);
}
END_TEST

START_TEST(garbage)
{
	rules("[{\"match\": \"5\", \"do\": \"garbage\"}]");
	expect_error("5", -EIO, "1 try");
	rules("[{\"match\": \"5\", \"do\": \"garbage\", \"where\": \"body\"}]");
	ck_assert_int_eq(get("5")->got.err.code, 0);
	ck_assert_uint_eq(wishes[0].got.body->len, object_size(5));
}
END_TEST

START_TEST(redirects)
{
	rules("[{\"match\": \"5\", \"do\": \"redirect\", \"to\": \"/6\"}, {\"match\": \"7\", \"do\": \"redirect\"},"
	      "{\"match\": \"8\", \"do\": \"redirect\", \"to\": \"loop\"},"
	      "{\"match\": \"9\", \"do\": \"redirect\", \"to\": \"ftp://127.0.0.1/x\"},"
	      "{\"match\": \"1\", \"do\": \"status\", \"status\": 302, \"body\": \"moved\","
	      "\"headers\": {\"Location\": \"/6\", \"Content-Encoding\": \"gzip\"}}]");
	expect("5", 6);
	expect("1", 6);
	ck_assert_str_eq(wishes[0].got.content_encoding, "");
	expect_error("7", -EIO, "redirects in a circle, 1 try");
	expect_error("8", -EIO, "redirects in a circle, 1 try");
	ck_assert_int_eq(stat_of("/7"), 6);
	expect_error("9", -EIO, "may not be followed");
}
END_TEST

START_TEST(too_many_bytes)
{
	rules(
	    "[{\"match\": \"/5\", \"do\": \"oversize\"}, {\"match\": \"/6\", \"do\": \"oversize\", \"chunked\": true},"
	    "{\"match\": \"/7\", \"do\": \"nolength\"}, {\"match\": \"/0\", \"do\": \"oversize\", \"chunked\": true}]");
	wishes[0].f.cap = object_size(5);
	expect_error("5", -EBADMSG, "1 try");
	wishes[0].f.cap = object_size(6);
	expect_error("6", -EBADMSG, "1 try");
	wishes[0].f.cap = object_size(7);
	expect("7", 7);
	wishes[0].f.cap = BIG;
	expect_error("0", -EBADMSG, "more bytes");
	wishes[0].f.cap = 1;
	expect_error("0", -EBADMSG, "more bytes");
	ck_assert_int_eq(stat_of("total"), 5);
}
END_TEST

START_TEST(encodings)
{
	expect("z", 1);
	ck_assert_str_eq(wishes[0].got.content_encoding, "gzip");
	expect("b", 2);
	ck_assert_str_eq(wishes[0].got.content_encoding, "br");
	expect("s", 3);
	ck_assert_str_eq(wishes[0].got.content_encoding, "zstd");
	ck_assert_ptr_nonnull(strstr(control("GET", "/__stats", ""), "\"accept-encoding\": \"gzip, br, zstd\""));
	rules("[{\"match\": \"5\", \"do\": \"encoding\", \"value\": \"X-GZIP\"},"
	      "{\"match\": \"6\", \"do\": \"encoding\", \"value\": \"identity\"},"
	      "{\"match\": \"7\", \"do\": \"encoding\", \"value\": \"GZip, a-very-long-name-of-nothing\"}]");
	expect("5", 5);
	ck_assert_str_eq(wishes[0].got.content_encoding, "gzip");
	expect("6", 6);
	ck_assert_str_eq(wishes[0].got.content_encoding, "");
	expect("7", 7);
	ck_assert_str_eq(wishes[0].got.content_encoding, "gzip, a-very-lo");
}
END_TEST

START_TEST(urls_and_secrets)
{
	char shown[64];

	expect("a b\xc3\xbc#?%.raw", 4);
	open_at("me:pass%40word@", "/deep/er?token=hidden");
	snprintf(shown, sizeof shown, "http://127.0.0.1:%d/deep/er?...", port);
	ck_assert_str_eq(vx_store_url(store), shown);
	ck_assert(!vx_store_is_local(store));
	expect("../../5", 5);
	ck_assert_int_eq(stat_of("/5?token=hidden"), 1);
	ck_assert_ptr_nonnull(strstr(control("GET", "/__stats", ""), "\"Basic bWU6cGFzc0B3b3Jk\""));
	expect_error("none", -ENODATA, "/deep/er/none?...");
	ck_assert_ptr_null(strstr(wishes[0].got.err.why, "word"));
	expect_error("/5", -EBADMSG, "key");
	expect_error("a\r\nHost: b", -EBADMSG, "key");
	open_at("", "/");
	expect("5", 5);
	ck_assert_ptr_null(strstr(strstr(control("GET", "/__stats", ""), "\"/5\": {"), "Basic"));
}
END_TEST

START_TEST(a_dead_port)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0), good = port;

	/* Bound, but nobody listens. */
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	port = ntohs(a.sin_port);
	open_at("", "/");
	expect_error("5", -EHOSTUNREACH, "3 tries");
	close(fd);
	port = good;
}
END_TEST

START_TEST(cancelling)
{
	struct wish *running, *waiting, *resting;

	opts.connections = 1;
	opts.retry_ms = opts.retry_max_ms = 3600000;
	renew_fetcher();
	rules("[{\"match\": \"5\", \"do\": \"status\", \"status\": 500}, {\"match\": \"6\", \"do\": \"stall\"}]");
	resting = submit(5, "5");
	running = submit(6, "6");
	waiting = submit(7, "7");
	await_stat("/6", 1);
	vx_store_cancel(&waiting->f);
	await(waiting);
	ck_assert_int_eq(waiting->got.err.code, -ECANCELED);
	vx_store_cancel(&running->f);
	vx_store_cancel(&running->f);
	await(running);
	ck_assert_int_eq(running->got.err.code, -ECANCELED);
	ck_assert(!resting->over);
	expect("8", 8);
	vx_store_cancel(&resting->f);
	await(resting);
	ck_assert_int_eq(resting->got.err.code, -ECANCELED);
}
END_TEST

START_TEST(cancelling_at_once)
{
	for (unsigned i = 1; i < MANY; i++) {
		char key[16];

		snprintf(key, sizeof key, "%u", i);
		/* Held back from done, as a caller's own lock would. */
		pthread_mutex_lock(&mtx);
		submit(i, key);
		if (i % 3)
			vx_store_cancel(&wishes[i].f);
		pthread_mutex_unlock(&mtx);
	}
	for (unsigned i = 1; i < MANY; i++) {
		await(&wishes[i]);
		ck_assert(wishes[i].got.err.code == 0 || wishes[i].got.err.code == -ECANCELED);
		if (i % 3 == 0)
			ck_assert(is_object(wishes[i].got.body, i, object_size(i)));
	}
}
END_TEST

START_TEST(stopping_with_things_under_way)
{
	uint64_t errors = vx_ledger.store_errors;

	opts.connections = 4;
	opts.retry_ms = opts.retry_max_ms = 3600000;
	renew_fetcher();
	rules("[{\"match\": \"/5$\", \"do\": \"status\", \"status\": 500}, {\"match\": \".\", \"do\": \"stall\"}]");
	snprintf(wishes[200].f.key, sizeof wishes[200].f.key, "200");
	wishes[200].f.done = on_done;
	wishes[10].then = &wishes[200];
	for (unsigned i = 5; i < 30; i++) {
		char key[16];

		snprintf(key, sizeof key, "%u", i);
		submit(i, key);
	}
	await_stat("total", 5);
	vx_fetcher_stop(fetcher);
	for (unsigned i = 5; i < 30; i++) {
		ck_assert(wishes[i].over);
		ck_assert_int_eq(wishes[i].got.err.code, -ECANCELED);
	}
	ck_assert_int_eq(wishes[200].got.err.code, -ECANCELED);
	submit(31, "31");
	ck_assert_int_eq(wishes[31].got.err.code, -ECANCELED);
	ck_assert_uint_eq(vx_ledger.store_errors, errors);
}
END_TEST

START_TEST(submitting_from_done)
{
	for (unsigned i = 1; i < 100; i++) {
		snprintf(wishes[i].f.key, sizeof wishes[i].f.key, "%u", i);
		wishes[i].f.cap = BIG;
		wishes[i].f.done = on_done;
		wishes[i].then = i + 1 < 100 ? &wishes[i + 1] : NULL;
	}
	vx_store_submit(store, &wishes[1].f);
	for (unsigned i = 1; i < 100; i++) {
		await(&wishes[i]);
		ck_assert(is_object(wishes[i].got.body, i, object_size(i)));
	}
	ck_assert_int_eq(stat_of("connections"), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fetch");
	TCase *t = tcase_create("http");
	SRunner *r = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_unchecked_fixture(t, start_all, stop_all);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, many_at_once);
	tcase_add_test(t, one_connection_is_kept);
	tcase_add_test(t, errors_pass);
	tcase_add_test(t, errors_stay);
	tcase_add_test(t, some_answers_are_final);
	tcase_add_test(t, a_long_error_page_is_not_read);
	tcase_add_test(t, stalls_end);
	tcase_add_test(t, cut_answers);
	tcase_add_test(t, lengths_left_out);
	tcase_add_test(t, empty_objects);
	tcase_add_test(t, garbage);
	tcase_add_test(t, redirects);
	tcase_add_test(t, too_many_bytes);
	tcase_add_test(t, encodings);
	tcase_add_test(t, urls_and_secrets);
	tcase_add_test(t, a_dead_port);
	tcase_add_test(t, cancelling);
	tcase_add_test(t, cancelling_at_once);
	tcase_add_test(t, stopping_with_things_under_way);
	tcase_add_test(t, submitting_from_done);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
