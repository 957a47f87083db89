/* SPDX-License-Identifier: Apache-2.0
 * What voxgen's files share: the plan, which is constant once the threads run, and the two halves
 * of the work, filling a box with voxels and writing it as a chunk file.
 */
#ifndef VOXGEN_H
#define VOXGEN_H

#include "vol/shard.h"
#include "voxgen_content.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VG_MAX_CHUNK_SIZES 16
#define VG_MAX_SCALES 32
#define VG_MAX_DROPS 256

enum vg_pack { VG_PLAIN, VG_GZIP, VG_BROTLI, VG_ZSTD };

struct vg_dtype {
	const char *name;
	uint32_t width;
	bool is_float;
};

struct vg_grid { /* one chunk size of one scale */
	int64_t size[3], offset[3];
	uint64_t chunk[3], cells[3];
	uint64_t first; /* number of its first cell among those of all grids */
	uint32_t mip;
	char key[128];
};

struct vg_plan {
	const char *dir;
	int64_t size[3], offset[3];
	double resolution[3];
	uint64_t chunk[VG_MAX_CHUNK_SIZES][3];
	unsigned n_chunks, n_scales, threads;
	const struct vg_dtype *dtype;
	uint32_t channels, block[3];
	bool cseg, suffix, json, force;
	enum vg_pack pack;
	int level;                 /* -1: the library's own choice */
	struct vg_content content; /* its mip is the grid's */
	double drop;
	int64_t drops[VG_MAX_DROPS][3];
	unsigned n_drops;
	struct vx_sharding *sharding; /* NULL: a file for each chunk */
	struct vg_shard_cell *places;      /* with sharding: every chunk, in the order in which shards want them */
	uint64_t *shards, n_shards;   /* the first place of each, and one past the last of all */
	struct vg_grid grids[VG_MAX_CHUNK_SIZES * VG_MAX_SCALES];
	unsigned n_grids;
	uint64_t n_cells;
};

struct vg_tally {
	_Atomic uint64_t done, files, dropped, voxel_bytes, file_bytes;
};

/* The packed voxels of the box of n voxels at lo: x fastest, then y, z, channel. */
void vg_fill(const struct vg_content *content, const struct vg_dtype *dtype, const int64_t lo[3], const uint64_t n[3],
	     uint32_t channels, void *to);

/* One thread's writer of chunk files. */
struct vg_writer;
struct vg_writer *vg_writer_new(const struct vg_plan *plan, struct vg_tally *tally);
void vg_writer_free(struct vg_writer **writer);

/* A chunk of a sharded plan. */
struct vg_shard_cell {
	unsigned grid;
	uint64_t cell;
	struct vx_shard_at at;
};
/* Fills in places and shards. 0 or -ENOMEM. */
int vg_plan_shards(struct vg_plan *plan);
/* Writes shard number `shard` of all, unless it would be empty. As vg_write_cell. */
int vg_write_shard(struct vg_writer *writer, uint64_t shard);

/* Writes chunk number `cell` of all, or leaves it out. 0, or a negative errno after saying why on
 * stderr. */
int vg_write_cell(struct vg_writer *writer, uint64_t cell);

/* The bytes of chunk number `cell` of all as they are to be stored, the writer's until the next call: 1, 0 when it is
 * to be left out, or a negative errno. */
int vg_encode_cell(struct vg_writer *w, uint64_t cell, const uint8_t **ret, size_t *ret_len);

/* Writes `len` bytes as the file `path`. 0 or a negative errno. */
int vg_write_file(const char *path, const void *data, size_t len);

/* The volume's `info`. 0, or a negative errno after saying why on stderr. */
int vg_write_info(const struct vg_plan *plan);

#endif
