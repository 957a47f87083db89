/* SPDX-License-Identifier: Apache-2.0
 * The machine below the filesystem, for tests: small volumes whose every voxel is known, and fetcher, cache, engine and
 * boxes over them, without FUSE. A sharer that plays the kernel's part may be had, and an HTTP server.
 */
#ifndef VX_RIG_H
#define VX_RIG_H

#include "sched/boxes.h"
#include "voxgen.h"
#include "vxtest.h"

#include <semaphore.h>

/* ---- volumes ---- */

struct vxr_volume {
	/* filled in by the test */
	struct vg_content content;
	struct vg_dtype dtype;
	uint32_t channels;
	int64_t offset[3], size[3];
	unsigned ngrids;
	int64_t chunk[2][3];
	bool cseg;
	const struct vx_sharding *sharding; /* NULL: a file for each chunk; else grid 0 is written in shards */
	const int64_t *dropped;             /* with sharding: the voxel of a chunk that is left out, or NULL */
	/* made */
	char dir[96];
	uint8_t *whole; /* every voxel: x, y, z, channel */
};

extern char vxr_top[64]; /* a directory of the test's own; the volumes are in it */
void vxr_top_make(void);
void vxr_top_remove(void);

/* Writes the volume as directory `name`. */
void vxr_volume_make(struct vxr_volume *v, const char *name);
void vxr_volume_free(struct vxr_volume *v);
/* All that a test has: the directory too. */
void vxr_volumes_make(struct vxr_volume *v, size_t n);
void vxr_volumes_free(struct vxr_volume *v, size_t n);
struct vx_box vxr_volume_box(const struct vxr_volume *v);
/* The file of the chunk of grid 0 that holds the voxel. */
void vxr_chunk_path(const struct vxr_volume *v, const int64_t at[3], char *path, size_t size);
/* A chunk's bytes as they are stored; malloc'd. */
uint8_t *vxr_chunk_bytes(const struct vxr_volume *v, unsigned grid, const int64_t at[3], size_t *ret_len);
bool vxr_is_dropped(const struct vxr_volume *v, const int64_t at[3]);
/* (Re)writes one chunk. */
void vxr_chunk_write(const struct vxr_volume *v, unsigned grid, const int64_t at[3]);
uint64_t vxr_bytes(const struct vxr_volume *v, const struct vx_box *box);
struct vx_box vxr_box(int64_t x0, int64_t x1, int64_t y0, int64_t y1, int64_t z0, int64_t z1);
struct vx_box vxr_random_box(const struct vxr_volume *v, struct vxt_rng *r, int64_t longest);
/* `got` is a box file of `nchan` channels from `chan` on. */
void vxr_check(const struct vxr_volume *v, const struct vx_box *box, uint32_t chan, uint32_t nchan, const uint8_t *got);

/* vxrig_shards.c */
void vxr_shards_write(const struct vxr_volume *v);
void vxr_shards_info(const struct vxr_volume *v, char *text, size_t size); /* the scale's member, with its comma */
void vxr_shards_patch(const struct vxr_volume *v, struct vx_volume *meta);

/* ---- the kernel's part of passthrough ---- */

#define VXR_IDS 4096
struct vxr_sharer {
	int ro; /* the arena's read-only clone; -1: nothing is shared */
	pthread_mutex_t mtx;
	struct {
		int fd;
		uint64_t ino;
	} id[VXR_IDS];                   /* fd 0: free */
	unsigned in_use, shares, refuse; /* refuse: that many to come */
};
/* `has`, which must be true where a tmpfs of one's own can be had: what needs one is not to be left out by mistake. */
bool vxr_has_tmpfs(bool has);
/* What a client does that has opened the box: opens the registered file and maps it. */
void *vxr_client_map(struct vxr_sharer *s, int id, uint64_t bytes);

/* ---- the machine ---- */

#define VXR_VOLUMES 6

struct vxr_opts {
	uint64_t limit, wait_ns, inflight_bytes, merge_bytes;
	unsigned threads, inflight;
	enum vx_policy policy;
	bool share, fill_missing;
	int port;               /* 0: file:// */
	struct vx_table *table; /* with it: an arena that other processes have had, or will have */
	int arena;              /* its tmpfs */
};

struct vxr {
	struct vxr_opts opts;
	struct vx_pool *pool;
	struct vx_fetcher *fetcher;
	struct vx_cache *cache;
	struct vx_engine *engine;
	struct vx_boxes *boxes;
	struct vx_source *src[VXR_VOLUMES];
	struct vxr_volume *vol[VXR_VOLUMES];
	unsigned nvols;
	struct vxr_sharer sharer;
};

void vxr_start(struct vxr *r, const struct vxr_opts *o);
void vxr_add(struct vxr *r, struct vxr_volume *v); /* made already */
void vxr_start_with(struct vxr *r, const struct vxr_opts *o, struct vxr_volume *v, size_t n);
/* Takes over what a process before had, once the volumes are added. */
void vxr_recover(struct vxr *r);
/* The end of everything that runs, in the order in which the mount has it. */
void vxr_stop(struct vxr *r);
/* Nothing runs, nothing is open, no client maps anything: do the books balance? */
void vxr_check_books(struct vxr *r);
void vxr_end(struct vxr *r); /* stops, checks the books, frees */

/* ---- opening ---- */

struct vxr_open {
	struct vx_waiter w;
	unsigned vol;
	struct vx_box box;
	struct vx_cbox *b;
	struct vx_err e;
	bool pending; /* done is awaited */
	sem_t over;
};

/* Returns what vx_boxes_open does; when that is 0 or an error, the opening is over. */
int vxr_open_start(struct vxr *r, struct vxr_open *o, unsigned vol, const struct vx_box *box, uint32_t client);
int vxr_open_await(struct vxr_open *o); /* 0 or the error */
/* True: it has left, done will not be called. */
bool vxr_open_cancel(struct vxr *r, struct vxr_open *o);
void vxr_open_check(struct vxr *r, struct vxr_open *o); /* every byte, through the cache's own map */
void vxr_open_close(struct vxr *r, struct vxr_open *o);
/* Opens, checks, closes; returns the result. */
int vxr_open_once(struct vxr *r, unsigned vol, const struct vx_box *box, struct vx_err *e);

/* ---- jobs ---- */

struct vxr_job {
	struct vx_job j;
	struct vx_err e;
	_Atomic bool ended;
	sem_t over;
};

void vxr_job_init(struct vxr *r, struct vxr_job *j, unsigned vol);
/* Adds a want into `to` (NULL: only fetch), packed for nchan channels. */
void vxr_job_want(struct vxr *r, struct vxr_job *j, const struct vx_box *box, uint32_t chan, uint32_t nchan, void *to);
int vxr_job_await(struct vxr_job *j);

/* Keeps one worker busy from `vxr_block_start` (queued) until `vxr_block_end`; entered: it is. */
struct vxr_block {
	struct vx_call call;
	sem_t entered, go, left;
};
void vxr_block_start(struct vxr *r, struct vxr_block *b);
void vxr_block_await(struct vxr_block *b);
void vxr_block_end(struct vxr_block *b);

/* ---- the server, tests/lib/faultd.py ---- */

bool vxr_server_start(void); /* false: no Python here. Serves vxr_top */
void vxr_server_stop(void);
extern int vxr_port;
void vxr_rules(const char *json);

#endif
