/* SPDX-License-Identifier: Apache-2.0
 * Which cached thing goes first: S3-FIFO over items of any size. Pure bookkeeping on intrusive items, no memory of its
 * own but a fixed table of ghosts; the caller locks.
 *
 * New items enter a small queue that holds a tenth of the bytes. What is asked for again while there moves to the main
 * queue; what is not leaves, and only its hash stays behind as a ghost. An item that comes back while its ghost is
 * known goes straight to the main queue. So a one-pass sweep of any length passes through the small queue and the
 * working set in the main queue does not notice. `tools/bench --traces` prints hit ratios beside LRU, FIFO and SIEVE.
 *
 * Pinned is: not on a queue. An item in use is taken off with vx_evict_pin and put back with vx_evict_unpin.
 */
#ifndef VX_ARENA_EVICT_H
#define VX_ARENA_EVICT_H

#include "base/list.h"

struct vx_evict_item {
	struct vx_link link;
	uint64_t bytes;
	uint64_t hash; /* of its identity: recognises it when it returns */
	uint8_t uses;  /* saturating count of touches since it was queued */
	bool main;     /* belongs to the main queue */
	bool queued;   /* false: pinned, or not managed */
	uint8_t kind;  /* the caller's */
};

#define VX_GHOSTS 16384

struct vx_evict {
	struct vx_link small, main; /* oldest first */
	uint64_t small_bytes, main_bytes;
	uint64_t clock; /* bytes ever evicted: the ghosts' time */
	struct {
		uint64_t hash, when;
	} ghost[VX_GHOSTS];
};

void vx_evict_init(struct vx_evict *q);
/* A new item, resident from now on. Fill in bytes, hash and kind first. `pinned` items are queued by vx_evict_unpin. */
void vx_evict_add(struct vx_evict *q, struct vx_evict_item *i, bool pinned);
void vx_evict_touch(struct vx_evict_item *i);
void vx_evict_pin(struct vx_evict *q, struct vx_evict_item *i);
void vx_evict_unpin(struct vx_evict *q, struct vx_evict_item *i);
/* Takes an item off for good, without leaving a ghost. */
void vx_evict_remove(struct vx_evict *q, struct vx_evict_item *i);
/* The next victim, taken off its queue (as pinned); NULL when nothing is queued. Free it, or unpin it to spare it. */
struct vx_evict_item *vx_evict_next(struct vx_evict *q);

#endif
