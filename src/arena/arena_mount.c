/* SPDX-License-Identifier: Apache-2.0
 * The arena's tmpfs. Root makes a detached mount and a read-only clone of it. Anybody else makes it in a user namespace
 * that exists only for that: the mount outlives the namespace's only process, and belongs to the user. Its clone would
 * be of no use, because registering needs root too.
 */
#include "arena/arena.h"
#include "base/check.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PAGE ((uint64_t)4096)
#define NO_FD 255 /* of an exit status, which else is a descriptor */

static bool set_option(int fs, const char *key, const char *value)
{
	unsigned cmd = value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;

	return syscall(SYS_fsconfig, fs, cmd, key, value, 0) == 0;
}

static bool has_several_nodes(void)
{
	return access("/sys/devices/system/node/node1", F_OK) == 0;
}

/* A detached tmpfs; what is merely better is left out where the kernel does not know it. */
static int mount_tmpfs(uint64_t limit, char note[200])
{
	VX_AUTO_CLOSE int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	char size[32];
	int rw;

	if (fs < 0)
		return -errno;
	snprintf(size, sizeof size, "%llu", (unsigned long long)vx_round_up(limit, PAGE));
	if (!set_option(fs, "size", size) || !set_option(fs, "nr_inodes", "0"))
		return -errno;
	if (!set_option(fs, "huge", "within_size"))
		snprintf(note, 200, "no huge pages: the kernel's tmpfs does not take huge=within_size");
	if (!set_option(fs, "noswap", NULL) && !note[0])
		snprintf(note, 200, "the kernel's tmpfs does not take noswap: cached boxes may be swapped out");
	if (has_several_nodes())
		(void)set_option(fs, "mpol", "interleave");
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	rw = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	return rw < 0 ? -errno : rw;
}

static int clone_read_only(int rw)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	int ro = (int)syscall(SYS_open_tree, rw, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH), r;

	if (ro < 0)
		return -errno;
	if (syscall(SYS_mount_setattr, ro, "", AT_EMPTY_PATH, &attr, sizeof attr) == 0)
		return ro;
	r = -errno;
	close(ro);
	return r;
}

/* ---- for ordinary users ---- */

static bool write_text(const char *path, const char *text)
{
	VX_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* In a process of its own that shares the parent's descriptors: the new one is the exit status. Only system calls from
 * here on. */
static int make_in_namespace(uint64_t limit, uid_t uid, gid_t gid)
{
	char users[64], groups[64], note[200] = "";
	int rw;

	snprintf(users, sizeof users, "%u %u 1", uid, uid);
	snprintf(groups, sizeof groups, "%u %u 1", gid, gid);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || !write_text("/proc/self/uid_map", users) ||
	    !write_text("/proc/self/setgroups", "deny") || !write_text("/proc/self/gid_map", groups))
		return NO_FD;
	rw = mount_tmpfs(limit, note);
	if (rw < 0 || rw >= NO_FD)
		return NO_FD;
	return rw;
}

static int mount_as_user(uint64_t limit)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	pid_t pid = (pid_t)syscall(SYS_clone, (unsigned long)(CLONE_FILES | SIGCHLD), NULL, NULL, NULL, NULL);
	int status;

	if (pid == 0)
		syscall(SYS_exit_group, make_in_namespace(limit, uid, gid));
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) == NO_FD)
		return -EPERM;
	return WEXITSTATUS(status);
}

static int give_up(const char *what, int code, char note[200])
{
	snprintf(note, 200, "%s (%s)", what, strerror(-code));
	return code;
}

int vx_arena_mount(uint64_t limit, int *ret_rw, int *ret_ro, char note[200])
{
	int rw, ro;

	note[0] = 0;
	*ret_rw = *ret_ro = -1;
	rw = mount_tmpfs(limit, note);
	if (rw == -EPERM) {
		snprintf(note, 200, "noswap is for root: cached boxes may be swapped out");
		*ret_rw = mount_as_user(limit);
		return *ret_rw >= 0 ? 0 : give_up("no tmpfs of our own", -EPERM, note);
	}
	if (rw < 0)
		return give_up("no tmpfs of our own", rw, note);
	ro = clone_read_only(rw);
	if (ro < 0) {
		close(rw);
		return give_up("no read-only view of the tmpfs", ro, note);
	}
	*ret_rw = rw;
	*ret_ro = ro;
	return 0;
}
