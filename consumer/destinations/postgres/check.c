/* `lockstep check` for a PostgreSQL destination: what can be seen without writing. What must be tried is in trial.c. */
#include "destinations/postgres/internal.h"

#include "core/time.h"

#include <stdio.h>
#include <stdlib.h>

enum { VERSION_LEAST = 140000, VERSION_MOST = 190000, SKEW_WARNING_MS = 1000, DDL_SHOWN_BYTES = 8192 };

struct look {
	struct ls_pgd *dst;
	struct ls_report *report;
	char subject[128];
};

static void add_failure(const struct look *look, enum ls_check check, const struct ls_error *err, const char *fix)
{
	ls_report_add(look->report, check, LS_LEVEL_FAILED, look->subject, fix, "%s", err->text);
}

static void check_version(const struct look *look)
{
	int version = PQserverVersion(look->dst->conn);

	if (version < VERSION_LEAST)
		ls_report_add(look->report, LS_CHECK_POSTGRES, LS_LEVEL_FAILED, look->subject,
			      "upgrade the server to PostgreSQL 14 or newer", "server version %d.%d", version / 10000,
			      version % 10000);
	else if (version >= VERSION_MOST)
		ls_report_add(look->report, LS_CHECK_POSTGRES, LS_LEVEL_WARNING, look->subject,
			      "watch the first runs: this version has not been tried", "server version %d.%d",
			      version / 10000, version % 10000);
	else
		ls_report_add(look->report, LS_CHECK_POSTGRES, LS_LEVEL_OK, look->subject, NULL,
			      "connected, server version %d.%d", version / 10000, version % 10000);
}

/* check_clock compares the server's clock with the middle of the question's way. */
static void check_clock(const struct look *look)
{
	LS_PGRESULT res = NULL;
	struct ls_error err;
	int64_t before_us = ls_now_us(), after_us, skew_ms;

	if (ls_pg_exec(look->dst->conn,
		       "SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint, "
		       "pg_catalog.pg_is_in_recovery()",
		       &res, &err)) {
		add_failure(look, LS_CHECK_POSTGRES, &err, "see the server's log");
		return;
	}
	after_us = ls_now_us();
	skew_ms = (strtoll(PQgetvalue(res, 0, 0), NULL, 10) - (before_us + after_us) / 2) / 1000;
	if (llabs(skew_ms) > SKEW_WARNING_MS)
		ls_report_add(look->report, LS_CHECK_POSTGRES, LS_LEVEL_WARNING, look->subject,
			      "synchronise both clocks by NTP: newest wins by commit time", "clock differs by %lld ms",
			      (long long)skew_ms);
	else
		ls_report_add(look->report, LS_CHECK_POSTGRES, LS_LEVEL_OK, look->subject, NULL,
			      "clock differs by %lld ms", (long long)skew_ms);
	if (*PQgetvalue(res, 0, 1) == 't')
		ls_report_add(look->report, LS_CHECK_POSTGRES, LS_LEVEL_FAILED, look->subject,
			      "point `url` at the primary, or add target_session_attrs=read-write",
			      "the server is a standby and cannot be written to");
}

/* privilege asks one has_..._privilege question; an error counts as no. */
static bool privilege(const struct look *look, const char *sql, const char *object)
{
	const char *value[] = { object };
	LS_PGRESULT res = NULL;
	struct ls_error err;

	return !ls_pg_params(look->dst->conn, sql, 1, value, &res, &err) && *PQgetvalue(res, 0, 0) == 't';
}

static void check_ledger_missing(const struct look *look)
{
	struct ls_buf ddl;

	ls_buf_init(&ddl, DDL_SHOWN_BYTES);
	ls_pgd_ledger_ddl(look->dst->context->ledger_schema, &ddl);
	if (privilege(look,
		      "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') OR "
		      "pg_catalog.has_schema_privilege($1, 'CREATE')",
		      look->dst->context->ledger_schema))
		ls_report_add(look->report, LS_CHECK_LEDGER, LS_LEVEL_WARNING, look->subject,
			      "nothing to do: the first run creates them",
			      "ledger tables in schema \"%s\" are missing and will be created",
			      look->dst->context->ledger_schema);
	else
		ls_report_add(look->report, LS_CHECK_LEDGER, LS_LEVEL_FAILED, look->subject, ddl.ptr,
			      "ledger tables in schema \"%s\" are missing and this role may not create them",
			      look->dst->context->ledger_schema);
	ls_buf_release(&ddl);
}

static void check_ledger_privileges(const struct look *look)
{
	static const char *const tables[] = { "sync_offsets", "sync_processed_events", "sync_conflicts" };
	bool fine = true;

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		struct ls_buf name;

		ls_buf_init(&name, 1024);
		ls_pgd_add_table(&name, look->dst->context->ledger_schema, tables[i]);
		if (!privilege(look,
			       "SELECT pg_catalog.has_table_privilege($1, 'SELECT') AND "
			       "pg_catalog.has_table_privilege($1, 'INSERT') AND pg_catalog.has_table_privilege($1, "
			       "'UPDATE') "
			       "AND pg_catalog.has_table_privilege($1, 'DELETE')",
			       name.ptr)) {
			fine = false;
			ls_report_add(look->report, LS_CHECK_LEDGER, LS_LEVEL_FAILED, look->subject,
				      "GRANT SELECT, INSERT, UPDATE, DELETE on it to this role",
				      "ledger table %s cannot be read and written", name.ptr);
		}
		ls_buf_release(&name);
	}
	if (fine)
		ls_report_add(look->report, LS_CHECK_LEDGER, LS_LEVEL_OK, look->subject, NULL,
			      "ledger tables in schema \"%s\" are there and can be written",
			      look->dst->context->ledger_schema);
}

static void check_ledger(const struct look *look)
{
	struct ls_error err;
	bool missing = false;

	if (ls_pgd_ledger_missing(look->dst, &missing, &err))
		add_failure(look, LS_CHECK_LEDGER, &err, "see the server's log");
	else if (missing)
		check_ledger_missing(look);
	else
		check_ledger_privileges(look);
}

static void check_session(const struct look *look)
{
	if (!privilege(look, "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), $1)",
		       "TEMPORARY"))
		ls_report_add(look->report, LS_CHECK_POSTGRES, LS_LEVEL_FAILED, look->subject,
			      "GRANT TEMPORARY ON DATABASE to this role",
			      "batches are staged in temporary tables, which this "
			      "role may not create");
	if (!privilege(look, "SELECT pg_catalog.has_function_privilege($1, 'EXECUTE')",
		       "pg_catalog.pg_replication_origin_session_setup(text)"))
		ls_report_add(
			look->report, LS_CHECK_POSTGRES,
			look->dst->context->is_source ? LS_LEVEL_FAILED : LS_LEVEL_WARNING, look->subject,
			"GRANT EXECUTE ON FUNCTION pg_replication_origin_oid(text), "
			"pg_replication_origin_create(text), "
			"pg_replication_origin_session_setup(text) to this role; needed only where this database is a "
			"source too",
			"writes cannot be marked with a replication origin");
}

static void check_commit_times(const struct look *look)
{
	LS_PGRESULT res = NULL;
	struct ls_error err;

	if (!ls_pgd_guards_by_commit(look->dst->context))
		return;
	if (ls_pg_exec(look->dst->conn, "SHOW track_commit_timestamp", &res, &err))
		add_failure(look, LS_CHECK_CONFLICT_RESOLUTION, &err, "see the server's log");
	else if (strcmp(PQgetvalue(res, 0, 0), "on") != 0)
		ls_report_add(look->report, LS_CHECK_CONFLICT_RESOLUTION, LS_LEVEL_FAILED, look->subject,
			      "ALTER SYSTEM SET track_commit_timestamp = on; then restart PostgreSQL",
			      "guard: commit_timestamp asks when a row was written, and track_commit_timestamp is off");
	else
		ls_report_add(look->report, LS_CHECK_CONFLICT_RESOLUTION, LS_LEVEL_OK, look->subject, NULL,
			      "track_commit_timestamp is on: newer local edits are kept");
}

static void check_guard(const struct look *look, const struct ls_pgd_target *target)
{
	struct ls_buf each, all;
	struct ls_pgd_guard guard = { &each, &all };
	struct ls_error err;

	ls_buf_init(&each, DDL_SHOWN_BYTES);
	ls_buf_init(&all, DDL_SHOWN_BYTES);
	if (ls_pgd_guard_make(look->dst, target, "stage", &guard, &err))
		add_failure(look, LS_CHECK_CONFLICT_RESOLUTION, &err,
			    "name a column that holds the row's version, or guard: commit_timestamp");
	ls_buf_release(&each);
	ls_buf_release(&all);
}

static void check_fields(const struct look *look, const struct ls_pgd_target *target)
{
	const struct ls_mapping *mapping = target->mapping;

	for (size_t i = 0; i < mapping->field_count; i++) {
		if (ls_pgd_target_find(target, mapping->field[i].value))
			continue;
		ls_report_add(look->report, LS_CHECK_DATA_INTEGRITY,
			      look->dst->context->add_columns ? LS_LEVEL_WARNING : LS_LEVEL_FAILED, look->subject,
			      look->dst->context->add_columns ? "nothing to do: it is added with the first event"
							      : "add the column, or take the field out of `fields`",
			      "table %s.%s has no column \"%.*s\" for field \"%.*s\"", target->schema, target->table,
			      LS_ARG(mapping->field[i].value), LS_ARG(mapping->field[i].name));
	}
}

static void check_required(const struct look *look, const struct ls_pgd_target *target)
{
	for (size_t i = 0; i < target->count; i++) {
		const struct ls_pgd_column *column = &target->column[i];

		if (!column->not_null || column->has_default || column->generated ||
		    ls_mapping_field(target->mapping, column->name).len)
			continue;
		ls_report_add(look->report, LS_CHECK_DATA_INTEGRITY, LS_LEVEL_FAILED, look->subject,
			      "give it a default, allow NULL, or map a field to it",
			      "column \"%.*s\" of table %s.%s is NOT NULL without a default and no field travels to it",
			      LS_ARG(column->name), target->schema, target->table);
	}
}

static void check_table_privileges(const struct look *look, const struct ls_pgd_target *target)
{
	struct ls_buf name;

	ls_buf_init(&name, 1024);
	ls_pgd_add_table(&name, target->schema, target->table);
	if (!privilege(
		    look,
		    "SELECT pg_catalog.has_table_privilege($1, 'SELECT') AND "
		    "pg_catalog.has_table_privilege($1, 'INSERT') AND pg_catalog.has_table_privilege($1, 'UPDATE') AND "
		    "pg_catalog.has_table_privilege($1, 'DELETE')",
		    name.ptr))
		ls_report_add(look->report, LS_CHECK_DATA_INTEGRITY, LS_LEVEL_FAILED, look->subject,
			      "GRANT SELECT, INSERT, UPDATE, DELETE on it to this role",
			      "table %s cannot be read and written", name.ptr);
	ls_buf_release(&name);
}

static void check_missing_table(const struct look *look, const struct ls_pgd_target *target)
{
	bool create = look->dst->context->create_tables;

	ls_report_add(look->report, LS_CHECK_DATA_INTEGRITY, create ? LS_LEVEL_WARNING : LS_LEVEL_FAILED, look->subject,
		      create ? "nothing to do: it is created with the first event"
			     : "create it, or set on_missing_table: create",
		      "table %s.%s does not exist", target->schema, target->table);
}

static void check_target(const struct look *look, const struct ls_mapping *mapping)
{
	struct ls_pgd_target *target = NULL;
	struct ls_error err;

	if (ls_pgd_target_load(look->dst->conn, mapping, &target, &err)) {
		add_failure(look, LS_CHECK_DATA_INTEGRITY, &err, "correct the table's name in the configuration");
		return;
	}
	if (!target->exists) {
		check_missing_table(look, target);
	} else if (!target->key_unique) {
		ls_report_add(look->report, LS_CHECK_DATA_INTEGRITY, LS_LEVEL_FAILED, look->subject,
			      "create a primary key or unique index on exactly the entity's key columns",
			      "table %s.%s has no unique index on the key of entity \"%s\"", target->schema,
			      target->table, mapping->entity);
	} else {
		check_fields(look, target);
		check_required(look, target);
		check_guard(look, target);
		check_table_privileges(look, target);
		ls_report_add(look->report, LS_CHECK_DATA_INTEGRITY, LS_LEVEL_OK, look->subject, NULL,
			      "table %s.%s has %zu columns and a unique key for entity \"%s\"", target->schema,
			      target->table, target->count, mapping->entity);
	}
	ls_pgd_target_free(target);
}

void ls_pgd_check(const void *options, const struct ls_destination_context *context, struct ls_report *report)
{
	struct look look = { ls_pgd_new(options, context), report, "" };
	struct ls_error err;

	(void)snprintf(look.subject, sizeof(look.subject), "destination %s", context->name);
	if (ls_pgd_ready(look.dst, &err)) {
		add_failure(&look, LS_CHECK_POSTGRES, &err, "check `url`, the server and the network between");
		ls_pgd_free(look.dst);
		return;
	}
	check_version(&look);
	check_clock(&look);
	check_session(&look);
	check_commit_times(&look);
	check_ledger(&look);
	for (size_t i = 0; i < context->mapping_count; i++)
		check_target(&look, &context->mapping[i]);
	ls_pgd_free(look.dst);
	ls_pgd_trial(options, context, look.subject, report);
}
