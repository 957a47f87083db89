/* SPDX-License-Identifier: Apache-2.0
 * Boxes as a source for other boxes: maps of them in this process, and the search for boxes that hold a wanted part.
 * A box that is still being filled counts for the chunks that have landed in it, so that two overlapping boxes opened
 * at once fetch nothing twice.
 */
#include "base/clock.h"
#include "sched/cache_impl.h"

#include <string.h>

#define IDLE_MAPS_MAX 256 /* the kernel allows 65,530 maps; these are kept only to save the next copier an mmap */
#define UNDO_MAPS_MAX 4096
#define UNDO_NS (100 * VX_MS)

void vx_box_drop_map_locked(struct vx_cache *c, struct vx_cbox *b)
{
	vx_assert_held(&c->mtx);
	assert(!b->map_users);
	if (!b->map)
		return;
	vx_object_unmap(&b->object, b->map);
	b->map = NULL;
	b->map_writable = false;
	vx_list_remove(&b->in_undo);
	c->idle_maps--;
}

void vx_box_map_is_idle_locked(struct vx_cache *c, struct vx_cbox *b)
{
	assert(b->state == VX_BOX_READY && !b->map_users);
	c->idle_maps++;
	if (!b->map_writable)
		return;
	if (c->idle_maps > UNDO_MAPS_MAX) {
		vx_box_drop_map_locked(c, b);
		return;
	}
	b->undo_ns = vx_now_ns() + UNDO_NS;
	vx_list_push_back(&c->undo, &b->in_undo);
}

static void use_map_locked(struct vx_cache *c, struct vx_cbox *b)
{
	if (b->map && !b->map_users)
		c->idle_maps--;
	vx_list_remove(&b->in_undo);
	if (!b->map_users++ && b->state == VX_BOX_READY)
		vx_evict_pin(&c->evict, &b->item);
}

static void unuse_map_locked(struct vx_cache *c, struct vx_cbox *b)
{
	assert(b->map_users > 0);
	if (--b->map_users)
		return;
	if (b->state == VX_BOX_EMPTY) {
		vx_cache_free_zombie_locked(c, b);
		return;
	}
	if (b->map) {
		c->idle_maps++;
		if (c->idle_maps > IDLE_MAPS_MAX || b->state != VX_BOX_READY || b->map_writable)
			vx_box_drop_map_locked(c, b);
	}
	if (b->state == VX_BOX_READY && !b->opens)
		vx_evict_unpin(&c->evict, &b->item);
}

/* The caller counts among map_users, so the box cannot die meanwhile. */
static int ensure_map(struct vx_cache *c, struct vx_cbox *b, struct vx_err *e)
{
	void *map = NULL;
	int r;

	{
		VX_LOCK_SCOPE(&c->mtx);
		if (b->map)
			return 0;
	}
	r = vx_object_map(c->arena, &b->object, false, &map, e);
	if (r < 0)
		return r;
	{
		VX_LOCK_SCOPE(&c->mtx);
		if (!b->map)
			b->map = vx_steal(map);
	}
	if (map)
		vx_object_unmap(&b->object, map);
	return 0;
}

static int use_map(struct vx_cache *c, struct vx_cbox *b, struct vx_err *e)
{
	{
		VX_LOCK_SCOPE(&c->mtx);
		use_map_locked(c, b);
	}
	return ensure_map(c, b, e);
}

static void *steal_map_locked(struct vx_cbox *b)
{
	b->map_writable = false;
	return vx_steal(b->map);
}

void vx_cache_fill_unmap(struct vx_cache *c, struct vx_cbox *b)
{
	void *map = NULL;

	{
		VX_LOCK_SCOPE(&c->mtx);
		if (b->map_users == 1)
			map = steal_map_locked(b);
	}
	if (map)
		vx_object_unmap(&b->object, map);
}

/* The map of a box that is due, which stays in use until it is gone: else nobody could prove the box unused meanwhile.
 */
static void *take_due_map(struct vx_cache *c, struct vx_cbox **ret, uint64_t *next)
{
	VX_LOCK_SCOPE(&c->mtx);
	struct vx_cbox *b = vx_list_empty(&c->undo) ? NULL : vx_list_entry(c->undo.next, struct vx_cbox, in_undo);

	*next = b ? b->undo_ns : UINT64_MAX;
	if (*next > vx_now_ns())
		return NULL;
	use_map_locked(c, b);
	*ret = b;
	return steal_map_locked(b);
}

uint64_t vx_cache_unmap_late(struct vx_cache *c)
{
	struct vx_cbox *b;
	uint64_t next;
	void *map;

	while ((map = take_due_map(c, &b, &next))) {
		vx_object_unmap(&b->object, map);
		vx_cache_unmap(c, b);
	}
	return next;
}

int vx_cache_map(struct vx_cache *c, struct vx_cbox *b, struct vx_err *e)
{
	int r = use_map(c, b, e);

	if (r < 0)
		vx_cache_unmap(c, b);
	return r;
}

void vx_cache_try_map(struct vx_cache *c, struct vx_cbox *b)
{
	(void)use_map(c, b, NULL);
}

void vx_cache_unmap(struct vx_cache *c, struct vx_cbox *b)
{
	VX_LOCK_SCOPE(&c->mtx);
	unuse_map_locked(c, b);
}

const void *vx_cache_mapped(struct vx_cache *c, const struct vx_cbox *b)
{
	VX_LOCK_SCOPE(&c->mtx);
	return b->map;
}

/* ---- cover ---- */

struct cover {
	const struct vx_box *want;
	unsigned grid;
	const struct vx_cell *cell;
	struct vx_box rest[VX_PIECES_MAX]; /* not covered yet, disjoint */
	unsigned nrest;
	struct vx_piece *pieces;
	unsigned npieces;
	struct vx_cache *c;
};

bool vx_cbox_bit(const struct vx_cbox *b, const struct vx_cell *cell, uint64_t *ret)
{
	uint64_t bit = cell->slab;

	for (int d = 2; d >= 0; d--) {
		if (cell->at[d] < b->cell_lo[d] || cell->at[d] - b->cell_lo[d] >= b->cell_n[d])
			return false;
		bit = bit * b->cell_n[d] + (cell->at[d] - b->cell_lo[d]);
	}
	*ret = bit;
	return true;
}

static bool has_landed(const struct vx_cbox *b, unsigned grid, const struct vx_cell *cell)
{
	uint64_t bit;

	if (!b->landed || b->grid != grid || !vx_cbox_bit(b, cell, &bit))
		return false;
	return atomic_load(&b->landed[bit / 64]) >> (bit % 64) & 1;
}

static bool is_source_locked(const struct cover *k, const struct vx_cbox *b)
{
	/* A DYING box is still whole; who copies out of it keeps it from being given back. */
	return b->state == VX_BOX_READY || b->state == VX_BOX_DYING ||
	       (b->state == VX_BOX_FILLING && b->object.id && has_landed(b, k->grid, k->cell));
}

/* Takes what `b` holds of rest[i]; false when there is no room for more pieces. */
static bool take_locked(struct cover *k, struct vx_cbox *b, unsigned i)
{
	struct vx_box common, left[6], whole = k->rest[i];
	int n;

	if (!vx_box_clip(&whole, &b->box, &common))
		return true;
	n = vx_box_subtract(&whole, &common, left);
	if (k->npieces == VX_PIECES_MAX || k->nrest - 1 + (unsigned)n > VX_PIECES_MAX)
		return false;
	k->rest[i] = k->rest[--k->nrest];
	memcpy(&k->rest[k->nrest], left, (unsigned)n * sizeof left[0]);
	k->nrest += (unsigned)n;
	use_map_locked(k->c, b);
	k->pieces[k->npieces++] = (struct vx_piece){.box = common, .owner = b};
	return true;
}

/* One box that holds all of it. Without this, many small ones that lie across could use up the pieces before its turn
 * comes. */
static bool whole_visit(void *ctx, struct vx_index_item *item)
{
	struct cover *k = ctx;
	struct vx_cbox *b = vx_container_of(item, struct vx_cbox, place);

	if (!vx_box_contains(&b->box, k->want) || !is_source_locked(k, b))
		return true;
	take_locked(k, b, 0);
	return false;
}

static bool cover_visit(void *ctx, struct vx_index_item *item)
{
	struct cover *k = ctx;
	struct vx_cbox *b = vx_container_of(item, struct vx_cbox, place);

	if (!is_source_locked(k, b))
		return true;
	/* Backwards: what is added lies outside `b`. */
	for (unsigned i = k->nrest; i-- > 0;)
		if (!take_locked(k, b, i))
			return false;
	return k->nrest > 0;
}

static int locate(struct vx_cache *c, struct vx_piece *p)
{
	const struct vx_volume *v = p->owner->src->meta;
	uint32_t width = vx_dtype_width(v->dtype);
	struct vx_place whole;
	uint64_t n[3];
	int r = ensure_map(c, p->owner, NULL);

	if (r < 0)
		return r;
	vx_box_extents(&p->owner->box, n);
	whole = vx_place_packed(p->owner->map, n, width);
	p->from = vx_place_at(&whole, &p->owner->box, &p->box, width);
	return 0;
}

unsigned vx_cache_cover(struct vx_cache *c, const struct vx_source *src, unsigned mip, unsigned grid,
			const struct vx_cell *cell, const struct vx_box *want, struct vx_piece ret[VX_PIECES_MAX])
{
	struct cover k = {.want = want, .grid = grid, .cell = cell, .nrest = 1, .pieces = ret, .c = c};
	bool ok;

	k.rest[0] = *want;
	{
		VX_LOCK_SCOPE(&c->mtx);
		vx_index_query(c->index, vx_source_space(src, mip), want, whole_visit, &k);
		if (k.nrest)
			vx_index_query(c->index, vx_source_space(src, mip), want, cover_visit, &k);
	}
	ok = k.npieces && !k.nrest;
	for (unsigned i = 0; ok && i < k.npieces; i++)
		ok = locate(c, &ret[i]) == 0;
	if (ok)
		return k.npieces;
	vx_cache_uncover(c, ret, k.npieces);
	return 0;
}

void vx_cache_uncover(struct vx_cache *c, struct vx_piece *p, unsigned n)
{
	if (!n)
		return;
	VX_LOCK_SCOPE(&c->mtx);
	for (unsigned i = 0; i < n; i++)
		unuse_map_locked(c, p[i].owner);
}
