/* Where one entity stands: its row in each system, and the version state each destination decided by. */
#include "avro/codec.h"
#include "core/arena.h"
#include "kafka/topics.h"
#include "main/app.h"
#include "status.h"

#include <stdio.h>
#include <stdlib.h>

enum { STEP = 1000 };

static json_t *row_json(const struct ls_row *row)
{
	json_t *object = json_object();

	for (size_t i = 0; i < row->schema->count; i++) {
		const struct ls_value *value = &row->value[i];
		struct ls_str name = row->schema->column[i].name;
		char key[256];

		snprintf(key, sizeof key, "%.*s", LS_ARG(name));
		if (value->presence == LS_PRESENT)
			json_object_set_new(object, key, json_stringn(value->text.ptr, value->text.len));
		else if (value->presence == LS_NULL)
			json_object_set_new(object, key, json_null());
	}
	return object;
}

static json_t *found_json(enum ls_class class, const struct ls_row *row, const struct ls_error *err)
{
	if (class)
		return json_pack("{s:s}", "error", err->text);
	if (!row->schema)
		return json_pack("{s:b}", "found", 0);
	return json_pack("{s:b, s:o}", "found", 1, "row", row_json(row));
}

/* ---- version state ---- */

struct seek {
	struct ls_str id;
	struct ls_state state;
	struct ls_arena *arena;
	struct ls_state_codec *codec;
};

static void join_matching(struct seek *seek, const struct ls_message *message)
{
	struct ls_state state;
	struct ls_error err;

	if (!message->has_key || !message->has_value || !ls_str_equal(message->key, seek->id))
		return;
	if (!ls_state_decode(seek->codec, message->value, seek->arena, &state, &err))
		ls_state_join(&seek->state, &state);
}

static enum ls_class scan(const struct ls_app *app, const char *topic, int32_t partition, struct seek *seek,
			  struct ls_error *err)
{
	struct ls_message *message = calloc(STEP, sizeof *message);
	struct ls_reader *reader = NULL;
	enum ls_class class = ls_reader_open(&app->config->kafka, topic, partition, -1, &reader, err);
	bool end = false;

	if (!message)
		abort();
	while (!class && !end && !ls_stop_is_set(&app->stop)) {
		size_t count = 0;

		class = ls_reader_next(reader, 200, message, STEP, &count, &end, err);
		for (size_t i = 0; i < count; i++) {
			join_matching(seek, &message[i]);
			ls_message_free(&message[i]);
		}
	}
	ls_reader_close(reader);
	free(message);
	return class;
}

static void add_state(json_t *into, const struct ls_state *state, int32_t partition)
{
	char time[25];

	json_object_set_new(into, "partition", json_integer(partition));
	if (!state->exists)
		return;
	ls_time_format(state->stamp.timestamp_us, time);
	json_object_set_new(into, "version", json_integer((json_int_t)state->stamp.version));
	json_object_set_new(into, "timestamp", json_string(time));
	json_object_set_new(into, "source", json_stringn(state->stamp.source.ptr, state->stamp.source.len));
	json_object_set_new(into, "event_id", json_stringn(state->event_id.ptr, state->event_id.len));
	json_object_set_new(into, "deleted", json_boolean(state->deleted));
	json_object_set_new(into, "offset", json_integer((json_int_t)state->offset));
}

static enum ls_class state_json(const struct ls_app *app, const char *entity, const char *destination, struct ls_str id,
				struct ls_arena *arena, json_t *into, struct ls_error *err)
{
	struct seek seek = { .id = id, .arena = arena, .codec = ls_state_codec_new() };
	struct ls_topic_info info = { 0 };
	struct ls_admin *admin = NULL;
	char topic[LS_TOPIC_NAME];
	enum ls_class class;

	ls_topic_versions(topic, app->config->prefix, entity, destination);
	class = ls_admin_open(&app->config->kafka, &admin, err);
	if (!class)
		class = ls_admin_topic(admin, topic, &info, err);
	ls_admin_close(admin);
	if (!class && info.partitions) {
		int32_t partition = ls_kafka_partition_of(id, info.partitions);

		class = scan(app, topic, partition, &seek, err);
		if (!class)
			add_state(into, &seek.state, partition);
	}
	ls_state_codec_free(seek.codec);
	return class;
}

/* ---- the two sides ---- */

/* polled: only sources that are polled; else only the others. */
static void add_sources(struct ls_app *app, const char *entity, struct ls_str id, bool polled, struct ls_arena *arena,
			json_t *into)
{
	const struct ls_config *config = app->config;

	for (size_t i = 0; i < config->source_count; i++) {
		const struct ls_source_config *source = &config->source[i];
		struct ls_source_context context = {
			.name = source->name,
			.mapping = source->mapping,
			.mapping_count = source->mapping_count,
			.prefix = config->prefix,
			.ledger_schema = config->ledger_schema,
			.max_event_bytes = config->max_event_bytes,
			.stats = ls_stats_lane(app->stats, "status"),
		};

		for (size_t m = 0; m < source->mapping_count; m++) {
			struct ls_row row = { NULL, NULL };
			struct ls_error err;
			enum ls_class class;

			if (strcmp(source->mapping[m].entity, entity) != 0 || !source->ops->lookup ||
			    polled != (source->ops->family == LS_FAMILY_POLLING))
				continue;
			class = source->ops->lookup(source->options, &context, &source->mapping[m], id, arena, &row,
						    &err);
			/* One entity may be kept in several tables of a source: the one that has it is shown. */
			if (!json_is_true(json_object_get(json_object_get(into, source->name), "found")))
				json_object_set_new(into, source->name, found_json(class, &row, &err));
		}
	}
}

static void add_destination(struct ls_app *app, const struct ls_destination_config *destination,
			    const struct ls_mapping *mapping, struct ls_str id, struct ls_arena *arena, json_t *into)
{
	struct ls_destination_context context = ls_status_context(app, destination);
	struct ls_row row = { NULL, NULL };
	struct ls_error err;
	json_t *object;
	enum ls_class class;

	if (!destination->ops->lookup)
		return;
	class = destination->ops->lookup(destination->options, &context, mapping, id, arena, &row, &err);
	object = found_json(class, &row, &err);
	json_object_set_new(into, destination->name, object);
	if (app->kafka_away)
		json_object_set_new(object, "version_error", json_string("Kafka does not answer"));
	else if (state_json(app, mapping->entity, destination->name, id, arena, object, &err))
		json_object_set_new(object, "version_error", json_string(err.text));
}

static void add_destinations(struct ls_app *app, const char *entity, struct ls_str id, struct ls_arena *arena,
			     json_t *into)
{
	const struct ls_config *config = app->config;

	for (size_t i = 0; i < config->destination_count; i++)
		for (size_t m = 0; m < config->destination[i].mapping_count; m++)
			if (strcmp(config->destination[i].mapping[m].entity, entity) == 0)
				add_destination(app, &config->destination[i], &config->destination[i].mapping[m], id,
						arena, into);
}

enum ls_class ls_status_entity(struct ls_app *app, const char *entity, const char *id, json_t **ret,
			       struct ls_error *err)
{
	json_t *sources = json_object(), *destinations = json_object(), *polled = json_object();
	struct ls_arena *arena;

	if (!ls_config_entity(app->config, entity)) {
		json_decref(sources);
		json_decref(destinations);
		json_decref(polled);
		return ls_fail(err, LS_FATAL, "config", "there is no entity \"%s\" in %s", entity, app->config->file);
	}
	arena = ls_arena_new(0);
	add_sources(app, entity, ls_str_of(id), false, arena, sources);
	add_sources(app, entity, ls_str_of(id), true, arena, polled);
	add_destinations(app, entity, ls_str_of(id), arena, destinations);
	ls_arena_free(arena);
	*ret = json_pack("{s:s, s:s, s:{s:o, s:o}, s:{s:o}}", "entity_id", id, "entity_type", entity, "cdc", "sources",
			 sources, "destinations", destinations, "polling", "sources", polled);
	return *ret ? LS_OK : ls_fail(err, LS_FATAL, "utf8", "the entity id is not UTF-8");
}
