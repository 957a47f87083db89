/* SPDX-License-Identifier: Apache-2.0
 * The links of a chain: round trips with the libraries' own compressors, several members and frames, every truncation,
 * every byte flipped, bombs, rubbish behind. What is unpacked lies before a page that cannot be read.
 */
#include "../lib/vxtest.h"
#include "chain_packers.h"
#include "test_chain_vectors.h"

#include <string.h>
#include <sys/mman.h>

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

/* ---- undoing ---- */

/* A buffer that ends where a page begins that cannot be read. It belongs to no pool and is never handed back. */
struct guarded {
	struct vx_buf buf;
	uint8_t *map;
	size_t size;
};

static void guarded_new(struct guarded *g, size_t cap)
{
	g->size = (cap + 8191) / 4096 * 4096;
	g->map = mmap(NULL, g->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(g->map, MAP_FAILED);
	ck_assert_int_eq(mprotect(g->map + g->size - 4096, 4096, PROT_NONE), 0);
	g->buf = (struct vx_buf){.refs = 1};
}

static void guarded_set(struct guarded *g, const uint8_t *p, size_t len)
{
	g->buf.data = g->map + g->size - 4096 - len;
	g->buf.len = g->buf.cap = len;
	memcpy(g->buf.data, p, len);
}

static void guarded_free(struct guarded *g)
{
	ck_assert_uint_eq(g->buf.refs, 1);
	munmap(g->map, g->size);
}

static struct vx_chain bytes_chain(uint64_t len, unsigned nlinks, const enum vx_link_kind *links)
{
	struct vx_chain c = {.nlinks = nlinks, .rank = 1, .axis = {VX_AXIS_X}, .shape = {len}, .width = 1};

	memcpy(c.link, links, nlinks * sizeof *links);
	return c;
}

static struct vx_chunk_form form_of(const struct vx_chain *c)
{
	return (struct vx_chunk_form){.n = {c->shape[0], 1, 1}, .channels = 1, .width = 1, .params = c};
}

static int undo_as(struct guarded *g, const struct vx_chain *c, struct vx_buf **ret, struct vx_err *e)
{
	struct vx_chunk_form f = form_of(c);

	*ret = NULL;
	*e = (struct vx_err){0};
	return vx_codec_chain.expand(pool, &f, &g->buf, ret, e);
}

/* Decodes the whole payload and compares. */
static bool holds(const struct vx_chain *c, const struct vx_buf *payload, const struct bytes *want)
{
	struct vx_chunk_form f = form_of(c);
	struct vx_box all = {.hi = {(int64_t)c->shape[0], 1, 1}};
	VX_AUTO_FREE uint8_t *got = malloc(c->shape[0]);
	struct vx_place to = vx_place_packed(got, f.n, 1);
	struct vx_err e = {0};

	if (vx_codec_chain.exact_payload(&f) != payload->len)
		return false;
	return vx_codec_chain.decode(&f, payload->data, payload->len, &all, &to, &e) == 0 && want->len == c->shape[0] &&
	       !memcmp(got, want->p, want->len);
}

static void gives_as(const struct vx_chain *c, const struct bytes *packed, const struct bytes *want)
{
	struct vx_chunk_form f = form_of(c);
	struct guarded g;
	struct vx_buf *ret;
	struct vx_err e;

	guarded_new(&g, packed->len);
	guarded_set(&g, packed->p, packed->len);
	ck_assert_msg(undo_as(&g, c, &ret, &e) == 0, "%s", e.why);
	ck_assert_uint_le(packed->len, vx_codec_chain.max_stored(&f));
	if (!holds(c, ret, want))
		ck_abort_msg("other bytes came out");
	vx_buf_put(ret);
	guarded_free(&g);
}

static void fails_as(const struct vx_chain *c, const struct bytes *packed, const char *why)
{
	struct guarded g;
	struct vx_buf *ret;
	struct vx_err e;

	guarded_new(&g, packed->len);
	guarded_set(&g, packed->p, packed->len);
	ck_assert_int_eq(undo_as(&g, c, &ret, &e), -EBADMSG);
	ck_assert_int_eq(e.code, -EBADMSG);
	ck_assert_ptr_null(ret);
	ck_assert_msg(strstr(e.why, why), "\"%s\" does not say \"%s\"", e.why, why);
	guarded_free(&g);
}

static void gives(int way, const struct bytes *packed, const struct bytes *want)
{
	enum vx_link_kind k = kind_of(way);
	struct vx_chain c = bytes_chain(want->len, 1, &k);

	gives_as(&c, packed, want);
}

static void fails(int way, const struct bytes *packed, uint64_t len, const char *why)
{
	enum vx_link_kind k = kind_of(way);
	struct vx_chain c = bytes_chain(len, 1, &k);

	fails_as(&c, packed, why);
}

/* ---- tests ---- */

START_TEST(round_trips)
{
	static const size_t lens[] = {1, 2, 15, 16, 127, 128, 1000, 4096, 65536, 65537, 300000};

	for (size_t i = 0; i < VX_ARRAY_LEN(lens); i++) {
		AUTO_BYTES data = sample(lens[i]);
		AUTO_BYTES b = pack(_i, data.p, data.len);

		gives(_i, &b, &data);
		fails(_i, &b, data.len + 1, "");
		if (data.len > 1)
			fails(_i, &b, data.len - 1, "");
	}
}
END_TEST

START_TEST(cut_and_followed)
{
	AUTO_BYTES data = sample(3000);
	AUTO_BYTES b = pack(_i, data.p, data.len);
	enum vx_link_kind k = kind_of(_i);
	struct vx_chain c = bytes_chain(data.len, 1, &k);
	struct vx_buf *ret;
	struct vx_err e;
	struct guarded g;

	guarded_new(&g, b.len);
	for (size_t len = 0; len < b.len; len++) {
		guarded_set(&g, b.p, len);
		if (undo_as(&g, &c, &ret, &e) != -EBADMSG || ret || !e.why[0])
			ck_abort_msg("way %d cut to %zu of %zu bytes", _i, len, b.len);
	}
	guarded_free(&g);
	add(&b, "x", 1);
	fails(_i, &b, data.len, "");
	add(&b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 23);
	fails(_i, &b, data.len, "");
}
END_TEST

START_TEST(flipped)
{
	AUTO_BYTES data = sample(1500);
	AUTO_BYTES b = pack(_i, data.p, data.len);
	enum vx_link_kind k = kind_of(_i);
	struct vx_chain c = bytes_chain(data.len, 1, &k);
	struct guarded g;

	guarded_new(&g, b.len);
	for (size_t i = 0; i < b.len; i++)
		for (int how = 0; how < 9; how++) {
			uint8_t old = b.p[i];
			struct vx_buf *ret;
			struct vx_err e;
			int err;

			b.p[i] = how < 8 ? old ^ (uint8_t)(1 << how) : (uint8_t)~old;
			guarded_set(&g, b.p, b.len);
			err = undo_as(&g, &c, &ret, &e);
			if (err != 0 && (err != -EBADMSG || !e.why[0] || ret))
				ck_abort_msg("way %d: %d (%s)", _i, err, e.why);
			if (err == 0 && (ret->len != data.len + (_i == CRC32C ? 4 : 0)))
				ck_abort_msg("way %d: %zu bytes", _i, ret->len);
			if (err == 0 && has_checksum(_i) && !holds(&c, ret, &data))
				ck_abort_msg("way %d, byte %zu: wrong bytes taken for right ones", _i, i);
			vx_buf_put(ret);
			b.p[i] = old;
		}
	guarded_free(&g);
}
END_TEST

START_TEST(bombs)
{
	size_t len = (size_t)40 << 20;
	AUTO_BYTES zeros = room(len);
	AUTO_BYTES b = {0};
	enum vx_link_kind k = kind_of(_i), twice[2] = {k, VX_LINK_GZIP};
	struct vx_chain two = bytes_chain(1000, 2, twice);

	if (k == VX_LINK_CRC32C)
		return;
	b = pack(_i, zeros.p, len);
	fails(_i, &b, 1000, "");
	fails(_i, &b, len - 1, "");
	ck_assert_uint_le(vx_pool_bytes_idle(pool), 1 << 20);
	/* what comes out in the middle is bounded, too */
	fails_as(&two, &b, "inflates to more than");
}
END_TEST

START_TEST(members)
{
	static const int several[] = {GZIP, ZSTD, ZSTD_STREAM, ZSTD_CHECKED, BZIP2, XZ};
	int way = several[_i];
	AUTO_BYTES data = sample(200000);
	AUTO_BYTES a = pack(way, data.p, 150000);
	AUTO_BYTES none = pack(way, data.p, 0);
	AUTO_BYTES rest = pack(way, data.p + 150000, 50000);
	AUTO_BYTES b = room(0);

	add(&b, a.p, a.len);
	add(&b, none.p, none.len);
	add(&b, rest.p, rest.len);
	add(&b, none.p, none.len);
	gives(way, &b, &data);
	fails(way, &b, 199999, "more than the expected 199999");
	fails(way, &b, 150000, "more than the expected 150000");
	fails(way, &b, 200001, "instead of 200001");
	b.len--;
	fails(way, &b, 200000, "");
}
END_TEST

START_TEST(one_after_another)
{
	struct vxt_rng r = vxt_seed("one_after_another", _i);

	for (int round = 0; round < 60; round++) {
		AUTO_BYTES data = sample(1 + vxt_rnd(&r, round % 10 ? 5000 : 300000));
		AUTO_BYTES b = room(0);
		enum vx_link_kind links[VX_CHAIN_LINKS_MAX];
		unsigned n = (unsigned)vxt_rnd(&r, VX_CHAIN_LINKS_MAX + 1);
		struct vx_chain c;

		add(&b, data.p, data.len);
		for (unsigned i = 0; i < n; i++) {
			int way = (int)vxt_rnd(&r, 3) ? (int)vxt_rnd(&r, WAYS) : CRC32C;
			struct bytes next = pack(way, b.p, b.len);

			free(b.p);
			b = next;
			links[n - 1 - i] = kind_of(way);
		}
		c = bytes_chain(data.len, n, links);
		gives_as(&c, &b, &data);
		b.len--;
		fails_as(&c, &b, "");
	}
}
END_TEST

/* What is not packed is not copied. */
START_TEST(itself)
{
	AUTO_BYTES data = sample(999);
	enum vx_link_kind links[2] = {VX_LINK_CRC32C, VX_LINK_CRC32C};

	for (unsigned n = 0; n <= 2; n++) {
		struct vx_chain c = bytes_chain(data.len, n, links);
		AUTO_BYTES once = pack(CRC32C, data.p, data.len);
		AUTO_BYTES twice = pack(CRC32C, once.p, once.len);
		struct bytes *b = n == 0 ? &data : n == 1 ? &once : &twice;
		struct guarded g;
		struct vx_buf *ret;
		struct vx_err e;

		guarded_new(&g, b->len);
		guarded_set(&g, b->p, b->len);
		ck_assert_int_eq(undo_as(&g, &c, &ret, &e), 0);
		ck_assert_ptr_eq(ret, &g.buf);
		ck_assert_uint_eq(ret->refs, 2);
		ck_assert_uint_eq(ret->len, b->len);
		ck_assert(holds(&c, ret, &data));
		vx_buf_put(ret);
		guarded_free(&g);
	}
}
END_TEST

/* ---- vectors of other writers ---- */

static struct bytes hex(const char *text)
{
	struct bytes b = room(strlen(text) / 2);
	unsigned byte;

	for (; *text; text += text[1] ? 2 : 1) {
		while (*text == ' ')
			text++;
		if (sscanf(text, "%2x", &byte) == 1)
			b.p[b.len++] = (uint8_t)byte;
	}
	return b;
}

START_TEST(vector)
{
	AUTO_BYTES b = hex(vectors[_i].packed);
	AUTO_BYTES want = room(vectors[_i].len);
	enum vx_link_kind k = vectors[_i].kind;
	struct vx_chain c;

	want.len = vectors[_i].len;
	memset(want.p, vectors[_i].fill, want.len);
	want.p[vectors[_i].at] = vectors[_i].value;
	if (_i == 1)
		want.p[11] = 2; /* the other byte of this uint16 */
	c = bytes_chain(want.len, 1, &k);
	gives_as(&c, &b, &want);
}
END_TEST

START_TEST(hostile_refused)
{
	AUTO_BYTES b = hex(hostile[_i].packed);
	enum vx_link_kind k = hostile[_i].kind;
	struct vx_chain c = bytes_chain(hostile[_i].len, 1, &k);

	fails_as(&c, &b, hostile[_i].why);
}
END_TEST

/* ---- N5 ---- */

static const struct vx_chain n5_chain = {.n5 = true,
					 .big_endian = true,
					 .rank = 3,
					 .axis = {VX_AXIS_Z, VX_AXIS_Y, VX_AXIS_X},
					 .shape = {3, 2, 2},
					 .width = 2};

static int n5_expand(const struct vx_chain *c, const char *text, struct vx_buf **ret, struct vx_err *e)
{
	struct vx_chunk_form f = {.n = {2, 2, 3}, .channels = 1, .width = 2, .params = c};
	AUTO_BYTES b = hex(text);
	struct guarded g;
	int err;

	*e = (struct vx_err){0};
	*ret = NULL;
	guarded_new(&g, b.len);
	guarded_set(&g, b.p, b.len);
	err = vx_codec_chain.expand(pool, &f, &g.buf, ret, e);
	if (err == 0) { /* the guarded bytes go with this function */
		struct vx_buf *copy = vx_buf_get(pool, (*ret)->len);

		memcpy(copy->data, (*ret)->data, copy->len = (*ret)->len);
		vx_buf_put(*ret);
		*ret = copy;
	}
	guarded_free(&g);
	return err;
}

START_TEST(n5_block)
{
	struct vx_chain c = n5_chain;
	struct vx_chunk_form f = {.n = {2, 2, 3}, .channels = 1, .width = 2, .params = &c};
	struct vx_box all = {.hi = {2, 2, 3}};
	uint16_t got[12], want[12] = {22, 0, 0, 0, 122, 0, 0, 0, 222, 0, 0, 0};
	struct vx_place to = vx_place_packed(got, f.n, 2);
	char text[500];
	struct vx_buf *b;
	struct vx_err e;

	c.nlinks = (unsigned)n5_vectors[_i].n;
	c.link[0] = n5_vectors[_i].kind;
	snprintf(text, sizeof text, "0000 0003 00000001 00000001 00000003 %s", n5_vectors[_i].payload);
	ck_assert_msg(n5_expand(&c, text, &b, &e) == 0, "%s", e.why);
	ck_assert_uint_eq(b->len, 16 + 6);
	ck_assert_uint_le(b->len, vx_codec_chain.max_payload(&f));
	ck_assert_uint_eq(vx_codec_chain.exact_payload(&f), 0);
	ck_assert_int_eq(vx_codec_chain.decode(&f, b->data, b->len, &all, &to, &e), 0);
	ck_assert_mem_eq(got, want, sizeof want);
	vx_buf_put(b);
}
END_TEST

START_TEST(n5_refused)
{
	static const struct {
		const char *block, *why;
		int err;
	} bad[] = {
	    {"0000 0003 00000001 00000001 000000", "cut off in its header", -EBADMSG},
	    {"0001 0003 00000001 00000001 00000003 00000003 000000000000", "mode 1", -EOPNOTSUPP},
	    {"0002 00000003 00000000000000000000000000", "mode 2", -EOPNOTSUPP},
	    {"0003 0003 00000001 00000001 00000003 0016007a00de", "mode 3", -EBADMSG},
	    {"0000 0002 00000001 00000001 00000003 0016007a00de", "2 axes", -EBADMSG},
	    {"0000 ffff 00000001 00000001 00000003 0016007a00de", "65535 axes", -EBADMSG},
	    {"0000 0003 00000000 00000001 00000003", "length 0", -EBADMSG},
	    {"0000 0003 00000003 00000001 00000003 0016007a00de", "length 3 where blocks have 2", -EBADMSG},
	    {"0000 0003 ffffffff ffffffff ffffffff 0016007a00de", "length 4294967295", -EBADMSG},
	    {"0000 0003 00000001 00000001 00000003 0016007a00", "5 bytes, its header needs 6", -EBADMSG},
	    {"0000 0003 00000001 00000001 00000003 0016007a00de00", "7 bytes, its header needs 6", -EBADMSG},
	    {"0000 0003 00000001 00000001 00000003", "0 bytes, its header needs 6", -EBADMSG},
	};
	struct vx_buf *b;
	struct vx_err e;

	for (size_t i = 0; i < VX_ARRAY_LEN(bad); i++) {
		ck_assert_int_eq(n5_expand(&n5_chain, bad[i].block, &b, &e), bad[i].err);
		ck_assert_msg(strstr(e.why, bad[i].why), "\"%s\" does not say \"%s\"", e.why, bad[i].why);
		ck_assert_ptr_null(b);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("chain_links");
	TCase *t = tcase_create("chain_links");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 280);
	tcase_add_loop_test(t, round_trips, 0, WAYS);
	tcase_add_loop_test(t, cut_and_followed, 0, WAYS);
	tcase_add_loop_test(t, flipped, 0, WAYS);
	tcase_add_loop_test(t, bombs, 0, WAYS);
	tcase_add_loop_test(t, members, 0, 6);
	tcase_add_loop_test(t, one_after_another, 0, 4);
	tcase_add_test(t, itself);
	tcase_add_loop_test(t, vector, 0, VX_ARRAY_LEN(vectors));
	tcase_add_loop_test(t, hostile_refused, 0, VX_ARRAY_LEN(hostile));
	tcase_add_loop_test(t, n5_block, 0, VX_ARRAY_LEN(n5_vectors));
	tcase_add_test(t, n5_refused);
	return vxt_run(s);
}
