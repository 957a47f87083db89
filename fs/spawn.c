/* SPDX-License-Identifier: Apache-2.0
 * Descriptors are close-on-exec everywhere, those that we were started with too, as soon as we have forked; those
 * that a server inherits lose that before exec.
 */
#include "fs/spawn.h"
#include "base/clock.h"
#include "fs/options.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define KILL_MS 1000 /* what a process may take to be gone */

extern char **environ;

int vx_program_init(struct vx_program *p, char **argv, struct vx_err *e)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

	p->fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	p->newer = -1;
	p->argv = argv;
	p->uid = p->gid = -1;
	if (p->fd < 0 || n < 0)
		return vx_fail(e, -errno, "cannot find the program that runs: %s", strerror(errno));
	path[n] = 0;
	p->path = strdup(path);
	p->cwd = getcwd(NULL, 0);
	if (!p->cwd)
		p->cwd = strdup("/"); /* removed: nothing has a name relative to it */
	return p->path && p->cwd ? 0 : vx_no_memory(e);
}

int vx_program_renew(struct vx_program *p, struct vx_err *e)
{
	int fd = open(p->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return vx_fail(e, -errno, "cannot open %s: %s", p->path, strerror(errno));
	p->newer = fd;
	return 0;
}

void vx_program_settle(struct vx_program *p, bool proved)
{
	if (p->newer < 0)
		return;
	close(proved ? p->fd : p->newer);
	if (proved)
		p->fd = p->newer;
	p->newer = -1;
}

void vx_program_keep_identity(struct vx_program *p, pid_t server)
{
	char path[64], line[256];
	unsigned uid, gid;
	int found = 0;
	FILE *f;

	if (geteuid() != 0 || p->uid >= 0)
		return;
	snprintf(path, sizeof path, "/proc/%d/status", (int)server);
	f = fopen(path, "re");
	while (f && found < 2 && fgets(line, sizeof line, f))
		found += sscanf(line, "Uid: %u", &uid) == 1 || sscanf(line, "Gid: %u", &gid) == 1;
	if (f)
		fclose(f);
	if (found < 2)
		return;
	p->uid = uid;
	p->gid = gid;
}

void vx_program_done(struct vx_program *p)
{
	vx_program_settle(p, false);
	if (p->fd >= 0)
		close(p->fd);
	free(vx_steal(p->path));
	free(vx_steal(p->cwd));
}

static void hand_down(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, 0);
}

/* In the child. Returns only when it fails. It inherits two places to write to, and what it was made for. */
static void become_server(const struct vx_program *p, int fd, int questions, int news, const struct vx_legacy *l,
			  enum vx_out out)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;
	char text[128];

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(text, sizeof text, "%d,%d,%d,%d,%d,%d,%lld,%lld", questions, news, l->table, l->arena, l->list, out,
		 (long long)p->uid, (long long)p->gid);
	if (setenv(VX_SERVER_ENV, text, 1) < 0 || setenv(VX_DIRECTORY_ENV, p->cwd, 1) < 0 || chdir("/") < 0)
		return;
	if (null < 0 || dup2(null, STDIN_FILENO) < 0)
		return;
	close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	hand_down(questions);
	hand_down(news);
	hand_down(l->table);
	hand_down(l->arena);
	hand_down(l->list);
	fexecve(fd, p->argv, environ);
}

int vx_child_start(struct vx_child *c, const struct vx_program *p, int fd, const struct vx_legacy *l, enum vx_out out,
		   struct vx_err *e)
{
	int q[2] = {-1, -1}, n[2] = {-1, -1};
	pid_t pid = -1;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, q) == 0 &&
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, n) == 0)
		pid = fork();
	if (pid == 0) {
		become_server(p, fd, q[1], n[1], l, out);
		dprintf(STDERR_FILENO, "voxfs: cannot execute %s: %s\n", p->path, strerror(errno));
		_exit(VX_EXIT_MOUNT);
	}
	if (pid < 0)
		vx_fail(e, -errno, "cannot start a server: %s", strerror(errno));
	for (int i = 0; i < 2; i++) {
		if (q[i] >= 0 && (i == 1 || pid < 0))
			close(q[i]);
		if (n[i] >= 0 && (i == 1 || pid < 0))
			close(n[i]);
	}
	if (pid < 0)
		return -EAGAIN;
	*c = (struct vx_child){.pid = pid, .questions = q[0], .news = n[0]};
	return 0;
}

void vx_child_kill(struct vx_child *c)
{
	kill(c->pid, SIGKILL);
	if (!c->left_ns)
		c->left_ns = vx_now_ns();
}

/* The first thread of a server ends with the others, or before those that cannot. */
bool vx_child_is_dead(const struct vx_child *c)
{
	char path[32], line[256], *end = NULL;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)c->pid);
	f = fopen(path, "re");
	if (f && fgets(line, sizeof line, f))
		end = strrchr(line, ')');
	if (f)
		fclose(f);
	return end && !strncmp(end, ") Z", 3);
}

bool vx_child_end(struct vx_child *c)
{
	VX_AUTO_CLOSE int whole = pidfd_open(c->pid, 0);
	struct pollfd p = {.fd = whole, .events = POLLIN};

	vx_child_kill(c);
	return (whole < 0 || poll(&p, 1, KILL_MS) > 0) && waitpid(c->pid, NULL, 0) == c->pid;
}

void vx_child_done(struct vx_child *c)
{
	if (!c->pid)
		return;
	close(c->questions);
	close(c->news);
	*c = (struct vx_child){.questions = -1, .news = -1};
}
