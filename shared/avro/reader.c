/* Binding a writer's schema to the fields of a change event: by name, whatever else the writer adds. */
#include "avro/reader.h"

#include "core/arena.h"

#include <stdlib.h>

static const char *const ROLE[LS_ROLES] = {
	"event_id",     "source",      "entity_type", "entity_id", "change_type", "timestamp", "version",
	"base_version", "base_offset", "before",      "after",     "absent",      "metadata",
};

static enum ls_class refuse(struct ls_error *err, const char *field, const char *problem)
{
	return ls_fail(err, LS_POISON, "NOT_AN_EVENT",
		       "the writer's schema is not one of change events: field \"%s\" %s (docs/publishing.md)", field,
		       problem);
}

static enum ls_reader_role role_of(struct ls_str name)
{
	for (size_t i = 0; i < LS_ROLES; i++)
		if (ls_str_equal(name, ls_str_of(ROLE[i])))
			return (enum ls_reader_role)i;
	return LS_ROLE_OTHER;
}

/* is_one_of: every branch that is not null is one of the tags between lo and hi, or `more`. */
static bool is_one_of(const struct ls_avro_node *node, enum ls_avro_tag lo, enum ls_avro_tag hi, enum ls_avro_tag more)
{
	if (node->tag != LS_AVRO_UNION)
		return (node->tag >= lo && node->tag <= hi) || node->tag == more;
	for (size_t i = 0; i < node->count; i++)
		if (node->branch[i]->tag != LS_AVRO_NULL && !is_one_of(node->branch[i], lo, hi, more))
			return false;
	return true;
}

/* fits says what is wrong with the type of a field, or NULL. */
static const char *fits(enum ls_reader_role role, const struct ls_avro_node *type)
{
	const struct ls_avro_node *solid = ls_avro_solid(type);

	switch (role) {
	case LS_ROLE_EVENT_ID:
	case LS_ROLE_SOURCE:
	case LS_ROLE_ENTITY_TYPE:
	case LS_ROLE_ENTITY_ID:
	case LS_ROLE_CHANGE_TYPE:
		return is_one_of(type, LS_AVRO_INT, LS_AVRO_ENUM, LS_AVRO_STRING) ? NULL : "must be a string";
	case LS_ROLE_TIMESTAMP:
	case LS_ROLE_VERSION:
	case LS_ROLE_BASE_VERSION:
	case LS_ROLE_BASE_OFFSET:
		return is_one_of(type, LS_AVRO_INT, LS_AVRO_LONG, LS_AVRO_LONG) ? NULL : "must be a long";
	case LS_ROLE_BEFORE:
	case LS_ROLE_AFTER:
		return type->tag == LS_AVRO_NULL || (solid && solid->tag == LS_AVRO_RECORD) ? NULL : "must be a record";
	case LS_ROLE_ABSENT:
		if (type->tag == LS_AVRO_NULL)
			return NULL;
		return solid && solid->tag == LS_AVRO_ARRAY && solid->item->tag == LS_AVRO_STRING
			       ? NULL
			       : "must be an array of strings";
	case LS_ROLE_METADATA:
		if (type->tag == LS_AVRO_NULL)
			return NULL;
		return solid && solid->tag == LS_AVRO_MAP &&
				       is_one_of(solid->item, LS_AVRO_BOOLEAN, LS_AVRO_ENUM, LS_AVRO_STRING)
			       ? NULL
			       : "must be a map of strings";
	case LS_ROLE_OTHER:
		break;
	}
	return NULL;
}

static bool room(const struct ls_avro_plan *plan, size_t bytes)
{
	return ls_arena_left(plan->arena) > bytes + 4096;
}

static enum ls_class bind_row(struct ls_reader *reader, const struct ls_avro_node *type, const char *field,
			      struct ls_reader_row *ret, struct ls_error *err)
{
	const struct ls_avro_node *node = ls_avro_solid(type);
	struct ls_arena *arena = reader->plan->arena;
	struct ls_column *column;

	if (!node || node->tag != LS_AVRO_RECORD)
		return LS_OK;
	if (!node->count || node->count > LS_MAX_COLUMNS)
		return refuse(err, field, "has no columns, or more than 1600");
	if (!room(reader->plan, node->count * (sizeof(*column) + sizeof(bool)) + sizeof(struct ls_schema)))
		return refuse(err, field, "is too large");
	column = ls_arena_zalloc(arena, node->count * sizeof(*column));
	ret->node = node;
	ret->json = ls_arena_zalloc(arena, node->count * sizeof(bool));
	ret->schema = ls_arena_zalloc(arena, sizeof(*ret->schema));
	for (size_t i = 0; i < node->count; i++) {
		const struct ls_avro_field *one = &node->field[i];

		column[i] = (struct ls_column){ one->column, ls_avro_type_of(one->type), one->key };
		/* JSON that came as a string is handed on as it came */
		ret->json[i] = column[i].type.kind == LS_JSON &&
			       !(ls_avro_solid(one->type) && ls_avro_solid(one->type)->tag == LS_AVRO_STRING);
		for (size_t j = 0; j < i; j++)
			if (ls_str_equal(column[i].name, column[j].name))
				return refuse(err, field, "has two columns of one name");
	}
	*ret->schema = (struct ls_schema){ .column = column, .count = node->count };
	return LS_OK;
}

static enum ls_class bind_rows(struct ls_reader *reader, const struct ls_avro_field *const *seen, struct ls_error *err)
{
	const struct ls_avro_field *before = seen[LS_ROLE_BEFORE], *after = seen[LS_ROLE_AFTER];
	enum ls_class class = LS_OK;

	if (after)
		class = bind_row(reader, after->type, "after", &reader->after, err);
	if (class || !before)
		return class;
	if (ls_avro_solid(before->type) && ls_avro_solid(before->type) == reader->after.node) {
		reader->before = reader->after;
		return LS_OK;
	}
	return bind_row(reader, before->type, "before", &reader->before, err);
}

static enum ls_class bind(struct ls_reader *reader, struct ls_error *err)
{
	const struct ls_avro_node *root = reader->plan->root;
	const struct ls_avro_field *seen[LS_ROLES + 1] = { NULL };

	if (root->tag != LS_AVRO_RECORD)
		return ls_fail(err, LS_POISON, "NOT_AN_EVENT",
			       "the writer's schema is not one of change events: it is %s, not a record",
			       ls_avro_tag_name(root->tag));
	if (!room(reader->plan, root->count * sizeof(*reader->role)))
		return refuse(err, "after", "is too large");
	reader->role = ls_arena_zalloc(reader->plan->arena, (root->count + 1) * sizeof(*reader->role));
	for (size_t i = 0; i < root->count; i++) {
		enum ls_reader_role role = role_of(root->field[i].name);
		const char *problem = fits(role, root->field[i].type);

		if (problem)
			return refuse(err, ROLE[role], problem);
		reader->role[i] = role;
		seen[role] = &root->field[i];
	}
	for (size_t i = LS_ROLE_EVENT_ID; i <= LS_ROLE_TIMESTAMP; i++)
		if (!seen[i])
			return refuse(err, ROLE[i], "is missing");
	return bind_rows(reader, seen, err);
}

enum ls_class ls_reader_new(struct ls_str json, struct ls_reader **ret, struct ls_error *err)
{
	struct ls_avro_plan *plan;
	struct ls_reader *reader;
	enum ls_class class = ls_avro_plan_new(json, &plan, err);

	if (class)
		return class;
	reader = ls_arena_zalloc(plan->arena, sizeof(*reader));
	reader->plan = plan;
	class = bind(reader, err);
	if (class)
		ls_avro_plan_free(plan);
	else
		*ret = reader;
	return class;
}

struct ls_reader *ls_reader_free(struct ls_reader *reader)
{
	if (reader)
		ls_avro_plan_free(reader->plan);
	return NULL;
}
