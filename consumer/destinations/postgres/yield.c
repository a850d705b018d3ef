/* Circles of waiting events, each in need of what the next one's row holds or lacks. A row that is going to be written
 * anyway gives up its unique values, or is made ahead without the values that wait themselves; sync_waiting remembers
 * it until the event is taken, or undoes it when the event never is. */
#include "destinations/postgres/internal.h"

#include <stdlib.h>

/* One column for each unique index, which the row can change to stand in no one's way: best one that takes NULL, else
 * one of a type of which a value nobody has is easily made. */
static const char giving_sql[] =
	"(SELECT DISTINCT ON (u.indexrelid) pg_catalog.quote_ident(a.attname), pg_catalog.quote_literal(a.attname), "
	"CASE WHEN NOT a.attnotnull THEN 'NULL' "
	"WHEN t.typname = 'uuid' THEN 'pg_catalog.gen_random_uuid()' "
	"WHEN t.typname = 'int4' THEN '(-2147483647 * pg_catalog.random())::pg_catalog.int4' "
	"WHEN t.typname IN ('int8', 'numeric') THEN '(-9e15 * pg_catalog.random())::pg_catalog.int8' "
	"ELSE pg_catalog.format('pg_catalog.left(pg_catalog.md5(pg_catalog.random()::text), %s)', "
	"CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 32 END) END, false "
	"FROM (SELECT i.indexrelid, i.indrelid, ARRAY(SELECT k FROM pg_catalog.unnest((i.indkey::int2[])"
	"[0:i.indnkeyatts - 1]) k WHERE k > 0 UNION SELECT d.refobjsubid FROM pg_catalog.pg_depend d WHERE "
	"d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid AND "
	"d.refclassid = d.classid AND d.refobjid = i.indrelid AND d.refobjsubid > 0) AS number "
	"FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid "
	"JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2 AND "
	"(i.indisunique OR i.indisexclusion) AND "
	"coalesce(pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct', 'false') = 'false') u "
	"JOIN pg_catalog.pg_attribute a ON a.attrelid = u.indrelid AND a.attnum = ANY (u.number) "
	"JOIN pg_catalog.pg_type t ON t.oid = a.atttypid "
	"WHERE a.attgenerated = '' AND a.attidentity <> 'a' AND a.attname <> ALL ($3::text[]) AND "
	"(NOT a.attnotnull OR t.typname IN ('text', 'varchar', 'uuid', 'int4', 'int8', 'numeric')) "
	"ORDER BY u.indexrelid, a.attnotnull, a.attnum) UNION ALL "
	"SELECT DISTINCT pg_catalog.quote_ident(a.attname), pg_catalog.quote_literal(a.attname), 'NULL', true "
	"FROM pg_catalog.pg_constraint f JOIN pg_catalog.pg_class c ON c.oid = f.conrelid "
	"JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
	"JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = ANY (f.conkey) "
	"WHERE f.contype = 'f' AND n.nspname = $1 AND c.relname = $2 AND NOT a.attnotnull AND a.attgenerated = ''";

static struct ls_str key_names(const struct ls_mapping *mapping, struct ls_arena *arena)
{
	struct ls_buf buf;
	struct ls_str text;

	ls_buf_init(&buf, 1 << 20);
	ls_buf_add_char(&buf, '{');
	for (size_t i = 0; i < mapping->key_count; i++) {
		struct ls_str place = ls_mapping_place(mapping, mapping->key[i]);

		ls_buf_add_text(&buf, i ? ",\"" : "\"");
		for (size_t k = 0; k < place.len; k++) {
			if (place.ptr[k] == '"' || place.ptr[k] == '\\')
				ls_buf_add_char(&buf, '\\');
			ls_buf_add_char(&buf, place.ptr[k]);
		}
		ls_buf_add_char(&buf, '"');
	}
	ls_buf_add_char(&buf, '}');
	text = ls_arena_str(arena, ls_buf_str(&buf));
	ls_buf_release(&buf);
	return text;
}

enum ls_class ls_pgd_giving(struct ls_pgd *dst, const struct ls_pgd_target *target, struct ls_arena *arena,
			    struct ls_pgd_giving **ret, size_t *ret_count, struct ls_error *err)
{
	const char *value[] = { target->schema, target->table, key_names(target->mapping, arena).ptr };
	LS_PGRESULT res = NULL;
	enum ls_class class = ls_pg_params(dst->conn, giving_sql, 3, value, &res, err);
	int count;

	if (class)
		return class;
	count = PQntuples(res);
	*ret = ls_arena_alloc(arena, sizeof(**ret) * (size_t)(count + 1));
	for (int i = 0; i < count; i++)
		(*ret)[i] = (struct ls_pgd_giving){
			.name = ls_arena_str(arena, ls_str_of(PQgetvalue(res, i, 0))),
			.literal = ls_arena_str(arena, ls_str_of(PQgetvalue(res, i, 1))),
			.value = ls_arena_str(arena, ls_str_of(PQgetvalue(res, i, 2))),
			.reference = *PQgetvalue(res, i, 3) == 't',
		};
	*ret_count = (size_t)count;
	return LS_OK;
}

void ls_pgd_add_giving(const struct ls_pgd_giving *giving, size_t count, bool references, struct ls_buf *out)
{
	bool first = true;

	for (size_t i = 0; i < count; i++) {
		if (giving[i].reference && !references)
			continue;
		ls_buf_add_text(out, first ? "" : ", ");
		ls_buf_add_str(out, giving[i].name);
		ls_buf_add_text(out, " = ");
		ls_buf_add_str(out, giving[i].value);
		first = false;
	}
}

struct yield {
	struct ls_pgd *dst;
	const struct ls_slice *slice;
	size_t number; /* of the write */
	const struct ls_write *write;
	const struct ls_pgd_target *target;
	const struct ls_pgd_shape *shape;
	const struct ls_pgd_giving *giving;
	size_t giving_count, unique_count;
	struct ls_arena *arena;
	struct ls_buf *out;
};

static void add_target(const struct yield *y)
{
	ls_pgd_add_table(y->out, y->target->schema, y->target->table);
}

static void add_row_match(const struct yield *y)
{
	const struct ls_mapping *mapping = y->write->mapping;

	for (size_t i = 0; i < mapping->key_count; i++) {
		size_t at = ls_schema_find(y->write->row.schema, mapping->key[i]);

		ls_buf_add_text(y->out, i ? " AND d." : "d.");
		ls_pg_add_ident(y->out, ls_mapping_place(mapping, mapping->key[i]));
		ls_buf_add_text(y->out, " = ");
		ls_pg_add_literal(y->out, ls_pgd_clean(y->arena, y->write->row.value[at].text));
	}
}

static void add_this_wait(const struct yield *y, const char *more)
{
	ls_pgd_add_waiting_of(y->dst, &y->slice->mark, "w.", y->out);
	ls_buf_printf(y->out, " AND w.\"offset\" = %lld%s", (long long)y->slice->wait[y->write->entry].offset, more);
}

static void add_others(const struct yield *y, const char *code)
{
	ls_buf_add_text(y->out, "EXISTS (SELECT FROM ");
	ls_pgd_add_waiting(y->dst, y->out);
	ls_buf_printf(y->out, " w WHERE w.code = '%s' AND w.destination = ", code);
	ls_pg_add_literal(y->out, ls_str_of(y->dst->context->name));
	ls_buf_add_text(y->out, " AND NOT (");
	add_this_wait(y, ")");
}

/* Only where somebody else waits for a unique value: one that waits alone keeps its row as it is. */
static void add_give_up(const struct yield *y)
{
	struct ls_buf *out = y->out;
	bool first = true;

	ls_buf_add_text(out, "IF ");
	add_others(y, "23505");
	ls_buf_add_text(out, ") THEN UPDATE ");
	ls_pgd_add_waiting(y->dst, out);
	ls_buf_add_text(out, " w SET given_up = pg_catalog.to_jsonb(o) FROM (SELECT ");
	for (size_t i = 0; i < y->giving_count; i++) {
		if (y->giving[i].reference)
			continue;
		ls_buf_add_text(out, first ? "d." : ", d.");
		ls_buf_add_str(out, y->giving[i].name);
		first = false;
	}
	ls_buf_add_text(out, " FROM ");
	add_target(y);
	ls_buf_add_text(out, " d WHERE ");
	add_row_match(y);
	ls_buf_add_text(out, ") o WHERE ");
	add_this_wait(y, " AND w.given_up IS NULL AND NOT w.made; IF FOUND THEN UPDATE ");
	add_target(y);
	ls_buf_add_text(out, " d SET ");
	ls_pgd_add_giving(y->giving, y->giving_count, false, out);
	ls_buf_add_text(out, " WHERE ");
	add_row_match(y);
	ls_buf_add_text(out, "; END IF; END IF;\n");
}

/* A row that somebody else needs is made ahead, without its own references and unique values where they may be NULL. */
static void add_make(const struct yield *y)
{
	struct ls_buf *out = y->out;
	struct ls_str id = ls_pgd_clean(y->arena, y->slice->wait[y->write->entry].entity_id);

	ls_buf_add_text(out, "IF NOT EXISTS (SELECT FROM ");
	add_target(y);
	ls_buf_add_text(out, " d WHERE ");
	add_row_match(y);
	ls_buf_add_text(out, ") AND ");
	add_others(y, "23503");
	ls_buf_add_text(out, " AND w.needs = ");
	if (y->write->mapping->key_count > 1)
		ls_buf_add_text(out, "(SELECT pg_catalog.string_agg(k, ', ') FROM "
				     "pg_catalog.jsonb_array_elements_text(");
	ls_pg_add_literal(out, id);
	if (y->write->mapping->key_count > 1)
		ls_buf_add_text(out, ") k)");
	ls_buf_printf(out, ") THEN lockstep_row := %zu;\n", y->number);
	if (y->giving_count) {
		ls_buf_printf(out, "UPDATE pg_temp.%s_c SET ", y->shape->stage);
		ls_pgd_add_giving(y->giving, y->giving_count, true, out);
		ls_buf_add_text(out, " WHERE lockstep_write = lockstep_row;\n");
	}
	ls_buf_add_str(out, y->shape->careful);
	ls_buf_add_text(out, "UPDATE ");
	ls_pgd_add_waiting(y->dst, out);
	ls_buf_add_text(out, " w SET made = true WHERE ");
	add_this_wait(y, "; END IF;\n");
}

static void add_back(const struct yield *y)
{
	struct ls_buf *out = y->out;
	bool first = true;

	ls_buf_add_text(out, "UPDATE ");
	add_target(y);
	ls_buf_add_text(out, " d SET ");
	for (size_t i = 0; i < y->giving_count; i++) {
		if (y->giving[i].reference)
			continue;
		ls_buf_add_text(out, first ? "" : ", ");
		first = false;
		ls_buf_add_str(out, y->giving[i].name);
		ls_buf_add_text(out, " = CASE WHEN pg_catalog.jsonb_exists(w.given_up, ");
		ls_buf_add_str(out, y->giving[i].literal);
		ls_buf_add_text(out, ") THEN (pg_catalog.jsonb_populate_record(NULL::");
		add_target(y);
		ls_buf_add_text(out, ", w.given_up)).");
		ls_buf_add_str(out, y->giving[i].name);
		ls_buf_add_text(out, " ELSE d.");
		ls_buf_add_str(out, y->giving[i].name);
		ls_buf_add_text(out, " END");
	}
	ls_buf_add_text(out, " FROM ");
	ls_pgd_add_waiting(y->dst, out);
	ls_buf_add_text(out, " w WHERE ");
	add_row_match(y);
	ls_buf_add_text(out, " AND ");
	add_this_wait(y, " AND w.given_up IS NOT NULL;\n");
}

/* The row made ahead goes again, seen by all triggers and foreign keys. */
static void add_unmake(const struct yield *y)
{
	ls_buf_add_text(y->out, "DELETE FROM ");
	add_target(y);
	ls_buf_add_text(y->out, " d USING ");
	ls_pgd_add_waiting(y->dst, y->out);
	ls_buf_add_text(y->out, " w WHERE ");
	add_row_match(y);
	ls_buf_add_text(y->out, " AND ");
	add_this_wait(y, " AND w.made;\n");
}

static void add_block(const struct yield *y, void (*add)(const struct yield *y))
{
	ls_buf_add_text(y->out, "BEGIN ");
	add(y);
	ls_buf_add_text(y->out, "EXCEPTION WHEN integrity_constraint_violation OR data_exception OR raise_exception "
				"THEN NULL; END;\n");
}

void ls_pgd_add_silence(struct ls_buf *out, bool on)
{
	ls_buf_printf(out,
		      "BEGIN PERFORM pg_catalog.set_config('session_replication_role', %s, true); EXCEPTION WHEN "
		      "insufficient_privilege THEN NULL; END;\n",
		      on ? "'replica'" : "lockstep_role");
}

static void add_forgotten(const struct yield *y)
{
	ls_buf_add_text(y->out, "UPDATE ");
	ls_pgd_add_waiting(y->dst, y->out);
	ls_buf_add_text(y->out, " w SET given_up = NULL, made = false WHERE ");
	add_this_wait(y, ";\n");
}

static void add_write(const struct yield *y, bool back)
{
	ls_pgd_add_silence(y->out, true);
	if (y->unique_count)
		add_block(y, back ? add_back : add_give_up);
	if (!back && y->write->op == LS_WRITE_UPSERT)
		add_block(y, add_make);
	ls_pgd_add_silence(y->out, false);
	if (back) {
		add_block(y, add_unmake);
		add_forgotten(y);
	}
}

static enum ls_class fill(struct yield *y, const struct ls_pgd_target *last, struct ls_error *err)
{
	struct ls_pgd_giving *giving = NULL;
	struct ls_pgd_target *target = NULL;
	struct ls_pgd_shape *shape = NULL;
	enum ls_class class = ls_pgd_shape_get(y->dst, y->write, &shape, err);

	if (!class)
		class = ls_pgd_target_get(y->dst, y->write->mapping, NULL, &target, err);
	y->shape = shape;
	y->target = target;
	if (class || target == last)
		return class;
	class = ls_pgd_giving(y->dst, target, y->arena, &giving, &y->giving_count, err);
	y->giving = giving;
	y->unique_count = 0;
	for (size_t i = 0; !class && i < y->giving_count; i++)
		y->unique_count += !giving[i].reference;
	return class;
}

enum ls_class ls_pgd_add_yield(struct ls_pgd *dst, const struct ls_slice *slice, bool back, struct ls_arena *arena,
			       struct ls_error *err)
{
	struct yield y = { .dst = dst, .slice = slice, .arena = arena, .out = &dst->body };
	struct ls_str body;

	ls_buf_clear(&dst->body);
	ls_buf_add_text(&dst->body,
			"#variable_conflict use_column\nDECLARE lockstep_row integer; " LS_PGD_ROLE LS_PGD_WRITTEN
			"BEGIN\n");
	for (size_t i = 0; i < slice->write_count; i++) {
		enum ls_class class;

		y.number = i;
		y.write = &slice->write[i];
		class = fill(&y, y.target, err);
		if (class)
			return class;
		add_write(&y, back);
	}
	ls_buf_add_text(&dst->body, "END");
	body = ls_arena_str(arena, ls_buf_str(&dst->body));
	ls_buf_add_text(&dst->sql, "DO ");
	ls_pg_add_literal(&dst->sql, body);
	ls_buf_add_text(&dst->sql, ";\n");
	return LS_OK;
}
