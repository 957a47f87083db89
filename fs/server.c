/* SPDX-License-Identifier: Apache-2.0
 * In order: take the identity, enter the sandbox, read the metadata (from the table, when another server has read it
 * before), and only when the keeper says so touch the connection and what the server before has left.
 */
#include "fs/server.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "fs/confine.h"
#include "fs/faults.h"
#include "fs/list.h"
#include "fs/notify.h"
#include "fs/session.h"
#include "fs/warm.h"
#include "sched/docs.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/vfs.h>

#define DRAIN_NS (2 * VX_SEC)

struct server {
	struct vx_options *o;
	struct vx_inherited inherited;
	struct vx_broker *broker;
	struct vx_table *table;
	struct vx_fs *fs;
	struct vx_session *session;
	struct vx_sandbox_report sandbox;
	int null;
	_Atomic bool ending; /* the keeper has asked for the end, or is gone */
	_Atomic bool draining, orphaned;
};

static int complain(const struct server *s, const struct vx_err *e)
{
	if (s->inherited.out == VX_OUT_SYSLOG)
		vx_log(VX_LOG_ERROR, "%s", e->why);
	else
		fprintf(stderr, "voxfs: %s\n", e->why);
	return VX_EXIT_MOUNT;
}

/* The keeper has the signals of a terminal or an init system; it says what they mean. */
static void leave_signals_to_keeper(void)
{
	static const int theirs[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGQUIT};

	for (size_t i = 0; i < VX_ARRAY_LEN(theirs); i++)
		signal(theirs[i], SIG_IGN);
}

/* While that can still be opened. */
static void reach_nothing(struct server *s)
{
	s->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	vx_log_reach_syslog();
	vx_warmer_look();
}

static void leave_terminal(struct server *s)
{
	if (s->inherited.out == VX_OUT_DETACH && s->null >= 0) {
		vx_log_to_syslog();
		for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
			dup2(s->null, fd);
	}
	if (s->null >= 0)
		close(s->null);
}

/* What is named relative to where the user was is named from the root. By its text alone: that folder may lie below the
 * mount by now, and a server must not ask there. */
static int make_absolute(char **path, const char *directory)
{
	char *whole;

	if (!*path || (*path)[0] == '/' || strstr(*path, "://"))
		return 0;
	if (asprintf(&whole, "%s/%s", directory, *path) < 0)
		return -ENOMEM;
	free(*path);
	*path = whole;
	return 0;
}

static int name_from_root(struct server *s)
{
	int r = make_absolute(&s->o->source, s->inherited.directory);

	return r < 0 ? r : make_absolute(&s->o->diskcache, s->inherited.directory);
}

/* The arena is as large as the keeper made it, whatever part of the machine's memory that is by now. */
static void fit_arena(struct vx_options *o, int arena)
{
	struct statfs f;

	if (arena < 0 || fstatfs(arena, &f) < 0)
		return;
	if (vx_div_up(o->cache, (uint64_t)f.f_bsize) != f.f_blocks)
		o->cache = (uint64_t)f.f_blocks * (uint64_t)f.f_bsize;
}

/* ---- news from the keeper ---- */

/* Waits for the word to begin. */
static int await_start(struct server *s, struct vx_tell *t, int *fd, struct vx_err *e)
{
	int r;

	if (vx_broker_tell(s->broker, VX_NEWS_PREPARED) < 0 || (r = vx_broker_hear(s->broker, t, fd)) < 0)
		return vx_fail(e, -EPIPE, "the keeper is gone");
	if (t->news == VX_NEWS_START && *fd >= 0)
		return 0;
	if (*fd >= 0)
		close(*fd);
	return vx_fail(e, -ECANCELED, "the mount ends");
}

static void *listen_main(void *arg)
{
	struct server *s = arg;
	struct vx_tell t;
	int r;

	pthread_setname_np(pthread_self(), "vx-listen");
	while ((r = vx_broker_hear(s->broker, &t, NULL)) == 0 && t.news != VX_NEWS_STOP && t.news != VX_NEWS_DRAIN) {
		if (t.news == VX_NEWS_ALIVE_ASKED)
			vx_broker_tell(s->broker, VX_NEWS_ALIVE);
		s->fs->refused += t.news == VX_NEWS_REFUSED;
	}
	if (r == 0 && t.news == VX_NEWS_DRAIN)
		s->draining = true;
	else
		s->ending = true;
	s->orphaned = r < 0;
	vx_session_stop(s->session);
	return NULL;
}

/* ---- what the server before has left ---- */

static void on_suspect(void *ctx, const struct vx_mark_key *k, unsigned deaths)
{
	struct server *s = ctx;
	const struct vx_source *src = vx_source_find(s->fs->sources, s->fs->nsources, k->source);
	const struct vx_scale *scale = src && k->mip < src->meta->nscales ? &src->meta->scales[k->mip] : NULL;
	struct vx_cell cell = {
	    .at = {k->cell[0], k->cell[1], k->cell[2]}, .slab = k->slab, .time = src ? src->time : 0};
	char name[512] = "?";

	if (scale && k->grid < scale->ngrids && k->slab < scale->grids[k->grid].slabs &&
	    cell.at[0] < scale->grids[k->grid].cells[0] && cell.at[1] < scale->grids[k->grid].cells[1] &&
	    cell.at[2] < scale->grids[k->grid].cells[2])
		src->meta->format->chunk_name(scale, k->grid, &cell, name, sizeof name);
	vx_log(VX_LOG_WARN, "the server died while it worked on chunk %s of %s: %u time%s%s", name,
	       src ? src->name : "?", deaths, deaths == 1 ? "" : "s",
	       deaths >= VX_TABLE_POISON ? "; it is not tried again" : "");
}

/* Was it the work that killed it? Not when somebody else did. */
static void judge_death(struct server *s, int death)
{
	if (death == 0)
		vx_table_pardon(s->table); /* the first server, or a new program */
	if (death == 0 || death == SIGKILL || death == SIGTERM)
		vx_table_forgive(s->table);
	else
		vx_table_count_death(s->table, on_suspect, s);
}

static int begin(struct server *s, const struct vx_tell *t, int fd, struct vx_err *e)
{
	int r;

	s->fs->starts = t->starts;
	s->fs->keeper_pid = t->keeper_pid;
	judge_death(s, t->death);
	r = vx_session_new(&s->session, s->fs, fd, e);
	if (r < 0)
		return r;
	if (vx_session_resume(s->session))
		vx_session_passthrough(s->session);
	r = vx_fs_take_over(s->fs, e);
	if (r == 0)
		r = vx_notifier_start(&s->fs->notifier, s->fs, e);
	return r < 0 ? r : vx_session_start(s->session, e);
}

/* ---- the end ---- */

/* What is not answered by then, the next server will be asked again. Nothing else of this process matters: the table
 * holds what the next one needs. */
static void hand_over(struct server *s, pthread_t listener)
{
	vx_notifier_quiet(s->fs->notifier);
	vx_session_drain(s->session, vx_now_ns() + DRAIN_NS);
	pthread_join(listener, NULL); /* it has heard its last word */
	_exit(0);
}

static void end_session(struct server *s, bool wait)
{
	vx_notifier_quiet(s->fs->notifier);
	vx_session_end(s->session, wait);
	vx_notifier_free(&s->fs->notifier);
	vx_arena_set_sharer(vx_cache_arena(s->fs->cache), NULL); /* the connection's end gives back what it knew */
}

static void end(struct server *s)
{
	if (!s->ending)
		vx_broker_tell(s->broker, VX_NEWS_UNMOUNTED);
	end_session(s, !s->orphaned); /* without a keeper nobody has taken the mount away */
}

static int serve(struct server *s, struct vx_err *e)
{
	struct vx_tell t;
	pthread_t listener;
	int fd, r = await_start(s, &t, &fd, e);

	if (r < 0)
		return r;
	r = begin(s, &t, fd, e);
	if (r == 0 && (r = -pthread_create(&listener, NULL, listen_main, s)) < 0)
		vx_fail(e, r, "cannot start a thread: %s", strerror(-r));
	if (r < 0) {
		if (s->session) /* the mount is there, and the keeper's to give to another or to take away */
			end_session(s, false);
		return r;
	}
	leave_terminal(s);
	vx_broker_tell(s->broker, VX_NEWS_SERVING);
	vx_session_wait(s->session);
	if (s->draining)
		hand_over(s, listener);
	end(s);
	vx_broker_hush(s->broker);
	pthread_join(listener, NULL);
	return 0;
}

int vx_server_run(struct vx_options *o, const struct vx_inherited *h)
{
	struct server s = {.o = o, .inherited = *h};
	struct vx_arena *arena = NULL;
	struct vx_err e = {0};
	int r;

	prctl(PR_SET_NAME, "voxfs");
	leave_signals_to_keeper();
	reach_nothing(&s);
	vx_warmer_permit();
	fit_arena(o, h->arena);
	if (h->out == VX_OUT_SYSLOG)
		vx_log_to_syslog();
	r = name_from_root(&s);
	if (r == 0)
		r = vx_broker_new(&s.broker, h);
	if (r < 0)
		vx_no_memory(&e);
	if (r == 0)
		r = vx_table_attach(&s.table, h->table, &e);
	if (r == 0)
		r = vx_confine(o, s.table, h, &s.sandbox, &e);
	if (r == 0)
		r = vx_arena_on(&arena, h->arena, vx_table_note(s.table), &e);
	if (r == 0)
		r = vx_fs_new(&s.fs, o, h->list, arena, s.table, s.broker, &e);
	if (r == 0) {
		s.fs->sandbox = &s.sandbox;
		vx_faults_catch(s.table);
		r = serve(&s, &e);
	}
	vx_fs_free(&s.fs);
	vx_session_free(&s.session); /* last: until its end the cache may give back what it registered */
	vx_table_detach(&s.table);
	vx_broker_free(&s.broker);
	return r < 0 && !s.ending ? complain(&s, &e) : 0;
}

int vx_server_try(const struct vx_options *o)
{
	struct vx_err e = {0};
	struct vx_fs *fs = NULL;
	int list, r = vx_list_hold(o->source, &list, &e);

	if (r == 0)
		r = vx_fs_new(&fs, o, list, NULL, NULL, NULL, &e);
	vx_fs_free(&fs);
	if (list != VX_NO_LIST)
		close(list);
	if (r < 0)
		fprintf(stderr, "voxfs: %s\n", e.why);
	return r < 0 ? VX_EXIT_MOUNT : 0;
}
