/* SPDX-License-Identifier: Apache-2.0
 * One poll loop over signals and at most two servers: the one that serves, and one that is about to take over. A server
 * that died is followed at once by another, unless servers die by themselves again and again: then each waits longer.
 */
#include "fs/keeper.h"
#include "arena/arena.h"
#include "arena/table.h"
#include "base/clock.h"
#include "base/log.h"
#include "fs/backings.h"
#include "fs/link.h"
#include "fs/list.h"
#include "fs/mounting.h"
#include "fs/passthrough.h"
#include "fs/proto.h"
#include "fs/spawn.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#define END_NS (6 * VX_SEC)       /* what a server may take to end */
#define DRAIN_NS (4 * VX_SEC)     /* and to hand over */
#define PREPARE_NS (120 * VX_SEC) /* and a new one to be ready to take over */
#define BACKOFF_FIRST_NS (50 * VX_MS)
#define BACKOFF_MAX_NS (5 * VX_SEC)
#define STEADY_NS (10 * VX_SEC)   /* who served this long did not die of its start */
#define ASK_NS (2 * VX_SEC)       /* how often a server is asked whether it is alive */
#define ASK_SLACK_NS (5 * VX_SEC) /* what it may take longer to answer than `timeout=` */
#define FIRST_TRIES 5             /* servers that may die of a fault before the first one serves */
#define STUCK_NS (100 * VX_MS)    /* how often one that is to be gone is looked at */
#define ANSWER_MS 10              /* how often others are answered for one that is stuck, at the end */
#define LOOK_NS (100 * VX_MS)     /* how often the mount is looked after while nobody serves it */

struct keeper {
	const struct vx_options *o;
	struct vx_program program;
	struct vx_mounted mounted;
	struct vx_backings *backings;
	struct vx_legacy legacy;
	int ro, signals, report; /* ro: of the arena */
	struct vx_child now, next;
	unsigned starts;
	int death; /* of the server before: as in struct vx_tell */
	uint64_t backoff_ns, start_at_ns, unserved_since_ns;
	uint64_t end_by_ns, drain_by_ns, prepare_by_ns; /* 0: not under way */
	uint64_t asked_ns, heard_ns;                    /* whether the server that serves is alive */
	bool is_mounted, served, ending, done;
	bool upgrade_due; /* as soon as the server serves */
	bool held_up;     /* a server is counted as dead of which the kernel has not let go */
	int status;
};

static bool is_due(uint64_t when_ns)
{
	return when_ns && vx_now_ns() >= when_ns;
}

/* ---- beginnings ---- */

static int open_signals(struct keeper *k)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL); /* where it was ignored nobody would hear of deaths */
	k->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return k->signals < 0 ? -errno : 0;
}

static int prepare(struct keeper *k, char **argv, struct vx_err *e)
{
	char note[200];
	int r = open_signals(k);

	if (r < 0)
		return vx_fail(e, r, "cannot wait for signals: %s", strerror(-r));
	if ((r = vx_program_init(&k->program, argv, e)) < 0)
		return r;
	if ((r = vx_list_hold(k->o->source, &k->legacy.list, e)) < 0)
		return r;
	vx_arena_mount(k->o->cache, &k->legacy.arena, &k->ro, note);
	if ((r = vx_backings_new(&k->backings, k->ro)) < 0)
		return vx_no_memory(e);
	k->legacy.table = vx_table_create(note, e);
	return k->legacy.table < 0 ? k->legacy.table : 0;
}

static int start(struct keeper *k, struct vx_child *c, struct vx_err *e)
{
	k->start_at_ns = 0;
	return vx_child_start(c, &k->program, c == &k->next ? k->program.newer : k->program.fd, &k->legacy,
			      k->report == -2 ? VX_OUT_SYSLOG
			      : k->report < 0 ? VX_OUT_STDERR
					      : VX_OUT_DETACH,
			      e);
}

/* The mount works: lets go of the terminal. */
static void report_success(struct keeper *k)
{
	unsigned char ok = 0;
	int null;

	if (k->report < 0)
		return;
	vx_log_to_syslog();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		close(null);
	}
	if (chdir("/") < 0 || write(k->report, &ok, 1) < 0)
		vx_log(VX_LOG_WARN, "nobody waits for the report of success");
	close(k->report);
	k->report = -2;
}

static void give_up(struct keeper *k, int status, const struct vx_err *e)
{
	if (e && k->report == -2)
		vx_log(VX_LOG_ERROR, "%s", e->why);
	else if (e)
		fprintf(stderr, "voxfs: %s\n", e->why);
	k->status = status;
	k->done = true;
}

/* ---- news ---- */

static void take_over(struct keeper *k);
static void begin_upgrade(struct keeper *k);

static void send_start(struct keeper *k)
{
	struct vx_tell t = {
	    .news = VX_NEWS_START, .starts = ++k->starts, .death = k->death, .keeper_pid = (uint32_t)getpid()};

	/* One that cannot be told is dying: its death will be heard of. */
	vx_link_send(k->now.news, &t, sizeof t, k->mounted.fd);
}

static void on_prepared(struct keeper *k, struct vx_child *c)
{
	struct vx_err e;

	c->prepared = true;
	vx_program_keep_identity(&k->program, c->pid);
	if (c == &k->next) {
		struct vx_tell t = {.news = VX_NEWS_DRAIN};

		k->prepare_by_ns = 0;
		vx_program_settle(&k->program, true);
		if (!k->now.pid) { /* it has died meanwhile */
			take_over(k);
			return;
		}
		k->drain_by_ns = vx_now_ns() + DRAIN_NS;
		k->now.draining = true;
		vx_link_send(k->now.news, &t, sizeof t, -1);
		return;
	}
	if (!k->is_mounted) {
		if (vx_mounting_mount(&k->mounted, k->o, &e) < 0) {
			give_up(k, VX_EXIT_MOUNT, &e);
			return;
		}
		k->is_mounted = true;
		vx_backings_set_mount(k->backings, k->mounted.fd);
	}
	send_start(k);
}

static void on_serving(struct keeper *k, struct vx_child *c)
{
	c->serving = k->served = true;
	c->served_since_ns = vx_now_ns();
	k->unserved_since_ns = 0;
	k->asked_ns = k->heard_ns = c->served_since_ns;
	vx_mounting_tune(&k->mounted);
	report_success(k);
	if (k->upgrade_due)
		begin_upgrade(k);
}

static void on_unmounted(struct keeper *k)
{
	if (k->ending)
		return;
	k->ending = true;
	k->end_by_ns = vx_now_ns() + END_NS;
}

/* SIGCHLD follows, by much where a server takes its time to end. */
static void on_hung_up(const struct keeper *k, struct vx_child *c)
{
	c->deaf = true;
	if (c->prepared && !k->ending && !c->left_ns)
		c->left_ns = vx_now_ns();
}

static void on_news(struct keeper *k, struct vx_child *c)
{
	struct vx_tell t;
	int r = vx_link_recv(c->news, &t, sizeof t, NULL);

	if (r == -EPIPE)
		on_hung_up(k, c);
	if (r < 0)
		return;
	if (t.news == VX_NEWS_PREPARED && !c->prepared)
		on_prepared(k, c);
	else if (t.news == VX_NEWS_SERVING && c == &k->now && c->prepared && !c->serving)
		on_serving(k, c);
	else if (t.news == VX_NEWS_ALIVE && c == &k->now)
		k->heard_ns = vx_now_ns();
	else if (t.news == VX_NEWS_UNMOUNTED && c == &k->now)
		on_unmounted(k);
}

static void on_question(struct keeper *k, struct vx_child *c)
{
	struct vx_ask q;
	struct vx_answer a = {.value = -EINVAL};
	int r = vx_link_recv(c->questions, &q, sizeof q, NULL);

	c->mute |= r == -EPIPE;
	if (r == -EPIPE || r == -EAGAIN)
		return;
	if (r == 0 && !q.zero && q.question == VX_ASK_REGISTER)
		a.value = vx_backings_register(k->backings, q.object);
	else if (r == 0 && !q.zero && q.question == VX_ASK_UNREGISTER)
		a.value = vx_backings_unregister(k->backings, q.object);
	else if (r == 0 && !q.zero && !q.object && q.question == VX_ASK_COUNT)
		a.value = (int64_t)vx_backings_count(k->backings);
	/* One that asks and asks and hears no answer has gone mad; nobody waits for it. */
	if (vx_link_send(c->questions, &a, sizeof a, -1) == -EAGAIN)
		vx_child_kill(c);
}

/* ---- deaths ---- */

static void start_next_server(struct keeper *k, uint64_t wait_ns)
{
	k->start_at_ns = vx_now_ns() + wait_ns;
	if (!k->unserved_since_ns)
		k->unserved_since_ns = vx_now_ns();
}

static void take_over(struct keeper *k)
{
	k->now = k->next;
	k->next = (struct vx_child){.questions = -1, .news = -1};
	k->start_at_ns = 0;
	if (!k->unserved_since_ns)
		k->unserved_since_ns = vx_now_ns();
	send_start(k);
}

static bool was_killed(int status)
{
	return WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM);
}

/* Only deaths by its own fault are a reason to be slow, and to suspect what it worked on. */
static void note_death(struct keeper *k, int status, bool steady)
{
	bool killed = was_killed(status);

	if (killed || steady)
		k->backoff_ns = 0;
	if (WIFSIGNALED(status))
		vx_log(VX_LOG_WARN, "the server was killed by signal %d (%s); starting another", WTERMSIG(status),
		       strsignal(WTERMSIG(status)));
	else
		vx_log(VX_LOG_WARN, "the server ended with status %d; starting another", WEXITSTATUS(status));
	start_next_server(k, k->backoff_ns);
	if (!killed)
		k->backoff_ns = k->backoff_ns ? vx_min_u64(k->backoff_ns * 2, BACKOFF_MAX_NS) : BACKOFF_FIRST_NS;
}

/* One that has not said that it serves: clients may have met it all the same, once there is a mount. What ends by
 * itself has said why, and the next would say the same. */
static bool may_try_again(const struct keeper *k, int status)
{
	return k->is_mounted && WIFSIGNALED(status) && (was_killed(status) || k->starts < FIRST_TRIES);
}

/* One that ended by itself has said why on stderr. */
static void give_up_on(struct keeper *k, int status)
{
	struct vx_err e;

	if (WIFSIGNALED(status))
		vx_fail(&e, -EIO, "the server was killed by signal %d (%s) before it served", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	give_up(k, WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : VX_EXIT_MOUNT,
		WIFSIGNALED(status) ? &e : NULL);
}

static void on_death_of_now(struct keeper *k, int status)
{
	bool steady = k->now.serving && vx_now_ns() - k->now.served_since_ns > STEADY_NS;
	bool drained = k->now.draining && WIFEXITED(status) && !WEXITSTATUS(status);

	/* One that never began says nothing about the work, which is the last one's still. */
	if (k->now.prepared)
		k->death = WIFSIGNALED(status) ? WTERMSIG(status) : drained ? 0 : -1;
	vx_child_done(&k->now);
	k->drain_by_ns = 0;
	if (!k->served && !k->ending && !may_try_again(k, status)) {
		give_up_on(k, status);
	} else if (k->ending || vx_mounting_gone(&k->mounted)) {
		k->done = true;
	} else if (k->next.pid && k->next.prepared) {
		take_over(k);
	} else {
		note_death(k, status, steady);
	}
}

/* Who asked for the upgrade hears of it by the server that goes on. */
static void tell_refused(struct keeper *k)
{
	struct vx_tell t = {.news = VX_NEWS_REFUSED};

	if (k->now.serving && !k->now.draining)
		vx_link_send(k->now.news, &t, sizeof t, -1);
}

static void on_death(struct keeper *k, pid_t pid, int status)
{
	if (pid == k->now.pid) {
		on_death_of_now(k, status);
	} else if (pid == k->next.pid) {
		vx_log(VX_LOG_ERROR, "the new server cannot take over; %s",
		       k->now.draining ? "another follows" : "the old one goes on");
		vx_child_done(&k->next);
		vx_program_settle(&k->program, false);
		k->prepare_by_ns = 0;
		tell_refused(k);
	}
}

static void on_deaths(struct keeper *k)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		on_death(k, pid, status);
}

/* A thread of the dead may be held up in the kernel: a notification waits for the lock of a folder, and who has that
 * waits for an answer, which the dead one would owe for ever. What it died of is not to be had before it has ended. */
static void look_for_stuck(struct keeper *k, struct vx_child *c)
{
	if (!c->pid || !is_due(c->left_ns ? c->left_ns + STUCK_NS : 0))
		return;
	c->left_ns = vx_now_ns();
	if (!vx_child_is_dead(c))
		return;
	vx_child_kill(c);
	k->held_up = true;
	vx_log(VX_LOG_INFO, "a thread of the server %d, which is dead, waits in the kernel", (int)c->pid);
	on_death(k, c->pid, SIGKILL);
}

/* ---- signals ---- */

static void begin_end(struct keeper *k)
{
	struct vx_tell t = {.news = VX_NEWS_STOP};

	if (k->ending)
		return;
	k->ending = true;
	k->end_by_ns = vx_now_ns() + END_NS;
	if (k->is_mounted)
		vx_mounting_detach(&k->mounted);
	if (k->now.pid && k->now.prepared)
		vx_link_send(k->now.news, &t, sizeof t, -1);
	else if (k->now.pid)
		vx_child_kill(&k->now);
	else
		k->done = true;
}

static void begin_upgrade(struct keeper *k)
{
	struct vx_err e;

	k->upgrade_due = !k->now.serving && !k->next.pid && !k->ending;
	if (k->upgrade_due)
		return;
	if (k->next.pid || k->ending) {
		vx_log(VX_LOG_WARN, "no server can take over now");
		return;
	}
	if (vx_program_renew(&k->program, &e) < 0 || start(k, &k->next, &e) < 0) {
		vx_log(VX_LOG_ERROR, "no server can take over: %s", e.why);
		vx_program_settle(&k->program, false);
		tell_refused(k);
		return;
	}
	k->prepare_by_ns = vx_now_ns() + PREPARE_NS;
}

static void on_signals(struct keeper *k)
{
	struct signalfd_siginfo s;

	while (read(k->signals, &s, sizeof s) == sizeof s) {
		if (s.ssi_signo == SIGCHLD)
			on_deaths(k);
		else if (s.ssi_signo == SIGHUP && s.ssi_code != SI_KERNEL) /* that is a terminal that was closed */
			begin_upgrade(k);
		else
			begin_end(k);
	}
}

/* ---- the loop ---- */

/* A server that is stopped, or has lost itself, is as bad as a dead one. */
static void look_after(struct keeper *k)
{
	struct vx_tell t = {.news = VX_NEWS_ALIVE_ASKED};
	uint64_t now = vx_now_ns();

	if (!k->now.pid || !k->now.serving || k->ending)
		return;
	if (now - k->heard_ns > (uint64_t)(k->o->timeout * 1e9) + ASK_SLACK_NS) {
		vx_log(VX_LOG_ERROR, "the server has said nothing for %.0f s: it is killed", k->o->timeout);
		k->heard_ns = now;
		vx_child_kill(&k->now);
	} else if (now - k->asked_ns >= ASK_NS) {
		k->asked_ns = now;
		vx_link_send(k->now.news, &t, sizeof t, -1);
	}
}

static void on_time(struct keeper *k)
{
	struct vx_err e;

	if ((is_due(k->end_by_ns) || is_due(k->drain_by_ns)) && k->now.pid) {
		vx_child_kill(&k->now);
		k->end_by_ns = k->drain_by_ns = 0;
	}
	look_after(k);
	look_for_stuck(k, &k->next);
	look_for_stuck(k, &k->now);
	if (is_due(k->prepare_by_ns)) {
		vx_child_kill(&k->next);
		k->prepare_by_ns = 0;
	}
	if (!k->now.pid && k->is_mounted && vx_mounting_gone(&k->mounted))
		k->done = true;
	if (k->unserved_since_ns && !k->done && vx_now_ns() - k->unserved_since_ns > (uint64_t)(k->o->timeout * 1e9)) {
		vx_log(VX_LOG_ERROR, "no server has come up for %.0f s: the mount ends", k->o->timeout);
		vx_mounting_detach(&k->mounted);
		k->status = VX_EXIT_MOUNT;
		k->done = true;
	}
	if (k->done || k->ending || k->now.pid || !is_due(k->start_at_ns))
		return;
	if (start(k, &k->now, &e) < 0) {
		vx_log(VX_LOG_ERROR, "%s", e.why);
		start_next_server(k, BACKOFF_MAX_NS);
	}
}

static int until(uint64_t when_ns, int ms)
{
	uint64_t now = vx_now_ns(), left = when_ns > now ? when_ns - now : 0;

	if (!when_ns)
		return ms;
	left = left / VX_MS + 1;
	return ms < 0 || left < (uint64_t)ms ? (int)vx_min_u64(left, 1 << 30) : ms;
}

static int next_timeout(const struct keeper *k)
{
	int ms = until(k->end_by_ns, -1);

	ms = until(k->drain_by_ns, ms);
	ms = until(k->prepare_by_ns, ms);
	ms = until(k->now.left_ns ? k->now.left_ns + STUCK_NS : 0, ms);
	ms = until(k->next.left_ns ? k->next.left_ns + STUCK_NS : 0, ms);
	ms = until(k->now.pid && k->now.serving && !k->ending ? k->asked_ns + ASK_NS : 0, ms);
	ms = until(k->now.pid ? 0 : k->start_at_ns, ms);
	if (k->unserved_since_ns)
		ms = until(vx_now_ns() + LOOK_NS, ms);
	return ms;
}

static void turn(struct keeper *k)
{
	struct pollfd p[] = {
	    {.fd = k->signals, .events = POLLIN},
	    {.fd = k->now.pid && !k->now.mute ? k->now.questions : -1, .events = POLLIN},
	    {.fd = k->now.pid && !k->now.deaf ? k->now.news : -1, .events = POLLIN},
	    {.fd = k->next.pid && !k->next.deaf ? k->next.news : -1, .events = POLLIN},
	    {.fd = k->report >= 0 && !k->ending ? k->report : -1}, /* POLLERR: who waits for the mount has given up */
	};

	if (poll(p, VX_ARRAY_LEN(p), next_timeout(k)) < 0)
		return;
	if (p[1].revents)
		on_question(k, &k->now);
	if (p[2].revents)
		on_news(k, &k->now);
	if (p[3].revents)
		on_news(k, &k->next);
	if (p[0].revents)
		on_signals(k);
	if (p[4].revents && k->report >= 0)
		begin_end(k);
	on_time(k);
}

/* A server that cannot die until those who wait for it are answered: they are. */
static void answer_for_the_dead(const struct keeper *k)
{
	uint64_t until_ns = vx_now_ns() + END_NS;
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0 && !is_due(until_ns)) {
		if (pid > 0)
			continue;
		vx_refuse_requests(k->mounted.fd);
		poll(NULL, 0, ANSWER_MS);
	}
}

static void clean_up(struct keeper *k)
{
	const int held[] = {k->legacy.table, k->legacy.arena, k->legacy.list, k->ro, k->signals};

	if (k->is_mounted) /* and not yet unmounted: the connection was aborted, or nobody comes up to serve it */
		vx_mounting_detach(&k->mounted);
	for (struct vx_child *c = &k->now; c; c = c == &k->now ? &k->next : NULL)
		if (c->pid) {
			k->held_up |= !vx_child_end(c);
			vx_child_done(c);
		}
	if (k->is_mounted && k->held_up)
		answer_for_the_dead(k);
	vx_mounting_free(&k->mounted);
	vx_backings_free(&k->backings);
	vx_program_done(&k->program);
	for (size_t i = 0; i < VX_ARRAY_LEN(held); i++)
		if (held[i] >= 0)
			close(held[i]);
}

int vx_keeper_run(const struct vx_options *o, char **argv, int report)
{
	struct keeper k = {.o = o,
			   .program = {.fd = -1, .newer = -1},
			   .mounted.fd = -1,
			   .legacy = {.table = -1, .arena = -1, .list = -1},
			   .ro = -1,
			   .signals = -1,
			   .report = report,
			   .now = {.questions = -1, .news = -1},
			   .next = {.questions = -1, .news = -1}};
	struct vx_err e = {0};

	prctl(PR_SET_NAME, "voxfs-keeper");
	if (vx_mounting_check(o->mountpoint, &e) < 0 || prepare(&k, argv, &e) < 0 || start(&k, &k.now, &e) < 0)
		give_up(&k, VX_EXIT_MOUNT, &e);
	while (!k.done)
		turn(&k);
	clean_up(&k);
	return k.status;
}
