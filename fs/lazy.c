/* SPDX-License-Identifier: Apache-2.0
 * A READ becomes one job: the run of bytes is cut into boxes (at most seven) that land in a buffer in file order. A
 * byte is touched twice on its way: decoded into the buffer, copied by the kernel into its page cache.
 */
#include "fs/lazy.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/ledger.h"
#include "fs/view.h"
#include "sched/track.h"
#include "vol/rows.h"

#include <string.h>

#define AHEAD_MAX ((uint64_t)16 << 20) /* bytes fetched ahead of one reader */

struct vx_lazy {
	struct vx_fs *fs;
	struct vx_view view;
	uint32_t width;
	_Atomic unsigned refs;
	pthread_mutex_t mtx; /* innermost: guards track */
	struct vx_track track;
	_Atomic bool ahead_busy; /* one fetch-ahead job at a time */
};

struct lazy_read {
	struct vx_pending pending;
	struct vx_job job;
	struct vx_lazy *file;
	struct vx_buf *buf;
	uint64_t skip; /* bytes of the buffer before what was asked for */
	size_t size;
	uint64_t t0;
};

struct ahead {
	struct vx_job job;
	struct vx_lazy *file;
};

struct vx_lazy *vx_lazy_open(struct vx_fs *fs, const struct vx_view *v)
{
	struct vx_lazy *z = calloc(1, sizeof *z);

	if (!z)
		return NULL;
	z->fs = fs;
	z->view = *v;
	z->width = vx_dtype_width(v->src->meta->dtype);
	z->refs = 1;
	pthread_mutex_init(&z->mtx, NULL);
	return z;
}

/* While something is done for the file. */
static void hold(struct vx_lazy *z)
{
	z->fs->lazy_work++;
	z->refs++;
}

static void unref(struct vx_lazy *z)
{
	if (--z->refs)
		return;
	pthread_mutex_destroy(&z->mtx);
	free(z);
}

static void drop(struct vx_lazy *z)
{
	z->fs->lazy_work--;
	unref(z);
}

void vx_lazy_close(struct vx_lazy *z)
{
	unref(z);
}

/* The wants of voxels [i0, i1) of the file; `to` NULL: only fetch. */
static void job_cut(const struct vx_lazy *z, struct vx_job *j, uint64_t i0, uint64_t i1, uint8_t *to)
{
	const struct vx_box *box = &z->view.box;
	const struct vx_scale *s = &z->view.src->meta->scales[z->view.mip];
	uint64_t n[3] = {vx_box_extent(box, 0), vx_box_extent(box, 1), vx_box_extent(box, 2)};
	struct vx_run_piece piece[VX_RUN_PIECES_MAX];
	struct vx_place whole = vx_place_packed(to, n, z->width);

	j->src = z->view.src;
	j->mip = z->view.mip;
	j->nwants = vx_run_cut(box, z->view.src->meta->channels, i0, i1, piece);
	for (unsigned i = 0; i < j->nwants; i++) {
		struct vx_want *w = &j->want[i];

		w->box = piece[i].box;
		w->chan = piece[i].chan;
		w->nchan = piece[i].nchan;
		w->grid = vx_scale_best_grid(s, box); /* of the file, so that all reads share chunks */
		w->to = whole;
		if (to)
			w->to.at = to + (piece[i].first - i0) * z->width;
	}
}

static void read_free(struct vx_pending *p)
{
	struct lazy_read *r = vx_container_of(p, struct lazy_read, pending);

	vx_buf_put(r->buf);
	drop(r->file);
	free(r);
}

static bool read_cancel(struct vx_pending *p)
{
	struct lazy_read *r = vx_container_of(p, struct lazy_read, pending);

	vx_engine_cancel(r->file->fs->engine, &r->job);
	return false; /* the job's done comes and cleans up */
}

static void read_done(struct vx_job *j, const struct vx_err *e)
{
	struct lazy_read *r = vx_container_of(j, struct lazy_read, job);
	struct vx_fs *fs = r->file->fs;
	fuse_req_t req = vx_pending_claim(&fs->pending, &r->pending);

	VX_TIMING(read, vx_now_ns() - r->t0);
	if (req && e->code) {
		vx_view_fail(fs, req, r->pending.ino, &r->file->view, e);
	} else if (req) {
		VX_COUNT_ADD(fuse_read_bytes, r->size);
		fuse_reply_buf(req, (const char *)r->buf->data + r->skip, r->size);
	}
	read_free(&r->pending);
}

static void ahead_done(struct vx_job *j, const struct vx_err *e)
{
	struct ahead *a = vx_container_of(j, struct ahead, job);

	(void)e; /* whoever really reads there will hear of it */
	a->file->ahead_busy = false;
	drop(a->file);
	free(a);
}

static void fetch_ahead(struct vx_lazy *z, uint32_t client, uint64_t lo, uint64_t hi)
{
	struct ahead *a;

	if (atomic_exchange(&z->ahead_busy, true))
		return;
	a = calloc(1, sizeof *a);
	if (!a) {
		z->ahead_busy = false;
		return;
	}
	hold(z);
	a->file = z;
	a->job.client = client;
	a->job.prio = VX_PRIO_PREFETCH;
	a->job.done = ahead_done;
	job_cut(z, &a->job, lo / z->width, hi / z->width, NULL);
	vx_engine_submit(z->fs->engine, &a->job);
}

static bool look_ahead(struct vx_lazy *z, uint64_t off, uint64_t len, uint64_t *lo, uint64_t *hi)
{
	/* Chunks fetched ahead must still be there when their reader comes. */
	uint64_t window = vx_min_u64(AHEAD_MAX, vx_cache_limit(z->fs->cache) / 16);
	bool worth;

	pthread_mutex_lock(&z->mtx);
	worth = vx_track_read(&z->track, off, len, z->view.bytes, window, lo, hi);
	pthread_mutex_unlock(&z->mtx);
	return worth;
}

static struct lazy_read *read_new(struct vx_lazy *z, fuse_ino_t ino, size_t size, uint64_t off)
{
	uint64_t i0 = off / z->width, i1 = vx_div_up(off + size, z->width);
	struct lazy_read *r = calloc(1, sizeof *r);

	if (!r)
		return NULL;
	r->buf = vx_buf_get(z->fs->pool, (i1 - i0) * z->width);
	if (!r->buf) {
		free(r);
		return NULL;
	}
	hold(z);
	r->file = z;
	r->pending.ino = ino;
	r->pending.view = &z->view;
	r->size = size;
	r->skip = off - i0 * z->width;
	r->t0 = vx_now_ns();
	r->pending.cancel = read_cancel;
	r->pending.free = read_free;
	r->job.prio = VX_PRIO_FOREGROUND;
	r->job.done = read_done;
	job_cut(z, &r->job, i0, i1, r->buf->data);
	return r;
}

void vx_lazy_read(struct vx_lazy *z, fuse_req_t req, fuse_ino_t ino, size_t size, uint64_t off)
{
	uint32_t client = (uint32_t)fuse_req_ctx(req)->pid;
	struct lazy_read *r;
	uint64_t lo, hi;
	bool ahead;

	size = off >= z->view.bytes ? 0 : vx_min_u64(size, z->view.bytes - off);
	if (!size) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	ahead = look_ahead(z, off, size, &lo, &hi);
	hold(z); /* the read may end, and its file with it, before the fetch-ahead is sent */
	r = read_new(z, ino, size, off);
	if (!r) {
		fuse_reply_err(req, ENOMEM);
	} else {
		r->job.client = client;
		if (vx_pending_begin(&z->fs->pending, &r->pending, req))
			vx_engine_submit(z->fs->engine, &r->job);
		else
			read_free(&r->pending);
	}
	if (r && ahead)
		fetch_ahead(z, client, lo, hi);
	drop(z);
}
