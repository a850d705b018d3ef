/* One writer schema bound to the fields of a change event. */
#pragma once

#include "avro/decode_value.h"

enum ls_reader_role {
	LS_ROLE_EVENT_ID,
	LS_ROLE_SOURCE,
	LS_ROLE_ENTITY_TYPE,
	LS_ROLE_ENTITY_ID,
	LS_ROLE_CHANGE_TYPE,
	LS_ROLE_TIMESTAMP,
	LS_ROLE_VERSION,
	LS_ROLE_BASE_VERSION,
	LS_ROLE_BASE_OFFSET,
	LS_ROLE_BEFORE,
	LS_ROLE_AFTER,
	LS_ROLE_ABSENT,
	LS_ROLE_METADATA,
	LS_ROLES,
	LS_ROLE_OTHER = LS_ROLES, /* a field of the writer's own: passed over */
};

/* A record type of the writer as a row. json[i]: column i is handed on as JSON. */
struct ls_reader_row {
	const struct ls_avro_node *node;
	struct ls_schema *schema;
	bool *json;
};

/* The row schemas under the name of one entity: a writer may use one Avro type for several. */
struct ls_reader_entity {
	struct ls_reader_entity *next;
	struct ls_str name;
	const struct ls_schema *before, *after;
};

enum { LS_READER_ENTITIES = 64 };

struct ls_reader {
	struct ls_avro_plan *plan; /* owned; its arena holds all of this */
	enum ls_reader_role *role; /* of each field of the root, in order */
	struct ls_reader_row before, after;
	struct ls_reader_entity *entity; /* newest first */
	size_t entities;
};

/* ls_reader_new binds a schema. LS_POISON: events cannot be of this schema, says why. */
enum ls_class ls_reader_new(struct ls_str json, struct ls_reader **ret, struct ls_error *err);
struct ls_reader *ls_reader_free(struct ls_reader *reader);

/* ls_reader_read reads one datum. walk.wire stands on it, in memory of the arena that may be written to: views
 * into it become the event's texts, terminated. */
enum ls_class ls_reader_read(struct ls_reader *reader, struct ls_walk *walk, int64_t timestamp_us,
			     struct ls_event *ret);
