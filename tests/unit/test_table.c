/* SPDX-License-Identifier: Apache-2.0
 * The table that outlives servers: what one writes the next one reads. test_table_crash.c has the deaths.
 */
#include "table_story.h"

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
	TCase *t = tcase_create("table");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, who_is_to_blame);
	tcase_add_test(t, the_next_server_reads_it);
	tcase_add_test(t, what_is_refused_is_free);
	tcase_add_test(t, a_record_is_good_in_its_place_only);
	tcase_add_test(t, slots_run_out);
	tcase_add_test(t, documents_run_out);
	tcase_add_test(t, requests_too_long);
	tcase_add_test(t, other_versions_are_refused);
	tcase_add_test(t, threads_take_and_give);
	suite_add_tcase(s, t);
	return vxt_run(s);
}
