/* SPDX-License-Identifier: Apache-2.0
 * A table and an arena that anybody has written: the next server believes nothing that it reads.
 */
#include "takeover_fixture.h"

/* ---- lies ---- */

static uint64_t next_object = 100;

/* An object with the right bytes of a box. */
static uint64_t put_object(unsigned vol, const struct vx_box *box)
{
	uint64_t bytes = vxr_bytes(&vols[vol], box);
	uint8_t *data = malloc(bytes);
	struct vxr_volume *v = &vols[vol];
	size_t width = v->dtype.width, at = 0;
	char name[32];
	int fd;

	for (int64_t z = box->lo[2]; z < box->hi[2]; z++)
		for (int64_t y = box->lo[1]; y < box->hi[1]; y++, at += (size_t)(box->hi[0] - box->lo[0]) * width)
			memcpy(data + at,
			       v->whole + (size_t)(((z - v->offset[2]) * v->size[1] + y - v->offset[1]) * v->size[0] +
						   box->lo[0] - v->offset[0]) *
					      width,
			       (size_t)(box->hi[0] - box->lo[0]) * width);
	snprintf(name, sizeof name, "%llu", (unsigned long long)++next_object);
	fd = openat(rw, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, data, bytes, 0), (ssize_t)bytes);
	close(fd);
	free(data);
	return next_object;
}

static struct vx_table_box claim(unsigned vol, const struct vx_box *box)
{
	return (struct vx_table_box){
	    .object = put_object(vol, box), .bytes = vxr_bytes(&vols[vol], box), .source = vol, .box = *box};
}

static uint32_t put_record(const struct vx_table_box *x)
{
	uint32_t slot;
	struct vx_table_box *to = vx_table_take(table, VX_TABLE_BOXES, &slot);

	memcpy((uint8_t *)to + sizeof to->slot, (const uint8_t *)x + sizeof x->slot, sizeof *x - sizeof x->slot);
	vx_table_seal(table, VX_TABLE_BOXES, slot);
	return slot;
}

static const struct vx_box some = {{0, 20, 0}, {10, 30, 10}}, same_size = {{10, 20, 0}, {20, 30, 10}};

/* Records that differ from a good one in one thing; each must be refused. */
static const struct lie {
	const char *name;
	void (*tell)(struct vx_table_box *x);
} lies[];

static void lie_no_object(struct vx_table_box *x)
{
	x->object = 0;
}

static void lie_other_object(struct vx_table_box *x)
{
	x->object = 1 << 30;
}

static void lie_zero_named(struct vx_table_box *x)
{
	char name[32];

	snprintf(name, sizeof name, "%llu", (unsigned long long)x->object);
	ck_assert_int_eq(renameat(rw, name, rw, "0"), 0);
	x->object = 0;
}

static void lie_last_number(struct vx_table_box *x)
{
	char name[32];

	snprintf(name, sizeof name, "%llu", (unsigned long long)x->object);
	ck_assert_int_eq(renameat(rw, name, rw, "18446744073709551615"), 0);
	x->object = UINT64_MAX;
}

static void lie_bytes(struct vx_table_box *x)
{
	x->bytes++;
}

static void lie_no_bytes(struct vx_table_box *x)
{
	x->bytes = 0;
}

static void lie_all_bytes(struct vx_table_box *x)
{
	x->bytes = UINT64_MAX;
}

static void lie_source(struct vx_table_box *x)
{
	x->source = 2;
}

static void lie_far_source(struct vx_table_box *x)
{
	x->source = UINT32_MAX;
}

static void lie_source_of_other_type(struct vx_table_box *x)
{
	x->source = 1;
}

static void lie_mip(struct vx_table_box *x)
{
	x->mip = 1;
}

static void lie_far_mip(struct vx_table_box *x)
{
	x->mip = UINT32_MAX;
}

static void lie_empty(struct vx_table_box *x)
{
	x->box.hi[1] = x->box.lo[1];
}

static void lie_inverted(struct vx_table_box *x)
{
	int64_t lo = x->box.lo[0];

	x->box.lo[0] = x->box.hi[0];
	x->box.hi[0] = lo;
}

static void lie_outside(struct vx_table_box *x)
{
	x->box.lo[0] += 60; /* of the same size */
	x->box.hi[0] += 60;
}

static void lie_huge(struct vx_table_box *x)
{
	x->box.lo[2] = INT64_MIN;
	x->box.hi[2] = INT64_MAX;
}

static int open_it(const struct vx_table_box *x)
{
	char name[32];
	int fd;

	snprintf(name, sizeof name, "%llu", (unsigned long long)x->object);
	fd = openat(rw, name, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void lie_short_object(struct vx_table_box *x)
{
	VX_AUTO_CLOSE int fd = open_it(x);

	ck_assert_int_eq(ftruncate(fd, (off_t)x->bytes - 1), 0);
}

static void lie_long_object(struct vx_table_box *x)
{
	VX_AUTO_CLOSE int fd = open_it(x);

	ck_assert_int_eq(ftruncate(fd, (off_t)x->bytes + 1), 0);
}

static void lie_hollow_object(struct vx_table_box *x)
{
	VX_AUTO_CLOSE int fd = open_it(x);

	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)x->bytes), 0);
}

static void replace_by(const struct vx_table_box *x, const char *what)
{
	char name[32];

	snprintf(name, sizeof name, "%llu", (unsigned long long)x->object);
	if (!strcmp(what, "link"))
		ck_assert_int_eq(renameat(rw, name, rw, ".hidden"), 0);
	else
		ck_assert_int_eq(unlinkat(rw, name, 0), 0);
	if (!strcmp(what, "link"))
		ck_assert_int_eq(symlinkat(".hidden", rw, name), 0);
	else if (!strcmp(what, "fifo"))
		ck_assert_int_eq(mkfifoat(rw, name, 0600), 0);
	else
		ck_assert_int_eq(mkdirat(rw, name, 0700), 0);
}

static void lie_link(struct vx_table_box *x)
{
	replace_by(x, "link");
}

static void lie_fifo(struct vx_table_box *x)
{
	replace_by(x, "fifo");
}

static void lie_directory(struct vx_table_box *x)
{
	replace_by(x, "directory");
}

#define LIE(n)              \
	{                   \
#n, lie_##n \
	}
static const struct lie lies[] = {
    LIE(no_object), LIE(other_object), LIE(zero_named),  LIE(last_number),   LIE(bytes),
    LIE(no_bytes),  LIE(all_bytes),    LIE(source),      LIE(far_source),    LIE(source_of_other_type),
    LIE(mip),       LIE(far_mip),      LIE(empty),       LIE(inverted),      LIE(outside),
    LIE(huge),      LIE(short_object), LIE(long_object), LIE(hollow_object), LIE(link),
    LIE(fifo),      LIE(directory),
};

START_TEST(lies_are_refused)
{
	struct vx_table_box x, truth;

	if (!can_be())
		return;
	fprintf(stderr, "%s\n", lies[_i].name);
	truth = claim(0, &same_size);
	put_record(&truth);
	x = claim(0, &some);
	lies[_i].tell(&x);
	put_record(&x);
	next_server();
	ck_assert_uint_eq(check_residents(), 1); /* what is true is taken */
	ck_assert_uint_eq(check_arena(), 1);
	/* The refused box can be had, with an object of its own. */
	ck_assert_int_eq(vxr_open_once(&r, 0, &some, NULL), 0);
	ck_assert_uint_eq(check_arena(), 2);
	vxr_end(&r);
}
END_TEST

START_TEST(one_object_is_of_one_box)
{
	struct vx_table_box a, b;

	if (!can_be())
		return;
	a = claim(0, &some);
	b = a; /* the right size, but the object is another's */
	b.box = same_size;
	put_record(&b);
	put_record(&a); /* slots are read from the last */
	next_server();
	ck_assert_uint_eq(check_residents(), 1);
	ck_assert_uint_eq(check_arena(), 1);
	vxr_end(&r);
}
END_TEST

START_TEST(one_box_has_one_object)
{
	struct vx_table_box a, b;

	if (!can_be())
		return;
	a = claim(0, &some);
	b = claim(0, &some);
	put_record(&a);
	put_record(&b);
	next_server();
	ck_assert_uint_eq(check_residents(), 1);
	ck_assert_uint_eq(check_arena(), 1);
	vxr_end(&r);
}
END_TEST

START_TEST(no_more_than_the_budget)
{
	struct vx_cache_stats s;
	uint64_t n = LIMIT / 4096 + 20;

	if (!can_be())
		return;
	for (uint64_t i = 0; i < n; i++) {
		struct vx_box box = {{(int64_t)(i % 80) - 32, 16 + (int64_t)(i / 80), 0},
				     {(int64_t)(i % 80) - 22, 26 + (int64_t)(i / 80), 10}};
		struct vx_table_box x = claim(0, &box);

		put_record(&x);
	}
	next_server();
	ck_assert_uint_eq(check_residents(), LIMIT / 4096);
	check_arena();
	vx_cache_stats(r.cache, &s);
	ck_assert_uint_eq(s.bytes, LIMIT);
	vxr_end(&r);
}
END_TEST

/* Whatever lies in the arena, it is gone afterwards, and new objects can be made. */
START_TEST(the_arena_is_swept)
{
	static const char *const files[] = {"1",
					    "007",
					    "-3",
					    "x",
					    ".hidden",
					    "..x",
					    "99999999999999999999",
					    "18446744073709551615",
					    "9223372036854775807",
					    " 5",
					    "5 "};
	struct vx_table_box a;

	if (!can_be())
		return;
	a = claim(0, &some);
	put_record(&a);
	for (size_t i = 0; i < VX_ARRAY_LEN(files); i++)
		close(openat(rw, files[i], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	ck_assert_int_eq(mkdirat(rw, "d", 0700), 0);
	ck_assert_int_eq(mkdirat(rw, "d/.e", 0700), 0);
	ck_assert_int_eq(mkdirat(rw, "d/.e/f", 0700), 0);
	ck_assert_int_eq(mkdirat(rw, "d/77", 0700), 0);
	close(openat(rw, "d/.e/f/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	close(openat(rw, "d/77/12", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	ck_assert_int_eq(symlinkat("/", rw, "root"), 0);
	ck_assert_int_eq(symlinkat("/", rw, "4"), 0);
	next_server();
	ck_assert_uint_eq(check_arena(), 1);
	ck_assert_int_eq(vxr_open_once(&r, 0, &same_size, NULL), 0);
	ck_assert_uint_eq(check_arena(), 2);
	vxr_end(&r);
}
END_TEST

START_TEST(garbage)
{
	struct vxt_rng rng = vxt_seed("garbage", _i);
	struct vx_table_box a;
	uint32_t slot;

	if (!can_be())
		return;
	for (unsigned i = 0; i < 400; i++) {
		uint8_t *to;

		a = claim(0, &some);
		slot = put_record(&a);
		to = vx_table_at(table, VX_TABLE_BOXES, slot);
		if (i % 2) /* one bit, not sealed again */
			to[vxt_rnd(&rng, sizeof a)] ^= (uint8_t)(1 << vxt_rnd(&rng, 8));
		else {
			for (size_t k = 0; k < sizeof a; k++)
				to[k] = (uint8_t)vxt_rnd(&rng, 256);
			if (i % 4)
				vx_table_seal(table, VX_TABLE_BOXES, slot);
		}
	}
	next_server();
	ck_assert_uint_eq(check_residents(), 0);
	ck_assert_uint_eq(check_arena(), 0);
	vxr_end(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("takeover_lies");
	TCase *l = tcase_create("lies");

	tcase_add_unchecked_fixture(l, make_volumes, remove_volumes);
	tcase_add_checked_fixture(l, begin, end);
	tcase_set_timeout(l, 60);
	tcase_add_loop_test(l, lies_are_refused, 0, VX_ARRAY_LEN(lies));
	tcase_add_test(l, one_object_is_of_one_box);
	tcase_add_test(l, one_box_has_one_object);
	tcase_add_test(l, no_more_than_the_budget);
	tcase_add_test(l, the_arena_is_swept);
	tcase_add_loop_test(l, garbage, 0, 4);
	suite_add_tcase(s, l);
	return vxt_run(s);
}
