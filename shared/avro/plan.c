/* From schema JSON to a plan: names resolved, logical types kept, bounds on size and depth. Works on foreign input. */
#include "avro/plan.h"

#include "core/arena.h"
#include "core/map.h"

#include <jansson.h>
#include <stdlib.h>

static const char *const TAG[] = { "null",   "boolean", "int",  "long",  "float", "double", "bytes",
				   "string", "fixed",   "enum", "array", "map",   "record", "union" };
static const char *const LOGICAL[] = { "",
				       "decimal",
				       "uuid",
				       "json",
				       "numeric",
				       "date",
				       "time-millis",
				       "time-micros",
				       "timestamp-millis",
				       "timestamp-micros",
				       "local-timestamp-millis",
				       "local-timestamp-micros" };
enum { TAGS = sizeof(TAG) / sizeof(*TAG), LOGICALS = sizeof(LOGICAL) / sizeof(*LOGICAL) };
enum { ARENA_SPARE = 1 << 20 };

struct compiler {
	struct ls_arena *arena;
	struct ls_map names; /* full name -> node */
	struct ls_error *err;
	int depth;
};

/* space: the namespace around */
static const struct ls_avro_node *compile(struct compiler *c, const json_t *json, struct ls_str space);

const char *ls_avro_tag_name(enum ls_avro_tag tag)
{
	return TAG[tag];
}

const char *ls_avro_logical_name(enum ls_avro_logical logical)
{
	return LOGICAL[logical];
}

bool ls_avro_tag_find(struct ls_str name, enum ls_avro_tag *ret)
{
	for (size_t i = 0; i < TAGS - 1; i++)
		if (ls_str_equal(name, ls_str_of(TAG[i]))) {
			*ret = (enum ls_avro_tag)i;
			return true;
		}
	return false;
}

bool ls_avro_is_name(struct ls_str name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

		if (!letter && (i == 0 || c < '0' || c > '9'))
			return false;
	}
	return name.len > 0;
}

struct ls_str ls_avro_namespace(struct ls_str full_name)
{
	size_t len = full_name.len;

	while (len && full_name.ptr[len - 1] != '.')
		len--;
	return (struct ls_str){ full_name.ptr, len ? len - 1 : 0 };
}

struct ls_str ls_avro_full_name(struct ls_arena *arena, struct ls_str name, struct ls_str space)
{
	if (!space.len || memchr(name.ptr, '.', name.len))
		return ls_arena_str(arena, name);
	return ls_arena_printf(arena, "%.*s.%.*s", LS_ARG(space), LS_ARG(name));
}

const struct ls_avro_node *ls_avro_solid(const struct ls_avro_node *node)
{
	const struct ls_avro_node *only = NULL;

	if (node->tag != LS_AVRO_UNION)
		return node;
	for (size_t i = 0; i < node->count; i++) {
		if (node->branch[i]->tag == LS_AVRO_NULL)
			continue;
		if (only)
			return NULL;
		only = node->branch[i];
	}
	return only;
}

static void *refuse(struct compiler *c, const char *what, struct ls_str name)
{
	ls_fail(c->err, LS_POISON, "BAD_SCHEMA", "the Avro schema is not valid: %s%s%.*s%s", what,
		name.len ? " \"" : "", (int)(name.len < 100 ? name.len : 100), name.len ? name.ptr : "",
		name.len ? "\"" : "");
	return NULL;
}

/* room says whether the arena holds that much more. */
static bool room(struct compiler *c, size_t bytes)
{
	if (bytes + ARENA_SPARE <= ls_arena_left(c->arena))
		return true;
	refuse(c, "it is too large", (struct ls_str){ NULL, 0 });
	return false;
}

static struct ls_str text_of(const json_t *json)
{
	return json_is_string(json) ? (struct ls_str){ json_string_value(json), json_string_length(json) }
				    : (struct ls_str){ NULL, 0 };
}

static struct ls_str attribute(const json_t *object, const char *name)
{
	return text_of(json_object_get(object, name));
}

static struct ls_avro_node *node_new(struct compiler *c, enum ls_avro_tag tag)
{
	struct ls_avro_node *node;

	if (!room(c, sizeof(*node)))
		return NULL;
	node = ls_arena_zalloc(c->arena, sizeof(*node));
	node->tag = tag;
	return node;
}

/* dotted: names joined by dots. */
static bool dotted(struct ls_str name)
{
	size_t start = 0;

	if (!name.len)
		return false;
	for (size_t i = 0; i <= name.len; i++)
		if (i == name.len || name.ptr[i] == '.') {
			if (!ls_avro_is_name((struct ls_str){ name.ptr + start, i - start }))
				return false;
			start = i + 1;
		}
	return true;
}

static bool name_node(struct compiler *c, struct ls_avro_node *node, const json_t *json, struct ls_str space)
{
	struct ls_str name = attribute(json, "name"), own = attribute(json, "namespace");
	struct ls_map_slot *slot;

	if (!room(c, name.len + own.len + space.len))
		return false;
	if (json_is_string(json_object_get(json, "namespace")))
		space = own;
	if (!dotted(name) || (space.len && !dotted(space)))
		return refuse(c, "not a name:", name);
	node->name = ls_avro_full_name(c->arena, name, space);
	slot = ls_map_at(&c->names, node->name);
	if (slot->value)
		return refuse(c, "two types of one name", node->name);
	slot->value = node;
	return true;
}

/* A logical type that does not fit what it is written on is ignored, as the specification says. */
static void set_logical(struct ls_avro_node *node, const json_t *json)
{
	struct ls_str name = attribute(json, "logicalType");
	enum ls_avro_logical found = LS_LOGICAL_NONE;
	json_int_t precision, scale;
	bool fits = false;

	for (size_t i = 1; i < LOGICALS; i++)
		if (ls_str_equal(name, ls_str_of(LOGICAL[i])))
			found = (enum ls_avro_logical)i;
	switch (found) {
	case LS_LOGICAL_NONE:
		return;
	case LS_LOGICAL_DECIMAL:
		precision = json_integer_value(json_object_get(json, "precision"));
		scale = json_integer_value(json_object_get(json, "scale"));
		fits = (node->tag == LS_AVRO_BYTES || node->tag == LS_AVRO_FIXED) && precision > 0 && scale >= 0 &&
		       scale <= precision && precision <= 100000;
		node->precision = fits ? (int)precision : 0;
		node->scale = fits ? (int)scale : 0;
		break;
	case LS_LOGICAL_UUID:
		fits = node->tag == LS_AVRO_STRING || (node->tag == LS_AVRO_FIXED && node->size == 16);
		break;
	case LS_LOGICAL_JSON:
	case LS_LOGICAL_NUMERIC:
		fits = node->tag == LS_AVRO_STRING;
		break;
	case LS_LOGICAL_DATE:
	case LS_LOGICAL_TIME_MILLIS:
		fits = node->tag == LS_AVRO_INT;
		break;
	case LS_LOGICAL_TIME_MICROS:
	case LS_LOGICAL_TIMESTAMP_MILLIS:
	case LS_LOGICAL_TIMESTAMP_MICROS:
	case LS_LOGICAL_LOCAL_MILLIS:
	case LS_LOGICAL_LOCAL_MICROS:
		fits = node->tag == LS_AVRO_LONG;
		break;
	}
	node->logical = fits ? found : LS_LOGICAL_NONE;
}

static bool compile_field(struct compiler *c, const json_t *json, struct ls_str space, struct ls_avro_field *field)
{
	struct ls_str name = attribute(json, "name"), column = attribute(json, "column");

	if (!ls_avro_is_name(name))
		return refuse(c, "not the name of a field:", name);
	if (!room(c, name.len + column.len))
		return false;
	field->name = ls_arena_str(c->arena, name);
	field->column = column.len ? ls_arena_str(c->arena, column) : field->name;
	field->key = json_is_true(json_object_get(json, "key"));
	field->has_default = json_object_get(json, "default") != NULL;
	field->type = compile(c, json_object_get(json, "type"), space);
	return field->type;
}

static bool compile_record(struct compiler *c, struct ls_avro_node *node, const json_t *json, struct ls_str space)
{
	const json_t *fields = json_object_get(json, "fields"), *field;
	struct ls_map seen;
	bool fine = true;
	size_t i;

	if (!name_node(c, node, json, space))
		return false;
	if (!json_is_array(fields))
		return refuse(c, "a record without fields:", node->name);
	if (!room(c, json_array_size(fields) * sizeof(*node->field)))
		return false;
	node->field = ls_arena_zalloc(c->arena, json_array_size(fields) * sizeof(*node->field));
	ls_map_init(&seen);
	json_array_foreach(fields, i, field)
	{
		struct ls_avro_field *out = &node->field[node->count];

		if (!compile_field(c, field, ls_avro_namespace(node->name), out)) {
			fine = false;
			break;
		}
		if (ls_map_get(&seen, out->name)) {
			fine = refuse(c, "two fields of one name:", out->name);
			break;
		}
		ls_map_at(&seen, out->name)->value = out;
		node->count++;
	}
	ls_map_release(&seen);
	return fine;
}

static bool compile_enum(struct compiler *c, struct ls_avro_node *node, const json_t *json, struct ls_str space)
{
	const json_t *symbols = json_object_get(json, "symbols"), *symbol;
	size_t i;

	if (!name_node(c, node, json, space))
		return false;
	if (!json_is_array(symbols) || !json_array_size(symbols))
		return refuse(c, "an enum without symbols:", node->name);
	if (!room(c, json_array_size(symbols) * sizeof(*node->symbol)))
		return false;
	node->symbol = ls_arena_zalloc(c->arena, json_array_size(symbols) * sizeof(*node->symbol));
	json_array_foreach(symbols, i, symbol)
	{
		if (!ls_avro_is_name(text_of(symbol)))
			return refuse(c, "not a symbol:", text_of(symbol));
		if (!room(c, text_of(symbol).len))
			return false;
		node->symbol[node->count++] = ls_arena_str(c->arena, text_of(symbol));
	}
	return true;
}

static bool compile_fixed(struct compiler *c, struct ls_avro_node *node, const json_t *json, struct ls_str space)
{
	const json_t *size = json_object_get(json, "size");

	if (!name_node(c, node, json, space))
		return false;
	if (!json_is_integer(size) || json_integer_value(size) < 0 || json_integer_value(size) > 1 << 30)
		return refuse(c, "a fixed without a size:", node->name);
	node->size = (size_t)json_integer_value(size);
	return true;
}

static const struct ls_avro_node *compile_union(struct compiler *c, const json_t *json, struct ls_str space)
{
	struct ls_avro_node *node = node_new(c, LS_AVRO_UNION);
	const json_t *branch;
	size_t i;

	if (!node || !room(c, json_array_size(json) * sizeof(*node->branch)))
		return NULL;
	if (!json_array_size(json))
		return refuse(c, "a union without branches", node->name);
	node->branch = ls_arena_zalloc(c->arena, json_array_size(json) * sizeof(*node->branch));
	json_array_foreach(json, i, branch)
	{
		const struct ls_avro_node *one = compile(c, branch, space);

		if (!one)
			return NULL;
		if (one->tag == LS_AVRO_UNION)
			return refuse(c, "a union inside a union", one->name);
		node->branch[node->count++] = one;
	}
	return node;
}

static const struct ls_avro_node *compile_name(struct compiler *c, struct ls_str name, struct ls_str space)
{
	const struct ls_avro_node *node;
	enum ls_avro_tag tag;

	if (ls_avro_tag_find(name, &tag) && tag <= LS_AVRO_STRING)
		return node_new(c, tag);
	if (!room(c, name.len + space.len))
		return NULL;
	node = ls_map_get(&c->names, ls_avro_full_name(c->arena, name, space));
	return node ? node : refuse(c, "unknown type", name);
}

static bool compile_parts(struct compiler *c, struct ls_avro_node *node, const json_t *json, struct ls_str space)
{
	switch (node->tag) {
	case LS_AVRO_RECORD:
		return compile_record(c, node, json, space);
	case LS_AVRO_ENUM:
		return compile_enum(c, node, json, space);
	case LS_AVRO_FIXED:
		return compile_fixed(c, node, json, space);
	case LS_AVRO_ARRAY:
		node->item = compile(c, json_object_get(json, "items"), space);
		return node->item;
	case LS_AVRO_MAP:
		node->item = compile(c, json_object_get(json, "values"), space);
		return node->item;
	case LS_AVRO_NULL:
	case LS_AVRO_BOOLEAN:
	case LS_AVRO_INT:
	case LS_AVRO_LONG:
	case LS_AVRO_FLOAT:
	case LS_AVRO_DOUBLE:
	case LS_AVRO_BYTES:
	case LS_AVRO_STRING:
	case LS_AVRO_UNION:
		break;
	}
	return true;
}

static const struct ls_avro_node *compile_object(struct compiler *c, const json_t *json, struct ls_str space)
{
	const json_t *type = json_object_get(json, "type");
	struct ls_str native = attribute(json, "native");
	struct ls_avro_node *node;
	enum ls_avro_tag tag;

	if (!json_is_string(type))
		return compile(c, type, space); /* {"type": {...}}: one wrapping more */
	if (!ls_avro_tag_find(text_of(type), &tag))
		return compile_name(c, text_of(type), space);
	node = node_new(c, tag);
	if (!node || !room(c, native.len) || !compile_parts(c, node, json, space))
		return NULL;
	if (native.len)
		node->native = ls_arena_str(c->arena, native);
	set_logical(node, json);
	return node;
}

static const struct ls_avro_node *compile(struct compiler *c, const json_t *json, struct ls_str space)
{
	const struct ls_avro_node *node = NULL;

	if (c->depth >= LS_AVRO_DEPTH)
		return refuse(c, "it is nested too deep", (struct ls_str){ NULL, 0 });
	c->depth++;
	if (json_is_string(json))
		node = compile_name(c, text_of(json), space);
	else if (json_is_array(json))
		node = compile_union(c, json, space);
	else if (json_is_object(json))
		node = compile_object(c, json, space);
	else
		refuse(c, "a type is missing", (struct ls_str){ NULL, 0 });
	c->depth--;
	return node;
}

/* find_empty: a record is empty when all its fields are; one that holds itself cannot be. */
static bool find_empty(struct ls_avro_node *node)
{
	enum { UNKNOWN, BUSY, KNOWN };
	bool empty = node->tag == LS_AVRO_NULL || (node->tag == LS_AVRO_FIXED && node->size == 0);

	if (node->state != UNKNOWN)
		return node->empty;
	node->state = BUSY;
	if (node->item)
		find_empty((struct ls_avro_node *)node->item);
	if (node->tag == LS_AVRO_UNION)
		for (size_t i = 0; i < node->count; i++)
			find_empty((struct ls_avro_node *)node->branch[i]);
	if (node->tag == LS_AVRO_RECORD) {
		empty = true;
		for (size_t i = 0; i < node->count; i++)
			empty &= find_empty((struct ls_avro_node *)node->field[i].type);
	}
	node->empty = empty;
	node->state = KNOWN;
	return empty;
}

static enum ls_class compile_root(struct compiler *c, const json_t *json, struct ls_avro_plan **ret)
{
	const struct ls_avro_node *root = compile(c, json, (struct ls_str){ NULL, 0 });
	struct ls_avro_plan *plan;

	if (!root)
		return LS_POISON;
	find_empty((struct ls_avro_node *)root);
	plan = ls_arena_zalloc(c->arena, sizeof(*plan));
	*plan = (struct ls_avro_plan){ c->arena, root };
	*ret = plan;
	return LS_OK;
}

enum ls_class ls_avro_plan_new(struct ls_str json, struct ls_avro_plan **ret, struct ls_error *err)
{
	struct compiler c = { .err = err };
	json_error_t problem;
	json_t *parsed;
	enum ls_class class;

	if (json.len > LS_AVRO_SCHEMA_MAX)
		return ls_fail(err, LS_POISON, "BAD_SCHEMA", "the Avro schema is larger than %d bytes",
			       LS_AVRO_SCHEMA_MAX);
	parsed = json_loadb(json.ptr, json.len, JSON_DECODE_ANY, &problem);
	if (!parsed)
		return ls_fail(err, LS_POISON, "BAD_SCHEMA", "the Avro schema is not JSON: line %d: %s", problem.line,
			       problem.text);
	c.arena = ls_arena_new(LS_AVRO_PLAN_MAX);
	ls_map_init(&c.names);
	class = compile_root(&c, parsed, ret);
	ls_map_release(&c.names);
	json_decref(parsed);
	if (class)
		ls_arena_free(c.arena);
	return class;
}

struct ls_avro_plan *ls_avro_plan_free(struct ls_avro_plan *plan)
{
	if (plan)
		ls_arena_free(plan->arena);
	return NULL;
}
