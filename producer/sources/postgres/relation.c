/* Tables of the stream: from Relation messages and the catalog's types to the shapes of entities. */
#include "sources/postgres/relation.h"

#include "core/arena.h"

#include <stdio.h>
#include <stdlib.h>

static bool plain_name(struct ls_str name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (!((c >= 'a' && c <= 'z') || c == '_' || (i && c >= '0' && c <= '9')))
			return false;
	}
	return name.len > 0;
}

static void add_part(struct ls_buf *buf, struct ls_str name)
{
	if (plain_name(name))
		ls_buf_add_str(buf, name);
	else
		ls_pg_add_ident(buf, name);
}

void pgsrc_label(struct ls_str schema, struct ls_str table, char out[PGSRC_LABEL])
{
	struct ls_buf buf;

	ls_buf_init(&buf, 512);
	add_part(&buf, schema);
	ls_buf_add_char(&buf, '.');
	add_part(&buf, table);
	(void)snprintf(out, PGSRC_LABEL, "%s", buf.ptr ? buf.ptr : "");
	ls_buf_release(&buf);
}

void pgsrc_add_table(struct ls_buf *sql, struct ls_str schema, struct ls_str table)
{
	ls_pg_add_ident(sql, schema);
	ls_buf_add_char(sql, '.');
	ls_pg_add_ident(sql, table);
}

struct pgsrc_relation *pgsrc_relation_find(struct pgsrc_relations *relations, uint32_t oid)
{
	struct pgsrc_relation *relation = relations->last_found;

	if (relation && relation->oid == oid)
		return relation;
	for (relation = relations->first; relation; relation = relation->next)
		if (relation->oid == oid)
			break;
	if (relation)
		relations->last_found = relation;
	return relation;
}

/* mapping_is says whether a mapping is about this table. A place that cannot be read was refused at opening. */
static bool mapping_is(const struct ls_mapping *mapping, struct ls_str schema, struct ls_str table)
{
	char in[64], name[64];
	struct ls_error ignored;

	return ls_pg_split_table(mapping->place, in, name, &ignored) == LS_OK && ls_str_equal(ls_str_of(in), schema) &&
	       ls_str_equal(ls_str_of(name), table);
}

static bool is_key(const struct ls_mapping *mapping, struct ls_str field)
{
	for (size_t i = 0; i < mapping->key_count; i++)
		if (ls_str_equal(mapping->key[i], field))
			return true;
	return false;
}

/* field_of gives the entity field that a column travels as; empty: it does not. Key fields always travel. */
static struct ls_str field_of(const struct ls_mapping *mapping, struct ls_str column)
{
	struct ls_str field = ls_mapping_field(mapping, column);

	if (!field.len && is_key(mapping, column) && !ls_mapping_place(mapping, column).len)
		return column;
	return field;
}

/* Types of all columns in one question. Domains are followed to their base type; typmods come from the column, or from
 * the domain where the column's type is one. */
static const char type_sql[] =
	"WITH RECURSIVE given AS (SELECT o.n, o.type::oid AS type, m.typmod::int AS typmod"
	" FROM pg_catalog.unnest($1::text[]::oid[]) WITH ORDINALITY o(type, n) JOIN pg_catalog.unnest($2::int[]) WITH "
	"ORDINALITY m(typmod, n)"
	" USING (n)), base AS (SELECT n, t.oid, t.typtype, t.typbasetype, t.typtypmod, typmod FROM given"
	" JOIN pg_catalog.pg_type t ON t.oid = given.type UNION ALL"
	" SELECT n, t.oid, t.typtype, t.typbasetype, t.typtypmod, CASE WHEN base.typmod < 0 THEN base.typtypmod ELSE"
	" base.typmod END FROM base JOIN pg_catalog.pg_type t ON t.oid = base.typbasetype WHERE base.typtype = 'd')"
	" SELECT base.n, t.typname, t.typtype, base.typmod, pg_catalog.format_type(t.oid, base.typmod),"
	" CASE WHEN t.typlen = -1 THEN e.typname END, e.typtype, e.typbasetype::pg_catalog.regtype FROM base"
	" JOIN pg_catalog.pg_type t ON t.oid = base.oid LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND "
	"t.typelem <> 0"
	" WHERE t.typtype <> 'd' ORDER BY 1";

static enum ls_class ask_types(PGconn *conn, const struct pgout_message *message, PGresult **ret, struct ls_error *err)
{
	struct ls_buf types, typmods;
	const char *value[2];
	enum ls_class class;

	ls_buf_init(&types, 1 << 16);
	ls_buf_init(&typmods, 1 << 16);
	ls_buf_add_char(&types, '{');
	ls_buf_add_char(&typmods, '{');
	for (size_t i = 0; i < message->column_count; i++) {
		ls_buf_printf(&types, "%s%u", i ? "," : "", (unsigned int)message->column[i].type);
		ls_buf_printf(&typmods, "%s%d", i ? "," : "", (int)message->column[i].typmod);
	}
	ls_buf_add_char(&types, '}');
	ls_buf_add_char(&typmods, '}');
	value[0] = types.ptr;
	value[1] = typmods.ptr;
	class = ls_pg_params(conn, type_sql, 2, value, ret, err);
	ls_buf_release(&types);
	ls_buf_release(&typmods);
	return class;
}

/* text_of copies a result's text into memory. */
static struct ls_str text_of(struct ls_arena *memory, const PGresult *res, int row, int column)
{
	return ls_arena_str(memory, ls_str_of(PQgetvalue(res, row, column)));
}

/* types_of fills the neutral types. A type that has been dropped since is text: that is how its values came. */
static enum ls_class types_of(struct pgsrc_relations *relations, PGconn *conn, const struct pgout_message *message,
			      struct ls_type *type, struct ls_error *err)
{
	LS_PGRESULT res = NULL;
	enum ls_class class = ask_types(conn, message, &res, err);

	if (class)
		return class;
	for (size_t i = 0; i < message->column_count; i++)
		type[i] = (struct ls_type){ .kind = LS_STRING };
	for (int row = 0; row < PQntuples(res); row++) {
		unsigned long n = strtoul(PQgetvalue(res, row, 0), NULL, 10);
		const char *elem = PQgetisnull(res, row, 5) ? NULL : PQgetvalue(res, row, 5);

		if (n < 1 || n > message->column_count)
			continue;
		if (elem && PQgetvalue(res, row, 6)[0] != 'b') /* items that are enums, domains, rows: text */
			elem = "text";
		type[n - 1] = ls_pg_type(PQgetvalue(res, row, 1), PQgetvalue(res, row, 2)[0], elem,
					 (int)strtol(PQgetvalue(res, row, 3), NULL, 10),
					 text_of(relations->memory, res, row, 4));
	}
	return LS_OK;
}

static bool same_columns(const struct pgsrc_relation *known, const struct pgout_message *message)
{
	if (known->column_count != message->column_count || known->identity != message->identity ||
	    !ls_str_equal(known->schema, message->schema) || !ls_str_equal(known->table, message->name))
		return false;
	for (size_t i = 0; i < known->column_count; i++) {
		const struct pgsrc_column *a = &known->column[i];
		const struct pgout_column *b = &message->column[i];

		if (!ls_str_equal(a->name, b->name) || a->type != b->type || a->typmod != b->typmod ||
		    a->identity != b->identity)
			return false;
	}
	return true;
}

static enum ls_class make_view(struct pgsrc_relations *relations, const struct pgsrc_relation *relation,
			       const struct ls_mapping *mapping, const struct ls_type *type, struct pgsrc_view *view,
			       struct ls_error *err)
{
	size_t n = relation->column_count, keys = 0;
	struct ls_column *column = ls_arena_zalloc(relations->memory, (n + 1) * sizeof(*column));
	struct ls_schema *schema = ls_arena_zalloc(relations->memory, sizeof(*schema));

	view->mapping = mapping;
	view->from = ls_arena_zalloc(relations->memory, (n + 1) * sizeof(*view->from));
	view->key = ls_arena_zalloc(relations->memory, (n + 1) * sizeof(*view->key));
	for (size_t i = 0; i < n; i++) {
		struct ls_str field = field_of(mapping, relation->column[i].name);

		if (!field.len)
			continue;
		if (is_key(mapping, field))
			view->key[keys++] = (uint16_t)schema->count;
		column[schema->count] = (struct ls_column){ field, type[i], is_key(mapping, field) };
		view->from[schema->count++] = (uint16_t)i;
	}
	schema->entity = ls_str_of(mapping->entity);
	schema->column = column;
	view->schema = schema;
	view->key_count = keys;
	if (keys != mapping->key_count || keys == 0)
		return ls_fail(
			err, LS_FATAL, "key",
			"table %s has %zu of the %zu key fields of entity \"%s\": every key field needs a column; "
			"mend `fields` or `key`, or rename the column back",
			relation->label, keys, mapping->key_count, mapping->entity);
	return LS_OK;
}

static enum ls_class make_views(struct pgsrc_relations *relations, struct pgsrc_relation *relation,
				const struct ls_type *type, struct ls_error *err)
{
	relation->view = ls_arena_zalloc(relations->memory, (relations->mapping_count + 1) * sizeof(*relation->view));
	for (size_t i = 0; i < relations->mapping_count; i++) {
		const struct ls_mapping *mapping = &relations->mapping[i];
		struct pgsrc_view *view = &relation->view[relation->view_count];
		enum ls_class class;

		if (!mapping_is(mapping, relation->schema, relation->table))
			continue;
		class = make_view(relations, relation, mapping, type, view, err);
		if (class)
			return class;
		view->ordinal = relation->view_count++;
	}
	return LS_OK;
}

static struct pgsrc_relation *make_relation(struct pgsrc_relations *relations, const struct pgout_message *message)
{
	struct pgsrc_relation *relation = ls_arena_zalloc(relations->memory, sizeof(*relation));
	struct pgsrc_column *column = ls_arena_zalloc(relations->memory, (message->column_count + 1) * sizeof(*column));

	for (size_t i = 0; i < message->column_count; i++)
		column[i] = (struct pgsrc_column){ .name = ls_arena_str(relations->memory, message->column[i].name),
						   .type = message->column[i].type,
						   .typmod = message->column[i].typmod,
						   .identity = message->column[i].identity };
	relation->oid = message->relation;
	relation->schema = ls_arena_str(relations->memory, message->schema);
	relation->table = ls_arena_str(relations->memory, message->name);
	relation->identity = message->identity;
	relation->column = column;
	relation->column_count = message->column_count;
	relation->ledger = ls_str_equal(relation->schema, ls_str_of(relations->ledger_schema)) &&
			   ls_str_equal(relation->table, LS_STR("sync_offsets"));
	pgsrc_label(relation->schema, relation->table, relation->label);
	return relation;
}

enum ls_class pgsrc_relation_learn(struct pgsrc_relations *relations, PGconn *conn, const struct pgout_message *message,
				   struct pgsrc_relation **ret, struct ls_error *err)
{
	struct pgsrc_relation *known = pgsrc_relation_find(relations, message->relation), *made;
	struct ls_type *type;
	enum ls_class class;

	if (known && same_columns(known, message)) {
		*ret = known;
		return LS_OK;
	}
	type = calloc(message->column_count + 1, sizeof(*type));
	if (!type)
		abort();
	made = make_relation(relations, message);
	class = types_of(relations, conn, message, type, err);
	if (!class)
		class = make_views(relations, made, type, err);
	free(type);
	if (!class && known && known->view_count && !made->view_count)
		class = ls_fail(
			err, LS_FATAL, "table",
			"table %s was renamed to %s: its changes would no longer travel; write the new name into "
			"`tables`, or rename it back",
			known->label, made->label);
	if (class)
		return class;
	/* The newest form stands first and is found first. */
	made->next = relations->first;
	relations->first = relations->last_found = made;
	*ret = made;
	return LS_OK;
}

static const char catalog_sql[] =
	"SELECT n.nspname, c.relname, c.relreplident, a.attname, a.atttypid, a.atttypmod,"
	" coalesce(c.relreplident = 'f' OR a.attnum = ANY (i.indkey), false)"
	" FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	" JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND "
	"a.attgenerated = ''"
	" LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND"
	" ((c.relreplident = 'd' AND i.indisprimary) OR (c.relreplident = 'i' AND i.indisreplident))"
	" WHERE c.oid = $1::oid ORDER BY a.attnum";

enum ls_class pgsrc_relation_catalog(struct pgsrc_relations *relations, PGconn *conn, uint32_t oid,
				     struct pgout_message *scratch, struct pgsrc_relation **ret, struct ls_error *err)
{
	LS_PGRESULT res = NULL;
	char text[16];
	const char *value[1] = { text };
	enum ls_class class;

	(void)snprintf(text, sizeof(text), "%u", (unsigned int)oid);
	class = ls_pg_params(conn, catalog_sql, 1, value, &res, err);
	if (class)
		return class;
	if (PQntuples(res) == 0 || PQntuples(res) > LS_MAX_COLUMNS)
		return ls_fail(err, LS_FATAL, "table", "the table with oid %u is gone or has no columns", oid);
	scratch->relation = oid;
	scratch->schema = ls_str_of(PQgetvalue(res, 0, 0));
	scratch->name = ls_str_of(PQgetvalue(res, 0, 1));
	scratch->identity = PQgetvalue(res, 0, 2)[0];
	scratch->column_count = (size_t)PQntuples(res);
	for (int i = 0; i < PQntuples(res); i++)
		scratch->column[i] = (struct pgout_column){
			.name = ls_str_of(PQgetvalue(res, i, 3)),
			.type = (uint32_t)strtoul(PQgetvalue(res, i, 4), NULL, 10),
			.typmod = (int32_t)strtol(PQgetvalue(res, i, 5), NULL, 10),
			.identity = PQgetvalue(res, i, 6)[0] == 't',
		};
	return pgsrc_relation_learn(relations, conn, scratch, ret, err);
}
