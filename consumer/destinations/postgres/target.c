/* What the catalog says about a target table; creating tables and columns where that is allowed. */
#include "destinations/postgres/internal.h"

#include "core/map.h"

#include <stdlib.h>

enum { TARGET_MAX_BYTES = 16 * 1024 * 1024, DDL_MAX_BYTES = 4 * 1024 * 1024 };

static const char columns_sql[] =
	"SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull OR (t.typtype = 'd' AND "
	"t.typnotnull), a.atthasdef OR (t.typtype = 'd' AND t.typdefault IS NOT NULL), a.attidentity, a.attgenerated, "
	"a.attnum, "
	"CASE WHEN a.attcollation <> t.typcollation THEN pg_catalog.quote_ident(cn.nspname) || '.' || "
	"pg_catalog.quote_ident(co.collname) END, b.typname, b.typtype, e.typname, "
	"CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END "
	"FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid "
	"JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END "
	"LEFT JOIN pg_catalog.pg_type e ON e.oid = b.typelem AND b.typelem <> 0 "
	"LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation "
	"LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace "
	"WHERE a.attrelid = (SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = "
	"c.relnamespace "
	"WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')) AND a.attnum > 0 AND NOT a.attisdropped "
	"ORDER BY a.attnum";

/* Only indexes that ON CONFLICT can infer: whole, plain, valid, not deferrable. */
static const char keys_sql[] = "SELECT i.indkey::text, i.indnkeyatts FROM pg_catalog.pg_index i JOIN "
			       "pg_catalog.pg_class c ON c.oid = i.indrelid "
			       "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND "
			       "c.relname = $2 AND i.indisunique "
			       "AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL";

/* Row triggers that fire before INSERT in a session of ours. */
static const char triggers_sql[] =
	"SELECT pg_catalog.count(*) FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid "
	"JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2 AND "
	"t.tgtype & 7 = 7 AND t.tgenabled IN ('O', 'A')";

void ls_pgd_add_table(struct ls_buf *buf, const char *schema, const char *table)
{
	ls_pg_add_ident(buf, ls_str_of(schema));
	ls_buf_add_char(buf, '.');
	ls_pg_add_ident(buf, ls_str_of(table));
}

struct ls_pgd_target *ls_pgd_target_free(struct ls_pgd_target *target)
{
	if (target)
		ls_arena_free(target->arena);
	return NULL;
}

const struct ls_pgd_column *ls_pgd_target_find(const struct ls_pgd_target *target, struct ls_str name)
{
	for (size_t i = 0; i < target->count; i++)
		if (ls_str_equal(target->column[i].name, name))
			return &target->column[i];
	return NULL;
}

static struct ls_str cell(const PGresult *res, int row, int column, struct ls_arena *arena)
{
	if (PQgetisnull(res, row, column))
		return LS_STR("");
	return ls_arena_str(arena,
			    (struct ls_str){ PQgetvalue(res, row, column), (size_t)PQgetlength(res, row, column) });
}

static void read_column(const PGresult *res, int row, struct ls_arena *arena, struct ls_pgd_column *column)
{
	column->name = cell(res, row, 0, arena);
	column->type = cell(res, row, 1, arena);
	column->not_null = *PQgetvalue(res, row, 2) == 't';
	column->identity_always = *PQgetvalue(res, row, 4) == 'a';
	column->has_default = *PQgetvalue(res, row, 3) == 't' || *PQgetvalue(res, row, 4) != 0;
	column->generated = *PQgetvalue(res, row, 5) != 0;
	column->number = (int)strtol(PQgetvalue(res, row, 6), NULL, 10);
	column->collation = cell(res, row, 7, arena);
	column->kind = ls_pg_type(PQgetvalue(res, row, 8), *PQgetvalue(res, row, 9),
				  PQgetisnull(res, row, 10) ? NULL : PQgetvalue(res, row, 10),
				  (int)strtol(PQgetvalue(res, row, 11), NULL, 10), column->type);
}

/* sign folds all cells of a result into the target's signature. */
static void sign(const PGresult *res, struct ls_pgd_target *target)
{
	for (int row = 0; row < PQntuples(res); row++)
		for (int column = 0; column < PQnfields(res); column++)
			target->signature = target->signature * 0x9e3779b97f4a7c15u +
					    ls_hash(ls_str_of(PQgetvalue(res, row, column))) + (uint64_t)column;
}

/* is_key tells whether an index is on exactly the mapping's key columns, in any order. */
static bool is_key(const struct ls_pgd_target *target, const char *numbers, long count)
{
	if (count < 0 || (size_t)count != target->mapping->key_count)
		return false;
	for (size_t k = 0; k < target->mapping->key_count; k++) {
		struct ls_str place = ls_mapping_place(target->mapping, target->mapping->key[k]);
		const struct ls_pgd_column *column = ls_pgd_target_find(target, place);
		const char *at = numbers;
		bool found = false;

		for (long i = 0; column && i < count && !found; i++) {
			char *end;

			found = strtol(at, &end, 10) == column->number;
			at = end;
		}
		if (!found)
			return false;
	}
	return true;
}

static enum ls_class load(PGconn *conn, struct ls_pgd_target *target, struct ls_error *err)
{
	const char *value[] = { target->schema, target->table };
	LS_PGRESULT columns = NULL;
	LS_PGRESULT keys = NULL;
	LS_PGRESULT triggers = NULL;
	enum ls_class class = ls_pg_params(conn, columns_sql, 2, value, &columns, err);

	if (!class)
		class = ls_pg_params(conn, keys_sql, 2, value, &keys, err);
	if (!class)
		class = ls_pg_params(conn, triggers_sql, 2, value, &triggers, err);
	if (class)
		return class;
	target->count = (size_t)PQntuples(columns);
	target->exists = target->count > 0;
	target->column = ls_arena_zalloc(target->arena, sizeof(*target->column) * (target->count + 1));
	for (size_t i = 0; i < target->count; i++)
		read_column(columns, (int)i, target->arena, &target->column[i]);
	for (int i = 0; i < PQntuples(keys) && !target->key_unique; i++)
		target->key_unique = is_key(target, PQgetvalue(keys, i, 0), strtol(PQgetvalue(keys, i, 1), NULL, 10));
	target->insert_triggers = strcmp(PQgetvalue(triggers, 0, 0), "0") != 0;
	sign(columns, target);
	target->signature = target->signature * 4 + target->key_unique * 2 + target->insert_triggers;
	return LS_OK;
}

enum ls_class ls_pgd_target_load(PGconn *conn, const struct ls_mapping *mapping, struct ls_pgd_target **ret,
				 struct ls_error *err)
{
	struct ls_arena *arena = ls_arena_new(TARGET_MAX_BYTES);
	struct ls_pgd_target *target = ls_arena_zalloc(arena, sizeof(*target));
	enum ls_class class;

	target->arena = arena;
	target->mapping = mapping;
	class = ls_pg_split_table(mapping->place, target->schema, target->table, err);
	if (!class)
		class = load(conn, target, err);
	if (class)
		ls_arena_free(arena);
	else
		*ret = target;
	return class;
}

/* ---- creating ---- */

static bool is_key_field(const struct ls_mapping *mapping, struct ls_str field)
{
	for (size_t i = 0; i < mapping->key_count; i++)
		if (ls_str_equal(mapping->key[i], field))
			return true;
	return false;
}

static void add_column(const struct ls_mapping *mapping, const struct ls_column *column, struct ls_buf *out)
{
	ls_pg_add_ident(out, ls_mapping_place(mapping, column->name));
	ls_buf_add_char(out, ' ');
	ls_pg_type_name(&column->type, out);
}

static void add_key(const struct ls_mapping *mapping, struct ls_buf *out)
{
	for (size_t i = 0; i < mapping->key_count; i++) {
		if (i)
			ls_buf_add_text(out, ", ");
		ls_pg_add_ident(out, ls_mapping_place(mapping, mapping->key[i]));
	}
}

void ls_pgd_target_ddl(const struct ls_pgd_target *target, const struct ls_schema *like, struct ls_buf *out)
{
	ls_buf_add_text(out, "CREATE TABLE IF NOT EXISTS ");
	ls_pgd_add_table(out, target->schema, target->table);
	ls_buf_add_text(out, " (");
	for (size_t i = 0; i < like->count; i++) {
		if (!ls_mapping_place(target->mapping, like->column[i].name).len)
			continue;
		add_column(target->mapping, &like->column[i], out);
		ls_buf_add_text(out, is_key_field(target->mapping, like->column[i].name) ? " NOT NULL, " : ", ");
	}
	ls_buf_add_text(out, "PRIMARY KEY (");
	add_key(target->mapping, out);
	ls_buf_add_text(out, "))");
}

/* run_ddl runs `ddl` under the lock that keeps several sinks from doing the same at once. */
static enum ls_class run_ddl(struct ls_pgd *dst, const struct ls_pgd_target *target, const struct ls_buf *ddl,
			     struct ls_error *err)
{
	enum ls_class class;

	ls_buf_clear(&dst->sql);
	ls_buf_add_text(&dst->sql, "BEGIN; SELECT pg_catalog.pg_advisory_xact_lock(7811887, 2);\n");
	ls_buf_add(&dst->sql, ddl->ptr, ddl->len);
	ls_buf_add_text(&dst->sql, ";\nCOMMIT");
	class = ls_pg_exec(dst->conn, dst->sql.ptr, NULL, err);
	if (!class)
		return LS_OK;
	ls_pgd_settle(dst);
	return ls_fail_in(err, "destination \"%s\", table %s.%s: could not run: %.250s", dst->context->name,
			  target->schema, target->table, ddl->ptr);
}

static enum ls_class create_table(struct ls_pgd *dst, const struct ls_pgd_target *target, const struct ls_schema *like,
				  struct ls_error *err)
{
	struct ls_buf ddl;
	enum ls_class class;

	ls_buf_init(&ddl, DDL_MAX_BYTES);
	if (dst->context->create_tables && strcmp(target->schema, "public") != 0) {
		ls_buf_add_text(&ddl, "CREATE SCHEMA IF NOT EXISTS ");
		ls_pg_add_ident(&ddl, ls_str_of(target->schema));
		ls_buf_add_text(&ddl, ";\n");
	}
	ls_pgd_target_ddl(target, like, &ddl);
	if (dst->context->create_tables)
		class = run_ddl(dst, target, &ddl, err);
	else
		class = ls_fail(err, LS_FATAL, "42P01",
				"destination \"%s\": table %s.%s does not exist; set "
				"on_missing_table: create, or run: %.330s",
				dst->context->name, target->schema, target->table, ddl.ptr);
	ls_buf_release(&ddl);
	return class;
}

/* missing_columns writes an ALTER TABLE for the columns of `like` that the target does not have. */
static size_t missing_columns(const struct ls_pgd_target *target, const struct ls_schema *like, struct ls_buf *ddl)
{
	size_t missing = 0;

	for (size_t i = 0; i < like->count; i++) {
		struct ls_str place = ls_mapping_place(target->mapping, like->column[i].name);

		if (!place.len || ls_pgd_target_find(target, place))
			continue;
		if (missing++ == 0) {
			ls_buf_add_text(ddl, "ALTER TABLE ");
			ls_pgd_add_table(ddl, target->schema, target->table);
		}
		ls_buf_add_text(ddl, missing > 1 ? ", ADD COLUMN IF NOT EXISTS " : " ADD COLUMN IF NOT EXISTS ");
		add_column(target->mapping, &like->column[i], ddl);
	}
	return missing;
}

/* complete creates what `like` has and the target lacks; *ret_changed asks to read the catalog again. */
static enum ls_class complete(struct ls_pgd *dst, const struct ls_pgd_target *target, const struct ls_schema *like,
			      bool *ret_changed, struct ls_error *err)
{
	struct ls_buf ddl;
	enum ls_class class = LS_OK;
	size_t missing;

	*ret_changed = true;
	if (!target->exists)
		return create_table(dst, target, like, err);
	ls_buf_init(&ddl, DDL_MAX_BYTES);
	missing = missing_columns(target, like, &ddl);
	if (!missing)
		*ret_changed = false;
	else if (dst->context->add_columns)
		class = run_ddl(dst, target, &ddl, err);
	else
		class = ls_fail(err, LS_FATAL, "42703",
				"destination \"%s\": table %s.%s lacks %zu column%s that entity \"%s\" has; "
				"name the fields that travel under `fields`, or run: %.300s",
				dst->context->name, target->schema, target->table, missing, missing == 1 ? "" : "s",
				target->mapping->entity, ddl.ptr);
	ls_buf_release(&ddl);
	return class;
}

static enum ls_class no_key(struct ls_pgd *dst, const struct ls_pgd_target *target, struct ls_error *err)
{
	struct ls_buf fix;

	ls_buf_init(&fix, DDL_MAX_BYTES);
	ls_buf_add_text(&fix, "CREATE UNIQUE INDEX ON ");
	ls_pgd_add_table(&fix, target->schema, target->table);
	ls_buf_add_text(&fix, " (");
	add_key(target->mapping, &fix);
	ls_buf_add_text(&fix, ")");
	(void)ls_fail(err, LS_FATAL, "42P10",
		      "destination \"%s\": table %s.%s has no unique index on exactly the key of entity "
		      "\"%s\"; run: %s",
		      dst->context->name, target->schema, target->table, target->mapping->entity, fix.ptr);
	ls_buf_release(&fix);
	return LS_FATAL;
}

static enum ls_class load_complete(struct ls_pgd *dst, const struct ls_mapping *mapping, const struct ls_schema *like,
				   struct ls_pgd_target **ret, struct ls_error *err)
{
	struct ls_pgd_target *target = NULL;
	bool changed = false;
	enum ls_class class = ls_pgd_target_load(dst->conn, mapping, &target, err);

	if (!class && like)
		class = complete(dst, target, like, &changed, err);
	if (!class && changed) {
		ls_pgd_target_free(target);
		target = NULL;
		class = ls_pgd_target_load(dst->conn, mapping, &target, err);
	}
	if (!class && !target->key_unique)
		class = no_key(dst, target, err);
	if (class)
		ls_pgd_target_free(target);
	else
		*ret = target;
	return class;
}

static bool covers(const struct ls_pgd_target *target, const struct ls_schema *like)
{
	for (size_t i = 0; like && i < like->count; i++) {
		struct ls_str place = ls_mapping_place(target->mapping, like->column[i].name);

		if (place.len && !ls_pgd_target_find(target, place))
			return false;
	}
	return true;
}

enum ls_class ls_pgd_target_get(struct ls_pgd *dst, const struct ls_mapping *mapping, const struct ls_schema *like,
				struct ls_pgd_target **ret, struct ls_error *err)
{
	struct ls_pgd_target **at = &dst->target, *fresh = NULL;
	enum ls_class class;

	while (*at && (*at)->mapping != mapping)
		at = &(*at)->next;
	if (*at && covers(*at, like)) {
		*ret = *at;
		return LS_OK;
	}
	class = load_complete(dst, mapping, like, &fresh, err);
	if (class)
		return class;
	if (*at) {
		fresh->next = (*at)->next;
		ls_pgd_target_free(*at);
	}
	*at = fresh;
	*ret = fresh;
	return LS_OK;
}

bool ls_pgd_targets_changed(struct ls_pgd *dst)
{
	for (struct ls_pgd_target *target = dst->target; target; target = target->next) {
		struct ls_pgd_target *fresh = NULL;
		struct ls_error ignored;
		bool changed;

		if (ls_pgd_target_load(dst->conn, target->mapping, &fresh, &ignored))
			return false;
		changed = fresh->signature != target->signature;
		ls_pgd_target_free(fresh);
		if (changed)
			return true;
	}
	return false;
}

void ls_pgd_forget(struct ls_pgd *dst)
{
	struct ls_error ignored;

	if (dst->shape && dst->conn && PQtransactionStatus(dst->conn) == PQTRANS_IDLE)
		(void)ls_pg_exec(dst->conn, "DISCARD TEMP", NULL, &ignored);
	while (dst->shape) {
		struct ls_pgd_shape *next = dst->shape->next;

		ls_pgd_shape_free(dst->shape);
		dst->shape = next;
	}
	dst->last = NULL;
	while (dst->target) {
		struct ls_pgd_target *next = dst->target->next;

		ls_pgd_target_free(dst->target);
		dst->target = next;
	}
}
