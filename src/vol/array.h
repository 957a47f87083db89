/* SPDX-License-Identifier: Apache-2.0
 * One array of Zarr or N5: what its metadata says, and how it becomes a scale of a volume. Documents come from outside:
 * everything is checked here, once, so that nobody downstream needs to. Pure, any thread.
 *
 * Axes are listed as Zarr has them, the slowest first; N5 lists its own the other way round, and is turned when parsed.
 */
#ifndef VX_VOL_ARRAY_H
#define VX_VOL_ARRAY_H

#include "codec/filter.h"
#include "vol/json.h"
#include "vol/nested.h"
#include "vol/volume.h"

#define VX_ARRAY_RANK_MAX VX_CHAIN_RANK_MAX

extern const struct vx_format vx_format_zarr2, vx_format_zarr3, vx_format_n5;

/* One shard: what is in it, and what is around it. */
struct vx_shard_level {
	uint64_t part[VX_CHAIN_RANK_MAX];  /* lengths of each of its parts */
	unsigned order[VX_CHAIN_RANK_MAX]; /* of the entries of its index: axis order[0] is the slowest */
	bool index_at_end, index_big_endian, index_crc32c;
	unsigned nlinks;
	enum vx_link_kind links[VX_CHAIN_LINKS_MAX];
};

struct vx_array {
	const struct vx_format *format;
	enum vx_dtype dtype;
	unsigned rank;                      /* 2 to 5 */
	char name[VX_ARRAY_RANK_MAX][32];   /* of the axes; "" where nothing is said */
	uint64_t shape[VX_ARRAY_RANK_MAX];  /* an axis may be empty */
	uint64_t object[VX_ARRAY_RANK_MAX]; /* lengths of what one key holds: a chunk, or a shard */
	uint64_t inner[VX_ARRAY_RANK_MAX];  /* of the innermost chunks: object's, or a part of them */
	uint64_t
	    chunk[VX_ARRAY_RANK_MAX]; /* of what is read at once: the largest of both and all between that can be */
	uint8_t fill[8];              /* one element, little-endian */

	/* how a chunk is stored */
	unsigned order[VX_ARRAY_RANK_MAX]; /* axis order[0] is the slowest in its bytes */
	bool big_endian, n5_header;
	unsigned nfilters;
	struct vx_filter filters[VX_FILTERS_MAX]; /* in the order of writing */
	unsigned nlinks;
	enum vx_link_kind links[VX_CHAIN_LINKS_MAX]; /* in the order in which they are undone */
	char encoding[96];                           /* for people: "bytes", "zstd", "delta, blosc" */

	/* shards around them, the outermost first: objects are those */
	unsigned nshards;
	struct vx_shard_level shard[VX_SHARD_LEVELS_MAX];

	/* the key of an object: indices joined by the separator */
	uint32_t times_apart; /* N5 of BigDataViewer: so many time points, each an array of its own and of this form,
				 in timepoint<M>/ before the last part of the path; 0: it is one array */
	char separator;       /* 0: the document does not say */
	bool key_c;           /* "c" in front */
	bool key_fast_first;  /* N5 */
};

/* -EBADMSG: the document breaks the format; -EOPNOTSUPP: sound, but of a kind not supported here, which the sentence
 * names; -EFBIG: beyond a limit; -ENOMEM. */
int vx_zarr2_parse(const char *text, size_t len, struct vx_array *ret, struct vx_err *e);
/* Of a group's document: -EISDIR. */
int vx_zarr3_parse(const char *text, size_t len, struct vx_array *ret, struct vx_err *e);
int vx_n5_parse(const char *text, size_t len, struct vx_array *ret, struct vx_err *e);
/* Whether chunks of two datasets of N5 are read in the same way. */
bool vx_n5_is_same_form(const struct vx_array *a, const struct vx_array *b);

/* ---- pieces the parsers share ---- */

/* A list of exactly *rank lengths within [min, VX_MAX_EXTENT]; *rank 0: any number up to the largest, which it becomes.
 */
int vx_array_lengths(const struct vx_json *j, int64_t min, unsigned *rank, uint64_t *ret, struct vx_err *e);
/* "." or "/" between the indices of a key. */
int vx_array_separator(const struct vx_json *j, struct vx_array *a, struct vx_err *e);
/* The fill value of an element. `v2`: null is zero, base64 of the element's bytes is understood (in the array's byte
 * order), 0 and 1 are booleans. */
int vx_array_fill(const struct vx_json *j, struct vx_array *a, bool v2, struct vx_err *e);
/* numcodecs' codecs that go from bytes to bytes, by id: Zarr v2's compressors, and "numcodecs.*" of v3. -EOPNOTSUPP for
 * those that there are not. */
int vx_array_numcodec(const struct vx_json *j, const char *id, enum vx_link_kind *ret, struct vx_err *e);
/* Adds a filter of elements that stands before all compressors: 1; 0 when `id` is none; or the failure. */
int vx_array_filter(const struct vx_json *config, const char *id, struct vx_array *a, struct vx_err *e);
/* The end of each parser: sets `chunk`. */
void vx_array_settle(struct vx_array *a);
/* Links are put down in the order of writing: turns them round. */
void vx_links_turn(enum vx_link_kind *links, unsigned n);
/* Notes the name of a codec in `encoding`. */
void vx_array_note(struct vx_array *a, const char *codec);

/* ---- axes ---- */

enum vx_axis_kind { VX_AXIS_ANY, VX_AXIS_SPACE, VX_AXIS_IS_CHANNEL, VX_AXIS_IS_TIME, VX_AXIS_OTHER };

/* Gives each axis its role: by kind, then by name, then by place (from the last: x, y, z, channel, time). -EOPNOTSUPP
 * when one is left over that has more than one entry. */
int vx_axes_assign(struct vx_axis *axis, const enum vx_axis_kind *kind, const uint64_t *shape, unsigned n,
		   struct vx_err *e);

/* ---- scales ---- */

/* Makes scale `s` of the volume, whose dtype, channels, times and axes are set, from the array in directory `dir` ("":
 * the volume's own). */
int vx_array_scale(const struct vx_array *a, const char *dir, const struct vx_volume *v, struct vx_scale *s,
		   struct vx_err *e);
/* Entries of the axis with this role; 1 when there is none. Time points may also be apart. */
uint64_t vx_array_extent(const struct vx_array *a, const struct vx_axis *axis, enum vx_role role);

#endif
