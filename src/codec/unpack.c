/* SPDX-License-Identifier: Apache-2.0
 * Compression at rest: gzip through libdeflate, zstd, brotli. The result goes straight into the
 * buffer that is handed on. Where the length is known beforehand the buffer has it from the start;
 * else a guess (gzip's trailer, zstd's header) sizes it and it grows, never past the limit: a bomb
 * costs at most `max` bytes of buffer, and the pages of it that were never written cost nothing.
 *
 * Bytes touched: packed bytes are read once and unpacked bytes written once. Growing copies what
 * was there (brotli, zstd of unknown size) or inflates the current gzip member again; doubling
 * keeps that below twice the result. Streams of unknown size pass through the library's window too.
 *
 * Each thread keeps one decompressor of each kind (gzip, zstd) until it ends.
 */
#include "codec/codec.h"

#include <brotli/decode.h>
#include <inttypes.h>
#include <libdeflate.h>
#include <zstd.h>

#include "base/check.h"

#define FIRST_GUESS ((uint64_t)64 << 10)
#define DEFLATE_MAX_RATIO 1032             /* no deflate stream expands more */
#define ZSTD_KEEP_BYTES ((size_t)16 << 20) /* a context larger than this is not kept */
#define ZSTD_MIN_WINDOW_LOG 23             /* what the format asks every decoder to accept */
#define ZSTD_MAX_WINDOW_LOG 27

/* ---- per thread ---------------------------------------------------------------------------- */

struct tools {
	struct libdeflate_decompressor *gzip;
	ZSTD_DCtx *zstd;
};

static pthread_key_t tools_key;
static pthread_once_t tools_once = PTHREAD_ONCE_INIT;
static int tools_error;

static void tools_free(void *p)
{
	struct tools *t = p;

	if (t->gzip)
		libdeflate_free_decompressor(t->gzip);
	ZSTD_freeDCtx(t->zstd);
	free(t);
}

static void tools_init(void)
{
	tools_error = pthread_key_create(&tools_key, tools_free);
}

/* The calling thread's own; NULL when memory is short. */
static struct tools *tools_get(void)
{
	struct tools *t;

	pthread_once(&tools_once, tools_init);
	if (tools_error)
		return NULL;
	t = pthread_getspecific(tools_key);
	if (t)
		return t;
	t = calloc(1, sizeof *t);
	if (t && pthread_setspecific(tools_key, t)) {
		free(t);
		return NULL;
	}
	return t;
}

/* ---- the output ---------------------------------------------------------------------------- */

struct out {
	struct vx_buf *buf; /* len: what is there for good */
	uint64_t limit;     /* exact where that is known, else max */
	uint64_t room;      /* bytes that may be used: buf->cap, but not past the limit */
	uint64_t exact;
	const char *what; /* "gzip" */
	struct vx_err *e;
};

static int too_long(const struct out *o)
{
	return vx_fail(o->e, -EBADMSG, "%s data inflates to more than %s%" PRIu64 " bytes", o->what,
		       o->exact ? "the expected " : "", o->limit);
}

static int out_new(struct out *o, struct vx_pool *pool, uint64_t guess)
{
	uint64_t size = o->exact ? o->exact : vx_min_u64(vx_max_u64(guess, 1), o->limit);

	o->buf = vx_buf_get(pool, size);
	if (!o->buf)
		return vx_fail(o->e, -ENOMEM, "no memory for a chunk of %" PRIu64 " bytes", size);
	o->room = vx_min_u64(o->buf->cap, o->limit);
	return 0;
}

/* At least doubles the room, up to the limit. */
static int out_grow(struct out *o)
{
	uint64_t size = vx_min_u64(vx_max_u64(o->room * 2, FIRST_GUESS), o->limit);

	if (o->room >= o->limit)
		return too_long(o);
	if (vx_buf_grow(&o->buf, size) < 0)
		return vx_fail(o->e, -ENOMEM, "no memory for a chunk of %" PRIu64 " bytes", size);
	o->room = vx_min_u64(o->buf->cap, o->limit);
	return 0;
}

static int out_end(const struct out *o)
{
	if (o->exact && o->buf->len != o->exact)
		return vx_fail(o->e, -EBADMSG, "%s data inflates to %zu bytes instead of %" PRIu64, o->what,
			       o->buf->len, o->exact);
	return 0;
}

/* ---- gzip ---------------------------------------------------------------------------------- */

static uint64_t gzip_guess(const uint8_t *data, size_t len)
{
	uint64_t isize = 0;

	if (len < 18) /* the smallest member there is */
		return FIRST_GUESS;
	for (int i = 0; i < 4; i++)
		isize |= (uint64_t)data[len - 4 + i] << (8 * i);
	return vx_min_u64(isize, (uint64_t)len * DEFLATE_MAX_RATIO);
}

static int gzip_member(struct libdeflate_decompressor *d, struct out *o, const uint8_t *data, size_t len,
		       size_t *ret_used)
{
	for (;;) {
		size_t got = 0;
		enum libdeflate_result r = libdeflate_gzip_decompress_ex(d, data, len, o->buf->data + o->buf->len,
									 o->room - o->buf->len, ret_used, &got);
		int err;

		switch (r) {
		case LIBDEFLATE_SUCCESS:
			o->buf->len += got;
			return 0;
		case LIBDEFLATE_INSUFFICIENT_SPACE:
			err = out_grow(o);
			if (err < 0)
				return err;
			break;
		default:
			return vx_fail(o->e, -EBADMSG, "gzip data is damaged or cut off");
		}
	}
}

static int unpack_gzip(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o)
{
	struct tools *t = tools_get();
	int err = out_new(o, pool, gzip_guess(data, len));

	if (err < 0)
		return err;
	if (t && !t->gzip)
		t->gzip = libdeflate_alloc_decompressor();
	if (!t || !t->gzip)
		return vx_fail(o->e, -ENOMEM, "no memory for a gzip decompressor");
	while (len > 0) {
		size_t used = 0;

		if (o->buf->len && (len < 2 || data[0] != 0x1f || data[1] != 0x8b))
			return vx_fail(o->e, -EBADMSG, "gzip data is followed by %zu bytes that are not gzip", len);
		err = gzip_member(t->gzip, o, data, len, &used);
		if (err < 0)
			return err;
		data += used;
		len -= used;
	}
	return 0;
}

/* ---- zstd ---------------------------------------------------------------------------------- */

/* Sums what the frames' headers promise; *ret_known is false when one does not say. */
static int zstd_promise(const struct out *o, const uint8_t *data, size_t len, uint64_t *ret, bool *ret_known)
{
	uint64_t sum = 0;

	*ret_known = true;
	while (len > 0) {
		size_t frame = ZSTD_findFrameCompressedSize(data, len);
		unsigned long long content = ZSTD_getFrameContentSize(data, len);

		if (ZSTD_isError(frame) || content == ZSTD_CONTENTSIZE_ERROR)
			return vx_fail(o->e, -EBADMSG, "zstd data is damaged, cut off or followed by something else");
		if (content == ZSTD_CONTENTSIZE_UNKNOWN)
			*ret_known = false;
		else if (!vx_add_u64(sum, content, &sum) || sum > o->limit)
			return too_long(o);
		data += frame;
		len -= frame;
	}
	*ret = sum;
	return 0;
}

static int zstd_stream(ZSTD_DCtx *d, struct out *o, const uint8_t *data, size_t len)
{
	ZSTD_inBuffer in = {.src = data, .size = len};
	size_t left = 1;

	while (in.pos < in.size || left > 0) {
		ZSTD_outBuffer out = {.dst = o->buf->data, .size = o->room, .pos = o->buf->len};
		size_t in_before = in.pos;
		int err;

		left = ZSTD_decompressStream(d, &out, &in);
		if (ZSTD_isError(left))
			return vx_fail(o->e, -EBADMSG, "zstd data is damaged (%s)", ZSTD_getErrorName(left));
		if (out.pos == o->buf->len && in.pos == in_before && out.pos < out.size)
			return vx_fail(o->e, -EBADMSG, "zstd data is cut off");
		o->buf->len = out.pos;
		if (out.pos == out.size && (in.pos < in.size || left > 0)) {
			/* a frame that ends just here has nothing more to say, so ask first */
			if (in.pos != in_before)
				continue;
			err = out_grow(o);
			if (err < 0)
				return err;
		}
	}
	return 0;
}

static int zstd_window_log(uint64_t limit)
{
	int bits = ZSTD_MIN_WINDOW_LOG;

	while (bits < ZSTD_MAX_WINDOW_LOG && (uint64_t)1 << bits < limit)
		bits++;
	return bits;
}

static int zstd_run(ZSTD_DCtx *d, struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o)
{
	uint64_t promise = 0;
	bool known;
	size_t got;
	int err = zstd_promise(o, data, len, &promise, &known);

	if (err < 0)
		return err;
	err = out_new(o, pool, known ? promise : vx_max_u64(promise, (uint64_t)len * 4));
	if (err < 0)
		return err;
	ZSTD_DCtx_reset(d, ZSTD_reset_session_and_parameters);
	if (!known) {
		ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, zstd_window_log(o->limit));
		return zstd_stream(d, o, data, len);
	}
	got = ZSTD_decompressDCtx(d, o->buf->data, o->room, data, len);
	if (ZSTD_isError(got))
		return vx_fail(o->e, -EBADMSG, "zstd data is damaged (%s)", ZSTD_getErrorName(got));
	o->buf->len = got;
	return 0;
}

static int unpack_zstd(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o)
{
	struct tools *t = tools_get();
	int err;

	if (t && !t->zstd)
		t->zstd = ZSTD_createDCtx();
	if (!t || !t->zstd)
		return vx_fail(o->e, -ENOMEM, "no memory for a zstd decompressor");
	err = zstd_run(t->zstd, pool, data, len, o);
	if (ZSTD_sizeof_DCtx(t->zstd) > ZSTD_KEEP_BYTES) {
		ZSTD_freeDCtx(t->zstd);
		t->zstd = NULL;
	}
	return err;
}

/* ---- brotli -------------------------------------------------------------------------------- */

static int brotli_run(BrotliDecoderState *d, struct out *o, const uint8_t *data, size_t len)
{
	for (;;) {
		size_t room = o->room - o->buf->len;
		uint8_t *at = o->buf->data + o->buf->len;
		BrotliDecoderResult r = BrotliDecoderDecompressStream(d, &len, &data, &room, &at, NULL);
		int err;

		o->buf->len = o->room - room;
		switch (r) {
		case BROTLI_DECODER_RESULT_SUCCESS:
			if (len)
				return vx_fail(o->e, -EBADMSG, "brotli data is followed by %zu bytes too many", len);
			return 0;
		case BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT:
			err = out_grow(o);
			if (err < 0)
				return err;
			break;
		case BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT:
			return vx_fail(o->e, -EBADMSG, "brotli data is cut off");
		default:
			return vx_fail(o->e, -EBADMSG, "brotli data is damaged (%s)",
				       BrotliDecoderErrorString(BrotliDecoderGetErrorCode(d)));
		}
	}
}

static int unpack_brotli(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o)
{
	int err = out_new(o, pool, vx_max_u64((uint64_t)len * 4, FIRST_GUESS));
	BrotliDecoderState *d;

	if (err < 0)
		return err;
	d = BrotliDecoderCreateInstance(NULL, NULL, NULL);
	if (!d)
		return vx_fail(o->e, -ENOMEM, "no memory for a brotli decompressor");
	err = brotli_run(d, o, data, len);
	BrotliDecoderDestroyInstance(d);
	return err;
}

/* ---- all ----------------------------------------------------------------------------------- */

static int keep(struct vx_buf *packed, uint64_t exact, uint64_t max, struct vx_buf **ret, struct vx_err *e)
{
	/* Of a known length the codec speaks, which can say what the shape needs. */
	if (!exact && packed->len > max)
		return vx_fail(e, -EBADMSG, "the chunk has %zu bytes, more than the %" PRIu64 " its shape can need",
			       packed->len, max);
	*ret = vx_buf_ref(packed);
	return 0;
}

int vx_unpack(struct vx_pool *pool, enum vx_pack pack, struct vx_buf *packed, uint64_t exact, uint64_t max,
	      struct vx_buf **ret, struct vx_err *e)
{
	struct out o = {.exact = exact, .limit = exact ? exact : max, .e = e};
	int err;

	if (packed->len == 0)
		return vx_fail(e, -EBADMSG, "the chunk is empty");
	if (pack == VX_PACK_UNKNOWN) {
		bool plain = exact && packed->len == exact;

		pack = plain ? VX_PACK_NONE : vx_pack_sniff(packed->data, packed->len);
	}
	if (pack == VX_PACK_NONE)
		return keep(packed, exact, max, ret, e);
	if (exact > max)
		return vx_fail(e, -EBADMSG, "the chunk has %" PRIu64 " bytes, more than %" PRIu64, exact, max);
	switch (pack) {
	case VX_PACK_GZIP:
		o.what = "gzip";
		err = unpack_gzip(pool, packed->data, packed->len, &o);
		break;
	case VX_PACK_BROTLI:
		o.what = "brotli";
		err = unpack_brotli(pool, packed->data, packed->len, &o);
		break;
	case VX_PACK_ZSTD:
		o.what = "zstd";
		err = unpack_zstd(pool, packed->data, packed->len, &o);
		break;
	default:
		return vx_fail(e, -EINVAL, "compression %d is not known", (int)pack);
	}
	if (err == 0)
		err = out_end(&o);
	if (err < 0) {
		vx_buf_put(o.buf);
		return err;
	}
	*ret = o.buf;
	return 0;
}
