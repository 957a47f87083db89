/* SPDX-License-Identifier: Apache-2.0
 * Who the server becomes. Root sees all of it; an ordinary user stays who it is.
 */
#include "fs/privileges.h"
#include "tests/lib/vxtest.h"
#include "tests/unit/sandbox_fixture.h"

#include <sys/wait.h>

static struct vx_err e;

static int choose(struct vx_identity *i, const char *runas, const char *a, const char *b, const char *writable)
{
	struct vx_identity_need needs[3];
	unsigned n = 0;

	if (a)
		needs[n++] = (struct vx_identity_need){.path = a};
	if (b)
		needs[n++] = (struct vx_identity_need){.path = b};
	if (writable)
		needs[n++] = (struct vx_identity_need){.path = writable, .write = true};
	e = (struct vx_err){0};
	return vx_identity_choose(i, runas, needs, n, &e);
}

START_TEST(choosing_as_root)
{
	struct vx_identity i;
	char other[80];

	if (geteuid() != 0)
		return;
	snprintf(other, sizeof other, "%s/other", top);
	ck_assert_int_eq(mkdir(other, 0700), 0);
	own(other, BOB, 0700);

	ck_assert_msg(choose(&i, NULL, source, NULL, NULL) == 0, "%s", e.why);
	ck_assert(i.change && i.uid != 0 && i.gid != 0);
	ck_assert(!strcmp(i.name, "voxfs") || !strcmp(i.name, "nobody"));
	ck_assert_int_eq(choose(&i, NULL, NULL, NULL, NULL), 0);
	ck_assert_uint_ne(i.uid, 0);
	ck_assert_int_eq(choose(&i, NULL, "/nonexistent/source", NULL, NULL), 0);
	ck_assert_uint_ne(i.uid, 0);

	own(source, ALICE, 0700); /* its owner */
	ck_assert_int_eq(choose(&i, NULL, source, NULL, NULL), 0);
	ck_assert(i.change && i.uid == ALICE && i.gid == ALICE);
	ck_assert_ptr_nonnull(strstr(i.why, source));
	ck_assert_int_eq(choose(&i, NULL, source, other, NULL), -EACCES); /* two owners, and no common user */
	ck_assert_ptr_nonnull(strstr(e.why, "runas="));
	own(other, BOB, 0755);
	ck_assert_int_eq(choose(&i, NULL, other, source, NULL), 0);
	ck_assert_uint_eq(i.uid, ALICE);

	own(source, 0, 0700); /* root's alone */
	ck_assert_int_eq(choose(&i, NULL, source, NULL, NULL), 0);
	ck_assert(i.change && i.uid == 0);
	own(source, 0, 0755);
	write_file(source, "info", 0600); /* or only a file in it */
	ck_assert_int_eq(choose(&i, NULL, source, NULL, NULL), 0);
	ck_assert_uint_eq(i.uid, 0);
	write_file(source, "info", 0644);

	own(cache, ALICE, 0755); /* readable to all, writable to one */
	ck_assert_int_eq(choose(&i, NULL, source, NULL, cache), 0);
	ck_assert_uint_eq(i.uid, ALICE);
	ck_assert(geteuid() == 0 && getegid() == 0); /* we are still who we were */
}
END_TEST

START_TEST(runas)
{
	struct vx_identity i;

	if (geteuid() != 0)
		return;
	ck_assert_int_eq(choose(&i, "nobody", source, NULL, NULL), 0);
	ck_assert(i.change && i.uid == NOBODY);
	ck_assert_int_eq(choose(&i, "12345:100", source, NULL, NULL), 0);
	ck_assert(i.uid == 12345 && i.gid == 100);
	ck_assert_int_eq(choose(&i, "nobody:root", NULL, NULL, NULL), 0);
	ck_assert(i.uid == NOBODY && i.gid == 0);
	ck_assert_int_eq(choose(&i, "root", source, NULL, NULL), 0);
	ck_assert(i.change && i.uid == 0);
	ck_assert_int_eq(choose(&i, "12345", NULL, NULL, NULL), -EINVAL);
	ck_assert_int_eq(choose(&i, "nosuchuser", NULL, NULL, NULL), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.why, "nosuchuser"));
	ck_assert_int_eq(choose(&i, "nobody:nosuchgroup", NULL, NULL, NULL), -EINVAL);
	ck_assert_int_eq(choose(&i, ":", NULL, NULL, NULL), -EINVAL);
	own(source, ALICE, 0700);
	ck_assert_int_eq(choose(&i, "nobody", source, NULL, NULL), -EACCES);
	ck_assert_ptr_nonnull(strstr(e.why, source));
	ck_assert_int_eq(choose(&i, "nobody", NULL, NULL, cache), -EACCES);
}
END_TEST

START_TEST(runas_is_for_root)
{
	struct vx_identity i;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (become_ordinary() < 0 || choose(&i, "nobody", NULL, NULL, NULL) != -EPERM ||
		    !strstr(e.why, "only root"))
			_exit(1);
		_exit(choose(&i, NULL, source, NULL, NULL) < 0 || i.change || i.uid != geteuid() ? 2 : 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* An identity that cannot be taken is an error, never ignored. */
START_TEST(no_way_to_take)
{
	struct vx_identity i = {.uid = ALICE, .gid = ALICE, .change = true, .name = "alice"};
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (become_ordinary() < 0)
			_exit(1);
		_exit(vx_identity_take(&i, &e) != -EPERM || !strstr(e.why, "alice") ? 2 : 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* Even root's own id gets nothing by executing a program. */
START_TEST(exec_gives_nothing_back)
{
	struct vx_identity i = {.change = true, .name = "root"};
	pid_t pid;
	int status;

	if (geteuid() != 0)
		return;
	pid = fork();
	if (pid == 0) {
		if (vx_identity_take(&i, &e) < 0)
			_exit(3);
		execlp("grep", "grep", "-q", "^CapEff:.0000000000000000$", "/proc/self/status", (char *)NULL);
		_exit(4);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("privileges");
	TCase *t = tcase_create("privileges");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, choosing_as_root);
	tcase_add_test(t, runas);
	tcase_add_test(t, runas_is_for_root);
	tcase_add_test(t, no_way_to_take);
	tcase_add_test(t, exec_gives_nothing_back);
	return vxt_run(s);
}
