/* SPDX-License-Identifier: Apache-2.0
 * What a server must still be able to do in its sandbox: each function does one thing, and gives 0 or negative errno.
 */
#ifndef VX_TEST_SANDBOX_NEEDS_H
#define VX_TEST_SANDBOX_NEEDS_H

#include "fs/privileges.h"
#include "tests/unit/sandbox_fixture.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>

struct world {
	const char *source, *cache;
	int arena; /* -1: none */
	struct sockaddr_in listener;
	const struct vx_identity *identity; /* NULL: what is chosen for an ordinary user */
	void (*prepare)(void);              /* in the child, before it enters */
};

static int code_of(long r)
{
	return r < 0 ? -errno : 0;
}

static void *in_thread(void *arg)
{
	*(int *)arg = 0;
	return NULL;
}

static int do_thread(const struct world *w)
{
	pthread_t t[8];
	int r = 0;

	for (unsigned i = 0; i < 8 && r == 0; i++) {
		int done = -EAGAIN;

		r = -pthread_create(&t[i], NULL, in_thread, &done);
		if (r == 0)
			r = -pthread_join(t[i], NULL);
		if (r == 0)
			r = done;
	}
	return r;
}

static int do_resolve(const struct world *w)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list;
	int r = getaddrinfo("localhost", "80", &hints, &list);

	if (r == 0)
		freeaddrinfo(list);
	return r;
}

/* No such host: what counts is that the question may be asked, and that its libraries are there. */
static int do_resolve_dns(const struct world *w)
{
	struct addrinfo *list;
	int r;

	setenv("RES_OPTIONS", "timeout:1 attempts:1", 1);
	r = getaddrinfo("voxfs-test.invalid", "80", NULL, &list);
	return r == EAI_NONAME || r == EAI_AGAIN || r == EAI_NODATA ? 0 : r ? r : -EEXIST;
}

static int do_connect(const struct world *w)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, r;

	r = code_of(fd);
	if (r == 0)
		r = code_of(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one));
	if (r == 0)
		r = code_of(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK));
	if (r == 0)
		r = code_of(connect(fd, (const struct sockaddr *)&w->listener, sizeof w->listener));
	if (r == 0)
		r = code_of(send(fd, "x", 1, MSG_NOSIGNAL));
	close(fd);
	return r;
}

static int do_wait(const struct world *w)
{
	struct itimerspec soon = {.it_value = {.tv_nsec = 1000}};
	struct epoll_event ev = {.events = EPOLLIN}, got;
	int ep = epoll_create1(EPOLL_CLOEXEC), event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), r = 0;

	if (ep < 0 || event < 0 || timer < 0 || timerfd_settime(timer, 0, &soon, NULL) < 0 ||
	    epoll_ctl(ep, EPOLL_CTL_ADD, event, &ev) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, timer, &ev) < 0)
		r = -errno;
	else if (epoll_wait(ep, &got, 1, 10000) != 1)
		r = -ETIMEDOUT;
	close(ep);
	close(event);
	close(timer);
	return r;
}

static int fill_and_check(int fd, size_t size)
{
	uint8_t *p;
	int r = code_of(fallocate(fd, 0, 0, (off_t)size));

	if (r == 0)
		r = code_of(ftruncate(fd, (off_t)size - 1));
	if (r < 0)
		return r;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	r = code_of(madvise(p, size, MADV_POPULATE_WRITE));
	memset(p, 7, size - 1);
	if (r == 0 || r == -EINVAL || r == -EFAULT)
		r = code_of(madvise(p, size, MADV_HUGEPAGE));
	munmap(p, size);
	return r == -EINVAL ? 0 : r; /* a kernel without huge pages */
}

static int do_object(const struct world *w)
{
	int fd, r;

	if (w->arena < 0)
		return 0;
	fd = openat(w->arena, "1", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = fill_and_check(fd, 4 << 20);
	close(fd);
	return r;
}

static int do_lease(const struct world *w)
{
	int fd, r;

	if (w->arena < 0)
		return 0;
	fd = openat(w->arena, "1", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	r = code_of(fcntl(fd, F_SETLEASE, F_WRLCK));
	if (r == 0)
		r = code_of(fcntl(fd, F_SETLEASE, F_UNLCK));
	close(fd);
	return r < 0 ? r : code_of(unlinkat(w->arena, "1", 0));
}

static int do_memfd(const struct world *w)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING), r;

	if (fd < 0)
		return -errno;
	r = fill_and_check(fd, 1 << 20);
	if (r == 0)
		r = code_of(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
	close(fd);
	return r;
}

static int do_source(const struct world *w)
{
	char path[200], got[sizeof WORDS] = "";
	struct stat st;
	int fd, r;

	snprintf(path, sizeof path, "%s/info", w->source);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = code_of(pread(fd, got, sizeof got, 0));
	if (r == 0)
		r = code_of(fstat(fd, &st));
	close(fd);
	return r < 0 ? r : strcmp(got, WORDS) ? -EBADMSG : 0;
}

static int do_disk_cache(const struct world *w)
{
	int dir = open(w->cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, r;

	if (dir < 0)
		return -errno;
	r = code_of(mkdirat(dir, "00", 0700));
	fd = openat(dir, "new", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (r == 0)
		r = code_of(fd);
	if (r == 0)
		r = code_of(pwrite(fd, WORDS, sizeof WORDS, 0));
	if (r == 0)
		r = code_of(fdatasync(fd));
	if (r == 0)
		r = code_of(ftruncate(fd, 3));
	if (r == 0)
		r = code_of(renameat(dir, "new", dir, "00/old"));
	if (r == -EXDEV) /* the first version of Landlock knows no way to allow it */
		r = code_of(renameat(dir, "new", dir, "old")) ? -errno : code_of(unlinkat(dir, "old", 0));
	else if (r == 0)
		r = code_of(unlinkat(dir, "00/old", 0));
	if (r == 0)
		r = code_of(unlinkat(dir, "00", AT_REMOVEDIR));
	close(fd);
	close(dir);
	return r;
}

static int do_priority(const struct world *w)
{
	struct sched_param p = {0};

	return -pthread_setschedparam(pthread_self(), SCHED_IDLE, &p);
}

static int do_name(const struct world *w)
{
	return -pthread_setname_np(pthread_self(), "vx-test");
}

static void ignore(int sig)
{
	(void)sig;
}

static int do_own_signal(const struct world *w)
{
	signal(SIGUSR2, ignore);
	return -pthread_kill(pthread_self(), SIGUSR2);
}

static int do_wake_pair(const struct world *w)
{
	int p[2], r = code_of(socketpair(AF_UNIX, SOCK_STREAM, 0, p));

	if (r == 0) {
		close(p[0]);
		close(p[1]);
	}
	return r;
}

static int do_zoneinfo(const struct world *w)
{
	time_t now = time(NULL);
	struct tm tm;

	return localtime_r(&now, &tm) ? 0 : -EINVAL;
}

#define NEEDS(X)       \
	X(thread)      \
	X(resolve)     \
	X(resolve_dns) \
	X(connect)     \
	X(wait)        \
	X(object) X(lease) X(memfd) X(source) X(disk_cache) X(priority) X(name) X(own_signal) X(wake_pair) X(zoneinfo)

#endif
