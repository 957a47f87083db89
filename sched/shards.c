/* SPDX-License-Identifier: Apache-2.0
 * From a chunk to its bytes in a shard, and from queued chunks to few requests.
 *
 * A waiting task belongs to its index's task: it is on no queue, and whoever finishes the index takes it along. An
 * index leaves the task table only after it is kept, and a chunk looks among kept indexes before it waits; one that
 * came too late for the one and too early for the other makes a new task for the index, which finds it kept.
 *
 * An index may be older than the bytes it leads to. What the store says of the object with each answer is compared;
 * when it differs, the indexes are forgotten and the chunk starts again.
 */
#include "sched/shards.h"
#include "base/hash.h"
#include "base/ledger.h"
#include "sched/engine_impl.h"

#include <stdio.h>
#include <string.h>

/* Bits of vx_cell_key.grid that no grid has. */
#define KEY_ROOT (1u << 30)
#define KEY_LEAF (1u << 31)

#define TRIES_MAX 2
#define SCAN 512 /* tasks to either side of one, in the order in which they came, that are looked at for company */
#define OTHER_LEAVES 16 /* leaves that are looked up for company */

/* ---- names ---- */

static struct vx_cell_key key_of(const struct vx_shard_task *x, uint32_t space, unsigned level_bit, uint64_t number)
{
	struct vx_cell_key k = {.space = space, .grid = x->grid | level_bit, .cell = {.slab = x->at.slab}};

	memcpy(k.cell.at, x->at.shard, sizeof k.cell.at);
	if (level_bit)
		k.cell.at[1] += number; /* only Precomputed has more than one, and its shards have one number */
	return k;
}

static const struct vx_sharding *sharding_of(const struct vx_task *t)
{
	return vx_task_scale(t)->sharding;
}

static struct vx_cell_key root_key(const struct vx_task *t)
{
	return key_of(t->shard, t->key.space, KEY_ROOT, vx_shard_root_block(sharding_of(t), &t->shard->at));
}

static struct vx_cell_key leaf_key(const struct vx_task *t)
{
	return key_of(t->shard, t->key.space, KEY_LEAF, t->shard->at.minishard);
}

static struct vx_shard_version version_of(const struct vx_fetched *got)
{
	struct vx_shard_version v = {.total = got->total};

	for (const char *c = got->etag; *c; c++)
		v.etag = vx_hash_add(v.etag, (unsigned char)*c);
	return v;
}

/* ---- membership ---- */

static void enter_locked(struct vx_engine *g, struct vx_shard_task *x)
{
	x->object = key_of(x, x->task->key.space, 0, 0);
	vx_list_init(&x->waiters);
	vx_list_init(&x->in_waiters);
	vx_list_push_back(&g->objects[vx_cell_key_hash(&x->object) % VX_OBJECT_BUCKETS], &x->in_object);
}

int vx_shard_join_locked(struct vx_engine *g, struct vx_task *t)
{
	const struct vx_scale *s = vx_task_scale(t);
	struct vx_shard_task *x = calloc(1, sizeof *x);

	vx_assert_held(&g->mtx);
	if (!x)
		return -ENOMEM;
	x->task = t;
	x->level = VX_SHARD_CHUNK;
	x->grid = t->key.grid;
	x->cell = t->key.cell;
	vx_shard_find(s->sharding, s->grids[x->grid].cells, x->cell.at, x->cell.slab, &x->at);
	vx_shard_find_time(s->sharding, x->cell.time, &x->at);
	t->shard = x;
	enter_locked(g, x);
	return 0;
}

void vx_shard_leave_locked(struct vx_task *t)
{
	struct vx_shard_task *x = vx_steal(t->shard);

	if (!x)
		return;
	assert(vx_list_empty(&x->waiters));
	vx_list_remove(&x->in_object);
	vx_list_remove(&x->in_waiters);
	free(x);
}

void vx_shard_fail_waiters_locked(struct vx_engine *g, struct vx_task *t, const struct vx_err *e)
{
	while (t->shard && !vx_list_empty(&t->shard->waiters)) {
		struct vx_task *u = vx_list_entry(t->shard->waiters.next, struct vx_shard_task, in_waiters)->task;

		vx_parts_fail_locked(g, &u->parts, e, &g->ended);
		vx_task_free_locked(g, u);
	}
}

/* ---- looking up ---- */

enum step {
	FAILED = -1, /* `e` says why; -ENODATA: the shard does not have it */
	LOCATED,
	NEEDS_LEAF, /* of which x->span says where it is */
	NEEDS_ROOT,
};

static enum step set_missing(struct vx_err *e)
{
	e->code = -ENODATA;
	return FAILED;
}

static enum step from_last(struct vx_task *t, const struct vx_buf *index, struct vx_err *e)
{
	struct vx_shard_task *x = t->shard;
	int r = vx_shard_chunk_span(sharding_of(t), &x->at, index, vx_task_most_stored(t), &x->span, e);

	if (r < 0)
		return FAILED;
	if (r == 0)
		return set_missing(e);
	x->version = vx_shard_index_of(index)->version;
	x->located = true;
	return LOCATED;
}

/* *ret: a reference to the index that said where the chunk is, if any did. */
static enum step from_kept_leaf(struct vx_engine *g, struct vx_task *t, struct vx_buf **ret, struct vx_err *e)
{
	struct vx_cell_key k = leaf_key(t);

	if (!vx_shard_has_leaves(sharding_of(t)) || !vx_cache_kept(g->cache, &k, ret))
		return NEEDS_ROOT;
	return from_last(t, *ret, e);
}

static enum step from_root(struct vx_engine *g, struct vx_task *t, struct vx_buf *root, struct vx_buf **ret,
			   struct vx_err *e)
{
	struct vx_shard_task *x = t->shard;
	enum step s;
	int r;

	if (!vx_shard_has_leaves(sharding_of(t))) {
		*ret = vx_buf_ref(root);
		return from_last(t, root, e);
	}
	r = vx_shard_leaf_span(sharding_of(t), &x->at, root, &x->span, e);
	if (r < 0)
		return FAILED;
	if (r == 0)
		return set_missing(e);
	x->version = vx_shard_index_of(root)->version;
	s = from_kept_leaf(g, t, ret, e);
	return s == NEEDS_ROOT ? NEEDS_LEAF : s;
}

static enum step look_up(struct vx_engine *g, struct vx_task *t, struct vx_buf **ret, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *root = NULL;
	struct vx_cell_key k = root_key(t);
	enum step s = from_kept_leaf(g, t, ret, e);

	if (s != NEEDS_ROOT || !vx_cache_kept(g->cache, &k, &root))
		return s;
	return root ? from_root(g, t, root, ret, e) : set_missing(e);
}

/* ---- waiting for an index ---- */

static struct vx_task *new_index_locked(struct vx_engine *g, struct vx_task *t, enum vx_shard_level level,
					const struct vx_cell_key *k)
{
	struct vx_shard_task *x = calloc(1, sizeof *x);
	struct vx_task *index;

	if (!x)
		return NULL;
	x->level = level;
	x->grid = t->shard->grid;
	x->cell = t->shard->cell;
	x->at = t->shard->at;
	x->located = true;
	if (level == VX_SHARD_ROOT) {
		x->span = vx_shard_root_span(sharding_of(t), &x->at);
	} else {
		x->span = t->shard->span;
		x->version = t->shard->version;
	}
	vx_list_init(&x->in_object);
	vx_list_init(&x->in_waiters);
	vx_list_init(&x->waiters);
	index = vx_task_new_index_locked(g, t, k, x);
	if (index)
		enter_locked(g, x);
	return index;
}

/* -ENOMEM leaves the task to the caller. */
static int wait_locked(struct vx_engine *g, struct vx_task *t, enum step s)
{
	struct vx_cell_key k = s == NEEDS_LEAF ? leaf_key(t) : root_key(t);
	struct vx_task *index;

	vx_assert_held(&g->mtx);
	if (!vx_task_is_wanted(t)) {
		vx_task_free_locked(g, t);
		return 0;
	}
	index = vx_task_find_locked(g, &k);
	if (!index)
		index = new_index_locked(g, t, s == NEEDS_LEAF ? VX_SHARD_LEAF : VX_SHARD_ROOT, &k);
	if (!index)
		return -ENOMEM;
	vx_task_promote_locked(g, index, t->item.prio);
	t->state = VX_TASK_WAITING;
	t->shard->index = index;
	vx_list_push_back(&index->shard->waiters, &t->shard->in_waiters);
	return 0;
}

/* ---- company ---- */

static bool is_queued_chunk_of(const struct vx_shard_task *x, const struct vx_cell_key *object)
{
	return x->level == VX_SHARD_CHUNK && x->task->state == VX_TASK_QUEUED && vx_cell_key_equal(&x->object, object);
}

/* Calls `f` for tasks near `x` in its shard, until it returns false. */
static void each_near_locked(struct vx_engine *g, struct vx_shard_task *x,
			     bool (*f)(void *ctx, struct vx_shard_task *near), void *ctx)
{
	struct vx_link *head = &g->objects[vx_cell_key_hash(&x->object) % VX_OBJECT_BUCKETS], *l;
	unsigned n = 0;

	for (l = x->in_object.next; l != head && n < SCAN; l = l->next, n++)
		if (!f(ctx, vx_list_entry(l, struct vx_shard_task, in_object)))
			return;
	n = 0;
	for (l = x->in_object.prev; l != head && n < SCAN; l = l->prev, n++)
		if (!f(ctx, vx_list_entry(l, struct vx_shard_task, in_object)))
			return;
}

struct company {
	const struct vx_shard_task *of;
	const struct vx_buf *index; /* of this minishard */
	uint64_t minishard;
	uint64_t seen[OTHER_LEAVES]; /* minishards that were looked up */
	unsigned nseen;
	struct vx_task *unseen;
};

static bool was_seen(const struct company *c, uint64_t minishard)
{
	for (unsigned i = 0; i < c->nseen; i++)
		if (c->seen[i] == minishard)
			return true;
	return false;
}

/* What cannot be located will find out when its own turn comes. */
static bool locate_near(void *ctx, struct vx_shard_task *x)
{
	struct company *c = ctx;
	struct vx_err e;

	if (x->located || !is_queued_chunk_of(x, &c->of->object))
		return true;
	if (c->index && x->at.minishard == c->minishard)
		from_last(x->task, c->index, &e);
	else if (!c->unseen && !was_seen(c, x->at.minishard))
		c->unseen = x->task;
	return true;
}

/* Tells queued tasks of the same shard their places, as far as the indexes are here, so that they may come along. */
static void locate_company(struct vx_engine *g, const struct vx_task *t, const struct vx_buf *index)
{
	struct company c = {.of = t->shard, .index = index, .minishard = t->shard->at.minishard};
	struct vx_buf *other = NULL;
	struct vx_cell_key k;

	for (;;) {
		c.seen[c.nseen++] = c.minishard;
		c.unseen = NULL;
		{
			VX_LOCK_SCOPE(&g->mtx);
			each_near_locked(g, t->shard, locate_near, &c);
			if (c.unseen) {
				c.minishard = c.unseen->shard->at.minishard;
				k = leaf_key(c.unseen);
			}
		}
		vx_buf_put(vx_steal(other));
		if (!c.unseen || c.nseen == OTHER_LEAVES)
			return;
		c.index = vx_cache_kept(g->cache, &k, &other) ? other : NULL;
	}
}

bool vx_shard_locate(struct vx_worker *w, struct vx_task *t)
{
	VX_AUTO_BUF struct vx_buf *index = NULL;
	struct vx_engine *g = w->engine;
	struct vx_err e = {0};
	enum step s = LOCATED;

	if (t->shard->located)
		return true;
	s = look_up(g, t, &index, &e);
	if (s == NEEDS_ROOT || s == NEEDS_LEAF) {
		VX_LOCK_SCOPE(&g->mtx);
		if (wait_locked(g, t, s) == 0)
			return false;
		vx_fail(&e, -ENOMEM, "no memory");
		s = FAILED;
	} else {
		VX_COUNT(shards_index_hits);
	}
	if (s == FAILED) {
		vx_task_fail(w, t, &e);
		return false;
	}
	if (!vx_store_is_local(t->src->store))
		locate_company(g, t, index);
	return true;
}

struct run {
	const struct vx_cell_key *object;
	struct vx_shard_task *member[2 * SCAN + 1];
	unsigned n;
};

static bool may_share(const struct vx_shard_task *x)
{
	return x->located && !x->alone && !x->span.suffix;
}

static bool add_near(void *ctx, struct vx_shard_task *x)
{
	struct run *r = ctx;

	if (may_share(x) && x->task->state == VX_TASK_QUEUED && x->task->item.client &&
	    vx_cell_key_equal(&x->object, r->object))
		r->member[r->n++] = x;
	return true;
}

static int by_offset(const void *a, const void *b)
{
	uint64_t x = (*(struct vx_shard_task *const *)a)->span.off, y = (*(struct vx_shard_task *const *)b)->span.off;

	return x < y ? -1 : x > y;
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
	each_near_locked(g, t->shard, add_near, &r);
	qsort(r.member, r.n, sizeof *r.member, by_offset);
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
	req->fetch.range.off = span.off;
	req->fetch.range.len = req->fetch.cap = req->fetch.expect = span.len;
}

/* ---- answers ---- */

static void forget_indexes(struct vx_engine *g, const struct vx_task *t)
{
	struct vx_cell_key root = root_key(t), leaf = leaf_key(t);

	vx_cache_unkeep(g->cache, &root);
	if (vx_shard_has_leaves(sharding_of(t)))
		vx_cache_unkeep(g->cache, &leaf);
}

void vx_shard_distrust(struct vx_engine *g, const struct vx_task *t)
{
	if (t->shard)
		forget_indexes(g, t);
}

/* True when it may start again. */
static bool try_again(struct vx_shard_task *x, struct vx_err *e)
{
	x->located = false;
	if (++x->tries <= TRIES_MAX)
		return true;
	vx_fail(e, -EIO, "the shard was replaced again and again while it was read");
	return false;
}

static void cut(struct vx_task *t, struct vx_fetched *got)
{
	struct vx_buf *body = vx_steal(got->body);

	got->body = vx_buf_slice(body, t->shard->cut, t->shard->span.len);
	vx_buf_put(body);
	if (!got->body)
		vx_fail(&got->err, -ENOMEM, "no memory");
}

static void requeue(struct vx_engine *g, struct vx_task *t)
{
	VX_LOCK_SCOPE(&g->mtx);
	if (vx_task_is_wanted(t))
		vx_task_requeue_locked(g, t);
	else
		vx_task_free_locked(g, t);
}

/* Whether the answer contradicts the index that led to it. */
static bool is_stale(const struct vx_shard_task *x, const struct vx_fetched *got)
{
	struct vx_shard_version now = version_of(got);

	if (x->level == VX_SHARD_ROOT)
		return false;
	if (got->err.code == -EBADMSG) /* the object may have become shorter: worth one look */
		return x->level == VX_SHARD_CHUNK && x->tries == 0;
	return got->err.code == -ENODATA || (!got->err.code && !vx_shard_same(&x->version, &now));
}

bool vx_shard_accept(struct vx_worker *w, struct vx_task *t, struct vx_fetched *got)
{
	struct vx_shard_task *x = t->shard;

	if (got->err.code == -EBADMSG && x->merged) {
		x->alone = true;
		requeue(w->engine, t);
		return false;
	}
	if (!is_stale(x, got)) {
		if (got->body && x->merged)
			cut(t, got);
		return true;
	}
	forget_indexes(w->engine, t);
	vx_buf_put(vx_steal(got->body));
	if (x->level == VX_SHARD_LEAF) {
		vx_fail(&got->err, -ESTALE, "the shard was replaced"); /* those who wait start again */
		return true;
	}
	if (!try_again(x, &got->err))
		return true;
	requeue(w->engine, t);
	return false;
}

/* What became of an index. */
struct outcome {
	struct vx_buf *index; /* NULL without an error: the shard does not exist */
	struct vx_err err;
};

static void read_index(struct vx_engine *g, struct vx_task *t, struct vx_fetched *got, struct outcome *o)
{
	struct vx_shard_task *x = t->shard;
	struct vx_shard_version v = version_of(got);

	if (got->err.code == -ENODATA && x->level == VX_SHARD_ROOT)
		return;
	if (got->err.code) {
		o->err = got->err;
		return;
	}
	v.total = v.total ? v.total : x->version.total;
	v.etag = v.etag ? v.etag : x->version.etag;
	if (x->level == VX_SHARD_ROOT)
		vx_shard_root_new(g->pool, sharding_of(t), &x->at, &v, got->body->data, got->body->len, &o->index,
				  &o->err);
	else
		vx_shard_leaf_new(g->pool, sharding_of(t), &x->at, &v, got->body, &o->index, &o->err);
}

/* One task that waited. Where the lock must be taken next it goes to one of the lists, so that all do so at once and
 * find each other queued. */
static void go_on(struct vx_worker *w, struct vx_task *t, enum vx_shard_level level, const struct outcome *o,
		  struct vx_link *ready, struct vx_link *need_leaf)
{
	VX_AUTO_BUF struct vx_buf *index = NULL;
	struct vx_err e = o->err;
	enum step s = FAILED;

	if (e.code == -ESTALE && try_again(t->shard, &e))
		s = LOCATED; /* not really: but queued like one */
	else if (!e.code && !o->index)
		s = set_missing(&e);
	else if (!e.code)
		s = level == VX_SHARD_LEAF ? from_last(t, o->index, &e) : from_root(w->engine, t, o->index, &index, &e);
	if (s == FAILED)
		vx_task_fail(w, t, &e);
	else
		vx_list_push_back(s == LOCATED ? ready : need_leaf, &t->shard->in_waiters);
}

static struct vx_task *pop_waiter(struct vx_link *list)
{
	struct vx_shard_task *x = vx_list_entry(list->next, struct vx_shard_task, in_waiters);

	vx_list_remove(&x->in_waiters);
	return x->task;
}

static void queue_waiters(struct vx_worker *w, struct vx_link *ready, struct vx_link *need_leaf)
{
	struct vx_engine *g = w->engine;
	struct vx_link failed;
	struct vx_err e;

	vx_list_init(&failed);
	{
		VX_LOCK_SCOPE(&g->mtx);
		while (!vx_list_empty(ready)) {
			struct vx_task *t = pop_waiter(ready);

			if (vx_task_is_wanted(t))
				vx_task_requeue_locked(g, t);
			else
				vx_task_free_locked(g, t);
		}
		while (!vx_list_empty(need_leaf)) {
			struct vx_task *t = pop_waiter(need_leaf);

			if (wait_locked(g, t, NEEDS_LEAF) < 0)
				vx_list_push_back(&failed, &t->shard->in_waiters);
		}
	}
	vx_fail(&e, -ENOMEM, "no memory");
	while (!vx_list_empty(&failed))
		vx_task_fail(w, pop_waiter(&failed), &e);
}

/* Lets those who wait go on, and those who come meanwhile. Frees the index's task. */
static void release_waiters(struct vx_worker *w, struct vx_task *t, const struct outcome *o)
{
	struct vx_engine *g = w->engine;
	enum vx_shard_level level = t->shard->level;
	struct vx_link waiters, ready, need_leaf;
	bool over;

	vx_list_init(&waiters);
	vx_list_init(&ready);
	vx_list_init(&need_leaf);
	do {
		{
			VX_LOCK_SCOPE(&g->mtx);
			vx_list_splice(&waiters, &t->shard->waiters);
			for (struct vx_link *l = waiters.next; l != &waiters; l = l->next) {
				struct vx_shard_task *x = vx_list_entry(l, struct vx_shard_task, in_waiters);

				x->index = NULL;
				x->task->state = VX_TASK_RUNNING;
			}
			over = vx_list_empty(&waiters);
			if (over)
				vx_task_free_locked(g, t);
		}
		while (!vx_list_empty(&waiters))
			go_on(w, pop_waiter(&waiters), level, o, &ready, &need_leaf);
		queue_waiters(w, &ready, &need_leaf);
	} while (!over);
}

void vx_index_start(struct vx_worker *w, struct vx_task *t)
{
	struct vx_engine *g = w->engine;
	struct outcome o = {0};

	if (!vx_cache_kept(g->cache, &t->key, &o.index)) {
		vx_task_ask(w, t);
		return;
	}
	release_waiters(w, t, &o);
	vx_buf_put(o.index);
}

void vx_index_got(struct vx_worker *w, struct vx_task *t, struct vx_fetched *got)
{
	struct outcome o = {0};

	read_index(w->engine, t, got, &o);
	vx_buf_put(vx_steal(got->body));
	if (o.err.code) {
		forget_indexes(w->engine, t);
	} else {
		VX_COUNT(shards_index_misses);
		vx_cache_keep(w->engine->cache, &t->key, o.index);
	}
	release_waiters(w, t, &o);
	vx_buf_put(o.index);
}
