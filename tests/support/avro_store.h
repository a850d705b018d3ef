/* A schema store in memory, for tests of encoder and decoder. */
#pragma once

#include "avro/schemas.h"

#include <stdlib.h>
#include <string.h>

struct avro_store {
	struct ls_schema_store ops;
	struct {
		bool by_id;
		uint64_t id;
		char *json;
	} entry[512];
	size_t count;
	bool registry; /* frames by id 7, 8, ... instead of by fingerprint */
	unsigned finds, publishes;
};

static inline void avro_store_put(struct avro_store *store, bool by_id, uint64_t id, struct ls_str json)
{
	if (store->count == sizeof(store->entry) / sizeof(*store->entry))
		abort();
	store->entry[store->count].by_id = by_id;
	store->entry[store->count].id = id;
	store->entry[store->count++].json = strndup(json.ptr, json.len);
}

static inline enum ls_class avro_store_find(struct ls_schema_store *base, bool by_id, uint64_t id, char **ret_json,
					    struct ls_error *err)
{
	struct avro_store *store = (struct avro_store *)base;

	store->finds++;
	for (size_t i = 0; i < store->count; i++)
		if (store->entry[i].by_id == by_id && store->entry[i].id == id) {
			*ret_json = strdup(store->entry[i].json);
			return LS_OK;
		}
	return ls_fail(err, LS_POISON, "NO_SCHEMA", "no such schema");
}

static inline enum ls_class avro_store_publish(struct ls_schema_store *base, struct ls_str subject, struct ls_str json,
					       bool *ret_by_id, uint64_t *ret_id, struct ls_error *err)
{
	struct avro_store *store = (struct avro_store *)base;
	enum ls_class class = LS_OK;

	(void)subject;
	store->publishes++;
	*ret_by_id = store->registry;
	*ret_id = 7 + store->count;
	if (!store->registry)
		class = ls_avro_fingerprint(json, ret_id, err);
	if (!class)
		avro_store_put(store, *ret_by_id, *ret_id, json);
	return class;
}

static inline struct ls_schema_store *avro_store_close(struct ls_schema_store *base)
{
	struct avro_store *store = (struct avro_store *)base;

	for (size_t i = 0; i < store->count; i++)
		free(store->entry[i].json);
	free(store);
	return NULL;
}

static inline struct avro_store *avro_store_new(void)
{
	struct avro_store *store = calloc(1, sizeof(*store));

	if (!store)
		abort();
	store->ops = (struct ls_schema_store){ avro_store_find, avro_store_publish, avro_store_close };
	return store;
}
