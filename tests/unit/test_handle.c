/* SPDX-License-Identifier: Apache-2.0
 * File handles: each stands for one thing, once, in this server and the next.
 */
#include "../lib/vxrig.h"
#include "fs/handle.h"

#include <string.h>

#define RESENT ((uint64_t)1 << 63)
#define BOXES 40

static struct vxr_volume vol = {.content = {.kind = VG_INDEX},
				.dtype = {"uint8", 1, false},
				.channels = 1,
				.size = {80, 64, 32},
				.ngrids = 1,
				.chunk = {{16, 16, 16}}};

static int table_fd;
static struct vx_table *table;
static struct vx_handles *h;
static struct vx_cbox fake[BOXES];

static void begin(void)
{
	struct vx_err e;

	table_fd = vx_table_create("", &e);
	ck_assert_int_ge(table_fd, 0);
	ck_assert_int_eq(vx_table_attach(&table, table_fd, &e), 0);
	for (uint32_t i = 0; i < BOXES; i++)
		fake[i] = (struct vx_cbox){.slot = i, .object = {.id = i + 1}};
}

static void end(void)
{
	vx_handles_free(&h);
	ck_assert_ptr_null(h);
	vx_handles_free(&h);
	vx_table_detach(&table);
	close(table_fd);
}

static void make(bool with_table, uint32_t starts)
{
	ck_assert_int_eq(vx_handles_new(&h, with_table ? table : NULL, starts), 0);
}

/* ---- boxes ---- */

START_TEST(each_is_closed_once)
{
	uint64_t fh, before = 0;

	make(_i, 1);
	for (unsigned i = 0; i < 100; i++) {
		fh = vx_handles_open_box(h, &fake[0], i);
		ck_assert(fh && fh != before);
		ck_assert_ptr_eq(vx_handles_box(h, fh), &fake[0]);
		ck_assert_ptr_null(vx_handles_box(h, before)); /* though the slot is in use again */
		ck_assert_ptr_null(vx_handles_close_box(h, before));
		ck_assert_ptr_eq(vx_handles_close_box(h, fh), &fake[0]);
		ck_assert_ptr_null(vx_handles_close_box(h, fh)); /* a RELEASE that is sent twice */
		ck_assert_ptr_null(vx_handles_box(h, fh));
		before = fh;
	}
	for (unsigned bit = 0; bit < 64; bit++) {
		ck_assert_ptr_null(vx_handles_box(h, (uint64_t)1 << bit));
		ck_assert_ptr_null(vx_handles_close_box(h, ~((uint64_t)1 << bit)));
	}
}
END_TEST

START_TEST(against_a_list)
{
	struct vxt_rng r = vxt_seed("against_a_list", _i);
	static struct {
		uint64_t fh;
		struct vx_cbox *b;
	} open[5000];
	uint64_t closed[64] = {0};
	unsigned n = 0;

	make(_i % 2, 7);
	for (unsigned step = 0; step < 60000; step++) {
		if (n < VX_ARRAY_LEN(open) && vxt_rnd(&r, 100) < (step / 10000 % 2 ? 40 : 60)) {
			open[n].b = &fake[vxt_rnd(&r, BOXES)];
			open[n].fh = vx_handles_open_box(h, open[n].b, step);
			ck_assert(open[n++].fh != 0);
		} else if (n) {
			unsigned i = (unsigned)vxt_rnd(&r, n);

			if (vx_handles_box(h, open[i].fh) != open[i].b ||
			    vx_handles_close_box(h, open[i].fh) != open[i].b)
				ck_abort_msg("handle %llx", (unsigned long long)open[i].fh);
			closed[step % 64] = open[i].fh;
			open[i] = open[--n];
		}
		if (vx_handles_box(h, closed[vxt_rnd(&r, 64)]))
			ck_abort_msg("one that was closed is open");
	}
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < 8; k++)
			if (i != (i + k * 17) % n && open[i].fh == open[(i + k * 17) % n].fh)
				ck_abort_msg("two files have one handle");
}
END_TEST

START_TEST(asked_again)
{
	uint64_t a, b;

	make(true, 1);
	a = vx_handles_open_box(h, &fake[1], 1000);
	b = vx_handles_open_box(h, &fake[2], 1002 | RESENT); /* sent again, then answered */
	ck_assert_ptr_null(vx_handles_asked_again(h, 1000));
	ck_assert_ptr_null(vx_handles_asked_again(h, 1001 | RESENT));
	ck_assert_ptr_eq(vx_handles_box(h, a), &fake[1]);
	ck_assert_ptr_eq(vx_handles_asked_again(h, 1000 | RESENT), &fake[1]);
	ck_assert_ptr_null(vx_handles_asked_again(h, 1000 | RESENT));
	ck_assert_ptr_null(vx_handles_close_box(h, a));
	ck_assert_ptr_eq(vx_handles_asked_again(h, 1002 | RESENT), &fake[2]);
	ck_assert_ptr_null(vx_handles_close_box(h, b));
	vx_handles_free(&h);
	make(false, 1);
	a = vx_handles_open_box(h, &fake[1], 1000);
	ck_assert_ptr_null(vx_handles_asked_again(h, 1000 | RESENT));
	ck_assert_ptr_eq(vx_handles_close_box(h, a), &fake[1]);
}
END_TEST

START_TEST(no_room)
{
	uint32_t slot;
	uint64_t fh;

	make(true, 1);
	fh = vx_handles_open_box(h, &fake[0], 1);
	while (vx_table_take(table, VX_TABLE_HANDLES, &slot))
		continue;
	ck_assert_uint_eq(vx_handles_open_box(h, &fake[1], 2), 0);
	ck_assert_ptr_eq(vx_handles_close_box(h, fh), &fake[0]);
	fh = vx_handles_open_box(h, &fake[1], 2);
	ck_assert_ptr_eq(vx_handles_box(h, fh), &fake[1]);
}
END_TEST

/* ---- the next server ---- */

static struct vxr r;
static unsigned heard;

static void hear(void *ctx, struct vx_cbox *b)
{
	ck_assert_ptr_eq(ctx, &heard);
	ck_assert_uint_gt(b->opens, 0);
	heard++;
}

static struct vx_box box_number(unsigned i)
{
	return (struct vx_box){{i, 0, 0}, {i + 8, 8, 8}};
}

/* A server with some boxes, all whole, and a tmpfs that outlives it. */
static int rw = -1, ro = -1;

static void start_server(uint32_t starts)
{
	vxr_start_with(&r, &(struct vxr_opts){.limit = 4 << 20, .table = table, .arena = rw}, &vol, 1);
	make(true, starts);
	vxr_recover(&r);
	heard = 0;
	vx_handles_recover(h, r.cache, hear, &heard);
}

/* Like a death: nothing is given back, closed or unlinked. */
static void lose_server(void)
{
	static struct vxr lost[8]; /* not leaked: forgotten */
	static unsigned n;
	struct vx_err e;

	vxr_stop(&r);
	ck_assert_uint_lt(n, VX_ARRAY_LEN(lost));
	lost[n++] = r;
	vx_handles_free(&h);
	vx_table_detach(&table);
	ck_assert_int_eq(vx_table_attach(&table, table_fd, &e), 0);
}

static struct vx_cbox *find(unsigned i)
{
	struct vx_box box = box_number(i);
	VX_LOCK_SCOPE(vx_cache_lock(r.cache));

	return vx_cache_find_locked(r.cache, r.src[0], 0, &box);
}

static void close_one(struct vx_cbox *b)
{
	ck_assert_ptr_nonnull(b);
	vx_boxes_close(r.boxes, b);
}

static bool make_arena(void)
{
	char note[200];

	vx_arena_mount(64 << 20, &rw, &ro, note);
	if (rw < 0)
		fprintf(stderr, "no tmpfs: not tested\n");
	return rw >= 0;
}

START_TEST(files_stay_open)
{
	uint64_t fh[BOXES];
	struct vxr_open o;

	if (!make_arena())
		return;
	start_server(1);
	for (unsigned i = 0; i < BOXES; i++) {
		struct vx_box box = box_number(i / 2); /* each is open twice */

		vxr_open_start(&r, &o, 0, &box, 1);
		ck_assert_int_eq(vxr_open_await(&o), 0);
		fh[i] = vx_handles_open_box(h, o.b, 100 + i);
		ck_assert(fh[i]);
	}
	for (unsigned i = 0; i < BOXES; i += 5)
		close_one(vx_handles_close_box(h, fh[i]));
	for (uint32_t starts = 2; starts < 5; starts++) {
		lose_server();
		start_server(starts);
		ck_assert_uint_eq(heard, BOXES - BOXES / 5);
		for (unsigned i = 0; i < BOXES; i++)
			ck_assert_ptr_eq(vx_handles_box(h, fh[i]), i % 5 ? find(i / 2) : NULL);
	}
	/* one is asked for again: its record goes, the new answer is another handle */
	ck_assert_ptr_eq(vx_handles_asked_again(h, 101 | RESENT), find(0));
	vx_boxes_close(r.boxes, find(0));
	ck_assert_ptr_null(vx_handles_box(h, fh[1]));
	ck_assert_ptr_null(vx_handles_asked_again(h, 105 | RESENT)); /* released long ago */
	for (unsigned i = 2; i < BOXES; i++) {
		if (i % 5 == 0)
			continue;
		close_one(vx_handles_close_box(h, fh[i]));
		ck_assert_ptr_null(vx_handles_close_box(h, fh[i]));
	}
	vxr_end(&r);
}
END_TEST

static uint32_t write_handle(uint64_t object, uint32_t box, uint32_t generation)
{
	uint32_t slot;
	struct vx_table_handle *x = vx_table_take(table, VX_TABLE_HANDLES, &slot);

	x->unique = 5;
	x->object = object;
	x->box = box;
	x->generation = generation;
	vx_table_seal(table, VX_TABLE_HANDLES, slot);
	return slot;
}

START_TEST(lies_about_handles)
{
	struct vx_box box = box_number(3);
	struct vxr_open o;
	struct vx_cbox *b;
	uint64_t object;
	uint32_t slot;

	if (!make_arena())
		return;
	start_server(1);
	vxr_open_start(&r, &o, 0, &box, 1);
	ck_assert_int_eq(vxr_open_await(&o), 0);
	object = o.b->object.id;
	slot = o.b->slot;
	write_handle(object, slot, 7); /* the only one that is true */
	write_handle(object + 1, slot, 7);
	write_handle(0, slot, 7);
	write_handle(object, slot + 1, 7);
	write_handle(object, UINT32_MAX, 7);
	write_handle(object, slot, (uint32_t)1 << 31);
	write_handle(object, slot, UINT32_MAX);
	lose_server();
	start_server(2);
	ck_assert_uint_eq(heard, 1);
	b = find(3);
	ck_assert_uint_eq(b->opens, 1);
	for (uint32_t i = 0; i < 7; i++) {
		ck_assert_ptr_eq(vx_handles_box(h, (uint64_t)1 << 63 | (uint64_t)7 << 32 | i), i ? NULL : b);
		ck_assert_ptr_null(vx_handles_box(h, (uint64_t)1 << 63 | i));
	}
	close_one(vx_handles_close_box(h, (uint64_t)1 << 63 | (uint64_t)7 << 32));
	vxr_end(&r);
}
END_TEST

/* ---- the rest ---- */

static unsigned made;
static int things[4];

static void *make_thing(void *ctx)
{
	made++;
	return ctx;
}

START_TEST(others)
{
	uint64_t a, b, box;

	make(true, 3);
	a = vx_handles_put(h, &things[0], NULL);
	b = vx_handles_put(h, &things[1], NULL);
	box = vx_handles_open_box(h, &fake[0], 1);
	ck_assert(a && b && a != b);
	ck_assert_ptr_eq(vx_handles_get(h, a), &things[0]);
	ck_assert_ptr_eq(vx_handles_get_or(h, b, make_thing, &things[2], NULL), &things[1]);
	ck_assert_uint_eq(made, 0);
	ck_assert_ptr_null(vx_handles_get(h, a + 1000));
	/* one kind is not the other */
	ck_assert_ptr_null(vx_handles_get(h, box));
	ck_assert_ptr_null(vx_handles_drop(h, box));
	ck_assert_ptr_null(vx_handles_box(h, a));
	ck_assert_ptr_null(vx_handles_close_box(h, a));
	ck_assert_ptr_eq(vx_handles_drop(h, a), &things[0]);
	ck_assert_ptr_null(vx_handles_drop(h, a));
	ck_assert_ptr_null(vx_handles_get(h, a));
	ck_assert_uint_eq(vx_handles_put(h, NULL, NULL), 0);
	/* the next server makes it anew, once; what it gives out is none of the old */
	vx_handles_free(&h);
	make(true, 4);
	ck_assert_ptr_null(vx_handles_get(h, b));
	ck_assert_ptr_eq(vx_handles_get_or(h, b, make_thing, &things[2], NULL), &things[2]);
	ck_assert_ptr_eq(vx_handles_get_or(h, b, make_thing, &things[3], NULL), &things[2]);
	ck_assert_uint_eq(made, 1);
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t fh = vx_handles_put(h, &things[0], NULL);

		ck_assert(fh && fh != a && fh != b);
	}
	ck_assert_ptr_eq(vx_handles_drop(h, b), &things[2]);
	ck_assert_ptr_null(vx_handles_get_or(h, b, make_thing, NULL, NULL));
}
END_TEST

/* ---- threads ---- */

static void *open_and_close(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg, n = 0;
	struct vxt_rng rng = {me};
	uint64_t fh[16], other[16];

	for (unsigned i = 0; i < vxt_ops(20000); i++) {
		if (n < VX_ARRAY_LEN(fh) && vxt_rnd(&rng, 2)) {
			other[n] = vx_handles_put(h, &fake[me], NULL);
			fh[n++] = vx_handles_open_box(h, &fake[me], (uint64_t)me << 32 | i);
		} else if (n) {
			if (vx_handles_box(h, fh[--n]) != &fake[me] || vx_handles_close_box(h, fh[n]) != &fake[me] ||
			    vx_handles_get(h, other[n]) != &fake[me] || vx_handles_drop(h, other[n]) != &fake[me])
				ck_abort_msg("another's");
			if (vx_handles_close_box(h, fh[n]))
				ck_abort_msg("closed twice");
		}
		if (i % 64 == 0)
			vx_handles_asked_again(h, RESENT | (uint64_t)99 << 32);
	}
	return NULL;
}

START_TEST(threads)
{
	pthread_t t[4];

	make(_i, 1);
	for (uintptr_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, open_and_close, (void *)(i + 1)), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}
END_TEST

static void make_all(void)
{
	vxr_volumes_make(&vol, 1);
}

static void remove_all(void)
{
	vxr_volumes_free(&vol, 1);
}

int main(void)
{
	Suite *s = suite_create("handle");
	TCase *t = tcase_create("handle");

	tcase_add_unchecked_fixture(t, make_all, remove_all);
	tcase_add_checked_fixture(t, begin, end);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, each_is_closed_once, 0, 2);
	tcase_add_loop_test(t, against_a_list, 0, 4);
	tcase_add_test(t, asked_again);
	tcase_add_test(t, no_room);
	tcase_add_test(t, files_stay_open);
	tcase_add_test(t, lies_about_handles);
	tcase_add_test(t, others);
	tcase_add_loop_test(t, threads, 0, 2);
	suite_add_tcase(s, t);
	return vxt_run(s);
}
