/* SPDX-License-Identifier: Apache-2.0
 * Directories: what opendir finds is a snapshot. A directory that the server before had open is listed anew. Any
 * thread.
 */
#ifndef VX_FS_DIR_H
#define VX_FS_DIR_H

#include "fs/fuse_api.h"

void vx_on_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vx_on_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void vx_on_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

#endif
