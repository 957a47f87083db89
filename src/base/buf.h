/* SPDX-License-Identifier: Apache-2.0
 * Byte buffers, counted and recycled. Chunk bytes travel in these from the store through
 * decompression to the codec, and the ones worth keeping stay in the cache as they are: no copy
 * changes hands. Any thread.
 *
 * A buffer handed back goes on a short last-in-first-out list of its size class, so that the next
 * fetch writes into memory that is still in a processor's cache; what exceeds the pool's limit of
 * idle bytes is unmapped at once.
 */
#ifndef VX_BASE_BUF_H
#define VX_BASE_BUF_H

#include "base/list.h"
#include "base/lock.h"

#include <stdatomic.h>

struct vx_pool;

struct vx_buf {
	uint8_t *data;
	size_t len; /* bytes in use */
	size_t cap; /* bytes allocated: at least what was asked for */
	/* private */
	struct vx_pool *pool;
	struct slab *slab; /* the region it is cut from, or NULL */
	struct vx_buf *of; /* a slice: the buffer whose bytes it shares */
	struct vx_link link;
	_Atomic unsigned refs;
	unsigned size_class;
};

int vx_pool_new(struct vx_pool **ret, size_t idle_limit);
void vx_pool_free(struct vx_pool **pool); /* every buffer must have come back */

/* Makes one more region ready ahead of need if there are fewer than `most` (at most VX_POOL_READY_MAX); false when
 * there are enough, or `go_on`, which it asks often and which may take its time, said no. For a thread that has time.
 */
#define VX_POOL_REGION ((size_t)2 << 20)
#define VX_POOL_READY_MAX 512
bool vx_pool_prepare(struct vx_pool *pool, unsigned most, bool (*go_on)(void *ctx), void *ctx);
/* Gives back what is ready beyond `most`. */
void vx_pool_trim_ready(struct vx_pool *pool, unsigned most);
uint64_t vx_pool_bytes_ready(const struct vx_pool *pool);
/* `f` is called, from any thread, when less than half of them are left: time to prepare. */
void vx_pool_on_low(struct vx_pool *pool, void (*f)(void *ctx), void *ctx);

/* A buffer with cap >= size and len 0, one reference; NULL when memory is short. */
struct vx_buf *vx_buf_get(struct vx_pool *pool, size_t size);
struct vx_buf *vx_buf_ref(struct vx_buf *b);
void vx_buf_put(struct vx_buf *b); /* NULL is fine */

/* A buffer of its own whose bytes are [off, off + len) of `b`, which it keeps alive; NULL when memory is short. Bytes
 * are not copied; nobody may write them any more. */
struct vx_buf *vx_buf_slice(struct vx_buf *b, size_t off, size_t len);
/* Another reference; of a slice, which would keep all of its buffer from the pool, a copy. NULL: no memory for it. */
struct vx_buf *vx_buf_compact(struct vx_buf *b);

/* Makes room for `size` bytes, keeping the first len; needs the only reference, and no slice. -ENOMEM
 * leaves the buffer as it was. */
int vx_buf_grow(struct vx_buf **b, size_t size);

/* Bytes held by buffers in use and idle (ready ones not counted), for the gauges. */
uint64_t vx_pool_bytes_used(const struct vx_pool *pool);
uint64_t vx_pool_bytes_idle(const struct vx_pool *pool);

static inline void vx_buf_put_scope(struct vx_buf **b)
{
	vx_buf_put(*b);
}
#define VX_AUTO_BUF VX_CLEANUP(vx_buf_put_scope)

#endif
