/* SPDX-License-Identifier: Apache-2.0
 * Ready objects: made, mapped and touched ahead of need, so that a fill finds pages that are there and clear. Without
 * it every fill pays for clearing its pages, and on a virtual machine whose host takes freed memory back, for the
 * host's page faults: ten to thirty times the cost of the fill itself. No client has ever had a ready object, so one
 * may become any object of like size by truncation.
 *
 * Any thread; lock rank VX_RANK_ARENA. Used by arena.c only.
 */
#ifndef VX_ARENA_RESERVE_H
#define VX_ARENA_RESERVE_H

#include "arena/arena.h"
#include "base/lock.h"

struct vx_ready {
	struct vx_object object; /* id 0: none */
	void *map;               /* writable, whole */
};

struct vx_reserve;

int vx_reserve_new(struct vx_reserve **ret);
/* The ready objects must have been taken. */
void vx_reserve_free(struct vx_reserve **r);

uint64_t vx_reserve_bytes(struct vx_reserve *r); /* the one in the making included */
/* The size of which another ready object is wanted most, if it fits `room`; 0: none. */
uint64_t vx_reserve_wants(struct vx_reserve *r, uint64_t room);
/* One object may be in the making: it counts from `begin` until put, abandon or steal. False: it was stolen. */
void vx_reserve_begin(struct vx_reserve *r, const struct vx_object *o);
bool vx_reserve_put(struct vx_reserve *r, const struct vx_ready *x);
void vx_reserve_abandon(struct vx_reserve *r);
/* Takes the one in the making away from its maker: the caller truncates it, which makes populating it fail. A memfd
 * comes with a descriptor of the caller's own. */
bool vx_reserve_steal(struct vx_reserve *r, struct vx_object *ret);
/* The ready object that costs least to make one of `size`; id 0 when none is like it. */
struct vx_ready vx_reserve_take(struct vx_reserve *r, uint64_t size);
/* Called when a take leaves less than half of a kind. */
void vx_reserve_on_low(struct vx_reserve *r, void (*f)(void *ctx), void *ctx);
/* The largest. */
struct vx_ready vx_reserve_take_any(struct vx_reserve *r);

#endif
