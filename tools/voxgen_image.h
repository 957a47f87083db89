/* SPDX-License-Identifier: Apache-2.0
 * The image encodings of chunks: png, and jpeg (which loses; for measuring only). The rows of the image are the chunk's
 * rows along x, one below the other. A coder belongs to one thread.
 */
#ifndef VOXGEN_IMAGE_H
#define VOXGEN_IMAGE_H

#include <stddef.h>
#include <stdint.h>

struct vg_image;

struct vg_image *vg_image_new(void); /* NULL when memory is short */
void vg_image_free(struct vg_image **image);

/* Encode n[0] x n[1] x n[2] x channels packed voxels of `width` bytes (jpeg: of 1 byte, 1 or 3 channels; png: of 1 or 2
 * bytes, 1 to 4 channels). The result stays the coder's, until its next use. 0, -ENOMEM, or -EOVERFLOW: a chunk that
 * no jpeg image can fold. */
int vg_image_png(struct vg_image *image, const void *voxels, const uint64_t n[3], uint32_t channels, uint32_t width,
		 const uint8_t **ret, size_t *ret_len);
int vg_image_jpeg(struct vg_image *image, const void *voxels, const uint64_t n[3], uint32_t channels,
		  const uint8_t **ret, size_t *ret_len);

#endif
