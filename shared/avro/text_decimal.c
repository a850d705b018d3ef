/* Exact decimals: text, unscaled 128-bit integer, and Avro's big-endian two's complement bytes. */
#include "avro/text.h"

enum { DIGITS_MAX = 38 }; /* 10^38 - 1 fits 127 bits */

bool ls_text_not_a_number(struct ls_str text)
{
	return ls_str_equal(text, LS_STR("NaN")) || ls_str_equal(text, LS_STR("Infinity")) ||
	       ls_str_equal(text, LS_STR("-Infinity"));
}

static bool refuse(const char **ret_problem, const char *problem)
{
	*ret_problem = problem;
	return false;
}

bool ls_text_decimal(struct ls_str text, int precision, int scale, __int128 *ret, const char **ret_problem)
{
	bool minus = text.len && text.ptr[0] == '-', any = false, point = false;
	__int128 value = 0;
	int digits = 0, after = 0;

	for (size_t i = minus; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == '.' && !point) {
			point = true;
			continue;
		}
		if (c < '0' || c > '9')
			return refuse(ret_problem, "is not a decimal number");
		any = true;
		if (point && ++after > scale) {
			if (c != '0')
				return refuse(ret_problem, "has more digits after the point than its type");
			after--;
			continue;
		}
		if (value || c != '0')
			digits++;
		if (digits > DIGITS_MAX)
			return refuse(ret_problem, "has more digits than its type");
		value = value * 10 + (c - '0');
	}
	if (!any)
		return refuse(ret_problem, "is not a decimal number");
	for (; after < scale; after++) {
		if (value)
			digits++;
		if (digits > DIGITS_MAX)
			return refuse(ret_problem, "has more digits than its type");
		value *= 10;
	}
	if (digits > precision)
		return refuse(ret_problem, "has more digits than its type");
	*ret = minus ? -value : value;
	return true;
}

size_t ls_print_decimal(char *out, __int128 unscaled, int scale)
{
	char digit[48];
	int count = 0;
	size_t len = 0;
	unsigned __int128 rest = unscaled < 0 ? -(unsigned __int128)unscaled : (unsigned __int128)unscaled;

	while (rest || count <= scale) { /* at least one digit before the point */
		digit[count++] = (char)('0' + (int)(rest % 10));
		rest /= 10;
	}
	if (unscaled < 0)
		out[len++] = '-';
	while (count) {
		if (count == scale)
			out[len++] = '.';
		out[len++] = digit[--count];
	}
	out[len] = 0;
	return len;
}

size_t ls_decimal_pack(__int128 unscaled, uint8_t out[16])
{
	uint8_t all[16];
	unsigned __int128 bits = (unsigned __int128)unscaled;
	size_t skip = 0;

	for (int i = 15; i >= 0; i--) {
		all[i] = (uint8_t)bits;
		bits >>= 8;
	}
	/* a leading byte that only repeats the sign of the next one says nothing */
	while (skip < 15 &&
	       ((all[skip] == 0 && !(all[skip + 1] & 0x80)) || (all[skip] == 0xff && all[skip + 1] & 0x80)))
		skip++;
	memcpy(out, all + skip, 16 - skip);
	return 16 - skip;
}

bool ls_decimal_unpack(struct ls_str bytes, __int128 *ret)
{
	const uint8_t *at = (const uint8_t *)bytes.ptr, *end = at + bytes.len;
	unsigned __int128 value;
	uint8_t sign;

	if (!bytes.len)
		return false;
	sign = at[0] & 0x80 ? 0xff : 0;
	while (end - at > 16) {
		if (*at != sign || (at[1] & 0x80) != (sign & 0x80))
			return false;
		at++;
	}
	value = sign ? ~(unsigned __int128)0 : 0;
	for (; at < end; at++)
		value = value << 8 | *at;
	*ret = (__int128)value;
	return true;
}
