/* SPDX-License-Identifier: Apache-2.0
 * A source: one volume of the mount, where its chunks come from and what to do when one is missing. Opened before the
 * mount, constant afterwards but for its estimates.
 */
#ifndef VX_SCHED_SOURCE_H
#define VX_SCHED_SOURCE_H

#include "base/limits.h"
#include "fetch/fetch.h"
#include "vol/volume.h"

#include <stdatomic.h>

struct vx_source {
	uint32_t id;
	char *name;
	char *url; /* as shown to users: no secrets */
	struct vx_volume *meta;
	struct vx_store *store;
	bool fill_missing;
	_Atomic uint64_t stored_bytes[VX_MAX_SCALES]; /* running mean of a chunk's stored size; 0: none seen */
};

/* What a cloudpath says. */
struct vx_source_spec {
	const char *name;      /* NULL: the last component of the path */
	const char *cloudpath; /* [precomputed://]file:///dir, http(s)://..., or an absolute path */
	bool fill_missing;
};

/* Reads and checks the metadata, blocking. `id` must be unique among sources. */
int vx_source_open(struct vx_source **ret, struct vx_fetcher *f, uint32_t id, const struct vx_source_spec *spec,
		   struct vx_err *e);
void vx_source_close(struct vx_source **s);

/* Names the coordinate space of one scale for indexes and histories. */
static inline uint32_t vx_source_space(const struct vx_source *s, unsigned mip)
{
	return s->id * VX_MAX_SCALES + mip;
}

#endif
