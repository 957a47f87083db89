/* SPDX-License-Identifier: Apache-2.0
 * Several processes on one cache directory with a limit far below what they write, killed at any instant: what is read
 * is right or absent, and the limit holds.
 */
#include "../lib/dcrig.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define PROCESSES 3
#define KEYS 400
#define LIMIT ((uint64_t)2 << 20)

static size_t size_of(unsigned i)
{
	return i * 2711 % 40000;
}

/* A process that reads and writes until it is killed. */
static void hammer(unsigned seed)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	open_cache();
	for (uint64_t random = seed;; random = random * 6364136223846793005u + 1442695040888963407u) {
		unsigned i = (unsigned)(random >> 33) % KEYS;
		struct vx_entry_id id;

		identify(&id, i);
		if (random >> 60 == 0)
			vx_dc_drop(dc, &id, 0);
		else if (random >> 60 == 1)
			vx_dc_confirm(dc, &id, random);
		else if (!get(i, size_of(i)))
			put(i, size_of(i));
		if (random >> 59 == 9)
			drain();
	}
}

static pid_t start(unsigned seed)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		hammer(seed);
	return pid;
}

/* The instant is what is drawn, nothing waits for anything. */
static void nap(struct vxt_rng *rng, uint64_t at_most_ns)
{
	struct timespec t = {.tv_nsec = (long)vxt_rnd(rng, at_most_ns)};

	nanosleep(&t, NULL);
}

static void end(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "a process ended by itself: status %#x",
		      (unsigned)status);
}

/* Everything that is there is right. */
static unsigned check_all(void)
{
	unsigned there = 0;

	open_cache();
	for (unsigned i = 0; i < KEYS; i++)
		there += get(i, size_of(i));
	ck_assert_uint_eq(LEDGER(damaged), 0);
	ck_assert_uint_eq(LEDGER(io_errors), 0);
	close_cache();
	return there;
}

START_TEST(killed_at_any_instant)
{
	struct vxt_rng rng = vxt_seed("killed_at_any_instant", 0);
	pid_t pid[PROCESSES];
	unsigned there = 0;

	for (unsigned round = 0; round < 8; round++) {
		for (unsigned p = 0; p < PROCESSES; p++)
			pid[p] = start(round * 100 + p);
		for (unsigned k = 0; k < 12; k++) {
			unsigned p = k % PROCESSES;

			nap(&rng, 40 * VX_MS);
			end(pid[p]);
			pid[p] = start(round * 100 + 10 + k);
		}
		for (unsigned p = 0; p < PROCESSES; p++)
			end(pid[p]);
		ck_assert_uint_le(bytes_on_disk(), LIMIT);
		there += check_all();
		ck_assert_uint_le(bytes_on_disk(), LIMIT);
	}
	ck_assert_uint_gt(there, 8 * 10);
}
END_TEST

/* What the dead have left does not stay in the way. */
START_TEST(room_is_found_again)
{
	struct vxt_rng rng = vxt_seed("room_is_found_again", 0);
	unsigned there = 0;

	for (unsigned round = 0; round < 30; round++) {
		pid_t pid = start(round);

		nap(&rng, 20 * VX_MS);
		end(pid);
	}
	open_cache();
	for (unsigned i = 0; i < 1000; i++) {
		put(KEYS + i % 60, 20000);
		if (i % 50 == 49)
			drain();
	}
	for (unsigned i = 0; i < 60; i++)
		there += get(KEYS + i, 20000);
	close_cache();
	ck_assert_uint_ge(there, 30);
	ck_assert_uint_le(bytes_on_disk(), LIMIT);
}
END_TEST

static void setup_dir(void)
{
	make_top();
	vx_diskcache_opts_default(&opts);
	opts.dir = top;
	opts.limit = LIMIT;
}

static void remove_dir(void)
{
	nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	Suite *s = suite_create("diskcache_crash");
	TCase *t = tcase_create("all");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup_dir, remove_dir);
	tcase_set_timeout(t, 200);
	tcase_add_test(t, killed_at_any_instant);
	tcase_add_test(t, room_is_found_again);
	return vxt_run(s);
}
