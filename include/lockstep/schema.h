/* The shape of an entity: its columns and their types, neutral between databases, HTTP systems and Avro. */
#pragma once

#include "lockstep/str.h"

#include <stdint.h>

/* How a value's canonical text looks is said beside each kind. The text is what PostgreSQL prints and reads
 * under DateStyle ISO, TimeZone UTC, bytea_output hex, extra_float_digits 1. */
enum ls_kind {
	LS_BOOL,  /* t or f */
	LS_INT32, /* decimal digits */
	LS_INT64,
	LS_FLOAT32, /* shortest round trip; NaN, Infinity, -Infinity */
	LS_FLOAT64,
	LS_DECIMAL,     /* exact; precision 1..38 and scale 0..precision known; may be NaN */
	LS_NUMERIC,     /* exact, precision unknown or above 38; NaN, Infinity, -Infinity */
	LS_STRING,      /* UTF-8; also every type with no kind of its own: enum, interval, inet, range ... */
	LS_BYTES,       /* \x and hex digits */
	LS_UUID,        /* 8-4-4-4-12 lower-case hex */
	LS_JSON,        /* JSON text, bytes kept as they came */
	LS_DATE,        /* 2026-11-21; 0044-03-15 BC; infinity, -infinity */
	LS_TIME,        /* 23:59:59.123456; 24:00:00 */
	LS_TIMESTAMP,   /* 2026-11-21 09:14:03.12; BC and infinity as for dates */
	LS_TIMESTAMPTZ, /* the same with +00 */
	LS_ARRAY,       /* PostgreSQL array literal: {1,NULL,"a b"} */
};

struct ls_type {
	enum ls_kind kind;
	enum ls_kind item;    /* LS_ARRAY: kind of the items, never LS_ARRAY */
	int precision, scale; /* LS_DECIMAL, and LS_ARRAY of LS_DECIMAL; else 0 */
	struct ls_str native; /* PostgreSQL's name of it, format_type() form: "character varying(40)"; may be empty */
};

struct ls_column {
	struct ls_str name; /* the entity's name of the field */
	struct ls_type type;
	bool key;
};

/* Columns of one entity as one writer sees them. Compared by pointer: whoever makes one keeps it unchanged
 * and alive as long as rows point at it; a changed table gets a new ls_schema. */
struct ls_schema {
	struct ls_str entity;
	const struct ls_column *column;
	size_t count;
};

enum { LS_MAX_COLUMNS = 1600 }; /* PostgreSQL's own limit */

/* ls_schema_find returns the index of the column, or schema->count. */
size_t ls_schema_find(const struct ls_schema *schema, struct ls_str name);
