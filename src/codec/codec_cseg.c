/* SPDX-License-Identifier: Apache-2.0
 * The compressed_segmentation encoding: blocks of a few labels each, a table of labels and an index
 * of 0 to 32 bits per voxel. Decodes only the blocks that the part touches, straight to their
 * place; nothing else of the chunk is even looked at, save the channel offsets.
 *
 * Every offset in the data is hostile until checked, in 64-bit words from the channel's start. Each
 * block is checked once: its values must lie inside, and its table must hold the largest index that
 * its width allows. Only where the table is too near the end for that is each index looked at. What
 * passes the first test goes through the loops of cseg_rows.c, eight voxels at a time; the rest,
 * and blocks whose rows are no multiple of 8, through the loop here.
 */
#include "codec/cseg.h"
#include "codec/stream.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"

/* Chunks may end in words that nothing refers to. */
#define SLACK_BYTES ((uint64_t)64 << 10)
#define MAX_PAYLOAD (2 * VX_MAX_CHUNK_BYTES)
/* More voxels than any values of a block could cover; keeps 32 times this within 64 bits. */
#define BLOCK_VOXELS_CAP ((uint64_t)1 << 58)
#define STAGE_BYTES ((uint64_t)16 << 10)

/* How voxels reach a destination too large for the caches. */
enum way {
	STORED,   /* it is not: ordinary stores */
	STREAMED, /* rows of eights are cache lines of it: the loops stream them */
	STAGED,   /* decode some blocks to the stack, then stream whole lines from there */
};

struct chan {
	const struct vx_chunk_form *f;
	const struct cseg_kernels *k;
	const struct vx_box *part;
	struct vx_err *e;
	const uint8_t *words; /* from the channel's start */
	uint64_t n_words;
	uint64_t grid[3];
	uint64_t block_voxels; /* capped */
	struct vx_place to;
	uint32_t index;
	enum way way;
};

struct block {
	const uint8_t *values, *table;
	uint64_t labels; /* that fit between `table` and the end, at most 2^bits */
	uint32_t bits;
	uint64_t lo[3], n[3]; /* the wanted voxels, counted from the block's corner */
	uint8_t *to;          /* the first of them */
};

static inline uint32_t load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

static uint64_t block_voxels(const struct vx_chunk_form *f)
{
	uint64_t n;

	if (!vx_mul_u64(f->block[0], f->block[1], &n) || !vx_mul_u64(n, f->block[2], &n))
		return BLOCK_VOXELS_CAP;
	return vx_min_u64(n, BLOCK_VOXELS_CAP);
}

static bool block_grid(const struct vx_chunk_form *f, uint64_t grid[3], uint64_t *ret_blocks)
{
	for (int d = 0; d < 3; d++) {
		if (f->block[d] == 0)
			return false;
		grid[d] = vx_div_up(f->n[d], f->block[d]);
	}
	return vx_mul_u64(grid[0], grid[1], ret_blocks) && vx_mul_u64(*ret_blocks, grid[2], ret_blocks);
}

/* The widest values (32 bits) and a table of its own for each block. */
static uint64_t max_payload(const struct vx_chunk_form *f)
{
	uint64_t grid[3], blocks, per_block, labels = 1, total, wpl = f->width / 4;

	if (!block_grid(f, grid, &blocks))
		return MAX_PAYLOAD;
	for (int d = 0; d < 3; d++)
		labels *= vx_min_u64(f->block[d], f->n[d]); /* at most the chunk's voxels */
	if (!vx_mul_u64(labels, wpl, &per_block) || !vx_add_u64(per_block, 2 + block_voxels(f), &per_block) ||
	    !vx_mul_u64(per_block, blocks, &total) || !vx_add_u64(total, 1, &total) ||
	    !vx_mul_u64(total, f->channels, &total) || !vx_mul_u64(total, 4, &total) ||
	    !vx_add_u64(total, SLACK_BYTES, &total))
		return MAX_PAYLOAD;
	return vx_min_u64(total, MAX_PAYLOAD);
}

static uint64_t exact_payload(const struct vx_chunk_form *f)
{
	return 0;
}

/* Which of the loops in cseg_rows.c: there is none for 32; -1 for a width that is not legal. */
static inline int bits_class(uint32_t bits)
{
	if (bits == 0)
		return 0;
	return bits <= 32 && (bits & (bits - 1)) == 0 ? __builtin_ctz(bits) + 1 : -1;
}

/* ---- any block ----------------------------------------------------------------------------- */

/* One row of n voxels whose first index is at bit `p`; false when an index is beyond the table. */
static inline __attribute__((always_inline)) bool any_row(uint8_t *to, const struct block *b, uint64_t p, uint64_t n,
							  uint32_t bits, uint32_t width)
{
	uint32_t mask = bits == 32 ? 0xffffffff : (1u << bits) - 1;

	for (uint64_t x = 0; x < n; x++, p += bits) {
		uint32_t i = bits ? (load32(b->values + p / 32 * 4) >> (p % 32)) & mask : 0;

		if (VX_UNLIKELY(i >= b->labels))
			return false;
		memcpy(to + x * width, b->table + (uint64_t)i * width, width);
	}
	return true;
}

static bool any_row_of(uint8_t *to, const struct block *b, uint64_t p, uint64_t n, uint32_t width)
{
#define ROW(bits) (width == 8 ? any_row(to, b, p, n, bits, 8) : any_row(to, b, p, n, bits, 4))
	switch (b->bits) {
	case 0:
		return ROW(0);
	case 1:
		return ROW(1);
	case 2:
		return ROW(2);
	case 4:
		return ROW(4);
	case 8:
		return ROW(8);
	case 16:
		return ROW(16);
	default:
		return ROW(32);
	}
#undef ROW
}

/* Columns x..x+n of the wanted rows. */
static bool any_columns(const struct chan *c, const struct block *b, uint64_t x, uint64_t n)
{
	const uint32_t *size = c->f->block;
	uint8_t *to = b->to + (x - b->lo[0]) * c->f->width;

	for (uint64_t z = 0; z < b->n[2]; z++)
		for (uint64_t y = 0; y < b->n[1]; y++) {
			/* with 0 bits the block may be too large to count, and is not counted */
			uint64_t p = b->bits ? b->bits * (x + size[0] * (b->lo[1] + y + size[1] * (b->lo[2] + z))) : 0;

			if (!any_row_of(to + z * c->to.plane + y * c->to.row, b, p, n, c->f->width))
				return false;
		}
	return true;
}

/* ---- rows of eights ------------------------------------------------------------------------ */

static void rows_of_eights(const struct chan *c, const struct block *b, int class, uint64_t x, uint64_t n)
{
	uint64_t vrow = (uint64_t)b->bits * (c->f->block[0] / 8), vplane = b->bits ? vrow * c->f->block[1] : 0;
	struct cseg_rows r = {
	    .to = b->to + (x - b->lo[0]) * c->f->width,
	    .row = c->to.row,
	    .plane = c->to.plane,
	    .values = b->values + b->lo[2] * vplane + b->lo[1] * vrow + x / 8 * b->bits,
	    .vrow = vrow,
	    .vplane = vplane,
	    .table = b->table,
	    .groups = n / 8,
	    .ny = b->n[1],
	    .nz = b->n[2],
	};
	bool wide = c->f->width == 8;
	cseg_rows_fn *stream = c->way == STREAMED && (uintptr_t)r.to % 64 == 0 ? c->k->stream[wide][class] : NULL;

	(stream ? stream : c->k->rows[wide][class])(&r);
}

static bool block_rows(const struct chan *c, const struct block *b, int class)
{
	uint64_t lo = b->lo[0], hi = lo + b->n[0];
	uint64_t first = vx_round_up(lo, 8), last = hi & ~(uint64_t)7;

	if (c->f->block[0] % 8 || class >= CSEG_BITS_CLASSES || b->labels < (uint64_t)1 << b->bits || first >= last)
		return any_columns(c, b, lo, b->n[0]);
	rows_of_eights(c, b, class, first, last - first);
	return (lo == first || any_columns(c, b, lo, first - lo)) && (hi == last || any_columns(c, b, last, hi - last));
}

/* ---- blocks -------------------------------------------------------------------------------- */

static int bad_block(const struct chan *c, const uint64_t at[3], const char *what)
{
	return vx_fail(c->e, -EBADMSG,
		       "compressed_segmentation: block %" PRIu64 ",%" PRIu64 ",%" PRIu64 " of channel %u %s", at[0],
		       at[1], at[2], c->index, what);
}

/* The part's share of the block, and where it goes. */
static void block_share(const struct chan *c, const uint64_t at[3], struct block *b)
{
	uint64_t off[3];

	for (int d = 0; d < 3; d++) {
		uint64_t start = at[d] * c->f->block[d];
		uint64_t lo = vx_max_u64(start, (uint64_t)c->part->lo[d]);
		uint64_t hi = vx_min_u64(start + c->f->block[d], (uint64_t)c->part->hi[d]);

		b->lo[d] = lo - start;
		b->n[d] = hi - lo;
		off[d] = lo - (uint64_t)c->part->lo[d];
	}
	b->to = c->to.at + off[0] * c->f->width + off[1] * c->to.row + off[2] * c->to.plane;
}

static int decode_block(const struct chan *c, const uint64_t at[3])
{
	uint64_t i = at[0] + c->grid[0] * (at[1] + c->grid[1] * at[2]);
	uint32_t head = load32(c->words + i * 8);
	uint64_t values = load32(c->words + i * 8 + 4), table = head & 0xffffff, wpl = c->f->width / 4;
	struct block b = {.bits = head >> 24};
	int class = bits_class(b.bits);

	if (VX_UNLIKELY(class < 0))
		return bad_block(c, at, "has values of a width that is none of 0, 1, 2, 4, 8, 16, 32 bits");
	if (b.bits) {
		uint64_t count = vx_div_up(b.bits * c->block_voxels, 32);

		if (VX_UNLIKELY(values > c->n_words || count > c->n_words - values))
			return bad_block(c, at, "has values beyond the end of the chunk");
		b.values = c->words + values * 4;
	} else {
		b.values = c->words; /* never read */
	}
	if (VX_UNLIKELY(table > c->n_words))
		return bad_block(c, at, "has a table beyond the end of the chunk");
	b.table = c->words + table * 4;
	b.labels = vx_min_u64((c->n_words - table) / wpl, (uint64_t)1 << b.bits);
	block_share(c, at, &b);
	if (VX_UNLIKELY(!block_rows(c, &b, class)))
		return bad_block(c, at, "uses a label beyond the end of the chunk");
	return 0;
}

static void blocks_of(const struct chan *c, uint64_t lo[3], uint64_t hi[3])
{
	for (int d = 0; d < 3; d++) {
		lo[d] = (uint64_t)c->part->lo[d] / c->f->block[d];
		hi[d] = vx_div_up((uint64_t)c->part->hi[d], c->f->block[d]);
	}
}

static int decode_part(const struct chan *c)
{
	uint64_t lo[3], hi[3], at[3];

	blocks_of(c, lo, hi);
	for (at[2] = lo[2]; at[2] < hi[2]; at[2]++)
		for (at[1] = lo[1]; at[1] < hi[1]; at[1]++)
			for (at[0] = lo[0]; at[0] < hi[0]; at[0]++) {
				int err = decode_block(c, at);

				if (VX_UNLIKELY(err < 0))
					return err;
			}
	return 0;
}

/* The blocks `at` to at + n (along x), by way of the stack. */
static int decode_staged(const struct chan *c, const uint64_t at[3], uint64_t n)
{
	_Alignas(64) uint8_t stage[STAGE_BYTES];
	struct vx_box batch = *c->part, tile;
	struct chan staged = *c;
	struct vx_place to;
	uint64_t size[3];
	int err;

	for (int d = 0; d < 3; d++) {
		tile.lo[d] = (int64_t)(at[d] * c->f->block[d]);
		tile.hi[d] = tile.lo[d] + (int64_t)(c->f->block[d] * (d == 0 ? n : 1));
	}
	vx_box_clip(c->part, &tile, &batch); /* every block here meets the part */
	vx_box_extents(&batch, size);
	staged.part = &batch;
	staged.way = STORED;
	staged.to = vx_place_packed(stage, size, c->f->width);
	err = decode_part(&staged);
	if (err < 0)
		return err;
	to = vx_place_at(&c->to, c->part, &batch, c->f->width);
	stream_copy(&to, &staged.to, size, 1, c->f->width);
	return 0;
}

/* How many blocks along x fit the stage; 0 when not even one does. */
static uint64_t stage_blocks(const struct vx_chunk_form *f)
{
	uint64_t bytes;

	if (!vx_mul_u64(block_voxels(f), f->width, &bytes) || bytes > STAGE_BYTES)
		return 0;
	return STAGE_BYTES / bytes;
}

static int decode_channel(const struct chan *c)
{
	uint64_t lo[3], hi[3], at[3], n = stage_blocks(c->f);

	if (c->way != STAGED || n == 0)
		return decode_part(c);
	blocks_of(c, lo, hi);
	for (at[2] = lo[2]; at[2] < hi[2]; at[2]++)
		for (at[1] = lo[1]; at[1] < hi[1]; at[1]++)
			for (at[0] = lo[0]; at[0] < hi[0]; at[0] += n) {
				int err = decode_staged(c, at, vx_min_u64(n, hi[0] - at[0]));

				if (VX_UNLIKELY(err < 0))
					return err;
			}
	return 0;
}

static enum way choose_way(const struct chan *c)
{
	uint64_t first = (uint64_t)c->part->lo[0] % 8 * 8; /* where the line of the first group starts */
	bool lines = c->f->width == 8 && c->f->block[0] % 8 == 0 && c->k->stream[1][0] &&
		     (c->to.row | c->to.plane | c->to.chan) % 64 == 0 && ((uintptr_t)c->to.at - first) % 64 == 0;

	if (!stream_worthwhile(&c->to, vx_box_extent(c->part, 2)))
		return STORED;
	return lines ? STREAMED : STAGED;
}

int cseg_decode(const struct cseg_kernels *k, const struct vx_chunk_form *f, const uint8_t *data, size_t len,
		const struct vx_box *part, const struct vx_place *to, struct vx_err *e)
{
	struct chan c = {.f = f, .k = k, .part = part, .e = e, .to = *to, .block_voxels = block_voxels(f)};
	uint64_t words = len / 4, blocks, headers;
	uint32_t picked = vx_chunk_form_picked(f);

	assert(picked <= f->channels && f->pick.first <= f->channels - picked);
	if ((f->width != 4 && f->width != 8) || !block_grid(f, c.grid, &blocks) || !vx_mul_u64(blocks, 2, &headers))
		return vx_fail(e, -EBADMSG, "compressed_segmentation cannot hold chunks of this shape or type");
	if (len % 4)
		return vx_fail(e, -EBADMSG, "compressed_segmentation: %zu bytes are no whole number of words", len);
	if (words < f->channels)
		return vx_fail(e, -EBADMSG, "compressed_segmentation: %zu bytes hold no offsets for %u channels", len,
			       f->channels);
	c.way = choose_way(&c);
	for (c.index = f->pick.first; c.index < f->pick.first + picked; c.index++) {
		uint64_t start = load32(data + (size_t)c.index * 4);
		int err;

		if (start > words || headers > words - start)
			return vx_fail(e, -EBADMSG,
				       "compressed_segmentation: channel %u starts at word %" PRIu64 " and its %" PRIu64
				       " block headers end beyond the %" PRIu64 " there are",
				       c.index, start, blocks, words);
		c.words = data + start * 4;
		c.n_words = words - start;
		c.to.at = to->at + (c.index - f->pick.first) * to->chan;
		err = decode_channel(&c);
		if (err < 0)
			return err;
	}
	if (c.way != STORED)
		stream_fence();
	return 0;
}

static int decode(const struct vx_chunk_form *f, const uint8_t *data, size_t len, const struct vx_box *part,
		  const struct vx_place *to, struct vx_err *e)
{
	return cseg_decode(cseg_kernels(cseg_best_level()), f, data, len, part, to, e);
}

const struct vx_codec vx_codec_cseg = {
    .name = "compressed_segmentation",
    .max_payload = max_payload,
    .exact_payload = exact_payload,
    .decode = decode,
};
