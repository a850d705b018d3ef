/* The process's cache in front of the schema stores. Stores are asked under no lock; what was found stays. */
#include "avro/schemas.h"

#include "core/buf.h"
#include "core/map.h"
#include "core/time.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { FOUND_MAX = 65536, MISSES = 1024, MISS_MS = 1000 };

/* id 9 bytes: how, and the number; the map's key */
struct found {
	char key[9];
	char *json;
};

/* A schema that this process published: (entity, schema) -> how messages are framed. */
struct published {
	struct published *next;
	char *entity, *json;
	bool by_id;
	uint64_t id;
};

struct miss {
	bool used, by_id;
	uint64_t id;
	int64_t at_ms;
	struct ls_error error;
};

struct ls_schemas {
	struct ls_schema_store *topics, *registry;
	ls_schemas_unlike *unlike; /* NULL: nothing is a change */
	char *prefix;
	pthread_mutex_t lock;
	struct ls_map found; /* values: struct found */
	struct published *published;
	struct miss miss[MISSES]; /* by id; a newer one takes the place */
};

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

struct ls_schemas *ls_schemas_new(struct ls_schema_store *topics, struct ls_schema_store *registry, const char *prefix)
{
	struct ls_schemas *schemas = must(calloc(1, sizeof(*schemas)));

	schemas->topics = topics;
	schemas->registry = registry;
	schemas->prefix = must(strdup(prefix));
	pthread_mutex_init(&schemas->lock, NULL);
	ls_map_init(&schemas->found);
	return schemas;
}

struct ls_schemas *ls_schemas_free(struct ls_schemas *schemas)
{
	if (!schemas)
		return NULL;
	if (schemas->topics)
		schemas->topics->close(schemas->topics);
	if (schemas->registry)
		schemas->registry->close(schemas->registry);
	for (size_t i = 0; i < schemas->found.count; i++) {
		struct found *found = schemas->found.slot[i].value;

		free(found->json);
		free(found);
	}
	ls_map_release(&schemas->found);
	while (schemas->published) {
		struct published *next = schemas->published->next;

		free(schemas->published->entity);
		free(schemas->published->json);
		free(schemas->published);
		schemas->published = next;
	}
	pthread_mutex_destroy(&schemas->lock);
	free(schemas->prefix);
	free(schemas);
	return NULL;
}

static struct ls_str key_of(char key[9], bool by_id, uint64_t id)
{
	key[0] = by_id;
	memcpy(key + 1, &id, 8);
	return (struct ls_str){ key, 9 };
}

static struct miss *miss_of(struct ls_schemas *schemas, bool by_id, uint64_t id)
{
	return &schemas->miss[(id ^ id >> 32 ^ (uint64_t)by_id) % MISSES];
}

/* known answers from memory; false: the store is to be asked. */
static bool known(struct ls_schemas *schemas, bool by_id, uint64_t id, struct ls_str *ret_json,
		  enum ls_class *ret_class, struct ls_error *err)
{
	const struct miss *miss = miss_of(schemas, by_id, id);
	char key[9];
	struct found *found;
	bool answer = false;

	pthread_mutex_lock(&schemas->lock);
	found = ls_map_get(&schemas->found, key_of(key, by_id, id));
	if (found) {
		*ret_json = ls_str_of(found->json);
		*ret_class = LS_OK;
		answer = true;
	} else if (miss->used && miss->by_id == by_id && miss->id == id && ls_monotonic_ms() - miss->at_ms < MISS_MS) {
		*err = miss->error;
		*ret_class = LS_POISON;
		answer = true;
	}
	pthread_mutex_unlock(&schemas->lock);
	return answer;
}

/* keep takes json. Two lanes may have asked at once: the first answer stays. */
static enum ls_class keep(struct ls_schemas *schemas, bool by_id, uint64_t id, char *json, struct ls_str *ret_json,
			  struct ls_error *err)
{
	struct found *found;
	char key[9];

	pthread_mutex_lock(&schemas->lock);
	found = ls_map_get(&schemas->found, key_of(key, by_id, id));
	if (!found && schemas->found.count < FOUND_MAX) {
		found = must(calloc(1, sizeof(*found)));
		found->json = json;
		json = NULL;
		ls_map_at(&schemas->found, key_of(found->key, by_id, id))->value = found;
	}
	pthread_mutex_unlock(&schemas->lock);
	free(json);
	if (!found)
		return ls_fail(err, LS_FATAL, "TOO_MANY_SCHEMAS", "more than %d writer schemas are in use", FOUND_MAX);
	*ret_json = ls_str_of(found->json);
	return LS_OK;
}

static void note_miss(struct ls_schemas *schemas, bool by_id, uint64_t id, const struct ls_error *err)
{
	struct miss *miss = miss_of(schemas, by_id, id);

	pthread_mutex_lock(&schemas->lock);
	*miss = (struct miss){ true, by_id, id, ls_monotonic_ms(), *err };
	pthread_mutex_unlock(&schemas->lock);
}

enum ls_class ls_schemas_find(struct ls_schemas *schemas, bool by_id, uint64_t id, struct ls_str *ret_json,
			      struct ls_error *err)
{
	struct ls_schema_store *store = by_id ? schemas->registry : schemas->topics;
	enum ls_class class;
	char *json;

	if (known(schemas, by_id, id, ret_json, &class, err))
		return class;
	if (!store)
		return ls_fail(
			err, LS_POISON, "NO_REGISTRY",
			"the message names schema id %llu of a registry, and none is configured: set registry.url",
			(unsigned long long)id);
	class = store->find(store, by_id, id, &json, err);
	if (class == LS_POISON)
		note_miss(schemas, by_id, id, err);
	if (class)
		return class;
	return keep(schemas, by_id, id, json, ret_json, err);
}

static const struct published *published_before(struct ls_schemas *schemas, struct ls_str entity, struct ls_str json)
{
	const struct published *one;

	pthread_mutex_lock(&schemas->lock);
	for (one = schemas->published; one; one = one->next)
		if (ls_str_equal(ls_str_of(one->entity), entity) && ls_str_equal(ls_str_of(one->json), json))
			break;
	pthread_mutex_unlock(&schemas->lock);
	return one;
}

static void note_published(struct ls_schemas *schemas, struct ls_str entity, struct ls_str json, bool by_id,
			   uint64_t id)
{
	struct published *one = must(calloc(1, sizeof(*one)));

	one->entity = must(strndup(entity.ptr, entity.len));
	one->json = must(strndup(json.ptr, json.len));
	one->by_id = by_id;
	one->id = id;
	pthread_mutex_lock(&schemas->lock);
	one->next = schemas->published;
	schemas->published = one;
	pthread_mutex_unlock(&schemas->lock);
}

enum ls_class ls_schemas_publish(struct ls_schemas *schemas, struct ls_str entity, struct ls_str json, bool *ret_by_id,
				 uint64_t *ret_id, struct ls_error *err)
{
	struct ls_schema_store *store = schemas->registry ? schemas->registry : schemas->topics;
	const struct published *before = published_before(schemas, entity, json);
	struct ls_str kept;
	char subject[512];
	enum ls_class class;
	bool by_id;
	uint64_t id;

	if (before) {
		*ret_by_id = before->by_id;
		*ret_id = before->id;
		return LS_OK;
	}
	snprintf(subject, sizeof(subject), "%s.%.*s-value", schemas->prefix, LS_ARG(entity));
	class = store->publish(store, ls_str_of(subject), json, &by_id, &id, err);
	if (class)
		return class;
	class = keep(schemas, by_id, id, must(strndup(json.ptr, json.len)), &kept, err);
	if (class)
		return class;
	note_published(schemas, entity, json, by_id, id);
	*ret_by_id = by_id;
	*ret_id = id;
	return LS_OK;
}

void ls_schemas_ask_with(struct ls_schemas *schemas, ls_schemas_unlike *unlike)
{
	schemas->unlike = unlike;
}

enum ls_class ls_schemas_settled(struct ls_schemas *schemas, struct ls_str entity, struct ls_str json,
				 struct ls_error *err)
{
	struct ls_schema_store *store = schemas->registry ? schemas->registry : schemas->topics;
	struct ls_buf text;
	char *latest = NULL, subject[512];
	enum ls_class class;

	if (!schemas->unlike)
		return LS_OK;
	snprintf(subject, sizeof(subject), "%s.%.*s-value", schemas->prefix, LS_ARG(entity));
	class = schemas->unlike(store, ls_str_of(subject), json, &latest, err);
	if (class || !latest)
		return class;
	ls_buf_init(&text, 1 << 20);
	ls_avro_difference(ls_str_of(latest), json, &text);
	class = ls_fail(err, LS_POISON, "schema_change", "%.200s", text.ptr ? text.ptr : "its columns");
	ls_buf_release(&text);
	free(latest);
	return class;
}
