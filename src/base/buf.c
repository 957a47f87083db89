/* SPDX-License-Identifier: Apache-2.0
 * Size classes: four steps to each doubling from 4 KiB, so at most a quarter of a buffer is unused. What matters for
 * speed is where the memory comes from: 256 KiB of fresh small pages cost ten times what it takes to read a chunk into
 * them, so buffers up to 1 MiB are cut from regions of one huge page each, regions are touched ahead of need by whoever
 * calls vx_pool_prepare, and buffers are recycled while they are still in a processor's cache.
 *
 * A buffer that is not in use is idle (its memory stays, up to the idle limit) or dropped (its memory is the kernel's
 * again, its place in the region waits). A region goes when all of its buffers are dropped.
 */
#include "base/buf.h"
#include "base/check.h"
#include "base/list.h"

#include <string.h>
#include <sys/mman.h>

#define MIN_CLASS_BYTES ((size_t)4096)
#define REGION_BYTES VX_POOL_REGION
#define SLAB_MAX_BYTES ((size_t)1 << 20) /* larger buffers are maps of their own */
#define CLASSES 160
#define TOUCH_STEP ((size_t)64 << 10)

struct slab {
	uint8_t *mem;
	unsigned count, dropped; /* buffers in all; dropped: under mtx */
	struct vx_buf buf[];
};

struct vx_pool {
	struct vx_mutex mtx;
	size_t idle_limit; /* constant */
	_Atomic uint64_t used_bytes;
	/* --- under mtx ------------------------------------------------------------------------------------------ */
	struct vx_link idle[CLASSES];    /* last in, first out */
	struct vx_link dropped[CLASSES]; /* of slabs */
	size_t idle_bytes;
	void *ready[VX_POOL_READY_MAX];
	unsigned nready, most_ready;
	void (*on_low)(void *ctx);
	void *on_low_ctx;
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
	for (unsigned c = 0; c < CLASSES; c++) {
		vx_list_init(&p->idle[c]);
		vx_list_init(&p->dropped[c]);
	}
	*ret = p;
	return 0;
}

/* ---- regions ---- */

/* 2 MiB on a 2 MiB boundary, so that one huge page can hold it. */
static void *region_map(void)
{
	uint8_t *m = mmap(NULL, 2 * REGION_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *at;

	if (m == MAP_FAILED)
		return NULL;
	at = (uint8_t *)vx_round_up((uintptr_t)m, REGION_BYTES);
	if (at > m)
		munmap(m, (size_t)(at - m));
	munmap(at + REGION_BYTES, (size_t)(m + REGION_BYTES - at));
	madvise(at, REGION_BYTES, MADV_HUGEPAGE);
	return at;
}

static void *region_get(struct vx_pool *p)
{
	void *r = NULL, *ctx;
	void (*on_low)(void *);

	{
		VX_LOCK_SCOPE(&p->mtx);
		if (p->nready)
			r = p->ready[--p->nready];
		on_low = p->nready <= p->most_ready / 2 ? p->on_low : NULL;
		ctx = p->on_low_ctx;
	}
	if (on_low)
		on_low(ctx);
	return r ? r : region_map();
}

void vx_pool_on_low(struct vx_pool *p, void (*f)(void *ctx), void *ctx)
{
	VX_LOCK_SCOPE(&p->mtx);
	p->on_low = f;
	p->on_low_ctx = ctx;
}

static void *make_region(bool (*go_on)(void *ctx), void *ctx)
{
	uint8_t *r = region_map();

	for (size_t at = 0; r && at < REGION_BYTES; at += TOUCH_STEP) {
		if (!go_on(ctx)) {
			munmap(r, REGION_BYTES);
			return NULL;
		}
		for (size_t page = at; page < at + TOUCH_STEP; page += MIN_CLASS_BYTES)
			((volatile uint8_t *)r)[page] = 0;
	}
	return r;
}

static bool put_ready(struct vx_pool *p, void *r)
{
	VX_LOCK_SCOPE(&p->mtx);
	if (p->nready >= p->most_ready)
		return false;
	p->ready[p->nready++] = r;
	return true;
}

bool vx_pool_prepare(struct vx_pool *p, unsigned most, bool (*go_on)(void *ctx), void *ctx)
{
	void *r;

	{
		VX_LOCK_SCOPE(&p->mtx);
		p->most_ready = most < VX_POOL_READY_MAX ? most : VX_POOL_READY_MAX;
		if (p->nready >= p->most_ready)
			return false;
	}
	r = make_region(go_on, ctx);
	if (!r)
		return false;
	if (!put_ready(p, r))
		munmap(r, REGION_BYTES);
	return true;
}

void vx_pool_trim_ready(struct vx_pool *p, unsigned most)
{
	void *extra;

	do {
		extra = NULL;
		{
			VX_LOCK_SCOPE(&p->mtx);
			if (p->nready > most)
				extra = p->ready[--p->nready];
		}
		if (extra)
			munmap(extra, REGION_BYTES);
	} while (extra);
}

uint64_t vx_pool_bytes_ready(const struct vx_pool *pool)
{
	struct vx_pool *p = (struct vx_pool *)pool;
	VX_LOCK_SCOPE(&p->mtx);
	return p->nready * REGION_BYTES;
}

/* ---- new buffers ---- */

static void buf_init(struct vx_buf *b, struct vx_pool *p, unsigned c, uint8_t *data, size_t bytes)
{
	b->data = data;
	b->cap = bytes;
	b->pool = p;
	b->size_class = c;
	vx_list_init(&b->link);
}

static struct vx_buf *create_large(struct vx_pool *p, unsigned c, size_t bytes)
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
	madvise(m, bytes, MADV_HUGEPAGE);
	buf_init(b, p, c, m, bytes);
	return b;
}

/* Cuts a region into buffers; the first is returned, the others are idle with their memory not touched yet. */
static struct vx_buf *create_slab(struct vx_pool *p, unsigned c, size_t bytes)
{
	unsigned count = (unsigned)(REGION_BYTES / bytes);
	struct slab *s = calloc(1, sizeof *s + count * sizeof s->buf[0]);

	if (!s)
		return NULL;
	s->mem = region_get(p);
	if (!s->mem) {
		free(s);
		return NULL;
	}
	s->count = count;
	s->dropped = count - 1;
	for (unsigned i = 0; i < count; i++) {
		buf_init(&s->buf[i], p, c, s->mem + i * bytes, bytes);
		s->buf[i].slab = s;
	}
	VX_LOCK_SCOPE(&p->mtx);
	for (unsigned i = 1; i < count; i++)
		vx_list_push_back(&p->dropped[c], &s->buf[i].link);
	return &s->buf[0];
}

static struct vx_buf *take(struct vx_pool *p, unsigned c)
{
	VX_LOCK_SCOPE(&p->mtx);
	struct vx_link *from = !vx_list_empty(&p->idle[c]) ? &p->idle[c] : &p->dropped[c];
	struct vx_buf *b;

	if (vx_list_empty(from))
		return NULL;
	b = vx_list_entry(from->next, struct vx_buf, link);
	vx_list_remove(&b->link);
	if (from == &p->idle[c])
		p->idle_bytes -= b->cap;
	else
		b->slab->dropped--;
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
	b = take(pool, c);
	if (!b)
		b = bytes <= SLAB_MAX_BYTES ? create_slab(pool, c, bytes) : create_large(pool, c, bytes);
	if (!b)
		return NULL;
	b->len = 0;
	b->refs = 1;
	pool->used_bytes += b->cap;
	return b;
}

/* ---- handing back ---- */

static void slab_free(struct slab *s)
{
	munmap(s->mem, REGION_BYTES);
	free(s);
}

/* Gives the memory back, and the whole region when nothing else of it has any. */
static void drop(struct vx_pool *p, struct vx_buf *b)
{
	struct slab *s = b->slab;

	if (!s) {
		munmap(b->data, b->cap);
		free(b);
		return;
	}
	madvise(b->data, b->cap, MADV_DONTNEED);
	{
		VX_LOCK_SCOPE(&p->mtx);
		vx_list_push_front(&p->dropped[b->size_class], &b->link);
		if (++s->dropped < s->count)
			return;
		for (unsigned i = 0; i < s->count; i++)
			vx_list_remove(&s->buf[i].link);
	}
	slab_free(s);
}

struct vx_buf *vx_buf_ref(struct vx_buf *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed); /* the caller owns one already */
	return b;
}

struct vx_buf *vx_buf_slice(struct vx_buf *b, size_t off, size_t len)
{
	struct vx_buf *s = calloc(1, sizeof *s);

	assert(off <= b->len && len <= b->len - off);
	if (!s)
		return NULL;
	s->data = b->data + off;
	s->len = s->cap = len;
	s->pool = b->pool;
	s->of = vx_buf_ref(b);
	s->refs = 1;
	vx_list_init(&s->link);
	return s;
}

struct vx_buf *vx_buf_compact(struct vx_buf *b)
{
	struct vx_buf *copy;

	if (!b->of)
		return vx_buf_ref(b);
	copy = vx_buf_get(b->pool, b->len);
	if (!copy)
		return NULL;
	memcpy(copy->data, b->data, b->len);
	copy->len = b->len;
	return copy;
}

void vx_buf_put(struct vx_buf *b)
{
	struct vx_pool *p;

	if (!b || --b->refs > 0)
		return;
	if (b->of) {
		vx_buf_put(b->of);
		free(b);
		return;
	}
	p = b->pool;
	p->used_bytes -= b->cap;
	{
		VX_LOCK_SCOPE(&p->mtx);
		if (p->idle_bytes + b->cap <= p->idle_limit) {
			p->idle_bytes += b->cap;
			vx_list_push_front(&p->idle[b->size_class], &b->link);
			return;
		}
	}
	drop(p, b);
}

void vx_pool_free(struct vx_pool **pool)
{
	struct vx_pool *p = vx_steal(*pool);

	if (!p)
		return;
	assert(p->used_bytes == 0);
	for (unsigned c = 0; c < CLASSES; c++)
		while (!vx_list_empty(&p->idle[c])) {
			struct vx_buf *b = vx_list_entry(p->idle[c].next, struct vx_buf, link);

			vx_list_remove(&b->link);
			drop(p, b); /* nothing is in use, so the last of a region frees it */
		}
	while (p->nready)
		munmap(p->ready[--p->nready], REGION_BYTES);
	vx_mutex_done(&p->mtx);
	free(p);
}

int vx_buf_grow(struct vx_buf **b, size_t size)
{
	struct vx_buf *old = *b, *bigger;

	assert(old->refs == 1 && !old->of);
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
