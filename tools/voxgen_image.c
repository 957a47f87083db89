/* SPDX-License-Identifier: Apache-2.0
 * See voxgen_image.h. Which chunks can be encoded is checked by voxgen.c; what the libraries refuse then is memory.
 */
#include "voxgen_image.h"

#include <errno.h>
#include <spng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#define QUALITY 85

struct vg_image {
	uint8_t *pixels, *png;
	size_t pixels_cap;
	unsigned char *jpeg;
	unsigned long jpeg_len;
};

struct vg_image *vg_image_new(void)
{
	return calloc(1, sizeof(struct vg_image));
}

void vg_image_free(struct vg_image **image)
{
	struct vg_image *i = *image;

	*image = NULL;
	if (!i)
		return;
	free(i->pixels);
	free(i->png);
	free(i->jpeg);
	free(i);
}

/* From planes to the samples of each pixel side by side. */
static const uint8_t *pixels_of(struct vg_image *image, const void *voxels, uint64_t count, uint32_t channels,
				uint32_t width)
{
	size_t bytes = count * channels * width;
	const uint8_t *from = voxels;

	if (channels == 1)
		return voxels;
	if (image->pixels_cap < bytes) {
		free(image->pixels);
		image->pixels = malloc(bytes);
		image->pixels_cap = image->pixels ? bytes : 0;
	}
	for (uint64_t i = 0; image->pixels && i < count; i++)
		for (uint32_t c = 0; c < channels; c++)
			memcpy(image->pixels + (i * channels + c) * width, from + (c * count + i) * width, width);
	return image->pixels;
}

int vg_image_png(struct vg_image *image, const void *voxels, const uint64_t n[3], uint32_t channels, uint32_t width,
		 const uint8_t **ret, size_t *ret_len)
{
	static const uint8_t types[] = {0, 0, 4, 2, 6};
	uint64_t count = n[0] * n[1] * n[2];
	const uint8_t *pixels = pixels_of(image, voxels, count, channels, width);
	struct spng_ihdr head = {.width = (uint32_t)n[0],
				 .height = (uint32_t)(n[1] * n[2]),
				 .bit_depth = (uint8_t)(8 * width),
				 .color_type = types[channels]};
	spng_ctx *ctx = pixels ? spng_ctx_new(SPNG_CTX_ENCODER) : NULL;
	int code;

	if (!ctx)
		return -ENOMEM;
	free(image->png);
	image->png = NULL;
	code = spng_set_option(ctx, SPNG_ENCODE_TO_BUFFER, 1);
	if (!code)
		code = spng_set_ihdr(ctx, &head);
	if (!code)
		code = spng_encode_image(ctx, pixels, count * channels * width, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
	if (!code)
		image->png = spng_get_png_buffer(ctx, ret_len, &code);
	spng_ctx_free(ctx);
	*ret = image->png;
	return code ? -ENOMEM : 0;
}

int vg_image_jpeg(struct vg_image *image, const void *voxels, const uint64_t n[3], uint32_t channels,
		  const uint8_t **ret, size_t *ret_len)
{
	uint64_t count = n[0] * n[1] * n[2];
	const uint8_t *pixels = pixels_of(image, voxels, count, channels, 1);
	struct jpeg_compress_struct c;
	struct jpeg_error_mgr errors;

	if (!pixels)
		return -ENOMEM;
	if (n[0] > JPEG_MAX_DIMENSION || n[1] * n[2] > JPEG_MAX_DIMENSION)
		return -EOVERFLOW;
	free(image->jpeg);
	image->jpeg = NULL;
	c.err = jpeg_std_error(&errors); /* which ends the program, after saying why */
	jpeg_create_compress(&c);
	jpeg_mem_dest(&c, &image->jpeg, &image->jpeg_len);
	c.image_width = (JDIMENSION)n[0];
	c.image_height = (JDIMENSION)(n[1] * n[2]);
	c.input_components = (int)channels;
	c.in_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
	jpeg_set_defaults(&c);
	jpeg_set_quality(&c, QUALITY, TRUE);
	jpeg_start_compress(&c, TRUE);
	while (c.next_scanline < c.image_height) {
		JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + (size_t)c.next_scanline * n[0] * channels);

		jpeg_write_scanlines(&c, &row, 1);
	}
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	*ret = image->jpeg;
	*ret_len = image->jpeg_len;
	return 0;
}
