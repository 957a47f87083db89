/* SPDX-License-Identifier: Apache-2.0
 * png: see fuzz_expand.h. What the engine makes gets right checksums, or nothing would come past them.
 */
#include "fuzz_expand.h"

#include <libdeflate.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vx_chunk_form f;

	if (size < HEAD)
		return 0;
	f = expand_form(data, 1 + data[3] % 4, data[3] & 4 ? 2 : 1);
	expand_chunk(&vx_codec_png, &f, data + HEAD, size - HEAD);
	return 0;
}

/* The engine's; the driver has none. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

static void store_be32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	size_t at = HEAD + 8, len;

	size = LLVMFuzzerMutate(data, size, max);
	for (; at + 12 <= size && seed % 8; at += 12 + len) {
		len = (size_t)data[at] << 24 | (size_t)data[at + 1] << 16 | (size_t)data[at + 2] << 8 | data[at + 3];
		if (len > size - at - 12) {
			len = size - at - 12;
			store_be32(data + at, (uint32_t)len);
		}
		store_be32(data + at + 8 + len, libdeflate_crc32(0, data + at + 4, len + 4));
	}
	return size;
}
