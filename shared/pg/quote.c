/* Quoting of names and texts without a connection, and reading of table names as people write them. */
#include "pg/conn.h"

#include <ctype.h>

enum { NAME_MAX_BYTES = 63 }; /* NAMEDATALEN - 1 */

void ls_pg_add_ident(struct ls_buf *buf, struct ls_str name)
{
	ls_buf_add_char(buf, '"');
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == '"')
			ls_buf_add_char(buf, '"');
		ls_buf_add_char(buf, name.ptr[i]);
	}
	ls_buf_add_char(buf, '"');
}

void ls_pg_add_literal(struct ls_buf *buf, struct ls_str text)
{
	bool escape = text.len && memchr(text.ptr, '\\', text.len);

	ls_buf_add_text(buf, escape ? " E'" : "'");
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '\'' || text.ptr[i] == '\\')
			ls_buf_add_char(buf, text.ptr[i]);
		ls_buf_add_char(buf, text.ptr[i]);
	}
	ls_buf_add_char(buf, '\'');
}

/* read_quoted reads up to the closing quote; a doubled quote stands for one. */
static const char *read_quoted(const char *at, char out[64])
{
	size_t len = 0;

	for (at++; *at; at++) {
		if (*at == '"' && *++at != '"') {
			out[len] = 0;
			return len ? at : NULL;
		}
		if (len == NAME_MAX_BYTES)
			return NULL;
		out[len++] = *at;
	}
	return NULL;
}

/* read_name reads one part of a table name, folded to lower case as PostgreSQL does unless quoted. Returns where it
 * ends, or NULL. */
static const char *read_name(const char *at, char out[64])
{
	size_t len = 0;

	if (*at == '"')
		return read_quoted(at, out);
	for (; *at && *at != '.'; at++) {
		unsigned char c = (unsigned char)*at;

		if (len == NAME_MAX_BYTES || !(isalnum(c) || c == '_' || c == '$' || c >= 0x80))
			return NULL;
		out[len++] = c < 0x80 ? (char)tolower(c) : (char)c;
	}
	out[len] = 0;
	return len ? at : NULL;
}

enum ls_class ls_pg_split_table(const char *place, char schema[64], char table[64], struct ls_error *err)
{
	char first[64], second[64];
	const char *at = place ? read_name(place, first) : NULL;

	if (at && !*at) {
		memcpy(schema, "public", sizeof("public"));
		memcpy(table, first, sizeof(first));
		return LS_OK;
	}
	if (at && *at == '.')
		at = read_name(at + 1, second);
	else
		at = NULL;
	if (!at || *at)
		return ls_fail(err, LS_FATAL, "table",
			       "cannot read the table name %s: write schema.table, and put a part with "
			       "dots, spaces or capitals in double quotes (at most 63 bytes each)",
			       place ? place : "(none)");
	memcpy(schema, first, sizeof(first));
	memcpy(table, second, sizeof(second));
	return LS_OK;
}
