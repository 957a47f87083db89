/* SPDX-License-Identifier: Apache-2.0
 * From boundaries to labels. Voxels off the boundary are gathered in runs along x, runs that touch are joined, and the
 * components get their labels in the order of their first voxels; then each voxel on the boundary takes the label of a
 * neighbour, or the next of the exceptions.
 */
#include "codec/compresso.h"

#include <inttypes.h>
#include <string.h>

static inline bool bit(const uint8_t *row, uint64_t x)
{
	return row[x / 8] >> (x % 8) & 1;
}

/* The first bit from x on that is `set`, or n. */
static inline uint64_t next_bit(const uint8_t *row, uint64_t x, uint64_t n, bool set)
{
	while (x < n) {
		uint64_t v = compresso_load(row + x / 8, 8);

		v = (set ? v : ~v) >> (x % 8);
		if (v)
			return vx_min_u64(x + (uint64_t)__builtin_ctzll(v), n);
		x += 64 - x % 8;
	}
	return n;
}

/* ---- components ---- */

/* Voxels [lo, hi) of a row that are off the boundary. `parent` is an earlier run of the same component or the run
 * itself, and in the end the component's number, counted from the first of the slices at hand. */
struct run {
	uint16_t lo, hi;
	uint32_t parent;
};

struct work {
	const struct compresso *s;
	struct compresso_bits bits;
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
			     compresso_load(w->s->ids + (w->components + run->parent) * width, width), width);
		}
	w->components += count;
	return 0;
}

/* ---- voxels on the boundary ---- */

static int take_location(struct work *w, uint64_t *ret)
{
	if (w->location >= w->s->n_locations)
		return vx_fail(w->s->e, -EBADMSG, "compresso data has too few labels of boundary voxels");
	*ret = compresso_load(w->s->locations + w->location++ * w->s->f->width, w->s->f->width);
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
	*ret = compresso_load(w->payload + (p[0] + f->n[0] * (p[1] + f->n[1] * p[2])) * f->width, f->width);
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
	const struct compresso *s = w->s;
	uint64_t before = w->components;
	int err;

	*location_start += compresso_load(s->index + (s->f->n[2] + z) * s->index_bytes, s->index_bytes);
	err = label_components(w, z, z + 1);
	if (err < 0)
		return err;
	if (w->components - before != compresso_load(s->index + z * s->index_bytes, s->index_bytes) ||
	    w->location != *location_start)
		return vx_fail(s->e, -EBADMSG, "compresso slice %" PRIu64 " is not as its index says", z);
	return label_boundary(w, z, z + 1);
}

static int label_all(struct work *w)
{
	uint64_t slices = w->s->f->n[2], start = 0;
	int err = 0;

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

int compresso_label(const struct compresso *s, const struct compresso_bits *b, uint8_t *payload)
{
	struct work w = {.s = s, .bits = *b, .payload = payload};
	int err;

	w.first = calloc(s->f->n[1] * (s->six ? s->f->n[2] : 1) + 1, sizeof *w.first);
	err = w.first ? label_all(&w) : vx_fail(s->e, -ENOMEM, "no memory for a compresso chunk");
	free(w.first);
	free(w.runs);
	return err;
}
