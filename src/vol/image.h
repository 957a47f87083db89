/* SPDX-License-Identifier: Apache-2.0
 * Images of several scales: what the attributes of a group of Zarr (OME-Zarr, from 0.1 to 0.5) or N5 say of the arrays
 * in it, and how those become one volume. Everything comes from outside and is checked here. Pure, any thread.
 */
#ifndef VX_VOL_IMAGE_H
#define VX_VOL_IMAGE_H

#include "vol/array.h"

/* Paths, relative to a group: no empty part, no "." or "..", no control characters. Owned strings. */
struct vx_paths {
	unsigned n;
	char **at;
};
void vx_paths_free(struct vx_paths *p);
bool vx_path_is_sound(const char *path);
/* -EBADMSG for a path that is not sound; `j` only names it. */
int vx_paths_add(struct vx_paths *p, const char *path, const struct vx_json *j, struct vx_err *e);

struct vx_level {
	char *path;                      /* of its array, relative to the group; "" is the group itself */
	double scale[VX_ARRAY_RANK_MAX]; /* of a voxel, along the array's axes; 0: not known */
};

struct vx_image {
	char *name;     /* as its metadata says; may be NULL, and anything */
	bool is_label;  /* integers that name things */
	unsigned naxes; /* 0: the arrays name their axes themselves, or their place does */
	struct vx_axis axis[VX_ARRAY_RANK_MAX];
	enum vx_axis_kind kind[VX_ARRAY_RANK_MAX];
	unsigned nlevels;
	struct vx_level *level; /* finest first; at most VX_MAX_SCALES */
};
/* Adds a level: no more than VX_MAX_SCALES. */
int vx_image_add(struct vx_image *im, const char *path, const struct vx_json *j, struct vx_err *e);
void vx_image_free(struct vx_image *im);

/* The volume of an image whose arrays have been parsed: array[i] belongs to level i, unless err[i].code says why it
 * could not be. A bad scale does not spoil the others; a volume without one good scale is an error (its first
 * sentence). Keys of chunks begin with `prefix`, unless that is "". */
int vx_image_build(const struct vx_image *im, const struct vx_array *array, const struct vx_err *err,
		   const char *prefix, struct vx_volume **ret, struct vx_err *e);

/* "dir/name", where either may be empty; malloc'd. */
char *vx_path_join(const char *dir, const char *name);

/* How many nanometres a unit of length has; 0 when it is not known. */
double vx_unit_nm(const char *unit);

/* ---- OME-Zarr, and groups of Zarr without it ---- */

struct vx_ome {
	unsigned nimages;
	struct vx_image *image;
	struct vx_paths labels; /* of a `labels` group: label images in it */
	struct vx_paths parts;  /* groups that are images: of a well, of a series of bioformats2raw's OME group */
	bool is_bioformats;     /* images are in 0/, 1/, ... */
	char *field;            /* of a plate: a well of it; else NULL */
};
/* `v3`: the document is a zarr.json, else a .zattrs. Attributes of other conventions are no error: nothing is found
 * then. */
int vx_ome_parse(const char *text, size_t len, bool v3, struct vx_ome *ret, struct vx_err *e);
void vx_ome_free(struct vx_ome *o);

/* Arrays of 2 to 5 axes that consolidated metadata lists: of a .zmetadata, or within a zarr.json. None: *ret is empty.
 */
int vx_zarr_consolidated(const char *text, size_t len, bool v3, struct vx_paths *ret, struct vx_err *e);
/* `_ARRAY_DIMENSIONS` of an array's .zattrs, if it has them for every axis. */
void vx_zarr2_names(const char *text, size_t len, struct vx_array *a);

/* ---- N5 ---- */

/* What attributes.json says of the extent of voxels; N5's order of axes. */
struct vx_n5_space {
	bool has_size, is_exact; /* exact: the level's own, not to be multiplied by factors */
	double size[VX_ARRAY_RANK_MAX];
	char unit[VX_ARRAY_RANK_MAX][32];
	bool unit_is_assumed; /* nobody said it */
	bool has_factors;
	double factors[VX_ARRAY_RANK_MAX];
};
struct vx_n5_group {
	bool is_dataset;       /* has `dimensions`: no group */
	struct vx_image image; /* levels that it lists; none: look for s0, s1, ... */
	bool has_dtype;        /* of all its datasets */
	enum vx_dtype dtype;
	struct vx_n5_space space;
	unsigned nlisted; /* levels whose extent is known by the group alone: `listed` of them */
	struct vx_n5_space *listed;
};
int vx_n5_group_parse(const char *text, size_t len, struct vx_n5_group *ret, struct vx_err *e);
void vx_n5_group_free(struct vx_n5_group *g);
/* What one dataset says of itself. */
void vx_n5_space_parse(const char *text, size_t len, struct vx_n5_space *ret);
/* Extents and units of an image's levels, from what its group and its datasets say; own[i] and array[i] belong to level
 * i, where err[i].code is 0. */
void vx_n5_calibrate(struct vx_image *im, const struct vx_n5_group *g, const struct vx_n5_space *own,
		     const struct vx_array *array, const struct vx_err *err);

#endif
