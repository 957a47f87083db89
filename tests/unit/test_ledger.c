/* SPDX-License-Identifier: Apache-2.0
 * Histograms and the ring of recent errors.
 */
#include "../lib/vxtest.h"
#include "base/ledger.h"

#include <string.h>

#define RING 256

START_TEST(quantiles)
{
	struct vx_hist h = {0};

	ck_assert_uint_eq(vx_hist_count(&h), 0);
	ck_assert_uint_eq(vx_hist_quantile(&h, 0.5), 0);
	vx_hist_add(&h, 1000);
	for (int q = 1; q <= 10; q++)
		ck_assert_uint_eq(vx_hist_quantile(&h, q / 10.0), 1024);
	for (int k = 0; k < 89; k++)
		vx_hist_add(&h, 1023);
	for (int k = 0; k < 10; k++)
		vx_hist_add(&h, 1024);
	ck_assert_uint_eq(vx_hist_count(&h), 100);
	ck_assert_uint_eq(h.sum, 1000 + 89 * 1023 + 10 * 1024);
	ck_assert_uint_eq(vx_hist_quantile(&h, 0.5), 1024);
	ck_assert_uint_eq(vx_hist_quantile(&h, 0.9), 1024);
	ck_assert_uint_eq(vx_hist_quantile(&h, 0.91), 2048);
	ck_assert_uint_eq(vx_hist_quantile(&h, 1), 2048);
}
END_TEST

START_TEST(every_value_has_a_bucket)
{
	struct vxt_rng r = vxt_seed("every_value_has_a_bucket", 0);

	for (int k = 0; k < 2000; k++) {
		uint64_t v = vxt_rnd(&r, UINT64_MAX) >> vxt_rnd(&r, 64), edge;
		struct vx_hist h = {0};

		vx_hist_add(&h, v);
		ck_assert_uint_eq(vx_hist_count(&h), 1);
		edge = vx_hist_quantile(&h, 1);
		if (v >> VX_HIST_BUCKETS)
			ck_assert_uint_eq(edge, 1ull << VX_HIST_BUCKETS);
		else
			ck_assert_msg(v < edge && v >= (edge == 2 ? 0 : edge / 2), "%llu lies not below %llu",
				      (unsigned long long)v, (unsigned long long)edge);
	}
}
END_TEST

static void *count(void *arg)
{
	struct vx_hist *h = arg;

	for (int k = 0; k < 20000; k++) {
		VX_COUNT(cache_hits);
		VX_COUNT_ADD(store_bytes, 3);
		vx_hist_add(h, (uint64_t)k);
	}
	return NULL;
}

START_TEST(nothing_is_lost_between_threads)
{
	struct vx_hist h = {0};
	pthread_t t[4];

	for (int k = 0; k < 4; k++)
		ck_assert_int_eq(pthread_create(&t[k], NULL, count, &h), 0);
	for (int k = 0; k < 4; k++)
		pthread_join(t[k], NULL);
	ck_assert_uint_eq(vx_ledger.cache_hits, 80000);
	ck_assert_uint_eq(vx_ledger.store_bytes, 240000);
	ck_assert_uint_eq(vx_hist_count(&h), 80000);
}
END_TEST

/* ---- errors ---- */

static unsigned lines(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void note(const char *what, int code, const char *why)
{
	struct vx_err e;

	vx_fail(&e, code, "%s", why);
	vx_error_note(what, &e);
}

START_TEST(repeated_errors)
{
	VX_AUTO_FREE char *text = NULL;
	VX_AUTO_FREE char *none = vx_error_text();
	char name[400];

	ck_assert_str_eq(none, "");
	note("em/a", -EIO, "one");
	note("em/a", -EIO, "one");
	note("em/a", -EIO, "one");
	note("em/b", -EIO, "one");
	note("em/a", -EIO, "one");
	note("em/a", -EACCES, "one");
	note("em/a", -EACCES, "two");
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = 0;
	note(name, -EIO, "long");
	note(name, -EIO, "long"); /* recognised although it is cut short */
	text = vx_error_text();
	ck_assert_uint_eq(lines(text), 6);
	ck_assert_ptr_nonnull(strstr(text, " EIO em/a: one (3 times)\n"));
	ck_assert_ptr_nonnull(strstr(text, " EIO em/b: one\n"));
	ck_assert_ptr_nonnull(strstr(text, " EIO em/a: one\n"));
	ck_assert_ptr_nonnull(strstr(text, " EACCES em/a: one\n"));
	ck_assert_ptr_nonnull(strstr(text, " EACCES em/a: two\n"));
	ck_assert_ptr_nonnull(strstr(text, "n: long (2 times)\n"));
	ck_assert(strstr(text, "em/a: one (3") < strstr(text, "em/b")); /* oldest first */
}
END_TEST

START_TEST(old_errors_go)
{
	VX_AUTO_FREE char *text = NULL;
	char what[32];

	for (int k = 0; k < 3 * RING + 7; k++) {
		snprintf(what, sizeof what, "box%04d", k);
		note(what, -EIO, "gone");
	}
	text = vx_error_text();
	ck_assert_uint_eq(lines(text), RING);
	ck_assert_ptr_null(strstr(text, "box0518"));
	ck_assert_ptr_nonnull(strstr(text, "box0519"));
	ck_assert_ptr_nonnull(strstr(text, "box0774"));
	ck_assert(strstr(text, "box0519") < strstr(text, "box0520"));
	ck_assert(strstr(text, "box0773") < strstr(text, "box0774"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ledger");
	TCase *t = tcase_create("ledger");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 300);
	tcase_add_test(t, quantiles);
	tcase_add_test(t, every_value_has_a_bucket);
	tcase_add_test(t, nothing_is_lost_between_threads);
	tcase_add_test(t, repeated_errors);
	tcase_add_test(t, old_errors_go);
	return vxt_run(s);
}
