/* PostgreSQL types to neutral kinds and back to the names that columns are created with. */
#include "pg/conn.h"

#include <ctype.h>

static const struct {
	const char *name;
	enum ls_kind kind;
} kinds[] = {
	{ "bool", LS_BOOL },           { "int2", LS_INT32 },
	{ "int4", LS_INT32 },          { "int8", LS_INT64 },
	{ "oid", LS_INT64 },           { "float4", LS_FLOAT32 },
	{ "float8", LS_FLOAT64 },      { "numeric", LS_NUMERIC },
	{ "bytea", LS_BYTES },         { "uuid", LS_UUID },
	{ "json", LS_JSON },           { "jsonb", LS_JSON },
	{ "date", LS_DATE },           { "time", LS_TIME },
	{ "timestamp", LS_TIMESTAMP }, { "timestamptz", LS_TIMESTAMPTZ },
};

/* Types that pg_type gives an element although they do not print as {a,b}. */
static const char *const not_arrays[] = { "name", "point", "line", "lseg", "box", "int2vector", "oidvector" };

static enum ls_kind kind_of(const char *type)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, type) == 0)
			return kinds[i].kind;
	return LS_STRING;
}

static bool is_array(const char *type, const char *elem)
{
	if (!elem || !*elem)
		return false;
	for (size_t i = 0; i < sizeof(not_arrays) / sizeof(not_arrays[0]); i++)
		if (strcmp(not_arrays[i], type) == 0)
			return false;
	return true;
}

/* refine turns a numeric whose precision and scale fit into a decimal. The typmod is (precision << 16 | scale) + 4 with
 * a signed scale of 11 bits. */
static enum ls_kind refine(enum ls_kind kind, int typmod, struct ls_type *type)
{
	int precision, scale;

	if (kind != LS_NUMERIC || typmod < 4)
		return kind;
	precision = ((typmod - 4) >> 16) & 0xffff;
	scale = (((typmod - 4) & 0x7ff) ^ 1024) - 1024;
	if (precision < 1 || precision > 38 || scale < 0 || scale > precision)
		return LS_NUMERIC;
	type->precision = precision;
	type->scale = scale;
	return LS_DECIMAL;
}

struct ls_type ls_pg_type(const char *type, char typtype, const char *elem, int typmod, struct ls_str native)
{
	struct ls_type ret = { .kind = LS_STRING, .item = LS_STRING, .native = native };

	if (typtype != 'b')
		return ret;
	if (is_array(type, elem)) {
		ret.kind = LS_ARRAY;
		ret.item = refine(kind_of(elem), typmod, &ret);
		return ret;
	}
	ret.kind = refine(kind_of(type), typmod, &ret);
	return ret;
}

/* Names that every server from 14 on knows, as format_type() writes them without modifiers. */
static const char *const native_names[] = {
	"boolean",
	"smallint",
	"integer",
	"bigint",
	"real",
	"double precision",
	"numeric",
	"money",
	"text",
	"character varying",
	"character",
	"\"char\"",
	"name",
	"bytea",
	"uuid",
	"json",
	"jsonb",
	"xml",
	"date",
	"time without time zone",
	"time with time zone",
	"timestamp without time zone",
	"timestamp with time zone",
	"interval",
	"bit",
	"bit varying",
	"inet",
	"cidr",
	"macaddr",
	"macaddr8",
	"tsvector",
	"tsquery",
	"point",
	"line",
	"lseg",
	"box",
	"path",
	"polygon",
	"circle",
	"int4range",
	"int8range",
	"numrange",
	"tsrange",
	"tstzrange",
	"daterange",
	"int4multirange",
	"int8multirange",
	"nummultirange",
	"tsmultirange",
	"tstzmultirange",
	"datemultirange",
	"oid",
	"pg_lsn",
	"jsonpath",
	"varchar",
	"decimal",
	"timestamptz",
	"timestamp",
	"time",
};

/* strip_modifier copies `native` without one "(digits,digits)"; false when a parenthesis holds anything else. */
static bool strip_modifier(struct ls_str native, char out[64])
{
	size_t len = 0;
	bool inside = false;

	if (native.len == 0 || native.len >= 64)
		return false;
	for (size_t i = 0; i < native.len; i++) {
		char c = native.ptr[i];

		if (c == '(' && !inside)
			inside = true;
		else if (c == ')' && inside)
			inside = false;
		else if (!inside)
			out[len++] = c;
		else if (!isdigit((unsigned char)c) && c != ',')
			return false;
	}
	out[len] = 0;
	return !inside;
}

static bool is_native(struct ls_str native)
{
	char base[64];
	size_t len;

	if (!strip_modifier(native, base))
		return false;
	len = strlen(base);
	if (len > 2 && strcmp(base + len - 2, "[]") == 0)
		base[len - 2] = 0;
	if (strncmp(base, "interval ", 9) == 0) /* interval day to second(3) */
		return strspn(base, "abcdefghijklmnopqrstuvwxyz ") == strlen(base);
	for (size_t i = 0; i < sizeof(native_names) / sizeof(native_names[0]); i++)
		if (strcmp(native_names[i], base) == 0)
			return true;
	return false;
}

static const char *kind_name(enum ls_kind kind)
{
	switch (kind) {
	case LS_BOOL:
		return "boolean";
	case LS_INT32:
		return "integer";
	case LS_INT64:
		return "bigint";
	case LS_FLOAT32:
		return "real";
	case LS_FLOAT64:
		return "double precision";
	case LS_DECIMAL:
	case LS_NUMERIC:
		return "numeric";
	case LS_BYTES:
		return "bytea";
	case LS_UUID:
		return "uuid";
	case LS_JSON:
		return "jsonb";
	case LS_DATE:
		return "date";
	case LS_TIME:
		return "time without time zone";
	case LS_TIMESTAMP:
		return "timestamp without time zone";
	case LS_TIMESTAMPTZ:
		return "timestamp with time zone";
	case LS_STRING:
	case LS_ARRAY:
		break;
	}
	return "text";
}

void ls_pg_type_name(const struct ls_type *type, struct ls_buf *out)
{
	enum ls_kind kind = type->kind == LS_ARRAY ? type->item : type->kind;

	if (is_native(type->native)) {
		ls_buf_add_str(out, type->native);
		return;
	}
	ls_buf_add_text(out, kind_name(kind));
	if (kind == LS_DECIMAL)
		ls_buf_printf(out, "(%d,%d)", type->precision, type->scale);
	if (type->kind == LS_ARRAY)
		ls_buf_add_text(out, "[]");
}
