/* SPDX-License-Identifier: Apache-2.0
 * What parses as a box name is the one name of its box: printing gives the very same bytes.
 */
#include "vol/volume.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[VX_BOX_NAME_MAX];
	struct vx_box b;
	int n;

	if (!vx_box_parse((const char *)data, size, &b))
		return 0;
	n = vx_box_print(&b, text);
	if (n < 0 || (size_t)n != size || memcmp(text, data, size) || vx_box_empty(&b))
		abort();
	return 0;
}
