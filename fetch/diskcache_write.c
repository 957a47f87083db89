/* SPDX-License-Identifier: Apache-2.0
 * The thread "vx-disk": writes entries, removes them and makes room, at low priority. Nothing is synced: after a power
 * cut the checksums decide.
 */
#include "fetch/diskcache_impl.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/ledger.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define NICE 5
#define IOPRIO_BEST_EFFORT_LOWEST (2 << 13 | 7)

/* ---- one entry ---- */

static int write_all(int fd, struct iovec *v, int n)
{
	while (n) {
		ssize_t done = writev(fd, v, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		for (; n && (size_t)done >= v->iov_len; v++, n--)
			done -= (ssize_t)v->iov_len;
		if (n) {
			v->iov_base = (char *)v->iov_base + done;
			v->iov_len -= (size_t)done;
		}
	}
	return 0;
}

/* Its name says how large it will be, for who counts meanwhile; its lock that its writer lives. */
static int make_new(struct vx_diskcache *dc, uint64_t charge, char *name, size_t size)
{
	static _Atomic uint64_t count;
	struct stat st;
	int fd;

	snprintf(name, size, "new/%llx.%016llx", (unsigned long long)charge,
		 (unsigned long long)vx_mix64(vx_dc_wall_ns() ^ (uint64_t)getpid() << 40 ^ ++count));
	fd = openat(dc->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno == ENOENT && (mkdirat(dc->dir_fd, "new", 0700) == 0 || errno == EEXIST))
		fd = openat(dc->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	/* Who cleans up may have come by between the two. */
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 || !st.st_nlink) {
		close(fd);
		return -EAGAIN;
	}
	return fd;
}

static int write_entry(struct vx_dc_op *op, int fd)
{
	uint8_t head[VX_ENTRY_HEAD];
	struct iovec v[3] = {{head, sizeof head}, {op->id, op->id_len}, {(void *)op->payload, op->entry.payload_len}};

	op->entry.payload_sum = vx_entry_sum(op->payload, op->entry.payload_len);
	vx_entry_write(head, &op->entry, op->id, op->id_len);
	return write_all(fd, v, op->entry.payload_len ? 3 : 2);
}

/* Gets `charge` bytes of the limit, making room where needed, unless another process is about it. */
static int reserve(struct vx_diskcache *dc, uint64_t charge)
{
	unsigned rounds = 0;
	int r;

	if (charge > dc->limit / 2)
		return -ENOSPC;
	r = vx_dc_reserve(dc, charge);
	/* The second, because the first may have been under way, with less in mind. */
	while ((r == -ENOSPC && !dc->quit) || (r == -ENODATA && !vx_dc_evict_stops(dc))) {
		if (!dc->evict.active && (rounds++ == 2 || !vx_dc_evict_begin(dc, charge)))
			break;
		vx_dc_evict_step(dc);
		r = vx_dc_reserve(dc, charge);
	}
	return r;
}

static int put(struct vx_diskcache *dc, struct vx_dc_op *op)
{
	uint64_t charge = vx_dc_charge(VX_ENTRY_HEAD + op->id_len + op->entry.payload_len);
	char name[VX_ENTRY_NAME];
	VX_AUTO_CLOSE int fd = make_new(dc, charge, dc->writing, sizeof dc->writing);
	int r = fd < 0 ? fd : reserve(dc, charge);
	bool reserved = r == 0;

	if (r == 0) {
		vx_entry_name(op->id, op->id_len, name);
		r = write_entry(op, fd);
		if (r == 0)
			r = vx_dc_publish(dc, dc->writing, name, charge);
	}
	if (r < 0 && fd >= 0)
		unlinkat(dc->dir_fd, dc->writing, 0);
	dc->writing[0] = 0;
	if (r < 0 && reserved)
		vx_dc_unreserve(dc, charge);
	if ((reserved || fd < 0) && (r == -ENOSPC || r == -EDQUOT)) {
		dc->full = true; /* the disk is, not what the limit allows */
		return -EFBIG;
	}
	return r;
}

/* The age alone is written in place: a torn one does not fit its sum, and then the age is unknown. */
static void confirm(struct vx_diskcache *dc, const struct vx_dc_op *op)
{
	uint8_t head[VX_ENTRY_HEAD + sizeof((struct vx_entry_id *)0)->text], cell[VX_ENTRY_CELL];
	size_t len = VX_ENTRY_HEAD + op->id_len;
	char name[VX_ENTRY_NAME];
	struct vx_entry e;
	struct stat st;
	VX_AUTO_CLOSE int fd = -1;

	vx_entry_name(op->id, op->id_len, name);
	fd = openat(dc->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0 || pread(fd, head, len, 0) != (ssize_t)len ||
	    !vx_entry_read(&e, head, len, (uint64_t)st.st_size, op->id, op->id_len) || e.seal != op->entry.seal)
		return; /* another one has taken its place */
	vx_entry_write_checked(cell, e.seal, op->entry.checked_ns);
	if (pwrite(fd, cell, sizeof cell, VX_ENTRY_CHECKED) != sizeof cell)
		vx_dc_trouble(dc, "write", -errno);
}

static void drop(struct vx_diskcache *dc, const struct vx_dc_op *op)
{
	char name[VX_ENTRY_NAME];
	int r;

	vx_entry_name(op->id, op->id_len, name);
	r = vx_dc_remove(dc, name, op->ino);
	if (r < 0 && r != -ENOENT)
		vx_dc_trouble(dc, "remove an entry", r);
}

static void work(struct vx_diskcache *dc, struct vx_dc_op *op)
{
	int r;

	if (op->what == VX_DC_CONFIRM) {
		confirm(dc, op);
		return;
	}
	if (op->what == VX_DC_DROP) {
		drop(dc, op);
		return;
	}
	r = put(dc, op);
	if (r == 0) {
		VX_COUNT(diskcache_stored);
		VX_COUNT_ADD(diskcache_stored_bytes, op->entry.payload_len);
	} else if (r == -ENOSPC || r == -EAGAIN || r == -ENODATA) {
		VX_COUNT(diskcache_skipped);
	} else {
		vx_dc_trouble(dc, "write", r == -EFBIG ? -ENOSPC : r);
	}
}

/* ---- the thread ---- */

/* The next thing to do; NULL: a step of making room, or the end. */
static struct vx_dc_op *next(struct vx_diskcache *dc)
{
	VX_LOCK_SCOPE(&dc->mtx);
	struct vx_link *l;

	while (vx_list_empty(&dc->queue) && !dc->quit && !dc->evict.active)
		vx_cond_wait(&dc->wake, &dc->mtx);
	if (vx_list_empty(&dc->queue))
		return NULL;
	l = dc->queue.next;
	vx_list_remove(l);
	return vx_list_entry(l, struct vx_dc_op, link);
}

static void finish(struct vx_diskcache *dc, struct vx_dc_op *op)
{
	vx_buf_put(op->body);
	{
		VX_LOCK_SCOPE(&dc->mtx);
		dc->waiting_bytes -= op->cost;
	}
	free(op);
}

static void be_modest(void)
{
	pid_t self = gettid();

	setpriority(PRIO_PROCESS, (id_t)self, NICE);
	syscall(SYS_ioprio_set, 1, self, IOPRIO_BEST_EFFORT_LOWEST);
}

void *vx_dc_run(void *diskcache)
{
	struct vx_diskcache *dc = diskcache;
	struct vx_dc_op *op;
	int r;

	pthread_setname_np(pthread_self(), "vx-disk");
	be_modest();
	r = vx_dc_reserve(dc, 0);
	if (r == -ENODATA)
		vx_dc_evict_begin(dc, 0); /* nobody has counted yet */
	else if (r < 0 && r != -ENOSPC)
		vx_dc_trouble(dc, "write", r);
	while ((op = next(dc)) || !dc->quit) {
		if (op) {
			work(dc, op);
			finish(dc, op);
		}
		if (!dc->evict.active && vx_dc_evict_is_due(dc))
			vx_dc_evict_begin(dc, 0);
		if (dc->evict.active)
			vx_dc_evict_step(dc);
	}
	vx_dc_evict_end(dc);
	return NULL;
}
