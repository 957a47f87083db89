/* SPDX-License-Identifier: Apache-2.0
 * Asks the kernel to forget names that nobody uses, so that neither side remembers every box ever looked at. A
 * notification may wait for a directory's lock, and that for an answer of ours: so it has a thread of its own, which
 * holds nothing, and for which nobody waits as long as there are requests to answer.
 */
#ifndef VX_FS_NOTIFY_H
#define VX_FS_NOTIFY_H

#include "fs/session.h"

struct vx_notifier;

int vx_notifier_start(struct vx_notifier **ret, struct vx_fs *fs, struct vx_err *e);
/* A name was added: perhaps another is due. Cheap. */
void vx_notifier_poke(struct vx_notifier *n);
/* Ends the thread, while the session still answers: a process whose notification hangs cannot end. Pokes may go on. */
void vx_notifier_quiet(struct vx_notifier *n);
/* Nobody pokes any more. */
void vx_notifier_free(struct vx_notifier **n);

#endif
