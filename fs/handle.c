/* SPDX-License-Identifier: Apache-2.0
 * A box handle is 1 | generation | slot; the generation is one more at each use of a slot, so that a RELEASE which the
 * kernel sends twice finds nothing the second time. The others are numbers: starts | count.
 */
#include "fs/handle.h"
#include "base/hash.h"

#include <string.h>

#define BOX_BIT ((uint64_t)1 << 63)
#define GENERATIONS ((uint32_t)1 << 31)
#define BUCKETS 1024
#define RESENT_BIT ((uint64_t)1 << 63) /* of a request that the kernel sends again */

struct other {
	struct vx_link link;
	uint64_t fh;
	void *p;
	void (*destroy)(void *p);
};

struct open_box {
	struct vx_cbox *box; /* NULL: free */
	uint32_t generation;
};

struct vx_handles {
	struct vx_table *table;
	pthread_mutex_t mtx;
	struct open_box *boxes; /* by slot */
	uint32_t cap;
	uint32_t next_slot; /* without a table */
	uint64_t starts, count;
	struct vx_link others[BUCKETS];
};

int vx_handles_new(struct vx_handles **ret, struct vx_table *table, uint32_t starts)
{
	struct vx_handles *h = calloc(1, sizeof *h);

	if (!h)
		return -ENOMEM;
	h->table = table;
	h->starts = (uint64_t)(starts & (GENERATIONS - 1)) << 32;
	pthread_mutex_init(&h->mtx, NULL);
	for (int i = 0; i < BUCKETS; i++)
		vx_list_init(&h->others[i]);
	*ret = h;
	return 0;
}

void vx_handles_free(struct vx_handles **ph)
{
	struct vx_handles *h = vx_steal(*ph);

	if (!h)
		return;
	for (int i = 0; i < BUCKETS; i++)
		while (!vx_list_empty(&h->others[i])) {
			struct other *o = vx_list_entry(h->others[i].next, struct other, link);

			vx_list_remove(&o->link);
			if (o->destroy)
				o->destroy(o->p);
			free(o);
		}
	pthread_mutex_destroy(&h->mtx);
	free(h->boxes);
	free(h);
}

/* ---- boxes ---- */

static uint64_t box_handle(uint32_t slot, uint32_t generation)
{
	return BOX_BIT | (uint64_t)generation << 32 | slot;
}

static bool make_room_locked(struct vx_handles *h, uint32_t slot)
{
	uint32_t cap = slot * 2 + 256;
	struct open_box *bigger;

	if (slot < h->cap)
		return true;
	bigger = realloc(h->boxes, cap * sizeof *bigger);
	if (!bigger)
		return false;
	memset(bigger + h->cap, 0, (cap - h->cap) * sizeof *bigger);
	h->boxes = bigger;
	h->cap = cap;
	return true;
}

/* A slot of its own making, for servers without a table. */
static bool take_slot_locked(struct vx_handles *h, uint32_t *ret)
{
	for (uint32_t i = 0; i < h->cap; i++) {
		uint32_t slot = (h->next_slot + i) % h->cap;

		if (h->boxes[slot].box)
			continue;
		*ret = slot;
		h->next_slot = slot + 1;
		return true;
	}
	*ret = h->next_slot = h->cap;
	return make_room_locked(h, *ret);
}

/* Under the lock: who looks for a request that is sent again reads the records. */
static void write_down_locked(struct vx_handles *h, uint32_t slot, const struct vx_cbox *b, uint64_t unique,
			      uint32_t generation)
{
	struct vx_table_handle *r = vx_table_at(h->table, VX_TABLE_HANDLES, slot);

	r->unique = unique & ~RESENT_BIT;
	r->object = b->object.id;
	r->box = b->slot;
	r->generation = generation;
	vx_table_seal(h->table, VX_TABLE_HANDLES, slot);
}

uint64_t vx_handles_open_box(struct vx_handles *h, struct vx_cbox *b, uint64_t unique)
{
	struct vx_table_handle *r = NULL;
	uint32_t slot, generation;

	if (h->table) {
		r = vx_table_take(h->table, VX_TABLE_HANDLES, &slot);
		if (!r)
			return 0;
	}
	pthread_mutex_lock(&h->mtx);
	if (r ? make_room_locked(h, slot) : take_slot_locked(h, &slot)) {
		generation = ((r ? r->generation : h->boxes[slot].generation) + 1) % GENERATIONS;
		if (r)
			write_down_locked(h, slot, b, unique, generation);
		h->boxes[slot] = (struct open_box){.box = b, .generation = generation};
	} else {
		generation = GENERATIONS;
	}
	pthread_mutex_unlock(&h->mtx);
	if (generation == GENERATIONS) {
		if (r)
			vx_table_give(h->table, VX_TABLE_HANDLES, slot);
		return 0;
	}
	return box_handle(slot, generation);
}

static struct open_box *find_box_locked(struct vx_handles *h, uint64_t fh)
{
	uint32_t slot = (uint32_t)fh, generation = (uint32_t)(fh >> 32) & (GENERATIONS - 1);

	if (!(fh & BOX_BIT) || slot >= h->cap || !h->boxes[slot].box || h->boxes[slot].generation != generation)
		return NULL;
	return &h->boxes[slot];
}

struct vx_cbox *vx_handles_box(struct vx_handles *h, uint64_t fh)
{
	struct open_box *x;
	struct vx_cbox *b;

	pthread_mutex_lock(&h->mtx);
	x = find_box_locked(h, fh);
	b = x ? x->box : NULL;
	pthread_mutex_unlock(&h->mtx);
	return b;
}

struct vx_cbox *vx_handles_close_box(struct vx_handles *h, uint64_t fh)
{
	struct open_box *x;
	struct vx_cbox *b = NULL;

	pthread_mutex_lock(&h->mtx);
	x = find_box_locked(h, fh);
	if (x)
		b = vx_steal(x->box);
	pthread_mutex_unlock(&h->mtx);
	if (b && h->table)
		vx_table_give(h->table, VX_TABLE_HANDLES, (uint32_t)fh);
	return b;
}

struct vx_cbox *vx_handles_asked_again(struct vx_handles *h, uint64_t unique)
{
	uint64_t fh = 0;

	if (!h->table || !(unique & RESENT_BIT))
		return NULL;
	unique &= ~RESENT_BIT;
	pthread_mutex_lock(&h->mtx);
	for (uint32_t i = 0; i < h->cap && !fh; i++) {
		const struct vx_table_handle *r = h->boxes[i].box ? vx_table_at(h->table, VX_TABLE_HANDLES, i) : NULL;

		if (r && r->unique == unique)
			fh = box_handle(i, h->boxes[i].generation);
	}
	pthread_mutex_unlock(&h->mtx);
	return fh ? vx_handles_close_box(h, fh) : NULL;
}

struct recovery {
	struct vx_handles *h;
	struct vx_cache *c;
	void (*f)(void *ctx, struct vx_cbox *b);
	void *ctx;
};

static bool take_over(void *ctx, uint32_t slot, void *record)
{
	const struct recovery *k = ctx;
	const struct vx_table_handle *r = record;
	struct vx_cbox *b;

	{
		VX_LOCK_SCOPE(vx_cache_lock(k->c));
		b = vx_cache_at_slot_locked(k->c, r->box);
		if (!b || b->object.id != r->object || r->generation >= GENERATIONS || !make_room_locked(k->h, slot))
			return false;
		vx_cache_opened_locked(k->c, b, 1);
	}
	k->h->boxes[slot] = (struct open_box){.box = b, .generation = r->generation};
	k->f(k->ctx, b);
	return true;
}

void vx_handles_recover(struct vx_handles *h, struct vx_cache *c, void (*f)(void *ctx, struct vx_cbox *b), void *ctx)
{
	struct recovery k = {.h = h, .c = c, .f = f, .ctx = ctx};

	vx_table_recover(h->table, VX_TABLE_HANDLES, take_over, &k);
}

/* ---- the rest ---- */

static struct vx_link *bucket(struct vx_handles *h, uint64_t fh)
{
	return &h->others[vx_mix64(fh) % BUCKETS];
}

static struct other *find_locked(struct vx_handles *h, uint64_t fh)
{
	struct vx_link *head = bucket(h, fh), *l;

	for (l = head->next; l != head; l = l->next)
		if (vx_list_entry(l, struct other, link)->fh == fh)
			return vx_list_entry(l, struct other, link);
	return NULL;
}

static bool add_locked(struct vx_handles *h, uint64_t fh, void *p, void (*destroy)(void *p))
{
	struct other *o = p ? calloc(1, sizeof *o) : NULL;

	if (!o)
		return false;
	o->fh = fh;
	o->p = p;
	o->destroy = destroy;
	vx_list_push_back(bucket(h, fh), &o->link);
	return true;
}

uint64_t vx_handles_put(struct vx_handles *h, void *p, void (*destroy)(void *p))
{
	uint64_t fh;

	pthread_mutex_lock(&h->mtx);
	fh = h->starts | (++h->count & UINT32_MAX);
	if (!add_locked(h, fh, p, destroy))
		fh = 0;
	pthread_mutex_unlock(&h->mtx);
	return fh;
}

void *vx_handles_get(struct vx_handles *h, uint64_t fh)
{
	struct other *o;
	void *p;

	pthread_mutex_lock(&h->mtx);
	o = find_locked(h, fh);
	p = o ? o->p : NULL;
	pthread_mutex_unlock(&h->mtx);
	return p;
}

void *vx_handles_get_or(struct vx_handles *h, uint64_t fh, void *(*make)(void *ctx), void *ctx,
			void (*destroy)(void *p))
{
	void *p = vx_handles_get(h, fh), *made = !p && make ? make(ctx) : NULL; /* which may take its time */
	struct other *o;

	if (!made)
		return p;
	pthread_mutex_lock(&h->mtx);
	o = find_locked(h, fh);
	p = o ? o->p : made;
	if (!o)
		(void)add_locked(h, fh, p, destroy); /* else it lives until the mount ends */
	pthread_mutex_unlock(&h->mtx);
	if (p != made && destroy)
		destroy(made);
	return p;
}

void *vx_handles_drop(struct vx_handles *h, uint64_t fh)
{
	struct other *o;
	void *p = NULL;

	pthread_mutex_lock(&h->mtx);
	o = find_locked(h, fh);
	if (o) {
		vx_list_remove(&o->link);
		p = o->p;
		free(o);
	}
	pthread_mutex_unlock(&h->mtx);
	return p;
}
