/* SPDX-License-Identifier: Apache-2.0
 * Messages of fixed size over sequenced-packet sockets, with or without a descriptor. Any thread.
 */
#ifndef VX_FS_LINK_H
#define VX_FS_LINK_H

#include "base/vx.h"

/* Never waits. 0, or negative errno; -EPIPE: nobody is at the other end; -EAGAIN: who is there reads nothing. `fd` -1:
 * none. */
int vx_link_send(int sock, const void *msg, size_t len, int fd);
/* Exactly `len` bytes, else -EPROTO; -EPIPE: nobody is at the other end. A descriptor that came goes to *ret_fd (NULL:
 * none is taken). */
int vx_link_recv(int sock, void *msg, size_t len, int *ret_fd);

#endif
