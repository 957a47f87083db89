/* SPDX-License-Identifier: Apache-2.0
 * A server dies with boxes resident, filling, being given back; the next one takes over what is whole, removes
 * everything else, and believes nothing that it reads.
 */
#include "../lib/vxrig.h"
#include "base/ledger.h"
#include "sched/cache_impl.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define LIMIT ((uint64_t)1 << 20)
#define OPENERS 3
#define HELD 8

static struct vxr_volume vols[] = {
    {.content = {.kind = VG_INDEX},
     .dtype = {"uint8", 1, false},
     .channels = 1,
     .offset = {-32, 16, -8},
     .size = {96, 80, 64},
     .ngrids = 1,
     .chunk = {{16, 16, 16}}},
    {.content = {.kind = VG_LABELS, .seed = 2},
     .dtype = {"uint32", 4, false},
     .channels = 1,
     .size = {80, 60, 40},
     .ngrids = 1,
     .chunk = {{24, 24, 20}},
     .cseg = true},
};

static int table_fd, rw, ro;
static struct vx_table *table;
static struct vxr r;

static void begin(void)
{
	char note[200];
	struct vx_err e;

	vx_arena_mount(LIMIT * 8, &rw, &ro, note);
	table_fd = vx_table_create(note, &e);
	ck_assert_int_ge(table_fd, 0);
	ck_assert_int_eq(vx_table_attach(&table, table_fd, &e), 0);
}

static void end(void)
{
	vx_table_detach(&table);
	close(table_fd);
	if (rw >= 0)
		close(rw);
	if (ro >= 0)
		close(ro);
}

/* The rest of what a test needs; false: there is no tmpfs to be had here, and nothing can be taken over. */
static bool can_be(void)
{
	if (rw < 0)
		fprintf(stderr, "no tmpfs: not tested\n");
	return rw >= 0;
}

static void start_rig(void)
{
	vxr_start(&r, &(struct vxr_opts){.limit = LIMIT, .table = table, .arena = rw});
	for (size_t i = 0; i < VX_ARRAY_LEN(vols); i++)
		vxr_add(&r, &vols[i]);
}

/* ---- what must hold after a takeover ---- */

static bool is_an_object(uint64_t id)
{
	for (unsigned i = 0; i < VX_BOX_BUCKETS; i++)
		for (struct vx_link *l = r.cache->boxes[i].next; l != &r.cache->boxes[i]; l = l->next)
			if (vx_list_entry(l, struct vx_cbox, in_table)->object.id == id)
				return true;
	return false;
}

/* Every file of the arena is a box's, and every box has one; the number of them. */
static unsigned check_arena(void)
{
	int fd = openat(rw, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(fd);
	struct vx_cache_stats s;
	struct dirent *d;
	unsigned n = 0;

	while ((d = readdir(dir))) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		ck_assert_msg(is_an_object(strtoull(d->d_name, NULL, 10)), "%s is left in the arena", d->d_name);
		n++;
	}
	closedir(dir);
	vx_cache_stats(r.cache, &s);
	ck_assert_uint_eq(s.objects, n);
	vxr_check_books(&r);
	return n;
}

struct resident {
	unsigned vol, n;
	struct vx_box box[4096];
};

static void note_box(void *ctx, const struct vx_box *box, uint64_t bytes)
{
	struct resident *x = ctx;

	ck_assert_uint_lt(x->n, VX_ARRAY_LEN(x->box));
	ck_assert_uint_eq(bytes, vxr_bytes(r.vol[x->vol], box));
	x->box[x->n++] = *box;
}

/* Each resident box has the bytes it should have, and opening it costs no fetch. */
static unsigned check_residents(void)
{
	static struct resident x;
	unsigned n = 0;

	for (x.vol = 0; x.vol < r.nvols; x.vol++, n += x.n) {
		x.n = 0;
		vx_cache_each_ready(r.cache, r.src[x.vol], 0, note_box, &x);
		for (unsigned i = 0; i < x.n; i++) {
			struct vxr_open o;

			ck_assert_int_eq(vxr_open_start(&r, &o, x.vol, &x.box[i], 1), 0); /* at once */
			vxr_open_check(&r, &o);
			vxr_open_close(&r, &o);
		}
	}
	return n;
}

static void next_server(void)
{
	struct vx_err e;

	vx_table_detach(&table); /* what the one before knew of free slots went with it */
	ck_assert_int_eq(vx_table_attach(&table, table_fd, &e), 0);
	start_rig();
	vxr_recover(&r);
}

/* ---- killed at any time ---- */

struct told {
	uint32_t thread, vol;
	struct vx_box box; /* open from now on, until this thread tells of HELD others */
};

struct opener {
	pthread_t thread;
	struct vxt_rng rng;
	uint32_t number;
	int tell;
};

static void *open_for_ever(void *arg)
{
	struct opener *k = arg;
	static __thread struct vxr_open held[HELD];

	for (unsigned i = 0;; i++) {
		struct told t = {.thread = k->number, .vol = (uint32_t)vxt_rnd(&k->rng, VX_ARRAY_LEN(vols))};
		struct vxr_open o;

		t.box = vxr_random_box(&vols[t.vol], &k->rng, 24);
		vxr_open_start(&r, &o, t.vol, &t.box, k->number);
		if (vxr_open_await(&o) < 0)
			_exit(1);
		/* Told before another is closed: what was told of last is open at each instant. */
		if (write(k->tell, &t, sizeof t) != sizeof t)
			_exit(1);
		if (i >= HELD)
			vxr_open_close(&r, &held[i % HELD]);
		held[i % HELD] = o;
	}
	return NULL;
}

/* A server that opens boxes until somebody kills it. */
static void serve(int tell, uint64_t seed)
{
	static struct opener k[OPENERS];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	next_server();
	for (uint32_t i = 0; i < OPENERS; i++) {
		k[i] = (struct opener){.rng = {vx_mix64(seed + i)}, .number = i, .tell = tell};
		pthread_create(&k[i].thread, NULL, open_for_ever, &k[i]);
	}
	for (;;)
		pause();
}

/* Those open when it died, as far as it told. */
static unsigned kill_after(uint64_t seed, unsigned opens, struct told open[OPENERS * HELD])
{
	unsigned count[OPENERS] = {0}, n = 0;
	int p[2], status;
	struct told t;
	pid_t pid;

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		serve(p[1], seed);
	close(p[1]);
	while (read(p[0], &t, sizeof t) == sizeof t) {
		open[t.thread * HELD + count[t.thread]++ % HELD] = t;
		if (++n == opens)
			kill(pid, SIGKILL); /* and hears what it still said */
	}
	close(p[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the server ended with %x", status);
	n = 0;
	for (unsigned i = 0; i < OPENERS; i++)
		for (unsigned j = 0; j < HELD && j < count[i]; j++)
			open[n++] = open[i * HELD + j];
	return n;
}

START_TEST(killed_at_any_time)
{
	struct vxt_rng rng = vxt_seed("killed_at_any_time", _i);
	static struct told open[OPENERS * HELD];

	if (!can_be())
		return;
	for (unsigned round = 0; round < vxt_ops(6); round++) {
		/* Each server takes over from the one before, this process too: some die at that. */
		unsigned n = kill_after(vxt_rnd(&rng, 1 << 30), 1 + (unsigned)vxt_rnd(&rng, 300), open);

		next_server();
		for (unsigned i = 0; i < n; i++) {
			struct vx_cbox *b;
			VX_LOCK_SCOPE(vx_cache_lock(r.cache));

			b = vx_cache_find_locked(r.cache, r.src[open[i].vol], 0, &open[i].box);
			ck_assert_msg(b && b->state == VX_BOX_READY, "an open box is lost");
		}
		ck_assert_uint_eq(check_arena(), check_residents());
		/* It goes on as any other. */
		for (unsigned i = 0; i < 20; i++) {
			struct vx_box box = vxr_random_box(&vols[i % 2], &rng, 24);

			ck_assert_int_eq(vxr_open_once(&r, i % 2, &box, NULL), 0);
		}
		check_arena();
		vxr_end(&r);
	}
}
END_TEST

/* Dies before it has opened anything, while it takes over or just after. */
START_TEST(killed_while_taking_over)
{
	static struct told open[OPENERS * HELD];
	struct vxt_rng rng = vxt_seed("killed_while_taking_over", _i);

	if (!can_be())
		return;
	for (unsigned round = 0; round < 12; round++) {
		int status, p[2];
		pid_t pid;
		char c;

		if (round % 4 == 0)
			kill_after(round, 60, open);
		ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
		pid = fork();
		if (pid == 0) {
			struct vx_err e;

			vx_table_detach(&table);
			ck_assert_int_eq(vx_table_attach(&table, table_fd, &e), 0);
			start_rig();
			if (write(p[1], "x", 1) != 1)
				_exit(1);
			vxr_recover(&r);
			for (;;)
				pause();
		}
		ck_assert_int_eq(read(p[0], &c, 1), 1);
		for (uint64_t spin = vxt_rnd(&rng, 20000); spin; spin--)
			ck_assert_int_eq(kill(pid, 0), 0); /* an instant nobody chose */
		kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		close(p[0]);
		close(p[1]);
	}
	next_server();
	ck_assert_uint_gt(check_residents(), 0);
	check_arena();
	vxr_end(&r);
}
END_TEST

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

static void make_volumes(void)
{
	vxr_top_make();
	for (size_t i = 0; i < VX_ARRAY_LEN(vols); i++) {
		char name[8];

		snprintf(name, sizeof name, "v%zu", i);
		vxr_volume_make(&vols[i], name);
	}
}

static void remove_volumes(void)
{
	for (size_t i = 0; i < VX_ARRAY_LEN(vols); i++)
		vxr_volume_free(&vols[i]);
	vxr_top_remove();
}

int main(void)
{
	Suite *s = suite_create("takeover");
	TCase *c = tcase_create("kills"), *l = tcase_create("lies");

	tcase_add_unchecked_fixture(c, make_volumes, remove_volumes);
	tcase_add_unchecked_fixture(l, make_volumes, remove_volumes);
	tcase_add_checked_fixture(c, begin, end);
	tcase_set_timeout(c, 250);
	tcase_add_loop_test(c, killed_at_any_time, 0, 3);
	tcase_add_test(c, killed_while_taking_over);
	suite_add_tcase(s, c);
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
