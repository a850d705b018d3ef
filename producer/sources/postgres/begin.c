/* Slots, and the decision where to begin: the log at once, or tables first. */
#include "sources/postgres/source.h"

#include "core/failpoint.h"
#include "core/time.h"

#include <stdio.h>
#include <stdlib.h>

/* A later round of the snapshot must win against all that the log holds before it, whose versions are commit times, or
 * follow one another by ones where the clock was ahead of them. */
static const int64_t round_ahead_us = 10 * 1000000, round_gap_us = 1000000;

static const char slot_sql[] =
	"SELECT active, coalesce(active_pid, 0), coalesce(wal_status, ''), coalesce(confirmed_flush_lsn::text, ''),"
	" coalesce(plugin, ''), coalesce(database, ''), two_phase,"
	" coalesce(pg_catalog.to_jsonb(s) ->> 'failover', 'false') = 'true' FROM pg_catalog.pg_replication_slots s"
	" WHERE slot_name = $1";

enum ls_class pgsrc_slot_state(PGconn *conn, const char *name, struct pgsrc_slot *ret, struct ls_error *err)
{
	const char *value[1] = { name };
	struct pgsrc_slot slot = { 0 };
	LS_PGRESULT res = NULL;
	enum ls_class class = ls_pg_params(conn, slot_sql, 1, value, &res, err);

	if (class)
		return class;
	slot.exists = PQntuples(res) > 0;
	if (slot.exists) {
		slot.active = PQgetvalue(res, 0, 0)[0] == 't';
		slot.pid = (int)strtol(PQgetvalue(res, 0, 1), NULL, 10);
		slot.lost = strcmp(PQgetvalue(res, 0, 2), "lost") == 0;
		(void)pgout_lsn_parse(ls_str_of(PQgetvalue(res, 0, 3)), &slot.confirmed);
		(void)snprintf(slot.plugin, sizeof(slot.plugin), "%s", PQgetvalue(res, 0, 4));
		(void)snprintf(slot.database, sizeof(slot.database), "%s", PQgetvalue(res, 0, 5));
		slot.two_phase = PQgetvalue(res, 0, 6)[0] == 't';
		slot.failover = PQgetvalue(res, 0, 7)[0] == 't';
	}
	*ret = slot;
	return LS_OK;
}

/* A slot begins where no transaction is open, so it waits for those that are. */
enum ls_class pgsrc_slot_create(PGconn *conn, const char *name, enum pgsrc_slot_kind kind, uint64_t *ret_lsn,
				char snapshot[64], struct ls_error *err)
{
	/* Before PostgreSQL 15 there are no options in parentheses. */
	static const char *const options[] = { [PGSRC_SLOT_PLAIN] = "LOGICAL pgoutput EXPORT_SNAPSHOT",
					       [PGSRC_SLOT_TEMPORARY] = "TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT",
					       [PGSRC_SLOT_FAILOVER] =
						       "LOGICAL pgoutput (SNAPSHOT 'export', FAILOVER true)" };
	LS_PGRESULT res = NULL;
	enum ls_class class;
	char sql[256];

	LS_FAILPOINT_ERROR("postgres.slot", err);
	class = ls_pg_exec(conn,
			   "SET lock_timeout = '60s'; SET idle_in_transaction_session_timeout = 0; "
			   "SET idle_session_timeout = 0; SET statement_timeout = 0",
			   NULL, err);
	if (class)
		return class;
	(void)snprintf(sql, sizeof(sql), "CREATE_REPLICATION_SLOT \"%s\" %s", name, options[kind]);
	class = ls_pg_exec(conn, sql, &res, err);
	if (class && strcmp(err->code, "55P03") == 0)
		return ls_fail(err, LS_RETRY, "55P03",
			       "slot \"%s\" could not be created within 60 s: a transaction has been open since "
			       "before; see SELECT "
			       "pid, xact_start, query FROM pg_stat_activity ORDER BY xact_start; and end the oldest",
			       name);
	if (class)
		return ls_fail_in(err, "could not create slot \"%s\"", name);
	if (PQntuples(res) != 1 || PQnfields(res) < 3 || !pgout_lsn_parse(ls_str_of(PQgetvalue(res, 0, 1)), ret_lsn))
		return ls_fail(err, LS_FATAL, "08P01", "slot \"%s\": the server's answer is not understood", name);
	(void)snprintf(snapshot, 64, "%s", PQgetvalue(res, 0, 2));
	LS_FAILPOINT_ERROR("postgres.slot_made", err);
	return LS_OK;
}

static enum ls_class server_clock(struct pgsrc *src, int64_t *ret_us, struct ls_error *err)
{
	LS_PGRESULT res = NULL;
	enum ls_class class = ls_pg_exec(
		src->side, "SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint", &res, err);

	if (!class)
		*ret_us = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
	return class;
}

enum ls_class pgsrc_slot_foreign(const struct pgsrc *src, const struct pgsrc_slot *slot, struct ls_error *err)
{
	return ls_fail(err, LS_FATAL, "slot",
		       "slot \"%s\" belongs to plugin \"%s\" and database \"%s\": choose another with the "
		       "option `slot`",
		       src->slot, slot->plugin, slot->database);
}

static bool ahead_of(const struct pgsrc_slot *slot, uint64_t lsn)
{
	return slot->confirmed > lsn;
}

static enum ls_class check_slot(const struct pgsrc *src, const struct pgsrc_slot *slot, bool resumed,
				struct ls_error *err)
{
	char ours[PGOUT_LSN], theirs[PGOUT_LSN];

	if (!slot->exists)
		return ls_fail(err, LS_FATAL, "slot",
			       "slot \"%s\" is gone, and with it the changes after %s: run `lockstep snapshot %s`, "
			       "which reads the tables again",
			       src->slot, pgout_lsn_print(src->position.lsn, ours), src->context.name);
	if (strcmp(slot->plugin, "pgoutput") != 0 || strcmp(slot->database, PQdb(src->side)) != 0)
		return pgsrc_slot_foreign(src, slot, err);
	if (slot->two_phase)
		return ls_fail(
			err, LS_FATAL, "slot",
			"slot \"%s\" was made with two_phase, which shows transactions before they are committed: "
			"drop it and run `lockstep snapshot %s`, or choose another with the option `slot`",
			src->slot, src->context.name);
	if (slot->lost)
		return ls_fail(err, LS_FATAL, "slot",
			       "slot \"%s\" is lost: the server removed WAL that it still needed "
			       "(max_slot_wal_keep_size, idle_replication_slot_timeout). Run `lockstep snapshot %s`, "
			       "which drops it and reads the tables again",
			       src->slot, src->context.name);
	if (slot->active)
		return ls_fail(err, LS_FENCED, "55006",
			       "slot \"%s\" is active for PID %d: another capture of this source is running", src->slot,
			       slot->pid);
	if (resumed && ahead_of(slot, src->position.lsn))
		return ls_fail(
			err, LS_FATAL, "slot",
			"slot \"%s\" is ahead of what was published: changes between %s and %s are lost to lockstep. "
			"Somebody else moved the slot, or the positions topic is an old one; run `lockstep snapshot "
			"%s`, "
			"which reads the tables again",
			src->slot, pgout_lsn_print(src->position.lsn, ours), pgout_lsn_print(slot->confirmed, theirs),
			src->context.name);
	return LS_OK;
}

/* tables_left counts those that were not read to their end; without a snapshot they count as read, unless somebody
 * asked for them since. */
static size_t tables_left(struct pgsrc *src)
{
	size_t left = 0;

	for (size_t i = 0; i < src->table_count; i++) {
		const char *label = src->table[i].label;
		const json_t *progress = json_object_get(src->position.tables, label);

		if (json_is_true(progress))
			continue;
		if (!src->context.snapshot && !progress)
			pgsrc_position_table(&src->position, label, json_true());
		else
			left++;
	}
	return left;
}

/* highest_seen: two-way, the rows to be read may hold what came from systems whose clocks are ahead of this one. They
 * are as new as that. LS_NONE: nothing came. */
static enum ls_class highest_seen(struct pgsrc *src, int64_t *ret, struct ls_error *err)
{
	const char *value[1] = { src->context.name };
	LS_PGRESULT res = NULL;
	enum ls_class class;
	struct ls_buf sql;

	*ret = LS_NONE;
	if (!src->context.is_destination || !src->ledger)
		return LS_OK;
	ls_buf_init(&sql, 1024);
	ls_buf_add_text(&sql, "SELECT pg_catalog.max(max_version) FROM ");
	pgsrc_add_table(&sql, ls_str_of(src->context.ledger_schema), LS_STR("sync_offsets"));
	ls_buf_add_text(&sql, " WHERE destination = $1");
	class = ls_pg_params(src->side, sql.ptr, 1, value, &res, err);
	ls_buf_release(&sql);
	if (!class && !PQgetisnull(res, 0, 0))
		*ret = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
	return class;
}

static enum ls_class begin_round(struct pgsrc *src, struct pgsrc_snapshot_start *start, bool first, int64_t floor,
				 struct ls_error *err)
{
	int64_t held = pgsrc_position_floor(&src->position, UINT64_MAX), clock = 0, seen = LS_NONE;
	enum ls_class class = server_clock(src, &clock, err);

	if (!class)
		class = highest_seen(src, &seen, err);
	if (class)
		return class;
	start->version = first ? clock : clock + round_ahead_us;
	if (held != LS_NONE && start->version < held + round_gap_us)
		start->version = held + round_gap_us;
	if (floor != LS_NONE && start->version < floor + round_gap_us)
		start->version = floor + round_gap_us;
	if (seen != LS_NONE && seen < INT64_MAX && start->version <= seen)
		start->version = seen + 1;
	class = pgsrc_position_round(&src->position, (struct pgsrc_round){ start->lsn, start->version }, err);
	if (class)
		return class;
	if (start->lsn <= src->position.lsn)
		src->floor_next = start->version;
	return pgsrc_snapshot_begin(src, start, err);
}

/* later_round reads what is left through a snapshot of its own: the one that the slot began with is gone. */
static enum ls_class later_round(struct pgsrc *src, int64_t floor, struct ls_error *err)
{
	struct pgsrc_snapshot_start start = { 0 };
	char name[PGSRC_NAME], snapshot[64];
	enum ls_class class = ls_pg_connect(src->options.url, src->context.name, true, &start.holder, err);

	if (class)
		return class;
	(void)snprintf(name, sizeof(name), "%.40s_read_%d", src->slot, PQbackendPID(start.holder));
	class = pgsrc_slot_create(start.holder, name, PGSRC_SLOT_TEMPORARY, &start.lsn, snapshot, err);
	if (class) {
		ls_pg_close(start.holder);
		return class;
	}
	start.name = snapshot;
	class = begin_round(src, &start, false, floor, err);
	if (class && !src->snapshot)
		ls_pg_close(start.holder);
	return class;
}

static enum ls_class first_start(struct pgsrc *src, int64_t floor, struct ls_error *err)
{
	struct pgsrc_snapshot_start start = { 0 };
	char snapshot[64];
	enum ls_class class = pgsrc_slot_create(src->repl, src->slot,
						src->options.slot_failover ? PGSRC_SLOT_FAILOVER : PGSRC_SLOT_PLAIN,
						&start.lsn, snapshot, err);

	if (class)
		return class;
	src->position.lsn = start.lsn;
	start.name = snapshot;
	return tables_left(src) ? begin_round(src, &start, true, floor, err) : pgsrc_stream_start(src, err);
}

/* connect opens the walsender's session, and looks with it whether the position is of this server. */
static enum ls_class connect(struct pgsrc *src, const struct pgsrc_slot *slot, struct ls_error *err)
{
	struct ls_error why;
	char sql[160];
	enum ls_class class;

	if (src->options.slot_failover && src->server_version < 170000)
		return ls_fail(err, LS_FATAL, "slot_failover",
			       "slot_failover needs PostgreSQL 17, the server is %d: leave the option out",
			       src->server_version / 10000);
	class = ls_pg_connect(src->options.url, src->context.name, true, &src->repl, err);
	if (!class)
		class = pgsrc_history_check(src, src->repl, err);
	if (class && strcmp(err->code, "history") == 0) {
		why = *err;
		return ls_fail(err, LS_FATAL, "history", "%s. Run `lockstep snapshot %s`, which reads the tables again",
			       why.text, src->context.name);
	}
	if (class || !slot->exists || slot->failover || !src->options.slot_failover)
		return class;
	(void)snprintf(sql, sizeof(sql), "ALTER_REPLICATION_SLOT \"%s\" (FAILOVER true)", src->slot);
	class = ls_pg_exec(src->repl, sql, NULL, err);
	return class ? ls_fail_in(err, "could not let slot \"%s\" live on at a standby", src->slot) : LS_OK;
}

static enum ls_class begin(struct pgsrc *src, struct ls_str position, int64_t floor, struct ls_error *err)
{
	struct pgsrc_slot slot;
	enum ls_class class = pgsrc_slot_state(src->side, src->slot, &slot, err);
	bool resumed = false, known;

	if (!class && position.len)
		class = pgsrc_position_parse(&src->position, position, err);
	resumed = src->position.lsn > 0;
	known = json_object_get(src->position.log, "tables") != NULL;
	if (!class && (slot.exists || resumed))
		class = check_slot(src, &slot, resumed, err);
	if (!class)
		class = pgsrc_members_check(src, err);
	if (!class)
		class = connect(src, &slot, err);
	if (class)
		return class;
	src->announce = !resumed || !known;
	pgsrc_base_begin(src);
	if (!slot.exists)
		return first_start(src, floor, err);
	/* A slot without a position: it was made, and the first position never became durable. All is still in it. */
	if (!resumed)
		src->position.lsn = slot.confirmed;
	src->tables_durable = !tables_left(src);
	if (src->tables_durable)
		return pgsrc_stream_start(src, err);
	src->announce = true;
	return later_round(src, floor, err);
}

/* What recall writes is behind the slot: it comes with the log. */
enum ls_class pgsrc_begin(struct pgsrc *src, struct ls_str position, int64_t floor, struct ls_error *err)
{
	enum ls_class class = begin(src, position, floor, err);

	return class ? class : pgsrc_base_recall(src, err);
}
