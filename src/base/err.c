/* SPDX-License-Identifier: Apache-2.0
 * Error sentences. They end up in logs, JSON and extended attributes, so they hold printable text
 * only.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void make_printable(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

int vx_fail(struct vx_err *e, int code, const char *fmt, ...)
{
	va_list ap;
	char text[sizeof e->why];

	if (!e)
		return code;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	make_printable(text);
	memcpy(e->why, text, sizeof text);
	e->code = code;
	return code;
}

int vx_no_memory(struct vx_err *e)
{
	return vx_fail(e, -ENOMEM, "no memory");
}

int vx_fail_prefix(struct vx_err *e, const char *fmt, ...)
{
	va_list ap;
	char text[2 * sizeof e->why];
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof e->why, fmt, ap);
	va_end(ap);
	if (n < 0)
		return e->code;
	snprintf(text + strlen(text), sizeof text - strlen(text), ": %s", e->why);
	text[sizeof e->why - 1] = 0;
	make_printable(text);
	memcpy(e->why, text, sizeof e->why);
	return e->code;
}

const char *vx_errno_name(int code)
{
	const char *name = strerrorname_np(code < 0 ? -code : code);

	return name ? name : "E?";
}
