/* SPDX-License-Identifier: Apache-2.0
 * Metadata documents: small objects read once, blocking, while a volume is opened.
 */
#ifndef VX_SCHED_DOCS_H
#define VX_SCHED_DOCS_H

#include "fetch/fetch.h"

/* Reads a document of at most `cap` bytes and unpacks what the store packed. *ret is one reference. -ENODATA: the store
 * does not have it; -EBADMSG: empty, damaged, too large; else the store's own failure. Sentences begin with the
 * document's address, but for -ENODATA. */
int vx_doc_read(struct vx_store *s, const char *key, uint64_t cap, struct vx_buf **ret, struct vx_err *e);
/* It was read but makes no sense: a disk cache shall not keep it. */
void vx_doc_distrust(struct vx_store *s, const char *key);

#endif
