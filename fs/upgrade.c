/* SPDX-License-Identifier: Apache-2.0
 * What the mount says of its keeper comes from the server, which nobody trusts: the process must be one of ours, and
 * must have been started for this very mount.
 */
#include "fs/upgrade.h"
#include "base/clock.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define WAIT_NS (150 * VX_SEC) /* longer than the keeper waits for a new server */

struct mount_state {
	long long keeper, starts, refused;
};

static int ask(const char *mountpoint, struct mount_state *ret, struct vx_err *e)
{
	VX_AUTO_FREE char *path = NULL;
	json_t *root, *server, *keeper;
	int r = 0;

	if (asprintf(&path, "%s/.voxfs/stats.json", mountpoint) < 0) {
		path = NULL;
		return vx_no_memory(e);
	}
	root = json_load_file(path, 0, NULL);
	server = json_object_get(root, "server");
	keeper = json_object_get(root, "keeper");
	*ret = (struct mount_state){.keeper = json_integer_value(json_object_get(keeper, "pid")),
				    .starts = json_integer_value(json_object_get(server, "starts")),
				    .refused = json_integer_value(json_object_get(keeper, "refused"))};
	if (!ret->keeper || !ret->starts)
		r = vx_fail(e, -EINVAL, "%s is no mount of voxfs (it has no readable .voxfs/stats.json)", mountpoint);
	json_decref(root);
	return r;
}

/* A relative name was relative to where the keeper was started, which nobody knows any more: it may be the end of the
 * mount point's. Good enough, for whose process it is has been seen. */
static bool may_name(const char *arg, const char *want)
{
	size_t n, m = strlen(want);

	while (!strncmp(arg, "./", 2) || !strncmp(arg, "../", 3))
		arg = strchr(arg, '/') + 1;
	if (!strcmp(arg, ".") || !strcmp(arg, ".."))
		return true;
	n = strlen(arg);
	while (n && arg[n - 1] == '/')
		n--;
	return n && arg[0] != '/' && n < m && want[m - n - 1] == '/' && !strncmp(want + m - n, arg, n);
}

/* A file of /proc about the process, cut off at the buffer's end; "" when there is none. Its length. */
static size_t read_proc(long long pid, const char *name, char *text, size_t size)
{
	char path[64];
	FILE *f;
	size_t n;

	snprintf(path, sizeof path, "/proc/%lld/%s", pid, name);
	f = fopen(path, "re");
	n = f ? fread(text, 1, size - 1, f) : 0;
	if (f)
		fclose(f);
	text[n] = 0;
	return n;
}

/* True when an argument of the process is the mount point. */
static bool is_started_for(long long pid, const char *mountpoint)
{
	VX_AUTO_FREE char *want = realpath(mountpoint, NULL);
	char text[16384], *arg;
	size_t n;

	read_proc(pid, "comm", text, sizeof text);
	if (strcmp(text, "voxfs-keeper\n") || !want)
		return false;
	n = read_proc(pid, "cmdline", text, sizeof text);
	for (arg = text; arg < text + n; arg += strlen(arg) + 1) {
		VX_AUTO_FREE char *real = realpath(arg, NULL);

		if ((real && !strcmp(real, want)) || may_name(arg, want))
			return true;
	}
	return false;
}

int vx_upgrade(const char *mountpoint, struct vx_err *e)
{
	const struct timespec step = {.tv_nsec = (long)(10 * VX_MS)};
	struct mount_state before, now;
	uint64_t give_up = vx_now_ns() + WAIT_NS;
	int r = ask(mountpoint, &before, e);

	if (r < 0)
		return r;
	if (before.keeper <= 1 || !is_started_for(before.keeper, mountpoint))
		return vx_fail(e, -EPERM, "process %lld is not the keeper of %s", before.keeper, mountpoint);
	if (kill((pid_t)before.keeper, SIGHUP) < 0)
		return vx_fail(e, -errno, "cannot tell process %lld: %s", before.keeper, strerror(errno));
	while (vx_now_ns() < give_up) {
		if ((r = ask(mountpoint, &now, e)) < 0)
			return r;
		if (now.starts > before.starts)
			return 0;
		if (now.refused > before.refused)
			return vx_fail(e, -ECANCELED, "the new program cannot take over; the log says why");
		nanosleep(&step, NULL);
	}
	return vx_fail(e, -ETIMEDOUT, "no new server has come up; the log says why");
}
