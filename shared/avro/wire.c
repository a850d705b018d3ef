/* Reading Avro's primitives and block heads with every bound checked. What the values mean is decode_value.c's. */
#include "avro/wire.h"

enum { EMPTY_ITEMS_MAX = 65536 }; /* items that take no bytes: nothing in the message bounds their number */

bool ls_wire_long(struct ls_wire *wire, int64_t *ret)
{
	uint64_t value = 0;
	unsigned shift = 0;

	while (wire->at < wire->end) {
		uint8_t byte = *wire->at++;

		if (shift == 63 && byte > 1)
			return false; /* an eleventh byte, or bits beyond the 64th */
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = (int64_t)((value >> 1) ^ (~(value & 1) + 1));
			return true;
		}
		shift += 7;
	}
	return false;
}

bool ls_wire_int(struct ls_wire *wire, int32_t *ret)
{
	int64_t value;

	if (!ls_wire_long(wire, &value) || value < INT32_MIN || value > INT32_MAX)
		return false;
	*ret = (int32_t)value;
	return true;
}

bool ls_wire_bool(struct ls_wire *wire, bool *ret)
{
	if (wire->at == wire->end || *wire->at > 1)
		return false;
	*ret = *wire->at++ == 1;
	return true;
}

static uint64_t little_endian(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)at[i] << (8 * i);
	return value;
}

bool ls_wire_float(struct ls_wire *wire, float *ret)
{
	uint32_t bits;

	if (ls_wire_left(wire) < 4)
		return false;
	bits = (uint32_t)little_endian(wire->at, 4);
	memcpy(ret, &bits, sizeof(bits));
	wire->at += 4;
	return true;
}

bool ls_wire_double(struct ls_wire *wire, double *ret)
{
	uint64_t bits;

	if (ls_wire_left(wire) < 8)
		return false;
	bits = little_endian(wire->at, 8);
	memcpy(ret, &bits, sizeof(bits));
	wire->at += 8;
	return true;
}

bool ls_wire_view(struct ls_wire *wire, size_t len, struct ls_str *ret)
{
	if (len > ls_wire_left(wire))
		return false;
	*ret = (struct ls_str){ (const char *)wire->at, len };
	wire->at += len;
	return true;
}

bool ls_wire_bytes(struct ls_wire *wire, struct ls_str *ret)
{
	int64_t len;

	if (!ls_wire_long(wire, &len) || len < 0 || (uint64_t)len > ls_wire_left(wire))
		return false;
	return ls_wire_view(wire, (size_t)len, ret);
}

bool ls_wire_block(struct ls_wire *wire, bool empty, uint64_t *ret_count)
{
	int64_t count, bytes;

	if (!ls_wire_long(wire, &count) || count == INT64_MIN)
		return false;
	if (count < 0) { /* a negative count is followed by the size of the block in bytes */
		if (!ls_wire_long(wire, &bytes) || bytes < 0 || (uint64_t)bytes > ls_wire_left(wire))
			return false;
		count = -count;
	}
	if ((uint64_t)count > (empty ? EMPTY_ITEMS_MAX : ls_wire_left(wire)))
		return false;
	*ret_count = (uint64_t)count;
	return true;
}

/* sequence returns the length of the well-formed sequence at `at`, or 0. */
static size_t sequence(const uint8_t *at, size_t left)
{
	uint8_t lead = at[0], low = 0x80, high = 0xbf;
	size_t len;

	if (lead >= 0xc2 && lead <= 0xdf)
		len = 2;
	else if ((lead & 0xf0) == 0xe0)
		len = 3;
	else if (lead >= 0xf0 && lead <= 0xf4)
		len = 4;
	else
		return lead && lead < 0x80;
	if (len > left)
		return 0;
	/* Table 3-7 of the Unicode standard: the second byte is narrower after these four leads. */
	if (lead == 0xe0)
		low = 0xa0;
	else if (lead == 0xed)
		high = 0x9f;
	else if (lead == 0xf0)
		low = 0x90;
	else if (lead == 0xf4)
		high = 0x8f;
	if (at[1] < low || at[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

bool ls_utf8_ok(struct ls_str text)
{
	const uint8_t *at = (const uint8_t *)text.ptr, *end = at + text.len;

	while (at < end) {
		uint64_t eight;
		size_t len;

		if (end - at >= 8) {
			memcpy(&eight, at, 8);
			/* no byte above 0x7f, and none that borrows when 1 is taken: eight plain characters */
			if (!((eight | (eight - 0x0101010101010101u)) & 0x8080808080808080u)) {
				at += 8;
				continue;
			}
		}
		len = sequence(at, (size_t)(end - at));
		if (!len)
			return false;
		at += len;
	}
	return true;
}
