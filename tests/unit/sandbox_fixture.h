/* SPDX-License-Identifier: Apache-2.0
 * A place with a source and a disk cache, and users, for the tests of identity and sandbox.
 */
#ifndef VX_TEST_SANDBOX_FIXTURE_H
#define VX_TEST_SANDBOX_FIXTURE_H

#include "base/vx.h"

#include <check.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define NOBODY 65534
#define ALICE 12345 /* users without entries */
#define BOB 12346
#define WORDS "the voxels of a source"

static char top[64], source[80], cache[80];

/* ---- a place to work in ---- */

static inline void write_file(const char *dir, const char *name, mode_t mode)
{
	char path[200];
	int fd;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, WORDS, strlen(WORDS)), (int)strlen(WORDS));
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

static inline void setup(void)
{
	strcpy(top, "/tmp/vx-sandbox-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	ck_assert_int_eq(chmod(top, 0755), 0);
	snprintf(source, sizeof source, "%s/source", top);
	snprintf(cache, sizeof cache, "%s/cache", top);
	ck_assert_int_eq(mkdir(source, 0755), 0);
	ck_assert_int_eq(mkdir(cache, 0755), 0);
	write_file(source, "info", 0644);
}

static inline void teardown(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", top);
	ck_assert_int_eq(system(command), 0);
}

static inline void own(const char *path, uid_t uid, mode_t mode)
{
	ck_assert_int_eq(chown(path, uid, uid), 0);
	ck_assert_int_eq(chmod(path, mode), 0);
}

static inline int become_ordinary(void)
{
	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -errno;
	return 0;
}

#endif
