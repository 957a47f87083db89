/* SPDX-License-Identifier: Apache-2.0
 * Chunks of Zarr and N5: an array of up to five axes, stored through a chain of compressors and checksums. The chain is
 * undone first (that is the payload that is kept), then boxes are cut out of the array, axes permuted and bytes swapped
 * on the way. Pure functions of bytes that may be hostile; any thread.
 */
#ifndef VX_CODEC_CHAIN_H
#define VX_CODEC_CHAIN_H

#include "codec/codec.h"

#define VX_CHAIN_RANK_MAX 5
#define VX_CHAIN_LINKS_MAX 8

enum vx_link_kind {
	VX_LINK_GZIP,
	VX_LINK_ZLIB,
	VX_LINK_ZSTD,
	VX_LINK_BLOSC,
	VX_LINK_LZ4,      /* numcodecs: the length, 4 bytes little-endian, then one block */
	VX_LINK_LZ4_JAVA, /* N5: blocks of lz4-java's LZ4BlockOutputStream */
	VX_LINK_BZIP2,
	VX_LINK_XZ,
	VX_LINK_CRC32C, /* 4 bytes little-endian behind the data */
};

enum vx_chain_axis {
	VX_AXIS_X,
	VX_AXIS_Y,
	VX_AXIS_Z,
	VX_AXIS_CHANNEL,
	VX_AXIS_ONE /* time, or none of ours: the one index that is served is in `at` */
};

/* vx_chunk_form.params of vx_codec_chain; constant. */
struct vx_chain {
	unsigned nlinks;
	enum vx_link_kind link[VX_CHAIN_LINKS_MAX]; /* in the order in which they are undone */
	bool n5;                                    /* what is stored begins with N5's block header */
	bool big_endian;
	bool is_bool; /* any byte but 0 and 1 is damage */
	unsigned rank;
	/* The axes as stored, the slowest first, and the lengths of a whole chunk (Zarr stores edge chunks whole; N5
	 * may cut them short, its header says). Each of x, y, z and channel occurs at most once; those that do not
	 * have length 1. */
	enum vx_chain_axis axis[VX_CHAIN_RANK_MAX];
	uint64_t shape[VX_CHAIN_RANK_MAX];
	uint64_t at[VX_CHAIN_RANK_MAX]; /* of VX_AXIS_ONE, below its length; else 0 */
	uint32_t width;                 /* bytes of an element */
};

/* Whether all of it holds together; asked once, when a volume is opened. -EFBIG, -EINVAL and a sentence. */
int vx_chain_check(const struct vx_chain *c, struct vx_err *e);

/* Undoes compressors and checksums around bytes of no fixed length: no more than `limit` of them come out of each. *ret
 * is one reference, to `stored` itself where there was nothing to undo. */
int vx_links_undo(struct vx_pool *pool, const enum vx_link_kind *link, unsigned n, uint64_t limit,
		  struct vx_buf *stored, struct vx_buf **ret, struct vx_err *e);
/* The most bytes into which a sound writer packs `bytes`. */
uint64_t vx_link_packed_max(enum vx_link_kind kind, uint64_t bytes);

/* "zarr" and "n5" volumes use this codec; its form's params are a struct vx_chain that vx_chain_check found good, and
 * the form is no larger than its shape along any axis. It is not in the table of names.
 *
 * What is kept of a chunk (expand's result) is its array as stored, behind N5's header if it has one; of a chunk that
 * is not compressed it is the stored bytes themselves, checksums included. Of an N5 block that is smaller than the form
 * the rest is zero. */
extern const struct vx_codec vx_codec_chain;

/* Its own functions, for codecs whose params begin with a struct vx_chain and whose expand leaves what that says. */
uint64_t vx_chain_max_payload(const struct vx_chunk_form *f);
uint64_t vx_chain_exact_payload(const struct vx_chunk_form *f);
int vx_chain_decode(const struct vx_chunk_form *f, const uint8_t *data, size_t len, const struct vx_box *part,
		    const struct vx_place *to, struct vx_err *e);

#endif
