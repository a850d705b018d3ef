/* One change of one entity, as it walks from a source to a destination. */
#pragma once

#include "lockstep/schema.h"

enum ls_change { LS_INSERT, LS_UPDATE, LS_DELETE, LS_SNAPSHOT };

enum ls_presence {
	LS_ABSENT, /* the source did not send it (unchanged TOAST, a field it does not have): leave the column alone */
	LS_NULL,
	LS_PRESENT,
};

struct ls_value {
	enum ls_presence presence;
	struct ls_str text; /* canonical text of schema.h; only when LS_PRESENT */
};

/* value[i] belongs to schema->column[i]. schema NULL: there is no row. */
struct ls_row {
	const struct ls_schema *schema;
	struct ls_value *value;
};

struct ls_pair {
	struct ls_str name, value;
};

#define LS_NONE INT64_MIN /* "not known" of version, base_version, base_offset */

/* Everything an event points at lives in the arena of its batch, or longer. */
struct ls_event {
	struct ls_str event_id; /* idempotency key: the same for every delivery of this change */
	struct ls_str source, entity, entity_id;
	enum ls_change change;
	int64_t timestamp_us; /* the source's commit, microseconds since 1970 UTC */
	int64_t version;      /* LS_NONE until the publisher's clock gave it one */
	int64_t base_version; /* what the writer had seen of this partition; LS_NONE: not known */
	int64_t base_offset;
	struct ls_row before; /* may have only the key columns present */
	struct ls_row after;  /* none on LS_DELETE */
	struct ls_pair *metadata;
	size_t metadata_count;
};

/* ls_entity_id_make writes the entity id of a row: the text of its key column, or, with several key columns, a
 * JSON array of their texts: ["7","a"]. Key columns are those with column.key, in the order of `key`.
 *
 * key, key_count  names of the key columns, as configured
 * out             arena-allocated, terminated
 * Returns false when a key column is missing, absent or NULL. */
struct ls_arena;
bool ls_entity_id_make(const struct ls_row *row, const struct ls_str *key, size_t key_count, struct ls_arena *arena,
		       struct ls_str *out);

/* ls_entity_id_split takes an entity id apart again into key_count values. Returns false when it does not fit. */
bool ls_entity_id_split(struct ls_str entity_id, size_t key_count, struct ls_arena *arena, struct ls_str *out);

const char *ls_change_name(enum ls_change change); /* "INSERT", "UPDATE", "DELETE", "SNAPSHOT" */
bool ls_change_parse(struct ls_str name, enum ls_change *ret);
