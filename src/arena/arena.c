/* SPDX-License-Identifier: Apache-2.0
 * Objects are files named by number. Two mounts of one tmpfs exist, both detached: a writable one for filling, which is
 * the arena's, and a read-only clone whose files whoever registers them gives to the kernel as passthrough backing. The
 * kernel re-opens a backing by its path with the client's flags, so only the read-only mount keeps clients from writing
 * into a shared box.
 */
#include "arena/arena.h"
#include "arena/reserve.h"
#include "base/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE ((uint64_t)4096)
#define HUGE ((uint64_t)2 << 20)
#define POPULATE_STEP ((uint64_t)64 << 10)
#define ID_MAX ((uint64_t)1 << 62) /* a larger one was never counted up to */

struct vx_arena {
	int rw; /* the tmpfs; -1: memfds */
	_Atomic uint64_t next_id;
	struct vx_sharer sharer;
	_Atomic bool shares; /* set after the sharer */
	struct vx_reserve *ready;
	char note[200];
};

int vx_arena_on(struct vx_arena **ret, int rw, const char *note, struct vx_err *e)
{
	struct vx_arena *a = calloc(1, sizeof *a);

	if (!a)
		return vx_fail(e, -ENOMEM, "no memory for the arena");
	a->rw = rw;
	a->next_id = 1;
	snprintf(a->note, sizeof a->note, "%s", note);
	if (vx_reserve_new(&a->ready) < 0) {
		free(a);
		return vx_fail(e, -ENOMEM, "no memory for the arena");
	}
	/* Sent when somebody opens an object whose lease we hold for an instant; its default kills. */
	signal(SIGIO, SIG_IGN);
	*ret = a;
	return 0;
}

int vx_arena_new(struct vx_arena **ret, uint64_t limit, struct vx_err *e)
{
	char note[200];
	int rw, ro, r;

	vx_arena_mount(limit, &rw, &ro, note);
	if (ro >= 0)
		close(ro);
	r = vx_arena_on(ret, rw, note, e);
	if (r < 0 && rw >= 0)
		close(rw);
	return r;
}

void vx_arena_free(struct vx_arena **pa)
{
	struct vx_arena *a = vx_steal(*pa);

	if (!a)
		return;
	vx_arena_shrink_ready(a, 0);
	vx_reserve_free(&a->ready);
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

/* ---- registering ---- */

void vx_arena_set_sharer(struct vx_arena *a, const struct vx_sharer *s)
{
	if (s)
		a->sharer = *s;
	a->shares = s != NULL;
}

bool vx_arena_shares(const struct vx_arena *a)
{
	return a->shares;
}

int vx_object_share(struct vx_arena *a, struct vx_object *o, struct vx_err *e)
{
	int id;

	if (!a->shares || o->share_id > 0)
		return 0;
	id = a->sharer.share(a->sharer.ctx, o, e);
	if (id <= 0)
		return id < 0 ? id : vx_fail(e, -EIO, "a backing file was registered as number %d", id);
	o->share_id = id;
	return 0;
}

void vx_object_unshare(struct vx_arena *a, struct vx_object *o)
{
	if (o->share_id && a->shares)
		a->sharer.unshare(a->sharer.ctx, o);
	o->share_id = 0;
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

static int create_file(struct vx_arena *a, struct vx_object *o)
{
	o->id = a->next_id++;
	o->fd = -1;
	if (a->rw >= 0)
		return open_object(a->rw, o, O_RDWR | O_CREAT | O_EXCL);
	o->fd = memfd_create("voxfs", MFD_CLOEXEC);
	return o->fd;
}

static int create_fresh(struct vx_arena *a, uint64_t size, struct vx_object *ret)
{
	struct vx_object o = {.size = size};
	int fd = create_file(a, &o), r;

	if (fd < 0)
		return -errno;
	r = fallocate(fd, 0, 0, (off_t)size) < 0 ? -errno : 0;
	if (o.fd < 0)
		close(fd);
	if (r < 0)
		vx_object_destroy(a, &o);
	else
		*ret = o;
	return r;
}

static int map_object(struct vx_arena *a, const struct vx_object *o, int prot, int flags, void **ret, struct vx_err *e)
{
	bool writable = prot & PROT_WRITE;
	VX_AUTO_CLOSE int own = o->fd >= 0 ? -1 : open_object(a->rw, o, writable ? O_RDWR : O_RDONLY);
	void *m = mmap(NULL, o->size, prot, MAP_SHARED | flags, o->fd >= 0 ? o->fd : own, 0);

	if (m == MAP_FAILED)
		return vx_fail(e, -errno, "cannot map an object of %llu bytes: %s", (unsigned long long)o->size,
			       strerror(errno));
	if (writable && o->fd >= 0)
		madvise(m, o->size, MADV_HUGEPAGE); /* a memfd has huge pages only where they are asked for */
	*ret = m;
	return 0;
}

int vx_object_map(struct vx_arena *a, const struct vx_object *o, bool writable, void **ret, struct vx_err *e)
{
	/* Small objects are of 4 KiB pages: one populating call is cheaper than a fault for each of them. */
	int flags = writable && o->size < HUGE ? MAP_POPULATE : 0;

	return map_object(a, o, PROT_READ | (writable ? PROT_WRITE : 0), flags, ret, e);
}

/* ---- objects made ahead ---- */

static int object_fd(struct vx_arena *a, const struct vx_object *o)
{
	return o->fd >= 0 ? dup(o->fd) : open_object(a->rw, o, O_RDWR);
}

static int resize(struct vx_arena *a, struct vx_ready *x, uint64_t size)
{
	VX_AUTO_CLOSE int fd = size == x->object.size ? -1 : object_fd(a, &x->object);
	uint64_t old = x->object.size;
	void *moved;

	if (size == old)
		return 0;
	if (fd < 0)
		return -errno;
	if (size < old) {
		uint64_t keep = vx_round_up(size, PAGE);

		if (ftruncate(fd, (off_t)size) < 0)
			return -errno;
		if (keep < old)
			munmap((uint8_t *)x->map + keep, old - keep);
	} else {
		if (fallocate(fd, 0, 0, (off_t)size) < 0)
			return -errno;
		moved = mremap(x->map, old, size, MREMAP_MAYMOVE);
		if (moved == MAP_FAILED)
			return -errno;
		x->map = moved;
	}
	x->object.size = size;
	return 0;
}

static void ready_destroy(struct vx_arena *a, struct vx_ready *x)
{
	munmap(x->map, x->object.size);
	vx_object_destroy(a, &x->object);
}

static bool create_from_ready(struct vx_arena *a, uint64_t size, struct vx_object *ret, void **ret_map)
{
	struct vx_ready x = vx_reserve_take(a->ready, size);

	if (!x.object.id)
		return false;
	if (resize(a, &x, size) < 0) {
		ready_destroy(a, &x);
		return false;
	}
	*ret = x.object;
	*ret_map = x.map;
	return true;
}

/* By system call, not by touching: it fails, instead of killing us, when the object is truncated under it. In small
 * steps: on a virtual machine one that waits for the host cannot be preempted, whatever the thread's priority. */
static bool populate(uint8_t *map, uint64_t size, bool (*go_on)(void *ctx), void *ctx)
{
	for (uint64_t at = 0; at < size; at += POPULATE_STEP)
		if (!go_on(ctx) || madvise(map + at, vx_min_u64(POPULATE_STEP, size - at), MADV_POPULATE_WRITE) < 0)
			return false;
	return true;
}

bool vx_arena_prepare(struct vx_arena *a, uint64_t room, bool (*go_on)(void *ctx), void *ctx)
{
	uint64_t size = vx_reserve_wants(a->ready, room);
	struct vx_ready x = {0};

	if (!size || create_fresh(a, size, &x.object) < 0)
		return false;
	vx_reserve_begin(a->ready, &x.object);
	if (map_object(a, &x.object, PROT_READ | PROT_WRITE, 0, &x.map, NULL) == 0 &&
	    populate(x.map, size, go_on, ctx) && vx_object_share(a, &x.object, NULL) == 0 &&
	    vx_reserve_put(a->ready, &x))
		return true;
	vx_reserve_abandon(a->ready);
	if (x.map)
		munmap(x.map, size);
	vx_object_destroy(a, &x.object);
	return false;
}

uint64_t vx_arena_ready_bytes(struct vx_arena *a)
{
	return vx_reserve_bytes(a->ready);
}

void vx_arena_on_low(struct vx_arena *a, void (*f)(void *ctx), void *ctx)
{
	vx_reserve_on_low(a->ready, f, ctx);
}

/* The one in the making goes first, then the largest: true when there was one. */
static bool give_way(struct vx_arena *a)
{
	struct vx_object making;
	struct vx_ready x;

	if (vx_reserve_steal(a->ready, &making)) {
		VX_AUTO_CLOSE int fd = making.fd >= 0 ? making.fd : open_object(a->rw, &making, O_RDWR);

		/* Its maker unlinks it; if that has happened already, there is nothing left to open. */
		return fd < 0 || ftruncate(fd, 0) == 0;
	}
	x = vx_reserve_take_any(a->ready);
	if (!x.object.id)
		return false;
	ready_destroy(a, &x);
	return true;
}

void vx_arena_shrink_ready(struct vx_arena *a, uint64_t most)
{
	while (vx_reserve_bytes(a->ready) > most && give_way(a))
		continue;
}

/* ---- objects ---- */

static int create_any(struct vx_arena *a, uint64_t size, struct vx_object *ret, void **ret_map, struct vx_err *e)
{
	int r;

	if (ret_map && create_from_ready(a, size, ret, ret_map))
		return 0;
	do
		r = create_fresh(a, size, ret);
	while (r == -ENOSPC && give_way(a));
	if (r < 0)
		return vx_fail(e, r, "cannot reserve %llu bytes in the arena: %s", (unsigned long long)size,
			       strerror(-r));
	if (!ret_map)
		return 0;
	r = vx_object_map(a, ret, true, ret_map, e);
	if (r < 0)
		vx_object_destroy(a, ret);
	return r;
}

int vx_object_create(struct vx_arena *a, uint64_t size, struct vx_object *ret, void **ret_map, struct vx_err *e)
{
	int r = create_any(a, size, ret, ret_map, e);

	if (r < 0 || (r = vx_object_share(a, ret, e)) == 0)
		return r;
	if (ret_map)
		munmap(*ret_map, size);
	vx_object_destroy(a, ret);
	return r;
}

void vx_object_destroy(struct vx_arena *a, struct vx_object *o)
{
	vx_object_unshare(a, o);
	if (o->fd >= 0) {
		close(o->fd);
	} else if (o->id) {
		char name[24];

		object_name(o, name);
		unlinkat(a->rw, name, 0);
	}
	*o = (struct vx_object){.fd = -1};
}

/* ---- after another process ---- */

bool vx_object_adopt(struct vx_arena *a, uint64_t id, uint64_t size, struct vx_object *ret)
{
	struct vx_object o = {.id = id, .size = size, .fd = -1, .share_id = -1};
	VX_AUTO_CLOSE int fd = a->rw >= 0 && id && id <= ID_MAX ? open_object(a->rw, &o, O_RDWR | O_NONBLOCK) : -1;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != size ||
	    (uint64_t)st.st_blocks * 512 < size)
		return false;
	*ret = o;
	return true;
}

/* The number that a name in the arena stands for; 0: none of ours. */
static uint64_t parse_name(const char *name)
{
	struct vx_object o = {0};
	char again[24], *end;

	errno = 0;
	o.id = strtoull(name, &end, 10);
	object_name(&o, again);
	return errno || *end || strcmp(name, again) ? 0 : o.id;
}

static bool is_directory(int dir, const struct dirent *d)
{
	struct stat st;

	return fstatat(dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* Nobody makes directories here, but what nobody makes would keep its memory for ever. What is in one comes up; true:
 * something did, so that it is to be looked for. */
static bool dissolve(struct vx_arena *a, const char *name)
{
	int fd = openat(a->rw, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *d;
	bool any = false;

	while (dir && (d = readdir(dir))) {
		char up[32];

		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		snprintf(up, sizeof up, "up%llu", (unsigned long long)a->next_id++);
		any |= renameat(fd, d->d_name, a->rw, up) == 0;
	}
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
	unlinkat(a->rw, name, AT_REMOVEDIR);
	return any;
}

/* True: there is more to sweep. */
static bool sweep_once(struct vx_arena *a, bool (*known)(void *ctx, uint64_t id), void *ctx)
{
	int fd = openat(a->rw, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *d;
	bool more = false;

	while (dir && (d = readdir(dir))) {
		uint64_t id = parse_name(d->d_name);

		if (id >= a->next_id && id <= ID_MAX)
			a->next_id = id + 1;
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..") || (id && known(ctx, id)))
			continue;
		if (id)
			vx_object_unshare(a, &(struct vx_object){.id = id, .fd = -1, .share_id = -1});
		if (is_directory(a->rw, d))
			more |= dissolve(a, d->d_name);
		else
			unlinkat(a->rw, d->d_name, 0);
	}
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
	return more;
}

void vx_arena_sweep(struct vx_arena *a, bool (*known)(void *ctx, uint64_t id), void *ctx)
{
	while (a->rw >= 0 && sweep_once(a, known, ctx))
		continue;
}

void vx_object_unmap(const struct vx_object *o, void *map)
{
	munmap(map, o->size);
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
