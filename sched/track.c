/* SPDX-License-Identifier: Apache-2.0
 * Three patterns: forward, backward, and a constant stride (a plane or a row of each slice). The kernel's own
 * read-ahead sends neighbouring requests out of order, so "in sequence" allows for some slack, and the direction is
 * that in which the run of neighbours was made longer.
 */
#include "sched/track.h"

#define SLACK ((uint64_t)1 << 20)
#define RUN_MIN 2 /* repetitions before a stride is believed */

static bool is_near(const struct vx_track *t, uint64_t off, uint64_t end)
{
	return off <= t->last_end + SLACK && t->last_off <= end + SLACK;
}

static uint64_t grow(struct vx_track *t, uint64_t window_max)
{
	t->window = t->window ? t->window * 2 : VX_TRACK_WINDOW_MIN;
	t->window = vx_min_u64(t->window, window_max);
	return t->window;
}

static bool ask(struct vx_track *t, uint64_t lo, uint64_t hi, uint64_t *ret_lo, uint64_t *ret_hi)
{
	if (lo < t->ahead_hi && hi > t->ahead_lo) { /* leave out what was asked before */
		if (lo >= t->ahead_lo)
			lo = t->ahead_hi;
		else
			hi = t->ahead_lo; /* what lies beyond comes next time */
	}
	if (lo >= hi)
		return false;
	if (lo == t->ahead_hi) {
		t->ahead_hi = hi;
	} else if (hi == t->ahead_lo) {
		t->ahead_lo = lo;
	} else {
		t->ahead_lo = lo;
		t->ahead_hi = hi;
	}
	*ret_lo = lo;
	*ret_hi = hi;
	return true;
}

static void forget(struct vx_track *t)
{
	t->run = 0;
	t->window = 0;
	t->ahead_lo = t->ahead_hi = 0;
}

/* What lies beyond the run, on the side on which this read has made it longer. */
static bool ask_beside(struct vx_track *t, uint64_t off, uint64_t end, uint64_t size, uint64_t window_max, uint64_t *lo,
		       uint64_t *hi)
{
	bool forward = end > t->run_hi, backward = off < t->run_lo;
	uint64_t window;

	t->run_lo = vx_min_u64(t->run_lo, off);
	t->run_hi = vx_max_u64(t->run_hi, end);
	if (forward ? t->run_hi >= size : !backward)
		return false;
	window = grow(t, window_max);
	if (forward)
		return ask(t, t->run_hi, vx_min_u64(size, t->run_hi + window), lo, hi);
	return ask(t, t->run_lo > window ? t->run_lo - window : 0, t->run_lo, lo, hi);
}

/* The place where the next step leads. */
static bool ask_stride(struct vx_track *t, uint64_t off, uint64_t end, int64_t stride, uint64_t size,
		       uint64_t window_max, uint64_t *lo, uint64_t *hi)
{
	uint64_t next = off + (uint64_t)stride, next_end = vx_min_u64(size, next + vx_min_u64(end - off, window_max));

	if (stride > 0)
		return next < size && ask(t, vx_max_u64(next, end), next_end, lo, hi);
	return off >= (uint64_t)-stride && ask(t, next, vx_min_u64(next_end, off), lo, hi);
}

bool vx_track_read(struct vx_track *t, uint64_t off, uint64_t len, uint64_t size, uint64_t window_max, uint64_t *lo,
		   uint64_t *hi)
{
	uint64_t end = off + len;
	int64_t stride = (int64_t)(off - t->last_off);
	bool first = t->last_end == 0;
	bool near = !first && is_near(t, off, end);
	bool strided = !first && !near && stride == t->stride;
	bool found = false;

	if (near || strided)
		t->run++;
	else
		forget(t);
	if (near) {
		found = ask_beside(t, off, end, size, window_max, lo, hi);
	} else {
		t->run_lo = off;
		t->run_hi = end;
		if (strided && t->run >= RUN_MIN)
			found = ask_stride(t, off, end, stride, size, window_max, lo, hi);
	}
	t->stride = stride;
	t->last_off = off;
	t->last_end = end;
	return found;
}
