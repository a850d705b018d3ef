/* Where an entity lives in one system: one entry of `tables:` or `objects:`. */
#pragma once

#include "lockstep/event.h"

/* Owned by the configuration; all strings terminated. */
struct ls_mapping {
	const char *entity;
	const char *place;           /* table ("public.contacts") or object ("people") */
	const struct ls_pair *field; /* name: entity field, value: its place in this system; none: all, same names */
	size_t field_count;
	const char *watermark; /* polling: column that grows with each change; NULL */
	const char *version;   /* "column:NAME": per-entity integer version; NULL */
	const char *guard;     /* "commit_timestamp" or "column:NAME"; NULL */
	bool change_history;
	const struct ls_str *key; /* the entity's key fields */
	size_t key_count;
	const struct ls_pair *mask; /* sources: entity field -> redact | hash */
	size_t mask_count;
	const struct ls_pair *filter; /* sources: entity field -> the only value that travels */
	size_t filter_count;
	int line; /* in the configuration file, for errors */
};

/* ls_mapping_place returns the place of an entity field, or an empty view when it does not travel. */
struct ls_str ls_mapping_place(const struct ls_mapping *mapping, struct ls_str field);

/* ls_mapping_field returns the entity field of a place, or an empty view when it does not travel. */
struct ls_str ls_mapping_field(const struct ls_mapping *mapping, struct ls_str place);
