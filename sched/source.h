/* SPDX-License-Identifier: Apache-2.0
 * Sources: the volumes of the mount, where their chunks come from and what to do when one is missing. Opened before the
 * mount, constant afterwards but for their estimates.
 *
 * Each time point of a volume that has several is a source of its own, below that of the volume: it has its own place
 * in indexes and histories, and shares all the rest.
 */
#ifndef VX_SCHED_SOURCE_H
#define VX_SCHED_SOURCE_H

#include "base/limits.h"
#include "fetch/fetch.h"
#include "vol/volume.h"

#include <stdatomic.h>

struct vx_source {
	uint32_t id; /* no other source of the mount has it, time points included */
	char *name;  /* of the volume */
	char *url;   /* as shown to users: no secrets */
	struct vx_volume *meta;
	struct vx_store *store;
	unsigned *store_users; /* volumes of one cloudpath have one store, which has read the metadata already */
	bool fill_missing;
	uint32_t time;            /* which time point; 0 where there is one alone */
	struct vx_source *volume; /* whose time point this is and who owns name, url, meta and store; else NULL */
	struct vx_source **times; /* of a volume with several: meta->times of them, NULL where one is not there; nothing
				     is read from itself then */
	char *_Atomic *info;      /* of each scale, made when it is first asked for */
	_Atomic uint64_t stored_bytes[VX_MAX_SCALES]; /* running mean of a chunk's stored size; 0: none seen */
};

/* What a cloudpath says. */
struct vx_source_spec {
	const char *name;      /* NULL: the last component of the path */
	const char *cloudpath; /* sched/cloudpath.h */
	bool fill_missing;
};

struct vx_sources {
	struct vx_source **at;
	unsigned n;
	uint32_t next_id;
};

/* Reads and checks the metadata, blocking, and appends the volumes that are there: often one, but an image may have
 * labels, and a group several images. No two have the same name. */
int vx_sources_open(struct vx_sources *to, struct vx_fetcher *f, const struct vx_source_spec *spec, struct vx_err *e);
void vx_source_close(struct vx_source **s);

/* The source with this id among `n` that were opened one after another, or their time points; NULL when there is none.
 */
struct vx_source *vx_source_find(struct vx_source *const *at, unsigned n, uint32_t id);

/* info.json of a scale; NULL when memory is short. Stays as long as the source. Any thread. */
const char *vx_source_info(struct vx_source *s, unsigned mip);

/* Names the coordinate space of one scale for indexes and histories. */
static inline uint32_t vx_source_space(const struct vx_source *s, unsigned mip)
{
	return s->id * VX_MAX_SCALES + mip;
}
#define VX_MAX_SOURCE_ID (UINT32_MAX / VX_MAX_SCALES)

#endif
