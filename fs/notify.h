/* SPDX-License-Identifier: Apache-2.0
 * Asks the kernel to forget names that nobody uses, so that neither side remembers every box ever looked at. A
 * notification may wait for a directory's lock, and that for an answer of ours: so it has a thread of its own, which
 * holds nothing and for which nobody waits.
 */
#ifndef VX_FS_NOTIFY_H
#define VX_FS_NOTIFY_H

#include "fs/session.h"

struct vx_notifier;

int vx_notifier_start(struct vx_notifier **ret, struct vx_fs *fs, struct vx_err *e);
/* A name was added: perhaps another is due. Cheap. */
void vx_notifier_poke(struct vx_notifier *n);
/* Disarms first; call when the session has ended, so that no notification can hang. */
void vx_notifier_stop(struct vx_notifier **n);

#endif
