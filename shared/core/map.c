/* A hash map: slots in order of insertion, and beside them a table of slot numbers probed linearly. */
#include "core/map.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_ROOM = 16 }; /* slots; the index is twice as large, so at most half of it is taken */

void ls_map_init(struct ls_map *map)
{
	*map = (struct ls_map){ 0 };
}

void ls_map_release(struct ls_map *map)
{
	free(map->slot);
	free(map->index);
	ls_map_init(map);
}

void ls_map_clear(struct ls_map *map)
{
	map->count = 0;
	if (map->index)
		memset(map->index, 0, (map->mask + 1) * sizeof(*map->index));
}

static uint64_t mix(uint64_t a)
{
	a ^= a >> 32;
	a *= UINT64_C(0xd6e8feb86659fd93);
	a ^= a >> 32;
	a *= UINT64_C(0xd6e8feb86659fd93);
	return a ^ a >> 32;
}

uint64_t ls_hash(struct ls_str text)
{
	uint64_t hash = UINT64_C(0x9e3779b97f4a7c15) ^ text.len, word;
	size_t at = 0;

	for (; text.len - at >= sizeof(word); at += sizeof(word)) {
		memcpy(&word, text.ptr + at, sizeof(word));
		hash = mix(hash ^ word);
	}
	if (at < text.len) {
		word = 0;
		memcpy(&word, text.ptr + at, text.len - at);
		hash = mix(hash ^ word);
	}
	return mix(hash);
}

/* Where key's number stands in the index, or the free place where it would. */
static size_t place(const struct ls_map *map, struct ls_str key, uint64_t hash)
{
	size_t at = hash & map->mask;

	for (; map->index[at]; at = (at + 1) & map->mask) {
		const struct ls_map_slot *slot = &map->slot[map->index[at] - 1];

		if (slot->hash == hash && ls_str_equal(slot->key, key))
			break;
	}
	return at;
}

static void grow(struct ls_map *map)
{
	size_t room = map->room ? map->room * 2 : FIRST_ROOM;
	struct ls_map_slot *slot = reallocarray(map->slot, room, sizeof(*slot));

	assert(room < UINT32_MAX / 2);
	free(map->index);
	map->index = calloc(room * 2, sizeof(*map->index));
	if (!slot || !map->index)
		abort();
	map->slot = slot;
	map->room = room;
	map->mask = room * 2 - 1;
	for (size_t i = 0; i < map->count; i++) {
		size_t at = slot[i].hash & map->mask;

		while (map->index[at])
			at = (at + 1) & map->mask;
		map->index[at] = (uint32_t)(i + 1);
	}
}

void *ls_map_get(const struct ls_map *map, struct ls_str key)
{
	uint32_t number = map->count ? map->index[place(map, key, ls_hash(key))] : 0;

	return number ? map->slot[number - 1].value : NULL;
}

struct ls_map_slot *ls_map_at(struct ls_map *map, struct ls_str key)
{
	uint64_t hash = ls_hash(key);
	size_t at;

	if (map->count == map->room)
		grow(map);
	at = place(map, key, hash);
	if (!map->index[at]) {
		map->slot[map->count++] = (struct ls_map_slot){ .key = key, .hash = hash };
		map->index[at] = (uint32_t)map->count;
	}
	return &map->slot[map->index[at] - 1];
}
