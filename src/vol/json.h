/* SPDX-License-Identifier: Apache-2.0
 * Typed, bounded getters over jansson. Every value travels with its path in the document, and every
 * error sentence begins with that path ("scales[2].size[0] is 0; it must be at least 1"). Any
 * thread; values are borrowed from the document.
 */
#ifndef VX_VOL_JSON_H
#define VX_VOL_JSON_H

#include "base/err.h"

#include <jansson.h>

struct vx_json {
	const json_t *value;
	char path[192]; /* "" for the document; members are named by our code, so it is short */
};

/* A string that came from outside, as error sentences show it: in quotes and cut where it is long. */
struct vx_quote {
	char text[72];
};
struct vx_quote vx_quote(const char *s);

/* Parses a strict JSON document whose top is an object; a byte-order mark in front is fine. Of members that occur
 * twice the last one counts, as in Python. `what` names the document in sentences. *ret->value must be given to
 * vx_json_free. */
int vx_json_parse(const char *what, const char *text, size_t len, size_t max_len, struct vx_json *ret,
		  struct vx_err *e);
/* The same for documents as Python writes them: bare NaN, Infinity and -Infinity, and numbers beyond the range of a
 * double, are read as the strings "NaN", "Infinity" and "-Infinity"; integers beyond 64 bits with a sign as strings of
 * their digits. Other integers keep every digit. */
int vx_json_parse_loose(const char *what, const char *text, size_t len, size_t max_len, struct vx_json *ret,
			struct vx_err *e);
void vx_json_free(struct vx_json *document);
#define VX_AUTO_JSON VX_CLEANUP(vx_json_free)

/* The member of an object: false when there is none. *ret may then be used for its path only. */
bool vx_json_find(const struct vx_json *object, const char *name, struct vx_json *ret);
/* The same, where there must be one. */
int vx_json_get(const struct vx_json *object, const char *name, struct vx_json *ret, struct vx_err *e);
/* Entry i of an array that has it. */
void vx_json_at(const struct vx_json *array, size_t i, struct vx_json *ret);

int vx_json_object(const struct vx_json *j, struct vx_err *e);
/* An array of min..max entries; *ret is how many. */
int vx_json_array(const struct vx_json *j, size_t min, size_t max, size_t *ret, struct vx_err *e);
int vx_json_string(const struct vx_json *j, const char **ret, struct vx_err *e);
/* A whole number within [min, max], both at most 2^53 in absolute value; "4.0" is one. */
int vx_json_int(const struct vx_json *j, int64_t min, int64_t max, int64_t *ret, struct vx_err *e);
int vx_json_int3(const struct vx_json *j, int64_t min, int64_t max, int64_t ret[3], struct vx_err *e);
/* A finite number. */
int vx_json_real(const struct vx_json *j, double *ret, struct vx_err *e);
/* -EOPNOTSUPP and a sentence that names the first member of the object that is not in `known`, which NULL ends. */
int vx_json_no_others(const struct vx_json *object, const char *const *known, struct vx_err *e);
/* Three finite numbers above 0. */
int vx_json_positive3(const struct vx_json *j, double ret[3], struct vx_err *e);

#endif
