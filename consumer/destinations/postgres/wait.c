/* Events that wait for rows of other partitions: written down in sync_waiting, in the transaction that moves the mark
 * past them. And what a waiting row can do for the others: give up the unique values that it is going to lose anyway. */
#include "destinations/postgres/internal.h"

#include <stdio.h>
#include <stdlib.h>

/* One column for each unique index, which the row can change to stand in no one's way: best one that takes NULL, else
 * one of a type of which a value nobody has is easily made. */
static const char giving_sql[] =
	"SELECT DISTINCT ON (u.indexrelid) pg_catalog.quote_ident(a.attname), pg_catalog.quote_literal(a.attname), "
	"CASE WHEN NOT a.attnotnull THEN 'NULL' "
	"WHEN t.typname = 'uuid' THEN 'pg_catalog.gen_random_uuid()' "
	"WHEN t.typname = 'int4' THEN '(-2147483647 * pg_catalog.random())::pg_catalog.int4' "
	"WHEN t.typname IN ('int8', 'numeric') THEN '(-9e15 * pg_catalog.random())::pg_catalog.int8' "
	"ELSE pg_catalog.format('pg_catalog.left(pg_catalog.md5(pg_catalog.random()::text), %s)', "
	"CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 32 END) END "
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
	"ORDER BY u.indexrelid, a.attnotnull, a.attnum";

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
		};
	*ret_count = (size_t)count;
	return LS_OK;
}

void ls_pgd_add_giving(const struct ls_pgd_giving *giving, size_t count, struct ls_buf *out)
{
	for (size_t i = 0; i < count; i++) {
		ls_buf_add_text(out, i ? ", " : "");
		ls_buf_add_str(out, giving[i].name);
		ls_buf_add_text(out, " = ");
		ls_buf_add_str(out, giving[i].value);
	}
}

/* ---- the table ---- */

static void add_table(const struct ls_pgd *dst, struct ls_buf *out)
{
	ls_pgd_add_table(out, dst->context->ledger_schema, "sync_waiting");
}

/* add_where names the rows of one partition. */
static void add_where(const struct ls_pgd *dst, const struct ls_mark *mark, const char *table, struct ls_buf *out)
{
	ls_buf_printf(out, "%sdestination = ", table);
	ls_pg_add_literal(out, ls_str_of(dst->context->name));
	ls_buf_printf(out, " AND %stopic = ", table);
	ls_pg_add_literal(out, mark->topic);
	ls_buf_printf(out, " AND %spartition = %d", table, (int)mark->partition);
}

static void add_wait(const struct ls_pgd *dst, const struct ls_slice *slice, const struct ls_wait *wait,
		     struct ls_arena *arena, struct ls_buf *out)
{
	ls_buf_add_char(out, '(');
	ls_pg_add_literal(out, ls_str_of(dst->context->name));
	ls_buf_add_char(out, ',');
	ls_pg_add_literal(out, slice->mark.topic);
	ls_buf_printf(out, ",%d,%lld,", (int)slice->mark.partition, (long long)wait->offset);
	ls_pg_add_literal(out, ls_pgd_clean(arena, wait->entity_id));
	ls_buf_add_char(out, ',');
	ls_pg_add_literal(out, ls_pgd_clean(arena, wait->event_id));
	ls_buf_printf(out, ",'%s',", wait->code);
	ls_pg_add_literal(out, ls_pgd_clean(arena, wait->reason));
	ls_buf_add_char(out, ')');
}

void ls_pgd_add_waits(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena)
{
	struct ls_buf *sql = &dst->sql;

	if (slice->wait_count) {
		ls_buf_add_text(sql, "INSERT INTO ");
		add_table(dst, sql);
		ls_buf_add_text(sql, " (destination, topic, partition, \"offset\", entity_id, event_id, code, reason) "
				     "VALUES ");
	}
	for (size_t i = 0; i < slice->wait_count; i++) {
		ls_buf_add_text(sql, i ? ",\n" : "");
		add_wait(dst, slice, &slice->wait[i], arena, sql);
	}
	if (slice->wait_count)
		ls_buf_add_text(sql, " ON CONFLICT (destination, topic, partition, \"offset\") DO UPDATE SET "
				     "code = EXCLUDED.code, reason = EXCLUDED.reason, since = pg_catalog.now();\n");
	if (!slice->done_count)
		return;
	ls_buf_add_text(sql, "DELETE FROM ");
	add_table(dst, sql);
	ls_buf_add_text(sql, " WHERE ");
	add_where(dst, &slice->mark, "", sql);
	ls_buf_add_text(sql, " AND \"offset\" IN (");
	for (size_t i = 0; i < slice->done_count; i++)
		ls_buf_printf(sql, i ? ",%lld" : "%lld", (long long)slice->done[i]);
	ls_buf_add_text(sql, ");\n");
}

static void read_wait(const PGresult *res, int row, struct ls_arena *arena, struct ls_wait *wait)
{
	*wait = (struct ls_wait){
		.topic = ls_arena_str(arena, ls_str_of(PQgetvalue(res, row, 0))),
		.partition = (int32_t)strtol(PQgetvalue(res, row, 1), NULL, 10),
		.offset = strtoll(PQgetvalue(res, row, 2), NULL, 10),
		.entity_id = ls_arena_str(arena, ls_str_of(PQgetvalue(res, row, 3))),
		.event_id = ls_arena_str(arena, ls_str_of(PQgetvalue(res, row, 4))),
		.reason = ls_arena_str(arena, ls_str_of(PQgetvalue(res, row, 6))),
		.given_up = *PQgetvalue(res, row, 7) == 't',
	};
	(void)snprintf(wait->code, sizeof wait->code, "%s", PQgetvalue(res, row, 5));
}

/* What stands at or above a mark is of a mark that was set back, and will be read again. */
enum ls_class ls_pgd_waits(struct ls_pgd *dst, struct ls_arena *arena, struct ls_wait **ret, size_t *ret_count,
			   struct ls_error *err)
{
	struct ls_buf *sql = &dst->sql;
	LS_PGRESULT res = NULL;
	enum ls_class class;

	ls_buf_clear(sql);
	ls_buf_add_text(sql, "DELETE FROM ");
	add_table(dst, sql);
	ls_buf_add_text(sql, " w USING ");
	ls_pgd_add_table(sql, dst->context->ledger_schema, "sync_offsets");
	ls_buf_add_text(sql, " o WHERE o.destination = w.destination AND o.topic = w.topic AND o.partition = "
			     "w.partition AND w.\"offset\" >= o.next_offset AND w.destination = ");
	ls_pg_add_literal(sql, ls_str_of(dst->context->name));
	ls_buf_add_text(sql, "; SELECT topic, partition, \"offset\", entity_id, event_id, code, reason, given_up IS "
			     "NOT NULL FROM ");
	add_table(dst, sql);
	ls_buf_add_text(sql, " WHERE destination = ");
	ls_pg_add_literal(sql, ls_str_of(dst->context->name));
	ls_buf_add_text(sql, " ORDER BY topic, partition, \"offset\"");
	class = ls_pg_exec(dst->conn, sql->ptr, &res, err);
	if (class) {
		ls_pgd_settle(dst);
		return ls_fail_in(err, "destination \"%s\": could not read what waits there", dst->context->name);
	}
	*ret_count = (size_t)PQntuples(res);
	*ret = ls_arena_alloc(arena, sizeof(**ret) * (*ret_count + 1));
	for (size_t i = 0; i < *ret_count; i++)
		read_wait(res, (int)i, arena, &(*ret)[i]);
	return LS_OK;
}

/* ---- giving up values, and having them back ---- */

struct yield {
	struct ls_pgd *dst;
	const struct ls_slice *slice;
	const struct ls_write *write;
	const struct ls_pgd_target *target;
	const struct ls_pgd_giving *giving;
	size_t giving_count;
	struct ls_arena *arena;
	struct ls_buf *out;
};

static void add_row_match(const struct yield *y)
{
	const struct ls_mapping *mapping = y->write->mapping;

	for (size_t i = 0; i < mapping->key_count; i++) {
		ls_buf_add_text(y->out, i ? " AND d." : "d.");
		ls_pg_add_ident(y->out, ls_mapping_place(mapping, mapping->key[i]));
		ls_buf_add_text(y->out, " = ");
		ls_pg_add_literal(y->out, ls_pgd_clean(y->arena, y->write->row.value[i].text));
	}
}

static void add_this_wait(const struct yield *y, const char *more)
{
	add_where(y->dst, &y->slice->mark, "w.", y->out);
	ls_buf_printf(y->out, " AND w.\"offset\" = %lld%s", (long long)y->slice->wait[y->write->entry].offset, more);
}

/* Only where somebody else waits for a unique value: one that waits alone keeps its row as it is. */
static void add_yield(const struct yield *y)
{
	struct ls_buf *out = y->out;

	ls_buf_add_text(out, "IF EXISTS (SELECT FROM ");
	add_table(y->dst, out);
	ls_buf_add_text(out, " w WHERE w.code = '23505' AND w.destination = ");
	ls_pg_add_literal(out, ls_str_of(y->dst->context->name));
	ls_buf_add_text(out, " AND NOT (");
	add_this_wait(y, "");
	ls_buf_add_text(out, ")) THEN UPDATE ");
	add_table(y->dst, out);
	ls_buf_add_text(out, " w SET given_up = pg_catalog.to_jsonb(o) FROM (SELECT ");
	for (size_t i = 0; i < y->giving_count; i++) {
		ls_buf_add_text(out, i ? ", d." : "d.");
		ls_buf_add_str(out, y->giving[i].name);
	}
	ls_buf_add_text(out, " FROM ");
	ls_pgd_add_table(out, y->target->schema, y->target->table);
	ls_buf_add_text(out, " d WHERE ");
	add_row_match(y);
	ls_buf_add_text(out, ") o WHERE ");
	add_this_wait(y, " AND w.given_up IS NULL");
	ls_buf_add_text(out, "; IF FOUND THEN UPDATE ");
	ls_pgd_add_table(out, y->target->schema, y->target->table);
	ls_buf_add_text(out, " d SET ");
	ls_pgd_add_giving(y->giving, y->giving_count, out);
	ls_buf_add_text(out, " WHERE ");
	add_row_match(y);
	ls_buf_add_text(out, "; END IF; END IF; ");
}

static void add_back(const struct yield *y)
{
	struct ls_buf *out = y->out;

	ls_buf_add_text(out, "UPDATE ");
	ls_pgd_add_table(out, y->target->schema, y->target->table);
	ls_buf_add_text(out, " d SET ");
	for (size_t i = 0; i < y->giving_count; i++) {
		ls_buf_add_text(out, i ? ", " : "");
		ls_buf_add_str(out, y->giving[i].name);
		ls_buf_add_text(out, " = CASE WHEN pg_catalog.jsonb_exists(w.given_up, ");
		ls_buf_add_str(out, y->giving[i].literal);
		ls_buf_add_text(out, ") THEN (pg_catalog.jsonb_populate_record(NULL::");
		ls_pgd_add_table(out, y->target->schema, y->target->table);
		ls_buf_add_text(out, ", w.given_up)).");
		ls_buf_add_str(out, y->giving[i].name);
		ls_buf_add_text(out, " ELSE d.");
		ls_buf_add_str(out, y->giving[i].name);
		ls_buf_add_text(out, " END");
	}
	ls_buf_add_text(out, " FROM ");
	add_table(y->dst, out);
	ls_buf_add_text(out, " w WHERE ");
	add_row_match(y);
	ls_buf_add_text(out, " AND ");
	add_this_wait(y, " AND w.given_up IS NOT NULL; UPDATE ");
	add_table(y->dst, out);
	ls_buf_add_text(out, " w SET given_up = NULL WHERE ");
	add_this_wait(y, "; ");
}

/* Triggers of the user are left out where the role may do so: they would see a change that nobody made. */
static const char yield_open[] =
	"DECLARE lockstep_role text := pg_catalog.current_setting('session_replication_role'); BEGIN "
	"BEGIN PERFORM pg_catalog.set_config('session_replication_role', 'replica', true); "
	"EXCEPTION WHEN insufficient_privilege THEN NULL; END; ";
static const char yield_close[] = "IF pg_catalog.current_setting('session_replication_role') <> lockstep_role THEN "
				  "PERFORM pg_catalog.set_config('session_replication_role', lockstep_role, true); "
				  "END IF; END";

static enum ls_class add_writes(struct ls_pgd *dst, const struct ls_slice *slice, bool back, struct ls_arena *arena,
				struct ls_error *err)
{
	struct ls_pgd_giving *giving = NULL;
	struct ls_pgd_target *target = NULL, *last = NULL;
	size_t count = 0;

	for (size_t i = 0; i < slice->write_count; i++) {
		enum ls_class class = ls_pgd_target_get(dst, slice->write[i].mapping, NULL, &target, err);

		if (!class && target != last)
			class = ls_pgd_giving(dst, target, arena, &giving, &count, err);
		if (class)
			return class;
		last = target;
		if (!count)
			continue;
		ls_buf_add_text(&dst->body, "BEGIN ");
		(back ? add_back : add_yield)(
			&(struct yield){ dst, slice, &slice->write[i], target, giving, count, arena, &dst->body });
		ls_buf_add_text(&dst->body, "EXCEPTION WHEN integrity_constraint_violation OR data_exception OR "
					    "raise_exception THEN NULL; END; ");
	}
	return LS_OK;
}

enum ls_class ls_pgd_yield(struct ls_pgd *dst, const struct ls_slice *slice, bool back, struct ls_arena *arena,
			   struct ls_error *err)
{
	struct ls_str body;
	enum ls_class class = ls_pgd_ready(dst, err);

	if (class)
		return class;
	ls_buf_clear(&dst->body);
	ls_buf_add_text(&dst->body, yield_open);
	class = add_writes(dst, slice, back, arena, err);
	if (class)
		return class;
	ls_buf_add_text(&dst->body, yield_close);
	body = ls_arena_str(arena, ls_buf_str(&dst->body));
	ls_buf_clear(&dst->sql);
	ls_buf_add_text(&dst->sql, "BEGIN;\n");
	ls_pgd_add_mark(dst, slice, arena);
	ls_buf_add_text(&dst->sql, "DO ");
	ls_pg_add_literal(&dst->sql, body);
	ls_buf_add_text(&dst->sql, ";\nCOMMIT");
	class = ls_pg_exec(dst->conn, dst->sql.ptr, NULL, err);
	if (class)
		ls_pgd_settle(dst);
	return class;
}
