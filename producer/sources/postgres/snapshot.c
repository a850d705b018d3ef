/* Reading the tables before the log: several sessions in one exported snapshot, all driven by the lane's one thread. */
#include "sources/postgres/chunk.h"
#include "sources/postgres/copytext.h"

#include "core/arena.h"
#include "core/failpoint.h"
#include "core/map.h"
#include "core/time.h"
#include "metrics/stats.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

/* A chunk is read in parts, so that some may be under way while the first ones wait for their position to be durable,
 * and yet no kill makes more than a chunk of each session be read again. */
enum { PARTS = 4, LOOK_EVERY_MS = 1000 };

enum worker_state { IDLE, SEEKING, COPYING };

struct worker {
	PGconn *conn;
	enum worker_state state;
	bool copy_open; /* COPYING: the server has begun to send */
	struct pgsrc_walk *walk;
	struct pgsrc_chunk *chunk;
};

struct pgsrc_snapshot {
	uint64_t lsn;
	int64_t version;
	PGconn *holder; /* of a later round: its temporary slot ends with it */
	bool durable;   /* the round stands in a durable position: its rows may go out */
	struct worker worker[PGSRC_MAX_WORKERS];
	size_t worker_count;
	struct pgsrc_walk *walk;
	size_t walk_count;
	struct pgout_cell *cell;
	int64_t rows;
	bool moved;                    /* a chunk was settled: a position is due */
	int64_t look_ms;               /* when to look again who waits for us */
	size_t started, settled, kept; /* chunks: begun, read without a gap, told by a durable position */
	struct {
		uint64_t hash;
		size_t settled;
	} given[PGSRC_MAX_WORKERS * PARTS]; /* positions not durable yet */
	size_t given_count;
};

struct reading {
	struct pgsrc *src;
	struct pgsrc_snapshot *snapshot;
	struct ls_batch *into;
	size_t bytes_before;
};

struct pgsrc_snapshot *pgsrc_snapshot_free(struct pgsrc_snapshot *snapshot)
{
	if (!snapshot)
		return NULL;
	for (size_t i = 0; i < snapshot->worker_count; i++)
		ls_pg_close(snapshot->worker[i].conn);
	for (size_t i = 0; i < snapshot->walk_count; i++)
		pgsrc_walk_release(&snapshot->walk[i]);
	ls_pg_close(snapshot->holder);
	free(snapshot->walk);
	free(snapshot->cell);
	free(snapshot);
	return NULL;
}

static enum ls_class open_worker(struct pgsrc *src, const char *name, PGconn **ret, struct ls_error *err)
{
	struct ls_buf sql;
	enum ls_class class = ls_pg_connect(src->options.url, src->context.name, false, ret, err);

	if (class)
		return class;
	ls_buf_init(&sql, 1024);
	ls_buf_add_text(&sql, "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
			      "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT ");
	ls_pg_add_literal(&sql, ls_str_of(name));
	class = ls_pg_exec(*ret, sql.ptr, NULL, err);
	ls_buf_release(&sql);
	return class;
}

static enum ls_class open_workers(struct pgsrc *src, struct pgsrc_snapshot *snapshot, const char *name,
				  struct ls_error *err)
{
	for (int64_t i = 0; i < src->options.snapshot_connections && i < PGSRC_MAX_WORKERS; i++) {
		enum ls_class class = open_worker(src, name, &snapshot->worker[snapshot->worker_count].conn, err);

		if (snapshot->worker[snapshot->worker_count].conn)
			snapshot->worker_count++;
		if (class)
			return class;
	}
	return LS_OK;
}

static enum ls_class open_walks(struct pgsrc *src, struct pgsrc_snapshot *snapshot, struct ls_error *err)
{
	double rows = 0;

	snapshot->walk = calloc(src->table_count + 1, sizeof(*snapshot->walk));
	snapshot->cell = calloc(LS_MAX_COLUMNS, sizeof(*snapshot->cell));
	if (!snapshot->walk || !snapshot->cell)
		abort();
	for (size_t i = 0; i < src->table_count; i++) {
		struct pgsrc_walk *walk = &snapshot->walk[snapshot->walk_count++];
		const json_t *progress = json_object_get(src->position.tables, src->table[i].label);
		enum ls_class class = pgsrc_walk_open(src, src->side, &src->table[i], progress, walk, err);

		if (class)
			return class;
		if (!progress)
			pgsrc_position_table(&src->position, src->table[i].label, json_false());
		rows += walk->done ? 0 : src->table[i].rows;
	}
	LS_GAUGE(src->context.stats, snapshot_total, rows);
	LS_GAUGE(src->context.stats, snapshot_rows, 0);
	return LS_OK;
}

enum ls_class pgsrc_snapshot_begin(struct pgsrc *src, const struct pgsrc_snapshot_start *start, struct ls_error *err)
{
	struct pgsrc_snapshot *snapshot = calloc(1, sizeof(*snapshot));
	enum ls_class class;

	if (!snapshot)
		abort();
	src->snapshot = snapshot; /* freed with the source, half-open or not */
	snapshot->lsn = start->lsn;
	snapshot->version = start->version;
	snapshot->holder = start->holder;
	LS_FAILPOINT_ERROR("postgres.snapshot", err);
	class = open_workers(src, snapshot, start->name, err);
	return class ? class : open_walks(src, snapshot, err);
}

/* note_durable: all up to the chunks that this position tells of need not be read again. */
static void note_durable(struct pgsrc_snapshot *snapshot, uint64_t hash)
{
	for (size_t i = 0; i < snapshot->given_count; i++) {
		if (snapshot->given[i].hash != hash)
			continue;
		snapshot->kept = snapshot->given[i].settled;
		snapshot->given_count -= i + 1;
		memmove(snapshot->given, snapshot->given + i + 1, snapshot->given_count * sizeof(*snapshot->given));
		return;
	}
}

/* Rows of a round go out only when a durable position tells of it. Otherwise, after a kill, nobody would know up to
 * which version the log before the round's LSN has to give way: a row that was read and then deleted could stay for
 * ever. */
void pgsrc_snapshot_confirm(struct pgsrc *src, const struct pgsrc_position *position, struct ls_str text)
{
	struct pgsrc_snapshot *snapshot = src->snapshot;

	if (snapshot)
		note_durable(snapshot, ls_hash(text));
	for (size_t i = 0; snapshot && i < position->round_count; i++)
		if (position->round[i].lsn == snapshot->lsn && position->round[i].version == snapshot->version)
			snapshot->durable = true;
}

/* ---- sessions ---- */

static bool is_full(const struct reading *reading)
{
	return reading->into->max - reading->into->count < pgsrc_event_room(reading->src) ||
	       ls_arena_used(reading->into->arena) - reading->bytes_before >= PGSRC_BATCH_BYTES;
}

static enum ls_class send(struct worker *worker, struct ls_buf *sql, enum worker_state state, struct ls_error *err)
{
	enum ls_class class = LS_OK;

	if (sql->full)
		class = ls_fail(err, LS_FATAL, "snapshot", "a key range of table %s is too long for a statement",
				worker->walk->table->label);
	else if (!PQsendQuery(worker->conn, sql->ptr))
		class = ls_pg_check(worker->conn, NULL, err);
	ls_buf_release(sql);
	worker->state = state;
	worker->copy_open = false;
	return class;
}

static enum ls_class start_copy(struct worker *worker, const PGresult *upto, struct ls_error *err)
{
	struct ls_buf sql;

	LS_FAILPOINT_ERROR("postgres.chunk_begun", err);
	worker->chunk = pgsrc_walk_add(worker->walk, upto);
	ls_buf_init(&sql, 1 << 24);
	pgsrc_walk_copy_sql(worker->walk, worker->chunk, &sql);
	return send(worker, &sql, COPYING, err);
}

/* A table that was rewritten (a retyped column, VACUUM FULL, TRUNCATE) after the snapshot was taken looks empty in it,
 * without an error. Asked once this session holds its lock: from then on nobody can rewrite it. */
static const char rewritten_sql[] =
	"SELECT pg_catalog.bool_and(c.relfilenode = coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)) FROM "
	"pg_catalog.pg_class c WHERE c.oid = $1::oid OR c.oid IN (SELECT relid FROM "
	"pg_catalog.pg_partition_tree($1::oid::pg_catalog.regclass))";

static enum ls_class not_rewritten(struct worker *worker, struct ls_error *err)
{
	const struct pgsrc_table *table = worker->walk->table;
	struct ls_buf sql;
	LS_PGRESULT res = NULL;
	char oid[16];
	const char *value[1] = { oid };
	enum ls_class class;

	(void)snprintf(oid, sizeof oid, "%u", (unsigned int)table->oid);
	ls_buf_init(&sql, 4096);
	ls_buf_add_text(&sql, "LOCK TABLE ");
	pgsrc_add_table(&sql, table->schema, table->name);
	ls_buf_add_text(&sql, " IN ACCESS SHARE MODE NOWAIT");
	class = ls_pg_exec(worker->conn, sql.ptr, NULL, err);
	ls_buf_release(&sql);
	if (!class)
		class = ls_pg_params(worker->conn, rewritten_sql, 1, value, &res, err);
	if (class)
		return class;
	if (*PQgetvalue(res, 0, 0) == 't')
		return LS_OK;
	return ls_fail(err, LS_RETRY, "rewritten",
		       "table %s was rewritten after the snapshot was taken; reading it under a newer one",
		       table->label);
}

static int64_t part_rows(const struct pgsrc *src)
{
	int64_t rows = src->options.snapshot_chunk_rows / PARTS;

	return rows ? rows : 1;
}

/* may_begin: with one chunk more there would still be less than one whole of each session that a kill undoes. */
static bool may_begin(const struct reading *reading)
{
	const struct pgsrc_snapshot *snapshot = reading->snapshot;
	size_t parts = (size_t)(reading->src->options.snapshot_chunk_rows / part_rows(reading->src));
	size_t limit = snapshot->worker_count * parts;

	return snapshot->started - snapshot->kept < (limit > 1 ? limit - 1 : 1);
}

/* give_work: the first table whose ranges are not all found and that nobody is asking about. */
static enum ls_class give_work(struct reading *reading, struct worker *worker, struct ls_error *err)
{
	struct ls_buf sql;

	for (size_t i = 0; i < reading->snapshot->walk_count && may_begin(reading); i++) {
		struct pgsrc_walk *walk = &reading->snapshot->walk[i];

		if (walk->all_found || walk->seeking)
			continue;
		worker->walk = walk;
		reading->snapshot->started++;
		if (!walk->key_count) {
			enum ls_class class = not_rewritten(worker, err);

			return class ? class : start_copy(worker, NULL, err);
		}
		walk->seeking = true;
		ls_buf_init(&sql, 1 << 24);
		pgsrc_walk_seek_sql(walk, part_rows(reading->src), &sql);
		return send(worker, &sql, SEEKING, err);
	}
	return LS_OK;
}

static enum ls_class no_more_results(PGconn *conn, struct ls_error *err)
{
	enum ls_class class = LS_OK;
	PGresult *res;

	while ((res = PQgetResult(conn)) != NULL) {
		if (!class)
			class = ls_pg_check(conn, res, err);
		PQclear(res);
	}
	return class;
}

static enum ls_class take_bound(struct worker *worker, struct ls_error *err)
{
	LS_PGRESULT res = NULL;
	enum ls_class class;

	if (PQisBusy(worker->conn))
		return LS_OK;
	res = PQgetResult(worker->conn);
	class = ls_pg_check(worker->conn, res, err);
	if (!class)
		class = no_more_results(worker->conn, err);
	if (class)
		return class;
	worker->walk->seeking = false;
	class = not_rewritten(worker, err);
	return class ? class : start_copy(worker, res, err);
}

static enum ls_class take_line(struct reading *reading, struct worker *worker, char *line, size_t len,
			       struct ls_error *err)
{
	struct pgsrc_snapshot *snapshot = reading->snapshot;
	const struct pgsrc_relation *relation = worker->walk->relation;
	int64_t limit = reading->src->context.max_event_bytes;
	struct pgsrc_snapshot_row row = { .lsn = snapshot->lsn,
					  .version = snapshot->version,
					  .relation = relation,
					  .cell = snapshot->cell,
					  .borrow = limit <= 0 || len <= (size_t)limit };

	if (row.borrow) {
		char *copy = ls_arena_bytes(reading->into->arena, len + 1);

		memcpy(copy, line, len);
		line = copy;
	}
	if (!pgsrc_copy_line(line, len, snapshot->cell, relation->column_count))
		return ls_fail(err, LS_FATAL, "08P01",
			       "table %s: a row of COPY has not the %zu columns that were asked for", relation->label,
			       relation->column_count);
	pgsrc_event_snapshot(reading->src, &row, reading->into);
	snapshot->rows++;
	return LS_OK;
}

static enum ls_class end_copy(struct reading *reading, struct worker *worker, struct ls_error *err)
{
	enum ls_class class = no_more_results(worker->conn, err);

	if (class)
		return class;
	LS_FAILPOINT_ERROR("postgres.chunk", err);
	worker->chunk->complete = true;
	worker->chunk = NULL;
	worker->state = IDLE;
	return give_work(reading, worker, err);
}

static enum ls_class open_copy(struct worker *worker, struct ls_error *err)
{
	LS_PGRESULT res = NULL;
	enum ls_class class;

	if (PQisBusy(worker->conn))
		return LS_OK;
	res = PQgetResult(worker->conn);
	class = ls_pg_check(worker->conn, res, err);
	worker->copy_open = !class;
	return class;
}

/* take_rows takes what has arrived, as far as the batch has room. */
static enum ls_class take_rows(struct reading *reading, struct worker *worker, struct ls_error *err)
{
	enum ls_class class = worker->copy_open ? LS_OK : open_copy(worker, err);

	while (!class && worker->copy_open && !is_full(reading)) {
		char *line = NULL;
		int len = PQgetCopyData(worker->conn, &line, 1);

		if (len == 0)
			return LS_OK;
		if (len == -1)
			return end_copy(reading, worker, err);
		if (len < 0)
			return ls_pg_check(worker->conn, NULL, err);
		class = take_line(reading, worker, line, (size_t)len, err);
		PQfreemem(line);
	}
	return class;
}

static enum ls_class step(struct reading *reading, struct worker *worker, struct ls_error *err)
{
	switch (worker->state) {
	case IDLE:
		return give_work(reading, worker, err);
	case SEEKING:
		return take_bound(worker, err);
	case COPYING:
		return take_rows(reading, worker, err);
	}
	return LS_OK;
}

static enum ls_class step_all(struct reading *reading, bool read, struct ls_error *err)
{
	for (size_t i = 0; i < reading->snapshot->worker_count && !is_full(reading); i++) {
		struct worker *worker = &reading->snapshot->worker[i];
		enum ls_class class;

		if (read && worker->state != IDLE && !PQconsumeInput(worker->conn))
			return ls_pg_check(worker->conn, NULL, err);
		class = step(reading, worker, err);
		if (class)
			return class;
	}
	return LS_OK;
}

static enum ls_class wait_for_any(struct reading *reading, int64_t deadline, struct ls_error *err)
{
	struct pollfd fd[PGSRC_MAX_WORKERS];
	nfds_t n = 0;
	int64_t left = deadline - ls_monotonic_ms();

	for (size_t i = 0; i < reading->snapshot->worker_count; i++)
		if (reading->snapshot->worker[i].state != IDLE)
			fd[n++] = (struct pollfd){ PQsocket(reading->snapshot->worker[i].conn), POLLIN, 0 };
	if (poll(fd, n, left < 0 ? 0 : (int)left) < 0 && errno != EINTR)
		return ls_fail(err, LS_RETRY, "poll", "could not wait for the server: error %d", errno);
	return LS_OK;
}

static bool working(const struct reading *reading)
{
	for (size_t i = 0; i < reading->snapshot->worker_count; i++)
		if (reading->snapshot->worker[i].state != IDLE)
			return true;
	return false;
}

/* ---- the end of a batch ---- */

static bool settle(struct reading *reading)
{
	bool all = true;

	for (size_t i = 0; i < reading->snapshot->walk_count; i++) {
		struct pgsrc_walk *walk = &reading->snapshot->walk[i];
		json_t *progress = pgsrc_walk_settle(walk, &reading->snapshot->settled);

		if (progress) {
			LS_FAILPOINT("postgres.chunk_settled");
			pgsrc_position_table(&reading->src->position, walk->table->label, progress);
			reading->snapshot->moved = true;
		}
		all = all && walk->done;
	}
	return all;
}

static void give_position(struct reading *reading)
{
	struct pgsrc *src = reading->src;

	LS_GAUGE(src->context.stats, snapshot_rows, reading->snapshot->rows);
	if (!reading->snapshot->moved)
		return;
	reading->into->position = pgsrc_position_print(&src->position, src->position.lsn, reading->into->arena);
	reading->snapshot->moved = false;
	if (reading->snapshot->given_count == PGSRC_MAX_WORKERS * PARTS)
		return; /* cannot be: each moved a chunk that is not durable */
	reading->snapshot->given[reading->snapshot->given_count].hash = ls_hash(reading->into->position);
	reading->snapshot->given[reading->snapshot->given_count++].settled = reading->snapshot->settled;
}

/* The sessions keep their locks for as long as their snapshot: a change of a table would wait for the last row, and all
 * who use the table behind it; and a session that comes to the table late would wait behind the change, for ever. So
 * the round ends: the change goes through, and the next round reads the rest as the table is then. */
static const char waiting_sql[] =
	"SELECT c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_locks w JOIN pg_catalog.pg_class c ON c.oid = "
	"w.relation WHERE NOT w.granted AND w.mode = 'AccessExclusiveLock' AND w.database = (SELECT oid FROM "
	"pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) AND "
	"pg_catalog.pg_blocking_pids(w.pid) && $1::int[] LIMIT 1";

static enum ls_class give_way(struct pgsrc *src, struct pgsrc_snapshot *snapshot, struct ls_error *err)
{
	int64_t now_ms = ls_monotonic_ms();
	const char *value[1];
	LS_PGRESULT res = NULL;
	PGconn *side = NULL;
	struct ls_buf pids;
	enum ls_class class;

	if (now_ms < snapshot->look_ms)
		return LS_OK;
	snapshot->look_ms = now_ms + LOOK_EVERY_MS;
	ls_buf_init(&pids, 4096);
	for (size_t i = 0; i < snapshot->worker_count; i++)
		ls_buf_printf(&pids, i ? ",%d" : "{%d", PQbackendPID(snapshot->worker[i].conn));
	ls_buf_add_char(&pids, '}');
	value[0] = pids.ptr;
	class = pgsrc_side(src, &side, err);
	if (!class)
		class = ls_pg_params(side, waiting_sql, 1, value, &res, err);
	ls_buf_release(&pids);
	if (class || PQntuples(res) == 0)
		return class;
	return ls_fail(err, LS_RETRY, "gives_way",
		       "a change of table %s waits for the snapshot; letting it go first, the rest is read after it",
		       PQgetvalue(res, 0, 0));
}

/* finish: all tables are read; the log begins where the slot does. */
static enum ls_class finish(struct pgsrc *src, struct ls_error *err)
{
	LS_FAILPOINT_ERROR("postgres.snapshot_read", err);
	src->snapshot = pgsrc_snapshot_free(src->snapshot);
	return pgsrc_stream_start(src, err);
}

/* table_changed: a table or column that was there when this round began and is not now. The next round looks again. */
static enum ls_class table_changed(enum ls_class class, struct ls_error *err)
{
	if (class == LS_FATAL && (strcmp(err->code, "42703") == 0 || strcmp(err->code, "42P01") == 0))
		class = err->class = LS_RETRY;
	return class;
}

enum ls_class pgsrc_snapshot_poll(struct pgsrc *src, int timeout_ms, struct ls_batch *into, struct ls_error *err)
{
	struct reading reading = { src, src->snapshot, into, ls_arena_used(into->arena) };
	int64_t deadline = ls_monotonic_ms() + timeout_ms;
	enum ls_class class;
	bool all = false;

	if (!src->snapshot->durable) {
		(void)poll(NULL, 0, timeout_ms < 10 ? timeout_ms : 10);
		return LS_OK;
	}
	class = give_way(src, src->snapshot, err);
	if (!class)
		class = step_all(&reading, false, err);
	for (;;) {
		if (!class && !is_full(&reading))
			class = step_all(&reading, true, err);
		if (class)
			return table_changed(class, err);
		all = settle(&reading);
		if (all || into->count || reading.snapshot->moved || ls_monotonic_ms() >= deadline)
			break;
		if (!working(&reading)) {
			(void)poll(NULL, 0, 2); /* for a position to become durable */
			break;
		}
		class = wait_for_any(&reading, deadline, err);
		if (class)
			return class;
	}
	give_position(&reading);
	return all ? finish(src, err) : LS_OK;
}
