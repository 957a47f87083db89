/* SPDX-License-Identifier: Apache-2.0
 * Fill values, kept by their bits: a NaN's payload and the sign of a zero survive.
 */
#include "vol/array.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void put(uint64_t bits, uint32_t width, uint8_t ret[8])
{
	for (uint32_t i = 0; i < width; i++)
		ret[i] = (uint8_t)(bits >> (8 * i));
}

static int misfit(const struct vx_json *j, enum vx_dtype t, struct vx_err *e)
{
	VX_AUTO_FREE char *text = json_dumps(j->value, JSON_ENCODE_ANY | JSON_COMPACT);

	return vx_fail(e, -EBADMSG, "%s %.60s is no value of %s", j->path, text ? text : "?", vx_dtype_name(t));
}

/* ---- floats ---- */

/* Rounded half to even, as the hardware does it. */
static uint64_t half_bits(double x)
{
	uint64_t b, sign, mant, rest, half;
	int exp, shift = 42;

	memcpy(&b, &x, sizeof b);
	sign = b >> 63 << 15;
	exp = (int)(b >> 52 & 0x7ff) - 1023;
	mant = b & (((uint64_t)1 << 52) - 1);
	if (exp == 1024)
		return sign | 0x7c00 | (mant ? 0x200 : 0);
	if (exp > 15)
		return sign | 0x7c00;
	if (exp < -25)
		return sign;
	mant |= (uint64_t)1 << 52;
	if (exp < -14) { /* denormal */
		shift += -14 - exp;
		exp = -15;
		half = mant >> shift;
	} else {
		half =
		    ((uint64_t)(exp + 14) << 10) + (mant >> shift); /* the leading bit counts as one of the exponent */
	}
	rest = mant & (((uint64_t)1 << shift) - 1);
	if (rest > (uint64_t)1 << (shift - 1) || (rest == (uint64_t)1 << (shift - 1) && (half & 1)))
		half++; /* may carry into the exponent, which is right */
	return sign | half;
}

static uint64_t float_bits(double x, uint32_t width)
{
	float f = (float)x;
	uint32_t b32;
	uint64_t b64;

	if (width == 2)
		return half_bits(x);
	if (width == 4) {
		memcpy(&b32, &f, sizeof b32);
		return b32;
	}
	memcpy(&b64, &x, sizeof b64);
	return b64;
}

/* The bits of one that is spelt: "NaN", "Infinity", "0x7fc00000". */
static bool spelt_bits(const char *s, uint32_t width, uint64_t *ret)
{
	static const uint64_t nan[] = {[2] = 0x7e00, [4] = 0x7fc00000, [8] = 0x7ff8000000000000};
	size_t digits;

	if (!strcmp(s, "NaN"))
		*ret = nan[width];
	else if (!strcmp(s, "Infinity"))
		*ret = float_bits(INFINITY, width);
	else if (!strcmp(s, "-Infinity"))
		*ret = float_bits(-INFINITY, width);
	else if (s[0] == '0' && s[1] == 'x') {
		digits = strspn(s + 2, "0123456789abcdefABCDEF");
		if (!digits || digits > 2 * width || s[2 + digits])
			return false;
		*ret = strtoull(s + 2, NULL, 16);
	} else {
		return false;
	}
	return true;
}

static bool float_fill(const json_t *v, uint32_t width, uint64_t *ret)
{
	double x = json_number_value(v);

	if (json_is_string(v)) {
		if (spelt_bits(json_string_value(v), width, ret))
			return true;
		/* an integer too large for 64 bits, which the parser has put into quotes */
		if (strspn(json_string_value(v), "-0123456789") != strlen(json_string_value(v)) ||
		    !json_string_length(v))
			return false;
		x = strtod(json_string_value(v), NULL);
	} else if (!json_is_number(v)) {
		return false;
	}
	*ret = float_bits(x, width);
	return (width != 2 || (*ret & 0x7fff) != 0x7c00) && (width != 4 || isfinite((float)x)) && isfinite(x);
}

/* ---- integers ---- */

static bool in_range(bool negative, uint64_t magnitude, enum vx_dtype t)
{
	uint32_t bits = 8 * vx_dtype_width(t);
	bool is_signed = t == VX_I8 || t == VX_I16 || t == VX_I32 || t == VX_I64;

	if (negative)
		return is_signed ? magnitude <= (uint64_t)1 << (bits - 1) : magnitude == 0;
	return magnitude <= UINT64_MAX >> (64 - bits + is_signed);
}

static bool int_fill(const json_t *v, enum vx_dtype t, uint64_t *ret)
{
	bool negative = false;
	uint64_t magnitude = 0;

	if (json_is_integer(v)) {
		json_int_t i = json_integer_value(v);

		negative = i < 0;
		magnitude = negative ? -(uint64_t)i : (uint64_t)i;
	} else if (json_is_real(v)) {
		double x = json_real_value(v);

		negative = x < 0;
		if (fabs(x) >= 0x1p64 || x != rint(x))
			return false;
		magnitude = (uint64_t)fabs(x);
	} else if (json_is_string(v)) { /* put into quotes by the parser: beyond 63 bits */
		const char *s = json_string_value(v);

		errno = 0;
		if (!s[0] || strspn(s, "0123456789") != strlen(s))
			return false;
		magnitude = strtoull(s, NULL, 10);
		if (errno)
			return false;
	} else {
		return false;
	}
	*ret = negative ? -magnitude : magnitude;
	return in_range(negative, magnitude, t);
}

/* ---- the rest ---- */

static bool bool_fill(const json_t *v, bool numbers, uint64_t *ret)
{
	if (json_is_boolean(v))
		*ret = json_is_true(v);
	else if (numbers && json_is_number(v) && (json_number_value(v) == 0 || json_number_value(v) == 1))
		*ret = json_number_value(v) == 1;
	else
		return false;
	return true;
}

static int digit64(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Exactly `width` bytes in base64, padded. */
static bool base64_fill(const char *s, const struct vx_array *a, uint8_t ret[8])
{
	uint32_t width = vx_dtype_width(a->dtype), n = 0, bits = 0;
	uint8_t got[8];
	size_t len = strlen(s), pad = len >= 2 ? (s[len - 1] == '=') + (s[len - 1] == '=' && s[len - 2] == '=') : 0;
	uint32_t acc = 0;

	if (!len || len % 4 || len / 4 * 3 - pad != width)
		return false;
	for (size_t i = 0; i < len - pad; i++) {
		int d = digit64(s[i]);

		if (d < 0)
			return false;
		acc = acc << 6 | (uint32_t)d;
		bits += 6;
		if (bits >= 8 && n < width) {
			bits -= 8;
			got[n++] = (uint8_t)(acc >> bits);
		}
	}
	for (uint32_t i = 0; i < width; i++)
		ret[i] = a->big_endian ? got[width - 1 - i] : got[i];
	return true;
}

int vx_array_fill(const struct vx_json *j, struct vx_array *a, bool v2, struct vx_err *e)
{
	uint32_t width = vx_dtype_width(a->dtype);
	uint64_t bits = 0;
	bool ok;

	memset(a->fill, 0, sizeof a->fill);
	if (v2 && json_is_null(j->value))
		return 0;
	if (a->dtype == VX_BOOL)
		ok = bool_fill(j->value, v2, &bits);
	else if (a->dtype == VX_F16 || a->dtype == VX_F32 || a->dtype == VX_F64)
		ok = float_fill(j->value, width, &bits);
	else
		ok = int_fill(j->value, a->dtype, &bits);
	if (ok) {
		put(bits, width, a->fill);
		return 0;
	}
	if (v2 && json_is_string(j->value) && base64_fill(json_string_value(j->value), a, a->fill))
		return 0;
	return misfit(j, a->dtype, e);
}
