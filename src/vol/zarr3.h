/* SPDX-License-Identifier: Apache-2.0
 * Private to the parser of Zarr v3.
 */
#ifndef VX_VOL_ZARR3_H
#define VX_VOL_ZARR3_H

#include "vol/array.h"

/* An extension: {"name": ..., "configuration": {...}}, or its bare name. configuration->value is NULL where there is
 * none. */
int vx_zarr3_named(const struct vx_json *j, const char **name, struct vx_json *configuration, struct vx_err *e);

/* The list of codecs; needs rank, dtype and object. */
int vx_zarr3_codecs(const struct vx_json *list, struct vx_array *a, struct vx_err *e);

#endif
