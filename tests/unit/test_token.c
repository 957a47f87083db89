/* SPDX-License-Identifier: Apache-2.0
 * When credentials are looked for: a source that is told what to find, and a clock that is an argument. Also the
 * parsers of what sources read.
 */
#include "fetch/fetch.h"
#include "fetch/secret.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct vx_tokens *tokens;
static struct vx_holder *me;
static pthread_mutex_t mtx = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static unsigned changes, searches; /* under mtx */
static int found_code;
static const char *found_secret;
static int64_t found_expires;

static void on_change(void *ctx)
{
	pthread_mutex_lock(&mtx);
	changes++;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&mtx);
}

static int source(struct vx_tokens *ts, const char *subject, struct vx_token **ret, struct vx_err *e)
{
	struct vx_token *t = vx_token_new(VX_TOKEN_BEARER);

	ck_assert_str_eq(subject, "subject");
	pthread_mutex_lock(&mtx);
	searches++;
	t->secret = strdup(found_secret);
	t->expires = found_expires;
	pthread_mutex_unlock(&mtx);
	if (found_code == 0) {
		*ret = t;
		return 0;
	}
	vx_token_put(t);
	return vx_fail(e, found_code, "told to fail");
}

static void setup(void)
{
	changes = searches = 0;
	found_code = 0;
	found_secret = "one";
	found_expires = 0;
	ck_assert_int_eq(vx_tokens_new(&tokens, on_change, NULL), 0);
	me = vx_holder_get(tokens, source, "subject");
	ck_assert_ptr_eq(me, vx_holder_get(tokens, source, "subject"));
}

static void teardown(void)
{
	vx_tokens_stop(tokens);
	vx_tokens_free(&tokens);
}

static void await_changes(unsigned n)
{
	pthread_mutex_lock(&mtx);
	while (changes < n)
		pthread_cond_wait(&cond, &mtx);
	ck_assert_uint_eq(searches, n);
	pthread_mutex_unlock(&mtx);
}

static struct vx_err why;

static int use(int64_t now, const char *secret)
{
	VX_AUTO_TOKEN struct vx_token *t = NULL;
	int r = vx_holder_use(me, now, &t, &why);

	if (r == 0)
		ck_assert_str_eq(t->secret, secret);
	return r;
}

static bool reject(int64_t now, const char *secret)
{
	VX_AUTO_TOKEN struct vx_token *t = vx_token_new(VX_TOKEN_BEARER);

	t->secret = strdup(secret);
	return vx_holder_reject(me, t, now);
}

START_TEST(found_once)
{
	int64_t now = time(NULL);

	ck_assert_int_eq(use(now, ""), -EAGAIN);
	await_changes(1);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(use(now + i * 1000000, "one"), 0);
	await_changes(1);
}
END_TEST

START_TEST(renewed_before_the_end)
{
	int64_t now = time(NULL), end = now + 3600;

	found_expires = end;
	ck_assert_int_eq(use(now, ""), -EAGAIN);
	await_changes(1);
	ck_assert_int_eq(use(end - 301, "one"), 0);
	await_changes(1);
	found_secret = "two";
	found_expires = end + 3600;
	ck_assert_int_eq(use(end - 299, "one"), 0); /* goes on with the old one meanwhile */
	await_changes(2);
	ck_assert_int_eq(use(end - 298, "two"), 0);
	ck_assert_int_eq(use(end + 1, "two"), 0);
	await_changes(2);
}
END_TEST

START_TEST(a_failed_renewal_leaves_what_holds)
{
	int64_t now = time(NULL), end = now + 3600;

	found_expires = end;
	ck_assert_int_eq(use(now, ""), -EAGAIN);
	await_changes(1);
	found_code = -EHOSTUNREACH;
	ck_assert_int_eq(use(end - 100, "one"), 0);
	await_changes(2);
	ck_assert_int_eq(use(now + 4, "one"), 0);
	ck_assert_int_eq(use(end, ""), -EAGAIN); /* ended, and long since the last search */
	await_changes(3);
	found_code = 0;
	found_expires = end + 3600;
	ck_assert_int_eq(use(end + 10, ""), -EAGAIN);
	await_changes(4);
	ck_assert_int_eq(use(end + 10, "one"), 0);
}
END_TEST

START_TEST(failures_are_told_and_not_repeated_at_once)
{
	int64_t now = time(NULL);

	found_code = -EACCES;
	ck_assert_int_eq(use(now, ""), -EAGAIN);
	await_changes(1);
	now = time(NULL);
	ck_assert_int_eq(use(now, ""), -EACCES);
	ck_assert_str_eq(why.why, "told to fail");
	ck_assert_int_eq(use(now + 4, ""), -EACCES);
	await_changes(1);
	found_code = 0;
	ck_assert_int_eq(use(now + 6, ""), -EAGAIN);
	await_changes(2);
	ck_assert_int_eq(use(now + 6, "one"), 0);
}
END_TEST

START_TEST(rejected_tokens)
{
	int64_t now = time(NULL);

	ck_assert_int_eq(use(now, ""), -EAGAIN);
	await_changes(1);
	found_secret = "two";
	ck_assert(reject(now, "one"));
	await_changes(2);
	ck_assert(reject(now, "one")); /* by one who does not know yet */
	await_changes(2);
	ck_assert_int_eq(use(now, "two"), 0);
	ck_assert(!reject(now + 1, "two")); /* nothing better to be had so soon */
	ck_assert_int_eq(use(now + 1, "two"), 0);
	ck_assert(reject(now + 31, "two"));
	await_changes(3);
}
END_TEST

/* --- places --- */

static char told[4096];

static void tell(void *ctx, const char *path)
{
	ck_assert_ptr_eq(ctx, told);
	snprintf(told + strlen(told), sizeof told - strlen(told), "%s\n", path);
}

START_TEST(places)
{
	setenv("HOME", "/home/me", 1);
	setenv("AWS_CONFIG_FILE", "/etc/aws", 1);
	setenv("GOOGLE_APPLICATION_CREDENTIALS", "/run/google.json", 1);
	unsetenv("AWS_SHARED_CREDENTIALS_FILE");
	unsetenv("AWS_WEB_IDENTITY_TOKEN_FILE");
	unsetenv("CLOUD_VOLUME_DIR");
	unsetenv("AWS_CA_BUNDLE");
	vx_fetch_secret_places("s3://b/v", tell, told);
	ck_assert_ptr_nonnull(strstr(told, "/home/me/.cloudvolume/secrets\n"));
	ck_assert_ptr_nonnull(strstr(told, "/home/me/.aws/credentials\n"));
	ck_assert_ptr_nonnull(strstr(told, "\n/etc/aws\n"));
	ck_assert_ptr_null(strstr(told, "google.json"));
	ck_assert_ptr_null(strstr(told, ".aws/config"));
	ck_assert_ptr_null(strstr(told, "\n\n"));
	told[0] = 0;
	vx_fetch_secret_places("gs://b/v", tell, told);
	ck_assert_ptr_nonnull(strstr(told, "\n/run/google.json\n"));
	ck_assert_ptr_null(strstr(told, "aws"));
	told[0] = 0;
	vx_fetch_secret_places("file:///v", tell, told);
	ck_assert_str_eq(told, "");
}
END_TEST

/* --- parsers --- */

START_TEST(ini)
{
	static const char text[] =
	    "stray = 0\n[a]\nx = 1 # one\n;x = 2\n#x = 3\ny=a=b;c\n x = 4\n[ b ]\r\nx = 5\r\nx=6\r\n[c]\nx =\n";
	char v[8];

	ck_assert(vx_ini_get(text, "a", "x", v, sizeof v));
	ck_assert_str_eq(v, "1");
	ck_assert(vx_ini_get(text, "a", "y", v, sizeof v));
	ck_assert_str_eq(v, "a=b;c");
	ck_assert(!vx_ini_get(text, "a", "y", v, 5));
	ck_assert(vx_ini_get(text, "b", "x", v, sizeof v));
	ck_assert_str_eq(v, "6");
	ck_assert(!vx_ini_get(text, "c", "x", v, sizeof v));
	ck_assert(!vx_ini_get(text, "d", "x", v, sizeof v));
	ck_assert(!vx_ini_get(text, "a", "stray", v, sizeof v));
	ck_assert(vx_ini_has(text, "c") && !vx_ini_has(text, "d") && !vx_ini_has("", "a"));
}
END_TEST

START_TEST(times)
{
	ck_assert_int_eq(vx_secret_time("2026-11-21T14:00:00Z"), 1795269600);
	ck_assert_int_eq(vx_secret_time("2026-11-21T14:00:00.123Z"), 1795269600);
	ck_assert_int_eq(vx_secret_time("2026-11-21T14:00:00+00:00"), 1795269600);
	ck_assert_int_eq(vx_secret_time("2026-11-21T14:00:00"), 0);
	ck_assert_int_eq(vx_secret_time("2026-11-21T14:00:00+01:00"), 0);
	ck_assert_int_eq(vx_secret_time("soon"), 0);
}
END_TEST

START_TEST(netrc)
{
	static const char text[] =
	    "machine a login x password y\nmacdef m\n machine h login no password no\n\n"
	    "default login d password d\nmachine H\n\tpassword p\n\tlogin l account c\nmachine h login z\n";
	char *login = NULL, *password = NULL;

	ck_assert(vx_netrc_find(text, "h", &login, &password));
	ck_assert_str_eq(login, "l");
	ck_assert_str_eq(password, "p");
	free(login);
	free(password);
	ck_assert(!vx_netrc_find(text, "other", &login, &password));
	ck_assert(!vx_netrc_find("machine", "machine", &login, &password));
}
END_TEST

START_TEST(answers_without_a_token)
{
	static const char *const bad[] = {"",
					  "[]",
					  "{}",
					  "{\"access_token\": 5}",
					  "{\"access_token\": \"a\\nb\"}",
					  "{\"AccessKeyId\": \"a\"}",
					  "<Error/>",
					  "<AccessKeyId>a</AccessKeyId>"};

	for (size_t i = 0; i < VX_ARRAY_LEN(bad); i++) {
		struct vx_token *t = NULL;
		struct vx_err e;

		ck_assert_int_lt(vx_oauth_parse(bad[i], 0, &t, &e), 0);
		ck_assert_int_lt(vx_aws_keys_parse(bad[i], &t, &e), 0);
		ck_assert_int_lt(vx_aws_sts_parse(bad[i], &t, &e), 0);
		ck_assert_ptr_null(t);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("token");
	TCase *t = tcase_create("holders"), *parsers = tcase_create("parsers");
	SRunner *r = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	suite_add_tcase(s, parsers);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, found_once);
	tcase_add_test(t, renewed_before_the_end);
	tcase_add_test(t, a_failed_renewal_leaves_what_holds);
	tcase_add_test(t, failures_are_told_and_not_repeated_at_once);
	tcase_add_test(t, rejected_tokens);
	tcase_add_test(parsers, places);
	tcase_add_test(parsers, ini);
	tcase_add_test(parsers, times);
	tcase_add_test(parsers, netrc);
	tcase_add_test(parsers, answers_without_a_token);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
