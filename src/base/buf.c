/* SPDX-License-Identifier: Apache-2.0
 * Size classes: four steps to each doubling from 4 KiB, so at most a quarter of a buffer is unused.
 * Buffers are anonymous maps of their own: those of 2 MiB and more ask for huge pages.
 */
#include "base/buf.h"
#include "base/check.h"

#include <string.h>
#include <sys/mman.h>

#define MIN_CLASS_BYTES ((size_t)4096)
#define CLASSES 160

struct vx_pool {
	struct vx_mutex mtx;
	struct vx_buf *idle[CLASSES]; /* under mtx */
	size_t idle_bytes;            /* under mtx */
	size_t idle_limit;            /* constant */
	_Atomic uint64_t used_bytes;
};

static unsigned class_of(size_t size, size_t *ret_bytes)
{
	size_t base = MIN_CLASS_BYTES;
	unsigned c = 0;

	while (base * 2 < size) {
		base *= 2;
		c += 4;
	}
	for (unsigned q = 0; q < 5; q++) {
		size_t bytes = vx_round_up(base + base / 4 * q, MIN_CLASS_BYTES);

		if (size <= bytes) {
			*ret_bytes = bytes;
			return c + q;
		}
	}
	__builtin_unreachable();
}

int vx_pool_new(struct vx_pool **ret, size_t idle_limit)
{
	struct vx_pool *p = calloc(1, sizeof *p);

	if (!p)
		return -ENOMEM;
	vx_mutex_init(&p->mtx, VX_RANK_POOL);
	p->idle_limit = idle_limit;
	*ret = p;
	return 0;
}

static void destroy(struct vx_buf *b)
{
	munmap(b->data, b->cap);
	free(b);
}

void vx_pool_free(struct vx_pool **pool)
{
	struct vx_pool *p = vx_steal(*pool);

	if (!p)
		return;
	assert(p->used_bytes == 0);
	for (unsigned c = 0; c < CLASSES; c++)
		while (p->idle[c]) {
			struct vx_buf *b = p->idle[c];

			p->idle[c] = b->next;
			destroy(b);
		}
	vx_mutex_done(&p->mtx);
	free(p);
}

static struct vx_buf *take_idle(struct vx_pool *p, unsigned c)
{
	VX_LOCK_SCOPE(&p->mtx);
	struct vx_buf *b = p->idle[c];

	if (b) {
		p->idle[c] = b->next;
		p->idle_bytes -= b->cap;
	}
	return b;
}

static struct vx_buf *create(struct vx_pool *p, unsigned c, size_t bytes)
{
	struct vx_buf *b = calloc(1, sizeof *b);
	void *m;

	if (!b)
		return NULL;
	m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED) {
		free(b);
		return NULL;
	}
	if (bytes >= (size_t)2 << 20)
		madvise(m, bytes, MADV_HUGEPAGE);
	b->data = m;
	b->cap = bytes;
	b->pool = p;
	b->size_class = c;
	return b;
}

struct vx_buf *vx_buf_get(struct vx_pool *pool, size_t size)
{
	size_t bytes;
	struct vx_buf *b;
	unsigned c;

	if (size > (size_t)1 << 40)
		return NULL;
	c = class_of(size, &bytes);
	b = take_idle(pool, c);
	if (!b)
		b = create(pool, c, bytes);
	if (!b)
		return NULL;
	b->len = 0;
	b->next = NULL;
	b->refs = 1;
	pool->used_bytes += b->cap;
	return b;
}

struct vx_buf *vx_buf_ref(struct vx_buf *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed); /* the caller owns one already */
	return b;
}

void vx_buf_put(struct vx_buf *b)
{
	struct vx_pool *p;

	if (!b || --b->refs > 0)
		return;
	p = b->pool;
	p->used_bytes -= b->cap;
	{
		VX_LOCK_SCOPE(&p->mtx);
		if (p->idle_bytes + b->cap <= p->idle_limit) {
			p->idle_bytes += b->cap;
			b->next = p->idle[b->size_class];
			p->idle[b->size_class] = b;
			return;
		}
	}
	destroy(b);
}

int vx_buf_grow(struct vx_buf **b, size_t size)
{
	struct vx_buf *old = *b, *bigger;

	assert(old->refs == 1);
	if (size <= old->cap)
		return 0;
	bigger = vx_buf_get(old->pool, size);
	if (!bigger)
		return -ENOMEM;
	memcpy(bigger->data, old->data, old->len);
	bigger->len = old->len;
	vx_buf_put(old);
	*b = bigger;
	return 0;
}

uint64_t vx_pool_bytes_used(const struct vx_pool *pool)
{
	return pool->used_bytes;
}

uint64_t vx_pool_bytes_idle(const struct vx_pool *pool)
{
	struct vx_pool *p = (struct vx_pool *)pool;
	VX_LOCK_SCOPE(&p->mtx);
	return p->idle_bytes;
}
