/* SPDX-License-Identifier: Apache-2.0
 * libfuse calls on_interrupt with the request's own lock held, which keeps the request alive; ours nests inside. Few
 * requests wait at a time and fewer are interrupted, so a list is searched.
 */
#include "fs/pending.h"

void vx_pendings_init(struct vx_pendings *t)
{
	vx_mutex_init(&t->mtx, VX_RANK_FS_PENDING);
	vx_list_init(&t->list);
}

void vx_pendings_done(struct vx_pendings *t)
{
	vx_mutex_done(&t->mtx);
}

/* Claims for an interrupt and stops the work. */
static fuse_req_t abandon_locked(struct vx_pending *p)
{
	fuse_req_t req = vx_steal(p->req);

	vx_list_remove(&p->link);
	if (p->cancel(p))
		p->free(p);
	return req;
}

static void on_interrupt(fuse_req_t req, void *data)
{
	struct vx_pendings *t = data;
	fuse_req_t mine = NULL;

	{
		VX_LOCK_SCOPE(&t->mtx);
		for (struct vx_link *l = t->list.next; l != &t->list && !mine; l = l->next) {
			struct vx_pending *p = vx_list_entry(l, struct vx_pending, link);

			if (p->req != req)
				continue;
			mine = abandon_locked(p);
			break;
		}
	}
	if (mine)
		fuse_reply_err(mine, EINTR);
}

bool vx_pending_begin(struct vx_pendings *t, struct vx_pending *p, fuse_req_t req)
{
	bool interrupted;

	fuse_req_interrupt_func(req, on_interrupt, t);
	{
		VX_LOCK_SCOPE(&t->mtx);
		/* An interrupt before this line is seen here; one after it finds the record in the list. */
		interrupted = fuse_req_interrupted(req);
		if (!interrupted) {
			p->req = req;
			vx_list_push_back(&t->list, &p->link);
		}
	}
	if (interrupted)
		fuse_reply_err(req, EINTR);
	return !interrupted;
}

fuse_req_t vx_pending_claim(struct vx_pendings *t, struct vx_pending *p)
{
	VX_LOCK_SCOPE(&t->mtx);
	fuse_req_t req = vx_steal(p->req);

	if (req)
		vx_list_remove(&p->link);
	return req;
}

void vx_pendings_cancel_all(struct vx_pendings *t)
{
	for (;;) {
		fuse_req_t req = NULL;

		{
			VX_LOCK_SCOPE(&t->mtx);
			if (!vx_list_empty(&t->list))
				req = abandon_locked(vx_list_entry(t->list.next, struct vx_pending, link));
		}
		if (!req)
			return;
		fuse_reply_err(req, EINTR);
	}
}
