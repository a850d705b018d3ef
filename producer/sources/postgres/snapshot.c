/* Reading the tables before the log: several sessions in one exported snapshot, all driven by the lane's one thread. */
#include "sources/postgres/chunk.h"
#include "sources/postgres/copytext.h"

#include "core/arena.h"
#include "core/failpoint.h"
#include "core/time.h"
#include "metrics/stats.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

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
	bool moved; /* a chunk was settled: a position is due */
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

/* Rows of a round go out only when a durable position tells of it. Otherwise, after a kill, nobody would know up to
 * which version the log before the round's LSN has to give way: a row that was read and then deleted could stay for
 * ever. */
void pgsrc_snapshot_confirm(struct pgsrc *src, const struct pgsrc_position *position)
{
	struct pgsrc_snapshot *snapshot = src->snapshot;

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

/* give_work: the first table whose ranges are not all found and that nobody is asking about. */
static enum ls_class give_work(struct reading *reading, struct worker *worker, struct ls_error *err)
{
	struct ls_buf sql;

	for (size_t i = 0; i < reading->snapshot->walk_count; i++) {
		struct pgsrc_walk *walk = &reading->snapshot->walk[i];

		if (walk->all_found || walk->seeking)
			continue;
		worker->walk = walk;
		if (!walk->key_count)
			return start_copy(worker, NULL, err);
		walk->seeking = true;
		ls_buf_init(&sql, 1 << 24);
		pgsrc_walk_seek_sql(walk, reading->src->options.snapshot_chunk_rows, &sql);
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
	return start_copy(worker, res, err);
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

/* ---- the end of a batch ---- */

static bool settle(struct reading *reading)
{
	bool all = true;

	for (size_t i = 0; i < reading->snapshot->walk_count; i++) {
		struct pgsrc_walk *walk = &reading->snapshot->walk[i];
		json_t *progress = pgsrc_walk_settle(walk);

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
}

/* finish: all tables are read; the log begins where the slot does. */
static enum ls_class finish(struct pgsrc *src, struct ls_error *err)
{
	LS_FAILPOINT_ERROR("postgres.snapshot_read", err);
	src->snapshot = pgsrc_snapshot_free(src->snapshot);
	return pgsrc_stream_start(src, err);
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
	class = step_all(&reading, false, err);
	for (;;) {
		if (!class && !is_full(&reading))
			class = step_all(&reading, true, err);
		if (class)
			return class;
		all = settle(&reading);
		if (all || into->count || ls_monotonic_ms() >= deadline)
			break;
		class = wait_for_any(&reading, deadline, err);
		if (class)
			return class;
	}
	give_position(&reading);
	return all ? finish(src, err) : LS_OK;
}
