/* Booleans, integers, floats, bytes and uuids as PostgreSQL writes them. */
#include "avro/text.h"

#include <fenv.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

bool ls_text_bool(struct ls_str text, bool *ret)
{
	if (text.len != 1 || (text.ptr[0] != 't' && text.ptr[0] != 'f'))
		return false;
	*ret = text.ptr[0] == 't';
	return true;
}

bool ls_text_int(struct ls_str text, int64_t lo, int64_t hi, int64_t *ret)
{
	bool minus = text.len && text.ptr[0] == '-';
	int64_t value = 0; /* kept negative: INT64_MIN has no positive twin */

	if (text.len == minus || text.len > 20)
		return false;
	for (size_t i = minus; i < text.len; i++) {
		int digit = text.ptr[i] - '0';

		if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_sub_overflow(value, digit, &value))
			return false;
	}
	if (!minus && __builtin_sub_overflow((int64_t)0, value, &value))
		return false;
	if (value < lo || value > hi)
		return false;
	*ret = value;
	return true;
}

size_t ls_print_int(char *out, int64_t value)
{
	char digits[20];
	size_t count = 0, len = 0;
	uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;

	do {
		digits[count++] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest);
	if (value < 0)
		out[len++] = '-';
	while (count)
		out[len++] = digits[--count];
	out[len] = 0;
	return len;
}

/* number copies a text of the form -12.5e+300 for strtod, which would take more (hex, nan(...), blanks) than we do. */
static bool number(struct ls_str text, char out[400])
{
	if (!text.len || text.len >= 400)
		return false;
	for (size_t i = 0; i < text.len; i++)
		if (!memchr("0123456789+-.eE", text.ptr[i], 15))
			return false;
	memcpy(out, text.ptr, text.len);
	out[text.len] = 0;
	return true;
}

static bool named_double(struct ls_str text, double *ret)
{
	if (ls_str_equal(text, LS_STR("NaN")))
		*ret = (double)NAN;
	else if (ls_str_equal(text, LS_STR("Infinity")))
		*ret = (double)INFINITY;
	else if (ls_str_equal(text, LS_STR("-Infinity")))
		*ret = -(double)INFINITY;
	else
		return false;
	return true;
}

bool ls_text_double(struct ls_str text, double *ret)
{
	char copy[400], *end;
	double value;

	if (named_double(text, ret))
		return true;
	if (!number(text, copy))
		return false;
	value = strtod(copy, &end);
	if (*end || isinf(value))
		return false;
	*ret = value;
	return true;
}

bool ls_text_float(struct ls_str text, float *ret)
{
	char copy[400], *end;
	double named;
	float value;

	if (named_double(text, &named)) {
		*ret = (float)named;
		return true;
	}
	if (!number(text, copy))
		return false;
	value = strtof(copy, &end);
	if (*end || isinf(value))
		return false;
	*ret = value;
	return true;
}

/* shape writes digits d.ddd * 10^exponent as PostgreSQL does: plain from 1e-04 up to the limit, else d.ddde+XX. */
static size_t shape(char *out, bool minus, const char *digit, int count, int exponent, int limit)
{
	char *at = out;

	if (minus)
		*at++ = '-';
	if (exponent < -4 || exponent >= limit) {
		*at++ = digit[0];
		if (count > 1) {
			*at++ = '.';
			memcpy(at, digit + 1, (size_t)(count - 1));
			at += count - 1;
		}
		return (size_t)(at - out) + (size_t)snprintf(at, 8, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
	}
	if (exponent < 0) {
		memcpy(at, "0.0000", 6);
		at += 1 - exponent;
	}
	for (int i = 0; i < count || i <= exponent; i++) {
		if (i == exponent + 1 && exponent >= 0)
			*at++ = '.';
		*at++ = i < count ? digit[i] : '0';
	}
	*at = 0;
	return (size_t)(at - out);
}

/* digits takes "d.ddde[+-]XX" of printf apart, without trailing zeros. */
static int digits(const char *text, char out[20], int *ret_exponent)
{
	int count = 0;

	for (; *text && *text != 'e'; text++)
		if (*text != '.')
			out[count++] = *text;
	*ret_exponent = (int)strtol(text + 1, NULL, 10);
	while (count > 1 && out[count - 1] == '0')
		count--;
	return count;
}

static size_t print_special(char *out, double value)
{
	const char *name = isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
	size_t len = strlen(name);

	memcpy(out, name, len + 1);
	return len;
}

/* PostgreSQL prints the shortest digits that lie strictly between the midpoints to the neighbours. A text that is a
 * midpoint itself reads back as the same number by ties-to-even, and is not enough. */
static bool reads_back_double(const char *text, double value)
{
	long double wide;

	if (strtod(text, NULL) != value)
		return false;
	wide = strtold(text, NULL);
	return wide != ((long double)value + (long double)nextafter(value, 0)) / 2 &&
	       wide != ((long double)value + (long double)nextafter(value, (double)INFINITY)) / 2;
}

static bool reads_back_float(const char *text, float value)
{
	double wide;

	if (strtof(text, NULL) != value)
		return false;
	wide = strtod(text, NULL);
	return wide != ((double)value + (double)nextafterf(value, 0)) / 2 &&
	       wide != ((double)value + (double)nextafterf(value, INFINITY)) / 2;
}

/* print_up writes the digits next above: at a power of two the neighbour below is nearer than the one above, and the
 * nearest digits may be too far down while the next ones are fine. */
static void print_up(char *text, size_t size, int precision, double value)
{
	int mode = fegetround();

	fesetround(FE_UPWARD);
	snprintf(text, size, "%.*e", precision, value);
	fesetround(mode);
}

size_t ls_print_double(char *out, double value)
{
	char text[40], digit[20] = "0";
	double positive = fabs(value);
	int exponent, count;

	if (!isfinite(value))
		return print_special(out, value);
	if (positive < 1e15 && value == (double)(int64_t)value && (value != 0 || !signbit(value)))
		return ls_print_int(out, (int64_t)value);
	/* 15 digits are always kept by a normal number; one near zero has fewer */
	for (int precision = isnormal(value) ? 14 : 0; precision < 17; precision++) {
		snprintf(text, sizeof(text), "%.*e", precision, positive);
		if (precision == 16 || reads_back_double(text, positive))
			break;
		if (frexp(positive, &exponent) > 0.5)
			continue;
		print_up(text, sizeof(text), precision, positive);
		if (reads_back_double(text, positive))
			break;
	}
	count = digits(text, digit, &exponent);
	return shape(out, signbit(value), digit, count, exponent, 15);
}

size_t ls_print_float(char *out, float value)
{
	char text[40], digit[20] = "0";
	float positive = fabsf(value);
	int exponent, count;

	if (!isfinite(value))
		return print_special(out, (double)value);
	for (int precision = isnormal(value) ? 5 : 0; precision < 9; precision++) {
		snprintf(text, sizeof(text), "%.*e", precision, (double)positive);
		if (precision == 8 || reads_back_float(text, positive))
			break;
		if (frexp((double)positive, &exponent) > 0.5)
			continue;
		print_up(text, sizeof(text), precision, (double)positive);
		if (reads_back_float(text, positive))
			break;
	}
	count = digits(text, digit, &exponent);
	return shape(out, signbit(value), digit, count, exponent, 6);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool ls_text_hex(struct ls_str text, uint8_t *out, size_t *ret_len)
{
	if (text.len < 2 || text.len % 2 || memcmp(text.ptr, "\\x", 2) != 0)
		return false;
	for (size_t i = 2; i < text.len; i += 2) {
		int high = hex_digit(text.ptr[i]), low = hex_digit(text.ptr[i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i / 2 - 1] = (uint8_t)(high << 4 | low);
	}
	*ret_len = text.len / 2 - 1;
	return true;
}

static const char HEX[] = "0123456789abcdef";

void ls_print_hex(struct ls_str bytes, char *out)
{
	*out++ = '\\';
	*out++ = 'x';
	for (size_t i = 0; i < bytes.len; i++) {
		uint8_t byte = (uint8_t)bytes.ptr[i];

		*out++ = HEX[byte >> 4];
		*out++ = HEX[byte & 15];
	}
}

void ls_print_uuid(const uint8_t bytes[16], char *out)
{
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		*out++ = HEX[bytes[i] >> 4];
		*out++ = HEX[bytes[i] & 15];
	}
}
