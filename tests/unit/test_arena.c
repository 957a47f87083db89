/* SPDX-License-Identifier: Apache-2.0
 * Objects in a tmpfs of our own (with the privilege to mount one) or in memfds.
 */
#include "../lib/vxtest.h"
#include "arena/arena.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define LIMIT ((uint64_t)16 << 20)

static struct vx_arena *a;
static struct vx_err e;
static int ro; /* the tmpfs's read-only clone */

static void begin(void)
{
	char note[200];
	int rw;

	vx_arena_mount(LIMIT, &rw, &ro, note);
	ck_assert_int_eq(vx_arena_on(&a, rw, note, &e), 0);
	ck_assert(vx_arena_is_tmpfs(a) || strstr(vx_arena_note(a), "tmpfs"));
}

static void end(void)
{
	vx_arena_free(&a);
	ck_assert_ptr_null(a);
	vx_arena_free(&a);
	if (ro >= 0)
		close(ro);
}

static void fill(const struct vx_object *o, uint64_t seed)
{
	void *m;

	ck_assert_int_eq(vx_object_map(a, o, true, &m, &e), 0);
	for (uint64_t k = 0; k < o->size; k++)
		((uint8_t *)m)[k] = (uint8_t)vx_mix64(seed + k);
	vx_object_unmap(o, m);
}

static void check(const struct vx_object *o, uint64_t seed)
{
	const uint8_t *m;
	void *p;

	ck_assert_int_eq(vx_object_map(a, o, false, &p, &e), 0);
	m = p;
	for (uint64_t k = 0; k < o->size; k++)
		if (m[k] != (uint8_t)vx_mix64(seed + k))
			ck_abort_msg("byte %llu", (unsigned long long)k);
	vx_object_unmap(o, p);
}

START_TEST(fill_and_read)
{
	static const uint64_t sizes[] = {1, 4095, 4096, 4097, 100000, 1 << 21, (1 << 21) + 1, 5 << 20};
	struct vx_object o[VX_ARRAY_LEN(sizes)];

	for (unsigned k = 0; k < VX_ARRAY_LEN(sizes); k++) {
		ck_assert_int_eq(vx_object_create(a, sizes[k], &o[k], NULL, &e), 0);
		ck_assert_uint_eq(o[k].size, sizes[k]);
		ck_assert_uint_ne(o[k].id, 0);
		ck_assert_int_eq(o[k].fd >= 0, !vx_arena_is_tmpfs(a));
		for (unsigned other = 0; other < k; other++)
			ck_assert_uint_ne(o[other].id, o[k].id);
		fill(&o[k], k);
	}
	for (unsigned k = 0; k < VX_ARRAY_LEN(sizes); k++) {
		check(&o[k], k);
		ck_assert(vx_object_unused(a, &o[k]));
	}
	for (unsigned k = 0; k < VX_ARRAY_LEN(sizes); k++) {
		vx_object_destroy(a, &o[k]);
		ck_assert_uint_eq(o[k].id, 0);
		vx_object_destroy(a, &o[k]);
	}
}
END_TEST

START_TEST(charge)
{
	ck_assert_uint_eq(vx_object_charge(1), 4096);
	ck_assert_uint_eq(vx_object_charge(4096), 4096);
	ck_assert_uint_eq(vx_object_charge(4097), 8192);
	ck_assert_uint_eq(vx_object_charge((2 << 20) + 1), (2 << 20) + 4096);
}
END_TEST

START_TEST(no_space_leaves_nothing)
{
	struct vx_object o, all;
	const uint64_t size = (3 << 20) + 4096;

	if (!vx_arena_is_tmpfs(a))
		return; /* memfds have no limit of their own */
	for (int round = 0; round < 20; round++) {
		ck_assert_int_eq(vx_object_create(a, LIMIT - size + 4096, &o, NULL, &e), 0);
		ck_assert_int_eq(vx_object_create(a, size, &all, NULL, &e), -ENOSPC);
		ck_assert_int_eq(e.code, -ENOSPC);
		ck_assert_ptr_nonnull(strstr(e.why, "3149824"));
		vx_object_destroy(a, &o);
		ck_assert_int_eq(vx_object_create(a, LIMIT + 1, &all, NULL, &e), -ENOSPC);
		ck_assert_int_eq(vx_object_create(a, LIMIT, &all, NULL, &e), 0); /* every byte is there again */
		vx_object_destroy(a, &all);
	}
}
END_TEST

/* Charges are what the budget counts: as many objects as fit by charge can be made, and filled. */
START_TEST(charges_fit_the_limit)
{
	struct vxt_rng r = vxt_seed("charges_fit_the_limit", _i);
	static struct vx_object o[4096];
	uint64_t used = 0;
	unsigned n = 0;

	while (n < VX_ARRAY_LEN(o)) {
		uint64_t size = 1 + vxt_rnd(&r, 1ull << vxt_rnd(&r, 23));

		if (used + vx_object_charge(size) > LIMIT) {
			if (LIMIT - used < 4096)
				break;
			size = LIMIT - used;
		}
		ck_assert_int_eq(vx_object_create(a, size, &o[n], NULL, &e), 0);
		fill(&o[n++], size);
		used += vx_object_charge(size);
	}
	while (n-- > 0) {
		check(&o[n], o[n].size);
		vx_object_destroy(a, &o[n]);
	}
}
END_TEST

/* ---- sharing: a tmpfs only ---- */

static int open_by_path(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

/* What the keeper registers. */
static int open_shared(const struct vx_object *o)
{
	char name[24];

	snprintf(name, sizeof name, "%llu", (unsigned long long)o->id);
	return openat(ro, name, O_RDONLY | O_CLOEXEC);
}

START_TEST(shared_is_read_only)
{
	struct vx_object o;
	uint8_t byte = 1;
	int fd, again;
	void *m;

	if (ro < 0)
		return;
	ck_assert_int_eq(vx_object_create(a, 3 << 20, &o, NULL, &e), 0);
	fill(&o, 9);
	fd = open_shared(&o);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(open_by_path(fd, O_RDWR), -1);
	ck_assert_int_eq(errno, EROFS);
	ck_assert_int_eq(open_by_path(fd, O_WRONLY | O_TRUNC), -1);
	ck_assert_int_eq(errno, EROFS);
	again = open_by_path(fd, O_RDONLY);
	ck_assert_int_ge(again, 0);
	ck_assert_ptr_eq(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, again, 0), MAP_FAILED);
	m = mmap(NULL, 4096, PROT_READ, MAP_SHARED, again, 0);
	ck_assert_ptr_ne(m, MAP_FAILED);
	ck_assert_int_eq(mprotect(m, 4096, PROT_READ | PROT_WRITE), -1);
	munmap(m, 4096);
	ck_assert_int_lt(write(again, &byte, 1), 0);
	ck_assert_int_lt(ftruncate(again, 0), 0);
	ck_assert_int_lt(fallocate(again, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
	ck_assert_int_lt(fchmod(again, 0777), 0);
	ck_assert_int_eq(errno, EROFS);
	close(again);
	close(fd);
	check(&o, 9);
	vx_object_destroy(a, &o);
}
END_TEST

/* A client in another process: opens the object by the shared descriptor's path, then does as told, one step for each
 * byte that it is sent. */
struct client {
	pid_t pid;
	int tell, hear;
};

static void await(struct client *c)
{
	char byte;

	ck_assert_int_eq(read(c->hear, &byte, 1), 1);
}

static void step(struct client *c)
{
	ck_assert_int_eq(write(c->tell, "x", 1), 1);
	await(c);
}

static void client_main(int shared, int from, int to)
{
	char byte;
	int fd = open_by_path(shared, O_RDONLY);
	uint8_t *m;
	bool ok = fd >= 0;

	close(shared);
	ok &= write(to, "o", 1) == 1 && read(from, &byte, 1) == 1;
	m = mmap(NULL, 1 << 20, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	ok &= write(to, "m", 1) == 1 && read(from, &byte, 1) == 1;
	ok &= m != MAP_FAILED && m[77] == (uint8_t)vx_mix64(5 + 77);
	munmap(m, 1 << 20);
	ok &= write(to, "u", 1) == 1 && read(from, &byte, 1) == 1;
	_exit(!ok);
}

static struct client start_client(int shared)
{
	int in[2], out[2];
	struct client c;

	ck_assert_int_eq(pipe(in) | pipe(out), 0);
	c.pid = fork();
	ck_assert_int_ge(c.pid, 0);
	if (c.pid == 0) {
		close(in[1]);
		close(out[0]);
		client_main(shared, in[0], out[1]);
	}
	close(in[0]);
	close(out[1]);
	c.tell = in[1];
	c.hear = out[0];
	await(&c); /* it has the object open */
	return c;
}

static int end_client(struct client *c)
{
	int status;

	close(c->tell);
	close(c->hear);
	ck_assert_int_eq(waitpid(c->pid, &status, 0), c->pid);
	return status;
}

START_TEST(used_by_another_process)
{
	struct vx_object o;
	struct client c, second;
	int fd;

	if (ro < 0)
		return;
	ck_assert_int_eq(vx_object_create(a, 1 << 20, &o, NULL, &e), 0);
	fill(&o, 5);
	ck_assert(vx_object_unused(a, &o));
	fd = open_shared(&o);
	ck_assert(!vx_object_unused(a, &o)); /* our own descriptor counts: it must be closed before */
	c = start_client(fd);
	close(fd);
	ck_assert(!vx_object_unused(a, &o)); /* open there */
	step(&c);
	ck_assert(!vx_object_unused(a, &o)); /* closed, but mapped */
	step(&c);
	ck_assert(vx_object_unused(a, &o)); /* unmapped */
	ck_assert(vx_object_unused(a, &o));
	ck_assert_int_eq(write(c.tell, "x", 1), 1);
	ck_assert_int_eq(end_client(&c), 0);
	fd = open_shared(&o);
	c = start_client(fd);
	second = start_client(fd);
	close(fd);
	step(&c);
	kill(c.pid, SIGKILL); /* dies with its map */
	ck_assert_int_ne(end_client(&c), 0);
	ck_assert(!vx_object_unused(a, &o));
	kill(second.pid, SIGKILL);
	end_client(&second);
	ck_assert(vx_object_unused(a, &o));
	vx_object_destroy(a, &o);
}
END_TEST

/* A map outlives its object: freeing is safe, the memory stays until the last user goes. */
START_TEST(destroyed_while_mapped)
{
	struct vx_object o, all;
	struct client c;
	int fd;

	if (ro < 0)
		return;
	ck_assert_int_eq(vx_object_create(a, 1 << 20, &o, NULL, &e), 0);
	fill(&o, 5);
	fd = open_shared(&o);
	c = start_client(fd);
	close(fd);
	step(&c);
	vx_object_destroy(a, &o);
	ck_assert_int_eq(vx_object_create(a, LIMIT, &all, NULL, &e), -ENOSPC);
	step(&c); /* it looks at its bytes before it unmaps */
	ck_assert_int_eq(write(c.tell, "x", 1), 1);
	ck_assert_int_eq(end_client(&c), 0);
	ck_assert_int_eq(vx_object_create(a, LIMIT, &all, NULL, &e), 0);
	vx_object_destroy(a, &all);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("arena");
	TCase *t = tcase_create("arena");

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, begin, end);
	tcase_add_test(t, fill_and_read);
	tcase_add_test(t, charge);
	tcase_add_test(t, no_space_leaves_nothing);
	tcase_add_loop_test(t, charges_fit_the_limit, 0, 4);
	tcase_add_test(t, shared_is_read_only);
	tcase_add_test(t, used_by_another_process);
	tcase_add_test(t, destroyed_while_mapped);
	return vxt_run(s);
}
