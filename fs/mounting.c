/* SPDX-License-Identifier: Apache-2.0
 * libfuse mounts (and runs fusermount3 for ordinary users); its session here never reads a request.
 */
#include "fs/mounting.h"
#include "fs/fuse_api.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#define READ_AHEAD_KB 1024

/* What the list of mounts shows: the source without user, password and query, and without what the list of options
 * would take for its own. */
static char *shown_source(const char *source)
{
	const char *scheme = strstr(source, "://"), *host = scheme, *at;
	char *text;
	size_t keep = 0;

	while (scheme) { /* the format's prefix, then the store's */
		host = scheme + 3;
		scheme = strstr(host, "://");
	}
	at = host ? strchr(host, '@') : NULL;
	if (at && at < host + strcspn(host, "/"))
		keep = (size_t)(host - source);
	else
		at = NULL;
	if (asprintf(&text, "%.*s%s", (int)keep, source, at ? at + 1 : source) < 0)
		return NULL;
	if (host)
		text[strcspn(text, "?#")] = 0;
	for (char *c = text; *c; c++)
		if (*c == ',' || *c == '\\' || (unsigned char)*c < 0x20)
			*c = '_';
	return text;
}

/* A dead mount answers every stat with ENOTCONN: say so instead of failing obscurely. */
int vx_mounting_check(const char *path, struct vx_err *e)
{
	VX_AUTO_CLOSE int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;
	struct stat st;

	/* A dead mount can be opened, but not asked; the kernel may still know the answer to one of the questions. */
	if (fd >= 0 && fstat(fd, &st) == 0 && (fstatfs(fd, &fs) == 0 || errno != ENOTCONN))
		return 0;
	if (errno == ENOTCONN)
		return vx_fail(e, -ENOTCONN, "%s is a mount whose server is gone: umount -l it first", path);
	return vx_fail(e, -errno, "%s cannot be a mount point: %s", path, strerror(errno));
}

/* In place: the list of mounts has spaces and the like as \\ooo. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		unsigned code;

		if (s[0] == '\\' && sscanf(s + 1, "%3o", &code) == 1) {
			*to++ = (char)code;
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = 0;
}

/* The device of what is mounted uppermost at a place; false: nothing is, or nobody can tell. */
static bool find_device(const char *mountpoint, char ret[32])
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	VX_AUTO_FREE char *line = NULL;
	bool found = false;
	size_t cap = 0;

	while (f && getline(&line, &cap, f) > 0) {
		char device[32], *at;
		int n = 0, end = 0;

		if (sscanf(line, "%*u %*u %31s %*s %n%*s%n", device, &n, &end) != 1 || !end)
			continue;
		at = line + n;
		line[end] = 0;
		unescape(at);
		if (strcmp(at, mountpoint))
			continue;
		snprintf(ret, 32, "%s", device);
		found = true;
	}
	if (f)
		fclose(f);
	return found;
}

static int add_arguments(struct fuse_args *args, const struct vx_options *o)
{
	VX_AUTO_FREE char *shown = shown_source(o->source);
	VX_AUTO_FREE char *fsname = NULL;

	if (!shown || asprintf(&fsname, "-ofsname=%s", shown) < 0 || fuse_opt_add_arg(args, "voxfs") ||
	    fuse_opt_add_arg(args, fsname) ||
	    fuse_opt_add_arg(args, "-osubtype=voxfs,ro,nosuid,nodev,noexec,default_permissions") ||
	    (o->allow_other && fuse_opt_add_arg(args, "-oallow_other")))
		return -ENOMEM;
	return 0;
}

int vx_mounting_mount(struct vx_mounted *ret, const struct vx_options *o, struct vx_err *e)
{
	static const struct fuse_lowlevel_ops none;
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_session *session = NULL;
	int r = vx_mounting_check(o->mountpoint, e);

	if (r == 0 && add_arguments(&args, o) < 0)
		r = vx_no_memory(e);
	if (r == 0) {
		session = fuse_session_new(&args, &none, sizeof none, NULL);
		if (!session)
			r = vx_fail(e, -EINVAL, "libfuse refuses the session");
	}
	ret->mountpoint = realpath(o->mountpoint, NULL); /* before: afterwards it would ask the mount */
	if (r == 0 && fuse_session_mount(session, o->mountpoint)) {
		fuse_session_destroy(session);
		r = vx_fail(e, -EIO, "cannot mount at %s", o->mountpoint);
	}
	fuse_opt_free_args(&args);
	if (r < 0) {
		free(vx_steal(ret->mountpoint));
		return r;
	}
	ret->session = session;
	ret->fd = fuse_session_fd(session);
	fcntl(ret->fd, F_SETFD, FD_CLOEXEC);
	if (!ret->mountpoint || !find_device(ret->mountpoint, ret->device))
		ret->device[0] = 0;
	return 0;
}

static bool is_there(const struct vx_mounted *m)
{
	char device[32];

	return m->mountpoint && (!m->device[0] || (find_device(m->mountpoint, device) && !strcmp(device, m->device)));
}

void vx_mounting_tune(const struct vx_mounted *m)
{
	char path[128];
	FILE *f;

	if (!m->device[0])
		return;
	snprintf(path, sizeof path, "/sys/class/bdi/%s/read_ahead_kb", m->device);
	f = fopen(path, "we");
	if (f) {
		fprintf(f, "%d\n", READ_AHEAD_KB);
		fclose(f);
	}
}

void vx_mounting_detach(const struct vx_mounted *m)
{
	pid_t pid;

	if (!is_there(m) || umount2(m->mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || geteuid() == 0)
		return;
	pid = fork();
	if (pid == 0) {
		execlp("fusermount3", "fusermount3", "-u", "-q", "-z", "--", m->mountpoint, (char *)NULL);
		_exit(1);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

bool vx_mounting_gone(const struct vx_mounted *m)
{
	struct pollfd p = {.fd = m->fd};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP | POLLNVAL));
}

void vx_mounting_free(struct vx_mounted *m)
{
	if (m->session)
		fuse_session_destroy(vx_steal(m->session)); /* closes the device */
	free(vx_steal(m->mountpoint));
	m->fd = -1;
}
