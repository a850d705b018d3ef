/* Entity ids and the names of changes. */
#include "lockstep/event.h"
#include "core/arena.h"

#include <jansson.h>

static const char *const change_name[] = {
	[LS_INSERT] = "INSERT",
	[LS_UPDATE] = "UPDATE",
	[LS_DELETE] = "DELETE",
	[LS_SNAPSHOT] = "SNAPSHOT",
};

const char *ls_change_name(enum ls_change change)
{
	return (size_t)change < sizeof(change_name) / sizeof(change_name[0]) ? change_name[change] : "UNKNOWN";
}

bool ls_change_parse(struct ls_str name, enum ls_change *ret)
{
	for (size_t i = 0; i < sizeof(change_name) / sizeof(change_name[0]); i++) {
		if (ls_str_equal(name, ls_str_of(change_name[i]))) {
			*ret = (enum ls_change)i;
			return true;
		}
	}
	return false;
}

/* The text of a key column, NULL when the row does not have it. */
static const struct ls_str *key_text(const struct ls_row *row, struct ls_str key)
{
	size_t i = row->schema ? ls_schema_find(row->schema, key) : 0;

	if (!row->schema || i == row->schema->count || row->value[i].presence != LS_PRESENT)
		return NULL;
	return &row->value[i].text;
}

/* Writes text as a JSON string, or only counts when out is NULL. Returns its length, quotes included. */
static size_t quote(char *out, struct ls_str text)
{
	static const char hex[] = "0123456789abcdef";
	size_t len = 0;

#define PUT(c) (out ? (void)(out[len] = (char)(c)) : (void)0, len++)
	PUT('"');
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c < 0x20) {
			PUT('\\'), PUT('u'), PUT('0'), PUT('0'), PUT(hex[c >> 4]), PUT(hex[c & 15]);
			continue;
		}
		if (c == '"' || c == '\\')
			PUT('\\');
		PUT(c);
	}
	PUT('"');
#undef PUT
	return len;
}

bool ls_entity_id_make(const struct ls_row *row, const struct ls_str *key, size_t key_count, struct ls_arena *arena,
		       struct ls_str *out)
{
	size_t len = 1; /* "[" and, for each text, the comma or "]" behind it */
	char *to;

	for (size_t i = 0; i < key_count; i++) {
		const struct ls_str *text = key_text(row, key[i]);

		if (!text)
			return false;
		if (key_count == 1) {
			*out = ls_arena_str(arena, *text);
			return true;
		}
		len += quote(NULL, *text) + 1;
	}
	if (!key_count)
		return false;
	to = ls_arena_bytes(arena, len + 1);
	*out = (struct ls_str){ to, len };
	*to++ = '[';
	for (size_t i = 0; i < key_count; i++) {
		to += quote(to, *key_text(row, key[i]));
		*to++ = i + 1 < key_count ? ',' : ']';
	}
	*to = '\0';
	return true;
}

static bool take_texts(const json_t *array, size_t key_count, struct ls_arena *arena, struct ls_str *out)
{
	if (!json_is_array(array) || json_array_size(array) != key_count)
		return false;
	for (size_t i = 0; i < key_count; i++) {
		const json_t *item = json_array_get(array, i);

		if (!json_is_string(item))
			return false;
		out[i] = ls_arena_str(arena, (struct ls_str){ json_string_value(item), json_string_length(item) });
	}
	return true;
}

bool ls_entity_id_split(struct ls_str entity_id, size_t key_count, struct ls_arena *arena, struct ls_str *out)
{
	json_t *array;
	bool fits;

	if (key_count == 1) {
		out[0] = ls_arena_str(arena, entity_id);
		return true;
	}
	if (!key_count || !entity_id.len)
		return false;
	array = json_loadb(entity_id.ptr, entity_id.len, JSON_ALLOW_NUL, NULL);
	fits = take_texts(array, key_count, arena, out);
	json_decref(array);
	return fits;
}
