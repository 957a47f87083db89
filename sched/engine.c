/* SPDX-License-Identifier: Apache-2.0
 * Jobs and tasks. A job is expanded into tasks a few hundred at a time, in order, so that a box of a million
 * chunks costs no more memory than a small one. The lock guards only lists and counters: a worker takes it twice per
 * chunk, for well under a microsecond, while the chunk itself costs a hundred.
 */
#include "sched/engine.h"
#include "base/ledger.h"
#include "sched/engine_impl.h"

#include <string.h>

#define LIVE_MAX 256  /* parts of a job under way */
#define FIRST_LOCAL 8 /* parts queued at once when they can be served at once: the others begin while more are made */
#define STEP 4        /* parts added for each that ends, until LIVE_MAX are under way */

void vx_engine_wake_locked(struct vx_engine *g, unsigned count)
{
	vx_assert_held(&g->mtx);
	for (unsigned n = count < g->idle ? count : g->idle; n > 0; n--)
		vx_cond_signal_after(&g->wake, &g->mtx);
}

/* ---- tasks and parts come and go by the hundred: a few are held back for the next ---- */

#ifdef VX_DEBUG_LOCKS
#define SPARE_MAX 0u /* who uses one after its end is to be found out */
#else
#define SPARE_MAX 512u
#endif

static void *spare_get(struct vx_spares *s, size_t size)
{
	void **p = s->first;

	if (!p)
		return calloc(1, size);
	s->first = *p;
	s->count--;
	return memset(p, 0, size);
}

static void spare_put(struct vx_spares *s, void *p)
{
	if (s->count + 1 > SPARE_MAX) {
		free(p);
		return;
	}
	*(void **)p = s->first;
	s->first = p;
	s->count++;
}

void vx_spares_free(struct vx_spares *s)
{
	while (s->first) {
		void **p = s->first;

		s->first = *p;
		free(p);
	}
}

/* ---- tasks ---- */

struct vx_task *vx_task_find_locked(struct vx_engine *g, const struct vx_cell_key *k)
{
	struct vx_link *head = &g->table[vx_cell_key_hash(k) % VX_TASK_BUCKETS], *l;

	for (l = head->next; l != head; l = l->next) {
		struct vx_task *t = vx_list_entry(l, struct vx_task, in_table);

		if (vx_cell_key_equal(&t->key, k))
			return t;
	}
	return NULL;
}

void vx_task_let_go_locked(struct vx_engine *g, struct vx_task *t)
{
	vx_assert_held(&g->mtx);
	g->arrived_bytes -= t->held;
	t->held = 0;
}

void vx_task_free_locked(struct vx_engine *g, struct vx_task *t)
{
	vx_assert_held(&g->mtx);
	assert(vx_list_empty(&t->parts) && !t->request && !t->item.client);
	vx_list_remove(&t->in_table);
	vx_task_let_go_locked(g, t);
	vx_buf_put(t->got.body);
	vx_shard_leave_locked(g, t);
	spare_put(&g->spare_tasks, t);
}

struct vx_tq *vx_task_queue(struct vx_engine *g, const struct vx_task *t)
{
	if (t->state == VX_TASK_ARRIVED)
		return &g->arrived;
	return vx_store_is_local(t->src->store) ? &g->local : &g->remote;
}

static int enqueue_locked(struct vx_engine *g, struct vx_task *t)
{
	return (vx_task_is_index(t) ? vx_tq_push_first : vx_tq_push)(vx_task_queue(g, t), &t->item, t->client);
}

/* No memory for a queue entry: the wishes fail, nothing else can be done. */
static void drop_task_locked(struct vx_engine *g, struct vx_task *t)
{
	struct vx_err e;

	vx_fail(&e, -ENOMEM, "no memory");
	vx_parts_fail_locked(g, &t->parts, &e, &g->ended);
	vx_shard_fail_waiters_locked(g, t, &e);
	vx_task_free_locked(g, t);
}

void vx_task_arrived_locked(struct vx_engine *g, struct vx_task *t, uint64_t held)
{
	t->held = held;
	g->arrived_bytes += held;
	t->state = VX_TASK_ARRIVED;
	if (enqueue_locked(g, t) < 0)
		drop_task_locked(g, t);
	vx_engine_wake_locked(g, 1);
}

static void queue_again_locked(struct vx_engine *g, struct vx_task *t,
			       int (*push)(struct vx_tq *q, struct vx_tq_item *i, uint32_t client))
{
	t->state = VX_TASK_QUEUED;
	if (push(vx_task_queue(g, t), &t->item, t->client) < 0)
		drop_task_locked(g, t);
	vx_engine_wake_locked(g, 1);
}

void vx_task_requeue_locked(struct vx_engine *g, struct vx_task *t)
{
	queue_again_locked(g, t, vx_tq_push);
}

void vx_task_put_back_locked(struct vx_engine *g, struct vx_task *t)
{
	queue_again_locked(g, t, vx_tq_push_first);
}

static struct vx_task *task_new_locked(struct vx_engine *g, const struct vx_job *j, const struct vx_cell_key *k)
{
	const struct vx_scale *s = &j->src->meta->scales[j->mip];
	struct vx_task *t = spare_get(&g->spare_tasks, sizeof *t);

	if (!t)
		return NULL;
	t->key = *k;
	t->src = j->src;
	t->mip = j->mip;
	t->client = j->client;
	t->cell_box = vx_scale_cell_box(s, k->grid, k->cell.at);
	vx_scale_slab(j->src->meta, s, k->grid, k->cell.slab, &t->chan, &t->nchan);
	t->item.prio = j->prio;
	t->item.space = k->space;
	t->item.box = t->cell_box;
	t->item.morton = vx_morton(k->cell.at);
	vx_list_init(&t->parts);
	vx_list_push_back(&g->table[vx_cell_key_hash(k) % VX_TASK_BUCKETS], &t->in_table);
	if ((s->sharding && vx_shard_join_locked(g, t) < 0) || enqueue_locked(g, t) < 0) {
		vx_task_free_locked(g, t);
		return NULL;
	}
	return t;
}

struct vx_task *vx_task_new_index_locked(struct vx_engine *g, const struct vx_task *first, const struct vx_cell_key *k,
					 struct vx_shard_task *x)
{
	struct vx_task *t = spare_get(&g->spare_tasks, sizeof *t);

	vx_assert_held(&g->mtx);
	if (!t) {
		free(x);
		return NULL;
	}
	t->key = *k;
	t->src = first->src;
	t->mip = first->mip;
	t->client = first->client;
	t->cell_box = first->cell_box;
	t->item = (struct vx_tq_item){
	    .prio = first->item.prio, .space = first->item.space, .box = first->item.box, .morton = first->item.morton};
	vx_list_init(&t->parts);
	vx_list_push_back(&g->table[vx_cell_key_hash(k) % VX_TASK_BUCKETS], &t->in_table);
	t->shard = x;
	x->task = t;
	if (enqueue_locked(g, t) < 0) {
		vx_task_free_locked(g, t);
		return NULL;
	}
	vx_engine_wake_locked(g, 1);
	return t;
}

/* A chunk wanted ahead of time is now wanted at once. */
void vx_task_promote_locked(struct vx_engine *g, struct vx_task *t, enum vx_prio prio)
{
	enum vx_prio before = t->item.prio;

	if (prio >= t->item.prio)
		return;
	if (t->state == VX_TASK_WAITING)
		vx_task_promote_locked(g, t->shard->index, prio);
	if (!t->item.client) {
		t->item.prio = prio;
		return;
	}
	vx_tq_remove(vx_task_queue(g, t), &t->item);
	t->item.prio = prio;
	if (enqueue_locked(g, t) == 0)
		return;
	/* No memory for another turn: it stays where it was, whose record is there or just became spare. */
	t->item.prio = before;
	if (enqueue_locked(g, t) < 0)
		assert(!"its client's record is at hand");
}

/* ---- jobs ---- */

static bool has_ended(const struct vx_job *j)
{
	return j->live == 0 && (j->expanded || j->err.code);
}

void vx_jobs_end(struct vx_link *ended)
{
	while (!vx_list_empty(ended)) {
		struct vx_job *j = vx_list_entry(ended->next, struct vx_job, parts);

		vx_list_remove(&j->parts);
		j->done(j, &j->err);
	}
}

/* The channels of want `w` that lie in the task's slab. */
static void clip_channels(const struct vx_task *t, const struct vx_want *w, struct vx_part *p)
{
	uint32_t end = w->chan + w->nchan, slab_end = t->chan + t->nchan;

	p->chan = w->chan > t->chan ? w->chan : t->chan;
	p->nchan = (end < slab_end ? end : slab_end) - p->chan;
}

static int add_part_locked(struct vx_engine *g, struct vx_job *j, unsigned want, const struct vx_cell *cell)
{
	const struct vx_want *w = &j->want[want];
	struct vx_cell_key k = {.space = vx_source_space(j->src, j->mip), .grid = w->grid, .cell = *cell};
	struct vx_part *p = spare_get(&g->spare_parts, sizeof *p);
	struct vx_task *t = p ? vx_task_find_locked(g, &k) : NULL;

	if (!p)
		return -ENOMEM;
	if (t)
		VX_COUNT(chunks_merged);
	else
		t = task_new_locked(g, j, &k);
	if (!t) {
		spare_put(&g->spare_parts, p);
		return -ENOMEM;
	}
	vx_task_promote_locked(g, t, j->prio);
	vx_box_clip(&t->cell_box, &w->box, &p->box);
	clip_channels(t, w, p);
	p->job = j;
	p->task = t;
	p->want = want;
	vx_list_push_back(&t->parts, &p->in_task);
	vx_list_push_back(&j->parts, &p->in_job);
	j->live++;
	return 0;
}

/* Slab after slab: within one, all cells. */
static bool next_cell(struct vx_engine *g, struct vx_job *j, struct vx_cell *cell)
{
	const struct vx_scale *s = &j->src->meta->scales[j->mip];

	while (j->next_want < j->nwants) {
		const struct vx_want *w = &j->want[j->next_want];
		uint64_t lo[3], hi[3];
		uint32_t chunk_c = s->grids[w->grid].chunk_c;

		if (!j->started) {
			if (!j->slab_started)
				j->slab = w->chan / chunk_c;
			vx_scale_cells(s, w->grid, &w->box, lo, hi);
			vx_order_init(&j->order, lo, hi, g->opts.policy != VX_POLICY_FIFO);
			j->started = j->slab_started = true;
		}
		cell->slab = j->slab;
		cell->time = j->src->time;
		if (vx_order_next(&j->order, cell->at))
			return true;
		j->started = false;
		if (++j->slab <= (w->chan + w->nchan - 1) / chunk_c)
			continue;
		j->slab_started = false;
		j->next_want++;
	}
	j->expanded = true;
	return false;
}

static void expand_locked(struct vx_engine *g, struct vx_job *j, unsigned most)
{
	struct vx_cell cell;
	unsigned added = 0;

	while (added < most && j->live < LIVE_MAX && !j->err.code && next_cell(g, j, &cell)) {
		int r = add_part_locked(g, j, j->next_want, &cell);

		if (r < 0)
			vx_fail(&j->err, r, "no memory");
		added++;
	}
	vx_engine_wake_locked(g, added - (added && vx_is_worker));
}

/* What lies in shards comes in large steps, so that close chunks are queued together and share requests. */
static unsigned next_step(const struct vx_job *j)
{
	if (!j->src->meta->scales[j->mip].sharding || vx_store_is_local(j->src->store))
		return STEP;
	return j->live <= LIVE_MAX / 2 ? LIVE_MAX : 0;
}

/* Ends one part; its job may be due for more tasks, or over. */
static void settle_part_locked(struct vx_engine *g, struct vx_part *p, const struct vx_err *e, struct vx_link *ended)
{
	struct vx_job *j = p->job;

	if (p->code && !j->err.code) {
		j->err = *e;
		j->err.code = p->code;
	}
	vx_list_remove(&p->in_task);
	vx_list_remove(&p->in_job);
	spare_put(&g->spare_parts, p);
	j->live--;
	if (!j->expanded && !j->err.code)
		expand_locked(g, j, next_step(j));
	if (has_ended(j))
		vx_list_push_back(ended, &j->parts);
}

void vx_parts_settle_locked(struct vx_engine *g, struct vx_link *parts, const struct vx_err *e, struct vx_link *ended)
{
	vx_assert_held(&g->mtx);
	while (!vx_list_empty(parts))
		settle_part_locked(g, vx_list_entry(parts->next, struct vx_part, in_task), e, ended);
}

void vx_parts_fail_locked(struct vx_engine *g, struct vx_link *parts, const struct vx_err *e, struct vx_link *ended)
{
	for (struct vx_link *l = parts->next; l != parts; l = l->next)
		vx_list_entry(l, struct vx_part, in_task)->code = e->code;
	vx_parts_settle_locked(g, parts, e, ended);
}

void vx_engine_submit(struct vx_engine *g, struct vx_job *j)
{
	VX_LOCK_SCOPE(&g->mtx);
	vx_list_init(&j->parts);
	j->submitted = true;
	if (g->stopping)
		vx_fail(&j->err, -ESHUTDOWN, "the mount is ending");
	expand_locked(g, j, vx_store_is_local(j->src->store) ? FIRST_LOCAL : LIVE_MAX);
	if (!has_ended(j))
		return;
	vx_list_push_back(&g->ended, &j->parts);
	vx_engine_wake_locked(g, 1);
}

static bool request_is_wanted(const struct vx_request *r)
{
	for (struct vx_link *l = r->tasks.next; l != &r->tasks; l = l->next)
		if (vx_task_is_wanted(vx_list_entry(l, struct vx_task, in_request)))
			return true;
	return false;
}

static void unwanted_locked(struct vx_engine *g, struct vx_task *t)
{
	if (vx_task_is_wanted(t))
		return;
	if (t->state == VX_TASK_QUEUED && t->item.client) {
		vx_tq_remove(vx_task_queue(g, t), &t->item);
		vx_task_free_locked(g, t);
	} else if (t->state == VX_TASK_WAITING) {
		struct vx_task *index = t->shard->index;

		vx_task_free_locked(g, t);
		unwanted_locked(g, index);
	} else if (t->state == VX_TASK_FETCHING && t->request && !request_is_wanted(t->request)) {
		vx_store_cancel(&t->request->fetch);
	}
}

/* Takes a part off a task that no worker is serving; the task goes too when nobody else wants it. */
static void withdraw_locked(struct vx_engine *g, struct vx_part *p)
{
	struct vx_task *t = p->task;

	vx_list_remove(&p->in_task);
	vx_list_remove(&p->in_job);
	p->job->live--;
	spare_put(&g->spare_parts, p);
	unwanted_locked(g, t);
}

void vx_engine_cancel(struct vx_engine *g, struct vx_job *j)
{
	VX_LOCK_SCOPE(&g->mtx);
	struct vx_link *l, *tmp;

	if (j->submitted && has_ended(j))
		return; /* its done is on its way */
	vx_fail(&j->err, -ECANCELED, "nobody waits for it any more");
	if (!j->submitted)
		return; /* the submit will end it */
	vx_list_each_safe(l, tmp, &j->parts)
	{
		struct vx_part *p = vx_list_entry(l, struct vx_part, in_job);

		if (!p->taken)
			withdraw_locked(g, p);
	}
	if (has_ended(j)) {
		vx_list_push_back(&g->ended, &j->parts);
		vx_engine_wake_locked(g, 1);
	}
}

void vx_engine_call(struct vx_engine *g, struct vx_call *c)
{
	VX_LOCK_SCOPE(&g->mtx);
	vx_list_push_back(&g->calls, &c->link);
	vx_engine_wake_locked(g, 1);
}
