/* SPDX-License-Identifier: Apache-2.0
 * The kernel's wire format, protocol 7.40, spelt out because the system's header may be older. The INIT answer is
 * patched on its way out: flags2 bit 4 asks for maps of directly read files, bit 5 for passthrough, max_stack_depth 1
 * allows backings on a plain filesystem (and leaves the mount usable below overlayfs).
 */
#include "fs/passthrough.h"
#include "base/vx.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct in_header {
	uint32_t len, opcode;
	uint64_t unique, nodeid;
	uint32_t uid, gid, pid;
	uint16_t ext, pad;
};

struct init_in {
	uint32_t major, minor, max_readahead, flags, flags2;
};

struct out_header {
	uint32_t len;
	int32_t error;
	uint64_t unique;
};

struct init_out {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, max_stack_depth;
};

struct open_out {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};

struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};

#define OP_FORGET 2
#define OP_INIT 26
#define OP_INTERRUPT 36
#define OP_BATCH_FORGET 42
#define REQUEST_MAX (((size_t)1 << 20) + 4096) /* no server asks for more */
#define INIT_EXT ((uint32_t)1 << 30)
#define FLAGS2_DIRECT_IO_ALLOW_MMAP ((uint32_t)1 << 4)
#define FLAGS2_PASSTHROUGH ((uint32_t)1 << 5)
#define FOPEN_NOFLUSH_BIT ((uint32_t)1 << 5)
#define FOPEN_PASSTHROUGH_BIT ((uint32_t)1 << 7)
#define DEV_IOC_BACKING_OPEN _IOW(229, 1, struct backing_map)
#define DEV_IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)

#define NOTIFY_RESEND 7

static struct vx_init_patch *patch;
static _Thread_local uint64_t last_unique;

/* What follows from an answer comes after it: RELEASE after OPEN, for one. ThreadSanitizer cannot see the kernel
 * between them, and is told so by a release before each answer and an acquire after each request. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
static _Atomic unsigned through_the_kernel;
#define ANSWERS() atomic_fetch_add_explicit(&through_the_kernel, 1, memory_order_release)
#define FOLLOWS() atomic_load_explicit(&through_the_kernel, memory_order_acquire)
#else
#define ANSWERS() (void)0
#define FOLLOWS() (void)0
#endif

static void look_at_init(const void *buf, size_t len)
{
	const struct in_header *h = buf;
	const struct init_in *in = (const struct init_in *)(h + 1);

	if (len < sizeof *h + sizeof *in || h->opcode != OP_INIT)
		return;
	patch->offered = (in->flags & INIT_EXT) && (in->flags2 & FLAGS2_PASSTHROUGH);
	patch->direct = (in->flags & INIT_EXT) && (in->flags2 & FLAGS2_DIRECT_IO_ALLOW_MMAP);
	patch->init = h->unique;
}

static ssize_t dev_read(int fd, void *buf, size_t len, void *userdata)
{
	ssize_t r = read(fd, buf, len);
	const struct in_header *h = buf;

	(void)userdata;
	FOLLOWS();
	if (r >= (ssize_t)sizeof *h) {
		last_unique = h->unique;
		look_at_init(buf, (size_t)r);
		if (h->opcode == OP_INIT && patch->saw_init)
			patch->saw_init(buf, (size_t)r);
	}
	return r;
}

static void ask(struct init_out *out)
{
	if (patch->direct) {
		out->flags |= INIT_EXT;
		out->flags2 |= FLAGS2_DIRECT_IO_ALLOW_MMAP;
	}
	if (patch->wanted && patch->offered) {
		out->flags |= INIT_EXT;
		out->flags2 |= FLAGS2_PASSTHROUGH;
		out->max_stack_depth = 1;
	}
}

static ssize_t total_of(const struct iovec *iov, int count)
{
	size_t n = 0;

	for (int i = 0; i < count; i++)
		n += iov[i].iov_len;
	return (ssize_t)n;
}

static ssize_t dev_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	const struct out_header *h = iov[0].iov_base;

	(void)userdata;
	if (patch->init && h->unique == patch->init) {
		patch->init = 0;
		if (!h->error && count > 1 && iov[1].iov_len >= sizeof(struct init_out))
			ask(iov[1].iov_base);
		if (patch->replay)
			return total_of(iov, count);
	}
	/* Not by way of the library: sanitizers look at the bytes after the call, when the client has its answer and
	 * may have closed what they belong to. */
	ANSWERS();
	return syscall(SYS_writev, fd, iov, count);
}

void vx_passthrough_install(struct fuse_session *se, struct vx_init_patch *p)
{
	static const struct fuse_custom_io io = {.read = dev_read, .writev = dev_writev};

	patch = p;
	fuse_session_custom_io(se, &io, fuse_session_fd(se));
}

void vx_passthrough_replay(struct fuse_session *se, void *request, size_t len)
{
	struct fuse_buf b = {.mem = request, .size = len};

	patch->replay = true;
	look_at_init(request, len);
	fuse_session_process_buf(se, &b);
	patch->replay = false;
}

int vx_resend(int fuse_fd)
{
	struct out_header h = {.len = sizeof h, .error = NOTIFY_RESEND};

	return write(fuse_fd, &h, sizeof h) < 0 ? -errno : 0;
}

static bool is_answered(uint32_t opcode)
{
	return opcode != OP_FORGET && opcode != OP_BATCH_FORGET && opcode != OP_INTERRUPT;
}

void vx_refuse_requests(int fuse_fd)
{
	VX_AUTO_FREE uint8_t *buf = malloc(REQUEST_MAX);
	struct pollfd p = {.fd = fuse_fd, .events = POLLIN};
	struct out_header out = {.len = sizeof out, .error = -ENOTCONN};
	struct in_header in;

	vx_resend(fuse_fd);
	while (buf && poll(&p, 1, 0) > 0 && read(fuse_fd, buf, REQUEST_MAX) >= (ssize_t)sizeof in) {
		memcpy(&in, buf, sizeof in);
		out.unique = in.unique;
		if (is_answered(in.opcode) && write(fuse_fd, &out, sizeof out) < 0 && errno != ENOENT)
			break; /* ENOENT: it was interrupted */
	}
}

uint64_t vx_request_unique(void)
{
	return last_unique;
}

int vx_backing_open(int fuse_fd, int fd)
{
	struct backing_map m = {.fd = fd};
	int id = ioctl(fuse_fd, DEV_IOC_BACKING_OPEN, &m);

	return id > 0 ? id : id < 0 ? -errno : -EIO;
}

void vx_backing_close(int fuse_fd, int id)
{
	uint32_t n = (uint32_t)id;

	ioctl(fuse_fd, DEV_IOC_BACKING_CLOSE, &n);
}

int vx_reply_open_backing(fuse_req_t req, uint64_t fh, int id)
{
	struct open_out out = {.fh = fh, .open_flags = FOPEN_PASSTHROUGH_BIT | FOPEN_NOFLUSH_BIT, .backing_id = id};
	struct iovec v = {&out, sizeof out};

	return fuse_reply_iov(req, &v, 1);
}
