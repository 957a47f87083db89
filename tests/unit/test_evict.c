/* SPDX-License-Identifier: Apache-2.0
 * S3-FIFO: what must hold whatever is done to it, and what it is for.
 */
#include "../lib/vxtest.h"
#include "arena/evict.h"

#include <string.h>

#define ITEMS 600

struct item {
	struct vx_evict_item i;
	bool resident, pinned;
};

static struct vx_evict q;
static struct item items[ITEMS];

static struct item *item_of(struct vx_evict_item *i)
{
	return vx_container_of(i, struct item, i);
}

static void queued_bytes(struct vx_link *queue, bool is_main, uint64_t want)
{
	uint64_t sum = 0;

	for (struct vx_link *l = queue->next; l != queue; l = l->next) {
		struct vx_evict_item *i = vx_list_entry(l, struct vx_evict_item, link);

		if (!i->queued || i->main != is_main || !item_of(i)->resident || item_of(i)->pinned)
			ck_abort_msg("an item is where it should not be");
		sum += i->bytes;
	}
	ck_assert_uint_eq(sum, want);
}

static void check_all(void)
{
	uint64_t want = 0;

	queued_bytes(&q.small, false, q.small_bytes);
	queued_bytes(&q.main, true, q.main_bytes);
	for (int k = 0; k < ITEMS; k++)
		if (items[k].resident && !items[k].pinned)
			want += items[k].i.bytes;
	ck_assert_uint_eq(q.small_bytes + q.main_bytes, want);
}

static void one_step(struct vxt_rng *r)
{
	struct item *t = &items[vxt_rnd(r, ITEMS)];
	struct vx_evict_item *v;

	switch (vxt_rnd(r, 8)) {
	case 0:
	case 1:
		if (t->resident)
			break;
		t->pinned = vxt_rnd(r, 2);
		t->resident = true;
		t->i.bytes = 1 + vxt_rnd(r, 1ull << vxt_rnd(r, 30));
		t->i.hash = (uint64_t)(t - items) + 1;
		vx_evict_add(&q, &t->i, t->pinned);
		break;
	case 2:
	case 3:
		if (t->resident)
			vx_evict_touch(&t->i);
		break;
	case 4:
		if (!t->resident)
			break;
		t->pinned = true;
		vx_evict_pin(&q, &t->i); /* twice is fine */
		break;
	case 5:
		if (!t->resident)
			break;
		t->pinned = false;
		vx_evict_unpin(&q, &t->i);
		break;
	case 6:
		if (!t->resident || vxt_rnd(r, 4))
			break;
		vx_evict_remove(&q, &t->i);
		t->resident = false;
		break;
	default:
		v = vx_evict_next(&q);
		if (!v)
			break;
		t = item_of(v);
		ck_assert(t->resident && !t->pinned && !v->queued);
		if (vxt_rnd(r, 8)) {
			t->resident = false;
		} else { /* spared */
			vx_evict_unpin(&q, v);
			ck_assert(v->queued);
		}
	}
}

START_TEST(whatever_is_done)
{
	struct vxt_rng r = vxt_seed("whatever_is_done", _i);
	unsigned left = 0, got = 0;
	struct vx_evict_item *v;

	vx_evict_init(&q);
	for (int step = 0; step < 20000; step++) {
		one_step(&r);
		if (step % 64 == 0)
			check_all();
	}
	for (int k = 0; k < ITEMS; k++)
		left += items[k].resident && !items[k].pinned;
	while ((v = vx_evict_next(&q))) {
		ck_assert(item_of(v)->resident && !item_of(v)->pinned);
		item_of(v)->resident = false;
		got++;
	}
	ck_assert_uint_eq(got, left);
	ck_assert_uint_eq(q.small_bytes + q.main_bytes, 0);
	ck_assert_ptr_null(vx_evict_next(&q));
}
END_TEST

/* ---- a cache of fixed size over items of one byte, by number ---- */

#define WORLD 40000
#define CAPACITY 1000

static struct vx_evict_item world[WORLD];
static bool resident[WORLD];
static unsigned used;

/* Returns whether it was a hit. */
static bool ask(unsigned n)
{
	if (resident[n]) {
		vx_evict_touch(&world[n]);
		return true;
	}
	while (used >= CAPACITY) {
		struct vx_evict_item *v = vx_evict_next(&q);

		ck_assert_ptr_nonnull(v);
		resident[v - world] = false;
		used--;
	}
	world[n] = (struct vx_evict_item){.bytes = 1, .hash = vx_mix64(n + 1)};
	vx_evict_add(&q, &world[n], false);
	resident[n] = true;
	used++;
	return false;
}

START_TEST(a_sweep_passes_by)
{
	unsigned hits = 0, hot = CAPACITY / 2, next = hot;

	vx_evict_init(&q);
	for (int round = 0; round < 5; round++)
		for (unsigned n = 0; n < hot; n++)
			ask(n);
	for (; next < hot + 10 * CAPACITY; next++) { /* each of them once, the hot ones not at all */
		ck_assert(!ask(next));
		ck_assert_uint_le(used, CAPACITY);
	}
	for (unsigned n = 0; n < hot; n++)
		hits += ask(n);
	ck_assert_uint_eq(hits, hot);
	/* And beside a sweep the set stays, where LRU would lose it. */
	for (unsigned n = 0; next < WORLD; next++) {
		ask(next);
		if (next % 20 == 0)
			ck_assert_msg(ask(n++ % hot), "%u was lost at %u", n - 1, next);
	}
}
END_TEST

START_TEST(who_comes_back_is_remembered)
{
	unsigned n;

	vx_evict_init(&q);
	for (n = 0; n < CAPACITY + 100; n++)
		ask(n);
	ck_assert(!resident[0]);
	ck_assert(!ask(0));
	ck_assert(world[0].main); /* its ghost was known */
	ck_assert(!resident[1]);
	ask(1);
	ck_assert(world[1].main);
	vx_evict_remove(&q, &world[0]);
	resident[0] = false;
	used--;
	ask(0);
	ck_assert(!world[0].main); /* a ghost counts once, and what is removed leaves none */
	for (; n < 12 * CAPACITY; n++)
		ask(n);
	ask(2);
	ck_assert(!world[2].main); /* long forgotten */
}
END_TEST

START_TEST(touched_while_new)
{
	unsigned n;

	vx_evict_init(&q);
	ask(0);
	ask(0);
	for (n = 1; n < 3 * CAPACITY; n++)
		ask(n);
	ck_assert(resident[0] && world[0].main);
	ck_assert(!resident[1]);
	for (; n < 6 * CAPACITY; n++) /* touched by nobody, but the sweep does not reach it */
		ask(n);
	ck_assert(resident[0]);
}
END_TEST

START_TEST(main_alone_empties)
{
	struct vx_evict_item i[3] = {{.bytes = 5, .hash = 1}, {.bytes = 6, .hash = 2}, {.bytes = 7, .hash = 3}};
	bool got[3] = {false};

	vx_evict_init(&q);
	for (int k = 0; k < 3; k++) {
		vx_evict_add(&q, &i[k], true);
		i[k].main = true;
		for (int touch = 0; touch < 300; touch++)
			vx_evict_touch(&i[k]);
		vx_evict_unpin(&q, &i[k]);
	}
	ck_assert_uint_eq(q.main_bytes, 18);
	for (int k = 0; k < 3; k++)
		got[vx_evict_next(&q) - i] = true;
	ck_assert(got[0] && got[1] && got[2]);
	ck_assert_ptr_null(vx_evict_next(&q));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("evict");
	TCase *t = tcase_create("evict");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, whatever_is_done, 0, 5);
	tcase_add_test(t, a_sweep_passes_by);
	tcase_add_test(t, who_comes_back_is_remembered);
	tcase_add_test(t, touched_while_new);
	tcase_add_test(t, main_alone_empties);
	return vxt_run(s);
}
