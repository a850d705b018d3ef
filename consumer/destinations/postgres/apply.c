/* One slice as one transaction: grouped by shape, sent as one script, COPY data streamed where the server asks for it.
 *
 * What the server says to a script is kept in struct verdict; what it means for the slice is decided in judge(). */
#include "destinations/postgres/internal.h"

#include "core/failpoint.h"

#include <stdio.h>
#include <stdlib.h>

enum { CHUNK_BYTES = 64 * 1024, NOWHERE = -1 };

#define END SIZE_MAX

struct plan {
	const struct ls_slice *slice;
	struct ls_arena *arena;
	struct ls_pgd_shape **shape; /* in the order of the script: deletes first, they free unique values */
	size_t shape_count;
	size_t *next; /* per write: the next one of the same shape, END */
	bool ledger;
};

struct verdict {
	enum ls_class class;
	struct ls_error err;
	bool ledger_conflict; /* an event id is in the ledger already */
	size_t failed_write;
	size_t rows;
	bool committed;
	struct ls_outcome careful; /* of a careful slice: how many rows changed, which cannot be written now */
};

/* ---- grouping ---- */

static void append(struct plan *plan, struct ls_pgd_shape *shape, size_t write)
{
	plan->next[write] = END;
	if (shape->writes++ == 0)
		shape->head = write;
	else
		plan->next[shape->tail] = write;
	shape->tail = write;
}

static void enter(struct ls_pgd *dst, struct plan *plan, struct ls_pgd_shape *shape)
{
	if (shape->slice == dst->slice)
		return;
	shape->slice = dst->slice;
	shape->writes = 0;
	plan->shape[plan->shape_count++] = shape;
}

static void deletes_first(struct plan *plan)
{
	size_t to = 0;

	for (size_t i = 0; i < plan->shape_count; i++) {
		struct ls_pgd_shape *shape = plan->shape[i];

		if (shape->op != LS_WRITE_DELETE)
			continue;
		memmove(&plan->shape[to + 1], &plan->shape[to], (i - to) * sizeof(struct ls_pgd_shape *));
		plan->shape[to++] = shape;
	}
}

static enum ls_class group(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena, struct plan *plan,
			   struct ls_outcome *ret, struct ls_error *err)
{
	*plan = (struct plan){ .slice = slice, .arena = arena };
	plan->shape = ls_arena_alloc(arena, sizeof(struct ls_pgd_shape *) * (slice->write_count + 1));
	plan->next = ls_arena_alloc(arena, sizeof(size_t) * (slice->write_count + 1));
	dst->slice++;
	for (size_t i = 0; i < slice->write_count; i++) {
		struct ls_pgd_shape *shape = NULL;
		enum ls_class class = ls_pgd_shape_get(dst, &slice->write[i], &shape, err);

		if (class == LS_POISON)
			ret->failed_write = i;
		if (class)
			return class;
		enter(dst, plan, shape);
		append(plan, shape, i);
	}
	deletes_first(plan);
	for (size_t i = 0; i < slice->entry_count && dst->context->ledger_full; i++)
		plan->ledger |= ls_pgd_in_ledger(slice->entry[i].status);
	return LS_OK;
}

/* ---- the script ---- */

static void add_ledger_copy(struct ls_pgd *dst)
{
	ls_buf_add_text(&dst->sql, "COPY ");
	ls_pgd_add_table(&dst->sql, dst->context->ledger_schema, "sync_processed_events");
	ls_buf_add_text(&dst->sql, " (event_id, destination, status, error_message) FROM STDIN;\n");
}

static enum ls_class write_script(struct ls_pgd *dst, const struct plan *plan, bool forget_dead, struct ls_error *err)
{
	ls_buf_clear(&dst->sql);
	ls_buf_add_text(&dst->sql, "BEGIN;\n");
	ls_pgd_add_mark(dst, plan->slice, plan->arena);
	ls_pgd_add_waits(dst, plan->slice, plan->arena);
	ls_pgd_add_conflicts(dst, plan->slice, plan->arena);
	if (forget_dead)
		ls_pgd_add_forget_dead(dst, plan->slice, plan->arena);
	if (plan->ledger)
		add_ledger_copy(dst);
	ls_pgd_add_passed(dst, plan->slice, plan->arena); /* behind it: who was applied in this slice is not dead */
	if (plan->slice->careful)
		return ls_pgd_add_careful(dst, plan->shape, plan->shape_count, plan->arena, err);
	for (size_t i = 0; i < plan->shape_count; i++) {
		ls_buf_add_str(&dst->sql, plan->shape[i]->copy);
		ls_buf_add_str(&dst->sql, plan->shape[i]->statements);
	}
	ls_buf_add_text(&dst->sql, "COMMIT");
	return LS_OK;
}

/* ---- feeding COPY ---- */

/* put_if sends what has gathered once it is worth a send. */
static bool put_if(struct ls_pgd *dst, size_t least)
{
	if (dst->row.len < least || dst->row.len == 0)
		return true;
	if (PQputCopyData(dst->conn, dst->row.ptr, (int)dst->row.len) != 1)
		return false;
	ls_buf_clear(&dst->row);
	return true;
}

static const char *status_text(enum ls_entry_status status)
{
	static const char *const text[] = { "\tapplied\t", "\tstale\t", "\tdead\t", "\tduplicate\t" };

	return text[status];
}

static bool feed_ledger(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena)
{
	struct ls_str name = ls_str_of(dst->context->name);

	for (size_t i = 0; i < slice->entry_count; i++) {
		const struct ls_entry *entry = &slice->entry[i];

		if (!ls_pgd_in_ledger(entry->status))
			continue;
		ls_pgd_copy_text(&dst->row, ls_pgd_clean(arena, entry->event_id));
		ls_buf_add_char(&dst->row, '\t');
		ls_pgd_copy_text(&dst->row, name);
		ls_buf_add_text(&dst->row, status_text(entry->status));
		if (entry->error.len)
			ls_pgd_copy_text(&dst->row, ls_pgd_clean(arena, entry->error));
		else
			ls_buf_add(&dst->row, "\\N", 2);
		ls_buf_add_char(&dst->row, '\n');
		if (!put_if(dst, CHUNK_BYTES))
			return false;
	}
	return put_if(dst, 1);
}

/* feed_shape sends the rows of one shape; *ret_full: the write that is too large to be sent, END. */
static bool feed_shape(struct ls_pgd *dst, const struct plan *plan, const struct ls_pgd_shape *shape, size_t *ret_full)
{
	for (size_t i = shape->head; i != END; i = plan->next[i]) {
		if (plan->slice->careful)
			ls_buf_printf(&dst->row, "%zu\t", i);
		ls_pgd_guard_cells(dst, plan->slice, &plan->slice->write[i], &dst->row);
		ls_pgd_copy_row(&dst->row, shape, plan->slice->write[i].row.value);
		if (dst->row.full) {
			*ret_full = i;
			return true;
		}
		if (!put_if(dst, CHUNK_BYTES))
			return false;
	}
	return put_if(dst, 1);
}

/* feed answers the server's request for the data of COPY number `copy` of the script. */
static void feed(struct ls_pgd *dst, const struct plan *plan, size_t copy, struct verdict *verdict)
{
	size_t full = END;
	bool sent;

	LS_FAILPOINT("pg.copy");
	ls_buf_clear(&dst->row);
	if (plan->ledger && copy == 0)
		sent = feed_ledger(dst, plan->slice, plan->arena);
	else
		sent = feed_shape(dst, plan, plan->shape[copy - plan->ledger], &full);
	if (sent && full != END) {
		verdict->failed_write = full;
		verdict->class = ls_fail(&verdict->err, LS_POISON, "54000", "the row is too large to be sent");
	}
	if (sent)
		(void)PQputCopyEnd(dst->conn, full == END ? NULL : "row too large");
	LS_FAILPOINT("pg.copied");
}

/* ---- reading the answers ---- */

static bool starts_with(const char *text, const char *head)
{
	return strncmp(text, head, strlen(head)) == 0;
}

/* failed_line turns COPY's line number into the write that was on that line. */
static size_t failed_line(const struct plan *plan, const struct ls_pgd_shape *shape, const char *context)
{
	char careful[sizeof(shape->stage) + 2];
	size_t line = ls_pgd_copy_line(context, shape->stage), i = shape->head;

	(void)snprintf(careful, sizeof careful, "%s_c", shape->stage);
	if (!line)
		line = ls_pgd_copy_line(context, careful);
	while (line > 1 && i != END) {
		i = plan->next[i];
		line--;
	}
	return line ? i : END;
}

static void note_error(struct ls_pgd *dst, const struct plan *plan, long copy, const PGresult *res,
		       struct verdict *verdict)
{
	const char *table = PQresultErrorField(res, PG_DIAG_TABLE_NAME);
	const char *context = PQresultErrorField(res, PG_DIAG_CONTEXT);

	if (verdict->class)
		return; /* the first one counts */
	verdict->class = ls_pg_check(dst->conn, res, &verdict->err);
	if (verdict->class != LS_POISON)
		return;
	if (plan->ledger && copy == 0 && table && strcmp(table, "sync_processed_events") == 0)
		verdict->ledger_conflict = strcmp(verdict->err.code, "23505") == 0;
	else if (copy >= plan->ledger)
		verdict->failed_write = failed_line(plan, plan->shape[copy - plan->ledger], context);
}

static void note_done(const PGresult *res, bool rows_begun, struct verdict *verdict)
{
	const char *tag = PQcmdStatus((PGresult *)(uintptr_t)res);

	if (strcmp(tag, "BEGIN") == 0)
		LS_FAILPOINT("pg.begun");
	if (strcmp(tag, "DO") == 0)
		LS_FAILPOINT("pg.marked");
	if (strcmp(tag, "COMMIT") == 0)
		verdict->committed = true;
	else if (rows_begun && (starts_with(tag, "INSERT") || starts_with(tag, "UPDATE") || starts_with(tag, "DELETE")))
		verdict->rows += (size_t)strtoull(PQcmdTuples((PGresult *)(uintptr_t)res), NULL, 10);
}

static void run(struct ls_pgd *dst, const struct plan *plan, struct verdict *verdict)
{
	long copy = NOWHERE;

	*verdict = (struct verdict){ .failed_write = END };
	if (!PQsendQuery(dst->conn, dst->sql.ptr)) {
		verdict->class = ls_pg_check(dst->conn, NULL, &verdict->err);
		return;
	}
	for (;;) {
		LS_PGRESULT res = NULL;
		enum ls_class class = ls_pgd_next(dst, &res, &verdict->err);

		if (class)
			verdict->class = class;
		if (class || !res)
			return;
		if (PQresultStatus(res) == PGRES_COPY_IN)
			feed(dst, plan, (size_t)++copy, verdict);
		else if (PQresultStatus(res) == PGRES_FATAL_ERROR)
			note_error(dst, plan, copy, res, verdict);
		else if (PQresultStatus(res) == PGRES_TUPLES_OK && plan->slice->careful)
			ls_pgd_read_careful(res, plan->arena, &verdict->careful);
		else
			note_done(res, copy >= plan->ledger, verdict);
		if (PQstatus(dst->conn) == CONNECTION_BAD) {
			if (!verdict->class)
				verdict->class = ls_pg_check(dst->conn, NULL, &verdict->err);
			return;
		}
	}
}

/* ---- what it means ---- */

static enum ls_class fenced(const struct ls_pgd *dst, const struct ls_slice *slice, struct ls_error *err)
{
	return ls_fail(err, LS_FENCED, "LS001",
		       "destination \"%s\": topic %.*s partition %d stands no longer at offset %lld under "
		       "epoch %lld; another sink has taken it over",
		       dst->context->name, LS_ARG(slice->mark.topic), (int)slice->mark.partition,
		       (long long)slice->mark.next_offset, (long long)slice->mark.owner_epoch);
}

/* say completes the text of an error with where it happened. */
static enum ls_class say(const struct ls_pgd *dst, const struct ls_slice *slice, struct ls_error *err)
{
	if (strcmp(err->code, "LS001") == 0)
		return fenced(dst, slice, err);
	return ls_fail_in(err, "destination \"%s\", topic %.*s partition %d from offset %lld", dst->context->name,
			  LS_ARG(slice->mark.topic), (int)slice->mark.partition, (long long)slice->mark.next_offset);
}

/* stale_catalog: the statements may have been made for a table that has changed since. */
static bool stale_catalog(struct ls_pgd *dst, enum ls_class class, const struct ls_error *err)
{
	if (class == LS_FATAL && (starts_with(err->code, "42") || strcmp(err->code, "0A000") == 0))
		return true;
	return class == LS_POISON && dst->target && dst->conn && ls_pgd_targets_changed(dst);
}

/* end_careful commits when nothing was refused; else nothing of the slice is kept, and the caller takes those out. */
static enum ls_class end_careful(struct ls_pgd *dst, struct verdict *verdict, struct ls_outcome *ret,
				 struct ls_error *err)
{
	enum ls_class class = ls_pg_exec(dst->conn, verdict->careful.refused_count ? "ROLLBACK" : "COMMIT", NULL, err);

	ret->refused = verdict->careful.refused;
	ret->refused_count = verdict->careful.refused_count;
	verdict->rows = ret->refused_count ? 0 : verdict->careful.rows;
	verdict->committed = true;
	return class;
}

/* attempt sends the slice once. *ret_known: the ledger refused an event id. */
static enum ls_class attempt(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena, bool forget_dead,
			     struct ls_outcome *ret, bool *ret_known, struct ls_error *err)
{
	struct verdict verdict;
	struct plan plan;
	enum ls_class class = group(dst, slice, arena, &plan, ret, err);

	if (class)
		return class;
	class = write_script(dst, &plan, forget_dead, err);
	if (class)
		return class;
	if (dst->sql.full)
		return ls_fail(err, LS_FATAL, "54000", "the statements of %zu writes pass 64 MiB: lower batch_size",
			       slice->write_count);
	LS_FAILPOINT_ERROR("pg.before_apply", err);
	run(dst, &plan, &verdict);
	if (slice->careful && !verdict.class)
		verdict.class = end_careful(dst, &verdict, ret, &verdict.err);
	LS_FAILPOINT_ERROR("pg.after_commit", err);
	ret->failed_write = verdict.failed_write;
	ret->rows = verdict.rows;
	*ret_known = verdict.ledger_conflict;
	if (!verdict.class && !verdict.committed)
		return ls_fail(err, LS_RETRY, "commit", "the server did not confirm the commit");
	if (verdict.class)
		*err = verdict.err;
	return verdict.class;
}

/* resolve_known answers a refused event id: those that were really processed go back to the caller, dead ones and
 * nothing else mean that the slice is to be tried again without them. */
static enum ls_class resolve_known(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena,
				   struct ls_outcome *ret, struct ls_error *err)
{
	bool known = false;
	enum ls_class class = ls_pgd_known(dst, slice, arena, ret, err);

	ret->rows = 0;
	if (class || ret->known_count)
		return class;
	class = attempt(dst, slice, arena, true, ret, &known, err);
	if (class)
		ls_pgd_settle(dst);
	if (class && known) /* entered by another sink in between */
		return ls_fail(err, LS_RETRY, "23505", "an event id was entered into the ledger at the same moment");
	return class;
}

static enum ls_class apply_once(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena,
				struct ls_outcome *ret, struct ls_error *err)
{
	bool known = false;
	enum ls_class class = ls_pgd_ready(dst, err);

	*ret = (struct ls_outcome){ .failed_write = END };
	if (class)
		return class;
	class = attempt(dst, slice, arena, false, ret, &known, err);
	if (!class)
		return LS_OK;
	ls_pgd_settle(dst);
	if (known && dst->conn)
		class = resolve_known(dst, slice, arena, ret, err);
	if (class)
		ls_pgd_settle(dst);
	return class;
}

enum ls_class ls_pgd_apply(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena,
			   struct ls_outcome *ret, struct ls_error *err)
{
	struct ls_error first = { .class = LS_OK };
	enum ls_class class;

	ls_pgd_shapes_trim(dst);
	class = apply_once(dst, slice, arena, ret, &first);
	if (class && stale_catalog(dst, class, &first)) {
		ls_pgd_forget(dst);
		class = apply_once(dst, slice, arena, ret, &first);
	}
	if (class) {
		*err = first;
		return say(dst, slice, err);
	}
	ls_pgd_guard_note(dst, &slice->mark);
	if (!ret->known_count)
		ls_pgd_prune(dst, slice->entry_count < 1000);
	return LS_OK;
}

enum ls_class ls_pgd_yield(struct ls_pgd *dst, const struct ls_slice *slice, bool back, struct ls_arena *arena,
			   struct ls_error *err)
{
	struct ls_slice numbered = *slice;
	struct ls_outcome outcome = { 0 };
	struct verdict verdict;
	struct plan plan;
	enum ls_class class;

	numbered.careful = true; /* its stages carry the number of each write */
	ls_pgd_shapes_trim(dst);
	class = ls_pgd_ready(dst, err);
	if (!class)
		class = group(dst, &numbered, arena, &plan, &outcome, err);
	if (class)
		return class;
	ls_buf_clear(&dst->sql);
	ls_buf_add_text(&dst->sql, "BEGIN;\n");
	ls_pgd_add_mark(dst, slice, arena);
	ls_pgd_add_waits(dst, slice, arena);
	ls_pgd_add_numbered(dst, plan.shape, plan.shape_count);
	class = ls_pgd_add_yield(dst, slice, back, arena, err);
	if (class)
		return class;
	ls_buf_add_text(&dst->sql, "COMMIT");
	run(dst, &plan, &verdict);
	if (!verdict.class && verdict.committed)
		return LS_OK;
	if (!verdict.class)
		(void)ls_fail(&verdict.err, LS_RETRY, "commit", "the server did not confirm the commit");
	else
		ls_pgd_settle(dst);
	*err = verdict.err;
	return say(dst, slice, err);
}
