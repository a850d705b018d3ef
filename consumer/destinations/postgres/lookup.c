/* One entity as it stands in the destination now. */
#include "destinations/postgres/internal.h"

static bool travels(const struct ls_mapping *mapping, const struct ls_pgd_column *column)
{
	return ls_mapping_field(mapping, column->name).len > 0;
}

static enum ls_class add_query(struct ls_pgd *dst, const struct ls_pgd_target *target, const struct ls_str *key,
			       struct ls_error *err)
{
	struct ls_buf *sql = &dst->sql;
	bool first = true;

	ls_buf_clear(sql);
	ls_buf_add_text(sql, "SELECT ");
	for (size_t i = 0; i < target->count; i++) {
		if (!travels(target->mapping, &target->column[i]))
			continue;
		if (!first)
			ls_buf_add_text(sql, ", ");
		first = false;
		ls_pg_add_ident(sql, target->column[i].name);
	}
	ls_buf_add_text(sql, " FROM ");
	ls_pgd_add_table(sql, target->schema, target->table);
	for (size_t k = 0; k < target->mapping->key_count; k++) {
		struct ls_str place = ls_mapping_place(target->mapping, target->mapping->key[k]);

		if (!ls_pgd_target_find(target, place))
			return ls_fail(err, LS_FATAL, "42703",
				       "destination \"%s\": table %s.%s has no column for key field "
				       "\"%.*s\"",
				       dst->context->name, target->schema, target->table,
				       LS_ARG(target->mapping->key[k]));
		ls_buf_add_text(sql, k ? " AND " : " WHERE ");
		ls_pg_add_ident(sql, place);
		ls_buf_add_text(sql, " = ");
		ls_pg_add_literal(sql, key[k]);
	}
	return LS_OK;
}

static bool is_key(const struct ls_mapping *mapping, struct ls_str field)
{
	for (size_t k = 0; k < mapping->key_count; k++)
		if (ls_str_equal(mapping->key[k], field))
			return true;
	return false;
}

static struct ls_schema *make_schema(const struct ls_pgd_target *target, struct ls_arena *arena)
{
	struct ls_schema *schema = ls_arena_zalloc(arena, sizeof(*schema));
	struct ls_column *column = ls_arena_zalloc(arena, sizeof(*column) * (target->count + 1));

	schema->entity = ls_arena_str(arena, ls_str_of(target->mapping->entity));
	schema->column = column;
	for (size_t i = 0; i < target->count; i++) {
		struct ls_column *to = &column[schema->count];

		if (!travels(target->mapping, &target->column[i]))
			continue;
		to->name = ls_arena_str(arena, ls_mapping_field(target->mapping, target->column[i].name));
		to->type = target->column[i].kind;
		to->type.native = ls_arena_str(arena, to->type.native);
		to->key = is_key(target->mapping, to->name);
		schema->count++;
	}
	return schema;
}

static void fill_row(const PGresult *res, const struct ls_schema *schema, struct ls_arena *arena, struct ls_row *row)
{
	row->schema = schema;
	row->value = ls_arena_zalloc(arena, sizeof(*row->value) * (schema->count + 1));
	for (size_t i = 0; i < schema->count; i++) {
		int column = (int)i;

		row->value[i].presence = PQgetisnull(res, 0, column) ? LS_NULL : LS_PRESENT;
		row->value[i].text = ls_arena_str(
			arena, (struct ls_str){ PQgetvalue(res, 0, column), (size_t)PQgetlength(res, 0, column) });
	}
}

static enum ls_class look(struct ls_pgd *dst, const struct ls_mapping *mapping, struct ls_str entity_id,
			  struct ls_arena *arena, struct ls_row *ret_row, struct ls_error *err)
{
	struct ls_str *key = ls_arena_zalloc(arena, sizeof(*key) * (mapping->key_count + 1));
	struct ls_pgd_target *target = NULL;
	LS_PGRESULT res = NULL;
	enum ls_class class;

	if (!ls_entity_id_split(entity_id, mapping->key_count, arena, key))
		return ls_fail(err, LS_POISON, "id", "entity \"%s\": \"%.*s\" is no entity id of %zu key fields",
			       mapping->entity, LS_ARG(entity_id), mapping->key_count);
	class = ls_pgd_target_get(dst, mapping, NULL, &target, err);
	if (!class)
		class = add_query(dst, target, key, err);
	if (!class)
		class = ls_pg_exec(dst->conn, dst->sql.ptr, &res, err);
	if (class)
		return class;
	*ret_row = (struct ls_row){ NULL, NULL };
	if (PQntuples(res) > 0)
		fill_row(res, make_schema(target, arena), arena, ret_row);
	return LS_OK;
}

enum ls_class ls_pgd_lookup(const void *options, const struct ls_destination_context *context,
			    const struct ls_mapping *mapping, struct ls_str entity_id, struct ls_arena *arena,
			    struct ls_row *ret_row, struct ls_error *err)
{
	struct ls_pgd *dst = ls_pgd_new(options, context);
	enum ls_class class = ls_pgd_ready(dst, err);

	if (!class)
		class = look(dst, mapping, entity_id, arena, ret_row, err);
	ls_pgd_free(dst);
	return class;
}
