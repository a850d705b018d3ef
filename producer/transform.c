/* Filters and masks. A plan says, for one schema as the source knows it, which columns they touch; it is made once per
 * schema, found again by pointer, and owns the schema that masked rows have. */
#include "transform.h"

#include "sha256.h"

#include "core/arena.h"

#include <errno.h>
#include <stdlib.h>

enum mask { REDACT, HASH };

struct touched {
	size_t column;
	enum mask mask;
};

struct wanted {
	size_t column;
	struct ls_str text;
};

struct plan {
	struct plan *next;
	const struct ls_mapping *mapping;
	const struct ls_schema *from; /* the source's */
	struct ls_schema to;          /* columns owned */
	bool hashes_key;
	size_t touched_count, wanted_count;
	struct touched *touched;
	struct wanted *wanted;
};

struct ls_transform {
	const struct ls_mapping *mapping;
	size_t count;
	struct plan *plan; /* the last one used comes first */
};

enum verdict { MATCHES, DIFFERS, UNKNOWN };

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

struct ls_transform *ls_transform_new(const struct ls_mapping *mapping, size_t count)
{
	struct ls_transform *transform = must(calloc(1, sizeof(*transform)));

	transform->mapping = mapping;
	transform->count = count;
	return transform;
}

static void plan_free(struct plan *plan)
{
	free((void *)plan->to.column);
	free(plan->touched);
	free(plan->wanted);
	free(plan);
}

struct ls_transform *ls_transform_free(struct ls_transform *transform)
{
	if (!transform)
		return NULL;
	while (transform->plan) {
		struct plan *next = transform->plan->next;

		plan_free(transform->plan);
		transform->plan = next;
	}
	free(transform);
	return NULL;
}

static bool mask_parse(struct ls_str name, enum mask *ret)
{
	bool hash = ls_str_equal(name, LS_STR("hash"));

	*ret = hash ? HASH : REDACT;
	return hash || ls_str_equal(name, LS_STR("redact"));
}

static bool is_key(const struct ls_mapping *mapping, struct ls_str field)
{
	for (size_t i = 0; i < mapping->key_count; i++)
		if (ls_str_equal(mapping->key[i], field))
			return true;
	return false;
}

enum ls_class ls_transform_check(const struct ls_mapping *mapping, struct ls_error *err)
{
	for (size_t i = 0; i < mapping->mask_count; i++) {
		enum mask mask;

		if (!mask_parse(mapping->mask[i].value, &mask))
			return ls_fail(err, LS_FATAL, "mask",
				       "line %d: mask of \"%.*s\" is \"%.*s\": write redact or hash", mapping->line,
				       LS_ARG(mapping->mask[i].name), LS_ARG(mapping->mask[i].value));
		if (mask == REDACT && is_key(mapping, mapping->mask[i].name))
			return ls_fail(
				err, LS_FATAL, "mask",
				"line %d: \"%.*s\" is a key of entity \"%s\" and cannot be redacted, every row would "
				"become the same one: hash it",
				mapping->line, LS_ARG(mapping->mask[i].name), mapping->entity);
	}
	return LS_OK;
}

/* A field that the entity does not have: with several mappings it may belong to another of them, with one it is a
 * mistake that would let rows or values travel which should not. */
static enum ls_class missing(const struct ls_transform *transform, const struct ls_mapping *mapping, const char *what,
			     struct ls_str field, struct ls_error *err)
{
	if (transform->count > 1)
		return LS_OK;
	return ls_fail(err, LS_FATAL, what,
		       "line %d: %s names field \"%.*s\", which entity \"%s\" from %s does not have", mapping->line,
		       what, LS_ARG(field), mapping->entity, mapping->place);
}

static enum ls_class plan_masks(const struct ls_transform *transform, struct plan *plan, struct ls_error *err)
{
	const struct ls_mapping *mapping = plan->mapping;
	struct ls_column *column = (struct ls_column *)plan->to.column;

	for (size_t i = 0; i < mapping->mask_count; i++) {
		size_t at = ls_schema_find(plan->from, mapping->mask[i].name);
		struct touched *touched = &plan->touched[plan->touched_count];

		if (at == plan->from->count) {
			enum ls_class class = missing(transform, mapping, "mask", mapping->mask[i].name, err);

			if (class)
				return class;
			continue;
		}
		touched->column = at;
		mask_parse(mapping->mask[i].value, &touched->mask);
		/* The masked text need not fit the native type: a uuid's hash, "***" in varchar(2). */
		if (touched->mask == HASH || column[at].type.kind == LS_STRING)
			column[at].type = (struct ls_type){ .kind = LS_STRING, .native = LS_STR("text") };
		plan->hashes_key |= is_key(mapping, mapping->mask[i].name);
		plan->touched_count++;
	}
	return LS_OK;
}

static enum ls_class plan_filters(const struct ls_transform *transform, struct plan *plan, struct ls_error *err)
{
	const struct ls_mapping *mapping = plan->mapping;

	for (size_t i = 0; i < mapping->filter_count; i++) {
		size_t at = ls_schema_find(plan->from, mapping->filter[i].name);

		if (at == plan->from->count) {
			enum ls_class class = missing(transform, mapping, "filter", mapping->filter[i].name, err);

			if (class)
				return class;
			continue;
		}
		plan->wanted[plan->wanted_count++] = (struct wanted){ at, mapping->filter[i].value };
	}
	return LS_OK;
}

static enum ls_class plan_new(struct ls_transform *transform, const struct ls_mapping *mapping,
			      const struct ls_schema *schema, struct plan **ret, struct ls_error *err)
{
	struct plan *plan = must(calloc(1, sizeof(*plan)));
	struct ls_column *column = must(calloc(schema->count + 1, sizeof(*column)));
	enum ls_class class;

	if (schema->count)
		memcpy(column, schema->column, schema->count * sizeof(*column));
	plan->mapping = mapping;
	plan->from = schema;
	plan->to = (struct ls_schema){ schema->entity, column, schema->count };
	plan->touched = must(calloc(mapping->mask_count + 1, sizeof(*plan->touched)));
	plan->wanted = must(calloc(mapping->filter_count + 1, sizeof(*plan->wanted)));
	class = plan_masks(transform, plan, err);
	if (!class)
		class = plan_filters(transform, plan, err);
	if (class) {
		plan_free(plan);
		return class;
	}
	plan->next = transform->plan;
	transform->plan = plan;
	*ret = plan;
	return LS_OK;
}

static enum ls_class plan_for(struct ls_transform *transform, const struct ls_mapping *mapping,
			      const struct ls_schema *schema, struct plan **ret, struct ls_error *err)
{
	for (struct plan **at = &transform->plan; *at; at = &(*at)->next) {
		struct plan *plan = *at;

		if (plan->from != schema || plan->to.count != schema->count || plan->mapping != mapping)
			continue;
		*at = plan->next;
		plan->next = transform->plan;
		transform->plan = plan;
		*ret = plan;
		return LS_OK;
	}
	return plan_new(transform, mapping, schema, ret, err);
}

static enum verdict compare(const struct ls_value *value, struct ls_str wanted)
{
	if (value->presence == LS_ABSENT)
		return UNKNOWN;
	return value->presence == LS_PRESENT && ls_str_equal(value->text, wanted) ? MATCHES : DIFFERS;
}

/* Does the row travel? Columns that `row` has not are looked up in `other` (unchanged ones, in the row before). */
static enum verdict matches(const struct plan *plan, const struct ls_row *row, const struct ls_row *other)
{
	enum verdict whole = MATCHES;

	if (!row->schema)
		return UNKNOWN;
	for (size_t i = 0; i < plan->wanted_count; i++) {
		size_t column = plan->wanted[i].column;
		enum verdict one = compare(&row->value[column], plan->wanted[i].text);

		if (one == UNKNOWN && other->schema == row->schema)
			one = compare(&other->value[column], plan->wanted[i].text);
		if (one == DIFFERS)
			return DIFFERS;
		if (one == UNKNOWN)
			whole = UNKNOWN;
	}
	return whole;
}

/* The row before, in doubt: a key-only image may say NULL where it means "not sent", so only a text tells. */
static bool known_outside(const struct plan *plan, const struct ls_row *before)
{
	if (!before->schema)
		return false;
	for (size_t i = 0; i < plan->wanted_count; i++) {
		const struct ls_value *value = &before->value[plan->wanted[i].column];

		if (value->presence == LS_PRESENT && !ls_str_equal(value->text, plan->wanted[i].text))
			return true;
	}
	return false;
}

/* The update left the filter: a delete, of the row before where it is known, else of the key alone. */
static void leave(struct ls_event *event)
{
	const struct ls_schema *schema = event->after.schema;

	event->change = LS_DELETE;
	if (!event->before.schema) {
		event->before = event->after;
		for (size_t i = 0; i < schema->count; i++)
			if (!schema->column[i].key)
				event->before.value[i] = (struct ls_value){ .presence = LS_ABSENT };
	}
	event->after = (struct ls_row){ NULL, NULL };
}

static bool passes(const struct plan *plan, struct ls_event *event)
{
	if (!plan->wanted_count)
		return true;
	if (event->change == LS_DELETE)
		return !known_outside(plan, &event->before);
	if (matches(plan, &event->after, &event->before) != DIFFERS)
		return true;
	if (event->change != LS_UPDATE || known_outside(plan, &event->before))
		return false;
	leave(event);
	return true;
}

static void mask_value(struct ls_value *value, enum mask mask, bool text, struct ls_arena *arena)
{
	char *hex;

	if (value->presence != LS_PRESENT)
		return;
	if (mask == REDACT && !text) {
		*value = (struct ls_value){ .presence = LS_NULL };
	} else if (mask == REDACT) {
		value->text = LS_STR("***");
	} else {
		hex = ls_arena_bytes(arena, LS_SHA256_HEX + 1);
		ls_sha256_hex(value->text, hex);
		value->text = (struct ls_str){ hex, LS_SHA256_HEX };
	}
}

static void mask_row(const struct plan *plan, struct ls_row *row, struct ls_arena *arena)
{
	if (row->schema != plan->from)
		return;
	for (size_t i = 0; i < plan->touched_count; i++) {
		size_t column = plan->touched[i].column;

		mask_value(&row->value[column], plan->touched[i].mask,
			   plan->from->column[column].type.kind == LS_STRING, arena);
	}
	row->schema = &plan->to;
}

static enum ls_class mask_event(const struct plan *plan, struct ls_event *event, struct ls_arena *arena,
				struct ls_error *err)
{
	const struct ls_mapping *mapping = plan->mapping;
	bool alias = event->before.value == event->after.value;

	if (ls_arena_left(arena) < (2 * plan->touched_count + 2) * (LS_SHA256_HEX + 64))
		return ls_fail(err, LS_POISON, "too_large", "event %.*s leaves no room for its masked values",
			       LS_ARG(event->event_id));
	mask_row(plan, &event->before, arena);
	if (alias && event->after.schema)
		event->after.schema = &plan->to;
	else
		mask_row(plan, &event->after, arena);
	if (plan->hashes_key && !ls_entity_id_make(event->after.schema ? &event->after : &event->before, mapping->key,
						   mapping->key_count, arena, &event->entity_id))
		return ls_fail(err, LS_POISON, "key", "event %.*s has no key to hash", LS_ARG(event->event_id));
	return LS_OK;
}

enum ls_class ls_transform_apply(struct ls_transform *transform, const struct ls_mapping *mapping,
				 struct ls_event *event, struct ls_arena *arena, bool *ret_keep, struct ls_error *err)
{
	const struct ls_schema *schema = event->after.schema ? event->after.schema : event->before.schema;
	struct plan *plan = NULL;
	enum ls_class class = LS_OK;

	*ret_keep = true;
	if (!schema || (!mapping->mask_count && !mapping->filter_count))
		return LS_OK;
	class = plan_for(transform, mapping, schema, &plan, err);
	if (class)
		return class;
	/* Both rows are read and masked by one plan; a row before of another shape has nothing that is needed. */
	if (event->before.schema && event->before.schema != schema)
		event->before = (struct ls_row){ NULL, NULL };
	*ret_keep = passes(plan, event);
	if (!*ret_keep || !plan->touched_count)
		return LS_OK;
	return mask_event(plan, event, arena, err);
}

enum ls_class ls_transform_version(const struct ls_mapping *mapping, struct ls_event *event, struct ls_error *err)
{
	const struct ls_row *row = event->after.schema ? &event->after : &event->before;
	const char *colon = mapping->version ? strchr(mapping->version, ':') : NULL;
	const struct ls_value *value;
	char digits[24] = "", *end = digits;
	size_t at;

	if (!mapping->version || !row->schema)
		return LS_OK;
	at = ls_schema_find(row->schema, ls_str_of(colon ? colon + 1 : mapping->version));
	value = at < row->schema->count ? &row->value[at] : NULL;
	if (value && value->presence == LS_PRESENT && value->text.len && value->text.len < sizeof(digits)) {
		memcpy(digits, value->text.ptr, value->text.len);
		errno = 0;
		event->version = strtoll(digits, &end, 10);
		if (!errno && !*end && event->version != LS_NONE)
			return LS_OK;
	}
	event->version = LS_NONE;
	return ls_fail(err, LS_POISON, "version", "entity \"%s\": its version (%s) is missing or not an integer",
		       mapping->entity, mapping->version);
}
