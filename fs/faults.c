/* SPDX-License-Identifier: Apache-2.0
 * Sanitizers catch the same signals to say more about them; where one is built in, the signals are left to it.
 */
#include "fs/faults.h"
#include "sched/engine.h"

#include <signal.h>

static struct vx_table *table;

static void on_fault(int sig)
{
	int worker = vx_engine_worker_self();

	if (worker >= 0)
		vx_table_blame(table, (unsigned)worker);
	signal(sig, SIG_DFL);
	raise(sig);
}

void vx_faults_catch(struct vx_table *t)
{
	static const int deadly[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
	struct sigaction sa = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};

	table = t;
#ifdef VX_SANITIZED
	return;
#endif
	for (size_t i = 0; i < VX_ARRAY_LEN(deadly); i++)
		sigaction(deadly[i], &sa, NULL);
}
