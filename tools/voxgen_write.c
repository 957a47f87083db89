/* SPDX-License-Identifier: Apache-2.0
 * From a cell of the grid to its file: fill, encode, pack, write. A writer belongs to one thread;
 * the plan is constant and the tally atomic.
 */
#include "voxgen.h"
#include "voxgen_cseg.h"
#include "voxgen_shard.h"

#include <brotli/encode.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#define PATH_BYTES 4096

struct vg_writer {
	const struct vg_plan *plan;
	struct vg_tally *tally;
	struct vg_coder *coder;
	struct libdeflate_compressor *gzip;
	ZSTD_CCtx *zstd;
	uint8_t *voxels, *packed;
	size_t voxels_cap, packed_cap;
};

struct vg_writer *vg_writer_new(const struct vg_plan *plan, struct vg_tally *tally)
{
	struct vg_writer *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->plan = plan;
	w->tally = tally;
	w->coder = vg_coder_new();
	w->gzip = libdeflate_alloc_compressor(plan->pack == VG_GZIP && plan->level >= 0 ? plan->level : 6);
	w->zstd = ZSTD_createCCtx();
	if (!w->coder || !w->gzip || !w->zstd)
		vg_writer_free(&w);
	return w;
}

void vg_writer_free(struct vg_writer **writer)
{
	struct vg_writer *w = *writer;

	*writer = NULL;
	if (!w)
		return;
	vg_coder_free(&w->coder);
	if (w->gzip)
		libdeflate_free_compressor(w->gzip);
	ZSTD_freeCCtx(w->zstd);
	free(w->voxels);
	free(w->packed);
	free(w);
}

static int make_room(uint8_t **buf, size_t *cap, size_t size)
{
	if (*cap >= size)
		return 0;
	free(*buf);
	*buf = malloc(size);
	*cap = *buf ? size : 0;
	return *buf ? 0 : -ENOMEM;
}

static int pack(struct vg_writer *w, const uint8_t **data, size_t *len)
{
	const struct vg_plan *p = w->plan;
	size_t bound = 0, got = 0;

	if (p->pack == VG_GZIP)
		bound = libdeflate_gzip_compress_bound(w->gzip, *len);
	else if (p->pack == VG_ZSTD)
		bound = ZSTD_compressBound(*len);
	else
		bound = BrotliEncoderMaxCompressedSize(*len) + 16;
	if (make_room(&w->packed, &w->packed_cap, bound) < 0)
		return -ENOMEM;
	if (p->pack == VG_GZIP) {
		got = libdeflate_gzip_compress(w->gzip, *data, *len, w->packed, bound);
	} else if (p->pack == VG_ZSTD) {
		got = ZSTD_compressCCtx(w->zstd, w->packed, bound, *data, *len, p->level >= 0 ? p->level : 3);
		if (ZSTD_isError(got))
			got = 0;
	} else {
		got = bound;
		if (!BrotliEncoderCompress(p->level >= 0 ? p->level : 5, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_GENERIC,
					   *len, *data, &got, w->packed))
			got = 0;
	}
	*data = w->packed;
	*len = got;
	return got ? 0 : -EIO;
}

int vg_write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), err = 0;

	if (fd < 0)
		return -errno;
	while (len > 0 && err == 0) {
		ssize_t n = write(fd, data, len);

		if (n > 0) {
			data = (const uint8_t *)data + n;
			len -= (size_t)n;
		} else if (n < 0 && errno != EINTR) {
			err = -errno;
		}
	}
	if (close(fd) < 0 && err == 0)
		err = -errno;
	return err;
}

static bool dropped(const struct vg_plan *p, const struct vg_grid *g, const uint64_t at[3])
{
	struct vg_content content = p->content;
	uint64_t h;

	for (unsigned i = 0; i < p->n_drops; i++)
		if ((uint64_t)p->drops[i][0] == at[0] && (uint64_t)p->drops[i][1] == at[1] &&
		    (uint64_t)p->drops[i][2] == at[2])
			return true;
	content.mip = g->mip;
	h = vg_place(&content, (int64_t)at[0], (int64_t)at[1], (int64_t)at[2], 65536);
	return (double)(h >> 11) * 0x1p-53 < p->drop;
}

static int encode(struct vg_writer *w, const struct vg_grid *g, const int64_t lo[3], const uint64_t n[3],
		  const uint8_t **ret, size_t *ret_len)
{
	const struct vg_plan *p = w->plan;
	struct vg_content content = p->content;
	uint64_t bytes = n[0] * n[1] * n[2] * p->channels * p->dtype->width;
	int err = make_room(&w->voxels, &w->voxels_cap, bytes);

	if (err < 0)
		return err;
	content.mip = g->mip;
	vg_fill(&content, p->dtype, lo, n, p->channels, w->voxels);
	atomic_fetch_add(&w->tally->voxel_bytes, bytes);
	*ret = w->voxels;
	*ret_len = bytes;
	if (p->cseg)
		err = vg_coder_encode(w->coder, w->voxels, n, p->channels, p->dtype->width, p->block, ret, ret_len);
	if (err == 0 && p->pack != VG_PLAIN)
		err = pack(w, ret, ret_len);
	return err;
}

static const struct vg_grid *grid_of(const struct vg_plan *p, uint64_t cell)
{
	const struct vg_grid *g = p->grids;

	while (g + 1 < p->grids + p->n_grids && g[1].first <= cell)
		g++;
	return g;
}

/* Where cell number `cell` of all is: false when it is to be left out. */
static bool place(const struct vg_plan *p, uint64_t cell, int64_t lo[3], int64_t hi[3])
{
	const struct vg_grid *g = grid_of(p, cell);
	uint64_t i = cell - g->first;
	uint64_t at[3] = {i % g->cells[0], i / g->cells[0] % g->cells[1], i / g->cells[0] / g->cells[1]};

	for (int d = 0; d < 3; d++) {
		uint64_t left = (uint64_t)g->size[d] - at[d] * g->chunk[d];

		lo[d] = g->offset[d] + (int64_t)(at[d] * g->chunk[d]);
		hi[d] = lo[d] + (int64_t)(left < g->chunk[d] ? left : g->chunk[d]);
	}
	return !dropped(p, g, at);
}

int vg_encode_cell(struct vg_writer *w, uint64_t cell, const uint8_t **ret, size_t *ret_len)
{
	int64_t lo[3], hi[3];
	uint64_t n[3];
	int err;

	if (!place(w->plan, cell, lo, hi)) {
		atomic_fetch_add(&w->tally->dropped, 1);
		atomic_fetch_add(&w->tally->done, 1);
		return 0;
	}
	for (int d = 0; d < 3; d++)
		n[d] = (uint64_t)(hi[d] - lo[d]);
	err = encode(w, grid_of(w->plan, cell), lo, n, ret, ret_len);
	if (err < 0)
		return err;
	atomic_fetch_add(&w->tally->done, 1);
	return 1;
}

static int finish_file(struct vg_writer *w, const char *path, int err, const uint8_t *data, size_t len)
{
	if (err >= 0)
		err = vg_write_file(path, data, len);
	if (err < 0) {
		fprintf(stderr, "voxgen: %s: %s\n", path,
			err == -EFBIG ? "chunk or block too large for compressed_segmentation" : strerror(-err));
		return err;
	}
	atomic_fetch_add(&w->tally->files, 1);
	atomic_fetch_add(&w->tally->file_bytes, len);
	return 0;
}

int vg_write_cell(struct vg_writer *w, uint64_t cell)
{
	static const char *const suffixes[] = {"", ".gz", ".br", ".zstd"};
	const struct vg_plan *p = w->plan;
	const uint8_t *data = NULL;
	int64_t lo[3], hi[3];
	char path[PATH_BYTES];
	size_t len = 0;
	int err = vg_encode_cell(w, cell, &data, &len);

	if (err == 0)
		return 0;
	place(p, cell, lo, hi);
	if (snprintf(path, sizeof path,
		     "%s/%s/%" PRId64 "-%" PRId64 "_%" PRId64 "-%" PRId64 "_%" PRId64 "-%" PRId64 "%s", p->dir,
		     grid_of(p, cell)->key, lo[0], hi[0], lo[1], hi[1], lo[2], hi[2],
		     p->suffix ? suffixes[p->pack] : "") >= PATH_BYTES)
		err = -ENAMETOOLONG;
	return finish_file(w, path, err, data, len);
}

/* ---- shards -------------------------------------------------------------------------------- */

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_shard(const void *pa, const void *pb)
{
	const struct vg_shard_cell *a = pa, *b = pb;
	int c = compare_u64(a->grid, b->grid);

	c = c ? c : compare_u64(a->at.shard[0], b->at.shard[0]);
	c = c ? c : compare_u64(a->at.minishard, b->at.minishard);
	return c ? c : compare_u64(a->at.chunk, b->at.chunk);
}

int vg_plan_shards(struct vg_plan *p)
{
	uint64_t cell = 0;

	p->places = calloc(p->n_cells, sizeof *p->places);
	p->shards = calloc(p->n_cells + 1, sizeof *p->shards);
	if (!p->places || !p->shards)
		return -ENOMEM;
	for (unsigned k = 0; k < p->n_grids; k++) {
		const struct vg_grid *g = &p->grids[k];
		uint64_t at[3];

		for (at[2] = 0; at[2] < g->cells[2]; at[2]++)
			for (at[1] = 0; at[1] < g->cells[1]; at[1]++)
				for (at[0] = 0; at[0] < g->cells[0]; at[0]++, cell++) {
					p->places[cell] = (struct vg_shard_cell){.grid = k, .cell = cell};
					vx_shard_find(p->sharding, g->cells, at, 0, &p->places[cell].at);
				}
	}
	qsort(p->places, p->n_cells, sizeof *p->places, by_shard);
	for (uint64_t i = 0; i < p->n_cells; i++)
		if (i == 0 || p->places[i].grid != p->places[i - 1].grid ||
		    p->places[i].at.shard[0] != p->places[i - 1].at.shard[0])
			p->shards[p->n_shards++] = i;
	p->shards[p->n_shards] = p->n_cells;
	return 0;
}

int vg_write_shard(struct vg_writer *w, uint64_t shard)
{
	const struct vg_plan *p = w->plan;
	const struct vg_shard_cell *first = &p->places[p->shards[shard]], *end = &p->places[p->shards[shard + 1]];
	struct vg_shard *s = vg_shard_new(p->sharding);
	const uint8_t *data = NULL;
	char name[PATH_BYTES / 2], path[PATH_BYTES];
	bool any = false;
	size_t len = 0;
	int err = s ? 0 : -ENOMEM;

	for (const struct vg_shard_cell *at = first; err >= 0 && at < end; at++) {
		err = vg_encode_cell(w, at->cell, &data, &len);
		any |= err > 0;
		if (err > 0)
			err = vg_shard_add(s, &at->at, data, len);
	}
	if (err >= 0 && !(data = vg_shard_finish(s, &len)))
		err = -ENOMEM;
	if (vx_shard_name(p->sharding, p->grids[first->grid].key, first->at.shard[0], name, sizeof name) < 0 ||
	    snprintf(path, sizeof path, "%s/%s", p->dir, name) >= PATH_BYTES)
		err = -ENAMETOOLONG;
	if (any || err < 0)
		err = finish_file(w, path, err, data, len);
	vg_shard_free(&s);
	return err < 0 ? err : 0;
}

/* ---- info ---------------------------------------------------------------------------------- */

static json_t *number(double v)
{
	return v == (double)(json_int_t)v ? json_integer((json_int_t)v) : json_real(v);
}

static json_t *sharding(const struct vx_sharding *s)
{
	return json_pack("{s:s, s:s, s:i, s:i, s:i, s:s, s:s}", "@type", "neuroglancer_uint64_sharded_v1", "hash",
			 s->murmur ? "murmurhash3_x86_128" : "identity", "preshift_bits", (int)s->preshift_bits,
			 "minishard_bits", (int)s->minishard_bits, "shard_bits", (int)s->shard_bits,
			 "minishard_index_encoding", s->index_gzip ? "gzip" : "raw", "data_encoding",
			 s->data_gzip ? "gzip" : "raw");
}

static json_t *scale(const struct vg_plan *p, unsigned mip)
{
	const struct vg_grid *g = &p->grids[mip * p->n_chunks];
	double times = (double)((uint64_t)1 << mip);
	json_t *chunks = json_array();
	json_t *s =
	    json_pack("{s:s, s:[III], s:[III], s:[ooo], s:s}", "key", g->key, "size", (json_int_t)g->size[0],
		      (json_int_t)g->size[1], (json_int_t)g->size[2], "voxel_offset", (json_int_t)g->offset[0],
		      (json_int_t)g->offset[1], (json_int_t)g->offset[2], "resolution",
		      number(p->resolution[0] * times), number(p->resolution[1] * times),
		      number(p->resolution[2] * times), "encoding", p->cseg ? "compressed_segmentation" : "raw");

	for (unsigned i = 0; i < p->n_chunks; i++)
		json_array_append_new(chunks, json_pack("[III]", (json_int_t)p->chunk[i][0], (json_int_t)p->chunk[i][1],
							(json_int_t)p->chunk[i][2]));
	json_object_set_new(s, "chunk_sizes", chunks);
	if (p->sharding)
		json_object_set_new(s, "sharding", sharding(p->sharding));
	if (p->cseg)
		json_object_set_new(s, "compressed_segmentation_block_size",
				    json_pack("[iii]", (int)p->block[0], (int)p->block[1], (int)p->block[2]));
	return s;
}

int vg_write_info(const struct vg_plan *p)
{
	json_t *scales = json_array();
	json_t *info = json_pack("{s:s, s:s, s:s, s:i, s:o}", "@type", "neuroglancer_multiscale_volume", "type",
				 p->content.kind == VG_LABELS ? "segmentation" : "image", "data_type", p->dtype->name,
				 "num_channels", (int)p->channels, "scales", scales);
	char path[PATH_BYTES], *text = NULL;
	int err = -ENOMEM;

	for (unsigned m = 0; info && m < p->n_scales; m++)
		json_array_append_new(scales, scale(p, m));
	if (info)
		text = json_dumps(info, JSON_INDENT(2));
	if (text)
		err = snprintf(path, sizeof path, "%s/info", p->dir) >= PATH_BYTES
			  ? -ENAMETOOLONG
			  : vg_write_file(path, text, strlen(text));
	free(text);
	json_decref(info);
	if (err < 0)
		fprintf(stderr, "voxgen: %s/info: %s\n", p->dir, strerror(-err));
	return err;
}
