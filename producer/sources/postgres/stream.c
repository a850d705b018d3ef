/* Reading the log: frames from the walsender, transactions, where a batch ends, and what the server is told. */
#include "sources/postgres/source.h"

#include "core/arena.h"
#include "core/failpoint.h"
#include "core/time.h"
#include "metrics/stats.h"
#include "pg/origin.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

/* One poll: the batch being filled. */
struct filling {
	struct ls_batch *into;
	size_t bytes_before; /* of the arena */
	bool ended;          /* nothing more goes into this batch */
};

/* A server that hears nothing for its wal_sender_timeout ends the stream. It may be set for our role or database alone,
 * so the session itself is asked; three words within that time, whatever was configured. */
static enum ls_class ask_patience(struct pgsrc *src, struct ls_error *err)
{
	enum { CONFIRM_MS = 1000, LEAST_MS = 50 };
	LS_PGRESULT res = NULL;
	enum ls_class class = ls_pg_exec(
		src->repl, "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'", &res, err);
	int64_t patience = !class && PQntuples(res) ? strtoll(PQgetvalue(res, 0, 0), NULL, 10) / 3 : 0;

	src->status_interval_ms = src->options.wal_status_interval_ms;
	src->confirm_interval_ms = CONFIRM_MS;
	if (patience <= 0) /* 0: it waits for ever */
		return class;
	patience = patience < LEAST_MS ? LEAST_MS : patience;
	if (patience < src->status_interval_ms)
		src->status_interval_ms = patience;
	if (patience < src->confirm_interval_ms)
		src->confirm_interval_ms = patience;
	return class;
}

enum ls_class pgsrc_stream_start(struct pgsrc *src, struct ls_error *err)
{
	char lsn[PGOUT_LSN];
	struct ls_buf sql, names;
	LS_PGRESULT res = NULL;
	enum ls_class class = ask_patience(src, err);

	if (class)
		return class;
	LS_FAILPOINT_ERROR("postgres.stream", err);
	ls_buf_init(&names, 256);
	ls_pg_add_ident(&names, ls_str_of(src->publication));
	ls_buf_init(&sql, 1024);
	ls_buf_printf(&sql, "START_REPLICATION SLOT \"%s\" LOGICAL %s (proto_version '1', publication_names ",
		      src->slot, pgout_lsn_print(src->position.lsn, lsn));
	ls_pg_add_literal(&sql, ls_buf_str(&names));
	ls_buf_add_char(&sql, ')');
	res = PQexec(src->repl, sql.ptr);
	ls_buf_release(&sql);
	ls_buf_release(&names);
	if (PQresultStatus(res) != PGRES_COPY_BOTH) {
		class = ls_pg_check(src->repl, res, err);
		return class ? class
			     : ls_fail(err, LS_FATAL, "08P01", "slot \"%s\": the server did not begin to stream",
				       src->slot);
	}
	LS_FAILPOINT_ERROR("postgres.streaming", err);
	src->streaming = true;
	src->confirmed = src->received = src->commit_end = src->handed_lsn = src->position.lsn;
	src->status_at_ms = src->heartbeat_at_ms = ls_monotonic_ms();
	return pgsrc_status(src, true, err);
}

enum ls_class pgsrc_status(struct pgsrc *src, bool now, struct ls_error *err)
{
	int64_t at = ls_monotonic_ms(), since = at - src->status_at_ms;
	char status[PGOUT_STATUS];

	if (!src->streaming)
		return LS_OK;
	if (!now && !(src->confirm_due && since >= src->confirm_interval_ms) && since < src->status_interval_ms)
		return LS_OK;
	LS_FAILPOINT_ERROR("postgres.status", err);
	pgout_status(status, src->received, src->confirmed, ls_now_us(), false);
	if (PQputCopyData(src->repl, status, sizeof(status)) != 1 || PQflush(src->repl) < 0)
		return ls_pg_check(src->repl, NULL, err);
	LS_FAILPOINT_ERROR("postgres.status_sent", err);
	src->status_at_ms = at;
	src->confirm_due = false;
	return LS_OK;
}

static enum ls_class malformed(const struct pgsrc *src, struct ls_error *err)
{
	char lsn[PGOUT_LSN];

	return ls_fail(
		err, LS_FATAL, "08P01",
		"slot \"%s\": a message after %s is not pgoutput as protocol version 1 has it; is it really PostgreSQL "
		"on the other end?",
		src->slot, pgout_lsn_print(src->received, lsn));
}

/* ---- transactions ---- */

static void begin_transaction(struct pgsrc *src, struct filling *fill)
{
	int64_t floor = pgsrc_position_floor(&src->position, src->message->lsn);
	char lsn[PGOUT_LSN];
	int len;

	LS_FAILPOINT("postgres.begin");
	src->in_transaction = true;
	src->foreign = false;
	src->commit_lsn = src->message->lsn;
	src->commit_us = src->message->time_us;
	src->commit_xid = src->message->xid;
	src->row = 0;
	len = snprintf(src->id_head, sizeof(src->id_head), "%.120s:%s:", src->context.name,
		       pgout_lsn_print(src->commit_lsn, lsn));
	src->id_head_len = (size_t)len;
	if (floor == LS_NONE)
		return;
	/* What follows is newer than what a later round of the snapshot read: so are its versions. */
	if (fill->into->count == 0 && src->commit_end == src->handed_lsn) {
		fill->into->floor = fill->into->floor > floor ? fill->into->floor : floor;
		return;
	}
	src->floor_next = floor;
	fill->ended = true;
}

static void end_transaction(struct pgsrc *src, struct filling *fill)
{
	struct ls_batch *into = fill->into;

	LS_FAILPOINT("postgres.commit");
	src->in_transaction = false;
	src->open_events = 0;
	src->commit_end = src->message->end_lsn;
	pgsrc_position_pass(&src->position, src->commit_lsn);
	pgsrc_base_settle(src);
	/* A batch that ends here has a position; one that ends inside the next transaction has none. */
	if (into->count > into->max / 2 || ls_arena_used(into->arena) - fill->bytes_before > PGSRC_BATCH_BYTES / 2 ||
	    src->overdue)
		fill->ended = true;
}

static enum ls_class truncated(struct pgsrc *src, struct ls_error *err)
{
	for (size_t i = 0; i < src->message->truncated; i++) {
		const struct pgsrc_relation *relation = pgsrc_relation_find(&src->relations, src->message->truncate[i]);
		char text[400];

		if (!relation || !relation->view_count || src->foreign)
			continue;
		if (src->options.on_truncate == PGSRC_TRUNCATE_FAIL)
			return ls_fail(
				err, LS_FATAL, "truncate",
				"table %s was truncated and on_truncate is fail: empty the destinations by hand, "
				"then set on_truncate: ignore to go on",
				relation->label);
		(void)snprintf(text, sizeof(text),
			       "table %s was truncated: its rows stay at the destinations (on_truncate: ignore)",
			       relation->label);
		if (src->context.stats->registry)
			ls_stats_error(src->context.stats, text);
	}
	return LS_OK;
}

/* ---- messages ---- */

static bool is_row(char kind)
{
	return kind == 'I' || kind == 'U' || kind == 'D';
}

static enum ls_class take_row(struct pgsrc *src, bool borrow, struct filling *fill, struct ls_error *err)
{
	const struct pgsrc_relation *relation = pgsrc_relation_find(&src->relations, src->message->relation);
	size_t before = fill->into->count;
	enum ls_class class = LS_OK;

	if (!relation || !src->in_transaction)
		return malformed(src, err);
	if (relation->ledger)
		pgsrc_base_note(src, relation, src->message);
	if (relation->view_count && !src->foreign)
		pgsrc_event_change(src, relation, borrow, fill->into);
	if (src->message->kind == PGOUT_UPDATE && src->message->old_kind)
		class = pgsrc_event_complete(src, relation, fill->into, before, err);
	/* Every row counts, whoever it is for: what is filtered out does not move the ids of the rest. */
	src->row++;
	src->open_events += fill->into->count - before;
	return class;
}

static enum ls_class learn(struct pgsrc *src, struct ls_error *err)
{
	struct pgsrc_relation *relation;
	PGconn *side;
	enum ls_class class;

	LS_FAILPOINT_ERROR("postgres.relation", err);
	class = pgsrc_side(src, &side, err);
	return class ? class : pgsrc_relation_learn(&src->relations, side, src->message, &relation, err);
}

static enum ls_class take_other(struct pgsrc *src, struct filling *fill, struct ls_error *err)
{
	switch (src->message->kind) {
	case PGOUT_BEGIN:
		begin_transaction(src, fill);
		return LS_OK;
	case PGOUT_COMMIT:
		end_transaction(src, fill);
		return LS_OK;
	case PGOUT_ORIGIN:
		/* What a sink of ours wrote here came from elsewhere and is known there. */
		src->foreign = src->context.is_destination && ls_pg_origin_is(src->message->name, src->context.name);
		return LS_OK;
	case PGOUT_RELATION:
		return learn(src, err);
	case PGOUT_TRUNCATE:
		return truncated(src, err);
	case PGOUT_INSERT:
	case PGOUT_UPDATE:
	case PGOUT_DELETE:
	case PGOUT_TYPE:
	case PGOUT_MESSAGE:
		break;
	}
	return LS_OK;
}

static enum ls_class take_message(struct pgsrc *src, struct ls_str payload, struct filling *fill, struct ls_error *err)
{
	int64_t limit = src->context.max_event_bytes;
	bool row = payload.len && is_row(payload.ptr[0]);
	bool borrow = row && (limit <= 0 || payload.len <= (size_t)limit);

	/* Row values are views into the message, so it has to live as long as the batch. */
	if (borrow)
		payload = ls_arena_str(fill->into->arena, payload);
	if (!pgout_read(payload, src->message))
		return malformed(src, err);
	return row ? take_row(src, borrow, fill, err) : take_other(src, fill, err);
}

static enum ls_class take_frame(struct pgsrc *src, struct ls_str bytes, struct filling *fill, struct ls_error *err)
{
	struct pgout_frame frame;

	if (!pgout_frame_read(bytes, &frame))
		return malformed(src, err);
	if (frame.wal_end > src->received)
		src->received = frame.wal_end;
	if (frame.wal_end > src->wal_end)
		src->wal_end = frame.wal_end;
	if (!frame.keepalive)
		return take_message(src, frame.payload, fill, err);
	/* Commits come in order: between two transactions everything below wal_end was sent. */
	if (!src->in_transaction && frame.wal_end > src->commit_end)
		src->commit_end = frame.wal_end;
	return frame.reply ? pgsrc_status(src, true, err) : LS_OK;
}

/* ---- the batch ---- */

static bool is_full(const struct pgsrc *src, const struct filling *fill)
{
	return fill->ended || fill->into->max - fill->into->count < pgsrc_event_room(src) ||
	       ls_arena_used(fill->into->arena) - fill->bytes_before >= PGSRC_BATCH_BYTES;
}

static enum ls_class stream_ended(struct pgsrc *src, struct ls_error *err)
{
	LS_PGRESULT res = PQgetResult(src->repl);
	enum ls_class class = ls_pg_check(src->repl, res, err);

	return class ? class : ls_fail(err, LS_RETRY, "57P01", "slot \"%s\": the server ended the stream", src->slot);
}

/* drain takes what libpq has already read. */
static enum ls_class drain(struct pgsrc *src, struct filling *fill, struct ls_error *err)
{
	while (!is_full(src, fill)) {
		char *bytes = NULL;
		int len = PQgetCopyData(src->repl, &bytes, 1);
		enum ls_class class;

		if (len == 0)
			return LS_OK;
		if (len == -1)
			return stream_ended(src, err);
		if (len < 0)
			return ls_pg_check(src->repl, NULL, err);
		class = take_frame(src, (struct ls_str){ bytes, (size_t)len }, fill, err);
		PQfreemem(bytes);
		if (class)
			return class;
	}
	return LS_OK;
}

static enum ls_class read_more(struct pgsrc *src, struct filling *fill, struct ls_error *err)
{
	enum ls_class class = drain(src, fill, err);

	if (class || is_full(src, fill))
		return class;
	if (!PQconsumeInput(src->repl))
		return ls_pg_check(src->repl, NULL, err);
	return drain(src, fill, err);
}

static bool advance_due(const struct pgsrc *src)
{
	return !src->in_transaction && src->commit_end > src->handed_lsn &&
	       ls_monotonic_ms() - src->advance_at_ms >= src->options.wal_status_interval_ms;
}

/* give_position: the batch ends between two transactions, and something was read since the last position. */
static void give_position(struct pgsrc *src, struct ls_batch *into)
{
	bool awaited = src->overdue; /* events of earlier batches are behind it, too */
	int64_t floor;

	src->overdue = src->open_events > 0;
	if (src->overdue || src->commit_end <= src->handed_lsn)
		return;
	if (into->count == 0 && !awaited && !advance_due(src))
		return;
	if (!src->in_transaction) {
		/* An idle log passed a round without any transaction of ours behind it. */
		floor = pgsrc_position_floor(&src->position, src->commit_end);
		if (floor != LS_NONE && into->count == 0) {
			into->floor = into->floor > floor ? into->floor : floor;
			pgsrc_position_pass(&src->position, src->commit_end);
		}
	}
	into->position = pgsrc_position_print(&src->position, src->commit_end, into->arena);
	src->handed_lsn = src->commit_end;
	src->advance_at_ms = ls_monotonic_ms();
}

static int wait_ms(const struct pgsrc *src, int64_t deadline)
{
	int64_t now = ls_monotonic_ms(), left = deadline - now;
	int64_t status =
		src->status_at_ms + (src->confirm_due ? src->confirm_interval_ms : src->status_interval_ms) - now;
	int64_t heartbeat = src->heartbeat_at_ms + src->options.heartbeat_interval_ms - now;

	if (status < left)
		left = status;
	if (src->options.heartbeat_interval_ms > 0 && heartbeat < left)
		left = heartbeat;
	return left < 0 ? 0 : (int)left;
}

static enum ls_class wait_for_more(struct pgsrc *src, int64_t deadline, struct ls_error *err)
{
	struct pollfd fd = { PQsocket(src->repl), POLLIN, 0 };
	enum ls_class class = pgsrc_status(src, false, err);

	if (!class)
		class = pgsrc_heartbeat(src, err);
	if (class)
		return class;
	if (poll(&fd, 1, wait_ms(src, deadline)) < 0 && errno != EINTR)
		return ls_fail(err, LS_RETRY, "poll", "could not wait for the server: error %d", errno);
	return LS_OK;
}

enum ls_class pgsrc_stream_poll(struct pgsrc *src, int timeout_ms, struct ls_batch *into, struct ls_error *err)
{
	struct filling fill = { .into = into, .bytes_before = ls_arena_used(into->arena) };
	int64_t deadline = ls_monotonic_ms() + timeout_ms;
	enum ls_class class;

	LS_FAILPOINT_ERROR("postgres.poll", err);
	for (;;) {
		class = read_more(src, &fill, err);
		if (class)
			return class;
		if (into->count || fill.ended || advance_due(src) || ls_monotonic_ms() >= deadline)
			break;
		class = wait_for_more(src, deadline, err);
		if (class)
			return class;
	}
	give_position(src, into);
	if (src->wal_end >= src->received)
		LS_GAUGE(src->context.stats, lag_events, src->wal_end - src->received);
	class = pgsrc_status(src, false, err);
	return class ? class : pgsrc_heartbeat(src, err);
}
