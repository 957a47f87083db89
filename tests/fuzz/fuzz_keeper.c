/* SPDX-License-Identifier: Apache-2.0
 * The keeper against servers that say anything, die at any time and are killed, with signals and time in between. Time,
 * processes, the mount and the kernel's registrations are played here. Only one server ever has the mount, nobody else
 * is killed, and the keeper can always be brought to its end.
 */
#include "arena/arena.h"
#include "arena/table.h"
#include "base/clock.h"
#include "base/log.h"
#include "fs/backings.h"
#include "fs/keeper.h"
#include "fs/link.h"
#include "fs/mounting.h"
#include "fs/passthrough.h"
#include "fs/proto.h"
#include "fs/spawn.h"
#include "fuzz_story.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHILDREN 64
#define OBJECTS 8
#define FUSE_FD 1000

static uint64_t fake_now_ns;
static struct {
	int questions, news; /* its ends */
	bool alive, killed, started;
	bool stuck; /* dead, but for a thread that is in the kernel until somebody answers */
	int status;
} child[CHILDREN]; /* pid: its place + 1 */
static int children;
static bool gone, mounted;
static unsigned registered;
static int arena_dir = -1, next_id;

/* ---- what is played ---- */

static uint64_t fake_now(void)
{
	return fake_now_ns;
}

static int fake_poll(struct pollfd *p, nfds_t n, int ms)
{
	(void)ms;
	return poll(p, n, 0);
}

static void die(int i, int status)
{
	if (!child[i].alive)
		return;
	child[i].alive = false;
	child[i].status = status;
	close(child[i].questions);
	close(child[i].news);
}

static int fake_kill(pid_t pid, int sig)
{
	must(pid > 0 && pid <= children && sig == SIGKILL);
	child[pid - 1].killed = true;
	return 0;
}

static pid_t fake_waitpid(pid_t pid, int *status, int flags)
{
	int left = 0;

	must(flags == WNOHANG);
	for (int i = 0; i < children; i++) {
		left += child[i].status != -1;
		if (child[i].alive || child[i].stuck || child[i].status == -1)
			continue;
		if (status)
			*status = child[i].status;
		child[i].status = -1;
		return i + 1;
	}
	return left ? 0 : -1;
}

void vx_refuse_requests(int fuse_fd)
{
	for (int i = 0; i < children; i++)
		child[i].stuck = false;
}

int vx_program_init(struct vx_program *p, char **argv, struct vx_err *e)
{
	return 0;
}

int vx_program_renew(struct vx_program *p, struct vx_err *e)
{
	must(p->newer < 0);
	p->newer = p->fd + 1;
	return 0;
}

void vx_program_settle(struct vx_program *p, bool proved)
{
	if (proved && p->newer >= 0)
		p->fd = p->newer;
	p->newer = -1;
}

void vx_program_keep_identity(struct vx_program *p, pid_t server)
{
	must(server > 0);
}

void vx_program_done(struct vx_program *p)
{
}

int vx_child_start(struct vx_child *c, const struct vx_program *p, int fd, const struct vx_legacy *l, enum vx_out out,
		   struct vx_err *e)
{
	int q[2], n[2], alive = 0;

	must(fd >= 0); /* there is such a program */
	for (int i = 0; i < children; i++)
		alive += child[i].alive;
	must(alive < 2);
	if (children == CHILDREN)
		return vx_fail(e, -EAGAIN, "no more");
	must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, q) == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, n) == 0);
	child[children].questions = q[1];
	child[children].news = n[1];
	child[children].alive = true;
	child[children].killed = child[children].started = child[children].stuck = false;
	child[children].status = 0;
	*c = (struct vx_child){.pid = ++children, .questions = q[0], .news = n[0]};
	return 0;
}

void vx_child_done(struct vx_child *c)
{
	must(c->pid && !child[c->pid - 1].alive);
	close(c->questions);
	close(c->news);
	*c = (struct vx_child){.questions = -1, .news = -1};
}

void vx_child_kill(struct vx_child *c)
{
	fake_kill(c->pid, SIGKILL);
	if (!c->left_ns)
		c->left_ns = fake_now();
}

bool vx_child_is_dead(const struct vx_child *c)
{
	return !child[c->pid - 1].alive;
}

bool vx_child_end(struct vx_child *c)
{
	die(c->pid - 1, SIGKILL);
	return !child[c->pid - 1].stuck;
}

int vx_mounting_check(const char *mountpoint, struct vx_err *e)
{
	return 0;
}

int vx_mounting_mount(struct vx_mounted *ret, const struct vx_options *o, struct vx_err *e)
{
	must(!mounted);
	mounted = true;
	ret->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return 0;
}

void vx_mounting_tune(const struct vx_mounted *m)
{
}

void vx_mounting_detach(const struct vx_mounted *m)
{
	gone = true;
}

bool vx_mounting_gone(const struct vx_mounted *m)
{
	return gone;
}

void vx_mounting_free(struct vx_mounted *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}

int vx_backing_open(int fuse_fd, int fd)
{
	struct stat st;

	must(fstat(fd, &st) == 0 && S_ISREG(st.st_mode));
	registered++;
	return ++next_id;
}

void vx_backing_close(int fuse_fd, int id)
{
	must(registered > 0 && id > 0 && id <= next_id);
	registered--;
}

#define vx_now_ns fake_now
#define poll(p, n, ms) fake_poll(p, n, ms)
#define waitpid fake_waitpid
#include "../../fs/keeper.c"
#undef waitpid
#undef poll

/* ---- what servers hear ---- */

/* Only one server at a time is told to begin. */
static void listen_to_keeper(void)
{
	for (int i = 0; i < children; i++) {
		struct vx_answer a;
		struct vx_tell t;
		int fd;

		if (!child[i].alive)
			continue;
		for (struct pollfd p = {.fd = child[i].news, .events = POLLIN}; poll(&p, 1, 0) > 0;) {
			if (vx_link_recv(child[i].news, &t, sizeof t, &fd) < 0)
				break;
			if (t.news == VX_NEWS_START) {
				must(fd >= 0 && !child[i].started);
				for (int k = 0; k < children; k++)
					must(!child[k].alive || !child[k].started);
				child[i].started = true;
			}
			/* What else there is to say is for one that listens, not for one that waits to begin. */
			must(child[i].started || t.news == VX_NEWS_STOP || t.news == VX_NEWS_DRAIN);
			if (fd >= 0)
				close(fd);
		}
		while (recv(child[i].questions, &a, sizeof a, MSG_DONTWAIT) == sizeof a)
			must(a.value <= next_id);
	}
}

static void settle(struct keeper *k)
{
	for (int i = 0; i < 4 && !k->done; i++) {
		for (int c = 0; c < children; c++)
			if (child[c].killed)
				die(c, SIGKILL);
		on_deaths(k);
		if (!k->done)
			turn(k);
		listen_to_keeper();
	}
	must(registered == vx_backings_count(k->backings));
	must(!k->drain_by_ns || (k->now.pid && k->now.draining)); /* nobody else is killed for being slow at it */
}

/* ---- what happens ---- */

/* The latest servers, of which two may be alive. */
static int some_child(struct input *in)
{
	int i = children - 1 - take(in) % 2;

	return i >= 0 && child[i].alive ? i : -1;
}

static void send_some(int sock, struct input *in)
{
	uint8_t bytes[40];
	size_t len = take(in) % sizeof bytes;

	for (size_t i = 0; i < len; i++)
		bytes[i] = take(in);
	send(sock, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void say(int i, uint32_t news)
{
	struct vx_tell t = {.news = news};

	vx_link_send(child[i].news, &t, sizeof t, -1);
}

static void ask(int i, struct input *in)
{
	struct vx_ask q = {.question = take(in) % 5, .object = take(in) % (OBJECTS + 2)};

	vx_link_send(child[i].questions, &q, sizeof q, take(in) % 8 ? -1 : child[i].news);
}

static void end_some(int i, uint8_t how)
{
	static const int statuses[] = {SIGKILL, SIGSEGV, SIGTERM, 0, 32 << 8, 1 << 8};

	child[i].stuck = how / VX_ARRAY_LEN(statuses) % 4 == 0;
	die(i, statuses[how % VX_ARRAY_LEN(statuses)]);
}

static void happen(struct keeper *k, struct input *in)
{
	static const uint32_t news[] = {VX_NEWS_PREPARED, VX_NEWS_SERVING, VX_NEWS_UNMOUNTED, VX_NEWS_START,
					VX_NEWS_STOP};
	uint8_t what = take(in) % 16;
	int i = some_child(in);

	if (what == 0)
		begin_upgrade(k);
	else if (what == 1)
		begin_end(k);
	else if (what == 2)
		gone |= mounted && take(in) % 4 == 0;
	else if (what < 5)
		fake_now_ns += (uint64_t)take(in) * 50 * VX_MS;
	else if (i < 0)
		return;
	else if (what == 5)
		send_some(child[i].news, in);
	else if (what == 6)
		send_some(child[i].questions, in);
	else if (what < 9)
		end_some(i, take(in));
	else if (what < 13)
		say(i, news[what < 12 ? what - 9 : 3 + take(in) % 2]);
	else
		ask(i, in);
}

static char top[] = "/tmp/voxfs-fuzz-XXXXXX";

static void clean_arena(void)
{
	for (int i = 1; i <= OBJECTS; i++) {
		char name[8];

		snprintf(name, sizeof name, "%d", i);
		unlinkat(arena_dir, name, 0);
	}
	rmdir(top);
}

static void set_up(void)
{
	vx_log_to_syslog();
	must(mkdtemp(top) != NULL);
	arena_dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(arena_dir >= 0);
	atexit(clean_arena);
	for (int i = 1; i <= OBJECTS; i++) {
		char name[8];

		snprintf(name, sizeof name, "%d", i);
		close(openat(arena_dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vx_options o = {.timeout = 300};
	struct input in = {data, size};
	struct keeper k = {.o = &o,
			   .program = {.fd = 1, .newer = -1},
			   .mounted.fd = -1,
			   .legacy = {.table = -1, .arena = -1, .list = -1},
			   .ro = -1,
			   .signals = -1,
			   .report = -2,
			   .now = {.questions = -1, .news = -1},
			   .next = {.questions = -1, .news = -1}};
	struct vx_err e;

	if (arena_dir < 0)
		set_up();
	fake_now_ns = VX_SEC;
	children = next_id = 0;
	registered = 0;
	gone = mounted = false;
	must(vx_backings_new(&k.backings, arena_dir) == 0 && start(&k, &k.now, &e) == 0);
	while (in.left && !k.done) {
		happen(&k, &in);
		settle(&k);
	}
	if (!k.done)
		begin_end(&k);
	for (int i = 0; i < 40 && !k.done; i++) {
		fake_now_ns += VX_SEC;
		settle(&k);
	}
	must(k.done);
	for (int i = 0; i < children; i++)
		die(i, SIGKILL);
	clean_up(&k);
	return 0;
}
