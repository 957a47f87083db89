/* SPDX-License-Identifier: Apache-2.0
 * voxfs: parse, detach, build, mount, serve, end. The fork comes before any thread or TLS; the parent stays until the
 * mount works and exits with the child's verdict, so that scripts and mount(8) can trust the status.
 *
 * Exit status, as mount(8) has it: 0 mounted (or ended well with -f), 1 wrong usage, 32 the mount failed.
 */
#include "base/log.h"
#include "fs/notify.h"
#include "fs/session.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define EXIT_USAGE 1
#define EXIT_MOUNT 32

static int complain(const struct vx_err *e, int status)
{
	fprintf(stderr, "voxfs: %s\n", e->why[0] ? e->why : strerror(-e->code));
	return status;
}

static void block_signals(sigset_t *ours)
{
	sigemptyset(ours);
	sigaddset(ours, SIGTERM);
	sigaddset(ours, SIGINT);
	sigaddset(ours, SIGHUP);
	sigaddset(ours, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, ours, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* In the parent: waits for the child's verdict and returns it. In the child: returns -1, *report is the pipe. */
static int detach(int *report)
{
	int p[2];
	unsigned char status = EXIT_MOUNT;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return EXIT_MOUNT;
	pid = fork();
	if (pid < 0)
		return EXIT_MOUNT;
	if (pid == 0) {
		close(p[0]);
		setsid();
		*report = p[1];
		return -1;
	}
	close(p[1]);
	while (read(p[0], &status, 1) < 0 && errno == EINTR)
		continue;
	close(p[0]);
	return status;
}

/* The mount works: lets go of the terminal. */
static void report_success(int report)
{
	unsigned char ok = 0;
	int null;

	if (report < 0)
		return;
	vx_log_to_syslog();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		close(null);
	}
	if (chdir("/") < 0 || write(report, &ok, 1) < 0)
		vx_log(VX_LOG_WARN, "nobody waits for the report of success");
	close(report);
}

/* Ends the session on SIGTERM or SIGINT; SIGUSR1 says that the session has ended by itself. */
static void *wait_for_signal(void *arg)
{
	struct vx_session *s = arg;
	sigset_t ours;
	int sig = 0;

	block_signals(&ours);
	while (sigwait(&ours, &sig) != 0 || sig == SIGHUP)
		continue;
	if (sig != SIGUSR1)
		vx_session_stop(s);
	return NULL;
}

static int serve(struct vx_fs *fs, int report, struct vx_err *e)
{
	struct vx_session *s = NULL;
	pthread_t signals;
	int r = vx_session_new(&s, fs, e);

	if (r < 0)
		return r;
	r = vx_notifier_start(&fs->notifier, fs, e);
	if (r == 0)
		r = vx_session_start(s, e);
	if (r == 0) {
		r = -pthread_create(&signals, NULL, wait_for_signal, s);
		if (r == 0) {
			report_success(report);
			vx_session_wait(s);
			pthread_kill(signals, SIGUSR1);
			pthread_join(signals, NULL);
		}
	}
	vx_session_end(s);
	vx_notifier_stop(&fs->notifier);
	return r;
}

static int run(const struct vx_options *o, int report)
{
	struct vx_err e = {0};
	struct vx_fs *fs = NULL;
	struct vx_session *session;
	int r;

	if (vx_fs_new(&fs, o, &e) < 0)
		return complain(&e, EXIT_MOUNT);
	r = o->fake ? 0 : serve(fs, report, &e);
	session = fs->session;
	vx_fs_free(&fs);
	vx_session_free(&session); /* last: until its end the cache may give back what it registered */
	return r < 0 ? complain(&e, EXIT_MOUNT) : 0;
}

int main(int argc, char **argv)
{
	struct vx_options o;
	struct vx_err e = {0};
	sigset_t ours;
	int status, report = -1;

	if (vx_options_parse(&o, argc, argv, &e) < 0) {
		vx_options_free(&o);
		return complain(&e, EXIT_USAGE);
	}
	if (o.help || o.version) {
		if (o.help)
			vx_options_help("voxfs");
		else
			printf("voxfs %s\n", VX_VERSION);
		vx_options_free(&o);
		return 0;
	}
	if (o.debug)
		vx_log_set_level(VX_LOG_DEBUG);
	if (!o.foreground && !o.fake) {
		status = detach(&report);
		if (status >= 0) {
			vx_options_free(&o);
			return status;
		}
	}
	block_signals(&ours);
	status = run(&o, report);
	vx_options_free(&o);
	return status;
}
