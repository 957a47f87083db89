/* SPDX-License-Identifier: Apache-2.0
 * Volumes and their chunk grids. Grids are anchored at the volume's lower corner, never at 0; only
 * the upper faces are clipped. Everything here trusts the checks of the parser: extents, offsets
 * and products fit. Constant data, any thread.
 */
#include "vol/volume.h"
#include "base/check.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void vx_volume_free(struct vx_volume **v)
{
	if (!*v)
		return;
	for (unsigned i = 0; i < (*v)->nscales; i++) {
		free((*v)->scales[i].key);
		free((*v)->scales[i].encoding);
		free((*v)->scales[i].grids);
		free((*v)->scales[i].sharding);
		if ((*v)->scales[i].params)
			(*v)->scales[i].free_params((*v)->scales[i].params);
	}
	free((*v)->scales);
	free((*v)->time_absent);
	free((*v)->type);
	free(*v);
	*v = NULL;
}

void vx_scale_cells(const struct vx_scale *s, unsigned grid, const struct vx_box *box, uint64_t lo[3], uint64_t hi[3])
{
	const uint64_t *chunk = s->grids[grid].chunk;

	assert(grid < s->ngrids && !vx_box_empty(box) && vx_box_contains(&s->bounds, box));
	for (int d = 0; d < 3; d++) {
		lo[d] = (uint64_t)(box->lo[d] - s->bounds.lo[d]) / chunk[d];
		hi[d] = vx_div_up((uint64_t)(box->hi[d] - s->bounds.lo[d]), chunk[d]);
	}
}

struct vx_box vx_scale_cell_box(const struct vx_scale *s, unsigned grid, const uint64_t cell[3])
{
	const struct vx_grid *g = &s->grids[grid];
	struct vx_box b;

	assert(grid < s->ngrids);
	for (int d = 0; d < 3; d++) {
		assert(cell[d] < g->cells[d]);
		b.lo[d] = s->bounds.lo[d] + (int64_t)(cell[d] * g->chunk[d]);
		b.hi[d] = vx_min_i64(b.lo[d] + (int64_t)g->chunk[d], s->bounds.hi[d]);
	}
	return b;
}

unsigned vx_scale_best_grid(const struct vx_scale *s, const struct vx_box *box)
{
	uint64_t best_voxels = UINT64_MAX, best_chunks = UINT64_MAX;
	unsigned best = 0;

	for (unsigned g = 0; g < s->ngrids; g++) {
		uint64_t lo[3], hi[3], voxels = 1, chunks = 1;

		vx_scale_cells(s, g, box, lo, hi);
		for (int d = 0; d < 3; d++) {
			const uint64_t chunk = s->grids[g].chunk[d];

			voxels *= vx_min_u64(hi[d] * chunk, vx_box_extent(&s->bounds, d)) - lo[d] * chunk;
			chunks *= hi[d] - lo[d];
		}
		if (voxels < best_voxels || (voxels == best_voxels && chunks < best_chunks)) {
			best = g;
			best_voxels = voxels;
			best_chunks = chunks;
		}
	}
	return best;
}

void vx_scale_slab(const struct vx_volume *v, const struct vx_scale *s, unsigned grid, uint32_t slab, uint32_t *first,
		   uint32_t *n)
{
	uint32_t chunk = s->grids[grid].chunk_c;

	assert(slab < s->grids[grid].slabs);
	*first = slab * chunk;
	*n = v->channels - *first < chunk ? v->channels - *first : chunk;
}

struct vx_chunk_form vx_scale_form(const struct vx_volume *v, const struct vx_scale *s, unsigned grid,
				   const struct vx_cell *cell)
{
	struct vx_box box = vx_scale_cell_box(s, grid, cell->at);
	struct vx_chunk_form f = {.width = vx_dtype_width(v->dtype),
				  .params = v->format && v->format->params ? v->format->params(s, cell) : s->params};
	uint32_t first;

	vx_scale_slab(v, s, grid, cell->slab, &first, &f.channels);
	vx_box_extents(&box, f.n);
	memcpy(f.block, s->block, sizeof f.block);
	return f;
}

bool vx_volume_box_bytes(const struct vx_volume *v, const struct vx_box *box, uint64_t *ret)
{
	uint64_t n;

	if (!vx_box_voxels(box, &n) || !vx_mul_u64(n, v->channels, &n) ||
	    !vx_mul_u64(n, vx_dtype_width(v->dtype), &n) || n > INT64_MAX)
		return false;
	*ret = n;
	return true;
}
