/* SPDX-License-Identifier: Apache-2.0
 * The node table: what the kernel has looked up. A node is a small record of a name's meaning (which volume, scale,
 * box); it holds no data. Numbers are never used twice within a mount. Any thread; lock rank VX_RANK_FS_NODES.
 */
#ifndef VX_FS_NODE_H
#define VX_FS_NODE_H

#include "base/list.h"
#include "base/lock.h"
#include "sched/source.h"

enum vx_node_kind {
	VX_NODE_ROOT,
	VX_NODE_VOLUME, /* directory of a scale: the volume's own for scale 0, mipN/ else */
	VX_NODE_INFO,
	VX_NODE_ALL,   /* all.raw: the whole scale, lazy */
	VX_NODE_EAGER, /* a box that is filled when opened */
	VX_NODE_LAZY,  /* a box filled where it is read */
	VX_NODE_CONTROL,
	VX_NODE_STATS,
	VX_NODE_ERRORS,
};

/* What a name means; by value. */
struct vx_view {
	enum vx_node_kind kind;
	struct vx_source *src; /* NULL for root and control files */
	unsigned mip;
	struct vx_box box; /* boxes and all.raw */
	uint64_t bytes;    /* exact size of the file; 0 for what is made at open */
};

struct vx_nodes;
struct vx_table;

/* What the kernel has looked up is also written down in `table` (NULL: nowhere), so that the next server knows it. */
int vx_nodes_new(struct vx_nodes **ret, struct vx_table *table);
/* Takes over what the server before had written down; `is_sound` fills in the source of a view that could be one of
 * this mount. No other thread. */
void vx_nodes_recover(struct vx_nodes *t, bool (*is_sound)(void *ctx, struct vx_view *v, uint32_t source), void *ctx);
void vx_nodes_free(struct vx_nodes **t);

/* The number of the view's node, made if need be, with its lookup count raised; 0 when memory, or the table, is short.
 * `parent` is where its name lives. */
uint64_t vx_nodes_lookup(struct vx_nodes *t, const struct vx_view *v, uint64_t parent);
void vx_nodes_forget(struct vx_nodes *t, uint64_t ino, uint64_t n);
bool vx_nodes_get(struct vx_nodes *t, uint64_t ino, struct vx_view *ret);
/* The number of a view that the kernel knows already, else 0. */
uint64_t vx_nodes_find(struct vx_nodes *t, const struct vx_view *v);

/* The sentence of the last failed open or read of this node; "" clears it. */
void vx_nodes_set_error(struct vx_nodes *t, uint64_t ino, const char *why);
char *vx_nodes_error(struct vx_nodes *t, uint64_t ino); /* malloc'd, or NULL */

/* When the kernel remembers more box names than this, the oldest should be asked back: parent and number of one that is
 * due, at most once each. */
#define VX_NODES_KEEP 16384
bool vx_nodes_too_many(const struct vx_nodes *t);
bool vx_nodes_due(struct vx_nodes *t, uint64_t *ret_parent, struct vx_view *ret);
uint64_t vx_nodes_count(struct vx_nodes *t);

#endif
