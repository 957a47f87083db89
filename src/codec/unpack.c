/* SPDX-License-Identifier: Apache-2.0
 * Compression at rest: gzip, zstd, brotli, each straight into the buffer that is handed on. Growing copies what was
 * there; doubling keeps that below twice the result.
 */
#include "codec/codec.h"
#include "codec/inflate.h"

#include <brotli/decode.h>
#include <inttypes.h>

/* ---- brotli -------------------------------------------------------------------------------- */

static int brotli_run(BrotliDecoderState *d, struct out *o, const uint8_t *data, size_t len)
{
	for (;;) {
		size_t room = out_left(o);
		uint8_t *at = out_at(o);
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
	int err = out_new(o, pool, vx_max_u64((uint64_t)len * 4, OUT_FIRST_GUESS));
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
		err = inflate_gzip(pool, packed->data, packed->len, &o);
		break;
	case VX_PACK_BROTLI:
		o.what = "brotli";
		err = unpack_brotli(pool, packed->data, packed->len, &o);
		break;
	case VX_PACK_ZSTD:
		o.what = "zstd";
		err = inflate_zstd(pool, packed->data, packed->len, &o);
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
