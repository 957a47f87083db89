/* SPDX-License-Identifier: Apache-2.0
 * The log: one line is one event. To stderr until the daemon detaches, to syslog afterwards. Any
 * thread.
 */
#ifndef VX_BASE_LOG_H
#define VX_BASE_LOG_H

#include "base/vx.h"

enum vx_log_level { VX_LOG_ERROR, VX_LOG_WARN, VX_LOG_INFO, VX_LOG_DEBUG };

void vx_log_set_level(enum vx_log_level most_talkative);
/* Connects to syslog, for a process that will not be able to later. */
void vx_log_reach_syslog(void);
/* Call once, before threads, when the daemon is about to lose its stderr. */
void vx_log_to_syslog(void);
void vx_log(enum vx_log_level level, const char *fmt, ...) VX_PRINTF(2, 3);

#endif
