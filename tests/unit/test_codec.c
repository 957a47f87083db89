/* SPDX-License-Identifier: Apache-2.0
 * The chunk codecs: the vectors of the format's description, random chunks against a naive decoder
 * at every level of loops, and hostile headers, each refused with a sentence. Every destination has
 * canaries around and between its rows.
 */
#include "../lib/vxtest.h"
#include "base/limits.h"
#include "codec/cseg.h"
#include "test_codec_vectors.h"
#include "voxgen_cseg.h"

#include <string.h>

#define CANARY 0xa5

static struct vxt_rng rng = {1};

static uint64_t rnd(uint64_t below)
{
	return vxt_rnd(&rng, below);
}

#define EACH_VOXEL(at, n)                                      \
	for ((at)[2] = 0; (at)[2] < (n)[2]; (at)[2]++)         \
		for ((at)[1] = 0; (at)[1] < (n)[1]; (at)[1]++) \
			for ((at)[0] = 0; (at)[0] < (n)[0]; (at)[0]++)

/* ---- the oracle: the description of the format, voxel by voxel -------------------------------- */

static uint64_t oracle(const struct vx_chunk_form *f, const uint32_t *w, const uint64_t at[3], uint32_t c)
{
	uint64_t g[3], in[3], block, p, i = 0, wpl = f->width / 4;
	const uint32_t *chan = w + w[c];
	uint32_t bits;

	for (int d = 0; d < 3; d++) {
		g[d] = (f->n[d] + f->block[d] - 1) / f->block[d];
		in[d] = at[d] % f->block[d];
	}
	block = at[0] / f->block[0] + g[0] * (at[1] / f->block[1] + g[1] * (at[2] / f->block[2]));
	bits = chan[2 * block] >> 24;
	p = bits * (in[0] + f->block[0] * (in[1] + f->block[1] * in[2]));
	if (bits)
		i = (chan[chan[2 * block + 1] + p / 32] >> (p % 32)) &
		    (bits == 32 ? 0xffffffff : ((uint32_t)1 << bits) - 1);
	chan += (chan[2 * block] & 0xffffff) + i * wpl;
	return wpl == 2 ? chan[0] | (uint64_t)chan[1] << 32 : chan[0];
}

/* ---- a destination with canaries ----------------------------------------------------------- */

struct dest {
	uint8_t *mem;
	size_t len;
	struct vx_place to;
};

static void dest_new(struct dest *d, const uint64_t n[3], uint32_t channels, uint32_t width, bool large)
{
	uint64_t unit = large && rnd(3) ? 64 : 1, size; /* lines aligned alike, or not */

	d->to.row = n[0] * width + rnd(3) * 5;
	d->to.row = (d->to.row + unit - 1) / unit * unit;
	d->to.plane = d->to.row * n[1] + rnd(2) * 7 * unit;
	d->to.chan = d->to.plane * n[2] + rnd(2) * 11;
	size = d->to.chan * channels + 256;
	d->mem = aligned_alloc(64, (size + 63) / 64 * 64);
	d->len = size;
	d->to.at = d->mem + 64 + (unit == 64 ? rnd(2) * 8 : rnd(64));
	memset(d->mem, CANARY, size);
	if (large && channels == 1)
		d->to.chan = 64 << 20; /* says: this lies in a large box */
}

/* Everything but the part must still be canary: the caller has set the part back to it. */
static void dest_check_and_free(struct dest *d)
{
	for (size_t i = 0; i < d->len; i++)
		if (d->mem[i] != CANARY) /* each ck_assert costs a system call or two */
			ck_abort_msg("byte %zu of %zu was written", i, d->len);
	free(d->mem);
}

static void take(const struct dest *d, const uint64_t at[3], uint32_t c, uint32_t width, uint64_t *ret)
{
	uint8_t *p = d->to.at + at[0] * width + at[1] * d->to.row + at[2] * d->to.plane + c * d->to.chan;

	*ret = 0;
	memcpy(ret, p, width);
	memset(p, CANARY, width);
}

/* Decodes `part` at one level and compares each voxel. */
static void check_part(const struct cseg_kernels *k, const struct vx_chunk_form *f, const uint8_t *data, size_t len,
		       const struct vx_box *part, bool large)
{
	uint64_t n[3], at[3], whole[3], got;
	struct vx_err e = {0};
	struct dest d;

	for (int i = 0; i < 3; i++)
		n[i] = vx_box_extent(part, i);
	dest_new(&d, n, vx_chunk_form_picked(f), f->width, large);
	if (cseg_decode(k, f, data, len, part, &d.to, &e) < 0)
		ck_abort_msg("%s", e.why);
	for (uint32_t c = 0; c < vx_chunk_form_picked(f); c++)
		EACH_VOXEL(at, n)
		{
			for (int i = 0; i < 3; i++)
				whole[i] = at[i] + (uint64_t)part->lo[i];
			take(&d, at, c, f->width, &got);
			if (got != oracle(f, (const uint32_t *)data, whole, f->pick.first + c))
				ck_abort_msg("voxel of channel %u differs", c);
		}
	dest_check_and_free(&d);
}

static void check_part_all_levels(const struct vx_chunk_form *f, const void *data, size_t len,
				  const struct vx_box *part)
{
	for (int level = 0; level < CSEG_LEVELS; level++)
		if (cseg_kernels((enum cseg_level)level))
			check_part(cseg_kernels((enum cseg_level)level), f, data, len, part, rnd(2));
}

static struct vx_box whole_box(const struct vx_chunk_form *f)
{
	return (struct vx_box){.hi = {(int64_t)f->n[0], (int64_t)f->n[1], (int64_t)f->n[2]}};
}

static struct vx_box random_box(const struct vx_chunk_form *f)
{
	struct vx_box b;

	for (int d = 0; d < 3; d++) {
		b.lo[d] = (int64_t)rnd(f->n[d]);
		b.hi[d] = b.lo[d] + 1 + (int64_t)rnd(f->n[d] - (uint64_t)b.lo[d]);
		if (rnd(3) == 0) {
			b.lo[d] = 0;
			b.hi[d] = (int64_t)f->n[d];
		}
	}
	return b;
}

static void every_part(const struct vx_chunk_form *f, const void *data, size_t len)
{
	uint64_t lo[3], n[3], left[3];
	struct vx_box b;

	EACH_VOXEL(lo, f->n)
	{
		for (int d = 0; d < 3; d++)
			left[d] = f->n[d] - lo[d];
		EACH_VOXEL(n, left)
		{
			for (int d = 0; d < 3; d++) {
				b.lo[d] = (int64_t)lo[d];
				b.hi[d] = (int64_t)(lo[d] + n[d] + 1);
			}
			check_part_all_levels(f, data, len, &b);
		}
	}
}

/* ---- vectors ------------------------------------------------------------------------------- */

START_TEST(vector)
{
	struct vector v = vectors[_i];
	struct vx_box all = whole_box(&v.f);
	struct vg_coder *coder = vg_coder_new();
	uint64_t at[3], label;
	const uint8_t *ret;
	uint8_t voxels[8192], *p = voxels;
	size_t len;

	for (unsigned i = 0; i < v.n_same; i++)
		v.words[v.first + i] = v.same;
	for (uint32_t c = 0; c < v.f.channels; c++)
		EACH_VOXEL(at, v.f.n)
		{
			label = label_of(_i, at, c);
			memcpy(p, &label, v.f.width);
			p += v.f.width;
			ck_assert_uint_eq(oracle(&v.f, v.words, at, c), label);
		}
	check_part_all_levels(&v.f, v.words, v.n_words * 4, &all);
	if (v.f.n[0] < 16)
		every_part(&v.f, v.words, v.n_words * 4);
	ck_assert_int_eq(vg_coder_encode(coder, voxels, v.f.n, v.f.channels, v.f.width, v.f.block, &ret, &len), 0);
	ck_assert_uint_eq(len, v.n_words * 4);
	ck_assert_mem_eq(ret, v.words, len);
	vg_coder_free(&coder);
}
END_TEST

/* ---- random chunks ------------------------------------------------------------------------- */

/* All channels, or some. */
static void random_pick(struct vx_chunk_form *f)
{
	f->pick.first = (uint32_t)rnd(f->channels);
	f->pick.some = 1 + (uint32_t)rnd(f->channels - f->pick.first);
	if (rnd(2))
		f->pick.first = f->pick.some = 0;
}

static void random_form(struct vx_chunk_form *f)
{
	static const uint32_t sides[][3] = {{8, 8, 8}, {8, 8, 8}, {16, 4, 2}, {64, 64, 1}, {4, 4, 4},
					    {2, 3, 5}, {1, 1, 1}, {7, 9, 3},  {32, 32, 8}, {24, 5, 1}};

	for (int d = 0; d < 3; d++)
		f->n[d] = 1 + rnd(d ? 20 : 70);
	memcpy(f->block, sides[rnd(VX_ARRAY_LEN(sides))], sizeof f->block);
	f->channels = rnd(4) ? 1 : 1 + (uint32_t)rnd(3);
	f->width = rnd(2) ? 8 : 4;
}

/* Labels of one of several temperaments, so that every width of index comes up. */
static void random_voxels(const struct vx_chunk_form *f, uint8_t *to)
{
	static const uint64_t kinds[] = {1, 2, 3, 4, 5, 16, 17, 200, 256, 300, 100000};
	uint64_t n = vx_chunk_form_bytes(f) / f->width, kind = kinds[rnd(VX_ARRAY_LEN(kinds))], salt = rnd(1000);

	for (uint64_t i = 0; i < n; i++) {
		uint64_t label = vx_mix64(salt + rnd(kind));

		if (kind == 4 && i % 64)
			memcpy(to + i * f->width, to + (i - 1) * f->width, f->width);
		else
			memcpy(to + i * f->width, &label, f->width);
	}
}

START_TEST(random_chunks)
{
	struct vg_coder *coder = vg_coder_new();

	rng = vxt_seed("random_chunks", _i);
	for (int round = 0; round < 12; round++) {
		struct vx_chunk_form f = {0};
		const uint8_t *data;
		uint8_t *voxels, *exact;
		size_t len;

		random_form(&f);
		voxels = malloc(vx_chunk_form_bytes(&f));
		random_voxels(&f, voxels);
		ck_assert_int_eq(vg_coder_encode(coder, voxels, f.n, f.channels, f.width, f.block, &data, &len), 0);
		ck_assert_uint_le(len, vx_codec_cseg.max_payload(&f));
		exact = malloc(len); /* on its own, so that reading past it is caught */
		memcpy(exact, data, len);
		for (int i = 0; i < 12; i++) {
			struct vx_box part = i ? random_box(&f) : whole_box(&f);

			random_pick(&f);
			check_part_all_levels(&f, exact, len, &part);
		}
		/* the encoder told the truth */
		for (int i = 0; i < 200; i++) {
			uint64_t at[3] = {rnd(f.n[0]), rnd(f.n[1]), rnd(f.n[2])}, c = rnd(f.channels), want = 0;

			memcpy(&want, voxels + (((c * f.n[2] + at[2]) * f.n[1] + at[1]) * f.n[0] + at[0]) * f.width,
			       f.width);
			ck_assert_uint_eq(oracle(&f, (const uint32_t *)exact, at, (uint32_t)c), want);
		}
		free(exact);
		free(voxels);
	}
	vg_coder_free(&coder);
}
END_TEST

/* Widths that writers do not choose: 16 and 32 bits for few labels, tables at the very end. */
START_TEST(odd_widths)
{
	static const uint32_t widths[] = {0, 1, 2, 4, 8, 16, 32};

	rng = vxt_seed("odd_widths", _i);
	for (int round = 0; round < 20; round++) {
		uint32_t bits = widths[rnd(7)], labels = 1 + (uint32_t)rnd(bits < 4 ? 1u << bits : 9);
		struct vx_chunk_form f = FORM(11, 5, 3, 1, 4, 16, 5, 3);
		uint32_t count = (bits * 240 + 31) / 32, *w, n;
		struct vx_box part = random_box(&f);

		f.width = rnd(2) ? 8 : 4;
		n = 3 + count + labels * f.width / 4;
		w = calloc(n, 4);
		w[0] = 1;
		w[1] = (2 + count) | bits << 24;
		w[2] = 2;
		for (uint32_t i = 0; bits && i < 240; i++)
			w[3 + i * bits / 32] |= (uint32_t)rnd(labels) << (i * bits % 32);
		for (uint32_t i = 3 + count; i < n; i++)
			w[i] = (uint32_t)rnd(UINT32_MAX);
		check_part_all_levels(&f, w, n * 4, &part);
		free(w);
	}
}
END_TEST

/* ---- hostile chunks ------------------------------------------------------------------------ */

struct hostile {
	const char *why; /* what the sentence must contain */
	struct vx_chunk_form f;
	uint32_t words[8];
	size_t len;
};

static const struct hostile hostile[] = {
    {"no offsets", FORM(8, 8, 8, 1, 4, 8, 8, 8), {0}, 0},
    {"no whole number of words", FORM(8, 8, 8, 1, 4, 8, 8, 8), {1, 2, 2, 7}, 15},
    {"no offsets", FORM(8, 8, 8, 5, 4, 8, 8, 8), {1, 2, 2, 7}, 16},
    {"channel 0 starts at word 4294967295", FORM(8, 8, 8, 1, 4, 8, 8, 8), {UINT32_MAX, 2, 2, 7}, 16},
    {"channel 0 starts at word 3", FORM(8, 8, 8, 1, 4, 8, 8, 8), {3, 2, 2, 7}, 16},
    {"channel 1 starts at word 9", FORM(8, 8, 8, 2, 4, 8, 8, 8), {2, 9, 2, 2, 7}, 20},
    {"none of 0, 1, 2", FORM(8, 8, 8, 1, 4, 8, 8, 8), {1, 3u << 24 | 2, 2, 7}, 16},
    {"none of 0, 1, 2", FORM(8, 8, 8, 1, 4, 8, 8, 8), {1, 33u << 24 | 2, 2, 7}, 16},
    {"none of 0, 1, 2", FORM(8, 8, 8, 1, 4, 8, 8, 8), {1, 255u << 24 | 2, 2, 7}, 16},
    {"values beyond", FORM(8, 8, 8, 1, 4, 8, 8, 8), {1, 1u << 24 | 2, 2, 7}, 16},
    {"values beyond", FORM(8, 8, 8, 1, 4, 8, 8, 8), {1, 1u << 24 | 2, UINT32_MAX, 7}, 16},
    {"values beyond", FORM(8, 8, 8, 1, 4, UINT32_MAX, UINT32_MAX, UINT32_MAX), {1, 1u << 24 | 2, 2, 7}, 16},
    {"values beyond", FORM(8, 8, 8, 1, 4, 1u << 31, 1u << 31, 8), {1, 32u << 24 | 2, 2, 7}, 16},
    {"table beyond", FORM(8, 8, 8, 1, 4, 8, 8, 8), {1, 0xffffff, 2, 7}, 16},
    {"label beyond", FORM(8, 8, 8, 1, 4, 8, 8, 8), {1, 3, 2, 7}, 16},
    {"label beyond", FORM(8, 8, 8, 1, 8, 8, 8, 8), {1, 2, 2, 7}, 16},
    {"label beyond", FORM(2, 1, 1, 1, 4, 2, 1, 1), {1, 1u << 24 | 3, 2, 2, 7}, 20},
    {"label beyond", FORM(2, 1, 1, 1, 4, 2, 1, 1), {1, 32u << 24 | 3, 2, 0, UINT32_MAX}, 20},
    {"label beyond", FORM(8, 1, 1, 1, 4, 8, 1, 1), {1, 4u << 24 | 3, 2, 0x10000000, 7}, 20},
    {"cannot hold", FORM(8, 8, 8, 1, 2, 8, 8, 8), {1, 2, 2, 7}, 16},
    {"cannot hold", FORM(8, 8, 8, 1, 4, 8, 0, 8), {1, 2, 2, 7}, 16},
};

START_TEST(hostile_refused)
{
	const struct hostile *h = &hostile[_i];
	struct vx_box all = whole_box(&h->f);
	uint8_t *data = malloc(h->len ? h->len : 1);

	memcpy(data, h->words, h->len);
	for (int level = 0; level < CSEG_LEVELS; level++) {
		const struct cseg_kernels *k = cseg_kernels((enum cseg_level)level);
		struct vx_err e = {0};
		struct dest d;

		if (!k)
			continue;
		dest_new(&d, h->f.n, h->f.channels, h->f.width, false);
		ck_assert_int_eq(cseg_decode(k, &h->f, data, h->len, &all, &d.to, &e), -EBADMSG);
		ck_assert_int_eq(e.code, -EBADMSG);
		ck_assert_msg(strstr(e.why, h->why), "\"%s\" does not say \"%s\"", e.why, h->why);
		free(d.mem);
	}
	free(data);
}
END_TEST

/* What looks bad but is not: what no wanted voxel uses is never looked at. */
START_TEST(harmless)
{
	struct vx_chunk_form f = FORM(8, 1, 1, 1, 4, 8, 1, 1);
	static const uint32_t past[] = {1, 4u << 24 | 3, 2, 0x10000000, 7};          /* only x = 7 is bad */
	static const uint32_t huge[] = {1, 2, UINT32_MAX, 7};                        /* 0 bits: values ignored */
	static const uint32_t tail[] = {1, 2, 2, 7, 0xdead, 0xbeef};                 /* trailing words */
	static const uint32_t other[] = {1, 4, 4, 9u << 24 | 0xffffff, 1u << 31, 7}; /* second block bad */
	struct vx_box part = {.hi = {7, 1, 1}}, all = whole_box(&f), first = {.hi = {8, 1, 1}};

	check_part_all_levels(&f, past, sizeof past, &part);
	check_part_all_levels(&f, huge, sizeof huge, &all);
	check_part_all_levels(&f, tail, sizeof tail, &all);
	f.n[0] = 16;
	check_part_all_levels(&f, other, sizeof other, &first);
	f = (struct vx_chunk_form)FORM(8, 8, 8, 1, 4, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	all = whole_box(&f);
	check_part_all_levels(&f, huge, sizeof huge, &all);
}
END_TEST

START_TEST(bounds)
{
	struct vx_chunk_form f = FORM(64, 64, 64, 1, 8, 8, 8, 8);

	ck_assert_uint_ge(vx_codec_cseg.max_payload(&f), 4 + 512 * (2 + 512 + 1024) * 4);
	ck_assert_uint_le(vx_codec_cseg.max_payload(&f), 4 << 20);
	ck_assert_uint_eq(vx_codec_cseg.exact_payload(&f), 0);
	f.block[0] = f.block[1] = f.block[2] = UINT32_MAX;
	ck_assert_uint_le(vx_codec_cseg.max_payload(&f), 2 * VX_MAX_CHUNK_BYTES);
}
END_TEST

/* ---- raw ----------------------------------------------------------------------------------- */

START_TEST(raw)
{
	rng = vxt_seed("raw", _i);
	for (int round = 0; round < 40; round++) {
		struct vx_chunk_form f = {.n = {1 + rnd(80), 1 + rnd(9), 1 + rnd(9)}, .channels = 1 + (uint32_t)rnd(3)};
		uint64_t n[3], at[3], got, want, bytes;
		struct vx_box part;
		struct vx_err e = {0};
		struct dest d;
		uint8_t *data;

		f.width = 1u << rnd(4);
		random_pick(&f);
		part = random_box(&f);
		bytes = vx_chunk_form_bytes(&f);
		ck_assert_uint_eq(vx_codec_raw.exact_payload(&f), bytes);
		data = malloc(bytes);
		for (uint64_t i = 0; i < bytes; i++)
			data[i] = (uint8_t)rnd(256);
		for (int i = 0; i < 3; i++)
			n[i] = vx_box_extent(&part, i);
		dest_new(&d, n, vx_chunk_form_picked(&f), f.width, rnd(2));
		ck_assert_int_eq(vx_codec_raw.decode(&f, data, bytes, &part, &d.to, &e), 0);
		for (uint32_t c = 0; c < vx_chunk_form_picked(&f); c++)
			EACH_VOXEL(at, n)
			{
				uint64_t z = (f.pick.first + c) * f.n[2] + at[2] + (uint64_t)part.lo[2];
				uint64_t y = z * f.n[1] + at[1] + (uint64_t)part.lo[1];

				want = 0;
				memcpy(&want, data + (y * f.n[0] + at[0] + (uint64_t)part.lo[0]) * f.width, f.width);
				take(&d, at, c, f.width, &got);
				if (got != want)
					ck_abort_msg("voxel of channel %u differs", c);
			}
		dest_check_and_free(&d);
		ck_assert_int_eq(vx_codec_raw.decode(&f, data, bytes - 1, &part, &d.to, &e), -EBADMSG);
		ck_assert_int_eq(vx_codec_raw.decode(&f, data, bytes + 1, &part, &d.to, &e), -EBADMSG);
		ck_assert_ptr_nonnull(strstr(e.why, "its shape needs"));
		free(data);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("codec");
	TCase *t = tcase_create("codec");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, vector, 0, VX_ARRAY_LEN(vectors));
	tcase_add_loop_test(t, random_chunks, 0, 20);
	tcase_add_loop_test(t, odd_widths, 0, 10);
	tcase_add_loop_test(t, hostile_refused, 0, VX_ARRAY_LEN(hostile));
	tcase_add_test(t, harmless);
	tcase_add_test(t, bounds);
	tcase_add_loop_test(t, raw, 0, 4);
	return vxt_run(s);
}
