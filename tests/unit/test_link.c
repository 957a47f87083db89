/* SPDX-License-Identifier: Apache-2.0
 * Packets between keeper and server: whole or an error, with one descriptor or none, whatever the other end does.
 */
#include "../lib/vxtest.h"
#include "fs/link.h"
#include "fs/proto.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

static int s[2];

static void begin(void)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
}

static void end(void)
{
	close(s[0]);
	if (s[1] >= 0)
		close(s[1]);
}

static unsigned open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* A packet with any number of descriptors. */
static void send_raw(const void *bytes, size_t len, const int *fds, size_t n)
{
	char space[CMSG_SPACE(16 * sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec v = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};

	if (n) {
		struct cmsghdr *c = (struct cmsghdr *)space;

		h.msg_control = space;
		h.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	ck_assert_int_eq(sendmsg(s[1], &h, 0), (ssize_t)len);
}

START_TEST(there_and_back)
{
	struct vx_ask q = {.question = VX_ASK_REGISTER, .object = 0x123456789abcdef}, got = {0};
	int fd = 77;

	ck_assert_int_eq(vx_link_send(s[0], &q, sizeof q, -1), 0);
	ck_assert_int_eq(vx_link_recv(s[1], &got, sizeof got, &fd), 0);
	ck_assert(!memcmp(&q, &got, sizeof q));
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(vx_link_send(s[1], &q, sizeof q, -1), 0);
	ck_assert_int_eq(vx_link_recv(s[0], &got, sizeof got, NULL), 0);
}
END_TEST

START_TEST(a_descriptor)
{
	struct vx_tell t = {.news = VX_NEWS_START}, got;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), fd = -1;
	struct stat a, b;

	ck_assert_int_eq(vx_link_send(s[0], &t, sizeof t, null), 0);
	ck_assert_int_eq(vx_link_recv(s[1], &got, sizeof got, &fd), 0);
	ck_assert_int_ge(fd, 0);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	ck_assert_int_eq(fstat(null, &a), 0);
	ck_assert_int_eq(fstat(fd, &b), 0);
	ck_assert_uint_eq(a.st_rdev, b.st_rdev);
	close(fd);
	close(null);
}
END_TEST

/* Packets of any length but the right one are errors, each for itself. */
START_TEST(other_lengths)
{
	struct vx_ask got;
	uint8_t bytes[64] = {0};
	int fd;

	for (size_t len = 1; len < sizeof bytes; len++) {
		send_raw(bytes, len, NULL, 0);
		ck_assert_int_eq(vx_link_recv(s[0], &got, sizeof got, &fd), len == sizeof got ? 0 : -EPROTO);
		ck_assert_int_eq(fd, -1);
	}
	send_raw(bytes, 0, NULL, 0);
	ck_assert_int_lt(vx_link_recv(s[0], &got, sizeof got, NULL), 0);
	send_raw(bytes, sizeof got, NULL, 0);
	ck_assert_int_eq(vx_link_recv(s[0], &got, sizeof got, NULL), 0);
}
END_TEST

/* However many descriptors come, with packets right and wrong, wanted or not: one is kept at most. */
START_TEST(many_descriptors)
{
	struct vx_ask got;
	uint8_t bytes[64] = {0};
	int some[16], fd;
	unsigned before;

	for (int i = 0; i < 16; i++)
		some[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	before = open_files();
	for (size_t n = 1; n <= 16; n++) {
		send_raw(bytes, sizeof got, some, n);
		ck_assert_int_eq(vx_link_recv(s[0], &got, sizeof got, &fd), 0);
		ck_assert_int_ge(fd, 0);
		ck_assert_uint_eq(open_files(), before + 1);
		close(fd);
		send_raw(bytes, sizeof got, some, n);
		ck_assert_int_eq(vx_link_recv(s[0], &got, sizeof got, NULL), 0);
		send_raw(bytes, sizeof got + 1, some, n);
		ck_assert_int_eq(vx_link_recv(s[0], &got, sizeof got, &fd), -EPROTO);
		ck_assert_int_eq(fd, -1);
		send_raw(bytes, 1, some, n);
		ck_assert_int_eq(vx_link_recv(s[0], &got, sizeof got, &fd), -EPROTO);
		ck_assert_int_eq(fd, -1);
		ck_assert_uint_eq(open_files(), before);
	}
	for (int i = 0; i < 16; i++)
		close(some[i]);
}
END_TEST

START_TEST(nobody_there)
{
	struct vx_ask q = {.question = VX_ASK_COUNT}, got;

	ck_assert_int_eq(vx_link_send(s[1], &q, sizeof q, -1), 0);
	close(s[1]);
	s[1] = -1;
	ck_assert_int_eq(vx_link_recv(s[0], &got, sizeof got, NULL), 0); /* what was said still counts */
	ck_assert_int_eq(vx_link_recv(s[0], &got, sizeof got, NULL), -EPIPE);
	ck_assert_int_eq(vx_link_send(s[0], &q, sizeof q, -1), -EPIPE);
	ck_assert_int_lt(vx_link_send(-1, &q, sizeof q, -1), 0);
	ck_assert_int_lt(vx_link_recv(-1, &got, sizeof got, NULL), 0);
}
END_TEST

START_TEST(unread_words_at_the_end)
{
	struct vx_ask q = {.question = VX_ASK_COUNT}, got;

	ck_assert_int_eq(vx_link_send(s[0], &q, sizeof q, -1), 0);
	close(s[1]); /* without having read: a reset */
	s[1] = -1;
	ck_assert_int_eq(vx_link_recv(s[0], &got, sizeof got, NULL), -EPIPE);
	ck_assert_int_eq(vx_link_send(s[0], &q, sizeof q, -1), -EPIPE);
}
END_TEST

/* Who sends to one that does not listen is told so and need not wait. */
START_TEST(one_that_does_not_listen)
{
	struct vx_answer a = {0};
	unsigned n = 0;
	int r;

	while ((r = vx_link_send(s[0], &a, sizeof a, -1)) == 0)
		ck_assert_uint_lt(++n, 1000000);
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert_int_eq(vx_link_recv(s[1], &a, sizeof a, NULL), 0);
	while (--n)
		ck_assert_int_eq(vx_link_recv(s[1], &a, sizeof a, NULL), 0);
	ck_assert_int_eq(vx_link_send(s[0], &a, sizeof a, -1), 0);
}
END_TEST

int main(void)
{
	Suite *x = suite_create("link");
	TCase *t = tcase_create("link");

	tcase_add_checked_fixture(t, begin, end);
	tcase_add_test(t, there_and_back);
	tcase_add_test(t, a_descriptor);
	tcase_add_test(t, other_lengths);
	tcase_add_test(t, many_descriptors);
	tcase_add_test(t, nobody_there);
	tcase_add_test(t, unread_words_at_the_end);
	tcase_add_test(t, one_that_does_not_listen);
	suite_add_tcase(x, t);
	return vxt_run(x);
}
