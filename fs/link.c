/* SPDX-License-Identifier: Apache-2.0
 * A packet that is too short or too long is an error, never a part of another.
 */
#include "fs/link.h"

#include <string.h>
#include <sys/socket.h>

union fd_space {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int vx_link_send(int sock, const void *msg, size_t len, int fd)
{
	struct iovec v = {.iov_base = (void *)(uintptr_t)msg, .iov_len = len};
	union fd_space space = {0};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
	ssize_t r;

	if (fd >= 0) {
		struct cmsghdr *c;

		h.msg_control = space.bytes;
		h.msg_controllen = sizeof space.bytes;
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	do
		r = sendmsg(sock, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return (size_t)r == len ? 0 : -EPROTO;
}

/* All descriptors that came but the first are closed: there should be none. */
static int take_fd(struct msghdr *h)
{
	int first = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		size_t n = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS
			       ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int)
			       : 0;

		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (first < 0)
				first = fd;
			else
				close(fd);
		}
	}
	return first;
}

int vx_link_recv(int sock, void *msg, size_t len, int *ret_fd)
{
	struct iovec v = {.iov_base = msg, .iov_len = len};
	union fd_space space;
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
	ssize_t r;
	int fd;

	if (ret_fd) {
		*ret_fd = -1;
		h.msg_control = space.bytes;
		h.msg_controllen = sizeof space.bytes;
	}
	do
		r = recvmsg(sock, &h, MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	fd = take_fd(&h);
	if (r == (ssize_t)len && !(h.msg_flags & MSG_TRUNC) && ret_fd) {
		*ret_fd = fd;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	if (r == 0)
		return -EPIPE;
	return r == (ssize_t)len && !(h.msg_flags & MSG_TRUNC) ? 0 : -EPROTO;
}
