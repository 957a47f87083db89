/* SPDX-License-Identifier: Apache-2.0
 * What test_chain_links.c packs with: the libraries' own compressors, each way in which the formats' writers use them.
 */
#ifndef VX_TEST_CHAIN_PACKERS_H
#define VX_TEST_CHAIN_PACKERS_H

#include "../lib/vxtest.h"
#include "base/crc32c.h"
#include "codec/chain.h"

#include <blosc.h>
#include <bzlib.h>
#include <libdeflate.h>
#include <lz4.h>
#include <lz4hc.h>
#include <lzma.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

/* ---- bytes ---- */

struct bytes {
	uint8_t *p;
	size_t len, cap;
};

static inline void bytes_free(struct bytes *b)
{
	free(b->p);
}
#define AUTO_BYTES VX_CLEANUP(bytes_free) struct bytes

static inline struct bytes room(size_t cap)
{
	return (struct bytes){.p = calloc(1, cap + 1), .cap = cap};
}

static inline void add(struct bytes *b, const void *p, size_t len)
{
	if (b->len + len > b->cap) {
		b->cap = (b->len + len) * 2;
		b->p = realloc(b->p, b->cap);
	}
	memcpy(b->p + b->len, p, len);
	b->len += len;
}

static inline void add_le32(struct bytes *b, uint32_t v)
{
	add(b, &v, 4);
}

/* Runs, noise and repeated text by turns. */
static inline struct bytes sample(size_t len)
{
	struct bytes b = room(len);

	b.len = len;
	for (size_t i = 0; i < len; i++)
		b.p[i] = (uint8_t)(i % 96 < 32 ? vx_mix64(i / 3) : i % 96 < 64 ? i / 512 : (size_t) "volume!"[i % 7]);
	return b;
}

/* ---- packers ---- */

static inline struct bytes pack_deflate(const uint8_t *p, size_t len, bool gzip)
{
	struct libdeflate_compressor *z = libdeflate_alloc_compressor(6);
	struct bytes b = room(len * 2 + 4096);

	b.len = gzip ? libdeflate_gzip_compress(z, p, len, b.p, len * 2 + 4096)
		     : libdeflate_zlib_compress(z, p, len, b.p, len * 2 + 4096);
	libdeflate_free_compressor(z);
	return b;
}

static inline struct bytes pack_zstd(const uint8_t *p, size_t len, bool say_length, bool checksum)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	struct bytes b = room(len * 2 + 4096);

	ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, say_length);
	ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, checksum);
	b.len = ZSTD_compress2(c, b.p, len * 2 + 4096, p, len);
	ck_assert(!ZSTD_isError(b.len));
	ZSTD_freeCCtx(c);
	return b;
}

static inline struct bytes pack_blosc(const uint8_t *p, size_t len, const char *codec, int shuffle, size_t type,
				      int level)
{
	struct bytes b = room(len + BLOSC_MAX_OVERHEAD);
	int n = blosc_compress_ctx(level, shuffle, type, len, p, b.p, len + BLOSC_MAX_OVERHEAD, codec, 0, 1);

	ck_assert_int_gt(n, 0);
	b.len = (size_t)n;
	return b;
}

static inline struct bytes pack_lz4(const uint8_t *p, size_t len)
{
	struct bytes b = room(len * 2 + 4096);
	uint32_t n = (uint32_t)len;

	memcpy(b.p, &n, 4);
	b.len = 4 + (size_t)LZ4_compress_HC((const char *)p, (char *)b.p + 4, (int)len, (int)len * 2 + 4000, 5);
	return b;
}

static inline void java_add_block(struct bytes *b, int level, const uint8_t *p, size_t len)
{
	struct bytes z = room(len * 2 + 64);
	uint8_t token;

	z.len = (size_t)LZ4_compress_default((const char *)p, (char *)z.p, (int)len, (int)len * 2 + 64);
	token = (uint8_t)((len == 0 || z.len >= len ? 0x10 : 0x20) | level);
	if (token < 0x20) {
		z.len = len;
		memcpy(z.p, p, len);
	}
	add(b, "LZ4Block", 8);
	add(b, &token, 1);
	add_le32(b, (uint32_t)z.len);
	add_le32(b, (uint32_t)len);
	add_le32(b, len ? XXH32(p, len, 0x9747b28c) & 0x0fffffff : 0);
	add(b, z.p, z.len);
	free(z.p);
}

/* Blocks of 64 << level bytes: level 0 is Java's smallest, whose token says 1 KiB. */
static inline struct bytes pack_java(const uint8_t *p, size_t len, int level)
{
	struct bytes b = room(0);
	size_t block = level ? (size_t)1024 << level : 64;

	for (size_t i = 0; i < len; i += block)
		java_add_block(&b, level, p + i, vx_min_u64(block, len - i));
	java_add_block(&b, level, p, 0);
	return b;
}

static inline struct bytes pack_bzip2(const uint8_t *p, size_t len)
{
	unsigned n = (unsigned)len * 2 + 4096;
	struct bytes b = room(n);

	ck_assert_int_eq(BZ2_bzBuffToBuffCompress((char *)b.p, &n, (char *)(uintptr_t)p, (unsigned)len, 1, 0, 0), 0);
	b.len = n;
	return b;
}

static inline struct bytes pack_xz(const uint8_t *p, size_t len)
{
	struct bytes b = room(len * 2 + 4096);

	ck_assert_int_eq(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, p, len, b.p, &b.len, len * 2 + 4096), 0);
	return b;
}

static inline struct bytes pack_lzma(const uint8_t *p, size_t len)
{
	struct bytes b = room(len * 2 + 4096);
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_options_lzma o;

	lzma_lzma_preset(&o, 0);
	ck_assert_int_eq(lzma_alone_encoder(&s, &o), LZMA_OK);
	s.next_in = p;
	s.avail_in = len;
	s.next_out = b.p;
	s.avail_out = len * 2 + 4096;
	ck_assert_int_eq(lzma_code(&s, LZMA_FINISH), LZMA_STREAM_END);
	b.len = len * 2 + 4096 - s.avail_out;
	lzma_end(&s);
	return b;
}

static inline struct bytes pack_crc32c(const uint8_t *p, size_t len)
{
	struct bytes b = room(0);

	add(&b, p, len);
	add_le32(&b, vx_crc32c_portable(p, len));
	return b;
}

enum way {
	GZIP,
	GZIP_SAYS_ZLIB,
	ZLIB,
	ZLIB_SAYS_GZIP,
	ZSTD,
	ZSTD_STREAM,
	ZSTD_CHECKED,
	LZ4,
	JAVA_64,
	JAVA_64K,
	BZIP2,
	XZ,
	LZMA_ALONE,
	CRC32C,
	BLOSC, /* and 30 more: 5 codecs, 3 shuffles, element sizes 1 and 4; the last is copied */
	WAYS = BLOSC + 31
};

static const char *const blosc_names[] = {"blosclz", "lz4", "lz4hc", "zlib", "zstd"};

static inline enum vx_link_kind kind_of(int way)
{
	static const enum vx_link_kind kinds[] = {
	    [GZIP] = VX_LINK_GZIP,         [GZIP_SAYS_ZLIB] = VX_LINK_ZLIB,
	    [ZLIB] = VX_LINK_ZLIB,         [ZLIB_SAYS_GZIP] = VX_LINK_GZIP,
	    [ZSTD] = VX_LINK_ZSTD,         [ZSTD_STREAM] = VX_LINK_ZSTD,
	    [ZSTD_CHECKED] = VX_LINK_ZSTD, [LZ4] = VX_LINK_LZ4,
	    [JAVA_64] = VX_LINK_LZ4_JAVA,  [JAVA_64K] = VX_LINK_LZ4_JAVA,
	    [BZIP2] = VX_LINK_BZIP2,       [XZ] = VX_LINK_XZ,
	    [LZMA_ALONE] = VX_LINK_XZ,     [CRC32C] = VX_LINK_CRC32C,
	};

	return way >= BLOSC ? VX_LINK_BLOSC : kinds[way];
}

static inline bool has_checksum(int way)
{
	return way != ZSTD && way != ZSTD_STREAM && way != LZ4 && way != LZMA_ALONE && way < BLOSC;
}

static inline struct bytes pack(int way, const uint8_t *p, size_t len)
{
	int b = way - BLOSC;

	switch (way) {
	case GZIP:
	case GZIP_SAYS_ZLIB:
		return pack_deflate(p, len, true);
	case ZLIB:
	case ZLIB_SAYS_GZIP:
		return pack_deflate(p, len, false);
	case ZSTD:
		return pack_zstd(p, len, true, false);
	case ZSTD_STREAM:
		return pack_zstd(p, len, false, false);
	case ZSTD_CHECKED:
		return pack_zstd(p, len, true, true);
	case LZ4:
		return pack_lz4(p, len);
	case JAVA_64:
		return pack_java(p, len, 0);
	case JAVA_64K:
		return pack_java(p, len, 6);
	case BZIP2:
		return pack_bzip2(p, len);
	case XZ:
		return pack_xz(p, len);
	case LZMA_ALONE:
		return pack_lzma(p, len);
	case CRC32C:
		return pack_crc32c(p, len);
	case WAYS - 1:
		return pack_blosc(p, len, "lz4", 1, 4, 0);
	default:
		return pack_blosc(p, len, blosc_names[b % 5], b / 5 % 3, b / 15 ? 4 : 1, 5);
	}
}

#endif
