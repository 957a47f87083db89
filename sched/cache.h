/* SPDX-License-Identifier: Apache-2.0
 * What is resident, in one budget: boxes (arena objects that clients open) and kept chunks (bytes from which other
 * boxes can be cut). Knows who uses a box, finds boxes that hold a wanted part, and gives memory back in the order that
 * evict.h decides. Any thread; the lock is VX_RANK_CACHE; under it nothing waits but where ARCHITECTURE.md says so.
 *
 * States of a box: EMPTY -> FILLING -> READY -> DYING -> EMPTY or READY; a failed fill goes back to EMPTY. EMPTY boxes
 * without waiters do not exist. The only ways out of READY are step 2 of eviction and the end of the program.
 */
#ifndef VX_SCHED_CACHE_H
#define VX_SCHED_CACHE_H

#include "arena/arena.h"
#include "arena/evict.h"
#include "arena/index.h"
#include "arena/table.h"
#include "base/lock.h"
#include "sched/call.h"
#include "sched/source.h"

#include <stdatomic.h>

struct vx_cache;

enum vx_box_state { VX_BOX_EMPTY, VX_BOX_FILLING, VX_BOX_READY, VX_BOX_DYING };

struct vx_cbox {
	/* --- constant ------------------------------------------------------------------------------------------ */
	struct vx_source *src;
	unsigned mip;
	struct vx_box box;
	uint64_t bytes;
	/* --- under the cache's lock ---------------------------------------------------------------------------- */
	struct vx_link in_table;
	enum vx_box_state state;
	uint32_t opens;         /* OPENs answered or about to be, minus RELEASEs */
	uint32_t map_users;     /* threads that copy from `map`, and opens that are served from it */
	void *map;              /* the box in this process, or NULL */
	bool map_writable;      /* the fill's own: not kept for later */
	struct vx_link in_undo; /* READY, with an idle map that is writable still: to be undone at undo_ns */
	uint64_t undo_ns;
	struct vx_object object;
	uint32_t slot; /* READY or DYING: in the table that outlives the server */
	bool indexed;
	struct vx_index_item place;
	struct vx_evict_item item;
	bool suspect;      /* released but not proven unmapped: its memory may be pinned by a client's map */
	uint64_t probe_ns; /* suspect: when to look again */
	uint64_t backoff_ns;
	struct vx_link in_suspects;
	/* sched/boxes, also under the lock */
	struct vx_link waiters;
	struct vx_call call;
	uint32_t client;      /* who asked first: its turn pays for the fill */
	struct vx_job *fill;  /* FILLING: the job, once it runs */
	uint64_t deadline_ns; /* waiting for space until then */
	struct vx_link in_starving;
	/* --- FILLING: which chunks have landed; bits are set by workers, atomically ------------------------------ */
	unsigned grid;
	uint64_t cell_lo[3], cell_n[3]; /* bits: by x, then y, z, slab */
	_Atomic uint64_t *landed;
};

/* Takes over the arena; NULL: one of its own. */
int vx_cache_new(struct vx_cache **ret, uint64_t limit, struct vx_pool *pool, struct vx_arena *arena, struct vx_err *e);
/* Writes down from now on which boxes are whole. Before the first box. */
void vx_cache_set_table(struct vx_cache *c, struct vx_table *t);
/* Takes over the boxes that a server before this one had whole, and removes what else it left in the arena. `source`
 * gives the source of a number, or NULL. Before the first open, after the sharer is set; no other thread. */
void vx_cache_recover(struct vx_cache *c, struct vx_source *(*source)(void *ctx, uint32_t id), void *ctx);
/* The box whose record is at a slot of the table, or NULL. Under the lock. */
struct vx_cbox *vx_cache_at_slot_locked(struct vx_cache *c, uint32_t slot);
void vx_cache_free(struct vx_cache **c); /* no box open, nothing filling */
struct vx_arena *vx_cache_arena(struct vx_cache *c);
struct vx_mutex *vx_cache_lock(struct vx_cache *c);
uint64_t vx_cache_limit(const struct vx_cache *c);

/* Called under the lock when a DYING box has become EMPTY or READY again while openers waited. It only schedules. */
void vx_cache_on_revived(struct vx_cache *c, void (*f_locked)(void *ctx, struct vx_cbox *b), void *ctx);

/* ---- the table of boxes; all under the lock ---- */
struct vx_cbox *vx_cache_find_locked(struct vx_cache *c, const struct vx_source *src, unsigned mip,
				     const struct vx_box *box);
struct vx_cbox *vx_cache_add_locked(struct vx_cache *c, struct vx_source *src, unsigned mip, const struct vx_box *box,
				    uint64_t bytes);
/* Forgets an EMPTY box. */
void vx_cache_drop_locked(struct vx_cache *c, struct vx_cbox *b);
/* Calls `f` for each box of a scale that is whole, for listings: most that are being looked at (DYING) stay. */
void vx_cache_each_whole(struct vx_cache *c, const struct vx_source *src, unsigned mip,
			 void (*f)(void *ctx, const struct vx_box *box, uint64_t bytes), void *ctx);

/* ---- space ---- */
/* Takes `bytes` of the budget, evicting as needed. -ENOSPC: what is left is in use. */
int vx_cache_reserve(struct vx_cache *c, uint64_t bytes);
void vx_cache_unreserve(struct vx_cache *c, uint64_t bytes);
/* What was made ready ahead of need (arena objects, the pool's regions) lives in what is left of the budget. */
struct vx_ready_room {
	uint64_t objects; /* bytes of ready objects */
	unsigned regions; /* ready regions for chunk buffers */
};
struct vx_ready_room vx_cache_ready_room(struct vx_cache *c);
/* Gives back what no longer fits. After each reserve. */
void vx_cache_fit_ready(struct vx_cache *c);
/* Looks again at boxes that clients may have unmapped by now: those whose time has come, and up to `early` others.
 * Returns when to call again (vx_now_ns clock; UINT64_MAX: no need). */
uint64_t vx_cache_probe(struct vx_cache *c, unsigned early);

/* ---- pins of a READY box, under the lock ---- */
void vx_cache_opened_locked(struct vx_cache *c, struct vx_cbox *b, uint32_t n);
void vx_cache_closed_locked(struct vx_cache *c, struct vx_cbox *b);

/* Registers an opened box with the kernel if it is not; a node's id never changes while it is open. */
int vx_cache_share_locked(struct vx_cache *c, struct vx_cbox *b, struct vx_err *e);

/* ---- the life of a fill: begin, then (unmap, ready) or failed ---- */
/* Takes the object and its writable map (on success only); parts that land may serve as a source from now on. */
int vx_cache_fill_begin_locked(struct vx_cache *c, struct vx_cbox *b, const struct vx_object *object, void *map);
/* Every writer is done: lets go of the writable map, so that a stray write would fault instead of corrupting. Where
 * others still copy out of it, the last of them does. Small boxes go without: theirs is undone by unmap_late, some
 * time after they are READY, because it would cost their openers more than the memory costs. */
void vx_cache_fill_unmap(struct vx_cache *c, struct vx_cbox *b);
/* Undoes what is due. Returns when to call again (vx_now_ns clock; UINT64_MAX: no need). */
uint64_t vx_cache_unmap_late(struct vx_cache *c);
void vx_cache_fill_ready_locked(struct vx_cache *c, struct vx_cbox *b);
/* Also for fills that never began. The waiters have been taken off; `b` is gone afterwards. */
void vx_cache_fill_failed_locked(struct vx_cache *c, struct vx_cbox *b);

/* Maps a pinned box into this process (read-only unless it is being filled) and keeps the map until unmap. */
int vx_cache_map(struct vx_cache *c, struct vx_cbox *b, struct vx_err *e);
void vx_cache_unmap(struct vx_cache *c, struct vx_cbox *b);
/* For one who can do without: where it fails there is no map, to be given back all the same. */
void vx_cache_try_map(struct vx_cache *c, struct vx_cbox *b);
/* The map, between the two; NULL where there is none. */
const void *vx_cache_mapped(struct vx_cache *c, const struct vx_cbox *b);

/* ---- parts that are here already ---- */
struct vx_piece {
	struct vx_box box;
	struct vx_place from;
	struct vx_cbox *owner; /* its map is held */
};
#define VX_PIECES_MAX 32
/* Finds boxes that hold `want`, which lies in one cell of `grid`. All of it (the number of pieces, > 0) or nothing (0).
 */
unsigned vx_cache_cover(struct vx_cache *c, const struct vx_source *src, unsigned mip, unsigned grid,
			const struct vx_cell *cell, const struct vx_box *want, struct vx_piece ret[VX_PIECES_MAX]);
/* Where a chunk's bit is in `landed`; false when it is not one of the box's. */
bool vx_cbox_bit(const struct vx_cbox *b, const struct vx_cell *cell, uint64_t *ret);
void vx_cache_uncover(struct vx_cache *c, struct vx_piece *p, unsigned n);

/* ---- kept chunks ---- */
struct vx_cell_key {
	uint32_t space, grid;
	struct vx_cell cell;
};
uint64_t vx_cell_key_hash(const struct vx_cell_key *k);
bool vx_cell_key_equal(const struct vx_cell_key *a, const struct vx_cell_key *b);
/* True when kept; *ret is a reference, or NULL for a chunk known to be missing. */
bool vx_cache_kept(struct vx_cache *c, const struct vx_cell_key *k, struct vx_buf **ret);
/* The same for several, up to the first that is not kept: how many are. */
unsigned vx_cache_kept_run(struct vx_cache *c, const struct vx_cell_key *const *key, unsigned n, struct vx_buf **ret);
/* Keeps it if room can be made. `payload` NULL: known to be missing. Takes a reference of its own. */
void vx_cache_keep(struct vx_cache *c, const struct vx_cell_key *k, struct vx_buf *payload);
/* What was kept turned out to be damaged: the next wish fetches it anew. */
void vx_cache_unkeep(struct vx_cache *c, const struct vx_cell_key *k);

struct vx_cache_stats {
	uint64_t limit, bytes, ready_bytes, pinned_bytes, object_bytes, kept_bytes, objects, kept, open_boxes,
	    mapped_boxes, shared;
};
/* pinned_bytes counts what is open, being filled, or not yet proven unmapped. */
void vx_cache_stats(struct vx_cache *c, struct vx_cache_stats *ret);

#endif
