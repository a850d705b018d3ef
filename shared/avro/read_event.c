/* One datum to one event, along a bound writer schema, in one pass. */
#include "avro/reader.h"

#include "core/arena.h"
#include "core/mutant.h"

#include <assert.h>

enum { METADATA_MAX = 4096 };

struct reading {
	struct ls_reader *reader;
	struct ls_walk *walk;
	struct ls_event event;
	bool has_timestamp;
	struct ls_str *absent;
	size_t absent_count;
};

static bool text_field(struct reading *r, const struct ls_avro_node *type, struct ls_str *ret)
{
	struct ls_value value;

	if (!ls_walk_text(r->walk, type, false, &value))
		return false;
	if (value.presence == LS_PRESENT && value.text.len) {
		*ret = value.text;
		return true;
	}
	return ls_walk_fail(r->walk, "is required and is null or empty");
}

static bool change_field(struct reading *r, const struct ls_avro_node *type)
{
	struct ls_str name = { NULL, 0 };

	if (!text_field(r, type, &name))
		return false;
	return ls_change_parse(name, &r->event.change) ||
	       ls_walk_fail(r->walk, "is none of INSERT, UPDATE, DELETE, SNAPSHOT");
}

/* number_field reads an optional int or long. unit: of timestamp-millis, 1000 */
static bool number_field(struct reading *r, const struct ls_avro_node *type, int64_t *ret, bool *ret_there)
{
	int64_t value;
	int32_t narrow;

	*ret_there = false;
	type = ls_walk_branch(r->walk, type);
	if (!type)
		return false;
	if (type->tag == LS_AVRO_NULL)
		return true;
	if (type->tag == LS_AVRO_INT) {
		if (!ls_wire_int(&r->walk->wire, &narrow))
			return ls_walk_fail(r->walk, "ends early or is not an int");
		value = narrow;
	} else if (!ls_wire_long(&r->walk->wire, &value)) {
		return ls_walk_fail(r->walk, "ends early or is not a long");
	}
	if ((type->logical == LS_LOGICAL_TIMESTAMP_MILLIS || type->logical == LS_LOGICAL_LOCAL_MILLIS) &&
	    __builtin_mul_overflow(value, 1000, &value))
		return ls_walk_fail(r->walk, "is a timestamp out of range");
	if (value == LS_NONE)
		return ls_walk_fail(r->walk, "is out of range");
	*ret = value;
	*ret_there = true;
	return true;
}

static bool row_field(struct reading *r, const struct ls_avro_node *type, const struct ls_reader_row *row,
		      struct ls_row *ret)
{
	struct ls_walk *walk = r->walk;
	struct ls_value *value;

	type = ls_walk_branch(walk, type);
	if (!type)
		return false;
	if (type->tag == LS_AVRO_NULL)
		return true;
	if (!ls_walk_room(walk, type->count * sizeof(*value)))
		return false;
	value = ls_arena_alloc(walk->arena, type->count * sizeof(*value));
	for (size_t i = 0; i < type->count; i++) {
		walk->where = type->field[i].column;
		if (!ls_walk_text(walk, type->field[i].type, row->json[i], &value[i]))
			return false;
	}
	*ret = (struct ls_row){ row->schema, value };
	return true;
}

static bool absent_field(struct reading *r, const struct ls_avro_node *type)
{
	struct ls_walk *walk = r->walk;
	uint64_t left = 0;

	type = ls_walk_branch(walk, type);
	if (!type)
		return false;
	if (type->tag == LS_AVRO_NULL)
		return true;
	for (;; left--) {
		if (!left && !ls_wire_block(&walk->wire, false, &left))
			return ls_walk_fail(walk, "has more items than the message has bytes");
		if (!left)
			return true;
		if (!r->absent_count) {
			if (!ls_walk_room(walk, LS_MAX_COLUMNS * sizeof(*r->absent)))
				return false;
			r->absent = ls_arena_alloc(walk->arena, LS_MAX_COLUMNS * sizeof(*r->absent));
		}
		if (r->absent_count == LS_MAX_COLUMNS)
			return ls_walk_fail(walk, "names more than 1600 columns");
		if (!ls_wire_bytes(&walk->wire, &r->absent[r->absent_count++]))
			return ls_walk_fail(walk, "says it is longer than the message");
	}
}

/* pairs_grow doubles the room for metadata; what it leaves behind goes with the arena. */
static bool pairs_grow(struct reading *r)
{
	size_t count = r->event.metadata_count, more = count ? count * 2 : 8;
	struct ls_pair *pair;

	if (count && (count < 8 || (count & (count - 1))))
		return true;
	if (count >= METADATA_MAX)
		return ls_walk_fail(r->walk, "has more than 4096 entries");
	if (!ls_walk_room(r->walk, more * sizeof(*pair)))
		return false;
	pair = ls_arena_alloc(r->walk->arena, more * sizeof(*pair));
	if (count)
		memcpy(pair, r->event.metadata, count * sizeof(*pair));
	r->event.metadata = pair;
	return true;
}

static bool metadata_field(struct reading *r, const struct ls_avro_node *type)
{
	struct ls_walk *walk = r->walk;
	struct ls_value value;
	struct ls_str name;
	uint64_t left = 0;

	type = ls_walk_branch(walk, type);
	if (!type)
		return false;
	if (type->tag == LS_AVRO_NULL)
		return true;
	for (;; left--) {
		if (!left && !ls_wire_block(&walk->wire, false, &left))
			return ls_walk_fail(walk, "has more items than the message has bytes");
		if (!left)
			return true;
		if (!ls_wire_bytes(&walk->wire, &name) || !ls_utf8_ok(name))
			return ls_walk_fail(walk, "has a key that is not UTF-8 or longer than the message");
		if (!ls_walk_text(walk, type->item, false, &value))
			return false;
		if (value.presence != LS_PRESENT)
			continue;
		if (!pairs_grow(r))
			return false;
		r->event.metadata[r->event.metadata_count++] = (struct ls_pair){ name, value.text };
	}
}

static bool field(struct reading *r, enum ls_reader_role role, const struct ls_avro_node *type)
{
	struct ls_event *event = &r->event;
	bool there;

	switch (role) {
	case LS_ROLE_EVENT_ID:
		return text_field(r, type, &event->event_id);
	case LS_ROLE_SOURCE:
		return text_field(r, type, &event->source);
	case LS_ROLE_ENTITY_TYPE:
		return text_field(r, type, &event->entity);
	case LS_ROLE_ENTITY_ID:
		return text_field(r, type, &event->entity_id);
	case LS_ROLE_CHANGE_TYPE:
		return change_field(r, type);
	case LS_ROLE_TIMESTAMP:
		return number_field(r, type, &event->timestamp_us, &r->has_timestamp);
	case LS_ROLE_VERSION:
		return number_field(r, type, &event->version, &there);
	case LS_ROLE_BASE_VERSION:
		return number_field(r, type, &event->base_version, &there);
	case LS_ROLE_BASE_OFFSET:
		return number_field(r, type, &event->base_offset, &there);
	case LS_ROLE_BEFORE:
		return row_field(r, type, &r->reader->before, &event->before);
	case LS_ROLE_AFTER:
		return row_field(r, type, &r->reader->after, &event->after);
	case LS_ROLE_ABSENT:
		return absent_field(r, type);
	case LS_ROLE_METADATA:
		return metadata_field(r, type);
	case LS_ROLE_OTHER:
		break;
	}
	return ls_walk_skip(r->walk, type);
}

/* terminate writes a NUL behind a view into the datum. What stood there, the first byte of the next value, was read. */
static void terminate(struct ls_str text, const uint8_t *start, const uint8_t *end)
{
	const uint8_t *at = (const uint8_t *)text.ptr;

	if (at && at >= start && at <= end)
		((char *)text.ptr)[text.len] = 0;
}

static void terminate_row(const struct ls_row *row, const uint8_t *start, const uint8_t *end)
{
	for (size_t i = 0; row->schema && i < row->schema->count; i++)
		if (row->value[i].presence == LS_PRESENT)
			terminate(row->value[i].text, start, end);
}

static void terminate_all(struct reading *r, const uint8_t *start, const uint8_t *end)
{
	const struct ls_event *event = &r->event;

	terminate(event->event_id, start, end);
	terminate(event->source, start, end);
	terminate(event->entity, start, end);
	terminate(event->entity_id, start, end);
	terminate_row(&event->before, start, end);
	terminate_row(&event->after, start, end);
	for (size_t i = 0; i < event->metadata_count; i++) {
		terminate(event->metadata[i].name, start, end);
		terminate(event->metadata[i].value, start, end);
	}
}

static void mark_absent(const struct reading *r, struct ls_row *row)
{
	for (size_t i = 0; row->schema && i < r->absent_count; i++) {
		size_t column = ls_schema_find(row->schema, r->absent[i]);

		if (column < row->schema->count)
			row->value[column] =
				(struct ls_value){ .presence = LS_MUTANT("absent.null") ? LS_NULL : LS_ABSENT };
	}
}

static const struct ls_schema *named(struct ls_arena *arena, const struct ls_schema *shape, struct ls_str entity)
{
	struct ls_schema *schema;

	if (!shape)
		return NULL;
	schema = ls_arena_alloc(arena, sizeof(*schema));
	*schema = (struct ls_schema){ entity, shape->column, shape->count };
	return schema;
}

static bool entity_new(struct reading *r)
{
	struct ls_reader *reader = r->reader;
	struct ls_arena *arena = reader->plan->arena;
	struct ls_reader_entity *entity;

	if (reader->entities == LS_READER_ENTITIES)
		return ls_walk_fail(r->walk, "is the 65th entity under one writer schema");
	if (ls_arena_left(arena) < r->event.entity.len + 4096)
		return ls_walk_fail(r->walk, "is too long");
	entity = ls_arena_zalloc(arena, sizeof(*entity));
	entity->name = ls_arena_str(arena, r->event.entity);
	entity->after = named(arena, reader->after.schema, entity->name);
	entity->before = reader->before.schema == reader->after.schema
				 ? entity->after
				 : named(arena, reader->before.schema, entity->name);
	entity->next = reader->entity;
	reader->entity = entity;
	reader->entities++;
	return true;
}

/* name_rows gives the rows the schemas that carry the event's entity. */
static bool name_rows(struct reading *r)
{
	const struct ls_reader_entity *entity = r->reader->entity;

	while (entity && !ls_str_equal(entity->name, r->event.entity))
		entity = entity->next;
	if (!entity) {
		if (!entity_new(r))
			return false;
		entity = r->reader->entity;
	}
	assert(entity);
	if (r->event.before.schema)
		r->event.before.schema = entity->before;
	if (r->event.after.schema)
		r->event.after.schema = entity->after;
	return true;
}

static bool complete(struct reading *r, int64_t timestamp_us)
{
	struct ls_event *event = &r->event;

	r->walk->where = LS_STR("timestamp");
	if (!r->has_timestamp)
		return ls_walk_fail(r->walk, "is required and is null");
	if (event->version == LS_NONE)
		event->version = timestamp_us;
	r->walk->where = LS_STR("after");
	if (event->change == LS_DELETE)
		event->after = (struct ls_row){ NULL, NULL };
	else if (!event->after.schema)
		return ls_walk_fail(r->walk, "is required for what is not a DELETE, and is null or missing");
	r->walk->where = LS_STR("entity_type");
	return name_rows(r);
}

enum ls_class ls_reader_read(struct ls_reader *reader, struct ls_walk *walk, int64_t timestamp_us, struct ls_event *ret)
{
	const struct ls_avro_node *root = reader->plan->root;
	const uint8_t *start = walk->wire.at, *end = walk->wire.end;
	struct reading r = {
		.reader = reader,
		.walk = walk,
		.event = { .version = LS_NONE, .base_version = LS_NONE, .base_offset = LS_NONE },
	};

	for (size_t i = 0; i < root->count; i++) {
		walk->where = root->field[i].name;
		if (!field(&r, reader->role[i], root->field[i].type))
			return LS_POISON;
	}
	if (ls_wire_left(&walk->wire))
		return ls_fail(walk->err, LS_POISON, "BAD_AVRO", "%zu bytes are left over behind the event",
			       ls_wire_left(&walk->wire));
	if (!complete(&r, timestamp_us))
		return LS_POISON;
	terminate_all(&r, start, end);
	mark_absent(&r, r.event.change == LS_DELETE ? &r.event.before : &r.event.after);
	*ret = r.event;
	return LS_OK;
}
