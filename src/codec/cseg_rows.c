/* SPDX-License-Identifier: Apache-2.0
 * The loops that turn eight indices at a time into labels. One function per width of label, width
 * of index and instruction set, all made from the macros below; the table is in registers wherever
 * it fits. The portable ones are compiled and tested everywhere.
 *
 * Order: a block at a time, its rows one after the other. A row of 8 uint64 is one cache line, so
 * nothing is gained by finishing destination rows across blocks, and the choice of loop and the
 * loading of the table are made once per block instead of once per row.
 */
#include "codec/cseg.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* The last argument sees `to` and `v`, the places of one group, and moves neither. */
#define FOR_GROUPS(r, width, bits, ...)                                                               \
	for (uint64_t z_ = 0; z_ < (r)->nz; z_++)                                                     \
		for (uint64_t y_ = 0; y_ < (r)->ny; y_++) {                                           \
			uint8_t *to = (r)->to + z_ * (r)->plane + y_ * (r)->row;                      \
			const uint8_t *v = (r)->values + z_ * (r)->vplane + y_ * (r)->vrow;           \
			for (uint64_t g_ = 0; g_ < (r)->groups; g_++, to += 8 * (width), v += (bits)) \
				__VA_ARGS__                                                           \
		}

/* ---- portable ------------------------------------------------------------------------------ */

INLINE void portable(const struct cseg_rows *r, unsigned width, unsigned bits)
{
	uint8_t table[2 * 8];
	const uint8_t *t = r->table;

	if (bits <= 1) { /* a copy that the compiler knows nobody else writes */
		memcpy(table, t, (size_t)width << (bits & 1));
		t = table;
	}
	FOR_GROUPS(r, width, bits, {
		uint64_t lo = 0, hi = 0;

		memcpy(&lo, v, bits < 8 ? bits : 8);
		if (bits == 16)
			memcpy(&hi, v + 8, 8);
		for (unsigned x = 0; x < 8; x++) {
			uint64_t w = bits == 16 && x >= 4 ? hi >> (16 * (x - 4)) : lo >> (bits * x % 64);
			uint64_t i = w & (((uint64_t)1 << bits) - 1);

			memcpy(to + x * width, t + i * width, width);
		}
	})
}

#define PORTABLE(bits)                                           \
	static void portable_4_##bits(const struct cseg_rows *r) \
	{                                                        \
		portable(r, 4, bits);                            \
	}                                                        \
	static void portable_8_##bits(const struct cseg_rows *r) \
	{                                                        \
		portable(r, 8, bits);                            \
	}
PORTABLE(0)
PORTABLE(1)
PORTABLE(2)
PORTABLE(4)
PORTABLE(8)
PORTABLE(16)

static const struct cseg_kernels portable_kernels = {
    .rows = {{portable_4_0, portable_4_1, portable_4_2, portable_4_4, portable_4_8, portable_4_16},
	     {portable_8_0, portable_8_1, portable_8_2, portable_8_4, portable_8_8, portable_8_16}},
};

#ifdef __x86_64__
#include <immintrin.h>

#define TARGET_AVX2 __attribute__((target("avx2")))
#define TARGET_AVX512 __attribute__((target("avx2,avx512f,avx512vl,avx512dq")))

INLINE uint32_t bits_at(const uint8_t *v, unsigned bits)
{
	uint32_t w = 0;

	memcpy(&w, v, bits);
	return w;
}

/* ---- AVX2 ---------------------------------------------------------------------------------- */

TARGET_AVX2 INLINE void put256(uint8_t *to, __m256i a, bool stream)
{
	if (stream)
		_mm256_stream_si256((__m256i *)to, a);
	else
		_mm256_storeu_si256((__m256i *)to, a);
}

TARGET_AVX2 INLINE __m256i load256(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *)p);
}

TARGET_AVX2 INLINE void avx2_8_0(const struct cseg_rows *r, bool stream)
{
	uint64_t label;
	__m256i a;

	memcpy(&label, r->table, 8);
	a = _mm256_set1_epi64x((long long)label);
	FOR_GROUPS(r, 8, 0, {
		put256(to, a, stream);
		put256(to + 32, a, stream);
	})
}

TARGET_AVX2 INLINE void avx2_8_1(const struct cseg_rows *r, bool stream)
{
	const __m256i lo = _mm256_set_epi64x(8, 4, 2, 1), hi = _mm256_set_epi64x(128, 64, 32, 16);
	uint64_t label[2];
	__m256i a, b;

	memcpy(label, r->table, 16);
	a = _mm256_set1_epi64x((long long)label[0]);
	b = _mm256_set1_epi64x((long long)label[1]);
	FOR_GROUPS(r, 8, 1, {
		__m256i w = _mm256_set1_epi64x(*v);

		put256(to, _mm256_blendv_epi8(a, b, _mm256_cmpeq_epi64(_mm256_and_si256(w, lo), lo)), stream);
		put256(to + 32, _mm256_blendv_epi8(a, b, _mm256_cmpeq_epi64(_mm256_and_si256(w, hi), hi)), stream);
	})
}

/* Labels of 64 bits move as two halves: index i becomes the dwords 2i and 2i+1. */
TARGET_AVX2 INLINE void avx2_8_2(const struct cseg_rows *r, bool stream)
{
	const __m256i t = load256(r->table), three = _mm256_set1_epi32(6);
	const __m256i half = _mm256_set_epi32(1, 0, 1, 0, 1, 0, 1, 0);
	const __m256i lo = _mm256_set_epi32(6, 6, 4, 4, 2, 2, 0, 0), hi = _mm256_add_epi32(lo, _mm256_set1_epi32(8));

	FOR_GROUPS(r, 8, 2, {
		__m256i w = _mm256_set1_epi32((int)(bits_at(v, 2) << 1)); /* twice each index */
		__m256i i = _mm256_and_si256(_mm256_srlv_epi32(w, lo), three);
		__m256i j = _mm256_and_si256(_mm256_srlv_epi32(w, hi), three);

		put256(to, _mm256_permutevar8x32_epi32(t, _mm256_or_si256(i, half)), stream);
		put256(to + 32, _mm256_permutevar8x32_epi32(t, _mm256_or_si256(j, half)), stream);
	})
}

TARGET_AVX2 static void avx2_4_0_rows(const struct cseg_rows *r)
{
	__m256i a = _mm256_set1_epi32((int)bits_at(r->table, 4));

	FOR_GROUPS(r, 4, 0, { put256(to, a, false); })
}

TARGET_AVX2 static void avx2_4_1_rows(const struct cseg_rows *r)
{
	const __m256i bit = _mm256_set_epi32(128, 64, 32, 16, 8, 4, 2, 1);
	__m256i a = _mm256_set1_epi32((int)bits_at(r->table, 4));
	__m256i b = _mm256_set1_epi32((int)bits_at(r->table + 4, 4));

	FOR_GROUPS(r, 4, 1, {
		__m256i w = _mm256_and_si256(_mm256_set1_epi32(*v), bit);

		put256(to, _mm256_blendv_epi8(a, b, _mm256_cmpeq_epi32(w, bit)), false);
	})
}

/* The permutation takes the low 3 bits of an index: with the table there twice, the third does not
 * matter. */
TARGET_AVX2 static void avx2_4_2_rows(const struct cseg_rows *r)
{
	const __m256i shift = _mm256_set_epi32(14, 12, 10, 8, 6, 4, 2, 0);
	const __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)r->table));

	FOR_GROUPS(r, 4, 2, {
		__m256i i = _mm256_srlv_epi32(_mm256_set1_epi32((int)bits_at(v, 2)), shift);

		put256(to, _mm256_permutevar8x32_epi32(t, i), false);
	})
}

/* The fourth bit of an index chooses the half of the table. */
TARGET_AVX2 static void avx2_4_4_rows(const struct cseg_rows *r)
{
	const __m256i shift = _mm256_set_epi32(28, 24, 20, 16, 12, 8, 4, 0);
	const __m256i t0 = load256(r->table), t1 = load256(r->table + 32);

	FOR_GROUPS(r, 4, 4, {
		__m256i i = _mm256_srlv_epi32(_mm256_set1_epi32((int)bits_at(v, 4)), shift);
		__m256 a = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(t0, i));
		__m256 b = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(t1, i));
		__m256 top = _mm256_castsi256_ps(_mm256_slli_epi32(i, 28));

		put256(to, _mm256_castps_si256(_mm256_blendv_ps(a, b, top)), false);
	})
}

/* Tables too large for registers: four labels fetched one by one, stored together. */
TARGET_AVX2 INLINE __m256i four_labels(const uint8_t *t, uint64_t w, unsigned bits)
{
	const uint64_t mask = ((uint64_t)1 << bits) - 1;
	uint64_t label[4];

	for (unsigned x = 0; x < 4; x++)
		memcpy(&label[x], t + (w >> (bits * x) & mask) * 8, 8);
	return _mm256_set_epi64x((long long)label[3], (long long)label[2], (long long)label[1], (long long)label[0]);
}

TARGET_AVX2 INLINE void avx2_8_many(const struct cseg_rows *r, unsigned bits, bool stream){
    FOR_GROUPS(r, 8, bits,
	       {
		       uint64_t lo = 0, hi = 0;

		       memcpy(&lo, v, bits / 2);
		       memcpy(&hi, v + bits / 2, bits / 2);
		       put256(to, four_labels(r->table, lo, bits), stream);
		       put256(to + 32, four_labels(r->table, hi, bits), stream);
	       })}

TARGET_AVX2 INLINE void avx2_8_4(const struct cseg_rows *r, bool stream)
{
	avx2_8_many(r, 4, stream);
}

TARGET_AVX2 INLINE void avx2_8_8(const struct cseg_rows *r, bool stream)
{
	avx2_8_many(r, 8, stream);
}

TARGET_AVX2 INLINE void avx2_8_16(const struct cseg_rows *r, bool stream)
{
	avx2_8_many(r, 16, stream);
}

#define ROWS(target, name)                                        \
	target static void name##_rows(const struct cseg_rows *r) \
	{                                                         \
		name(r, false);                                   \
	}
#define STREAM(target, name)                                        \
	target static void name##_stream(const struct cseg_rows *r) \
	{                                                           \
		name(r, true);                                      \
	}
ROWS(TARGET_AVX2, avx2_8_0)
ROWS(TARGET_AVX2, avx2_8_1)
ROWS(TARGET_AVX2, avx2_8_2)
ROWS(TARGET_AVX2, avx2_8_4)
ROWS(TARGET_AVX2, avx2_8_8)
ROWS(TARGET_AVX2, avx2_8_16)
STREAM(TARGET_AVX2, avx2_8_0)
STREAM(TARGET_AVX2, avx2_8_1)
STREAM(TARGET_AVX2, avx2_8_2)
STREAM(TARGET_AVX2, avx2_8_4)
STREAM(TARGET_AVX2, avx2_8_8)
STREAM(TARGET_AVX2, avx2_8_16)

static const struct cseg_kernels avx2_kernels = {
    .rows = {{avx2_4_0_rows, avx2_4_1_rows, avx2_4_2_rows, avx2_4_4_rows, portable_4_8, portable_4_16},
	     {avx2_8_0_rows, avx2_8_1_rows, avx2_8_2_rows, avx2_8_4_rows, avx2_8_8_rows, avx2_8_16_rows}},
    .stream = {{NULL},
	       {avx2_8_0_stream, avx2_8_1_stream, avx2_8_2_stream, avx2_8_4_stream, avx2_8_8_stream, avx2_8_16_stream}},
};

/* ---- AVX-512 ------------------------------------------------------------------------------- */

TARGET_AVX512 INLINE void put512(uint8_t *to, __m512i a, bool stream)
{
	if (stream)
		_mm512_stream_si512((__m512i *)to, a);
	else
		_mm512_storeu_si512(to, a);
}

TARGET_AVX512 INLINE __m512i broadcast64(const uint8_t *p)
{
	uint64_t label;

	memcpy(&label, p, 8);
	return _mm512_set1_epi64((long long)label);
}

TARGET_AVX512 INLINE void avx512_8_0(const struct cseg_rows *r, bool stream)
{
	const __m512i a = broadcast64(r->table);

	FOR_GROUPS(r, 8, 0, { put512(to, a, stream); })
}

TARGET_AVX512 INLINE void avx512_8_1(const struct cseg_rows *r, bool stream)
{
	const __m512i a = broadcast64(r->table), b = broadcast64(r->table + 8);

	FOR_GROUPS(r, 8, 1, { put512(to, _mm512_mask_blend_epi64(*v, a, b), stream); })
}

TARGET_AVX512 INLINE void avx512_8_2(const struct cseg_rows *r, bool stream)
{
	const __m512i shift = _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0);
	const __m512i t = _mm512_broadcast_i64x4(load256(r->table));

	FOR_GROUPS(r, 8, 2, {
		__m512i i = _mm512_srlv_epi64(_mm512_set1_epi64(bits_at(v, 2)), shift);

		put512(to, _mm512_permutexvar_epi64(i, t), stream);
	})
}

TARGET_AVX512 INLINE void avx512_8_4(const struct cseg_rows *r, bool stream)
{
	const __m512i shift = _mm512_set_epi64(28, 24, 20, 16, 12, 8, 4, 0);
	const __m512i t0 = _mm512_loadu_si512(r->table), t1 = _mm512_loadu_si512(r->table + 64);

	FOR_GROUPS(r, 8, 4, {
		__m512i i = _mm512_srlv_epi64(_mm512_set1_epi64(bits_at(v, 4)), shift);

		put512(to, _mm512_permutex2var_epi64(t0, i, t1), stream);
	})
}

TARGET_AVX512 INLINE void avx512_8_many(const struct cseg_rows *r, unsigned bits, bool stream){
    FOR_GROUPS(r, 8, bits,
	       {
		       uint64_t lo = 0, hi = 0;

		       memcpy(&lo, v, bits / 2);
		       memcpy(&hi, v + bits / 2, bits / 2);
		       put512(to,
			      _mm512_inserti64x4(_mm512_castsi256_si512(four_labels(r->table, lo, bits)),
						 four_labels(r->table, hi, bits), 1),
			      stream);
	       })}

TARGET_AVX512 INLINE void avx512_8_8(const struct cseg_rows *r, bool stream)
{
	avx512_8_many(r, 8, stream);
}

TARGET_AVX512 INLINE void avx512_8_16(const struct cseg_rows *r, bool stream)
{
	avx512_8_many(r, 16, stream);
}

ROWS(TARGET_AVX512, avx512_8_0)
STREAM(TARGET_AVX512, avx512_8_0)
ROWS(TARGET_AVX512, avx512_8_1)
STREAM(TARGET_AVX512, avx512_8_1)
ROWS(TARGET_AVX512, avx512_8_2)
STREAM(TARGET_AVX512, avx512_8_2)
ROWS(TARGET_AVX512, avx512_8_4)
STREAM(TARGET_AVX512, avx512_8_4)
ROWS(TARGET_AVX512, avx512_8_8)
STREAM(TARGET_AVX512, avx512_8_8)
ROWS(TARGET_AVX512, avx512_8_16)
STREAM(TARGET_AVX512, avx512_8_16)

static const struct cseg_kernels avx512_kernels = {
    .rows = {{avx2_4_0_rows, avx2_4_1_rows, avx2_4_2_rows, avx2_4_4_rows, portable_4_8, portable_4_16},
	     {avx512_8_0_rows, avx512_8_1_rows, avx512_8_2_rows, avx512_8_4_rows, avx512_8_8_rows, avx512_8_16_rows}},
    .stream = {{NULL},
	       {avx512_8_0_stream, avx512_8_1_stream, avx512_8_2_stream, avx512_8_4_stream, avx512_8_8_stream,
		avx512_8_16_stream}},
};

const struct cseg_kernels *cseg_kernels(enum cseg_level level)
{
	switch (level) {
	case CSEG_PORTABLE:
		return &portable_kernels;
	case CSEG_AVX2:
		return __builtin_cpu_supports("avx2") ? &avx2_kernels : NULL;
	case CSEG_AVX512:
		return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
			       __builtin_cpu_supports("avx512dq")
			   ? &avx512_kernels
			   : NULL;
	default:
		return NULL;
	}
}

#else

const struct cseg_kernels *cseg_kernels(enum cseg_level level)
{
	return level == CSEG_PORTABLE ? &portable_kernels : NULL;
}

#endif

enum cseg_level cseg_best_level(void)
{
	for (int level = CSEG_LEVELS - 1; level > CSEG_PORTABLE; level--)
		if (cseg_kernels((enum cseg_level)level))
			return (enum cseg_level)level;
	return CSEG_PORTABLE;
}
