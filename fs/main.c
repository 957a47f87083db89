/* SPDX-License-Identifier: Apache-2.0
 * voxfs: one program, three parts to play. As a command it detaches and becomes the keeper; the process that the user
 * started stays until the mount works and exits with the keeper's verdict, so that scripts and mount(8) can trust the
 * status. Started by a keeper it is a server.
 *
 * Exit status, as mount(8) has it: 0 mounted (or ended well with -f), 1 wrong usage, 32 the mount failed.
 */
#include "base/log.h"
#include "fs/keeper.h"
#include "fs/server.h"
#include "fs/upgrade.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

/* What the caller has open, a lock for instance, is none of a daemon's. */
static void close_all_but(int keep)
{
	for (int fd = STDERR_FILENO + 1; fd < keep; fd++)
		close(fd);
	close_range((unsigned)keep + 1, ~0u, 0);
}

/* In the parent: waits for the child's verdict and returns it. In the child: returns -1, *report is the pipe. */
static int detach(int *report)
{
	int p[2];
	unsigned char status = VX_EXIT_MOUNT;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return VX_EXIT_MOUNT;
	pid = fork();
	if (pid < 0)
		return VX_EXIT_MOUNT;
	if (pid == 0) {
		close_all_but(p[1]);
		setsid();
		*report = p[1];
		return -1;
	}
	close(p[1]);
	while (read(p[0], &status, 1) < 0 && errno == EINTR)
		continue;
	close(p[0]);
	return status;
}

static int serve(struct vx_options *o, char **argv, const struct vx_inherited *inherited)
{
	int status, report = -1;

	if (inherited)
		return vx_server_run(o, inherited);
	if (o->fake)
		return vx_server_try(o);
	if (!o->foreground) {
		status = detach(&report);
		if (status >= 0)
			return status;
	}
	return vx_keeper_run(o, argv, report);
}

/* Whoever starts us without them would have ours stand in their places: the device, say, as stderr. */
static void fill_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct vx_inherited inherited;
	bool is_server = vx_inherited_find(&inherited);
	struct vx_options o;
	struct vx_err e = {0};
	int status = 0;

	fill_standard_files();
	if (vx_options_parse(&o, argc, argv, &e) < 0) {
		fprintf(stderr, "voxfs: %s\n", e.why);
		status = VX_EXIT_USAGE;
	} else if (o.help) {
		vx_options_help("voxfs");
	} else if (o.version) {
		printf("voxfs %s\n", VX_VERSION);
	} else if (o.upgrade) {
		if (vx_upgrade(o.source, &e) < 0) {
			fprintf(stderr, "voxfs: %s\n", e.why);
			status = VX_EXIT_MOUNT;
		}
	} else {
		if (o.debug)
			vx_log_set_level(VX_LOG_DEBUG);
		status = serve(&o, argv, is_server ? &inherited : NULL);
	}
	vx_options_free(&o);
	return status;
}
