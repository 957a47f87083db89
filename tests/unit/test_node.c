/* SPDX-License-Identifier: Apache-2.0
 * The node table follows the kernel's counts.
 */
#include "../lib/vxtest.h"
#include "arena/table.h"
#include "fs/node.h"

#include <string.h>

#define NAMES 500

static struct vx_nodes *t;
static struct vx_source src[2] = {{.id = 0}, {.id = 1}};

static struct vx_view box_view(unsigned n)
{
	return (struct vx_view){.kind = VX_NODE_EAGER, .src = &src[0], .box = {{n, 0, 0}, {n + 1, 1, 1}}, .bytes = 1};
}

static void begin(void)
{
	ck_assert_int_eq(vx_nodes_new(&t, NULL), 0);
}

static void end(void)
{
	vx_nodes_free(&t);
	ck_assert_ptr_null(t);
	vx_nodes_free(&t);
}

START_TEST(root)
{
	struct vx_view v;

	ck_assert_uint_eq(vx_nodes_count(t), 1);
	ck_assert(vx_nodes_get(t, 1, &v));
	ck_assert_int_eq(v.kind, VX_NODE_ROOT);
	vx_nodes_forget(t, 1, UINT64_MAX);
	ck_assert(vx_nodes_get(t, 1, &v));
	ck_assert_uint_eq(vx_nodes_lookup(t, &v, 1), 1);
	ck_assert_uint_eq(vx_nodes_find(t, &v), 1);
	vx_nodes_forget(t, 1234, 1);
	ck_assert(!vx_nodes_get(t, 1234, &v));
	ck_assert(!vx_nodes_get(t, 0, &v));
}
END_TEST

static bool is_of_first_source(void *ctx, struct vx_view *v, uint32_t source)
{
	v->src = &src[0];
	return source == 0;
}

/* A later server refuses a name that means nothing to it; the kernel may know its number all the same. What it takes
 * over counts as before. */
START_TEST(numbers_of_refused_names)
{
	static struct vx_nodes *volatile dead; /* still reachable, for those who look for leaks */
	struct vx_view kept = box_view(1), lost = box_view(2), v;
	struct vx_table *table;
	uint64_t ino_kept, ino_lost;
	struct vx_err e;
	int fd = vx_table_create("", &e);

	lost.src = &src[1];
	ck_assert_int_eq(vx_table_attach(&table, fd, &e), 0);
	vx_nodes_free(&t);
	ck_assert_int_eq(vx_nodes_new(&t, table), 0);
	ino_kept = vx_nodes_lookup(t, &kept, 1);
	ino_lost = vx_nodes_lookup(t, &lost, 1);
	ck_assert_uint_gt(ino_lost, ino_kept);
	for (int k = 0; k < 4; k++)
		vx_nodes_lookup(t, &kept, 1);
	vx_nodes_forget(t, ino_kept, 2);
	dead = t; /* it gives back nothing */
	ck_assert_ptr_nonnull(dead);
	vx_table_detach(&table);
	ck_assert_int_eq(vx_table_attach(&table, fd, &e), 0);
	ck_assert_int_eq(vx_nodes_new(&t, table), 0);
	vx_nodes_recover(t, is_of_first_source, NULL);
	ck_assert(vx_nodes_get(t, ino_kept, &v));
	ck_assert(!vx_nodes_get(t, ino_lost, &v));
	vx_nodes_forget(t, ino_kept, 2);
	ck_assert_uint_eq(vx_nodes_find(t, &kept), ino_kept);
	vx_nodes_forget(t, ino_kept, 1);
	ck_assert_uint_eq(vx_nodes_find(t, &kept), 0);
	v = box_view(3);
	ck_assert_uint_gt(vx_nodes_lookup(t, &v, 1), ino_lost);
	vx_nodes_free(&t);
	vx_table_detach(&table);
	close(fd);
	begin();
}
END_TEST

/* A node that is not written down would have its number given to another by the next server. */
START_TEST(a_full_table)
{
	struct vx_view v = box_view(1), other = box_view(2);
	struct vx_table *table;
	uint32_t slot, last = 0;
	struct vx_err e;
	int fd = vx_table_create("", &e);

	ck_assert_int_eq(vx_table_attach(&table, fd, &e), 0);
	vx_nodes_free(&t);
	ck_assert_int_eq(vx_nodes_new(&t, table), 0);
	ck_assert_uint_eq(vx_nodes_lookup(t, &v, 1), 2);
	while (vx_table_take(table, VX_TABLE_NODES, &slot))
		last = slot;
	ck_assert_uint_gt(last, 0);
	ck_assert_uint_eq(vx_nodes_lookup(t, &other, 1), 0);
	ck_assert_uint_eq(vx_nodes_find(t, &other), 0);
	ck_assert_uint_eq(vx_nodes_count(t), 2);
	ck_assert_uint_eq(vx_nodes_lookup(t, &v, 1), 2); /* known already */
	vx_table_give(table, VX_TABLE_NODES, last);
	ck_assert_uint_eq(vx_nodes_lookup(t, &other, 1), 3);
	vx_nodes_free(&t);
	vx_table_detach(&table);
	close(fd);
	begin();
}
END_TEST

START_TEST(what_makes_a_name)
{
	const struct vx_view base = {.kind = VX_NODE_EAGER, .src = &src[0], .mip = 1, .box = {{0, 0, 0}, {4, 4, 4}}};
	struct vx_view v[6], got;
	uint64_t ino[6];

	for (int k = 0; k < 6; k++)
		v[k] = base;
	v[1].kind = VX_NODE_LAZY;
	v[2].src = &src[1];
	v[3].mip = 2;
	v[4].box.hi[2] = 5;
	v[5].src = NULL;
	for (int k = 0; k < 6; k++) {
		ck_assert_uint_eq(vx_nodes_find(t, &v[k]), 0);
		ino[k] = vx_nodes_lookup(t, &v[k], 1);
		ck_assert_uint_gt(ino[k], 1);
		for (int o = 0; o < k; o++)
			ck_assert_uint_ne(ino[o], ino[k]);
	}
	for (int k = 0; k < 6; k++) {
		ck_assert_uint_eq(vx_nodes_lookup(t, &v[k], 1), ino[k]);
		ck_assert_uint_eq(vx_nodes_find(t, &v[k]), ino[k]);
		ck_assert(vx_nodes_get(t, ino[k], &got));
		ck_assert(got.kind == v[k].kind && got.src == v[k].src && got.mip == v[k].mip &&
			  vx_box_equal(&got.box, &v[k].box));
		vx_nodes_forget(t, ino[k], 1);
		ck_assert(vx_nodes_get(t, ino[k], &got));
		vx_nodes_forget(t, ino[k], 1);
		ck_assert(!vx_nodes_get(t, ino[k], &got));
	}
	ck_assert_uint_eq(vx_nodes_count(t), 1);
}
END_TEST

START_TEST(counts_and_numbers)
{
	struct vxt_rng r = vxt_seed("counts_and_numbers", _i);
	static uint64_t ino[NAMES], count[NAMES];
	uint64_t newest = 1, known = 1;

	memset(ino, 0, sizeof ino);
	memset(count, 0, sizeof count);
	for (int step = 0; step < 50000; step++) {
		unsigned n = (unsigned)vxt_rnd(&r, NAMES);
		struct vx_view v = box_view(n), got;

		if (vxt_rnd(&r, 2)) {
			uint64_t i = vx_nodes_lookup(t, &v, 1);

			if (!count[n]) {
				ck_assert_msg(i > newest, "a number came back");
				newest = ino[n] = i;
				known++;
			}
			ck_assert_uint_eq(i, ino[n]);
			count[n]++;
		} else if (count[n]) {
			uint64_t some = 1 + vxt_rnd(&r, count[n]);

			vx_nodes_forget(t, ino[n], some);
			count[n] -= some;
			known -= count[n] == 0;
		}
		ck_assert_int_eq(ino[n] && vx_nodes_get(t, ino[n], &got), count[n] > 0);
		ck_assert_uint_eq(vx_nodes_find(t, &v), count[n] ? ino[n] : 0);
		ck_assert_uint_eq(vx_nodes_count(t), known);
	}
}
END_TEST

START_TEST(forgetting_too_much)
{
	struct vx_view v = box_view(1);
	uint64_t ino = vx_nodes_lookup(t, &v, 1);

	vx_nodes_forget(t, ino, 1000);
	ck_assert_uint_eq(vx_nodes_count(t), 1);
	vx_nodes_forget(t, ino, 1);
	ck_assert_uint_gt(vx_nodes_lookup(t, &v, 1), ino);
}
END_TEST

START_TEST(oldest_names_are_due)
{
	struct vx_view other = {.kind = VX_NODE_VOLUME, .src = &src[0]}, v, due;
	uint64_t parent, first = 0, dir = vx_nodes_lookup(t, &other, 1);

	for (unsigned n = 0; n < VX_NODES_KEEP; n++) {
		uint64_t ino;

		v = box_view(n);
		v.kind = n % 2 ? VX_NODE_EAGER : VX_NODE_LAZY;
		ino = vx_nodes_lookup(t, &v, dir);
		first = first ? first : ino;
	}
	ck_assert(!vx_nodes_due(t, &parent, &due));
	for (unsigned n = 0; n < 10; n++) { /* other kinds do not count */
		other.mip = n + 1;
		vx_nodes_lookup(t, &other, 1);
	}
	ck_assert(!vx_nodes_due(t, &parent, &due));
	for (unsigned n = 0; n < 3; n++) {
		v = box_view(VX_NODES_KEEP + n);
		vx_nodes_lookup(t, &v, dir);
	}
	vx_nodes_forget(t, first + 1, 1); /* the second oldest goes by itself: one less is due */
	ck_assert(vx_nodes_due(t, &parent, &due));
	ck_assert_uint_eq(parent, dir);
	ck_assert_int_eq(due.box.lo[0], 0);
	ck_assert(vx_nodes_due(t, &parent, &due));
	ck_assert_int_eq(due.box.lo[0], 2);
	ck_assert(!vx_nodes_due(t, &parent, &due));
	v = box_view(0); /* known still, and it was asked back once: not again */
	v.kind = VX_NODE_LAZY;
	ck_assert_uint_eq(vx_nodes_lookup(t, &v, dir), first);
	v = box_view(VX_NODES_KEEP + 10);
	vx_nodes_lookup(t, &v, dir);
	ck_assert(vx_nodes_due(t, &parent, &due));
	ck_assert_int_eq(due.box.lo[0], 3);
	vx_nodes_forget(t, first, 2); /* one that had been asked back goes */
	ck_assert(!vx_nodes_due(t, &parent, &due));
}
END_TEST

START_TEST(sentences)
{
	struct vx_view v = box_view(1);
	uint64_t ino = vx_nodes_lookup(t, &v, 1);
	VX_AUTO_FREE char *why = NULL;

	ck_assert_ptr_null(vx_nodes_error(t, ino));
	vx_nodes_set_error(t, ino, "it burned");
	vx_nodes_set_error(t, ino, "it burned down");
	vx_nodes_set_error(t, ino + 1, "nobody");
	why = vx_nodes_error(t, ino);
	ck_assert_str_eq(why, "it burned down");
	ck_assert_ptr_null(vx_nodes_error(t, ino + 1));
	vx_nodes_set_error(t, ino, "");
	ck_assert_ptr_null(vx_nodes_error(t, ino));
	vx_nodes_set_error(t, ino, "freed with its node");
	vx_nodes_forget(t, ino, 1);
	ck_assert_ptr_null(vx_nodes_error(t, ino));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("node");
	TCase *tc = tcase_create("node");

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 300);
	tcase_add_checked_fixture(tc, begin, end);
	tcase_add_test(tc, root);
	tcase_add_test(tc, numbers_of_refused_names);
	tcase_add_test(tc, a_full_table);
	tcase_add_test(tc, what_makes_a_name);
	tcase_add_loop_test(tc, counts_and_numbers, 0, 3);
	tcase_add_test(tc, forgetting_too_much);
	tcase_add_test(tc, oldest_names_are_due);
	tcase_add_test(tc, sentences);
	return vxt_run(s);
}
