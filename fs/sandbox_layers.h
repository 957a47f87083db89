/* SPDX-License-Identifier: Apache-2.0
 * The parts of fs/sandbox: one function for each layer. Each fills its report; a negative errno is for what should not
 * happen to anybody (no memory), a layer that cannot be had is none.
 */
#ifndef VX_FS_SANDBOX_LAYERS_H
#define VX_FS_SANDBOX_LAYERS_H

#include "fs/sandbox.h"

/* Files, and where the kernel knows how: no TCP port of our own, no signal and no abstract socket to the outside. It
 * binds the calling thread and those that this will start. */
int vx_landlock_enter(const struct vx_sandbox *s, struct vx_layer *ret, unsigned *ret_abi);
/* System calls. Last: after it no other layer can be entered. */
int vx_seccomp_enter(struct vx_layer *ret);
/* Tries what is forbidden. Each try undoes what it did should it succeed. */
void vx_sandbox_probe(const struct vx_sandbox *s, struct vx_sandbox_report *ret);

int vx_layer_off(struct vx_layer *l, const char *fmt, ...) VX_PRINTF(2, 3);

#endif
