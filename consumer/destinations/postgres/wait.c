/* Events that wait for rows of other partitions: written down in sync_waiting, in the transaction that moves the mark
 * past them. */
#include "destinations/postgres/internal.h"

#include <stdio.h>
#include <stdlib.h>

void ls_pgd_add_waiting(const struct ls_pgd *dst, struct ls_buf *out)
{
	ls_pgd_add_table(out, dst->context->ledger_schema, "sync_waiting");
}

void ls_pgd_add_waiting_of(const struct ls_pgd *dst, const struct ls_mark *mark, const char *table, struct ls_buf *out)
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
	ls_buf_add_char(out, ',');
	ls_pg_add_literal(out, ls_pgd_clean(arena, wait->needs));
	ls_buf_add_char(out, ')');
}

void ls_pgd_add_waits(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena)
{
	struct ls_buf *sql = &dst->sql;

	if (slice->wait_count) {
		ls_buf_add_text(sql, "INSERT INTO ");
		ls_pgd_add_waiting(dst, sql);
		ls_buf_add_text(
			sql, " (destination, topic, partition, \"offset\", entity_id, event_id, code, reason, needs) "
			     "VALUES ");
	}
	for (size_t i = 0; i < slice->wait_count; i++) {
		ls_buf_add_text(sql, i ? ",\n" : "");
		add_wait(dst, slice, &slice->wait[i], arena, sql);
	}
	if (slice->wait_count)
		ls_buf_add_text(sql, " ON CONFLICT (destination, topic, partition, \"offset\") DO UPDATE SET "
				     "code = EXCLUDED.code, reason = EXCLUDED.reason, needs = EXCLUDED.needs;\n");
	if (!slice->done_count)
		return;
	ls_buf_add_text(sql, "DELETE FROM ");
	ls_pgd_add_waiting(dst, sql);
	ls_buf_add_text(sql, " WHERE ");
	ls_pgd_add_waiting_of(dst, &slice->mark, "", sql);
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
	ls_pgd_add_waiting(dst, sql);
	ls_buf_add_text(sql, " w USING ");
	ls_pgd_add_table(sql, dst->context->ledger_schema, "sync_offsets");
	ls_buf_add_text(sql, " o WHERE o.destination = w.destination AND o.topic = w.topic AND o.partition = "
			     "w.partition AND w.\"offset\" >= o.next_offset AND w.destination = ");
	ls_pg_add_literal(sql, ls_str_of(dst->context->name));
	ls_buf_add_text(sql, "; SELECT topic, partition, \"offset\", entity_id, event_id, code, reason FROM ");
	ls_pgd_add_waiting(dst, sql);
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
