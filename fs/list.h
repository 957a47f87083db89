/* SPDX-License-Identifier: Apache-2.0
 * The list of volumes, as it was when the mount was made: whoever changes the file changes the next mount, not this
 * one. A later server must not number volumes otherwise than the kernel and the table do. Before threads.
 */
#ifndef VX_FS_LIST_H
#define VX_FS_LIST_H

#include "arena/table.h"

#include <jansson.h>

/* *ret is NULL when `source` is no file, and so no list. `table` NULL: nothing is remembered. */
int vx_list_load(const char *source, struct vx_table *table, json_t **ret, struct vx_err *e);

#endif
