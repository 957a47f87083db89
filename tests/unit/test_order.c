/* SPDX-License-Identifier: Apache-2.0
 * Orders of cells against a naive sort: each cell once, in the right place, at little cost however
 * thin the box.
 */
#include "../lib/vxtest.h"
#include "vol/order.h"

#include <string.h>
#include <time.h>

struct cell {
	uint64_t code, at[3];
};

static struct vxt_rng rng;

static uint64_t below(uint64_t n)
{
	return vxt_rnd(&rng, n);
}

/* Bit by bit, of all 64 bits as far as they fit: any common part above them does not matter. */
static uint64_t naive_morton(const uint64_t cell[3])
{
	uint64_t code = 0;

	for (int bit = 0; bit < VX_MORTON_BITS; bit++)
		for (int d = 0; d < 3; d++)
			code |= (cell[d] >> bit & 1) << (3 * bit + d);
	return code;
}

static int by_code(const void *a, const void *b)
{
	uint64_t x = ((const struct cell *)a)->code, y = ((const struct cell *)b)->code;

	return x < y ? -1 : x > y;
}

/* Compares with all cells of the box, sorted by the Morton code relative to `base`, or in raster order. */
static void check_box(const uint64_t lo[3], const uint64_t hi[3], const uint64_t base[3], bool morton)
{
	size_t n = (size_t)((hi[0] - lo[0]) * (hi[1] - lo[1]) * (hi[2] - lo[2])), i = 0;
	struct cell *all = calloc(n, sizeof *all);
	struct vx_order o;
	uint64_t at[3];

	for (uint64_t z = lo[2]; z < hi[2]; z++)
		for (uint64_t y = lo[1]; y < hi[1]; y++)
			for (uint64_t x = lo[0]; x < hi[0]; x++, i++) {
				const uint64_t rel[3] = {x - base[0], y - base[1], z - base[2]};

				all[i] = (struct cell){morton ? naive_morton(rel) : i, {x, y, z}};
			}
	qsort(all, n, sizeof *all, by_code);
	vx_order_init(&o, lo, hi, morton);
	for (i = 0; i < n; i++) /* Check's own asserts each cost a system call */
		if (!vx_order_next(&o, at) || memcmp(at, all[i].at, sizeof at))
			ck_abort_msg("cell %zu of %zu", i, n);
	for (i = 0; i < 3; i++)
		ck_assert(!vx_order_next(&o, at));
	free(all);
}

START_TEST(random_boxes)
{
	static const uint64_t zero[3];

	for (int round = 0; round < 3000; round++) {
		uint64_t lo[3], hi[3], spread = (uint64_t)1 << below(22);

		for (int d = 0; d < 3; d++) {
			lo[d] = below(spread);
			hi[d] = vx_min_u64(lo[d] + 1 + below(12), (uint64_t)1 << VX_MORTON_BITS);
		}
		check_box(lo, hi, zero, true);
		check_box(lo, hi, zero, false);
	}
}
END_TEST

START_TEST(shifted_by_aligned_cubes)
{
	for (int round = 0; round < 500; round++) {
		uint64_t lo[3], hi[3], base[3];

		for (int d = 0; d < 3; d++) {
			base[d] = below((uint64_t)1 << 27) << VX_MORTON_BITS;
			lo[d] = base[d] + below((uint64_t)1 << VX_MORTON_BITS);
			hi[d] = vx_min_u64(lo[d] + 1 + below(12), base[d] + ((uint64_t)1 << VX_MORTON_BITS));
		}
		check_box(lo, hi, base, true);
	}
}
END_TEST

START_TEST(across_an_aligned_cube)
{
	const uint64_t edge = (uint64_t)5 << VX_MORTON_BITS, half = (uint64_t)1 << (VX_MORTON_BITS - 1);

	for (uint64_t below_edge = 1; below_edge < 9; below_edge++) {
		const uint64_t lo[3] = {edge - below_edge, 7, edge - 2}, hi[3] = {edge + 3, 12, edge + below_edge};
		const uint64_t base[3] = {edge - half, 0, edge - half};

		check_box(lo, hi, base, true);
	}
}
END_TEST

/* The order is that of the code relative to some base; each cell comes once, and it takes no time to speak of. */
static uint64_t walk(const uint64_t lo[3], const uint64_t hi[3], bool morton)
{
	struct vx_order o;
	uint64_t at[3], n = 0, last = 0;

	vx_order_init(&o, lo, hi, morton);
	while (vx_order_next(&o, at)) {
		uint64_t rel[3], code;

		for (int d = 0; d < 3; d++) {
			if (at[d] < lo[d] || at[d] >= hi[d])
				ck_abort_msg("outside after %llu", (unsigned long long)n);
			rel[d] = at[d] - o.base[d];
		}
		code = vx_morton(rel);
		if (n && o.morton && code <= last)
			ck_abort_msg("out of order after %llu", (unsigned long long)n);
		last = code;
		n++;
	}
	return n;
}

static const uint64_t long_boxes[][6] = {
    {0, 0, 0, 157, 16, 1},
    {0, 0, 0, 1, 1, 100000},
    {0, 0, 0, 1000000, 1, 1},
    {5, 1000000, 77, 6, 2000000, 78},
    {1, 1, 1, 2, 2, ((uint64_t)1 << 21) + 1}, /* as long as can be, and not aligned */
    {0, 0, 0, (uint64_t)1 << 21, 1, 1},
    {((uint64_t)1 << 21) - 1, 0, 0, ((uint64_t)1 << 22) - 1, 1, 1},
    {0, ((uint64_t)1 << 40) - 500000, 3, 1, ((uint64_t)1 << 40) + 500000, 4},
};

START_TEST(long_thin_boxes_are_cheap)
{
	const uint64_t *b = long_boxes[_i], want = (b[3] - b[0]) * (b[4] - b[1]) * (b[5] - b[2]);
	clock_t start = clock();

	ck_assert_uint_eq(walk(b, b + 3, true), want);
	ck_assert_uint_eq(walk(b, b + 3, false), want);
	ck_assert_int_lt(clock() - start, 10 * CLOCKS_PER_SEC); /* of work; some 0.1 s */
}
END_TEST

START_TEST(too_long_means_row_by_row)
{
	const uint64_t lo[3] = {3, 1, 0}, hi[3] = {3 + ((uint64_t)1 << 21) + 1, 3, 1};
	struct vx_order o;
	uint64_t at[3];

	vx_order_init(&o, lo, hi, true);
	for (uint64_t y = 1; y < 3; y++)
		for (uint64_t x = lo[0]; x < hi[0]; x++)
			if (!vx_order_next(&o, at) || at[0] != x || at[1] != y || at[2])
				ck_abort_msg("at %llu %llu", (unsigned long long)x, (unsigned long long)y);
	ck_assert(!vx_order_next(&o, at));
}
END_TEST

START_TEST(empty_boxes)
{
	static const uint64_t lo[3] = {4, 4, 4};
	struct vx_order o;
	uint64_t at[3];

	for (int morton = 0; morton < 2; morton++)
		for (int d = 0; d < 3; d++)
			for (uint64_t end = 0; end < 2; end++) {
				uint64_t hi[3] = {6, 6, 6};

				hi[d] = end ? 4 : 1;
				vx_order_init(&o, lo, hi, morton);
				ck_assert(!vx_order_next(&o, at));
				ck_assert(!vx_order_next(&o, at));
			}
}
END_TEST

START_TEST(codes)
{
	const uint64_t all = ((uint64_t)1 << VX_MORTON_BITS) - 1;

	ck_assert_uint_eq(vx_morton((const uint64_t[3]){1, 0, 0}), 1);
	ck_assert_uint_eq(vx_morton((const uint64_t[3]){0, 1, 0}), 2);
	ck_assert_uint_eq(vx_morton((const uint64_t[3]){0, 0, 1}), 4);
	ck_assert_uint_eq(vx_morton((const uint64_t[3]){2, 3, 1}), 0x1e);
	ck_assert_uint_eq(vx_morton((const uint64_t[3]){all, all, all}), INT64_MAX);
	ck_assert_uint_eq(vx_morton((const uint64_t[3]){all + 1, UINT64_MAX - all, 0}), 0);
	for (int i = 0; i < 10000; i++) {
		const uint64_t c[3] = {below(UINT64_MAX), below(UINT64_MAX), below(UINT64_MAX)};

		if (vx_morton(c) != naive_morton(c))
			ck_abort_msg("%llx %llx %llx", (unsigned long long)c[0], (unsigned long long)c[1],
				     (unsigned long long)c[2]);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("order");
	TCase *tc = tcase_create("order");

	rng = vxt_seed("order", 0);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, random_boxes);
	tcase_add_test(tc, shifted_by_aligned_cubes);
	tcase_add_test(tc, across_an_aligned_cube);
	tcase_add_loop_test(tc, long_thin_boxes_are_cheap, 0, VX_ARRAY_LEN(long_boxes));
	tcase_add_test(tc, too_long_means_row_by_row);
	tcase_add_test(tc, empty_boxes);
	tcase_add_test(tc, codes);
	suite_add_tcase(suite, tc);
	return vxt_run(suite);
}
