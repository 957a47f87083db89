/* SPDX-License-Identifier: Apache-2.0
 * Element types: the one table of their names and widths. Constant, any thread.
 */
#include "vol/volume.h"

#include <strings.h>

static const struct {
	const char *name;
	uint32_t width;
} types[] = {
    [VX_U8] = {"uint8", 1},    [VX_I8] = {"int8", 1},     [VX_U16] = {"uint16", 2},  [VX_I16] = {"int16", 2},
    [VX_U32] = {"uint32", 4},  [VX_I32] = {"int32", 4},   [VX_U64] = {"uint64", 8},  [VX_I64] = {"int64", 8},
    [VX_F32] = {"float32", 4}, [VX_F64] = {"float64", 8}, [VX_F16] = {"float16", 2}, [VX_BOOL] = {"bool", 1},
};

const char *vx_dtype_name(enum vx_dtype t)
{
	return types[t].name;
}

uint32_t vx_dtype_width(enum vx_dtype t)
{
	return types[t].width;
}

bool vx_dtype_find(const char *name, enum vx_dtype *ret)
{
	for (size_t i = 0; i < VX_ARRAY_LEN(types); i++)
		if (!strcasecmp(name, types[i].name)) {
			*ret = (enum vx_dtype)i;
			return true;
		}
	return false;
}
