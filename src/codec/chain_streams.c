/* SPDX-License-Identifier: Apache-2.0
 * The links of a chain that are read as streams: bzip2 and xz. Neither says beforehand how long the data are, so the
 * output grows where the caller does not know it; one byte more than may be is asked for to see that the stream ends.
 */
#include "codec/chain_links.h"

#include <bzlib.h>
#include <limits.h>
#include <lzma.h>
#include <string.h>

/* What the largest preset needs, a window of 64 MiB, and as much again for writers that chose their own. */
#define XZ_MEMORY ((uint64_t)160 << 20)

enum progress { STREAM_GOES_ON, STREAM_ENDED, STREAM_DAMAGED, STREAM_NO_MEMORY, STREAM_TOO_LARGE };

/* Packed bytes still to be read, and where to write. */
struct window {
	const uint8_t *in;
	size_t in_left;
	uint8_t *out;
	size_t out_left;
};

typedef enum progress step_fn(void *stream, struct window *w);

static int stream_failed(const struct out *o, enum progress p)
{
	switch (p) {
	case STREAM_NO_MEMORY:
		return vx_fail(o->e, -ENOMEM, "no memory for a %s decompressor", o->what);
	case STREAM_TOO_LARGE:
		return vx_fail(o->e, -EBADMSG, "%s data needs more than %d MiB of memory", o->what,
			       (int)(XZ_MEMORY >> 20));
	default:
		return vx_fail(o->e, -EBADMSG, "%s data is damaged or cut off", o->what);
	}
}

/* One step into the output, or into a byte beside it when that is full: a sound stream has only its end to say then. */
static int stream_step(struct out *o, step_fn *step, void *stream, struct window *w, bool *ret_ended)
{
	size_t room = out_left(o), in_before = w->in_left;
	bool full = room == 0;
	uint8_t beside;
	enum progress p;

	w->out = full ? &beside : out_at(o);
	w->out_left = full ? 1 : room;
	p = step(stream, w);
	if (p != STREAM_GOES_ON && p != STREAM_ENDED)
		return stream_failed(o, p);
	*ret_ended = p == STREAM_ENDED;
	if (full && w->out_left == 0) {
		int err = out_grow(o);

		if (err < 0)
			return err;
		*out_at(o) = beside;
		o->buf->len++;
		return 0;
	}
	if (!full)
		o->buf->len += room - w->out_left;
	else if (p == STREAM_GOES_ON && w->in_left == in_before)
		return stream_failed(o, STREAM_DAMAGED);
	if (p == STREAM_GOES_ON && w->in_left == 0 && w->out_left > 0)
		return stream_failed(o, STREAM_DAMAGED); /* cut off */
	return 0;
}

static int stream_run(struct out *o, step_fn *step, void *stream, const uint8_t *data, size_t len)
{
	struct window w = {.in = data, .in_left = len};
	bool ended = false;
	int err = 0;

	while (err == 0 && !ended)
		err = stream_step(o, step, stream, &w, &ended);
	if (err == 0 && w.in_left)
		err = vx_fail(o->e, -EBADMSG, "%s data is followed by %zu bytes too many", o->what, w.in_left);
	return err;
}

/* ---- bzip2 ---- */

static unsigned piece(size_t n)
{
	return n < UINT_MAX ? (unsigned)n : UINT_MAX;
}

/* Streams may follow each other; the last one ends the data. */
static enum progress bzip2_step(void *stream, struct window *w)
{
	bz_stream *s = stream;
	unsigned in = piece(w->in_left), out = piece(w->out_left);
	int r;

	s->next_in = (char *)(uintptr_t)w->in;
	s->avail_in = in;
	s->next_out = (char *)w->out;
	s->avail_out = out;
	r = BZ2_bzDecompress(s);
	w->in += in - s->avail_in;
	w->in_left -= in - s->avail_in;
	w->out += out - s->avail_out;
	w->out_left -= out - s->avail_out;
	if (r == BZ_OK)
		return STREAM_GOES_ON;
	if (r == BZ_MEM_ERROR)
		return STREAM_NO_MEMORY;
	if (r != BZ_STREAM_END)
		return STREAM_DAMAGED;
	if (w->in_left < 3 || memcmp(w->in, "BZh", 3))
		return STREAM_ENDED;
	BZ2_bzDecompressEnd(s);
	memset(s, 0, sizeof *s);
	return BZ2_bzDecompressInit(s, 0, 0) == BZ_OK ? STREAM_GOES_ON : STREAM_NO_MEMORY;
}

int undo_bzip2(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o)
{
	bz_stream s = {0};
	int err = out_new(o, pool, (uint64_t)len * 4);

	if (err < 0)
		return err;
	if (BZ2_bzDecompressInit(&s, 0, 0) != BZ_OK)
		return stream_failed(o, STREAM_NO_MEMORY);
	err = stream_run(o, bzip2_step, &s, data, len);
	BZ2_bzDecompressEnd(&s);
	return err;
}

/* ---- xz ---- */

static enum progress xz_step(void *stream, struct window *w)
{
	lzma_stream *s = stream;
	lzma_ret r;

	s->next_in = w->in;
	s->avail_in = w->in_left;
	s->next_out = w->out;
	s->avail_out = w->out_left;
	r = lzma_code(s, LZMA_FINISH);
	w->in = s->next_in;
	w->in_left = s->avail_in;
	w->out = s->next_out;
	w->out_left = s->avail_out;
	switch (r) {
	case LZMA_OK:
		return STREAM_GOES_ON;
	case LZMA_STREAM_END:
		return STREAM_ENDED;
	case LZMA_MEM_ERROR:
		return STREAM_NO_MEMORY;
	case LZMA_MEMLIMIT_ERROR:
		return STREAM_TOO_LARGE;
	default:
		return STREAM_DAMAGED;
	}
}

int undo_xz(struct vx_pool *pool, const uint8_t *data, size_t len, struct out *o)
{
	lzma_stream s = LZMA_STREAM_INIT;
	int err = out_new(o, pool, (uint64_t)len * 4);

	if (err < 0)
		return err;
	if (lzma_auto_decoder(&s, XZ_MEMORY, LZMA_CONCATENATED) != LZMA_OK)
		return stream_failed(o, STREAM_NO_MEMORY);
	err = stream_run(o, xz_step, &s, data, len);
	lzma_end(&s);
	return err;
}
