/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: what one file of the disk cache holds. Pure: bytes in, bytes out; any thread. What a file says is
 * believed only when its checksums hold, its length is exact and the full identity in it is the one that is looked for.
 *
 *      0  magic "voxfsdc", NUL              88  etag, NUL-padded (72)
 *      8  version (4)                      160  content encoding, NUL-padded (16)
 *     12  length of the identity (4)       176  seal: XXH3 of bytes 0 to 175 and the identity
 *     16  length of the payload            184  when the store was last asked, ns since 1970
 *     24  XXH3 of the payload              192  XXH3 of the field before, seeded with the seal
 *     32  the object's whole size          200  identity, then payload, then nothing
 *     40  flags (4): 1 is missing
 *     44  zeros (44)
 *
 * All numbers are little-endian. Bytes 184 to 199 are the only ones that are ever written again in place; when they
 * do not fit together, the age is unknown and the rest is still good.
 */
#ifndef VX_FETCH_ENTRY_H
#define VX_FETCH_ENTRY_H

#include "fetch/account.h"
#include "fetch/fetch.h"

#include "base/limits.h"

#define VX_ENTRY_HEAD 200 /* bytes before the identity */
#define VX_ENTRY_CHECKED 184
#define VX_ENTRY_CELL 16
#define VX_ENTRY_NAME 34 /* "ab/" and 30 hexadecimal digits, NUL */

/* Which answer an entry holds: everything that decides what a store would say, as text. */
struct vx_entry_id {
	size_t len;
	char text[VX_MAX_URL + VX_ACCOUNT + sizeof((struct vx_fetch *)0)->key + 64];
};

/* `base` is the store's URL without secrets. -EBADMSG when something is too long. */
int vx_entry_identify(struct vx_entry_id *id, const char *base, size_t base_len, const char *account,
		      const struct vx_fetch *r);
/* The file's name. Two identities may share it: the identity inside decides. */
void vx_entry_name(const char *id, size_t len, char name[VX_ENTRY_NAME]);

struct vx_entry {
	uint64_t payload_len, payload_sum, total;
	bool missing; /* the store does not have the object; the payload is empty */
	char etag[sizeof((struct vx_fetched *)0)->etag];
	char content_encoding[sizeof((struct vx_fetched *)0)->content_encoding];
	uint64_t seal;
	uint64_t checked_ns; /* 0: unknown */
};

/* Writes VX_ENTRY_HEAD bytes; sets e->seal. e->payload_sum is the caller's. */
void vx_entry_write(uint8_t *head, struct vx_entry *e, const char *id, size_t id_len);
/* The sixteen bytes from VX_ENTRY_CHECKED on. */
void vx_entry_write_checked(uint8_t *cell, uint64_t seal, uint64_t checked_ns);
/* `head` has the first bytes of a file of `file_size`: VX_ENTRY_HEAD and the identity that is looked for, as many as it
 * has. False: not this identity's entry, of another version, or damaged. */
bool vx_entry_read(struct vx_entry *ret, const uint8_t *head, size_t len, uint64_t file_size, const char *id,
		   size_t id_len);

uint64_t vx_entry_sum(const void *payload, size_t len);

#endif
