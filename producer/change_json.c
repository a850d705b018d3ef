/* One change as JSON to an event. Not here: defaults that need a clock or chance, and sending. */
#include "change_json.h"
#include "shelf.h"

#include "config/near.h"
#include "core/arena.h"

#include <jansson.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char *const known[] = { "entity",    "id",           "source", "type",     "version",  "event_id",
				     "timestamp", "base_version", "data",   "metadata", "priority", NULL };

static void json_release(json_t **json)
{
	json_decref(*json);
}

static enum ls_class wrong(struct ls_error *err, const char *field, const char *must)
{
	return ls_fail(err, LS_POISON, "json", "\"%s\" must be %s", field, must);
}

static struct ls_str text_of(const json_t *json, struct ls_arena *arena)
{
	return ls_arena_str(arena, (struct ls_str){ json_string_value(json), json_string_length(json) });
}

static enum ls_class check_fields(json_t *json, struct ls_error *err)
{
	const char *name;
	json_t *value;

	json_object_foreach(json, name, value)
	{
		char hint[LS_NEAR_HINT];
		struct ls_near near;
		bool found = false;

		ls_near_init(&near, name);
		for (const char *const *at = known; *at; at++) {
			found |= strcmp(*at, name) == 0;
			ls_near_offer(&near, *at);
		}
		if (!found)
			return ls_fail(err, LS_POISON, "json", "\"%.60s\" is no field of a change%s", name,
				       ls_near_hint(&near, hint));
	}
	return LS_OK;
}

/* ---- single fields ---- */

static enum ls_class get_text(const json_t *json, const char *name, struct ls_str *into, struct ls_arena *arena,
			      struct ls_error *err)
{
	const json_t *value = json_object_get(json, name);

	if (!value)
		return LS_OK;
	if (!json_is_string(value) || !json_string_length(value))
		return wrong(err, name, "a string that is not empty");
	*into = text_of(value, arena);
	return LS_OK;
}

static enum ls_class get_number(const json_t *json, const char *name, int64_t *into, struct ls_error *err)
{
	const json_t *value = json_object_get(json, name);

	if (!value)
		return LS_OK;
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return wrong(err, name, "an integer, 0 or more");
	*into = json_integer_value(value);
	return LS_OK;
}

/* The part after the seconds: .123456, then Z or +hh:mm. */
static bool read_tail(const char *at, int64_t *time_us)
{
	int64_t unit = 100000, offset_min;
	bool minus;

	if (*at == '.')
		for (at++; *at >= '0' && *at <= '9'; at++, unit /= 10)
			*time_us += (*at - '0') * unit;
	if (strcmp(at, "Z") == 0)
		return true;
	minus = *at == '-';
	if ((*at != '+' && !minus) || strlen(at) != 6 || at[3] != ':')
		return false;
	for (int i = 1; i < 6; i++)
		if (i != 3 && (at[i] < '0' || at[i] > '9'))
			return false;
	offset_min = ((at[1] - '0') * 10 + at[2] - '0') * 60 + (at[4] - '0') * 10 + at[5] - '0';
	*time_us += (minus ? 1 : -1) * offset_min * 60 * 1000000;
	return true;
}

static bool read_time(const char *text, int64_t *ret)
{
	struct tm tm = { .tm_isdst = 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t time_us;

	if (!end || tm.tm_year > 9999 - 1900 || tm.tm_year < -1899)
		return false;
	time_us = (int64_t)timegm(&tm) * 1000000;
	if (!read_tail(end, &time_us))
		return false;
	*ret = time_us;
	return true;
}

static enum ls_class get_time(const json_t *json, int64_t *into, struct ls_error *err)
{
	const json_t *value = json_object_get(json, "timestamp");

	if (!value)
		return LS_OK;
	if (json_is_integer(value))
		*into = json_integer_value(value);
	else if (!json_is_string(value) || !read_time(json_string_value(value), into))
		return wrong(err, "timestamp", "microseconds since 1970, or a time as 2026-11-21T09:14:03.12Z");
	return LS_OK;
}

static enum ls_class get_type(const json_t *json, enum ls_change *into, struct ls_error *err)
{
	const json_t *value = json_object_get(json, "type");
	struct ls_str name = { json_string_value(value), json_string_length(value) };

	if (value && (!json_is_string(value) || !ls_change_parse(name, into)))
		return wrong(err, "type", "INSERT, UPDATE, DELETE or SNAPSHOT");
	return LS_OK;
}

static enum ls_class get_metadata(json_t *json, struct ls_event *event, struct ls_arena *arena, struct ls_error *err)
{
	json_t *object = json_object_get(json, "metadata"), *value;
	const char *name;

	if (!object)
		return LS_OK;
	if (!json_is_object(object))
		return wrong(err, "metadata", "an object of strings");
	event->metadata = ls_arena_zalloc(arena, (json_object_size(object) + 1) * sizeof(*event->metadata));
	json_object_foreach(object, name, value)
	{
		if (!json_is_string(value))
			return wrong(err, "metadata", "an object of strings");
		event->metadata[event->metadata_count].name = ls_arena_str(arena, ls_str_of(name));
		event->metadata[event->metadata_count++].value = text_of(value, arena);
	}
	return LS_OK;
}

/* ---- the row ---- */

/* The shortest digits that read back as the same number. */
static struct ls_str print_real(double real, struct ls_arena *arena)
{
	char text[40];

	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, real);
		if (strtod(text, NULL) == real)
			break;
	}
	return ls_arena_str(arena, ls_str_of(text));
}

static struct ls_value value_of(const json_t *json, enum ls_kind *ret_kind, struct ls_arena *arena)
{
	struct ls_value value = { .presence = LS_PRESENT };
	char *text;

	*ret_kind = LS_STRING;
	switch (json_typeof(json)) {
	case JSON_NULL:
		value.presence = LS_NULL;
		break;
	case JSON_STRING:
		value.text = text_of(json, arena);
		break;
	case JSON_INTEGER:
		*ret_kind = LS_INT64;
		value.text = ls_arena_printf(arena, "%lld", (long long)json_integer_value(json));
		break;
	case JSON_REAL:
		*ret_kind = LS_FLOAT64;
		value.text = print_real(json_real_value(json), arena);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		*ret_kind = LS_BOOL;
		value.text = json_is_true(json) ? LS_STR("t") : LS_STR("f");
		break;
	case JSON_OBJECT:
	case JSON_ARRAY:
		*ret_kind = LS_JSON;
		text = json_dumps(json, JSON_COMPACT);
		if (!text)
			abort(); /* it was read by the same library: only out of memory */
		value.text = ls_arena_str(arena, ls_str_of(text));
		free(text);
	}
	return value;
}

struct draft {
	struct ls_column *column;
	struct ls_value *value;
	size_t count;
};

static struct draft draft_of(json_t *data, const struct ls_entity_key *key, struct ls_arena *arena)
{
	size_t room = json_object_size(data) + key->count + 1;
	struct draft draft = { ls_arena_zalloc(arena, room * sizeof(struct ls_column)),
			       ls_arena_zalloc(arena, room * sizeof(struct ls_value)), 0 };
	const char *name;
	json_t *value;

	json_object_foreach(data, name, value)
	{
		struct ls_column *column = &draft.column[draft.count];

		column->name = ls_arena_str(arena, ls_str_of(name));
		for (size_t i = 0; i < key->count; i++)
			column->key |= ls_str_equal(key->field[i], column->name);
		draft.value[draft.count++] = value_of(value, &column->type.kind, arena);
	}
	return draft;
}

static bool has(const struct draft *draft, struct ls_str name)
{
	for (size_t i = 0; i < draft->count; i++)
		if (ls_str_equal(draft->column[i].name, name))
			return true;
	return false;
}

/* Key fields that data lacks come from the id. */
static enum ls_class add_keys(struct draft *draft, struct ls_str entity_id, const struct ls_entity_key *key,
			      struct ls_arena *arena, struct ls_error *err)
{
	struct ls_str *part = ls_arena_zalloc(arena, (key->count + 1) * sizeof(*part));

	if (!entity_id.len)
		return LS_OK;
	if (!ls_entity_id_split(entity_id, key->count, arena, part))
		return ls_fail(err, LS_POISON, "key", "\"id\" must be a JSON array of %zu texts, as [\"7\",\"a\"]",
			       key->count);
	for (size_t i = 0; i < key->count; i++) {
		if (has(draft, key->field[i]))
			continue;
		draft->column[draft->count] =
			(struct ls_column){ .name = key->field[i], .type = { .kind = LS_STRING }, .key = true };
		draft->value[draft->count++] = (struct ls_value){ LS_PRESENT, part[i] };
	}
	return LS_OK;
}

/* ls_entity_id_make wants the key's own texts; the id that was given must say the same. */
static enum ls_class settle_id(struct ls_event *event, const struct ls_row *row, const struct ls_entity_key *key,
			       struct ls_arena *arena, struct ls_error *err)
{
	struct ls_str made;

	if (!ls_entity_id_make(row, key->field, key->count, arena, &made) || !made.len)
		return ls_fail(err, LS_POISON, "key",
			       "entity \"%.*s\" needs \"id\", or its key field \"%.*s\"%s in \"data\", not null",
			       LS_ARG(event->entity), LS_ARG(key->field[0]), key->count > 1 ? " and the others" : "");
	if (event->entity_id.len && !ls_str_equal(event->entity_id, made))
		return ls_fail(err, LS_POISON, "key", "\"id\" is %.*s, but the key fields in \"data\" make %.*s",
			       LS_ARG(event->entity_id), LS_ARG(made));
	event->entity_id = made;
	return LS_OK;
}

static enum ls_class get_row(json_t *json, struct ls_event *event, const struct ls_entity_key *key,
			     struct ls_shelf *shelf, struct ls_arena *arena, struct ls_error *err)
{
	json_t *data = json_object_get(json, "data");
	struct ls_row row;
	struct draft draft;
	enum ls_class class;

	if (data && !json_is_object(data))
		return wrong(err, "data", "an object");
	if (!json_object_size(data) && event->change != LS_DELETE)
		return ls_fail(err, LS_POISON, "json", "%s needs \"data\": an object of the fields that change",
			       ls_change_name(event->change));
	if (json_object_size(data) + key->count > LS_MAX_COLUMNS)
		return ls_fail(err, LS_POISON, "json", "\"data\" has more than %d fields", LS_MAX_COLUMNS);
	draft = draft_of(data, key, arena);
	class = add_keys(&draft, event->entity_id, key, arena, err);
	if (class)
		return class;
	row.schema = ls_shelf_schema(shelf, event->entity, draft.column, draft.count);
	row.value = draft.value;
	if (!row.schema)
		return ls_fail(err, LS_POISON, "json", "more than %d different sets of fields and types in one run",
			       LS_SHELF_MAX);
	class = settle_id(event, &row, key, arena, err);
	if (event->change == LS_DELETE)
		event->before = row;
	else
		event->after = row;
	return class;
}

/* "id": a text, an integer, or for several key fields an array of them. */
static enum ls_class get_id(const json_t *json, struct ls_str *into, struct ls_arena *arena, struct ls_error *err)
{
	json_t *id = json_object_get(json, "id");
	enum ls_kind kind;

	if (!id)
		return LS_OK;
	if (!json_is_integer(id) && !json_is_array(id) && !(json_is_string(id) && json_string_length(id)))
		return wrong(err, "id", "a text, an integer, or an array of texts");
	for (size_t i = 0; i < json_array_size(id); i++)
		if (!json_is_string(json_array_get(id, i)))
			return wrong(err, "id", "a text, an integer, or an array of texts");
	*into = value_of(id, &kind, arena).text;
	return LS_OK;
}

/* ---- all of it ---- */

static enum ls_class get_head(json_t *json, struct ls_change_line *line, struct ls_arena *arena, struct ls_error *err)
{
	const json_t *priority = json_object_get(json, "priority");
	struct ls_event *event = &line->event;
	enum ls_class class = check_fields(json, err);

	if (!class)
		class = get_text(json, "entity", &event->entity, arena, err);
	if (!class && !event->entity.len)
		class = ls_fail(err, LS_POISON, "json", "\"entity\" is missing");
	if (!class)
		class = get_text(json, "source", &event->source, arena, err);
	if (!class)
		class = get_text(json, "event_id", &event->event_id, arena, err);
	if (!class)
		class = get_number(json, "version", &event->version, err);
	if (!class)
		class = get_number(json, "base_version", &event->base_version, err);
	if (!class)
		class = get_time(json, &event->timestamp_us, err);
	if (!class)
		class = get_type(json, &event->change, err);
	if (!class)
		class = get_id(json, &event->entity_id, arena, err);
	if (!class && priority && !json_is_boolean(priority))
		class = wrong(err, "priority", "true or false");
	line->priority = json_is_true(priority);
	return class ? class : get_metadata(json, event, arena, err);
}

enum ls_class ls_change_json(struct ls_str text, ls_entity_lookup *lookup, const void *context, struct ls_shelf *shelf,
			     struct ls_arena *arena, struct ls_change_line *ret, struct ls_error *err)
{
	struct ls_change_line line = { .event = { .source = LS_STR("publish"),
						  .change = LS_UPDATE,
						  .version = LS_NONE,
						  .timestamp_us = LS_NONE,
						  .base_version = LS_NONE,
						  .base_offset = LS_NONE } };
	struct ls_entity_key key;
	json_error_t at;
	enum ls_class class;

	if (text.len > LS_CHANGE_JSON_MAX)
		return ls_fail(err, LS_POISON, "json", "a change of %zu bytes is larger than %d", text.len,
			       LS_CHANGE_JSON_MAX);
	__attribute__((cleanup(json_release))) json_t *json =
		json_loadb(text.ptr ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES, &at);
	if (!json)
		return ls_fail(err, LS_POISON, "json", "not JSON at byte %d: %s", at.position, at.text);
	if (!json_is_object(json))
		return ls_fail(err, LS_POISON, "json", "a change is a JSON object");
	class = get_head(json, &line, arena, err);
	if (!class)
		class = lookup(context, line.event.entity, &key, err);
	if (!class)
		class = get_row(json, &line.event, &key, shelf, arena, err);
	if (!class)
		*ret = line;
	return class;
}
