/* `guard`: a local edit that capture has not published yet is not overwritten by an event that it is newer than.
 *
 * commit_timestamp: a row whose last writer was no sink of ours is a local edit. Capture will give it the version
 * max(commit time, base_version + 1) or more, base_version being what sync_offsets said when it was committed. What is
 * kept must win everywhere once its own event comes, so only what is certain counts: the commit time, and the highest
 * max_version that stood committed before the edit's transaction id was given out. For that, ids are taken after our
 * own commits, and remembered with the max_version they stand for.
 * An event of our own source is never newer than a local edit: the row is that edit or a later one.
 *
 * column:NAME: the row's own version stands in a column. */
#include "destinations/postgres/internal.h"

#include "pg/origin.h"

#include <stdio.h>
#include <stdlib.h>

enum { SEEN_MAX = 256 };

/* "Whatever transaction id is above xid had at least `version` before its eyes." */
struct ls_pgd_seen {
	struct ls_pgd_seen *next;
	char *topic;
	int32_t partition;
	struct {
		uint64_t xid;
		int64_t version;
	} entry[SEEN_MAX];
	size_t count;
};

#define COLUMNS                                                                                                        \
	"\"lockstep guard version\"%1$s, \"lockstep guard tie\"%1$s, \"lockstep guard seen\"%1$s, \"lockstep guard "   \
	"seen tie\"%1$s, \"lockstep guard own\"%2$s"

bool ls_pgd_guards(const struct ls_mapping *mapping)
{
	return mapping->guard != NULL;
}

static const char *guard_column(const struct ls_mapping *mapping)
{
	return mapping->guard && strncmp(mapping->guard, "column:", 7) == 0 ? mapping->guard + 7 : NULL;
}

bool ls_pgd_guards_by_commit(const struct ls_destination_context *context)
{
	for (size_t i = 0; i < context->mapping_count; i++)
		if (ls_pgd_guards(&context->mapping[i]) && !guard_column(&context->mapping[i]))
			return true;
	return false;
}

static bool guards(const struct ls_destination_context *context)
{
	for (size_t i = 0; i < context->mapping_count; i++)
		if (ls_pgd_guards(&context->mapping[i]))
			return true;
	return false;
}

/* Without commit times nothing could be kept; without an origin our own writes would look like local edits and later
 * events be held back for good. */
enum ls_class ls_pgd_guard_ready(struct ls_pgd *dst, struct ls_error *err)
{
	LS_PGRESULT res = NULL;
	enum ls_class class;

	dst->commit_times = false;
	if (!guards(dst->context))
		return LS_OK;
	class = ls_pg_exec(dst->conn, "SELECT pg_catalog.current_setting('track_commit_timestamp')", &res, err);
	if (class)
		return ls_fail_in(err, "destination \"%s\"", dst->context->name);
	dst->commit_times = dst->origin && strcmp(PQgetvalue(res, 0, 0), "on") == 0;
	if (dst->commit_times || !ls_pgd_guards_by_commit(dst->context))
		return LS_OK;
	return ls_fail(
		err, LS_FATAL, "guard",
		dst->origin ? "destination \"%s\": guard: commit_timestamp needs track_commit_timestamp = on; ALTER "
			      "SYSTEM SET track_commit_timestamp = on; then restart PostgreSQL"
			    : "destination \"%s\": guard: commit_timestamp needs a replication origin, which this role "
			      "may not take; GRANT EXECUTE ON FUNCTION pg_replication_origin_oid(text), "
			      "pg_replication_origin_create(text), pg_replication_origin_session_setup(text) to it",
		dst->context->name);
}

/* ---- what edits from a transaction id on had before their eyes ---- */

static struct ls_pgd_seen *seen_of(const struct ls_pgd *dst, const struct ls_mark *mark)
{
	for (struct ls_pgd_seen *seen = dst->seen; seen; seen = seen->next)
		if (seen->partition == mark->partition && ls_str_equal(ls_str_of(seen->topic), mark->topic))
			return seen;
	return NULL;
}

static struct ls_pgd_seen *seen_new(struct ls_pgd *dst, const struct ls_mark *mark)
{
	struct ls_pgd_seen *seen = calloc(1, sizeof(*seen));

	if (!seen || !(seen->topic = strndup(mark->topic.ptr, mark->topic.len)))
		abort();
	seen->partition = mark->partition;
	seen->next = dst->seen;
	dst->seen = seen;
	return seen;
}

void ls_pgd_guard_free(struct ls_pgd *dst)
{
	while (dst->seen) {
		struct ls_pgd_seen *next = dst->seen->next;

		free(dst->seen->topic);
		free(dst->seen);
		dst->seen = next;
	}
}

/* thin makes room where it matters least: every second one of the older half goes. What is left is still true. */
static void thin(struct ls_pgd_seen *seen)
{
	size_t kept = 0;

	for (size_t i = 0; i < seen->count; i++)
		if (i >= SEEN_MAX / 2 || i % 2 == 0)
			seen->entry[kept++] = seen->entry[i];
	seen->count = kept;
}

static void note(struct ls_pgd_seen *seen, uint64_t xid, int64_t version)
{
	if (seen->count && seen->entry[seen->count - 1].version >= version)
		return; /* the earlier id says more */
	if (seen->count == SEEN_MAX)
		thin(seen);
	seen->entry[seen->count].xid = xid;
	seen->entry[seen->count++].version = version;
}

/* The base of an edit is what the marks of the events topic say; those of the priority topic are no part of it. */
static bool counts(struct ls_str topic)
{
	static const char tail[] = ".priority";

	return topic.len < sizeof(tail) - 1 ||
	       memcmp(topic.ptr + topic.len - (sizeof(tail) - 1), tail, sizeof(tail) - 1) != 0;
}

/* ls_pgd_guard_note asks what stands committed, and for a transaction id that is given out after that. Failing costs
 * no more than an older bound. */
void ls_pgd_guard_note(struct ls_pgd *dst, const struct ls_mark *mark)
{
	struct ls_pgd_seen *seen;
	struct ls_error ignored;
	LS_PGRESULT res = NULL;

	if (!dst->commit_times || !ls_pgd_guards_by_commit(dst->context) || !counts(mark->topic))
		return;
	ls_buf_clear(&dst->sql);
	ls_buf_add_text(&dst->sql, "SELECT max_version, pg_catalog.pg_current_xact_id() FROM ");
	ls_pgd_add_table(&dst->sql, dst->context->ledger_schema, "sync_offsets");
	ls_buf_add_text(&dst->sql, " WHERE destination = ");
	ls_pg_add_literal(&dst->sql, ls_str_of(dst->context->name));
	ls_buf_add_text(&dst->sql, " AND topic = ");
	ls_pg_add_literal(&dst->sql, mark->topic);
	ls_buf_printf(&dst->sql, " AND partition = %d AND max_version IS NOT NULL", (int)mark->partition);
	if (ls_pg_exec(dst->conn, dst->sql.ptr, &res, &ignored)) {
		ls_pgd_settle(dst);
		return;
	}
	if (!PQntuples(res))
		return;
	seen = seen_of(dst, mark);
	note(seen ? seen : seen_new(dst, mark), strtoull(PQgetvalue(res, 0, 1), NULL, 10),
	     strtoll(PQgetvalue(res, 0, 0), NULL, 10));
}

/* ---- the stage ---- */

void ls_pgd_guard_columns(const struct ls_mapping *mapping, bool types, struct ls_buf *out)
{
	if (!ls_pgd_guards(mapping))
		return;
	ls_buf_printf(out, COLUMNS, types ? " bigint" : "", types ? " boolean" : "");
	ls_buf_add_text(out, ", ");
}

/* The earliest transaction id whose edits had seen `version`; only its lower half is on the row. */
static void add_seen(const struct ls_pgd_seen *seen, int64_t version, struct ls_buf *out)
{
	size_t from = 0, to = seen ? seen->count : 0;

	while (from < to) {
		size_t middle = (from + to) / 2;

		if (seen->entry[middle].version >= version)
			to = middle;
		else
			from = middle + 1;
	}
	if (seen && from < seen->count)
		ls_buf_printf(out, "%llu\t", (unsigned long long)(seen->entry[from].xid & UINT32_MAX));
	else
		ls_buf_add_text(out, "\\N\t");
}

void ls_pgd_guard_cells(const struct ls_pgd *dst, const struct ls_slice *slice, const struct ls_write *write,
			struct ls_buf *out)
{
	const struct ls_event *event = write->event;
	struct ls_str name = ls_str_of(dst->context->name);
	const struct ls_pgd_seen *seen;
	int64_t tie;

	if (!ls_pgd_guards(write->mapping))
		return;
	if (!event) { /* not known what it is: nothing is kept from it */
		ls_buf_printf(out, "%lld\t%lld\t\\N\t\\N\tf\t", (long long)INT64_MAX, (long long)INT64_MAX);
		return;
	}
	seen = counts(slice->mark.topic) ? seen_of(dst, &slice->mark) : NULL;
	/* At equal versions the later commit wins, then the greater name. */
	tie = event->timestamp_us == INT64_MAX || ls_str_compare(name, event->source) > 0 ? event->timestamp_us
											  : event->timestamp_us + 1;
	ls_buf_printf(out, "%lld\t%lld\t", (long long)event->version, (long long)tie);
	add_seen(seen, event->version, out);
	add_seen(seen, event->version == INT64_MIN ? event->version : event->version - 1, out);
	ls_buf_add_text(out, ls_str_equal(name, event->source) ? "t\t" : "f\t");
}

/* ---- the condition ---- */

/* Written by no sink of ours, and not by a statement that wrote the whole table anew: that is in no log, and no event
 * of it will come. */
static void add_local(const struct ls_pgd *dst, const struct ls_pgd_target *target, struct ls_buf *out)
{
	char origin[LS_PG_ORIGIN];
	struct ls_buf table;

	ls_buf_init(&table, 1024);
	ls_pgd_add_table(&table, target->schema, target->table);
	ls_buf_add_text(out,
			"coalesce((pg_catalog.pg_xact_commit_timestamp_origin(d.xmin)).roident NOT IN (SELECT "
			"o.roident FROM pg_catalog.pg_replication_origin o WHERE pg_catalog.starts_with(o.roname, ");
	ls_pg_add_literal(out, ls_str_of(ls_pg_origin_name(dst->context->name, 0, origin)));
	ls_buf_add_text(out, ")), false) AND d.xmin NOT IN (WITH r AS (SELECT ");
	ls_pg_add_literal(out, ls_buf_str(&table));
	ls_buf_add_text(out, "::pg_catalog.regclass::pg_catalog.oid AS oid), t AS (SELECT oid FROM r UNION SELECT "
			     "relid::pg_catalog.oid FROM r, pg_catalog.pg_partition_tree(r.oid)) SELECT c.xmin FROM "
			     "pg_catalog.pg_class c JOIN t ON t.oid = c.oid UNION ALL SELECT a.xmin FROM "
			     "pg_catalog.pg_attribute a JOIN t ON t.oid = a.attrelid)");
	ls_buf_release(&table);
}

/* What is certain of the edit's stamp against the event's: see the head of this file. */
static const char newer[] =
	"(s.\"lockstep guard own\" OR %1$s > s.\"lockstep guard version\" OR %2$s OR ((%1$s >= s.\"lockstep guard "
	"version\" OR %3$s) AND %1$s >= s.\"lockstep guard tie\"))";
static const char commit_us[] =
	"extract(epoch FROM (pg_catalog.pg_xact_commit_timestamp_origin(d.xmin)).timestamp) * 1000000";
/* Transaction ids go round: half of them are behind each, half before it. */
static const char began_after[] =
	"coalesce(((d.xmin::pg_catalog.text::bigint - s.\"lockstep guard %s\") & 4294967295) BETWEEN 1 AND 2147483647, "
	"false)";

static void add_newer(struct ls_buf *out)
{
	char seen[200], seen_tie[200];

	(void)snprintf(seen, sizeof(seen), began_after, "seen");
	(void)snprintf(seen_tie, sizeof(seen_tie), began_after, "seen tie");
	ls_buf_printf(out, newer, commit_us, seen, seen_tie);
}

static bool is_time(const struct ls_pgd_column *column)
{
	return column->kind.kind == LS_TIMESTAMP || column->kind.kind == LS_TIMESTAMPTZ;
}

static enum ls_class find_column(const struct ls_pgd *dst, const struct ls_pgd_target *target, const char *name,
				 const struct ls_pgd_column **ret, struct ls_error *err)
{
	const struct ls_pgd_column *column = ls_pgd_target_find(target, ls_str_of(name));

	if (!column)
		return ls_fail(err, LS_FATAL, "42703",
			       "destination \"%s\": table %s.%s has no column \"%s\", which guard: column:%s names",
			       dst->context->name, target->schema, target->table, name, name);
	if (column->kind.kind != LS_INT32 && column->kind.kind != LS_INT64 && !is_time(column))
		return ls_fail(
			err, LS_FATAL, "42804",
			"destination \"%s\": guard: column:%s needs an integer or a timestamp, table %s.%s has %.*s",
			dst->context->name, name, target->schema, target->table, LS_ARG(column->type));
	*ret = column;
	return LS_OK;
}

/* The row's own version, in the unit of the events' versions. */
static void add_own_version(const struct ls_pgd_column *column, struct ls_buf *out)
{
	ls_buf_add_text(out, is_time(column) ? "extract(epoch FROM d." : "d.");
	ls_pg_add_ident(out, column->name);
	ls_buf_add_text(out, is_time(column) ? ") * 1000000" : "");
}

enum ls_class ls_pgd_guard_make(const struct ls_pgd *dst, const struct ls_pgd_target *target, const char *stage,
				struct ls_pgd_guard *ret, struct ls_error *err)
{
	const char *name = guard_column(target->mapping);
	const struct ls_pgd_column *column = NULL;
	enum ls_class class = name ? find_column(dst, target, name, &column, err) : LS_OK;

	if (class)
		return class;
	ls_buf_clear(ret->each);
	ls_buf_clear(ret->all);
	if (!ls_pgd_guards(target->mapping))
		return LS_OK;
	ls_buf_add_text(ret->each, " AND NOT (");
	ls_buf_add_text(ret->all, " AND NOT (");
	if (!column || dst->commit_times) {
		add_local(dst, target, ret->each);
		add_local(dst, target, ret->all);
		ls_buf_add_text(ret->each, " AND ");
		ls_buf_add_text(ret->all, " AND ");
	}
	ls_buf_add_text(ret->each, "coalesce(");
	ls_buf_add_text(ret->all, "coalesce(");
	if (column) {
		add_own_version(column, ret->each);
		add_own_version(column, ret->all);
		ls_buf_add_text(ret->each, " > s.\"lockstep guard version\"");
	} else {
		add_newer(ret->each);
		ls_buf_add_text(ret->all, commit_us);
	}
	ls_buf_printf(ret->all, " > (SELECT pg_catalog.max(s.\"lockstep guard version\") FROM pg_temp.%s s)", stage);
	ls_buf_add_text(ret->each, ", false))");
	ls_buf_add_text(ret->all, ", false))");
	return LS_OK;
}
