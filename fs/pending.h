/* SPDX-License-Identifier: Apache-2.0
 * Requests that wait for a completion, so that an INTERRUPT finds them and is always answered: a client in OPEN cannot
 * even be killed before it has its answer. Any thread; lock rank VX_RANK_FS_PENDING, the outermost.
 *
 * Exactly one of two answers: whoever claims the request replies. An interrupted one is claimed by the interrupt; its
 * completion then finds nothing to claim and only cleans up.
 */
#ifndef VX_FS_PENDING_H
#define VX_FS_PENDING_H

#include "base/list.h"
#include "base/lock.h"
#include "fs/fuse_api.h"

struct vx_pending {
	struct vx_link link;
	fuse_req_t req; /* NULL once claimed */
	/* Under the pending lock: tells the work that nobody waits. True: its completion will not come any more, the
	 * record may be freed by `free`. */
	bool (*cancel)(struct vx_pending *p);
	void (*free)(struct vx_pending *p);
};

struct vx_pendings {
	struct vx_mutex mtx;
	struct vx_link list;
};

void vx_pendings_init(struct vx_pendings *t);
void vx_pendings_done(struct vx_pendings *t);

/* Registers the request before its work is begun. False: it has been interrupted and answered already; free `p`. */
bool vx_pending_begin(struct vx_pendings *t, struct vx_pending *p, fuse_req_t req);
/* The request, for the caller to answer; NULL when an interrupt answered it. */
fuse_req_t vx_pending_claim(struct vx_pendings *t, struct vx_pending *p);
/* Answers everybody with EINTR: the mount is ending. */
void vx_pendings_cancel_all(struct vx_pendings *t);

#endif
