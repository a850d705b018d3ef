/* The Avro schema of an entity's change events: schemas/change_event.avsc with the `Row` of its columns.
 *
 * A fingerprint leaves out what logical types say and what a column is truly called: decimal(10,2) and decimal(10,4)
 * would have the same one, and the numbers of one be read as those of the other. So Row's namespace says it (see
 * schemas/README.md): the canonical form keeps it, and schema resolution compares names without it. */
#include "avro/avsc.h"
#include "avro/codec.h"
#include "core/json.h"
#include "avro/plan.h"
#include "avro/schemas.h"

#include "core/arena.h"
#include "core/map.h"

#include <stdio.h>

enum { NAMES_MAX = 16 << 20, MEANING_MAX = 4 << 20, SPACE_ROOM = 20 };

static bool letter(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

/* avro_name replaces what may not stand in an Avro name by _. A digit in front gets one before it. */
static struct ls_str avro_name(struct ls_arena *arena, struct ls_str name)
{
	bool prefix = !name.len || (name.ptr[0] >= '0' && name.ptr[0] <= '9');
	char *out = ls_arena_bytes(arena, name.len + 2);
	size_t len = 0;

	if (prefix)
		out[len++] = '_';
	for (size_t i = 0; i < name.len; i++)
		out[len++] = letter(name.ptr[i], false) ? name.ptr[i] : '_';
	out[len] = 0;
	return (struct ls_str){ out, len };
}

struct ls_str *ls_avro_field_names(const struct ls_schema *schema, struct ls_arena *arena)
{
	struct ls_str *name = ls_arena_zalloc(arena, (schema->count + 1) * sizeof(*name));
	struct ls_map taken;

	ls_map_init(&taken);
	/* true names first: `a_b` keeps its name whatever `a-b` becomes */
	for (size_t i = 0; i < schema->count; i++)
		if (ls_avro_is_name(schema->column[i].name)) {
			name[i] = schema->column[i].name;
			ls_map_at(&taken, name[i])->value = name;
		}
	for (size_t i = 0; i < schema->count; i++) {
		struct ls_str base;

		if (name[i].len)
			continue;
		base = avro_name(arena, schema->column[i].name);
		name[i] = base;
		for (int n = 2; ls_map_get(&taken, name[i]); n++)
			name[i] = ls_arena_printf(arena, "%.*s_%d", LS_ARG(base), n);
		ls_map_at(&taken, name[i])->value = name;
	}
	ls_map_release(&taken);
	return name;
}

static const struct shape {
	const char *type, *logical;
	bool text; /* a string branch beside it, for what the type does not hold */
} SHAPE[] = {
	[LS_BOOL] = { "boolean", NULL, false },
	[LS_INT32] = { "int", NULL, false },
	[LS_INT64] = { "long", NULL, false },
	[LS_FLOAT32] = { "float", NULL, false },
	[LS_FLOAT64] = { "double", NULL, false },
	[LS_DECIMAL] = { "bytes", "decimal", true },
	[LS_NUMERIC] = { "string", "numeric", false },
	[LS_STRING] = { "string", NULL, false },
	[LS_BYTES] = { "bytes", NULL, false },
	[LS_UUID] = { "string", "uuid", false },
	[LS_JSON] = { "string", "json", false },
	[LS_DATE] = { "int", "date", true },
	[LS_TIME] = { "long", "time-micros", false },
	[LS_TIMESTAMP] = { "long", "local-timestamp-micros", true },
	[LS_TIMESTAMPTZ] = { "long", "timestamp-micros", true },
	[LS_ARRAY] = { "array", NULL, true },
};

bool ls_avro_decimal_ok(const struct ls_type *type)
{
	return type->precision >= 1 && type->precision <= 38 && type->scale >= 0 && type->scale <= type->precision;
}

enum ls_kind ls_avro_kind(const struct ls_type *type, enum ls_kind kind)
{
	if (kind == LS_DECIMAL && !ls_avro_decimal_ok(type))
		return LS_NUMERIC;
	return kind;
}

static void add_union(struct ls_buf *out, const struct ls_type *type, enum ls_kind kind, struct ls_str native)
{
	const struct shape *shape = &SHAPE[ls_avro_kind(type, kind)];

	ls_buf_add_text(out, "[\"null\",");
	if (!shape->logical && !native.len && kind != LS_ARRAY) {
		ls_buf_printf(out, "\"%s\"", shape->type);
	} else {
		ls_buf_printf(out, "{\"type\":\"%s\"", shape->type);
		if (kind == LS_ARRAY) {
			ls_buf_add_text(out, ",\"items\":");
			add_union(out, type, type->item, (struct ls_str){ NULL, 0 });
		}
		if (shape->logical)
			ls_buf_printf(out, ",\"logicalType\":\"%s\"", shape->logical);
		if (shape == &SHAPE[LS_DECIMAL])
			ls_buf_printf(out, ",\"precision\":%d,\"scale\":%d", type->precision, type->scale);
		if (native.len) {
			ls_buf_add_text(out, ",\"native\":");
			ls_json_quote(out, native);
		}
		ls_buf_add_char(out, '}');
	}
	ls_buf_add_text(out, shape->text ? ",\"string\"]" : "]");
}

/* add_meaning adds a line for a column of which the fingerprint leaves something out that changes its values. Logical
 * types of strings do not: they are notes. */
static void add_meaning(struct ls_buf *out, const struct ls_column *column, struct ls_str name)
{
	bool array = column->type.kind == LS_ARRAY;
	const struct shape *shape = &SHAPE[ls_avro_kind(&column->type, array ? column->type.item : column->type.kind)];
	bool logical = shape->logical && strcmp(shape->type, "string") != 0;
	bool renamed = !ls_str_equal(name, column->name);

	if (!logical && !renamed)
		return;
	ls_buf_add_str(out, name);
	if (logical)
		ls_buf_printf(out, "%s %s", array ? " array" : "", shape->logical);
	if (logical && shape == &SHAPE[LS_DECIMAL])
		ls_buf_printf(out, "(%d,%d)", column->type.precision, column->type.scale);
	if (renamed) {
		ls_buf_add_text(out, " = ");
		ls_json_quote(out, column->name);
	}
	ls_buf_add_char(out, '\n');
}

/* row_space is the last part of Row's namespace: m and the CRC-64-AVRO of the meaning in 16 hex digits, its bytes as
 * those of a fingerprint in a message; empty when the fingerprint leaves nothing out. */
static void row_space(const struct ls_schema *schema, const struct ls_str *name, char out[SPACE_ROOM])
{
	struct ls_buf meaning;
	uint64_t crc;

	out[0] = 0;
	ls_buf_init(&meaning, MEANING_MAX);
	for (size_t i = 0; i < schema->count; i++)
		add_meaning(&meaning, &schema->column[i], name[i]);
	if (meaning.len) {
		crc = ls_avro_crc(ls_buf_str(&meaning));
		out[0] = 'm';
		for (int i = 0; i < 8; i++)
			snprintf(out + 1 + 2 * i, 3, "%02x", (unsigned)(crc >> (8 * i)) & 0xffu);
	}
	ls_buf_release(&meaning);
}

/* space: of Row's full name; empty: that of the event */
static void add_row(struct ls_buf *out, const struct ls_schema *schema, const struct ls_str *name, struct ls_str space)
{
	ls_buf_add_text(out, "{\"type\":\"record\",\"name\":\"Row\",");
	if (space.len)
		ls_buf_printf(out, "\"namespace\":\"%.*s\",", LS_ARG(space));
	ls_buf_add_text(out, "\"fields\":[");
	for (size_t i = 0; i < schema->count; i++) {
		const struct ls_column *column = &schema->column[i];

		ls_buf_printf(out, "%s{\"name\":\"%.*s\",\"type\":", i ? "," : "", LS_ARG(name[i]));
		add_union(out, &column->type, column->type.kind, column->type.native);
		ls_buf_add_text(out, ",\"default\":null");
		if (column->key)
			ls_buf_add_text(out, ",\"key\":true");
		if (!ls_str_equal(name[i], column->name)) {
			ls_buf_add_text(out, ",\"column\":");
			ls_json_quote(out, column->name);
		}
		ls_buf_add_char(out, '}');
	}
	ls_buf_add_text(out, "]}");
}

static const char BEGIN[] =
	",\"fields\":["
	"{\"name\":\"event_id\",\"type\":\"string\"},"
	"{\"name\":\"source\",\"type\":\"string\"},"
	"{\"name\":\"entity_type\",\"type\":\"string\"},"
	"{\"name\":\"entity_id\",\"type\":\"string\"},"
	"{\"name\":\"change_type\",\"type\":{\"type\":\"enum\",\"name\":\"ChangeType\","
	"\"symbols\":[\"INSERT\",\"UPDATE\",\"DELETE\",\"SNAPSHOT\"]}},"
	"{\"name\":\"timestamp\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}},"
	"{\"name\":\"version\",\"type\":[\"null\",\"long\"],\"default\":null},"
	"{\"name\":\"base_version\",\"type\":[\"null\",\"long\"],\"default\":null},"
	"{\"name\":\"base_offset\",\"type\":[\"null\",\"long\"],\"default\":null},"
	"{\"name\":\"before\",\"default\":null,\"type\":[\"null\",";
static const char END[] = "\"],\"default\":null},"
			  "{\"name\":\"absent\",\"type\":{\"type\":\"array\",\"items\":\"string\"},\"default\":[]},"
			  "{\"name\":\"metadata\",\"type\":{\"type\":\"map\",\"values\":\"string\"},\"default\":{}}]}";

void ls_schema_avro(const struct ls_schema *schema, struct ls_buf *out)
{
	struct ls_arena *arena = ls_arena_new(NAMES_MAX);
	const struct ls_str *name = ls_avro_field_names(schema, arena);
	const char *entity = avro_name(arena, schema->entity).ptr;
	struct ls_str space = { NULL, 0 };
	char last[SPACE_ROOM];

	row_space(schema, name, last);
	if (last[0])
		space = ls_arena_printf(arena, "lockstep.%s.%s", entity, last);
	ls_buf_printf(out, "{\"type\":\"record\",\"name\":\"ChangeEvent\",\"namespace\":\"lockstep.%s\"", entity);
	ls_buf_add_text(out, BEGIN);
	add_row(out, schema, name, space);
	ls_buf_printf(out, "]},{\"name\":\"after\",\"type\":[\"null\",\"%.*s%sRow", LS_ARG(space),
		      space.len ? "." : "");
	ls_buf_add_text(out, END);
	ls_arena_free(arena);
}
