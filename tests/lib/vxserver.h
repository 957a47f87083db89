/* SPDX-License-Identifier: Apache-2.0
 * One of the servers in tests/lib, on a folder, for as long as the test runs. Included once in a program.
 */
#ifndef VX_TESTS_SERVER_H
#define VX_TESTS_SERVER_H

#include "base/vx.h"

#include <arpa/inet.h>
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

static int server_stdin = -1;
static pid_t server;

/* Its port. */
static inline int vxs_start(const char *program, const char *root)
{
	char script[512];
	int in[2], out[2], port;
	FILE *said;

	snprintf(script, sizeof script, "%s/tests/lib/%s", VX_SOURCE_ROOT, program);
	setenv("no_proxy", "*", 1);
	ck_assert_int_eq(pipe(in) | pipe(out), 0);
	server = fork();
	ck_assert_int_ge(server, 0);
	if (server == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		execl("/usr/bin/python3", "python3", script, "--root", root, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	server_stdin = in[1];
	said = fdopen(out[0], "r");
	ck_assert_int_eq(fscanf(said, "PORT %d", &port), 1);
	fclose(said);
	return port;
}

static inline void vxs_stop(void)
{
	if (server <= 0)
		return;
	close(server_stdin);
	waitpid(server, NULL, 0);
	server = 0;
}

/* Sends one control request, returns the answer's body; the caller does not free it. */
static inline const char *vxs_control(int port, const char *method, const char *path, const char *body)
{
	static char reply[1 << 20];
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t len = 0;
	ssize_t n;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	dprintf(fd, "%s %s HTTP/1.1\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", method, path, strlen(body),
		body);
	while ((n = read(fd, reply + len, sizeof reply - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	reply[len] = 0;
	ck_assert_msg(strncmp(reply, "HTTP/1.1 200", 12) == 0, "%s %s: %s", method, path, reply);
	return strstr(reply, "\r\n\r\n") + 4;
}

/* A number of /__stats; -1 when it is not there. */
static inline int vxs_stat(int port, const char *name)
{
	const char *all = vxs_control(port, "GET", "/__stats", "");
	char quoted[64];
	const char *at;

	snprintf(quoted, sizeof quoted, "\"%s\": ", name);
	at = strstr(all, quoted);
	return at ? atoi(at + strlen(quoted)) : -1;
}

#endif
