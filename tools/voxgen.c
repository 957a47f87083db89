/* SPDX-License-Identifier: Apache-2.0
 * voxgen DIR [options]: writes a sample Precomputed volume whose every voxel is known beforehand,
 * see voxgen_content.h. Options are read and checked here, the volume is planned, and threads take
 * its chunks one by one.
 */
#include "voxgen.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_EXTENT ((int64_t)1 << 48)
#define MAX_CHUNK_BYTES ((uint64_t)1 << 31)
#define MAX_CELLS ((uint64_t)1 << 40)

static const struct vg_dtype dtypes[] = {
    {"uint8", 1, false}, {"int8", 1, false},   {"uint16", 2, false}, {"int16", 2, false},  {"uint32", 4, false},
    {"int32", 4, false}, {"uint64", 8, false}, {"int64", 8, false},  {"float32", 4, true},
};

static const char usage_text[] =
    "usage: voxgen DIR [options]\n"
    "Writes a Precomputed volume of known content into DIR.\n"
    "  --size X,Y,Z         voxels (256,256,64)\n"
    "  --offset X,Y,Z       voxel_offset (0,0,0)\n"
    "  --chunk X,Y,Z        chunk size (64,64,64); again for further copies of the data\n"
    "  --dtype T            uint8 int8 uint16 int16 uint32 int32 uint64 int64 float32 (uint8)\n"
    "  --channels N         (1)\n"
    "  --encoding E         raw, compressed_segmentation (raw)\n"
    "  --block X,Y,Z        compressed_segmentation block (8,8,8)\n"
    "  --pack P             none, gzip, br, zstd (none)\n"
    "  --sharded P,M,S[,identity|murmur][,gzip]\n"
    "                       preshift, minishard and shard bits, hash (identity), data and indexes packed\n"
    "  --suffix yes|no      name packed chunks .gz .br .zstd (yes), or leave the name plain\n"
    "  --level N            of the packer (gzip 6, br 5, zstd 3)\n"
    "  --scales N           mips, each half the one before (1)\n"
    "  --content C          grey, labels, index (grey)\n"
    "  --seed N             (0)\n"
    "  --resolution X,Y,Z   nanometres (4,4,40)\n"
    "  --drop F | X,Y,Z     leave out a fraction of the chunks, or one cell of each grid; again for more\n"
    "  --threads N          (as many as processors)\n"
    "  --force              write over a volume that is there\n"
    "  --json               say what was written as JSON\n";

static void die(const char *what, const char *arg)
{
	fprintf(stderr, "voxgen: %s: %s\n", what, arg);
	exit(2);
}

static int64_t to_int(const char *what, const char *arg, int64_t lo, int64_t hi)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(arg, &end, 10);
	if (errno || end == arg || *end || v < lo || v > hi)
		die(what, arg);
	return v;
}

static void to_three(const char *what, const char *arg, int64_t lo, int64_t hi, int64_t ret[3])
{
	char text[128], *rest = text;

	if (strlen(arg) >= sizeof text)
		die(what, arg);
	strcpy(text, arg);
	for (int d = 0; d < 3; d++) {
		char *one = strsep(&rest, ",");

		if (!one || (d == 2 && rest))
			die(what, arg);
		ret[d] = to_int(what, one, lo, hi);
	}
}

static int to_choice(const char *what, const char *arg, const char *const *names)
{
	for (int i = 0; names[i]; i++)
		if (!strcmp(arg, names[i]))
			return i;
	die(what, arg);
	return 0;
}

static void to_resolution(const char *arg, double ret[3])
{
	char junk;

	if (sscanf(arg, "%lf,%lf,%lf%c", &ret[0], &ret[1], &ret[2], &junk) != 3)
		die("--resolution", arg);
	for (int d = 0; d < 3; d++)
		if (!isfinite(ret[d]) || ret[d] <= 0)
			die("--resolution", arg);
}

static void to_drop(struct vg_plan *p, const char *arg)
{
	char *end;

	if (strchr(arg, ',')) {
		if (p->n_drops == VG_MAX_DROPS)
			die("too many cells to --drop", arg);
		to_three("--drop", arg, 0, MAX_EXTENT, p->drops[p->n_drops++]);
		return;
	}
	p->drop = strtod(arg, &end);
	if (end == arg || *end || !(p->drop >= 0 && p->drop <= 1))
		die("--drop", arg);
}

static void to_chunk(struct vg_plan *p, const char *arg)
{
	int64_t three[3];

	if (p->n_chunks == VG_MAX_CHUNK_SIZES)
		die("too many chunk sizes", arg);
	to_three("--chunk", arg, 1, MAX_EXTENT, three);
	for (int d = 0; d < 3; d++)
		p->chunk[p->n_chunks][d] = (uint64_t)three[d];
	p->n_chunks++;
}

static void to_sharding(struct vg_plan *p, const char *arg)
{
	static struct vx_sharding s = {.kind = VX_SHARD_PRECOMPUTED};
	unsigned *bits[3] = {&s.preshift_bits, &s.minishard_bits, &s.shard_bits};
	char text[128], *rest = text, *word;
	struct vx_err e;

	if (strlen(arg) >= sizeof text)
		die("--sharded", arg);
	strcpy(text, arg);
	for (int i = 0; i < 3; i++) {
		word = strsep(&rest, ",");
		*bits[i] = (unsigned)to_int("--sharded", word ? word : "", 0, 64);
	}
	while ((word = strsep(&rest, ","))) {
		if (!strcmp(word, "murmur"))
			s.murmur = true;
		else if (!strcmp(word, "gzip"))
			s.index_gzip = s.data_gzip = true;
		else if (strcmp(word, "identity"))
			die("--sharded", arg);
	}
	if (vx_sharding_check(&s, &e) < 0)
		die("--sharded", e.why);
	if (s.minishard_bits > 24)
		die("--sharded: that many minishards make shards of gigabytes", arg);
	p->sharding = &s;
}

static const struct option options[] = {
    {"size", 1, NULL, 's'},     {"offset", 1, NULL, 'o'},     {"chunk", 1, NULL, 'c'},  {"dtype", 1, NULL, 't'},
    {"channels", 1, NULL, 'n'}, {"encoding", 1, NULL, 'e'},   {"block", 1, NULL, 'b'},  {"pack", 1, NULL, 'p'},
    {"suffix", 1, NULL, 'x'},   {"level", 1, NULL, 'l'},      {"scales", 1, NULL, 'm'}, {"content", 1, NULL, 'k'},
    {"seed", 1, NULL, 'S'},     {"resolution", 1, NULL, 'r'}, {"drop", 1, NULL, 'd'},   {"threads", 1, NULL, 'j'},
    {"force", 0, NULL, 'f'},    {"json", 0, NULL, 'J'},       {"help", 0, NULL, 'h'},   {"sharded", 1, NULL, 'H'},
    {NULL, 0, NULL, 0},
};

static void set_dtype(struct vg_plan *p, const char *arg)
{
	for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
		if (!strcmp(arg, dtypes[i].name)) {
			p->dtype = &dtypes[i];
			return;
		}
	die("--dtype", arg);
}

static void set_block(struct vg_plan *p, const char *arg)
{
	int64_t three[3];

	to_three("--block", arg, 1, 65536, three);
	for (int d = 0; d < 3; d++)
		p->block[d] = (uint32_t)three[d];
}

static bool set_shape(struct vg_plan *p, int opt, const char *arg)
{
	switch (opt) {
	case 's':
		to_three("--size", arg, 1, MAX_EXTENT, p->size);
		return true;
	case 'o':
		to_three("--offset", arg, -MAX_EXTENT, MAX_EXTENT, p->offset);
		return true;
	case 'c':
		to_chunk(p, arg);
		return true;
	case 'b':
		set_block(p, arg);
		return true;
	case 'n':
		p->channels = (uint32_t)to_int("--channels", arg, 1, 4096);
		return true;
	case 'm':
		p->n_scales = (unsigned)to_int("--scales", arg, 1, VG_MAX_SCALES);
		return true;
	case 'r':
		to_resolution(arg, p->resolution);
		return true;
	case 'd':
		to_drop(p, arg);
		return true;
	case 'H':
		to_sharding(p, arg);
		return true;
	default:
		return false;
	}
}

static bool set_kind(struct vg_plan *p, int opt, const char *arg)
{
	static const char *const packs[] = {"none", "gzip", "br", "zstd", NULL};
	static const char *const encodings[] = {"raw", "compressed_segmentation", NULL};
	static const char *const kinds[] = {"grey", "labels", "index", NULL};
	static const char *const yes_no[] = {"no", "yes", NULL};

	switch (opt) {
	case 't':
		set_dtype(p, arg);
		return true;
	case 'e':
		p->cseg = to_choice("--encoding", arg, encodings);
		return true;
	case 'p':
		p->pack = (enum vg_pack)to_choice("--pack", arg, packs);
		return true;
	case 'x':
		p->suffix = to_choice("--suffix", arg, yes_no);
		return true;
	case 'k':
		p->content.kind = (enum vg_kind)to_choice("--content", arg, kinds);
		return true;
	default:
		return false;
	}
}

static void set_option(struct vg_plan *p, int opt, const char *arg)
{
	if (set_shape(p, opt, arg) || set_kind(p, opt, arg))
		return;
	switch (opt) {
	case 'l':
		p->level = (int)to_int("--level", arg, 0, 22);
		break;
	case 'S':
		p->content.seed = (uint64_t)to_int("--seed", arg, 0, INT64_MAX);
		break;
	case 'j':
		p->threads = (unsigned)to_int("--threads", arg, 1, 256);
		break;
	case 'f':
		p->force = true;
		break;
	case 'J':
		p->json = true;
		break;
	case 'h':
		fputs(usage_text, stdout);
		exit(0);
	default:
		fputs(usage_text, stderr);
		exit(2);
	}
}

/* ---- the plan ------------------------------------------------------------------------------ */

static void plan_grid(struct vg_plan *p, unsigned mip, const uint64_t chunk[3])
{
	struct vg_grid *g = &p->grids[p->n_grids++];
	double times = (double)((uint64_t)1 << mip), voxels = 1, cells = 1;

	g->mip = mip;
	g->first = p->n_cells;
	for (int d = 0; d < 3; d++) {
		int64_t round = ((int64_t)1 << mip) - 1;

		g->size[d] = (p->size[d] + round) >> mip;
		g->offset[d] = p->offset[d] >> mip;
		g->chunk[d] = chunk[d];
		g->cells[d] = ((uint64_t)g->size[d] + chunk[d] - 1) / chunk[d];
		voxels *= (double)(chunk[d] < (uint64_t)g->size[d] ? chunk[d] : (uint64_t)g->size[d]);
		cells *= (double)g->cells[d];
	}
	if (voxels * p->channels * p->dtype->width > (double)MAX_CHUNK_BYTES)
		die("chunks of more than 2 GiB", g->key);
	if ((double)p->n_cells + cells > (double)MAX_CELLS)
		die("too many chunks", p->dir);
	p->n_cells += g->cells[0] * g->cells[1] * g->cells[2];
	snprintf(g->key, sizeof g->key, "%.10g_%.10g_%.10g", p->resolution[0] * times, p->resolution[1] * times,
		 p->resolution[2] * times);
}

static void plan_all(struct vg_plan *p)
{
	if (p->n_chunks == 0)
		to_chunk(p, "64,64,64");
	if ((p->pack == VG_GZIP && p->level > 12) || (p->pack == VG_BROTLI && p->level > 11))
		die("--level", "gzip goes up to 12, br to 11");
	if (p->cseg && (p->dtype->width < 4 || p->dtype->is_float || p->dtype->name[0] == 'i'))
		die("compressed_segmentation needs uint32 or uint64, not", p->dtype->name);
	if (p->sharding && (p->n_chunks > 1 || p->pack != VG_PLAIN))
		die("--sharded", "goes with one --chunk, and with --pack none");
	if (p->sharding && p->sharding->data_gzip)
		p->pack = VG_GZIP;
	for (unsigned m = 0; m < p->n_scales; m++)
		for (unsigned i = 0; i < p->n_chunks; i++)
			plan_grid(p, m, p->chunk[i]);
	if (p->sharding && vg_plan_shards(p) < 0)
		die("--sharded", strerror(ENOMEM));
}

static void make_folders(const struct vg_plan *p)
{
	char path[4096];

	if (mkdir(p->dir, 0777) < 0 && errno != EEXIST)
		die(p->dir, strerror(errno));
	snprintf(path, sizeof path, "%s/info", p->dir);
	if (!p->force && access(path, F_OK) == 0)
		die("there is a volume already (--force writes over it)", p->dir);
	for (unsigned i = 0; i < p->n_grids; i++) {
		if (snprintf(path, sizeof path, "%s/%s", p->dir, p->grids[i].key) >= (int)sizeof path)
			die(p->dir, "the path is too long");
		if (mkdir(path, 0777) < 0 && errno != EEXIST)
			die(path, strerror(errno));
	}
}

/* ---- the threads --------------------------------------------------------------------------- */

struct crew {
	const struct vg_plan *plan;
	struct vg_tally tally;
	_Atomic uint64_t next;
	_Atomic int err;
	_Atomic unsigned running;
};

static void *work(void *arg)
{
	struct crew *crew = arg;
	struct vg_writer *w = vg_writer_new(crew->plan, &crew->tally);
	int err = w ? 0 : -ENOMEM;

	while (err == 0 && atomic_load(&crew->err) == 0) {
		const struct vg_plan *p = crew->plan;
		uint64_t i = atomic_fetch_add(&crew->next, 1);

		if (i >= (p->sharding ? p->n_shards : p->n_cells))
			break;
		err = p->sharding ? vg_write_shard(w, i) : vg_write_cell(w, i);
	}
	if (!w)
		fprintf(stderr, "voxgen: %s\n", strerror(ENOMEM));
	if (err < 0)
		atomic_store(&crew->err, err);
	vg_writer_free(&w);
	atomic_fetch_sub(&crew->running, 1);
	return NULL;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void draw_progress(const struct crew *crew, double spent)
{
	static const char bar[] = "##############################";
	uint64_t done = atomic_load(&crew->tally.done), all = crew->plan->n_cells;
	int filled = (int)(done * 30 / all);

	fprintf(stderr, "\r[%-30.*s] %" PRIu64 "/%" PRIu64 " chunks, %.0f MB/s, %.0f s left ", filled, bar, done, all,
		(double)atomic_load(&crew->tally.voxel_bytes) / 1e6 / spent,
		done ? spent * (double)(all - done) / (double)done : 0);
}

static void run(struct crew *crew, double start)
{
	pthread_t threads[256];
	unsigned n = 0;

	crew->running = crew->plan->threads;
	for (; n < crew->plan->threads; n++)
		if (pthread_create(&threads[n], NULL, work, crew))
			break;
	atomic_fetch_sub(&crew->running, crew->plan->threads - n);
	if (n == 0)
		die("threads", strerror(EAGAIN));
	if (isatty(STDERR_FILENO)) {
		bool drawn = false;

		while (atomic_load(&crew->running) > 0) {
			usleep(50000);
			drawn = drawn || seconds() - start > 0.5;
			if (drawn)
				draw_progress(crew, seconds() - start);
		}
		if (drawn)
			fputs("\r\033[K", stderr);
	}
	while (n > 0)
		pthread_join(threads[--n], NULL);
}

static void report(const struct crew *crew, double spent)
{
	const struct vg_tally *t = &crew->tally;

	printf(crew->plan->json ? "{\"files\": %" PRIu64 ", \"dropped\": %" PRIu64 ", \"voxel_bytes\": %" PRIu64
				  ", \"file_bytes\": %" PRIu64 ", \"seconds\": %.3f}\n"
				: "%" PRIu64 " files written, %" PRIu64 " chunks left out; %" PRIu64
				  " bytes of voxels in %" PRIu64 " bytes of files; %.3f s\n",
	       t->files, t->dropped, t->voxel_bytes, t->file_bytes, spent);
}

int main(int argc, char **argv)
{
	static struct vg_plan plan = {
	    .size = {256, 256, 64},
	    .resolution = {4, 4, 40},
	    .n_scales = 1,
	    .channels = 1,
	    .block = {8, 8, 8},
	    .suffix = true,
	    .level = -1,
	    .dtype = &dtypes[0],
	};
	static struct crew crew = {.plan = &plan};
	double start = seconds();
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	int opt;

	plan.threads = processors > 0 && processors <= 256 ? (unsigned)processors : 2;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1)
		set_option(&plan, opt, optarg);
	if (optind + 1 != argc)
		set_option(&plan, '?', NULL);
	plan.dir = argv[optind];
	plan_all(&plan);
	make_folders(&plan);
	if (vg_write_info(&plan) < 0)
		return 1;
	run(&crew, start);
	if (crew.err)
		return 1;
	report(&crew, seconds() - start);
	return 0;
}
