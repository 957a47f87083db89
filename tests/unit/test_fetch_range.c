/* SPDX-License-Identifier: Apache-2.0
 * Parts of objects: http:// stores against tests/lib/faultd.py and nginx, and the rules by which an answer is taken
 * for the part that was asked for.
 */
#include "fetch_fixture.h"

#include "base/clock.h"
#include "base/limits.h"
#include "fetch/range.h"

#include <fcntl.h>

static void expect_range(unsigned i, uint64_t off, uint64_t len)
{
	char key[16];

	snprintf(key, sizeof key, "%u", i);
	set_range(off, len, false);
	expect_part(key, i, off, len);
	ck_assert_uint_eq(wishes[0].got.total, object_size(i));
}

static void expect_tail(unsigned i, uint64_t len)
{
	uint64_t size = object_size(i), kept = vx_min_u64(len, size);
	char key[16];

	snprintf(key, sizeof key, "%u", i);
	set_range(77, len, true);
	expect_part(key, i, size - kept, kept);
	ck_assert_uint_eq(wishes[0].got.total, size);
}

static void ranges_of_all_kinds(void)
{
	uint64_t size = object_size(5);

	expect_range(5, 0, 1);
	expect_range(5, 0, size);
	expect_range(5, size - 1, 1);
	expect_range(5, 1000, 2000);
	expect_range(0, BIG - 70000, 70000);
	expect_tail(5, 1);
	expect_tail(5, size);
	expect_tail(5, size + 1);
	expect_tail(0, 100000);
	set_range(size - 1, 2, false);
	expect_error("5", -EBADMSG, "shorter than its index says");
	set_range(size, 1, false);
	expect_error("5", -EBADMSG, "shorter than its index says");
	set_range(UINT64_MAX / 2, 1, false);
	expect_error("5", -EBADMSG, "shorter than its index says");
	set_range(0, 10, false);
	expect_error("nothing", -ENODATA, "404");
}

START_TEST(ranges)
{
	ranges_of_all_kinds();
	expect_range(5, 10, 20);
	ck_assert_ptr_nonnull(strstr(control("GET", "/__stats", ""), "\"accept-encoding\": \"identity\""));
	ck_assert_str_eq(wishes[0].got.content_encoding, "");
	set_range(UINT64_MAX, 1, false);
	expect_error("5", -EBADMSG, "beyond");
	wishes[0].f.cap = 9;
	set_range(0, 10, false);
	expect_error("5", -EBADMSG, "more bytes than it may have");
}
END_TEST

static void ranges_cut_from_the_whole(void)
{
	expect_range(5, 1000, 2000);
	expect_range(5, 0, object_size(5));
	expect_range(0, BIG - 70000, 70000);
	expect_tail(5, 1);
	expect_tail(0, 100000);
	expect_tail(5, object_size(5) + 1);
	set_range(object_size(5) - 1, 2, false);
	expect_error("5", -EBADMSG, "shorter than its index says");
	set_range(object_size(5) + 1, 2, false);
	expect_error("5", -EBADMSG, "shorter than its index says");
}

START_TEST(servers_without_ranges)
{
	rules("[{\"match\": \".\", \"do\": \"norange\"}]");
	ranges_cut_from_the_whole();
	rules("[{\"match\": \".\", \"do\": \"norange\", \"chunked\": true}]");
	ranges_cut_from_the_whole();
}
END_TEST

START_TEST(large_objects_are_not_read_whole)
{
	char path[128];

	snprintf(path, sizeof path, "%s/huge", top);
	close(open(path, O_CREAT | O_WRONLY, 0644));
	ck_assert_int_eq(truncate(path, (off_t)VX_MAX_UNRANGED_BYTES + 1), 0);
	for (int chunked = 0; chunked < 2; chunked++)
		for (int suffix = 0; suffix < 2; suffix++) {
			char json[100];

			snprintf(json, sizeof json, "[{\"match\": \"huge\", \"do\": \"norange\", \"chunked\": %s}]",
				 chunked ? "true" : "false");
			rules(json);
			set_range(100, 10, suffix);
			expect_error("huge", -EIO, "does not do byte ranges");
		}
	rules("[]");
	set_range(VX_MAX_UNRANGED_BYTES, 1, false);
	ck_assert_int_eq(get("huge")->got.err.code, 0);
	ck_assert_uint_eq(wishes[0].got.body->len, 1);
	set_range(0, 0, false);
	wishes[0].f.cap = 2 * VX_MAX_UNRANGED_BYTES;
	ck_assert_int_eq(get("huge")->got.err.code, 0);
	unlink(path);
}
END_TEST

START_TEST(other_parts_are_refused)
{
	static const char *const values[] = {
	    "bytes 1-10/90000",
	    "bytes 0-8/90000",
	    "bytes 0-10/90000",
	    "bytes 0-9/8",
	    "bytes 0-9",
	    "0-9/90000",
	    "bytes */90000",
	    "items 0-9/90000",
	    "bytes 0-9/9x0",
	    "bytes 0-9,20-29/90000",
	    "bytes 9-0/90000",
	    "bytes 4-4/5",
	    "",
	};
	char json[200];

	for (size_t i = 0; i < VX_ARRAY_LEN(values); i++) {
		snprintf(json, sizeof json,
			 "[{\"match\": \"5\", \"do\": \"range\", \"body\": \"0123456789\", \"value\": \"%s\"}]",
			 values[i]);
		rules(json);
		set_range(0, 10, false);
		expect_error("5", -EBADMSG, "other bytes than were asked for, 1 try");
	}
	rules("[{\"match\": \"5\", \"do\": \"range\", \"body\": \"0123456789\", \"value\": \"bytes 0-9/*\"}]");
	ck_assert_int_eq(get("5")->got.err.code, 0);
	ck_assert_mem_eq(wishes[0].got.body->data, "0123456789", 10);
	ck_assert_uint_eq(wishes[0].got.total, 0);
	set_range(0, 10, true);
	expect_error("5", -EBADMSG, "other bytes");
	/* The server clipped the range at the object's end. */
	rules("[{\"match\": \"5\", \"do\": \"range\", \"body\": \"01234\", \"value\": \"bytes 0-4/5\"}]");
	set_range(0, 10, false);
	expect_error("5", -EBADMSG, "shorter than its index says");
	/* The right head with other than its bytes. */
	rules("[{\"match\": \"5\", \"do\": \"range\", \"body\": \"01234\", \"value\": \"bytes 0-9/90000\"}]");
	expect_error("5", -EBADMSG, "other bytes");
}
END_TEST

START_TEST(packed_parts_are_refused)
{
	set_range(0, 10, false);
	expect_error("z", -EBADMSG, "packs what it sends");
	rules("[{\"match\": \"z\", \"do\": \"norange\"}]");
	expect_error("z", -EBADMSG, "packs what it sends");
}
END_TEST

START_TEST(empty_objects)
{
	char path[128];

	snprintf(path, sizeof path, "%s/empty", top);
	close(open(path, O_CREAT | O_WRONLY, 0644));
	set_range(0, 10, true);
	ck_assert_int_eq(get("empty")->got.err.code, 0);
	ck_assert_uint_eq(wishes[0].got.body->len, 0);
	set_range(0, 10, false);
	expect_error("empty", -EBADMSG, "shorter");
	rules("[{\"match\": \".\", \"do\": \"norange\"}]");
	expect_error("empty", -EBADMSG, "shorter");
	set_range(0, 10, true);
	ck_assert_int_eq(get("empty")->got.err.code, 0);
	unlink(path);
}
END_TEST

START_TEST(faults_are_tried_again)
{
	rules("[{\"match\": \"5\", \"do\": \"cut\", \"times\": 1}, {\"match\": \"5\", \"do\": \"status\", \"status\":"
	      "503, \"times\": 1}]");
	expect_range(5, 10, 20);
	ck_assert_int_eq(stat_of("/5"), 3);
}
END_TEST

START_TEST(redirected_ranges)
{
	rules("[{\"match\": \"7\", \"do\": \"redirect\", \"to\": \"/5\"}]");
	set_range(3, 40, false);
	expect_part("7", 5, 3, 40);
}
END_TEST

START_TEST(conditional_requests)
{
	char etag[72];

	expect("5", 5);
	ck_assert_uint_eq(strlen(wishes[0].got.etag), 10);
	ck_assert_uint_eq(wishes[0].got.total, object_size(5));
	ck_assert(!wishes[0].got.not_modified);
	strcpy(etag, wishes[0].got.etag);
	strcpy(wishes[0].f.if_none_match, etag);
	ck_assert_int_eq(get("5")->got.err.code, 0);
	ck_assert(wishes[0].got.not_modified);
	ck_assert_ptr_null(wishes[0].got.body);
	ck_assert_str_eq(wishes[0].got.etag, etag);
	expect("6", 6);
	ck_assert(!wishes[0].got.not_modified);
	ck_assert_str_ne(wishes[0].got.etag, etag);
	expect_error("nothing", -ENODATA, "404");
	strcpy(wishes[0].f.if_none_match, "a\r\nHost: b");
	expect_error("5", -EINVAL, "etag");
	memset(wishes[0].f.if_none_match, 'a', sizeof wishes[0].f.if_none_match);
	expect_error("5", -EINVAL, "etag");
	wishes[0].f.if_none_match[0] = 0;
	rules("[{\"match\": \"5\", \"do\": \"status\", \"status\": 304}]");
	expect_error("5", -EIO, "304");
}
END_TEST

/* --- nginx --- */

static pid_t nginx;

static bool start_nginx(void)
{
	char conf[160], prefix[96];
	FILE *f;

	if (access("/usr/sbin/nginx", X_OK) < 0)
		return false;
	for (int tries = 0; tries < 20; tries++) {
		int status;

		port = 20000 + (int)((vx_now_ns() >> 10) % 12000);
		snprintf(prefix, sizeof prefix, "%s/", top);
		snprintf(conf, sizeof conf, "%s/nginx.conf", top);
		f = fopen(conf, "w");
		fprintf(f,
			"daemon off; master_process off; pid %s/pid; error_log /dev/null;\n"
			"events {} http { access_log off; client_body_temp_path %s/t1; proxy_temp_path %s/t2;\n"
			"fastcgi_temp_path %s/t3; uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;\n"
			"server { listen 127.0.0.1:%d; root %s; } }\n",
			top, top, top, top, top, top, port, top);
		fclose(f);
		nginx = fork();
		if (nginx == 0) {
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			freopen("/dev/null", "w", stderr);
			execl("/usr/sbin/nginx", "nginx", "-p", prefix, "-c", conf, (char *)NULL);
			_exit(127);
		}
		while (waitpid(nginx, &status, WNOHANG) == 0) {
			struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
			int fd = socket(AF_INET, SOCK_STREAM, 0);
			int r;

			a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
			r = connect(fd, (struct sockaddr *)&a, sizeof a);
			close(fd);
			if (r == 0)
				return true;
		}
	}
	ck_abort_msg("nginx does not start");
	return false;
}

START_TEST(ranges_of_nginx)
{
	int good = port;

	if (!start_nginx())
		return;
	open_at("", "/");
	ranges_of_all_kinds();
	set_range(0, 0, false);
	expect("5", 5);
	ck_assert_str_ne(wishes[0].got.etag, "");
	strcpy(wishes[0].f.if_none_match, wishes[0].got.etag);
	ck_assert_int_eq(get("5")->got.err.code, 0);
	ck_assert(wishes[0].got.not_modified);
	kill(nginx, SIGTERM);
	waitpid(nginx, NULL, 0);
	port = good;
}
END_TEST

/* --- the rules, without a server --- */

START_TEST(content_range_values)
{
	static const struct {
		const char *text;
		bool good;
		uint64_t first, last, total;
	} cases[] = {
	    {"bytes 0-0/1", true, 0, 0, 1},
	    {" Bytes  5-9/10 ", true, 5, 9, 10},
	    {"bytes 5-9/*", true, 5, 9, VX_SIZE_UNKNOWN},
	    {"bytes */0", true, VX_SIZE_UNKNOWN, VX_SIZE_UNKNOWN, 0},
	    {"bytes 0-18446744073709551613/18446744073709551614", true, 0, UINT64_MAX - 2, UINT64_MAX - 1},
	    {"bytes 0-18446744073709551616/*", false, 0, 0, 0},
	    {"bytes */*", false, 0, 0, 0},
	    {"bytes", false, 0, 0, 0},
	    {"bytes ", false, 0, 0, 0},
	    {"bytes=0-1/2", false, 0, 0, 0},
	    {"bytes 0-1", false, 0, 0, 0},
	    {"bytes 0-1/", false, 0, 0, 0},
	    {"bytes 0-1/1", false, 0, 0, 0},
	    {"bytes 1-0/2", false, 0, 0, 0},
	    {"bytes -1/2", false, 0, 0, 0},
	    {"bytes +0-1/2", false, 0, 0, 0},
	    {"bytes 0 - 1/2", false, 0, 0, 0},
	};

	for (size_t i = 0; i < VX_ARRAY_LEN(cases); i++) {
		uint64_t first, last, total;
		bool good = vx_content_range(cases[i].text, strlen(cases[i].text), &first, &last, &total);

		ck_assert_msg(good == cases[i].good, "%s", cases[i].text);
		if (good)
			ck_assert_msg(first == cases[i].first && last == cases[i].last && total == cases[i].total, "%s",
				      cases[i].text);
	}
}
END_TEST

static void line(struct vx_answer *a, const char *text)
{
	vx_answer_line(a, text, strlen(text), 1445412400);
}

START_TEST(header_lines)
{
	struct vx_answer a;

	memset(&a, 0xff, sizeof a);
	line(&a, "HTTP/1.1 302 Found\r\n");
	line(&a, "ETag: \"old\"\r\n");
	line(&a, "\r\n");
	line(&a, "HTTP/2 206 \r\n");
	line(&a, "etag:W/\"x y\"\r\n");
	line(&a, "CONTENT-RANGE: bytes 1-2/30\r\n");
	line(&a, "content-encoding: GZIP\r\n");
	line(&a, "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n");
	line(&a, "ETagger: no\r\n");
	line(&a, "\r\n");
	line(&a, "ETag: \"trailer\"\r\n");
	ck_assert_int_eq(a.status, 206);
	ck_assert_str_eq(a.etag, "W/\"x y\"");
	ck_assert_str_eq(a.content_encoding, "gzip");
	ck_assert(a.ranged && a.first == 1 && a.last == 2 && a.total == 30);
	ck_assert_uint_eq(a.retry_after_ms, 80000);
	line(&a, "HTTP/1.1 200 OK\r\n");
	ck_assert(!a.ranged && !a.etag[0] && !a.content_encoding[0] && !a.retry_after_ms && !a.complete);
	line(&a, "ETag: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\r\n");
	ck_assert_str_eq(a.etag, "");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fetch_range");
	TCase *t = tcase_create("http"), *pure = tcase_create("pure");

	suite_add_tcase(s, t);
	suite_add_tcase(s, pure);
	tcase_add_unchecked_fixture(t, start_all, stop_all);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, ranges);
	tcase_add_test(t, servers_without_ranges);
	tcase_add_test(t, large_objects_are_not_read_whole);
	tcase_add_test(t, other_parts_are_refused);
	tcase_add_test(t, packed_parts_are_refused);
	tcase_add_test(t, empty_objects);
	tcase_add_test(t, faults_are_tried_again);
	tcase_add_test(t, redirected_ranges);
	tcase_add_test(t, conditional_requests);
	tcase_add_test(t, ranges_of_nginx);
	tcase_add_test(pure, content_range_values);
	tcase_add_test(pure, header_lines);
	return vxt_run(s);
}
