/* SPDX-License-Identifier: Apache-2.0
 * The one place that says which libfuse we speak.
 */
#ifndef VX_FS_FUSE_API_H
#define VX_FS_FUSE_API_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#endif
