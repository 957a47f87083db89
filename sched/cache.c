/* SPDX-License-Identifier: Apache-2.0
 * The table of boxes, the budget and eviction. The order of steps in evict_box is what keeps a reader's bytes right:
 * each line is there because of a race named in ARCHITECTURE.md, "Giving memory back".
 */
#include "sched/cache.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/ledger.h"
#include "sched/cache_impl.h"

#define PROBE_FIRST_NS (100 * VX_MS)
#define PROBE_MAX_NS (2 * VX_SEC)
#define READY_POOL_SHARE 4   /* of what is ready, this part is for chunk buffers */
#define READY_REGIONS_MIN 4u /* even with no budget left: beyond it, but little */

int vx_cache_new(struct vx_cache **ret, uint64_t limit, struct vx_pool *pool, struct vx_arena *arena, struct vx_err *e)
{
	struct vx_cache *c = calloc(1, sizeof *c);
	int r;

	if (!c) {
		vx_arena_free(&arena);
		return vx_fail(e, -ENOMEM, "no memory for the cache's tables");
	}
	c->arena = arena;
	c->limit = limit;
	c->pool = pool;
	vx_mutex_init(&c->mtx, VX_RANK_CACHE);
	vx_evict_init(&c->evict);
	for (unsigned i = 0; i < VX_BOX_BUCKETS; i++)
		vx_list_init(&c->boxes[i]);
	for (unsigned i = 0; i < VX_KEPT_BUCKETS; i++)
		vx_list_init(&c->kept[i]);
	vx_list_init(&c->suspects);
	vx_list_init(&c->undo);
	r = vx_index_new(&c->index);
	if (r == 0 && !c->arena)
		r = vx_arena_new(&c->arena, limit, e);
	if (r < 0) {
		vx_cache_free(&c);
		return r;
	}
	*ret = c;
	return 0;
}

struct vx_arena *vx_cache_arena(struct vx_cache *c)
{
	return c->arena;
}

struct vx_mutex *vx_cache_lock(struct vx_cache *c)
{
	return &c->mtx;
}

uint64_t vx_cache_limit(const struct vx_cache *c)
{
	return c->limit;
}

void vx_cache_on_revived(struct vx_cache *c, void (*f_locked)(void *ctx, struct vx_cbox *b), void *ctx)
{
	c->on_revived_locked = f_locked;
	c->on_revived_ctx = ctx;
}

/* ---- the table ---- */

static uint64_t box_hash(const struct vx_source *src, unsigned mip, const struct vx_box *box)
{
	return vx_hash_add(vx_box_hash(box), vx_source_space(src, mip));
}

struct vx_cbox *vx_cache_find_locked(struct vx_cache *c, const struct vx_source *src, unsigned mip,
				     const struct vx_box *box)
{
	struct vx_link *head = &c->boxes[box_hash(src, mip, box) % VX_BOX_BUCKETS], *l;

	vx_assert_held(&c->mtx);
	for (l = head->next; l != head; l = l->next) {
		struct vx_cbox *b = vx_list_entry(l, struct vx_cbox, in_table);

		if (b->src == src && b->mip == mip && vx_box_equal(&b->box, box))
			return b;
	}
	return NULL;
}

struct vx_cbox *vx_cache_add_locked(struct vx_cache *c, struct vx_source *src, unsigned mip, const struct vx_box *box,
				    uint64_t bytes)
{
	struct vx_cbox *b = calloc(1, sizeof *b);

	vx_assert_held(&c->mtx);
	if (!b)
		return NULL;
	b->src = src;
	b->mip = mip;
	b->box = *box;
	b->bytes = bytes;
	b->object.fd = -1;
	b->item.kind = VX_ITEM_BOX;
	b->item.bytes = vx_object_charge(bytes);
	b->item.hash = box_hash(src, mip, box);
	b->place.space = vx_source_space(src, mip);
	b->place.box = *box;
	vx_list_init(&b->waiters);
	vx_list_init(&b->in_suspects);
	vx_list_init(&b->in_undo);
	vx_list_init(&b->in_starving);
	vx_list_init(&b->item.link);
	vx_list_push_back(&c->boxes[b->item.hash % VX_BOX_BUCKETS], &b->in_table);
	return b;
}

void vx_cache_drop_locked(struct vx_cache *c, struct vx_cbox *b)
{
	vx_assert_held(&c->mtx);
	assert(b->state == VX_BOX_EMPTY && !b->opens && !b->map_users && vx_list_empty(&b->waiters) && !b->indexed);
	vx_list_remove(&b->in_table);
	vx_list_remove(&b->in_starving);
	free((void *)b->landed);
	free(b);
}

void vx_cache_each_whole(struct vx_cache *c, const struct vx_source *src, unsigned mip,
			 void (*f)(void *ctx, const struct vx_box *box, uint64_t bytes), void *ctx)
{
	VX_LOCK_SCOPE(&c->mtx);
	for (unsigned i = 0; i < VX_BOX_BUCKETS; i++)
		for (struct vx_link *l = c->boxes[i].next; l != &c->boxes[i]; l = l->next) {
			struct vx_cbox *b = vx_list_entry(l, struct vx_cbox, in_table);

			if (b->src == src && b->mip == mip && (b->state == VX_BOX_READY || b->state == VX_BOX_DYING))
				f(ctx, &b->box, b->bytes);
		}
}

/* ---- pins ---- */

static void suspect_clear_locked(struct vx_cbox *b)
{
	b->suspect = false;
	vx_list_remove(&b->in_suspects);
}

static void suspect_until_locked(struct vx_cache *c, struct vx_cbox *b, uint64_t backoff_ns)
{
	b->suspect = true;
	b->backoff_ns = vx_min_u64(backoff_ns, PROBE_MAX_NS);
	b->probe_ns = vx_now_ns() + b->backoff_ns;
	vx_list_remove(&b->in_suspects);
	vx_list_push_back(&c->suspects, &b->in_suspects);
}

void vx_cache_opened_locked(struct vx_cache *c, struct vx_cbox *b, uint32_t n)
{
	vx_assert_held(&c->mtx);
	assert(b->state == VX_BOX_READY);
	vx_evict_pin(&c->evict, &b->item);
	vx_evict_touch(&b->item);
	suspect_clear_locked(b);
	b->opens += n;
}

void vx_cache_closed_locked(struct vx_cache *c, struct vx_cbox *b)
{
	vx_assert_held(&c->mtx);
	assert(b->opens > 0 && b->state == VX_BOX_READY);
	if (--b->opens)
		return;
	/* A map may live on after the last close where the kernel maps the object itself. */
	if (vx_arena_shares(c->arena))
		suspect_until_locked(c, b, PROBE_FIRST_NS);
	if (!b->map_users)
		vx_evict_unpin(&c->evict, &b->item);
}

int vx_cache_share_locked(struct vx_cache *c, struct vx_cbox *b, struct vx_err *e)
{
	vx_assert_held(&c->mtx);
	assert(b->opens > 0);
	return vx_object_share(c->arena, &b->object, e);
}

/* ---- filling ---- */

int vx_cache_fill_begin_locked(struct vx_cache *c, struct vx_cbox *b, const struct vx_object *object, void *map)
{
	int r = vx_index_add(c->index, &b->place);

	vx_assert_held(&c->mtx);
	assert(b->state == VX_BOX_FILLING && !b->object.id);
	if (r < 0)
		return r;
	b->indexed = true;
	b->object = *object;
	b->map = map;
	b->map_writable = true;
	b->map_users = 1;
	return 0;
}

static void end_fill_locked(struct vx_cbox *b)
{
	b->fill = NULL;
	free((void *)b->landed);
	b->landed = NULL;
}

void vx_box_make_ready_locked(struct vx_cache *c, struct vx_cbox *b, bool pinned)
{
	b->state = VX_BOX_READY;
	c->stats.objects++;
	c->stats.object_bytes += b->item.bytes;
	vx_evict_add(&c->evict, &b->item, pinned);
}

void vx_box_suspect_locked(struct vx_cache *c, struct vx_cbox *b)
{
	suspect_until_locked(c, b, PROBE_FIRST_NS);
}

void vx_cache_fill_ready_locked(struct vx_cache *c, struct vx_cbox *b)
{
	vx_assert_held(&c->mtx);
	assert(b->state == VX_BOX_FILLING && b->map_users > 0);
	end_fill_locked(b);
	b->map_users--; /* no longer ours; others may be copying out of it */
	vx_box_make_ready_locked(c, b, b->map_users > 0);
	if (b->map && !b->map_users)
		vx_box_map_is_idle_locked(c, b);
	vx_box_record_locked(c, b);
}

void vx_cache_free_zombie_locked(struct vx_cache *c, struct vx_cbox *b)
{
	vx_assert_held(&c->mtx);
	if (b->map)
		vx_object_unmap(&b->object, b->map);
	vx_object_destroy(c->arena, &b->object);
	c->used -= b->item.bytes;
	free(b);
}

void vx_cache_fill_failed_locked(struct vx_cache *c, struct vx_cbox *b)
{
	vx_assert_held(&c->mtx);
	assert(b->state == VX_BOX_FILLING && vx_list_empty(&b->waiters));
	end_fill_locked(b);
	b->state = VX_BOX_EMPTY;
	if (!b->object.id) {
		vx_cache_drop_locked(c, b);
		return;
	}
	vx_index_remove(c->index, &b->place);
	b->indexed = false;
	vx_list_remove(&b->in_table);
	if (--b->map_users == 0)
		vx_cache_free_zombie_locked(c, b);
}

/* ---- giving memory back ---- */

static bool is_idle_locked(const struct vx_cbox *b)
{
	return b->state == VX_BOX_READY && !b->opens && !b->map_users;
}

/* DYING to READY: nothing was lost. */
static void revive_locked(struct vx_cache *c, struct vx_cbox *b, bool mapped)
{
	b->state = VX_BOX_READY;
	if (mapped)
		suspect_until_locked(c, b, b->backoff_ns ? b->backoff_ns * 2 : PROBE_FIRST_NS);
	else
		suspect_clear_locked(b);
}

static void tell_waiters_locked(struct vx_cache *c, struct vx_cbox *b)
{
	if (!vx_list_empty(&b->waiters))
		c->on_revived_locked(c->on_revived_ctx, b);
}

/* Makes an idle box DYING and proves that no client has it. Drops and retakes the lock; the box stays valid because a
 * DYING box belongs to whoever made it so. Returns true when its memory may go; unless it is to go, it is registered
 * again, so that no opener will have to wait for that. */
static bool prove_unused_locked(struct vx_cache *c, struct vx_cbox *b, bool to_go)
{
	struct vx_object o;
	bool unused;

	b->state = VX_BOX_DYING; /* an OPEN that comes now waits for the verdict */
	vx_box_drop_map_locked(c, b);
	o = b->object;
	vx_unlock(&c->mtx);
	vx_object_unshare(c->arena, &o); /* the registration itself would refuse the lease */
	unused = !vx_arena_shares(c->arena) || vx_object_unused(c->arena, &o);
	if (!unused || !to_go)
		(void)vx_object_share(c->arena, &o, NULL); /* if it fails, the next open tries again */
	vx_lock(&c->mtx);
	b->object.share_id = o.share_id;
	return unused && !b->map_users; /* a copy out of it may have begun meanwhile */
}

static void remove_ready_locked(struct vx_cache *c, struct vx_cbox *b)
{
	suspect_clear_locked(b);
	vx_box_unrecord_locked(c, b);
	vx_index_remove(c->index, &b->place);
	b->indexed = false;
	b->state = VX_BOX_EMPTY;
	c->stats.objects--;
	c->stats.object_bytes -= b->item.bytes;
}

/* Evicts a box that evict.c chose (already off its queue). True when its bytes are free again. */
static bool evict_box_locked(struct vx_cache *c, struct vx_cbox *b)
{
	struct vx_object object;

	assert(is_idle_locked(b));
	if (!prove_unused_locked(c, b, true)) {
		VX_COUNT(cache_lease_refused);
		revive_locked(c, b, true); /* stays off the queue: it is pinned by a map, and probed until it is not */
		tell_waiters_locked(c, b);
	} else {
		object = b->object;
		b->object = (struct vx_object){.fd = -1};
		remove_ready_locked(c, b);
		vx_unlock(&c->mtx);
		vx_object_destroy(c->arena, &object);
		vx_lock(&c->mtx);
		c->used -= b->item.bytes; /* only now: the pages are the kernel's again */
		VX_COUNT(cache_evictions);
		VX_COUNT_ADD(cache_evicted_bytes, b->item.bytes);
		if (vx_list_empty(&b->waiters))
			vx_cache_drop_locked(c, b);
		else
			tell_waiters_locked(c, b);
	}
	return true;
}

static bool evict_one_locked(struct vx_cache *c)
{
	struct vx_evict_item *i = vx_evict_next(&c->evict);
	struct vx_buf *payload;

	if (!i)
		return false;
	if (i->kind == VX_ITEM_BOX)
		return evict_box_locked(c, vx_container_of(i, struct vx_cbox, item));
	payload = vx_kept_evict_locked(c, vx_container_of(i, struct vx_kept, item));
	vx_unlock(&c->mtx);
	vx_buf_put(payload);
	vx_lock(&c->mtx);
	return true;
}

int vx_cache_reserve(struct vx_cache *c, uint64_t bytes)
{
	VX_LOCK_SCOPE(&c->mtx);
	while (bytes > c->limit - vx_min_u64(c->used, c->limit))
		if (!evict_one_locked(c))
			return -ENOSPC;
	c->used += bytes;
	return 0;
}

void vx_cache_unreserve(struct vx_cache *c, uint64_t bytes)
{
	VX_LOCK_SCOPE(&c->mtx);
	assert(c->used >= bytes);
	c->used -= bytes;
}

struct vx_ready_room vx_cache_ready_room(struct vx_cache *c)
{
	uint64_t left, regions;

	{
		VX_LOCK_SCOPE(&c->mtx);
		left = c->limit - vx_min_u64(c->used, c->limit);
	}
	regions = vx_min_u64(left / READY_POOL_SHARE / VX_POOL_REGION, VX_POOL_READY_MAX);
	return (struct vx_ready_room){
	    .objects = left - regions * VX_POOL_REGION,
	    .regions = (unsigned)vx_max_u64(regions, READY_REGIONS_MIN),
	};
}

void vx_cache_fit_ready(struct vx_cache *c)
{
	struct vx_ready_room room = vx_cache_ready_room(c);

	vx_arena_shrink_ready(c->arena, room.objects);
	vx_pool_trim_ready(c->pool, room.regions);
}

/* A suspect that proves unmapped goes back among the evictable. */
static void probe_one_locked(struct vx_cache *c, struct vx_cbox *b)
{
	bool unused;

	vx_evict_pin(&c->evict, &b->item);
	unused = prove_unused_locked(c, b, false);
	revive_locked(c, b, !unused);
	if (unused)
		vx_evict_unpin(&c->evict, &b->item);
	tell_waiters_locked(c, b);
}

uint64_t vx_cache_probe(struct vx_cache *c, unsigned early)
{
	VX_LOCK_SCOPE(&c->mtx);
	uint64_t now = vx_now_ns(), next = UINT64_MAX;
	unsigned budget = 0;

	for (struct vx_link *l = c->suspects.next; l != &c->suspects; l = l->next)
		budget++;
	while (budget-- && !vx_list_empty(&c->suspects)) {
		struct vx_cbox *b = vx_list_entry(c->suspects.next, struct vx_cbox, in_suspects);

		vx_list_remove(&b->in_suspects);
		vx_list_push_back(&c->suspects, &b->in_suspects);
		if (!is_idle_locked(b) || (b->probe_ns > now && !early))
			continue;
		early -= b->probe_ns > now;
		probe_one_locked(c, b);
	}
	for (struct vx_link *l = c->suspects.next; l != &c->suspects; l = l->next)
		next = vx_min_u64(next, vx_list_entry(l, struct vx_cbox, in_suspects)->probe_ns);
	return next;
}

void vx_cache_stats(struct vx_cache *c, struct vx_cache_stats *ret)
{
	uint64_t ready = vx_arena_ready_bytes(c->arena);
	VX_LOCK_SCOPE(&c->mtx);

	*ret = c->stats;
	ret->ready_bytes = ready;
	ret->limit = c->limit;
	ret->bytes = c->used;
	ret->pinned_bytes = ret->open_boxes = ret->mapped_boxes = ret->shared = 0;
	for (unsigned i = 0; i < VX_BOX_BUCKETS; i++)
		for (struct vx_link *l = c->boxes[i].next; l != &c->boxes[i]; l = l->next) {
			struct vx_cbox *b = vx_list_entry(l, struct vx_cbox, in_table);

			ret->shared += b->object.share_id > 0;
			if (b->opens)
				ret->open_boxes++;
			else if (b->suspect)
				ret->mapped_boxes++;
			if (b->opens || b->suspect || b->state == VX_BOX_FILLING)
				ret->pinned_bytes += b->item.bytes;
		}
}

/* ---- the end ---- */

static void box_free_at_end(struct vx_cache *c, struct vx_cbox *b)
{
	if (b->map)
		vx_object_unmap(&b->object, b->map);
	if (b->object.id)
		vx_object_destroy(c->arena, &b->object);
	vx_list_remove(&b->in_table);
	free((void *)b->landed);
	free(b);
}

void vx_cache_free(struct vx_cache **pc)
{
	struct vx_cache *c = vx_steal(*pc);

	if (!c)
		return;
	for (unsigned i = 0; i < VX_BOX_BUCKETS; i++)
		while (!vx_list_empty(&c->boxes[i]))
			box_free_at_end(c, vx_list_entry(c->boxes[i].next, struct vx_cbox, in_table));
	vx_kept_free_all(c);
	vx_index_free(&c->index);
	vx_arena_free(&c->arena);
	free(c->by_slot);
	vx_mutex_done(&c->mtx);
	free(c);
}
