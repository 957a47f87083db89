/* SPDX-License-Identifier: Apache-2.0
 * http:// stores against tests/lib/faultd.py, which misbehaves on demand. Each test starts with no rules
 * and a fetcher of its own. Nothing here measures time: where a request must be under way first, the
 * server is asked whether it has come.
 */
#include "fetch_fixture.h"

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
	rules("[{\"match\": \"7\", \"do\": \"status\", \"status\": 429, \"headers\": {\"Retry-After\": \"1\"},"
	      "\"times\": 1}]");
	expect("7", 7);
	ck_assert_int_eq(stat_of("/7"), 2);
	rules("[{\"match\": \"8\", \"do\": \"status\", \"status\": 503, \"headers\": {\"Retry-After\":"
	      "\"Fri, 01 Jan 2100 00:00:00 GMT\"}}]");
	expect_error("8", -EIO, "status 503, 1 try");
	errors++;
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

/* Slow is not stalled: it takes longer than a stall may, but is heard of all the time. */
START_TEST(slow_answers_are_awaited)
{
	opts.stall_ms = 2000;
	renew_fetcher();
	rules("[{\"match\": \"/5\", \"do\": \"drip\", \"parts\": 25}]");
	expect("5", 5);
	ck_assert_int_eq(stat_of("/5"), 1);
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
	tcase_add_test(t, slow_answers_are_awaited);
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
	return vxt_run(s);
}
