/* SPDX-License-Identifier: Apache-2.0
 * jxl: see fuzz_expand.h.
 */
#include "fuzz_expand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t channels[4] = {1, 3, 4, 1};
	struct vx_chunk_form f;

	if (size < HEAD)
		return 0;
	f = expand_form(data, channels[data[3] & 3], 1);
	expand_chunk(&vx_codec_jxl, &f, data + HEAD, size - HEAD);
	return 0;
}
