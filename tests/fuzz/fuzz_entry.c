/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as an entry of the disk cache. The seal is made to fit, so that what it covers is looked at; what is
 * accepted must be what writing it again gives.
 */
#include "fetch/entry.h"

#include <string.h>
#include <xxhash.h>

#define SEAL 176

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *head, size_t len, uint64_t file_size, const char *id, size_t id_len)
{
	uint8_t again[VX_ENTRY_HEAD];
	struct vx_entry e;

	if (!vx_entry_read(&e, head, len, file_size, id, id_len))
		return;
	if (e.payload_len != file_size - VX_ENTRY_HEAD - id_len || strlen(e.etag) >= sizeof e.etag ||
	    strlen(e.content_encoding) >= sizeof e.content_encoding || (e.missing && e.payload_len))
		abort();
	vx_entry_write(again, &e, id, id_len);
	/* Text behind a NUL is not written again, and then the seal differs too. */
	if (memcmp(head, again, 88))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char id[] = "http://h/v\n\n8_8_8/0\nwhole 0 0";
	uint8_t *copy = malloc(size ? size : 1);
	size_t id_len = sizeof id - 1;
	uint64_t seal;

	memcpy(copy, data, size);
	check(copy, size, size, id, id_len);
	if (size >= VX_ENTRY_HEAD + id_len) {
		memcpy(copy + VX_ENTRY_HEAD, id, id_len);
		seal = XXH3_64bits_withSeed(id, id_len, XXH3_64bits(copy, SEAL));
		memcpy(copy + SEAL, &seal, sizeof seal);
		check(copy, size, size, id, id_len);
		check(copy, VX_ENTRY_HEAD + id_len, size, id, id_len);
	}
	free(copy);
	return 0;
}
