/* SPDX-License-Identifier: Apache-2.0
 * What the tests of the table share: a story that a server writes into it, and what the next one finds, as text.
 */
#ifndef VX_TABLE_STORY_H
#define VX_TABLE_STORY_H

#include "arena/table.h"
#include "crash_step.h"

#if defined(__SANITIZE_THREAD__)
#define TSAN 1
#else
#define TSAN 0
#endif

static inline int table_fd(void)
{
	struct vx_err e;
	int fd = vx_table_create("a note", &e);

	ck_assert_msg(fd >= 0, "%s", e.why);
	return fd;
}

static inline struct vx_table *attach(int fd)
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

static inline void say(struct view *v, const void *bytes, size_t len)
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

static inline bool say_record(void *ctx, uint32_t slot, void *record)
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
static inline void check_slots(struct vx_table *t, enum vx_table_kind kind, const struct view *v)
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

static inline void say_mark(void *ctx, const struct vx_mark_key *k, unsigned deaths)
{
	struct view *v = ctx;

	v->len += (size_t)sprintf(v->text + v->len, "\n%u deaths ", deaths);
	say(v, k, sizeof *k);
}

static inline void say_doc(struct view *v, struct vx_table *t, const char *name)
{
	const void *data;
	size_t len;
	int code;

	if (!vx_table_doc_find(t, name, &code, &data, &len))
		return;
	v->len += (size_t)sprintf(v->text + v->len, "\n%s %d ", name, code);
	say(v, data, len);
}

static inline void view_of(struct vx_table *t, struct view *v)
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
static inline void view_of_memory(struct vxc_memory *m, struct view *v)
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

static inline void *fill(void *record, size_t size, uint8_t with)
{
	memset((uint8_t *)record + sizeof(struct vx_slot), with, size - sizeof(struct vx_slot));
	return record;
}

static inline void add(struct vx_table *t, enum vx_table_kind kind, uint8_t with)
{
	uint32_t slot;
	void *r = vx_table_take(t, kind, &slot);

	fill(r, record_size[kind], with);
	vx_table_seal(t, kind, slot);
}

/* False: the story is over. Each step is one update that must be seen whole or not at all. */
static inline bool step(struct vx_table *t, unsigned i)
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

static inline void tell(void *ctx)
{
	const struct story *s = ctx;

	for (unsigned i = s->from; step(s->t, i); i++)
		continue;
}

#endif
