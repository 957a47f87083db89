/* SPDX-License-Identifier: Apache-2.0
 * The engine: turns jobs (boxes wanted in memory) into chunk tasks and pumps them through cache, stores, unpacking and
 * codecs with a pool of workers. Each chunk is asked for once, however many jobs want it.
 *
 * Stages of a task: QUEUED -> (local store) RUNNING, or (remote) FETCHING -> ARRIVED -> RUNNING -> gone. A wish for a
 * chunk that has a task joins it at any stage. Submitting and cancelling: any thread, under no lock above
 * VX_RANK_ENGINE. `done` runs on a worker or in vx_engine_cancel's wake, with no lock held.
 */
#ifndef VX_SCHED_ENGINE_H
#define VX_SCHED_ENGINE_H

#include "sched/cache.h"
#include "sched/call.h"
#include "sched/taskq.h"
#include "vol/order.h"

struct vx_engine;

struct vx_engine_opts {
	unsigned threads;
	unsigned inflight;       /* requests to remote stores at once */
	uint64_t inflight_bytes; /* and the memory their bodies may take: beyond the cache's budget */
	enum vx_policy policy;
	struct vx_table *table; /* or NULL: where workers mark what they do, and poison is known */
	/* Requests for parts of one shard become one when no more than `merge_gap` bytes lie between them, up to so
	 * many bytes and tasks. */
	uint64_t merge_gap, merge_bytes;
	unsigned merge_tasks;
};
/* For remote stores; see ARCHITECTURE.md for how they were found. */
#define VX_MERGE_GAP ((uint64_t)64 << 10)
#define VX_MERGE_BYTES ((uint64_t)1 << 20)
#define VX_MERGE_TASKS 128

/* A box wanted somewhere. `to.at` NULL: just fetch its chunks and keep them. */
struct vx_want {
	struct vx_box box;
	struct vx_place to;
	uint32_t chan, nchan; /* channels from chan on, >= 1 */
	unsigned grid;
};

#define VX_WANTS_MAX 8

struct vx_job {
	/* --- filled in by the submitter ------------------------------------------------------------------------ */
	struct vx_source *src;
	unsigned mip;
	uint32_t client; /* tasks of one client share its turns */
	enum vx_prio prio;
	unsigned nwants;
	struct vx_want want[VX_WANTS_MAX];
	struct vx_cbox *into; /* want[0] fills this box: whole chunks in it are not kept a second time */
	void (*done)(struct vx_job *j, const struct vx_err *e); /* exactly once; may free the job */
	/* --- private, under the engine's lock ------------------------------------------------------------------ */
	struct vx_link parts;
	unsigned live;      /* parts under way */
	unsigned next_want; /* expansion: which want, which slab of it, and where in that */
	uint32_t slab;
	bool submitted, started, slab_started, expanded;
	struct vx_order order;
	struct vx_err err;
};

int vx_engine_new(struct vx_engine **ret, const struct vx_engine_opts *o, struct vx_cache *cache, struct vx_pool *pool,
		  struct vx_err *e);
/* The end has three steps: quit (nothing is asked of stores any more, what waits fails with -ESHUTDOWN), then the
 * fetcher is stopped, then stop joins the workers. */
void vx_engine_quit(struct vx_engine *g);
void vx_engine_stop(struct vx_engine *g);
void vx_engine_free(struct vx_engine **g);

/* Not after vx_engine_stop: nobody would be left to call done. */
void vx_engine_submit(struct vx_engine *g, struct vx_job *j);
/* The job's result no longer matters: it ends soon, with -ECANCELED unless it was complete. `j` must not be done;
 * it may be about to be submitted. */
void vx_engine_cancel(struct vx_engine *g, struct vx_job *j);

void vx_engine_call(struct vx_engine *g, struct vx_call *c);

/* Which worker the calling thread is, or -1. Async-signal-safe. */
int vx_engine_worker_self(void);

/* How long no worker has done anything; 0 while one does. */
uint64_t vx_engine_idle_ns(const struct vx_engine *g);

struct vx_worker_stats {
	bool busy;
	uint64_t tasks, favourites, bytes;
};
/* Of one instant: when all but `workers` is 0, nothing is under way. */
struct vx_engine_stats {
	uint64_t queued[VX_PRIO_COUNT], arrived, inflight, inflight_bytes, calls;
	unsigned running, workers; /* workers at something, and all */
};
void vx_engine_stats(struct vx_engine *g, struct vx_engine_stats *ret);
void vx_engine_worker_stats(struct vx_engine *g, unsigned worker, struct vx_worker_stats *ret);

#endif
