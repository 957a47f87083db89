/* SPDX-License-Identifier: Apache-2.0
 * A spatial index: which of many boxes meet a given one? Boxes of like size share a class, a class is a hashed grid
 * whose cells are as large as its boxes, so that a box sits in one cell and a query looks into a handful. Spaces (a
 * volume's scale) are separate. The caller locks; items are the caller's.
 */
#ifndef VX_ARENA_INDEX_H
#define VX_ARENA_INDEX_H

#include "base/box.h"
#include "base/list.h"

struct vx_index;

struct vx_index_item {
	struct vx_link in_bucket, in_class;
	uint32_t space;
	struct vx_box box; /* not empty */
	struct vx_index_class *cls;
};

int vx_index_new(struct vx_index **ret);
void vx_index_free(struct vx_index **x);
/* -ENOMEM leaves it out. Fill in space and box first. */
int vx_index_add(struct vx_index *x, struct vx_index_item *i);
void vx_index_remove(struct vx_index *x, struct vx_index_item *i);
/* Calls `visit` for each box of the space that meets `box`, until it returns false. It must not change the index. */
void vx_index_query(struct vx_index *x, uint32_t space, const struct vx_box *box,
		    bool (*visit)(void *ctx, struct vx_index_item *i), void *ctx);

#endif
