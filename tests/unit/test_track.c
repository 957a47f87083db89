/* SPDX-License-Identifier: Apache-2.0
 * Reading ahead: what is asked for on traces of readers.
 */
#include "../lib/vxtest.h"
#include "sched/track.h"

#include <string.h>

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define WINDOW_MAX (16 * MIB)
#define PIECE (128 * KIB)

static struct vx_track t;
static uint64_t lo, hi;

/* One read, with what must hold of every answer. */
static bool read_at(uint64_t off, uint64_t len, uint64_t size, uint64_t window_max)
{
	uint64_t asked_lo = t.ahead_lo, asked_hi = t.ahead_hi;
	bool found;

	lo = hi = UINT64_MAX;
	found = vx_track_read(&t, off, len, size, window_max, &lo, &hi);
	ck_assert_uint_le(t.window, window_max);
	if (!found)
		return false;
	ck_assert_uint_lt(lo, hi);
	ck_assert_uint_le(hi, size);
	ck_assert_uint_le(hi - lo, window_max);
	ck_assert_msg(hi <= off || lo >= off + len, "what is being read anyway was asked for");
	/* What it remembers to have asked is forgotten when the pattern breaks, which sets run to 0. */
	if (t.run && asked_lo < asked_hi)
		ck_assert_msg(hi <= asked_lo || lo >= asked_hi, "asked twice: %llu..%llu after %llu..%llu",
			      (unsigned long long)lo, (unsigned long long)hi, (unsigned long long)asked_lo,
			      (unsigned long long)asked_hi);
	return true;
}

START_TEST(forward)
{
	const uint64_t size = 200 * MIB + 12345;
	uint64_t ahead = 0, asked = 0, least = UINT64_MAX;

	for (uint64_t off = 0; off < size; off += PIECE) {
		uint64_t len = vx_min_u64(PIECE, size - off);

		if (read_at(off, len, size, WINDOW_MAX)) {
			ck_assert(lo == ahead || !ahead); /* without a gap */
			ahead = hi;
			asked += hi - lo;
		}
		if (off > 10 * MIB && off + WINDOW_MAX < size)
			least = vx_min_u64(least, ahead - off);
	}
	ck_assert_uint_eq(ahead, size); /* to the end, and not beyond */
	ck_assert_uint_le(asked, size);
	ck_assert_uint_ge(least, WINDOW_MAX / 2);
}
END_TEST

START_TEST(window_grows)
{
	uint64_t before = 0;

	ck_assert(!read_at(0, PIECE, 1000 * MIB, WINDOW_MAX)); /* one read is no pattern */
	ck_assert_uint_eq(t.window, 0);
	for (uint64_t k = 1; k < 30; k++) {
		read_at(k * PIECE, PIECE, 1000 * MIB, WINDOW_MAX);
		if (k == 1)
			ck_assert_uint_eq(t.window, VX_TRACK_WINDOW_MIN);
		else
			ck_assert_uint_eq(t.window, vx_min_u64(before * 2, WINDOW_MAX));
		before = t.window;
	}
	ck_assert_uint_eq(before, WINDOW_MAX);
	ck_assert(!read_at(700 * MIB, PIECE, 1000 * MIB, WINDOW_MAX)); /* a jump: from the beginning */
	ck_assert_uint_eq(t.window, 0);
	ck_assert(read_at(700 * MIB + PIECE, PIECE, 1000 * MIB, 4096));
	ck_assert_uint_eq(t.window, 4096);
	ck_assert_uint_eq(lo, 700 * MIB + 2 * PIECE);
	ck_assert_uint_eq(hi - lo, 4096);
}
END_TEST

START_TEST(backward)
{
	const uint64_t size = 100 * MIB;
	uint64_t ahead = UINT64_MAX;

	for (uint64_t off = size - PIECE;; off -= PIECE) {
		if (read_at(off, PIECE, size, WINDOW_MAX)) {
			ck_assert_uint_le(hi, off);
			ck_assert(hi == ahead || ahead == UINT64_MAX);
			ahead = lo;
		}
		if (off == 0)
			break;
	}
	ck_assert_uint_eq(ahead, 0);
}
END_TEST

static void strided(uint64_t first, int64_t stride, unsigned count, uint64_t size)
{
	for (unsigned k = 0; k < count; k++) {
		uint64_t off = first + (uint64_t)((int64_t)k * stride), next = off + (uint64_t)stride;
		bool found = read_at(off, PIECE, size, WINDOW_MAX);

		if (k < 3 || next >= size) {
			ck_assert(!found || k >= 2);
			continue;
		}
		ck_assert_msg(found, "step %u", k);
		ck_assert_uint_eq(lo, next);
		ck_assert_uint_eq(hi, vx_min_u64(size, next + PIECE));
	}
}

START_TEST(strides)
{
	strided(5 * MIB, 10 * (int64_t)MIB, 20, 200 * MIB);
	memset(&t, 0, sizeof t);
	strided(195 * MIB, -10 * (int64_t)MIB, 20, 200 * MIB);
	memset(&t, 0, sizeof t);
	strided(0, 7 * (int64_t)MIB, 20, 19 * 7 * MIB + 1); /* the last one is cut off by the end */
}
END_TEST

START_TEST(no_pattern)
{
	static const uint64_t at[] = {50, 10, 90, 30, 70, 20, 99, 1, 60, 5};

	for (unsigned k = 0; k < 100; k++) {
		ck_assert(!read_at(at[k % 10] * 10 * MIB, PIECE, 1000 * MIB, WINDOW_MAX));
		ck_assert_uint_eq(t.window, 0);
	}
}
END_TEST

/* The kernel's read-ahead sends neighbours out of order. */
START_TEST(shuffled_neighbours)
{
	struct vxt_rng r = vxt_seed("shuffled_neighbours", _i);
	const uint64_t size = 64 * MIB;
	static uint8_t times[64 * 8];
	uint64_t group[4], total = 0;

	memset(times, 0, sizeof times);
	for (uint64_t base = 0; base < size / PIECE; base += 4) {
		for (unsigned k = 0; k < 4; k++)
			group[k] = base + k;
		for (unsigned k = 3; k > 0; k--) {
			unsigned other = (unsigned)vxt_rnd(&r, k + 1);
			uint64_t swap = group[k];

			group[k] = group[other];
			group[other] = swap;
		}
		for (unsigned k = 0; k < 4; k++) {
			if (!read_at(group[k] * PIECE, PIECE, size, WINDOW_MAX))
				continue;
			total += hi - lo;
			for (uint64_t p = lo / PIECE; p * PIECE < hi; p++)
				ck_assert_msg(!times[p]++, "asked twice: %llu", (unsigned long long)p);
		}
	}
	ck_assert_uint_ge(total, size * 9 / 10); /* the pattern is seen through it */
}
END_TEST

START_TEST(random_reads)
{
	struct vxt_rng r = vxt_seed("random_reads", _i);

	for (int file = 0; file < 300; file++) {
		uint64_t size = 1 + vxt_rnd(&r, 1ull << vxt_rnd(&r, 34)), off = 0, len = 0;
		uint64_t window = vxt_rnd(&r, 4) ? WINDOW_MAX : 1 + vxt_rnd(&r, WINDOW_MAX);
		int64_t stride = vxt_between(&r, -20 * (int64_t)MIB, 20 * (int64_t)MIB);

		memset(&t, 0, sizeof t);
		for (int k = 0; k < 200; k++) {
			switch (vxt_rnd(&r, 5)) {
			case 0:
				off = vxt_rnd(&r, size);
				break;
			case 1:
				off += (uint64_t)stride;
				break;
			case 2:
				off -= vx_min_u64(off, vxt_rnd(&r, 3 * MIB));
				break;
			default:
				off += len + vxt_rnd(&r, 2) * vxt_rnd(&r, MIB);
			}
			off %= size;
			len = 1 + vxt_rnd(&r, vx_min_u64(size - off, 1ull << vxt_rnd(&r, 24)));
			read_at(off, len, size, window);
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("track");
	TCase *tc = tcase_create("track");

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, forward);
	tcase_add_test(tc, window_grows);
	tcase_add_test(tc, backward);
	tcase_add_test(tc, strides);
	tcase_add_test(tc, no_pattern);
	tcase_add_loop_test(tc, shuffled_neighbours, 0, 8);
	tcase_add_loop_test(tc, random_reads, 0, 8);
	return vxt_run(s);
}
