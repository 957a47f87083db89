/* SPDX-License-Identifier: Apache-2.0
 * The workers: what each does next, their start and their end.
 */
#include "base/clock.h"
#include "base/ledger.h"
#include "sched/engine_impl.h"

#include <stdio.h>
#include <string.h>

_Thread_local bool vx_is_worker;
static _Thread_local int worker_self = -1;

static struct vx_task *task_of(struct vx_tq_item *i)
{
	return i ? vx_list_entry(i, struct vx_task, item) : NULL;
}

/* Bodies that wait for a worker count like those under way: a network that is faster than the decoder would else bring
 * all that is wanted into memory. */
static bool may_issue_locked(const struct vx_engine *g, enum vx_prio prio)
{
	unsigned limit = prio == VX_PRIO_FOREGROUND ? g->opts.inflight : (g->opts.inflight + 1) / 2;
	uint64_t bytes = g->inflight_bytes + g->arrived_bytes;

	return g->remote.count[prio] && g->inflight < limit && (bytes == 0 || bytes < g->opts.inflight_bytes);
}

struct picked {
	struct vx_call *call;
	struct vx_task *start[VX_TASKS_AT_ONCE], *finish;
	unsigned starts, favourites;
	struct vx_link ended;
};

/* How many tasks to take at once out of `waiting`: several where the last ones were small work, and each worker its
 * share. */
static unsigned share_of(const struct vx_worker *w, uint64_t waiting)
{
	uint64_t n = vx_min_u64(w->streak, waiting / w->engine->opts.threads);

	return (unsigned)vx_min_u64(vx_max_u64(n, 1), VX_TASKS_AT_ONCE);
}

static void pop_starts_locked(struct vx_worker *w, struct vx_tq *q, enum vx_prio prio, const struct vx_history *h,
			      struct picked *p)
{
	unsigned most = share_of(w, q->count[prio]);

	while (p->starts < most && q->count[prio]) {
		bool favourite = false;
		struct vx_task *t = task_of(vx_tq_pop(q, prio, h, &favourite));

		t->state = VX_TASK_RUNNING;
		p->start[p->starts++] = t;
		p->favourites += favourite;
	}
}

static void pop_finish_locked(struct vx_engine *g, enum vx_prio prio, const struct vx_history *h, struct picked *p)
{
	bool favourite = false;

	p->finish = task_of(vx_tq_pop(&g->arrived, prio, h, &favourite));
	p->finish->state = VX_TASK_RUNNING;
	vx_task_let_go_locked(g, p->finish);
	p->favourites = favourite;
}

/* What to do next. Requests to remote stores come first: they cost little and then work by themselves. */
static bool pick_locked(struct vx_engine *g, struct vx_worker *w, struct picked *p)
{
	const struct vx_history *h = g->opts.policy == VX_POLICY_AFFINITY && g->opts.threads > 1 ? &w->history : NULL;

	p->call = NULL;
	p->finish = NULL;
	p->starts = p->favourites = 0;
	vx_list_init(&p->ended);
	if (!vx_list_empty(&g->ended)) {
		vx_list_splice(&p->ended, &g->ended);
		return true;
	}
	if (!vx_list_empty(&g->calls)) {
		p->call = vx_list_entry(g->calls.next, struct vx_call, link);
		vx_list_remove(&p->call->link);
		return true;
	}
	for (enum vx_prio prio = 0; prio < VX_PRIO_COUNT; prio++) {
		if (may_issue_locked(g, prio))
			pop_starts_locked(w, &g->remote, prio, NULL, p);
		else if (g->arrived.count[prio])
			pop_finish_locked(g, prio, h, p);
		else if (g->local.count[prio])
			pop_starts_locked(w, &g->local, prio, h, p);
		else
			continue;
		return true;
	}
	return false;
}

static void run_picked(struct vx_worker *w, struct picked *p)
{
	vx_jobs_end(&p->ended);
	if (p->call)
		p->call->run(p->call);
	VX_COUNT_ADD(sched_favourites, p->favourites);
	w->favourites += p->favourites;
	if (p->starts)
		vx_tasks_start(w, p->start, p->starts);
	if (p->finish)
		vx_task_finish(w, p->finish);
	w->last_ns = vx_now_ns();
}

int vx_engine_worker_self(void)
{
	return worker_self;
}

static void *worker_main(void *arg)
{
	struct vx_worker *w = arg;
	struct vx_engine *g = w->engine;
	struct picked p;
	char name[32];
	bool more;

	vx_is_worker = true;
	worker_self = (int)(w - g->workers);
	snprintf(name, sizeof name, "vx-work%d", worker_self);
	pthread_setname_np(pthread_self(), name);
	for (;;) {
		{
			VX_LOCK_SCOPE(&g->mtx);
			w->busy = false; /* with the lock: what it takes off a queue is at no instant nowhere */
			while (!(more = pick_locked(g, w, &p)) && !(g->stopping && g->inflight == 0)) {
				g->idle++;
				vx_cond_wait(&g->wake, &g->mtx);
				g->idle--;
			}
			w->busy = more;
		}
		if (!more)
			return NULL;
		run_picked(w, &p);
	}
}

static int start_workers(struct vx_engine *g, struct vx_err *e)
{
	g->workers = calloc(g->opts.threads, sizeof *g->workers);
	if (!g->workers)
		return vx_fail(e, -ENOMEM, "no memory");
	for (unsigned i = 0; i < g->opts.threads; i++) {
		struct vx_worker *w = &g->workers[i];
		int r;

		w->engine = g;
		w->history.worker = i;
		w->history.workers = g->opts.threads;
		r = pthread_create(&w->thread, NULL, worker_main, w);
		if (r)
			return vx_fail(e, -r, "cannot start worker thread %u: %s", i, strerror(r));
		g->nworkers++;
	}
	return 0;
}

int vx_engine_new(struct vx_engine **ret, const struct vx_engine_opts *o, struct vx_cache *cache, struct vx_pool *pool,
		  struct vx_err *e)
{
	struct vx_engine *g = calloc(1, sizeof *g);
	int r;

	if (!g)
		return vx_fail(e, -ENOMEM, "no memory");
	g->opts = *o;
	g->cache = cache;
	g->pool = pool;
	vx_mutex_init(&g->mtx, VX_RANK_ENGINE);
	vx_cond_init(&g->wake);
	vx_list_init(&g->calls);
	vx_list_init(&g->ended);
	for (unsigned i = 0; i < VX_TASK_BUCKETS; i++)
		vx_list_init(&g->table[i]);
	for (unsigned i = 0; i < VX_OBJECT_BUCKETS; i++)
		vx_list_init(&g->objects[i]);
	vx_tq_init(&g->local);
	vx_tq_init(&g->remote);
	vx_tq_init(&g->arrived);
	r = start_workers(g, e);
	if (r < 0) {
		vx_engine_stop(g);
		vx_engine_free(&g);
		return r;
	}
	*ret = g;
	return 0;
}

static void fail_queued_locked(struct vx_engine *g)
{
	struct vx_err e;
	struct vx_link *l, *tmp;

	vx_fail(&e, -ESHUTDOWN, "the mount is ending");
	for (unsigned i = 0; i < VX_TASK_BUCKETS; i++)
		vx_list_each_safe(l, tmp, &g->table[i])
		{
			struct vx_task *t = vx_list_entry(l, struct vx_task, in_table);

			/* Indexes stay queued: workers see that nobody waits for them. */
			if (vx_task_is_index(t) || (t->state != VX_TASK_QUEUED && t->state != VX_TASK_WAITING))
				continue;
			if (t->state == VX_TASK_QUEUED)
				vx_tq_remove(vx_task_queue(g, t), &t->item);
			vx_parts_fail_locked(g, &t->parts, &e, &g->ended);
			vx_task_free_locked(g, t);
		}
}

void vx_engine_quit(struct vx_engine *g)
{
	VX_LOCK_SCOPE(&g->mtx);
	g->stopping = true;
	fail_queued_locked(g);
	pthread_cond_broadcast(&g->wake);
}

void vx_engine_stop(struct vx_engine *g)
{
	vx_engine_quit(g);
	for (unsigned i = 0; i < g->nworkers; i++)
		pthread_join(g->workers[i].thread, NULL);
	g->nworkers = 0;
}

void vx_engine_free(struct vx_engine **pg)
{
	struct vx_engine *g = vx_steal(*pg);

	if (!g)
		return;
	assert(g->nworkers == 0);
	vx_tq_done(&g->local);
	vx_tq_done(&g->remote);
	vx_tq_done(&g->arrived);
	vx_spares_free(&g->spare_tasks);
	vx_spares_free(&g->spare_parts);
	pthread_cond_destroy(&g->wake);
	vx_mutex_done(&g->mtx);
	free(g->workers);
	free(g);
}

uint64_t vx_engine_idle_ns(const struct vx_engine *g)
{
	uint64_t last = 0, now = vx_now_ns();

	for (unsigned i = 0; i < g->opts.threads; i++) {
		if (g->workers[i].busy)
			return 0;
		last = vx_max_u64(last, g->workers[i].last_ns);
	}
	return now > last ? now - last : 0;
}

void vx_engine_stats(struct vx_engine *g, struct vx_engine_stats *ret)
{
	VX_LOCK_SCOPE(&g->mtx);
	*ret = (struct vx_engine_stats){.workers = g->nworkers};
	for (int p = 0; p < VX_PRIO_COUNT; p++)
		ret->queued[p] = g->local.count[p] + g->remote.count[p];
	ret->arrived = g->arrived.count[VX_PRIO_FOREGROUND] + g->arrived.count[VX_PRIO_PREFETCH];
	ret->inflight = g->inflight;
	ret->inflight_bytes = g->inflight_bytes;
	for (const struct vx_link *l = g->calls.next; l != &g->calls; l = l->next)
		ret->calls++;
	for (unsigned i = 0; i < g->nworkers; i++)
		ret->running += g->workers[i].busy;
}

void vx_engine_worker_stats(struct vx_engine *g, unsigned worker, struct vx_worker_stats *ret)
{
	const struct vx_worker *w = &g->workers[worker];

	*ret = (struct vx_worker_stats){
	    .busy = w->busy, .tasks = w->tasks, .favourites = w->favourites, .bytes = w->bytes};
}
