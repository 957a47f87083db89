/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as the document of a Zarr v3 array; behind a zero byte, as that of a group that has it as its scales.
 */
#include "fuzz_zarr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vx_array a;
	struct vx_ome o;
	struct vx_paths p;
	struct vx_err e = {0};
	const char *group;
	size_t group_len, len = split(data, size, &group, &group_len);

	if (vx_zarr3_parse((const char *)data, len, &a, &e) < 0) {
		must(e.code < 0 && e.why[0]);
		memset(&a, 0, sizeof a);
	} else {
		check_array(&a, NULL);
	}
	if (!group_len)
		return 0;
	if (vx_zarr_consolidated(group, group_len, true, &p, &e) == 0)
		vx_paths_free(&p);
	if (vx_ome_parse(group, group_len, true, &o, &e) < 0)
		return 0;
	for (unsigned i = 0; a.rank && i < o.nimages; i++)
		check_array(&a, &o.image[i]);
	vx_ome_free(&o);
	return 0;
}
