/* One entity as it stands now. */
#include "sources/postgres/source.h"

#include "core/arena.h"

#include <stdio.h>
#include <stdlib.h>

/* where_key adds "a" = '1' AND "b" = 'x'; false when the id does not fit the key. */
static bool where_key(const struct pgsrc_relation *relation, const struct pgsrc_view *view, struct ls_str entity_id,
		      struct ls_arena *arena, struct ls_buf *sql)
{
	const struct ls_mapping *mapping = view->mapping;
	struct ls_str *text = ls_arena_zalloc(arena, (mapping->key_count + 1) * sizeof(*text));

	if (!ls_entity_id_split(entity_id, mapping->key_count, arena, text))
		return false;
	for (size_t i = 0; i < mapping->key_count; i++) {
		size_t at = ls_schema_find(view->schema, mapping->key[i]);

		if (at == view->schema->count)
			return false;
		ls_buf_add_text(sql, i ? " AND " : "");
		ls_pg_add_ident(sql, relation->column[view->from[at]].name);
		ls_buf_add_text(sql, " = ");
		ls_pg_add_literal(sql, text[i]);
	}
	return true;
}

static void take_row(const PGresult *res, const struct pgsrc_view *view, struct ls_arena *arena, struct ls_row *ret)
{
	struct ls_row row = { view->schema, ls_arena_zalloc(arena, (view->schema->count + 1) * sizeof(*row.value)) };

	for (size_t i = 0; i < view->schema->count; i++) {
		struct ls_str text = { PQgetvalue(res, 0, (int)i), (size_t)PQgetlength(res, 0, (int)i) };

		if (PQgetisnull(res, 0, (int)i))
			row.value[i].presence = LS_NULL;
		else
			row.value[i] = (struct ls_value){ LS_PRESENT, ls_arena_str(arena, text) };
	}
	*ret = row;
}

enum ls_class pgsrc_lookup_on(PGconn *conn, const struct pgsrc_relation *relation, const struct pgsrc_view *view,
			      struct ls_str entity_id, struct ls_arena *arena, struct ls_row *ret_row,
			      struct ls_error *err)
{
	LS_PGRESULT res = NULL;
	struct ls_buf sql;
	enum ls_class class;
	bool fits;

	ls_buf_init(&sql, 1 << 22);
	ls_buf_add_text(&sql, "SELECT ");
	for (size_t i = 0; i < view->schema->count; i++) {
		ls_buf_add_text(&sql, i ? ", " : "");
		ls_pg_add_ident(&sql, relation->column[view->from[i]].name);
	}
	ls_buf_add_text(&sql, " FROM ");
	pgsrc_add_table(&sql, relation->schema, relation->table);
	ls_buf_add_text(&sql, " WHERE ");
	fits = where_key(relation, view, entity_id, arena, &sql) && !sql.full;
	class = fits ? ls_pg_exec(conn, sql.ptr, &res, err)
		     : ls_fail(err, LS_POISON, "entity_id",
			       "an entity id does not fit the %zu key fields of entity \"%s\"",
			       view->mapping->key_count, view->mapping->entity);
	ls_buf_release(&sql);
	if (class)
		return class;
	*ret_row = (struct ls_row){ 0 };
	if (PQntuples(res))
		take_row(res, view, arena, ret_row);
	return LS_OK;
}

static enum ls_class find_oid(PGconn *conn, const char *place, uint32_t *ret, struct ls_error *err)
{
	char schema[64], name[64];
	const char *value[2] = { schema, name };
	LS_PGRESULT res = NULL;
	enum ls_class class = ls_pg_split_table(place, schema, name, err);

	if (!class)
		class = ls_pg_params(
			conn,
			"SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = "
			"c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
			2, value, &res, err);
	if (class)
		return class;
	if (PQntuples(res) == 0)
		return ls_fail(err, LS_FATAL, "42P01", "table %s does not exist", place);
	*ret = (uint32_t)strtoul(PQgetvalue(res, 0, 0), NULL, 10);
	return LS_OK;
}

/* learn finds the table of one mapping as the catalog shows it now. */
static enum ls_class learn(PGconn *conn, const struct ls_source_context *context, const struct ls_mapping *mapping,
			   struct ls_arena *arena, struct pgsrc_relation **ret, struct ls_error *err)
{
	struct pgsrc_relations relations = {
		.memory = arena, .ledger_schema = context->ledger_schema, .mapping = mapping, .mapping_count = 1
	};
	struct pgout_message *scratch = calloc(1, sizeof(*scratch));
	uint32_t oid = 0;
	enum ls_class class;

	if (!scratch)
		abort();
	class = find_oid(conn, mapping->place, &oid, err);
	if (!class)
		class = pgsrc_relation_catalog(&relations, conn, oid, scratch, ret, err);
	free(scratch);
	return class;
}

static enum ls_class lookup(PGconn *conn, const struct ls_source_context *context, const struct ls_mapping *mapping,
			    struct ls_str entity_id, struct ls_arena *arena, struct ls_row *ret_row,
			    struct ls_error *err)
{
	struct pgsrc_relation *relation;
	enum ls_class class = learn(conn, context, mapping, arena, &relation, err);

	return class ? class : pgsrc_lookup_on(conn, relation, &relation->view[0], entity_id, arena, ret_row, err);
}

enum ls_class pgsrc_lookup(const void *options, const struct ls_source_context *context,
			   const struct ls_mapping *mapping, struct ls_str entity_id, struct ls_arena *arena,
			   struct ls_row *ret_row, struct ls_error *err)
{
	const struct pgsrc_options *given = options;
	PGconn *conn = NULL;
	enum ls_class class = ls_pg_connect(given->url, context->name, false, &conn, err);

	if (!class)
		class = lookup(conn, context, mapping, entity_id, arena, ret_row, err);
	ls_pg_close(conn);
	return class ? ls_fail_in(err, "source \"%s\"", context->name) : LS_OK;
}

enum ls_class pgsrc_describe(const void *options, const struct ls_source_context *context,
			     const struct ls_mapping *mapping, struct ls_arena *arena, const struct ls_schema **ret,
			     struct ls_error *err)
{
	const struct pgsrc_options *given = options;
	struct pgsrc_relation *relation;
	PGconn *conn = NULL;
	enum ls_class class = ls_pg_connect(given->url, context->name, false, &conn, err);

	if (!class)
		class = learn(conn, context, mapping, arena, &relation, err);
	if (!class)
		*ret = relation->view[0].schema;
	ls_pg_close(conn);
	return class ? ls_fail_in(err, "source \"%s\"", context->name) : LS_OK;
}
