/* SPDX-License-Identifier: Apache-2.0
 * From queued chunks of one shard to few requests. Whoever asks for bytes of a shard takes along what is queued near
 * it, knows its place and stands close by. "Near" is near in the order in which the tasks came, which follows a Morton
 * curve as shards do; so the search is short however many tasks there are.
 */
#include "base/ledger.h"
#include "sched/engine_impl.h"

#define SCAN 512 /* tasks to either side of one that are looked at */

struct run {
	const struct vx_cell_key *object;
	struct vx_shard_task *member[2 * SCAN + 1];
	unsigned n;
};

static bool may_share(const struct vx_shard_task *x)
{
	return x->located && !x->alone && !x->span.suffix && (x->looked || !vx_store_is_cached(x->task->src->store));
}

static void add_if_queued(struct run *r, struct vx_shard_task *x)
{
	/* What a RUNNING one knows is its worker's, so the state comes first. */
	if (x->task->state == VX_TASK_QUEUED && x->task->item.client && may_share(x) &&
	    vx_cell_key_equal(&x->object, r->object))
		r->member[r->n++] = x;
}

static int by_offset(const void *a, const void *b)
{
	uint64_t x = (*(struct vx_shard_task *const *)a)->span.off, y = (*(struct vx_shard_task *const *)b)->span.off;

	return x < y ? -1 : x > y;
}

static void collect_locked(struct vx_engine *g, struct vx_shard_task *x, struct run *r)
{
	struct vx_link *head = &g->objects[vx_cell_key_hash(&x->object) % VX_OBJECT_BUCKETS], *l;
	unsigned n = 0;

	for (l = x->in_object.next; l != head && n < SCAN; l = l->next, n++)
		add_if_queued(r, vx_list_entry(l, struct vx_shard_task, in_object));
	n = 0;
	for (l = x->in_object.prev; l != head && n < SCAN; l = l->prev, n++)
		add_if_queued(r, vx_list_entry(l, struct vx_shard_task, in_object));
	qsort(r->member, r->n, sizeof *r->member, by_offset);
}

static uint64_t end_of(const struct vx_shard_task *x)
{
	return x->span.off + x->span.len;
}

/* The members [*first, *last] around number `i` that one request is for, and its bytes. */
static struct vx_span choose_run(const struct vx_engine *g, const struct run *r, unsigned i, unsigned *first,
				 unsigned *last)
{
	uint64_t begin = r->member[i]->span.off, end = end_of(r->member[i]);
	bool grew = true;

	*first = *last = i;
	while (grew && *last - *first + 1 < g->opts.merge_tasks) {
		grew = false;
		if (*last + 1 < r->n) {
			const struct vx_shard_task *x = r->member[*last + 1];
			uint64_t reach = vx_max_u64(end, end_of(x));

			if (x->span.off <= end + g->opts.merge_gap && reach - begin <= g->opts.merge_bytes) {
				end = reach;
				++*last;
				grew = true;
				continue;
			}
		}
		if (*first > 0) {
			const struct vx_shard_task *x = r->member[*first - 1];
			uint64_t reach = vx_max_u64(end, end_of(x));

			if (begin <= end_of(x) + g->opts.merge_gap && reach - x->span.off <= g->opts.merge_bytes) {
				begin = x->span.off;
				end = reach;
				--*first;
				grew = true;
			}
		}
	}
	return (struct vx_span){.off = begin, .len = end - begin};
}

/* What is wanted less urgently may fill a gap but not make the others wait for more. */
static void trim_run(const struct run *r, enum vx_prio prio, unsigned *first, unsigned *last, struct vx_span *span)
{
	uint64_t end = 0;

	while (r->member[*first]->task->item.prio > prio)
		++*first;
	while (r->member[*last]->task->item.prio > prio)
		--*last;
	span->off = r->member[*first]->span.off;
	for (unsigned i = *first; i <= *last; i++)
		end = vx_max_u64(end, end_of(r->member[i]));
	span->len = end - span->off;
}

static void take_along_locked(struct vx_engine *g, struct vx_request *r, struct vx_shard_task *x)
{
	struct vx_task *t = x->task;

	vx_tq_remove(&g->remote, &t->item);
	t->state = VX_TASK_FETCHING;
	t->request = r;
	vx_list_push_back(&r->tasks, &t->in_request);
	VX_COUNT(shards_merged);
}

void vx_shard_gather_locked(struct vx_engine *g, struct vx_request *req, struct vx_task *t)
{
	struct run r = {.object = &t->shard->object, .member = {t->shard}, .n = 1};
	unsigned i = 0, first, last;
	struct vx_span span;

	vx_assert_held(&g->mtx);
	VX_COUNT(shards_requests);
	t->shard->merged = false;
	if (!may_share(t->shard))
		return;
	collect_locked(g, t->shard, &r);
	while (r.member[i] != t->shard)
		i++;
	span = choose_run(g, &r, i, &first, &last);
	trim_run(&r, t->item.prio, &first, &last, &span);
	if (first == last)
		return;
	for (unsigned m = first; m <= last; m++) {
		struct vx_shard_task *x = r.member[m];

		if (x != t->shard)
			take_along_locked(g, req, x);
		x->merged = true;
		x->cut = x->span.off - span.off;
	}
	req->fetch.uncached = true; /* each part goes to the disk by itself */
	req->fetch.range.off = span.off;
	req->fetch.range.len = req->fetch.cap = req->fetch.expect = span.len;
}
