/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: the fetcher's insides, shared by its three parts: fetcher.c, what others do to it
 * from any thread; loop.c, its own thread; and flight.c, what that thread does with a transfer.
 */
#ifndef VX_FETCH_LOOP_H
#define VX_FETCH_LOOP_H

#include "base/list.h"
#include "fetch/fetch.h"
#include "fetch/host.h"
#include "fetch/retry.h"
#include "fetch/token.h"
#include "fetch/transfer.h"

#include <curl/curl.h>

#define VX_NEVER UINT64_MAX

struct vx_fetcher {
	/* constant */
	struct vx_fetch_opts opts;
	struct vx_retry_policy policy;
	struct vx_pool *pool;
	struct vx_tokens *tokens;
	_Atomic bool tokens_changed; /* somebody who waits for credentials may go on */

	/* under mtx */
	struct vx_mutex mtx;
	struct vx_host *hosts; /* the list; what they hold is the loop's */
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
	struct vx_link ready; /* hosts for which something waits, whose turn is next first */
	struct vx_link parked, running, resting, finished; /* transfers; resting: soonest first */
	CURL **idle;                                       /* handles not in use, `connections` places */
	unsigned idle_count, running_count;                /* running: attempts */
	uint64_t now_ns, curl_due_ns, watch_due_ns;
	uint64_t random;
};

/* flight.c; the loop's thread. */
void vx_flight_adopt(struct vx_fetcher *f, struct vx_fetch *r);
void vx_flight_cancel(struct vx_fetcher *f, struct vx_transfer *t);
void vx_flight_ended(struct vx_fetcher *f, struct vx_attempt *a, CURLcode code);
/* Starts what may start. */
void vx_flight_start(struct vx_fetcher *f);
/* Those whose rest is over, or whose credentials may have come, wait again. */
void vx_flight_wake(struct vx_fetcher *f);
/* Ends attempts that stall, and sends second ones for those that lag. */
void vx_flight_watch(struct vx_fetcher *f);

/* The host of this origin, made when there is none yet; NULL when memory is short. Any thread. */
struct vx_host *vx_fetcher_host(struct vx_fetcher *f, const char *origin);

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
