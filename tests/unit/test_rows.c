/* SPDX-License-Identifier: Apache-2.0
 * Runs of a file as boxes, against counting voxel by voxel.
 */
#include "../lib/vxtest.h"
#include "base/limits.h"
#include "vol/rows.h"

#include <string.h>

#define VOXELS 4000

static uint64_t index_of(const struct vx_box *whole, const int64_t p[3], uint32_t c)
{
	uint64_t i = c;

	for (int d = 2; d >= 0; d--)
		i = i * vx_box_extent(whole, d) + (uint64_t)(p[d] - whole->lo[d]);
	return i;
}

static void check_run(const struct vx_box *box, uint32_t channels, uint64_t i0, uint64_t i1)
{
	struct vx_run_piece piece[VX_RUN_PIECES_MAX + 1];
	uint64_t next = i0;
	unsigned n;

	memset(piece, 0x5a, sizeof piece);
	n = vx_run_cut(box, channels, i0, i1, piece);
	ck_assert_uint_le(n, VX_RUN_PIECES_MAX);
	ck_assert_uint_eq(piece[VX_RUN_PIECES_MAX].first, 0x5a5a5a5a5a5a5a5au);
	for (unsigned k = 0; k < n; k++) {
		const struct vx_run_piece *p = &piece[k];
		int64_t at[3];

		ck_assert_uint_eq(p->first, next);
		ck_assert(!vx_box_empty(&p->box) && vx_box_contains(box, &p->box));
		ck_assert(p->nchan >= 1 && p->chan + p->nchan <= channels);
		for (uint32_t c = p->chan; c < p->chan + p->nchan; c++)
			for (at[2] = p->box.lo[2]; at[2] < p->box.hi[2]; at[2]++)
				for (at[1] = p->box.lo[1]; at[1] < p->box.hi[1]; at[1]++)
					for (at[0] = p->box.lo[0]; at[0] < p->box.hi[0]; at[0]++)
						if (index_of(box, at, c) != next++)
							ck_abort_msg("piece %u of %llu..%llu is not one run", k,
								     (unsigned long long)i0, (unsigned long long)i1);
	}
	ck_assert_uint_eq(next, i1);
}

START_TEST(random_runs)
{
	struct vxt_rng r = vxt_seed("random_runs", _i);

	for (int k = 0; k < 4000; k++) {
		uint32_t channels = 1 + (uint32_t)vxt_rnd(&r, vxt_rnd(&r, 2) ? 1 : 4);
		uint64_t voxels = channels, i0, i1;
		struct vx_box b;

		for (int d = 0; d < 3; d++) {
			uint64_t room = VOXELS / voxels;

			b.lo[d] = vxt_between(&r, -20, 20);
			b.hi[d] = b.lo[d] + 1 + (int64_t)vxt_rnd(&r, vx_min_u64(room, vxt_rnd(&r, 3) ? 12 : 2));
			voxels *= vx_box_extent(&b, d);
		}
		i0 = vxt_rnd(&r, voxels + 1);
		i1 = i0 + vxt_rnd(&r, voxels - i0 + 1);
		check_run(&b, channels, i0, i1);
		check_run(&b, channels, 0, voxels);
		check_run(&b, channels, i0, i0);
	}
}
END_TEST

START_TEST(every_run_of_a_small_box)
{
	const struct vx_box b = {{-1, 5, 0}, {2, 7, 2}};

	for (uint64_t i0 = 0; i0 <= 36; i0++)
		for (uint64_t i1 = i0; i1 <= 36; i1++)
			check_run(&b, 3, i0, i1);
}
END_TEST

/* The most pieces there can be: ragged at both ends on every level. */
START_TEST(seven)
{
	const struct vx_box b = {{0, 0, 0}, {4, 4, 4}};
	struct vx_run_piece piece[VX_RUN_PIECES_MAX];

	check_run(&b, 4, 64 - 16 - 4 - 1, 3 * 64 + 16 + 4 + 1);
	ck_assert_uint_eq(vx_run_cut(&b, 4, 64 - 16 - 4 - 1, 3 * 64 + 16 + 4 + 1, piece), 7);
}
END_TEST

START_TEST(large_files)
{
	const int64_t n = (int64_t)1 << 20;
	const struct vx_box b = {{-n, -n, -n}, {0, 0, 0}};
	struct vx_run_piece p[VX_RUN_PIECES_MAX];
	uint64_t plane = (uint64_t)n * (uint64_t)n, i0 = plane * 77 + 5;

	ck_assert_uint_eq(vx_run_cut(&b, 1, i0, i0 + 10, p), 1);
	ck_assert(vx_box_equal(&p[0].box, &(struct vx_box){{-n + 5, -n, -n + 77}, {-n + 15, -n + 1, -n + 78}}));
	ck_assert_uint_eq(p[0].first, i0);
	ck_assert_uint_eq(vx_run_cut(&b, 1, plane * ((uint64_t)n - 1), plane * (uint64_t)n, p), 1);
	ck_assert(vx_box_equal(&p[0].box, &(struct vx_box){{-n, -n, -1}, {0, 0, 0}}));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rows");
	TCase *t = tcase_create("rows");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, random_runs, 0, 4);
	tcase_add_test(t, every_run_of_a_small_box);
	tcase_add_test(t, seven);
	tcase_add_test(t, large_files);
	return vxt_run(s);
}
