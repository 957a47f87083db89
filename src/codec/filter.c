/* SPDX-License-Identifier: Apache-2.0
 * Filters are undone on whole chunks, in the order of their bytes: each makes a new buffer, or works in place where
 * elements keep their width. Integers wrap around as numpy's do.
 */
#include "codec/filter.h"

#include <math.h>
#include <string.h>

static const struct vx_filtered *filtered_of(const struct vx_chunk_form *f)
{
	return f->params;
}

static struct vx_chunk_form stored_form(const struct vx_chunk_form *f)
{
	struct vx_chunk_form s = *f;

	s.params = &filtered_of(f)->stored;
	s.width = filtered_of(f)->stored.width;
	return s;
}

static uint64_t elements(const struct vx_chain *c)
{
	uint64_t n = 1;

	for (unsigned i = 0; i < c->rank; i++)
		n *= c->shape[i]; /* vx_chain_check has found that it fits */
	return n;
}

/* ---- elements ---- */

static uint64_t load_bits(const uint8_t *p, const struct vx_element *t)
{
	uint64_t v = 0;

	for (uint32_t i = 0; i < t->width; i++)
		v |= (uint64_t)p[t->big_endian ? t->width - 1 - i : i] << (8 * i);
	return v;
}

static void store_bits(uint8_t *p, const struct vx_element *t, uint64_t v)
{
	for (uint32_t i = 0; i < t->width; i++)
		p[t->big_endian ? t->width - 1 - i : i] = (uint8_t)(v >> (8 * i));
}

/* As a signed or unsigned integer of 64 bits, in two's complement. */
static uint64_t load_int(const uint8_t *p, const struct vx_element *t)
{
	uint64_t v = load_bits(p, t);
	unsigned shift = 64 - 8 * t->width;

	return t->kind == 'i' ? (uint64_t)((int64_t)(v << shift) >> shift) : v;
}

static double load_real(const uint8_t *p, const struct vx_element *t)
{
	uint64_t bits = load_bits(p, t);
	uint32_t low = (uint32_t)bits;
	double d;
	float s;

	if (t->kind == 'u')
		return (double)bits;
	if (t->kind == 'i')
		return (double)(int64_t)load_int(p, t);
	if (t->width == 4) {
		memcpy(&s, &low, sizeof s);
		return s;
	}
	memcpy(&d, &bits, sizeof d);
	return d;
}

/* Toward zero, and around where it does not fit; what numpy makes of a NaN depends on the machine: 0 here. */
static uint64_t int_of(double x)
{
	if (!isfinite(x) || fabs(x) >= 0x1p64)
		return 0;
	return x < 0 ? -(uint64_t)-x : (uint64_t)x;
}

static void store_real(uint8_t *p, const struct vx_element *t, double x)
{
	uint64_t bits;
	uint32_t low;
	float s = (float)x;

	if (t->kind != 'f') {
		bits = int_of(x);
	} else if (t->width == 4) {
		memcpy(&low, &s, sizeof low);
		bits = low;
	} else {
		memcpy(&bits, &x, sizeof bits);
	}
	store_bits(p, t, bits);
}

/* ---- filters ---- */

static void undo_delta(const struct vx_filter *f, const uint8_t *from, uint8_t *to, uint64_t n)
{
	uint64_t sum = 0;
	double real = 0;

	for (uint64_t i = 0; i < n; i++) {
		if (f->plain.kind != 'f') {
			sum += load_int(from + i * f->stored.width, &f->stored);
			store_bits(to + i * f->plain.width, &f->plain, sum);
			continue;
		}
		real += load_real(from + i * f->stored.width, &f->stored);
		if (f->plain.width == 4)
			real = (float)real; /* sums are kept in the type of the result */
		store_real(to + i * f->plain.width, &f->plain, real);
	}
}

/* In the precision that numpy would have. */
static void undo_scale(const struct vx_filter *f, const uint8_t *from, uint8_t *to, uint64_t n)
{
	bool is_float = f->stored.kind == 'f' && f->stored.width == 4;

	for (uint64_t i = 0; i < n; i++) {
		double x = load_real(from + i * f->stored.width, &f->stored);

		x = is_float ? (double)((float)x / (float)f->scale + (float)f->offset) : x / f->scale + f->offset;
		store_real(to + i * f->plain.width, &f->plain, x);
	}
}

static void undo_cast(const struct vx_filter *f, const uint8_t *from, uint8_t *to, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		const uint8_t *at = from + i * f->stored.width;

		if (f->stored.kind != 'f' && f->plain.kind != 'f')
			store_bits(to + i * f->plain.width, &f->plain, load_int(at, &f->stored));
		else
			store_real(to + i * f->plain.width, &f->plain, load_real(at, &f->stored));
	}
}

static int undo_shuffle(const struct vx_filter *f, const uint8_t *from, uint8_t *to, uint64_t bytes, struct vx_err *e)
{
	uint64_t n = bytes / f->step;

	if (bytes % f->step)
		return vx_fail(e, -EBADMSG, "%llu bytes were shuffled by %u", (unsigned long long)bytes, f->step);
	for (uint32_t k = 0; k < f->step; k++)
		for (uint64_t i = 0; i < n; i++)
			to[i * f->step + k] = from[k * n + i];
	return 0;
}

static int undo(struct vx_pool *pool, const struct vx_filter *f, uint64_t n, struct vx_buf **at, struct vx_err *e)
{
	VX_AUTO_BUF struct vx_buf *from = vx_steal(*at), *to = vx_buf_get(pool, n * f->plain.width);
	int r = 0;

	if (!to)
		return vx_fail(e, -ENOMEM, "no memory for a chunk");
	to->len = n * f->plain.width;
	switch (f->kind) {
	case VX_FILTER_DELTA:
		undo_delta(f, from->data, to->data, n);
		break;
	case VX_FILTER_SCALE:
		undo_scale(f, from->data, to->data, n);
		break;
	case VX_FILTER_CAST:
		undo_cast(f, from->data, to->data, n);
		break;
	case VX_FILTER_SHUFFLE:
		r = undo_shuffle(f, from->data, to->data, to->len, e);
		break;
	}
	*at = vx_steal(to);
	return r;
}

/* ---- the codec ---- */

static int expand(struct vx_pool *pool, const struct vx_chunk_form *f, struct vx_buf *stored, struct vx_buf **ret,
		  struct vx_err *e)
{
	const struct vx_filtered *p = filtered_of(f);
	struct vx_chunk_form as_stored = stored_form(f);
	VX_AUTO_BUF struct vx_buf *at = NULL;
	uint64_t n = elements(&p->chain);
	int r = vx_codec_chain.expand(pool, &as_stored, stored, &at, e);

	/* What was expanded has at least the array's bytes; checksums may follow. */
	for (unsigned i = 0; r == 0 && i < p->nfilters; i++)
		r = undo(pool, &p->filter[i], n, &at, e);
	if (r == 0)
		*ret = vx_steal(at);
	return r;
}

static uint64_t max_stored(const struct vx_chunk_form *f)
{
	struct vx_chunk_form as_stored = stored_form(f);

	return vx_codec_chain.max_stored(&as_stored);
}

const struct vx_codec vx_codec_filtered = {
    .name = "filtered",
    .expand = expand,
    .max_stored = max_stored,
    .max_payload = vx_chain_max_payload,
    .exact_payload = vx_chain_exact_payload,
    .decode = vx_chain_decode,
};
