/* SPDX-License-Identifier: Apache-2.0
 * What every answer to the kernel begins with. Any thread.
 */
#ifndef VX_FS_REQUEST_H
#define VX_FS_REQUEST_H

#include "fs/fuse_api.h"
#include "fs/mount.h"
#include "fs/node.h"

static inline struct vx_fs *vx_request_fs(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* The view of a node that a request names; answers ENOENT when the kernel asks for one that it has forgotten. */
static inline bool vx_request_view(fuse_req_t req, fuse_ino_t ino, struct vx_view *ret)
{
	if (vx_nodes_get(vx_request_fs(req)->nodes, ino, ret))
		return true;
	fuse_reply_err(req, ENOENT);
	return false;
}

#endif
