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

static void prefix_chunk(const struct vx_task *t, struct vx_err *e)
{
	const struct vx_scale *s = &t->src->meta->scales[t->mip];
	char name[256], box[VX_BOX_NAME_MAX] = "";

	if (t->src->meta->format->chunk_name(s, t->key.grid, &t->key.cell, name, sizeof name) < 0)
		snprintf(name, sizeof name, "%.200s/...", s->key);
	if (t->shard)
		vx_box_print(&t->cell_box, box);
	vx_fail_prefix(e, "chunk %s%s%s", box, t->shard ? " of " : "", name);
}

/* ---- what is worked on is written down ---- */

/* So that one who finds this process dead knows what it died of. What servers have died of is refused. */
void vx_task_mark(struct vx_worker *w, const struct vx_task *t, struct vx_err *e)
{
	struct vx_table *table = w->engine->opts.table;
	struct vx_mark_key k = {.source = t->src->id,
				.mip = t->mip,
				.grid = t->key.grid,
				.slab = t->key.cell.slab,
				.cell = {t->key.cell.at[0], t->key.cell.at[1], t->key.cell.at[2]}};

	if (!table)
		return;
	vx_table_mark(table, (unsigned)vx_engine_worker_self(), &k);
	if (!vx_table_is_poison(table, &k))
		return;
	vx_fail(e, -EBADMSG, "servers have died of it; it is not tried again");
	if (!vx_task_is_index(t))
		prefix_chunk(t, e);
}

void vx_task_unmark(struct vx_worker *w)
{
	if (w->engine->opts.table)
		vx_table_mark(w->engine->opts.table, (unsigned)vx_engine_worker_self(), NULL);
}

/* ---- parts ---- */

struct vx_place vx_part_place(const struct vx_part *p, const struct vx_box *part, uint32_t width)
{
	const struct vx_want *w = &p->job->want[p->want];
	struct vx_place to = vx_place_at(&w->to, &w->box, part, width);

	to.at += (p->chan - w->chan) * to.chan;
	return to;
}

void vx_part_landed(const struct vx_task *t, const struct vx_part *p)
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
	struct vx_place to = vx_part_place(p, &p->box, form.width);
	struct vx_box rel;
	uint64_t n[3];

	if (!want->to.at)
		return 0;
	if (s->zeros) {
		vx_box_extents(&p->box, n);
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
		struct vx_place to = vx_part_place(p, &piece[i].box, width);
		uint64_t ext[3];

		vx_box_extents(&piece[i].box, ext);
		piece[i].from.at += p->chan * piece[i].from.chan;
		vx_place_copy(&to, &piece[i].from, ext, p->nchan, width);
	}
	if (!n)
		return false;
	vx_cache_uncover(g->cache, piece, n);
	VX_COUNT(chunks_copied);
	VX_COUNT_ADD(chunks_copied_bytes, part_bytes(t, p));
	vx_part_landed(t, p);
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
	if (vx_task_is_wanted(t))
		return false;
	vx_task_free_locked(g, t);
	return true;
}

/* Who joined before anybody was told of a failure shares it; who comes after an answer begins anew. */
static void share_failure_locked(struct vx_task *t, struct vx_link *parts, const struct vx_err *e)
{
	if (!e->code)
		return;
	for (struct vx_link *l = t->parts.next; l != &t->parts; l = l->next)
		vx_list_entry(l, struct vx_part, in_task)->code = e->code;
	vx_list_splice(parts, &t->parts);
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
		share_failure_locked(t, parts, e);
		vx_parts_settle_locked(g, parts, e, &ended);
		over = end_if_unwanted_locked(g, t);
		if (!over)
			take_parts_locked(t, parts);
	}
	vx_jobs_end(&ended);
	return over;
}

bool vx_part_is_whole(const struct vx_task *t, const struct vx_part *p)
{
	return p->job->into && p->want == 0 && vx_box_equal(&p->box, &t->cell_box);
}

/* One wish; its outcome goes into the part, the sentence into `s`. */
static bool serve_one(struct vx_worker *w, const struct vx_task *t, struct vx_part *p, const struct supply *s,
		      struct vx_err *e)
{
	p->code = s->err.code ? s->err.code : serve_part(t, p, s, e);
	if (p->code)
		return false;
	w->bytes += part_bytes(t, p);
	vx_part_landed(t, p);
	return vx_part_is_whole(t, p);
}

/* Read-ahead keeps chunks that nobody has decoded: one of a wrong length would fail whoever comes for it. */
static bool may_be_kept(const struct vx_task *t, const struct vx_buf *payload)
{
	struct vx_chunk_form form = form_of(t);
	uint64_t exact = t->src->meta->scales[t->mip].codec->exact_payload(&form);

	return !payload || !exact || payload->len == exact;
}

/* Serves the wishes in `parts`; true when a box took the whole chunk. */
static bool serve_round(struct vx_worker *w, const struct vx_task *t, const struct vx_link *parts, struct supply *s)
{
	struct vx_engine *g = w->engine;
	struct vx_err e = {0};
	bool whole = false;

	for (struct vx_link *l = parts->next; l != parts; l = l->next)
		whole |= serve_one(w, t, vx_list_entry(l, struct vx_part, in_task), s, &e);
	if (e.code) {
		VX_COUNT(chunks_failed);
		prefix_chunk(t, &e);
		s->err = e; /* a chunk that failed once is not trusted with another part */
		vx_cache_unkeep(g->cache, &t->key);
		vx_task_distrust(g, t);
	}
	return whole;
}

/* Serves every wish for the chunk, those that join while it does included. Frees the task. */
static void serve_all(struct vx_worker *w, struct vx_task *t, struct supply *s, bool fresh)
{
	struct vx_engine *g = w->engine;
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
		whole |= serve_round(w, t, &parts, s);
		if (fresh && !whole && !s->err.code && may_be_kept(t, s->payload))
			vx_cache_keep(g->cache, &t->key, s->payload);
		fresh = false;
	} while (!settle(g, t, &parts, &s->err));
	vx_buf_put(s->payload);
}

/* ---- chunks that are kept: small work, so several at once ---- */

struct kept {
	struct vx_task *task; /* NULL once it is over */
	struct vx_link parts;
	struct supply supply;
};

/* Takes what is wished of the first `n` tasks, and puts the others back. */
static void take_kept(struct vx_engine *g, struct vx_task **t, unsigned count, struct kept *k, unsigned n)
{
	VX_LOCK_SCOPE(&g->mtx);
	for (unsigned i = 0; i < n; i++) {
		vx_list_init(&k[i].parts);
		k[i].task = t[i];
		take_parts_locked(t[i], &k[i].parts);
	}
	for (unsigned i = count; i-- > n;)
		if (!end_if_unwanted_locked(g, t[i]))
			vx_task_put_back_locked(g, t[i]);
}

static void settle_kept(struct vx_engine *g, struct kept *k, unsigned n)
{
	struct vx_link ended;

	vx_list_init(&ended);
	{
		VX_LOCK_SCOPE(&g->mtx);
		for (unsigned i = 0; i < n; i++) {
			share_failure_locked(k[i].task, &k[i].parts, &k[i].supply.err);
			vx_parts_settle_locked(g, &k[i].parts, &k[i].supply.err, &ended);
			if (end_if_unwanted_locked(g, k[i].task))
				k[i].task = NULL;
			else
				take_parts_locked(k[i].task, &k[i].parts);
		}
	}
	vx_jobs_end(&ended);
}

static void serve_kept(struct vx_worker *w, struct kept *k, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct vx_task *t = k[i].task;

		vx_history_add(&w->history, t->item.space, &t->cell_box);
		vx_task_mark(w, t, &k[i].supply.err); /* read-ahead keeps what nobody has decoded yet */
		serve_round(w, t, &k[i].parts, &k[i].supply);
	}
	vx_task_unmark(w);
	settle_kept(w->engine, k, n);
	for (unsigned i = 0; i < n; i++) {
		if (k[i].task) /* more wishes have joined */
			do
				serve_round(w, k[i].task, &k[i].parts, &k[i].supply);
			while (!settle(w->engine, k[i].task, &k[i].parts, &k[i].supply.err));
		vx_buf_put(k[i].supply.payload);
	}
}

/* How many of the tasks, from the first on, are for chunks that are kept; takes a reference to each. */
static unsigned find_kept(struct vx_worker *w, struct vx_task **t, unsigned n, struct vx_buf **ret)
{
	const struct vx_cell_key *key[VX_TASKS_AT_ONCE] = {NULL};
	unsigned keys = 0;

	while (keys < n && !vx_task_is_index(t[keys])) {
		key[keys] = &t[keys]->key;
		keys++;
	}
	return vx_cache_kept_run(w->engine->cache, key, keys, ret);
}

/* ---- bytes from a store ---- */

void vx_task_learn_size(const struct vx_task *t, uint64_t bytes)
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

static enum vx_pack pack_of(const struct vx_task *t)
{
	if (t->shard)
		return vx_task_scale(t)->sharding->data_gzip ? VX_PACK_GZIP : VX_PACK_NONE;
	return t->src->meta->format->packed_at_rest ? VX_PACK_UNKNOWN : VX_PACK_NONE;
}

/* From what the store said to something parts can be served from. */
static void unpack(struct vx_worker *w, struct vx_task *t, struct vx_fetched *got, struct supply *s)
{
	const struct vx_scale *scale = &t->src->meta->scales[t->mip];
	struct vx_chunk_form form = form_of(t);
	enum vx_pack pack = pack_of(t);
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
		if (t->shard) /* its URL names the shard only */
			prefix_chunk(t, &s->err);
		return;
	}
	VX_COUNT(chunks_fetched);
	vx_task_learn_size(t, got->body->len);
	r = got->content_encoding[0] ? vx_pack_from_content_encoding(got->content_encoding, &pack, &s->err) : 0;
	if (r == 0)
		r = unpack_body(w->engine->pool, scale->codec, &form, pack, got->body, &s->payload, &s->err);
	if (r < 0) {
		VX_COUNT(chunks_failed);
		prefix_chunk(t, &s->err);
		vx_task_distrust(w->engine, t);
	}
}

static void serve_fetched(struct vx_worker *w, struct vx_task *t, struct vx_fetched *got)
{
	struct supply s = {0};
	uint64_t t0 = vx_now_ns();

	if (!got->err.code)
		vx_task_mark(w, t, &got->err);
	unpack(w, t, got, &s);
	vx_buf_put(vx_steal(got->body));
	if (s.payload)
		VX_COUNT(chunks_decoded);
	serve_all(w, t, &s, true); /* frees t */
	vx_task_unmark(w);
	VX_TIMING(decode, vx_now_ns() - t0);
}

void vx_task_fail(struct vx_worker *w, struct vx_task *t, const struct vx_err *e)
{
	struct vx_fetched got = {.err = *e};

	if (vx_task_is_index(t))
		vx_index_got(w, t, &got);
	else
		serve_fetched(w, t, &got);
}

void vx_task_got(struct vx_worker *w, struct vx_task *t, struct vx_fetched *got)
{
	if (t->shard && !vx_shard_accept(w, t, got))
		return;
	if (vx_task_is_index(t))
		vx_index_got(w, t, got);
	else
		serve_fetched(w, t, got);
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

/* One whose chunk is not kept. */
static void start_one(struct vx_worker *w, struct vx_task *t)
{
	if (vx_task_is_index(t)) {
		vx_index_start(w, t);
		return;
	}
	if (start_from_boxes(w, t))
		return;
	if (!t->shard || vx_shard_locate(w, t))
		vx_task_ask(w, t);
}

void vx_tasks_start(struct vx_worker *w, struct vx_task **t, unsigned count)
{
	struct vx_buf *payload[VX_TASKS_AT_ONCE];
	struct kept k[VX_TASKS_AT_ONCE];
	unsigned n = find_kept(w, t, count, payload), begun = n ? n : 1;

	VX_COUNT_ADD(sched_tasks, begun);
	w->tasks += begun;
	w->streak = n < count ? 0 : w->streak + n;
	if (n || count > 1)
		take_kept(w->engine, t + (n ? 0 : 1), n ? count : count - 1, k, n);
	if (!n) {
		start_one(w, t[0]);
		return;
	}
	VX_COUNT_ADD(chunks_kept_hits, n);
	for (unsigned i = 0; i < n; i++)
		k[i].supply = (struct supply){.payload = payload[i], .zeros = !payload[i]};
	serve_kept(w, k, n);
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
	vx_task_got(w, t, &got);
}
