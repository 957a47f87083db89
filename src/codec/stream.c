/* SPDX-License-Identifier: Apache-2.0
 * Streaming copies. Only whole lines are streamed: a part of a line would be read, merged and
 * written back, which is slower than any other way.
 */
#include "codec/stream.h"

#include <string.h>

/* Larger than a core's share of the last cache. */
#define STREAM_BYTES ((uint64_t)16 << 20)
#define LINE 64

bool stream_worthwhile(const struct vx_place *to, uint64_t planes)
{
	return to->chan >= STREAM_BYTES || to->plane >= STREAM_BYTES / planes;
}

#ifdef __x86_64__
#include <emmintrin.h>

static inline void stream_line(uint8_t *to, const uint8_t *from)
{
	__m128i a = _mm_loadu_si128((const __m128i *)from), b = _mm_loadu_si128((const __m128i *)(from + 16));
	__m128i c = _mm_loadu_si128((const __m128i *)(from + 32)), d = _mm_loadu_si128((const __m128i *)(from + 48));

	_mm_stream_si128((__m128i *)to, a);
	_mm_stream_si128((__m128i *)(to + 16), b);
	_mm_stream_si128((__m128i *)(to + 32), c);
	_mm_stream_si128((__m128i *)(to + 48), d);
}

void stream_fence(void)
{
	_mm_sfence();
}

#else

static inline void stream_line(uint8_t *to, const uint8_t *from)
{
	memcpy(to, from, LINE);
}

void stream_fence(void)
{
}

#endif

void stream_row(uint8_t *to, const uint8_t *from, uint64_t bytes)
{
	uint64_t head = vx_min_u64(-(uintptr_t)to % LINE, bytes);

	if (head) {
		memcpy(to, from, head);
		to += head;
		from += head;
		bytes -= head;
	}
	for (; bytes >= LINE; bytes -= LINE, to += LINE, from += LINE)
		stream_line(to, from);
	if (bytes)
		memcpy(to, from, bytes);
}

void stream_copy(const struct vx_place *to, const struct vx_place *from, const uint64_t n[3], uint32_t channels,
		 uint32_t width)
{
	for (uint64_t c = 0; c < channels; c++)
		for (uint64_t z = 0; z < n[2]; z++)
			for (uint64_t y = 0; y < n[1]; y++)
				stream_row(to->at + c * to->chan + z * to->plane + y * to->row,
					   from->at + c * from->chan + z * from->plane + y * from->row, n[0] * width);
}

void stream_or_copy(const struct vx_place *to, const struct vx_place *from, const uint64_t n[3], uint32_t channels,
		    uint32_t width)
{
	if (!stream_worthwhile(to, n[2])) {
		vx_place_copy(to, from, n, channels, width);
		return;
	}
	stream_copy(to, from, n, channels, width);
	stream_fence();
}
