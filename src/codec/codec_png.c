/* SPDX-License-Identifier: Apache-2.0
 * The png encoding: 1 to 4 channels of 8 or 16 bits, interlaced or not. Through libspng rather than libpng: it undoes
 * filters with vector instructions on every build, reports by return values instead of jumps, and swaps 16-bit samples
 * for this machine but otherwise hands them out as they are stored.
 *
 * The chunks of the file are walked here first, so that its end is known and nothing may follow; and only the critical
 * ones are given to the library. Gamma, palettes of a background, colour profiles and texts must not change samples,
 * and some of them inflate to any size.
 */
#include "codec/expand.h"

#include <inttypes.h>
#include <spng.h>
#include <string.h>

#define SIGNATURE_BYTES 8
#define HEAD_BYTES 8 /* length and type */
#define CHUNK_BYTES (HEAD_BYTES + 4)
#define IEND 0x49454e44

struct png {
	spng_ctx *ctx;
	const uint8_t *at, *end; /* what the library has not read yet */
	const uint8_t *stop;     /* end of the chunk (or signature) that `at` is in */
	struct spng_ihdr head;
	struct vx_err *e;
};

static uint32_t load_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* ---- the file's chunks ---- */

/* All of them in one go: each inside the data, the last one IEND and nothing behind. */
static int walk(const uint8_t *data, size_t len, struct vx_err *e)
{
	static const uint8_t signature[SIGNATURE_BYTES] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
	size_t at = SIGNATURE_BYTES;
	uint32_t type = 0;

	if (len < SIGNATURE_BYTES || memcmp(data, signature, SIGNATURE_BYTES))
		return vx_fail(e, -EBADMSG, "the chunk is no png image");
	while (type != IEND) {
		uint64_t bytes;

		if (len - at < CHUNK_BYTES)
			return vx_fail(e, -EBADMSG, "png image is cut off");
		bytes = load_be32(data + at);
		type = load_be32(data + at + 4);
		if (bytes > len - at - CHUNK_BYTES)
			return vx_fail(e, -EBADMSG, "png image is cut off");
		at += CHUNK_BYTES + bytes;
	}
	if (at != len)
		return vx_fail(e, -EBADMSG, "png image is followed by %zu bytes too many", len - at);
	return 0;
}

/* To the next chunk that counts; the walk has been here. */
static void next_chunk(struct png *p)
{
	while (p->at < p->end) {
		bool critical = !(p->at[4] & 0x20);

		p->stop = p->at + CHUNK_BYTES + load_be32(p->at);
		if (critical)
			return;
		p->at = p->stop;
	}
}

static int give(spng_ctx *ctx, void *user, void *to, size_t len)
{
	struct png *p = user;
	uint8_t *out = to;

	while (len > 0) {
		size_t n;

		if (p->at == p->stop)
			next_chunk(p);
		n = vx_min_u64(len, (uint64_t)(p->stop - p->at));
		if (n == 0)
			return SPNG_IO_EOF;
		memcpy(out, p->at, n);
		p->at += n;
		out += n;
		len -= n;
	}
	return 0;
}

/* ---- the image ---- */

static int damaged(const struct png *p, int code)
{
	if (code == SPNG_EMEM)
		return vx_fail(p->e, -ENOMEM, "no memory for the png library");
	return vx_fail(p->e, -EBADMSG, "png image is damaged (%s)", spng_strerror(code));
}

static int check(struct png *p, const struct vx_chunk_form *f)
{
	static const uint32_t channels[7] = {[0] = 1, [2] = 3, [4] = 2, [6] = 4}; /* by colour type */
	struct expand_image i = {.what = "png"};
	int code = spng_get_ihdr(p->ctx, &p->head);

	if (code)
		return damaged(p, code);
	if (p->head.color_type > 6 || !channels[p->head.color_type])
		return vx_fail(p->e, -EBADMSG, "png image has colour type %u (a palette); samples are needed",
			       p->head.color_type);
	i.width = p->head.width;
	i.height = p->head.height;
	i.bits = p->head.bit_depth;
	i.channels = channels[p->head.color_type];
	return expand_image_check(f, &i, p->e);
}

/* Samples of several channels come pixel by pixel. Of an interlaced image no row is complete before the end. */
static int read_rows(struct png *p, const struct vx_chunk_form *f, struct vx_pool *pool, uint8_t *payload)
{
	bool whole = p->head.interlace_method != SPNG_INTERLACE_NONE;
	uint64_t width = p->head.width, row = width * f->channels * f->width;
	VX_AUTO_BUF struct vx_buf *rows = vx_buf_get(pool, whole ? row * p->head.height : row);
	int code;

	if (!rows)
		return damaged(p, SPNG_EMEM);
	if (whole)
		memset(rows->data, 0, row * p->head.height);
	code = spng_decode_image(p->ctx, NULL, 0, SPNG_FMT_PNG, SPNG_DECODE_PROGRESSIVE);
	while (code == 0) {
		struct spng_row_info at;

		code = spng_get_row_info(p->ctx, &at);
		if (code)
			break;
		code = spng_decode_row(p->ctx, rows->data + (whole ? at.row_num * row : 0), row);
		if (!whole && (code == 0 || code == SPNG_EOI))
			expand_split(f, payload, at.row_num * width, rows->data, width);
	}
	if (code != SPNG_EOI)
		return damaged(p, code);
	if (whole)
		expand_split(f, payload, 0, rows->data, expand_voxels(f));
	return 0;
}

static int read_image(struct png *p, const struct vx_chunk_form *f, struct vx_pool *pool, struct vx_buf *payload)
{
	int code, err = 0;

	if (f->channels > 1) {
		err = read_rows(p, f, pool, payload->data);
	} else {
		code = spng_decode_image(p->ctx, payload->data, payload->len, SPNG_FMT_PNG, 0);
		err = code ? damaged(p, code) : 0;
	}
	if (err < 0)
		return err;
	code = spng_decode_chunks(p->ctx);
	return code ? damaged(p, code) : 0;
}

static int expand(struct vx_pool *pool, const struct vx_chunk_form *f, struct vx_buf *stored, struct vx_buf **ret,
		  struct vx_err *e)
{
	struct png p = {.at = stored->data, .end = stored->data + stored->len, .e = e};
	VX_AUTO_BUF struct vx_buf *payload = NULL;
	int err = walk(stored->data, stored->len, e);

	if (err < 0)
		return err;
	p.stop = p.at + SIGNATURE_BYTES;
	p.ctx = spng_ctx_new(0);
	if (!p.ctx)
		return damaged(&p, SPNG_EMEM);
	err = spng_set_png_stream(p.ctx, give, &p);
	err = err ? damaged(&p, err) : check(&p, f);
	if (err == 0)
		err = expand_payload(pool, f, &payload, e);
	if (err == 0)
		err = read_image(&p, f, pool, payload);
	spng_ctx_free(p.ctx);
	if (err < 0)
		return err;
	*ret = vx_steal(payload);
	return 0;
}

/* Nothing gained, a byte of filter before each row (which may be one pixel), and frames around all that. */
static uint64_t max_stored(const struct vx_chunk_form *f)
{
	uint64_t rows = vx_chunk_form_bytes(f) + 2 * expand_voxels(f);

	return expand_stored_bound(rows + rows / 8);
}

const struct vx_codec vx_codec_png = {
    .name = "png",
    .expand = expand,
    .max_stored = max_stored,
    .max_payload = vx_chunk_form_bytes,
    .exact_payload = vx_chunk_form_bytes,
    .decode = vx_raw_decode,
};
