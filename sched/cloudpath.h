/* SPDX-License-Identifier: Apache-2.0
 * Cloudpaths: a store's URL, and perhaps what is in it. Pure, any thread.
 */
#ifndef VX_SCHED_CLOUDPATH_H
#define VX_SCHED_CLOUDPATH_H

#include "base/err.h"

enum vx_wanted { VX_ANY_FORMAT, VX_PRECOMPUTED, VX_ZARR, VX_ZARR2, VX_ZARR3, VX_N5 };

struct vx_cloudpath {
	enum vx_wanted format;
	char *url;      /* of the store */
	char *inner;    /* path within it, "" for its top */
	char separator; /* #dimension_separator= of Zarr v2: '.' or '/'; 0: not said */
};

/* FORMAT://URL, URL|FORMAT:inner/path, or the URL alone; an absolute path is a file URL. -EINVAL and a sentence. */
int vx_cloudpath_parse(struct vx_cloudpath *ret, const char *text, struct vx_err *e);
void vx_cloudpath_done(struct vx_cloudpath *c);

/* The last component of the path, without query: what the volume is called by default. malloc'd. */
char *vx_cloudpath_name(const struct vx_cloudpath *c);

#endif
