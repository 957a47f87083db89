/* SPDX-License-Identifier: Apache-2.0
 * Compression at rest: each pack with the length known and unknown, bombs, every truncation,
 * rubbish behind, several members; nothing leaks out of the pool and nothing exceeds the limit.
 */
#include "../lib/vxtest.h"
#include "codec/codec.h"

#include <brotli/encode.h>
#include <libdeflate.h>
#include <string.h>
#include <zstd.h>

#define MAX ((uint64_t)1 << 20)

static const enum vx_pack packs[] = {VX_PACK_GZIP, VX_PACK_BROTLI, VX_PACK_ZSTD};
static const char *const names[] = {"gzip", "brotli", "zstd"};

static struct vx_pool *pool;

static void setup(void)
{
	ck_assert_int_eq(vx_pool_new(&pool, 1 << 20), 0);
}

static void teardown(void)
{
	ck_assert_uint_eq(vx_pool_bytes_used(pool), 0);
	vx_pool_free(&pool);
}

static void append(struct vx_buf **b, const void *data, size_t len)
{
	ck_assert_int_eq(vx_buf_grow(b, (*b)->len + len), 0);
	memcpy((*b)->data + (*b)->len, data, len);
	(*b)->len += len;
}

static struct vx_buf *buf_of(const void *data, size_t len)
{
	struct vx_buf *b = vx_buf_get(pool, len ? len : 1);

	append(&b, data, len);
	return b;
}

/* The length may be left out of the frame, as a stream writer does. */
static size_t zstd_pack(const void *data, size_t len, void *to, size_t cap, bool say_length)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	size_t n;

	ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, say_length);
	n = ZSTD_compress2(c, to, cap, data, len);
	ck_assert(!ZSTD_isError(n));
	ZSTD_freeCCtx(c);
	return n;
}

static void add_packed(struct vx_buf **b, enum vx_pack pack, const void *data, size_t len, bool say_length)
{
	size_t cap = len * 2 + 4096, n = cap;
	VX_AUTO_FREE uint8_t *to = malloc(cap);
	struct libdeflate_compressor *z;

	switch (pack) {
	case VX_PACK_GZIP:
		z = libdeflate_alloc_compressor(6);
		n = libdeflate_gzip_compress(z, data, len, to, cap);
		libdeflate_free_compressor(z);
		break;
	case VX_PACK_ZSTD:
		n = zstd_pack(data, len, to, cap, say_length);
		break;
	default:
		ck_assert(BrotliEncoderCompress(5, 22, BROTLI_MODE_GENERIC, len, data, &n, to));
	}
	append(b, to, n);
}

static struct vx_buf *packed(enum vx_pack pack, const void *data, size_t len, bool say_length)
{
	struct vx_buf *b = vx_buf_get(pool, 1);

	add_packed(&b, pack, data, len, say_length);
	return b;
}

/* Half noise, half runs. */
static uint8_t *sample(size_t len)
{
	uint8_t *p = malloc(len + 1);

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i % 512 < 256 ? vx_mix64(i) : i / 4096);
	return p;
}

static void gives(enum vx_pack pack, struct vx_buf *in, uint64_t exact, uint64_t max, const void *want, size_t len)
{
	struct vx_buf *out = NULL;
	struct vx_err e = {0};

	ck_assert_msg(vx_unpack(pool, pack, in, exact, max, &out, &e) == 0, "%s", e.why);
	ck_assert_uint_eq(out->len, len);
	ck_assert_mem_eq(out->data, want, len);
	vx_buf_put(out);
}

static void fails(enum vx_pack pack, struct vx_buf *in, uint64_t exact, uint64_t max, const char *why)
{
	struct vx_buf *out = NULL;
	struct vx_err e = {0};

	ck_assert_int_eq(vx_unpack(pool, pack, in, exact, max, &out, &e), -EBADMSG);
	ck_assert_ptr_null(out);
	ck_assert_msg(strstr(e.why, why), "\"%s\" does not say \"%s\"", e.why, why);
}

START_TEST(each_pack)
{
	static const size_t lens[] = {1, 2, 100, 4096, 4097, 65536, 300000, MAX};
	enum vx_pack pack = packs[_i];

	for (size_t i = 0; i < VX_ARRAY_LEN(lens); i++)
		for (int say = 0; say < 2; say++) {
			size_t len = lens[i];
			VX_AUTO_FREE uint8_t *data = sample(len);
			struct vx_buf *b = packed(pack, data, len, say);

			gives(pack, b, len, len, data, len);
			gives(pack, b, len, MAX, data, len);
			gives(pack, b, 0, MAX, data, len);
			gives(pack, b, 0, len, data, len);
			fails(pack, b, len + 1, MAX + 1, "instead of");
			if (len > 1) {
				fails(pack, b, len - 1, MAX, "more than the expected");
				fails(pack, b, 0, len - 1, "inflates to more than");
			}
			if (pack != VX_PACK_BROTLI)
				gives(VX_PACK_UNKNOWN, b, len, MAX, data, len);
			vx_buf_put(b);
		}
}
END_TEST

START_TEST(truncated_and_followed)
{
	enum vx_pack pack = packs[_i];
	VX_AUTO_FREE uint8_t *data = sample(3000);

	for (int say = 0; say < 2; say++) {
		struct vx_buf *b = packed(pack, data, 3000, say);
		size_t len = b->len;

		for (b->len = 1; b->len < len; b->len++) {
			fails(pack, b, 3000, MAX, names[_i]);
			fails(pack, b, 0, MAX, names[_i]);
		}
		append(&b, "x", 1);
		fails(pack, b, 3000, MAX, "follow");
		fails(pack, b, 0, MAX, "follow");
		append(&b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 23);
		fails(pack, b, 3000, MAX, "follow");
		vx_buf_put(b);
	}
}
END_TEST

START_TEST(damaged)
{
	enum vx_pack pack = packs[_i];
	VX_AUTO_FREE uint8_t *data = sample(2000);
	struct vx_buf *b = packed(pack, data, 2000, true);

	for (size_t i = 0; i < b->len; i++)
		for (int bit = 0; bit < 8; bit++) {
			struct vx_buf *out = NULL;
			struct vx_err e = {0};
			int err;

			b->data[i] ^= (uint8_t)(1 << bit);
			err = vx_unpack(pool, pack, b, 0, MAX, &out, &e);
			if (err != 0 && (err != -EBADMSG || !e.why[0]))
				ck_abort_msg("%d", err);
			if (out && out->len > MAX)
				ck_abort_msg("too long");
			vx_buf_put(out);
			b->data[i] ^= (uint8_t)(1 << bit);
		}
	vx_buf_put(b);
}
END_TEST

START_TEST(bombs)
{
	enum vx_pack pack = packs[_i];
	size_t len = (size_t)100 << 20;
	VX_AUTO_FREE uint8_t *data = calloc(1, len);

	for (int say = 0; say < 2; say++) {
		struct vx_buf *b = packed(pack, data, len, say);
		uint64_t before = vx_pool_bytes_used(pool);

		fails(pack, b, 0, MAX, "inflates to more than 1048576 bytes");
		fails(pack, b, 4096, MAX, "more than the expected 4096 bytes");
		ck_assert_uint_eq(vx_pool_bytes_used(pool), before);
		ck_assert_uint_le(vx_pool_bytes_idle(pool), MAX);
		vx_buf_put(b);
	}
}
END_TEST

START_TEST(members)
{
	static const enum vx_pack two[] = {VX_PACK_GZIP, VX_PACK_ZSTD};
	VX_AUTO_FREE uint8_t *data = sample(200000);

	for (size_t i = 0; i < VX_ARRAY_LEN(two); i++)
		for (int say = 0; say < 2; say++) {
			struct vx_buf *b = packed(two[i], data, 150000, say);

			add_packed(&b, two[i], data + 150000, 0, !say);
			add_packed(&b, two[i], data + 150000, 50000, !say);
			add_packed(&b, two[i], data, 0, say);
			gives(two[i], b, 200000, MAX, data, 200000);
			gives(two[i], b, 0, MAX, data, 200000);
			gives(VX_PACK_UNKNOWN, b, 0, 200000, data, 200000);
			fails(two[i], b, 0, 199999, "more than 199999 bytes");
			fails(two[i], b, 150000, MAX, "more than the expected 150000 bytes");
			vx_buf_put(b);
		}
}
END_TEST

START_TEST(nothing_to_undo)
{
	struct vx_buf *b = buf_of("\x1f\x8b\x08\0abc", 7), *out = NULL, *empty = vx_buf_get(pool, 1);
	struct vx_err e = {0};

	/* of the exact length: plain, whatever it looks like */
	ck_assert_int_eq(vx_unpack(pool, VX_PACK_UNKNOWN, b, 7, MAX, &out, &e), 0);
	ck_assert_ptr_eq(out, b);
	vx_buf_put(out);
	fails(VX_PACK_UNKNOWN, b, 8, MAX, "gzip");
	fails(VX_PACK_UNKNOWN, b, 0, MAX, "gzip");
	/* a wrong length is for the codec to tell */
	ck_assert_int_eq(vx_unpack(pool, VX_PACK_NONE, b, 8, MAX, &out, &e), 0);
	ck_assert_ptr_eq(out, b);
	vx_buf_put(out);
	fails(VX_PACK_NONE, b, 0, 6, "more than the 6");
	for (int pack = VX_PACK_UNKNOWN; pack <= VX_PACK_ZSTD; pack++)
		fails((enum vx_pack)pack, empty, 10, MAX, "the chunk is empty");
	vx_buf_put(empty);
	vx_buf_put(b);
}
END_TEST

START_TEST(names_and_magic)
{
	struct vx_err e = {0};
	enum vx_pack p;

	ck_assert_ptr_eq(vx_codec_find("RAW"), &vx_codec_raw);
	ck_assert_ptr_eq(vx_codec_find("Compressed_Segmentation"), &vx_codec_cseg);
	ck_assert_ptr_null(vx_codec_find("zfpc"));
	ck_assert(!vx_pack_from_content_encoding("X-GZip", &p, &e) && p == VX_PACK_GZIP);
	ck_assert(!vx_pack_from_content_encoding("gzip", &p, &e) && p == VX_PACK_GZIP);
	ck_assert(!vx_pack_from_content_encoding("br", &p, &e) && p == VX_PACK_BROTLI);
	ck_assert(!vx_pack_from_content_encoding("ZSTD", &p, &e) && p == VX_PACK_ZSTD);
	ck_assert(!vx_pack_from_content_encoding("", &p, &e) && p == VX_PACK_NONE);
	ck_assert(!vx_pack_from_content_encoding("identity", &p, &e) && p == VX_PACK_NONE);
	ck_assert_int_eq(vx_pack_from_content_encoding("bzip2", &p, &e), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(e.why, "\"bzip2\""));
	ck_assert_int_eq(vx_pack_sniff((const uint8_t *)"\x1f\x8b", 2), VX_PACK_NONE);
	ck_assert_int_eq(vx_pack_sniff((const uint8_t *)"\x1f\x8b\x08", 3), VX_PACK_GZIP);
	ck_assert_int_eq(vx_pack_sniff((const uint8_t *)"\x28\xb5\x2f\xfd", 4), VX_PACK_ZSTD);
	ck_assert_int_eq(vx_pack_sniff((const uint8_t *)"\x28\xb5\x2f", 3), VX_PACK_NONE);
	ck_assert_int_eq(vx_pack_sniff(NULL, 0), VX_PACK_NONE);
}
END_TEST

static void *thread(void *arg)
{
	VX_AUTO_FREE uint8_t *data = sample(50000);

	for (int i = 0; i < 30; i++)
		for (size_t k = 0; k < VX_ARRAY_LEN(packs); k++) {
			struct vx_buf *b = packed(packs[k], data, 50000, i % 2), *out = NULL;

			if (vx_unpack(pool, packs[k], b, 0, MAX, &out, NULL) < 0 || out->len != 50000 ||
			    memcmp(out->data, data, 50000))
				return pool;
			vx_buf_put(out);
			vx_buf_put(b);
		}
	return NULL;
}

START_TEST(threads)
{
	pthread_t t[4];
	void *bad;

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, thread, NULL), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &bad);
		ck_assert_ptr_null(bad);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("unpack");
	TCase *t = tcase_create("unpack");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, each_pack, 0, VX_ARRAY_LEN(packs));
	tcase_add_loop_test(t, truncated_and_followed, 0, VX_ARRAY_LEN(packs));
	tcase_add_loop_test(t, damaged, 0, VX_ARRAY_LEN(packs));
	tcase_add_loop_test(t, bombs, 0, VX_ARRAY_LEN(packs));
	tcase_add_test(t, members);
	tcase_add_test(t, nothing_to_undo);
	tcase_add_test(t, names_and_magic);
	tcase_add_test(t, threads);
	return vxt_run(s);
}
