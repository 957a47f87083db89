/* SPDX-License-Identifier: Apache-2.0
 * Private to sched/engine*.c: chunks that lie in shards. A shard's indexes are fetched by tasks of their own, in the
 * same table and queues as chunks, and kept among the kept chunks under keys of their own; so each is fetched once
 * however many chunks wait for it, and an object that is not there is remembered.
 *
 * A chunk's task looks its place up when a worker takes it. Where the index is not here, the task is WAITING at the
 * index's task, and queued again once it knows its place. Requests to remote stores take what else is queued and known
 * to stand close by in the same object along.
 */
#ifndef VX_SCHED_SHARDS_H
#define VX_SCHED_SHARDS_H

#include "sched/engine.h"
#include "vol/shard.h"

struct vx_task;
struct vx_request;
struct vx_worker;

enum vx_shard_level { VX_SHARD_ROOT, VX_SHARD_LEAF, VX_SHARD_CHUNK };

/* What a task of a sharded scale knows besides. */
struct vx_shard_task {
	/* --- constant ------------------------------------------------------------------------------------------ */
	struct vx_task *task;
	enum vx_shard_level level;
	unsigned grid;
	struct vx_cell cell; /* of an index: a chunk of its shard, by which the shard is named */
	struct vx_shard_at at;
	struct vx_cell_key object;
	/* --- the task's worker's, while RUNNING; else under the engine's lock ------------------------------------ */
	struct vx_link in_object;        /* tasks whose objects have the same hash */
	struct vx_span span;             /* located: its bytes */
	struct vx_shard_version version; /* and what the index said of the object; an index of its own root's */
	bool located;
	bool looked;           /* the disk cache does not have it */
	bool recheck;          /* nor may it be believed: what it had did not fit together */
	bool alone;            /* its request failed for something that may be another's fault */
	unsigned tries;        /* how often its place proved stale */
	uint64_t cut;          /* where its bytes begin in the answer */
	bool merged;           /* the answer has others' too */
	struct vx_task *index; /* WAITING for it */
	struct vx_link in_waiters;
	struct vx_link waiters; /* of an index */
};

/* ---- for engine.c; the engine's lock held ---- */
int vx_shard_join_locked(struct vx_engine *g, struct vx_task *t); /* a new chunk's task; -ENOMEM */
void vx_shard_leave_locked(struct vx_engine *g, struct vx_task *t);
/* An index that could not go on: who waits for it fails. */
void vx_shard_fail_waiters_locked(struct vx_engine *g, struct vx_task *t, const struct vx_err *e);

/* ---- for engine_work.c and engine_fetch.c; the lock not held ---- */
/* True: the task knows its place and its bytes may be asked for. False: it waits, is queued again, or over and gone. */
bool vx_shard_locate(struct vx_worker *w, struct vx_task *t);
/* Once more to the end of its client's line; gone if nobody wants it any more. */
void vx_shard_requeue(struct vx_engine *g, struct vx_task *t);
void vx_index_start(struct vx_worker *w, struct vx_task *t);
/* What the store said, or why it was not asked. Frees the task. */
void vx_index_got(struct vx_worker *w, struct vx_task *t, struct vx_fetched *got);
/* True: `got` is the answer for this task, of a merged one its own part; it may have become a failure. False: it is of
 * no use, and the task queued again or gone. */
bool vx_shard_accept(struct vx_worker *w, struct vx_task *t, struct vx_fetched *got);
/* Its bytes made no chunk: perhaps the index is wrong. */
void vx_shard_distrust(struct vx_engine *g, const struct vx_task *t);

/* shard_merge.c, under the lock: makes `r`, the request for `t`, ask for the bytes of queued tasks close by as well. */
void vx_shard_gather_locked(struct vx_engine *g, struct vx_request *r, struct vx_task *t);

#endif
