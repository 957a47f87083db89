/* SPDX-License-Identifier: Apache-2.0
 * The jxl encoding: grey, RGB or RGBA of 8 bits, lossless or lossy, by libjxl in the calling thread. Samples are taken
 * in the image's own colours: no profile is asked for, alpha stays as it is stored, nothing is turned. What would make
 * an image more than samples in reading order (animation, turning, layers) is refused.
 *
 * The sizes of the image and of the one frame that is shown are checked before samples are decoded. Frames that are
 * only referred to are the library's own affair: nothing tells their size, and it ends the process where memory for
 * one cannot be had.
 */
#include "codec/expand.h"

#include <inttypes.h>
#include <jxl/decode.h>
#include <string.h>

struct jxl {
	JxlDecoder *d;
	const struct vx_chunk_form *f;
	struct vx_buf *payload;
	uint64_t width, voxels; /* width of the image; voxels that have come */
	struct vx_err *e;
};

static int check(const struct jxl *j)
{
	struct expand_image i = {.what = "jxl"};
	JxlBasicInfo b;

	if (JxlDecoderGetBasicInfo(j->d, &b) != JXL_DEC_SUCCESS)
		return vx_fail(j->e, -EBADMSG, "jxl image is damaged");
	i.width = b.xsize;
	i.height = b.ysize;
	i.bits = b.bits_per_sample;
	i.channels = b.num_color_channels + b.num_extra_channels;
	if (b.have_animation || b.orientation != JXL_ORIENT_IDENTITY)
		return vx_fail(j->e, -EBADMSG, "jxl image is animated or turned");
	if (b.exponent_bits_per_sample || b.num_extra_channels > 1 || (b.num_extra_channels == 1 && b.alpha_bits != 8))
		return vx_fail(j->e, -EBADMSG, "jxl image has channels that are not samples of 8 bits");
	return expand_image_check(j->f, &i, j->e);
}

/* A run of pixels of one row; each comes once. */
static void take(void *ctx, size_t x, size_t y, size_t n, const void *pixels)
{
	struct jxl *j = ctx;

	expand_split(j->f, j->payload->data, y * j->width + x, pixels, n);
	j->voxels += n;
}

static int begin(struct jxl *j, struct vx_pool *pool)
{
	JxlBasicInfo b;
	int err = check(j);

	if (err == 0)
		err = expand_payload(pool, j->f, &j->payload, j->e);
	if (err < 0)
		return err;
	JxlDecoderGetBasicInfo(j->d, &b);
	j->width = b.xsize;
	return 0;
}

/* Frames come one by one, not blended: the one that is shown must be the image. */
static int check_frame(const struct jxl *j)
{
	JxlFrameHeader h;

	if (JxlDecoderGetFrameHeader(j->d, &h) != JXL_DEC_SUCCESS || !h.is_last || h.layer_info.have_crop)
		return vx_fail(j->e, -EBADMSG, "jxl image consists of layers");
	return 0;
}

static int begin_pixels(struct jxl *j)
{
	const JxlPixelFormat format = {j->f->channels, JXL_TYPE_UINT8, JXL_LITTLE_ENDIAN, 0};

	if (!j->payload || JxlDecoderSetImageOutCallback(j->d, &format, take, j) != JXL_DEC_SUCCESS)
		return vx_fail(j->e, -EBADMSG, "jxl image has no samples of %u channels", j->f->channels);
	return 0;
}

static int run(struct jxl *j, struct vx_pool *pool)
{
	for (;;) {
		JxlDecoderStatus s = JxlDecoderProcessInput(j->d);
		int err = 0;

		switch (s) {
		case JXL_DEC_BASIC_INFO:
			err = begin(j, pool);
			break;
		case JXL_DEC_FRAME:
			err = check_frame(j);
			break;
		case JXL_DEC_NEED_IMAGE_OUT_BUFFER:
			err = begin_pixels(j);
			break;
		case JXL_DEC_FULL_IMAGE:
			break;
		case JXL_DEC_SUCCESS:
			return 0;
		case JXL_DEC_NEED_MORE_INPUT:
			return vx_fail(j->e, -EBADMSG, "jxl image is cut off");
		default:
			return vx_fail(j->e, -EBADMSG, "jxl image is damaged");
		}
		if (err < 0)
			return err;
	}
}

static int decode_image(struct jxl *j, const struct vx_buf *stored, struct vx_pool *pool)
{
	JxlSignature kind = JxlSignatureCheck(stored->data, stored->len);
	size_t left;
	int err;

	if (kind != JXL_SIG_CODESTREAM && kind != JXL_SIG_CONTAINER)
		return vx_fail(j->e, -EBADMSG, "jxl image is cut off, or the chunk is none");
	/* Without JxlDecoderCloseInput: data that end too early are then a status, not a line on stderr. */
	if (JxlDecoderSubscribeEvents(j->d, JXL_DEC_BASIC_INFO | JXL_DEC_FRAME | JXL_DEC_FULL_IMAGE) !=
		JXL_DEC_SUCCESS ||
	    JxlDecoderSetCoalescing(j->d, JXL_FALSE) != JXL_DEC_SUCCESS ||
	    JxlDecoderSetInput(j->d, stored->data, stored->len) != JXL_DEC_SUCCESS)
		return vx_fail(j->e, -ENOMEM, "no memory for the jxl library");
	err = run(j, pool);
	if (err < 0)
		return err;
	if (j->voxels != expand_voxels(j->f))
		return vx_fail(j->e, -EBADMSG, "jxl image has %" PRIu64 " pixels instead of %" PRIu64, j->voxels,
			       expand_voxels(j->f));
	left = JxlDecoderReleaseInput(j->d);
	if (kind == JXL_SIG_CODESTREAM && left) /* in a container boxes of other kinds may follow */
		return vx_fail(j->e, -EBADMSG, "jxl image is followed by %zu bytes too many", left);
	return 0;
}

static int expand(struct vx_pool *pool, const struct vx_chunk_form *f, struct vx_buf *stored, struct vx_buf **ret,
		  struct vx_err *e)
{
	struct jxl j = {.d = JxlDecoderCreate(NULL), .f = f, .e = e};
	int err;

	if (!j.d)
		return vx_fail(e, -ENOMEM, "no memory for the jxl library");
	err = decode_image(&j, stored, pool);
	JxlDecoderDestroy(j.d);
	if (err < 0) {
		vx_buf_put(j.payload);
		return err;
	}
	*ret = j.payload;
	return 0;
}

static uint64_t max_stored(const struct vx_chunk_form *f)
{
	return expand_stored_bound(2 * vx_chunk_form_bytes(f));
}

const struct vx_codec vx_codec_jxl = {
    .name = "jxl",
    .expand = expand,
    .max_stored = max_stored,
    .max_payload = vx_chunk_form_bytes,
    .exact_payload = vx_chunk_form_bytes,
    .decode = vx_raw_decode,
};
