/* SPDX-License-Identifier: Apache-2.0
 * compressed_segmentation chunks that other libraries wrote byte for byte alike, and the labels they
 * hold.
 */
#ifndef TEST_CODEC_VECTORS_H
#define TEST_CODEC_VECTORS_H

#include "codec/codec.h"

struct vector {
	unsigned n_words, first, n_same;
	uint32_t same; /* words[first..first+n_same) all hold this */
	struct vx_chunk_form f;
	uint32_t words[48];
};

static uint64_t label_of(int v, const uint64_t at[3], uint32_t c)
{
	uint64_t x = at[0];

	switch (v) {
	case 0:
		return 7;
	case 1:
		return x < 4 ? 5 : 9;
	case 2:
		return 10 + x % 3;
	case 3:
		return 100 + x;
	case 4:
		return x < 4 || x >= 12 ? 5 : 9;
	case 5:
		return x < 4 ? (at[1] ? 1 : 3) : (at[2] ? 2 : 3);
	default:
		return c ? 0x1122334455667788 : x ? ((uint64_t)1 << 32) + 2 : 1;
	}
}

#define FORM(x, y, z, c, w, bx, by, bz)                                            \
	{                                                                          \
		.n = {x, y, z}, .channels = c, .width = w, .block = { bx, by, bz } \
	}

#define NONE 0, 0, 0
#define F4 0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f
#define V4_TABLE 100, 101, 102, 103, 104, 105, 106, 107

static const struct vector vectors[] = {
    {4, NONE, FORM(8, 8, 8, 1, 4, 8, 8, 8), {1, 2, 2, 7}},
    {21, 3, 16, 0xf0f0f0f0, FORM(8, 8, 8, 1, 4, 8, 8, 8), {1, 0x01000012, 2, [19] = 5, 9}},
    {38, 3, 32, 0x49244924, FORM(8, 8, 8, 1, 4, 8, 8, 8), {1, 0x02000022, 2, [35] = 10, 11, 12}},
    {19, 3, 8, 0x76543210, FORM(8, 4, 2, 1, 4, 8, 4, 2), {1, 0x0400000a, 2, [11] = V4_TABLE}},
    {39,
     5,
     16,
     0xf0f0f0f0,
     FORM(16, 8, 8, 1, 4, 8, 8, 8),
     {1, 0x01000014, 4, 0x01000014, 0x16, [21] = 5, 9, F4, F4, F4, F4}},
    {13, NONE, FORM(5, 3, 2, 1, 4, 4, 4, 4), {1, 0x01000006, 4, 0x0100000a, 8, 0x000f000f, 0, 1, 3, 0x111, 0, 2, 3}},
    {13, NONE, FORM(2, 1, 1, 2, 8, 2, 2, 2), {2, 9, 0x01000003, 2, 2, 1, 0, 2, 1, 2, 2, 0x55667788, 0x11223344}},
};

#undef NONE
#undef F4
#undef V4_TABLE

#endif
