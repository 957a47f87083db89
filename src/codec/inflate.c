/* SPDX-License-Identifier: Apache-2.0
 * Gzip and zlib through libdeflate, zstd. The result goes straight into the buffer that is handed on.
 *
 * Bytes touched: packed bytes are read once and unpacked bytes written once. Growing copies what was there or inflates
 * the current gzip member again; doubling keeps that below twice the result. Only zstd streams whose size neither they
 * nor the caller know pass through the library's window too.
 */
#include "codec/inflate.h"

#include <inttypes.h>
#include <libdeflate.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/check.h"

#define DEFLATE_MAX_RATIO 1032             /* no deflate stream expands more */
#define ZSTD_KEEP_BYTES ((size_t)16 << 20) /* a context larger than this is not kept */
#define ZSTD_MIN_WINDOW_LOG 23             /* what the format asks every decoder to accept */
#define ZSTD_MAX_WINDOW_LOG 27

/* ---- per thread ---------------------------------------------------------------------------- */

struct tools {
	struct libdeflate_decompressor *deflate;
	ZSTD_DCtx *zstd;
};

static pthread_key_t tools_key;
static pthread_once_t tools_once = PTHREAD_ONCE_INIT;
static int tools_error;

static void tools_free(void *p)
{
	struct tools *t = p;

	if (t->deflate)
		libdeflate_free_decompressor(t->deflate);
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

int out_too_long(const struct out *o)
{
	return vx_fail(o->e, -EBADMSG, "%s data inflates to more than %s%" PRIu64 " bytes", o->what,
		       o->exact ? "the expected " : "", o->limit);
}

static int no_memory(const struct out *o, uint64_t size)
{
	return vx_fail(o->e, -ENOMEM, "no memory for a chunk of %" PRIu64 " bytes", size);
}

static void measure_room(struct out *o)
{
	o->room = vx_min_u64(o->buf->cap, o->front + o->limit);
}

int out_new(struct out *o, struct vx_pool *pool, uint64_t guess)
{
	uint64_t size = o->front + (o->exact ? o->exact : vx_min_u64(vx_max_u64(guess, 1), o->limit));

	o->buf = vx_buf_get(pool, size);
	if (!o->buf)
		return no_memory(o, size);
	o->buf->len = o->front;
	measure_room(o);
	return 0;
}

int out_grow(struct out *o)
{
	uint64_t most = o->front + o->limit, size = vx_min_u64(vx_max_u64(o->room * 2, OUT_FIRST_GUESS), most);

	if (o->room >= most)
		return out_too_long(o);
	if (vx_buf_grow(&o->buf, size) < 0)
		return no_memory(o, size);
	measure_room(o);
	return 0;
}

int out_end(const struct out *o)
{
	uint64_t got = o->buf->len - o->front;

	if (o->exact && got != o->exact)
		return vx_fail(o->e, -EBADMSG, "%s data inflates to %" PRIu64 " bytes instead of %" PRIu64, o->what,
			       got, o->exact);
	return 0;
}

/* ---- gzip, zlib ---------------------------------------------------------------------------- */

typedef enum libdeflate_result inflate_fn(struct libdeflate_decompressor *d, const void *in, size_t in_len, void *out,
					  size_t out_len, size_t *ret_used, size_t *ret_got);

static uint64_t gzip_guess(const uint8_t *data, size_t len)
{
	uint64_t isize = 0;

	if (len < 18) /* the smallest member there is */
		return OUT_FIRST_GUESS;
	for (int i = 0; i < 4; i++)
		isize |= (uint64_t)data[len - 4 + i] << (8 * i);
	return vx_min_u64(isize, (uint64_t)len * DEFLATE_MAX_RATIO);
}

static int inflate_member(struct libdeflate_decompressor *d, inflate_fn *inflate, struct out *o, const uint8_t *data,
			  size_t len, size_t *ret_used)
{
	for (;;) {
		size_t got = 0;
		int err;

		switch (inflate(d, data, len, out_at(o), out_left(o), ret_used, &got)) {
		case LIBDEFLATE_SUCCESS:
			o->buf->len += got;
			return 0;
		case LIBDEFLATE_INSUFFICIENT_SPACE:
			err = out_grow(o);
			if (err < 0)
				return err;
			break;
		default:
			return vx_fail(o->e, -EBADMSG, "%s data is damaged or cut off", o->what);
		}
	}
}

/* A decompressor and the output; the guess is not looked at where the length is known. */
static int deflate_begin(struct vx_pool *pool, struct out *o, uint64_t guess, struct libdeflate_decompressor **ret)
{
	struct tools *t = tools_get();
	int err = out_new(o, pool, guess);

	if (err < 0)
		return err;
	if (t && !t->deflate)
		t->deflate = libdeflate_alloc_decompressor();
	if (!t || !t->deflate)
		return vx_fail(o->e, -ENOMEM, "no memory for a %s decompressor", o->what);
	*ret = t->deflate;
	return 0;
}

int inflate_gzip(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o)
{
	struct libdeflate_decompressor *d = NULL;
	int err = deflate_begin(pool, o, gzip_guess(data, len), &d);

	if (err < 0)
		return err;
	while (len > 0) {
		size_t used = 0;

		if (o->buf->len > o->front && (len < 2 || data[0] != 0x1f || data[1] != 0x8b))
			return vx_fail(o->e, -EBADMSG, "gzip data is followed by %zu bytes that are not gzip", len);
		err = inflate_member(d, libdeflate_gzip_decompress_ex, o, data, len, &used);
		if (err < 0)
			return err;
		data += used;
		len -= used;
	}
	return 0;
}

int inflate_zlib(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o)
{
	struct libdeflate_decompressor *d = NULL;
	size_t used = 0;
	int err = deflate_begin(pool, o, (uint64_t)len * 4, &d);

	if (err == 0)
		err = inflate_member(d, libdeflate_zlib_decompress_ex, o, data, len, &used);
	if (err == 0 && used < len)
		err = vx_fail(o->e, -EBADMSG, "zlib data is followed by %zu bytes too many", len - used);
	return err;
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
			return out_too_long(o);
		data += frame;
		len -= frame;
	}
	*ret = sum;
	return 0;
}

static int zstd_damaged(const struct out *o, size_t code)
{
	if (ZSTD_getErrorCode(code) == ZSTD_error_dstSize_tooSmall)
		return out_too_long(o);
	return vx_fail(o->e, -EBADMSG, "zstd data is damaged (%s)", ZSTD_getErrorName(code));
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
			return zstd_damaged(o, left);
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
	if (!known && !o->exact) {
		ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, zstd_window_log(o->limit));
		return zstd_stream(d, o, data, len);
	}
	got = ZSTD_decompressDCtx(d, out_at(o), out_left(o), data, len);
	if (ZSTD_isError(got))
		return zstd_damaged(o, got);
	o->buf->len += got;
	return 0;
}

int inflate_zstd(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o)
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
