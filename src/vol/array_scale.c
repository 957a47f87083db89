/* SPDX-License-Identifier: Apache-2.0
 * From an array to a scale: bounds, grid, what the codec must know, where the chunks are. What is promised is what
 * precomputed.c promises: coordinates within VX_MAX_EXTENT, every chunk within VX_MAX_CHUNK_BYTES as it is stored, all
 * bytes within 63 bits, every key within a key's length.
 */
#include "base/check.h"
#include "base/limits.h"
#include "vol/array.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define MAX_CHUNK_TIMES 1024
#define MAX_DIR 512 /* of a key's 1023: the rest are five indices */

/* A scale's params. The codec sees one of the codings, or `nested`. */
struct place {
	unsigned rank;
	enum vx_role role[VX_ARRAY_RANK_MAX];
	uint64_t per_object[VX_ARRAY_RANK_MAX]; /* cells of the grid that one object holds along each axis */
	char separator;
	bool key_c, key_fast_first, times_apart;
	struct vx_nested *nested;    /* of chunks that are shards; else NULL */
	uint32_t chunk_t;            /* time points of a chunk */
	struct vx_filtered coding[]; /* of each: they differ in which is served */
};

static unsigned axis_of(const struct vx_axis *axis, unsigned rank, enum vx_role role)
{
	unsigned i = 0;

	while (i < rank && axis[i].role != role)
		i++;
	return i;
}

uint64_t vx_array_extent(const struct vx_array *a, const struct vx_axis *axis, enum vx_role role)
{
	unsigned i = axis_of(axis, a->rank, role);

	if (role == VX_ROLE_TIME && a->times_apart)
		return a->times_apart;
	return i < a->rank ? a->shape[i] : 1;
}

static uint64_t chunk_extent(const struct vx_array *a, const struct vx_axis *axis, enum vx_role role)
{
	unsigned i = axis_of(axis, a->rank, role);

	return i < a->rank ? a->chunk[i] : 1;
}

static bool is_nested(const struct vx_array *a)
{
	return a->nshards > 1 || (a->nshards && a->shard[0].nlinks);
}

/* ---- keys ---- */

static uint64_t index_along(const struct place *p, unsigned axis, const struct vx_cell *cell)
{
	uint64_t i = 0;

	switch (p->role[axis]) {
	case VX_ROLE_X:
	case VX_ROLE_Y:
	case VX_ROLE_Z:
		i = cell->at[p->role[axis] - VX_ROLE_X];
		break;
	case VX_ROLE_CHANNEL:
		i = cell->slab;
		break;
	case VX_ROLE_TIME:
		i = cell->time / p->chunk_t;
		break;
	case VX_ROLE_NONE:
		break;
	}
	return i / p->per_object[axis];
}

/* The directory of a time point's chunks. */
static int put_dir(const struct vx_scale *s, const struct place *p, uint32_t time, char *ret, size_t size)
{
	const char *slash = strrchr(s->key, '/'), *last = slash ? slash + 1 : s->key;

	if (!p->times_apart)
		return snprintf(ret, size, "%s%s", s->key, s->key[0] ? "/" : "");
	return snprintf(ret, size, "%.*stimepoint%u/%s/", (int)(last - s->key), s->key, time, last);
}

static int chunk_name(const struct vx_scale *s, unsigned grid, const struct vx_cell *cell, char *ret, size_t size)
{
	const struct place *p = s->params;
	int n = put_dir(s, p, cell->time, ret, size);

	if (p->key_c && n >= 0 && (size_t)n < size)
		n += snprintf(ret + n, size - (size_t)n, "c");
	for (unsigned k = 0; k < p->rank && n >= 0 && (size_t)n < size; k++) {
		unsigned axis = p->key_fast_first ? p->rank - 1 - k : k;
		char between[2] = {k || p->key_c ? p->separator : 0, 0};

		n += snprintf(ret + n, size - (size_t)n, "%s%llu", between,
			      (unsigned long long)index_along(p, axis, cell));
	}
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : n;
}

static const void *params(const struct vx_scale *s, const struct vx_cell *cell)
{
	const struct place *p = s->params;

	return p->nested ? (const void *)p->nested : &p->coding[cell->time % p->chunk_t];
}

const struct vx_format vx_format_zarr2 = {
    .name = "zarr2", .chunk_name = chunk_name, .params = params, .missing_fills = true};
const struct vx_format vx_format_zarr3 = {
    .name = "zarr3", .chunk_name = chunk_name, .params = params, .missing_fills = true};
const struct vx_format vx_format_n5 = {.name = "n5", .chunk_name = chunk_name, .params = params, .missing_fills = true};

/* ---- what the codec must know ---- */

static enum vx_chain_axis chain_axis(enum vx_role role)
{
	switch (role) {
	case VX_ROLE_X:
		return VX_AXIS_X;
	case VX_ROLE_Y:
		return VX_AXIS_Y;
	case VX_ROLE_Z:
		return VX_AXIS_Z;
	case VX_ROLE_CHANNEL:
		return VX_AXIS_CHANNEL;
	case VX_ROLE_TIME:
	case VX_ROLE_NONE:
		break;
	}
	return VX_AXIS_ONE;
}

static void fill_chain(struct vx_chain *c, const struct vx_array *a, const struct vx_axis *axis, uint64_t time)
{
	c->nlinks = a->nlinks;
	memcpy(c->link, a->links, sizeof c->link);
	c->n5 = a->n5_header;
	c->big_endian = a->big_endian;
	c->is_bool = a->dtype == VX_BOOL;
	c->rank = a->rank;
	for (unsigned k = 0; k < a->rank; k++) {
		c->axis[k] = chain_axis(axis[a->order[k]].role);
		c->shape[k] = a->inner[a->order[k]];
		c->at[k] = axis[a->order[k]].role == VX_ROLE_TIME ? time : 0;
	}
	c->width = vx_dtype_width(a->dtype);
}

/* The links are those of what is compressed; what remains to be cut has none. */
static void fill_coding(struct vx_filtered *f, const struct vx_array *a, const struct vx_axis *axis, uint64_t time)
{
	fill_chain(&f->chain, a, axis, time);
	f->nfilters = a->nfilters;
	if (!a->nfilters)
		return;
	f->stored = f->chain;
	f->stored.is_bool = false;
	f->stored.width = a->filters[a->nfilters - 1].stored.width;
	f->chain.nlinks = 0;
	for (unsigned i = 0; i < a->nfilters; i++)
		f->filter[i] = a->filters[a->nfilters - 1 - i];
}

static int check_coding(const struct vx_filtered *f, struct vx_err *e)
{
	int r = vx_chain_check(&f->chain, e);

	return r < 0 || !f->nfilters ? r : vx_chain_check(&f->stored, e);
}

/* ---- shards ---- */

static uint64_t length(const uint64_t *n, const struct vx_axis *axis, unsigned rank, enum vx_role role)
{
	unsigned i = axis_of(axis, rank, role);

	return i < rank ? n[i] : 1;
}

static void fill_sharding(struct vx_sharding *sh, const struct vx_array *a, const uint64_t *whole,
			  const struct vx_shard_level *l, const struct vx_axis *axis)
{
	uint64_t stride = 1, n[VX_ARRAY_RANK_MAX] = {0};

	*sh = (struct vx_sharding){.kind = VX_SHARD_ZARR,
				   .index_at_end = l->index_at_end,
				   .index_big_endian = l->index_big_endian,
				   .index_crc32c = l->index_crc32c};
	for (unsigned i = 0; i < a->rank; i++)
		n[i] = whole[i] / l->part[i];
	for (int d = 0; d < 3; d++)
		sh->cells[d] = length(n, axis, a->rank, (enum vx_role)(VX_ROLE_X + d));
	sh->slabs = (uint32_t)vx_min_u64(length(n, axis, a->rank, VX_ROLE_CHANNEL), UINT32_MAX);
	sh->times = (uint32_t)vx_min_u64(length(n, axis, a->rank, VX_ROLE_TIME), UINT32_MAX);
	sh->chunk_t = (uint32_t)vx_min_u64(length(l->part, axis, a->rank, VX_ROLE_TIME), UINT32_MAX);
	for (unsigned k = a->rank; k-- > 0;) {
		unsigned i = l->order[k];

		if (axis[i].role >= VX_ROLE_X && axis[i].role <= VX_ROLE_Z)
			sh->stride[axis[i].role - VX_ROLE_X] = stride;
		if (axis[i].role == VX_ROLE_CHANNEL)
			sh->stride_c = stride;
		if (axis[i].role == VX_ROLE_TIME)
			sh->stride_t = stride;
		stride *= n[i];
	}
}

/* What is put together is [channel][z][y][x]. */
static void fill_whole(struct vx_chain *c, const struct vx_array *a, const struct vx_axis *axis)
{
	static const enum vx_role order[] = {VX_ROLE_CHANNEL, VX_ROLE_Z, VX_ROLE_Y, VX_ROLE_X};

	c->rank = VX_ARRAY_LEN(order);
	for (unsigned k = 0; k < c->rank; k++) {
		c->axis[k] = chain_axis(order[k]);
		c->shape[k] = chunk_extent(a, axis, order[k]);
	}
	c->width = vx_dtype_width(a->dtype);
}

static int fill_nested(struct vx_nested *n, const struct vx_array *a, const struct vx_axis *axis, struct vx_err *e)
{
	unsigned first = a->shard[0].nlinks ? 0 : 1; /* the engine reads what is in the one outside */
	int r = 0;

	for (unsigned i = 0; i < a->rank; i++)
		if ((axis[i].role == VX_ROLE_TIME || axis[i].role == VX_ROLE_NONE) &&
		    (a->chunk[i] != 1 || a->inner[i] != 1))
			return vx_fail(e, -EOPNOTSUPP,
				       "shards within shards of several entries of axis %u are not supported", i);
	fill_whole(&n->chain, a, axis);
	fill_coding(&n->leaf, a, axis, 0);
	memcpy(n->fill, a->fill, sizeof n->fill);
	for (unsigned k = first; r == 0 && k < a->nshards; k++) {
		struct vx_nested_level *l = &n->level[n->nlevels++];
		const uint64_t *part = a->shard[k].part;

		fill_sharding(&l->sharding, a, k ? a->shard[k - 1].part : a->object, &a->shard[k], axis);
		l->nlinks = a->shard[k].nlinks;
		memcpy(l->link, a->shard[k].links, sizeof l->link);
		for (int d = 0; d < 3; d++)
			l->part[d] = length(part, axis, a->rank, (enum vx_role)(VX_ROLE_X + d));
		l->part_c = (uint32_t)length(part, axis, a->rank, VX_ROLE_CHANNEL);
		r = vx_sharding_check(&l->sharding, e);
	}
	if (r == 0)
		r = check_coding(&n->leaf, e);
	return r < 0 ? r : vx_chain_check(&n->chain, e);
}

static void place_free(void *params)
{
	struct place *p = params;

	free(p->nested);
	free(p);
}

static struct place *place_new(const struct vx_array *a, const struct vx_axis *axis)
{
	uint64_t chunk_t = vx_min_u64(chunk_extent(a, axis, VX_ROLE_TIME), VX_MAX_TIMES);
	uint64_t times = vx_min_u64(chunk_t, vx_array_extent(a, axis, VX_ROLE_TIME));
	struct place *p = calloc(1, sizeof *p + times * sizeof p->coding[0]);

	if (!p)
		return NULL;
	for (uint64_t t = 0; t < times; t++)
		fill_coding(&p->coding[t], a, axis, t);
	p->rank = a->rank;
	for (unsigned i = 0; i < a->rank; i++) {
		p->role[i] = axis[i].role;
		p->per_object[i] = a->object[i] / a->chunk[i];
	}
	p->chunk_t = (uint32_t)chunk_t;
	p->separator = a->separator;
	p->times_apart = a->times_apart;
	p->key_c = a->key_c;
	p->key_fast_first = a->key_fast_first;
	return p;
}

/* ---- checks ---- */

/* Chunks are stored whole, also where the array ends inside them. */
static int check_chunk(const struct vx_array *a, struct vx_err *e)
{
	uint64_t bytes = vx_dtype_width(a->dtype);

	for (unsigned i = 0; i < a->rank; i++)
		if (!vx_mul_u64(bytes, a->chunk[i], &bytes) || bytes > VX_MAX_CHUNK_BYTES)
			return vx_fail(e, -EFBIG, "a chunk has more than %llu bytes",
				       (unsigned long long)VX_MAX_CHUNK_BYTES);
	return 0;
}

static int check_axes(const struct vx_array *a, const struct vx_volume *v, struct vx_err *e)
{
	const struct vx_axis *axis = v->axis;

	if (a->rank != v->naxes)
		return vx_fail(e, -EBADMSG, "the array has %u axes and its volume %u", a->rank, v->naxes);
	for (unsigned i = 0; i < a->rank; i++) {
		if (!a->shape[i])
			return vx_fail(e, -EOPNOTSUPP, "shape[%u] is 0: the array is empty", i);
		if (axis[i].role == VX_ROLE_NONE && a->shape[i] != 1)
			return vx_fail(e, -EOPNOTSUPP, "axis %u has %llu entries; those of the other scales have 1", i,
				       (unsigned long long)a->shape[i]);
		if (axis[i].role == VX_ROLE_TIME && a->times_apart)
			return vx_fail(e, -EOPNOTSUPP, "time is an axis of it and a folder around it");
		if (axis[i].role == VX_ROLE_TIME && vx_min_u64(a->chunk[i], a->shape[i]) > MAX_CHUNK_TIMES)
			return vx_fail(e, -EFBIG, "chunks of more than %d time points are not supported",
				       MAX_CHUNK_TIMES);
	}
	return 0;
}

static int check_volume(const struct vx_array *a, const struct vx_volume *v, struct vx_err *e)
{
	uint64_t channels = vx_array_extent(a, v->axis, VX_ROLE_CHANNEL),
		 times = vx_array_extent(a, v->axis, VX_ROLE_TIME);

	if (a->dtype != v->dtype)
		return vx_fail(e, -EOPNOTSUPP, "its type is %s and that of the volume %s", vx_dtype_name(a->dtype),
			       vx_dtype_name(v->dtype));
	if (channels != v->channels)
		return vx_fail(e, -EOPNOTSUPP, "it has %llu channels and the volume %u", (unsigned long long)channels,
			       v->channels);
	if (times != v->times)
		return vx_fail(e, -EOPNOTSUPP, "it has %llu time points and the volume %u", (unsigned long long)times,
			       v->times);
	return 0;
}

/* ---- the scale ---- */

static int make_grid(const struct vx_array *a, const struct vx_volume *v, struct vx_scale *s, struct vx_err *e)
{
	struct vx_grid *g = calloc(1, sizeof *g);
	uint64_t slab = chunk_extent(a, v->axis, VX_ROLE_CHANNEL), bytes;

	if (!g)
		return vx_no_memory(e);
	s->grids = g;
	s->ngrids = 1;
	for (int d = 0; d < 3; d++) {
		enum vx_role role = (enum vx_role)(VX_ROLE_X + d);

		s->bounds.hi[d] = (int64_t)vx_array_extent(a, v->axis, role);
		g->chunk[d] = chunk_extent(a, v->axis, role);
		g->cells[d] = vx_div_up((uint64_t)s->bounds.hi[d], g->chunk[d]);
	}
	g->chunk_c = (uint32_t)vx_min_u64(slab, v->channels);
	g->slabs = (uint32_t)vx_div_up(v->channels, g->chunk_c);
	if (!vx_volume_box_bytes(v, &s->bounds, &bytes))
		return vx_fail(e, -EFBIG, "the array has 2^63 bytes or more");
	return 0;
}

int vx_array_scale(const struct vx_array *a, const char *dir, const struct vx_volume *v, struct vx_scale *s,
		   struct vx_err *e)
{
	struct place *p;
	int r;

	s->key = strdup(dir);
	s->encoding = strdup(a->encoding[0] ? a->encoding : "raw");
	if (!s->key || !s->encoding)
		return vx_no_memory(e);
	if (strlen(dir) > MAX_DIR)
		return vx_fail(e, -EBADMSG, "its path has %zu bytes; at most %d are supported", strlen(dir), MAX_DIR);
	if ((r = check_axes(a, v, e)) < 0 || (r = check_volume(a, v, e)) < 0 || (r = check_chunk(a, e)) < 0 ||
	    (r = make_grid(a, v, s, e)) < 0)
		return r;
	memcpy(s->fill, a->fill, sizeof s->fill);
	s->params = p = place_new(a, v->axis);
	s->free_params = place_free;
	if (!p)
		return vx_no_memory(e);
	s->codec = a->nfilters ? &vx_codec_filtered : &vx_codec_chain;
	if (is_nested(a)) {
		s->codec = &vx_codec_nested;
		p->nested = calloc(1, sizeof *p->nested);
		r = p->nested ? fill_nested(p->nested, a, v->axis, e) : vx_no_memory(e);
	} else {
		r = check_coding(p->coding, e);
	}
	if (r < 0 || !a->nshards || a->shard[0].nlinks)
		return r;
	s->sharding = calloc(1, sizeof *s->sharding);
	if (!s->sharding)
		return vx_no_memory(e);
	fill_sharding(s->sharding, a, a->object, &a->shard[0], v->axis);
	return vx_sharding_check(s->sharding, e);
}
