/* One change as JSON, as people and scripts write it, to an event:
 *
 *   {"entity":"contact","id":"7","source":"publish","type":"UPDATE","version":1,"event_id":"...",
 *    "timestamp":1763716443120000 or "2026-11-21T09:14:03.12Z","base_version":0,
 *    "data":{"name":"Ada"},"metadata":{"why":"import"},"priority":true}
 *
 * Only entity, and id or the key fields in data, are needed. Types follow the JSON: string, int64, float64, bool, JSON
 * for objects and arrays, string for null. Fields that data does not mention are not in the row. */
#pragma once

#include "lockstep/error.h"
#include "lockstep/event.h"

struct ls_arena;
struct ls_shelf;

enum { LS_CHANGE_JSON_MAX = 1024 * 1024 };

/* The key fields of an entity: ls_config_entity in a word. Returns LS_FATAL for an unknown one, with a near miss. */
struct ls_entity_key {
	const struct ls_str *field;
	size_t count;
};
typedef enum ls_class ls_entity_lookup(const void *context, struct ls_str entity, struct ls_entity_key *ret,
				       struct ls_error *err);

struct ls_change_line {
	struct ls_event event; /* event_id empty, version and timestamp_us LS_NONE where the text has none */
	bool priority;
};

/* ls_change_json reads one change.
 *
 * shelf   where row schemas are kept; they live as long as it does
 * arena   holds everything else
 * LS_POISON: what is wrong with the text, and where. */
enum ls_class ls_change_json(struct ls_str text, ls_entity_lookup *lookup, const void *context, struct ls_shelf *shelf,
			     struct ls_arena *arena, struct ls_change_line *ret, struct ls_error *err);
