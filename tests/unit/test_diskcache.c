/* SPDX-License-Identifier: Apache-2.0
 * The disk cache by itself: entries come back as they went in or not at all, whatever happens to their files, and the
 * bytes on the disk stay within the limit.
 */
#include "../lib/dcrig.h"

#include <sys/file.h>
#include <xxhash.h>

/* ---- round trips ---- */

START_TEST(round_trips)
{
	static const size_t sizes[] = {0, 1, 4095, 4096, 100000, 3 << 20};

	for (unsigned i = 0; i < VX_ARRAY_LEN(sizes); i++) {
		ck_assert(!get(i, sizes[i]));
		put(i, sizes[i]);
	}
	drain();
	for (unsigned i = 0; i < VX_ARRAY_LEN(sizes); i++)
		ck_assert(get(i, sizes[i]));
	ck_assert_uint_eq(bytes_on_disk(), dc->bytes);
	close_cache();
	open_cache();
	for (unsigned i = 0; i < VX_ARRAY_LEN(sizes); i++)
		ck_assert(get(i, sizes[i]));
	ck_assert_uint_eq(LEDGER(stored), VX_ARRAY_LEN(sizes));
	ck_assert_uint_eq(LEDGER(damaged), 0);
	ck_assert_uint_eq(LEDGER(io_errors), 0);
}
END_TEST

START_TEST(what_waits_is_written_at_the_end)
{
	put(0, 50000);
	drain(); /* until what is here has been counted nothing is written */
	for (unsigned i = 1; i < 100; i++)
		put(i, 50000);
	close_cache();
	open_cache();
	for (unsigned i = 0; i < 100; i++)
		ck_assert(get(i, 50000));
}
END_TEST

START_TEST(missing_and_parts)
{
	struct vx_fetch f[4] = {{.key = "k"}, {.key = "k"}, {.key = "k"}, {.key = "k"}};
	struct vx_dc_found found;
	struct vx_entry_id id[6];

	f[1].range.len = 5;
	f[2].range.off = 1;
	f[2].range.len = 5;
	f[3].range.len = 5;
	f[3].range.suffix = true;
	for (int i = 0; i < 4; i++)
		vx_entry_identify(&id[i], "http://h/v", 10, "", &f[i]);
	vx_entry_identify(&id[4], "http://h/v", 10, "0123", &f[0]);
	vx_entry_identify(&id[5], "http://h/w", 10, "", &f[0]);
	for (int i = 0; i < 6; i++) {
		struct vx_entry e = {.missing = true, .total = (uint64_t)i};

		for (int k = 0; k < i; k++)
			ck_assert(id[i].len != id[k].len || memcmp(id[i].text, id[k].text, id[k].len));
		vx_dc_put(dc, &id[i], &e, NULL, NULL);
	}
	drain();
	for (int i = 0; i < 6; i++) {
		ck_assert(vx_dc_get(dc, &id[i], 0, &found));
		ck_assert(found.entry.missing && !found.body);
		ck_assert_uint_eq(found.entry.total, (uint64_t)i);
	}
}
END_TEST

START_TEST(a_newer_answer_takes_the_place)
{
	struct vx_entry_id id;
	struct vx_entry e = {.missing = true};
	struct vx_dc_found found;

	put(1, 9000);
	identify(&id, 1);
	vx_dc_put(dc, &id, &e, NULL, NULL);
	drain();
	ck_assert(vx_dc_get(dc, &id, 1 << 20, &found) && found.entry.missing);
	put(1, 20000);
	drain();
	ck_assert(get(1, 20000));
	ck_assert_uint_eq(bytes_on_disk(), dc->bytes);
	vx_dc_drop(dc, &id, 0);
	drain();
	ck_assert(!get(1, 20000) && !is_there(1));
	ck_assert_uint_eq(dc->bytes, 0);
}
END_TEST

START_TEST(larger_than_the_cap)
{
	struct vx_entry_id id;
	struct vx_dc_found found;

	put(1, 5000);
	drain();
	identify(&id, 1);
	ck_assert(!vx_dc_get(dc, &id, 4999, &found));
	ck_assert(get(1, 5000));
}
END_TEST

/* ---- ages ---- */

static bool is_due(uint64_t check_ns, bool missing, int64_t age_s)
{
	struct vx_entry e = {.missing = missing, .checked_ns = vx_dc_wall_ns() - (uint64_t)(age_s * (int64_t)VX_SEC)};

	dc->opts.check_ns = check_ns;
	return vx_dc_is_due(dc, &e);
}

START_TEST(when_to_ask_again)
{
	struct vx_entry unknown = {.checked_ns = 0};

	ck_assert(!is_due(VX_CHECK_NEVER, false, 1000000));
	ck_assert(!is_due(VX_CHECK_NEVER, false, -1000));
	ck_assert(!is_due(VX_CHECK_NEVER, true, 1000));
	ck_assert(is_due(VX_CHECK_NEVER, true, 3601));
	ck_assert(is_due(VX_CHECK_NEVER, true, -1000));
	ck_assert(is_due(VX_CHECK_MOUNT, false, 1000));
	ck_assert(!is_due(VX_CHECK_MOUNT, false, 0));
	ck_assert(is_due(VX_CHECK_MOUNT, false, -1000));
	ck_assert(is_due(0, false, 0));
	ck_assert(is_due(60 * VX_SEC, false, 61));
	ck_assert(!is_due(60 * VX_SEC, false, 30));
	ck_assert(is_due(60 * VX_SEC, false, -30));
	ck_assert(vx_dc_is_due(dc, &unknown));
	dc->opts.check_ns = VX_CHECK_NEVER;
	ck_assert(!vx_dc_is_due(dc, &unknown));
}
END_TEST

START_TEST(confirmed_entries_are_young)
{
	struct vx_dc_found found;
	struct vx_entry_id id;
	struct vx_entry e = {.missing = true, .checked_ns = 5};

	identify(&id, 1);
	vx_dc_put(dc, &id, &e, NULL, NULL);
	drain();
	ck_assert(vx_dc_get(dc, &id, 0, &found));
	ck_assert_uint_eq(found.entry.checked_ns, 5);
	vx_dc_confirm(dc, &id, found.entry.seal + 1); /* of one that was here before */
	drain();
	ck_assert(vx_dc_get(dc, &id, 0, &found));
	ck_assert_uint_eq(found.entry.checked_ns, 5);
	vx_dc_confirm(dc, &id, found.entry.seal);
	drain();
	ck_assert(vx_dc_get(dc, &id, 0, &found));
	ck_assert_uint_ge(found.entry.checked_ns, dc->started_ns);
}
END_TEST

/* ---- damage ---- */

#define SMALL 90

/* The file of entry 1 has been written anew: it is refused, and removed. */
static void expect_refused(const char *what, size_t at)
{
	uint64_t damaged = LEDGER(damaged);

	ck_assert_msg(!get(1, SMALL), "%s %zu", what, at);
	ck_assert_msg(LEDGER(damaged) == damaged + 1, "%s %zu", what, at);
	drain();
	ck_assert_msg(!is_there(1), "%s %zu", what, at);
}

START_TEST(every_bit_counts)
{
	uint8_t good[1000];
	char path[128];
	size_t len;

	put(1, SMALL);
	drain();
	strcpy(path, path_of(1));
	len = read_path(path, good, sizeof good);
	for (size_t bit = 0; bit < len * 8; bit++) {
		good[bit / 8] ^= (uint8_t)(1 << bit % 8);
		write_path(path, good, len);
		good[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (bit / 8 >= VX_ENTRY_CHECKED && bit / 8 < VX_ENTRY_HEAD) {
			struct vx_dc_found found;
			struct vx_entry_id id;

			identify(&id, 1);
			ck_assert(get(1, SMALL) && vx_dc_get(dc, &id, 1000, &found));
			ck_assert_uint_eq(found.entry.checked_ns, 0);
			vx_buf_put(found.body);
			continue;
		}
		expect_refused("bit", bit);
	}
	write_path(path, good, len);
	ck_assert(get(1, SMALL));
}
END_TEST

START_TEST(every_length_counts)
{
	uint8_t good[1000] = {0};
	char path[128];
	size_t len;

	put(1, SMALL);
	drain();
	strcpy(path, path_of(1));
	len = read_path(path, good, sizeof good);
	for (size_t n = 0; n<sizeof good; n += n> len + 20 ? 50 : 1) {
		if (n == len)
			continue;
		write_path(path, good, n);
		expect_refused("length", n);
	}
}
END_TEST

/* A page of zeros where one was written back and another was not. */
START_TEST(torn_writes)
{
	static uint8_t good[40000];
	char path[128];
	size_t len;

	put(1, 30000);
	drain();
	strcpy(path, path_of(1));
	len = read_path(path, good, sizeof good);
	for (size_t page = 0; page * 4096 < len; page++) {
		static uint8_t torn[40000];
		uint64_t damaged = LEDGER(damaged);

		memcpy(torn, good, len);
		memset(torn + page * 4096, 0, 4096);
		write_path(path, torn, len);
		ck_assert(!get(1, 30000));
		ck_assert_uint_eq(LEDGER(damaged), damaged + 1);
		drain();
	}
}
END_TEST

START_TEST(colliding_names)
{
	uint8_t other[1000];
	char path[128];
	size_t len;

	put(1, SMALL);
	put(2, SMALL);
	drain();
	len = read_path(path_of(2), other, sizeof other);
	strcpy(path, path_of(1));
	write_path(path, other, len);
	expect_refused("another's", 2);
	put(1, SMALL);
	drain();
	ck_assert(get(1, SMALL) && get(2, SMALL));
}
END_TEST

START_TEST(other_versions)
{
	uint8_t file[1000];
	struct vx_entry_id id;
	char path[128];
	uint64_t seal;
	size_t len;

	put(1, SMALL);
	drain();
	identify(&id, 1);
	strcpy(path, path_of(1));
	len = read_path(path, file, sizeof file);
	file[8]++;
	seal = XXH3_64bits_withSeed(id.text, id.len, XXH3_64bits(file, 176));
	memcpy(file + 176, &seal, 8);
	write_path(path, file, len);
	expect_refused("version", 2);
	file[8]--;
	seal = XXH3_64bits_withSeed(id.text, id.len, XXH3_64bits(file, 176));
	memcpy(file + 176, &seal, 8);
	write_path(path, file, len);
	ck_assert(get(1, SMALL));
}
END_TEST

START_TEST(things_that_are_no_files)
{
	char path[128];

	put(1, SMALL);
	drain();
	strcpy(path, path_of(1));
	unlink(path);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	expect_refused("directory", 0);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	expect_refused("fifo", 0);
	ck_assert_int_eq(symlink("/etc/passwd", path), 0);
	ck_assert(!get(1, SMALL));
	put(1, SMALL);
	drain();
	ck_assert(get(1, SMALL));
}
END_TEST

/* ---- room ---- */

static void use_limit(uint64_t limit)
{
	close_cache();
	opts.limit = limit;
	open_cache();
}

START_TEST(the_limit_holds)
{
	unsigned there = 0;

	use_limit(1 << 20);
	for (unsigned i = 0; i < 500; i++) {
		put(i, i * 97 % 30000);
		if (i % 16 == 15) {
			drain();
			ck_assert_uint_le(bytes_on_disk(), 1 << 20);
		}
	}
	drain();
	for (unsigned i = 0; i < 500; i++)
		there += get(i, i * 97 % 30000);
	ck_assert_uint_ge(there, 30);
	ck_assert_uint_gt(LEDGER(evictions), 100);
	ck_assert_uint_eq(LEDGER(damaged), 0);
	ck_assert_uint_eq(LEDGER(io_errors), 0);
}
END_TEST

START_TEST(the_oldest_go)
{
	unsigned old = 0;

	use_limit(1 << 20);
	for (unsigned i = 0; i < 100; i++)
		put(i, 7900); /* 100 x 8 KiB */
	drain();
	for (unsigned i = 0; i < 100; i++)
		set_age(i, i % 2 ? 100000 : 100);
	ck_assert(get(1, 7900)); /* is young again */
	for (unsigned i = 100; i < 130; i++)
		put(i, 7900);
	drain();
	for (unsigned i = 0; i < 130; i++) {
		if (i > 1 && i < 100 && i % 2)
			old += get(i, 7900);
		else
			ck_assert_msg(get(i, 7900), "%u", i);
	}
	ck_assert_uint_lt(old, 48);
}
END_TEST

START_TEST(large_entries)
{
	use_limit(1 << 20);
	put(1, 600000); /* more than half */
	drain();
	ck_assert(!is_there(1));
	ck_assert_uint_eq(LEDGER(skipped), 1);
	for (unsigned i = 2; i < 12; i++) {
		put(i, 400000);
		drain();
		ck_assert(get(i, 400000));
		ck_assert_uint_le(bytes_on_disk(), 1 << 20);
	}
}
END_TEST

/* What waits to be written holds no more than itself, also where it came with others in one answer. */
START_TEST(slices_wait_alone)
{
	struct vx_buf *all, *part;
	struct vx_entry_id id;
	char path[80];
	int fd;

	put(0, 10);
	drain();
	snprintf(path, sizeof path, "%s/usage", top);
	fd = open(path, O_RDWR);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0); /* so that the thread gets nowhere for a while */
	for (unsigned i = 1; i <= 20; i++) {
		struct vx_entry e = {.payload_len = 3000, .total = 3000 + i, .checked_ns = vx_dc_wall_ns()};

		snprintf(e.etag, sizeof e.etag, "\"%u\"", i);
		strcpy(e.content_encoding, "gzip");
		all = vx_buf_get(pool, 1 << 20);
		ck_assert_ptr_nonnull(all);
		all->len = 1 << 20;
		for (size_t at = 0; at < 3000; at++)
			all->data[5000 * i + at] = byte_of(i, at);
		part = vx_buf_slice(all, 5000 * i, 3000);
		identify(&id, i);
		vx_dc_put(dc, &id, &e, part, part->data);
		vx_buf_put(part);
		vx_buf_put(all);
	}
	ck_assert_uint_le(vx_pool_bytes_used(pool), 1 << 20);
	close(fd);
	drain();
	ck_assert(get(20, 3000));
}
END_TEST

START_TEST(others_with_another_limit)
{
	for (unsigned i = 0; i < 300; i++)
		put(i, 7900);
	use_limit(1 << 20);
	put(300, 7900);
	close_cache();
	open_cache();
	put(301, 7900);
	drain();
	ck_assert_uint_le(bytes_on_disk(), 1 << 20);
	ck_assert(get(300, 7900) || get(301, 7900));
}
END_TEST

/* ---- a directory that others meddle with ---- */

START_TEST(a_sum_that_is_damaged)
{
	char path[128];
	uint64_t bytes;

	for (unsigned i = 0; i < 20; i++)
		put(i, 7900);
	drain();
	bytes = bytes_on_disk();
	snprintf(path, sizeof path, "%s/usage", top);
	for (int cut = 0; cut < 2; cut++) {
		close_cache();
		write_path(path, "voxfsus\0garbage that is long enough", cut ? 3 : 32);
		open_cache();
		put(20, 7900);
		drain();
		ck_assert(get(20, 7900));
		ck_assert_uint_eq(dc->bytes, bytes + 8192);
		ck_assert_uint_eq(bytes_on_disk(), bytes + 8192);
	}
}
END_TEST

START_TEST(an_emptied_directory)
{
	char command[128];

	put(1, 7900);
	drain();
	snprintf(command, sizeof command, "rm -rf %s/*", top);
	ck_assert_int_eq(system(command), 0);
	ck_assert(!get(1, 7900));
	put(2, 7900);
	put(3, 7900);
	drain();
	put(4, 7900);
	drain();
	ck_assert(get(4, 7900));
	ck_assert_uint_eq(bytes_on_disk(), dc->bytes);
	ck_assert_uint_eq(LEDGER(io_errors), 0);
}
END_TEST

START_TEST(what_dead_writers_left)
{
	char path[128], data[4096] = "part of an entry";

	put(1, 7900);
	drain();
	snprintf(path, sizeof path, "%s/new/100000.0123456789abcdef", top);
	write_path(path, data, sizeof data);
	use_limit(1 << 20);
	for (unsigned i = 2; i < 140; i++)
		put(i, 7900);
	drain();
	ck_assert_int_ne(access(path, F_OK), 0);
	ck_assert_uint_le(bytes_on_disk(), 1 << 20);
}
END_TEST

START_TEST(directories_that_will_not_do)
{
	struct vx_diskcache *other = NULL;
	struct vx_diskcache_opts o = opts;
	struct vx_err e = {0};
	char path[128];

	snprintf(path, sizeof path, "%s/a/b", top);
	o.dir = path;
	ck_assert_int_eq(vx_diskcache_new(&other, &o, pool, &e), -ENOENT);
	snprintf(path, sizeof path, "%s/usage", top);
	drain();
	put(1, 10);
	drain();
	ck_assert_int_eq(vx_diskcache_new(&other, &o, pool, &e), -ENOTDIR);
	snprintf(path, sizeof path, "%s/shared", top);
	ck_assert_int_eq(mkdir(path, 0700) | chmod(path, 0770), 0);
	ck_assert_int_eq(vx_diskcache_new(&other, &o, pool, &e), -EACCES);
	ck_assert_ptr_nonnull(strstr(e.why, "shared"));
	ck_assert_int_eq(chmod(path, 0700), 0);
	ck_assert_int_eq(vx_diskcache_new(&other, &o, pool, &e), 0);
	vx_diskcache_free(&other);
	snprintf(path, sizeof path, "%s/shared/CACHEDIR.TAG", top);
	ck_assert_int_eq(access(path, F_OK), 0);
	snprintf(path, sizeof path, "%s/fresh", top);
	ck_assert_int_eq(vx_diskcache_new(&other, &o, pool, &e), 0);
	vx_diskcache_free(&other);
	snprintf(path, sizeof path, "%s/full", top);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/full/of-things", top);
	write_path(path, "", 0);
	snprintf(path, sizeof path, "%s/full", top);
	ck_assert_int_eq(vx_diskcache_new(&other, &o, pool, &e), 0);
	vx_diskcache_free(&other);
	snprintf(path, sizeof path, "%s/full/CACHEDIR.TAG", top);
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(private_files)
{
	struct stat st;
	char path[128];

	put(1, 10);
	drain();
	ck_assert_int_eq(stat(path_of(1), &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	strcpy(path, path_of(1));
	*strrchr(path, '/') = 0;
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0700);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("diskcache");
	TCase *t = tcase_create("all");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, round_trips);
	tcase_add_test(t, what_waits_is_written_at_the_end);
	tcase_add_test(t, missing_and_parts);
	tcase_add_test(t, a_newer_answer_takes_the_place);
	tcase_add_test(t, larger_than_the_cap);
	tcase_add_test(t, when_to_ask_again);
	tcase_add_test(t, confirmed_entries_are_young);
	tcase_add_test(t, every_bit_counts);
	tcase_add_test(t, every_length_counts);
	tcase_add_test(t, torn_writes);
	tcase_add_test(t, colliding_names);
	tcase_add_test(t, other_versions);
	tcase_add_test(t, things_that_are_no_files);
	tcase_add_test(t, the_limit_holds);
	tcase_add_test(t, the_oldest_go);
	tcase_add_test(t, large_entries);
	tcase_add_test(t, slices_wait_alone);
	tcase_add_test(t, others_with_another_limit);
	tcase_add_test(t, a_sum_that_is_damaged);
	tcase_add_test(t, an_emptied_directory);
	tcase_add_test(t, what_dead_writers_left);
	tcase_add_test(t, directories_that_will_not_do);
	tcase_add_test(t, private_files);
	return vxt_run(s);
}
