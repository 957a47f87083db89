/* SPDX-License-Identifier: Apache-2.0
 * The list of volumes, as it was when the mount was made: whoever changes the file changes the next mount, not this
 * one, and a later server numbers volumes as the kernel and the table do. The keeper holds the text, unread, where no
 * server can write to it: what a server may reach is found out from it.
 */
#ifndef VX_FS_LIST_H
#define VX_FS_LIST_H

#include "base/err.h"

#include <jansson.h>

#define VX_NO_LIST (-1)

/* *ret is a descriptor of the sealed text, or VX_NO_LIST when `source` is no file, and so no list. */
int vx_list_hold(const char *source, int *ret, struct vx_err *e);

/* Parses what is held; `source` names it. *ret is NULL for VX_NO_LIST. */
int vx_list_load(int held, const char *source, json_t **ret, struct vx_err *e);

#endif
