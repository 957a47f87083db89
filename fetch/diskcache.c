/* SPDX-License-Identifier: Apache-2.0
 * The disk cache's beginning and end, reading of entries, and the queue of what is to be written.
 */
#include "fetch/diskcache_impl.h"

#include "base/clock.h"
#include "base/ledger.h"
#include "base/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>

#define QUEUE_BYTES ((uint64_t)32 << 20)
#define TOUCH_NS (60 * VX_SEC) /* how exactly the order of last use is kept */
#define HOUR_NS (3600 * VX_SEC)
#define END_NS VX_SEC /* what may be spent at the end on finding out whether there is room for what waits */

uint64_t vx_dc_wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * VX_SEC + (uint64_t)t.tv_nsec;
}

void vx_dc_trouble(struct vx_diskcache *dc, const char *doing, int code)
{
	VX_COUNT(diskcache_io_errors);
	if (!atomic_exchange(&dc->complained, true))
		vx_log(VX_LOG_WARN, "disk cache %s: cannot %s: %s; going on without what it cannot do", dc->opts.dir,
		       doing, strerror(-code));
}

/* ---- reading ---- */

/* What has been used goes last: its time of modification says when. Most reads leave it as it is. */
static void touch(int fd, const struct stat *st, uint64_t now_ns)
{
	uint64_t then_ns = (uint64_t)st->st_mtim.tv_sec * VX_SEC + (uint64_t)st->st_mtim.tv_nsec;

	if (then_ns > now_ns || now_ns - then_ns > TOUCH_NS)
		futimens(fd, NULL);
}

static int read_all(int fd, uint8_t *head, size_t head_len, struct vx_buf *body, size_t len)
{
	struct iovec to[2] = {{head, head_len}, {body ? body->data : NULL, len}};
	ssize_t n;

	do
		n = preadv(fd, to, body ? 2 : 1, 0);
	while (n < 0 && errno == EINTR);
	if (body)
		body->len = len;
	return n >= 0 && (size_t)n == head_len + len ? 0 : -EBADMSG;
}

/* -EBADMSG: it is not the entry. */
static int read_entry(struct vx_diskcache *dc, int fd, const struct vx_entry_id *id, uint64_t size,
		      struct vx_dc_found *ret)
{
	uint8_t head[VX_ENTRY_HEAD + sizeof id->text];
	size_t head_len = VX_ENTRY_HEAD + id->len;
	size_t len = size > head_len ? size - head_len : 0;
	VX_AUTO_BUF struct vx_buf *body = len ? vx_buf_get(dc->pool, len) : NULL;

	if (len && !body)
		return -ENOMEM;
	if (size < head_len || read_all(fd, head, head_len, body, len) < 0 ||
	    !vx_entry_read(&ret->entry, head, head_len, size, id->text, id->len) ||
	    vx_entry_sum(body ? body->data : NULL, len) != ret->entry.payload_sum)
		return -EBADMSG;
	if (!body && !ret->entry.missing && !(body = vx_buf_get(dc->pool, 1)))
		return -ENOMEM;
	ret->body = vx_steal(body);
	return 0;
}

bool vx_dc_get(struct vx_diskcache *dc, const struct vx_entry_id *id, uint64_t cap, struct vx_dc_found *ret)
{
	char name[VX_ENTRY_NAME];
	struct stat st;
	VX_AUTO_CLOSE int fd = -1;
	int r;

	vx_entry_name(id->text, id->len, name);
	fd = openat(dc->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0) {
		if (errno != ENOENT && errno != ELOOP)
			vx_dc_trouble(dc, "read an entry", -errno);
		return false;
	}
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > VX_ENTRY_HEAD + id->len &&
	    (uint64_t)st.st_size - VX_ENTRY_HEAD - id->len > cap)
		return false;
	r = S_ISREG(st.st_mode) ? read_entry(dc, fd, id, (uint64_t)st.st_size, ret) : -EBADMSG;
	if (r == -EBADMSG) {
		VX_COUNT(diskcache_damaged);
		vx_dc_drop(dc, id, st.st_ino);
	}
	if (r < 0)
		return false;
	touch(fd, &st, vx_dc_wall_ns());
	return true;
}

bool vx_dc_is_due(const struct vx_diskcache *dc, const struct vx_entry *e)
{
	uint64_t now_ns = vx_dc_wall_ns(), check_ns = dc->opts.check_ns;
	uint64_t age = e->checked_ns && e->checked_ns <= now_ns ? now_ns - e->checked_ns : UINT64_MAX;

	if (e->missing && age >= dc->opts.missing_ns)
		return true;
	if (check_ns == VX_CHECK_NEVER)
		return false;
	if (check_ns == VX_CHECK_MOUNT)
		return e->checked_ns < dc->started_ns || age == UINT64_MAX;
	return age >= check_ns;
}

/* ---- the queue ---- */

static void queue_op(struct vx_diskcache *dc, struct vx_dc_op *op, const struct vx_entry_id *id)
{
	bool room;

	op->id_len = id->len;
	memcpy(op->id, id->text, id->len);
	op->cost = sizeof *op + id->len + (op->body ? op->body->cap : 0);
	{
		VX_LOCK_SCOPE(&dc->mtx);
		/* Removals come few, and a wrong entry must go. */
		room = op->what == VX_DC_DROP || !dc->waiting_bytes || dc->waiting_bytes + op->cost <= QUEUE_BYTES;
		if (room) {
			dc->waiting_bytes += op->cost;
			vx_list_push_back(&dc->queue, &op->link);
			pthread_cond_signal(&dc->wake);
		}
	}
	if (room)
		return;
	VX_COUNT(diskcache_skipped);
	vx_buf_put(op->body);
	free(op);
}

static struct vx_dc_op *op_new(enum vx_dc_what what, const struct vx_entry_id *id)
{
	struct vx_dc_op *op = calloc(1, sizeof *op + id->len);

	if (op)
		op->what = what;
	return op;
}

void vx_dc_put(struct vx_diskcache *dc, const struct vx_entry_id *id, const struct vx_entry *e, struct vx_buf *body,
	       const uint8_t *payload)
{
	struct vx_dc_op *op = op_new(VX_DC_PUT, id);

	if (!op)
		return;
	op->entry = *e;
	if (body) {
		/* A slice would hold the answer to a request for many, of which others may long be written. */
		op->body = vx_buf_compact(body);
		if (!op->body) {
			free(op);
			return;
		}
		op->payload = op->body->data + (payload - body->data);
	}
	queue_op(dc, op, id);
}

void vx_dc_confirm(struct vx_diskcache *dc, const struct vx_entry_id *id, uint64_t seal)
{
	struct vx_dc_op *op = op_new(VX_DC_CONFIRM, id);

	if (!op)
		return;
	op->entry.seal = seal;
	op->entry.checked_ns = vx_dc_wall_ns();
	queue_op(dc, op, id);
}

void vx_dc_drop(struct vx_diskcache *dc, const struct vx_entry_id *id, ino_t ino)
{
	struct vx_dc_op *op = op_new(VX_DC_DROP, id);

	if (!op)
		return;
	op->ino = ino;
	queue_op(dc, op, id);
}

/* ---- beginning and end ---- */

void vx_diskcache_opts_default(struct vx_diskcache_opts *o)
{
	*o = (struct vx_diskcache_opts){.percent = 10, .check_ns = VX_CHECK_NEVER, .missing_ns = HOUR_NS};
}

static int open_dir(struct vx_diskcache *dc, struct vx_err *e)
{
	const char *dir = dc->opts.dir;
	struct statvfs fs;
	struct stat st;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return vx_fail(e, -errno, "diskcache=%s: cannot make the directory: %s", dir, strerror(errno));
	dc->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dc->dir_fd < 0 || fstat(dc->dir_fd, &st) < 0 || fstatvfs(dc->dir_fd, &fs) < 0)
		return vx_fail(e, -errno, "diskcache=%s: %s", dir, strerror(errno));
	if (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
		return vx_fail(e, -EACCES, "diskcache=%s: must be yours, with nobody else allowed to write there", dir);
	dc->limit = dc->opts.limit ? dc->opts.limit
				   : (uint64_t)((double)fs.f_blocks * (double)fs.f_frsize * dc->opts.percent / 100);
	return 0;
}

static bool is_empty(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	unsigned names = 0;

	if (!d) {
		vx_close_scope(&fd);
		return false;
	}
	while (names <= 2 && readdir(d))
		names++;
	closedir(d);
	return names == 2;
}

/* Tells backup programs to pass by; not in a directory that has other things in it. */
static void write_tag(struct vx_diskcache *dc)
{
	static const char text[] = "Signature: 8a477f597d28d172789f06886806bc55\n"
				   "# This directory holds a cache of voxfs. It may be removed at any time.\n";
	VX_AUTO_CLOSE int fd = -1;

	if (!is_empty(dc->dir_fd))
		return;
	fd = openat(dc->dir_fd, "CACHEDIR.TAG", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0 && write(fd, text, sizeof text - 1) < 0)
		vx_dc_trouble(dc, "write", -errno);
}

int vx_diskcache_new(struct vx_diskcache **ret, const struct vx_diskcache_opts *o, struct vx_pool *pool,
		     struct vx_err *e)
{
	struct vx_diskcache *dc = calloc(1, sizeof *dc);
	int r;

	if (!dc)
		return vx_no_memory(e);
	dc->opts = *o;
	dc->pool = pool;
	dc->dir_fd = dc->usage_fd = dc->evict.lock_fd = -1;
	dc->started_ns = vx_dc_wall_ns();
	vx_mutex_init(&dc->mtx, VX_RANK_DISKCACHE);
	vx_cond_init(&dc->wake);
	vx_list_init(&dc->queue);
	dc->opts.dir = strdup(o->dir);
	r = dc->opts.dir ? open_dir(dc, e) : vx_no_memory(e);
	if (r == 0) {
		write_tag(dc);
		r = -pthread_create(&dc->thread, NULL, vx_dc_run, dc);
		if (r < 0)
			vx_fail(e, r, "cannot start a thread: %s", strerror(-r));
		dc->started = r == 0;
	}
	if (r < 0) {
		vx_diskcache_free(&dc);
		return r;
	}
	*ret = dc;
	return 0;
}

void vx_diskcache_free(struct vx_diskcache **pdc)
{
	struct vx_diskcache *dc = vx_steal(*pdc);

	if (!dc)
		return;
	{
		VX_LOCK_SCOPE(&dc->mtx);
		dc->end_by_ns = vx_now_ns() + END_NS;
		dc->quit = true;
		pthread_cond_signal(&dc->wake);
	}
	if (dc->started)
		pthread_join(dc->thread, NULL);
	vx_close_scope(&dc->usage_fd);
	vx_close_scope(&dc->dir_fd);
	pthread_cond_destroy(&dc->wake);
	vx_mutex_done(&dc->mtx);
	free((char *)dc->opts.dir);
	free(dc);
}

void vx_diskcache_stats(struct vx_diskcache *dc, struct vx_diskcache_stats *ret)
{
	*ret = (struct vx_diskcache_stats){.limit = dc->limit, .bytes = dc->bytes};
	VX_LOCK_SCOPE(&dc->mtx);
	ret->waiting_bytes = dc->waiting_bytes;
}
