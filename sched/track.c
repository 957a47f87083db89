/* SPDX-License-Identifier: Apache-2.0
 * Three patterns: forward, backward, and a constant stride (a plane or a row of each slice). The kernel's own
 * read-ahead sends neighbouring requests out of order, so "in sequence" allows for some slack.
 */
#include "sched/track.h"

#define SLACK ((uint64_t)1 << 20)
#define RUN_MIN 2 /* repetitions before a stride is believed */

static bool is_near(uint64_t a, uint64_t b)
{
	return a > b ? a - b <= SLACK : b - a <= SLACK;
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
		if (hi <= t->ahead_hi)
			hi = vx_min_u64(hi, t->ahead_lo > lo ? t->ahead_lo : hi);
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

bool vx_track_read(struct vx_track *t, uint64_t off, uint64_t len, uint64_t size, uint64_t window_max, uint64_t *lo,
		   uint64_t *hi)
{
	uint64_t end = off + len;
	int64_t stride = (int64_t)(off - t->last_off);
	bool first = t->last_end == 0 && t->last_off == 0;
	bool forward = !first && is_near(off, t->last_end);
	bool backward = !first && !forward && is_near(end, t->last_off);
	bool strided = !first && !forward && !backward && stride == t->stride && stride != 0;
	bool found = false;

	if (forward || backward || strided)
		t->run++;
	else
		forget(t);
	if (forward) {
		uint64_t from = vx_max_u64(end, t->last_end);

		if (from < size)
			found = ask(t, from, vx_min_u64(size, from + grow(t, window_max)), lo, hi);
	} else if (backward) {
		uint64_t window = grow(t, window_max);

		found = ask(t, off > window ? off - window : 0, off, lo, hi);
	} else if (strided && t->run >= RUN_MIN) {
		uint64_t next = off + (uint64_t)stride;

		if (next < size && (stride > 0 || off >= (uint64_t)-stride))
			found = ask(t, next, vx_min_u64(size, next + vx_min_u64(len, window_max)), lo, hi);
	}
	t->stride = stride;
	t->last_off = off;
	t->last_end = end;
	return found;
}
