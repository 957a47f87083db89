/* SPDX-License-Identifier: Apache-2.0
 * compresso: see fuzz_expand.h.
 */
#include "fuzz_expand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vx_chunk_form f;

	if (size < HEAD)
		return 0;
	f = expand_form(data, 1, 1u << (data[3] & 3));
	expand_chunk(&vx_codec_compresso, &f, data + HEAD, size - HEAD);
	return 0;
}
