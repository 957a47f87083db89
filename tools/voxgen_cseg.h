/* SPDX-License-Identifier: Apache-2.0
 * The compressed_segmentation writer, byte-identical to what the common libraries write. A coder
 * belongs to one thread.
 */
#ifndef VOXGEN_CSEG_H
#define VOXGEN_CSEG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vg_coder;

struct vg_coder *vg_coder_new(void); /* NULL when memory is short */
void vg_coder_free(struct vg_coder **coder);

/* Encodes n[0] x n[1] x n[2] x channels packed voxels of 4 or 8 bytes. The result stays the coder's,
 * until its next use. 0, -ENOMEM, or -EFBIG: a block of more than 65536 voxels, or a chunk whose
 * offsets do not fit the 24 bits that every reader understands. */
int vg_coder_encode(struct vg_coder *coder, const void *voxels, const uint64_t n[3], uint32_t channels, uint32_t width,
		    const uint32_t block[3], const uint8_t **ret, size_t *ret_len);

#endif
