/* SPDX-License-Identifier: Apache-2.0
 * Private to sched/engine*.c: tasks, parts and the engine's fields.
 */
#ifndef VX_SCHED_ENGINE_IMPL_H
#define VX_SCHED_ENGINE_IMPL_H

#include "sched/engine.h"

#define VX_TASK_BUCKETS 4096

enum vx_task_state { VX_TASK_QUEUED, VX_TASK_FETCHING, VX_TASK_ARRIVED, VX_TASK_RUNNING };

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
	struct vx_task *task;
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
	struct vx_fetched got;      /* ARRIVED; body owned */
};

struct vx_worker {
	struct vx_engine *engine;
	pthread_t thread;
	struct vx_history history; /* its thread only */
	_Atomic bool busy;
	_Atomic uint64_t last_ns; /* when it was done with what it did last */
	_Atomic uint64_t tasks, favourites, bytes;
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
	struct vx_tq local, remote, arrived;
	unsigned inflight;
	uint64_t inflight_bytes;
};

/* engine.c */
void vx_engine_wake_locked(struct vx_engine *g, unsigned count);
struct vx_task *vx_task_find_locked(struct vx_engine *g, const struct vx_cell_key *k);
void vx_task_free_locked(struct vx_engine *g, struct vx_task *t);
void vx_task_arrived_locked(struct vx_engine *g, struct vx_task *t);
/* Ends parts (a list of in_task links) with the code each has; `e` says why where that is not 0. Jobs get their next
 * parts; those that end go to `ended` (by their `parts` link). */
void vx_parts_settle_locked(struct vx_engine *g, struct vx_link *parts, const struct vx_err *e, struct vx_link *ended);
/* The same with one failure for all. */
void vx_parts_fail_locked(struct vx_engine *g, struct vx_link *parts, const struct vx_err *e, struct vx_link *ended);
/* Puts a task back on its queue: what was fetched for it is of no use. */
void vx_task_requeue_locked(struct vx_engine *g, struct vx_task *t);
/* Calls done for each job of the list. No lock held. */
void vx_jobs_end(struct vx_link *ended);

/* engine_work.c: everything a worker does with a task, lock not held. */
void vx_task_start(struct vx_worker *w, struct vx_task *t);  /* QUEUED, taken off its queue */
void vx_task_finish(struct vx_worker *w, struct vx_task *t); /* ARRIVED, taken off its queue */

#endif
