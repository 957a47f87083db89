/* SPDX-License-Identifier: Apache-2.0
 * libfuse calls on_interrupt with the request's own lock held, which keeps the request alive; ours nests inside. Few
 * requests wait at a time and fewer are interrupted, so a list is searched.
 */
#include "fs/pending.h"
#include "base/clock.h"
#include "base/ledger.h"

void vx_pendings_init(struct vx_pendings *t, uint64_t limit_ns)
{
	t->limit_ns = limit_ns;
	vx_mutex_init(&t->mtx, VX_RANK_FS_PENDING);
	vx_list_init(&t->list);
	vx_cond_init(&t->none);
}

void vx_pendings_done(struct vx_pendings *t)
{
	pthread_cond_destroy(&t->none);
	vx_mutex_done(&t->mtx);
}

static fuse_req_t claim_locked(struct vx_pendings *t, struct vx_pending *p)
{
	fuse_req_t req = vx_steal(p->req);

	if (!req)
		return NULL;
	vx_list_remove(&p->link);
	if (vx_list_empty(&t->list))
		pthread_cond_broadcast(&t->none);
	return req;
}

/* Claims for somebody else than the completion and stops the work. */
static fuse_req_t abandon_locked(struct vx_pendings *t, struct vx_pending *p)
{
	fuse_req_t req = claim_locked(t, p);

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
			mine = abandon_locked(t, p);
			break;
		}
	}
	if (mine) {
		VX_COUNT(fuse_interrupts);
		fuse_reply_err(mine, EINTR);
	}
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
			p->due_ns = vx_now_ns() + t->limit_ns;
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

	return claim_locked(t, p);
}

uint64_t vx_pendings_expire(struct vx_pendings *t,
			    void (*fail)(void *ctx, fuse_req_t req, fuse_ino_t ino, const struct vx_view *v,
					 const struct vx_err *e),
			    void *ctx)
{
	struct vx_err e = {0};

	vx_fail(&e, -ETIMEDOUT, "it did not come within %g s (mount with a larger timeout= to wait longer)",
		(double)t->limit_ns / VX_SEC);
	for (;;) {
		uint64_t now = vx_now_ns();
		struct vx_view view;
		struct vx_pending *p;
		fuse_ino_t ino;
		fuse_req_t req;

		{
			VX_LOCK_SCOPE(&t->mtx);
			if (vx_list_empty(&t->list))
				return now + t->limit_ns;
			p = vx_list_entry(t->list.next, struct vx_pending, link);
			if (p->due_ns > now)
				return p->due_ns;
			view = *p->view; /* the record may be gone as soon as it is claimed */
			ino = p->ino;
			req = abandon_locked(t, p);
		}
		VX_COUNT(fuse_timeouts);
		fail(ctx, req, ino, &view, &e);
	}
}

bool vx_pendings_wait_none(struct vx_pendings *t, uint64_t deadline_ns)
{
	VX_LOCK_SCOPE(&t->mtx);
	while (!vx_list_empty(&t->list))
		if (!vx_cond_wait_until(&t->none, &t->mtx, deadline_ns))
			return vx_list_empty(&t->list);
	return true;
}

void vx_pendings_cancel_all(struct vx_pendings *t)
{
	for (;;) {
		fuse_req_t req = NULL;

		{
			VX_LOCK_SCOPE(&t->mtx);
			if (!vx_list_empty(&t->list))
				req = abandon_locked(t, vx_list_entry(t->list.next, struct vx_pending, link));
		}
		if (!req)
			return;
		fuse_reply_err(req, EINTR);
	}
}
