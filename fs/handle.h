/* SPDX-License-Identifier: Apache-2.0
 * What the kernel's file handles stand for. Handles of boxes are written down in the table, so that the next server
 * knows who has what open; all others are known to the server that gave them out, and a later one makes them anew when
 * it meets them. Any thread; lock innermost.
 */
#ifndef VX_FS_HANDLE_H
#define VX_FS_HANDLE_H

#include "sched/cache.h"

struct vx_handles;

/* `table` NULL: nothing is written down. `starts` tells one server's handles from another's. */
int vx_handles_new(struct vx_handles **ret, struct vx_table *table, uint32_t starts);
void vx_handles_free(struct vx_handles **h);

/* ---- boxes ---- */
/* A handle of an open box: recorded before OPEN is answered. `unique` is that of the request. 0: there is no room. */
uint64_t vx_handles_open_box(struct vx_handles *h, struct vx_cbox *b, uint64_t unique);
/* The box, or NULL when the handle is not one of a box that is here. */
struct vx_cbox *vx_handles_box(struct vx_handles *h, uint64_t fh);
/* The same, and forgets the handle: the caller gives back the open. */
struct vx_cbox *vx_handles_close_box(struct vx_handles *h, uint64_t fh);
/* The kernel asks again for what the server before had recorded: that record goes. The box whose open the caller gives
 * back, or NULL. */
struct vx_cbox *vx_handles_asked_again(struct vx_handles *h, uint64_t unique);
/* Takes over the handles of the server before; `f` hears of each box that is open. No other thread. */
void vx_handles_recover(struct vx_handles *h, struct vx_cache *c, void (*f)(void *ctx, struct vx_cbox *b), void *ctx);

/* ---- the rest ---- */
/* A handle for `p`, never NULL. 0: no memory. What is never dropped (an unmount may overtake a RELEASE) is given to
 * `destroy` in the end; NULL: it needs no end. */
uint64_t vx_handles_put(struct vx_handles *h, void *p, void (*destroy)(void *p));
void *vx_handles_get(struct vx_handles *h, uint64_t fh);
/* What the handle stands for here; where it is not known, `make`'s answer from now on. */
void *vx_handles_get_or(struct vx_handles *h, uint64_t fh, void *(*make)(void *ctx), void *ctx,
			void (*destroy)(void *p));
void *vx_handles_drop(struct vx_handles *h, uint64_t fh);

#endif
