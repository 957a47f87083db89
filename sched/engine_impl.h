/* SPDX-License-Identifier: Apache-2.0
 * Private to sched/engine*.c: tasks, parts and the engine's fields.
 */
#ifndef VX_SCHED_ENGINE_IMPL_H
#define VX_SCHED_ENGINE_IMPL_H

#include "sched/engine.h"
#include "sched/shards.h"

#define VX_TASK_BUCKETS 4096
#define VX_OBJECT_BUCKETS 1024
#define VX_TASKS_AT_ONCE 16 /* that one worker takes, if they prove to be small work */

/* WAITING: for the index of its shard. */
enum vx_task_state { VX_TASK_QUEUED, VX_TASK_WAITING, VX_TASK_FETCHING, VX_TASK_ARRIVED, VX_TASK_RUNNING };

/* One job's wish for one chunk: where a sub-box of it is to land. */
struct vx_part {
	struct vx_link in_task, in_job;
	struct vx_job *job;
	struct vx_task *task;
	unsigned want;
	struct vx_box box;    /* inside the cell */
	uint32_t chan, nchan; /* inside the slab; counted as the volume's channels */
	bool taken;           /* a worker is serving it: only that worker may settle it */
	int code;             /* its outcome */
};

struct vx_request {
	struct vx_fetch fetch;
	struct vx_engine *engine;
	struct vx_link tasks; /* at least one; more only where they share a shard */
	uint64_t started_ns;
	uint64_t charged; /* of inflight_bytes */
};

struct vx_task {
	struct vx_link in_table;
	struct vx_tq_item item;
	struct vx_cell_key key;
	struct vx_source *src;
	unsigned mip;
	struct vx_box cell_box;
	uint32_t chan, nchan; /* of its slab */
	uint32_t client;
	enum vx_task_state state;
	struct vx_link parts;
	struct vx_request *request; /* FETCHING */
	struct vx_link in_request;
	struct vx_fetched got;       /* ARRIVED; body owned */
	uint64_t held;               /* of arrived_bytes: its share of that body */
	struct vx_shard_task *shard; /* NULL: its object holds nothing else */
};

static inline bool vx_task_is_index(const struct vx_task *t)
{
	return t->shard && t->shard->level != VX_SHARD_CHUNK;
}

/* Under the lock. */
static inline bool vx_task_is_wanted(const struct vx_task *t)
{
	return !vx_list_empty(&t->parts) || (t->shard && !vx_list_empty(&t->shard->waiters));
}

static inline const struct vx_scale *vx_task_scale(const struct vx_task *t)
{
	return &t->src->meta->scales[t->mip];
}

struct vx_worker {
	struct vx_engine *engine;
	pthread_t thread;
	/* --- its thread only ------------------------------------------------------------------------------------ */
	struct vx_history history;
	unsigned streak; /* chunks in a row that were kept */
	/* --- written by its thread, read by any ----------------------------------------------------------------- */
	_Atomic bool busy;
	_Atomic uint64_t last_ns; /* when it was done with what it did last */
	_Atomic uint64_t tasks, favourites, bytes;
};

struct vx_spares {
	void *first; /* each begins with a pointer to the next */
	unsigned count;
};

struct vx_engine {
	/* --- constant once started ------------------------------------------------------------------------------ */
	struct vx_engine_opts opts;
	struct vx_cache *cache;
	struct vx_pool *pool;
	struct vx_worker *workers;
	unsigned nworkers;
	/* --- under mtx ------------------------------------------------------------------------------------------ */
	struct vx_mutex mtx;
	pthread_cond_t wake;
	unsigned idle;
	bool stopping;
	struct vx_link calls;
	struct vx_link ended; /* jobs that ended outside a worker: one will call their done */
	struct vx_link table[VX_TASK_BUCKETS];
	struct vx_link objects[VX_OBJECT_BUCKETS];      /* tasks of sharded scales by shard, oldest first */
	_Atomic uint32_t index_ends[VX_OBJECT_BUCKETS]; /* how many indexes of theirs are over; read without the lock */
	struct vx_tq local, remote, arrived;
	struct vx_spares spare_tasks, spare_parts;
	unsigned inflight;
	uint64_t inflight_bytes, arrived_bytes; /* their sum is bounded: bodies are outside the budget */
};

/* engine_run.c: a worker that queues tasks takes the next one itself. */
extern _Thread_local bool vx_is_worker;

/* engine.c */
void vx_spares_free(struct vx_spares *s);
struct vx_tq *vx_task_queue(struct vx_engine *g, const struct vx_task *t);
void vx_engine_wake_locked(struct vx_engine *g, unsigned count);
struct vx_task *vx_task_find_locked(struct vx_engine *g, const struct vx_cell_key *k);
void vx_task_free_locked(struct vx_engine *g, struct vx_task *t);
/* `held`: what its answer takes of arrived_bytes, until a worker has it. */
void vx_task_arrived_locked(struct vx_engine *g, struct vx_task *t, uint64_t held);
void vx_task_let_go_locked(struct vx_engine *g, struct vx_task *t);
/* Ends parts (a list of in_task links) with the code each has; `e` says why where that is not 0. Jobs get their next
 * parts; those that end go to `ended` (by their `parts` link). */
void vx_parts_settle_locked(struct vx_engine *g, struct vx_link *parts, const struct vx_err *e, struct vx_link *ended);
/* The same with one failure for all. */
void vx_parts_fail_locked(struct vx_engine *g, struct vx_link *parts, const struct vx_err *e, struct vx_link *ended);
/* Puts a task back on its queue, behind all others of its client, indexes too: those that share a request with it shall
 * come before it. */
void vx_task_requeue_locked(struct vx_engine *g, struct vx_task *t);
/* Puts back a task that was taken and not begun, before all others of its client. */
void vx_task_put_back_locked(struct vx_engine *g, struct vx_task *t);
/* Calls done for each job of the list. No lock held. */
void vx_jobs_end(struct vx_link *ended);

/* A task for the index of a shard, first in its client's line; NULL when memory is short. Takes over `x`, all of whose
 * constant fields are set but `task`. */
struct vx_task *vx_task_new_index_locked(struct vx_engine *g, const struct vx_task *first, const struct vx_cell_key *k,
					 struct vx_shard_task *x);
/* Promotes the task to `prio` if that is more urgent. */
void vx_task_promote_locked(struct vx_engine *g, struct vx_task *t, enum vx_prio prio);

/* engine_work.c: everything a worker does with a task, lock not held. All but start may find the task over: it is freed
 * when nobody wants it any more. */
void vx_tasks_start(struct vx_worker *w, struct vx_task **t, unsigned n); /* taken off their queue; 1 or more */
void vx_task_finish(struct vx_worker *w, struct vx_task *t);              /* ARRIVED, taken off its queue */
void vx_task_got(struct vx_worker *w, struct vx_task *t,
		 struct vx_fetched *got); /* what a store said; takes the body */
/* Around work on bytes from outside; *e is set when servers have died of them. */
void vx_task_mark(struct vx_worker *w, const struct vx_task *t, struct vx_err *e);
void vx_task_unmark(struct vx_worker *w);
void vx_task_fail(struct vx_worker *w, struct vx_task *t, const struct vx_err *e); /* -ENODATA: it is missing */
/* Where a sub-box of the part goes, and that all of it has got there. */
struct vx_place vx_part_place(const struct vx_part *p, const struct vx_box *part, uint32_t width);
void vx_part_landed(const struct vx_task *t, const struct vx_part *p);
/* The box that is being filled takes the whole chunk. */
bool vx_part_is_whole(const struct vx_task *t, const struct vx_part *p);
void vx_task_learn_size(const struct vx_task *t, uint64_t bytes);

/* engine_fetch.c: asks the store for the task's bytes; lock not held. */
void vx_task_ask(struct vx_worker *w, struct vx_task *t);
/* Its bytes made no chunk: perhaps they are of another time than the index, or a cache has wrong ones. */
void vx_task_distrust(struct vx_engine *g, const struct vx_task *t);
/* A disk cache shall not keep these bytes of its shard. */
void vx_task_distrust_span(const struct vx_task *t, const struct vx_span *span);
/* `got` has the bytes of its span alone, cut from an answer for several: they are for the disk cache too. */
void vx_task_keep_span(const struct vx_task *t, const struct vx_fetched *got);
/* The most bytes that a chunk may have as it is stored. */
uint64_t vx_task_most_stored(const struct vx_task *t);

#endif
