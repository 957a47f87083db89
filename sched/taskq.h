/* SPDX-License-Identifier: Apache-2.0
 * In which order tasks are taken, and by whom. Pure data structure, the caller locks.
 *
 * Foreground goes before prefetch. Within a level, clients (requesting processes) take turns, a task each; a client's
 * own tasks keep the order in which they came, which the engine makes Morton order within a request. A worker that asks
 * with its history is given, out of the next few of the client whose turn it is, the task that touches what it served
 * last; failing that, one that a hash of the task's neighbourhood deals to it; failing that, the first. So locality is
 * a preference among equals and nobody ever waits for a busy favourite.
 */
#ifndef VX_SCHED_TASKQ_H
#define VX_SCHED_TASKQ_H

#include "base/box.h"
#include "base/list.h"

enum vx_prio { VX_PRIO_FOREGROUND, VX_PRIO_PREFETCH, VX_PRIO_COUNT };

enum vx_policy { VX_POLICY_AFFINITY, VX_POLICY_MORTON, VX_POLICY_FIFO };

#define VX_HISTORY 8

/* What one worker served last. */
struct vx_history {
	unsigned worker, workers;
	unsigned next, count;
	struct {
		uint32_t space;
		struct vx_box box;
	} seen[VX_HISTORY];
};

struct vx_tq_client;

struct vx_tq_item {
	struct vx_link link;
	struct vx_tq_client *client; /* NULL: not queued */
	enum vx_prio prio;
	uint32_t space;
	struct vx_box box;
	uint64_t morton; /* of its cell: neighbours share the high bits */
};

struct vx_tq {
	struct vx_link turn[VX_PRIO_COUNT]; /* clients with tasks, whose turn it is first */
	uint64_t count[VX_PRIO_COUNT];
	struct vx_tq_client *spare;
};

void vx_tq_init(struct vx_tq *q);
void vx_tq_done(struct vx_tq *q); /* must be empty */

/* -ENOMEM leaves it out. Fill in prio, space, box and morton first. */
int vx_tq_push(struct vx_tq *q, struct vx_tq_item *i, uint32_t client);
/* The same, before its client's other tasks: they wait for it. */
int vx_tq_push_first(struct vx_tq *q, struct vx_tq_item *i, uint32_t client);
void vx_tq_remove(struct vx_tq *q, struct vx_tq_item *i);

/* The next task down to priority `lowest`, or NULL. `h` is NULL where locality does not matter (issuing requests);
 * *favourite tells whether history or hash chose it. */
struct vx_tq_item *vx_tq_pop(struct vx_tq *q, enum vx_prio lowest, const struct vx_history *h, bool *favourite);

void vx_history_add(struct vx_history *h, uint32_t space, const struct vx_box *box);
/* Does the box overlap or touch what this worker served lately? */
bool vx_history_touches(const struct vx_history *h, uint32_t space, const struct vx_box *box);

#endif
