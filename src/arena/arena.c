/* SPDX-License-Identifier: Apache-2.0
 * Objects are files named by number. Two mounts of one tmpfs exist, both detached: a writable one for filling and a
 * read-only clone whose descriptors are given to the kernel as passthrough backing. The kernel re-opens a backing by
 * its path with the client's flags, so only the read-only mount keeps clients from writing into a shared box.
 */
#include "arena/arena.h"
#include "base/check.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define PAGE ((uint64_t)4096)
#define HUGE ((uint64_t)2 << 20)

struct vx_arena {
	int rw; /* the tmpfs; -1: memfds */
	int ro; /* its read-only clone */
	_Atomic uint64_t next_id;
	char note[200];
};

static bool set_option(int fs, const char *key, const char *value)
{
	unsigned cmd = value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;

	return syscall(SYS_fsconfig, fs, cmd, key, value, 0) == 0;
}

static bool has_several_nodes(void)
{
	return access("/sys/devices/system/node/node1", F_OK) == 0;
}

/* A detached tmpfs; what is merely better is left out where the kernel does not know it. */
static int mount_tmpfs(struct vx_arena *a, uint64_t limit)
{
	VX_AUTO_CLOSE int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	char size[32];

	if (fs < 0)
		return -errno;
	snprintf(size, sizeof size, "%llu", (unsigned long long)vx_round_up(limit, PAGE));
	if (!set_option(fs, "size", size) || !set_option(fs, "nr_inodes", "0"))
		return -errno;
	if (!set_option(fs, "huge", "within_size"))
		snprintf(a->note, sizeof a->note, "no huge pages: the kernel's tmpfs does not take huge=within_size");
	if (!set_option(fs, "noswap", NULL) && !a->note[0])
		snprintf(a->note, sizeof a->note,
			 "the kernel's tmpfs does not take noswap: cached boxes may be swapped out");
	if (has_several_nodes())
		(void)set_option(fs, "mpol", "interleave");
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	a->rw =
	    (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	return a->rw < 0 ? -errno : 0;
}

static int clone_read_only(struct vx_arena *a)
{
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};

	a->ro = (int)syscall(SYS_open_tree, a->rw, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (a->ro < 0)
		return -errno;
	if (syscall(SYS_mount_setattr, a->ro, "", AT_EMPTY_PATH, &ro, sizeof ro) < 0)
		return -errno;
	return 0;
}

int vx_arena_new(struct vx_arena **ret, uint64_t limit, struct vx_err *e)
{
	struct vx_arena *a = calloc(1, sizeof *a);
	int r;

	if (!a)
		return vx_fail(e, -ENOMEM, "no memory for the arena");
	a->rw = a->ro = -1;
	a->next_id = 1;
	signal(SIGIO,
	       SIG_IGN); /* sent when somebody opens an object whose lease we hold for an instant; its default kills */
	r = mount_tmpfs(a, limit);
	if (r == 0)
		r = clone_read_only(a);
	if (r < 0) {
		if (a->rw >= 0)
			close(a->rw);
		if (a->ro >= 0)
			close(a->ro);
		a->rw = a->ro = -1;
		snprintf(a->note, sizeof a->note, "no tmpfs of our own (%s)", strerror(-r));
	}
	*ret = a;
	return 0;
}

void vx_arena_free(struct vx_arena **pa)
{
	struct vx_arena *a = vx_steal(*pa);

	if (!a)
		return;
	if (a->ro >= 0)
		close(a->ro);
	if (a->rw >= 0)
		close(a->rw);
	free(a);
}

bool vx_arena_is_tmpfs(const struct vx_arena *a)
{
	return a->rw >= 0;
}

const char *vx_arena_note(const struct vx_arena *a)
{
	return a->note;
}

static void object_name(const struct vx_object *o, char name[24])
{
	snprintf(name, 24, "%llu", (unsigned long long)o->id);
}

static int open_object(int dir, const struct vx_object *o, int flags)
{
	char name[24];

	object_name(o, name);
	return openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

uint64_t vx_object_charge(uint64_t size)
{
	return vx_round_up(size, PAGE);
}

int vx_object_create(struct vx_arena *a, uint64_t size, struct vx_object *ret, struct vx_err *e)
{
	struct vx_object o = {.id = a->next_id++, .size = size, .fd = -1};
	int fd = a->rw >= 0 ? open_object(a->rw, &o, O_RDWR | O_CREAT | O_EXCL) : memfd_create("voxfs", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return vx_fail(e, -errno, "cannot create an object in the arena: %s", strerror(errno));
	o.fd = fd;
	r = fallocate(fd, 0, 0, (off_t)size) < 0 ? -errno : 0;
	if (a->rw >= 0) {
		close(fd);
		o.fd = -1;
	}
	if (r < 0) {
		vx_object_destroy(a, &o);
		return vx_fail(e, r, "cannot reserve %llu bytes in the arena: %s", (unsigned long long)size,
			       strerror(-r));
	}
	*ret = o;
	return 0;
}

void vx_object_destroy(struct vx_arena *a, struct vx_object *o)
{
	if (o->fd >= 0) {
		close(o->fd);
	} else if (o->id) {
		char name[24];

		object_name(o, name);
		unlinkat(a->rw, name, 0);
	}
	*o = (struct vx_object){.fd = -1};
}

int vx_object_map(struct vx_arena *a, const struct vx_object *o, bool writable, void **ret, struct vx_err *e)
{
	/* Small objects are of 4 KiB pages: one populating call is cheaper than a fault for each of them. */
	int flags = MAP_SHARED | (writable && o->size < HUGE ? MAP_POPULATE : 0);
	int prot = PROT_READ | (writable ? PROT_WRITE : 0);
	VX_AUTO_CLOSE int own = o->fd >= 0 ? -1 : open_object(a->rw, o, writable ? O_RDWR : O_RDONLY);
	void *m = mmap(NULL, o->size, prot, flags, o->fd >= 0 ? o->fd : own, 0);

	if (m == MAP_FAILED)
		return vx_fail(e, -errno, "cannot map an object of %llu bytes: %s", (unsigned long long)o->size,
			       strerror(errno));
	*ret = m;
	return 0;
}

void vx_object_unmap(const struct vx_object *o, void *map)
{
	munmap(map, o->size);
}

int vx_object_open_shared(struct vx_arena *a, const struct vx_object *o, struct vx_err *e)
{
	int fd = open_object(a->ro, o, O_RDONLY);

	return fd >= 0 ? fd : vx_fail(e, -errno, "cannot open an object to share it: %s", strerror(errno));
}

bool vx_object_unused(struct vx_arena *a, const struct vx_object *o)
{
	VX_AUTO_CLOSE int fd = -1;

	if (o->fd >= 0)
		return true; /* a memfd never left this process */
	fd = open_object(a->rw, o, O_RDWR);
	if (fd < 0)
		return false;
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		return false;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return true;
}
