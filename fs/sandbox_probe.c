/* SPDX-License-Identifier: Apache-2.0
 * Each try is harmless even where it is not forbidden: it asks for what does not exist, or undoes what it did. So its
 * answer is another errno, or success, when the layer that should forbid it is missing.
 */
#include "base/check.h"
#include "fs/sandbox_layers.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define NOWHERE "/nonexistent/voxfs-probe"

static int code_of(long r)
{
	return r < 0 ? -errno : 0;
}

static int try_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0600);

	if (fd < 0)
		return -errno;
	if (flags & O_EXCL)
		unlink(path);
	close(fd);
	return 0;
}

static int open_shadow(const struct vx_sandbox *s)
{
	return try_open("/etc/shadow", O_RDONLY);
}

static int list_root_home(const struct vx_sandbox *s)
{
	return try_open("/root", O_RDONLY | O_DIRECTORY);
}

static int read_memory_of_init(const struct vx_sandbox *s)
{
	return try_open("/proc/1/mem", O_RDONLY);
}

static int list_everything(const struct vx_sandbox *s)
{
	return try_open("/", O_RDONLY | O_DIRECTORY);
}

static int create_outside(const struct vx_sandbox *s)
{
	char path[64];

	snprintf(path, sizeof path, "/tmp/voxfs-probe.%d", (int)getpid());
	return try_open(path, O_WRONLY | O_CREAT | O_EXCL);
}

static int write_source(const struct vx_sandbox *s)
{
	char path[4096];

	if (!s->nread || !s->read[0].path)
		return -ENOENT;
	snprintf(path, sizeof path, "%s/voxfs-probe.%d", s->read[0].path, (int)getpid());
	return try_open(path, O_WRONLY | O_CREAT | O_EXCL);
}

static int exec_file(const struct vx_sandbox *s)
{
	char *none[] = {NULL};

	return code_of(execve(NOWHERE, none, none));
}

static int fork_child(const struct vx_sandbox *s)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return code_of(pid);
}

static int open_socket(int family, int type)
{
	int fd = socket(family, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int socket_unix(const struct vx_sandbox *s)
{
	return open_socket(AF_UNIX, SOCK_STREAM);
}

static int socket_packet(const struct vx_sandbox *s)
{
	return open_socket(AF_PACKET, SOCK_RAW);
}

static int socket_vsock(const struct vx_sandbox *s)
{
	return open_socket(AF_VSOCK, SOCK_STREAM);
}

static int socket_raw(const struct vx_sandbox *s)
{
	return open_socket(AF_INET, SOCK_RAW);
}

static int with_port(bool then_listen)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	VX_AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	return code_of(then_listen ? listen(fd, 1) : bind(fd, (struct sockaddr *)&a, sizeof a));
}

static int bind_port(const struct vx_sandbox *s)
{
	return with_port(false);
}

static int listen_port(const struct vx_sandbox *s)
{
	return with_port(true);
}

static int trace_parent(const struct vx_sandbox *s)
{
	errno = 0;
	return code_of(ptrace(PTRACE_PEEKDATA, getppid(), NULL, NULL));
}

static int mount_something(const struct vx_sandbox *s)
{
	return code_of(mount("none", NOWHERE, "tmpfs", 0, NULL));
}

static int call_bpf(const struct vx_sandbox *s)
{
	return code_of(syscall(SYS_bpf, 0, NULL, 0));
}

static int call_io_uring(const struct vx_sandbox *s)
{
	return code_of(syscall(SYS_io_uring_setup, 1, NULL));
}

/* The last bit is none that the kernel knows. */
static int unshare_user(const struct vx_sandbox *s)
{
	return code_of(syscall(SYS_unshare, 0x10000001 /* CLONE_NEWUSER | 1 */));
}

static int kill_init(const struct vx_sandbox *s)
{
	return code_of(kill(1, 0));
}

static int kill_parent(const struct vx_sandbox *s)
{
	return code_of(kill(getppid(), 0));
}

static int become_root(const struct vx_sandbox *s)
{
	return code_of(setuid(0));
}

static int map_code(const struct vx_sandbox *s)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, 4096);
	return 0;
}

static const struct {
	const char *what;
	int (*try)(const struct vx_sandbox *s);
} tries[] = {
    {"open_shadow", open_shadow},
    {"list_root_home", list_root_home},
    {"read_memory_of_init", read_memory_of_init},
    {"list_everything", list_everything},
    {"create_outside", create_outside},
    {"write_source", write_source},
    {"execve", exec_file},
    {"fork", fork_child},
    {"socket_unix", socket_unix},
    {"socket_packet", socket_packet},
    {"socket_vsock", socket_vsock},
    {"socket_raw", socket_raw},
    {"bind", bind_port},
    {"listen", listen_port},
    {"ptrace", trace_parent},
    {"mount", mount_something},
    {"bpf", call_bpf},
    {"io_uring", call_io_uring},
    {"unshare", unshare_user},
    {"kill_init", kill_init},
    {"kill_parent", kill_parent},
    {"setuid", become_root},
    {"map_code", map_code},
};

_Static_assert(VX_ARRAY_LEN(tries) <= VX_SANDBOX_PROBES, "the report has room for every try");

void vx_sandbox_probe(const struct vx_sandbox *s, struct vx_sandbox_report *ret)
{
	for (unsigned i = 0; i < VX_ARRAY_LEN(tries); i++) {
		ret->probe[i].what = tries[i].what;
		ret->probe[i].code = tries[i].try(s);
	}
	ret->nprobes = VX_ARRAY_LEN(tries);
}
