/* Findings of `lockstep check` about a server that is captured from. Reads only. */
#include "sources/postgres/source.h"

#include "core/time.h"

#include <stdio.h>
#include <stdlib.h>

struct checking {
	const struct pgsrc_options *options;
	const struct ls_source_context *context;
	struct ls_report *report;
	PGconn *conn;
	char subject[160];
	char slot[PGSRC_NAME];
	const char *publication;
};

static const int64_t skew_warning_us = 1000000, skew_failed_us = 300 * 1000000LL;

#define NOTE(checking, level, fix, ...)                                                                                \
	ls_report_add((checking)->report, LS_CHECK_POSTGRES, (level), (checking)->subject, (fix), __VA_ARGS__)

static bool ask(struct checking *checking, const char *sql, int count, const char *const *value, PGresult **ret)
{
	struct ls_error err;

	if (ls_pg_params(checking->conn, sql, count, value, ret, &err) == LS_OK)
		return true;
	NOTE(checking, LS_LEVEL_FAILED,
	     strcmp(err.code, "42703") == 0 ? "correct the entity's key or the fields of this table"
					    : "see the message",
	     "%s", err.text);
	return false;
}

static const char *cell(const PGresult *res, int column)
{
	return PQgetvalue(res, 0, column);
}

static long number(const PGresult *res, int column)
{
	return strtol(cell(res, column), NULL, 10);
}

static void check_version(struct checking *checking)
{
	int version = PQserverVersion(checking->conn);

	if (version < 140000)
		NOTE(checking, LS_LEVEL_FAILED, "upgrade to PostgreSQL 14 or later", "the server is PostgreSQL %d",
		     version / 10000);
	else if (version >= 190000)
		NOTE(checking, LS_LEVEL_WARNING, "use a version that was tried, 14 to 18",
		     "the server is PostgreSQL %d", version / 10000);
	else
		NOTE(checking, LS_LEVEL_OK, "", "the server is PostgreSQL %d.%d", version / 10000, version % 10000);
}

static void check_settings(struct checking *checking)
{
	LS_PGRESULT res = NULL;

	if (!ask(checking,
		 "SELECT pg_catalog.current_setting('wal_level'), "
		 "pg_catalog.current_setting('max_replication_slots')::int - (SELECT "
		 "count(*) FROM"
		 " pg_catalog.pg_replication_slots), pg_catalog.current_setting('max_wal_senders')::int - (SELECT "
		 "count(*) FROM"
		 " pg_catalog.pg_stat_replication), (SELECT count(*) FROM pg_catalog.pg_replication_slots"
		 " WHERE slot_name = $1)",
		 1, (const char *const[]){ checking->slot }, &res))
		return;
	if (strcmp(cell(res, 0), "logical") != 0)
		NOTE(checking, LS_LEVEL_FAILED, "ALTER SYSTEM SET wal_level = logical; then restart PostgreSQL",
		     "wal_level is %s", cell(res, 0));
	else
		NOTE(checking, LS_LEVEL_OK, "", "wal_level is logical");
	/* Our own slot, and one while tables are read again. */
	if (number(res, 1) < 2 - number(res, 3))
		NOTE(checking, number(res, 1) + number(res, 3) < 1 ? LS_LEVEL_FAILED : LS_LEVEL_WARNING,
		     "ALTER SYSTEM SET max_replication_slots = 20; then restart PostgreSQL",
		     "%ld replication slots are free; lockstep needs one, and one more while it reads a table again",
		     number(res, 1));
	else
		NOTE(checking, LS_LEVEL_OK, "", "%ld replication slots are free", number(res, 1));
	if (number(res, 2) < 2)
		NOTE(checking, number(res, 2) < 1 ? LS_LEVEL_FAILED : LS_LEVEL_WARNING,
		     "ALTER SYSTEM SET max_wal_senders = 20; then restart PostgreSQL", "%ld WAL senders are free",
		     number(res, 2));
	else
		NOTE(checking, LS_LEVEL_OK, "", "%ld WAL senders are free", number(res, 2));
}

static void check_slot(struct checking *checking)
{
	LS_PGRESULT res = NULL;
	char fix[200];

	if (!ask(checking,
		 "SELECT wal_status, active, pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery() THEN"
		 " pg_catalog.pg_last_wal_receive_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, restart_lsn)::bigint,"
		 " safe_wal_size, confirmed_flush_lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = $1",
		 1, (const char *const[]){ checking->slot }, &res))
		return;
	if (PQntuples(res) == 0) {
		NOTE(checking, LS_LEVEL_OK, "", "slot \"%s\" will be created", checking->slot);
		return;
	}
	(void)snprintf(fix, sizeof(fix), "SELECT pg_drop_replication_slot('%s'); then lockstep snapshot %s",
		       checking->slot, checking->context->name);
	if (strcmp(cell(res, 0), "lost") == 0) {
		NOTE(checking, LS_LEVEL_FAILED, fix, "slot \"%s\" is lost: WAL that it needed was removed",
		     checking->slot);
		return;
	}
	(void)snprintf(fix, sizeof(fix),
		       "run `lockstep capture %s`; if it is never to run again: SELECT pg_drop_replication_slot('%s')",
		       checking->context->name, checking->slot);
	NOTE(checking, strtoll(cell(res, 2), NULL, 10) > 1LL << 30 ? LS_LEVEL_WARNING : LS_LEVEL_OK, fix,
	     "slot \"%s\" holds %s bytes of WAL, confirmed to %s, %s", checking->slot, cell(res, 2), cell(res, 4),
	     cell(res, 1)[0] == 't' ? "in use" : "not in use");
}

static void check_skew(struct checking *checking)
{
	int64_t before = ls_now_us(), after, skew;
	LS_PGRESULT res = NULL;

	if (!ask(checking, "SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint", 0, NULL,
		 &res))
		return;
	after = ls_now_us();
	skew = strtoll(cell(res, 0), NULL, 10) - (before + (after - before) / 2);
	if (skew < 0)
		skew = -skew;
	if (skew > skew_warning_us)
		NOTE(checking, skew > skew_failed_us ? LS_LEVEL_FAILED : LS_LEVEL_WARNING,
		     "keep both machines' clocks by NTP", "the server's clock differs from this machine's by %lld ms",
		     (long long)skew / 1000);
	else
		NOTE(checking, LS_LEVEL_OK, "", "the server's clock differs from this machine's by %lld ms",
		     (long long)skew / 1000);
}

/* Managed services do not give the attribute: there membership in a role of theirs stands for it. */
static void check_role(struct checking *checking)
{
	LS_PGRESULT res = NULL;
	char fix[200];

	if (!ask(checking,
		 "SELECT u.rolname, u.rolreplication OR u.rolsuper OR EXISTS (SELECT FROM pg_catalog.pg_roles m WHERE"
		 " m.rolname IN ('rds_replication', 'rds_superuser', 'azure_pg_admin', 'cloudsqlsuperuser', "
		 "'alloydbsuperuser')"
		 " AND pg_catalog.pg_has_role(u.oid, m.oid, 'MEMBER')) FROM pg_catalog.pg_roles u WHERE u.rolname ="
		 " current_user",
		 0, NULL, &res))
		return;
	(void)snprintf(fix, sizeof(fix), "ALTER ROLE \"%s\" REPLICATION; (managed services have a grant of their own)",
		       cell(res, 0));
	if (cell(res, 1)[0] == 't')
		NOTE(checking, LS_LEVEL_OK, "", "role \"%s\" may replicate", cell(res, 0));
	else
		NOTE(checking, LS_LEVEL_FAILED, fix, "role \"%s\" may not replicate: it cannot read the log",
		     cell(res, 0));
}

static void check_publication(struct checking *checking)
{
	LS_PGRESULT res = NULL;
	char fix[200];

	if (!ask(checking,
		 "SELECT p.pubviaroot AND p.pubinsert AND p.pubupdate AND p.pubdelete, (SELECT count(*) FROM"
		 " pg_catalog.pg_publication_tables t WHERE t.pubname = p.pubname) FROM pg_catalog.pg_publication p"
		 " WHERE p.pubname = $1",
		 1, (const char *const[]){ checking->publication }, &res))
		return;
	(void)snprintf(fix, sizeof(fix),
		       "ALTER PUBLICATION \"%s\" SET (publish = 'insert, update, delete, truncate', "
		       "publish_via_partition_root = true)",
		       checking->publication);
	if (PQntuples(res) == 0)
		NOTE(checking, LS_LEVEL_OK, "", "publication \"%s\" will be created", checking->publication);
	else if (cell(res, 0)[0] != 't')
		NOTE(checking, LS_LEVEL_WARNING, fix,
		     "publication \"%s\" leaves out kinds of change, or partition roots", checking->publication);
	else
		NOTE(checking, LS_LEVEL_OK, "", "publication \"%s\" publishes %s tables", checking->publication,
		     cell(res, 1));
}

/* check_marks: of a publication that somebody made for us, whether it also has what edits had seen. */
static void check_marks(struct checking *checking)
{
	const char *value[2] = { checking->publication, checking->context->ledger_schema };
	LS_PGRESULT res = NULL;
	char fix[300];

	if (!checking->context->is_destination || !checking->options->publication || !*checking->options->publication)
		return;
	if (!ask(checking,
		 "SELECT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = $1), EXISTS (SELECT FROM "
		 "pg_catalog.pg_publication_tables WHERE pubname = $1 AND schemaname = $2 AND tablename = "
		 "'sync_offsets')",
		 2, value, &res))
		return;
	if (cell(res, 0)[0] != 't' || cell(res, 1)[0] == 't')
		return;
	(void)snprintf(fix, sizeof(fix),
		       "ALTER PUBLICATION \"%s\" ADD TABLE \"%s\".sync_offsets (the first sink makes it)",
		       checking->publication, value[1]);
	NOTE(checking, LS_LEVEL_WARNING, fix,
	     "publication \"%s\" has no sync_offsets: edits do not say what they had seen, and every one that "
	     "follows a change of another system is reported as a conflict",
	     checking->publication);
}

/* ---- tables ---- */

static const char table_sql[] =
	"SELECT c.oid, c.relkind, c.relreplident, c.relpersistence, pg_catalog.has_table_privilege(c.oid, 'SELECT'),"
	" EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary),"
	" pg_catalog.pg_has_role(c.relowner, 'USAGE') OR EXISTS (SELECT FROM pg_catalog.pg_publication_tables p WHERE"
	" p.pubname = $3 AND p.schemaname = n.nspname AND p.tablename = c.relname)"
	" FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	" WHERE n.nspname = $1 AND c.relname = $2";

static void check_identity(struct checking *checking, const PGresult *res, const char *label)
{
	char identity = cell(res, 2)[0], fix[300];
	bool primary = cell(res, 5)[0] == 't';

	(void)snprintf(fix, sizeof(fix), "ALTER TABLE %s REPLICA IDENTITY FULL", label);
	if (identity == 'n' || (identity == 'd' && !primary))
		NOTE(checking, LS_LEVEL_FAILED, fix,
		     "table %s has no replica identity: PostgreSQL will refuse UPDATE and DELETE on it", label);
	else if (identity != 'f' && checking->context->is_destination)
		NOTE(checking, LS_LEVEL_WARNING, fix,
		     "table %s is written by two systems and its log leaves out large values that did not change",
		     label);
	else
		NOTE(checking, LS_LEVEL_OK, "", "table %s has replica identity %s", label,
		     identity == 'f'   ? "FULL"
		     : identity == 'i' ? "by index"
				       : "by primary key");
}

static void key_list(const struct ls_mapping *mapping, struct ls_buf *out)
{
	for (size_t i = 0; i < mapping->key_count; i++) {
		struct ls_str place = ls_mapping_place(mapping, mapping->key[i]);

		ls_buf_add_text(out, i ? ", " : "");
		ls_pg_add_ident(out, place.len ? place : mapping->key[i]);
	}
}

/* check_unique: a unique index whose columns are exactly the key's; the planner's own words for them are compared. */
static void check_unique(struct checking *checking, const struct ls_mapping *mapping, const char *label,
			 const char *oid)
{
	LS_PGRESULT res = NULL;
	struct ls_buf keys, array;
	char fix[500];

	ls_buf_init(&keys, 1 << 16);
	ls_buf_init(&array, 1 << 16);
	key_list(mapping, &keys);
	ls_buf_printf(&array, "{%s}", keys.ptr ? keys.ptr : "");
	(void)snprintf(fix, sizeof(fix),
		       "ALTER TABLE %s ADD PRIMARY KEY (%s), or set the entity's key to what is unique", label,
		       keys.ptr ? keys.ptr : "");
	if (ask(checking,
		"SELECT count(*) FROM (SELECT i.indexrelid FROM pg_catalog.pg_index i CROSS JOIN LATERAL"
		" pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n) JOIN pg_catalog.pg_attribute a ON "
		"a.attrelid ="
		" i.indrelid AND a.attnum = k.attnum WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND "
		"i.indpred"
		" IS NULL AND k.n <= i.indnkeyatts GROUP BY i.indexrelid, i.indnkeyatts HAVING count(*) = "
		"i.indnkeyatts AND"
		" pg_catalog.bool_and(a.attnotnull) AND pg_catalog.array_agg(a.attname::text) @> $2::text[] AND "
		"pg_catalog.array_agg(a.attname::text) <@"
		" $2::text[]) x",
		2, (const char *const[]){ oid, array.ptr }, &res)) {
		if (number(res, 0))
			NOTE(checking, LS_LEVEL_OK, "", "the key of entity \"%s\" is unique in table %s",
			     mapping->entity, label);
		else
			NOTE(checking, LS_LEVEL_WARNING, fix,
			     "no unique index of table %s is the key of entity \"%s\": two rows may be one entity, and "
			     "its snapshot "
			     "is read in one piece",
			     label, mapping->entity);
	}
	ls_buf_release(&keys);
	ls_buf_release(&array);
}

/* check_rows looks at up to 10,000 rows, no more: it must stay cheap on any table. */
static void check_rows(struct checking *checking, const struct ls_mapping *mapping, const char *label,
		       struct ls_str schema, struct ls_str table)
{
	LS_PGRESULT res = NULL;
	struct ls_buf keys, sql;

	ls_buf_init(&keys, 1 << 16);
	ls_buf_init(&sql, 1 << 18);
	key_list(mapping, &keys);
	ls_buf_printf(&sql,
		      "SELECT count(*), count(*) - count(DISTINCT k), count(*) FILTER (WHERE k::text ~ "
		      "'^\\(,|,,|,\\)$|^\\(\\)$') FROM (SELECT ROW(%s) AS k FROM ",
		      keys.ptr ? keys.ptr : "");
	pgsrc_add_table(&sql, schema, table);
	ls_buf_add_text(&sql, " LIMIT 10000) s");
	if (!sql.full && ask(checking, sql.ptr, 0, NULL, &res)) {
		bool bad = number(res, 1) > 0 || number(res, 2) > 0;

		ls_report_add(checking->report, LS_CHECK_DATA_INTEGRITY, bad ? LS_LEVEL_FAILED : LS_LEVEL_OK,
			      checking->subject, bad ? "choose a key that every row has and no two rows share" : "",
			      "%ld rows of table %s looked at: %ld keys occur twice, %ld have a NULL", number(res, 0),
			      label, number(res, 1), number(res, 2));
	}
	ls_buf_release(&keys);
	ls_buf_release(&sql);
}

static void check_types(struct checking *checking, const struct ls_mapping *mapping, const char *label, const char *oid)
{
	LS_PGRESULT res = NULL;
	(void)mapping;

	if (!ask(checking,
		 "SELECT count(*), count(*) FILTER (WHERE a.attgenerated <> ''), "
		 "pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', "
		 "') FILTER"
		 " (WHERE a.attgenerated <> '') FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::oid AND a.attnum "
		 "> 0"
		 " AND NOT a.attisdropped",
		 1, (const char *const[]){ oid }, &res))
		return;
	if (number(res, 1))
		NOTE(checking, LS_LEVEL_WARNING, "generate the column at the destination too",
		     "table %s: generated columns are not in the log and do not travel: %s", label, cell(res, 2));
	else
		NOTE(checking, LS_LEVEL_OK, "", "all %ld columns of table %s can travel", number(res, 0), label);
}

static void check_table(struct checking *checking, const struct ls_mapping *mapping)
{
	char schema[64], table[64], label[PGSRC_LABEL], fix[300], oid[16];
	struct ls_error err;
	LS_PGRESULT res = NULL;

	if (ls_pg_split_table(mapping->place, schema, table, &err)) {
		NOTE(checking, LS_LEVEL_FAILED, "write schema.table", "%s", err.text);
		return;
	}
	pgsrc_label(ls_str_of(schema), ls_str_of(table), label);
	if (!ask(checking, table_sql, 3, (const char *const[]){ schema, table, checking->publication }, &res))
		return;
	if (PQntuples(res) == 0 || !strchr("rp", cell(res, 1)[0]) || cell(res, 3)[0] != 'p') {
		NOTE(checking, LS_LEVEL_FAILED, "name an ordinary or partitioned table that is logged", "%s %s", label,
		     PQntuples(res) ? "is not a table whose changes are logged" : "does not exist");
		return;
	}
	(void)snprintf(oid, sizeof(oid), "%s", cell(res, 0));
	check_identity(checking, res, label);
	check_unique(checking, mapping, label, oid);
	check_types(checking, mapping, label, oid);
	(void)snprintf(fix, sizeof(fix), "GRANT SELECT ON %s TO CURRENT_USER;", label);
	if (cell(res, 4)[0] != 't') {
		NOTE(checking, LS_LEVEL_FAILED, fix, "table %s may not be read", label);
		return;
	}
	(void)snprintf(fix, sizeof(fix), "ALTER TABLE %s OWNER TO ..., or create the publication \"%s\" as its owner",
		       label, checking->publication);
	if (cell(res, 6)[0] != 't')
		NOTE(checking, LS_LEVEL_FAILED, fix,
		     "table %s belongs to another role and is not in the publication: it cannot be published", label);
	check_rows(checking, mapping, label, ls_str_of(schema), ls_str_of(table));
}

void pgsrc_check(const void *options, const struct ls_source_context *context, struct ls_report *report)
{
	struct checking checking = { .options = options, .context = context, .report = report };
	struct ls_error err;

	(void)snprintf(checking.subject, sizeof(checking.subject), "source %s", context->name);
	pgsrc_slot_name(checking.options, context->name, context->prefix, checking.slot);
	checking.publication = pgsrc_publication_name(checking.options, checking.slot);
	if (ls_pg_connect(checking.options->url, context->name, false, &checking.conn, &err)) {
		NOTE(&checking, LS_LEVEL_FAILED,
		     err.class == LS_AUTH ? "mend the user or the password in `url`"
					  : "start the server, or mend `url`",
		     "%s", err.text);
		return;
	}
	check_version(&checking);
	check_settings(&checking);
	check_role(&checking);
	check_slot(&checking);
	check_publication(&checking);
	check_marks(&checking);
	check_skew(&checking);
	for (size_t i = 0; i < context->mapping_count; i++)
		check_table(&checking, &context->mapping[i]);
	ls_pg_close(checking.conn);
}
