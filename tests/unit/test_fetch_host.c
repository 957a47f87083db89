/* SPDX-License-Identifier: Apache-2.0
 * What is done for and against hosts that are slow, busy or away: the judgements alone, then real requests.
 */
#include "fetch_fixture.h"

#include "base/clock.h"
#include "fetch/host.h"

/* --- judgements --- */

static bool admits(struct vx_breaker *b, uint64_t now, bool *ret_probe)
{
	bool probe, yes = vx_breaker_admits(b, now, &probe);

	if (ret_probe)
		*ret_probe = probe;
	return yes;
}

START_TEST(a_circuit_opens_and_closes)
{
	struct vx_breaker b = {0};
	uint64_t now = 1000 * VX_SEC;
	bool probe;

	for (int i = 0; i < 8; i++) {
		ck_assert(admits(&b, now, &probe) && !probe);
		vx_breaker_bad(&b, now, now, 0);
	}
	ck_assert(b.open && !admits(&b, now, NULL));
	ck_assert(!admits(&b, now + VX_SEC / 2 - 1, NULL));
	now += VX_SEC / 2;
	ck_assert(admits(&b, now, &probe) && probe);
	ck_assert(!admits(&b, now + 100 * VX_SEC, NULL)); /* one probe at a time */
	vx_breaker_bad(&b, now, now, 0);
	ck_assert(!admits(&b, now + VX_SEC - 1, NULL)); /* twice as long */
	now += VX_SEC;
	ck_assert(admits(&b, now, &probe) && probe);
	vx_breaker_forget(&b); /* cancelled: another may try */
	ck_assert(admits(&b, now, &probe) && probe);
	vx_breaker_good(&b);
	ck_assert(admits(&b, now, &probe) && !probe);
	ck_assert(!b.open);
}
END_TEST

START_TEST(the_wait_for_a_probe_has_a_limit)
{
	struct vx_breaker b = {0};
	uint64_t now = VX_SEC;

	for (int i = 0; i < 8; i++)
		vx_breaker_bad(&b, now, now, 0);
	for (int i = 0; i < 20; i++) {
		now += 30 * VX_SEC;
		ck_assert(admits(&b, now, NULL));
		vx_breaker_bad(&b, now, now, 0);
	}
	ck_assert(!admits(&b, now + 30 * VX_SEC - 1, NULL));
	ck_assert(admits(&b, now + 30 * VX_SEC, NULL));
}
END_TEST

START_TEST(a_restart_is_forgiven)
{
	struct vx_breaker b = {0};

	for (int i = 0; i < 1000; i++)
		vx_breaker_bad(&b, 5 * VX_SEC, 5 * VX_SEC + VX_SEC, 3 * VX_SEC);
	ck_assert(!b.open);
	vx_breaker_good(&b);
	for (int i = 0; i < 7; i++)
		vx_breaker_bad(&b, 10 * VX_SEC, 20 * VX_SEC, 3 * VX_SEC);
	ck_assert(!b.open);
	vx_breaker_bad(&b, 10 * VX_SEC, 20 * VX_SEC, 3 * VX_SEC);
	ck_assert(b.open);
	vx_breaker_bad(&b, 10 * VX_SEC, 25 * VX_SEC, 3 * VX_SEC); /* of before: moves nothing */
	ck_assert(admits(&b, 21 * VX_SEC, NULL));
}
END_TEST

START_TEST(stragglers)
{
	struct vx_latency l;

	vx_latency_init(&l);
	ck_assert(!vx_latency_spend(&l, 1000 * VX_SEC)); /* nothing is known yet */
	for (int i = 0; i < 100; i++)
		vx_latency_add(&l, (i % 10 ? 20 : 100) * VX_MS);
	ck_assert(!vx_latency_spend(&l, 399 * VX_MS)); /* the 95th of a hundred is 100 ms */
	for (int i = 0; i < 3; i++)
		ck_assert(vx_latency_spend(&l, 401 * VX_MS));
	ck_assert(!vx_latency_spend(&l, 401 * VX_MS)); /* the means are spent */
	for (int i = 0; i < 34; i++)
		vx_latency_add(&l, 20 * VX_MS);
	ck_assert(vx_latency_spend(&l, 401 * VX_MS));
	ck_assert(!vx_latency_spend(&l, 401 * VX_MS));
	vx_latency_init(&l);
	for (int i = 0; i < 100; i++)
		vx_latency_add(&l, 1000);
	ck_assert(!vx_latency_spend(&l, 49 * VX_MS));
	ck_assert(vx_latency_spend(&l, 50 * VX_MS));
}
END_TEST

START_TEST(shares)
{
	struct vx_share s = {.most = 64, .now = 64};
	uint64_t now = VX_SEC;

	for (int i = 0; i < 64; i++)
		vx_share_busy(&s, 64, now);
	ck_assert_uint_eq(s.now, 32);
	now += VX_SEC;
	vx_share_busy(&s, 10, now);
	ck_assert_uint_eq(s.now, 5);
	for (int i = 0; i < 20; i++)
		vx_share_busy(&s, 1, now += VX_SEC);
	ck_assert_uint_eq(s.now, 1);
	for (int i = 0; i < 64 * 65 / 2; i++)
		vx_share_good(&s);
	ck_assert_uint_eq(s.now, 64);
}
END_TEST

/* --- requests --- */

START_TEST(a_straggler_gets_a_second_request)
{
	uint64_t hedges, won, retries;

	opts.hedge = true;
	opts.connect_ms = 3600000; /* no timer of another kind is to wake the loop */
	renew_fetcher();
	for (int i = 0; i < 40; i++)
		expect("5", 5);
	hedges = vx_ledger.store_hedges; /* on a busy machine one of those may have been slow */
	won = vx_ledger.store_hedges_won;
	retries = vx_ledger.store_retries;
	rules("[{\"match\": \"6\", \"do\": \"stall\", \"at\": \"head\", \"times\": 1}]");
	expect("6", 6);
	ck_assert_int_eq(stat_of("/6"), 2);
	ck_assert_uint_eq(vx_ledger.store_hedges, hedges + 1);
	ck_assert_uint_eq(vx_ledger.store_hedges_won, won + 1);
	ck_assert_uint_eq(vx_ledger.store_retries, retries);
}
END_TEST

START_TEST(the_first_request_may_still_win)
{
	uint64_t won, errors = vx_ledger.store_errors;

	opts.hedge = true;
	opts.connect_ms = 3600000; /* no timer of another kind is to wake the loop */
	renew_fetcher();
	for (int i = 0; i < 40; i++)
		expect("5", 5);
	won = vx_ledger.store_hedges_won;
	/* The second one gets an error: all hope is with the first. */
	rules("[{\"match\": \"6\", \"do\": \"hold\", \"requests\": 2, \"times\": 1},"
	      "{\"match\": \"6\", \"do\": \"status\", \"status\": 503}]");
	expect("6", 6);
	ck_assert_int_eq(stat_of("/6"), 2);
	ck_assert_uint_eq(vx_ledger.store_hedges_won, won);
	ck_assert_uint_eq(vx_ledger.store_errors, errors);
}
END_TEST

START_TEST(both_may_fail_or_be_cancelled)
{
	struct wish *w;

	opts.hedge = true;
	opts.connect_ms = 3600000; /* no timer of another kind is to wake the loop */
	opts.tries = 1;
	renew_fetcher();
	for (int i = 0; i < 80; i++)
		expect("5", 5);
	rules("[{\"match\": \"6\", \"do\": \"stall\", \"at\": \"head\"}]");
	w = submit(6, "6");
	await_stat("/6", 2);
	vx_store_cancel(&w->f);
	await(w);
	ck_assert_int_eq(w->got.err.code, -ECANCELED);
	w = submit(7, "8");
	await(w);
	ck_assert_int_eq(w->got.err.code, 0);
}
END_TEST

START_TEST(limits_for_one_host)
{
	opts.host_connections = 3;
	renew_fetcher();
	rules("[{\"match\": \".\", \"do\": \"delay\", \"ms\": 5}]");
	for (unsigned i = 1; i < 60; i++) {
		char key[16];

		snprintf(key, sizeof key, "%u", i);
		submit(i, key);
	}
	for (unsigned i = 1; i < 60; i++)
		await(&wishes[i]);
	ck_assert_int_eq(stat_of("max_concurrent"), 3);
}
END_TEST

START_TEST(two_hosts_take_turns)
{
	struct vx_store *one = NULL;
	char url[64];
	struct vx_err e;

	opts.connections = 2;
	opts.host_connections = 1;
	renew_fetcher();
	snprintf(url, sizeof url, "http://localhost:%d/", port);
	ck_assert_int_eq(vx_store_open(&one, fetcher, url, &e), 0);
	rules("[{\"match\": \"/6\", \"do\": \"stall\", \"at\": \"head\"}]");
	submit(6, "6");
	submit(7, "7"); /* waits for ever behind it */
	await_stat("/6", 1);
	strcpy(wishes[8].f.key, "8");
	wishes[8].f.cap = BIG;
	wishes[8].f.done = on_done;
	vx_store_submit(one, &wishes[8].f);
	await(&wishes[8]);
	ck_assert_msg(wishes[8].got.err.code == 0, "%s", wishes[8].got.err.why);
	vx_store_cancel(&wishes[6].f);
	await(&wishes[7]);
	ck_assert_int_eq(wishes[7].got.err.code, 0);
	await(&wishes[6]);
	vx_fetcher_stop(fetcher);
	vx_store_close(&one);
}
END_TEST

static void *answer_all(void *arg)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
	int listener = *(int *)arg, fd;
	char request[4096];

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		ssize_t n = read(fd, request, sizeof request);

		n = n > 0 ? write(fd, answer, sizeof answer - 1) : n;
		(void)n;
		close(fd);
	}
	return NULL;
}

START_TEST(a_host_that_is_away)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0), good = port;
	uint64_t requests, refused = vx_ledger.store_refused;
	socklen_t len = sizeof a;
	pthread_t thread;

	/* Bound, but nobody listens. */
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	port = ntohs(a.sin_port);
	opts.tries = 1;
	renew_fetcher();
	for (int i = 0; i < 8; i++)
		expect_error("5", -EHOSTUNREACH, "no connection to the host");
	requests = vx_ledger.store_requests;
	expect_error("5", -EHOSTUNREACH, "has not answered for a while");
	ck_assert_uint_eq(vx_ledger.store_requests, requests);
	ck_assert_uint_eq(vx_ledger.store_refused, refused + 1);
	/* It comes back, and that is found out. */
	ck_assert_int_eq(listen(fd, 10), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, answer_all, &fd), 0);
	while (get("5")->got.err.code)
		ck_assert_int_eq(wishes[0].got.err.code, -EHOSTUNREACH);
	ck_assert_uint_eq(vx_ledger.store_requests, requests + 1);
	ck_assert_int_eq(get("5")->got.err.code, 0);
	shutdown(fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(fd);
	port = good;
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fetch_host");
	TCase *pure = tcase_create("judgements"), *t = tcase_create("http");

	suite_add_tcase(s, pure);
	suite_add_tcase(s, t);
	tcase_add_test(pure, a_circuit_opens_and_closes);
	tcase_add_test(pure, the_wait_for_a_probe_has_a_limit);
	tcase_add_test(pure, a_restart_is_forgiven);
	tcase_add_test(pure, stragglers);
	tcase_add_test(pure, shares);
	tcase_add_unchecked_fixture(t, start_all, stop_all);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_straggler_gets_a_second_request);
	tcase_add_test(t, the_first_request_may_still_win);
	tcase_add_test(t, both_may_fail_or_be_cancelled);
	tcase_add_test(t, limits_for_one_host);
	tcase_add_test(t, two_hosts_take_turns);
	tcase_add_test(t, a_host_that_is_away);
	return vxt_run(s);
}
