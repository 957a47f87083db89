/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: who asks a store, without saying it. What one account was given must not be served from the disk
 * cache to a mount that has other credentials or none, so the account is part of an entry's identity: a slow digest
 * from which neither names nor secrets can be had back. Any thread.
 */
#ifndef VX_FETCH_ACCOUNT_H
#define VX_FETCH_ACCOUNT_H

#include "base/vx.h"

#define VX_ACCOUNT 33

/* `parts` are the credentials, NULL for those there are not; `origin` says where they are used. "" when there are
 * none. -ENOMEM. */
int vx_account_digest(char ret[VX_ACCOUNT], const char *origin, const char *const *parts, size_t count);

#endif
