/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: the fetcher's insides, shared by its two halves: fetcher.c, what others do to it
 * from any thread, and loop.c, its own thread.
 */
#ifndef VX_FETCH_LOOP_H
#define VX_FETCH_LOOP_H

#include "base/list.h"
#include "fetch/fetch.h"
#include "fetch/retry.h"

#include <curl/curl.h>

#define VX_NEVER UINT64_MAX

struct vx_fetcher {
	/* constant */
	struct vx_fetch_opts opts;
	struct vx_retry_policy policy;
	struct vx_pool *pool;

	/* under mtx */
	struct vx_mutex mtx;
	struct vx_fetch *inbox, **inbox_end;
	struct vx_link cancels; /* transfers, by cancel_link */
	bool woken;             /* the eventfd was or is about to be written */
	bool quit, closed;      /* asked to end; nobody looks at the inbox any more */
	bool started;
	pthread_t thread;

	/* set when the thread starts, constant until it was joined; wake_fd until the end, because a
	 * submitter may still be about to write it */
	int wake_fd, epoll_fd;
	CURLM *multi;

	/* gauges */
	_Atomic unsigned active, queued;

	/* the thread's own */
	struct vx_link waiting, running, resting, finished; /* resting: soonest first */
	CURL **idle;                                        /* handles not in use, `connections` places */
	unsigned idle_count, running_count;
	uint64_t now_ns, curl_due_ns, stall_due_ns;
	uint64_t random;
};

/* The thread: a request's whole life, until asked to quit. */
void *vx_loop_run(void *fetcher);
/* True on the thread that runs this fetcher. */
bool vx_loop_is_self(const struct vx_fetcher *f);
/* Makes and unmakes what the thread works with; before it starts and after it was joined. */
int vx_loop_init(struct vx_fetcher *f);
void vx_loop_done(struct vx_fetcher *f);

/* Starts the thread unless it runs already. */
int vx_fetcher_start(struct vx_fetcher *f, struct vx_err *e);
/* Queues `r`, whose store is set. */
void vx_fetcher_submit(struct vx_fetcher *f, struct vx_fetch *r);
void vx_fetcher_cancel(struct vx_fetcher *f, struct vx_fetch *r);
/* Counts and calls done; deliver_error with a sentence of its own. No lock held. */
void vx_fetcher_deliver(struct vx_fetch *r, struct vx_fetched *got);
void vx_fetcher_deliver_error(struct vx_fetch *r, int code, const char *why);

#endif
