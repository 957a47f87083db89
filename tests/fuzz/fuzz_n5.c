/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as attributes.json of an N5 dataset; behind a zero byte, as that of a group that has it as its scales.
 */
#include "fuzz_zarr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vx_err none[VX_MAX_SCALES];
	struct vx_n5_space own[VX_MAX_SCALES];
	struct vx_array a, copies[VX_MAX_SCALES];
	struct vx_n5_group g;
	struct vx_err e = {0};
	const char *group;
	size_t group_len, len = split(data, size, &group, &group_len);

	if (vx_n5_parse((const char *)data, len, &a, &e) < 0) {
		must(e.code < 0 && e.why[0]);
		memset(&a, 0, sizeof a);
	} else {
		check_array(&a, NULL);
	}
	if (vx_n5_group_parse(group, group_len, &g, &e) < 0)
		return 0;
	if (a.rank && g.image.nlevels) {
		for (unsigned i = 0; i < g.image.nlevels; i++) {
			vx_n5_space_parse((const char *)data, len, &own[i]);
			copies[i] = a;
		}
		vx_n5_calibrate(&g.image, &g, own, copies, none);
		check_array(&a, &g.image);
	}
	vx_n5_group_free(&g);
	return 0;
}
