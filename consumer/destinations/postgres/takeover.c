/* What a sink that stands still leaves behind: an open transaction on marks that have another owner by now.
 *
 * A process that was stopped, or cut off, between BEGIN and COMMIT keeps its session, because the server waits for the
 * rest of a COPY as long as the connection lives, and no timeout of the server ends that. Its rows stay locked, so the
 * new owner of the partitions could not even claim them. It ends such a session; the old owner would be fenced
 * anyway. */
#include "destinations/postgres/internal.h"

#include <stdlib.h>

static void add_marks(struct ls_buf *sql, const struct ls_mark *mark, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		ls_buf_add_text(sql, i ? ", (" : "(");
		ls_pg_add_literal(sql, mark[i].topic);
		ls_buf_printf(sql, "::text, %d)", (int)mark[i].partition);
	}
}

/* Ours, by role and name; holding the row, by the transaction that last touched it; waiting for its client. */
static void add_query(struct ls_pgd *dst, const struct ls_mark *mark, size_t count)
{
	struct ls_buf *sql = &dst->sql;

	ls_buf_clear(sql);
	ls_buf_add_text(sql, "SELECT pg_catalog.pg_terminate_backend(pid) FROM (SELECT DISTINCT a.pid FROM ");
	ls_pgd_add_table(sql, dst->context->ledger_schema, "sync_offsets");
	ls_buf_add_text(sql, " o JOIN pg_catalog.pg_locks l ON l.locktype = 'transactionid' AND l.granted AND "
			     "l.mode = 'ExclusiveLock' AND l.transactionid = o.xmax "
			     "JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid WHERE o.destination = ");
	ls_pg_add_literal(sql, ls_str_of(dst->context->name));
	ls_buf_add_text(sql, " AND a.pid <> pg_catalog.pg_backend_pid() AND a.usename = CURRENT_USER AND "
			     "a.application_name = pg_catalog.current_setting('application_name') AND "
			     "a.wait_event_type = 'Client' AND (o.topic, o.partition) IN (VALUES ");
	add_marks(sql, mark, count);
	ls_buf_add_text(sql, ")) s");
}

enum ls_class ls_pgd_end_stuck(struct ls_pgd *dst, const struct ls_mark *mark, size_t count, struct ls_error *err)
{
	LS_PGRESULT res = NULL;

	add_query(dst, mark, count);
	return ls_pg_exec(dst->conn, dst->sql.ptr, &res, err);
}
