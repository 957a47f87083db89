/* SPDX-License-Identifier: Apache-2.0
 * A few objects of each of a few sizes, small ones first; then one as large as fits, so that a large box finds its
 * memory too; then more of each. Objects below 2 MiB have small pages and can only become objects below 2 MiB; the
 * others have huge ones.
 */
#include "arena/reserve.h"

#include <string.h>

#define K ((uint64_t)1 << 10)
#define M ((uint64_t)1 << 20)
#define HUGE_BYTES (2 * M)

#define FIRST_SHARE 16 /* of the room, what the first ones of a size may take, if that is one at least */

/* `first`: before the large one is made; `most`: after it. */
static const struct {
	uint64_t size;
	unsigned first, most;
} plan[] = {
    {256 * K, 128, 512}, {M, 32, 96},     {HUGE_BYTES - 4 * K, 16, 16},
    {4 * M, 4, 4},       {16 * M, 4, 4},  {64 * M, 2, 4},
    {128 * M, 0, 4},     {512 * M, 0, 2}, {K * M, 0, 1024},
};
#define SIZES VX_ARRAY_LEN(plan)

struct vx_reserve {
	struct vx_mutex mtx;
	/* --- under mtx ------------------------------------------------------------------------------------------ */
	struct vx_ready *ready[SIZES]; /* arrays of plan[].most */
	unsigned count[SIZES];
	uint64_t bytes;
	struct vx_object making; /* id 0: none, or stolen */
	void (*on_low)(void *ctx);
	void *on_low_ctx;
};

int vx_reserve_new(struct vx_reserve **ret)
{
	struct vx_reserve *r = calloc(1, sizeof *r);

	if (!r)
		return -ENOMEM;
	vx_mutex_init(&r->mtx, VX_RANK_ARENA);
	for (unsigned i = 0; i < SIZES; i++) {
		r->ready[i] = calloc(plan[i].most, sizeof r->ready[i][0]);
		if (!r->ready[i]) {
			vx_reserve_free(&r);
			return -ENOMEM;
		}
	}
	*ret = r;
	return 0;
}

void vx_reserve_free(struct vx_reserve **pr)
{
	struct vx_reserve *r = vx_steal(*pr);

	if (!r)
		return;
	assert(!r->bytes);
	for (unsigned i = 0; i < SIZES; i++)
		free(r->ready[i]);
	vx_mutex_done(&r->mtx);
	free(r);
}

uint64_t vx_reserve_bytes(struct vx_reserve *r)
{
	VX_LOCK_SCOPE(&r->mtx);
	return r->bytes + r->making.size;
}

static bool has_large_locked(const struct vx_reserve *r, unsigned kind)
{
	for (unsigned i = kind; i < SIZES; i++)
		if (r->count[i])
			return true;
	return false;
}

static bool fits_locked(const struct vx_reserve *r, unsigned kind, uint64_t room)
{
	return r->count[kind] < plan[kind].most && r->bytes + plan[kind].size <= room;
}

uint64_t vx_reserve_wants(struct vx_reserve *r, uint64_t room)
{
	VX_LOCK_SCOPE(&r->mtx);
	for (unsigned i = 0; i < SIZES; i++)
		if (r->count[i] < vx_min_u64(plan[i].first, vx_max_u64(room / FIRST_SHARE / plan[i].size, 1)) &&
		    fits_locked(r, i, room))
			return plan[i].size;
	for (unsigned i = SIZES; i-- > 0 && !plan[i].first && !has_large_locked(r, i);)
		if (fits_locked(r, i, room))
			return plan[i].size;
	for (unsigned i = 0; i < SIZES; i++)
		if (fits_locked(r, i, room))
			return plan[i].size;
	return 0;
}

void vx_reserve_begin(struct vx_reserve *r, const struct vx_object *o)
{
	VX_LOCK_SCOPE(&r->mtx);
	assert(!r->making.id); /* one thread prepares */
	r->making = *o;
}

bool vx_reserve_steal(struct vx_reserve *r, struct vx_object *ret)
{
	VX_LOCK_SCOPE(&r->mtx);
	*ret = r->making;
	if (!ret->id)
		return false;
	if (ret->fd >= 0)
		ret->fd = dup(ret->fd); /* under the lock: its maker closes the other only after asking for it */
	r->making = (struct vx_object){0};
	return true;
}

void vx_reserve_abandon(struct vx_reserve *r)
{
	VX_LOCK_SCOPE(&r->mtx);
	r->making = (struct vx_object){0};
}

bool vx_reserve_put(struct vx_reserve *r, const struct vx_ready *x)
{
	VX_LOCK_SCOPE(&r->mtx);
	if (r->making.id != x->object.id)
		return false;
	r->making = (struct vx_object){0};
	for (unsigned i = 0; i < SIZES; i++)
		if (plan[i].size == x->object.size) {
			assert(r->count[i] < plan[i].most);
			r->ready[i][r->count[i]++] = *x;
			r->bytes += x->object.size;
		}
	return true;
}

static struct vx_ready take_locked(struct vx_reserve *r, unsigned i)
{
	r->bytes -= plan[i].size;
	return r->ready[i][--r->count[i]];
}

/* What it costs to turn a ready object into one of `size`: pages to add are dear, pages to give back cheap. */
static uint64_t cost(uint64_t ready, uint64_t size)
{
	if ((ready < HUGE_BYTES) != (size < HUGE_BYTES) || ready < size / 4 || ready / 32 > size)
		return UINT64_MAX;
	return ready < size ? size - ready : (ready - size) / 8;
}

static struct vx_ready take_best_locked(struct vx_reserve *r, uint64_t size, bool *low)
{
	uint64_t least = UINT64_MAX;
	unsigned best = SIZES;

	for (unsigned i = 0; i < SIZES; i++) {
		uint64_t c = r->count[i] ? cost(plan[i].size, size) : UINT64_MAX;

		if (c < least) {
			least = c;
			best = i;
		}
	}
	*low = best == SIZES || r->count[best] <= plan[best].most / 2;
	return best < SIZES ? take_locked(r, best) : (struct vx_ready){0};
}

struct vx_ready vx_reserve_take(struct vx_reserve *r, uint64_t size)
{
	struct vx_ready x;
	void (*f)(void *ctx);
	void *ctx;
	bool low;

	{
		VX_LOCK_SCOPE(&r->mtx);
		x = take_best_locked(r, size, &low);
		f = r->on_low;
		ctx = r->on_low_ctx;
	}
	if (f && low)
		f(ctx);
	return x;
}

void vx_reserve_on_low(struct vx_reserve *r, void (*f)(void *ctx), void *ctx)
{
	VX_LOCK_SCOPE(&r->mtx);
	r->on_low = f;
	r->on_low_ctx = ctx;
}

struct vx_ready vx_reserve_take_any(struct vx_reserve *r)
{
	VX_LOCK_SCOPE(&r->mtx);
	for (unsigned i = SIZES; i-- > 0;)
		if (r->count[i])
			return take_locked(r, i);
	return (struct vx_ready){0};
}
