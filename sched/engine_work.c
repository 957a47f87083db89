/* SPDX-License-Identifier: Apache-2.0
 * What a worker does with one chunk. First what is here already: the kept chunk, or boxes that hold the parts. Then the
 * store: read at once when local, asked for when remote. When bytes are there: unpack, decode each part straight into
 * its place, keep the chunk if no box took it whole.
 *
 * A chunk leaves the task table only after it is either kept or marked as landed in a box being filled; so whoever asks
 * for it at any moment finds the task, the kept chunk or the box, and never fetches it again.
 */
#include "base/clock.h"
#include "base/ledger.h"
#include "sched/engine_impl.h"

#include <stdio.h>
#include <string.h>

#define CHARGE_MIN ((uint64_t)64 << 10)

/* What the parts of a task are served from. */
struct supply {
	struct vx_buf *payload; /* unpacked chunk, or NULL */
	bool zeros;             /* a missing chunk that counts as fill values */
	struct vx_err err;
};

static struct vx_chunk_form form_of(const struct vx_task *t)
{
	return vx_scale_form(t->src->meta, &t->src->meta->scales[t->mip], t->key.grid, &t->key.cell);
}

static void fetch_init(struct vx_fetch *f, const struct vx_task *t);

static void prefix_chunk(const struct vx_task *t, struct vx_err *e)
{
	const struct vx_scale *s = &t->src->meta->scales[t->mip];
	char name[256];

	if (t->src->meta->format->chunk_name(s, t->key.grid, &t->key.cell, name, sizeof name) < 0)
		snprintf(name, sizeof name, "%.200s/...", s->key);
	vx_fail_prefix(e, "chunk %s", name);
}

/* ---- parts ---- */

static struct vx_place place_of(const struct vx_part *p, const struct vx_box *part, uint32_t width)
{
	const struct vx_want *w = &p->job->want[p->want];
	struct vx_place to = vx_place_at(&w->to, &w->box, part, width);

	to.at += (p->chan - w->chan) * to.chan;
	return to;
}

static void extents(const struct vx_box *b, uint64_t n[3])
{
	for (int d = 0; d < 3; d++)
		n[d] = vx_box_extent(b, d);
}

static void mark_landed(const struct vx_task *t, const struct vx_part *p)
{
	struct vx_cbox *b = p->job->into;
	uint64_t bit;

	if (!b || p->want != 0 || !vx_cbox_bit(b, &t->key.cell, &bit))
		return;
	atomic_fetch_or(&b->landed[bit / 64], (uint64_t)1 << (bit % 64));
}

static int serve_part(const struct vx_task *t, const struct vx_part *p, const struct supply *s, struct vx_err *e)
{
	const struct vx_scale *scale = &t->src->meta->scales[t->mip];
	const struct vx_want *want = &p->job->want[p->want];
	struct vx_chunk_form form = form_of(t);
	struct vx_place to = place_of(p, &p->box, form.width);
	struct vx_box rel;
	uint64_t n[3];

	if (!want->to.at)
		return 0;
	if (s->zeros) {
		extents(&p->box, n);
		vx_place_fill(&to, n, p->nchan, form.width, scale->fill);
		return 0;
	}
	form.pick.first = p->chan - t->chan;
	form.pick.some = p->nchan;
	for (int d = 0; d < 3; d++) {
		rel.lo[d] = p->box.lo[d] - t->cell_box.lo[d];
		rel.hi[d] = p->box.hi[d] - t->cell_box.lo[d];
	}
	return scale->codec->decode(&form, s->payload->data, s->payload->len, &rel, &to, e);
}

static uint64_t part_bytes(const struct vx_task *t, const struct vx_part *p)
{
	uint64_t voxels = 0;

	vx_box_voxels(&p->box, &voxels);
	return voxels * p->nchan * vx_dtype_width(t->src->meta->dtype);
}

/* Copies a part from boxes that hold it; false when they do not. */
static bool serve_from_boxes(struct vx_worker *w, const struct vx_task *t, const struct vx_part *p)
{
	struct vx_engine *g = w->engine;
	struct vx_piece piece[VX_PIECES_MAX];
	const struct vx_want *want = &p->job->want[p->want];
	uint32_t width = vx_dtype_width(t->src->meta->dtype);
	unsigned n;

	if (!want->to.at)
		return false;
	n = vx_cache_cover(g->cache, t->src, t->mip, t->key.grid, &t->key.cell, &p->box, piece);
	for (unsigned i = 0; i < n; i++) {
		struct vx_place to = place_of(p, &piece[i].box, width);
		uint64_t ext[3];

		extents(&piece[i].box, ext);
		piece[i].from.at += p->chan * piece[i].from.chan;
		vx_place_copy(&to, &piece[i].from, ext, p->nchan, width);
	}
	if (!n)
		return false;
	vx_cache_uncover(g->cache, piece, n);
	VX_COUNT(chunks_copied);
	VX_COUNT_ADD(chunks_copied_bytes, part_bytes(t, p));
	mark_landed(t, p);
	return true;
}

/* Moves the parts that wait at the task to `to`, for this worker alone. */
static void take_parts_locked(struct vx_task *t, struct vx_link *to)
{
	struct vx_link *l;

	vx_list_splice(to, &t->parts);
	for (l = to->next; l != to; l = l->next)
		vx_list_entry(l, struct vx_part, in_task)->taken = true;
}

/* ---- ending a task ---- */

/* Frees the task if nobody wants it any more. */
static bool end_if_unwanted_locked(struct vx_engine *g, struct vx_task *t)
{
	if (!vx_list_empty(&t->parts))
		return false;
	vx_task_free_locked(g, t);
	return true;
}

/* Settles served parts. Returns true when the task is over and gone; false when more wishes have joined meanwhile: they
 * are now in `parts`. */
static bool settle(struct vx_engine *g, struct vx_task *t, struct vx_link *parts, const struct vx_err *e)
{
	struct vx_link ended;
	bool over;

	vx_list_init(&ended);
	{
		VX_LOCK_SCOPE(&g->mtx);
		vx_parts_settle_locked(g, parts, e, &ended);
		over = end_if_unwanted_locked(g, t);
		if (!over)
			take_parts_locked(t, parts);
	}
	vx_jobs_end(&ended);
	return over;
}

static bool went_whole_into_a_box(const struct vx_task *t, const struct vx_part *p)
{
	return p->job->into && p->want == 0 && vx_box_equal(&p->box, &t->cell_box);
}

/* What cannot be decoded shall not be found in the disk cache again. */
static void distrust(const struct vx_task *t)
{
	struct vx_fetch f;

	fetch_init(&f, t);
	vx_store_distrust(t->src->store, &f);
}

/* One wish; its outcome goes into the part, the sentence into `s`. */
static bool serve_one(struct vx_worker *w, const struct vx_task *t, struct vx_part *p, const struct supply *s,
		      struct vx_err *e)
{
	p->code = s->err.code ? s->err.code : serve_part(t, p, s, e);
	if (p->code)
		return false;
	w->bytes += part_bytes(t, p);
	mark_landed(t, p);
	return went_whole_into_a_box(t, p);
}

/* Read-ahead keeps chunks that nobody has decoded: one of a wrong length would fail whoever comes for it. */
static bool may_be_kept(const struct vx_task *t, const struct vx_buf *payload)
{
	struct vx_chunk_form form = form_of(t);
	uint64_t exact = t->src->meta->scales[t->mip].codec->exact_payload(&form);

	return !payload || !exact || payload->len == exact;
}

/* Serves every wish for the chunk, those that join while it does included. Frees the task. */
static void serve_all(struct vx_worker *w, struct vx_task *t, struct supply *s, bool fresh)
{
	struct vx_engine *g = w->engine;
	struct vx_err e = s->err;
	struct vx_link parts;
	bool whole = false;

	vx_list_init(&parts);
	{
		VX_LOCK_SCOPE(&g->mtx);
		take_parts_locked(t, &parts);
		if (fresh && t->item.prio == VX_PRIO_PREFETCH)
			VX_COUNT(chunks_prefetched);
	}
	do {
		for (struct vx_link *l = parts.next; l != &parts; l = l->next)
			whole |= serve_one(w, t, vx_list_entry(l, struct vx_part, in_task), s, &e);
		if (e.code && !s->err.code) {
			VX_COUNT(chunks_failed);
			prefix_chunk(t, &e);
			s->err = e; /* a chunk that failed once is not trusted with another part */
			vx_cache_unkeep(g->cache, &t->key);
			distrust(t);
		}
		if (fresh && !whole && !e.code && may_be_kept(t, s->payload))
			vx_cache_keep(g->cache, &t->key, s->payload);
		fresh = false;
	} while (!settle(g, t, &parts, &e));
	vx_buf_put(s->payload);
}

/* ---- bytes from a store ---- */

static void fetch_init(struct vx_fetch *f, const struct vx_task *t)
{
	const struct vx_scale *s = &t->src->meta->scales[t->mip];
	struct vx_chunk_form form = form_of(t);
	uint64_t max = s->codec->expand ? s->codec->max_stored(&form) : s->codec->max_payload(&form);

	memset(f, 0, sizeof *f);
	f->cap = max + max / 8 + 65536; /* packing may grow what it cannot shrink */
	f->expect = atomic_load_explicit(&t->src->stored_bytes[t->mip], memory_order_relaxed);
	f->suffixes = t->src->meta->format->packed_at_rest;
	if (t->src->meta->format->chunk_name(s, t->key.grid, &t->key.cell, f->key, sizeof f->key) < 0)
		f->key[0] = 0; /* keys are checked when the volume is opened; the store refuses an empty one */
}

static void learn_size(struct vx_task *t, uint64_t bytes)
{
	_Atomic uint64_t *mean = &t->src->stored_bytes[t->mip];
	uint64_t old = atomic_load_explicit(mean, memory_order_relaxed);

	atomic_store_explicit(mean, old ? (old * 7 + bytes) / 8 : bytes, memory_order_relaxed);
}

static int unpack_body(struct vx_pool *pool, const struct vx_codec *c, const struct vx_chunk_form *form,
		       enum vx_pack pack, struct vx_buf *body, struct vx_buf **ret, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *stored = NULL;
	int r;

	if (!c->expand)
		return vx_unpack(pool, pack, body, c->exact_payload(form), c->max_payload(form), ret, e);
	r = vx_unpack(pool, pack, body, 0, c->max_stored(form), &stored, e);
	return r < 0 ? r : c->expand(pool, form, stored, ret, e);
}

/* From what the store said to something parts can be served from. */
static void unpack(struct vx_worker *w, struct vx_task *t, struct vx_fetched *got, struct supply *s)
{
	const struct vx_scale *scale = &t->src->meta->scales[t->mip];
	struct vx_chunk_form form = form_of(t);
	enum vx_pack pack = t->src->meta->format->packed_at_rest ? VX_PACK_UNKNOWN : VX_PACK_NONE;
	int r;

	if (got->err.code == -ENODATA) {
		VX_COUNT(chunks_missing);
		s->zeros = t->src->fill_missing || t->src->meta->format->missing_fills;
		if (!s->zeros) {
			vx_fail(&s->err, -ENODATA, "it is not in the store (mount with missing=fill to read zeros)");
			prefix_chunk(t, &s->err);
		}
		return;
	}
	if (got->err.code) {
		VX_COUNT(chunks_failed);
		s->err = got->err;
		return;
	}
	VX_COUNT(chunks_fetched);
	learn_size(t, got->body->len);
	r = got->content_encoding[0] ? vx_pack_from_content_encoding(got->content_encoding, &pack, &s->err) : 0;
	if (r == 0)
		r = unpack_body(w->engine->pool, scale->codec, &form, pack, got->body, &s->payload, &s->err);
	if (r < 0) {
		VX_COUNT(chunks_failed);
		prefix_chunk(t, &s->err);
		distrust(t);
	}
}

static void serve_fetched(struct vx_worker *w, struct vx_task *t, struct vx_fetched *got)
{
	struct supply s = {0};
	uint64_t t0 = vx_now_ns();

	unpack(w, t, got, &s);
	vx_buf_put(vx_steal(got->body));
	if (s.payload)
		VX_COUNT(chunks_decoded);
	serve_all(w, t, &s, true); /* frees t */
	VX_TIMING(decode, vx_now_ns() - t0);
}

static void read_local(struct vx_worker *w, struct vx_task *t)
{
	struct vx_fetch f;
	struct vx_fetched got = {0};
	uint64_t t0 = vx_now_ns();

	fetch_init(&f, t);
	vx_store_read(t->src->store, &f, &got);
	VX_TIMING(fetch, vx_now_ns() - t0);
	serve_fetched(w, t, &got);
}

/* The transfer loop's thread: only moves the answer to the workers. */
static void on_fetched(struct vx_fetch *f, struct vx_fetched *got)
{
	struct vx_request *r = vx_container_of(f, struct vx_request, fetch);
	struct vx_engine *g = r->engine;

	VX_TIMING(fetch, vx_now_ns() - r->started_ns);
	{
		VX_LOCK_SCOPE(&g->mtx);
		struct vx_task *t = r->task;

		g->inflight--;
		g->inflight_bytes -= r->charged;
		t->request = NULL;
		t->got = *got;
		vx_task_arrived_locked(g, t);
		if (g->stopping)
			pthread_cond_broadcast(&g->wake);
	}
	free(r);
}

static struct vx_request *request_new(struct vx_engine *g, struct vx_task *t)
{
	struct vx_request *r = calloc(1, sizeof *r);

	if (!r)
		return NULL;
	fetch_init(&r->fetch, t);
	r->fetch.done = on_fetched;
	r->engine = g;
	r->task = t;
	r->started_ns = vx_now_ns();
	r->charged = vx_max_u64(r->fetch.expect, CHARGE_MIN);
	return r;
}

static void fail_all(struct vx_worker *w, struct vx_task *t, int code, const char *why)
{
	struct supply s = {0};

	vx_fail(&s.err, code, "%s", why);
	serve_all(w, t, &s, false);
}

static void ask_remote(struct vx_worker *w, struct vx_task *t)
{
	struct vx_engine *g = w->engine;
	struct vx_request *r = request_new(g, t);
	struct vx_fetched got;
	bool stopping, over;

	if (!r) {
		fail_all(w, t, -ENOMEM, "no memory");
		return;
	}
	if (vx_store_cached(t->src->store, &r->fetch, &got)) {
		VX_TIMING(fetch, vx_now_ns() - r->started_ns);
		free(r);
		vx_history_add(&w->history, t->item.space, &t->cell_box);
		serve_fetched(w, t, &got);
		return;
	}
	{
		VX_LOCK_SCOPE(&g->mtx);
		stopping = g->stopping;
		over = end_if_unwanted_locked(g, t);
		if (!stopping && !over) {
			t->state = VX_TASK_FETCHING;
			t->request = r;
			g->inflight++;
			g->inflight_bytes += r->charged;
			/* Submitted under the lock: a cancel never meets a request that the store does not know, and
			 * none is sent once the engine has quit. */
			vx_store_submit(t->src->store, &r->fetch);
		}
	}
	if (!stopping && !over)
		return;
	vx_store_forget(&r->fetch);
	free(r);
	if (!over)
		fail_all(w, t, -ESHUTDOWN, "the mount is ending");
}

/* ---- the two entry points ---- */

/* One look at the wishes there are now. *any: at least one was served; true: none is left and the task is gone. */
static bool serve_some_from_boxes(struct vx_worker *w, struct vx_task *t, bool *any)
{
	struct vx_engine *g = w->engine;
	struct vx_link parts, served, ended, *l, *tmp;
	bool over;

	vx_list_init(&parts);
	vx_list_init(&served);
	vx_list_init(&ended);
	{
		VX_LOCK_SCOPE(&g->mtx);
		take_parts_locked(t, &parts);
	}
	vx_list_each_safe(l, tmp, &parts)
	{
		struct vx_part *p = vx_list_entry(l, struct vx_part, in_task);

		if (!serve_from_boxes(w, t, p))
			continue;
		vx_list_remove(&p->in_task);
		vx_list_push_back(&served, &p->in_task);
	}
	*any = !vx_list_empty(&served);
	{
		VX_LOCK_SCOPE(&g->mtx);
		vx_list_each_safe(l, tmp, &parts)
		{
			struct vx_part *p = vx_list_entry(l, struct vx_part, in_task);

			p->taken = false;
			if (p->job->err.code) { /* cancelled while it was ours */
				vx_list_remove(&p->in_task);
				vx_list_push_back(&served, &p->in_task);
			}
		}
		vx_list_splice(&t->parts, &parts);
		vx_parts_settle_locked(g, &served, NULL, &ended);
		over = end_if_unwanted_locked(g, t);
	}
	vx_jobs_end(&ended);
	return over;
}

/* Serves what boxes can, wishes that join meanwhile included: they too may find theirs there. True when nothing is left
 * to do and the task is gone. */
static bool start_from_boxes(struct vx_worker *w, struct vx_task *t)
{
	bool over, any;

	do
		over = serve_some_from_boxes(w, t, &any);
	while (!over && any);
	return over;
}

void vx_task_start(struct vx_worker *w, struct vx_task *t)
{
	struct vx_engine *g = w->engine;
	struct supply s = {0};

	VX_COUNT(sched_tasks);
	w->tasks++;
	if (vx_cache_kept(g->cache, &t->key, &s.payload)) {
		VX_COUNT(chunks_kept_hits);
		s.zeros = !s.payload;
		vx_history_add(&w->history, t->item.space, &t->cell_box);
		serve_all(w, t, &s, false);
		return;
	}
	if (start_from_boxes(w, t))
		return;
	if (!vx_store_is_local(t->src->store)) {
		ask_remote(w, t);
		return;
	}
	vx_history_add(&w->history, t->item.space, &t->cell_box);
	read_local(w, t);
}

void vx_task_finish(struct vx_worker *w, struct vx_task *t)
{
	struct vx_engine *g = w->engine;
	struct vx_fetched got = t->got;

	t->got.body = NULL;
	if (got.err.code == -ECANCELED) {
		/* Everybody had left; whoever came since must not hear of it. */
		VX_LOCK_SCOPE(&g->mtx);
		if (g->stopping)
			vx_fail(&got.err, -ESHUTDOWN, "the mount is ending");
		else if (end_if_unwanted_locked(g, t))
			return;
		else {
			vx_task_requeue_locked(g, t);
			return;
		}
	}
	vx_history_add(&w->history, t->item.space, &t->cell_box);
	serve_fetched(w, t, &got);
}
