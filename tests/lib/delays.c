/* SPDX-License-Identifier: Apache-2.0
 * To be preloaded into voxfs: now and then its threads stop for a moment, around taking a lock, reading a request and
 * sending an answer. What goes wrong only when one thread overtakes another at a rare place then does so within
 * minutes. VOXFS_DELAYS=N,US: one call in N takes up to US microseconds longer. Other programs are left alone.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define OURS __attribute__((visibility("default")))

/* Looked up at the first call, which comes before any constructor. Threads may do so at once: all find the same. */
#define REAL(name)                                                                               \
	({                                                                                       \
		static __typeof__(name) *found;                                                  \
		__typeof__(name) *f = __atomic_load_n(&found, __ATOMIC_RELAXED);                 \
		if (!f)                                                                          \
			__atomic_store_n(&found, f = dlsym(RTLD_NEXT, #name), __ATOMIC_RELAXED); \
		f;                                                                               \
	})

static unsigned one_in, most_us; /* 0: none here */

__attribute__((constructor)) static void begin(void)
{
	const char *wish = getenv("VOXFS_DELAYS");
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	unsigned in = 0, us = 0;

	path[n > 0 ? n : 0] = 0;
	if (!wish || sscanf(wish, "%u,%u", &in, &us) != 2 || us >= 1000000)
		return;
	if (!strstr(path, "/fs/voxfs") && !strstr(path, "/tests/unit/test_"))
		return;
	most_us = us;
	one_in = in;
}

static void maybe_wait(void)
{
	static __thread uint64_t state;
	struct timespec t = {0};
	int err = errno;

	if (!one_in || !most_us)
		return;
	if (!state) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		state = ((uint64_t)t.tv_nsec << 20 ^ (uintptr_t)&state) | 1;
	}
	state ^= state << 13; /* xorshift */
	state ^= state >> 7;
	state ^= state << 17;
	if (state % one_in == 0) {
		t = (struct timespec){.tv_nsec = (long)((state >> 32) % most_us * 1000)};
		nanosleep(&t, NULL);
	}
	errno = err;
}

OURS int pthread_mutex_lock(pthread_mutex_t *m)
{
	maybe_wait();
	return REAL(pthread_mutex_lock)(m);
}

OURS int pthread_mutex_unlock(pthread_mutex_t *m)
{
	int r = REAL(pthread_mutex_unlock)(m);

	maybe_wait();
	return r;
}

OURS ssize_t read(int fd, void *to, size_t size)
{
	ssize_t n = REAL(read)(fd, to, size);

	maybe_wait();
	return n;
}

OURS ssize_t writev(int fd, const struct iovec *v, int count)
{
	ssize_t n;

	maybe_wait();
	n = REAL(writev)(fd, v, count);
	maybe_wait();
	return n;
}

OURS ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	ssize_t n;

	maybe_wait();
	n = REAL(sendmsg)(fd, m, flags);
	maybe_wait();
	return n;
}
