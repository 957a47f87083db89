/* SPDX-License-Identifier: Apache-2.0
 * The spatial index against a plain list.
 */
#include "../lib/vxtest.h"
#include "arena/index.h"
#include "base/limits.h"

#define ITEMS 3000
#define SPACES 3

struct item {
	struct vx_index_item i;
	bool in, seen;
};

static struct vx_index *x;
static struct item items[ITEMS];
static struct vxt_rng rng;

/* From cubes to needles and plates, near the origin and on both sides of it; now and then huge or far away. */
static struct vx_box random_box(void)
{
	struct vx_box b;
	int64_t far = vxt_rnd(&rng, 50) ? 0 : vxt_between(&rng, -VX_MAX_EXTENT / 2, VX_MAX_EXTENT / 2);

	for (int d = 0; d < 3; d++) {
		int64_t len = 1 + (int64_t)vxt_rnd(&rng, 1ull << vxt_rnd(&rng, vxt_rnd(&rng, 100) ? 10 : 46));

		b.lo[d] = far + vxt_between(&rng, -700, 700) - (vxt_rnd(&rng, 2) ? len : 0);
		b.hi[d] = b.lo[d] + len;
	}
	return b;
}

static bool see(void *ctx, struct vx_index_item *i)
{
	struct item *t = vx_container_of(i, struct item, i);
	unsigned *left = ctx;

	if (!t->in || t->seen || !*left)
		ck_abort_msg("%s", t->seen ? "visited twice" : "it went on after it was told to stop");
	t->seen = true;
	return --*left > 0;
}

static void check_query(uint32_t space, const struct vx_box *box)
{
	unsigned want = 0, left = ITEMS + 1, stop, got = 0;

	vx_index_query(x, space, box, see, &left);
	for (int k = 0; k < ITEMS; k++) {
		struct vx_box common;
		bool meets = items[k].in && items[k].i.space == space && vx_box_clip(&items[k].i.box, box, &common);

		if (items[k].seen != meets)
			ck_abort_msg("item %d", k);
		want += meets;
		items[k].seen = false;
	}
	ck_assert_uint_eq(ITEMS + 1 - left, want);
	if (!want)
		return;
	stop = left = 1 + (unsigned)vxt_rnd(&rng, want);
	vx_index_query(x, space, box, see, &left);
	for (int k = 0; k < ITEMS; k++) {
		got += items[k].seen;
		items[k].seen = false;
	}
	ck_assert_uint_eq(got, stop);
}

START_TEST(against_a_list)
{
	rng = vxt_seed("against_a_list", _i);
	ck_assert_int_eq(vx_index_new(&x), 0);
	for (int step = 0; step < 12000; step++) {
		struct item *t = &items[vxt_rnd(&rng, ITEMS)];

		if (t->in && vxt_rnd(&rng, 3) == 0) {
			vx_index_remove(x, &t->i);
			t->in = false;
		} else if (!t->in) {
			t->i.box = random_box();
			t->i.space = (uint32_t)vxt_rnd(&rng, SPACES);
			ck_assert_int_eq(vx_index_add(x, &t->i), 0);
			t->in = true;
		}
		if (step % 20 == 0) {
			struct vx_box q = random_box();

			check_query((uint32_t)vxt_rnd(&rng, SPACES + 1), &q);
		}
		if (step % 50 == 0 && t->in)
			check_query(t->i.space, &t->i.box);
	}
	for (int k = 0; k < ITEMS; k++)
		if (items[k].in) {
			vx_index_remove(x, &items[k].i);
			items[k].in = false;
		}
	check_query(0, &(struct vx_box){{-VX_MAX_EXTENT, -VX_MAX_EXTENT, -VX_MAX_EXTENT},
					{VX_MAX_EXTENT, VX_MAX_EXTENT, VX_MAX_EXTENT}});
	vx_index_free(&x);
	ck_assert_ptr_null(x);
	vx_index_free(&x);
}
END_TEST

/* Cells are found by the lower corner: every way in which a query can touch or miss a box of one class. */
START_TEST(at_the_edges)
{
	rng = vxt_seed("at_the_edges", 0);
	ck_assert_int_eq(vx_index_new(&x), 0);
	for (int k = 0; k < 500; k++) { /* enough of them that cells are looked up, not the list walked */
		items[k].i = (struct vx_index_item){.space = 7};
		for (int d = 0; d < 3; d++) {
			items[k].i.box.lo[d] = vxt_between(&rng, -12, 12);
			items[k].i.box.hi[d] = items[k].i.box.lo[d] + 3 + (int64_t)vxt_rnd(&rng, 2);
		}
		ck_assert_int_eq(vx_index_add(x, &items[k].i), 0);
		items[k].in = true;
	}
	for (int64_t z = -9; z < 9; z += 3)
		for (int64_t y = -9; y < 9; y++)
			for (int64_t n = -9; n < 9; n++)
				check_query(7, &(struct vx_box){{n, y, z}, {n + 1, y + 2, z + 1}});
	for (int k = 0; k < 500; k++)
		vx_index_remove(x, &items[k].i);
	vx_index_free(&x);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("index");
	TCase *t = tcase_create("index");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, against_a_list, 0, 4);
	tcase_add_test(t, at_the_edges);
	return vxt_run(s);
}
