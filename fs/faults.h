/* SPDX-License-Identifier: Apache-2.0
 * The last act of a server that dies of a fault: it writes down whose work it was.
 */
#ifndef VX_FS_FAULTS_H
#define VX_FS_FAULTS_H

#include "arena/table.h"

/* From now on. Call once; the table must outlive the process's last thread. */
void vx_faults_catch(struct vx_table *t);

#endif
