/* Canonical text (schema.h) to typed values and back, exactly as PostgreSQL prints and reads it. Pure functions. */
#pragma once

#include "lockstep/schema.h"

struct ls_buf;

enum { LS_PRINT_MAX = 64 }; /* the longest text that any ls_print_ function writes, terminator included */

/* ---- reading: false when the text is not of the canonical form, or out of range ---- */

bool ls_text_bool(struct ls_str text, bool *ret);
bool ls_text_int(struct ls_str text, int64_t lo, int64_t hi, int64_t *ret);
bool ls_text_float(struct ls_str text, float *ret);
bool ls_text_double(struct ls_str text, double *ret);
/* ls_text_hex reads \x and hex digits into out, which has room for text.len / 2 bytes. */
bool ls_text_hex(struct ls_str text, uint8_t *out, size_t *ret_len);

/* Dates count days, times microseconds, timestamps microseconds since 1970, in the proleptic Gregorian calendar. */
bool ls_text_date(struct ls_str text, int32_t *ret_days);
bool ls_text_time(struct ls_str text, int64_t *ret_us);
bool ls_text_timestamp(struct ls_str text, bool zone, int64_t *ret_us);
/* ls_text_timestamp_far: well formed, but beyond what 64 bits of microseconds since 1970 hold. */
bool ls_text_timestamp_far(struct ls_str text, bool zone);
bool ls_text_infinite(struct ls_str text); /* infinity or -infinity */

/* ls_text_decimal reads a number as its unscaled value. *ret_problem: why not, for an error text. */
bool ls_text_decimal(struct ls_str text, int precision, int scale, __int128 *ret, const char **ret_problem);
bool ls_text_not_a_number(struct ls_str text); /* NaN, Infinity, -Infinity */

/* ---- printing: returns the length; out has LS_PRINT_MAX bytes; terminated ---- */

size_t ls_print_int(char *out, int64_t value);
size_t ls_print_float(char *out, float value);
size_t ls_print_double(char *out, double value);
size_t ls_print_date(char *out, int32_t days);
size_t ls_print_time(char *out, int64_t us); /* us: 0 .. 24 h inclusive */
size_t ls_print_timestamp(char *out, int64_t us, bool zone);
size_t ls_print_decimal(char *out, __int128 unscaled, int scale); /* scale: 0 .. 38 */
void ls_print_hex(struct ls_str bytes, char *out);                /* 2 + 2 * len characters, not terminated */
void ls_print_uuid(const uint8_t bytes[16], char *out);           /* 36 characters, not terminated */

/* ---- Avro's decimal bytes: two's complement, big-endian ---- */

size_t ls_decimal_pack(__int128 unscaled, uint8_t out[16]); /* the shortest form; returns its length */
bool ls_decimal_unpack(struct ls_str bytes, __int128 *ret); /* false: more than 16 significant bytes, or none */

/* ---- array literals: {1,NULL,"a b"} ---- */

struct ls_array_item {
	bool null;
	bool escaped;       /* text holds backslashes that quote the next character */
	struct ls_str text; /* view into the literal, without its quotes */
};

/* ls_array_open: a literal of one dimension with bounds from 1. False: keep the text as it is. */
bool ls_array_open(struct ls_str literal, size_t *ret_at);
enum ls_array_step { LS_ARRAY_ITEM, LS_ARRAY_END, LS_ARRAY_ODD };
/* ls_array_next walks the items. LS_ARRAY_ODD: more dimensions, or not quoted as PostgreSQL quotes. */
enum ls_array_step ls_array_next(struct ls_str literal, size_t *at, struct ls_array_item *ret);
size_t ls_array_unescape(struct ls_str text, char *out); /* out: text.len bytes; returns the length */

/* ls_array_add adds one item as PostgreSQL's array_out would, without the commas between items. */
void ls_array_add(struct ls_buf *out, struct ls_str text);
