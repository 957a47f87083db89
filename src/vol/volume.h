/* SPDX-License-Identifier: Apache-2.0
 * What a volume is: dtype, channels, scales, chunk grids. Read once, constant afterwards, so any
 * thread may look.
 */
#ifndef VX_VOL_VOLUME_H
#define VX_VOL_VOLUME_H

#include "base/box.h"
#include "base/err.h"
#include "codec/codec.h"
#include "vol/shard.h"

enum vx_dtype { VX_U8, VX_I8, VX_U16, VX_I16, VX_U32, VX_I32, VX_U64, VX_I64, VX_F32, VX_F64, VX_F16, VX_BOOL };

const char *vx_dtype_name(enum vx_dtype t); /* "uint8", as numpy says it */
uint32_t vx_dtype_width(enum vx_dtype t);
bool vx_dtype_find(const char *name, enum vx_dtype *ret); /* case-insensitive */

/* One way in which a scale is cut into chunks. */
struct vx_grid {
	uint64_t chunk[3]; /* voxels of a whole chunk */
	uint64_t cells[3]; /* chunks along each axis */
	uint32_t chunk_c;  /* channels of a whole chunk */
	uint32_t slabs;    /* chunks along the channel axis */
};

/* One chunk: a cell of the grid, and a slab of its channels. `time` is the time point it is wanted for: each is a
 * coordinate space of its own, also where several lie in one chunk. */
struct vx_cell {
	uint64_t at[3];
	uint32_t slab;
	uint32_t time;
};

/* What an axis of a stored array became. */
enum vx_role { VX_ROLE_NONE, VX_ROLE_X, VX_ROLE_Y, VX_ROLE_Z, VX_ROLE_CHANNEL, VX_ROLE_TIME };

struct vx_axis {
	char name[32], unit[32]; /* as the metadata says; "" where it says nothing */
	enum vx_role role;       /* VX_ROLE_NONE: of length 1, left out */
};

#define VX_AXES_MAX 5

struct vx_scale;

/* The rules by which a format stores the chunks of a scale. */
struct vx_format {
	const char *name; /* "precomputed" */
	/* The key of a chunk's object, relative to the volume's directory; the length, or -ENAMETOOLONG. */
	int (*chunk_name)(const struct vx_scale *s, unsigned grid, const struct vx_cell *cell, char *ret, size_t size);
	/* Optional: what the codec must know of a cell; else it is the scale's own params. */
	const void *(*params)(const struct vx_scale *s, const struct vx_cell *cell);
	bool packed_at_rest; /* objects may be packed beyond what the metadata says: by suffix or magic */
	bool missing_fills;  /* a chunk that is not there is the fill value; else that is an error unless asked for */
};

extern const struct vx_format vx_format_precomputed;

struct vx_scale {
	char *key;            /* directory of the chunks, relative to the volume's, normalised, may begin with
				 ../; "" is the volume's own */
	struct vx_box bounds; /* voxel_offset and size; not empty */
	double resolution[3]; /* in the volume's unit; 0: not known */
	char *encoding;       /* as the metadata spells it: the name of a codec that may be unknown here */
	const struct vx_codec *codec;
	uint32_t block[3]; /* compressed_segmentation_block_size */
	void *params;      /* what the codec and the format need to know besides; owned */
	void (*free_params)(void *params);
	struct vx_sharding
	    *sharding;   /* owned; NULL: each chunk is an object of its own. Else chunk_name names its shard */
	uint8_t fill[8]; /* one voxel of a chunk that is not there */
	unsigned ngrids;
	struct vx_grid *grids;
	struct vx_err bad; /* code != 0: this scale cannot be read, and why. The fields above are then there to
			      be shown; those that were not understood are zero */
};

struct vx_volume {
	const struct vx_format *format;
	char *type; /* "image" or "segmentation", as the metadata says */
	enum vx_dtype dtype;
	uint32_t channels;
	uint32_t times;      /* time points, >= 1; every scale has the same */
	bool *time_absent;   /* owned; NULL: all are there. Else `times` of them: true where a time point is not */
	double time_step;    /* between two of them, in time_unit; 0: not known */
	char time_unit[32];  /* "" when the metadata names none */
	char voxel_unit[32]; /* "nm" where the metadata's is understood, else as it says; "" when it says none */
	unsigned naxes;      /* axes of the stored arrays, in their order; 0: the format has fixed ones */
	struct vx_axis axis[VX_AXES_MAX];
	unsigned nscales;
	struct vx_scale *scales; /* 0 is the finest */
};

/* Parses the `info` document of a Neuroglancer Precomputed volume. A bad scale does not spoil the
 * others; a volume without one good scale is an error (its first bad scale's sentence).
 * -EBADMSG: the document breaks the format; -EOPNOTSUPP: sound, but of a kind not supported here;
 * -EFBIG: beyond a limit; -ENOMEM. Each sentence names the member by its path. */
int vx_precomputed_parse(const char *json, size_t len, struct vx_volume **ret, struct vx_err *e);
void vx_volume_free(struct vx_volume **v);

/* ---- cells: one chunk of one grid
 * ------------------------------------------------------------------------------ */

/* The cells of grid `grid` that `box` (inside bounds) meets: first, and one past the last. */
void vx_scale_cells(const struct vx_scale *s, unsigned grid, const struct vx_box *box, uint64_t lo[3], uint64_t hi[3]);

/* Voxels of a cell, clipped to the volume. */
struct vx_box vx_scale_cell_box(const struct vx_scale *s, unsigned grid, const uint64_t cell[3]);

/* The grid that costs least for the box: fewest bytes of chunks touched, then fewest chunks. */
unsigned vx_scale_best_grid(const struct vx_scale *s, const struct vx_box *box);

/* Channels [*first, *first + *n) of a slab. */
void vx_scale_slab(const struct vx_volume *v, const struct vx_scale *s, unsigned grid, uint32_t slab, uint32_t *first,
		   uint32_t *n);

/* "<key>/x0-x1_y0-y1_z0-z1"; returns the length, or -ENAMETOOLONG. */
int vx_precomputed_chunk_name(const struct vx_scale *s, const struct vx_box *cell_box, char *ret, size_t size);

struct vx_chunk_form vx_scale_form(const struct vx_volume *v, const struct vx_scale *s, unsigned grid,
				   const struct vx_cell *cell);

/* Bytes of a box of this volume; false when they do not fit 63 bits. */
bool vx_volume_box_bytes(const struct vx_volume *v, const struct vx_box *box, uint64_t *ret);

/* ---- what users see
 * ------------------------------------------------------------------------------------------- */

/* Box names: "x0-x1_y0-y1_z0-z1" in canonical decimal ("-5-0_...", never "+1", "01" or "-0").
 * Parsing takes the whole string [s, s+len); any other spelling, or lo >= hi, or a coordinate
 * beyond VX_MAX_EXTENT, is false. */
bool vx_box_parse(const char *s, size_t len, struct vx_box *ret);
#define VX_BOX_NAME_MAX 128
int vx_box_print(const struct vx_box *b, char ret[VX_BOX_NAME_MAX]); /* returns the length */

/* info.json of one scale of a volume, malloc'd text with a final newline; the schema is
 * tools/info.schema.json. Of a bad scale it says why, and null for what is not known. `time` is the time point, or
 * VX_ALL_TIMES for the folder that holds them. NULL when memory is short. Bytes of `name` and `source` that are no
 * UTF-8 are shown as "?". */
#define VX_ALL_TIMES UINT32_MAX
char *vx_info_json(const struct vx_volume *v, unsigned scale, uint32_t time, const char *name, const char *source);

#endif
