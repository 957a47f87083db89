/* SPDX-License-Identifier: Apache-2.0
 * What becomes of a transfer: its turns, attempts, rests and its end. The loop's thread; `mtx` is taken for
 * vx_fetch.impl only.
 */
#include "fetch/loop.h"
#include "fetch/store.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/ledger.h"

#include <string.h>
#include <strings.h>

#define RECOVERIES 3

static struct vx_transfer *transfer_of(struct vx_link *l)
{
	return vx_list_entry(l, struct vx_transfer, link);
}

/* Puts a transfer among those that wait for its host: behind them, or in front of all that never ran. */
static void await_turn(struct vx_fetcher *f, struct vx_transfer *t, bool first)
{
	struct vx_host *h = t->store->host;

	vx_list_remove(&t->link);
	if (first)
		vx_list_push_front(&h->waiting, &t->link);
	else
		vx_list_push_back(&h->waiting, &t->link);
	if (vx_list_empty(&h->ready))
		vx_list_push_back(&f->ready, &h->ready);
}

/* Takes a transfer out of whichever list it is in. */
static void leave(struct vx_transfer *t)
{
	struct vx_host *h = t->store->host;

	vx_list_remove(&t->link);
	if (vx_list_empty(&h->waiting))
		vx_list_remove(&h->ready);
}

static void finish(struct vx_fetcher *f, struct vx_transfer *t)
{
	leave(t);
	vx_list_push_back(&f->finished, &t->link);
}

static void fail(struct vx_fetcher *f, struct vx_transfer *t, const struct vx_attempt *a, enum vx_fault fault, int code)
{
	vx_transfer_explain(t, a, fault, code);
	finish(f, t);
}

/* Takes the attempt out of curl; a connection in the middle of an answer is closed. */
static void release(struct vx_fetcher *f, struct vx_attempt *a)
{
	struct vx_host *h = a->of->store->host;

	curl_multi_remove_handle(f->multi, a->easy);
	if (a->probe)
		vx_breaker_forget(&h->breaker);
	f->idle[f->idle_count++] = vx_attempt_release(a);
	h->running--;
	f->running_count--;
	f->active--;
}

static void rest(struct vx_fetcher *f, struct vx_transfer *t, uint64_t wait_ms)
{
	struct vx_link *before = &f->resting;

	t->due_ns = f->now_ns + wait_ms * VX_MS;
	while (before->prev != &f->resting && transfer_of(before->prev)->due_ns > t->due_ns)
		before = before->prev;
	vx_list_remove(&t->link);
	vx_list_insert(before, &t->link);
	f->queued++;
}

/* What the end of an attempt tells of its host. */
static void learn(struct vx_fetcher *f, struct vx_attempt *a, enum vx_fault fault)
{
	struct vx_host *h = a->of->store->host;
	int status = a->answer.status;

	switch (fault) {
	case VX_FAULT_STALL:
		if (a->first_ns)
			return;
		__attribute__((fallthrough));
	case VX_FAULT_RESOLVE:
	case VX_FAULT_CONNECT:
	case VX_FAULT_CONNECT_TIME:
		vx_breaker_bad(&h->breaker, a->begun_ns, f->now_ns, vx_retry_grace_ms(&f->policy) * VX_MS);
		a->probe = false;
		return;
	default:
		break;
	}
	if (!a->first_ns)
		return;
	vx_breaker_good(&h->breaker);
	a->probe = false;
	vx_latency_add(&h->latency, a->first_ns - a->begun_ns);
	if (fault == VX_FAULT_STATUS && (status == 429 || status == 503))
		vx_share_busy(&h->share, h->running, f->now_ns);
	else
		vx_share_good(&h->share);
}

static struct vx_attempt *other(struct vx_attempt *a)
{
	return &a->of->attempts[a == &a->of->attempts[0]];
}

/* True when the store has set right why it was refused: the next try may come at once. */
static bool recovered(struct vx_transfer *t, struct vx_attempt *a, enum vx_fault fault)
{
	const struct vx_store_ops *ops = t->store->ops;

	if (fault != VX_FAULT_STATUS || !ops->recover || t->recoveries == RECOVERIES)
		return false;
	if (!ops->recover(t->store, a))
		return false;
	t->recoveries++;
	t->tries--;
	return true;
}

static void failed(struct vx_fetcher *f, struct vx_attempt *a, enum vx_fault fault)
{
	struct vx_transfer *t = a->of;
	struct vx_failure failure = {fault, a->answer.status, t->tries, a->answer.retry_after_ms};
	struct vx_verdict v;

	if (recovered(t, a, fault)) {
		release(f, a);
		f->queued++;
		await_turn(f, t, true);
		return;
	}
	f->random = vx_mix64(f->random + 0x9e3779b97f4a7c15u);
	v = vx_retry_decide(&f->policy, &failure, f->random);
	if (!v.again || t->store->host->breaker.open) {
		fail(f, t, a, fault, vx_retry_code(&failure));
		release(f, a);
		return;
	}
	release(f, a);
	rest(f, t, v.wait_ms);
}

void vx_flight_ended(struct vx_fetcher *f, struct vx_attempt *a, CURLcode code)
{
	enum vx_fault fault = vx_attempt_end(a, code);
	struct vx_transfer *t = a->of;
	struct vx_attempt *beside = other(a);

	learn(f, a, fault);
	if (fault != VX_FAULT_NONE && beside->easy) {
		release(f, a); /* all hope is with the other one */
		return;
	}
	if (fault != VX_FAULT_NONE) {
		failed(f, a, fault);
		return;
	}
	if (a == &t->attempts[1])
		VX_COUNT(store_hedges_won);
	vx_attempt_tell(a, &t->got);
	if (beside->easy)
		release(f, beside);
	release(f, a);
	finish(f, t);
}

void vx_flight_cancel(struct vx_fetcher *f, struct vx_transfer *t)
{
	if (!t->attempts[0].easy && !t->attempts[1].easy)
		f->queued--;
	for (size_t i = 0; i < VX_ARRAY_LEN(t->attempts); i++)
		if (t->attempts[i].easy)
			release(f, &t->attempts[i]);
	fail(f, t, NULL, VX_FAULT_CANCELLED, -ECANCELED);
}

/* Begins an attempt. 0, or as vx_attempt_begin; *a is unused then. */
static int launch(struct vx_fetcher *f, struct vx_transfer *t, struct vx_attempt *a)
{
	CURL *easy = f->idle_count ? f->idle[--f->idle_count] : vx_easy_new(&f->opts);
	int r;

	if (!easy)
		return vx_no_memory(&t->got.err);
	r = vx_attempt_begin(a, t, easy, f->now_ns);
	if (r < 0) {
		f->idle[f->idle_count++] = easy;
		return r;
	}
	/* Beside a connection that may be stuck; without TLS none carries two requests anyway. */
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT,
			 a != &t->attempts[0] && strncasecmp(t->store->host->origin, "https:", 6) == 0 ? 1L : 0L);
	f->running_count++;
	f->active++;
	t->store->host->running++;
	if (curl_multi_add_handle(f->multi, easy) != CURLM_OK) {
		release(f, a);
		return vx_no_memory(&t->got.err);
	}
	VX_COUNT(store_requests);
	return 0;
}

/* `t` is the first that waits for its host. */
static void start(struct vx_fetcher *f, struct vx_transfer *t)
{
	struct vx_breaker *b = &t->store->host->breaker;
	struct vx_attempt *a = &t->attempts[0];
	bool probe;
	int r;

	if (!vx_breaker_admits(b, f->now_ns, &probe)) {
		VX_COUNT(store_refused);
		f->queued--;
		fail(f, t, NULL, VX_FAULT_DOWN, vx_retry_code(&(struct vx_failure){.fault = VX_FAULT_DOWN}));
		return;
	}
	leave(t);
	r = launch(f, t, a);
	if (r < 0 && probe)
		vx_breaker_forget(b);
	if (r == -EAGAIN) {
		vx_list_push_back(&f->parked, &t->link);
		return;
	}
	f->queued--;
	if (r < 0) {
		vx_list_push_back(&f->finished, &t->link);
		return;
	}
	a->probe = probe;
	if (++t->tries > 1)
		VX_COUNT(store_retries);
	vx_list_push_back(&f->running, &t->link);
}

static struct vx_host *next_host(struct vx_fetcher *f)
{
	struct vx_link *l, *next;

	vx_list_each_safe(l, next, &f->ready)
	{
		struct vx_host *h = vx_list_entry(l, struct vx_host, ready);

		if (h->running < h->share.now)
			return h;
	}
	return NULL;
}

void vx_flight_start(struct vx_fetcher *f)
{
	struct vx_host *h;

	while (f->running_count < f->opts.connections && (h = next_host(f))) {
		start(f, transfer_of(h->waiting.next));
		if (vx_list_empty(&h->waiting))
			continue;
		vx_list_remove(&h->ready); /* the others' turn */
		vx_list_push_back(&f->ready, &h->ready);
	}
}

void vx_flight_wake(struct vx_fetcher *f)
{
	if (f->tokens_changed && atomic_exchange(&f->tokens_changed, false))
		while (!vx_list_empty(&f->parked))
			await_turn(f, transfer_of(f->parked.prev), true);
	while (!vx_list_empty(&f->resting) && transfer_of(f->resting.next)->due_ns <= f->now_ns)
		await_turn(f, transfer_of(f->resting.next), true);
}

/* A second attempt beside one that has not been heard of for far longer than is usual for the host. */
static void hedge(struct vx_fetcher *f, struct vx_transfer *t)
{
	struct vx_host *h = t->store->host;
	struct vx_attempt *a = &t->attempts[0], *b = &t->attempts[1];

	if (!f->opts.hedge || !a->easy || a->first_ns || a->probe || b->easy ||
	    f->running_count >= f->opts.connections || h->running >= h->share.now ||
	    !vx_latency_spend(&h->latency, f->now_ns - a->begun_ns))
		return;
	if (launch(f, t, b) == 0)
		VX_COUNT(store_hedges);
	t->got.err.code = 0;
}

/* Of two attempts, one of which has begun to answer well, the other is not needed any more. */
static void decide_race(struct vx_fetcher *f, struct vx_transfer *t)
{
	for (size_t i = 0; i < VX_ARRAY_LEN(t->attempts); i++) {
		struct vx_attempt *a = &t->attempts[i];

		if (a->easy && a->planned && other(a)->easy) {
			release(f, other(a));
			return;
		}
	}
}

static void watch(struct vx_fetcher *f, struct vx_transfer *t)
{
	uint64_t stall_ns = f->opts.stall_ms * VX_MS;

	for (size_t i = 0; i < VX_ARRAY_LEN(t->attempts); i++)
		if (t->attempts[i].easy && vx_attempt_stalled(&t->attempts[i], f->now_ns, stall_ns)) {
			vx_flight_ended(f, &t->attempts[i], CURLE_OPERATION_TIMEDOUT);
			return;
		}
	decide_race(f, t);
	hedge(f, t);
}

void vx_flight_watch(struct vx_fetcher *f)
{
	uint64_t step = vx_min_u64(f->opts.stall_ms * VX_MS / 8, VX_SEC);
	struct vx_link *l, *next;

	if (vx_list_empty(&f->running)) {
		f->watch_due_ns = VX_NEVER;
		return;
	}
	if (f->watch_due_ns != VX_NEVER && f->now_ns < f->watch_due_ns)
		return;
	vx_list_each_safe(l, next, &f->running)
	{
		struct vx_transfer *t = transfer_of(l);
		uint64_t straggle_ns = t->store->host->latency.straggle_ns;

		if (f->opts.hedge && straggle_ns != VX_NEVER)
			step = vx_min_u64(step, straggle_ns / 4);
		watch(f, t);
	}
	f->watch_due_ns = f->now_ns + vx_max_u64(step, VX_MS);
}

void vx_flight_adopt(struct vx_fetcher *f, struct vx_fetch *r)
{
	struct vx_transfer *t = calloc(1, sizeof *t);
	bool cancelled;

	if (!t) {
		f->queued--;
		vx_fetcher_deliver_error(r, -ENOMEM, "no memory");
		return;
	}
	vx_list_init(&t->link);
	vx_list_init(&t->cancel_link);
	t->fetch = r;
	t->store = r->store;
	t->pool = f->pool;
	await_turn(f, t, false);
	{
		VX_LOCK_SCOPE(&f->mtx);
		r->impl = t;
		cancelled = r->cancelled;
	}
	if (cancelled)
		vx_flight_cancel(f, t);
}
