/* SPDX-License-Identifier: Apache-2.0
 * A line is formatted into one buffer and written with one call, so that threads do not mix their
 * words.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

static _Atomic enum vx_log_level most = VX_LOG_INFO;
static _Atomic bool to_syslog;

void vx_log_set_level(enum vx_log_level most_talkative)
{
	most = most_talkative;
}

void vx_log_to_syslog(void)
{
	openlog("voxfs", LOG_PID | LOG_NDELAY, LOG_DAEMON); /* at once: in the sandbox there is no way to connect */
	to_syslog = true;
}

void vx_log(enum vx_log_level level, const char *fmt, ...)
{
	static const int priority[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
	static const char *const word[] = {"error", "warning", "info", "debug"};
	char line[1024];
	va_list ap;
	int n;

	if (level > most)
		return;
	n = snprintf(line, sizeof line, "voxfs: %s: ", word[level]);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (to_syslog) {
		syslog(priority[level], "%s", line + n);
		return;
	}
	n = (int)strlen(line);
	line[n] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n + 1) < 0)
		return; /* nobody is left to tell */
}
