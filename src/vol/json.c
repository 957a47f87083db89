/* SPDX-License-Identifier: Apache-2.0
 * Getters over jansson. Numbers are read as doubles: what voxfs takes from a document stays far below 2^53, and an
 * integer too large for 64 bits in some member that nobody asks for must not spoil the document. Only fill values need
 * every digit: loose documents keep them.
 */
#include "vol/json.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void VX_PRINTF(2, 3) set_path(struct vx_json *j, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(j->path, sizeof j->path, fmt, ap);
	va_end(ap);
	assert(n >= 0 && (size_t)n < sizeof j->path);
	(void)n;
}

struct vx_quote vx_quote(const char *s)
{
	struct vx_quote q;
	size_t n = strlen(s), room = sizeof q.text - sizeof "\"...\"";
	const char *dots = "";

	if (n > room) {
		n = room;
		while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80) /* not inside a character */
			n--;
		dots = "...";
	}
	snprintf(q.text, sizeof q.text, "\"%.*s%s\"", (int)n, s, dots);
	return q;
}

static const char *kind(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		break;
	}
	return "null";
}

static int wrong_kind(const struct vx_json *j, const char *want, struct vx_err *e)
{
	return vx_fail(e, -EBADMSG, "%s is %s; it must be %s", j->path, kind(j->value), want);
}

static int parse(const char *what, const char *text, size_t len, size_t flags, struct vx_json *ret, struct vx_err *e)
{
	json_error_t err;
	json_t *top;

	if (!len)
		return vx_fail(e, -EBADMSG, "%s is empty", what);
	top = json_loadb(text, len, flags, &err);
	if (!top && !err.text[0]) /* jansson has a sentence for everything but this */
		return vx_no_memory(e);
	if (!top)
		return vx_fail(e, -EBADMSG, "%s is not JSON: line %d, column %d: %s", what, err.line, err.column,
			       err.text);
	if (!json_is_object(top)) {
		vx_fail(e, -EBADMSG, "%s is %s; it must be an object", what, kind(top));
		json_decref(top);
		return -EBADMSG;
	}
	*ret = (struct vx_json){.value = top};
	return 0;
}

static int check_length(const char *what, const char **text, size_t *len, size_t max_len, struct vx_err *e)
{
	if (*len > max_len)
		return vx_fail(e, -EFBIG, "%s has %zu bytes; at most %zu are supported", what, *len, max_len);
	if (*len >= 3 && !memcmp(*text, "\xef\xbb\xbf", 3)) {
		*text += 3;
		*len -= 3;
	}
	return 0;
}

int vx_json_parse(const char *what, const char *text, size_t len, size_t max_len, struct vx_json *ret, struct vx_err *e)
{
	int r = check_length(what, &text, &len, max_len, e);

	return r < 0 ? r : parse(what, text, len, JSON_DECODE_INT_AS_REAL, ret, e);
}

/* ---- documents as Python writes them ---- */

#define NUMBER_MAX 400 /* longer numbers stay as they are: jansson reads or refuses them */

/* What stands for the token [t, t+n), which is outside strings; NULL: itself. `copy` has room for NUMBER_MAX. */
static const char *stand_in(const char *t, size_t n, char *copy)
{
	static const char *const bare[] = {"NaN", "Infinity", "-Infinity"};
	size_t digits = t[0] == '-';

	for (unsigned i = 0; i < VX_ARRAY_LEN(bare); i++)
		if (n == strlen(bare[i]) && !memcmp(t, bare[i], n))
			return bare[i];
	if (n >= NUMBER_MAX || n == digits || t[digits] < '0' || t[digits] > '9')
		return NULL;
	memcpy(copy, t, n);
	copy[n] = 0;
	errno = 0;
	if (strspn(copy + digits, "0123456789") == n - digits) {
		strtoll(copy, NULL, 10);
		return errno == ERANGE ? copy : NULL;
	}
	if (strspn(copy, "0123456789+-.eE") != n || isfinite(strtod(copy, NULL)))
		return NULL;
	return bare[digits ? 2 : 1];
}

/* Length of the string that begins at t[0] == '"', quotes included. */
static size_t string_length(const char *t, size_t len)
{
	size_t i = 1;

	while (i < len && t[i] != '"')
		i += t[i] == '\\' ? 2 : 1;
	return i + 1 < len ? i + 1 : len;
}

static bool in_token(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' || c == '-' ||
	       c == '.';
}

/* Every token grows by its two quotes, and by five letters where "1e9" becomes "Infinity"; `ret` has room for that. */
static size_t rewrite(const char *text, size_t len, char *ret)
{
	char copy[NUMBER_MAX], *to = ret;

	for (size_t i = 0, n; i < len; i += n) {
		const char *other = NULL;

		n = 1;
		if (text[i] == '"') {
			n = string_length(text + i, len - i);
		} else if (in_token(text[i])) {
			while (i + n < len && in_token(text[i + n]))
				n++;
			other = stand_in(text + i, n, copy);
		}
		if (other) {
			*to++ = '"';
			to = stpcpy(to, other);
			*to++ = '"';
		} else {
			memcpy(to, text + i, n);
			to += n;
		}
	}
	return (size_t)(to - ret);
}

int vx_json_parse_loose(const char *what, const char *text, size_t len, size_t max_len, struct vx_json *ret,
			struct vx_err *e)
{
	VX_AUTO_FREE char *strict = NULL;
	int r = check_length(what, &text, &len, max_len, e);

	if (r < 0)
		return r;
	strict = malloc(3 * len + 16); /* "1e999," becomes "\"Infinity\"," at the worst */
	if (!strict)
		return vx_no_memory(e);
	return parse(what, strict, rewrite(text, len, strict), 0, ret, e);
}

void vx_json_free(struct vx_json *document)
{
	json_decref((json_t *)document->value);
	document->value = NULL;
}

bool vx_json_find(const struct vx_json *object, const char *name, struct vx_json *ret)
{
	set_path(ret, "%s%s%s", object->path, object->path[0] ? "." : "", name);
	ret->value = json_object_get(object->value, name);
	return ret->value;
}

int vx_json_get(const struct vx_json *object, const char *name, struct vx_json *ret, struct vx_err *e)
{
	if (!vx_json_find(object, name, ret))
		return vx_fail(e, -EBADMSG, "%s is missing", ret->path);
	return 0;
}

void vx_json_at(const struct vx_json *array, size_t i, struct vx_json *ret)
{
	set_path(ret, "%s[%zu]", array->path, i);
	ret->value = json_array_get(array->value, i);
	assert(ret->value);
}

int vx_json_object(const struct vx_json *j, struct vx_err *e)
{
	return json_is_object(j->value) ? 0 : wrong_kind(j, "an object", e);
}

int vx_json_array(const struct vx_json *j, size_t min, size_t max, size_t *ret, struct vx_err *e)
{
	size_t n = json_array_size(j->value);

	if (!json_is_array(j->value))
		return wrong_kind(j, "an array", e);
	if (n < min || n > max)
		return vx_fail(e, -EBADMSG, "%s has %zu entries; it must have %s %zu", j->path, n,
			       min == max ? "exactly"
			       : n < min  ? "at least"
					  : "at most",
			       n < min ? min : max);
	*ret = n;
	return 0;
}

int vx_json_string(const struct vx_json *j, const char **ret, struct vx_err *e)
{
	if (!json_is_string(j->value))
		return wrong_kind(j, "a string", e);
	*ret = json_string_value(j->value);
	return 0;
}

int vx_json_int(const struct vx_json *j, int64_t min, int64_t max, int64_t *ret, struct vx_err *e)
{
	double x = json_number_value(j->value);

	if (!json_is_number(j->value))
		return wrong_kind(j, "an integer", e);
	if (x < (double)min)
		return vx_fail(e, -EBADMSG, "%s is %.15g; it must be at least %lld", j->path, x, (long long)min);
	if (x > (double)max)
		return vx_fail(e, -EBADMSG, "%s is %.15g; it must be at most %lld", j->path, x, (long long)max);
	if (x != (double)(int64_t)x)
		return vx_fail(e, -EBADMSG, "%s is %.15g; it must be an integer", j->path, x);
	*ret = (int64_t)x;
	return 0;
}

int vx_json_real(const struct vx_json *j, double *ret, struct vx_err *e)
{
	if (!json_is_number(j->value))
		return wrong_kind(j, "a number", e);
	*ret = json_number_value(j->value);
	return 0;
}

int vx_json_no_others(const struct vx_json *object, const char *const *known, struct vx_err *e)
{
	const char *key;
	json_t *member;

	json_object_foreach((json_t *)object->value, key, member)
	{
		bool found = false;

		for (const char *const *k = known; *k; k++)
			found |= !strcmp(*k, key);
		if (!found)
			return vx_fail(e, -EOPNOTSUPP, "%s%shas the member %s, which is not known", object->path,
				       object->path[0] ? " " : "it ", vx_quote(key).text);
	}
	return 0;
}

int vx_json_int3(const struct vx_json *j, int64_t min, int64_t max, int64_t ret[3], struct vx_err *e)
{
	struct vx_json item;
	size_t n;
	int r = vx_json_array(j, 3, 3, &n, e);

	for (size_t d = 0; r >= 0 && d < 3; d++) {
		vx_json_at(j, d, &item);
		r = vx_json_int(&item, min, max, &ret[d], e);
	}
	return r;
}

int vx_json_positive3(const struct vx_json *j, double ret[3], struct vx_err *e)
{
	struct vx_json item;
	size_t n;
	int r = vx_json_array(j, 3, 3, &n, e);

	if (r < 0)
		return r;
	for (size_t d = 0; d < 3; d++) {
		vx_json_at(j, d, &item);
		if (!json_is_number(item.value))
			return wrong_kind(&item, "a number", e);
		ret[d] = json_number_value(item.value);
		if (!(ret[d] > 0) || !isfinite(ret[d]))
			return vx_fail(e, -EBADMSG, "%s is %.15g; it must be above 0", item.path, ret[d]);
	}
	return 0;
}
