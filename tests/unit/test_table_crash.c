/* SPDX-License-Identifier: Apache-2.0
 * A death at any instruction leaves each record of the table as it was or as it was to be.
 */
#include "table_story.h"

static void crashed(void *ctx, struct vxc_memory *m)
{
	struct story *s = ctx;
	static struct view v;

	view_of_memory(m, &v);
	for (unsigned i = s->reached; i < s->n && i < s->reached + 2; i++)
		if (!strcmp(v.text, s->at[i].text)) {
			s->reached = i;
			return;
		}
	ck_abort_msg("neither the state after step %u nor the next, but:\n%s", s->reached, v.text);
}

static void expect(struct story *s)
{
	static struct view at[STEPS_MAX];

	s->at = at;
	for (s->n = 0;; s->n++) {
		int fd = table_fd();
		struct vx_table *t = attach(fd);
		bool over = false;

		for (unsigned i = 0; i < s->n; i++)
			over |= !step(t, i);
		ck_assert_uint_lt(s->n, STEPS_MAX);
		vx_table_detach(&t);
		t = attach(fd);
		view_of(t, &at[s->n]);
		vx_table_detach(&t);
		close(fd);
		if (over)
			return;
	}
}

START_TEST(a_death_at_any_instruction)
{
	int fd = table_fd();
	struct story s = {.t = attach(fd)};
	unsigned states;

	expect(&s);
	states = vxc_step(fd, tell, crashed, &s);
	ck_assert_uint_eq(s.reached, s.n - 1);
	ck_assert_uint_gt(states, 40); /* it did look in between */
	vx_table_detach(&s.t);
	close(fd);
}
END_TEST

/* A server that takes over dies in the middle of that, too. */
static void recover_all(void *ctx)
{
	const struct story *s = ctx;
	struct view v;

	for (int k = 0; k < VX_TABLE_KINDS; k++) {
		struct say_record r = {.v = &v, .kind = (enum vx_table_kind)k};

		v.len = v.kept = 0;
		memset(v.taken, 0, sizeof v.taken);
		vx_table_recover(s->t, r.kind, say_record, &r);
	}
}

static void same_as_first(void *ctx, struct vxc_memory *m)
{
	struct story *s = ctx;
	static struct view v;

	view_of_memory(m, &v);
	if (!s->at) {
		static struct view first;

		first = v;
		s->at = &first;
	}
	ck_assert_str_eq(v.text, s->at->text);
}

START_TEST(a_death_of_the_one_who_recovers)
{
	int fd = table_fd();
	struct story s = {.t = attach(fd)};
	struct vx_table_box *torn;
	uint32_t slot;

	tell(&s);
	torn = vx_table_take(s.t, VX_TABLE_BOXES, &slot);
	fill(torn, sizeof *torn, 0x77);
	torn->slot.seal = 12345;
	vxc_step(fd, recover_all, same_as_first, &s);
	ck_assert_uint_eq(torn->slot.seal, 0);
	vx_table_detach(&s.t);
	close(fd);
}
END_TEST

/* ---- marks ---- */

/* Work goes from chunk to chunk: a death is never put down to one that is a mixture of two. */
static void work_on(void *ctx)
{
	const struct story *s = ctx;

	for (unsigned i = 0; i < 8; i++)
		vx_table_mark(s->t, 7, &keys[i % 4]);
}

static void one_of_the_keys(void *ctx, const struct vx_mark_key *k, unsigned deaths)
{
	unsigned *n = ctx, i = 0;

	while (i < VX_ARRAY_LEN(keys) && memcmp(k, &keys[i], sizeof *k))
		i++;
	ck_assert_msg(i < VX_ARRAY_LEN(keys), "a chunk that nobody worked on: %x %x %x", k->source, k->grid, k->slab);
	ck_assert_uint_ge(deaths, 1);
	++*n;
}

static void blame_somebody_real(void *ctx, struct vxc_memory *m)
{
	int fd = table_fd();
	struct vx_table *t;
	unsigned n = 0;

	(void)ctx;
	vxc_memory_copy(m, fd);
	t = attach(fd);
	vx_table_count_death(t, one_of_the_keys, &n);
	ck_assert_uint_le(n, 2);
	n = 0;
	vx_table_count_death(t, one_of_the_keys, &n);
	ck_assert_uint_eq(n, 0);
	vx_table_detach(&t);
	close(fd);
}

START_TEST(marks_are_of_one_chunk)
{
	int fd = table_fd();
	struct story s = {.t = attach(fd)};

	ck_assert_uint_gt(vxc_step(fd, work_on, blame_somebody_real, &s), 16);
	vx_table_detach(&s.t);
	close(fd);
}
END_TEST

static void ignore(void *ctx, const struct vx_mark_key *k, unsigned deaths)
{
	(void)ctx;
	(void)k;
	(void)deaths;
}

static void count_a_death(void *ctx)
{
	const struct story *s = ctx;

	vx_table_count_death(s->t, ignore, NULL);
}

/* Where deaths are counted, too, no key is a mixture: places are taken from the least deadly chunk. */
START_TEST(counting_is_of_one_chunk)
{
	int fd = table_fd();
	struct story s = {.t = attach(fd)};

	for (unsigned i = 0; i < 64; i++) { /* no place is left */
		struct vx_mark_key k = keys[2];

		if (i)
			k.cell[0] = i * 1000;
		vx_table_mark(s.t, 0, &k);
		vx_table_count_death(s.t, ignore, NULL);
	}
	for (unsigned i = 0; i < 64; i++) { /* all but the first have died twice */
		struct vx_mark_key k = keys[2];

		k.cell[0] = i * 1000;
		if (!i)
			continue;
		vx_table_mark(s.t, 0, &k);
		vx_table_count_death(s.t, ignore, NULL);
		ck_assert(vx_table_is_poison(s.t, &k));
	}
	vx_table_mark(s.t, 0, &keys[0]);
	vx_table_mark(s.t, 1, &keys[1]);
	vxc_step(fd, count_a_death, blame_somebody_real, &s);
	vx_table_detach(&s.t);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("table_crash");
	TCase *c = tcase_create("crash");

	tcase_set_timeout(c, 200);
	if (!TSAN) { /* which does not let itself be traced */
		tcase_add_test(c, a_death_at_any_instruction);
		tcase_add_test(c, a_death_of_the_one_who_recovers);
		tcase_add_test(c, marks_are_of_one_chunk);
		tcase_add_test(c, counting_is_of_one_chunk);
	}
	suite_add_tcase(s, c);
	return vxt_run(s);
}
