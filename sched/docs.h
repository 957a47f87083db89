/* SPDX-License-Identifier: Apache-2.0
 * Metadata documents: small objects read once, blocking, while a volume is opened.
 */
#ifndef VX_SCHED_DOCS_H
#define VX_SCHED_DOCS_H

#include "arena/table.h"
#include "fetch/fetch.h"

/* Reads a document of at most `cap` bytes and unpacks what the store packed. *ret is one reference. -ENODATA: the store
 * does not have it; -EBADMSG: empty, damaged, too large; else the store's own failure. Sentences begin with the
 * document's address, but for -ENODATA. */
int vx_doc_read(struct vx_store *s, const char *key, uint64_t cap, struct vx_buf **ret, struct vx_err *e);
/* It was read but makes no sense: a disk cache shall not keep it. */
void vx_doc_distrust(struct vx_store *s, const char *key);

/* Documents are from now on looked for in `table` first, and what the store says of them is written there, whether they
 * are there or not, or damaged; buffers come from `pool`. Once, before the first is read. */
void vx_docs_remember(struct vx_table *table, struct vx_pool *pool);

#endif
