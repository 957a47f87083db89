/* SPDX-License-Identifier: Apache-2.0
 * Identity and sandbox, in children that enter them: what is forbidden fails, what a server does works. Root sees all
 * of it, an ordinary user its part; a layer that the kernel lacks is told by the report and not asked for.
 */
#include "fs/privileges.h"
#include "fs/sandbox.h"
#include "tests/lib/vxtest.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <linux/mount.h>
#include <netdb.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#define NOBODY 65534
#define ALICE 12345 /* users without entries */
#define BOB 12346
#define WORDS "the voxels of a source"

static char top[64], source[80], cache[80];
static struct vx_err e;

/* ---- a place to work in ---- */

static void write_file(const char *dir, const char *name, mode_t mode)
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

static void setup(void)
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

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", top);
	ck_assert_int_eq(system(command), 0);
}

static void own(const char *path, uid_t uid, mode_t mode)
{
	ck_assert_int_eq(chown(path, uid, uid), 0);
	ck_assert_int_eq(chmod(path, mode), 0);
}

/* ---- choosing ---- */

static int choose(struct vx_identity *i, const char *runas, const char *a, const char *b, const char *writable)
{
	struct vx_identity_need needs[3];
	unsigned n = 0;

	if (a)
		needs[n++] = (struct vx_identity_need){a, false};
	if (b)
		needs[n++] = (struct vx_identity_need){b, false};
	if (writable)
		needs[n++] = (struct vx_identity_need){writable, true};
	e = (struct vx_err){0};
	return vx_identity_choose(i, runas, needs, n, &e);
}

START_TEST(choosing_as_root)
{
	struct vx_identity i;
	char other[80];

	if (geteuid() != 0)
		return;
	snprintf(other, sizeof other, "%s/other", top);
	ck_assert_int_eq(mkdir(other, 0700), 0);
	own(other, BOB, 0700);

	ck_assert_msg(choose(&i, NULL, source, NULL, NULL) == 0, "%s", e.why);
	ck_assert(i.change && i.uid != 0 && i.gid != 0);
	ck_assert(!strcmp(i.name, "voxfs") || !strcmp(i.name, "nobody"));
	ck_assert_int_eq(choose(&i, NULL, NULL, NULL, NULL), 0);
	ck_assert_uint_ne(i.uid, 0);
	ck_assert_int_eq(choose(&i, NULL, "/nonexistent/source", NULL, NULL), 0);
	ck_assert_uint_ne(i.uid, 0);

	own(source, ALICE, 0700); /* its owner */
	ck_assert_int_eq(choose(&i, NULL, source, NULL, NULL), 0);
	ck_assert(i.change && i.uid == ALICE && i.gid == ALICE);
	ck_assert_ptr_nonnull(strstr(i.why, source));
	ck_assert_int_eq(choose(&i, NULL, source, other, NULL), -EACCES); /* two owners, and no common user */
	ck_assert_ptr_nonnull(strstr(e.why, "runas="));
	own(other, BOB, 0755);
	ck_assert_int_eq(choose(&i, NULL, other, source, NULL), 0);
	ck_assert_uint_eq(i.uid, ALICE);

	own(source, 0, 0700); /* root's alone */
	ck_assert_int_eq(choose(&i, NULL, source, NULL, NULL), 0);
	ck_assert(i.change && i.uid == 0);
	own(source, 0, 0755);
	write_file(source, "info", 0600); /* or only a file in it */
	ck_assert_int_eq(choose(&i, NULL, source, NULL, NULL), 0);
	ck_assert_uint_eq(i.uid, 0);
	write_file(source, "info", 0644);

	own(cache, ALICE, 0755); /* readable to all, writable to one */
	ck_assert_int_eq(choose(&i, NULL, source, NULL, cache), 0);
	ck_assert_uint_eq(i.uid, ALICE);
	ck_assert(geteuid() == 0 && getegid() == 0); /* we are still who we were */
}
END_TEST

START_TEST(runas)
{
	struct vx_identity i;

	if (geteuid() != 0) {
		ck_assert_int_eq(choose(&i, "nobody", NULL, NULL, NULL), -EPERM);
		ck_assert_int_eq(choose(&i, NULL, source, NULL, NULL), 0);
		ck_assert(!i.change && i.uid == geteuid());
		return;
	}
	ck_assert_int_eq(choose(&i, "nobody", source, NULL, NULL), 0);
	ck_assert(i.change && i.uid == NOBODY);
	ck_assert_int_eq(choose(&i, "12345:100", source, NULL, NULL), 0);
	ck_assert(i.uid == 12345 && i.gid == 100);
	ck_assert_int_eq(choose(&i, "nobody:root", NULL, NULL, NULL), 0);
	ck_assert(i.uid == NOBODY && i.gid == 0);
	ck_assert_int_eq(choose(&i, "root", source, NULL, NULL), 0);
	ck_assert(i.change && i.uid == 0);
	ck_assert_int_eq(choose(&i, "12345", NULL, NULL, NULL), -EINVAL);
	ck_assert_int_eq(choose(&i, "nosuchuser", NULL, NULL, NULL), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.why, "nosuchuser"));
	ck_assert_int_eq(choose(&i, "nobody:nosuchgroup", NULL, NULL, NULL), -EINVAL);
	ck_assert_int_eq(choose(&i, ":", NULL, NULL, NULL), -EINVAL);
	own(source, ALICE, 0700);
	ck_assert_int_eq(choose(&i, "nobody", source, NULL, NULL), -EACCES);
	ck_assert_ptr_nonnull(strstr(e.why, source));
	ck_assert_int_eq(choose(&i, "nobody", NULL, NULL, cache), -EACCES);
}
END_TEST

/* ---- a child that enters ---- */

/* What a server must still be able to do. */
#define NEEDS(X)                                                                                                     \
	X(thread)                                                                                                    \
	X(resolve) X(resolve_dns) X(connect) X(wait) X(object) X(lease) X(memfd) X(source) X(disk_cache) X(priority) \
	    X(name) X(own_signal) X(wake_pair) X(zoneinfo)

struct outcome {
	int r;
	struct vx_err e;
	struct vx_sandbox_report report;
	struct vx_identity identity;
	bool caps_gone, groups_gone, dumpable;
#define X(what) int what;
	NEEDS(X)
#undef X
};

struct world {
	const char *source, *cache;
	int arena; /* -1: none */
	struct sockaddr_in listener;
	const struct vx_identity *identity; /* NULL: what is chosen for an ordinary user */
};

static int become_ordinary(void)
{
	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -errno;
	return 0;
}

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

/* The lines of /proc/self/status, which says it all: Cap*: are zero, and so are groups. */
static void read_status(struct outcome *o)
{
	char line[4096];
	FILE *f = fopen("/proc/self/status", "re");
	unsigned zero = 0;

	while (f && fgets(line, sizeof line, f)) {
		zero += !strncmp(line, "Cap", 3) && strncmp(line, "CapBnd", 6) &&
			strtoull(strchr(line, ':') + 1, NULL, 16) == 0;
		if (!strncmp(line, "Groups:", 7))
			o->groups_gone = strspn(line + 7, " \t\n") == strlen(line + 7);
	}
	if (f)
		fclose(f);
	o->caps_gone = zero == 4;
	o->dumpable = prctl(PR_GET_DUMPABLE) == 1;
}

static void enter(const struct world *w, struct outcome *o)
{
	struct vx_identity_need need = {w->source, false};
	struct vx_sandbox_tree reads[] = {{w->source, -1}, {"/nonexistent/tree", -1}};
	struct vx_sandbox_tree writes[] = {{w->cache, -1}, {NULL, w->arena}};
	struct vx_sandbox s = {
	    .read = reads, .nread = 2, .write = writes, .nwrite = w->arena < 0 ? 1 : 2, .probe = true};

	o->r = w->identity ? 0 : become_ordinary();
	if (o->r == 0 && !w->identity)
		o->r = vx_identity_choose(&o->identity, NULL, &need, 1, &o->e);
	else
		o->identity = *w->identity;
	if (o->r == 0)
		o->r = vx_identity_take(&o->identity, &o->e);
	if (o->r < 0)
		return;
	read_status(o);
	o->r = vx_sandbox_enter(&s, &o->report);
	if (o->r < 0)
		return;
#define X(what) o->what = do_##what(w);
	NEEDS(X)
#undef X
}

static void in_child(const struct world *w, struct outcome *ret)
{
	struct outcome *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t pid;

	ck_assert_ptr_ne(shared, MAP_FAILED);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		enter(w, shared);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %x", status);
	*ret = *shared;
	munmap(shared, sizeof *shared);
	ck_assert_msg(ret->r == 0, "%s", ret->e.why);
}

/* ---- what is expected ---- */

static void needs_work(const struct outcome *o)
{
#define X(what) ck_assert_msg(o->what == 0, #what ": %s", vx_errno_name(o->what));
	NEEDS(X)
#undef X
}

static int probe_of(const struct vx_sandbox_report *r, const char *what)
{
	for (unsigned i = 0; i < r->nprobes; i++)
		if (!strcmp(r->probe[i].what, what))
			return r->probe[i].code;
	ck_abort_msg("%s was not tried", what);
	return 0;
}

static void forbidden(const struct vx_sandbox_report *r, const char *const *what, int code)
{
	for (; *what; what++)
		ck_assert_msg(probe_of(r, *what) == code, "%s gives %s, should give %s", *what,
			      vx_errno_name(probe_of(r, *what)), vx_errno_name(code));
}

static void check_report(const struct vx_sandbox_report *r, const struct vx_identity *i)
{
	static const char *const by_seccomp[] = {
	    "execve", "fork",     "socket_unix", "socket_packet", "socket_vsock", "socket_raw", "listen",
	    "ptrace", "mount",    "bpf",         "io_uring",      "unshare",      "kill_init",  "kill_parent",
	    "setuid", "map_code", NULL};
	static const char *const by_landlock[] = {
	    "open_shadow", "list_root_home", "read_memory_of_init", "list_everything", "create_outside", "write_source",
	    NULL};
	static const char *const by_landlock_4[] = {"bind", NULL};

	ck_assert(r->uid == i->uid && r->gid == i->gid);
	ck_assert(r->user.on == (i->uid != 0) && r->capabilities.on && r->no_new_privs.on);
	ck_assert(r->seccomp.on || r->seccomp.why[0]);
	ck_assert(r->landlock.on || r->landlock.why[0]);
	ck_assert(r->landlock.on == (r->landlock_abi > 0));
	if (r->seccomp.on)
		forbidden(r, by_seccomp, -EPERM);
	if (r->landlock.on)
		forbidden(r, by_landlock, -EACCES);
	if (r->landlock_abi >= 4)
		forbidden(r, by_landlock_4, -EACCES);
}

static int listen_somewhere(struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof *ret;

	*ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	ck_assert_int_eq(bind(fd, (struct sockaddr *)ret, sizeof *ret), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)ret, &len), 0);
	return fd;
}

/* As the arena makes it; -1 for who may not. */
static int detached_tmpfs(void)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC), fd = -1;

	if (fs < 0)
		return -1;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", "16M", 0) == 0 &&
	    syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	close(fs);
	return fd;
}

/* Enters as who is given and checks everything. */
static void live_as(const struct vx_identity *i, struct outcome *o)
{
	struct world w = {.source = source, .cache = cache, .arena = detached_tmpfs(), .identity = i};
	int fd = listen_somewhere(&w.listener);

	in_child(&w, o);
	ck_assert(o->caps_gone);
	ck_assert(!o->identity.change || o->groups_gone);
#ifndef VX_SANITIZED
	ck_assert(!o->dumpable);
#endif
	check_report(&o->report, &o->identity);
	needs_work(o);
	close(fd);
	if (w.arena >= 0)
		close(w.arena);
}

START_TEST(as_another_user)
{
	static const uid_t whom[] = {NOBODY, ALICE};
	struct vx_identity i = {.uid = whom[_i], .gid = whom[_i], .change = true};
	struct outcome o;

	if (geteuid() != 0)
		return;
	own(cache, whom[_i], 0700);
	own(source, whom[_i], 0700);
	live_as(&i, &o);
}
END_TEST

/* Root's own source: uid 0 opens root's files as their owner, and can do nothing else that root can. */
START_TEST(as_root_without_capabilities)
{
	struct vx_identity i = {.uid = 0, .gid = 0, .change = true};
	struct outcome o;

	if (geteuid() != 0)
		return;
	own(source, 0, 0700);
	live_as(&i, &o);
	ck_assert_ptr_nonnull(strstr(o.report.user.why, "root"));
}
END_TEST

/* Whoever starts the test; root becomes nobody for it. */
START_TEST(as_an_ordinary_user)
{
	struct outcome o;

	if (geteuid() == 0)
		own(cache, NOBODY, 0700);
	live_as(NULL, &o);
	ck_assert(!o.identity.change && o.identity.uid == (geteuid() ? geteuid() : NOBODY));
}
END_TEST

/* An identity that cannot be taken is an error, never ignored. */
START_TEST(no_way_to_take)
{
	struct vx_identity i = {.uid = ALICE, .gid = ALICE, .change = true, .name = "alice"};
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (become_ordinary() < 0)
			_exit(1);
		_exit(vx_identity_take(&i, &e) != -EPERM || !strstr(e.why, "alice") ? 2 : 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(told_as_json)
{
	struct vx_sandbox_report r = {.uid = 7, .gid = 8, .landlock_abi = 3, .nprobes = 2};
	json_t *o, *probe;

	r.user.on = r.capabilities.on = r.landlock.on = true;
	strcpy(r.seccomp.why, "no reason");
	r.probe[0].what = "execve";
	r.probe[0].code = -EPERM;
	r.probe[1].what = "fork";
	o = vx_sandbox_json(&r);
	ck_assert_int_eq(json_integer_value(json_object_get(o, "uid")), 7);
	ck_assert_int_eq(json_integer_value(json_object_get(o, "gid")), 8);
	ck_assert(json_is_true(json_object_get(json_object_get(o, "user"), "on")));
	ck_assert(json_is_false(json_object_get(json_object_get(o, "seccomp"), "on")));
	ck_assert_str_eq(json_string_value(json_object_get(json_object_get(o, "seccomp"), "reason")), "no reason");
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(o, "landlock"), "abi")), 3);
	probe = json_object_get(o, "probe");
	ck_assert_str_eq(json_string_value(json_object_get(probe, "execve")), "EPERM");
	ck_assert_str_eq(json_string_value(json_object_get(probe, "fork")), "done");
	json_decref(o);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sandbox");
	TCase *t = tcase_create("sandbox");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, choosing_as_root);
	tcase_add_test(t, runas);
	tcase_add_loop_test(t, as_another_user, 0, 2);
	tcase_add_test(t, as_root_without_capabilities);
	tcase_add_test(t, as_an_ordinary_user);
	tcase_add_test(t, no_way_to_take);
	tcase_add_test(t, told_as_json);
	return vxt_run(s);
}
