/* SPDX-License-Identifier: Apache-2.0
 * The table that outlives servers: what one writes the next one reads, and a death at any instruction leaves each
 * record as it was or as it was to be.
 */
#include "arena/table.h"
#include "crash_step.h"

static int table_fd(void)
{
	struct vx_err e;
	int fd = vx_table_create("a note", &e);

	ck_assert_msg(fd >= 0, "%s", e.why);
	return fd;
}

static struct vx_table *attach(int fd)
{
	struct vx_table *t = NULL;
	struct vx_err e;

	ck_assert_msg(vx_table_attach(&t, fd, &e) == 0, "%s", e.why);
	return t;
}

static const struct vx_mark_key keys[4] = {
    {.source = 0x11111111, .mip = 0x11111111, .grid = 0x11111111, .slab = 0x11111111, .cell = {1, 1, 1}},
    {.source = 0x22222222, .mip = 0x22222222, .grid = 0x22222222, .slab = 0x22222222, .cell = {2, 2, 2}},
    {.source = 0x33333333, .mip = 0x33333333, .grid = 0x33333333, .slab = 0x33333333, .cell = {3, 3, 3}},
    {.source = 0x44444444, .mip = 0x44444444, .grid = 0x44444444, .slab = 0x44444444, .cell = {4, 4, 4}},
};

/* ---- what a next server finds, as text ---- */

struct view {
	char text[8192];
	size_t len;
	bool taken[64]; /* slots with a record */
	uint32_t kept;
};

static void say(struct view *v, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	ck_assert_uint_lt(v->len + 2 * len + 1, sizeof v->text);
	for (size_t i = 0; i < len; i++)
		v->len += (size_t)sprintf(v->text + v->len, "%02x", p[i]);
}

static const size_t record_size[VX_TABLE_KINDS] = {
    [VX_TABLE_NODES] = offsetof(struct vx_table_node, lookups),
    [VX_TABLE_BOXES] = sizeof(struct vx_table_box),
    [VX_TABLE_HANDLES] = sizeof(struct vx_table_handle),
};

struct say_record {
	struct view *v;
	enum vx_table_kind kind;
};

static bool say_record(void *ctx, uint32_t slot, void *record)
{
	struct say_record *s = ctx;

	ck_assert_uint_lt(slot, VX_ARRAY_LEN(s->v->taken));
	ck_assert(!s->v->taken[slot]);
	s->v->taken[slot] = true;
	s->v->kept++;
	s->v->len += (size_t)sprintf(s->v->text + s->v->len, "\n%d:%u ", s->kind, slot);
	say(s->v, (uint8_t *)record + sizeof(struct vx_slot), record_size[s->kind] - sizeof(struct vx_slot));
	return true;
}

/* Free slots are given out once each, and never one that holds a record. */
static void check_slots(struct vx_table *t, enum vx_table_kind kind, const struct view *v)
{
	bool taken[VX_ARRAY_LEN(v->taken)];
	uint32_t slot, n = 12;

	memcpy(taken, v->taken, sizeof taken);
	for (uint32_t i = 0; i < n; i++) {
		ck_assert_ptr_nonnull(vx_table_take(t, kind, &slot));
		/* No more than `n` and those kept: else a slot has leaked. */
		ck_assert_uint_lt(slot, n + v->kept);
		ck_assert_msg(!taken[slot], "slot %u is given out twice", slot);
		taken[slot] = true;
	}
}

static void say_mark(void *ctx, const struct vx_mark_key *k, unsigned deaths)
{
	struct view *v = ctx;

	v->len += (size_t)sprintf(v->text + v->len, "\n%u deaths ", deaths);
	say(v, k, sizeof *k);
}

static void say_doc(struct view *v, struct vx_table *t, const char *name)
{
	const void *data;
	size_t len;
	int code;

	if (!vx_table_doc_find(t, name, &code, &data, &len))
		return;
	v->len += (size_t)sprintf(v->text + v->len, "\n%s %d ", name, code);
	say(v, data, len);
}

static void view_of(struct vx_table *t, struct view *v)
{
	static const char *const docs[] = {"a", "bb", "ccc", "dddddddddd"};
	uint8_t init[VX_TABLE_INIT_MAX];

	v->len = (size_t)sprintf(v->text, "%s %d ", vx_table_note(t), vx_table_decided(t));
	say(v, init, vx_table_init_load(t, init));
	for (size_t i = 0; i < VX_ARRAY_LEN(docs); i++)
		say_doc(v, t, docs[i]);
	for (int k = 0; k < VX_TABLE_KINDS; k++) {
		struct say_record s = {.v = v, .kind = (enum vx_table_kind)k};

		memset(v->taken, 0, sizeof v->taken);
		v->kept = 0;
		vx_table_recover(t, s.kind, say_record, &s);
		check_slots(t, s.kind, v);
	}
	vx_table_count_death(t, say_mark, v);
}

/* Of a copy: looking changes it. */
static void view_of_memory(struct vxc_memory *m, struct view *v)
{
	int fd = table_fd();
	struct vx_table *t;

	vxc_memory_copy(m, fd);
	t = attach(fd);
	view_of(t, v);
	vx_table_detach(&t);
	close(fd);
}

/* ---- a story: what a server does, step by step ---- */

static void *fill(void *record, size_t size, uint8_t with)
{
	memset((uint8_t *)record + sizeof(struct vx_slot), with, size - sizeof(struct vx_slot));
	return record;
}

static void add(struct vx_table *t, enum vx_table_kind kind, uint8_t with)
{
	uint32_t slot;
	void *r = vx_table_take(t, kind, &slot);

	fill(r, record_size[kind], with);
	vx_table_seal(t, kind, slot);
}

/* False: the story is over. Each step is one update that must be seen whole or not at all. */
static bool step(struct vx_table *t, unsigned i)
{
	static const uint8_t bytes[40] = "what the kernel asked first of all";
	unsigned n = 0;

	if (i == n++)
		vx_table_init_save(t, bytes, 40);
	else if (i == n++)
		vx_table_decide(t, VX_YES);
	else if (i == n++)
		vx_table_doc_add(t, "a", 0, bytes, 33);
	else if (i == n++)
		vx_table_doc_add(t, "bb", -ENODATA, NULL, 0);
	else if (i == n++)
		add(t, VX_TABLE_NODES, 0x10);
	else if (i == n++)
		add(t, VX_TABLE_BOXES, 0x20);
	else if (i == n++)
		add(t, VX_TABLE_HANDLES, 0x30);
	else if (i == n++)
		add(t, VX_TABLE_BOXES, 0x21);
	else if (i == n++)
		vx_table_mark(t, 3, &keys[0]);
	else if (i == n++)
		vx_table_give(t, VX_TABLE_BOXES, 0);
	else if (i == n++)
		add(t, VX_TABLE_BOXES, 0x22); /* where another was */
	else if (i == n++)
		vx_table_mark(t, 3, NULL);
	else if (i == n++)
		vx_table_mark(t, 3, &keys[1]);
	else if (i == n++)
		vx_table_give(t, VX_TABLE_HANDLES, 0);
	else if (i == n++)
		add(t, VX_TABLE_HANDLES, 0x31);
	else if (i == n++)
		vx_table_give(t, VX_TABLE_NODES, 0);
	else if (i == n++)
		vx_table_doc_add(t, "ccc", 5, bytes, 1);
	else if (i == n++)
		vx_table_doc_add(t, "dddddddddd", 0, bytes, 40);
	else
		return false;
	return true;
}

#define STEPS_MAX 32

struct story {
	struct vx_table *t;
	struct view *at; /* after each step; [0] is the beginning */
	unsigned n, reached;
	unsigned from; /* steps told before */
};

static void tell(void *ctx)
{
	const struct story *s = ctx;

	for (unsigned i = s->from; step(s->t, i); i++)
		continue;
}

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
	ck_assert_uint_gt(states, 60); /* it did look in between */
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

struct heard {
	unsigned n, deaths;
	struct vx_mark_key last;
};

static void hear(void *ctx, const struct vx_mark_key *k, unsigned deaths)
{
	struct heard *h = ctx;

	h->n++;
	h->deaths = deaths;
	h->last = *k;
}

START_TEST(who_is_to_blame)
{
	int fd = table_fd();
	struct vx_table *t = attach(fd), *next;
	struct heard h = {0};

	vx_table_count_death(t, hear, &h);
	ck_assert_uint_eq(h.n, 0);
	/* nobody is known to be at fault: all are suspects */
	vx_table_mark(t, 0, &keys[0]);
	vx_table_mark(t, 255, &keys[1]);
	vx_table_mark(t, 9, &keys[2]);
	vx_table_mark(t, 9, NULL);
	vx_table_count_death(t, hear, &h);
	ck_assert_uint_eq(h.n, 2);
	ck_assert_uint_eq(h.deaths, 1);
	ck_assert(!vx_table_is_poison(t, &keys[0]) && !vx_table_is_poison(t, &keys[1]));
	/* one is: the others are not */
	vx_table_mark(t, 0, &keys[0]);
	vx_table_mark(t, 255, &keys[1]);
	vx_table_blame(t, 255);
	h = (struct heard){0};
	vx_table_count_death(t, hear, &h);
	ck_assert_uint_eq(h.n, 1);
	ck_assert_uint_eq(h.deaths, VX_TABLE_POISON);
	ck_assert(!memcmp(&h.last, &keys[1], sizeof h.last));
	ck_assert(vx_table_is_poison(t, &keys[1]) && !vx_table_is_poison(t, &keys[0]));
	/* the blame is not kept for the next death */
	vx_table_mark(t, 0, &keys[2]);
	h = (struct heard){0};
	vx_table_count_death(t, hear, &h);
	ck_assert_uint_eq(h.n, 1);
	/* a death that says nothing */
	vx_table_mark(t, 0, &keys[2]);
	vx_table_blame(t, 0);
	vx_table_forgive(t);
	h = (struct heard){0};
	vx_table_count_death(t, hear, &h);
	ck_assert_uint_eq(h.n, 0);
	ck_assert(!vx_table_is_poison(t, &keys[2]));
	/* known to the next server */
	next = attach(fd);
	ck_assert(vx_table_is_poison(next, &keys[1]) && !vx_table_is_poison(next, &keys[2]));
	/* one that was blamed and worked on nothing leaves no blame behind */
	vx_table_blame(next, 17);
	h = (struct heard){0};
	vx_table_count_death(next, hear, &h);
	ck_assert_uint_eq(h.n, 0);
	vx_table_detach(&next);
	vx_table_detach(&t);
	close(fd);
}
END_TEST

/* ---- two mappings ---- */

START_TEST(the_next_server_reads_it)
{
	int fd = table_fd();
	struct vx_table *t = attach(fd), *next;
	static struct view a, b;
	struct timespec t0 = vx_table_started(t), t1;
	struct vx_table_node *n;
	uint32_t slot;

	tell(&(struct story){.t = t});
	n = vx_table_take(t, VX_TABLE_NODES, &slot);
	fill(n, record_size[VX_TABLE_NODES], 0x55);
	n->lookups = 7;
	vx_table_seal(t, VX_TABLE_NODES, slot);
	n->lookups++; /* not sealed */
	next = attach(fd);
	ck_assert_uint_eq(((struct vx_table_node *)vx_table_at(next, VX_TABLE_NODES, slot))->lookups, 8);
	vx_table_detach(&t);
	t1 = vx_table_started(next);
	ck_assert(t0.tv_sec == t1.tv_sec && t0.tv_nsec == t1.tv_nsec);
	ck_assert_str_eq(vx_table_note(next), "a note");
	view_of(next, &a);
	vx_table_detach(&next);
	next = attach(fd); /* and the one after */
	b.len = 0;
	view_of(next, &b);
	ck_assert_ptr_null(strstr(b.text, "deaths")); /* counted already */
	*strstr(a.text, "\n1 deaths") = 0;
	ck_assert_str_eq(a.text, b.text);
	vx_table_detach(&next);
	close(fd);
}
END_TEST

static bool refuse_odd(void *ctx, uint32_t slot, void *record)
{
	(void)ctx;
	(void)record;
	return slot % 2 == 0;
}

static bool count_slot(void *ctx, uint32_t slot, void *record)
{
	(void)record;
	ck_assert_uint_eq(slot % 2, 0);
	++*(unsigned *)ctx;
	return true;
}

START_TEST(what_is_refused_is_free)
{
	int fd = table_fd();
	struct vx_table *t = attach(fd), *next = attach(fd);
	unsigned n = 0;
	uint32_t slot;

	for (int i = 0; i < 1000; i++)
		add(t, VX_TABLE_HANDLES, (uint8_t)i);
	vx_table_recover(next, VX_TABLE_HANDLES, refuse_odd, NULL);
	for (int i = 0; i < 500; i++) {
		ck_assert_ptr_nonnull(vx_table_take(next, VX_TABLE_HANDLES, &slot));
		ck_assert(slot % 2 == 1 && slot < 1000);
	}
	ck_assert_ptr_nonnull(vx_table_take(next, VX_TABLE_HANDLES, &slot));
	ck_assert_uint_eq(slot, 1000);
	vx_table_detach(&t);
	t = attach(fd);
	vx_table_recover(t, VX_TABLE_HANDLES, count_slot, &n);
	ck_assert_uint_eq(n, 500);
	vx_table_detach(&t);
	vx_table_detach(&next);
	close(fd);
}
END_TEST

/* A record is sealed for its place and its kind: elsewhere it is nothing. */
START_TEST(a_record_is_good_in_its_place_only)
{
	int fd = table_fd();
	struct vx_table *t = attach(fd), *next;
	uint32_t a, b;
	void *ra = vx_table_take(t, VX_TABLE_BOXES, &a), *rb = vx_table_take(t, VX_TABLE_BOXES, &b);
	unsigned n = 0;

	fill(ra, sizeof(struct vx_table_box), 0x11);
	vx_table_seal(t, VX_TABLE_BOXES, a);
	memcpy(rb, ra, sizeof(struct vx_table_box));
	next = attach(fd);
	vx_table_recover(next, VX_TABLE_BOXES, count_slot, &n);
	ck_assert_uint_eq(n, 1);
	vx_table_detach(&next);
	for (size_t i = 0; i < sizeof(struct vx_table_box); i++) { /* each bit of each byte counts */
		((uint8_t *)ra)[i] ^= (uint8_t)(1 << i % 8);
		next = attach(fd);
		n = 0;
		vx_table_recover(next, VX_TABLE_BOXES, count_slot, &n);
		ck_assert_msg(n == 0, "byte %zu", i);
		vx_table_detach(&next);
		vx_table_seal(t, VX_TABLE_BOXES, a);
	}
	vx_table_detach(&t);
	close(fd);
}
END_TEST

/* ---- limits ---- */

START_TEST(slots_run_out)
{
	const uint32_t most = 1 << 20;
	int fd = table_fd();
	struct vx_table *t = attach(fd);
	uint32_t slot, last = 0;

	for (uint32_t i = 0; i < most; i++) {
		void *r = vx_table_take(t, VX_TABLE_NODES, &slot);

		if (!r || slot != i)
			ck_abort_msg("slot %u is the %u-th", slot, i);
	}
	ck_assert_ptr_null(vx_table_take(t, VX_TABLE_NODES, &slot));
	ck_assert_ptr_null(vx_table_at(t, VX_TABLE_NODES, slot));
	ck_assert_ptr_null(vx_table_at(t, VX_TABLE_NODES, most));
	vx_table_give(t, VX_TABLE_NODES, slot); /* nothing */
	ck_assert_ptr_null(vx_table_take(t, VX_TABLE_NODES, &slot));
	vx_table_give(t, VX_TABLE_NODES, 4711);
	ck_assert_ptr_nonnull(vx_table_take(t, VX_TABLE_NODES, &last));
	ck_assert_uint_eq(last, 4711);
	ck_assert_ptr_nonnull(vx_table_take(t, VX_TABLE_BOXES, &slot)); /* other kinds have their own */
	vx_table_detach(&t);
	close(fd);
}
END_TEST

START_TEST(documents_run_out)
{
	const size_t len = 4 << 20;
	int fd = table_fd();
	struct vx_table *t = attach(fd), *next;
	uint8_t *bytes = malloc(len);
	unsigned n = 0;
	char name[16];

	for (;; n++) {
		snprintf(name, sizeof name, "doc %u", n);
		memset(bytes, (int)n + 1, len);
		if (!vx_table_doc_add(t, name, 0, bytes, len))
			break;
		ck_assert_uint_lt(n, 100);
	}
	ck_assert_uint_ge(n, 15);
	ck_assert(!vx_table_doc_add(t, "huge", 0, bytes, SIZE_MAX - 100));
	ck_assert(vx_table_doc_add(t, "small", 0, bytes, 10));
	next = attach(fd);
	for (unsigned i = 0; i <= n; i++) {
		const void *data = NULL;
		size_t got = 0;
		int code = 1;

		snprintf(name, sizeof name, "doc %u", i);
		memset(bytes, (int)i + 1, len);
		ck_assert_int_eq(vx_table_doc_find(next, name, &code, &data, &got), i < n);
		ck_assert(i == n || (got == len && !code && !memcmp(data, bytes, len)));
	}
	free(bytes);
	vx_table_detach(&next);
	vx_table_detach(&t);
	close(fd);
}
END_TEST

START_TEST(requests_too_long)
{
	int fd = table_fd();
	struct vx_table *t = attach(fd);
	uint8_t init[VX_TABLE_INIT_MAX + 1] = {1, 2, 3}, got[VX_TABLE_INIT_MAX];

	ck_assert_uint_eq(vx_table_init_load(t, got), 0);
	ck_assert(!vx_table_init_save(t, init, sizeof init));
	ck_assert_uint_eq(vx_table_init_load(t, got), 0);
	ck_assert(vx_table_init_save(t, init, sizeof got));
	ck_assert_uint_eq(vx_table_init_load(t, got), sizeof got);
	ck_assert(!memcmp(got, init, sizeof got));
	ck_assert_int_eq(vx_table_decided(t), VX_UNDECIDED);
	vx_table_detach(&t);
	close(fd);
}
END_TEST

/* ---- strangers ---- */

static void refused(int fd)
{
	struct vx_table *t = NULL;
	struct vx_err e;

	ck_assert_int_eq(vx_table_attach(&t, fd, &e), -EPROTO);
	ck_assert_ptr_null(t);
	ck_assert_msg(strstr(e.why, "another version"), "%s", e.why);
}

START_TEST(other_versions_are_refused)
{
	int fd = table_fd(), other = memfd_create("x", MFD_CLOEXEC);
	struct stat st;
	uint64_t word;

	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_lt(ftruncate(fd, 4096), 0); /* nobody makes our maps fault */
	ck_assert_int_lt(ftruncate(fd, st.st_size + 4096), 0);
	for (off_t at = 0; at < 24; at += 8) { /* magic, layout, size */
		ck_assert_int_eq(pread(fd, &word, 8, at), 8);
		word++;
		ck_assert_int_eq(pwrite(fd, &word, 8, at), 8);
		refused(fd);
		word--;
		ck_assert_int_eq(pwrite(fd, &word, 8, at), 8);
	}
	refused(other);
	ck_assert_int_eq(ftruncate(other, st.st_size - 1), 0);
	refused(other);
	ck_assert_int_eq(ftruncate(other, st.st_size), 0);
	refused(other);
	refused(-1);
	close(other);
	close(fd);
}
END_TEST

/* ---- threads ---- */

#define THREADS 4
struct taker {
	struct vx_table *t;
	pthread_t thread;
	uint8_t id;
};

static void *take_and_give(void *arg)
{
	struct taker *k = arg;
	uint32_t held[32], n = 0;
	struct vxt_rng rng = {k->id};

	for (unsigned i = 0; i < vxt_ops(20000); i++) {
		if (n < VX_ARRAY_LEN(held) && vxt_rnd(&rng, 2)) {
			struct vx_table_handle *r = vx_table_take(k->t, VX_TABLE_HANDLES, &held[n]);

			fill(r, sizeof *r, k->id);
			vx_table_seal(k->t, VX_TABLE_HANDLES, held[n++]);
		} else if (n) {
			const struct vx_table_handle *r = vx_table_at(k->t, VX_TABLE_HANDLES, held[--n]);

			if ((uint8_t)r->unique != k->id) /* nobody else was given it */
				ck_abort_msg("slot %u is another's", held[n]);
			vx_table_give(k->t, VX_TABLE_HANDLES, held[n]);
		}
	}
	while (n)
		vx_table_give(k->t, VX_TABLE_HANDLES, held[--n]);
	return NULL;
}

START_TEST(threads_take_and_give)
{
	int fd = table_fd();
	struct taker k[THREADS];
	struct vx_table *t = attach(fd);
	unsigned n = 0;
	uint32_t slot;

	for (int i = 0; i < THREADS; i++) {
		k[i] = (struct taker){.t = t, .id = (uint8_t)(i + 1)};
		ck_assert_int_eq(pthread_create(&k[i].thread, NULL, take_and_give, &k[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(k[i].thread, NULL);
	for (int i = 0; i < THREADS * 32; i++) {
		ck_assert_ptr_nonnull(vx_table_take(t, VX_TABLE_HANDLES, &slot));
		ck_assert_uint_lt(slot, THREADS * 32);
	}
	vx_table_detach(&t);
	t = attach(fd);
	vx_table_recover(t, VX_TABLE_HANDLES, count_slot, &n);
	ck_assert_uint_eq(n, 0);
	vx_table_detach(&t);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("table");
	TCase *t = tcase_create("table"), *c = tcase_create("crash");

	tcase_set_timeout(c, 200);
	tcase_set_timeout(t, 60);
#if !defined(__SANITIZE_THREAD__) /* its threads cannot be traced */
	tcase_add_test(c, a_death_at_any_instruction);
	tcase_add_test(c, a_death_of_the_one_who_recovers);
	tcase_add_test(c, marks_are_of_one_chunk);
	tcase_add_test(c, counting_is_of_one_chunk);
#endif
	tcase_add_test(t, who_is_to_blame);
	tcase_add_test(t, the_next_server_reads_it);
	tcase_add_test(t, what_is_refused_is_free);
	tcase_add_test(t, a_record_is_good_in_its_place_only);
	tcase_add_test(t, slots_run_out);
	tcase_add_test(t, documents_run_out);
	tcase_add_test(t, requests_too_long);
	tcase_add_test(t, other_versions_are_refused);
	tcase_add_test(t, threads_take_and_give);
	suite_add_tcase(s, c);
	suite_add_tcase(s, t);
	return vxt_run(s);
}
