/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as the document of a Zarr v2 array; behind a zero byte, as that of a group that has it as its scales.
 */
#include "fuzz_zarr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_zarr(data, size, false);
	return 0;
}
