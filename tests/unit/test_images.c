/* SPDX-License-Identifier: Apache-2.0
 * The codecs of images: every folding, channel count and sample width comes back as it was encoded; what does not fit
 * the chunk, is cut off, damaged, followed by something or of another kind is refused with a sentence, before it has
 * cost memory where that can be told from its header.
 */
#include "../lib/vxtest.h"
#include "codec/codec.h"

#include <libdeflate.h>
#include <spng.h>
#include <string.h>

#include <jpeglib.h>
#ifdef VX_HAVE_JXL
#include <jxl/encode.h>
#endif

static struct vx_pool *pool;

static void setup(void)
{
	ck_assert_int_eq(vx_pool_new(&pool, 1 << 20), 0);
}

static void teardown(void)
{
	ck_assert_uint_eq(vx_pool_bytes_used(pool), 0);
	vx_pool_free(&pool);
}

struct bytes {
	uint8_t *at;
	size_t len;
};

static int expand(const struct vx_codec *c, const struct vx_chunk_form *f, struct bytes b, struct vx_buf **ret,
		  struct vx_err *e)
{
	struct vx_buf *stored = vx_buf_get(pool, b.len + 1);
	int err;

	memcpy(stored->data, b.at, b.len);
	stored->len = b.len;
	err = c->expand(pool, f, stored, ret, e);
	vx_buf_put(stored);
	return err;
}

static void must_refuse(const struct vx_codec *c, const struct vx_chunk_form *f, struct bytes b, const char *sentence)
{
	struct vx_buf *got = NULL;
	struct vx_err e = {0};

	if (expand(c, f, b, &got, &e) != -EBADMSG || got || !strstr(e.why, sentence))
		ck_abort_msg("\"%s\" instead of \"%s\"", e.why, sentence);
}

/* ---- pictures ---- */

struct picture {
	uint32_t width, height, channels, sample; /* bytes of a sample */
	uint8_t *pixels;                          /* samples of each side by side, little-endian */
};

static uint64_t picture_bytes(const struct picture *p)
{
	return (uint64_t)p->width * p->height * p->channels * p->sample;
}

/* A chunk's form, and a picture that folds it in one of the possible ways. */
static void random_picture(struct vxt_rng *r, struct vx_chunk_form *f, struct picture *p, uint32_t channels,
			   uint32_t sample)
{
	uint64_t n, w;

	*f = (struct vx_chunk_form){
	    .n = {1 + vxt_rnd(r, 40), 1 + vxt_rnd(r, 20), 1 + vxt_rnd(r, 9)}, .channels = channels, .width = sample};
	n = f->n[0] * f->n[1] * f->n[2];
	do
		w = 1 + vxt_rnd(r, n);
	while (n % w);
	*p = (struct picture){(uint32_t)w, (uint32_t)(n / w), channels, sample, malloc(n * channels * sample)};
	for (uint64_t i = 0; i < picture_bytes(p); i++)
		p->pixels[i] = (uint8_t)vxt_rnd(r, 256);
}

/* Sample by sample: planes hold what pixels hold, no further off than `most`. */
static void compare(const struct picture *p, const struct vx_buf *got, int most)
{
	uint64_t n = (uint64_t)p->width * p->height;

	if (got->len != picture_bytes(p))
		ck_abort_msg("%zu bytes", got->len);
	for (uint32_t c = 0; c < p->channels; c++)
		for (uint64_t i = 0; i < n; i++)
			for (uint32_t b = 0; b < p->sample; b++) {
				int is = got->data[(c * n + i) * p->sample + b];
				int want = p->pixels[(i * p->channels + c) * p->sample + b];

				if (abs(is - want) > most)
					ck_abort_msg("pixel %llu of channel %u is %d instead of %d",
						     (unsigned long long)i, c, is, want);
			}
}

static void must_come_back(const struct vx_codec *c, const struct vx_chunk_form *f, const struct picture *p,
			   struct bytes b, int most)
{
	struct vx_buf *got = NULL;
	struct vx_err e = {0};

	if (b.len > c->max_stored(f))
		ck_abort_msg("%zu bytes are more than the bound", b.len);
	if (expand(c, f, b, &got, &e) < 0)
		ck_abort_msg("%s", e.why);
	compare(p, got, most);
	vx_buf_put(got);
}

/* ---- png ---- */

static struct bytes png_encode(const struct picture *p)
{
	static const uint8_t types[5] = {0, 0, 4, 2, 6};
	struct spng_ihdr head = {.width = p->width,
				 .height = p->height,
				 .bit_depth = (uint8_t)(8 * p->sample),
				 .color_type = types[p->channels]};
	spng_ctx *ctx = spng_ctx_new(SPNG_CTX_ENCODER);
	struct bytes b;
	int err = 0;

	spng_set_option(ctx, SPNG_ENCODE_TO_BUFFER, 1);
	spng_set_ihdr(ctx, &head);
	ck_assert_int_eq(spng_encode_image(ctx, p->pixels, picture_bytes(p), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE), 0);
	b.at = spng_get_png_buffer(ctx, &b.len, &err);
	ck_assert_int_eq(err, 0);
	spng_ctx_free(ctx);
	return b;
}

static void store_be32(uint8_t *to, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* Puts a chunk in at byte `at`. */
static void png_insert(struct bytes *b, size_t at, const char *type, const void *data, uint32_t len)
{
	uint8_t *c;

	b->at = realloc(b->at, b->len + len + 12);
	c = b->at + at;
	memmove(c + len + 12, c, b->len - at);
	store_be32(c, len);
	memcpy(c + 4, type, 4);
	memcpy(c + 8, data, len);
	store_be32(c + 8 + len, libdeflate_crc32(0, c + 4, len + 4));
	b->len += len + 12;
}

#define PNG_HEAD 8    /* where IHDR begins */
#define PNG_BEHIND 33 /* where the next chunk does */

static void png_set_head(struct bytes *b, size_t at, uint32_t v, size_t len)
{
	uint8_t be[4];

	store_be32(be, v);
	memcpy(b->at + PNG_HEAD + 8 + at, be + 4 - len, len);
	store_be32(b->at + PNG_BEHIND - 4, libdeflate_crc32(0, b->at + PNG_HEAD + 4, 17));
}

START_TEST(png_comes_back)
{
	struct vxt_rng r = vxt_seed("png", _i);

	for (uint32_t channels = 1; channels <= 4; channels++)
		for (uint32_t sample = 1; sample <= 2; sample++)
			for (unsigned i = vxt_ops(8); i > 0; i--) {
				struct vx_chunk_form f;
				struct picture p;
				struct bytes b;

				random_picture(&r, &f, &p, channels, sample);
				b = png_encode(&p);
				must_come_back(&vx_codec_png, &f, &p, b, 0);
				free(b.at);
				free(p.pixels);
			}
}
END_TEST

START_TEST(png_of_another_kind)
{
	struct vxt_rng r = vxt_seed("png-kinds", _i);
	struct vx_chunk_form f, other;
	struct picture p;
	struct bytes b;

	random_picture(&r, &f, &p, 3, 1);
	b = png_encode(&p);
	other = f;
	other.channels = 4;
	must_refuse(&vx_codec_png, &other, b, "png image has 3 channels, the volume 4");
	other.channels = 3;
	other.width = 2;
	must_refuse(&vx_codec_png, &other, b, "samples of 8 bits, the volume of 16");
	other = f;
	other.n[1]++;
	must_refuse(&vx_codec_png, &other, b, "does not fold into a chunk");
	png_set_head(&b, 9, 3, 1);
	must_refuse(&vx_codec_png, &f, b, "colour type 3 (a palette)");
	png_set_head(&b, 9, 0, 1);
	png_set_head(&b, 8, 4, 1);
	other = f;
	other.channels = 1;
	must_refuse(&vx_codec_png, &other, b, "samples of 4 bits, the volume of 8");
	png_set_head(&b, 9, 5, 1);
	must_refuse(&vx_codec_png, &other, b, "png image is damaged");
	free(b.at);
	free(p.pixels);
}
END_TEST

/* A hundred bytes that say 60000 x 60000, and 2^31 - 1 of one pixel each: refused before memory is taken. */
START_TEST(png_bombs)
{
	struct vxt_rng r = vxt_seed("png-bombs", _i);
	struct vx_chunk_form f;
	struct picture p;
	struct bytes b;

	random_picture(&r, &f, &p, 1, 1);
	b = png_encode(&p);
	png_set_head(&b, 0, 60000, 4);
	png_set_head(&b, 4, 60000, 4);
	must_refuse(&vx_codec_png, &f, b, "png image of 60000 x 60000 pixels does not fold");
	png_set_head(&b, 0, 0x7fffffff, 4);
	png_set_head(&b, 4, 0x7fffffff, 4);
	must_refuse(&vx_codec_png, &f, b, "does not fold");
	png_set_head(&b, 0, 0, 4);
	must_refuse(&vx_codec_png, &f, b, "png image is damaged");
	free(b.at);
	free(p.pixels);
}
END_TEST

/* What other chunks say does not change samples, however much they inflate to. */
START_TEST(png_says_more)
{
	static uint8_t zeros[1 << 22], packed[1 << 16] = "name\0";
	struct libdeflate_compressor *z = libdeflate_alloc_compressor(9);
	struct vxt_rng r = vxt_seed("png-more", _i);
	struct vx_chunk_form f;
	struct picture p;
	struct bytes b;
	size_t len;

	random_picture(&r, &f, &p, 1, 1);
	b = png_encode(&p);
	len = 6 + libdeflate_zlib_compress(z, zeros, sizeof zeros, packed + 6, sizeof packed - 6);
	libdeflate_free_compressor(z);
	png_insert(&b, PNG_BEHIND, "gAMA", "\0\0\3\xe8", 4);
	png_insert(&b, PNG_BEHIND, "tRNS", "\0\7", 2);
	png_insert(&b, PNG_BEHIND, "bKGD", "\0\1", 2);
	png_insert(&b, PNG_BEHIND, "iCCP", packed, (uint32_t)len);
	for (int i = 0; i < 1200; i++)
		png_insert(&b, PNG_BEHIND, "tEXt", "a\0b", 3);
	must_come_back(&vx_codec_png, &f, &p, b, 0);
	png_insert(&b, PNG_BEHIND, "WHAT", "", 0); /* says that it is critical */
	must_refuse(&vx_codec_png, &f, b, "png image is damaged");
	free(b.at);
	free(p.pixels);
}
END_TEST

/* Cut off anywhere, or with a byte changed anywhere, or with a byte more. */
START_TEST(png_damaged)
{
	struct vxt_rng r = vxt_seed("png-damage", _i);
	struct vx_chunk_form f;
	struct picture p;
	struct bytes b, cut;

	random_picture(&r, &f, &p, 1 + (uint32_t)_i % 4, 1);
	b = png_encode(&p);
	for (size_t n = 0; n < b.len; n++) {
		cut = (struct bytes){b.at, n};
		must_refuse(&vx_codec_png, &f, cut, n < 8 ? "no png image" : "cut off");
		b.at[n] ^= (uint8_t)(1u << vxt_rnd(&r, 8));
		must_refuse(&vx_codec_png, &f, b, "");
		b.at[n] = 0;
		free(b.at);
		b = png_encode(&p);
	}
	b.at = realloc(b.at, b.len + 1);
	b.at[b.len++] = 0;
	must_refuse(&vx_codec_png, &f, b, "png image is followed by 1 bytes too many");
	free(b.at);
	free(p.pixels);
}
END_TEST

/* ---- jpeg ---- */

static struct bytes jpeg_encode(const struct picture *p, J_COLOR_SPACE space,
				void (*more)(struct jpeg_compress_struct *))
{
	struct jpeg_compress_struct c;
	struct jpeg_error_mgr errors;
	unsigned long len = 0;
	struct bytes b = {0};

	c.err = jpeg_std_error(&errors);
	jpeg_create_compress(&c);
	jpeg_mem_dest(&c, &b.at, &len);
	c.image_width = p->width;
	c.image_height = p->height;
	c.input_components = (int)p->channels;
	c.in_color_space = space;
	jpeg_set_defaults(&c);
	jpeg_set_quality(&c, 100, TRUE);
	for (int i = 0; i < c.num_components; i++)
		c.comp_info[i].h_samp_factor = c.comp_info[i].v_samp_factor = 1;
	if (more)
		more(&c);
	jpeg_start_compress(&c, TRUE);
	while (c.next_scanline < c.image_height) {
		JSAMPROW row = p->pixels + (size_t)c.next_scanline * p->width * p->channels;

		jpeg_write_scanlines(&c, &row, 1);
	}
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	b.len = len;
	return b;
}

/* Scans of one coefficient and one bit each. */
static void many_scans(struct jpeg_compress_struct *c)
{
	static jpeg_scan_info scan[1 + 63 * 5];
	int n = 0;

	scan[n++] = (jpeg_scan_info){.comps_in_scan = 1};
	for (int bit = 4; bit >= 0; bit--)
		for (int k = 1; k < 64; k++)
			scan[n++] = (jpeg_scan_info){
			    .comps_in_scan = 1, .Ss = k, .Se = k, .Ah = bit == 4 ? 0 : bit + 1, .Al = bit};
	c->scan_info = scan;
	c->num_scans = n;
}

static void restarts(struct jpeg_compress_struct *c)
{
	c->restart_interval = 2;
	jpeg_simple_progression(c);
}

START_TEST(jpeg_comes_back)
{
	struct vxt_rng r = vxt_seed("jpeg", _i);

	for (uint32_t channels = 1; channels <= 3; channels += 2)
		for (unsigned i = vxt_ops(20); i > 0; i--) {
			struct vx_chunk_form f;
			struct picture p;
			struct bytes b;

			random_picture(&r, &f, &p, channels, 1);
			b = jpeg_encode(&p, channels == 1 ? JCS_GRAYSCALE : JCS_RGB, vxt_rnd(&r, 2) ? restarts : NULL);
			must_come_back(&vx_codec_jpeg, &f, &p, b, channels == 1 ? 2 : 4);
			free(b.at);
			free(p.pixels);
		}
}
END_TEST

START_TEST(jpeg_of_another_kind)
{
	struct vxt_rng r = vxt_seed("jpeg-kinds", _i);
	struct vx_chunk_form f, other;
	struct picture p;
	struct bytes b;

	random_picture(&r, &f, &p, 4, 1);
	b = jpeg_encode(&p, JCS_CMYK, NULL);
	other = f;
	other.channels = 3;
	must_refuse(&vx_codec_jpeg, &other, b, "jpeg image has 4 channels, the volume 3");
	other = f;
	other.n[2]++;
	must_refuse(&vx_codec_jpeg, &other, b, "does not fold into a chunk");
	free(b.at);
	p.channels = 1;
	b = jpeg_encode(&p, JCS_GRAYSCALE, many_scans);
	other = f;
	other.channels = 1;
	must_refuse(&vx_codec_jpeg, &other, b, "more than 200 scans");
	free(b.at);
	free(p.pixels);
}
END_TEST

START_TEST(jpeg_damaged)
{
	struct vxt_rng r = vxt_seed("jpeg-damage", _i);
	uint32_t channels = _i % 2 ? 3 : 1;
	struct vx_chunk_form f;
	struct picture p;
	struct bytes b;
	size_t frame = 0;

	random_picture(&r, &f, &p, channels, 1);
	b = jpeg_encode(&p, channels == 1 ? JCS_GRAYSCALE : JCS_RGB, _i % 4 < 2 ? restarts : NULL);
	for (size_t n = 0; n < b.len; n++)
		must_refuse(&vx_codec_jpeg, &f, (struct bytes){b.at, n}, "damaged or cut off");
	b.at = realloc(b.at, b.len + 1);
	b.at[b.len++] = 0;
	must_refuse(&vx_codec_jpeg, &f, b, "jpeg image is followed by 1 bytes too many");
	b.len--;
	while (b.at[frame] != 0xff || (b.at[frame + 1] != 0xc0 && b.at[frame + 1] != 0xc2))
		frame++;
	memset(b.at + frame + 5, 0xea, 4); /* both sides */
	must_refuse(&vx_codec_jpeg, &f, b, "jpeg image of 60138 x 60138 pixels does not fold");
	b.at[frame + 4] = 12;
	must_refuse(&vx_codec_jpeg, &f, b, "");
	free(b.at);
	free(p.pixels);
}
END_TEST

/* ---- jxl ---- */

#ifdef VX_HAVE_JXL

struct jxl_as {
	bool lossy, animated;
	unsigned more_layers, more_alpha_bits;
};

static struct bytes jxl_encode(const struct picture *p, struct jxl_as as)
{
	JxlPixelFormat format = {p->channels, p->sample == 1 ? JXL_TYPE_UINT8 : JXL_TYPE_UINT16, JXL_LITTLE_ENDIAN, 0};
	JxlEncoder *enc = JxlEncoderCreate(NULL);
	JxlEncoderFrameSettings *settings = JxlEncoderFrameSettingsCreate(enc, NULL);
	struct bytes b = {malloc(1 << 20), 1 << 20};
	uint8_t *next = b.at;
	JxlColorEncoding colour;
	JxlBasicInfo info;

	JxlEncoderInitBasicInfo(&info);
	info.xsize = p->width;
	info.ysize = p->height;
	info.bits_per_sample = 8 * p->sample;
	info.num_color_channels = p->channels < 3 ? 1 : 3;
	info.num_extra_channels = p->channels % 2 ? 0 : 1;
	info.alpha_bits = p->channels % 2 ? 0 : 8 * p->sample + as.more_alpha_bits;
	info.uses_original_profile = !as.lossy;
	info.have_animation = as.animated;
	info.animation.tps_numerator = info.animation.tps_denominator = as.animated;
	ck_assert_int_eq(JxlEncoderSetBasicInfo(enc, &info), JXL_ENC_SUCCESS);
	JxlColorEncodingSetToSRGB(&colour, p->channels < 3);
	JxlEncoderSetColorEncoding(enc, &colour);
	JxlEncoderSetFrameLossless(settings, !as.lossy);
	JxlEncoderFrameSettingsSetOption(settings, JXL_ENC_FRAME_SETTING_EFFORT, 3);
	if (as.lossy)
		JxlEncoderSetFrameDistance(settings, 0.1f);
	for (unsigned layer = 0; layer <= as.more_layers; layer++)
		ck_assert_int_eq(JxlEncoderAddImageFrame(settings, &format, p->pixels, picture_bytes(p)),
				 JXL_ENC_SUCCESS);
	JxlEncoderCloseInput(enc);
	ck_assert_int_eq(JxlEncoderProcessOutput(enc, &next, &b.len), JXL_ENC_SUCCESS);
	b.len = (size_t)(next - b.at);
	JxlEncoderDestroy(enc);
	return b;
}

START_TEST(jxl_comes_back)
{
	struct vxt_rng r = vxt_seed("jxl", _i);
	const struct vx_codec *jxl = vx_codec_find("jxl");

	for (uint32_t channels = 1; channels <= 4; channels += channels == 1 ? 2 : 1)
		for (unsigned i = vxt_ops(3); i > 0; i--) {
			struct vx_chunk_form f;
			struct picture p;
			struct bytes b;

			random_picture(&r, &f, &p, channels, 1);
			b = jxl_encode(&p, (struct jxl_as){0});
			must_come_back(jxl, &f, &p, b, 0);
			free(b.at);
			for (uint64_t k = 0; k < picture_bytes(&p); k++)
				p.pixels[k] = (uint8_t)(100 + p.pixels[k] % 4); /* lossy is for eyes, not for noise */
			b = jxl_encode(&p, (struct jxl_as){.lossy = true});
			must_come_back(jxl, &f, &p, b, 8);
			free(b.at);
			free(p.pixels);
		}
}
END_TEST

START_TEST(jxl_refused)
{
	struct vxt_rng r = vxt_seed("jxl-refused", _i);
	const struct vx_codec *jxl = vx_codec_find("jxl");
	struct vx_chunk_form f, other;
	struct picture p;
	struct bytes b;

	random_picture(&r, &f, &p, 2, 1);
	b = jxl_encode(&p, (struct jxl_as){0});
	other = f;
	other.channels = 1;
	must_refuse(jxl, &other, b, "jxl image has 2 channels, the volume 1");
	other.n[0]++;
	must_refuse(jxl, &other, b, "does not fold into a chunk");
	free(b.at);
	free(p.pixels);
	random_picture(&r, &f, &p, 1, 2);
	b = jxl_encode(&p, (struct jxl_as){0});
	other = f;
	other.width = 1;
	must_refuse(jxl, &other, b, "jxl image has samples of 16 bits, the volume of 8");
	free(b.at);
	free(p.pixels);
	random_picture(&r, &f, &p, 3, 1);
	b = jxl_encode(&p, (struct jxl_as){0});
	for (size_t n = 0; n < b.len; n += 1 + b.len / 100)
		must_refuse(jxl, &f, (struct bytes){b.at, n}, "jxl image is");
	b.at[b.len++] = 0;
	must_refuse(jxl, &f, b, "jxl image is followed by 1 bytes too many");
	free(b.at);
	b = jxl_encode(&p, (struct jxl_as){.more_layers = 1});
	must_refuse(jxl, &f, b, "jxl image consists of layers");
	free(b.at);
	b = jxl_encode(&p, (struct jxl_as){.animated = true});
	must_refuse(jxl, &f, b, "jxl image is animated or turned");
	free(b.at);
	free(p.pixels);
	random_picture(&r, &f, &p, 2, 1);
	b = jxl_encode(&p, (struct jxl_as){.more_alpha_bits = 8});
	must_refuse(jxl, &f, b, "channels that are not samples of 8 bits");
	free(b.at);
	free(p.pixels);
}
END_TEST

#endif

int main(void)
{
	Suite *s = suite_create("images");
	TCase *t = tcase_create("images");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, png_comes_back, 0, 4);
	tcase_add_test(t, png_of_another_kind);
	tcase_add_test(t, png_bombs);
	tcase_add_test(t, png_says_more);
	tcase_add_loop_test(t, png_damaged, 0, 4);
	tcase_add_loop_test(t, jpeg_comes_back, 0, 4);
	tcase_add_test(t, jpeg_of_another_kind);
	tcase_add_loop_test(t, jpeg_damaged, 0, 4);
#ifdef VX_HAVE_JXL
	tcase_add_loop_test(t, jxl_comes_back, 0, 4);
	tcase_add_test(t, jxl_refused);
#endif
	return vxt_run(s);
}
