/* SPDX-License-Identifier: Apache-2.0
 * The transfer loop: one thread, "vx-fetch", owns a CURLM and everything that waits for a network.
 * Others reach it through an inbox: requests, cancellations and QUIT, with an eventfd to wake it. It
 * starts when the first remote store is opened.
 *
 * A request's way:
 *   inbox      its submitter put it there
 *   waiting    for its host, in order of arrival, for one of `connections` handles; hosts take turns
 *   parked     its credentials are being looked for; then to the head of `waiting`
 *   running    an attempt is under way in curl, or two
 *   resting    an attempt failed and a later one may do better; then to the head of `waiting`
 *   finished   over, `done` not called yet; empty whenever the inbox is looked at
 * From each of them a cancellation leads straight to finished. A handle that became free is given to
 * the next request before `done` is called for the last, so that the network does not wait for it.
 *
 * Lock: `mtx`, rank FETCH; never held during callbacks. vx_fetch.impl, the way from a request to its
 * transfer, is guarded by it too: a cancellation that comes while `done` is about to be called finds
 * NULL there and does nothing.
 */
#include "fetch/loop.h"
#include "fetch/store.h"

#include "base/clock.h"
#include "base/ledger.h"
#include "base/list.h"

#include <malloc.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define EVENTS 64

static _Thread_local struct vx_fetcher *on_loop_of; /* set on the loop's thread */

bool vx_loop_is_self(const struct vx_fetcher *f)
{
	return on_loop_of == f;
}

static struct vx_transfer *transfer_of(struct vx_link *l)
{
	return vx_list_entry(l, struct vx_transfer, link);
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct vx_fetcher *f = arg;
	struct epoll_event ev = {.data.fd = fd};

	if (what == CURL_POLL_REMOVE) {
		if (known)
			epoll_ctl(f->epoll_fd, EPOLL_CTL_DEL, fd, &ev);
		curl_multi_assign(f->multi, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		ev.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		ev.events |= EPOLLOUT;
	if (epoll_ctl(f->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) < 0)
		return -1;
	if (!known)
		curl_multi_assign(f->multi, fd, f);
	return 0;
}

static int on_curl_timer(CURLM *multi, long ms, void *arg)
{
	struct vx_fetcher *f = arg;

	f->curl_due_ns = ms < 0 ? VX_NEVER : vx_now_ns() + (uint64_t)ms * VX_MS;
	return 0;
}

/* Picks up the attempts that curl has ended. */
static bool collect(struct vx_fetcher *f)
{
	bool any = false;
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(f->multi, &left))) {
		struct vx_attempt *a = NULL;
		CURLcode code = m->data.result;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &a);
		vx_flight_ended(f, a, code);
		any = true;
	}
	return any;
}

static void run_curl_timers(struct vx_fetcher *f)
{
	int running;

	if (f->curl_due_ns > f->now_ns && f->curl_due_ns > vx_now_ns())
		return;
	f->curl_due_ns = VX_NEVER;
	curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

static void complete(struct vx_fetcher *f, struct vx_transfer *t)
{
	struct vx_fetch *r = t->fetch;
	struct vx_fetched got = t->got;

	{
		VX_LOCK_SCOPE(&f->mtx);
		vx_list_remove(&t->cancel_link);
		r->impl = NULL;
	}
	free(t);
	vx_fetcher_deliver(r, &got);
}

/* True when it called anybody, who may have put something into the inbox. */
static bool complete_finished(struct vx_fetcher *f)
{
	bool any = false;

	while (!vx_list_empty(&f->finished)) {
		struct vx_transfer *t = transfer_of(f->finished.next);

		vx_list_remove(&t->link);
		complete(f, t);
		any = true;
	}
	return any;
}

/* Returns true when asked to quit. */
static bool take_inbox(struct vx_fetcher *f)
{
	struct vx_link cancels;
	struct vx_fetch *r, *next;
	bool quit;

	vx_list_init(&cancels);
	{
		VX_LOCK_SCOPE(&f->mtx);
		r = vx_steal(f->inbox);
		f->inbox_end = &f->inbox;
		vx_list_splice(&cancels, &f->cancels);
		f->woken = false;
		quit = f->quit;
	}
	/* Each is there at most once, and only this thread takes links out: no lock is needed. */
	while (!vx_list_empty(&cancels)) {
		struct vx_link *l = cancels.next;

		vx_list_remove(l);
		vx_flight_cancel(f, vx_list_entry(l, struct vx_transfer, cancel_link));
	}
	for (; r; r = next) {
		next = r->next;
		vx_flight_adopt(f, r);
	}
	return quit;
}

static void cancel_all(struct vx_fetcher *f)
{
	struct vx_link *lists[] = {&f->running, &f->parked, &f->resting};

	for (size_t i = 0; i < VX_ARRAY_LEN(lists); i++)
		while (!vx_list_empty(lists[i]))
			vx_flight_cancel(f, transfer_of(lists[i]->next));
	while (!vx_list_empty(&f->ready))
		vx_flight_cancel(f, transfer_of(vx_list_entry(f->ready.next, struct vx_host, ready)->waiting.next));
}

/* False when somebody has put something into the inbox again. */
static bool close_inbox(struct vx_fetcher *f)
{
	VX_LOCK_SCOPE(&f->mtx);
	if (!f->inbox)
		f->closed = true;
	return f->closed;
}

static int sleep_ms(struct vx_fetcher *f)
{
	uint64_t due = vx_min_u64(f->curl_due_ns, f->watch_due_ns);

	if (!vx_list_empty(&f->resting))
		due = vx_min_u64(due, transfer_of(f->resting.next)->due_ns);
	if (due == VX_NEVER)
		return -1;
	f->now_ns = vx_now_ns();
	if (due <= f->now_ns)
		return 0;
	return (int)vx_min_u64((due - f->now_ns + VX_MS - 1) / VX_MS, 60000);
}

static void take_events(struct vx_fetcher *f)
{
	struct epoll_event ev[EVENTS];
	int running, n = epoll_wait(f->epoll_fd, ev, EVENTS, sleep_ms(f));

	f->now_ns = vx_now_ns();
	for (int i = 0; i < n; i++) {
		int what = 0;

		if (ev[i].data.fd == f->wake_fd) {
			uint64_t count;
			ssize_t got = read(f->wake_fd, &count, sizeof count);

			(void)got;
			continue;
		}
		/* Errors are left to be found by curl's own reads and writes: they know the reason. */
		if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			what |= CURL_CSELECT_IN;
		if (ev[i].events & (EPOLLOUT | EPOLLERR))
			what |= CURL_CSELECT_OUT;
		curl_multi_socket_action(f->multi, ev[i].data.fd, what, &running);
	}
}

void *vx_loop_run(void *fetcher)
{
	struct vx_fetcher *f = fetcher;
	bool quit;

	pthread_setname_np(pthread_self(), "vx-fetch");
	on_loop_of = f;
	for (;;) {
		f->now_ns = vx_now_ns();
		quit = take_inbox(f);
		if (quit)
			cancel_all(f);
		vx_flight_wake(f);
		collect(f);
		do {
			vx_flight_start(f);
			run_curl_timers(f);
		} while (collect(f));
		vx_flight_watch(f); /* also what has just begun */
		if (complete_finished(f))
			continue;
		if (quit && close_inbox(f))
			break;
		take_events(f);
	}
	on_loop_of = NULL;
	return NULL;
}

static int curl_ready = CURLE_FAILED_INIT;

/* Curl allocates its receive buffer anew for each transfer. With malloc's defaults each of them is
 * mapped, or cut off the heap's end, and cleared by the kernel: a fifth to a half of the loop's time. */
static void prepare_curl(void)
{
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	mallopt(M_TRIM_THRESHOLD, 32 << 20);
#endif
	curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int make_multi(struct vx_fetcher *f)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, prepare_curl);
	if (curl_ready != CURLE_OK)
		return -ENOMEM;
	f->idle = calloc(f->opts.connections, sizeof *f->idle);
	f->multi = curl_multi_init();
	if (!f->idle || !f->multi)
		return -ENOMEM;
	curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
	curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
	curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
	curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
	curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)f->opts.connections);
	curl_multi_setopt(f->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)f->opts.connections);
	curl_multi_setopt(f->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
	return 0;
}

static int make_wake(struct vx_fetcher *f)
{
	struct epoll_event ev = {.events = EPOLLIN};

	f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (f->wake_fd < 0)
		f->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->epoll_fd < 0 || f->wake_fd < 0)
		return -errno;
	ev.data.fd = f->wake_fd;
	return epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, f->wake_fd, &ev) < 0 ? -errno : 0;
}

void vx_loop_done(struct vx_fetcher *f)
{
	while (f->idle_count > 0)
		curl_easy_cleanup(f->idle[--f->idle_count]);
	if (f->multi)
		curl_multi_cleanup(f->multi); /* calls on_curl_socket */
	f->multi = NULL;
	free(f->idle);
	f->idle = NULL;
	vx_close_scope(&f->epoll_fd);
	f->epoll_fd = -1;
}

int vx_loop_init(struct vx_fetcher *f)
{
	int r = make_multi(f);

	return r < 0 ? r : make_wake(f);
}
