/* SPDX-License-Identifier: Apache-2.0
 * Opening boxes: joins openers of one box into one fill, waits for space with a bound, hands over the finished object.
 * No call blocks; completions come on a worker's thread with no lock held. Any thread.
 */
#ifndef VX_SCHED_BOXES_H
#define VX_SCHED_BOXES_H

#include "sched/engine.h"

struct vx_boxes;

struct vx_waiter {
	/* e->code 0: `b` is open for the waiter, who must close it. Called at most once; may free the waiter. */
	void (*done)(struct vx_waiter *w, struct vx_cbox *b, const struct vx_err *e);
	/* private, under the cache's lock */
	struct vx_link link;
	struct vx_cbox *box; /* waiting at */
};

struct vx_boxes_opts {
	uint64_t space_wait_ns; /* how long an opener waits for others to let go of memory */
};

int vx_boxes_new(struct vx_boxes **ret, const struct vx_boxes_opts *o, struct vx_cache *c, struct vx_engine *g,
		 struct vx_err *e);
/* New opens fail with -ESHUTDOWN, waiting ones too; stops the thread. Before the engine is stopped. */
void vx_boxes_stop(struct vx_boxes *x);
void vx_boxes_free(struct vx_boxes **x);

/* 0: it was resident, *ret is open for the caller. -EAGAIN: it is not, nothing has happened. */
int vx_boxes_open_resident(struct vx_boxes *x, struct vx_source *src, unsigned mip, const struct vx_box *box,
			   struct vx_cbox **ret, struct vx_err *e);
/* 0: resident, *ret is open for the caller and done will not be called. -EINPROGRESS: done will be called.
 * Anything else failed at once. */
int vx_boxes_open(struct vx_boxes *x, struct vx_source *src, unsigned mip, const struct vx_box *box, uint64_t bytes,
		  uint32_t client, struct vx_waiter *w, struct vx_cbox **ret, struct vx_err *e);
/* True: the waiter has left and done will not be called. False: done has been called or is about to be. The waiter must
 * still exist. A fill that nobody waits for any more is stopped. */
bool vx_boxes_cancel(struct vx_boxes *x, struct vx_waiter *w);
void vx_boxes_close(struct vx_boxes *x, struct vx_cbox *b);

#endif
