/* The statements of one shape of write: a staging table filled by COPY, and what carries it into the target. */
#include "destinations/postgres/internal.h"

#include <stdio.h>

enum { SHAPE_MAX_BYTES = 16 * 1024 * 1024, STATEMENT_MAX_BYTES = 4 * 1024 * 1024 };

/* What is known while a shape is built: per column of the COPY the target's column. */
struct build {
	struct ls_pgd_shape *shape;
	const struct ls_pgd_target *target;
	const struct ls_pgd_column **column;
	bool absent; /* some columns are to be left alone */
	bool single; /* statements for one row at a time: see careful.c */
	struct ls_pgd_guard guard;
};

struct ls_pgd_shape *ls_pgd_shape_free(struct ls_pgd_shape *shape)
{
	if (shape)
		ls_arena_free(shape->arena);
	return NULL;
}

static bool same_names(const struct ls_pgd_shape *shape, const struct ls_schema *schema)
{
	if (shape->schema_count != schema->count)
		return false;
	for (size_t i = 0; i < schema->count; i++)
		if (!ls_str_equal(shape->name[i], schema->column[i].name))
			return false;
	return true;
}

static bool matches(const struct ls_pgd *dst, const struct ls_pgd_shape *shape, const struct ls_write *write)
{
	const struct ls_value *value = write->row.value;

	if (shape->mapping != write->mapping || shape->op != write->op || shape->schema != write->row.schema)
		return false;
	/* Once per slice: a freed schema's address may have been given to another one. */
	if (shape->slice != dst->slice && !same_names(shape, write->row.schema))
		return false;
	for (size_t i = 0; i < shape->schema_count; i++)
		if (shape->care[i] != LS_PGD_ANY &&
		    (value[i].presence == LS_ABSENT) != (shape->care[i] == LS_PGD_ABSENT))
			return false;
	return true;
}

/* ---- statements ---- */

static void add_columns(const struct build *b, size_t from, const char *table, bool settable, struct ls_buf *out)
{
	bool first = true;

	for (size_t i = from; i < b->shape->source_count; i++) {
		if (settable && b->column[i]->identity_always)
			continue;
		if (!first)
			ls_buf_add_text(out, ", ");
		first = false;
		ls_buf_add_text(out, table);
		ls_pg_add_ident(out, b->column[i]->name);
	}
}

static void add_key_columns(const struct build *b, struct ls_buf *out)
{
	for (size_t i = 0; i < b->shape->key_count; i++) {
		if (i)
			ls_buf_add_text(out, ", ");
		ls_pg_add_ident(out, b->column[i]->name);
	}
}

static void add_key_match(const struct build *b, const char *left, const char *right, struct ls_buf *out)
{
	for (size_t i = 0; i < b->shape->key_count; i++) {
		if (i)
			ls_buf_add_text(out, " AND ");
		ls_buf_add_text(out, left);
		ls_pg_add_ident(out, b->column[i]->name);
		ls_buf_add_text(out, " = ");
		ls_buf_add_text(out, right);
		ls_pg_add_ident(out, b->column[i]->name);
	}
}

static size_t settable_count(const struct build *b)
{
	size_t count = 0;

	for (size_t i = b->shape->key_count; i < b->shape->source_count; i++)
		count += !b->column[i]->identity_always;
	return count;
}

static void add_set(const struct build *b, const char *from, struct ls_buf *out)
{
	bool first = true;

	for (size_t i = b->shape->key_count; i < b->shape->source_count; i++) {
		if (b->column[i]->identity_always)
			continue;
		if (!first)
			ls_buf_add_text(out, ", ");
		first = false;
		ls_pg_add_ident(out, b->column[i]->name);
		ls_buf_add_text(out, " = ");
		ls_buf_add_text(out, from);
		ls_pg_add_ident(out, b->column[i]->name);
	}
}

/* add_changed compares by record image, which works for every type (json and point have no equality) and sees what
 * equality does not (1.0 and 1.00): https://www.postgresql.org/docs/15/functions-comparisons.html, 9.24.6. */
static void add_changed(const struct build *b, const char *from, struct ls_buf *out)
{
	ls_buf_add_text(out, "ROW(");
	add_columns(b, b->shape->key_count, "d.", true, out);
	ls_buf_add_text(out, ")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(");
	add_columns(b, b->shape->key_count, from, true, out);
	ls_buf_add_text(out, ")::pg_catalog.record");
}

static void add_stage(const struct build *b, struct ls_buf *out)
{
	if (b->single)
		ls_buf_printf(out, "(SELECT * FROM pg_temp.%s_c WHERE lockstep_write = lockstep_row) s",
			      b->shape->stage);
	else
		ls_buf_printf(out, "pg_temp.%s s", b->shape->stage);
}

static void add_target(const struct build *b, struct ls_buf *out)
{
	ls_pgd_add_table(out, b->target->schema, b->target->table);
}

/* add_end ends a statement; what is written row by row in a DO block has to count for itself. */
static void add_end(const struct build *b, struct ls_buf *out)
{
	ls_buf_add_text(out, ";\n");
	if (b->single)
		ls_buf_add_text(out,
				"GET DIAGNOSTICS lockstep_count = ROW_COUNT; lockstep_written := lockstep_written + "
				"lockstep_count;\n");
}

static void add_insert(const struct build *b, bool only_missing, struct ls_buf *out)
{
	bool overriding = false;

	for (size_t i = 0; i < b->shape->source_count; i++)
		overriding |= b->column[i]->identity_always;
	ls_buf_add_text(out, "INSERT INTO ");
	add_target(b, out);
	ls_buf_add_text(out, " AS d (");
	add_columns(b, 0, "", false, out);
	ls_buf_add_text(out, overriding ? ") OVERRIDING SYSTEM VALUE SELECT " : ") SELECT ");
	add_columns(b, 0, "s.", false, out);
	ls_buf_add_text(out, " FROM ");
	add_stage(b, out);
	if (only_missing) {
		ls_buf_add_text(out, " WHERE NOT EXISTS (SELECT FROM ");
		add_target(b, out);
		ls_buf_add_text(out, " x WHERE ");
		add_key_match(b, "x.", "s.", out);
		ls_buf_add_char(out, ')');
	}
	ls_buf_add_text(out, " ON CONFLICT (");
	add_key_columns(b, out);
	if (!settable_count(b)) {
		ls_buf_add_text(out, ") DO NOTHING");
		add_end(b, out);
		return;
	}
	ls_buf_add_text(out, ") DO UPDATE SET ");
	add_set(b, "EXCLUDED.", out);
	ls_buf_add_text(out, " WHERE ");
	add_changed(b, "EXCLUDED.", out);
	ls_buf_add_str(out, ls_buf_str(b->guard.all));
	add_end(b, out);
}

static void add_update(const struct build *b, struct ls_buf *out)
{
	ls_buf_add_text(out, "UPDATE ");
	add_target(b, out);
	ls_buf_add_text(out, " d SET ");
	add_set(b, "s.", out);
	ls_buf_add_text(out, " FROM ");
	add_stage(b, out);
	ls_buf_add_text(out, " WHERE ");
	add_key_match(b, "d.", "s.", out);
	ls_buf_add_text(out, " AND ");
	add_changed(b, "s.", out);
	ls_buf_add_str(out, ls_buf_str(b->guard.each));
	add_end(b, out);
}

static void add_delete(const struct build *b, struct ls_buf *out)
{
	ls_buf_add_text(out, "DELETE FROM ");
	add_target(b, out);
	ls_buf_add_text(out, " d USING ");
	add_stage(b, out);
	ls_buf_add_text(out, " WHERE ");
	add_key_match(b, "d.", "s.", out);
	ls_buf_add_str(out, ls_buf_str(b->guard.each));
	add_end(b, out);
}

/* lacks_required: the target has a column without which no row can be inserted, and these writes do not bring it. The
 * check comes before ON CONFLICT looks for the key, so rows that are there must be updated by themselves. */
static bool lacks_required(const struct build *b)
{
	for (size_t i = 0; i < b->target->count; i++) {
		const struct ls_pgd_column *column = &b->target->column[i];
		bool brought = false;

		if (!column->not_null || column->has_default || column->generated)
			continue;
		for (size_t k = 0; k < b->shape->source_count; k++)
			brought |= b->column[k] == column;
		if (!brought)
			return true;
	}
	return false;
}

/* one_by_one: rows that are there are updated and only the others inserted. ON CONFLICT would do both at once, but
 * fires the triggers of an INSERT for rows that are there, and cannot compare each with its own event. */
static bool one_by_one(const struct build *b)
{
	return b->absent || lacks_required(b) || b->target->insert_triggers || ls_pgd_guards(b->shape->mapping);
}

static void add_statements(const struct build *b, struct ls_buf *out)
{
	bool partial = one_by_one(b);

	if (b->shape->op == LS_WRITE_DELETE) {
		add_delete(b, out);
		return;
	}
	if (partial && settable_count(b))
		add_update(b, out);
	add_insert(b, partial, out);
}

static void add_create(const struct build *b, struct ls_buf *out)
{
	ls_buf_printf(out, "CREATE TEMPORARY TABLE %s (", b->shape->stage);
	ls_pgd_guard_columns(b->shape->mapping, true, out);
	for (size_t i = 0; i < b->shape->source_count; i++) {
		const struct ls_pgd_column *column = b->column[i];

		if (i)
			ls_buf_add_text(out, ", ");
		ls_pg_add_ident(out, column->name);
		ls_buf_add_char(out, ' ');
		ls_buf_add_str(out, column->type);
		if (column->collation.len) {
			ls_buf_add_text(out, " COLLATE ");
			ls_buf_add_str(out, column->collation);
		}
		/* As strict as the target: what fails here fails with the number of its line. */
		if (column->not_null || i < b->shape->key_count)
			ls_buf_add_text(out, " NOT NULL");
	}
	ls_buf_add_text(out, ") ON COMMIT DELETE ROWS");
}

static void add_copy(const struct build *b, struct ls_buf *out)
{
	ls_buf_printf(out, b->single ? "COPY pg_temp.%s_c (lockstep_write, " : "COPY pg_temp.%s (", b->shape->stage);
	ls_pgd_guard_columns(b->shape->mapping, false, out);
	add_columns(b, 0, "", false, out);
	ls_buf_add_text(out, ") FROM STDIN;\n");
}

static void add_stage_match(const struct build *b, struct ls_buf *out)
{
	add_key_match(b, "d.", "s.", out);
}

static struct ls_str written(const struct build *b, void (*add)(const struct build *, struct ls_buf *))
{
	struct ls_buf buf;
	struct ls_str text;

	ls_buf_init(&buf, STATEMENT_MAX_BYTES);
	add(b, &buf);
	text = ls_arena_str(b->shape->arena, ls_buf_str(&buf));
	ls_buf_release(&buf);
	return text;
}

/* ---- building ---- */

static void take(struct build *b, size_t index, const struct ls_pgd_column *column)
{
	b->column[b->shape->source_count] = column;
	b->shape->source[b->shape->source_count++] = index;
	b->shape->care[index] = LS_PGD_PRESENT;
}

static enum ls_class take_key(struct build *b, const struct ls_write *write, struct ls_error *err)
{
	const struct ls_schema *schema = write->row.schema;

	for (size_t k = 0; k < write->mapping->key_count; k++) {
		struct ls_str field = write->mapping->key[k];
		size_t i = ls_schema_find(schema, field);
		const struct ls_pgd_column *column;

		if (i == schema->count || write->row.value[i].presence != LS_PRESENT)
			return ls_fail(err, LS_POISON, "key",
				       "entity \"%s\": the event has no value for its key field \"%.*s\"",
				       write->mapping->entity, LS_ARG(field));
		column = ls_pgd_target_find(b->target, ls_mapping_place(write->mapping, field));
		if (!column)
			return ls_fail(err, LS_FATAL, "42703",
				       "table %s.%s has no column for the key field \"%.*s\" of entity "
				       "\"%s\"",
				       b->target->schema, b->target->table, LS_ARG(field), write->mapping->entity);
		take(b, i, column);
	}
	b->shape->key_count = b->shape->source_count;
	return LS_OK;
}

static bool taken(const struct build *b, size_t index)
{
	for (size_t k = 0; k < b->shape->key_count; k++)
		if (b->shape->source[k] == index)
			return true;
	return false;
}

static void take_rest(struct build *b, const struct ls_write *write)
{
	const struct ls_schema *schema = write->row.schema;

	for (size_t i = 0; i < schema->count; i++) {
		struct ls_str place = ls_mapping_place(write->mapping, schema->column[i].name);
		const struct ls_pgd_column *column = place.len ? ls_pgd_target_find(b->target, place) : NULL;

		if (!column || column->generated || taken(b, i))
			continue;
		if (write->row.value[i].presence != LS_ABSENT) {
			take(b, i, column);
			continue;
		}
		b->shape->care[i] = LS_PGD_ABSENT;
		b->absent = true;
	}
}

/* name_stage calls the staging table after the table it is for: PostgreSQL's errors name it, and people read them. */
static void name_stage(struct ls_pgd_shape *shape, const char *place, unsigned long long number)
{
	const char *dot = strrchr(place, '.'), *at = dot ? dot + 1 : place;
	char table[33];
	size_t len = 0;

	for (; *at && len < sizeof(table) - 1; at++) {
		bool plain = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9');

		if (*at != '"')
			table[len++] = plain ? *at : '_';
	}
	table[len] = 0;
	(void)snprintf(shape->stage, sizeof(shape->stage), "staged_%s_%llu", table, number);
}

static struct ls_pgd_shape *shape_new(struct ls_pgd *dst, const struct ls_write *write)
{
	const struct ls_schema *schema = write->row.schema;
	struct ls_arena *arena = ls_arena_new(SHAPE_MAX_BYTES);
	struct ls_pgd_shape *shape = ls_arena_zalloc(arena, sizeof(*shape));

	*shape = (struct ls_pgd_shape){ .arena = arena, .mapping = write->mapping, .schema = schema, .op = write->op };
	shape->schema_count = schema->count;
	shape->name = ls_arena_alloc(arena, sizeof(*shape->name) * (schema->count + 1));
	shape->source = ls_arena_alloc(arena, sizeof(*shape->source) * (schema->count + 1));
	shape->care = ls_arena_alloc(arena, schema->count + 1);
	memset(shape->care, LS_PGD_ANY, schema->count);
	for (size_t i = 0; i < schema->count; i++)
		shape->name[i] = ls_arena_str(arena, schema->column[i].name);
	name_stage(shape, write->mapping->place, (unsigned long long)++dst->stages);
	return shape;
}

static enum ls_class build_guarded(struct ls_pgd *dst, const struct ls_write *write, struct ls_pgd_shape *shape,
				   struct ls_pgd_guard guard, struct ls_error *err)
{
	struct build b = { .shape = shape, .guard = guard };
	struct ls_pgd_target *target = NULL;
	enum ls_class class = ls_pgd_target_get(dst, write->mapping,
						write->op == LS_WRITE_UPSERT ? write->row.schema : NULL, &target, err);

	if (class)
		return class;
	b.target = target;
	b.column = ls_arena_zalloc(shape->arena, sizeof(struct ls_pgd_column *) * (shape->schema_count + 1));
	class = take_key(&b, write, err);
	if (class)
		return class;
	if (write->op == LS_WRITE_UPSERT)
		take_rest(&b, write);
	class = ls_pgd_guard_make(dst, target, shape->stage, &b.guard, err);
	if (class)
		return class;
	shape->create = written(&b, add_create);
	shape->copy = written(&b, add_copy);
	shape->statements = written(&b, add_statements);
	shape->key_match = written(&b, add_stage_match);
	b.single = true;
	shape->careful_copy = written(&b, add_copy);
	shape->careful = written(&b, add_statements);
	return LS_OK;
}

static enum ls_class build(struct ls_pgd *dst, const struct ls_write *write, struct ls_pgd_shape *shape,
			   struct ls_error *err)
{
	struct ls_buf each, all;
	enum ls_class class;

	ls_buf_init(&each, STATEMENT_MAX_BYTES);
	ls_buf_init(&all, STATEMENT_MAX_BYTES);
	class = build_guarded(dst, write, shape, (struct ls_pgd_guard){ &each, &all }, err);
	ls_buf_release(&each);
	ls_buf_release(&all);
	return class;
}

static enum ls_class make_stage(struct ls_pgd *dst, struct ls_pgd_shape *shape, struct ls_error *err)
{
	enum ls_class class;

	if (shape->session == dst->session)
		return LS_OK;
	class = ls_pg_exec(dst->conn, shape->create.ptr, NULL, err);
	if (!class)
		shape->session = dst->session;
	return class;
}

static struct ls_pgd_shape *find(struct ls_pgd *dst, const struct ls_write *write)
{
	if (dst->last && matches(dst, dst->last, write))
		return dst->last;
	for (struct ls_pgd_shape *shape = dst->shape; shape; shape = shape->next)
		if (matches(dst, shape, write))
			return shape;
	return NULL;
}

enum ls_class ls_pgd_shape_get(struct ls_pgd *dst, const struct ls_write *write, struct ls_pgd_shape **ret,
			       struct ls_error *err)
{
	struct ls_pgd_shape *shape;
	enum ls_class class = LS_OK;

	if (!write->row.schema)
		return ls_fail(err, LS_POISON, "row", "entity \"%s\": the event has no row", write->mapping->entity);
	shape = find(dst, write);
	if (!shape) {
		shape = shape_new(dst, write);
		class = build(dst, write, shape, err);
		if (class) {
			ls_pgd_shape_free(shape);
			return class;
		}
		shape->next = dst->shape;
		dst->shape = shape;
	}
	class = make_stage(dst, shape, err);
	if (class)
		return class;
	dst->last = shape;
	*ret = shape;
	return LS_OK;
}

void ls_pgd_shapes_trim(struct ls_pgd *dst)
{
	size_t count = 0;

	for (struct ls_pgd_shape *shape = dst->shape; shape; shape = shape->next)
		count++;
	if (count > LS_PGD_SHAPES_KEPT)
		ls_pgd_forget(dst);
}
