/* SPDX-License-Identifier: Apache-2.0
 * From the outermost shard inwards; each part is decoded straight into its place in the whole. A part's bytes are a
 * slice of its shard's, copied only by a compressor.
 */
#include "vol/nested.h"
#include "base/limits.h"

#include <string.h>

struct assembly {
	struct vx_pool *pool;
	const struct vx_nested *n;
	struct vx_err *e;
};

static const struct vx_nested *nested_of(const struct vx_chunk_form *f)
{
	return f->params;
}

static const struct vx_codec *leaf_codec(const struct vx_nested *n)
{
	return n->leaf.nfilters ? &vx_codec_filtered : &vx_codec_chain;
}

static struct vx_chunk_form leaf_form(const struct vx_nested *n)
{
	const struct vx_nested_level *last = &n->level[n->nlevels - 1];
	struct vx_chunk_form f = {.channels = last->part_c, .width = n->chain.width, .params = &n->leaf};

	memcpy(f.n, last->part, sizeof f.n);
	return f;
}

/* ---- how many bytes there may be ---- */

static uint64_t parts_of(const struct vx_sharding *s)
{
	return s->cells[0] * s->cells[1] * s->cells[2] * s->slabs;
}

static uint64_t capped(unsigned __int128 x)
{
	return x > 4 * VX_MAX_CHUNK_BYTES ? 4 * VX_MAX_CHUNK_BYTES : (uint64_t)x;
}

/* The most bytes of level `l`, before (packed) or after what is around it is undone. */
static uint64_t level_max(const struct vx_nested *n, unsigned l, bool packed)
{
	const struct vx_shard_at at = {{0}, 0, 0, 0};
	struct vx_chunk_form leaf = leaf_form(n);
	uint64_t bytes = leaf_codec(n)->max_stored(&leaf);

	for (unsigned i = n->nlevels; i-- > l;) {
		const struct vx_nested_level *v = &n->level[i];

		bytes = capped((unsigned __int128)bytes * parts_of(&v->sharding) +
			       vx_shard_root_span(&v->sharding, &at).len);
		for (unsigned k = i > l || packed ? v->nlinks : 0; k-- > 0;)
			bytes = capped(vx_link_packed_max(v->link[k], bytes));
	}
	return bytes;
}

static uint64_t max_stored(const struct vx_chunk_form *f)
{
	return level_max(nested_of(f), 0, true);
}

/* ---- putting together ---- */

static int put_level(const struct assembly *a, unsigned l, struct vx_buf *stored, const struct vx_place *to);

static int put_leaf(const struct assembly *a, struct vx_buf *stored, const struct vx_place *to)
{
	struct vx_chunk_form f = leaf_form(a->n);
	struct vx_box whole = {.hi = {(int64_t)f.n[0], (int64_t)f.n[1], (int64_t)f.n[2]}};
	VX_AUTO_BUF struct vx_buf *payload = NULL;
	int r = leaf_codec(a->n)->expand(a->pool, &f, stored, &payload, a->e);

	return r < 0 ? r : leaf_codec(a->n)->decode(&f, payload->data, payload->len, &whole, to, a->e);
}

static struct vx_place part_place(const struct assembly *a, const struct vx_nested_level *v, const uint64_t cell[3],
				  uint32_t slab, const struct vx_place *to)
{
	struct vx_place p = *to;

	p.at += cell[0] * v->part[0] * a->n->chain.width + cell[1] * v->part[1] * p.row +
		cell[2] * v->part[2] * p.plane + (uint64_t)slab * v->part_c * p.chan;
	return p;
}

static int put_part(const struct assembly *a, unsigned l, const struct vx_buf *index, const uint64_t cell[3],
		    uint32_t slab, struct vx_buf *shard, const struct vx_place *to)
{
	const struct vx_nested_level *v = &a->n->level[l];
	struct vx_place place = part_place(a, v, cell, slab, to);
	VX_AUTO_BUF struct vx_buf *part = NULL;
	struct vx_shard_at at;
	struct vx_span span;
	int r;

	vx_shard_find(&v->sharding, v->sharding.cells, cell, slab, &at);
	r = vx_shard_chunk_span(&v->sharding, &at, index, level_max(a->n, l + 1, true), &span, a->e);
	if (r == 0)
		vx_place_fill(&place, v->part, v->part_c, a->n->chain.width, a->n->fill);
	if (r <= 0)
		return r;
	if (span.off > shard->len || span.len > shard->len - span.off)
		return vx_fail(a->e, -EBADMSG, "the index of a shard leads past its end");
	part = vx_buf_slice(shard, span.off, span.len);
	return part ? put_level(a, l + 1, part, &place) : vx_fail(a->e, -ENOMEM, "no memory for a chunk");
}

static int put_parts(const struct assembly *a, unsigned l, const struct vx_buf *index, struct vx_buf *shard,
		     const struct vx_place *to)
{
	const struct vx_sharding *s = &a->n->level[l].sharding;
	uint64_t cell[3];
	int r = 0;

	for (uint32_t slab = 0; slab < s->slabs; slab++)
		for (cell[2] = 0; cell[2] < s->cells[2]; cell[2]++)
			for (cell[1] = 0; cell[1] < s->cells[1]; cell[1]++)
				for (cell[0] = 0; r == 0 && cell[0] < s->cells[0]; cell[0]++)
					r = put_part(a, l, index, cell, slab, shard, to);
	return r;
}

static int read_index(const struct assembly *a, const struct vx_sharding *s, const struct vx_buf *shard,
		      struct vx_buf **ret)
{
	const struct vx_shard_version version = {.total = shard->len};
	struct vx_shard_at at = {{0}, 0, 0, 0};
	struct vx_span span = vx_shard_root_span(s, &at);

	if (span.len > shard->len)
		return vx_fail(a->e, -EBADMSG, "a shard of %zu bytes has no room for its index", shard->len);
	return vx_shard_root_new(a->pool, s, &at, &version, shard->data + (span.suffix ? shard->len - span.len : 0),
				 span.len, ret, a->e);
}

static int put_level(const struct assembly *a, unsigned l, struct vx_buf *stored, const struct vx_place *to)
{
	const struct vx_nested_level *v = &a->n->level[l];
	VX_AUTO_BUF struct vx_buf *shard = NULL, *index = NULL;
	int r;

	if (l == a->n->nlevels)
		return put_leaf(a, stored, to);
	r = vx_links_undo(a->pool, v->link, v->nlinks, level_max(a->n, l, false), stored, &shard, a->e);
	if (r == 0)
		r = read_index(a, &v->sharding, shard, &index);
	return r < 0 ? r : put_parts(a, l, index, shard, to);
}

/* ---- the codec ---- */

static int expand(struct vx_pool *pool, const struct vx_chunk_form *f, struct vx_buf *stored, struct vx_buf **ret,
		  struct vx_err *e)
{
	const struct vx_nested *n = nested_of(f);
	const struct assembly a = {.pool = pool, .n = n, .e = e};
	uint64_t bytes = vx_chain_exact_payload(f);
	VX_AUTO_BUF struct vx_buf *whole = vx_buf_get(pool, bytes);
	const struct vx_nested_level *v = &n->level[0];
	uint64_t size[3];
	struct vx_place to;
	int r;

	if (!whole)
		return vx_fail(e, -ENOMEM, "no memory for a chunk");
	whole->len = bytes;
	for (int d = 0; d < 3; d++)
		size[d] = v->part[d] * v->sharding.cells[d];
	to = vx_place_packed(whole->data, size, n->chain.width);
	r = put_level(&a, 0, stored, &to);
	if (r == 0)
		*ret = vx_steal(whole);
	return r;
}

const struct vx_codec vx_codec_nested = {
    .name = "nested",
    .expand = expand,
    .max_stored = max_stored,
    .max_payload = vx_chain_max_payload,
    .exact_payload = vx_chain_exact_payload,
    .decode = vx_chain_decode,
};
