/* SPDX-License-Identifier: Apache-2.0
 * Two threads read requests: no handler waits, so more would only wake each other. The end of the mount reaches them as
 * ENODEV; a thread that still sleeps in read is woken by a signal that does nothing else.
 */
#include "fs/session.h"
#include "base/clock.h"
#include "base/log.h"
#include "fs/broker.h"
#include "fs/passthrough.h"
#include "fs/view.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define FUSE_THREADS 2
#define END_DEADLINE_NS (3 * VX_SEC)
#define WAKE_SIGNAL SIGUSR2

struct vx_session {
	struct vx_fs *fs;
	struct fuse_session *fuse;
	struct vx_init_patch patch;
	int fd;
	pthread_t thread[FUSE_THREADS];
	unsigned started;
	pthread_mutex_t mtx; /* innermost: guards what follows */
	pthread_cond_t change;
	unsigned running;
	bool ready, ending;
	pthread_once_t once;
	bool passthrough;
	char reason[300];
};

/* pthread_once has no argument: one session in a process. */
static struct vx_session *the_session;

/* ---- zero copy ---- */

static int share(void *ctx, const struct vx_object *o, struct vx_err *e)
{
	int id = vx_broker_register(ctx, o->id);

	return id > 0 ? id : vx_fail(e, id, "cannot register a backing file: %s", strerror(-id));
}

static void unshare_object(void *ctx, const struct vx_object *o)
{
	vx_broker_unregister(ctx, o->id);
}

/* Registers one probe object: the only reliable answer to "may we, here, now?" */
static int probe(struct vx_session *s, struct vx_err *e)
{
	struct vx_arena *a = vx_cache_arena(s->fs->cache);
	struct vx_object o;
	int r = vx_object_create(a, 4096, &o, NULL, e);

	if (r < 0)
		return r;
	r = share(s->fs->broker, &o, e);
	if (r > 0)
		unshare_object(s->fs->broker, &o);
	vx_object_destroy(a, &o);
	return r > 0 ? 0 : r;
}

/* Why not, or "". What an earlier server of this mount has decided stands: nodes are opened in one mode for ever. */
static const char *find_obstacle(struct vx_session *s, struct vx_err *e)
{
	struct vx_arena *a = vx_cache_arena(s->fs->cache);

	if (s->fs->opt->zerocopy == VX_ZEROCOPY_OFF)
		return "zerocopy=off was asked for";
	if (!vx_arena_is_tmpfs(a))
		return vx_arena_note(a);
	if (!s->patch.offered)
		return "the kernel does not offer FUSE passthrough (6.9 and later do)";
	switch (vx_table_decided(s->fs->table)) {
	case VX_YES:
		return "";
	case VX_NO:
		return "it could not be had when the mount was made";
	case VX_UNDECIDED:
		break;
	}
	return probe(s, e) < 0 ? e->why : "";
}

static void decide(void)
{
	struct vx_session *s = the_session;
	struct vx_sharer sharer = {.ctx = s->fs->broker, .share = share, .unshare = unshare_object};
	struct vx_err e = {0};
	const char *obstacle = find_obstacle(s, &e), *note = vx_arena_note(vx_cache_arena(s->fs->cache));

	s->passthrough = !obstacle[0];
	vx_table_decide(s->fs->table, s->passthrough ? VX_YES : VX_NO);
	snprintf(s->reason, sizeof s->reason, "%s", obstacle);
	if (!s->passthrough)
		return;
	vx_arena_set_sharer(vx_cache_arena(s->fs->cache), &sharer);
	snprintf(s->reason, sizeof s->reason, "the kernel maps objects of the cache%s%s", note[0] ? "; " : "", note);
}

bool vx_session_passthrough(struct vx_session *s)
{
	pthread_once(&s->once, decide);
	return s->passthrough;
}

bool vx_session_maps_direct(const struct vx_session *s)
{
	return s->patch.direct;
}

const char *vx_session_zerocopy_reason(struct vx_session *s)
{
	return s->reason;
}

int vx_session_reply_passthrough(fuse_req_t req, uint64_t fh, int backing_id)
{
	return vx_reply_open_backing(req, fh, backing_id);
}

struct fuse_session *vx_session_fuse(struct vx_session *s)
{
	return s->fuse;
}

/* ---- the connection ---- */

static void save_init(const void *request, size_t len)
{
	if (!vx_table_init_save(the_session->fs->table, request, len))
		vx_log(VX_LOG_WARN, "the kernel's first request is too long to be kept: no other server can take over");
}

static int connect_to(struct vx_session *s, int fd, struct vx_err *e)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char place[32];
	int r = 0;

	snprintf(place, sizeof place, "/dev/fd/%d", fd);
	if (fuse_opt_add_arg(&args, "voxfs") == 0)
		s->fuse = fuse_session_new(&args, &vx_ops, sizeof vx_ops, s->fs);
	fuse_opt_free_args(&args);
	if (!s->fuse)
		return vx_fail(e, -EINVAL, "libfuse refuses the session");
	if (fuse_session_mount(s->fuse, place)) {
		fuse_session_destroy(vx_steal(s->fuse));
		r = vx_fail(e, -EIO, "libfuse refuses the connection");
	}
	return r;
}

int vx_session_new(struct vx_session **ret, struct vx_fs *fs, int fd, struct vx_err *e)
{
	struct vx_session *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return vx_fail(e, -ENOMEM, "no memory");
	s->fs = fs;
	s->fd = fd;
	s->once = (pthread_once_t)PTHREAD_ONCE_INIT;
	pthread_mutex_init(&s->mtx, NULL);
	vx_cond_init(&s->change);
	r = connect_to(s, fd, e);
	if (r < 0) {
		vx_session_free(&s);
		return r;
	}
	s->patch.wanted = fs->opt->zerocopy != VX_ZEROCOPY_OFF;
	s->patch.saw_init = save_init;
	vx_passthrough_install(s->fuse, &s->patch);
	the_session = s;
	fs->session = s;
	*ret = s;
	return 0;
}

bool vx_session_resume(struct vx_session *s)
{
	uint8_t init[VX_TABLE_INIT_MAX];
	size_t len = vx_table_init_load(s->fs->table, init);

	if (!len)
		return false;
	vx_passthrough_replay(s->fuse, init, len);
	s->ready = true;
	return true;
}

/* ---- the threads ---- */

static void note_ready(struct vx_session *s)
{
	pthread_mutex_lock(&s->mtx);
	if (!s->ready) {
		s->ready = true;
		pthread_cond_broadcast(&s->change);
	}
	pthread_mutex_unlock(&s->mtx);
}

static void *session_main(void *arg)
{
	struct vx_session *s = arg;
	struct fuse_buf buf = {0};
	sigset_t wake;

	pthread_setname_np(pthread_self(), "vx-fuse");
	sigemptyset(&wake);
	sigaddset(&wake, WAKE_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &wake, NULL);
	while (!fuse_session_exited(s->fuse)) {
		int r = fuse_session_receive_buf(s->fuse, &buf);

		if (r == -EINTR)
			continue;
		if (r <= 0)
			break;
		fuse_session_process_buf(s->fuse, &buf);
		note_ready(s); /* the first request is INIT */
	}
	free(buf.mem);
	pthread_mutex_lock(&s->mtx);
	s->running--;
	pthread_cond_broadcast(&s->change);
	pthread_mutex_unlock(&s->mtx);
	return NULL;
}

static void do_nothing(int sig)
{
	(void)sig;
}

int vx_session_start(struct vx_session *s, struct vx_err *e)
{
	struct sigaction sa = {.sa_handler = do_nothing};
	int r;

	sigaction(WAKE_SIGNAL, &sa, NULL);
	r = vx_resend(s->fd);
	if (r < 0 && s->ready)
		vx_log(VX_LOG_WARN, "the kernel cannot send again what was under way: %s", strerror(-r));
	for (unsigned i = 0; i < FUSE_THREADS; i++) {
		pthread_mutex_lock(&s->mtx);
		s->running++;
		pthread_mutex_unlock(&s->mtx);
		r = pthread_create(&s->thread[i], NULL, session_main, s);
		if (r) {
			pthread_mutex_lock(&s->mtx);
			s->running--;
			pthread_mutex_unlock(&s->mtx);
			return vx_fail(e, -r, "cannot start a thread: %s", strerror(r));
		}
		s->started++;
	}
	pthread_mutex_lock(&s->mtx);
	while (!s->ready && s->running)
		pthread_cond_wait(&s->change, &s->mtx);
	pthread_mutex_unlock(&s->mtx);
	if (!s->ready)
		return vx_fail(e, -EIO, "the kernel ended the mount at once");
	if (!vx_session_passthrough(s) && s->fs->opt->zerocopy == VX_ZEROCOPY_PASSTHROUGH)
		return vx_fail(e, -EOPNOTSUPP, "zerocopy=passthrough is not to be had: %s", s->reason);
	return 0;
}

static bool wait_for_threads(struct vx_session *s, uint64_t deadline_ns)
{
	struct timespec t = {.tv_sec = (time_t)(deadline_ns / VX_SEC), .tv_nsec = (long)(deadline_ns % VX_SEC)};
	bool done;

	pthread_mutex_lock(&s->mtx);
	while (s->running && pthread_cond_timedwait(&s->change, &s->mtx, &t) != ETIMEDOUT)
		continue;
	done = !s->running;
	pthread_mutex_unlock(&s->mtx);
	return done;
}

static void fail_late(void *ctx, fuse_req_t req, fuse_ino_t ino, const struct vx_view *v, const struct vx_err *e)
{
	vx_view_fail(ctx, req, ino, v, e);
}

/* The one thread that has nothing to do keeps the deadlines. */
void vx_session_wait(struct vx_session *s)
{
	bool over = false;

	while (!over) {
		uint64_t next = vx_pendings_expire(&s->fs->pending, fail_late, s->fs);
		struct timespec t = {.tv_sec = (time_t)(next / VX_SEC), .tv_nsec = (long)(next % VX_SEC)};

		pthread_mutex_lock(&s->mtx);
		while (s->running && !s->ending && pthread_cond_timedwait(&s->change, &s->mtx, &t) != ETIMEDOUT)
			continue;
		over = !s->running || s->ending;
		pthread_mutex_unlock(&s->mtx);
	}
}

/* ---- the end ---- */

void vx_session_stop(struct vx_session *s)
{
	pthread_mutex_lock(&s->mtx);
	s->ending = true;
	pthread_cond_broadcast(&s->change);
	pthread_mutex_unlock(&s->mtx);
}

static bool threads_run(struct vx_session *s)
{
	bool run;

	pthread_mutex_lock(&s->mtx);
	run = s->running > 0;
	pthread_mutex_unlock(&s->mtx);
	return run;
}

/* They have been told to; one that sleeps in read is woken. */
static void stop_threads(struct vx_session *s)
{
	while (threads_run(s)) {
		for (unsigned i = 0; i < s->started; i++)
			pthread_kill(s->thread[i], WAKE_SIGNAL);
		wait_for_threads(s, vx_now_ns() + 10 * VX_MS);
	}
	for (unsigned i = 0; i < s->started; i++)
		pthread_join(s->thread[i], NULL);
	s->started = 0;
}

bool vx_session_drain(struct vx_session *s, uint64_t deadline_ns)
{
	fuse_session_exit(s->fuse);
	stop_threads(s);
	return vx_pendings_wait_none(&s->fs->pending, deadline_ns);
}

void vx_session_end(struct vx_session *s, bool wait)
{
	if (threads_run(s)) {
		vx_pendings_cancel_all(&s->fs->pending);
		if (wait && !wait_for_threads(s, vx_now_ns() + END_DEADLINE_NS))
			vx_log(VX_LOG_WARN, "clients still have files open: they keep what they mapped");
	}
	fuse_session_exit(s->fuse);
	stop_threads(s);
	vx_pendings_cancel_all(&s->fs->pending);
}

void vx_session_free(struct vx_session **ps)
{
	struct vx_session *s = vx_steal(*ps);

	if (!s)
		return;
	if (s->fuse)
		fuse_session_destroy(s->fuse); /* closes the device */
	pthread_cond_destroy(&s->change);
	pthread_mutex_destroy(&s->mtx);
	free(s);
}
