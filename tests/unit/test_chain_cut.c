/* SPDX-License-Identifier: Apache-2.0
 * Cutting parts out of chunks of Zarr and N5: axes in every order, shapes, widths, byte orders, picked channels and
 * sub-boxes against a naive oracle. The whole destination is compared, what lies outside the part included.
 */
#include "../lib/vxtest.h"
#include "codec/chain.h"

#include <string.h>

#define GUARD 0xa5
#define MARGIN 80

struct sample {
	struct vx_chain chain;
	struct vx_chunk_form form;
	uint64_t n[VX_CHAIN_RANK_MAX]; /* as stored */
	uint8_t *data;
	size_t len, front;
};

static void shuffle_axes(struct vxt_rng *r, enum vx_chain_axis *a, unsigned n)
{
	for (unsigned i = n; i > 1; i--) {
		unsigned j = (unsigned)vxt_rnd(r, i);
		enum vx_chain_axis t = a[i - 1];

		a[i - 1] = a[j];
		a[j] = t;
	}
}

/* Short lengths, lengths about those of a tile, and now and then a long one. */
static uint64_t random_length(struct vxt_rng *r)
{
	switch (vxt_rnd(r, 8)) {
	case 0:
		return 1;
	case 1:
		return 1 + vxt_rnd(r, 4);
	case 2:
		return 14 + vxt_rnd(r, 5);
	case 3:
		return 60 + vxt_rnd(r, 10);
	default:
		return 1 + vxt_rnd(r, 24);
	}
}

static void random_chain(struct vxt_rng *r, struct vx_chain *c, bool n5)
{
	enum vx_chain_axis axes[5] = {VX_AXIS_X, VX_AXIS_Y, VX_AXIS_Z, VX_AXIS_CHANNEL, VX_AXIS_ONE};
	bool large = vxt_rnd(r, 8) == 0;
	uint64_t total = 1;

	*c = (struct vx_chain){.n5 = n5, .rank = 1 + (unsigned)vxt_rnd(r, 5), .width = 1u << vxt_rnd(r, 4)};
	shuffle_axes(r, axes, 5);
	if (vxt_rnd(r, 4)) { /* mostly: all of space, in some order */
		axes[0] = VX_AXIS_X, axes[1] = VX_AXIS_Y, axes[2] = VX_AXIS_Z;
		axes[3] = VX_AXIS_CHANNEL, axes[4] = VX_AXIS_ONE;
		shuffle_axes(r, axes, c->rank);
	}
	c->big_endian = vxt_rnd(r, 2);
	c->is_bool = c->width == 1 && vxt_rnd(r, 2);
	for (unsigned i = 0; i < c->rank; i++) {
		c->axis[i] = axes[i];
		c->shape[i] =
		    axes[i] == VX_AXIS_ONE || axes[i] == VX_AXIS_CHANNEL ? 1 + vxt_rnd(r, 5) : random_length(r);
		if (large && vxt_rnd(r, 3) == 0)
			c->shape[i] *= 9;
		if (total * c->shape[i] > 400000)
			c->shape[i] = 1;
		total *= c->shape[i];
		if (axes[i] == VX_AXIS_ONE)
			c->at[i] = vxt_rnd(r, c->shape[i]);
	}
}

static void put_be(uint8_t *p, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
}

static void write_n5_header(struct sample *s)
{
	const struct vx_chain *c = &s->chain;

	put_be(s->data, 0, 2);
	put_be(s->data + 2, c->rank, 2);
	for (unsigned i = 0; i < c->rank; i++)
		put_be(s->data + 4 + 4 * i, s->n[c->rank - 1 - i], 4);
}

static void sample_new(struct vxt_rng *r, struct sample *s, bool n5)
{
	struct vx_chain *c = &s->chain;
	uint64_t bytes;
	struct vx_err e = {0};

	random_chain(r, c, n5);
	ck_assert_msg(vx_chain_check(c, &e) == 0, "%s", e.why);
	s->form = (struct vx_chunk_form){.n = {1, 1, 1}, .channels = 1, .width = c->width, .params = c};
	s->front = n5 ? 4 + 4 * c->rank : 0;
	bytes = c->width;
	for (unsigned i = 0; i < c->rank; i++) {
		uint64_t n = 1 + vxt_rnd(r, c->shape[i]); /* the volume may end within the chunk */

		if (vxt_rnd(r, 2))
			n = c->shape[i];
		if (c->axis[i] == VX_AXIS_CHANNEL)
			s->form.channels = (uint32_t)n;
		else if (c->axis[i] != VX_AXIS_ONE)
			s->form.n[c->axis[i]] = n;
		s->n[i] = n5 && vxt_rnd(r, 3) == 0 ? 1 + vxt_rnd(r, c->shape[i]) : c->shape[i];
		bytes *= s->n[i];
	}
	s->len = s->front + bytes;
	s->data = malloc(s->len);
	for (size_t i = 0; i < s->len; i++)
		s->data[i] = (uint8_t)vxt_rnd(r, c->is_bool ? 2 : 256);
	if (n5)
		write_n5_header(s);
	s->form.pick.some = vxt_rnd(r, 2) ? 1 + (uint32_t)vxt_rnd(r, s->form.channels) : 0;
	s->form.pick.first = s->form.pick.some ? (uint32_t)vxt_rnd(r, s->form.channels - s->form.pick.some + 1) : 0;
}

/* One voxel by the book: its index along each stored axis, the slowest first. */
static void oracle(const struct sample *s, const uint64_t at[4], uint8_t *to)
{
	const struct vx_chain *c = &s->chain;
	uint64_t index = 0;

	memset(to, 0, c->width);
	for (unsigned i = 0; i < c->rank; i++) {
		uint64_t k = c->axis[i] == VX_AXIS_ONE ? c->at[i] : at[c->axis[i]];

		if (k >= s->n[i])
			return;
		index = index * s->n[i] + k;
	}
	for (uint32_t b = 0; b < c->width; b++)
		to[c->big_endian ? c->width - 1 - b : b] = s->data[s->front + index * c->width + b];
}

struct dest {
	uint8_t *got, *want;
	size_t len;
	struct vx_place to;
};

static void dest_new(struct vxt_rng *r, struct dest *d, const uint64_t n[3], uint32_t channels, uint32_t width)
{
	uint64_t unit = vxt_rnd(r, 2) ? 64 : 1, shift = MARGIN + vxt_rnd(r, 64);

	d->to.row = n[0] * width + vxt_rnd(r, 2) * vxt_rnd(r, 200);
	d->to.row = (d->to.row + unit - 1) / unit * unit;
	d->to.plane = d->to.row * n[1] + vxt_rnd(r, 2) * 7 * unit;
	d->to.chan = d->to.plane * n[2] + vxt_rnd(r, 2) * 11;
	d->len = d->to.chan * channels + 256;
	d->got = malloc(d->len);
	d->want = malloc(d->len);
	memset(d->got, GUARD, d->len);
	memset(d->want, GUARD, d->len);
	d->to.at = d->got + shift;
	if (channels == 1 && vxt_rnd(r, 2))
		d->to.chan = 64 << 20; /* says: this lies in a large box */
}

static void dest_free(struct dest *d)
{
	free(d->got);
	free(d->want);
}

static void fill_want(const struct sample *s, const struct vx_box *part, struct dest *d)
{
	uint64_t at[4];
	uint32_t picked = vx_chunk_form_picked(&s->form);

	for (uint32_t c = 0; c < picked; c++)
		for (int64_t z = part->lo[2]; z < part->hi[2]; z++)
			for (int64_t y = part->lo[1]; y < part->hi[1]; y++)
				for (int64_t x = part->lo[0]; x < part->hi[0]; x++) {
					at[0] = (uint64_t)x, at[1] = (uint64_t)y, at[2] = (uint64_t)z;
					at[3] = s->form.pick.first + c;
					oracle(s, at,
					       d->want + (d->to.at - d->got) + c * d->to.chan +
						   (uint64_t)(z - part->lo[2]) * d->to.plane +
						   (uint64_t)(y - part->lo[1]) * d->to.row +
						   (uint64_t)(x - part->lo[0]) * s->chain.width);
				}
}

static struct vx_box random_part(struct vxt_rng *r, const struct vx_chunk_form *f)
{
	struct vx_box b;

	for (int d = 0; d < 3; d++) {
		b.lo[d] = (int64_t)vxt_rnd(r, f->n[d]);
		b.hi[d] = b.lo[d] + 1 + (int64_t)vxt_rnd(r, f->n[d] - (uint64_t)b.lo[d]);
		if (vxt_rnd(r, 2)) {
			b.lo[d] = 0;
			b.hi[d] = (int64_t)f->n[d];
		}
	}
	return b;
}

static void check_part(struct vxt_rng *r, const struct sample *s)
{
	struct vx_box part = random_part(r, &s->form);
	uint64_t n[3];
	struct vx_err e = {0};
	struct dest d;

	for (int i = 0; i < 3; i++)
		n[i] = vx_box_extent(&part, i);
	dest_new(r, &d, n, vx_chunk_form_picked(&s->form), s->chain.width);
	fill_want(s, &part, &d);
	if (vx_codec_chain.decode(&s->form, s->data, s->len, &part, &d.to, &e) < 0)
		ck_abort_msg("%s", e.why);
	if (memcmp(d.got, d.want, d.len)) {
		size_t i = 0;

		while (d.got[i] == d.want[i])
			i++;
		ck_abort_msg("byte %zu of %zu differs: rank %u, width %u, n5 %d", i, d.len, s->chain.rank,
			     s->chain.width, s->chain.n5);
	}
	dest_free(&d);
}

START_TEST(random_parts)
{
	struct vxt_rng r = vxt_seed("random_parts", _i);

	for (unsigned round = 0; round < vxt_ops(150); round++) {
		struct sample s;

		sample_new(&r, &s, _i % 3 == 0);
		for (int i = 0; i < 4; i++)
			check_part(&r, &s);
		free(s.data);
	}
}
END_TEST

/* Every order of the four axes, every width, in the lengths that tiles come in, as a whole. */
START_TEST(every_order)
{
	struct vxt_rng r = vxt_seed("every_order", _i);
	struct sample s = {0};
	struct vx_chain *c = &s.chain;
	unsigned order = (unsigned)_i, left[4] = {0, 1, 2, 3};
	static const uint64_t lengths[4] = {70, 33, 18, 3};

	c->rank = 4;
	for (unsigned i = 0; i < 4; i++) {
		unsigned k = order % (4 - i);

		order /= 4 - i;
		c->axis[i] = (enum vx_chain_axis)left[k];
		left[k] = left[3 - i];
		s.n[i] = c->shape[i] = lengths[c->axis[i]];
	}
	for (c->width = 1; c->width <= 8; c->width *= 2)
		for (int swap = 0; swap < 2; swap++) {
			c->big_endian = swap;
			s.form =
			    (struct vx_chunk_form){.n = {70, 33, 18}, .channels = 3, .width = c->width, .params = c};
			s.len = 70 * 33 * 18 * 3 * c->width;
			s.data = malloc(s.len);
			for (size_t i = 0; i < s.len; i++)
				s.data[i] = (uint8_t)vxt_rnd(&r, 256);
			for (int i = 0; i < 3; i++)
				check_part(&r, &s);
			free(s.data);
		}
}
END_TEST

/* One byte that is no bool is damage where it is asked for, and nowhere else. */
START_TEST(bools)
{
	struct vxt_rng r = vxt_seed("bools", _i);
	struct sample s;
	uint64_t n[3], bad_at[4] = {0};
	struct dest d;
	struct vx_err e = {0};

	do {
		sample_new(&r, &s, false);
		if (!s.chain.is_bool)
			free(s.data);
	} while (!s.chain.is_bool);
	s.form.pick.some = 0;
	for (unsigned i = 0; i < s.chain.rank; i++)
		if (s.chain.axis[i] != VX_AXIS_ONE)
			bad_at[s.chain.axis[i]] = vxt_rnd(
			    &r, s.chain.axis[i] == VX_AXIS_CHANNEL ? s.form.channels : s.form.n[s.chain.axis[i]]);
	for (size_t index = 0, i = 0; i <= s.chain.rank; i++)
		if (i == s.chain.rank)
			s.data[index] = 2;
		else
			index =
			    index * s.n[i] + (s.chain.axis[i] == VX_AXIS_ONE ? s.chain.at[i] : bad_at[s.chain.axis[i]]);
	for (int round = 0; round < 60; round++) {
		struct vx_box part = random_part(&r, &s.form);
		bool inside = true;
		int err;

		for (int i = 0; i < 3; i++) {
			n[i] = vx_box_extent(&part, i);
			inside &= (uint64_t)part.lo[i] <= bad_at[i] && bad_at[i] < (uint64_t)part.hi[i];
		}
		dest_new(&r, &d, n, s.form.channels, 1);
		err = vx_codec_chain.decode(&s.form, s.data, s.len, &part, &d.to, &e);
		ck_assert_int_eq(err, inside ? -EBADMSG : 0);
		if (inside)
			ck_assert_ptr_nonnull(strstr(e.why, "neither 0 nor 1"));
		dest_free(&d);
	}
	free(s.data);
}
END_TEST

START_TEST(wrong_lengths)
{
	struct vxt_rng r = vxt_seed("wrong_lengths", _i);
	struct sample s;
	struct dest d;
	struct vx_err e = {0};
	struct vx_box part = {.hi = {1, 1, 1}};

	sample_new(&r, &s, _i % 2);
	dest_new(&r, &d, s.form.n, vx_chunk_form_picked(&s.form), s.chain.width);
	for (size_t len = s.len > 50 ? s.len - 50 : 0; len < s.len; len++)
		ck_assert_int_eq(vx_codec_chain.decode(&s.form, s.data, len, &part, &d.to, &e), -EBADMSG);
	s.data = realloc(s.data, s.len + 1);
	ck_assert_int_eq(vx_codec_chain.decode(&s.form, s.data, s.len + 1, &part, &d.to, &e), -EBADMSG);
	dest_free(&d);
	free(s.data);
}
END_TEST

START_TEST(checked_when_opened)
{
	const struct vx_chain good = {
	    .rank = 3, .axis = {VX_AXIS_Z, VX_AXIS_Y, VX_AXIS_X}, .shape = {4, 5, 6}, .width = 2};
	struct vx_err e = {0};
	struct vx_chain c;

#define BAD(code, change)                                         \
	do {                                                      \
		c = good;                                         \
		change;                                           \
		ck_assert_int_eq(vx_chain_check(&c, &e), (code)); \
		ck_assert_int_ne(e.why[0], 0);                    \
	} while (0)
	ck_assert_int_eq(vx_chain_check(&good, &e), 0);
	BAD(-EINVAL, c.rank = 6);
	BAD(-EINVAL, c.nlinks = 9);
	BAD(-EINVAL, c.width = 3);
	BAD(-EINVAL, c.width = 16);
	BAD(-EINVAL, c.is_bool = true);
	BAD(-EINVAL, c.shape[1] = 0);
	BAD(-EINVAL, c.axis[0] = VX_AXIS_X);
	BAD(-EINVAL, c.axis[0] = 5);
	BAD(-EINVAL, c.at[0] = 1);
	BAD(-EINVAL, c.axis[0] = VX_AXIS_ONE; c.at[0] = 4);
	BAD(-EINVAL, c.nlinks = 1; c.link[0] = 77);
	BAD(-EFBIG, c.shape[0] = (uint64_t)1 << 40);
	BAD(-EFBIG, c.shape[0] = c.shape[1] = c.shape[2] = (uint64_t)1 << 32);
#undef BAD
}
END_TEST

int main(void)
{
	Suite *s = suite_create("chain_cut");
	TCase *t = tcase_create("chain_cut");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 280);
	tcase_add_loop_test(t, random_parts, 0, 12);
	tcase_add_loop_test(t, every_order, 0, 24);
	tcase_add_loop_test(t, bools, 0, 8);
	tcase_add_loop_test(t, wrong_lengths, 0, 8);
	tcase_add_test(t, checked_when_opened);
	return vxt_run(s);
}
