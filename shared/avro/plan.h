/* An Avro schema, parsed and resolved, with the attributes that avro-c drops: logical types, "native", "key" and
 * "column". */
#pragma once

#include "lockstep/error.h"
#include "lockstep/str.h"

#include <stdbool.h>
#include <stdint.h>

struct ls_arena;

enum ls_avro_tag {
	LS_AVRO_NULL,
	LS_AVRO_BOOLEAN,
	LS_AVRO_INT,
	LS_AVRO_LONG,
	LS_AVRO_FLOAT,
	LS_AVRO_DOUBLE,
	LS_AVRO_BYTES,
	LS_AVRO_STRING,
	LS_AVRO_FIXED,
	LS_AVRO_ENUM,
	LS_AVRO_ARRAY,
	LS_AVRO_MAP,
	LS_AVRO_RECORD,
	LS_AVRO_UNION,
};

enum ls_avro_logical {
	LS_LOGICAL_NONE,
	LS_LOGICAL_DECIMAL,
	LS_LOGICAL_UUID,
	LS_LOGICAL_JSON,    /* ours, on string */
	LS_LOGICAL_NUMERIC, /* ours, on string */
	LS_LOGICAL_DATE,
	LS_LOGICAL_TIME_MILLIS,
	LS_LOGICAL_TIME_MICROS,
	LS_LOGICAL_TIMESTAMP_MILLIS,
	LS_LOGICAL_TIMESTAMP_MICROS,
	LS_LOGICAL_LOCAL_MILLIS,
	LS_LOGICAL_LOCAL_MICROS,
};

struct ls_avro_node;

struct ls_avro_field {
	struct ls_str name;
	struct ls_str column; /* the true name of the column; `name` when the schema does not say otherwise */
	bool key, has_default;
	const struct ls_avro_node *type;
};

/* All strings terminated, all memory of the plan's arena. Named types may be recursive. */
struct ls_avro_node {
	enum ls_avro_tag tag;
	enum ls_avro_logical logical;
	bool empty;           /* its values take no bytes */
	int precision, scale; /* LS_LOGICAL_DECIMAL */
	size_t size;          /* LS_AVRO_FIXED */
	struct ls_str name;   /* full name of a record, enum or fixed */
	struct ls_str native;
	const struct ls_avro_node *item;    /* of an array or a map */
	const struct ls_avro_node **branch; /* of a union, count of them */
	struct ls_avro_field *field;        /* of a record, count of them */
	struct ls_str *symbol;              /* of an enum, count of them */
	size_t count;
	int state; /* while `empty` is found out */
};

struct ls_avro_plan {
	struct ls_arena *arena; /* owned */
	const struct ls_avro_node *root;
};

enum { LS_AVRO_DEPTH = 64, LS_AVRO_SCHEMA_MAX = 1 << 20, LS_AVRO_PLAN_MAX = 64 << 20 };

/* ls_avro_plan_new parses a schema. LS_POISON: it is not one, says why. *ret is the caller's. */
enum ls_class ls_avro_plan_new(struct ls_str json, struct ls_avro_plan **ret, struct ls_error *err);
struct ls_avro_plan *ls_avro_plan_free(struct ls_avro_plan *plan);

const char *ls_avro_tag_name(enum ls_avro_tag tag);             /* "int" */
const char *ls_avro_logical_name(enum ls_avro_logical logical); /* "timestamp-micros"; "" for none */
bool ls_avro_tag_find(struct ls_str name, enum ls_avro_tag *ret);

/* ls_avro_full_name writes the full name of a named type or a reference; LS_POISON when it is not a name.
 * space: the namespace around it. The result lives in the arena. */
struct ls_str ls_avro_full_name(struct ls_arena *arena, struct ls_str name, struct ls_str space);
struct ls_str ls_avro_namespace(struct ls_str full_name); /* what stands before the last dot */
bool ls_avro_is_name(struct ls_str name);                 /* [A-Za-z_][A-Za-z0-9_]* */

/* ls_avro_solid returns the only branch that is not null, or the node itself; NULL when there are several or none. */
const struct ls_avro_node *ls_avro_solid(const struct ls_avro_node *node);
