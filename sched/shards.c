/* SPDX-License-Identifier: Apache-2.0
 * From a chunk to its bytes in a shard.
 *
 * A waiting task belongs to its index's task: it is on no queue, and whoever finishes the index takes it along. An
 * index leaves the task table only after it is kept, and a chunk looks among kept indexes before it waits; one that
 * came too late for the one and too early for the other finds that an index has ended meanwhile, and looks again.
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

static _Atomic uint32_t *index_ends(struct vx_engine *g, const struct vx_shard_task *x)
{
	return &g->index_ends[vx_cell_key_hash(&x->object) % VX_OBJECT_BUCKETS];
}

void vx_shard_leave_locked(struct vx_engine *g, struct vx_task *t)
{
	struct vx_shard_task *x = vx_steal(t->shard);

	if (!x)
		return;
	assert(vx_list_empty(&x->waiters));
	if (x->level != VX_SHARD_CHUNK)
		++*index_ends(g, x);
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

static enum step from_kept_leaf(struct vx_engine *g, struct vx_task *t, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *leaf = NULL;
	struct vx_cell_key k = leaf_key(t);

	if (!vx_shard_has_leaves(sharding_of(t)) || !vx_cache_kept(g->cache, &k, &leaf))
		return NEEDS_ROOT;
	return from_last(t, leaf, e);
}

static enum step from_root(struct vx_engine *g, struct vx_task *t, const struct vx_buf *root, struct vx_err *e)
{
	struct vx_shard_task *x = t->shard;
	enum step s;
	int r;

	if (!vx_shard_has_leaves(sharding_of(t)))
		return from_last(t, root, e);
	r = vx_shard_leaf_span(sharding_of(t), &x->at, root, &x->span, e);
	if (r < 0)
		return FAILED;
	if (r == 0)
		return set_missing(e);
	x->version = vx_shard_index_of(root)->version;
	s = from_kept_leaf(g, t, e);
	return s == NEEDS_ROOT ? NEEDS_LEAF : s;
}

static enum step look_up(struct vx_engine *g, struct vx_task *t, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *root = NULL;
	struct vx_cell_key k = root_key(t);
	enum step s = from_kept_leaf(g, t, e);

	if (s != NEEDS_ROOT || !vx_cache_kept(g->cache, &k, &root))
		return s;
	return root ? from_root(g, t, root, e) : set_missing(e);
}

/* ---- forgetting ---- */

/* Before they are forgotten in memory: the root knows where the leaf is. */
static void forget_on_disk(struct vx_engine *g, const struct vx_task *t)
{
	VX_AUTO_BUF struct vx_buf *root = NULL;
	struct vx_span span = vx_shard_root_span(sharding_of(t), &t->shard->at);
	struct vx_cell_key k = root_key(t);
	struct vx_err e;

	if (!vx_store_is_cached(t->src->store))
		return;
	vx_task_distrust_span(t, &span);
	if (vx_shard_has_leaves(sharding_of(t)) && vx_cache_kept(g->cache, &k, &root) && root &&
	    vx_shard_leaf_span(sharding_of(t), &t->shard->at, root, &span, &e) > 0)
		vx_task_distrust_span(t, &span);
}

static void forget_indexes(struct vx_engine *g, const struct vx_task *t)
{
	struct vx_cell_key root = root_key(t), leaf = leaf_key(t);

	forget_on_disk(g, t);
	vx_cache_unkeep(g->cache, &root);
	if (vx_shard_has_leaves(sharding_of(t)))
		vx_cache_unkeep(g->cache, &leaf);
}

void vx_shard_distrust(struct vx_engine *g, const struct vx_task *t)
{
	if (t->shard)
		forget_indexes(g, t);
}

/* An entry that leads nowhere may be repaired by the time of the next wish. That there is no chunk is remembered. */
static void fail_at(struct vx_worker *w, struct vx_task *t, const struct vx_err *e)
{
	if (e->code == -EBADMSG)
		forget_indexes(w->engine, t);
	vx_task_fail(w, t, e);
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
	x->recheck = t->shard->recheck;
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

static void wait_at_locked(struct vx_engine *g, struct vx_task *t, struct vx_task *index)
{
	vx_task_promote_locked(g, index, t->item.prio);
	t->state = VX_TASK_WAITING;
	t->shard->index = index;
	vx_list_push_back(&index->shard->waiters, &t->shard->in_waiters);
}

/* `ends`: index_ends before it was looked up. -ENOMEM leaves the task to the caller. */
static int wait_locked(struct vx_engine *g, struct vx_task *t, enum step s, uint32_t ends)
{
	struct vx_cell_key k = s == NEEDS_LEAF ? leaf_key(t) : root_key(t);
	struct vx_task *index;

	vx_assert_held(&g->mtx);
	if (!vx_task_is_wanted(t)) {
		vx_task_free_locked(g, t);
		return 0;
	}
	index = vx_task_find_locked(g, &k);
	if (!index && ends != *index_ends(g, t->shard)) { /* perhaps the one it needs, which is kept now */
		vx_task_requeue_locked(g, t);
		return 0;
	}
	if (!index)
		index = new_index_locked(g, t, s == NEEDS_LEAF ? VX_SHARD_LEAF : VX_SHARD_ROOT, &k);
	if (!index)
		return -ENOMEM;
	wait_at_locked(g, t, index);
	return 0;
}

/* Once it knows its place it goes to the end of its client's line: by its next turn those before it know theirs, and
 * close ones can share a request. */
void vx_shard_requeue(struct vx_engine *g, struct vx_task *t)
{
	VX_LOCK_SCOPE(&g->mtx);
	if (vx_task_is_wanted(t))
		vx_task_requeue_locked(g, t);
	else
		vx_task_free_locked(g, t);
}

static bool wait_for_index(struct vx_engine *g, struct vx_task *t, enum step s, uint32_t ends)
{
	VX_LOCK_SCOPE(&g->mtx);
	return wait_locked(g, t, s, ends) == 0;
}

bool vx_shard_locate(struct vx_worker *w, struct vx_task *t)
{
	struct vx_engine *g = w->engine;
	struct vx_err e = {0};
	enum step s = LOCATED;
	uint32_t ends = *index_ends(g, t->shard);

	if (t->shard->located)
		return true;
	s = look_up(g, t, &e);
	if (s == NEEDS_ROOT || s == NEEDS_LEAF) {
		if (wait_for_index(g, t, s, ends))
			return false;
		vx_no_memory(&e);
		s = FAILED;
	} else {
		VX_COUNT(shards_index_hits);
	}
	if (s == FAILED) {
		fail_at(w, t, &e);
		return false;
	}
	if (vx_store_is_local(t->src->store))
		return true;
	vx_shard_requeue(g, t);
	return false;
}

/* ---- answers ---- */

/* Forgets its place; false when it did so too often. */
static bool start_again(struct vx_shard_task *x)
{
	x->located = x->looked = false;
	x->recheck = true;
	return ++x->tries <= TRIES_MAX;
}

static void cut(struct vx_task *t, struct vx_fetched *got)
{
	struct vx_buf *body = vx_steal(got->body);

	got->body = vx_buf_slice(body, t->shard->cut, t->shard->span.len);
	vx_buf_put(body);
	if (got->body)
		vx_task_keep_span(t, got);
	else
		vx_no_memory(&got->err);
}

/* Whether the answer contradicts the index that led to it. The object may have become shorter, too. */
static bool is_stale(const struct vx_shard_task *x, const struct vx_fetched *got)
{
	struct vx_shard_version now = version_of(got);

	if (x->level == VX_SHARD_ROOT)
		return false;
	if (got->err.code)
		return got->err.code == -ENODATA || got->err.code == -EBADMSG;
	return !vx_shard_same(&x->version, &now);
}

/* What became of an index. */
struct outcome {
	struct vx_buf *index; /* NULL without an error: the shard does not exist */
	struct vx_err err;
	bool stale; /* who waits may start again instead of failing */
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
	struct vx_err e = o->err;
	enum step s = FAILED;

	if (t->shard->located)
		s = LOCATED; /* it was only waiting for company */
	else if (o->stale)
		s = start_again(t->shard) ? LOCATED : FAILED; /* not located, but queued like those that are */
	else if (!e.code && !o->index)
		s = set_missing(&e);
	else if (!e.code)
		s = level == VX_SHARD_LEAF ? from_last(t, o->index, &e) : from_root(w->engine, t, o->index, &e);
	if (s == FAILED)
		fail_at(w, t, &e);
	else
		vx_list_push_back(s == LOCATED ? ready : need_leaf, &t->shard->in_waiters);
}

static struct vx_task *pop_waiter(struct vx_link *list)
{
	struct vx_shard_task *x = vx_list_entry(list->next, struct vx_shard_task, in_waiters);

	vx_list_remove(&x->in_waiters);
	return x->task;
}

/* Another index of the shard that has come and is about to release its own waiters, which may stand close by: indexes
 * that shared a request come at once and are read one after another. */
static struct vx_task *find_arrived_index_locked(struct vx_engine *g, const struct vx_cell_key *object)
{
	struct vx_link *head = &g->objects[vx_cell_key_hash(object) % VX_OBJECT_BUCKETS];

	for (struct vx_link *l = head->next; l != head; l = l->next) {
		struct vx_shard_task *x = vx_list_entry(l, struct vx_shard_task, in_object);

		if (x->level == VX_SHARD_LEAF && x->task->state == VX_TASK_ARRIVED &&
		    vx_cell_key_equal(&x->object, object))
			return x->task;
	}
	return NULL;
}

static void queue_ready_locked(struct vx_engine *g, struct vx_link *ready)
{
	struct vx_task *first = vx_list_entry(ready->next, struct vx_shard_task, in_waiters)->task;
	struct vx_task *index = find_arrived_index_locked(g, &first->shard->object);

	while (!vx_list_empty(ready)) {
		struct vx_task *t = pop_waiter(ready);

		if (!vx_task_is_wanted(t))
			vx_task_free_locked(g, t);
		else if (index && t->shard->located)
			wait_at_locked(g, t, index);
		else
			vx_task_requeue_locked(g, t);
	}
}

static void queue_waiters(struct vx_worker *w, struct vx_link *ready, struct vx_link *need_leaf, uint32_t ends)
{
	struct vx_engine *g = w->engine;
	struct vx_link failed;
	struct vx_err e;

	vx_list_init(&failed);
	{
		VX_LOCK_SCOPE(&g->mtx);
		if (!vx_list_empty(ready))
			queue_ready_locked(g, ready);
		while (!vx_list_empty(need_leaf)) {
			struct vx_task *t = pop_waiter(need_leaf);

			if (wait_locked(g, t, NEEDS_LEAF, ends) < 0)
				vx_list_push_back(&failed, &t->shard->in_waiters);
		}
	}
	vx_no_memory(&e);
	while (!vx_list_empty(&failed))
		vx_task_fail(w, pop_waiter(&failed), &e);
}

/* Lets those who wait go on. The index's task goes first: nobody who comes after the first answer shall hear of a
 * failure that was before. */
static void release_waiters(struct vx_worker *w, struct vx_task *t, const struct outcome *o)
{
	struct vx_engine *g = w->engine;
	enum vx_shard_level level = t->shard->level;
	struct vx_link waiters, ready, need_leaf;
	uint32_t ends = 0;

	vx_list_init(&waiters);
	vx_list_init(&ready);
	vx_list_init(&need_leaf);
	{
		VX_LOCK_SCOPE(&g->mtx);
		vx_list_splice(&waiters, &t->shard->waiters);
		vx_task_free_locked(g, t);
		for (struct vx_link *l = waiters.next; l != &waiters; l = l->next) {
			struct vx_shard_task *x = vx_list_entry(l, struct vx_shard_task, in_waiters);

			x->index = NULL;
			x->task->state = VX_TASK_RUNNING;
			ends = *index_ends(g, x); /* the same for all */
		}
	}
	while (!vx_list_empty(&waiters))
		go_on(w, pop_waiter(&waiters), level, o, &ready, &need_leaf);
	queue_waiters(w, &ready, &need_leaf, ends);
}

bool vx_shard_accept(struct vx_worker *w, struct vx_task *t, struct vx_fetched *got)
{
	struct vx_shard_task *x = t->shard;

	if (got->err.code == -EBADMSG && x->merged) {
		x->alone = true;
		vx_shard_requeue(w->engine, t);
		return false;
	}
	if (!is_stale(x, got)) {
		if (got->body && x->merged)
			cut(t, got);
		return true;
	}
	forget_indexes(w->engine, t);
	vx_buf_put(vx_steal(got->body));
	if (got->err.code != -EBADMSG)
		vx_fail(&got->err, -EIO, "the shard was replaced again and again while it was read");
	if (x->level == VX_SHARD_LEAF) {
		release_waiters(w, t, &(struct outcome){.err = got->err, .stale = true});
		return false;
	}
	if (!start_again(x))
		return true;
	vx_shard_requeue(w->engine, t);
	return false;
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

	if (!got->err.code)
		vx_task_mark(w, t, &got->err);
	read_index(w->engine, t, got, &o);
	vx_task_unmark(w);
	vx_buf_put(vx_steal(got->body));
	if (!o.err.code) {
		VX_COUNT(shards_index_misses);
		vx_cache_keep(w->engine->cache, &t->key, o.index);
	} else if (!got->err.code) {
		vx_task_distrust(w->engine, t); /* which forgets the indexes, too */
	} else {
		forget_indexes(w->engine, t);
	}
	release_waiters(w, t, &o);
	vx_buf_put(o.index);
}
