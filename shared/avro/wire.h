/* Avro's binary form, read through a cursor that checks every length before it moves. Nothing here allocates. */
#pragma once

#include "lockstep/str.h"

#include <stdint.h>

struct ls_wire {
	const uint8_t *at, *end;
};

static inline size_t ls_wire_left(const struct ls_wire *wire)
{
	return (size_t)(wire->end - wire->at);
}

/* Each returns false, and leaves the cursor somewhere not to be used, when the bytes do not hold what was asked. */
bool ls_wire_long(struct ls_wire *wire, int64_t *ret);
bool ls_wire_int(struct ls_wire *wire, int32_t *ret);
bool ls_wire_bool(struct ls_wire *wire, bool *ret);
bool ls_wire_float(struct ls_wire *wire, float *ret);
bool ls_wire_double(struct ls_wire *wire, double *ret);
bool ls_wire_view(struct ls_wire *wire, size_t len, struct ls_str *ret); /* len bytes as they stand */
bool ls_wire_bytes(struct ls_wire *wire, struct ls_str *ret);            /* length, then bytes: string or bytes */

/* ls_wire_block reads the head of the next block of an array or a map. *ret_count 0: the end. More items than could be
 * in the bytes left are refused; items of no width (empty) are counted against a limit of their own. */
bool ls_wire_block(struct ls_wire *wire, bool empty, uint64_t *ret_count);

/* ls_utf8_ok: well-formed UTF-8 (no surrogates, no overlong forms, at most U+10FFFF) without NUL bytes. */
bool ls_utf8_ok(struct ls_str text);
