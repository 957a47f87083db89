/* SPDX-License-Identifier: Apache-2.0
 * Shards, from numbers of chunks to spans of bytes: the format's own vectors, what writers wrote, and what nobody
 * should.
 */
#include "../lib/vxtest.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "vol/shard.h"
#include "voxgen_shard.h"

#include <string.h>

static struct vx_pool *pool;

static void setup(void)
{
	ck_assert_int_eq(vx_pool_new(&pool, 0), 0);
}

static void teardown(void)
{
	vx_pool_free(&pool);
}

static struct vx_buf *buf_of(const void *data, size_t len)
{
	struct vx_buf *b = vx_buf_get(pool, len ? len : 1);

	memcpy(b->data, data, len);
	b->len = len;
	return b;
}

/* ---- where a chunk belongs ---- */

START_TEST(morton)
{
	static const struct {
		uint64_t cells[3], at[3], code;
	} v[] = {
	    {{5, 3, 1}, {1, 1, 0}, 0x3},
	    {{5, 3, 1}, {2, 0, 0}, 0x4},
	    {{5, 3, 1}, {4, 2, 0}, 0x18},
	    {{4, 4, 4}, {1, 2, 3}, 0x35},
	    {{10, 6, 3}, {3, 2, 1}, 0x1d},
	    {{10, 6, 3}, {0, 0, 2}, 0x20},
	    {{10, 6, 3}, {0, 4, 0}, 0x80},
	    {{10, 6, 3}, {8, 0, 0}, 0x100},
	    {{10, 6, 3}, {9, 5, 2}, 0x1a3},
	    {{1, 1, 9}, {0, 0, 8}, 0x8},
	    {{43, 1, 1024}, {21, 0, 682}, 0xa999},
	    {{43, 1, 1024}, {42, 0, 1023}, 0xfeee},
	    {{3, 300, 17}, {2, 299, 16}, 0x991a},
	    {{42943, 16000, 9000000}, {4660, 1383, 563900}, 0x22058aa8bd9d2},
	    {{42943, 16000, 9000000}, {42942, 15999, 8999999}, 0x2259e5d92bfffe},
	    {{1 << 21, 1 << 21, 1 << 21}, {2097151, 2097151, 2097151}, 0x7fffffffffffffff},
	    {{1, 1, 1}, {0, 0, 0}, 0},
	};
	const uint64_t widest[3] = {(uint64_t)1 << 22, 1 << 21, 1 << 21},
		       last[3] = {(1 << 22) - 1, (1 << 21) - 1, (1 << 21) - 1};

	for (size_t i = 0; i < VX_ARRAY_LEN(v); i++)
		ck_assert_uint_eq(vx_compressed_morton(v[i].cells, v[i].at), v[i].code);
	ck_assert_uint_eq(vx_compressed_morton_bits(widest), 64);
	ck_assert_uint_eq(vx_compressed_morton(widest, last), UINT64_MAX);
}
END_TEST

START_TEST(murmur)
{
	static const uint64_t v[][2] = {
	    {0x0, 0x4772b084e028ae41},
	    {0x1, 0xe8bd67d616d4ce9a},
	    {0x2, 0xd62f9cd21b013f5a},
	    {0xff, 0x4e2fc5b5b87bf79a},
	    {0x100, 0x4964fc5b464976da},
	    {0xffffffff, 0x007260ffc08751be},
	    {0x100000000, 0xbbb12d133b78fd64},
	    {0x0123456789abcdef, 0x708036264c109d93},
	    {0x09000000007c94d2, 0x57d6e6fc96d3f555},
	    {0xffffffffffffffff, 0x574f66bd212b5d1a},
	};

	for (size_t i = 0; i < VX_ARRAY_LEN(v); i++)
		ck_assert_uint_eq(vx_murmur64(v[i][0]), v[i][1]);
}
END_TEST

static struct vx_sharding precomputed(unsigned preshift, unsigned minishard, unsigned shard, bool hash)
{
	return (struct vx_sharding){.kind = VX_SHARD_PRECOMPUTED,
				    .preshift_bits = preshift,
				    .minishard_bits = minishard,
				    .shard_bits = shard,
				    .murmur = hash};
}

/* With one row of cells, a chunk's id is its x. */
static struct vx_shard_at find(const struct vx_sharding *s, uint64_t id)
{
	const uint64_t cells[3] = {UINT64_MAX, 1, 1}, at[3] = {id, 0, 0};
	struct vx_shard_at ret;

	vx_shard_find(s, cells, at, 0, &ret);
	return ret;
}

START_TEST(places_and_names)
{
	static const struct {
		unsigned bits[3];
		bool murmur;
		uint64_t id, minishard;
		const char *name;
	} v[] = {
	    {{0, 3, 9}, true, 0, 1, "k/1c8.shard"},
	    {{0, 3, 9}, true, 1, 2, "k/1d3.shard"},
	    {{0, 3, 9}, true, 255, 2, "k/0f3.shard"},
	    {{0, 3, 9}, true, 648518346349515986, 5, "k/0aa.shard"},
	    {{9, 3, 8}, false, 511, 0, "k/00.shard"},
	    {{9, 3, 8}, false, 512, 1, "k/00.shard"},
	    {{9, 3, 8}, false, 4095, 7, "k/00.shard"},
	    {{9, 3, 8}, false, 4096, 0, "k/01.shard"},
	    {{9, 3, 8}, false, 1048575, 7, "k/ff.shard"},
	    {{0, 0, 0}, false, 77, 0, "k/0.shard"},
	    {{0, 0, 1}, false, 77, 0, "k/1.shard"},
	    {{0, 0, 4}, false, 77, 0, "k/d.shard"},
	    {{0, 0, 5}, false, 77, 0, "k/0d.shard"},
	    {{64, 3, 8}, false, UINT64_MAX - 1, 0, "k/00.shard"},
	    {{63, 1, 8}, false, UINT64_MAX - 1, 1, "k/00.shard"},
	    {{0, 0, 64}, false, 0xfedcba9876543210, 0, "k/fedcba9876543210.shard"},
	    {{0, 64, 0}, false, 0xfedcba9876543210, 0xfedcba9876543210, "k/0.shard"},
	    {{0, 1, 63}, false, 0xfedcba9876543211, 1, "k/7f6e5d4c3b2a1908.shard"},
	};

	for (size_t i = 0; i < VX_ARRAY_LEN(v); i++) {
		struct vx_sharding s = precomputed(v[i].bits[0], v[i].bits[1], v[i].bits[2], v[i].murmur);
		struct vx_shard_at at = find(&s, v[i].id);
		size_t len = strlen(v[i].name);
		char name[64];

		ck_assert_uint_eq(at.minishard, v[i].minishard);
		ck_assert_uint_eq(at.chunk, v[i].id);
		ck_assert_int_eq(vx_shard_name(&s, "k", at.shard[0], name, sizeof name), (int)len);
		ck_assert_str_eq(name, v[i].name);
		ck_assert_int_eq(vx_shard_name(&s, "k", at.shard[0], name, len), -ENAMETOOLONG);
		ck_assert_int_eq(vx_shard_name(&s, "", at.shard[0], name, sizeof name), (int)len - 2);
	}
}
END_TEST

START_TEST(checks)
{
	struct vx_sharding zarr = {
	    .kind = VX_SHARD_ZARR, .cells = {4, 3, 2}, .stride = {1, 4, 12}, .slabs = 2, .stride_c = 24};
	struct vx_sharding s;
	struct vx_err e;

	s = precomputed(64, 58, 6, true);
	ck_assert_int_eq(vx_sharding_check(&s, &e), 0);
	s = precomputed(65, 0, 0, false);
	ck_assert_int_eq(vx_sharding_check(&s, &e), -EBADMSG);
	s = precomputed(0, 3, 62, false);
	ck_assert_int_eq(vx_sharding_check(&s, &e), -EBADMSG);
	ck_assert_str_eq(e.why, "shard_bits is 62; with minishard_bits 3 it must be at most 61");
	s = precomputed(0, 59, 0, false);
	ck_assert_int_eq(vx_sharding_check(&s, &e), -EFBIG);
	ck_assert_int_eq(vx_sharding_check(&zarr, &e), 0);
	zarr.stride_c = 25;
	ck_assert_int_eq(vx_sharding_check(&zarr, &e), -EBADMSG);
	zarr.stride_c = UINT64_MAX;
	ck_assert_int_eq(vx_sharding_check(&zarr, &e), -EBADMSG);
	zarr.stride_c = 24;
	zarr.cells[1] = 0;
	ck_assert_int_eq(vx_sharding_check(&zarr, &e), -EBADMSG);
	zarr.cells[1] = (uint64_t)1 << 62;
	ck_assert_int_eq(vx_sharding_check(&zarr, &e), -EFBIG);
}
END_TEST

/* ---- whole shards ---- */

struct shard {
	const uint8_t *data;
	size_t len;
	bool unsized; /* the store does not say how long it is */
};

static struct vx_shard_version version_of(const struct shard *f)
{
	return (struct vx_shard_version){.total = f->unsized ? 0 : f->len};
}

/* Reads as a store does. */
static struct vx_buf *read_span(const struct shard *f, const struct vx_span *span)
{
	uint64_t len = span->suffix ? vx_min_u64(span->len, f->len) : span->len;
	uint64_t off = span->suffix ? f->len - len : span->off;

	if (off > f->len || len > f->len - off)
		return NULL;
	return buf_of(f->data + off, len);
}

/* The whole way: 1 and the chunk's bytes, 0 when it is not there, or an error. */
static int get(const struct vx_sharding *s, const struct shard *f, const struct vx_shard_at *at, uint64_t max,
	       struct vx_buf **ret, struct vx_err *e)
{
	struct vx_shard_version v = version_of(f);
	struct vx_span span = vx_shard_root_span(s, at);
	VX_AUTO_BUF struct vx_buf *bytes = read_span(f, &span);
	VX_AUTO_BUF struct vx_buf *root = NULL;
	VX_AUTO_BUF struct vx_buf *leaf = NULL;
	VX_AUTO_BUF struct vx_buf *stored = NULL;
	int r;

	if (!bytes)
		return vx_fail(e, -EBADMSG, "short");
	r = vx_shard_root_new(pool, s, at, &v, bytes->data, bytes->len, &root, e);
	if (r < 0)
		return r;
	if (vx_shard_has_leaves(s)) {
		r = vx_shard_leaf_span(s, at, root, &span, e);
		if (r <= 0)
			return r;
		stored = read_span(f, &span);
		if (!stored)
			return vx_fail(e, -EBADMSG, "short");
		r = vx_shard_leaf_new(pool, s, at, &v, stored, &leaf, e);
		if (r < 0)
			return r;
	}
	r = vx_shard_chunk_span(s, at, leaf ? leaf : root, max, &span, e);
	if (r <= 0)
		return r;
	*ret = read_span(f, &span);
	return *ret ? 1 : vx_fail(e, -EBADMSG, "short");
}

static void expect(const struct vx_sharding *s, const struct shard *f, const struct vx_shard_at *at, const char *want)
{
	VX_AUTO_BUF struct vx_buf *got = NULL;
	struct vx_err e = {0};
	int r = get(s, f, at, 1000, &got, &e);

	ck_assert_msg(r == (want ? 1 : 0), "%d %s", r, e.why);
	if (!want)
		return;
	ck_assert_uint_eq(got->len, strlen(want));
	ck_assert_int_eq(memcmp(got->data, want, got->len), 0);
}

static void expect_damage(const struct vx_sharding *s, const struct shard *f, const struct vx_shard_at *at,
			  const char *words)
{
	struct vx_buf *got = NULL;
	struct vx_err e = {0};

	ck_assert_int_eq(get(s, f, at, 1000, &got, &e), -EBADMSG);
	ck_assert_msg(strstr(e.why, words) != NULL, "\"%s\" has no \"%s\"", e.why, words);
}

#define U64(...) ((const uint64_t[]){__VA_ARGS__})

static void put64(uint8_t *to, const uint64_t *v, size_t n)
{
	memcpy(to, v, n * 8);
}

/* As CloudVolume writes it: chunks 0 "AAAA", 2 "BB", 6 "D", and 3 "CCC". */
static void cloudvolume_shard(uint8_t f[138])
{
	put64(f, U64(10, 82, 82, 106), 4);
	memcpy(f + 32, "AAAABBDCCC", 10);
	put64(f + 42, U64(0, 2, 4, 0, 0, 0, 4, 2, 1), 9);
	put64(f + 114, U64(3, 7, 3), 3);
}

static void expect_all(const struct vx_sharding *s, const struct shard *f)
{
	static const char *const want[] = {"AAAA", NULL, "BB", "CCC", NULL, NULL, "D", NULL};

	for (uint64_t id = 0; id < 8; id++) {
		struct vx_shard_at at = find(s, id);

		expect(s, f, &at, want[id]);
	}
}

START_TEST(shard_of_cloudvolume)
{
	struct vx_sharding s = precomputed(0, 1, 0, false);
	uint8_t f[138];
	struct shard sh = {f, sizeof f, false};

	cloudvolume_shard(f);
	expect_all(&s, &sh);
}
END_TEST

START_TEST(shard_of_tensorstore)
{
	struct vx_sharding s = precomputed(0, 1, 0, false);
	uint8_t f[138];
	struct shard sh = {f, sizeof f, true};

	put64(f, U64(0x07, 0x4f, 0x52, 0x6a), 4);
	memcpy(f + 32, "AAAABBD", 7);
	put64(f + 39, U64(0, 2, 4, 0, 0, 0, 4, 2, 1), 9);
	memcpy(f + 111, "CCC", 3);
	put64(f + 114, U64(3, 0x4f, 3), 3);
	expect_all(&s, &sh);
}
END_TEST

/* A shard of one minishard with these rows behind 16 bytes of data. */
static struct shard one_minishard(uint8_t *f, const uint64_t *rows, size_t n)
{
	memcpy(f + 16, "0123456789abcdef", 16);
	if (n)
		put64(f + 32, rows, 3 * n);
	put64(f, U64(16, 16 + 24 * n), 2);
	return (struct shard){f, 32 + 24 * n, false};
}

START_TEST(odd_but_sound)
{
	struct vx_sharding s = precomputed(0, 0, 0, false);
	uint8_t f[256];
	struct shard sh;
	struct vx_shard_at at;

	/* backwards */
	sh = one_minishard(f, U64(0, 2, 9, (uint64_t)(6 - 13), 4, 3), 2);
	at = find(&s, 0);
	expect(&s, &sh, &at, "9abc");
	at = find(&s, 2);
	expect(&s, &sh, &at, "678");
	/* unsorted, twice listed (the first counts), overlapping, without bytes */
	sh = one_minishard(f, U64(5, (uint64_t)-2, 2, 4, 0, (uint64_t)-3, (uint64_t)-2, 2, 3, 2, 4, 0), 4);
	at = find(&s, 5);
	expect(&s, &sh, &at, "012");
	at = find(&s, 3);
	expect(&s, &sh, &at, "01");
	at = find(&s, 9);
	expect(&s, &sh, &at, NULL);
	/* no chunk at all */
	sh = one_minishard(f, NULL, 0);
	expect(&s, &sh, &at, NULL);
}
END_TEST

START_TEST(damaged_leaves)
{
	struct vx_sharding s = precomputed(0, 0, 0, false), two = precomputed(0, 1, 0, false);
	uint8_t f[256];
	struct shard sh = one_minishard(f, U64(0, 41, 0x10), 1);
	struct vx_shard_at at = find(&s, 0), odd = find(&two, 1);

	expect_damage(&s, &sh, &at, "where the shard has no chunk");
	sh = one_minishard(f, U64(0, (uint64_t)-16, 4), 1); /* the shard index is no data */
	expect_damage(&s, &sh, &at, "where the shard has no chunk");
	sh = one_minishard(f, U64(0, 1, UINT64_MAX), 1);
	expect_damage(&s, &sh, &at, "where the shard has no chunk");
	sh = one_minishard(f, U64(0, (uint64_t)INT64_MAX, 5), 1);
	sh.unsized = true;
	expect_damage(&s, &sh, &at, "where the shard has no chunk");
	sh = one_minishard(f, U64(0, 0, 1001), 1);
	sh.unsized = true;
	expect_damage(&s, &sh, &at, "more than the 1000 it can need");
	sh = one_minishard(f, U64(0, 0, 4), 1);
	put64(f, U64(16, 16 + 23), 2);
	expect_damage(&s, &sh, &at, "23 bytes, which is no multiple of 24");
	s.index_gzip = true;
	sh = one_minishard(f, U64(0, 0, 4), 1);
	expect_damage(&s, &sh, &at, "the index of minishard 0: gzip data is damaged");
	cloudvolume_shard(f);
	put64(f + 114, U64(2, 7, 3), 3);
	sh = (struct shard){f, 138, false};
	expect_damage(&two, &sh, &odd, "lists chunk 2, which belongs to minishard 0");
}
END_TEST

START_TEST(damaged_roots)
{
	struct vx_sharding s = precomputed(0, 1, 0, false);
	struct vx_shard_at at = find(&s, 0);
	uint8_t f[138];
	struct shard sh = {f, sizeof f, false};
	static const uint64_t bad[][2] = {
	    {10, 9}, {1, UINT64_MAX}, {UINT64_MAX - 40, UINT64_MAX}, {0, 107}, {107, 131}};

	for (size_t i = 0; i < VX_ARRAY_LEN(bad); i++) {
		cloudvolume_shard(f);
		put64(f, bad[i], 2);
		expect_damage(&s, &sh, &at, "not in the shard");
	}
	cloudvolume_shard(f);
	put64(f, U64(0, VX_MAX_SHARD_INDEX_BYTES + 1), 2);
	sh.unsized = true;
	expect_damage(&s, &sh, &at, "more than 67108864");
	cloudvolume_shard(f);
	put64(f, U64(82, 82), 2);
	expect(&s, &sh, &at, NULL);
	sh.len = 31;
	expect_damage(&s, &sh, &at, "short");
}
END_TEST

/* A shard index of more than one block is read block by block. */
START_TEST(blocks)
{
	struct vx_sharding s = precomputed(0, 13, 4, false), huge = precomputed(0, 58, 0, false);
	struct vx_shard_at at = find(&s, 8191), first = find(&s, 4095);
	struct vx_span span = vx_shard_root_span(&s, &at);

	ck_assert_uint_eq(span.off, 65536);
	ck_assert_uint_eq(span.len, 65536);
	ck_assert_uint_eq(vx_shard_root_block(&s, &at), 1);
	ck_assert_uint_eq(vx_shard_root_block(&s, &first), 0);
	at = find(&huge, ((uint64_t)1 << 58) - 1);
	span = vx_shard_root_span(&huge, &at);
	ck_assert_uint_eq(span.off + span.len, (uint64_t)1 << 62);
}
END_TEST

static void write_and_read(const struct vx_sharding *s, struct vxt_rng *r)
{
	struct vg_shard *w = vg_shard_new(s);
	struct shard sh = {0};
	struct vx_shard_at at[200];
	char text[200][12];
	unsigned n = 0;

	/* one shard's worth, minishard by minishard, every third left out */
	for (uint64_t m = 0; m < (s->kind == VX_SHARD_ZARR ? 1 : (uint64_t)1 << s->minishard_bits); m++)
		for (uint64_t id = 0; id < 150; id++) {
			struct vx_shard_at a =
			    s->kind == VX_SHARD_ZARR ? (struct vx_shard_at){.chunk = id} : find(s, id);

			if (a.shard[0] || a.minishard != m || n == 200)
				continue;
			snprintf(text[n], sizeof text[n], "%u", (unsigned)vxt_rnd(r, 1000000));
			at[n] = a;
			if (id % 3)
				ck_assert_int_eq(vg_shard_add(w, &a, text[n], strlen(text[n])), 0);
			else
				text[n][0] = 0;
			n++;
		}
	sh.data = vg_shard_finish(w, &sh.len);
	for (unsigned i = 0; i < n; i++)
		expect(s, &sh, &at[i], text[i][0] ? text[i] : NULL);
	vg_shard_free(&w);
}

START_TEST(round_trip)
{
	struct vxt_rng r = vxt_seed("round_trip", _i);

	for (int i = 0; i < 8; i++) {
		struct vx_sharding s = precomputed((unsigned)vxt_rnd(&r, 65), (unsigned)vxt_rnd(&r, 5),
						   (unsigned)vxt_rnd(&r, 6), vxt_rnd(&r, 2));
		struct vx_sharding z = {.kind = VX_SHARD_ZARR,
					.cells = {5, 6, 5},
					.stride = {1, 5, 30},
					.slabs = 1,
					.index_at_end = vxt_rnd(&r, 2),
					.index_big_endian = vxt_rnd(&r, 2),
					.index_crc32c = vxt_rnd(&r, 2)};

		s.index_gzip = vxt_rnd(&r, 2);
		write_and_read(&s, &r);
		write_and_read(&z, &r);
	}
}
END_TEST

/* ---- Zarr ---- */

/* Two by two chunks, as zarr-python writes them: uint16, the index behind the data. */
static const uint8_t zarr_shard[84] = {
    1,   0,   2,   0,   3,   0,   4,   0,   5,   0,   5,   0,   5,   0,   5,   0,   0,   0,    0,    0,    0,
    0,   0,   0,   8,   0,   0,   0,   0,   0,   0,   0,   255, 255, 255, 255, 255, 255, 255,  255,  255,  255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,  255,  255,  255,
    255, 8,   0,   0,   0,   0,   0,   0,   0,   8,   0,   0,   0,   0,   0,   0,   0,   0x67, 0x29, 0x49, 0x8b,
};

static struct vx_sharding zarr_two_by_two(void)
{
	return (struct vx_sharding){.kind = VX_SHARD_ZARR,
				    .cells = {2, 2, 1},
				    .stride = {1, 2, 0},
				    .slabs = 1,
				    .index_at_end = true,
				    .index_crc32c = true};
}

START_TEST(zarr)
{
	struct vx_sharding s = zarr_two_by_two();
	const uint64_t cells[3] = {4, 4, 1};
	struct shard sh = {zarr_shard, sizeof zarr_shard, false};
	struct vx_shard_at at;
	VX_AUTO_BUF struct vx_buf *got = NULL;
	struct vx_err e;

	ck_assert_uint_eq(vx_crc32c("123456789", 9), 0xe3069283);
	vx_shard_find(&s, cells, (const uint64_t[]){3, 3, 0}, 0, &at);
	ck_assert(at.shard[0] == 1 && at.shard[1] == 1 && at.shard[2] == 0 && at.chunk == 3);
	ck_assert_int_eq(get(&s, &sh, &at, 100, &got, &e), 1);
	ck_assert_int_eq(memcmp(got->data, zarr_shard + 8, 8), 0);
	vx_shard_find(&s, cells, (const uint64_t[]){0, 1, 0}, 0, &at);
	ck_assert_uint_eq(at.chunk, 2);
	expect(&s, &sh, &at, NULL);
}
END_TEST

static void damage_zarr(uint64_t off, uint64_t len, bool at_end)
{
	struct vx_sharding s = zarr_two_by_two();
	struct vx_shard_at at = {.chunk = 0};
	uint8_t f[sizeof zarr_shard];
	struct shard sh = {f, sizeof f, false};

	memcpy(f, zarr_shard, sizeof f);
	if (!at_end)
		memcpy(f, zarr_shard + 16, 64);
	s.index_at_end = at_end;
	s.index_crc32c = false;
	sh.len = 80;
	put64(f + (at_end ? 16 : 0), U64(off, len), 2);
	expect_damage(&s, &sh, &at, "where the shard has no chunk");
}

START_TEST(damaged_zarr)
{
	struct vx_sharding s = zarr_two_by_two();
	struct vx_shard_at at = {.chunk = 0};
	uint8_t f[sizeof zarr_shard];
	struct shard sh = {f, sizeof f, false};

	for (size_t i = 16; i < sizeof f; i++) {
		memcpy(f, zarr_shard, sizeof f);
		f[i] ^= 4;
		expect_damage(&s, &sh, &at, "its checksum is");
	}
	sh.len = 60;
	expect_damage(&s, &sh, &at, "60 bytes of its index instead of 68");
	damage_zarr(0, 0, true);
	damage_zarr(0, 17, true);
	damage_zarr(16, 1, true);
	damage_zarr(UINT64_MAX, 8, true);
	damage_zarr(0, UINT64_MAX, true);
	damage_zarr(UINT64_MAX - 3, 8, true);
	damage_zarr(1 << 20, 8, true);
	damage_zarr(63, 8, false);
	damage_zarr(73, 8, false);
}
END_TEST

START_TEST(versions)
{
	const struct vx_shard_version none = {0}, a = {.total = 5}, b = {.total = 6}, c = {.total = 5, .etag = 1},
				      d = {.etag = 2};

	ck_assert(vx_shard_same(&none, &a) && vx_shard_same(&a, &c) && vx_shard_same(&a, &d));
	ck_assert(!vx_shard_same(&a, &b) && !vx_shard_same(&c, &d));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("shard");
	TCase *t = tcase_create("shard");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, morton);
	tcase_add_test(t, murmur);
	tcase_add_test(t, places_and_names);
	tcase_add_test(t, checks);
	tcase_add_test(t, shard_of_cloudvolume);
	tcase_add_test(t, shard_of_tensorstore);
	tcase_add_test(t, odd_but_sound);
	tcase_add_test(t, damaged_leaves);
	tcase_add_test(t, damaged_roots);
	tcase_add_test(t, blocks);
	tcase_add_loop_test(t, round_trip, 0, 5);
	tcase_add_test(t, zarr);
	tcase_add_test(t, damaged_zarr);
	tcase_add_test(t, versions);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return vxt_run(suite());
}
