/* SPDX-License-Identifier: Apache-2.0
 * A crash at every instruction: a child does its work one instruction at a time, and after each one that changed the
 * shared memory the parent looks at a copy, as the next server would find it.
 */
#ifndef VX_CRASH_STEP_H
#define VX_CRASH_STEP_H

#include "../lib/vxtest.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* The parts of a sparse file that have ever been written. */
struct vxc_extent {
	off_t at, end;
};
#define VXC_EXTENTS 64

static inline unsigned vxc_extents(int fd, struct vxc_extent x[VXC_EXTENTS])
{
	unsigned n = 0;
	off_t at = 0;

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		ck_assert_uint_lt(n, VXC_EXTENTS);
		x[n].at = at;
		x[n++].end = at = lseek(fd, at, SEEK_HOLE);
	}
	return n;
}

/* A snapshot of a shared memory; only what has ever been written is kept. */
struct vxc_memory {
	int fd;
	size_t size;
	uint8_t *map, *seen;
};

static inline void vxc_memory_init(struct vxc_memory *m, int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	m->fd = fd;
	m->size = (size_t)st.st_size;
	m->map = mmap(NULL, m->size, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
	m->seen = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert(m->map != MAP_FAILED && m->seen != MAP_FAILED);
}

static inline void vxc_memory_done(struct vxc_memory *m)
{
	munmap(m->map, m->size);
	munmap(m->seen, m->size);
}

/* True when it differs from what was seen last. */
static inline bool vxc_memory_look(struct vxc_memory *m)
{
	struct vxc_extent x[VXC_EXTENTS];
	unsigned n = vxc_extents(m->fd, x);
	bool changed = false;

	for (unsigned i = 0; i < n; i++) {
		size_t len = (size_t)(x[i].end - x[i].at);

		if (!memcmp(m->map + x[i].at, m->seen + x[i].at, len))
			continue;
		memcpy(m->seen + x[i].at, m->map + x[i].at, len);
		changed = true;
	}
	return changed;
}

/* Writes what was seen last into another file of the same size. */
static inline void vxc_memory_copy(const struct vxc_memory *m, int to)
{
	struct vxc_extent x[VXC_EXTENTS];
	unsigned n = vxc_extents(m->fd, x);

	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(pwrite(to, m->seen + x[i].at, (size_t)(x[i].end - x[i].at), x[i].at),
				 x[i].end - x[i].at);
}

/* Runs work(ctx) in a child, and `crashed(ctx, m)` after each instruction of it that changed `fd`: once before the
 * first, too. The number of states seen. */
static inline unsigned vxc_step(int fd, void (*work)(void *ctx), void (*crashed)(void *ctx, struct vxc_memory *m),
				void *ctx)
{
	struct vxc_memory m;
	unsigned states = 1;
	int status, sig = 0;
	pid_t pid;

	vxc_memory_init(&m, fd);
	vxc_memory_look(&m);
	crashed(ctx, &m);
	pid = fork();
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(77);
		raise(SIGSTOP);
		work(ctx);
		_exit(0);
	}
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, "the child cannot be traced: %x", status);
	for (;;) {
		ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, sig), 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status))
			break;
		sig = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
		if (!vxc_memory_look(&m))
			continue;
		states++;
		crashed(ctx, &m);
	}
	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "the child ended with %x", status);
	vxc_memory_done(&m);
	return states;
}

#endif
