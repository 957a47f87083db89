/* SPDX-License-Identifier: Apache-2.0
 * file:// stores: what is found under which name, and every kind of thing that is no object.
 */
#include "../lib/vxtest.h"
#include "base/ledger.h"
#include "base/limits.h"
#include "fetch/fetch.h"

#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

static char top[64];
static struct vx_pool *pool;
static struct vx_fetcher *fetcher;
static struct vx_store *store;
static struct vx_fetch wish;
static struct vx_fetched got;

static void write_file(const char *name, const void *bytes, size_t len)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", top, name);
	f = fopen(path, "wb");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(bytes, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static void make_dir(const char *name)
{
	char path[512];

	snprintf(path, sizeof path, "%s/%s", top, name);
	ck_assert_int_eq(mkdir(path, 0755), 0);
}

static void open_store(const char *below)
{
	struct vx_err e;
	char url[512];

	vx_store_close(&store);
	snprintf(url, sizeof url, "file://%s/%s", top, below);
	ck_assert_int_eq(vx_store_open(&store, fetcher, url, &e), 0);
}

static void setup(void)
{
	struct vx_fetch_opts o;
	struct vx_err e;

	strcpy(top, "/tmp/voxfs-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	vx_fetch_opts_default(&o);
	ck_assert_int_eq(vx_pool_new(&pool, 1 << 20), 0);
	ck_assert_int_eq(vx_fetcher_new(&fetcher, &o, pool, &e), 0);
	make_dir("v");
	open_store("v");
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void teardown(void)
{
	vx_fetcher_stop(fetcher);
	vx_store_close(&store);
	vx_fetcher_free(&fetcher);
	ck_assert_uint_eq(vx_pool_bytes_used(pool), 0);
	vx_pool_free(&pool);
	nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int read_key(const char *key, bool suffixes)
{
	memset(&wish, 0, sizeof wish);
	snprintf(wish.key, sizeof wish.key, "%s", key);
	wish.cap = 1000;
	wish.suffixes = suffixes;
	memset(&got, 0xee, sizeof got);
	vx_store_read(store, &wish, &got);
	if (got.err.code == 0)
		ck_assert_str_eq(got.err.why, "");
	else
		ck_assert_ptr_null(got.body);
	return got.err.code;
}

static void expect(const char *key, const char *text, const char *encoding)
{
	ck_assert_msg(read_key(key, true) == 0, "%s: %s", key, got.err.why);
	ck_assert_uint_eq(got.body->len, strlen(text));
	ck_assert_mem_eq(got.body->data, text, strlen(text));
	ck_assert_str_eq(got.content_encoding, encoding);
	vx_buf_put(got.body);
}

static void expect_error(const char *key, int code, const char *words)
{
	ck_assert_msg(read_key(key, true) == code, "%s: %d %s", key, got.err.code, got.err.why);
	ck_assert_msg(strstr(got.err.why, words), "'%s' is not in: %s", words, got.err.why);
}

START_TEST(every_variant_is_found)
{
	write_file("v/a", "plain", 5);
	write_file("v/b.gz", "zipped", 6);
	write_file("v/c.br", "brotli", 6);
	write_file("v/d.zstd", "zstd", 4);
	for (int round = 0; round < 3; round++) {
		expect("a", "plain", "");
		expect("b", "zipped", "gzip");
		expect("c", "brotli", "br");
		expect("c", "brotli", "br");
		expect("d", "zstd", "zstd");
		expect("b.gz", "zipped", "");
		expect_error("e", -ENODATA, "/v/e");
	}
	ck_assert_int_eq(read_key("b", false), -ENODATA);
}
END_TEST

START_TEST(sizes)
{
	char bytes[1001];

	memset(bytes, 'x', sizeof bytes);
	bytes[1000] = 0;
	write_file("v/empty", "", 0);
	write_file("v/most", bytes, 1000);
	write_file("v/more", bytes, 1001);
	expect("empty", "", "");
	expect("most", bytes, "");
	expect_error("more", -EBADMSG, "1001 bytes");
}
END_TEST

/* Straight into the caller's memory, if it is what was expected; else as ever. */
START_TEST(in_place)
{
	static const struct {
		const char *key;
		bool in_place;
		const char *text;
	} cases[] = {{"exact", true, "12345678"},
		     {"short", false, "1234567"},
		     {"long", false, "123456789"},
		     {"packed", false, "87654321"}};
	char to[16];

	write_file("v/exact", "12345678", 8);
	write_file("v/short", "1234567", 7);
	write_file("v/long", "123456789", 9);
	write_file("v/packed.gz", "87654321", 8); /* of the right length by chance */
	for (unsigned i = 0; i < VX_ARRAY_LEN(cases); i++) {
		memset(&wish, 0, sizeof wish);
		snprintf(wish.key, sizeof wish.key, "%s", cases[i].key);
		wish.cap = 1000;
		wish.suffixes = true;
		wish.into = to;
		wish.into_len = 8;
		memset(to, 'x', sizeof to);
		vx_store_read(store, &wish, &got);
		ck_assert_int_eq(got.err.code, 0);
		ck_assert_int_eq(got.in_place, cases[i].in_place);
		ck_assert_uint_eq(got.total, strlen(cases[i].text));
		if (got.in_place) {
			ck_assert_ptr_null(got.body);
			ck_assert_mem_eq(to, "12345678xxxxxxxx", sizeof to);
		} else {
			ck_assert_uint_eq(got.body->len, strlen(cases[i].text));
			ck_assert_mem_eq(got.body->data, cases[i].text, got.body->len);
			ck_assert_mem_eq(to, "xxxxxxxxxxxxxxxx", sizeof to);
		}
		vx_buf_put(got.body);
	}
}
END_TEST

START_TEST(missing)
{
	write_file("v/a", "a", 1);
	expect_error("nothing", -ENODATA, "nothing");
	expect_error("no/such/dir", -ENODATA, "no such file");
	expect_error("a/below-a-file", -ENODATA, "below-a-file");
}
END_TEST

START_TEST(what_is_no_file_is_refused_without_waiting)
{
	char path[512];

	make_dir("v/dir");
	snprintf(path, sizeof path, "%s/v/fifo", top);
	ck_assert_int_eq(mkfifo(path, 0644), 0);
	snprintf(path, sizeof path, "%s/v/self", top);
	ck_assert_int_eq(symlink("self", path), 0);
	expect_error("dir", -EIO, "regular file");
	expect_error("fifo", -EIO, "regular file");
	expect_error("self", -EIO, "symbolic links");
}
END_TEST

START_TEST(permission_denied)
{
	char path[512];

	if (geteuid() == 0)
		return; /* root reads everything */
	write_file("v/secret", "a", 1);
	snprintf(path, sizeof path, "%s/v/secret", top);
	ck_assert_int_eq(chmod(path, 0), 0);
	expect_error("secret", -EACCES, "secret");
}
END_TEST

START_TEST(keys)
{
	char name[sizeof wish.key];

	make_dir("w");
	write_file("w/sibling", "s", 1);
	write_file("v/a b%20", "odd", 3);
	expect("../w/sibling", "s", "");
	expect("./a b%20", "odd", "");
	expect_error("", -EBADMSG, "key");
	expect_error("/etc/passwd", -EBADMSG, "key");
	expect_error("a\nb", -EBADMSG, "control");
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = 0;
	expect_error(name, -EIO, "too long");
	memset(wish.key, 'n', sizeof wish.key);
	vx_store_read(store, &wish, &got);
	ck_assert_int_eq(got.err.code, -EBADMSG);
}
END_TEST

START_TEST(base_urls)
{
	struct vx_err e;
	char url[512];

	make_dir("a b");
	write_file("a b/k", "k", 1);
	open_store("a%20b///");
	expect("k", "k", "");
	vx_store_close(&store);
	snprintf(url, sizeof url, "FILE://localhost%s/a%%20b", top);
	ck_assert_int_eq(vx_store_open(&store, fetcher, url, &e), 0);
	ck_assert(vx_store_is_local(store));
	ck_assert_str_eq(vx_store_url(store), url);
	expect("k", "k", "");
	vx_store_close(&store);
	ck_assert_int_eq(vx_store_open(&store, fetcher, "file:///", &e), 0);
	ck_assert_str_eq(vx_store_url(store), "file:///");
	ck_assert_int_eq(read_key(top + 1, false), -EIO);
}
END_TEST

START_TEST(a_store_without_its_directory_is_not_empty)
{
	char path[512];

	open_store("nowhere");
	expect_error("k", -EHOSTUNREACH, "no directory");
	make_dir("nowhere");
	expect_error("k", -ENODATA, "no such file");
	write_file("nowhere/k", "1", 1);
	expect("k", "1", "");
	snprintf(path, sizeof path, "%s/nowhere", top);
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	expect_error("k", -EHOSTUNREACH, "no directory");
	make_dir("nowhere");
	expect_error("k", -ENODATA, "no such file");
	write_file("nowhere/k", "22", 2);
	expect("k", "22", "");
}
END_TEST

static void read_part(uint64_t off, uint64_t len, bool suffix)
{
	memset(&wish, 0, sizeof wish);
	strcpy(wish.key, "a");
	wish.cap = 4;
	wish.suffixes = true;
	wish.range.off = off;
	wish.range.len = len;
	wish.range.suffix = suffix;
	vx_store_read(store, &wish, &got);
}

static void expect_part(uint64_t off, uint64_t len, bool suffix, const char *text)
{
	read_part(off, len, suffix);
	ck_assert_msg(got.err.code == 0, "%s", got.err.why);
	ck_assert_uint_eq(got.body->len, strlen(text));
	ck_assert_mem_eq(got.body->data, text, strlen(text));
	ck_assert_uint_eq(got.total, 6);
	vx_buf_put(got.body);
}

START_TEST(parts)
{
	static const uint64_t bad[][2] = {{6, 1}, {5, 2}, {0, 7}, {UINT64_MAX, 2}, {2, UINT64_MAX}};

	write_file("v/a.gz", "zipped", 6);
	read_part(0, 1, false);
	ck_assert_int_eq(got.err.code, -ENODATA);
	write_file("v/a", "012345", 6);
	expect_part(0, 1, false, "0");
	expect_part(2, 3, false, "234");
	expect_part(5, 1, false, "5");
	expect_part(77, 2, true, "45");
	for (size_t i = 0; i < VX_ARRAY_LEN(bad); i++) {
		read_part(bad[i][0], bad[i][1], false);
		ck_assert_int_eq(got.err.code, -EBADMSG);
		ck_assert_ptr_nonnull(strstr(got.err.why, "shorter than its index says"));
	}
	read_part(0, 5, false);
	ck_assert_int_eq(got.err.code, -EBADMSG);
	ck_assert_ptr_nonnull(strstr(got.err.why, "5 bytes, more than the 4"));
	write_file("v/a", "012", 3);
	read_part(0, 4, true);
	ck_assert_int_eq(got.err.code, 0);
	ck_assert_uint_eq(got.body->len, 3);
	vx_buf_put(got.body);
}
END_TEST

static unsigned calls;

static void count_call(struct vx_fetch *r, struct vx_fetched *g)
{
	ck_assert_ptr_eq(r, &wish);
	calls += g->err.code == 0;
	vx_buf_put(g->body);
}

START_TEST(submitting_answers_at_once)
{
	uint64_t requests = vx_ledger.store_requests, bytes = vx_ledger.store_bytes, errors = vx_ledger.store_errors;

	write_file("v/a", "12345", 5);
	memset(&wish, 0, sizeof wish);
	strcpy(wish.key, "a");
	wish.cap = 5;
	wish.done = count_call;
	vx_store_submit(store, &wish);
	ck_assert_uint_eq(calls, 1);
	wish.cap = 4;
	vx_store_submit(store, &wish);
	ck_assert_uint_eq(calls, 1);
	ck_assert_int_eq(read_key("missing", true), -ENODATA);
	ck_assert_uint_eq(vx_ledger.store_requests, requests + 3);
	ck_assert_uint_eq(vx_ledger.store_bytes, bytes + 5);
	ck_assert_uint_eq(vx_ledger.store_errors, errors + 1);
}
END_TEST

START_TEST(urls_that_name_no_store)
{
	static const struct {
		const char *url, *words;
	} bad[] = {
	    {"s3x://bucket/a", "'s3x'; known ones are file, http, https"},
	    {"/tmp/dir", "scheme"},
	    {"", "scheme"},
	    {"://x", "scheme"},
	    {"a b://x", "scheme"},
	    {"file://elsewhere/a", "localhost"},
	    {"file://", "directory"},
	    {"file:///a\nb", "control character"},
	    {"http:///a", "host"},
	    {"gopherxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx://u:secret@h", "known ones"},
	};
	char url[VX_MAX_URL + 2];
	struct vx_store *s = NULL;
	struct vx_err e;

	for (size_t i = 0; i < VX_ARRAY_LEN(bad); i++) {
		ck_assert_msg(vx_store_open(&s, fetcher, bad[i].url, &e) == -EINVAL, "accepted %s", bad[i].url);
		ck_assert_msg(strstr(e.why, bad[i].words), "'%s' is not in: %s", bad[i].words, e.why);
		ck_assert_ptr_null(strstr(e.why, "secret"));
	}
	memset(url, 'a', sizeof url);
	memcpy(url, "file:///", 8);
	url[VX_MAX_URL + 1] = 0;
	ck_assert_int_eq(vx_store_open(&s, fetcher, url, &e), -EINVAL);
	ck_assert_ptr_null(s);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store_file");
	TCase *t = tcase_create("file");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, every_variant_is_found);
	tcase_add_test(t, sizes);
	tcase_add_test(t, missing);
	tcase_add_test(t, what_is_no_file_is_refused_without_waiting);
	tcase_add_test(t, permission_denied);
	tcase_add_test(t, keys);
	tcase_add_test(t, base_urls);
	tcase_add_test(t, a_store_without_its_directory_is_not_empty);
	tcase_add_test(t, parts);
	tcase_add_test(t, in_place);
	tcase_add_test(t, submitting_answers_at_once);
	tcase_add_test(t, urls_that_name_no_store);
	return vxt_run(s);
}
