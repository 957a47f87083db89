/* SPDX-License-Identifier: Apache-2.0
 * serve root=DIR delay_ms=N mbs=N: HTTP/1.1 on the loopback, GET only, keep-alive, one thread on epoll. Each answer
 * leaves delay_ms after its request came, and as much later as its body takes at mbs million bytes a second (0: no
 * time), which stands for the rate of one connection. Prints the port; ends with its standard input. Serves FILE.gz as
 * FILE with Content-Encoding: gzip when FILE is not there, and single byte ranges.
 */
#include "base/list.h"
#include "benchlib/bench.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define REQUEST_MAX 8192

struct peer {
	struct vx_link waiting; /* for its time to come */
	int fd, file;
	double due;
	size_t got; /* of the request */
	char request[REQUEST_MAX];
	char head[256];
	size_t head_len, head_sent;
	off_t at, size;
};

struct server {
	const char *root;
	double delay, rate; /* rate: bytes a second, 0: no limit */
	int epoll, listener;
	struct vx_link waiting;
};

static void watch(struct server *s, int fd, void *who, uint32_t events, int op)
{
	struct epoll_event ev = {.events = events, .data.ptr = who};

	if (epoll_ctl(s->epoll, op, fd, &ev) < 0)
		bench_die("epoll");
}

static void hang_up(struct peer *p)
{
	vx_list_remove(&p->waiting);
	if (p->file >= 0)
		close(p->file);
	close(p->fd);
	free(p);
}

/* Cuts the answer to the range asked for; false when none was. */
static bool cut_range(struct peer *p, off_t whole)
{
	const char *range = strcasestr(p->request, "\r\nRange: bytes=");
	long long first, last;

	if (!range || p->file < 0)
		return false;
	range += strlen("\r\nRange: bytes=");
	if (sscanf(range, "-%lld", &last) == 1 && range[0] == '-') {
		first = last < whole ? whole - last : 0;
		last = whole - 1;
	} else if (sscanf(range, "%lld-%lld", &first, &last) != 2 || first > last || first >= whole) {
		return false;
	}
	p->at = first;
	p->size = last < whole ? last + 1 : whole;
	return true;
}

/* Opens what is asked for and writes the head. */
static void prepare(struct server *s, struct peer *p)
{
	char path[4096], target[2048] = "", range[128] = "", *query;
	const char *encoding = "";
	struct stat st = {0};

	if (sscanf(p->request, "GET %2047s HTTP/1.1", target) != 1 || strstr(target, ".."))
		target[0] = 0;
	query = strchr(target, '?');
	if (query)
		*query = 0;
	snprintf(path, sizeof path, "%s%s", s->root, target);
	p->file = open(path, O_RDONLY | O_CLOEXEC);
	if (p->file < 0) {
		strcat(path, ".gz");
		p->file = open(path, O_RDONLY | O_CLOEXEC);
		encoding = "Content-Encoding: gzip\r\n";
	}
	if (p->file >= 0 && (fstat(p->file, &st) < 0 || !S_ISREG(st.st_mode))) {
		close(p->file);
		p->file = -1;
	}
	p->size = p->file >= 0 ? st.st_size : 0;
	p->at = 0;
	p->head_sent = 0;
	if (cut_range(p, st.st_size))
		snprintf(range, sizeof range, "Content-Range: bytes %lld-%lld/%lld\r\n", (long long)p->at,
			 (long long)p->size - 1, (long long)st.st_size);
	p->head_len = (size_t)snprintf(p->head, sizeof p->head, "HTTP/1.1 %s\r\nContent-Length: %lld\r\n%s%s\r\n",
				       p->file < 0 ? "404 Not Found"
				       : range[0]  ? "206 Partial Content"
						   : "200 OK",
				       (long long)(p->size - p->at), range, p->file >= 0 ? encoding : "");
}

/* In order of when they are due. */
static void wait_until_due(struct server *s, struct peer *p)
{
	struct vx_link *before = &s->waiting;

	while (before->prev != &s->waiting && vx_list_entry(before->prev, struct peer, waiting)->due > p->due)
		before = before->prev;
	vx_list_insert(before, &p->waiting);
}

static bool send_head(struct peer *p)
{
	ssize_t n = send(p->fd, p->head + p->head_sent, p->head_len - p->head_sent, MSG_NOSIGNAL | MSG_MORE);

	if (n > 0)
		p->head_sent += (size_t)n;
	return n > 0 || errno == EAGAIN;
}

static bool send_body(struct peer *p)
{
	ssize_t n = sendfile(p->fd, p->file, &p->at, (size_t)(p->size - p->at));

	return n > 0 || (n < 0 && errno == EAGAIN);
}

/* Sends what the socket takes; then waits for room, or for the next request. */
static void answer(struct server *s, struct peer *p)
{
	bool ok = true, blocked = false;

	while (ok && !blocked && p->head_sent < p->head_len) {
		errno = 0;
		ok = send_head(p);
		blocked = errno == EAGAIN;
	}
	while (ok && !blocked && p->at < p->size) {
		errno = 0;
		ok = send_body(p);
		blocked = errno == EAGAIN;
	}
	if (!ok) {
		hang_up(p);
	} else if (blocked) {
		watch(s, p->fd, p, EPOLLOUT, EPOLL_CTL_MOD);
	} else {
		if (p->file >= 0)
			close(p->file);
		p->file = -1;
		p->got = 0;
		watch(s, p->fd, p, EPOLLIN, EPOLL_CTL_MOD);
	}
}

static void hear(struct server *s, struct peer *p)
{
	ssize_t n = read(p->fd, p->request + p->got, REQUEST_MAX - 1 - p->got);

	if (n <= 0) {
		hang_up(p);
		return;
	}
	p->got += (size_t)n;
	p->request[p->got] = 0;
	if (!strstr(p->request, "\r\n\r\n"))
		return;
	watch(s, p->fd, p, 0, EPOLL_CTL_MOD);
	prepare(s, p);
	p->due = bench_now() + s->delay + (s->rate > 0 ? (double)(p->size - p->at) / s->rate : 0);
	wait_until_due(s, p);
}

static void greet(struct server *s)
{
	int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
	struct peer *p = fd < 0 ? NULL : calloc(1, sizeof *p);

	if (!p)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	vx_list_init(&p->waiting);
	p->fd = fd;
	p->file = -1;
	watch(s, fd, p, EPOLLIN, EPOLL_CTL_ADD);
}

static void answer_due(struct server *s)
{
	double now = bench_now();

	while (!vx_list_empty(&s->waiting)) {
		struct peer *p = vx_list_entry(s->waiting.next, struct peer, waiting);

		if (p->due > now)
			return;
		vx_list_remove(&p->waiting);
		answer(s, p);
	}
}

static void sleep_for(const struct server *s, struct timespec *t)
{
	double left = 3600;

	if (!vx_list_empty(&s->waiting))
		left = vx_list_entry(s->waiting.next, struct peer, waiting)->due - bench_now();
	if (left < 0)
		left = 0;
	t->tv_sec = (time_t)left;
	t->tv_nsec = (long)((left - (double)t->tv_sec) * 1e9);
}

static void listen_on_loopback(struct server *s)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;

	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->listener < 0 || bind(s->listener, (struct sockaddr *)&at, sizeof at) < 0 ||
	    listen(s->listener, 1024) < 0 || getsockname(s->listener, (struct sockaddr *)&at, &len) < 0)
		bench_die("listen");
	printf("{\"port\": %u}\n", ntohs(at.sin_port));
	fflush(stdout);
}

int bench_serve(const struct bench_args *a)
{
	struct server s = {.root = bench_text(a, "root", NULL),
			   .delay = (double)bench_number(a, "delay_ms", 0) / 1e3,
			   .rate = (double)bench_number(a, "mbs", 0) * 1e6};
	static int input, listener; /* their addresses stand for them */
	struct epoll_event ev[64];
	struct timespec t;

	s.epoll = epoll_create1(EPOLL_CLOEXEC);
	vx_list_init(&s.waiting);
	listen_on_loopback(&s);
	watch(&s, s.listener, &listener, EPOLLIN, EPOLL_CTL_ADD);
	watch(&s, STDIN_FILENO, &input, EPOLLIN, EPOLL_CTL_ADD);
	for (;;) {
		int n;

		sleep_for(&s, &t);
		n = epoll_pwait2(s.epoll, ev, 64, &t, NULL);
		for (int i = 0; i < n; i++) {
			struct peer *p = ev[i].data.ptr;

			if ((void *)p == &input)
				return 0;
			if ((void *)p == &listener)
				greet(&s);
			else if (ev[i].events & EPOLLOUT)
				answer(&s, p);
			else
				hear(&s, p);
		}
		answer_due(&s);
	}
}
