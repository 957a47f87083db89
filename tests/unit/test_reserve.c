/* SPDX-License-Identifier: Apache-2.0
 * Objects made ahead: whatever one was made for, it becomes an object of exactly the size asked for, all of it there
 * and writable, and what is held ready never exceeds its room.
 */
#include "../lib/vxtest.h"
#include "arena/arena.h"

#include <stdlib.h>
#include <string.h>

#define M ((uint64_t)1 << 20)
#define LIMIT (160 * M)

static bool go_on(void *ctx)
{
	(void)ctx;
	return true;
}

static bool no(void *ctx)
{
	(void)ctx;
	return false;
}

static struct vx_arena *arena_ready(uint64_t room)
{
	struct vx_arena *a;
	struct vx_err e = {0};

	ck_assert_int_eq(vx_arena_new(&a, LIMIT, &e), 0);
	while (vx_arena_prepare(a, room, go_on, NULL))
		ck_assert_uint_le(vx_arena_ready_bytes(a), room);
	return a;
}

static void fill_and_check(struct vx_arena *a, struct vx_object *o, uint8_t *map)
{
	uint64_t wrong = 0;
	void *again;

	for (uint64_t i = 0; i < o->size; i++)
		map[i] = (uint8_t)(i * 7 + 3);
	vx_object_unmap(o, map);
	ck_assert_int_eq(vx_object_map(a, o, false, &again, NULL), 0);
	for (uint64_t i = 0; i < o->size; i++)
		wrong += ((uint8_t *)again)[i] != (uint8_t)(i * 7 + 3);
	ck_assert_uint_eq(wrong, 0);
	vx_object_unmap(o, again);
}

START_TEST(becomes_any_size)
{
	static const uint64_t sizes[] = {
	    1,     4096,      65537,         262144, 300000, M,           2 * M - 4096, 2 * M - 4095,
	    2 * M, 2 * M + 1, 3 * M + 12345, 4 * M,  5 * M,  15 * M + 17, 16 * M + 5,   17 * M + 99999};
	struct vx_arena *a = arena_ready(150 * M);

	for (unsigned i = 0; i < VX_ARRAY_LEN(sizes); i++) {
		uint64_t before = vx_arena_ready_bytes(a);
		struct vx_object o;
		void *map;

		ck_assert_int_eq(vx_object_create(a, sizes[i], &o, &map, NULL), 0);
		ck_assert_uint_eq(o.size, sizes[i]);
		ck_assert_uint_le(vx_arena_ready_bytes(a), before);
		fill_and_check(a, &o, map);
		ck_assert(vx_object_unused(a, &o));
		vx_object_destroy(a, &o);
	}
	vx_arena_free(&a);
}
END_TEST

START_TEST(one_that_fits_is_used)
{
	struct vx_arena *a = arena_ready(90 * M);
	uint64_t before = vx_arena_ready_bytes(a);
	struct vx_object o;
	void *map;

	ck_assert_int_eq(vx_object_create(a, 4 * M, &o, &map, NULL), 0);
	ck_assert_uint_eq(vx_arena_ready_bytes(a), before - 4 * M);
	vx_object_unmap(&o, map);
	vx_object_destroy(a, &o);
	vx_arena_free(&a);
}
END_TEST

/* The arena's limit covers what is ready too: it gives way, and every byte of the limit can become objects. */
START_TEST(gives_way_to_objects)
{
	struct vx_arena *a = arena_ready(LIMIT);
	struct vx_object o[4];

	ck_assert_uint_gt(vx_arena_ready_bytes(a), LIMIT / 2);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(vx_object_create(a, LIMIT / 4, &o[i], NULL, NULL), 0);
	ck_assert_uint_eq(vx_arena_ready_bytes(a), 0);
	for (unsigned i = 0; i < 4; i++)
		vx_object_destroy(a, &o[i]);
	vx_arena_free(&a);
}
END_TEST

static void *prepare_for_ever(void *arg)
{
	while (vx_arena_prepare(arg, LIMIT, go_on, NULL) || vx_arena_ready_bytes(arg) < LIMIT / 2)
		continue;
	return NULL;
}

/* An object in the making takes space as well; whoever needs it gets it at once, and its maker notices. */
START_TEST(the_one_in_the_making_gives_way)
{
	for (unsigned round = 0; round < 8; round++) {
		struct vx_arena *a;
		struct vx_object o;
		pthread_t maker;

		ck_assert_int_eq(vx_arena_new(&a, LIMIT, NULL), 0);
		ck_assert_int_eq(pthread_create(&maker, NULL, prepare_for_ever, a), 0);
		for (unsigned i = 0; i < 20; i++) {
			int r = vx_object_create(a, LIMIT / 2, &o, NULL, NULL);

			if (r == 0)
				vx_object_destroy(a, &o);
			else
				ck_assert_int_eq(r, -ENOSPC); /* the maker was quicker with its next one */
		}
		pthread_join(maker, NULL);
		vx_arena_shrink_ready(a, 0);
		ck_assert_int_eq(vx_object_create(a, LIMIT, &o, NULL, NULL), 0);
		vx_object_destroy(a, &o);
		vx_arena_free(&a);
	}
}
END_TEST

START_TEST(shrinks_when_told)
{
	struct vx_arena *a = arena_ready(56 * M);

	vx_arena_shrink_ready(a, 20 * M);
	ck_assert_uint_le(vx_arena_ready_bytes(a), 20 * M);
	ck_assert_uint_gt(vx_arena_ready_bytes(a), 0);
	vx_arena_shrink_ready(a, 0);
	ck_assert_uint_eq(vx_arena_ready_bytes(a), 0);
	vx_arena_free(&a);
}
END_TEST

START_TEST(stops_when_told)
{
	struct vx_arena *a;

	ck_assert_int_eq(vx_arena_new(&a, LIMIT, NULL), 0);
	ck_assert(!vx_arena_prepare(a, LIMIT, no, NULL));
	ck_assert_uint_eq(vx_arena_ready_bytes(a), 0);
	vx_arena_free(&a);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("reserve");
	TCase *t = tcase_create("reserve");

	suite_add_tcase(s, t);
	tcase_add_test(t, becomes_any_size);
	tcase_add_test(t, one_that_fits_is_used);
	tcase_add_test(t, gives_way_to_objects);
	tcase_add_test(t, the_one_in_the_making_gives_way);
	tcase_add_test(t, shrinks_when_told);
	tcase_add_test(t, stops_when_told);
	tcase_set_timeout(t, 120);
	return vxt_run(s);
}
