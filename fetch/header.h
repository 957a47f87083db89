/* SPDX-License-Identifier: Apache-2.0
 * Private to fetch/: what the head of an HTTP answer says, as far as it matters here. Pure, any thread.
 */
#ifndef VX_FETCH_HEADER_H
#define VX_FETCH_HEADER_H

#include "fetch/fetch.h"

#include <time.h>

#define VX_SIZE_UNKNOWN UINT64_MAX

struct vx_answer {
	int status;
	char region[32];         /* x-amz-bucket-region: where the bucket really is; "" unless it is a good name */
	bool complete;           /* the empty line has come: what follows are trailers */
	uint64_t retry_after_ms; /* the store's wish, 0 if none */
	char content_encoding[sizeof((struct vx_fetched *)0)->content_encoding];
	char etag[sizeof((struct vx_fetched *)0)->etag]; /* "" also when it is too long */

	/* Content-Range: the first and last byte of this answer, and the size of the whole object, each
	 * VX_SIZE_UNKNOWN when not said. `ranged` is false when the header is absent or not understood. */
	bool ranged;
	uint64_t first, last, total;
};

/* Takes one header line, as it came. A status line forgets what earlier answers (redirects, interim ones) said.
 * `now` is the wall clock, for dates. */
void vx_answer_line(struct vx_answer *a, const char *line, size_t len, time_t now);

/* A Retry-After header's value, seconds or a date, as milliseconds from `now`; 0 when past or nonsense. */
uint64_t vx_retry_after_ms(const char *value, size_t len, time_t now);

/* The error's name in a page as S3 and Google's storage send it: "NoSuchKey". False when there is none. */
#define VX_ERROR_CODE_MAX 48
bool vx_error_code(const char *page, char word[VX_ERROR_CODE_MAX]);

/* "bytes 0-99/1234", "bytes 0-99/ *", "bytes * /1234" (without the blank). False when not understood. */
bool vx_content_range(const char *value, size_t len, uint64_t *ret_first, uint64_t *ret_last, uint64_t *ret_total);

#endif
