/* SPDX-License-Identifier: Apache-2.0
 * The readers: what a program does that maps a box. Every page is touched once, by one load.
 */
#include "benchlib/bench.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PAGE 4096

static volatile unsigned sink;

static void touch_pages(const volatile uint8_t *m, uint64_t bytes)
{
	unsigned sum = 0;

	for (uint64_t at = 0; at < bytes; at += PAGE)
		sum += m[at];
	sink += sum + m[bytes - 1];
}

struct opened {
	double open, total;
	uint64_t bytes;
};

static void fail_if(bool failed, const char *what)
{
	if (failed)
		bench_die(what);
}

/* open + mmap + touch + munmap + close; `size` 0: ask fstat. */
static struct opened read_mapped(const char *path, uint64_t size)
{
	struct opened o;
	double t0 = bench_now();
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *m;

	fail_if(fd < 0, path);
	o.open = bench_now() - t0;
	if (!size) {
		fail_if(fstat(fd, &st) < 0, path);
		size = (uint64_t)st.st_size;
	}
	m = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	fail_if(m == MAP_FAILED, path);
	touch_pages(m, size);
	o.total = bench_now() - t0;
	munmap(m, size);
	close(fd);
	o.bytes = size;
	return o;
}

int bench_touch(const struct bench_args *a)
{
	uint64_t bytes = bench_number(a, "bytes", 0), step = (uint64_t)256 << 20, done = 0;
	double t0 = bench_now();

	for (; done < bytes; done += step)
		memset(bench_fresh_memory(step), 1, step);
	printf("{\"seconds\": %.3f}\n", bench_now() - t0);
	return 0;
}

static double cycle_block(const char *path, uint64_t size, unsigned n)
{
	double t0 = bench_now();

	for (unsigned i = 0; i < n; i++)
		read_mapped(path, size);
	return (bench_now() - t0) / n;
}

int bench_resident(const struct bench_args *a)
{
	const char *path[2] = {bench_text(a, "a", NULL), bench_text(a, "b", NULL)};
	unsigned rounds = (unsigned)bench_number(a, "rounds", 15), n = (unsigned)bench_number(a, "n", 200);
	uint64_t size = read_mapped(path[0], 0).bytes;
	int hold = open(path[0], O_RDONLY | O_CLOEXEC);

	read_mapped(path[1], 0);
	printf("{\"bytes\": %llu, \"rounds\": [", (unsigned long long)size);
	for (unsigned r = 0; r < rounds; r++) {
		double s[2];

		for (unsigned k = 0; k < 2; k++)
			s[(r + k) % 2] = cycle_block(path[(r + k) % 2], size, n);
		printf("%s[%.9f, %.9f]", r ? ", " : "", s[0], s[1]);
	}
	printf("]}\n");
	close(hold);
	return 0;
}

int bench_open(const struct bench_args *a)
{
	char line[4096];
	bool first = true;
	double t0, cpu;

	cpu = bench_cpu();
	t0 = bench_now();
	printf("{\"files\": [");
	while (fgets(line, sizeof line, stdin)) {
		struct opened o;

		line[strcspn(line, "\n")] = 0;
		o = read_mapped(line, 0);
		printf("%s[%.9f, %.9f, %llu]", first ? "" : ", ", o.open, o.total, (unsigned long long)o.bytes);
		first = false;
	}
	printf("], \"seconds\": %.9f, \"cpu\": %.9f}\n", bench_now() - t0, bench_cpu() - cpu);
	return 0;
}

/* ---- several processes ---- */

static void start_children(unsigned n, pid_t *pid, const int gate[2], void (*child)(const char *path), const char *path)
{
	for (unsigned i = 0; i < n; i++) {
		char c;

		pid[i] = fork();
		fail_if(pid[i] < 0, "fork");
		if (pid[i])
			continue;
		prctl(PR_SET_PDEATHSIG, 9);
		close(gate[1]);
		while (read(gate[0], &c, 1) > 0)
			continue;
		child(path);
		_exit(0);
	}
}

static void child_reads(const char *path)
{
	read_mapped(path, 0);
}

int bench_crowd(const struct bench_args *a)
{
	const char *path = bench_text(a, "path", NULL);
	unsigned n = (unsigned)bench_number(a, "n", 1);
	pid_t *pid = calloc(n, sizeof *pid);
	int gate[2], status, failed = 0;
	double t0;

	fail_if(!pid || pipe(gate) < 0, "pipe");
	start_children(n, pid, gate, child_reads, path);
	usleep(50000); /* all of them stand at the gate */
	t0 = bench_now();
	close(gate[1]);
	for (unsigned i = 0; i < n; i++) {
		waitpid(pid[i], &status, 0);
		failed |= status;
	}
	printf("{\"seconds\": %.9f}\n", bench_now() - t0);
	return failed ? 1 : 0;
}

static void child_holds(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *m;

	fail_if(fd < 0 || fstat(fd, &st) < 0, path);
	m = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	fail_if(m == MAP_FAILED, path);
	touch_pages(m, (uint64_t)st.st_size);
	kill(getpid(), SIGSTOP);
}

int bench_hold(const struct bench_args *a)
{
	const char *path = bench_text(a, "path", NULL);
	unsigned n = (unsigned)bench_number(a, "n", 1);
	pid_t *pid = calloc(n, sizeof *pid);
	int gate[2], status;
	char c;

	fail_if(!pid || pipe(gate) < 0, "pipe");
	start_children(n, pid, gate, child_holds, path);
	close(gate[1]);
	for (unsigned i = 0; i < n; i++)
		fail_if(waitpid(pid[i], &status, WUNTRACED) < 0 || !WIFSTOPPED(status), "a reader ended early");
	printf("{\"pids\": [");
	for (unsigned i = 0; i < n; i++)
		printf("%s%d", i ? ", " : "", (int)pid[i]);
	printf("]}\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		continue;
	for (unsigned i = 0; i < n; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], &status, 0);
	}
	return 0;
}
