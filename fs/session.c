/* SPDX-License-Identifier: Apache-2.0
 * Two threads read requests: no handler waits, so more would only wake each other. The end of the mount reaches them as
 * ENODEV; a thread that still sleeps in read is woken by a signal that does nothing else.
 */
#include "fs/session.h"
#include "base/clock.h"
#include "base/log.h"
#include "fs/passthrough.h"
#include "fs/view.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define FUSE_THREADS 2
#define END_DEADLINE_NS (3 * VX_SEC)
#define WAKE_SIGNAL SIGUSR2
#define READ_AHEAD_KB 1024

struct vx_session {
	struct vx_fs *fs;
	struct fuse_session *fuse;
	struct vx_init_patch patch;
	int fd;
	char *mountpoint;
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

static int share(void *ctx, int fd, struct vx_err *e)
{
	struct vx_session *s = ctx;
	int id = vx_backing_open(s->fd, fd);

	return id > 0 ? id : vx_fail(e, id, "cannot register a backing file: %s", strerror(-id));
}

static void unshare_id(void *ctx, int id)
{
	struct vx_session *s = ctx;

	vx_backing_close(s->fd, id);
}

/* Registers one probe object: the only reliable answer to "may we, here, now?" */
static int probe(struct vx_session *s, struct vx_err *e)
{
	struct vx_arena *a = vx_cache_arena(s->fs->cache);
	struct vx_object o;
	int fd, id = vx_object_create(a, 4096, &o, NULL, e);

	if (id < 0)
		return id;
	fd = vx_object_open_shared(a, &o, e);
	id = fd < 0 ? fd : share(s, fd, e);
	if (id > 0)
		unshare_id(s, id);
	if (fd >= 0)
		close(fd);
	vx_object_destroy(a, &o);
	return id > 0 ? 0 : id;
}

static void decide(void)
{
	struct vx_session *s = the_session;
	struct vx_sharer sharer = {.ctx = s, .share = share, .unshare = unshare_id};
	struct vx_err e = {0};

	if (s->fs->opt->zerocopy == VX_ZEROCOPY_OFF)
		snprintf(s->reason, sizeof s->reason, "zerocopy=off was asked for");
	else if (!vx_arena_is_tmpfs(vx_cache_arena(s->fs->cache)))
		snprintf(s->reason, sizeof s->reason, "%s", vx_arena_note(vx_cache_arena(s->fs->cache)));
	else if (!s->patch.offered)
		snprintf(s->reason, sizeof s->reason, "the kernel does not offer FUSE passthrough (6.9 and later do)");
	else if (probe(s, &e) < 0)
		snprintf(s->reason, sizeof s->reason, "%s", e.why);
	else
		s->passthrough = true;
	if (!s->passthrough)
		return;
	vx_cache_set_sharer(s->fs->cache, &sharer);
	snprintf(s->reason, sizeof s->reason, "the kernel maps objects of the cache%s%s",
		 vx_arena_note(vx_cache_arena(s->fs->cache))[0] ? "; " : "",
		 vx_arena_note(vx_cache_arena(s->fs->cache)));
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

/* ---- mounting ---- */

static int mount_it(struct vx_session *s, struct vx_err *e)
{
	const struct vx_options *o = s->fs->opt;
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	const char *shown = s->fs->nsources == 1 ? s->fs->sources[0]->url : o->source;
	char *fsname = NULL;
	int r = 0;

	/* fsname is a mount option too: commas and backslashes in it are escaped by libfuse's own rule. */
	if (asprintf(&fsname, "-ofsname=%s", shown) < 0)
		return vx_fail(e, -ENOMEM, "no memory");
	for (char *c = fsname; *c; c++)
		if (*c == ',' || *c == '\\')
			*c = '_';
	if (fuse_opt_add_arg(&args, "voxfs") || fuse_opt_add_arg(&args, fsname) ||
	    fuse_opt_add_arg(&args, "-osubtype=voxfs,ro,nosuid,nodev,noexec,default_permissions") ||
	    (o->allow_other && fuse_opt_add_arg(&args, "-oallow_other")))
		r = vx_fail(e, -ENOMEM, "no memory");
	free(fsname);
	if (r == 0) {
		s->fuse = fuse_session_new(&args, &vx_ops, sizeof vx_ops, s->fs);
		if (!s->fuse)
			r = vx_fail(e, -EINVAL, "libfuse refuses the session");
	}
	if (r == 0 && fuse_session_mount(s->fuse, o->mountpoint)) {
		fuse_session_destroy(s->fuse);
		s->fuse = NULL;
		r = vx_fail(e, -EIO, "cannot mount at %s", o->mountpoint);
	}
	fuse_opt_free_args(&args);
	return r;
}

/* A dead mount answers every stat with ENOTCONN: say so instead of failing obscurely. */
static int check_mountpoint(const char *path, struct vx_err *e)
{
	VX_AUTO_CLOSE int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0) /* a dead mount can be opened, but not asked */
		return 0;
	if (errno == ENOTCONN)
		return vx_fail(e, -ENOTCONN, "%s is a mount whose server is gone: umount -l it first", path);
	return vx_fail(e, -errno, "%s cannot be a mount point: %s", path, strerror(errno));
}

int vx_session_new(struct vx_session **ret, struct vx_fs *fs, struct vx_err *e)
{
	struct vx_session *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return vx_fail(e, -ENOMEM, "no memory");
	s->fs = fs;
	s->fd = -1;
	s->once = (pthread_once_t)PTHREAD_ONCE_INIT;
	pthread_mutex_init(&s->mtx, NULL);
	vx_cond_init(&s->change);
	s->mountpoint = realpath(fs->opt->mountpoint, NULL);
	r = check_mountpoint(fs->opt->mountpoint, e);
	if (r == 0)
		r = mount_it(s, e);
	if (r < 0) {
		vx_session_free(&s);
		return r;
	}
	s->fd = fuse_session_fd(s->fuse);
	fcntl(s->fd, F_SETFD, FD_CLOEXEC);
	s->patch.wanted = fs->opt->zerocopy != VX_ZEROCOPY_OFF;
	vx_passthrough_install(s->fuse, &s->patch);
	the_session = s;
	fs->session = s;
	*ret = s;
	return 0;
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

/* The kernel's own read-ahead is 128 KiB by default, far too little where pages come through us. */
static void raise_read_ahead(struct vx_session *s)
{
	char line[4096], path[128];
	FILE *f = fopen("/proc/self/mountinfo", "re");
	unsigned major, minor;

	while (f && fgets(line, sizeof line, f)) {
		char at[2048];

		if (sscanf(line, "%*u %*u %u:%u %*s %2047s", &major, &minor, at) != 3 || !s->mountpoint ||
		    strcmp(at, s->mountpoint))
			continue;
		snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major, minor);
		FILE *k = fopen(path, "we");
		if (k) {
			fprintf(k, "%d\n", READ_AHEAD_KB);
			fclose(k);
		}
	}
	if (f)
		fclose(f);
}

int vx_session_start(struct vx_session *s, struct vx_err *e)
{
	struct sigaction sa = {.sa_handler = do_nothing};

	sigaction(WAKE_SIGNAL, &sa, NULL);
	for (unsigned i = 0; i < FUSE_THREADS; i++) {
		int r;

		pthread_mutex_lock(&s->mtx);
		s->running++;
		pthread_mutex_unlock(&s->mtx);
		r = pthread_create(&s->thread[i], NULL, session_main, s);
		if (r) {
			s->running--;
			return vx_fail(e, -r, "cannot start a thread: %s", strerror(r));
		}
		pthread_setname_np(s->thread[i], "vx-fuse");
		s->started++;
	}
	pthread_mutex_lock(&s->mtx);
	while (!s->ready && s->running)
		pthread_cond_wait(&s->change, &s->mtx);
	pthread_mutex_unlock(&s->mtx);
	if (!s->ready)
		return vx_fail(e, -EIO, "the kernel ended the mount at once");
	raise_read_ahead(s);
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

static void detach(struct vx_session *s)
{
	pid_t pid;

	if (!s->mountpoint || umount2(s->mountpoint, MNT_DETACH) == 0 || geteuid() == 0)
		return;
	pid = fork();
	if (pid == 0) {
		execlp("fusermount3", "fusermount3", "-u", "-q", "-z", "--", s->mountpoint, (char *)NULL);
		_exit(1);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static bool threads_run(struct vx_session *s)
{
	bool run;

	pthread_mutex_lock(&s->mtx);
	run = s->running > 0;
	pthread_mutex_unlock(&s->mtx);
	return run;
}

void vx_session_end(struct vx_session *s)
{
	if (threads_run(s)) {
		detach(s);
		vx_pendings_cancel_all(&s->fs->pending);
		if (!wait_for_threads(s, vx_now_ns() + END_DEADLINE_NS))
			vx_log(VX_LOG_WARN, "clients still have files open: they keep what they mapped");
	}
	fuse_session_exit(s->fuse);
	while (threads_run(s)) {
		for (unsigned i = 0; i < s->started; i++)
			pthread_kill(s->thread[i], WAKE_SIGNAL);
		wait_for_threads(s, vx_now_ns() + 10 * VX_MS);
	}
	for (unsigned i = 0; i < s->started; i++)
		pthread_join(s->thread[i], NULL);
	s->started = 0;
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
	free(s->mountpoint);
	free(s);
}
