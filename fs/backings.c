/* SPDX-License-Identifier: Apache-2.0
 * Open addressing, at most half full; a removed entry's followers are moved up, so there are no gravestones.
 */
#include "fs/backings.h"
#include "base/hash.h"
#include "fs/passthrough.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define FIRST_SIZE 1024
#define MOST ((size_t)1 << 21) /* what a server gone mad can make us hold */

struct entry {
	uint64_t object; /* 0: free */
	uint64_t inode;
	int id;
};

struct vx_backings {
	int ro, fuse_fd;
	struct entry *at;
	size_t size, used; /* size is a power of two */
};

int vx_backings_new(struct vx_backings **ret, int ro)
{
	struct vx_backings *b = calloc(1, sizeof *b);

	if (!b)
		return -ENOMEM;
	b->ro = ro;
	b->fuse_fd = -1;
	b->size = FIRST_SIZE;
	b->at = calloc(b->size, sizeof *b->at);
	if (!b->at) {
		free(b);
		return -ENOMEM;
	}
	*ret = b;
	return 0;
}

void vx_backings_free(struct vx_backings **pb)
{
	struct vx_backings *b = vx_steal(*pb);

	if (!b)
		return;
	free(b->at);
	free(b);
}

void vx_backings_set_mount(struct vx_backings *b, int fuse_fd)
{
	b->fuse_fd = fuse_fd;
}

static struct entry *place_of(struct entry *at, size_t size, uint64_t object)
{
	size_t i = vx_mix64(object) & (size - 1);

	while (at[i].object && at[i].object != object)
		i = (i + 1) & (size - 1);
	return &at[i];
}

static int grow(struct vx_backings *b)
{
	size_t size = b->size * 2;
	struct entry *bigger;

	if (b->used * 2 < b->size)
		return 0;
	if (b->used >= MOST)
		return -ENFILE;
	bigger = calloc(size, sizeof *bigger);
	if (!bigger)
		return -ENOMEM;
	for (size_t i = 0; i < b->size; i++)
		if (b->at[i].object)
			*place_of(bigger, size, b->at[i].object) = b->at[i];
	free(b->at);
	b->at = bigger;
	b->size = size;
	return 0;
}

/* A descriptor, and the inode of what it is. */
static int open_object(const struct vx_backings *b, uint64_t object, uint64_t *inode)
{
	char name[24];
	struct stat st;
	int fd;

	if (b->ro < 0 || b->fuse_fd < 0)
		return -EPERM;
	snprintf(name, sizeof name, "%llu", (unsigned long long)object);
	fd = openat(b->ro, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		*inode = st.st_ino;
		return fd;
	}
	close(fd);
	return -EINVAL;
}

int vx_backings_register(struct vx_backings *b, uint64_t object)
{
	VX_AUTO_CLOSE int fd = -1;
	const struct entry *x;
	uint64_t inode = 0;
	int r, id;

	if (!object)
		return -EINVAL;
	fd = open_object(b, object, &inode);
	if (fd < 0)
		return fd;
	x = place_of(b->at, b->size, object);
	if (x->object && x->inode == inode)
		return x->id;
	if (x->object) /* of another file, which somebody removed without a word */
		vx_backings_unregister(b, object);
	if ((r = grow(b)) < 0)
		return r;
	id = vx_backing_open(b->fuse_fd, fd);
	if (id <= 0)
		return id;
	*place_of(b->at, b->size, object) = (struct entry){.object = object, .inode = inode, .id = id};
	b->used++;
	return id;
}

/* Moves up what would not be found any more once place `hole` is free. */
static void close_gap(struct vx_backings *b, size_t hole)
{
	size_t mask = b->size - 1;

	for (size_t i = (hole + 1) & mask; b->at[i].object; i = (i + 1) & mask) {
		size_t home = vx_mix64(b->at[i].object) & mask;

		if (((i - home) & mask) < ((i - hole) & mask))
			continue; /* it begins behind the hole */
		b->at[hole] = b->at[i];
		hole = i;
	}
	b->at[hole].object = 0;
}

size_t vx_backings_count(const struct vx_backings *b)
{
	return b->used;
}

int vx_backings_unregister(struct vx_backings *b, uint64_t object)
{
	struct entry *x = object ? place_of(b->at, b->size, object) : NULL;

	if (!x || !x->object)
		return -ENOENT;
	vx_backing_close(b->fuse_fd, x->id);
	close_gap(b, (size_t)(x - b->at));
	b->used--;
	return 0;
}
