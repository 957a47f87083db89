/* SPDX-License-Identifier: Apache-2.0
 * Entries of the disk cache as bytes.
 */
#include "fetch/entry.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#define VERSION 1
#define FLAG_MISSING 1u

enum {
	AT_VERSION = 8,
	AT_ID_LEN = 12,
	AT_LEN = 16,
	AT_SUM = 24,
	AT_TOTAL = 32,
	AT_FLAGS = 40,
	AT_ZEROS = 44,
	AT_ETAG = 88,
	AT_ENCODING = 160,
	AT_SEAL = 176,
};

static const char magic[8] = "voxfsdc";

static void put64(uint8_t *to, uint64_t v)
{
	v = htole64(v);
	memcpy(to, &v, sizeof v);
}

static void put32(uint8_t *to, uint32_t v)
{
	v = htole32(v);
	memcpy(to, &v, sizeof v);
}

static uint64_t get64(const uint8_t *from)
{
	uint64_t v;

	memcpy(&v, from, sizeof v);
	return le64toh(v);
}

static uint32_t get32(const uint8_t *from)
{
	uint32_t v;

	memcpy(&v, from, sizeof v);
	return le32toh(v);
}

uint64_t vx_entry_sum(const void *payload, size_t len)
{
	return XXH3_64bits(payload, len);
}

/* Lines, because neither URLs nor keys have control characters: two identities never read the same. */
int vx_entry_identify(struct vx_entry_id *id, const char *base, size_t base_len, const char *account,
		      const struct vx_fetch *r)
{
	int n = snprintf(id->text, sizeof id->text, "%.*s\n%s\n%s\n%s %llu %llu", (int)base_len, base, account, r->key,
			 !r->range.len     ? "whole"
			 : r->range.suffix ? "suffix"
					   : "range",
			 r->range.len && !r->range.suffix ? (unsigned long long)r->range.off : 0,
			 (unsigned long long)r->range.len);

	if (n < 0 || (size_t)n >= sizeof id->text)
		return -EBADMSG;
	id->len = (size_t)n;
	return 0;
}

void vx_entry_name(const char *id, size_t len, char name[VX_ENTRY_NAME])
{
	XXH128_hash_t h = XXH3_128bits(id, len);

	snprintf(name, VX_ENTRY_NAME, "%02x/%014llx%016llx", (unsigned)(h.high64 >> 56),
		 (unsigned long long)(h.high64 & 0xffffffffffffff), (unsigned long long)h.low64);
}

static uint64_t seal_of(const uint8_t *head, const char *id, size_t id_len)
{
	return XXH3_64bits_withSeed(id, id_len, XXH3_64bits(head, AT_SEAL));
}

void vx_entry_write_checked(uint8_t *cell, uint64_t seal, uint64_t checked_ns)
{
	put64(cell, checked_ns);
	put64(cell + 8, XXH3_64bits_withSeed(cell, 8, seal));
}

void vx_entry_write(uint8_t *head, struct vx_entry *e, const char *id, size_t id_len)
{
	memset(head, 0, VX_ENTRY_HEAD);
	memcpy(head, magic, sizeof magic);
	put32(head + AT_VERSION, VERSION);
	put32(head + AT_ID_LEN, (uint32_t)id_len);
	put64(head + AT_LEN, e->payload_len);
	put64(head + AT_SUM, e->payload_sum);
	put64(head + AT_TOTAL, e->total);
	put32(head + AT_FLAGS, e->missing ? FLAG_MISSING : 0);
	memcpy(head + AT_ETAG, e->etag, strnlen(e->etag, sizeof e->etag));
	memcpy(head + AT_ENCODING, e->content_encoding, strnlen(e->content_encoding, sizeof e->content_encoding));
	e->seal = seal_of(head, id, id_len);
	put64(head + AT_SEAL, e->seal);
	vx_entry_write_checked(head + VX_ENTRY_CHECKED, e->seal, e->checked_ns);
}

static bool is_zero(const uint8_t *p, size_t n)
{
	uint8_t any = 0;

	while (n--)
		any |= *p++;
	return !any;
}

bool vx_entry_read(struct vx_entry *ret, const uint8_t *head, size_t len, uint64_t file_size, const char *id,
		   size_t id_len)
{
	struct vx_entry e;

	if (len < VX_ENTRY_HEAD || len - VX_ENTRY_HEAD < id_len || memcmp(head, magic, sizeof magic) ||
	    get32(head + AT_VERSION) != VERSION || get32(head + AT_ID_LEN) != id_len ||
	    memcmp(head + VX_ENTRY_HEAD, id, id_len))
		return false;
	e.seal = get64(head + AT_SEAL);
	if (seal_of(head, id, id_len) != e.seal)
		return false;
	/* The seal is no signature: what it covers is looked at all the same. */
	e.payload_len = get64(head + AT_LEN);
	e.payload_sum = get64(head + AT_SUM);
	e.total = get64(head + AT_TOTAL);
	e.missing = get32(head + AT_FLAGS) & FLAG_MISSING;
	memcpy(e.etag, head + AT_ETAG, sizeof e.etag);
	memcpy(e.content_encoding, head + AT_ENCODING, sizeof e.content_encoding);
	if (file_size < VX_ENTRY_HEAD + id_len || file_size - VX_ENTRY_HEAD - id_len != e.payload_len ||
	    get32(head + AT_FLAGS) & ~FLAG_MISSING || !is_zero(head + AT_ZEROS, AT_ETAG - AT_ZEROS) ||
	    (e.missing && e.payload_len) || e.etag[sizeof e.etag - 1] ||
	    e.content_encoding[sizeof e.content_encoding - 1])
		return false;
	e.checked_ns = get64(head + VX_ENTRY_CHECKED);
	if (XXH3_64bits_withSeed(head + VX_ENTRY_CHECKED, 8, e.seal) != get64(head + VX_ENTRY_CHECKED + 8))
		e.checked_ns = 0;
	*ret = e;
	return true;
}
