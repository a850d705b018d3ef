/* Writer schemas, found by fingerprint or registry id, shared by the lanes of a process (thread-safe).
 * Where they come from and go to is behind ls_schema_store: {prefix}.schemas, or a registry. */
#pragma once

#include "lockstep/error.h"
#include "lockstep/str.h"

#include <stdbool.h>
#include <stdint.h>

uint64_t ls_avro_crc(struct ls_str text); /* CRC-64-AVRO of any text */
/* CRC-64-AVRO of the Parsing Canonical Form: the Avro specification's fingerprint. LS_POISON: not a schema. */
enum ls_class ls_avro_fingerprint(struct ls_str json, uint64_t *ret, struct ls_error *err);
/* ls_avro_canonical returns the Parsing Canonical Form, malloc'ed, the caller's. */
enum ls_class ls_avro_canonical(struct ls_str json, char **ret, struct ls_error *err);

/* ls_avro_compatible: LS_OK when a reader that knows `old_json` can read what `new_json` writes and the other way
 * round (Avro schema resolution, both directions). LS_FATAL otherwise, naming the field. */
enum ls_class ls_avro_compatible(struct ls_str old_json, struct ls_str new_json, struct ls_error *err);

struct ls_buf;
/* ls_avro_difference says which columns came, went or changed their type from one schema of an entity to another. */
void ls_avro_difference(struct ls_str old_json, struct ls_str new_json, struct ls_buf *out);

/* What a new schema of a subject is held against before it is published: the last one, or nothing. */
enum ls_compatibility { LS_COMPATIBILITY_FULL, LS_COMPATIBILITY_NONE };

/* Where schemas are kept. Both functions may block on the network; called under no lock. */
struct ls_schema_store {
	/* find: *ret_json malloc'ed, the caller's; LS_POISON when there is no such schema; LS_RETRY when not known. */
	enum ls_class (*find)(struct ls_schema_store *store, bool by_id, uint64_t id, char **ret_json,
			      struct ls_error *err);
	/* publish makes a schema durable for `subject` (the topic) after checking it against what is there.
	 * *ret_by_id, *ret_id: how messages are to be framed. LS_FATAL: incompatible. */
	enum ls_class (*publish)(struct ls_schema_store *store, struct ls_str subject, struct ls_str json,
				 bool *ret_by_id, uint64_t *ret_id, struct ls_error *err);
	struct ls_schema_store *(*close)(struct ls_schema_store *store);
};

struct ls_schemas;

/* topics   store for single-object encoding: {prefix}.schemas; required
 * registry store for Confluent framing, or NULL. When given, new schemas are published there. Both are taken.
 * prefix   for subjects: "{prefix}.{entity}-value" */
struct ls_schemas *ls_schemas_new(struct ls_schema_store *topics, struct ls_schema_store *registry, const char *prefix);
/* unlike: *ret_json is the last schema of the subject when it has some and this is none of them, malloc'ed, the
 * caller's; else NULL. It asks the store where new schemas are published. */
typedef enum ls_class ls_schemas_unlike(struct ls_schema_store *store, struct ls_str subject, struct ls_str json,
					char **ret_json, struct ls_error *err);
void ls_schemas_ask_with(struct ls_schemas *schemas, ls_schemas_unlike *unlike);
struct ls_schemas *ls_schemas_free(struct ls_schemas *schemas);
enum ls_class ls_schemas_find(struct ls_schemas *schemas, bool by_id, uint64_t id, struct ls_str *ret_json,
			      struct ls_error *err); /* *ret_json is the cache's, for its life */
enum ls_class ls_schemas_publish(struct ls_schemas *schemas, struct ls_str entity, struct ls_str json, bool *ret_by_id,
				 uint64_t *ret_id, struct ls_error *err);
/* ls_schemas_settled: LS_OK when this schema was published for the entity before, or none was. LS_POISON, code
 * schema_change: it would be a change; says of which columns. */
enum ls_class ls_schemas_settled(struct ls_schemas *schemas, struct ls_str entity, struct ls_str json,
				 struct ls_error *err);
