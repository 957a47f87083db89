/* SPDX-License-Identifier: Apache-2.0
 * The links of a chain that pack whole blocks: blosc and both kinds of lz4. Their headers say how long the data are;
 * that is held against what must come out before any memory is taken.
 */
#include "codec/chain_links.h"

#include <blosc.h>
#include <inttypes.h>
#include <limits.h>
#include <lz4.h>
#include <string.h>
#include <xxhash.h>

#include "base/check.h"

static uint32_t le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

/* What a header says of the length, before anything is done with it. */
static int check_promise(const struct out *o, uint64_t promise)
{
	if (promise > o->limit)
		return out_too_long(o);
	if (o->exact && promise != o->exact)
		return vx_fail(o->e, -EBADMSG, "%s data says it has %" PRIu64 " bytes instead of %" PRIu64, o->what,
			       promise, o->exact);
	return 0;
}

/* ---- blosc ---- */

#define BLOSC_FLAG_RESERVED 8
#define BLOSC_FLAG_WHOLE 0x10
#define BLOSC_SPLIT_MAX_TYPE 16
#define BLOSC_SPLIT_MIN_ITEMS 128

struct blosc_head {
	uint8_t version, flags;
	uint32_t type, bytes, block, packed;
};

static const char *const blosc_codecs[8] = {"blosclz", "lz4", "snappy", "zlib", "zstd", NULL, NULL, NULL};

static struct blosc_head blosc_read_head(const uint8_t *data)
{
	return (struct blosc_head){.version = data[0],
				   .flags = data[2],
				   .type = data[3],
				   .bytes = le32(data + 4),
				   .block = le32(data + 8),
				   .packed = le32(data + 12)};
}

/* A split block that is no whole number of elements comes out short, and nobody would see where. */
static bool splits_unevenly(const struct blosc_head *h)
{
	return !(h->flags & (BLOSC_FLAG_WHOLE | BLOSC_MEMCPYED)) && h->type <= BLOSC_SPLIT_MAX_TYPE &&
	       h->block / h->type >= BLOSC_SPLIT_MIN_ITEMS && h->block % h->type;
}

static int check_blosc(const struct out *o, const uint8_t *data, size_t len, struct blosc_head *h)
{
	size_t bytes;

	if (len < BLOSC_MIN_HEADER_LENGTH)
		return vx_fail(o->e, -EBADMSG, "blosc data of %zu bytes is cut off", len);
	*h = blosc_read_head(data);
	if (h->version != BLOSC_VERSION_FORMAT)
		return vx_fail(o->e, -EBADMSG, "blosc data has version %u, which is not known", h->version);
	if (h->packed != len)
		return vx_fail(o->e, -EBADMSG, "blosc data has %zu bytes but says %u", len, h->packed);
	if (h->flags & BLOSC_FLAG_RESERVED || h->type == 0 || h->block == 0 || h->block > vx_max_u64(h->bytes, 1) ||
	    splits_unevenly(h))
		return vx_fail(o->e, -EBADMSG, "the header of blosc data is damaged (type %u, block %u, flags 0x%x)",
			       h->type, h->block, h->flags);
	if (blosc_cbuffer_validate(data, len, &bytes) < 0 || bytes != h->bytes)
		return vx_fail(o->e, -EBADMSG, "the header of blosc data is damaged");
	return check_promise(o, bytes);
}

static int blosc_failed(const struct out *o, const struct blosc_head *h)
{
	const char *codec = blosc_codecs[h->flags >> 5];

	if (!(h->flags & BLOSC_MEMCPYED) && !codec)
		return vx_fail(o->e, -EBADMSG, "blosc data has codec %d, which is not known", h->flags >> 5);
	if (!(h->flags & BLOSC_MEMCPYED) && blosc_compname_to_compcode(codec) < 0)
		return vx_fail(o->e, -EOPNOTSUPP, "blosc data is packed with %s, which this libblosc lacks", codec);
	return vx_fail(o->e, -EBADMSG, "blosc data is damaged");
}

int undo_blosc(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o)
{
	struct blosc_head h = {0};
	int err = check_blosc(o, data, len, &h), got;

	if (err == 0)
		err = out_new(o, pool, h.bytes);
	if (err < 0)
		return err;
	/* With exactly the room there must be, and one thread: the library's own pool is global. */
	got = blosc_decompress_ctx(data, out_at(o), h.bytes, 1);
	if (got < 0 || (uint32_t)got != h.bytes)
		return blosc_failed(o, &h);
	o->buf->len += h.bytes;
	return 0;
}

/* ---- lz4 with a length in front ---- */

static int unpack_lz4_block(const struct out *o, const uint8_t *data, size_t len, uint8_t *to, size_t bytes)
{
	int got = len > INT_MAX || bytes > INT_MAX
		      ? -1
		      : LZ4_decompress_safe((const char *)data, (char *)to, (int)len, (int)bytes);

	if (got < 0 || (size_t)got != bytes)
		return vx_fail(o->e, -EBADMSG, "lz4 data is damaged or cut off");
	return 0;
}

int undo_lz4(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o)
{
	uint32_t bytes;
	int err;

	if (len < 4)
		return vx_fail(o->e, -EBADMSG, "lz4 data of %zu bytes is cut off", len);
	bytes = le32(data);
	err = check_promise(o, bytes);
	if (err == 0)
		err = out_new(o, pool, bytes);
	if (err == 0)
		err = unpack_lz4_block(o, data + 4, len - 4, out_at(o), bytes);
	if (err == 0)
		o->buf->len += bytes;
	return err;
}

/* ---- lz4 in blocks, as Java writes it ---- */

#define JAVA_HEAD 21
#define JAVA_MAGIC "LZ4Block"
#define JAVA_STORED 0x10
#define JAVA_LZ4 0x20
#define JAVA_LEVEL_BASE 10 /* a block of level n has up to 2^(10+n) bytes */
#define JAVA_SEED 0x9747b28c
#define JAVA_CHECKSUM_BITS 0x0fffffff

struct java_block {
	uint8_t method;
	uint32_t packed, bytes, checksum;
	const uint8_t *data;
};

static int java_damaged(const struct out *o, const char *what)
{
	return vx_fail(o->e, -EBADMSG, "lz4 data of Java is damaged: %s", what);
}

/* Reads the block at *data and moves behind it; a block of 0 bytes is the end mark. */
static int java_next(const struct out *o, const uint8_t **data, size_t *len, struct java_block *b)
{
	const uint8_t *p = *data;

	if (*len < JAVA_HEAD)
		return java_damaged(o, "it is cut off");
	if (memcmp(p, JAVA_MAGIC, 8))
		return java_damaged(o, "no block begins where one should");
	*b = (struct java_block){.method = p[8] & 0xf0,
				 .packed = le32(p + 9),
				 .bytes = le32(p + 13),
				 .checksum = le32(p + 17),
				 .data = p + JAVA_HEAD};
	if (b->method != JAVA_STORED && b->method != JAVA_LZ4)
		return java_damaged(o, "a block's method is not known");
	if (b->bytes > (uint32_t)1 << (JAVA_LEVEL_BASE + (p[8] & 0xf)) || !b->bytes != !b->packed ||
	    (b->method == JAVA_STORED && b->bytes != b->packed) || (!b->bytes && b->checksum))
		return java_damaged(o, "a block's lengths are wrong");
	if (b->packed > *len - JAVA_HEAD)
		return java_damaged(o, "it is cut off");
	*data += JAVA_HEAD + b->packed;
	*len -= JAVA_HEAD + b->packed;
	return 0;
}

static int java_promise(const struct out *o, const uint8_t *data, size_t len, uint64_t *ret)
{
	struct java_block b = {0};

	*ret = 0;
	do {
		int err = java_next(o, &data, &len, &b);

		if (err < 0)
			return err;
		*ret += b.bytes; /* each has a header in memory: no overflow */
	} while (b.bytes);
	if (len)
		return vx_fail(o->e, -EBADMSG, "lz4 data of Java is followed by %zu bytes too many", len);
	return check_promise(o, *ret);
}

static int java_block(struct out *o, const struct java_block *b)
{
	int err = 0;

	if (b->method == JAVA_LZ4)
		err = unpack_lz4_block(o, b->data, b->packed, out_at(o), b->bytes);
	else
		memcpy(out_at(o), b->data, b->bytes);
	if (err < 0)
		return err;
	if ((XXH32(out_at(o), b->bytes, JAVA_SEED) & JAVA_CHECKSUM_BITS) != b->checksum)
		return java_damaged(o, "a block's checksum differs");
	o->buf->len += b->bytes;
	return 0;
}

int undo_lz4_java(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o)
{
	struct java_block b = {0};
	uint64_t bytes;
	int err = java_promise(o, data, len, &bytes);

	if (err == 0)
		err = out_new(o, pool, bytes);
	while (err == 0) {
		err = java_next(o, &data, &len, &b);
		if (err < 0 || !b.bytes)
			break;
		err = java_block(o, &b);
	}
	return err;
}

/* ---- all ---- */

/* Some writers took the one for the other. Their first bytes never agree. */
static int undo_gzip(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o)
{
	bool zlib = len >= 2 && (data[0] & 0xf) == 8 && (data[0] << 8 | data[1]) % 31 == 0;

	if (!zlib)
		return inflate_gzip(pool, data, len, o);
	o->what = "zlib";
	return inflate_zlib(pool, data, len, o);
}

static int undo_zlib(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o)
{
	bool gzip = len >= 2 && data[0] == 0x1f && data[1] == 0x8b;

	if (!gzip)
		return inflate_zlib(pool, data, len, o);
	o->what = "gzip";
	return inflate_gzip(pool, data, len, o);
}

static const struct {
	const char *what;
	int (*undo)(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o);
} links[] = {
    [VX_LINK_GZIP] = {"gzip", undo_gzip},    [VX_LINK_ZLIB] = {"zlib", undo_zlib},
    [VX_LINK_ZSTD] = {"zstd", inflate_zstd}, [VX_LINK_BLOSC] = {"blosc", undo_blosc},
    [VX_LINK_LZ4] = {"lz4", undo_lz4},       [VX_LINK_LZ4_JAVA] = {"lz4", undo_lz4_java},
    [VX_LINK_BZIP2] = {"bzip2", undo_bzip2}, [VX_LINK_XZ] = {"xz", undo_xz},
};

int link_undo(enum vx_link_kind kind, struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o)
{
	int err;

	if ((size_t)kind >= VX_ARRAY_LEN(links))
		return vx_fail(o->e, -EINVAL, "compressor %d is not known", (int)kind);
	o->what = links[kind].what;
	if (len == 0)
		return vx_fail(o->e, -EBADMSG, "there are no %s data where some must be", o->what);
	err = links[kind].undo(pool, data, len, o);
	return err < 0 ? err : out_end(o);
}

uint64_t link_packed_max(enum vx_link_kind kind, uint64_t bytes)
{
	switch (kind) {
	case VX_LINK_CRC32C:
		return bytes + CRC32C_BYTES;
	case VX_LINK_LZ4_JAVA: /* a header for each 64 bytes at worst */
		return bytes + bytes / 2 + 4096;
	default: /* what cannot be packed is stored, in pieces of a kilobyte at least */
		return bytes + bytes / 8 + 4096;
	}
}
