/* SPDX-License-Identifier: Apache-2.0
 * Private to chain.c and its tests: the links of a chain one by one. Pure functions of bytes that may be hostile; any
 * thread. What is only read once is never copied: each link unpacks straight into its output.
 */
#ifndef VX_CODEC_CHAIN_LINKS_H
#define VX_CODEC_CHAIN_LINKS_H

#include "codec/chain.h"
#include "codec/inflate.h"

#define CRC32C_BYTES 4

/* Makes o->buf and undoes one compressor into it: all of data, neither more nor less. limit, exact and front of `o` are
 * set. The length is checked, too. -EBADMSG and a sentence for what is damaged. */
int link_undo(enum vx_link_kind kind, struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o);

/* The most bytes into which a sound writer packs `bytes`. */
uint64_t link_packed_max(enum vx_link_kind kind, uint64_t bytes);

/* What link_undo is made of, beside inflate.h. */
int undo_blosc(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o);
int undo_lz4(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o);
int undo_lz4_java(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o);
int undo_bzip2(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o);
int undo_xz(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o); /* and .lzma alone */

#endif
