/* SPDX-License-Identifier: Apache-2.0
 * Private to sched/cache*.c: the cache's fields, grouped by guard.
 */
#ifndef VX_SCHED_CACHE_IMPL_H
#define VX_SCHED_CACHE_IMPL_H

#include "sched/cache.h"

#define VX_BOX_BUCKETS 16384
#define VX_KEPT_BUCKETS 16384

enum { VX_ITEM_BOX, VX_ITEM_KEPT };

struct vx_kept {
	struct vx_link in_table;
	struct vx_cell_key key;
	struct vx_buf *payload; /* NULL: known to be missing */
	struct vx_evict_item item;
};

struct vx_cache {
	/* --- constant once set up ------------------------------------------------------------------------------ */
	uint64_t limit;
	struct vx_arena *arena;
	struct vx_pool *pool;
	struct vx_table *table; /* or NULL */
	void (*on_revived_locked)(void *ctx, struct vx_cbox *b);
	void *on_revived_ctx;
	/* --- under mtx ------------------------------------------------------------------------------------------ */
	struct vx_mutex mtx;
	uint64_t used; /* reserved bytes: objects and kept chunks */
	struct vx_evict evict;
	struct vx_index *index;
	struct vx_link boxes[VX_BOX_BUCKETS];
	struct vx_link kept[VX_KEPT_BUCKETS];
	struct vx_link suspects;
	struct vx_link undo; /* boxes by undo_ns */
	unsigned idle_maps;  /* maps held without users: for the next copy, or not undone yet */
	struct vx_cache_stats stats;
	struct vx_cbox **by_slot; /* of the table */
	uint32_t slots;
};

/* cache_kept.c: frees a kept chunk that eviction chose, returning its bytes to the budget. */
struct vx_buf *vx_kept_evict_locked(struct vx_cache *c, struct vx_kept *k);
void vx_kept_free_all(struct vx_cache *c);

/* A box whose fill failed while others still copied out of it: gone from every table, freed by its last user. */
void vx_cache_free_zombie_locked(struct vx_cache *c, struct vx_cbox *b);

/* cache_table.c: the record of a READY box. */
void vx_box_record_locked(struct vx_cache *c, struct vx_cbox *b);
void vx_box_unrecord_locked(struct vx_cache *c, struct vx_cbox *b);
/* cache.c: READY, on its queue, counted. */
void vx_box_make_ready_locked(struct vx_cache *c, struct vx_cbox *b, bool pinned);
void vx_box_suspect_locked(struct vx_cache *c, struct vx_cbox *b);

/* cache_map.c: drops the idle map of a box, if any. */
void vx_box_drop_map_locked(struct vx_cache *c, struct vx_cbox *b);
/* A box that has just become READY, with a map that nobody uses. If that is the fill's own, who comes first undoes it:
 * a copier, eviction or unmap_late. */
void vx_box_map_is_idle_locked(struct vx_cache *c, struct vx_cbox *b);

#endif
