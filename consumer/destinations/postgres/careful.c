/* A slice written row by row in one transaction: finds the rows that a constraint refuses as things stand, in whatever
 * order the others have to go, and lets rows of the same slice swap their unique values. */
#include "destinations/postgres/internal.h"

#include <stdio.h>
#include <stdlib.h>

/* Chains longer than this many passes are left for the next attempt. */
enum { PASSES = 20 };

static const char opening[] =
	"#variable_conflict use_column\n"
	"DECLARE lockstep_row integer; lockstep_pass integer := 0; lockstep_moved boolean; lockstep_gave boolean := "
	"false; lockstep_code text; lockstep_text text; lockstep_detail text; lockstep_rows bigint := 0;\n" LS_PGD_ROLE
		LS_PGD_WRITTEN "BEGIN SET CONSTRAINTS ALL IMMEDIATE;\n"
	"LOOP lockstep_pass := lockstep_pass + 1; lockstep_moved := false;\n";

/* What was counted in a row's block would outlive the block's end by an exception: it counts from here on only. */
static const char refusing[] =
	"lockstep_rows := lockstep_rows + lockstep_written;\n"
	"IF lockstep_pass > 1 THEN DELETE FROM pg_temp.lockstep_refused r WHERE r.line = lockstep_row; END IF;\n"
	"lockstep_moved := true;\n"
	"EXCEPTION WHEN integrity_constraint_violation OR data_exception OR raise_exception THEN\n"
	"GET STACKED DIAGNOSTICS lockstep_code = RETURNED_SQLSTATE, lockstep_text = MESSAGE_TEXT, lockstep_detail = "
	"PG_EXCEPTION_DETAIL;\n"
	"INSERT INTO pg_temp.lockstep_refused AS r (line, code, reason, needs) VALUES (lockstep_row, lockstep_code, "
	"pg_catalog.left(lockstep_text || CASE WHEN lockstep_detail <> '' THEN ': ' || lockstep_detail ELSE '' END, "
	"300), CASE WHEN lockstep_code = '23503' THEN pg_catalog.substring(lockstep_detail, '=\\((.*)\\)') END) "
	"ON CONFLICT (line) DO UPDATE SET code = EXCLUDED.code, reason = EXCLUDED.reason, needs = EXCLUDED.needs;\n"
	"END; END LOOP;\n";

static const char more[] =
	"EXIT WHEN NOT EXISTS (SELECT FROM pg_temp.lockstep_refused r WHERE r.code IN ('23503', '23505', '23P01'));\n"
	"EXIT WHEN lockstep_pass >= %d;\n"
	"CONTINUE WHEN lockstep_moved;\n"
	"EXIT WHEN lockstep_gave OR NOT EXISTS (SELECT FROM pg_temp.lockstep_refused r WHERE r.code IN ('23505', "
	"'23P01'));\n"
	"lockstep_gave := true;\n";

static void add_rows(const struct ls_pgd_shape *shape, const char *condition, struct ls_buf *out)
{
	ls_buf_printf(out,
		      "FOR lockstep_row IN SELECT c.lockstep_write FROM pg_temp.%s_c c WHERE %sEXISTS (SELECT FROM "
		      "pg_temp.lockstep_refused r WHERE r.line = c.lockstep_write AND r.code IN ('23503', '23505', "
		      "'23P01')) ORDER BY 1 LOOP lockstep_written := 0; BEGIN\n",
		      shape->stage, condition);
}

static enum ls_class add_gives(struct ls_pgd *dst, const struct ls_pgd_shape *shape, struct ls_arena *arena,
			       struct ls_error *err)
{
	struct ls_pgd_target *target = NULL;
	struct ls_pgd_giving *giving = NULL;
	size_t count = 0, unique = 0;
	enum ls_class class = ls_pgd_target_get(dst, shape->mapping, NULL, &target, err);

	if (!class)
		class = ls_pgd_giving(dst, target, arena, &giving, &count, err);
	for (size_t i = 0; i < count; i++)
		unique += !giving[i].reference;
	if (class || !unique)
		return class;
	add_rows(shape, "", &dst->body);
	ls_buf_add_text(&dst->body, "UPDATE ");
	ls_pgd_add_table(&dst->body, target->schema, target->table);
	ls_buf_add_text(&dst->body, " d SET ");
	ls_pgd_add_giving(giving, count, false, &dst->body);
	ls_buf_printf(&dst->body, " FROM pg_temp.%s_c s WHERE s.lockstep_write = lockstep_row AND ", shape->stage);
	ls_buf_add_str(&dst->body, shape->key_match);
	ls_buf_add_text(&dst->body, ";\nEXCEPTION WHEN integrity_constraint_violation OR data_exception OR "
				    "raise_exception THEN NULL; END; END LOOP;\n");
	return LS_OK;
}

void ls_pgd_add_numbered(struct ls_pgd *dst, struct ls_pgd_shape *const *shape, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		ls_buf_printf(&dst->sql,
			      "CREATE TEMPORARY TABLE %s_c (LIKE pg_temp.%s, lockstep_write integer PRIMARY KEY) ON "
			      "COMMIT DROP;\n",
			      shape[i]->stage, shape[i]->stage);
		ls_buf_add_str(&dst->sql, shape[i]->careful_copy);
	}
}

enum ls_class ls_pgd_add_careful(struct ls_pgd *dst, struct ls_pgd_shape *const *shape, size_t count,
				 struct ls_arena *arena, struct ls_error *err)
{
	enum ls_class class = LS_OK;
	struct ls_str body;

	ls_buf_add_text(&dst->sql, "CREATE TEMPORARY TABLE lockstep_refused (line integer PRIMARY KEY, code text, "
				   "reason text, needs text) ON COMMIT DROP;\n");
	ls_buf_clear(&dst->body);
	ls_buf_add_text(&dst->body, opening);
	ls_pgd_add_numbered(dst, shape, count);
	for (size_t i = 0; i < count; i++) {
		add_rows(shape[i], "lockstep_pass = 1 OR ", &dst->body);
		ls_buf_add_str(&dst->body, shape[i]->careful);
		ls_buf_add_text(&dst->body, refusing);
	}
	ls_buf_printf(&dst->body, more, PASSES);
	ls_pgd_add_silence(&dst->body, true);
	for (size_t i = 0; !class && i < count; i++)
		class = add_gives(dst, shape[i], arena, err);
	if (class)
		return class;
	ls_pgd_add_silence(&dst->body, false);
	ls_buf_add_text(&dst->body, "END LOOP; PERFORM pg_catalog.set_config('lockstep.rows', lockstep_rows::text, "
				    "true); END");
	body = ls_arena_str(arena, ls_buf_str(&dst->body));
	ls_buf_add_text(&dst->sql, "DO ");
	ls_pg_add_literal(&dst->sql, body);
	ls_buf_add_text(&dst->sql, ";\nSELECT pg_catalog.current_setting('lockstep.rows');\n"
				   "SELECT line, code, reason, needs FROM pg_temp.lockstep_refused ORDER BY line");
	return LS_OK;
}

void ls_pgd_read_careful(const PGresult *res, struct ls_arena *arena, struct ls_outcome *ret)
{
	size_t count = (size_t)PQntuples(res);

	if (PQnfields(res) == 1) {
		ret->rows = (size_t)strtoull(PQgetvalue(res, 0, 0), NULL, 10);
		return;
	}
	ret->refused = ls_arena_alloc(arena, sizeof(*ret->refused) * (count + 1));
	ret->refused_count = count;
	for (size_t i = 0; i < count; i++) {
		struct ls_refused *refused = &ret->refused[i];

		refused->write = (size_t)strtoull(PQgetvalue(res, (int)i, 0), NULL, 10);
		refused->reason = ls_arena_str(arena, ls_str_of(PQgetvalue(res, (int)i, 2)));
		refused->needs = ls_arena_str(arena, ls_str_of(PQgetvalue(res, (int)i, 3)));
		(void)snprintf(refused->code, sizeof refused->code, "%s", PQgetvalue(res, (int)i, 1));
	}
}
