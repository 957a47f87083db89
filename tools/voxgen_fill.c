/* SPDX-License-Identifier: Apache-2.0
 * Fills boxes with the content of voxgen_content.h, in bulk: labels run by run, and a row or plane
 * of labels that equals the one before is copied. Any thread.
 */
#include "voxgen.h"

struct fill {
	const struct vg_content *g;
	const struct vg_dtype *dtype;
	const int64_t *lo;
	const uint64_t *n;
	uint64_t row, plane; /* bytes */
};

static void fill_run(uint8_t *to, uint64_t n, uint64_t value, const struct vg_dtype *t)
{
	uint8_t one[8];

	vg_store(value, t->width, t->is_float, one);
	for (uint64_t x = 0; x < n; x++)
		memcpy(to + x * t->width, one, t->width);
}

static void label_row(const struct fill *f, uint8_t *to, int64_t y, int64_t z, uint32_t c)
{
	int64_t x = f->lo[0], end = x + (int64_t)f->n[0];
	int64_t cz = (z + 5) >> 4;
	int64_t cy = (y + (int64_t)(vg_place(f->g, 0, 0, cz, c) & 31)) >> 5;
	int64_t shift = (int64_t)(vg_place(f->g, 0, cy, cz, c) & 31);

	while (x < end) {
		int64_t next = (((x + shift) >> 5) + 1) * 32 - shift;

		if (next > end)
			next = end;
		fill_run(to + (uint64_t)(x - f->lo[0]) * f->dtype->width, (uint64_t)(next - x),
			 vg_label(f->g, x, y, z, c), f->dtype);
		x = next;
	}
}

static void label_plane(const struct fill *f, uint8_t *to, int64_t z, uint32_t c)
{
	int64_t shift = (int64_t)(vg_place(f->g, 0, 0, (z + 5) >> 4, c) & 31);

	for (uint64_t y = 0; y < f->n[1]; y++) {
		int64_t vy = f->lo[1] + (int64_t)y;

		if (y > 0 && (vy + shift) >> 5 == (vy - 1 + shift) >> 5)
			memcpy(to + y * f->row, to + (y - 1) * f->row, f->row);
		else
			label_row(f, to + y * f->row, vy, z, c);
	}
}

static inline __attribute__((always_inline)) void value_plane(const struct fill *f, uint8_t *to, int64_t z, uint32_t c,
							      enum vg_kind kind)
{
	struct vg_content g = *f->g;
	uint32_t width = f->dtype->width;

	g.kind = kind;
	for (uint64_t y = 0; y < f->n[1]; y++)
		for (uint64_t x = 0; x < f->n[0]; x++)
			vg_store(vg_value(&g, f->lo[0] + (int64_t)x, f->lo[1] + (int64_t)y, z, c), width,
				 f->dtype->is_float, to + y * f->row + x * width);
}

void vg_fill(const struct vg_content *content, const struct vg_dtype *dtype, const int64_t lo[3], const uint64_t n[3],
	     uint32_t channels, void *to)
{
	struct fill f = {.g = content, .dtype = dtype, .lo = lo, .n = n, .row = n[0] * dtype->width};
	uint8_t *at = to;

	f.plane = f.row * n[1];
	for (uint32_t c = 0; c < channels; c++)
		for (uint64_t z = 0; z < n[2]; z++, at += f.plane) {
			int64_t vz = lo[2] + (int64_t)z;

			if (content->kind == VG_INDEX)
				value_plane(&f, at, vz, c, VG_INDEX);
			else if (content->kind == VG_GREY)
				value_plane(&f, at, vz, c, VG_GREY);
			else if (z > 0 && (vz + 5) >> 4 == (vz + 4) >> 4)
				memcpy(at, at - f.plane, f.plane);
			else
				label_plane(&f, at, vz, c);
		}
}
