/* What one schema of an entity has that another has not, in words for a person. */
#include "avro/schemas.h"

#include "core/buf.h"

#include <jansson.h>
#include <string.h>

/* row_fields finds the fields of `after`: a union of null and the row's record. */
static json_t *row_fields(json_t *schema)
{
	json_t *fields = json_object_get(schema, "fields"), *field;
	size_t i;

	json_array_foreach(fields, i, field)
	{
		const char *name = json_string_value(json_object_get(field, "name"));
		json_t *type = json_object_get(field, "type"), *branch;
		size_t k;

		json_array_foreach(type, k, branch)
		{
			json_t *inner = json_object_get(branch, "fields");

			if (inner && name && (strcmp(name, "after") == 0 || strcmp(name, "before") == 0))
				return inner;
		}
	}
	return NULL;
}

static const char *column_of(const json_t *field)
{
	const char *column = json_string_value(json_object_get(field, "column"));

	return column ? column : json_string_value(json_object_get(field, "name"));
}

static json_t *find(json_t *fields, const char *name)
{
	json_t *field;
	size_t i;

	json_array_foreach(fields, i, field)
	{
		const char *column = column_of(field);

		if (column && strcmp(column, name) == 0)
			return field;
	}
	return NULL;
}

static void say(struct ls_buf *out, const char *what, const char *column)
{
	ls_buf_printf(out, "%s%s column \"%s\"", out->len ? ", " : "", what, column);
}

void ls_avro_difference(struct ls_str old_json, struct ls_str new_json, struct ls_buf *out)
{
	json_t *old = json_loadb(old_json.ptr, old_json.len, 0, NULL);
	json_t *new = json_loadb(new_json.ptr, new_json.len, 0, NULL);
	json_t *before = row_fields(old), *after = row_fields(new), *field;
	size_t i;

	json_array_foreach(after, i, field)
	{
		const char *column = column_of(field);
		json_t *was = column ? find(before, column) : NULL;

		if (column && !was)
			say(out, "new", column);
		else if (was && !json_equal(json_object_get(was, "type"), json_object_get(field, "type")))
			say(out, "another type of", column);
	}
	json_array_foreach(before, i, field)
	{
		const char *column = column_of(field);

		if (column && !find(after, column))
			say(out, "no more", column);
	}
	if (!out->len)
		ls_buf_add_text(out, "other notes on its columns");
	json_decref(old);
	json_decref(new);
}
