/* SPDX-License-Identifier: Apache-2.0
 * The compresso encoding: labels of one channel as the boundaries between them, one bit a voxel, and the labels of what
 * the boundaries enclose. Voxels off the boundary form components, numbered in raster order; those on it have the label
 * of a neighbour off it, or one from a list of exceptions.
 *
 * A part could be cut out only along z, and only of the common kind (version 1, connectivity 4): a component's number
 * depends on all of its slice. So the chunk is decoded once and kept as raw, and every later part is a copy.
 *
 * Besides the payload this takes a bit for each voxel (a byte where chunks are one voxel wide) and 8 bytes for each run
 * of voxels between boundaries, of one slice at a time in the common kind. Every count and index is hostile until
 * checked.
 */
#include "codec/expand.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"

#define HEAD_BYTES 36
#define SIDE_MAX 65535 /* sides are stored in 16 bits */
#define SLACK_BYTES 8  /* bits are read eight bytes at a time */

/* ---- the stream ---- */

struct stream {
	const struct vx_chunk_form *f;
	struct vx_err *e;
	const uint8_t *ids, *values, *locations, *windows, *index;
	uint64_t n_ids, n_values, n_locations, n_windows; /* n_windows: as stored, runs being one */
	uint32_t step[3], window_bytes;
	uint64_t grid[3]; /* windows along each axis */
	bool six;         /* connectivity 6: components go through slices */
	bool alone;       /* each slice can be decoded alone; `index` then says what it has */
	uint32_t index_bytes;
};

static uint64_t load(const uint8_t *p, uint32_t bytes)
{
	uint64_t v = 0;

	memcpy(&v, p, bytes);
	return v;
}

static uint32_t window_bytes(uint32_t voxels)
{
	return voxels <= 8 ? 1 : voxels <= 16 ? 2 : voxels <= 32 ? 4 : 8;
}

/* Of a number in the index of slices. */
static uint32_t index_bytes(const struct vx_chunk_form *f)
{
	uint64_t most = 2 * f->n[0] * f->n[1];

	return most < 255 ? 1 : most < 65535 ? 2 : most < 4294967295 ? 4 : 8;
}

static int bad_header(const struct stream *s, const char *what)
{
	return vx_fail(s->e, -EBADMSG, "compresso header has %s", what);
}

/* Takes `count` items of `bytes` each off the front of [*at, end). */
static bool take_items(const uint8_t **at, const uint8_t *end, uint64_t count, uint64_t bytes, const uint8_t **ret)
{
	uint64_t size;

	if (!vx_mul_u64(count, bytes, &size) || size > (uint64_t)(end - *at))
		return false;
	*ret = *at;
	*at += size;
	return true;
}

static int read_sections(struct stream *s, const uint8_t *data, size_t len, bool has_index)
{
	const uint8_t *at = data + HEAD_BYTES, *end = data + len;
	uint64_t tail = has_index ? 2 * s->f->n[2] * (uint64_t)s->index_bytes : 0;

	s->n_ids = load(data + 15, 8);
	s->n_values = load(data + 23, 4);
	s->n_locations = load(data + 27, 8);
	if (tail > (uint64_t)(end - at))
		return vx_fail(s->e, -EBADMSG, "compresso data is cut off");
	end -= tail;
	s->index = end;
	if (!take_items(&at, end, s->n_ids, s->f->width, &s->ids) ||
	    !take_items(&at, end, s->n_values, s->window_bytes, &s->values) ||
	    !take_items(&at, end, s->n_locations, s->f->width, &s->locations))
		return vx_fail(s->e, -EBADMSG, "compresso data is cut off");
	if ((uint64_t)(end - at) % s->window_bytes)
		return vx_fail(s->e, -EBADMSG, "compresso data ends within a window");
	s->windows = at;
	s->n_windows = (uint64_t)(end - at) / s->window_bytes;
	return 0;
}

static int read_header(struct stream *s, const uint8_t *data, size_t len)
{
	uint32_t voxels = 1;

	if (len < HEAD_BYTES || memcmp(data, "cpso", 4))
		return vx_fail(s->e, -EBADMSG, "the chunk is no compresso stream");
	if (data[4] > 1)
		return vx_fail(s->e, -EBADMSG, "compresso version %u is not known", data[4]);
	if (data[5] != s->f->width)
		return vx_fail(s->e, -EBADMSG, "compresso labels have %u bytes, those of the volume %u", data[5],
			       s->f->width);
	for (int d = 0; d < 3; d++) {
		uint64_t side = load(data + 6 + 2 * d, 2);

		if (side != s->f->n[d])
			return vx_fail(s->e, -EBADMSG,
				       "compresso chunk has %" PRIu64 " voxels along %c instead of %" PRIu64, side,
				       "xyz"[d], s -> f -> n[d]);
		s->step[d] = data[12 + d];
		voxels *= s->step[d]; /* at most 2^24 */
		if (voxels == 0 || voxels > 64)
			return bad_header(s, "windows that are not of 1 to 64 voxels");
		s->grid[d] = vx_div_up(side, s->step[d]);
	}
	if (data[35] != 4 && data[35] != 6)
		return bad_header(s, "a connectivity that is neither 4 nor 6");
	s->six = data[35] == 6;
	s->alone = !s->six && data[4] == 1;
	s->window_bytes = window_bytes(voxels);
	s->index_bytes = index_bytes(s->f);
	return read_sections(s, data, len, data[4] == 1);
}

/* ---- boundaries: a bit for each voxel, rows padded to bytes ---- */

struct bits {
	uint8_t *at;
	uint64_t row, slice; /* bytes */
};

static inline bool bit(const uint8_t *row, uint64_t x)
{
	return row[x / 8] >> (x % 8) & 1;
}

/* The first bit from x on that is `set`, or n. */
static inline uint64_t next_bit(const uint8_t *row, uint64_t x, uint64_t n, bool set)
{
	while (x < n) {
		uint64_t v = load(row + x / 8, 8);

		v = (set ? v : ~v) >> (x % 8);
		if (v)
			return vx_min_u64(x + (uint64_t)__builtin_ctzll(v), n);
		x += 64 - x % 8;
	}
	return n;
}

static void or_bits(uint8_t *row, uint64_t x, uint64_t v)
{
	unsigned shift = x % 8;

	row += x / 8;
	*row |= (uint8_t)(v << shift);
	for (v >>= 8 - shift; v; v >>= 8)
		*++row |= (uint8_t)v;
}

static uint64_t low_bits(uint64_t n)
{
	return n >= 64 ? UINT64_MAX : ((uint64_t)1 << n) - 1;
}

/* Window number i of all, clipped to the volume. */
static void put_window(const struct stream *s, const struct bits *b, uint64_t i, uint64_t value)
{
	const uint64_t *n = s->f->n;
	uint64_t lo[3] = {i % s->grid[0] * s->step[0], i / s->grid[0] % s->grid[1] * s->step[1],
			  i / s->grid[0] / s->grid[1] * s->step[2]};
	uint64_t width = vx_min_u64(s->step[0], n[0] - lo[0]);

	for (uint64_t z = 0; z < s->step[2] && lo[2] + z < n[2]; z++)
		for (uint64_t y = 0; y < s->step[1] && lo[1] + y < n[1]; y++) {
			uint64_t v = value >> (s->step[0] * (y + s->step[1] * z)) & low_bits(width);

			if (v)
				or_bits(b->at + (lo[2] + z) * b->slice + (lo[1] + y) * b->row, lo[0], v);
		}
}

static void put_windows(const struct stream *s, const struct bits *b, uint64_t i, uint64_t count, uint64_t value)
{
	for (; value && count > 0; count--)
		put_window(s, b, i++, value);
}

static int read_windows(const struct stream *s, const struct bits *b)
{
	uint64_t all = s->grid[0] * s->grid[1] * s->grid[2], i = 0;
	uint64_t usual = s->n_values ? load(s->values, s->window_bytes) : 0;

	for (uint64_t k = 0; k < s->n_windows; k++) {
		uint64_t w = load(s->windows + k * s->window_bytes, s->window_bytes), v = w >> 1;
		uint64_t count = w & 1 ? v : 1; /* odd: a run of windows of the first value */

		if (count > all - i)
			return vx_fail(s->e, -EBADMSG, "compresso data has more than %" PRIu64 " windows", all);
		if (!(w & 1) && v >= s->n_values)
			return vx_fail(s->e, -EBADMSG, "compresso window %" PRIu64 " has a value that does not exist",
				       i);
		put_windows(s, b, i, count, w & 1 ? usual : load(s->values + v * s->window_bytes, s->window_bytes));
		i += count;
	}
	put_windows(s, b, i, all - i, usual);
	return 0;
}

/* ---- components ---- */

/* Voxels [lo, hi) of a row that are off the boundary. `parent` is an earlier run of the same component or the run
 * itself, and in the end the component's number, counted from the first of the slices at hand. */
struct run {
	uint16_t lo, hi;
	uint32_t parent;
};

struct work {
	const struct stream *s;
	struct bits bits;
	uint8_t *payload;
	struct run *runs; /* of the slices at hand */
	uint64_t n_runs, runs_cap;
	uint64_t *first;     /* run of each of their rows; one more */
	uint64_t components; /* in earlier slices */
	uint64_t location;   /* the next to be read */
};

static int add_run(struct work *w, uint64_t lo, uint64_t hi)
{
	if (w->n_runs == w->runs_cap) {
		uint64_t cap = vx_max_u64(2 * w->runs_cap, 1024);
		struct run *r = realloc(w->runs, cap * sizeof *r);

		if (!r)
			return vx_fail(w->s->e, -ENOMEM, "no memory for a compresso chunk");
		w->runs = r;
		w->runs_cap = cap;
	}
	w->runs[w->n_runs] = (struct run){(uint16_t)lo, (uint16_t)hi, (uint32_t)w->n_runs};
	w->n_runs++;
	return 0;
}

static uint32_t root_of(struct run *runs, uint32_t i)
{
	while (runs[i].parent != i)
		i = runs[i].parent = runs[runs[i].parent].parent;
	return i;
}

/* Joins the runs of row `b` to those of row `a` that they touch. Roots are the earliest: numbers are in raster order.
 */
static void join_rows(struct work *w, uint64_t a, uint64_t b)
{
	uint64_t i = w->first[a], k = w->first[b];

	while (i < w->first[a + 1] && k < w->first[b + 1]) {
		struct run *p = &w->runs[i], *q = &w->runs[k];

		if (p->lo < q->hi && q->lo < p->hi) {
			uint32_t one = root_of(w->runs, (uint32_t)i), other = root_of(w->runs, (uint32_t)k);

			w->runs[one < other ? other : one].parent = one < other ? one : other;
		}
		if (p->hi < q->hi)
			i++;
		else
			k++;
	}
}

/* The runs of slices [lo, hi), joined. */
static int find_runs(struct work *w, uint64_t lo, uint64_t hi)
{
	const uint64_t *n = w->s->f->n;
	uint64_t row = 0;

	w->n_runs = 0;
	w->first[0] = 0;
	for (uint64_t z = lo; z < hi; z++)
		for (uint64_t y = 0; y < n[1]; y++, row++) {
			const uint8_t *bits = w->bits.at + z * w->bits.slice + y * w->bits.row;

			for (uint64_t x = next_bit(bits, 0, n[0], false), end; x < n[0];
			     x = next_bit(bits, end, n[0], false)) {
				int err;

				end = next_bit(bits, x, n[0], true);
				err = add_run(w, x, end);
				if (err < 0)
					return err;
			}
			w->first[row + 1] = w->n_runs;
			if (y > 0)
				join_rows(w, row - 1, row);
			if (w->s->six && z > lo)
				join_rows(w, row - n[1], row);
		}
	return 0;
}

static inline __attribute__((always_inline)) void fill_as(uint8_t *to, uint64_t count, uint64_t label, uint32_t width)
{
	for (uint64_t i = 0; i < count; i++)
		memcpy(to + i * width, &label, width);
}

static void fill(uint8_t *to, uint64_t count, uint64_t label, uint32_t width)
{
	switch (width) {
	case 1:
		memset(to, (int)label, count);
		break;
	case 2:
		fill_as(to, count, label, 2);
		break;
	case 4:
		fill_as(to, count, label, 4);
		break;
	default:
		fill_as(to, count, label, 8);
	}
}

/* Numbers the components of the runs and writes their labels, from slice `lo` on. */
static int label_runs(struct work *w, uint64_t lo, uint64_t hi)
{
	const uint64_t *n = w->s->f->n;
	uint32_t width = w->s->f->width, count = 0;
	uint8_t *row = w->payload + lo * n[0] * n[1] * width;

	for (uint64_t r = 0; r < n[1] * (hi - lo); r++, row += n[0] * width)
		for (uint64_t i = w->first[r]; i < w->first[r + 1]; i++) {
			struct run *run = &w->runs[i];

			run->parent = run->parent == i ? count++ : w->runs[run->parent].parent;
			if (w->components + run->parent >= w->s->n_ids)
				return vx_fail(w->s->e, -EBADMSG,
					       "compresso data has more components than the %" PRIu64 " labels",
					       w->s->n_ids);
			fill(row + run->lo * (uint64_t)width, (uint64_t)run->hi - run->lo,
			     load(w->s->ids + (w->components + run->parent) * width, width), width);
		}
	w->components += count;
	return 0;
}

/* ---- voxels on the boundary ---- */

static int take_location(struct work *w, uint64_t *ret)
{
	if (w->location >= w->s->n_locations)
		return vx_fail(w->s->e, -EBADMSG, "compresso data has too few labels of boundary voxels");
	*ret = load(w->s->locations + w->location++ * w->s->f->width, w->s->f->width);
	return 0;
}

/* The label of a neighbour, which must be off the boundary and in one of the slices [lo, hi). */
static int label_from(const struct work *w, const uint64_t at[3], unsigned code, uint64_t lo, uint64_t hi,
		      uint64_t *ret)
{
	const struct vx_chunk_form *f = w->s->f;
	uint64_t p[3] = {at[0], at[1], at[2]};
	const uint64_t first[3] = {0, 0, lo}, end[3] = {f->n[0], f->n[1], hi};
	int d = (int)code / 2;

	if (code % 2 ? p[d] + 1 >= end[d] : p[d] <= first[d])
		return vx_fail(w->s->e, -EBADMSG, "compresso data takes a label from outside");
	p[d] = code % 2 ? p[d] + 1 : p[d] - 1;
	if (bit(w->bits.at + p[2] * w->bits.slice + p[1] * w->bits.row, p[0]))
		return vx_fail(w->s->e, -EBADMSG, "compresso data takes a label from a boundary");
	*ret = load(w->payload + (p[0] + f->n[0] * (p[1] + f->n[1] * p[2])) * f->width, f->width);
	return 0;
}

enum { LEFT, RIGHT, UP, DOWN, BEFORE, AFTER, LITERAL, NEIGHBOURS };

static int label_voxel(struct work *w, const uint64_t at[3], const uint8_t *bits, uint64_t lo, uint64_t hi,
		       uint64_t *ret)
{
	uint64_t code = 0;
	int err;

	if (at[0] > 0 && !bit(bits, at[0] - 1))
		return label_from(w, at, LEFT, lo, hi, ret);
	if (at[1] > 0 && !bit(bits - w->bits.row, at[0]))
		return label_from(w, at, UP, lo, hi, ret);
	if (w->s->six && at[2] > 0 && !bit(bits - w->bits.slice, at[0]))
		return label_from(w, at, BEFORE, lo, hi, ret);
	err = take_location(w, &code);
	if (err < 0)
		return err;
	if (code < LITERAL)
		return label_from(w, at, (unsigned)code, lo, hi, ret);
	if (code == LITERAL)
		return take_location(w, ret);
	*ret = code - NEIGHBOURS;
	return 0;
}

static int label_boundary(struct work *w, uint64_t lo, uint64_t hi)
{
	const uint64_t *n = w->s->f->n;
	uint64_t at[3], label = 0;

	for (at[2] = lo; at[2] < hi; at[2]++)
		for (at[1] = 0; at[1] < n[1]; at[1]++) {
			const uint8_t *bits = w->bits.at + at[2] * w->bits.slice + at[1] * w->bits.row;
			uint8_t *to = w->payload + n[0] * (at[1] + n[1] * at[2]) * w->s->f->width;

			for (at[0] = next_bit(bits, 0, n[0], true); at[0] < n[0];
			     at[0] = next_bit(bits, at[0] + 1, n[0], true)) {
				int err = label_voxel(w, at, bits, lo, hi, &label);

				if (VX_UNLIKELY(err < 0))
					return err;
				memcpy(to + at[0] * w->s->f->width, &label, w->s->f->width);
			}
		}
	return 0;
}

/* ---- all ---- */

/* Slices [lo, hi), of which only connectivity 6 joins any. */
static int label_components(struct work *w, uint64_t lo, uint64_t hi)
{
	uint64_t step = w->s->six ? hi - lo : 1;
	int err = 0;

	for (uint64_t z = lo; z < hi && err == 0; z += step) {
		err = find_runs(w, z, z + step);
		if (err == 0)
			err = label_runs(w, z, z + step);
	}
	return err;
}

/* One slice of those that can be decoded alone: the index says how many components it has and where its locations
 * start, counted from where those of the slice before do. */
static int label_slice(struct work *w, uint64_t z, uint64_t *location_start)
{
	const struct stream *s = w->s;
	uint64_t before = w->components;
	int err;

	*location_start += load(s->index + (s->f->n[2] + z) * s->index_bytes, s->index_bytes);
	err = label_components(w, z, z + 1);
	if (err < 0)
		return err;
	if (w->components - before != load(s->index + z * s->index_bytes, s->index_bytes) ||
	    w->location != *location_start)
		return vx_fail(s->e, -EBADMSG, "compresso slice %" PRIu64 " is not as its index says", z);
	return label_boundary(w, z, z + 1);
}

static int label_all(struct work *w)
{
	uint64_t slices = w->s->f->n[2], start = 0;
	int err = read_windows(w->s, &w->bits);

	for (uint64_t z = 0; z < slices && w->s->alone && err == 0; z++)
		err = label_slice(w, z, &start);
	if (err == 0 && !w->s->alone) {
		err = label_components(w, 0, slices);
		if (err == 0)
			err = label_boundary(w, 0, slices);
	}
	if (err < 0)
		return err;
	if (w->components != w->s->n_ids || w->location != w->s->n_locations)
		return vx_fail(w->s->e, -EBADMSG, "compresso data has more labels than its boundaries enclose");
	return 0;
}

static int decode_stream(const struct stream *s, struct vx_pool *pool, struct vx_buf *payload)
{
	const uint64_t *n = s->f->n;
	struct work w = {.s = s, .payload = payload->data, .bits.row = vx_div_up(n[0], 8)};
	VX_AUTO_BUF struct vx_buf *bits = NULL;
	uint64_t bytes;
	int err;

	w.bits.slice = w.bits.row * n[1];
	bytes = w.bits.slice * n[2] + SLACK_BYTES;
	bits = vx_buf_get(pool, bytes);
	w.first = calloc(n[1] * (s->six ? n[2] : 1) + 1, sizeof *w.first);
	if (bits && w.first) {
		memset(bits->data, 0, bytes);
		w.bits.at = bits->data;
		err = label_all(&w);
	} else {
		err = vx_fail(s->e, -ENOMEM, "no memory for a compresso chunk");
	}
	free(w.first);
	free(w.runs);
	return err;
}

static int expand(struct vx_pool *pool, const struct vx_chunk_form *f, struct vx_buf *stored, struct vx_buf **ret,
		  struct vx_err *e)
{
	struct stream s = {.f = f, .e = e};
	VX_AUTO_BUF struct vx_buf *payload = NULL;
	int err;

	if (f->channels != 1 || f->n[0] > SIDE_MAX || f->n[1] > SIDE_MAX || f->n[2] > SIDE_MAX)
		return vx_fail(e, -EBADMSG, "compresso cannot hold chunks of this shape");
	err = read_header(&s, stored->data, stored->len);
	if (err == 0)
		err = expand_payload(pool, f, &payload, e);
	if (err == 0)
		err = decode_stream(&s, pool, payload);
	if (err < 0)
		return err;
	*ret = vx_steal(payload);
	return 0;
}

/* Windows of one voxel each, all different, and every voxel an exception. */
static uint64_t max_stored(const struct vx_chunk_form *f)
{
	return expand_stored_bound(expand_voxels(f) * (3 * f->width + 16) + 16 * f->n[2]);
}

const struct vx_codec vx_codec_compresso = {
    .name = "compresso",
    .expand = expand,
    .max_stored = max_stored,
    .max_payload = vx_chunk_form_bytes,
    .exact_payload = vx_chunk_form_bytes,
    .decode = vx_raw_decode,
};
