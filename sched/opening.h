/* SPDX-License-Identifier: Apache-2.0
 * Private to the opening of sources: one cloudpath while its metadata is read. One thread, blocking.
 */
#ifndef VX_SCHED_OPENING_H
#define VX_SCHED_OPENING_H

#include "sched/cloudpath.h"
#include "sched/source.h"
#include "vol/image.h"

struct vx_opening {
	struct vx_fetcher *fetcher;
	const struct vx_source_spec *spec;
	struct vx_cloudpath path;
	struct vx_store *store; /* metadata is read from it, and chunks */
	unsigned *store_users;
	char *name; /* of the volume, or what their names begin with */
	struct vx_sources *to;
	unsigned before;      /* sources that were there */
	bool inside;          /* a collection */
	bool forced;          /* only one document will do: when it is no JSON, that is the verdict */
	struct vx_err denied; /* of the first document that the store would not give, which some stores say of what is
				 absent, or that is something else: the verdict when nothing better is found */
};

/* A document in directory `dir` of what the cloudpath names: 0, or -ENODATA when it is not there, or is no JSON object
 * though the format is only guessed; else the failure. */
int vx_opening_read(struct vx_opening *o, const char *dir, const char *name, struct vx_buf **ret, struct vx_err *e);

/* Passes on what parsing such a document came to. No disk cache shall keep one that breaks its format: without the
 * store it would be all that there is. */
int vx_opening_parsed(struct vx_opening *o, const char *dir, const char *name, int r);

/* Adds a volume and takes it, also on failure; its chunks' keys are relative to the store. `suffix` "" is the volume
 * that one expects; others are told apart by it. */
int vx_opening_add(struct vx_opening *o, const char *suffix, struct vx_volume *v, struct vx_err *e);

/* Whether a failure concerns one volume or scale only, so that others may be served. */
bool vx_opening_may_go_on(int code);
/* "labels/cells" relative to the store. malloc'd. */
char *vx_opening_key(const struct vx_opening *o, const char *dir);

/* Each looks for volumes of its format: 1 when it found and added some, 0 when there is nothing of its kind. */
int vx_open_zarr(struct vx_opening *o, struct vx_err *e);
int vx_open_n5(struct vx_opening *o, struct vx_err *e);

#endif
