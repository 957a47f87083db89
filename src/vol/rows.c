/* SPDX-License-Identifier: Apache-2.0
 * At each level (channel, plane, row) the run is: a tail of one slab, whole slabs, the head of another. Whole slabs are
 * one piece; tail and head are cut one level down, where only one of their ends is ragged: 3 + 1 + 3 pieces at most.
 */
#include "vol/rows.h"
#include "base/check.h"

struct cutter {
	const struct vx_box *box;
	uint64_t n[4];      /* x, y, z, channel */
	uint64_t stride[4]; /* voxels between neighbours along each */
	struct vx_run_piece *ret;
	unsigned count;
};

/* Slabs [a, b) along axis `level`, whole below it, at the place of voxel a * stride above it. */
static void emit(struct cutter *c, int level, uint64_t a, uint64_t b)
{
	struct vx_run_piece *p = &c->ret[c->count++];
	uint64_t first = a * c->stride[level];
	uint64_t lo[4], hi[4];

	for (int d = 0; d < 4; d++) {
		uint64_t at = first / c->stride[d] % c->n[d];

		lo[d] = d < level ? 0 : at;
		hi[d] = d < level ? c->n[d] : at + (d == level ? b - a : 1);
	}
	for (int d = 0; d < 3; d++) {
		p->box.lo[d] = c->box->lo[d] + (int64_t)lo[d];
		p->box.hi[d] = c->box->lo[d] + (int64_t)hi[d];
	}
	p->chan = (uint32_t)lo[3];
	p->nchan = (uint32_t)(hi[3] - lo[3]);
	p->first = first;
}

static void cut(struct cutter *c, int level, uint64_t i0, uint64_t i1)
{
	uint64_t s = c->stride[level], a = vx_div_up(i0, s), b = i1 / s;

	if (i0 >= i1)
		return;
	if (a > b) { /* inside one slab */
		cut(c, level - 1, i0, i1);
		return;
	}
	if (i0 < a * s)
		cut(c, level - 1, i0, a * s);
	if (a < b)
		emit(c, level, a, b);
	if (b * s < i1)
		cut(c, level - 1, b * s, i1);
}

unsigned vx_run_cut(const struct vx_box *box, uint32_t channels, uint64_t i0, uint64_t i1,
		    struct vx_run_piece ret[VX_RUN_PIECES_MAX])
{
	struct cutter c = {.box = box, .ret = ret};
	uint64_t stride = 1;

	for (int d = 0; d < 4; d++) {
		c.n[d] = d < 3 ? vx_box_extent(box, d) : channels;
		c.stride[d] = stride;
		stride *= c.n[d];
	}
	cut(&c, 3, i0, i1);
	return c.count;
}
