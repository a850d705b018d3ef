/* Parsing Canonical Form and CRC-64-AVRO, by the Avro specification ("Transforming into Parsing Canonical Form",
 * "Schema Fingerprints"). */
#include "core/json.h"
#include "avro/plan.h"
#include "avro/schemas.h"

#include "core/arena.h"
#include "core/buf.h"

#include <jansson.h>
#include <stdlib.h>

#define CRC_EMPTY UINT64_C(0xc15d213aa4d7a795)

enum { CANONICAL_MAX = 8 << 20 };

/* space: the namespace around, a view into the JSON tree or the arena */
struct writer {
	struct ls_buf *out;
	struct ls_arena *arena;
};

static void canonical(struct writer *w, const json_t *json, struct ls_str space);

static struct ls_str text_of(const json_t *json)
{
	return json_is_string(json) ? (struct ls_str){ json_string_value(json), json_string_length(json) }
				    : (struct ls_str){ NULL, 0 };
}

static void canonical_name(struct writer *w, struct ls_str name, struct ls_str space)
{
	enum ls_avro_tag tag;

	if (!ls_avro_tag_find(name, &tag))
		name = ls_avro_full_name(w->arena, name, space);
	ls_json_quote(w->out, name);
}

static void canonical_list(struct writer *w, const json_t *list, struct ls_str space)
{
	const json_t *item;
	size_t i;

	ls_buf_add_char(w->out, '[');
	json_array_foreach(list, i, item)
	{
		if (i)
			ls_buf_add_char(w->out, ',');
		canonical(w, item, space);
	}
	ls_buf_add_char(w->out, ']');
}

static void canonical_fields(struct writer *w, const json_t *fields, struct ls_str space)
{
	const json_t *field;
	size_t i;

	ls_buf_add_text(w->out, ",\"fields\":[");
	json_array_foreach(fields, i, field)
	{
		ls_buf_add_text(w->out, i ? ",{\"name\":" : "{\"name\":");
		ls_json_quote(w->out, text_of(json_object_get(field, "name")));
		ls_buf_add_text(w->out, ",\"type\":");
		canonical(w, json_object_get(field, "type"), space);
		ls_buf_add_char(w->out, '}');
	}
	ls_buf_add_char(w->out, ']');
}

static void canonical_named(struct writer *w, const json_t *json, enum ls_avro_tag tag, struct ls_str space)
{
	const json_t *own = json_object_get(json, "namespace"), *symbols = json_object_get(json, "symbols");
	struct ls_str name = text_of(json_object_get(json, "name"));
	size_t i;
	const json_t *symbol;

	name = ls_avro_full_name(w->arena, name, json_is_string(own) ? text_of(own) : space);
	ls_buf_add_text(w->out, "{\"name\":");
	ls_json_quote(w->out, name);
	ls_buf_printf(w->out, ",\"type\":\"%s\"", ls_avro_tag_name(tag));
	if (tag == LS_AVRO_RECORD)
		canonical_fields(w, json_object_get(json, "fields"), ls_avro_namespace(name));
	if (tag == LS_AVRO_FIXED)
		ls_buf_printf(w->out, ",\"size\":%lld", (long long)json_integer_value(json_object_get(json, "size")));
	if (tag == LS_AVRO_ENUM) {
		ls_buf_add_text(w->out, ",\"symbols\":[");
		json_array_foreach(symbols, i, symbol)
		{
			if (i)
				ls_buf_add_char(w->out, ',');
			ls_json_quote(w->out, text_of(symbol));
		}
		ls_buf_add_char(w->out, ']');
	}
	ls_buf_add_char(w->out, '}');
}

static void canonical_object(struct writer *w, const json_t *json, struct ls_str space)
{
	const json_t *type = json_object_get(json, "type");
	enum ls_avro_tag tag;

	if (!json_is_string(type) || !ls_avro_tag_find(text_of(type), &tag) || tag <= LS_AVRO_STRING) {
		canonical(w, type, space); /* a primitive with attributes, a reference, or one wrapping more */
	} else if (tag == LS_AVRO_ARRAY || tag == LS_AVRO_MAP) {
		ls_buf_printf(w->out, "{\"type\":\"%s\",\"%s\":", ls_avro_tag_name(tag),
			      tag == LS_AVRO_ARRAY ? "items" : "values");
		canonical(w, json_object_get(json, tag == LS_AVRO_ARRAY ? "items" : "values"), space);
		ls_buf_add_char(w->out, '}');
	} else {
		canonical_named(w, json, tag, space);
	}
}

/* canonical never meets a broken tree: ls_avro_plan_new read it before. */
static void canonical(struct writer *w, const json_t *json, struct ls_str space)
{
	if (json_is_string(json))
		canonical_name(w, text_of(json), space);
	else if (json_is_array(json))
		canonical_list(w, json, space);
	else
		canonical_object(w, json, space);
}

enum ls_class ls_avro_canonical(struct ls_str json, char **ret, struct ls_error *err)
{
	struct ls_avro_plan *plan;
	struct ls_buf out;
	struct writer w;
	json_t *parsed;
	enum ls_class class = ls_avro_plan_new(json, &plan, err);

	if (class)
		return class;
	parsed = json_loadb(json.ptr, json.len, JSON_DECODE_ANY, NULL);
	ls_buf_init(&out, CANONICAL_MAX);
	ls_avro_plan_free(plan);
	w = (struct writer){ &out, ls_arena_new(LS_AVRO_PLAN_MAX) }; /* the names took no more than this in the plan */
	canonical(&w, parsed, (struct ls_str){ NULL, 0 });
	ls_arena_free(w.arena);
	json_decref(parsed);
	if (out.full) {
		ls_buf_release(&out);
		return ls_fail(err, LS_POISON, "BAD_SCHEMA", "the Avro schema is larger than %d bytes", CANONICAL_MAX);
	}
	*ret = ls_buf_take(&out);
	return LS_OK;
}

uint64_t ls_avro_crc(struct ls_str text)
{
	uint64_t table[256], value = CRC_EMPTY;

	for (uint64_t i = 0; i < 256; i++) {
		table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			table[i] = (table[i] >> 1) ^ (CRC_EMPTY & (~(table[i] & 1) + 1));
	}
	for (size_t i = 0; i < text.len; i++)
		value = (value >> 8) ^ table[(value ^ (uint8_t)text.ptr[i]) & 0xff];
	return value;
}

enum ls_class ls_avro_fingerprint(struct ls_str json, uint64_t *ret, struct ls_error *err)
{
	char *text;
	enum ls_class class = ls_avro_canonical(json, &text, err);

	if (class)
		return class;
	*ret = ls_avro_crc(ls_str_of(text));
	free(text);
	return LS_OK;
}
