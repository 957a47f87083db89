/* SPDX-License-Identifier: Apache-2.0
 * Boxes and strided copies. The copy is the hot loop of every path that does not decode: short rows
 * of the usual lengths get fixed-size moves, because a call into memcpy costs more than the 64
 * bytes it would move.
 */
#include "base/box.h"
#include "base/check.h"
#include "base/hash.h"

#include <string.h>

bool vx_box_voxels(const struct vx_box *b, uint64_t *ret)
{
	uint64_t n;

	return vx_mul_u64(vx_box_extent(b, 0), vx_box_extent(b, 1), &n) && vx_mul_u64(n, vx_box_extent(b, 2), ret);
}

bool vx_box_equal(const struct vx_box *a, const struct vx_box *b)
{
	return !memcmp(a, b, sizeof *a);
}

bool vx_box_contains(const struct vx_box *outer, const struct vx_box *inner)
{
	for (int d = 0; d < 3; d++)
		if (inner->lo[d] < outer->lo[d] || inner->hi[d] > outer->hi[d])
			return false;
	return true;
}

bool vx_box_clip(const struct vx_box *a, const struct vx_box *b, struct vx_box *ret)
{
	for (int d = 0; d < 3; d++) {
		ret->lo[d] = vx_max_i64(a->lo[d], b->lo[d]);
		ret->hi[d] = vx_min_i64(a->hi[d], b->hi[d]);
		if (ret->lo[d] >= ret->hi[d])
			return false;
	}
	return true;
}

int vx_box_subtract(const struct vx_box *a, const struct vx_box *b, struct vx_box ret[6])
{
	struct vx_box rest = *a, common;
	int n = 0;

	if (!vx_box_clip(a, b, &common)) {
		ret[0] = *a;
		return 1;
	}
	/* Cut z first, so that the pieces keep whole planes and rows. */
	for (int d = 2; d >= 0; d--) {
		if (rest.lo[d] < common.lo[d]) {
			ret[n] = rest;
			ret[n++].hi[d] = common.lo[d];
			rest.lo[d] = common.lo[d];
		}
		if (rest.hi[d] > common.hi[d]) {
			ret[n] = rest;
			ret[n++].lo[d] = common.hi[d];
			rest.hi[d] = common.hi[d];
		}
	}
	return n;
}

uint64_t vx_box_hash(const struct vx_box *b)
{
	uint64_t h = 0;

	for (int d = 0; d < 3; d++)
		h = vx_hash_add(vx_hash_add(h, (uint64_t)b->lo[d]), (uint64_t)b->hi[d]);
	return h;
}

struct vx_place vx_place_packed(void *at, const uint64_t n[3], uint32_t width)
{
	uint64_t row = n[0] * width;

	return (struct vx_place){.at = at, .row = row, .plane = row * n[1], .chan = row * n[1] * n[2]};
}

struct vx_place vx_place_at(const struct vx_place *p, const struct vx_box *whole, const struct vx_box *part,
			    uint32_t width)
{
	struct vx_place r = *p;

	r.at += (uint64_t)(part->lo[0] - whole->lo[0]) * width + (uint64_t)(part->lo[1] - whole->lo[1]) * p->row +
		(uint64_t)(part->lo[2] - whole->lo[2]) * p->plane;
	return r;
}

static inline void copy_rows_fixed(uint8_t *to, uint64_t to_row, const uint8_t *from, uint64_t from_row, uint64_t rows,
				   size_t bytes)
{
	for (uint64_t y = 0; y < rows; y++)
		memcpy(to + y * to_row, from + y * from_row, bytes);
}

static void copy_rows(uint8_t *to, uint64_t to_row, const uint8_t *from, uint64_t from_row, uint64_t rows, size_t bytes)
{
	switch (bytes) { /* a constant length lets the compiler inline the move */
	case 1:
		copy_rows_fixed(to, to_row, from, from_row, rows, 1);
		break;
	case 8:
		copy_rows_fixed(to, to_row, from, from_row, rows, 8);
		break;
	case 32:
		copy_rows_fixed(to, to_row, from, from_row, rows, 32);
		break;
	case 64:
		copy_rows_fixed(to, to_row, from, from_row, rows, 64);
		break;
	case 128:
		copy_rows_fixed(to, to_row, from, from_row, rows, 128);
		break;
	default:
		copy_rows_fixed(to, to_row, from, from_row, rows, bytes);
	}
}

/* Folds an axis into the one inside it where both sides store it without gaps. */
struct folded {
	size_t bytes;
	uint64_t rows, planes, chans;
};

static struct folded fold(const struct vx_place *to, const struct vx_place *from, const uint64_t n[3],
			  uint32_t channels, uint32_t width)
{
	struct folded f = {.bytes = n[0] * width, .rows = n[1], .planes = n[2], .chans = channels};

	if (f.rows == 1 || (to->row == f.bytes && from->row == f.bytes)) {
		f.bytes *= f.rows;
		f.rows = 1;
		if (f.planes == 1 || (to->plane == f.bytes && from->plane == f.bytes)) {
			f.bytes *= f.planes;
			f.planes = 1;
		}
	}
	return f;
}

void vx_place_copy(const struct vx_place *to, const struct vx_place *from, const uint64_t n[3], uint32_t channels,
		   uint32_t width)
{
	struct folded f = fold(to, from, n, channels, width);

	for (uint64_t c = 0; c < f.chans; c++)
		for (uint64_t z = 0; z < f.planes; z++)
			copy_rows(to->at + c * to->chan + z * to->plane, to->row,
				  from->at + c * from->chan + z * from->plane, from->row, f.rows, f.bytes);
}

/* Copies the first `width` bytes of the row over the rest of it. */
static void fill_row(uint8_t *row, size_t bytes, const uint8_t *value, uint32_t width)
{
	size_t done = width;

	memcpy(row, value, width);
	while (done < bytes) {
		size_t n = done < bytes - done ? done : bytes - done;

		memcpy(row + done, row, n);
		done += n;
	}
}

void vx_place_fill(const struct vx_place *to, const uint64_t n[3], uint32_t channels, uint32_t width,
		   const uint8_t *value)
{
	struct folded f = fold(to, to, n, channels, width);

	for (uint64_t c = 0; c < f.chans; c++)
		for (uint64_t z = 0; z < f.planes; z++)
			for (uint64_t y = 0; y < f.rows; y++)
				fill_row(to->at + c * to->chan + z * to->plane + y * to->row, f.bytes, value, width);
}

void vx_place_zero(const struct vx_place *to, const uint64_t n[3], uint32_t channels, uint32_t width)
{
	struct folded f = fold(to, to, n, channels, width);

	for (uint64_t c = 0; c < f.chans; c++)
		for (uint64_t z = 0; z < f.planes; z++)
			for (uint64_t y = 0; y < f.rows; y++)
				memset(to->at + c * to->chan + z * to->plane + y * to->row, 0, f.bytes);
}
