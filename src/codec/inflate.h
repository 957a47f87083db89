/* SPDX-License-Identifier: Apache-2.0
 * Private to the codecs: the decompressors that compression at rest and the chains of Zarr and N5 share, and the buffer
 * they write to. It has the exact length from the start where that is known; else a guess sizes it and it grows, never
 * past the limit: a bomb costs at most `limit` bytes of buffer, and pages of it that were never written cost nothing.
 *
 * Any thread. Each thread keeps one decompressor of each kind (deflate, zstd) until it ends.
 */
#ifndef VX_CODEC_INFLATE_H
#define VX_CODEC_INFLATE_H

#include "base/buf.h"
#include "base/err.h"

#define OUT_FIRST_GUESS ((uint64_t)64 << 10)

/* Set limit, exact, front, what and e; out_new does the rest. Whoever made it owns `buf`, on failure too. */
struct out {
	uint64_t limit;   /* of what is unpacked: exact where that is known */
	uint64_t exact;   /* 0: not known */
	uint64_t front;   /* bytes before it that the caller will fill */
	const char *what; /* "gzip" */
	struct vx_err *e;
	struct vx_buf *buf; /* len: front, and what is there for good */
	uint64_t room;      /* bytes that may be used: buf->cap, but not past the limit */
};

static inline uint8_t *out_at(const struct out *o)
{
	return o->buf->data + o->buf->len;
}

static inline uint64_t out_left(const struct out *o)
{
	return o->room - o->buf->len;
}

int out_new(struct out *o, struct vx_pool *pool, uint64_t guess);
/* At least doubles the room, up to the limit; fails at the limit. */
int out_grow(struct out *o);
/* -EBADMSG and the sentence for data that goes on behind the limit. */
int out_too_long(const struct out *o);
/* Whether all that must be there is. */
int out_end(const struct out *o);

/* Each makes o->buf and unpacks all of data into it: all members of gzip, all frames of zstd. */
int inflate_gzip(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o);
int inflate_zlib(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o);
int inflate_zstd(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o);

#endif
