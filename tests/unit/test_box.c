/* SPDX-License-Identifier: Apache-2.0
 * Boxes and strided places against naive loops over small coordinates.
 */
#include "../lib/vxtest.h"
#include "base/box.h"

#include <string.h>

static struct vxt_rng rng;

static uint64_t rnd(uint64_t below)
{
	return vxt_rnd(&rng, below);
}

static struct vx_box random_box(bool maybe_empty)
{
	struct vx_box b;

	for (int d = 0; d < 3; d++) {
		b.lo[d] = (int64_t)rnd(12) - 6;
		b.hi[d] = b.lo[d] + (maybe_empty ? 0 : 1) + (int64_t)rnd(7);
	}
	return b;
}

static bool has(const struct vx_box *b, const int64_t p[3])
{
	for (int d = 0; d < 3; d++)
		if (p[d] < b->lo[d] || p[d] >= b->hi[d])
			return false;
	return true;
}

#define EACH_POINT(p)                                    \
	for ((p)[2] = -8; (p)[2] < 14; (p)[2]++)         \
		for ((p)[1] = -8; (p)[1] < 14; (p)[1]++) \
			for ((p)[0] = -8; (p)[0] < 14; (p)[0]++)

START_TEST(set_operations)
{
	rng = vxt_seed("set_operations", _i);
	for (int round = 0; round < 60; round++) {
		struct vx_box a = random_box(false), b = random_box(true), common, rest[6];
		bool meet = vx_box_clip(&a, &b, &common), inside = vx_box_contains(&a, &b), all_in = true;
		int n = vx_box_subtract(&a, &b, rest);
		uint64_t voxels, count = 0;
		int64_t p[3];

		ck_assert(n >= 0 && n <= 6);
		for (int i = 0; i < n; i++)
			ck_assert(!vx_box_empty(&rest[i]));
		EACH_POINT(p)
		{
			int in_rest = 0;

			for (int i = 0; i < n; i++)
				in_rest += has(&rest[i], p);
			count += has(&a, p);
			all_in = all_in && (!has(&b, p) || has(&a, p));
			if (in_rest != (has(&a, p) && !has(&b, p)) ||
			    (meet && has(&common, p)) != (has(&a, p) && has(&b, p)))
				ck_abort_msg("%d,%d,%d is on the wrong side", (int)p[0], (int)p[1], (int)p[2]);
		}
		ck_assert(vx_box_voxels(&a, &voxels));
		ck_assert_uint_eq(voxels, count);
		if (!vx_box_empty(&b))
			ck_assert_int_eq(inside, all_in);
		ck_assert(vx_box_equal(&a, &a));
		ck_assert_int_eq(vx_box_equal(&a, &b), !memcmp(&a, &b, sizeof a));
		if (!vx_box_equal(&a, &b))
			ck_assert_uint_ne(vx_box_hash(&a), vx_box_hash(&b));
	}
}
END_TEST

START_TEST(too_many_voxels)
{
	struct vx_box b = {.hi = {(int64_t)1 << 40, (int64_t)1 << 20, 16}};
	uint64_t n;

	ck_assert(!vx_box_voxels(&b, &n));
	b.hi[2] = 8;
	ck_assert(vx_box_voxels(&b, &n));
	ck_assert_uint_eq(n, (uint64_t)1 << 63);
}
END_TEST

/* ---- places -------------------------------------------------------------------------------- */

struct area {
	struct vx_place place;
	uint8_t *mem;
	size_t len;
};

static void area_new(struct area *a, const uint64_t n[3], uint32_t channels, uint32_t width)
{
	struct vx_place packed = vx_place_packed(NULL, n, width);
	bool gaps = rnd(2);

	a->place.row = packed.row + (gaps ? rnd(20) : 0);
	a->place.plane = a->place.row * n[1] + (gaps ? rnd(20) : 0);
	a->place.chan = a->place.plane * n[2] + (gaps ? rnd(20) : 0);
	a->len = a->place.chan * channels + 64;
	a->mem = malloc(a->len);
	a->place.at = a->mem + rnd(64);
	for (size_t i = 0; i < a->len; i++)
		a->mem[i] = (uint8_t)rnd(256);
}

static uint8_t *at(const struct vx_place *p, const uint64_t v[3], uint64_t c, uint32_t width)
{
	return p->at + v[0] * width + v[1] * p->row + v[2] * p->plane + c * p->chan;
}

/* What the function must have done, a voxel at a time; from NULL: zeros. */
static void naive(struct area *to, uint8_t *mem, const struct vx_place *from, const uint64_t n[3], uint32_t channels,
		  uint32_t width)
{
	struct vx_place p = to->place;
	uint64_t v[3];

	p.at = mem + (to->place.at - to->mem);
	for (uint32_t c = 0; c < channels; c++)
		for (v[2] = 0; v[2] < n[2]; v[2]++)
			for (v[1] = 0; v[1] < n[1]; v[1]++)
				for (v[0] = 0; v[0] < n[0]; v[0]++)
					if (from)
						memcpy(at(&p, v, c, width), at(from, v, c, width), width);
					else
						memset(at(&p, v, c, width), 0, width);
}

START_TEST(copy_and_zero)
{
	static const uint64_t lengths[] = {1, 2, 4, 7, 8, 16, 31, 32, 64, 65, 128};

	rng = vxt_seed("copy_and_zero", _i);
	for (int round = 0; round < 60; round++) {
		uint64_t n[3] = {rnd(3) ? lengths[rnd(VX_ARRAY_LEN(lengths))] : 1 + rnd(70), 1 + rnd(6), 1 + rnd(6)};
		uint32_t width = 1u << rnd(4), channels = 1 + (uint32_t)rnd(3);
		struct area to, from;
		uint8_t *want;

		area_new(&to, n, channels, width);
		area_new(&from, n, channels, width);
		want = malloc(to.len);
		memcpy(want, to.mem, to.len);
		naive(&to, want, &from.place, n, channels, width);
		vx_place_copy(&to.place, &from.place, n, channels, width);
		ck_assert_mem_eq(to.mem, want, to.len);
		naive(&from, from.mem, &to.place, n, channels, width);
		memcpy(want, to.mem, to.len);
		naive(&to, want, NULL, n, channels, width);
		vx_place_zero(&to.place, n, channels, width);
		ck_assert_mem_eq(to.mem, want, to.len);
		free(want);
		free(to.mem);
		free(from.mem);
	}
}
END_TEST

START_TEST(place_of_a_part)
{
	rng = vxt_seed("place_of_a_part", _i);
	for (int round = 0; round < 100; round++) {
		struct vx_box whole = random_box(false), part = whole;
		uint64_t n[3], v[3];
		uint32_t width = 1u << rnd(4);
		uint8_t mem[1];
		struct vx_place p, q;

		for (int d = 0; d < 3; d++) {
			n[d] = vx_box_extent(&whole, d);
			v[d] = rnd(n[d]);
			part.lo[d] += (int64_t)v[d];
		}
		p = vx_place_packed(mem, n, width);
		ck_assert_uint_eq(p.chan, n[0] * n[1] * n[2] * width);
		q = vx_place_at(&p, &whole, &part, width);
		ck_assert_uint_eq((uintptr_t)q.at - (uintptr_t)p.at, (v[0] + n[0] * (v[1] + n[1] * v[2])) * width);
		ck_assert(q.row == p.row && q.plane == p.plane && q.chan == p.chan);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("box");
	TCase *t = tcase_create("box");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, set_operations, 0, 50);
	tcase_add_test(t, too_many_voxels);
	tcase_add_loop_test(t, copy_and_zero, 0, 50);
	tcase_add_loop_test(t, place_of_a_part, 0, 20);
	return vxt_run(s);
}
