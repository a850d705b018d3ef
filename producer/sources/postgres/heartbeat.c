/* The second session: questions to the catalog, and the heartbeat that lets an idle slot move on. */
#include "sources/postgres/source.h"

#include "core/failpoint.h"
#include "core/time.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEARTBEAT_PATIENCE_MS = 30000 };

/* take_answer ends a heartbeat that is under way: the server's answer is its log position. */
static enum ls_class take_answer(struct pgsrc *src, struct ls_error *err)
{
	enum ls_class class = LS_OK;
	bool appeared = false, changed = false;
	PGresult *res;

	while ((res = PQgetResult(src->side)) != NULL) {
		if (!class)
			class = ls_pg_check(src->side, res, err);
		if (!class && PQntuples(res) == 1) {
			uint64_t lsn;

			if (pgout_lsn_parse(ls_str_of(PQgetvalue(res, 0, 0)), &lsn) && lsn > src->wal_end)
				src->wal_end = lsn;
			appeared = PQnfields(res) > 1 && PQgetvalue(res, 0, 1)[0] == 't';
			changed = PQnfields(res) > 2 && strtoll(PQgetvalue(res, 0, 2), NULL, 10) != src->members_sum;
		}
		PQclear(res);
	}
	src->side_busy = false;
	if (!class && appeared)
		return ls_fail(err, LS_RETRY, "ledger",
			       "%s.sync_offsets has been created: starting again, to read in it what local edits had "
			       "seen",
			       src->context.ledger_schema);
	if (!class && changed)
		return ls_fail(
			err, LS_RETRY, "publication",
			"a captured table or publication \"%s\" is not what it was: starting again, to look what "
			"became of it",
			src->publication);
	return class;
}

enum ls_class pgsrc_side(struct pgsrc *src, PGconn **ret, struct ls_error *err)
{
	enum ls_class class = src->side && src->side_busy ? take_answer(src, err) : LS_OK;

	if (src->side && PQstatus(src->side) == CONNECTION_BAD) {
		src->side = ls_pg_close(src->side);
		src->side_busy = false;
		class = LS_OK;
	}
	if (!class && !src->side)
		class = ls_pg_connect(src->options.url, src->context.name, false, &src->side, err);
	if (!class)
		*ret = src->side;
	return class;
}

static enum ls_class look_for_answer(struct pgsrc *src, struct ls_error *err)
{
	if (!PQconsumeInput(src->side))
		return ls_pg_check(src->side, NULL, err);
	if (!PQisBusy(src->side))
		return take_answer(src, err);
	if (ls_monotonic_ms() - src->side_busy_since_ms < HEARTBEAT_PATIENCE_MS)
		return LS_OK;
	return ls_fail(err, LS_RETRY, "heartbeat", "the server did not answer a heartbeat within %d s",
		       HEARTBEAT_PATIENCE_MS / 1000);
}

/* Two questions go along. Two-way: has the ledger been made meanwhile? A sink makes it at its first start. Always: are
 * publication and tables the ones that we read? */
static int ask(const struct pgsrc *src, PGconn *side)
{
	const char *value[4] = { src->publication, src->members, src->context.ledger_schema,
				 src->base && !src->ledger && src->tables_durable ? "t" : "f" };
	char sql[1600];

	(void)snprintf(sql, sizeof(sql),
		       "SELECT pg_catalog.pg_logical_emit_message(false, 'lockstep', ''), $4::bool AND EXISTS (SELECT "
		       "FROM pg_catalog.pg_class l JOIN pg_catalog.pg_namespace i ON i.oid = l.relnamespace "
		       "WHERE i.nspname = $3 AND l.relname = 'sync_offsets'), %s",
		       pgsrc_members_sql);
	return PQsendQueryParams(side, sql, 4, NULL, value, NULL, NULL, 0);
}

/* A logical message is written to the log without any table: it gives the slot something to pass while only other
 * databases and tables of the server write. */
enum ls_class pgsrc_heartbeat(struct pgsrc *src, struct ls_error *err)
{
	int64_t now = ls_monotonic_ms();
	enum ls_class class;
	PGconn *side;

	if (src->side && src->side_busy)
		return look_for_answer(src, err);
	if (src->options.heartbeat_interval_ms <= 0 || src->standby ||
	    now - src->heartbeat_at_ms < src->options.heartbeat_interval_ms)
		return LS_OK;
	class = pgsrc_side(src, &side, err);
	if (class)
		return class;
	LS_FAILPOINT_ERROR("postgres.heartbeat", err);
	src->heartbeat_at_ms = src->side_busy_since_ms = now;
	if (!ask(src, side))
		return ls_pg_check(side, NULL, err);
	src->side_busy = true;
	LS_FAILPOINT_ERROR("postgres.heartbeat_sent", err);
	return LS_OK;
}
