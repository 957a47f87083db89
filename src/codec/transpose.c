/* SPDX-License-Identifier: Apache-2.0
 * The inner loops of permuting copies: squares of a vector's length are transposed in registers; what is too narrow for
 * that is gathered element by element.
 */
#include "codec/transpose.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* ---- element by element ---- */

#define GATHER_ROW(name, type)                                                                     \
	INLINE void name##_step(uint8_t *to, const uint8_t *from, uint64_t n, uint64_t step)       \
	{                                                                                          \
		for (uint64_t i = 0; i < n; i++)                                                   \
			memcpy(to + i * sizeof(type), from + i * step, sizeof(type));              \
	}                                                                                          \
	static void name(uint8_t *to, const uint8_t *from, uint64_t n, uint64_t step)              \
	{                                                                                          \
		/* steps that are known let the compiler use vectors: few channels, interleaved */ \
		switch (step) {                                                                    \
		case 2 * sizeof(type):                                                             \
			name##_step(to, from, n, 2 * sizeof(type));                                \
			break;                                                                     \
		case 3 * sizeof(type):                                                             \
			name##_step(to, from, n, 3 * sizeof(type));                                \
			break;                                                                     \
		case 4 * sizeof(type):                                                             \
			name##_step(to, from, n, 4 * sizeof(type));                                \
			break;                                                                     \
		default:                                                                           \
			name##_step(to, from, n, step);                                            \
		}                                                                                  \
	}

GATHER_ROW(gather_row_1, uint8_t)
GATHER_ROW(gather_row_2, uint16_t)
GATHER_ROW(gather_row_4, uint32_t)
GATHER_ROW(gather_row_8, uint64_t)

static void gather_row(uint8_t *to, const uint8_t *from, uint64_t n, uint64_t step, uint32_t width)
{
	switch (width) {
	case 1:
		gather_row_1(to, from, n, step);
		break;
	case 2:
		gather_row_2(to, from, n, step);
		break;
	case 4:
		gather_row_4(to, from, n, step);
		break;
	default:
		gather_row_8(to, from, n, step);
	}
}

/* ---- squares ---- */

#ifdef __x86_64__
#include <emmintrin.h>

#define VECTOR 16

/* Interleaves the first half of the rows with the second; as often as it takes to get to one row, and the square is
 * transposed. */
#define SQUARE(name, lanes, lo, hi)                                                            \
	static void name(uint8_t *to, uint64_t to_row, const uint8_t *from, uint64_t from_row) \
	{                                                                                      \
		__m128i r[lanes], t[lanes];                                                    \
                                                                                               \
		_Pragma("GCC unroll 16") for (int i = 0; i < (lanes); i++) r[i] =              \
		    _mm_loadu_si128((const __m128i *)(from + (uint64_t)i * from_row));         \
		_Pragma("GCC unroll 4") for (int round = 1; round < (lanes); round *= 2)       \
		{                                                                              \
			_Pragma("GCC unroll 8") for (int i = 0; i < (lanes) / 2; i++)          \
			{                                                                      \
				t[2 * i] = lo(r[i], r[i + (lanes) / 2]);                       \
				t[2 * i + 1] = hi(r[i], r[i + (lanes) / 2]);                   \
			}                                                                      \
			memcpy(r, t, sizeof r);                                                \
		}                                                                              \
		_Pragma("GCC unroll 16") for (int i = 0; i < (lanes); i++)                     \
		    _mm_storeu_si128((__m128i *)(to + (uint64_t)i * to_row), r[i]);            \
	}

SQUARE(square_1, 16, _mm_unpacklo_epi8, _mm_unpackhi_epi8)
SQUARE(square_2, 8, _mm_unpacklo_epi16, _mm_unpackhi_epi16)
SQUARE(square_4, 4, _mm_unpacklo_epi32, _mm_unpackhi_epi32)
SQUARE(square_8, 2, _mm_unpacklo_epi64, _mm_unpackhi_epi64)

typedef void square_fn(uint8_t *to, uint64_t to_row, const uint8_t *from, uint64_t from_row);

static square_fn *square_of(uint32_t width)
{
	switch (width) {
	case 1:
		return square_1;
	case 2:
		return square_2;
	case 4:
		return square_4;
	default:
		return square_8;
	}
}

/* The last square of a row or column is moved back so that it ends where the tile does. */
static bool gather_squares(uint8_t *to, const uint8_t *from, const struct gathering *g)
{
	uint64_t lanes = VECTOR / g->width, to_row = g->along * g->width;
	square_fn *square = square_of(g->width);

	if (g->step_across != g->width || g->across < lanes || g->along < lanes)
		return false;
	for (uint64_t x = 0; x < g->along; x += lanes)
		for (uint64_t i = 0; i < g->across; i += lanes) {
			uint64_t x0 = vx_min_u64(x, g->along - lanes), i0 = vx_min_u64(i, g->across - lanes);

			square(to + i0 * to_row + x0 * g->width, to_row, from + x0 * g->step_along + i0 * g->width,
			       g->step_along);
		}
	return true;
}

#else

static bool gather_squares(uint8_t *to, const uint8_t *from, const struct gathering *g)
{
	return false;
}

#endif

void gather(uint8_t *to, const uint8_t *from, const struct gathering *g)
{
	if (gather_squares(to, from, g))
		return;
	for (uint64_t i = 0; i < g->across; i++)
		gather_row(to + i * g->along * g->width, from + i * g->step_across, g->along, g->step_along, g->width);
}

/* ---- bytes turned around ---- */

INLINE void swap_any(uint8_t *to, const uint8_t *from, uint64_t n, uint32_t width)
{
#define SWAP(type, turn)                                   \
	for (uint64_t i = 0; i < n; i++) {                 \
		type v;                                    \
                                                           \
		memcpy(&v, from + i * sizeof v, sizeof v); \
		v = turn(v);                               \
		memcpy(to + i * sizeof v, &v, sizeof v);   \
	}
	switch (width) {
	case 1:
		if (to != from)
			memcpy(to, from, n);
		break;
	case 2:
		SWAP(uint16_t, __builtin_bswap16)
		break;
	case 4:
		SWAP(uint32_t, __builtin_bswap32)
		break;
	default:
		SWAP(uint64_t, __builtin_bswap64)
	}
#undef SWAP
}

#ifdef __x86_64__

__attribute__((target("avx2"))) static void swap_avx2(uint8_t *to, const uint8_t *from, uint64_t n, uint32_t width)
{
	swap_any(to, from, n, width);
}

void swap_copy(uint8_t *to, const uint8_t *from, uint64_t n, uint32_t width)
{
	if (n > 1 && __builtin_cpu_supports("avx2"))
		swap_avx2(to, from, n, width);
	else
		swap_any(to, from, n, width);
}

#else

void swap_copy(uint8_t *to, const uint8_t *from, uint64_t n, uint32_t width)
{
	swap_any(to, from, n, width);
}

#endif
