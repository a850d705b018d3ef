/* From a Kafka message to an item of the batch: an event fit to be decided, or a dead letter with its reason. */
#include "core/arena.h"
#include "lane.h"
#include "main/app.h"

#include <stdio.h>

enum { MAX_EVENT_ID = 1000, MAX_SOURCE = 200 };

static enum ls_class poison(struct ls_error *err, const char *code, const char *text)
{
	return ls_fail(err, LS_POISON, code, "%s", text);
}

static enum ls_class check_names(const struct ls_sink_entity *entity, const struct ls_message *message,
				 const struct ls_event *event, struct ls_error *err)
{
	if (!ls_str_equal(event->entity, ls_str_of(entity->config->name)))
		return ls_fail(err, LS_POISON, "entity_type", "entity_type is \"%.*s\" but the topic carries \"%s\"",
			       LS_ARG(event->entity), entity->config->name);
	if (event->entity_id.len == 0 || event->entity_id.len > LS_STORE_MAX_KEY)
		return ls_fail(err, LS_POISON, "entity_id", "entity_id has %zu bytes; 1 to %d are allowed",
			       event->entity_id.len, LS_STORE_MAX_KEY);
	if (event->event_id.len == 0 || event->event_id.len > MAX_EVENT_ID)
		return ls_fail(err, LS_POISON, "event_id", "event_id has %zu bytes; 1 to %d are allowed",
			       event->event_id.len, MAX_EVENT_ID);
	if (event->source.len == 0 || event->source.len > MAX_SOURCE)
		return ls_fail(err, LS_POISON, "source", "source has %zu bytes; 1 to %d are allowed", event->source.len,
			       MAX_SOURCE);
	if (!message->has_key || !ls_str_equal(message->key, event->entity_id))
		return poison(err, "key",
			      "the message key is not the event's entity_id: it may stand in another "
			      "partition than the entity's other events");
	return LS_OK;
}

/* A clock far ahead would win for ever. */
static enum ls_class check_version(const struct ls_event *event, int64_t now_us, int64_t max_skew_ms,
				   struct ls_error *err)
{
	int64_t ahead = event->version > now_us ? event->version - now_us : 0;

	if (event->version < 0)
		return ls_fail(err, LS_POISON, "version", "version %lld is negative", (long long)event->version);
	if (ahead / 1000 <= max_skew_ms)
		return LS_OK;
	return ls_fail(err, LS_POISON, "max_skew",
		       "version %lld is %lld s ahead of this machine's clock, max_skew is "
		       "%lld s: it would win against every change until then; look at the clock of source \"%.*s\"",
		       (long long)event->version, (long long)(ahead / 1000000), (long long)(max_skew_ms / 1000),
		       LS_ARG(event->source));
}

/* completed returns the writer's row schema with the key columns it lacks at the end; made once per writer schema. */
static const struct ls_schema *completed(struct ls_sink_lane *lane, const struct ls_sink_entity *entity,
					 const struct ls_schema *schema)
{
	struct ls_str name = { (const char *)&schema, sizeof schema };
	struct ls_schema *made = ls_map_get(&lane->key_rows, name);
	struct ls_column *column;

	if (made)
		return made;
	made = ls_arena_zalloc(lane->lane_arena, sizeof *made);
	column = ls_arena_zalloc(lane->lane_arena, (schema->count + entity->config->key_count) * sizeof *column);
	*made = (struct ls_schema){ .entity = schema->entity, .column = column, .count = schema->count };
	if (schema->count)
		memcpy(column, schema->column, schema->count * sizeof *column);
	for (size_t i = 0; i < entity->config->key_count; i++)
		if (ls_schema_find(schema, entity->config->key[i]) == schema->count)
			column[made->count++] = (struct ls_column){ .name = entity->config->key[i],
								    .type = { .kind = LS_STRING },
								    .key = true };
	ls_map_at(&lane->key_rows, ls_arena_str(lane->lane_arena, name))->value = made;
	return made;
}

/* check_key makes the row say the same key as the entity id; a row without key columns gets them from it. */
static enum ls_class check_key(struct ls_sink_lane *lane, const struct ls_sink_entity *entity, struct ls_event *event,
			       struct ls_error *err)
{
	const struct ls_entity_config *config = entity->config;
	const struct ls_schema *schema = event->after.schema;
	struct ls_str *part = ls_arena_alloc(lane->arena, config->key_count * sizeof *part);
	struct ls_value *value = event->after.value;

	if (!ls_entity_id_split(event->entity_id, config->key_count, lane->arena, part))
		return ls_fail(err, LS_POISON, "entity_id", "entity_id \"%.*s\" has not the %zu parts of the key",
			       LS_ARG(event->entity_id), config->key_count);
	if (!schema)
		return LS_OK;
	event->after.schema = completed(lane, entity, schema);
	if (event->after.schema->count > schema->count) {
		event->after.value = ls_arena_zalloc(lane->arena, event->after.schema->count * sizeof *value);
		if (schema->count)
			memcpy(event->after.value, value, schema->count * sizeof *value);
	}
	for (size_t i = 0; i < config->key_count; i++) {
		size_t at = ls_schema_find(event->after.schema, config->key[i]);
		struct ls_value *cell = &event->after.value[at];

		if (cell->presence == LS_ABSENT)
			*cell = (struct ls_value){ LS_PRESENT, part[i] };
		if (cell->presence != LS_PRESENT || !ls_str_equal(cell->text, part[i]))
			return ls_fail(err, LS_POISON, "key", "the row's \"%.*s\" is not what entity_id \"%.*s\" says",
				       LS_ARG(config->key[i]), LS_ARG(event->entity_id));
	}
	return LS_OK;
}

static enum ls_class decode(struct ls_sink_lane *lane, const struct ls_sink_entity *entity,
			    const struct ls_message *message, struct ls_event *ret, struct ls_error *err)
{
	const struct ls_config *config = lane->base.app->config;
	enum ls_class class;

	if (!message->has_value)
		return poison(err, "null", "the message has no value; a delete is an event with change_type DELETE");
	class = ls_decode(lane->decoder, message->value, message->timestamp_us, lane->arena, ret, err);
	if (!class)
		class = check_names(entity, message, ret, err);
	if (!class)
		class = check_version(ret, ls_sink_clock_now(lane), config->max_skew_ms, err);
	if (!class)
		class = check_key(lane, entity, ret, err);
	return class;
}

enum ls_class ls_sink_decode(struct ls_sink_lane *lane, const struct ls_sink_entity *entity,
			     const struct ls_message *message, struct ls_item *ret, struct ls_error *err)
{
	struct ls_error why;
	enum ls_class class;

	*ret = (struct ls_item){ .offset = message->offset };
	class = decode(lane, entity, message, &ret->event, &why);
	if (class == LS_POISON) {
		ls_item_kill(lane, ret, &why);
		return LS_OK;
	}
	if (class)
		*err = why;
	return class;
}
