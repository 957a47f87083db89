/* SPDX-License-Identifier: Apache-2.0
 * The command line: mount(8)'s conventions, one table for parser and help. Pure but for reading memory limits.
 */
#ifndef VX_FS_OPTIONS_H
#define VX_FS_OPTIONS_H

#include "base/err.h"
#include "fetch/diskcache.h"
#include "sched/taskq.h"

enum vx_zerocopy { VX_ZEROCOPY_AUTO, VX_ZEROCOPY_PASSTHROUGH, VX_ZEROCOPY_OFF };

struct vx_options {
	char *source, *mountpoint;
	bool foreground, fake, help, version, sloppy;
	/* -o */
	char *name;
	uint64_t cache, eager, warm; /* bytes; eager and warm UINT64_MAX: decide by yourself */
	uint64_t threads, connections, tries;
	double timeout, stall, wait; /* seconds */
	char *diskcache;             /* a directory, or NULL */
	uint64_t diskcache_size;     /* bytes; 0: the percentage */
	double diskcache_percent;    /* of its filesystem */
	uint64_t diskcache_check;    /* ns, or VX_CHECK_NEVER, VX_CHECK_MOUNT */
	bool fill_missing, hedge, allow_other;
	enum vx_zerocopy zerocopy;
	enum vx_policy policy;
	bool debug;
};

/* -EINVAL and a sentence that names the option. */
int vx_options_parse(struct vx_options *o, int argc, char **argv, struct vx_err *e);
void vx_options_free(struct vx_options *o);
void vx_options_help(const char *program);

/* "512M", "1.5G", "25%" (of `whole`), "4096"; false when malformed or beyond 2^62. */
bool vx_parse_bytes(const char *text, uint64_t whole, uint64_t *ret);

/* Memory that this process may use: the machine's, or its control group's limit if that is less. */
uint64_t vx_memory_limit(void);

#endif
