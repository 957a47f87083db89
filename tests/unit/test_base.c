/* SPDX-License-Identifier: Apache-2.0
 * The ground everything stands on: checked arithmetic, error sentences, recycled buffers, ranked locks, lists.
 */
#include "../lib/vxtest.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/lock.h"

#include <ctype.h>
#include <signal.h>
#include <string.h>

START_TEST(arithmetic)
{
	uint64_t u = 7;

	ck_assert(vx_add_u64(UINT64_MAX - 1, 1, &u) && u == UINT64_MAX);
	ck_assert(!vx_add_u64(UINT64_MAX, 1, &u));
	ck_assert(vx_mul_u64(1ull << 32, (1ull << 32) - 1, &u) && u == UINT64_MAX - (UINT64_MAX >> 32));
	ck_assert(!vx_mul_u64(1ull << 32, 1ull << 32, &u));
	ck_assert(vx_mul_u64(0, UINT64_MAX, &u) && u == 0);
	ck_assert_uint_eq(vx_div_up(0, 3), 0);
	ck_assert_uint_eq(vx_div_up(1, 3), 1);
	ck_assert_uint_eq(vx_div_up(3, 3), 1);
	ck_assert_uint_eq(vx_div_up(4, 3), 2);
	ck_assert_uint_eq(vx_div_up(UINT64_MAX, 1), UINT64_MAX);
	ck_assert_uint_eq(vx_round_up(0, 4096), 0);
	ck_assert_uint_eq(vx_round_up(1, 4096), 4096);
	ck_assert_uint_eq(vx_round_up(4096, 4096), 4096);
}
END_TEST

/* ---- error sentences ---- */

static bool is_clean(const struct vx_err *e)
{
	size_t n = strnlen(e->why, sizeof e->why);

	for (size_t k = 0; k < n; k++)
		if (iscntrl((unsigned char)e->why[k]))
			return false;
	return n < sizeof e->why;
}

START_TEST(errors)
{
	struct vx_err e;
	char raw[256];

	ck_assert_int_eq(vx_fail(NULL, -EIO, "nobody listens"), -EIO);
	ck_assert_int_eq(vx_fail(&e, -EBADMSG, "chunk %d of %s", 3, "em"), -EBADMSG);
	ck_assert_int_eq(e.code, -EBADMSG);
	ck_assert_str_eq(e.why, "chunk 3 of em");
	for (int c = 1; c < 256; c++)
		raw[c - 1] = (char)c;
	raw[255] = 0;
	vx_fail(&e, -EIO, "%s", raw);
	ck_assert(is_clean(&e));
	ck_assert_ptr_nonnull(strstr(e.why, " !\"#"));
	ck_assert_int_eq((unsigned char)e.why[254], 255); /* bytes of UTF-8 stay */
	vx_fail(&e, -EIO, "first");
	vx_fail(&e, -EACCES, "again: %s", e.why); /* quoting itself */
	ck_assert_str_eq(e.why, "again: first");
	ck_assert_str_eq(vx_errno_name(-EBADMSG), "EBADMSG");
	ck_assert_str_eq(vx_errno_name(ENOENT), "ENOENT");
	ck_assert_str_eq(vx_errno_name(-100000), "E?");
}
END_TEST

START_TEST(error_prefixes)
{
	char text[700];
	struct vx_err e;

	vx_fail(&e, -EBADMSG, "it is short");
	ck_assert_int_eq(vx_fail_prefix(&e, "chunk %s", "0-64\n"), -EBADMSG);
	ck_assert_str_eq(e.why, "chunk 0-64?: it is short");
	for (size_t outer = 0; outer < sizeof text - 1; outer += 23)
		for (size_t inner = 0; inner < sizeof text - 1; inner += 19) {
			memset(text, 'i', inner);
			text[inner] = 0;
			vx_fail(&e, -EIO, "%s", text);
			memset(text, 'o', outer);
			text[outer] = 0;
			ck_assert_int_eq(vx_fail_prefix(&e, "%s", text), -EIO);
			ck_assert(is_clean(&e));
			ck_assert_uint_eq(strspn(e.why, "o"), vx_min_u64(outer, sizeof e.why - 1));
			ck_assert_uint_eq(strlen(e.why), vx_min_u64(vx_min_u64(outer, sizeof e.why - 1) + 2 +
									vx_min_u64(inner, sizeof e.why - 1),
								    sizeof e.why - 1));
		}
}
END_TEST

/* ---- buffers ---- */

START_TEST(buffer_sizes)
{
	struct vxt_rng r = vxt_seed("buffer_sizes", 0);
	struct vx_pool *p;

	ck_assert_int_eq(vx_pool_new(&p, 0), 0);
	for (int k = 0; k < 4000; k++) {
		size_t size = (size_t)vxt_rnd(&r, 1ull << vxt_rnd(&r, 31));
		struct vx_buf *b;

		if (k < 31 * 3) /* about the powers of two first */
			size = ((size_t)1 << k / 3) + (size_t)(k % 3) - 1;
		b = vx_buf_get(p, size);
		ck_assert_ptr_nonnull(b);
		ck_assert_uint_ge(b->cap, size);
		ck_assert_uint_eq(b->len, 0);
		ck_assert_uint_eq(b->cap % 4096, 0);
		ck_assert_msg(b->cap - size <= b->cap / 4 + 4096, "%zu of %zu are of no use", b->cap - size, b->cap);
		ck_assert_uint_eq(vx_pool_bytes_used(p), b->cap);
		vx_buf_put(b);
		ck_assert_uint_eq(vx_pool_bytes_used(p), 0);
		ck_assert_uint_eq(vx_pool_bytes_idle(p), 0);
	}
	ck_assert_ptr_null(vx_buf_get(p, SIZE_MAX));
	ck_assert_ptr_null(vx_buf_get(p, ((size_t)1 << 40) + 1));
	vx_buf_put(NULL);
	vx_pool_free(&p);
	ck_assert_ptr_null(p);
	vx_pool_free(&p);
}
END_TEST

START_TEST(buffers_come_back)
{
	struct vx_pool *p;
	struct vx_buf *b[4], *again;
	uint64_t cap;

	ck_assert_int_eq(vx_pool_new(&p, 3 * 65536), 0);
	for (int k = 0; k < 4; k++) {
		b[k] = vx_buf_get(p, 65536);
		b[k]->data[0] = (uint8_t)k;
		b[k]->len = 1;
	}
	cap = b[0]->cap;
	ck_assert_uint_eq(cap, 65536);
	ck_assert_uint_eq(vx_pool_bytes_used(p), 4 * cap);
	vx_buf_ref(b[0]);
	vx_buf_put(b[0]);
	ck_assert_uint_eq(vx_pool_bytes_used(p), 4 * cap);
	for (int k = 0; k < 4; k++)
		vx_buf_put(b[k]);
	ck_assert_uint_eq(vx_pool_bytes_used(p), 0);
	ck_assert_uint_eq(vx_pool_bytes_idle(p), 3 * cap); /* the fourth was beyond the limit */
	for (int k = 2; k >= 0; k--) {
		again = vx_buf_get(p, 65536 - 100);
		ck_assert_ptr_eq(again, b[k]); /* last in, first out */
		ck_assert_uint_eq(again->len, 0);
		ck_assert_uint_eq(again->data[0], (unsigned)k);
	}
	ck_assert_uint_eq(vx_pool_bytes_idle(p), 0);
	for (int k = 0; k < 3; k++)
		vx_buf_put(b[k]);
	again = vx_buf_get(p, 4096); /* another class */
	ck_assert(again != b[0] && again != b[1] && again != b[2]);
	ck_assert_uint_eq(again->cap, 4096);
	vx_buf_put(again);
	ck_assert_uint_eq(vx_pool_bytes_idle(p), 3 * cap);
	vx_pool_free(&p);
}
END_TEST

START_TEST(buffers_grow)
{
	struct vx_pool *p;
	struct vx_buf *b, *before;
	uint8_t want[10000];

	ck_assert_int_eq(vx_pool_new(&p, 1 << 20), 0);
	b = before = vx_buf_get(p, 10000);
	for (size_t k = 0; k < sizeof want; k++)
		want[k] = b->data[k] = (uint8_t)(k * 7);
	b->len = sizeof want;
	ck_assert_int_eq(vx_buf_grow(&b, b->cap), 0);
	ck_assert_ptr_eq(b, before);
	ck_assert_int_eq(vx_buf_grow(&b, 500000), 0);
	ck_assert_uint_ge(b->cap, 500000);
	ck_assert_uint_eq(b->len, sizeof want);
	ck_assert_mem_eq(b->data, want, sizeof want);
	ck_assert_uint_eq(vx_pool_bytes_used(p), b->cap);
	before = b;
	ck_assert_int_eq(vx_buf_grow(&b, SIZE_MAX), -ENOMEM);
	ck_assert_ptr_eq(b, before);
	ck_assert_uint_eq(b->len, sizeof want);
	ck_assert_mem_eq(b->data, want, sizeof want);
	vx_buf_put(b);
	vx_pool_free(&p);
}
END_TEST

struct churner {
	struct vx_pool *pool;
	struct vxt_rng rng;
	pthread_t thread;
};

static void *churn(void *arg)
{
	struct churner *c = arg;
	struct vx_pool *p = c->pool;
	struct vxt_rng r = c->rng;
	struct vx_buf *held[8] = {NULL};

	for (int k = 0; k < 3000; k++) {
		unsigned at = (unsigned)vxt_rnd(&r, VX_ARRAY_LEN(held));
		struct vx_buf *b = held[at];

		if (b) { /* still ours alone? */
			ck_assert_uint_eq(b->data[0], at);
			ck_assert_uint_eq(b->data[b->cap - 1], (uint8_t)(at + b->len));
			vx_buf_put(b);
			vx_buf_put(b);
			held[at] = NULL;
			continue;
		}
		b = vx_buf_get(p, (size_t)vxt_rnd(&r, 40000));
		b->len = (size_t)k;
		b->data[0] = (uint8_t)at;
		b->data[b->cap - 1] = (uint8_t)(at + b->len);
		held[at] = vx_buf_ref(b);
	}
	for (unsigned at = 0; at < VX_ARRAY_LEN(held); at++) {
		vx_buf_put(held[at]);
		vx_buf_put(held[at]);
	}
	return NULL;
}

START_TEST(buffers_and_threads)
{
	struct vxt_rng r = vxt_seed("buffers_and_threads", 0);
	struct churner c[4];
	struct vx_pool *p;

	ck_assert_int_eq(vx_pool_new(&p, 100000), 0);
	for (int k = 0; k < 4; k++) {
		c[k] = (struct churner){.pool = p, .rng = {vxt_rnd(&r, UINT64_MAX)}};
		ck_assert_int_eq(pthread_create(&c[k].thread, NULL, churn, &c[k]), 0);
	}
	for (int k = 0; k < 4; k++)
		pthread_join(c[k].thread, NULL);
	ck_assert_uint_eq(vx_pool_bytes_used(p), 0);
	ck_assert_uint_le(vx_pool_bytes_idle(p), 100000);
	vx_pool_free(&p);
}
END_TEST

static void count_low(void *ctx)
{
	++*(unsigned *)ctx;
}

static bool yes(void *ctx)
{
	(void)ctx;
	return true;
}

START_TEST(regions_made_ready)
{
	struct vx_pool *p;
	struct vx_buf *b[6];
	unsigned low = 0;

	ck_assert_int_eq(vx_pool_new(&p, 0), 0);
	vx_pool_on_low(p, count_low, &low);
	ck_assert(!vx_pool_prepare(p, 0, yes, NULL));
	for (unsigned k = 1; vx_pool_prepare(p, 4, yes, NULL); k++)
		ck_assert_uint_eq(vx_pool_bytes_ready(p), k * VX_POOL_REGION);
	ck_assert_uint_eq(vx_pool_bytes_ready(p), 4 * VX_POOL_REGION);
	vx_pool_trim_ready(p, 10);
	ck_assert_uint_eq(vx_pool_bytes_ready(p), 4 * VX_POOL_REGION);
	vx_pool_trim_ready(p, 2);
	ck_assert_uint_eq(vx_pool_bytes_ready(p), 2 * VX_POOL_REGION);
	ck_assert_uint_eq(vx_pool_bytes_used(p) + vx_pool_bytes_idle(p), 0);
	for (int k = 0; k < 6; k++) { /* two to a region */
		b[k] = vx_buf_get(p, 1 << 20);
		b[k]->data[0] = b[k]->data[b[k]->cap - 1] = (uint8_t)k;
	}
	ck_assert_uint_eq(vx_pool_bytes_ready(p), 0);
	ck_assert_uint_gt(low, 0);
	for (int k = 0; k < 6; k++) {
		ck_assert(b[k]->data[0] == k && b[k]->data[b[k]->cap - 1] == k);
		vx_buf_put(b[k]);
	}
	ck_assert_uint_eq(vx_pool_bytes_idle(p), 0);
	while (vx_pool_prepare(p, 3, yes, NULL))
		continue;
	vx_pool_free(&p); /* the ready ones too */
}
END_TEST

static uint64_t address_space(void)
{
	unsigned long long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	ck_assert_int_eq(fscanf(f, "%llu", &pages), 1);
	fclose(f);
	return pages * 4096;
}

/* Whatever the order in which they come back, no region stays behind. */
START_TEST(regions_go)
{
	struct vxt_rng r = vxt_seed("regions_go", 0);
	static struct vx_buf *b[6000];
	uint64_t before = address_space(), asked = 0;
	struct vx_pool *p;

	ck_assert_int_eq(vx_pool_new(&p, 3 << 20), 0);
	for (int step = 0; step < 30000; step++) {
		unsigned k = (unsigned)vxt_rnd(&r, VX_ARRAY_LEN(b));

		if (b[k]) {
			vx_buf_put(vx_steal(b[k]));
			continue;
		}
		b[k] = vx_buf_get(p, (size_t)vxt_rnd(&r, 1ull << (12 + vxt_rnd(&r, 9))));
		ck_assert_ptr_nonnull(b[k]);
		asked += b[k]->cap;
	}
	ck_assert_uint_gt(asked, (uint64_t)1 << 30);
	for (unsigned k = 0; k < VX_ARRAY_LEN(b); k++)
		vx_buf_put(b[k]);
	ck_assert_uint_eq(vx_pool_bytes_used(p), 0);
	ck_assert_uint_le(vx_pool_bytes_idle(p), 3 << 20);
	vx_pool_free(&p);
	ck_assert_uint_lt(address_space(), before + ((uint64_t)100 << 20));
}
END_TEST

/* ---- locks ---- */

START_TEST(locks_in_order)
{
	struct vx_mutex low, high;

	vx_mutex_init(&low, VX_RANK_CACHE);
	vx_mutex_init(&high, VX_RANK_POOL);
	{
		VX_LOCK_SCOPE(&low);
		vx_assert_held(&low);
		{
			VX_LOCK_SCOPE(&high);
			vx_assert_held(&high);
		}
		vx_lock(&high);
	}
	/* The lower one went first; a rank above what is left is fine, and so is the same lock later. */
	vx_unlock(&high);
	vx_lock(&low);
	vx_unlock(&low);
	vx_mutex_done(&low);
	vx_mutex_done(&high);
}
END_TEST

START_TEST(deadline)
{
	struct vx_mutex m;
	pthread_cond_t c;

	vx_mutex_init(&m, VX_RANK_CACHE);
	vx_cond_init(&c);
	vx_lock(&m);
	while (vx_cond_wait_until(&c, &m, 1)) /* long past; a wake without a cause is allowed */
		continue;
	vx_assert_held(&m);
	vx_unlock(&m);
	pthread_cond_destroy(&c);
	vx_mutex_done(&m);
}
END_TEST

#ifdef VX_DEBUG_LOCKS
START_TEST(wrong_order_dies)
{
	struct vx_mutex low, high;

	vx_mutex_init(&low, VX_RANK_CACHE);
	vx_mutex_init(&high, _i ? VX_RANK_CACHE : VX_RANK_ENGINE); /* a lower rank, the same rank */
	vx_lock(&high);
	vx_lock(&low);
}
END_TEST
#endif

/* ---- lists ---- */

struct thing {
	struct vx_link link;
	int n;
};

static void assert_list(struct vx_link *head, const char *want)
{
	char got[16] = "", back[16] = "";
	struct vx_link *l, *tmp;
	size_t n = 0;

	vx_list_each_safe(l, tmp, head) got[n++] = (char)('a' + vx_list_entry(l, struct thing, link)->n);
	ck_assert_str_eq(got, want);
	for (l = head->prev; l != head; l = l->prev)
		back[--n] = (char)('a' + vx_list_entry(l, struct thing, link)->n);
	ck_assert_str_eq(back, want);
	ck_assert_int_eq(vx_list_empty(head), !want[0]);
}

START_TEST(lists)
{
	struct vx_link head, other;
	struct thing t[6];
	struct vx_link *l, *tmp;

	vx_list_init(&head);
	vx_list_init(&other);
	assert_list(&head, "");
	for (int k = 0; k < 6; k++)
		t[k].n = k;
	vx_list_push_back(&head, &t[1].link);
	vx_list_push_back(&head, &t[2].link);
	vx_list_push_front(&head, &t[0].link);
	vx_list_insert(&t[2].link, &t[3].link);
	assert_list(&head, "abdc");
	vx_list_splice(&head, &other);
	assert_list(&head, "abdc");
	vx_list_push_back(&other, &t[4].link);
	vx_list_push_back(&other, &t[5].link);
	vx_list_splice(&head, &other);
	assert_list(&head, "abdcef");
	assert_list(&other, "");
	vx_list_splice(&other, &head);
	assert_list(&other, "abdcef");
	vx_list_remove(&t[3].link);
	vx_list_remove(&t[3].link);
	assert_list(&other, "abcef");
	vx_list_each_safe(l, tmp, &other) vx_list_remove(l);
	assert_list(&other, "");
}
END_TEST

START_TEST(checksums)
{
	static const uint8_t zeros[32];
	static uint8_t data[70000];
	struct vxt_rng r = vxt_seed("checksums", 0);
	uint8_t ones[32];

	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)vxt_rnd(&r, 256);
	memset(ones, 0xff, sizeof ones);
	ck_assert_uint_eq(vx_crc32c(zeros, 0), 0);
	ck_assert_uint_eq(vx_crc32c("123456789", 9), 0xe3069283);
	ck_assert_uint_eq(vx_crc32c(zeros, 32), 0x8a9136aa);
	ck_assert_uint_eq(vx_crc32c(ones, 32), 0x62a8ab43);
	ck_assert_uint_eq(vx_crc32c_portable("123456789", 9), 0xe3069283);
	for (size_t at = 0; at < 9; at++)
		for (size_t len = 0; len < sizeof data - at; len += len < 70 ? 1 : 997)
			if (vx_crc32c(data + at, len) != vx_crc32c_portable(data + at, len))
				ck_abort_msg("%zu bytes at %zu", len, at);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("base");
	TCase *t = tcase_create("base");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 300);
	tcase_add_test(t, arithmetic);
	tcase_add_test(t, errors);
	tcase_add_test(t, error_prefixes);
	tcase_add_test(t, buffer_sizes);
	tcase_add_test(t, buffers_come_back);
	tcase_add_test(t, buffers_grow);
	tcase_add_test(t, buffers_and_threads);
	tcase_add_test(t, regions_made_ready);
	tcase_add_test(t, regions_go);
	tcase_add_test(t, locks_in_order);
	tcase_add_test(t, deadline);
#ifdef VX_DEBUG_LOCKS
	tcase_add_loop_test_raise_signal(t, wrong_order_dies, SIGABRT, 0, 2);
#endif
	tcase_add_test(t, lists);
	tcase_add_test(t, checksums);
	return vxt_run(s);
}
