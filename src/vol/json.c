/* SPDX-License-Identifier: Apache-2.0
 * Getters over jansson. Numbers are all read as doubles: what voxfs takes from a document stays far
 * below 2^53, and an integer too large for 64 bits in some member that nobody asks for must not
 * spoil the document.
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

int vx_json_parse(const char *what, const char *text, size_t len, size_t max_len, struct vx_json *ret, struct vx_err *e)
{
	json_error_t err;
	json_t *top;

	if (len > max_len)
		return vx_fail(e, -EFBIG, "%s has %zu bytes; at most %zu are supported", what, len, max_len);
	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
		text += 3;
		len -= 3;
	}
	if (!len)
		return vx_fail(e, -EBADMSG, "%s is empty", what);
	top = json_loadb(text, len, JSON_DECODE_INT_AS_REAL, &err);
	if (!top && !err.text[0]) /* jansson has a sentence for everything but this */
		return vx_fail(e, -ENOMEM, "out of memory");
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
