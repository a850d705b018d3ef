/* What the mark passed without effect, for a reason that the log does not tell: refused, or known by its event id.
 * Noted at its offset in the transaction that moved the mark, so that a sink that folds those events again leaves them
 * out, and a restored backup brings back just the notes that belong to it. */
#include "destinations/postgres/internal.h"

#include "core/map.h"

/* position is the key of a note, told from an event id by its lead. */
static struct ls_str position(const struct ls_mark *mark, int64_t offset, struct ls_arena *arena)
{
	return ls_arena_printf(arena, "passed:%.*s-%d-%lld", LS_ARG(mark->topic), (int)mark->partition,
			       (long long)offset);
}

static void add_row(struct ls_pgd *dst, struct ls_str id, const char *status, struct ls_str error,
		    struct ls_arena *arena, bool *first)
{
	struct ls_buf *sql = &dst->sql;

	if (*first) {
		ls_buf_add_text(sql, "INSERT INTO ");
		ls_pgd_add_table(sql, dst->context->ledger_schema, "sync_processed_events");
		ls_buf_add_text(sql, " (event_id, destination, status, error_message) VALUES ");
	}
	ls_buf_add_text(sql, *first ? "(" : ",\n(");
	*first = false;
	ls_pg_add_literal(sql, ls_pgd_clean(arena, id));
	ls_buf_add_text(sql, ", ");
	ls_pg_add_literal(sql, ls_str_of(dst->context->name));
	ls_buf_printf(sql, ", '%s', ", status);
	if (error.len)
		ls_pg_add_literal(sql, ls_pgd_clean(arena, error));
	else
		ls_buf_add_text(sql, "NULL");
	ls_buf_add_char(sql, ')');
}

void ls_pgd_add_passed(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena)
{
	bool first = true;

	for (size_t i = 0; i < slice->entry_count; i++) {
		const struct ls_entry *entry = &slice->entry[i];

		if (entry->passed_over)
			add_row(dst, position(&slice->mark, entry->offset, arena), "passed", LS_STR(""), arena, &first);
		if (entry->status == LS_ENTRY_DEAD && dst->context->ledger_full)
			add_row(dst, entry->event_id, "dead", entry->error, arena, &first);
	}
	if (!first)
		ls_buf_add_text(&dst->sql, " ON CONFLICT (event_id, destination) DO NOTHING;\n");
}

static void add_question(struct ls_pgd *dst, const struct ls_mark *mark, const struct ls_str *id, size_t count)
{
	struct ls_buf *sql = &dst->sql;

	ls_buf_clear(sql);
	ls_buf_add_text(sql, "SELECT event_id FROM ");
	ls_pgd_add_table(sql, dst->context->ledger_schema, "sync_processed_events");
	ls_buf_add_text(sql, " WHERE status = 'passed' AND destination = ");
	ls_pg_add_literal(sql, ls_str_of(dst->context->name));
	ls_buf_add_text(sql, " AND event_id IN (");
	for (size_t i = 0; i < count; i++) {
		ls_buf_add_text(sql, i ? "," : "");
		ls_pg_add_literal(sql, id[i]);
	}
	/* The notes are those of this owner's mark only while it stands as claimed. */
	ls_buf_add_text(sql, ") UNION ALL SELECT '' FROM ");
	ls_pgd_add_table(sql, dst->context->ledger_schema, "sync_offsets");
	ls_buf_add_text(sql, " WHERE destination = ");
	ls_pg_add_literal(sql, ls_str_of(dst->context->name));
	ls_buf_add_text(sql, " AND topic = ");
	ls_pg_add_literal(sql, mark->topic);
	ls_buf_printf(sql, " AND partition = %d AND ", (int)mark->partition);
	ls_pgd_add_owned(dst, mark, sql);
}

enum ls_class ls_pgd_passed(struct ls_pgd *dst, const struct ls_mark *mark, const int64_t *offset, size_t count,
			    struct ls_arena *arena, bool *ret, struct ls_error *err)
{
	struct ls_str *id = ls_arena_alloc(arena, (count + 1) * sizeof *id);
	struct ls_map found;
	LS_PGRESULT res = NULL;
	enum ls_class class;
	bool owned;

	for (size_t i = 0; i < count; i++)
		id[i] = position(mark, offset[i], arena);
	add_question(dst, mark, id, count);
	class = ls_pg_exec(dst->conn, dst->sql.ptr, &res, err);
	if (class) {
		ls_pgd_settle(dst);
		return ls_fail_in(err,
				  "destination \"%s\", topic %.*s partition %d: could not read what was passed over",
				  dst->context->name, LS_ARG(mark->topic), (int)mark->partition);
	}
	ls_map_init(&found);
	for (int i = 0; i < PQntuples(res); i++)
		ls_map_at(&found, ls_str_of(PQgetvalue(res, i, 0)))->value = dst;
	for (size_t i = 0; i < count; i++)
		ret[i] = ls_map_get(&found, id[i]) != NULL;
	owned = ls_map_get(&found, LS_STR("")) != NULL;
	ls_map_release(&found);
	return owned ? LS_OK
		     : ls_fail(err, LS_FENCED, "LS001",
			       "destination \"%s\": topic %.*s partition %d stands no longer at offset %lld under "
			       "epoch %lld; another sink has taken it over",
			       dst->context->name, LS_ARG(mark->topic), (int)mark->partition,
			       (long long)mark->next_offset, (long long)mark->owner_epoch);
}
