/* SPDX-License-Identifier: Apache-2.0
 * A class is (space, ceil(log2(extent)) along each axis). A box is filed under the cell of its lower corner; as no box
 * of the class is longer than a cell, a query must look one cell further down than its own corner, and no more. When
 * that would be more cells than the class has boxes, its list is walked instead.
 */
#include "arena/index.h"
#include "base/hash.h"

#define BUCKETS 4096

struct vx_index_class {
	struct vx_index_class *next;
	uint32_t space;
	uint8_t level[3];
	uint64_t count;
	struct vx_link items;
};

struct vx_index {
	struct vx_index_class *classes; /* kept when empty: there are few, and they come back */
	struct vx_link bucket[BUCKETS];
};

int vx_index_new(struct vx_index **ret)
{
	struct vx_index *x = calloc(1, sizeof *x);

	if (!x)
		return -ENOMEM;
	for (unsigned b = 0; b < BUCKETS; b++)
		vx_list_init(&x->bucket[b]);
	*ret = x;
	return 0;
}

void vx_index_free(struct vx_index **px)
{
	struct vx_index *x = vx_steal(*px);

	if (!x)
		return;
	while (x->classes) {
		struct vx_index_class *c = x->classes;

		x->classes = c->next;
		free(c);
	}
	free(x);
}

static uint8_t level_of(uint64_t extent)
{
	return extent <= 1 ? 0 : (uint8_t)(64 - __builtin_clzll(extent - 1));
}

static struct vx_index_class *class_get(struct vx_index *x, const struct vx_index_item *i)
{
	uint8_t l[3] = {level_of(vx_box_extent(&i->box, 0)), level_of(vx_box_extent(&i->box, 1)),
			level_of(vx_box_extent(&i->box, 2))};
	struct vx_index_class *c;

	for (c = x->classes; c; c = c->next)
		if (c->space == i->space && c->level[0] == l[0] && c->level[1] == l[1] && c->level[2] == l[2])
			return c;
	c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->space = i->space;
	for (int d = 0; d < 3; d++)
		c->level[d] = l[d];
	vx_list_init(&c->items);
	c->next = x->classes;
	x->classes = c;
	return c;
}

/* Arithmetic shift: floors negative coordinates too. */
static struct vx_link *bucket_of(struct vx_index *x, const struct vx_index_class *c, const int64_t cell[3])
{
	uint64_t h =
	    vx_hash_add(c->space, (uint64_t)c->level[0] | (uint64_t)c->level[1] << 8 | (uint64_t)c->level[2] << 16);

	for (int d = 0; d < 3; d++)
		h = vx_hash_add(h, (uint64_t)cell[d]);
	return &x->bucket[h % BUCKETS];
}

int vx_index_add(struct vx_index *x, struct vx_index_item *i)
{
	struct vx_index_class *c = class_get(x, i);
	int64_t cell[3];

	if (!c)
		return -ENOMEM;
	for (int d = 0; d < 3; d++)
		cell[d] = i->box.lo[d] >> c->level[d];
	i->cls = c;
	c->count++;
	vx_list_push_back(&c->items, &i->in_class);
	vx_list_push_back(bucket_of(x, c, cell), &i->in_bucket);
	return 0;
}

void vx_index_remove(struct vx_index *x, struct vx_index_item *i)
{
	(void)x;
	i->cls->count--;
	i->cls = NULL;
	vx_list_remove(&i->in_class);
	vx_list_remove(&i->in_bucket);
}

struct query {
	const struct vx_box *box;
	bool (*visit)(void *ctx, struct vx_index_item *i);
	void *ctx;
};

static bool offer(const struct query *q, struct vx_index_item *i)
{
	struct vx_box common;

	return !vx_box_clip(&i->box, q->box, &common) || q->visit(q->ctx, i);
}

static bool walk_class(const struct query *q, struct vx_index_class *c)
{
	struct vx_link *l, *tmp;

	vx_list_each_safe(l, tmp,
			  &c->items) if (!offer(q, vx_list_entry(l, struct vx_index_item, in_class))) return false;
	return true;
}

static bool is_filed_at(const struct vx_index_item *i, const struct vx_index_class *c, const int64_t cell[3])
{
	for (int d = 0; d < 3; d++)
		if (i->box.lo[d] >> c->level[d] != cell[d])
			return false;
	return i->cls == c;
}

static bool walk_cell(struct vx_index *x, const struct query *q, struct vx_index_class *c, const int64_t cell[3])
{
	struct vx_link *l, *tmp, *bucket = bucket_of(x, c, cell);

	vx_list_each_safe(l, tmp, bucket)
	{
		struct vx_index_item *i = vx_list_entry(l, struct vx_index_item, in_bucket);

		if (is_filed_at(i, c, cell) && !offer(q, i))
			return false;
	}
	return true;
}

static bool walk_cells(struct vx_index *x, const struct query *q, struct vx_index_class *c)
{
	int64_t lo[3], hi[3], cell[3];
	double cells = 1;

	for (int d = 0; d < 3; d++) {
		lo[d] = (q->box->lo[d] >> c->level[d]) - 1;
		hi[d] = (q->box->hi[d] - 1) >> c->level[d];
		cells *= (double)(hi[d] - lo[d] + 1);
	}
	if (cells > (double)c->count)
		return walk_class(q, c);
	for (cell[2] = lo[2]; cell[2] <= hi[2]; cell[2]++)
		for (cell[1] = lo[1]; cell[1] <= hi[1]; cell[1]++)
			for (cell[0] = lo[0]; cell[0] <= hi[0]; cell[0]++)
				if (!walk_cell(x, q, c, cell))
					return false;
	return true;
}

void vx_index_query(struct vx_index *x, uint32_t space, const struct vx_box *box,
		    bool (*visit)(void *ctx, struct vx_index_item *i), void *ctx)
{
	struct query q = {.box = box, .visit = visit, .ctx = ctx};

	for (struct vx_index_class *c = x->classes; c; c = c->next)
		if (c->space == space && c->count && !walk_cells(x, &q, c))
			return;
}
