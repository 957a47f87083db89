/* SPDX-License-Identifier: Apache-2.0
 * Requests that wait for a completion, so that an INTERRUPT finds them and is always answered, and so that none waits
 * for ever: a client in OPEN cannot even be killed before it has its answer. Any thread; lock rank VX_RANK_FS_PENDING,
 * the outermost.
 *
 * Exactly one of three answers, completion, INTERRUPT or deadline: whoever claims the request replies. When it was not
 * the completion, that finds nothing to claim and only cleans up.
 */
#ifndef VX_FS_PENDING_H
#define VX_FS_PENDING_H

#include "base/list.h"
#include "base/lock.h"
#include "fs/fuse_api.h"
#include "fs/node.h"

struct vx_pending {
	struct vx_link link;
	fuse_req_t req;  /* NULL once claimed */
	uint64_t due_ns; /* later than those that came before it */
	/* What the request is about; `view` is the owner's. */
	fuse_ino_t ino;
	const struct vx_view *view;
	/* Under the pending lock: tells the work that nobody waits. True: its completion will not come any more, the
	 * record may be freed by `free`. */
	bool (*cancel)(struct vx_pending *p);
	void (*free)(struct vx_pending *p);
};

struct vx_pendings {
	struct vx_mutex mtx;
	struct vx_link list; /* in order of arrival, which is the order of their deadlines */
	uint64_t limit_ns;
	pthread_cond_t none; /* the list has become empty */
};

void vx_pendings_init(struct vx_pendings *t, uint64_t limit_ns);
void vx_pendings_done(struct vx_pendings *t);

/* Registers the request before its work is begun. False: it has been interrupted and answered already; free `p`. */
bool vx_pending_begin(struct vx_pendings *t, struct vx_pending *p, fuse_req_t req);
/* The request, for the caller to answer; NULL when an interrupt answered it. */
fuse_req_t vx_pending_claim(struct vx_pendings *t, struct vx_pending *p);
/* Claims what has waited for the whole limit and lets `fail` answer it, with no lock held. Returns when to call again:
 * nothing falls due before, not even what arrives meanwhile, so nobody has to wake the caller. One thread. */
uint64_t vx_pendings_expire(struct vx_pendings *t,
			    void (*fail)(void *ctx, fuse_req_t req, fuse_ino_t ino, const struct vx_view *v,
					 const struct vx_err *e),
			    void *ctx);
/* Waits until nobody waits; false when somebody still does at the deadline. */
bool vx_pendings_wait_none(struct vx_pendings *t, uint64_t deadline_ns);
/* Answers everybody with EINTR: the mount is ending. */
void vx_pendings_cancel_all(struct vx_pendings *t);

#endif
