/* SPDX-License-Identifier: Apache-2.0
 * The keeper's list of registered objects against a simple one, with a kernel that is played here.
 */
#include "../lib/vxtest.h"
#include "fs/backings.h"
#include "fs/passthrough.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define FUSE_FD 4242
#define MOST_IDS 16384

/* ---- the kernel ---- */

static struct {
	ino_t ino; /* 0: free */
} ids[MOST_IDS];
static unsigned registered, opens;
static int refuse; /* errno to say */

int vx_backing_open(int fuse_fd, int fd)
{
	struct stat st;
	static int last;
	int id = last;

	opens++;
	if (fuse_fd != FUSE_FD || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY)
		ck_abort_msg("this is not to be registered");
	if (refuse)
		return -refuse;
	do
		id = id % (MOST_IDS - 1) + 1;
	while (ids[id].ino);
	last = id;
	ids[id].ino = st.st_ino;
	registered++;
	return id;
}

void vx_backing_close(int fuse_fd, int id)
{
	if (fuse_fd != FUSE_FD || id <= 0 || id >= MOST_IDS || !ids[id].ino)
		ck_abort_msg("%d is not registered", id);
	ids[id].ino = 0;
	registered--;
}

/* ---- the arena ---- */

#define FILES 4000
static char top[] = "/tmp/voxfs-backings-XXXXXX";
static ino_t inos[FILES];
static int dir = -1;

static uint64_t number(unsigned i)
{
	/* Dense ones, as they are given out, and some far away that meet in the table. */
	return i % 4 ? i + 1 : ((uint64_t)i << 40) + 1;
}

static void begin(void)
{
	strcpy(top, "/tmp/voxfs-backings-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < FILES; i++) {
		char name[32];
		struct stat st;
		int fd;

		snprintf(name, sizeof name, "%llu", (unsigned long long)number(i));
		fd = openat(dir, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
		ck_assert_int_eq(fstat(fd, &st), 0);
		inos[i] = st.st_ino;
		close(fd);
	}
	ck_assert_int_eq(symlinkat("1", dir, "9000001"), 0);
	ck_assert_int_eq(mkdirat(dir, "9000002", 0700), 0);
	ck_assert_int_eq(mkfifoat(dir, "9000003", 0600), 0);
	close(openat(dir, "0", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600)); /* no object has this number */
}

static void end(void)
{
	for (unsigned i = 0; i < FILES; i++) {
		char name[32];

		snprintf(name, sizeof name, "%llu", (unsigned long long)number(i));
		unlinkat(dir, name, 0);
	}
	unlinkat(dir, "9000001", 0);
	unlinkat(dir, "9000002", AT_REMOVEDIR);
	unlinkat(dir, "9000003", 0);
	unlinkat(dir, "0", 0);
	close(dir);
	rmdir(top);
}

START_TEST(against_a_simple_list)
{
	struct vxt_rng r = vxt_seed("against_a_simple_list", _i);
	static int id[FILES];
	struct vx_backings *b;
	unsigned n = 0, wanted = 0;

	memset(id, 0, sizeof id);
	ck_assert_int_eq(vx_backings_new(&b, dir), 0);
	vx_backings_set_mount(b, FUSE_FD);
	for (unsigned step = 0; step < vxt_ops(15000); step++) {
		unsigned i = (unsigned)vxt_rnd(&r, FILES);

		if (step % 2500 == 0) /* it grows and shrinks */
			wanted = (unsigned)vxt_rnd(&r, FILES);
		if (vxt_rnd(&r, 4) ? n < wanted : n >= wanted) {
			int got = vx_backings_register(b, number(i));

			if (got <= 0 || (id[i] && id[i] != got) || ids[got].ino != inos[i])
				ck_abort_msg("object %u: %d, was %d", i, got, id[i]);
			n += !id[i];
			id[i] = got;
		} else {
			if (vx_backings_unregister(b, number(i)) != (id[i] ? 0 : -ENOENT))
				ck_abort_msg("object %u, known as %d", i, id[i]);
			n -= id[i] != 0;
			id[i] = 0;
		}
		if (vx_backings_count(b) != n || registered != n)
			ck_abort_msg("%zu, should be %u", vx_backings_count(b), n);
	}
	for (unsigned i = 0; i < FILES; i++)
		ck_assert_int_eq(vx_backings_unregister(b, number(i)), id[i] ? 0 : -ENOENT);
	ck_assert_uint_eq(registered, 0);
	vx_backings_free(&b);
	ck_assert_ptr_null(b);
	vx_backings_free(&b);
}
END_TEST

START_TEST(what_is_no_object)
{
	static const uint64_t none[] = {0, 8000000, 9000001, 9000002, 9000003, UINT64_MAX};
	struct vx_backings *b;

	ck_assert_int_eq(vx_backings_new(&b, dir), 0);
	ck_assert_int_lt(vx_backings_register(b, 2), 0); /* no mount yet */
	vx_backings_set_mount(b, FUSE_FD);
	for (size_t i = 0; i < VX_ARRAY_LEN(none); i++) {
		ck_assert_int_lt(vx_backings_register(b, none[i]), 0);
		ck_assert_int_eq(vx_backings_unregister(b, none[i]), -ENOENT);
	}
	ck_assert_uint_eq(opens, 0);
	refuse = EMFILE;
	ck_assert_int_eq(vx_backings_register(b, 2), -EMFILE);
	refuse = 0;
	ck_assert_uint_eq(vx_backings_count(b), 0);
	ck_assert_int_gt(vx_backings_register(b, 2), 0);
	vx_backings_free(&b);
	registered = 0;
	memset(ids, 0, sizeof ids);
	ck_assert_int_eq(vx_backings_new(&b, -1), 0); /* no clone, no privilege */
	vx_backings_set_mount(b, FUSE_FD);
	ck_assert_int_eq(vx_backings_register(b, 2), -EPERM);
	vx_backings_free(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("backings");
	TCase *t = tcase_create("backings");

	tcase_add_checked_fixture(t, begin, end);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, against_a_simple_list, 0, 3);
	tcase_add_test(t, what_is_no_object);
	suite_add_tcase(s, t);
	return vxt_run(s);
}
