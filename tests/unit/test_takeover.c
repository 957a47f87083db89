/* SPDX-License-Identifier: Apache-2.0
 * A server dies with boxes resident, filling, being given back; the next one takes over what is whole and removes
 * everything else.
 */
#include "takeover_fixture.h"

/* ---- killed at any time ---- */

struct told {
	uint32_t thread, vol;
	struct vx_box box; /* open from now on, until this thread tells of HELD others */
};

struct opener {
	pthread_t thread;
	struct vxt_rng rng;
	uint32_t number;
	int tell;
};

static void *open_for_ever(void *arg)
{
	struct opener *k = arg;
	static __thread struct vxr_open held[HELD];

	for (unsigned i = 0;; i++) {
		struct told t = {.thread = k->number, .vol = (uint32_t)vxt_rnd(&k->rng, VX_ARRAY_LEN(vols))};
		struct vxr_open o;

		t.box = vxr_random_box(&vols[t.vol], &k->rng, 24);
		vxr_open_start(&r, &o, t.vol, &t.box, k->number);
		if (vxr_open_await(&o) < 0)
			_exit(1);
		/* Told before another is closed: what was told of last is open at each instant. */
		if (write(k->tell, &t, sizeof t) != sizeof t)
			_exit(1);
		if (i >= HELD)
			vxr_open_close(&r, &held[i % HELD]);
		held[i % HELD] = o;
	}
	return NULL;
}

/* A server that opens boxes until somebody kills it. */
static void serve(int tell, uint64_t seed)
{
	static struct opener k[OPENERS];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	next_server();
	for (uint32_t i = 0; i < OPENERS; i++) {
		k[i] = (struct opener){.rng = {vx_mix64(seed + i)}, .number = i, .tell = tell};
		pthread_create(&k[i].thread, NULL, open_for_ever, &k[i]);
	}
	for (;;)
		pause();
}

/* Those open when it died, as far as it told. */
static unsigned kill_after(uint64_t seed, unsigned opens, struct told open[OPENERS * HELD])
{
	unsigned count[OPENERS] = {0}, n = 0;
	int p[2], status;
	struct told t;
	pid_t pid;

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		serve(p[1], seed);
	close(p[1]);
	while (read(p[0], &t, sizeof t) == sizeof t) {
		open[t.thread * HELD + count[t.thread]++ % HELD] = t;
		if (++n == opens)
			kill(pid, SIGKILL); /* and hears what it still said */
	}
	close(p[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the server ended with %x", status);
	n = 0;
	for (unsigned i = 0; i < OPENERS; i++)
		for (unsigned j = 0; j < HELD && j < count[i]; j++)
			open[n++] = open[i * HELD + j];
	return n;
}

START_TEST(killed_at_any_time)
{
	struct vxt_rng rng = vxt_seed("killed_at_any_time", _i);
	static struct told open[OPENERS * HELD];

	if (!can_be())
		return;
	for (unsigned round = 0; round < vxt_ops(6); round++) {
		/* Each server takes over from the one before, this process too: some die at that. */
		unsigned n = kill_after(vxt_rnd(&rng, 1 << 30), 1 + (unsigned)vxt_rnd(&rng, 300), open);

		next_server();
		for (unsigned i = 0; i < n; i++) {
			struct vx_cbox *b;
			VX_LOCK_SCOPE(vx_cache_lock(r.cache));

			b = vx_cache_find_locked(r.cache, r.src[open[i].vol], 0, &open[i].box);
			ck_assert_msg(b && b->state == VX_BOX_READY, "an open box is lost");
		}
		ck_assert_uint_eq(check_arena(), check_residents());
		/* It goes on as any other. */
		for (unsigned i = 0; i < 20; i++) {
			struct vx_box box = vxr_random_box(&vols[i % 2], &rng, 24);

			ck_assert_int_eq(vxr_open_once(&r, i % 2, &box, NULL), 0);
		}
		check_arena();
		vxr_end(&r);
	}
}
END_TEST

/* Dies before it has opened anything, while it takes over or just after. */
START_TEST(killed_while_taking_over)
{
	static struct told open[OPENERS * HELD];
	struct vxt_rng rng = vxt_seed("killed_while_taking_over", _i);

	if (!can_be())
		return;
	for (unsigned round = 0; round < 12; round++) {
		int status, p[2];
		pid_t pid;
		char c;

		if (round % 4 == 0)
			kill_after(round, 60, open);
		ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
		pid = fork();
		if (pid == 0) {
			struct vx_err e;

			vx_table_detach(&table);
			ck_assert_int_eq(vx_table_attach(&table, table_fd, &e), 0);
			start_rig();
			if (write(p[1], "x", 1) != 1)
				_exit(1);
			vxr_recover(&r);
			for (;;)
				pause();
		}
		ck_assert_int_eq(read(p[0], &c, 1), 1);
		for (uint64_t spin = vxt_rnd(&rng, 20000); spin; spin--)
			ck_assert_int_eq(kill(pid, 0), 0); /* an instant nobody chose */
		kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		close(p[0]);
		close(p[1]);
	}
	next_server();
	ck_assert_uint_gt(check_residents(), 0);
	check_arena();
	vxr_end(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("takeover");
	TCase *k = tcase_create("kills");

	tcase_add_unchecked_fixture(k, make_volumes, remove_volumes);
	tcase_add_checked_fixture(k, begin, end);
	tcase_set_timeout(k, 250);
	tcase_add_loop_test(k, killed_at_any_time, 0, 3);
	tcase_add_test(k, killed_while_taking_over);
	suite_add_tcase(s, k);
	return vxt_run(s);
}
