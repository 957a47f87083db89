/* SPDX-License-Identifier: Apache-2.0
 * Which boxes are whole, written down for the next server, and read back by it. A record stands from the moment a box
 * is READY until just before its object is removed; so an object without a record is of no use to anybody.
 */
#include "base/hash.h"
#include "sched/cache_impl.h"

#define NO_SLOT UINT32_MAX

void vx_cache_set_table(struct vx_cache *c, struct vx_table *t)
{
	c->table = t;
}

static bool note_slot_locked(struct vx_cache *c, uint32_t slot, struct vx_cbox *b)
{
	if (slot >= c->slots) {
		uint32_t slots = slot * 2 + 1024;
		void *bigger = realloc(c->by_slot, slots * sizeof c->by_slot[0]);

		if (!bigger)
			return false;
		c->by_slot = bigger;
		while (c->slots < slots)
			c->by_slot[c->slots++] = NULL;
	}
	c->by_slot[slot] = b;
	return true;
}

struct vx_cbox *vx_cache_at_slot_locked(struct vx_cache *c, uint32_t slot)
{
	return slot < c->slots ? c->by_slot[slot] : NULL;
}

/* Without a record (no memory, no slot) the box is merely not taken over by the next server. */
void vx_box_record_locked(struct vx_cache *c, struct vx_cbox *b)
{
	struct vx_table_box *r = c->table ? vx_table_take(c->table, VX_TABLE_BOXES, &b->slot) : NULL;

	if (!r || b->object.fd >= 0 || !note_slot_locked(c, b->slot, b)) {
		if (r)
			vx_table_give(c->table, VX_TABLE_BOXES, b->slot);
		b->slot = NO_SLOT;
		return;
	}
	r->object = b->object.id;
	r->bytes = b->bytes;
	r->source = b->src->id;
	r->mip = b->mip;
	r->box = b->box;
	vx_table_seal(c->table, VX_TABLE_BOXES, b->slot);
}

void vx_box_unrecord_locked(struct vx_cache *c, struct vx_cbox *b)
{
	if (!c->table || b->slot == NO_SLOT)
		return;
	c->by_slot[b->slot] = NULL;
	vx_table_give(c->table, VX_TABLE_BOXES, b->slot);
	b->slot = NO_SLOT;
}

/* ---- taking over ---- */

struct recovery {
	struct vx_cache *c;
	struct vx_source *(*source)(void *ctx, uint32_t id);
	void *ctx;
	uint64_t *objects; /* taken over: a hash table, at most half full; 0: free */
	size_t n, size;    /* a power of two, or 0 */
};

/* The record says nothing that could not be said of a box of this mount. */
static bool is_sound(const struct vx_table_box *r, const struct vx_source *src)
{
	const struct vx_volume *v = src ? src->meta : NULL;
	uint64_t bytes;

	return v && r->mip < v->nscales && !v->scales[r->mip].bad.code && !vx_box_empty(&r->box) &&
	       vx_box_contains(&v->scales[r->mip].bounds, &r->box) && vx_volume_box_bytes(v, &r->box, &bytes) &&
	       bytes == r->bytes;
}

static uint64_t *place_of(uint64_t *objects, size_t size, uint64_t id)
{
	size_t i = vx_mix64(id) & (size - 1);

	while (objects[i] && objects[i] != id)
		i = (i + 1) & (size - 1);
	return &objects[i];
}

static bool is_known(void *ctx, uint64_t id)
{
	const struct recovery *k = ctx;

	return k->size && *place_of(k->objects, k->size, id);
}

static bool grow(struct recovery *k)
{
	size_t size = k->size ? k->size * 2 : 1024;
	uint64_t *bigger;

	if (k->n * 2 < k->size)
		return true;
	bigger = calloc(size, sizeof *bigger);
	if (!bigger)
		return false;
	for (size_t i = 0; i < k->size; i++)
		if (k->objects[i])
			*place_of(bigger, size, k->objects[i]) = k->objects[i];
	free(k->objects);
	k->objects = bigger;
	k->size = size;
	return true;
}

static bool take_over(void *ctx, uint32_t slot, void *record)
{
	struct recovery *k = ctx;
	struct vx_cache *c = k->c;
	const struct vx_table_box *r = record;
	struct vx_source *src = k->source(k->ctx, r->source);
	VX_LOCK_SCOPE(&c->mtx);
	struct vx_object object;
	struct vx_cbox *b;

	/* No two boxes share an object: one would go on with it after the other has given it back. */
	if (!grow(k) || is_known(k, r->object) || !is_sound(r, src) || vx_cache_find_locked(c, src, r->mip, &r->box) ||
	    vx_object_charge(r->bytes) > c->limit - vx_min_u64(c->used, c->limit) ||
	    !vx_object_adopt(c->arena, r->object, r->bytes, &object))
		return false;
	b = vx_cache_add_locked(c, src, r->mip, &r->box, r->bytes);
	if (!b)
		return false;
	if (vx_index_add(c->index, &b->place) < 0 || !note_slot_locked(c, slot, b)) {
		if (b->place.cls)
			vx_index_remove(c->index, &b->place);
		vx_cache_drop_locked(c, b);
		return false;
	}
	*place_of(k->objects, k->size, object.id) = object.id;
	k->n++;
	b->slot = slot;
	b->indexed = true;
	b->object = object;
	c->used += b->item.bytes;
	vx_box_make_ready_locked(c, b, false);
	/* Whether anybody has it mapped still, only the lease can say. */
	if (vx_arena_shares(c->arena))
		vx_box_suspect_locked(c, b);
	return true;
}

void vx_cache_recover(struct vx_cache *c, struct vx_source *(*source)(void *ctx, uint32_t id), void *ctx)
{
	struct recovery k = {.c = c, .source = source, .ctx = ctx};

	vx_table_recover(c->table, VX_TABLE_BOXES, take_over, &k);
	vx_arena_sweep(c->arena, is_known, &k);
	free(k.objects);
}
