/* SPDX-License-Identifier: Apache-2.0
 * What voxgen's volumes hold: each voxel is a pure function of its place, so that a test knows the
 * right answer without reading anything. voxgen_content.py says the same in numpy.
 *
 * All arithmetic is on unsigned 64-bit integers, modulo 2^64; a negative coordinate enters as its
 * two's complement. `>>` is logical there; where coordinates are shifted it is arithmetic (floor).
 *
 *   mix(v)            v ^= v >> 32; v *= M; v ^= v >> 32; v *= M; v ^= v >> 32
 *   place(x,y,z,c)    mix(x*PX + y*PY + z*PZ + c*PC + mip*PM + seed*PS)
 *   tri(v, p)         m = floor-mod(v, p); min(m, p - m)                  0 .. p/2
 *
 *   index    place(x,y,z,c): differs from voxel to voxel; nothing compresses it
 *   grey     96 + tri(x + 2z, 48) + tri(y + z + 16c, 32) + tri(x + y, 16)
 *            + (place(x,y,z,c) & 7), all in 96..151: an 8-bit picture with noise, whatever the type
 *   labels   cells of 32 x 32 x 16, shifted from layer to layer:
 *            Z = (z + 5) >> 4;   Y = (y + (place(0,0,Z,c) & 31)) >> 5;
 *            X = (x + (place(0,Y,Z,c) & 31)) >> 5;   h = place(X,Y,Z,c+1)
 *            0 where h >> 60 is 0 (a sixteenth of the cells: background), else h | 1
 *
 * A voxel of an integer type is the value's low bytes. float32 is (value & 0xffffff) / 256, which is
 * exact and finite.
 */
#ifndef VOXGEN_CONTENT_H
#define VOXGEN_CONTENT_H

#include <stdint.h>
#include <string.h>

enum vg_kind { VG_GREY, VG_LABELS, VG_INDEX };

struct vg_content {
	enum vg_kind kind;
	uint32_t mip;
	uint64_t seed;
};

#define VG_M 0xd6e8feb86659fd93u
#define VG_PX 0x9e3779b97f4a7c15u
#define VG_PY 0xc2b2ae3d27d4eb4fu
#define VG_PZ 0x165667b19e3779f9u
#define VG_PC 0x27d4eb2f165667c5u
#define VG_PM 0x85ebca77c2b2ae63u
#define VG_PS 0xff51afd7ed558ccdu

static inline uint64_t vg_mix(uint64_t v)
{
	v ^= v >> 32;
	v *= VG_M;
	v ^= v >> 32;
	v *= VG_M;
	return v ^ v >> 32;
}

static inline uint64_t vg_place(const struct vg_content *g, int64_t x, int64_t y, int64_t z, uint32_t c)
{
	return vg_mix((uint64_t)x * VG_PX + (uint64_t)y * VG_PY + (uint64_t)z * VG_PZ + (uint64_t)c * VG_PC +
		      (uint64_t)g->mip * VG_PM + g->seed * VG_PS);
}

static inline uint64_t vg_tri(int64_t v, int64_t p)
{
	int64_t m = v % p < 0 ? v % p + p : v % p;

	return (uint64_t)(m < p - m ? m : p - m);
}

static inline uint64_t vg_grey(const struct vg_content *g, int64_t x, int64_t y, int64_t z, uint32_t c)
{
	return 96 + vg_tri(x + 2 * z, 48) + vg_tri(y + z + 16 * (int64_t)c, 32) + vg_tri(x + y, 16) +
	       (vg_place(g, x, y, z, c) & 7);
}

static inline uint64_t vg_label(const struct vg_content *g, int64_t x, int64_t y, int64_t z, uint32_t c)
{
	int64_t cz = (z + 5) >> 4;
	int64_t cy = (y + (int64_t)(vg_place(g, 0, 0, cz, c) & 31)) >> 5;
	int64_t cx = (x + (int64_t)(vg_place(g, 0, cy, cz, c) & 31)) >> 5;
	uint64_t h = vg_place(g, cx, cy, cz, c + 1);

	return h >> 60 ? h | 1 : 0;
}

static inline uint64_t vg_value(const struct vg_content *g, int64_t x, int64_t y, int64_t z, uint32_t c)
{
	switch (g->kind) {
	case VG_GREY:
		return vg_grey(g, x, y, z, c);
	case VG_LABELS:
		return vg_label(g, x, y, z, c);
	default:
		return vg_place(g, x, y, z, c);
	}
}

/* The value's voxel: `width` bytes, little-endian. */
static inline void vg_store(uint64_t value, uint32_t width, int is_float, void *to)
{
	if (is_float) {
		float f = (float)(value & 0xffffff) / 256;

		memcpy(to, &f, sizeof f);
	} else {
		memcpy(to, &value, width); /* a little-endian machine */
	}
}

#endif
