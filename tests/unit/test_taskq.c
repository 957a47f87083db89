/* SPDX-License-Identifier: Apache-2.0
 * The order in which tasks are taken.
 */
#include "../lib/vxtest.h"
#include "sched/taskq.h"

#define TASKS 400

struct task {
	struct vx_tq_item i;
	uint32_t client;
	unsigned number; /* when it was pushed */
	bool queued;
};

static struct vx_tq q;
static struct task tasks[TASKS];
static unsigned pushed;

static struct vx_box cell(int64_t x, int64_t y, int64_t z)
{
	return (struct vx_box){{x * 10, y * 10, z * 10}, {x * 10 + 10, y * 10 + 10, z * 10 + 10}};
}

static void push(struct task *t, uint32_t client, enum vx_prio prio, int64_t x)
{
	t->i = (struct vx_tq_item){.prio = prio, .space = 1, .box = cell(x, 0, 0), .morton = (uint64_t)x};
	t->client = client;
	t->number = pushed++;
	t->queued = true;
	ck_assert_int_eq(vx_tq_push(&q, &t->i, client), 0);
}

static struct task *pop(enum vx_prio lowest, const struct vx_history *h, bool *favourite)
{
	bool f = false;
	struct vx_tq_item *i = vx_tq_pop(&q, lowest, h, &f);
	struct task *t = i ? vx_container_of(i, struct task, i) : NULL;

	if (favourite)
		*favourite = f;
	if (!t)
		return NULL;
	ck_assert(t->queued && !i->client);
	t->queued = false;
	return t;
}

static void begin(void)
{
	vx_tq_init(&q);
}

static void end(void)
{
	ck_assert_ptr_null(pop(VX_PRIO_PREFETCH, NULL, NULL));
	for (int p = 0; p < VX_PRIO_COUNT; p++)
		ck_assert_uint_eq(q.count[p], 0);
	vx_tq_done(&q);
}

START_TEST(clients_take_turns)
{
	/* Client 1 has pushed a great deal before the others come. */
	for (unsigned k = 0; k < 100; k++)
		push(&tasks[k], 1, VX_PRIO_FOREGROUND, (int64_t)k * 100);
	for (unsigned k = 0; k < 3; k++) {
		push(&tasks[100 + k], 2, VX_PRIO_FOREGROUND, (int64_t)k * 100);
		push(&tasks[110 + k], 3, VX_PRIO_FOREGROUND, (int64_t)k * 100);
	}
	for (unsigned k = 0; k < 3; k++) {
		ck_assert_ptr_eq(pop(VX_PRIO_FOREGROUND, NULL, NULL), &tasks[k]);
		ck_assert_ptr_eq(pop(VX_PRIO_FOREGROUND, NULL, NULL), &tasks[100 + k]);
		ck_assert_ptr_eq(pop(VX_PRIO_FOREGROUND, NULL, NULL), &tasks[110 + k]);
	}
	for (unsigned k = 3; k < 100; k++) /* alone again, in order */
		ck_assert_ptr_eq(pop(VX_PRIO_FOREGROUND, NULL, NULL), &tasks[k]);
}
END_TEST

START_TEST(foreground_first)
{
	push(&tasks[0], 1, VX_PRIO_PREFETCH, 0);
	push(&tasks[1], 2, VX_PRIO_FOREGROUND, 0);
	push(&tasks[2], 2, VX_PRIO_FOREGROUND, 100);
	push(&tasks[3], 2, VX_PRIO_PREFETCH, 200);
	ck_assert_uint_eq(q.count[VX_PRIO_FOREGROUND], 2);
	ck_assert_uint_eq(q.count[VX_PRIO_PREFETCH], 2);
	ck_assert_ptr_eq(pop(VX_PRIO_PREFETCH, NULL, NULL), &tasks[1]);
	ck_assert_ptr_eq(pop(VX_PRIO_PREFETCH, NULL, NULL), &tasks[2]);
	ck_assert_ptr_null(pop(VX_PRIO_FOREGROUND, NULL, NULL));
	ck_assert_ptr_eq(pop(VX_PRIO_PREFETCH, NULL, NULL), &tasks[0]);
	ck_assert_ptr_eq(pop(VX_PRIO_PREFETCH, NULL, NULL), &tasks[3]);
}
END_TEST

START_TEST(what_lies_near_is_preferred)
{
	struct vx_history h = {.worker = 0, .workers = 1}; /* the hash deals everything to the only worker */
	struct vx_box b = cell(100, 0, 0);
	bool favourite;

	for (unsigned k = 0; k < 30; k++)
		push(&tasks[k], 1, VX_PRIO_FOREGROUND, (int64_t)k * 10);
	ck_assert_ptr_eq(pop(VX_PRIO_FOREGROUND, &h, &favourite), &tasks[0]); /* nothing served yet: the first */
	ck_assert(favourite);
	vx_history_add(&h, 1, &b);
	ck_assert_ptr_eq(pop(VX_PRIO_FOREGROUND, &h, &favourite), &tasks[10]); /* the same place */
	ck_assert(favourite);
	b = cell(111, 1, 1); /* touches 110 at a corner */
	vx_history_add(&h, 1, &b);
	ck_assert_ptr_eq(pop(VX_PRIO_FOREGROUND, &h, &favourite), &tasks[11]);
	b = cell(121, 0, 0);
	vx_history_add(&h, 2, &b); /* another space */
	ck_assert_ptr_eq(pop(VX_PRIO_FOREGROUND, &h, &favourite), &tasks[1]);
	b = cell(290, 0, 0);
	vx_history_add(&h, 1, &b); /* beyond the next few */
	ck_assert_ptr_eq(pop(VX_PRIO_FOREGROUND, &h, &favourite), &tasks[2]);
	ck_assert_ptr_eq(pop(VX_PRIO_FOREGROUND, NULL, &favourite), &tasks[3]);
	ck_assert(!favourite);
	while (pop(VX_PRIO_FOREGROUND, &h, NULL))
		continue;
}
END_TEST

START_TEST(history_is_short)
{
	struct vx_history h = {.workers = 1};

	for (int64_t k = 0; k < VX_HISTORY + 3; k++) {
		struct vx_box b = cell(k * 10, 0, 0);

		ck_assert(!vx_history_touches(&h, 1, &b));
		vx_history_add(&h, 1, &b);
		ck_assert(vx_history_touches(&h, 1, &b));
		ck_assert(!vx_history_touches(&h, 0, &b));
	}
	for (int64_t k = 0; k < VX_HISTORY + 3; k++) {
		struct vx_box b = cell(k * 10, 0, 0), beside = cell(k * 10 + 1, 1, -1), apart = cell(k * 10 + 2, 0, 0);

		ck_assert_int_eq(vx_history_touches(&h, 1, &b), k >= 3);
		ck_assert_int_eq(vx_history_touches(&h, 1, &beside), k >= 3);
		ck_assert(!vx_history_touches(&h, 1, &apart));
	}
}
END_TEST

/* With several workers the hash shares the work out; still each of them gets something whenever there is something. */
START_TEST(nobody_waits_for_a_favourite)
{
	struct vx_history h[4];
	unsigned favourites = 0;

	for (unsigned w = 0; w < 4; w++)
		h[w] = (struct vx_history){.worker = w, .workers = 4};
	for (unsigned k = 0; k < 256; k++)
		push(&tasks[k], 1, VX_PRIO_FOREGROUND, (int64_t)k * 64); /* each its own neighbourhood */
	for (unsigned k = 0; k < 256; k++) {
		bool f;

		ck_assert_ptr_nonnull(pop(VX_PRIO_FOREGROUND, &h[k % 4], &f));
		favourites += f;
	}
	ck_assert_uint_gt(favourites, 200); /* 16 to choose from, a quarter of them one's own */
}
END_TEST

/* A worker that always finds something near must not leave the oldest task behind for ever. */
START_TEST(no_starvation)
{
	struct vx_history h = {.workers = 2};
	struct vx_box near = cell(5, 0, 0);
	unsigned n;

	vx_history_add(&h, 1, &near);
	push(&tasks[0], 1, VX_PRIO_FOREGROUND, 1 << 20);
	for (n = 1; n < 20; n++)
		push(&tasks[n], 1, VX_PRIO_FOREGROUND, 5);
	for (n = 0; n < 10000 && tasks[0].queued; n++) {
		struct task *t = pop(VX_PRIO_FOREGROUND, &h, NULL);

		if (t != &tasks[0])
			push(t, 1, VX_PRIO_FOREGROUND, 5);
	}
	ck_assert_msg(!tasks[0].queued, "passed over %u times", n);
	while (pop(VX_PRIO_FOREGROUND, NULL, NULL))
		continue;
}
END_TEST

/* Whatever is done, each task leaves once, clients' orders hold, and no client waits for more turns than there are
 * clients. */
START_TEST(random_walk)
{
	struct vxt_rng r = vxt_seed("random_walk", _i);
	unsigned waited[8] = {0};

	for (int step = 0; step < 50000; step++) {
		struct task *t = &tasks[vxt_rnd(&r, TASKS)];

		if (vxt_rnd(&r, 10) == 0 && t->queued) {
			vx_tq_remove(&q, &t->i);
			ck_assert_ptr_null(t->i.client);
			t->queued = false;
		} else if (vxt_rnd(&r, 2) && !t->queued) {
			push(t, (uint32_t)vxt_rnd(&r, 8), vxt_rnd(&r, 2) ? VX_PRIO_FOREGROUND : VX_PRIO_PREFETCH,
			     (int64_t)vxt_rnd(&r, 1000));
		} else if ((t = pop(VX_PRIO_PREFETCH, NULL, NULL))) {
			bool has[8] = {false}, any = false;

			for (unsigned k = 0; k < TASKS; k++) {
				const struct task *o = &tasks[k];

				if (!o->queued || o->i.prio != t->i.prio) {
					any |= o->queued && o->i.prio < t->i.prio;
					continue;
				}
				has[o->client] = true;
				if (o->client == t->client && o->number < t->number)
					ck_abort_msg("out of order");
			}
			ck_assert_msg(!any, "foreground had to wait");
			for (unsigned c = 0; c < 8 && t->i.prio == VX_PRIO_FOREGROUND; c++) {
				waited[c] = has[c] && c != t->client ? waited[c] + 1 : 0;
				ck_assert_uint_lt(waited[c], 8);
			}
		}
	}
	while (pop(VX_PRIO_PREFETCH, NULL, NULL))
		continue;
	for (unsigned k = 0; k < TASKS; k++)
		ck_assert(!tasks[k].queued);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("taskq");
	TCase *t = tcase_create("taskq");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, begin, end);
	tcase_add_test(t, clients_take_turns);
	tcase_add_test(t, foreground_first);
	tcase_add_test(t, what_lies_near_is_preferred);
	tcase_add_test(t, history_is_short);
	tcase_add_test(t, nobody_waits_for_a_favourite);
	tcase_add_test(t, no_starvation);
	tcase_add_loop_test(t, random_walk, 0, 4);
	return vxt_run(s);
}
