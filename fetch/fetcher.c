/* SPDX-License-Identifier: Apache-2.0
 * The fetcher as others see it: starting and stopping its thread, the inbox through which requests and
 * cancellations reach it. Any thread but the loop's own may start and stop; any may submit and cancel.
 *
 * Lock: `mtx`, rank FETCH; never held while `done` runs.
 */
#include "fetch/loop.h"
#include "fetch/store.h"

#include "base/clock.h"
#include "base/ledger.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

void vx_fetcher_deliver(struct vx_fetch *r, struct vx_fetched *got)
{
	if (got->err.code && got->err.code != -ENODATA && got->err.code != -ECANCELED)
		VX_COUNT(store_errors);
	vx_cached_arrived(r, got);
	r->store->under_way--;
	r->done(r, got);
}

void vx_fetcher_deliver_error(struct vx_fetch *r, int code, const char *why)
{
	struct vx_fetched got = {.body = NULL};
	char url[256];

	vx_fail(&got.err, code, "%s: %s", why, vx_store_show(r->store, r->key, url, sizeof url));
	vx_fetcher_deliver(r, &got);
}

static void wake(struct vx_fetcher *f)
{
	uint64_t one = 1;
	ssize_t n = write(f->wake_fd, &one, sizeof one);

	(void)n; /* fails only when the counter is full, that is, when the loop is awake anyway */
}

/* True when the caller shall wake() after unlocking. */
static bool must_wake_locked(struct vx_fetcher *f)
{
	bool first = !f->woken && !vx_loop_is_self(f);

	vx_assert_held(&f->mtx);
	f->woken |= first;
	return first;
}

void vx_fetcher_submit(struct vx_fetcher *f, struct vx_fetch *r)
{
	bool closed, must_wake = false;

	{
		VX_LOCK_SCOPE(&f->mtx);
		closed = f->closed;
		if (!closed) {
			r->next = NULL;
			*f->inbox_end = r;
			f->inbox_end = &r->next;
			f->queued++;
			must_wake = must_wake_locked(f);
		}
	}
	if (must_wake)
		wake(f);
	if (closed)
		vx_fetcher_deliver_error(r, -ECANCELED, "the fetcher has stopped");
}

void vx_fetcher_cancel(struct vx_fetcher *f, struct vx_fetch *r)
{
	bool must_wake = false;

	{
		VX_LOCK_SCOPE(&f->mtx);
		struct vx_transfer *t = r->impl;

		if (!r->cancelled && t) {
			vx_list_push_back(&f->cancels, &t->cancel_link);
			must_wake = must_wake_locked(f);
		}
		r->cancelled = true;
	}
	if (must_wake)
		wake(f);
}

void vx_fetcher_depth(struct vx_fetcher *f, unsigned *ret_active, unsigned *ret_waiting)
{
	*ret_active = f->active;
	*ret_waiting = f->queued;
}

void vx_fetch_opts_default(struct vx_fetch_opts *o)
{
	*o = (struct vx_fetch_opts){
	    .connections = 64,
	    .hedge = true,
	    .connect_ms = 10000,
	    .stall_ms = 20000,
	    .tries = 5,
	    .retry_ms = 200,
	    .retry_max_ms = 10000,
	    .retry_after_max_ms = 60000,
	};
}

int vx_fetcher_new(struct vx_fetcher **ret, const struct vx_fetch_opts *o, struct vx_pool *pool, struct vx_err *e)
{
	struct vx_fetcher *f;

	if (o->connections < 1 || o->connections > 4096 || o->tries < 1 || o->connect_ms < 1 || o->stall_ms < 1)
		return vx_fail(e, -EINVAL, "a fetcher needs 1 to 4096 connections, a try and limits of time");
	f = calloc(1, sizeof *f);
	if (!f)
		return vx_no_memory(e);
	f->opts = *o;
	f->policy = (struct vx_retry_policy){o->tries, o->retry_ms, o->retry_max_ms, o->retry_after_max_ms};
	f->pool = pool;
	vx_mutex_init(&f->mtx, VX_RANK_FETCH);
	f->inbox_end = &f->inbox;
	f->wake_fd = f->epoll_fd = -1;
	f->curl_due_ns = f->watch_due_ns = VX_NEVER;
	f->random = vx_now_ns() ^ (uint64_t)getpid() << 32;
	vx_list_init(&f->cancels);
	vx_list_init(&f->ready);
	vx_list_init(&f->parked);
	vx_list_init(&f->running);
	vx_list_init(&f->resting);
	vx_list_init(&f->finished);
	*ret = f;
	return 0;
}

struct vx_host *vx_fetcher_host(struct vx_fetcher *f, const char *origin)
{
	VX_LOCK_SCOPE(&f->mtx);
	unsigned limit = f->opts.host_connections ? f->opts.host_connections : f->opts.connections;
	struct vx_host *h;

	for (h = f->hosts; h; h = h->next)
		if (strcmp(h->origin, origin) == 0)
			return h;
	h = vx_host_new(origin, limit);
	if (h) {
		h->next = f->hosts;
		f->hosts = h;
	}
	return h;
}

struct vx_diskcache *vx_fetcher_cache(struct vx_fetcher *f)
{
	return f->opts.cache;
}

struct vx_pool *vx_fetcher_pool(struct vx_fetcher *f)
{
	return f->pool;
}

/* Signals are for other threads, apart from those that tell of a crash in this one. */
static int start_thread(struct vx_fetcher *f)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGABRT);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&f->thread, NULL, vx_loop_run, f);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

static void on_tokens(void *ctx)
{
	struct vx_fetcher *f = ctx;

	f->tokens_changed = true;
	wake(f);
}

int vx_fetcher_start(struct vx_fetcher *f, struct vx_err *e)
{
	VX_LOCK_SCOPE(&f->mtx);
	int r;

	if (f->started || f->quit)
		return 0;
	r = vx_loop_init(f);
	if (r == 0 && !f->tokens)
		r = vx_tokens_new(&f->tokens, on_tokens, f);
	if (r == 0)
		r = start_thread(f);
	if (r < 0) {
		vx_loop_done(f);
		return vx_fail(e, r, "the transfer loop cannot be started: %s", strerrordesc_np(-r));
	}
	f->started = true;
	return 0;
}

void vx_fetcher_stop(struct vx_fetcher *f)
{
	bool join;

	assert(!vx_loop_is_self(f));
	{
		VX_LOCK_SCOPE(&f->mtx);
		f->quit = true;
		join = f->started;
		f->started = false;
		if (!join)
			f->closed = true;
	}
	if (!join)
		return;
	wake(f);
	pthread_join(f->thread, NULL);
	vx_loop_done(f);
	vx_tokens_stop(f->tokens); /* only now: until the end it may be asked */
}

void vx_fetcher_free(struct vx_fetcher **f)
{
	struct vx_fetcher *old = vx_steal(*f);

	if (!old)
		return;
	vx_fetcher_stop(old);
	vx_tokens_free(&old->tokens);
	while (old->hosts) {
		struct vx_host *h = old->hosts;

		old->hosts = h->next;
		vx_host_free(h);
	}
	vx_close_scope(&old->wake_fd);
	vx_mutex_done(&old->mtx);
	free(old);
}
