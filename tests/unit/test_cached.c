/* SPDX-License-Identifier: Apache-2.0
 * Remote stores with a disk cache before them: what is answered from where, confirmed how, and kept when.
 */
#include "fetch_fixture.h"

#include "fetch/account.h"
#include "fetch/diskcache.h"

#include <sched.h>

static char cache_dir[64];
static struct vx_diskcache *dc;
static struct vx_diskcache_opts dc_opts;

static void drain(void)
{
	struct vx_diskcache_stats s;

	do {
		sched_yield();
		vx_diskcache_stats(dc, &s);
	} while (s.waiting_bytes);
}

static void open_cache(void)
{
	struct vx_err e = {0};

	ck_assert_msg(vx_diskcache_new(&dc, &dc_opts, pool, &e) == 0, "%s", e.why);
	opts.cache = dc;
	renew_fetcher();
}

/* With other options, as another mount would. */
static void reopen_cache(void)
{
	drain();
	vx_store_close(&store);
	vx_fetcher_free(&fetcher);
	vx_diskcache_free(&dc);
	open_cache();
}

static void setup_cache(void)
{
	setup();
	strcpy(cache_dir, "/tmp/voxfs-dc-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(cache_dir));
	vx_diskcache_opts_default(&dc_opts);
	dc_opts.dir = cache_dir;
	open_cache();
}

static void teardown_cache(void)
{
	drain();
	teardown();
	vx_diskcache_free(&dc);
	nftw(cache_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* One wish, as askers go about it. True: no request was sent. */
static bool ask(const char *key)
{
	struct wish *w = &wishes[0];

	vx_buf_put(vx_steal(w->got.body));
	w->over = false;
	memset(w->f.if_none_match, 0, sizeof w->f.if_none_match);
	snprintf(w->f.key, sizeof w->f.key, "%s", key);
	if (!w->f.cap)
		w->f.cap = BIG;
	if (vx_store_cached(store, &w->f, &w->got))
		return true;
	submit(0, key);
	await(w);
	drain();
	return false;
}

static void check_part(unsigned i, uint64_t off, uint64_t len)
{
	const struct vx_fetched *got = &wishes[0].got;
	bool same = true;

	ck_assert_msg(got->err.code == 0, "%s", got->err.why);
	ck_assert(!got->not_modified);
	ck_assert_uint_eq(got->body->len, len);
	for (uint64_t at = 0; at < len; at++)
		same &= got->body->data[at] == object_byte(i, off + at);
	ck_assert(same);
}

static void check_object(unsigned i)
{
	check_part(i, 0, object_size(i));
}

#define LEDGER(name) atomic_load(&vx_ledger.diskcache_##name)

START_TEST(found_again)
{
	struct vx_fetched first;

	for (unsigned i = 0; i < 8; i++) {
		char key[8];

		snprintf(key, sizeof key, "%u", i);
		ck_assert(!ask(key));
		check_object(i);
		first = wishes[0].got;
		ck_assert(ask(key));
		check_object(i);
		ck_assert_str_eq(wishes[0].got.etag, first.etag);
		ck_assert_uint_eq(wishes[0].got.total, first.total);
	}
	ck_assert(!ask("z") && ask("z"));
	check_object(1);
	ck_assert_str_eq(wishes[0].got.content_encoding, "gzip");
	ck_assert_int_eq(stat_of("total"), 9);
	reopen_cache();
	ck_assert(ask("0"));
	check_object(0);
	ck_assert_uint_eq(LEDGER(stored), 9);
}
END_TEST

START_TEST(parts_found_again)
{
	for (int again = 0; again < 2; again++) {
		set_range(10, 20, false);
		ck_assert_int_eq(ask("5"), again);
		check_part(5, 10, 20);
		set_range(10, 21, false);
		ck_assert_int_eq(ask("5"), again);
		check_part(5, 10, 21);
		set_range(0, 20, true);
		ck_assert_int_eq(ask("5"), again);
		check_part(5, object_size(5) - 20, 20);
		set_range(0, 100000, true);
		ck_assert_int_eq(ask("5"), again);
		check_object(5);
		ck_assert_uint_eq(wishes[0].got.total, object_size(5));
		set_range(0, 0, false);
		ck_assert_int_eq(ask("5"), again);
		check_object(5);
	}
	/* What is not there is not kept as something. */
	set_range(object_size(5), 1, false);
	ck_assert(!ask("5") && !ask("5"));
	ck_assert_int_eq(wishes[0].got.err.code, -EBADMSG);
	set_range(0, 0, false);
	wishes[0].f.cap = 10;
	ck_assert(!ask("5"));
	ck_assert_int_eq(wishes[0].got.err.code, -EBADMSG);
}
END_TEST

START_TEST(parts_of_what_was_fetched_together)
{
	struct vx_fetch part = {.key = "5"};

	wishes[0].f.uncached = true;
	set_range(100, 1000, false);
	ck_assert(!ask("5") && !ask("5"));
	ck_assert_uint_eq(LEDGER(stored) + LEDGER(misses), 0);
	part.range.off = 150;
	part.range.len = 30;
	vx_store_keep(store, &part, &wishes[0].got, wishes[0].got.body->data + 50, 30);
	part.range.off = 300;
	vx_store_keep(store, &part, &wishes[0].got, wishes[0].got.body->data + 200, 29); /* nonsense */
	drain();
	ck_assert_uint_eq(LEDGER(stored), 1);
	wishes[0].f.uncached = false;
	set_range(150, 30, false);
	ck_assert(ask("5"));
	check_part(5, 150, 30);
	ck_assert_uint_eq(wishes[0].got.total, object_size(5));
}
END_TEST

START_TEST(known_to_be_missing)
{
	ck_assert(!ask("nothing"));
	ck_assert_int_eq(wishes[0].got.err.code, -ENODATA);
	ck_assert(ask("nothing"));
	ck_assert_int_eq(wishes[0].got.err.code, -ENODATA);
	ck_assert_ptr_nonnull(strstr(wishes[0].got.err.why, "nothing"));
	dc_opts.missing_ns = 0; /* every such answer is too old */
	reopen_cache();
	ck_assert(!ask("nothing"));
	ck_assert_int_eq(wishes[0].got.err.code, -ENODATA);
	rules("[{\"match\": \"nothing\", \"do\": \"status\", \"status\": 200, \"body\": \"now\"}]");
	ck_assert(!ask("nothing"));
	ck_assert_int_eq(wishes[0].got.err.code, 0);
	ck_assert_mem_eq(wishes[0].got.body->data, "now", 3);
	ck_assert(ask("nothing"));
	ck_assert_mem_eq(wishes[0].got.body->data, "now", 3);
}
END_TEST

START_TEST(failures_are_not_kept)
{
	rules("[{\"match\": \"5\", \"do\": \"status\", \"status\": 403}]");
	ck_assert(!ask("5") && !ask("5"));
	ck_assert_int_eq(wishes[0].got.err.code, -EACCES);
	rules("[{\"match\": \"5\", \"do\": \"cut\"}]");
	ck_assert(!ask("5") && !ask("5"));
	ck_assert_uint_eq(LEDGER(stored), 0);
	rules("[]");
	ck_assert(!ask("5") && ask("5"));
}
END_TEST

START_TEST(confirmed_by_the_store)
{
	ck_assert(!ask("5"));
	wishes[0].f.recheck = true;
	ck_assert(!ask("5"));
	check_object(5);
	ck_assert_uint_eq(LEDGER(confirmed), 1);
	ck_assert_ptr_nonnull(strstr(control("GET", "/__stats", ""), "if-none-match"));
	wishes[0].f.recheck = false;
	dc_opts.check_ns = VX_CHECK_MOUNT;
	reopen_cache();
	ck_assert(!ask("5"));
	check_object(5);
	ck_assert_uint_eq(LEDGER(confirmed), 2);
	ck_assert(ask("5")); /* confirmed in this mount */
	check_object(5);
	dc_opts.check_ns = VX_CHECK_NEVER;
	reopen_cache();
	ck_assert(ask("5"));
	ck_assert_uint_eq(LEDGER(stored), 1);
}
END_TEST

START_TEST(changed_in_the_store)
{
	ck_assert(!ask("changing"));
	write_object(7, "changing");
	ck_assert(ask("changing"));
	ck_assert_int_eq(wishes[0].got.err.code, -ENODATA);
	wishes[0].f.recheck = true;
	ck_assert(!ask("changing"));
	check_object(7);
	write_object(8, "changing");
	ck_assert(!ask("changing"));
	check_object(8);
	wishes[0].f.recheck = false;
	ck_assert(ask("changing"));
	check_object(8);
	ck_assert_uint_eq(LEDGER(confirmed), 0);
	rules("[{\"match\": \"changing\", \"do\": \"status\", \"status\": 404}]");
	wishes[0].f.recheck = true;
	ck_assert(!ask("changing"));
	ck_assert_int_eq(wishes[0].got.err.code, -ENODATA);
	wishes[0].f.recheck = false;
	ck_assert(ask("changing"));
	ck_assert_int_eq(wishes[0].got.err.code, -ENODATA);
}
END_TEST

START_TEST(stands_in_for_a_store_that_is_down)
{
	ck_assert(!ask("5") && !ask("6") && !ask("nothing"));
	rules("[{\"match\": \".\", \"do\": \"reset\"}]");
	wishes[0].f.recheck = true;
	ck_assert(!ask("5"));
	check_object(5);
	ck_assert_uint_eq(LEDGER(stale), 1);
	/* And is not asked again for a while. */
	ck_assert(ask("5") && ask("6"));
	check_object(6);
	ck_assert(ask("nothing"));
	ck_assert_int_eq(wishes[0].got.err.code, -ENODATA);
	ck_assert_uint_eq(LEDGER(stale), 4);
	ck_assert(!ask("7"));
	ck_assert_int_ne(wishes[0].got.err.code, 0);
	ck_assert_uint_eq(LEDGER(confirmed), 0);
	/* What a store says counts, also when it is no. */
	renew_fetcher();
	rules("[{\"match\": \".\", \"do\": \"status\", \"status\": 403}]");
	ck_assert(!ask("5"));
	ck_assert_int_eq(wishes[0].got.err.code, -EACCES);
	rules("[{\"match\": \".\", \"do\": \"status\", \"status\": 503}]");
	ck_assert(!ask("5"));
	check_object(5);
}
END_TEST

START_TEST(distrusted)
{
	ck_assert(!ask("5") && ask("5"));
	vx_store_distrust(store, &wishes[0].f);
	drain();
	ck_assert(!ask("5"));
	check_object(5);
}
END_TEST

START_TEST(forgotten_and_cancelled)
{
	struct vx_fetched got;

	ck_assert(!ask("5"));
	wishes[1].f = wishes[0].f;
	wishes[1].f.recheck = true;
	ck_assert(!vx_store_cached(store, &wishes[1].f, &got));
	vx_store_forget(&wishes[1].f);
	wishes[1].f.if_none_match[0] = 0;
	rules("[{\"match\": \".\", \"do\": \"stall\", \"at\": \"head\"}]");
	ck_assert(!vx_store_cached(store, &wishes[1].f, &got));
	submit(1, "5");
	await_stat("/5", 2);
	vx_store_cancel(&wishes[1].f);
	await(&wishes[1]);
	ck_assert_int_eq(wishes[1].got.err.code, -ECANCELED);
	/* The fixture looks whether all buffers have come back. */
}
END_TEST

START_TEST(no_cache_at_all)
{
	opts.cache = NULL;
	renew_fetcher();
	ck_assert(!ask("5") && !ask("5"));
	check_object(5);
	vx_store_distrust(store, &wishes[0].f);
	ck_assert_uint_eq(LEDGER(misses), 0);
}
END_TEST

START_TEST(bad_keys)
{
	ck_assert(!ask("/etc/passwd"));
	ck_assert_int_eq(wishes[0].got.err.code, -EBADMSG);
	ck_assert(!ask("a\nb"));
	ck_assert_int_eq(wishes[0].got.err.code, -EBADMSG);
	ck_assert_uint_eq(LEDGER(misses), 0);
}
END_TEST

static void account(char ret[VX_ACCOUNT], const char *a, const char *b)
{
	const char *const parts[] = {a, b};

	ck_assert_int_eq(vx_account_digest(ret, "http://h", parts, 2), 0);
}

START_TEST(accounts)
{
	char none[VX_ACCOUNT], one[6][VX_ACCOUNT], again[VX_ACCOUNT];

	account(none, NULL, NULL);
	ck_assert_str_eq(none, "");
	account(none, "", NULL);
	ck_assert_str_eq(none, "");
	account(one[0], "joe", NULL);
	account(one[1], "joe", "");
	account(one[2], NULL, "joe");
	account(one[3], "joe", "secret");
	account(one[4], "joes", "ecret");
	account(one[5], "joe", "secre");
	for (int i = 0; i < 6; i++) {
		ck_assert_uint_eq(strlen(one[i]), VX_ACCOUNT - 1);
		for (int k = 0; k < i; k++)
			ck_assert_str_ne(one[i], one[k]);
	}
	account(again, "joe", "secret");
	ck_assert_str_eq(again, one[3]);
	account(again, "joe", "secret");
	ck_assert_str_eq(again, one[3]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cached");
	TCase *t = tcase_create("all");

	suite_add_tcase(s, t);
	tcase_add_unchecked_fixture(t, start_all, stop_all);
	tcase_add_checked_fixture(t, setup_cache, teardown_cache);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, found_again);
	tcase_add_test(t, parts_found_again);
	tcase_add_test(t, parts_of_what_was_fetched_together);
	tcase_add_test(t, known_to_be_missing);
	tcase_add_test(t, failures_are_not_kept);
	tcase_add_test(t, confirmed_by_the_store);
	tcase_add_test(t, changed_in_the_store);
	tcase_add_test(t, stands_in_for_a_store_that_is_down);
	tcase_add_test(t, distrusted);
	tcase_add_test(t, forgotten_and_cancelled);
	tcase_add_test(t, no_cache_at_all);
	tcase_add_test(t, bad_keys);
	tcase_add_test(t, accounts);
	return vxt_run(s);
}
