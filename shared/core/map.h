/* A hash map from byte strings to pointers: open addressing, insertion order kept for walking. */
#pragma once

#include "lockstep/str.h"

#include <stdint.h>

struct ls_map_slot {
	struct ls_str key; /* the caller's bytes: they outlive the map or its next clear */
	uint64_t hash;
	void *value;
};

struct ls_map {
	struct ls_map_slot *slot; /* in order of insertion, 0..count-1 */
	uint32_t *index;
	size_t count, room, mask;
};

void ls_map_init(struct ls_map *map);
void ls_map_release(struct ls_map *map);
void ls_map_clear(struct ls_map *map);                         /* keeps the memory */
void *ls_map_get(const struct ls_map *map, struct ls_str key); /* NULL: not there */

/* ls_map_at returns the slot of key, made with value NULL when missing. Valid until the next ls_map_at. */
struct ls_map_slot *ls_map_at(struct ls_map *map, struct ls_str key);
uint64_t ls_hash(struct ls_str text);
