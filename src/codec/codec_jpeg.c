/* SPDX-License-Identifier: Apache-2.0
 * The jpeg encoding: grey or RGB, baseline or progressive. Through the API of libjpeg rather than libjpeg-turbo's own:
 * it hands out rows, so that samples go from the decoder's row straight to their planes; it says where the image ended;
 * and each of its warnings can be told from silence. The library repairs what it can and warns (grey where data are
 * missing); here every warning is damage.
 */
#include "codec/expand.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "base/limits.h"

#define ROWS 16                          /* as many as the library ever has ready at once */
#define SCANS_MAX 200                    /* progressive writers make about 10; each costs a pass over the image */
#define SPARE_BYTES ((uint64_t)64 << 20) /* of the library's, beside the coefficients of the whole image */
#define COEFFICIENT_BYTES ((uint64_t)2)  /* that a progressive image keeps of each sample */
#define MAX_SIDE ((uint64_t)JPEG_MAX_DIMENSION)
#define MCU_SIDE 32

struct run {
	struct jpeg_decompress_struct c;
	struct jpeg_error_mgr errors;
	struct jpeg_progress_mgr progress;
	jmp_buf failed;
	struct vx_err *e;
};

/* ---- what the library calls ---- */

static void give_up(j_common_ptr c) __attribute__((noreturn));
static void give_up(j_common_ptr c)
{
	struct run *r = c->client_data;
	char text[JMSG_LENGTH_MAX];

	c->err->format_message(c, text);
	if (c->err->msg_code == JERR_OUT_OF_MEMORY)
		vx_fail(r->e, -ENOMEM, "no memory for the jpeg library");
	else
		vx_fail(r->e, -EBADMSG, "jpeg image is damaged or cut off (%s)", text);
	longjmp(r->failed, 1);
}

static void on_message(j_common_ptr c, int level)
{
	if (level < 0)
		give_up(c);
}

static void on_progress(j_common_ptr c)
{
	struct run *r = c->client_data;

	if (r->c.input_scan_number <= SCANS_MAX)
		return;
	vx_fail(r->e, -EBADMSG, "jpeg image has more than %d scans", SCANS_MAX);
	longjmp(r->failed, 1);
}

/* ---- one image ---- */

/* Pixels that blocks stick out of the image: a narrow one is mostly that. */
static uint64_t padded_voxels(const struct vx_chunk_form *f)
{
	uint64_t n = expand_voxels(f), sides = vx_min_u64(n + 1, 2 * MAX_SIDE);

	return n + sides * (MCU_SIDE - 1) + MCU_SIDE * MCU_SIDE;
}

static void start(struct run *r, const struct vx_chunk_form *f, const struct vx_buf *stored)
{
	uint64_t most = padded_voxels(f) * f->channels * COEFFICIENT_BYTES + SPARE_BYTES;

	r->c.mem->max_memory_to_use = (long)most;
	r->progress.progress_monitor = on_progress;
	r->c.progress = &r->progress;
	jpeg_mem_src(&r->c, stored->data, stored->len);
	jpeg_read_header(&r->c, TRUE);
}

static int check(const struct run *r, const struct vx_chunk_form *f)
{
	const struct expand_image i = {
	    .what = "jpeg",
	    .width = r->c.image_width,
	    .height = r->c.image_height,
	    .channels = (uint32_t)r->c.num_components,
	    .bits = (uint32_t)r->c.data_precision,
	};

	return expand_image_check(f, &i, r->e);
}

/* Rows of one channel land where they belong; of more, in rows of the library's to be split from there. */
static void read_rows(struct run *r, const struct vx_chunk_form *f, uint8_t *payload)
{
	uint64_t width = r->c.image_width;
	JSAMPROW row[ROWS];
	JSAMPARRAY own = NULL;

	if (f->channels > 1)
		own = r->c.mem->alloc_sarray((j_common_ptr)&r->c, JPOOL_IMAGE, (JDIMENSION)(width * f->channels), ROWS);
	while (r->c.output_scanline < r->c.output_height) {
		uint64_t y = r->c.output_scanline, n = vx_min_u64(ROWS, r->c.output_height - y);

		for (uint64_t i = 0; i < n; i++)
			row[i] = own ? own[i] : payload + (y + i) * width;
		n = jpeg_read_scanlines(&r->c, row, (JDIMENSION)n);
		for (uint64_t i = 0; own && i < n; i++)
			expand_split(f, payload, (y + i) * width, own[i], width);
	}
}

static int decode_image(struct run *r, const struct vx_chunk_form *f, const struct vx_buf *stored, struct vx_pool *pool,
			struct vx_buf **payload)
{
	int err;

	if (setjmp(r->failed))
		return r->e->code;
	jpeg_create_decompress(&r->c);
	start(r, f, stored);
	err = check(r, f);
	if (err == 0)
		err = expand_payload(pool, f, payload, r->e);
	if (err < 0)
		return err;
	r->c.out_color_space = f->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
	jpeg_start_decompress(&r->c);
	read_rows(r, f, (*payload)->data);
	jpeg_finish_decompress(&r->c);
	if (r->c.src->bytes_in_buffer)
		return vx_fail(r->e, -EBADMSG, "jpeg image is followed by %zu bytes too many",
			       r->c.src->bytes_in_buffer);
	return 0;
}

static int expand(struct vx_pool *pool, const struct vx_chunk_form *f, struct vx_buf *stored, struct vx_buf **ret,
		  struct vx_err *e)
{
	struct vx_err why = {0};
	struct run r = {.e = &why};
	struct vx_buf *payload = NULL;
	int err;

	r.c.err = jpeg_std_error(&r.errors);
	r.errors.error_exit = give_up;
	r.errors.emit_message = on_message;
	r.c.client_data = &r;
	err = decode_image(&r, f, stored, pool, &payload);
	jpeg_destroy_decompress(&r.c);
	if (err < 0) {
		vx_buf_put(payload);
		return vx_fail(e, err, "%s", why.why);
	}
	*ret = payload;
	return 0;
}

/* A coefficient takes up to 26 bits; no writer comes near that on average. */
static uint64_t max_stored(const struct vx_chunk_form *f)
{
	return expand_stored_bound(padded_voxels(f) * f->channels * 4);
}

const struct vx_codec vx_codec_jpeg = {
    .name = "jpeg",
    .expand = expand,
    .max_stored = max_stored,
    .max_payload = vx_chunk_form_bytes,
    .exact_payload = vx_chunk_form_bytes,
    .decode = vx_raw_decode,
};
