/* SPDX-License-Identifier: Apache-2.0
 * Chunk grids against a naive oracle that looks at every cell.
 */
#include "../lib/vxtest.h"
#include "base/limits.h"
#include "vol/volume.h"

#include <string.h>

static struct vxt_rng rng;

static uint64_t below(uint64_t n)
{
	return vxt_rnd(&rng, n);
}

static struct vx_scale random_scale(struct vx_grid *grids, unsigned n)
{
	struct vx_scale s = {.key = (char *)"k", .ngrids = n, .grids = grids};

	for (int d = 0; d < 3; d++) {
		s.bounds.lo[d] = (int64_t)below(40) - 20;
		s.bounds.hi[d] = s.bounds.lo[d] + 1 + (int64_t)below(20);
		for (unsigned g = 0; g < n; g++) {
			uint64_t size = vx_box_extent(&s.bounds, d);

			grids[g].chunk[d] = 1 + below(24);
			grids[g].cells[d] = 0;
			while (grids[g].cells[d] * grids[g].chunk[d] < size)
				grids[g].cells[d]++;
		}
	}
	return s;
}

static struct vx_box random_box(const struct vx_box *in)
{
	struct vx_box b;

	for (int d = 0; d < 3; d++) {
		b.lo[d] = in->lo[d] + (int64_t)below(vx_box_extent(in, d));
		b.hi[d] = b.lo[d] + 1 + (int64_t)below((uint64_t)(in->hi[d] - b.lo[d]));
	}
	return b;
}

/* Voxels and number of the cells of a grid that meet the box, found by looking at each; checks vx_scale_cells. */
static void naive_cost(const struct vx_scale *s, unsigned g, const struct vx_box *box, uint64_t *voxels,
		       uint64_t *chunks)
{
	const uint64_t *n = s->grids[g].cells;
	uint64_t lo[3], hi[3], all = 0, total;

	vx_scale_cells(s, g, box, lo, hi);
	*voxels = *chunks = 0;
	for (uint64_t z = 0; z < n[2]; z++)
		for (uint64_t y = 0; y < n[1]; y++)
			for (uint64_t x = 0; x < n[0]; x++) {
				const uint64_t cell[3] = {x, y, z};
				struct vx_box b = vx_scale_cell_box(s, g, cell), common;
				bool inside = true;

				if (vx_box_empty(&b) || !vx_box_contains(&s->bounds, &b))
					ck_abort();
				for (int d = 0; d < 3; d++) {
					int64_t at = s->bounds.lo[d] + (int64_t)(cell[d] * s->grids[g].chunk[d]);

					if (b.lo[d] != at)
						ck_abort();
					inside &= cell[d] >= lo[d] && cell[d] < hi[d];
				}
				if (inside != vx_box_clip(&b, box, &common) || !vx_box_voxels(&b, &total))
					ck_abort();
				all += total;
				*voxels += inside ? total : 0;
				*chunks += inside;
			}
	ck_assert(vx_box_voxels(&s->bounds, &total) && total == all); /* the cells tile the volume */
}

START_TEST(cells_and_best_grid)
{
	for (int round = 0; round < 2000; round++) {
		struct vx_grid grids[3];
		struct vx_scale s = random_scale(grids, 3);
		struct vx_box box = random_box(&s.bounds);
		uint64_t best_voxels = UINT64_MAX, best_chunks = UINT64_MAX, voxels, chunks;
		unsigned best = 0;

		for (unsigned g = 0; g < 3; g++) {
			naive_cost(&s, g, &box, &voxels, &chunks);
			if (voxels < best_voxels || (voxels == best_voxels && chunks < best_chunks)) {
				best = g;
				best_voxels = voxels;
				best_chunks = chunks;
			}
		}
		ck_assert_uint_eq(vx_scale_best_grid(&s, &box), best);
	}
}
END_TEST

START_TEST(best_grid_examples)
{
	struct vx_grid grids[] = {{{64, 64, 64}, {16, 16, 16}, 1, 1},
				  {{1024, 1024, 1}, {1, 1, 1024}, 1, 1},
				  {{32, 32, 32}, {32, 32, 32}, 1, 1}};
	struct vx_scale s = {.bounds = {{0, 0, 0}, {1024, 1024, 1024}}, .ngrids = 3, .grids = grids};

	ck_assert_uint_eq(vx_scale_best_grid(&s, &(struct vx_box){{0, 0, 5}, {1024, 1024, 6}}), 1);
	ck_assert_uint_eq(vx_scale_best_grid(&s, &(struct vx_box){{0, 0, 0}, {64, 64, 64}}), 0);
	ck_assert_uint_eq(vx_scale_best_grid(&s, &(struct vx_box){{1, 1, 1}, {2, 2, 2}}), 2);
	ck_assert_uint_eq(vx_scale_best_grid(&s, &s.bounds), 1);
}
END_TEST

START_TEST(grids_at_the_limits)
{
	/* one row of 2^48 voxels that ends at the last coordinate, in chunks that do not divide it */
	struct vx_grid grids[] = {{{3, 1, 1}, {(VX_MAX_EXTENT + 2) / 3, 1, 1}, 1, 1},
				  {{VX_MAX_EXTENT, VX_MAX_EXTENT, 1}, {1, 1, 1}, 1, 1}};
	struct vx_scale s = {
	    .bounds = {{0, -VX_MAX_EXTENT, 5}, {VX_MAX_EXTENT, 1 - VX_MAX_EXTENT, 6}}, .ngrids = 2, .grids = grids};
	const uint64_t last[3] = {(VX_MAX_EXTENT + 2) / 3 - 1, 0, 0};
	struct vx_box b = vx_scale_cell_box(&s, 0, last);
	uint64_t lo[3], hi[3];

	ck_assert_int_eq(b.lo[0], VX_MAX_EXTENT - 1);
	ck_assert_int_eq(b.hi[0], VX_MAX_EXTENT);
	vx_scale_cells(&s, 0, &b, lo, hi);
	ck_assert_uint_eq(lo[0], last[0]);
	ck_assert_uint_eq(hi[0], last[0] + 1);
	b = vx_scale_cell_box(&s, 1, (const uint64_t[3]){0});
	ck_assert(vx_box_equal(&b, &s.bounds));
	ck_assert_uint_eq(vx_scale_best_grid(&s, &(struct vx_box){{9, -VX_MAX_EXTENT, 5}, {11, 1 - VX_MAX_EXTENT, 6}}),
			  0);
}
END_TEST

START_TEST(forms_and_bytes)
{
	struct vx_volume v = {.dtype = VX_U64, .channels = 3};
	struct vx_grid g = {.chunk = {5, 6, 7}, .cells = {1, 1, 1}, .chunk_c = 2, .slabs = 2};
	struct vx_scale s = {
	    .block = {8, 7, 6}, .bounds = {{-1, 0, 10}, {4, 6, 17}}, .ngrids = 1, .grids = &g, .params = &g};
	struct vx_chunk_form f = vx_scale_form(&v, &s, 0, &(struct vx_cell){.slab = 0});
	struct vx_box b = {{0, 0, 0}, {1 << 20, 1 << 20, 1 << 20}};
	uint64_t bytes = 0;

	ck_assert(f.n[0] == 5 && f.n[1] == 6 && f.n[2] == 7 && f.channels == 2 && f.width == 8);
	ck_assert(f.params == &g && vx_scale_form(&v, &s, 0, &(struct vx_cell){.slab = 1}).channels == 1);
	ck_assert(f.block[0] == 8 && f.block[1] == 7 && f.block[2] == 6);
	ck_assert(vx_volume_box_bytes(&v, &(struct vx_box){{-1, 0, 10}, {4, 6, 17}}, &bytes) && bytes == 5040);
	ck_assert(!vx_volume_box_bytes(&v, &b, &bytes));
	v = (struct vx_volume){.dtype = VX_U8, .channels = 8};
	ck_assert(!vx_volume_box_bytes(&v, &b, &bytes)); /* 2^63 */
	v.channels = 7;
	ck_assert(vx_volume_box_bytes(&v, &b, &bytes) && bytes == (uint64_t)7 << 60);
	ck_assert(!vx_volume_box_bytes(&v,
				       &(struct vx_box){{-VX_MAX_EXTENT, -VX_MAX_EXTENT, -VX_MAX_EXTENT},
							{VX_MAX_EXTENT, VX_MAX_EXTENT, VX_MAX_EXTENT}},
				       &bytes));
}
END_TEST

START_TEST(chunk_names)
{
	const struct vx_box cell = {{-7, 5, 100}, {1, 13, 104}};
	struct vx_scale s = {.key = (char *)"../o/4_4_40"};
	char name[40];

	ck_assert_int_eq(vx_precomputed_chunk_name(&s, &cell, name, sizeof name), 29);
	ck_assert_str_eq(name, "../o/4_4_40/-7-1_5-13_100-104");
	ck_assert_int_eq(vx_precomputed_chunk_name(&s, &cell, name, 30), 29);
	ck_assert_int_eq(vx_precomputed_chunk_name(&s, &cell, name, 29), -ENAMETOOLONG);
	ck_assert_int_eq(vx_precomputed_chunk_name(&s, &cell, NULL, 0), -ENAMETOOLONG);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("grid");
	TCase *tc = tcase_create("grid");

	rng = vxt_seed("grid", 0);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, cells_and_best_grid);
	tcase_add_test(tc, best_grid_examples);
	tcase_add_test(tc, grids_at_the_limits);
	tcase_add_test(tc, forms_and_bytes);
	tcase_add_test(tc, chunk_names);
	suite_add_tcase(suite, tc);
	return vxt_run(suite);
}
