/* SPDX-License-Identifier: Apache-2.0
 * The pure parts of fetch/: when to try again and with what errno to give up, and URLs.
 */
#include "../lib/vxtest.h"
#include "fetch/header.h"
#include "fetch/retry.h"
#include "fetch/url.h"

#include <string.h>

static const struct vx_retry_policy policy = {.tries = 4, .first_ms = 100, .max_ms = 1000, .after_max_ms = 60000};

static struct vx_verdict decide(enum vx_fault fault, int status, unsigned tries)
{
	struct vx_failure f = {.fault = fault, .status = status, .tries = tries};

	return vx_retry_decide(&policy, &f, 7);
}

static int code_of(enum vx_fault fault, int status)
{
	return vx_retry_code(&(struct vx_failure){.fault = fault, .status = status, .tries = 1});
}

START_TEST(statuses_that_pass)
{
	static const int statuses[] = {408, 429, 500, 502, 503, 504, 507, 599};

	for (size_t i = 0; i < VX_ARRAY_LEN(statuses); i++) {
		ck_assert(decide(VX_FAULT_STATUS, statuses[i], 1).again);
		ck_assert(decide(VX_FAULT_STATUS, statuses[i], 3).again);
		ck_assert(!decide(VX_FAULT_STATUS, statuses[i], 4).again);
		ck_assert_int_eq(code_of(VX_FAULT_STATUS, statuses[i]), -EIO);
	}
}
END_TEST

START_TEST(statuses_that_stay)
{
	static const struct {
		int status, code;
	} cases[] = {
	    {404, -ENODATA}, {410, -ENODATA}, {401, -EACCES}, {403, -EACCES}, {407, -EACCES}, {400, -EIO},
	    {416, -EIO},     {451, -EIO},     {501, -EIO},    {505, -EIO},    {204, -EIO},    {206, -EIO},
	    {302, -EIO},     {304, -EIO},     {0, -EIO},      {600, -EIO},    {999, -EIO},
	};

	for (size_t i = 0; i < VX_ARRAY_LEN(cases); i++) {
		ck_assert(!decide(VX_FAULT_STATUS, cases[i].status, 1).again);
		ck_assert_int_eq(code_of(VX_FAULT_STATUS, cases[i].status), cases[i].code);
	}
}
END_TEST

START_TEST(faults)
{
	static const struct {
		enum vx_fault fault;
		bool again;
		int code;
	} cases[] = {
	    {VX_FAULT_RESOLVE, true, -EHOSTUNREACH},
	    {VX_FAULT_CONNECT, true, -EHOSTUNREACH},
	    {VX_FAULT_TLS, true, -EHOSTUNREACH},
	    {VX_FAULT_TRUST, false, -EHOSTUNREACH},
	    {VX_FAULT_CONNECT_TIME, true, -ETIMEDOUT},
	    {VX_FAULT_STALL, true, -ETIMEDOUT},
	    {VX_FAULT_CUT, true, -EIO},
	    {VX_FAULT_REDIRECTS, false, -EIO},
	    {VX_FAULT_PROTOCOL, false, -EIO},
	    {VX_FAULT_MALFORMED, false, -EIO},
	    {VX_FAULT_TOO_BIG, false, -EBADMSG},
	    {VX_FAULT_MEMORY, false, -ENOMEM},
	    {VX_FAULT_CANCELLED, false, -ECANCELED},
	    {VX_FAULT_OTHER, false, -EIO},
	};

	for (size_t i = 0; i < VX_ARRAY_LEN(cases); i++) {
		ck_assert_int_eq(decide(cases[i].fault, 200, 1).again, cases[i].again);
		ck_assert(!decide(cases[i].fault, 200, 4).again);
		ck_assert_int_eq(code_of(cases[i].fault, 200), cases[i].code);
		ck_assert_uint_gt(strlen(vx_fault_text(cases[i].fault)), 0);
	}
}
END_TEST

START_TEST(waits_double_with_jitter)
{
	static const uint64_t whole[] = {100, 200, 400, 800, 1000, 1000};
	struct vx_retry_policy p = {.tries = 100, .first_ms = 100, .max_ms = 1000};

	for (unsigned i = 0; i < VX_ARRAY_LEN(whole); i++) {
		uint64_t least = UINT64_MAX, most = 0;

		for (uint64_t random = 0; random < 3000; random++) {
			struct vx_failure f = {.fault = VX_FAULT_CUT, .tries = i + 1};
			uint64_t wait = vx_retry_decide(&p, &f, random).wait_ms;

			least = vx_min_u64(least, wait);
			most = vx_max_u64(most, wait);
		}
		ck_assert_uint_eq(least, whole[i] / 2);
		ck_assert_uint_eq(most, whole[i]);
	}
}
END_TEST

START_TEST(waits_never_overflow)
{
	struct vx_retry_policy p = {.tries = UINT32_MAX, .first_ms = 3, .max_ms = UINT64_MAX};
	struct vx_failure f = {.fault = VX_FAULT_CUT, .tries = 1000000};

	ck_assert_uint_ge(vx_retry_decide(&p, &f, UINT64_MAX).wait_ms, UINT64_MAX / 2);
	p.first_ms = p.max_ms = 0;
	ck_assert_uint_eq(vx_retry_decide(&p, &f, UINT64_MAX).wait_ms, 0);
}
END_TEST

START_TEST(retry_after_is_honoured_within_bounds)
{
	struct vx_failure f = {.fault = VX_FAULT_STATUS, .status = 429, .tries = 1, .retry_after_ms = 700};

	ck_assert_uint_eq(vx_retry_decide(&policy, &f, 0).wait_ms, 700);
	f.retry_after_ms = 60000;
	ck_assert_uint_eq(vx_retry_decide(&policy, &f, 0).wait_ms, 60000);
	f.retry_after_ms = 60001;
	ck_assert(!vx_retry_decide(&policy, &f, 0).again);
	ck_assert_int_eq(vx_retry_code(&f), -EIO);
	f.retry_after_ms = 1;
	ck_assert_uint_ge(vx_retry_decide(&policy, &f, 0).wait_ms, 50);
}
END_TEST

static uint64_t after(const char *value)
{
	return vx_retry_after_ms(value, strlen(value), 1445412400);
}

START_TEST(retry_after_values)
{
	ck_assert_uint_eq(after("120"), 120000);
	ck_assert_uint_eq(after("  3 \r\n"), 3000);
	ck_assert_uint_eq(after("0"), 0);
	ck_assert_uint_eq(after(""), 0);
	ck_assert_uint_eq(after("-5"), 0);
	ck_assert_uint_eq(after("1.5"), 0);
	ck_assert_uint_eq(after("Wed, 21 Oct 2015 07:28:00 GMT"), 80000);
	ck_assert_uint_eq(after("Wednesday, 21-Oct-15 07:28:00 GMT"), 80000);
	ck_assert_uint_eq(after("Wed Oct 21 07:28:00 2015"), 80000);
	ck_assert_uint_eq(after("Wed, 21 Oct 2015 07:26:40 GMT"), 0);
	ck_assert_uint_eq(after("Wed, 21 Oct 1915 07:28:00 GMT"), 0);
	ck_assert_uint_eq(after("Wed, 31 Foo 2015"), 0);
	ck_assert_uint_eq(after("99999999999999999999999999999"), 1000000000000);
}
END_TEST

static void check_join(const char *base, const char *key, const char *expected)
{
	struct vx_url u;
	struct vx_err e;
	char text[200];

	ck_assert_int_eq(vx_url_split(&u, base, &e), 0);
	ck_assert_int_eq(vx_url_join(&u, key, text, sizeof text, &e), 0);
	ck_assert_str_eq(text, expected);
	vx_url_done(&u);
}

START_TEST(join)
{
	check_join("http://h", "info", "http://h/info");
	check_join("http://h/", "info", "http://h/info");
	check_join("http://h/a/b//", "8_8_8/0-64_0-64_-64-0", "http://h/a/b/8_8_8/0-64_0-64_-64-0");
	check_join("https://u:p@h:81/a", "k", "https://h:81/a/k");
	check_join("https://h/a?x=1&y=/..", "k", "https://h/a/k?x=1&y=/..");
	check_join("https://h?", "k", "https://h/k");
	check_join("http://[::1]:80/a", "k", "http://[::1]:80/a/k");
	check_join("http://h/a%20b", "c d?e#f%20", "http://h/a%20b/c%20d%3Fe%23f%2520");
	check_join("http://h/a", "x//y", "http://h/a/x//y");
	check_join("http://h/a", "caf\xc3\xa9:+~", "http://h/a/caf%C3%A9%3A%2B~");
}
END_TEST

START_TEST(join_resolves_dots)
{
	check_join("http://h/a/b", "../c/k", "http://h/a/c/k");
	check_join("http://h/a/b", "../../../../c", "http://h/c");
	check_join("http://h/a/b", "./c/./k", "http://h/a/b/c/k");
	check_join("http://h/a/b", "c/../k", "http://h/a/b/k");
	check_join("http://h/a/../b", "k", "http://h/b/k");
	check_join("http://h/a", "..", "http://h/");
	check_join("http://h/a", "...", "http://h/a/...");
	check_join("http://h/a", "..b/.c", "http://h/a/..b/.c");
	check_join("http://h/a?q", "../../k", "http://h/k?q");
}
END_TEST

START_TEST(join_refuses_what_does_not_fit)
{
	struct vx_url u;
	struct vx_err e;
	char text[13];

	ck_assert_int_eq(vx_url_split(&u, "http://h/a", &e), 0);
	ck_assert_int_eq(vx_url_join(&u, "k", text, sizeof text, &e), 0);
	ck_assert_int_eq(vx_url_join(&u, "kk", text, sizeof text, &e), -EBADMSG);
	ck_assert_int_eq(vx_url_join(&u, "kkkkkkkk/../..", text, sizeof text, &e), -EBADMSG);
	ck_assert_int_eq(vx_url_join(&u, "\xff", text, sizeof text, &e), -EBADMSG);
	vx_url_done(&u);
}
END_TEST

START_TEST(split_takes_secrets_out)
{
	struct vx_url u;
	struct vx_err e;

	ck_assert_int_eq(vx_url_split(&u, "https://me%40x:p%3Aw:@d@h.org/a/?t=s", &e), 0);
	ck_assert_str_eq(u.origin, "https://h.org");
	ck_assert_str_eq(u.path, "/a");
	ck_assert_str_eq(u.query, "?t=s");
	ck_assert_str_eq(u.user, "me@x");
	ck_assert_str_eq(u.password, "p:w:@d");
	vx_url_done(&u);
}
END_TEST

START_TEST(split_refuses)
{
	static const char *const bad[] = {
	    "http://",
	    "http:///a",
	    "http://:80/",
	    "http://u:p@/a",
	    "http://h:0/",
	    "http://h:/",
	    "http://h:65536",
	    "http://h:80x/",
	    "http://h h/",
	    "http://h/a b",
	    "http://h/a#b",
	    "http://[::1/",
	    "http://[::1]x/",
	    "http://[x]/",
	    "http://%zz@h/",
	    "http://%00@h/",
	    "http://a%@h/",
	    "http://u:%1@h/",
	    "http://a,b/",
	    "nothing",
	    "http://?q",
	    "http://h:-1/",
	    "http://h:99999999999999999999999/",
	    "http://a\\b/",
	};

	for (size_t i = 0; i < VX_ARRAY_LEN(bad); i++) {
		struct vx_url u;
		struct vx_err e;

		ck_assert_msg(vx_url_split(&u, bad[i], &e) == -EINVAL, "accepted %s", bad[i]);
		ck_assert_ptr_null(u.origin);
	}
}
END_TEST

START_TEST(file_paths)
{
	static const char *const bad[] = {"/a",          "file:a",     "file://", "file://host/a", "file://localhost",
					  "file:///a%0", "file:///%00"};
	struct vx_err e;
	char *path;

	ck_assert_int_eq(vx_url_file_path(&path, "file:///a%20b/c%2Fd", &e), 0);
	ck_assert_str_eq(path, "/a b/c/d");
	free(path);
	ck_assert_int_eq(vx_url_file_path(&path, "file://LocalHost/a", &e), 0);
	ck_assert_str_eq(path, "/a");
	free(path);
	for (size_t i = 0; i < VX_ARRAY_LEN(bad); i++)
		ck_assert_msg(vx_url_file_path(&path, bad[i], &e) == -EINVAL, "accepted %s", bad[i]);
}
END_TEST

START_TEST(words_of_error_pages)
{
	static const struct {
		const char *page, *word; /* NULL: it says none */
	} cases[] = {
	    {"<Error><Code>NoSuchKey</Code></Error>", "NoSuchKey"},
	    {"<?xml version=\"1.0\"?>\n<Error>\n  <Code>NoSuchBucket</Code>\n", "NoSuchBucket"},
	    {"<Error><Code>AbcdefghijAbcdefghijAbcdefghijAbcdefghijAbcdefg</Code>",
	     "AbcdefghijAbcdefghijAbcdefghijAbcdefghijAbcdefg"},
	    {"<Error><Code>AbcdefghijAbcdefghijAbcdefghijAbcdefghijAbcdefgh</Code>", NULL},
	    {"<Error><Code></Code>", NULL},
	    {"<Error><Code>No Such Key</Code>", NULL},
	    {"<Error><Code>NoSuchKey", NULL},
	    {"<Error><Message>x</Message><Code>NoSuchKey</Code>", NULL},
	    {"<Code>NoSuchKey</Code>", NULL},
	    {"", NULL},
	};

	for (size_t i = 0; i < VX_ARRAY_LEN(cases); i++) {
		char word[VX_ERROR_CODE_MAX] = "unchanged";

		ck_assert_msg(vx_error_code(cases[i].page, word) == (cases[i].word != NULL), "%s", cases[i].page);
		ck_assert_str_eq(word, cases[i].word ? cases[i].word : "unchanged");
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("retry");
	TCase *policies = tcase_create("policy"), *urls = tcase_create("url");

	suite_add_tcase(s, policies);
	suite_add_tcase(s, urls);
	tcase_add_test(policies, statuses_that_pass);
	tcase_add_test(policies, statuses_that_stay);
	tcase_add_test(policies, faults);
	tcase_add_test(policies, waits_double_with_jitter);
	tcase_add_test(policies, waits_never_overflow);
	tcase_add_test(policies, retry_after_is_honoured_within_bounds);
	tcase_add_test(policies, retry_after_values);
	tcase_add_test(urls, join);
	tcase_add_test(urls, join_resolves_dots);
	tcase_add_test(urls, join_refuses_what_does_not_fit);
	tcase_add_test(urls, split_takes_secrets_out);
	tcase_add_test(urls, split_refuses);
	tcase_add_test(urls, file_paths);
	tcase_add_test(urls, words_of_error_pages);
	return vxt_run(s);
}
