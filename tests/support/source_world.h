/* A source of any kind under test, on a database of its own: what it hands over is kept as lines of text, so that a
 * test reads like the change it made. LS_TEST_PG is the URL of a superuser on a server with wal_level=logical. */
#pragma once

#include "core/arena.h"
#include "core/time.h"
#include "lockstep/source.h"
#include "metrics/stats.h"
#include "pg/conn.h"
#include "sources/postgres/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

enum { WORLD_EVENTS = 64, WORLD_DEADLINE_MS = 20000, WORLD_MAPPINGS = 8 };

extern const struct ls_source_ops ls_source_postgres;

struct seen {
	char *line; /* "UPDATE contact 1 id=1 name=Bob | id=1 name=Bo", absent ~, NULL ! */
	char *event_id;
	int64_t version, timestamp_us;
	int64_t base_version, base_offset;
	int64_t stamped; /* the version that the publisher's clock makes of it */
	const struct ls_schema *schema;
	char *poison;
};

struct world {
	char database[64], url[512];
	PGconn *admin, *sql;
	struct pgsrc_options options;
	struct ls_mapping mapping[WORLD_MAPPINGS];
	struct ls_str key[WORLD_MAPPINGS][4];
	struct ls_source_context context;
	struct ls_lane_stats *stats;
	struct ls_source *src;
	struct ls_arena *arena;
	struct ls_event *event;
	size_t batch_max;
	struct seen *seen;
	size_t count, room;
	char *position;       /* the newest */
	int64_t clock, floor; /* the publisher's version clock, and what was saved of it with the position */
	bool no_confirm;
};

static inline void world_ok(enum ls_class class, const struct ls_error *err)
{
	if (class)
		fail_msg("%s %s: %s", ls_class_name(class), err->code, err->text);
}

static inline void world_sql(struct world *world, const char *sql)
{
	struct ls_error err;

	world_ok(ls_pg_exec(world->sql, sql, NULL, &err), &err);
}

static inline char *world_ask(struct world *world, const char *sql)
{
	struct ls_error err;
	PGresult *res = NULL;
	char *text;

	world_ok(ls_pg_exec(world->sql, sql, &res, &err), &err);
	text = strdup(PQntuples(res) ? PQgetvalue(res, 0, 0) : "");
	PQclear(res);
	return text;
}

/* world_table maps a table to an entity; keys: one or two names. */
static inline void world_table(struct world *world, const char *entity, const char *place, const char *key,
			       const char *key2)
{
	size_t i = world->context.mapping_count++;

	world->key[i][0] = ls_str_of(key);
	world->key[i][1] = ls_str_of(key2);
	world->mapping[i] = (struct ls_mapping){
		.entity = entity, .place = place, .key = world->key[i], .key_count = key2 ? 2 : 1
	};
}

static inline int world_setup(void **state)
{
	static int serial;
	struct world *world = calloc(1, sizeof(*world));
	const char *given = getenv("LS_TEST_PG"), *path = strrchr(given, '/');
	const char *query = path ? strchr(path, '?') : NULL;
	char sql[200];
	struct ls_error err;

	(void)snprintf(world->database, sizeof(world->database), "ls_source_%d_%d", (int)getpid(), serial++);
	(void)snprintf(world->url, sizeof(world->url), "%.*s/%s%s", (int)(path ? path - given : 0), given,
		       world->database, query ? query : "");
	world_ok(ls_pg_connect(given, "test", false, &world->admin, &err), &err);
	(void)snprintf(sql, sizeof(sql), "CREATE DATABASE %s", world->database);
	world_ok(ls_pg_exec(world->admin, sql, NULL, &err), &err);
	world_ok(ls_pg_connect(world->url, "test", false, &world->sql, &err), &err);
	world->options = (struct pgsrc_options){ .url = world->url,
						 .slot = world->database,
						 .snapshot_connections = 2,
						 .snapshot_chunk_rows = 10,
						 .heartbeat_interval_ms = 200,
						 .wal_status_interval_ms = 200 };
	world->stats = calloc(1, sizeof(*world->stats));
	world->context = (struct ls_source_context){ .name = "crm",
						     .mapping = world->mapping,
						     .prefix = "lockstep",
						     .ledger_schema = "identity",
						     .max_event_bytes = 1000000,
						     .stats = world->stats };
	world->arena = ls_arena_new(64 << 20);
	world->batch_max = WORLD_EVENTS;
	world->event = calloc(100000, sizeof(*world->event));
	world->floor = LS_NONE;
	*state = world;
	return 0;
}

static inline void world_forget(struct world *world)
{
	for (size_t i = 0; i < world->count; i++) {
		free(world->seen[i].line);
		free(world->seen[i].event_id);
		free(world->seen[i].poison);
	}
	world->count = 0;
}

static inline int world_teardown(void **state)
{
	struct world *world = *state;
	int64_t deadline = ls_monotonic_ms() + 5000;
	char sql[400];
	struct ls_error err;

	ls_source_postgres.close(world->src);
	ls_pg_close(world->sql);
	(void)snprintf(sql, sizeof(sql),
		       "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '%s'",
		       world->database);
	while (ls_pg_exec(world->admin, sql, NULL, &err) && ls_monotonic_ms() < deadline) /* a walsender is ending */
		(void)usleep(20000);
	(void)snprintf(sql, sizeof(sql), "DROP DATABASE %s WITH (FORCE)", world->database);
	(void)ls_pg_exec(world->admin, sql, NULL, &err);
	ls_pg_close(world->admin);
	world_forget(world);
	free(world->seen);
	free(world->position);
	free(world->stats);
	free(world->event);
	ls_arena_free(world->arena);
	free(world);
	return 0;
}

static inline enum ls_class world_try_open(struct world *world, struct ls_error *err)
{
	struct ls_str position = ls_str_of(world->position);

	world->clock = world->floor == LS_NONE ? 0 : world->floor;
	return ls_source_postgres.open(&world->options, &world->context, position, world->floor, &world->src, err);
}

/* world_open waits for the walsender of a source that was just closed to let go of the slot. */
static inline void world_open(struct world *world)
{
	int64_t deadline = ls_monotonic_ms() + WORLD_DEADLINE_MS;
	struct ls_error err;
	enum ls_class class;

	while ((class = world_try_open(world, &err)) == LS_FENCED && ls_monotonic_ms() < deadline)
		(void)usleep(10000);
	world_ok(class, &err);
}

static inline void world_close(struct world *world)
{
	world->src = ls_source_postgres.close(world->src);
}

static inline void world_add_row(struct ls_buf *buf, const struct ls_row *row)
{
	for (size_t i = 0; row->schema && i < row->schema->count; i++) {
		const struct ls_value *value = &row->value[i];

		ls_buf_printf(buf, " %.*s=", LS_ARG(row->schema->column[i].name));
		if (value->presence == LS_PRESENT)
			ls_buf_add_str(buf, value->text);
		else
			ls_buf_add_text(buf, value->presence == LS_NULL ? "!" : "~");
	}
}

static inline void world_note(struct world *world, const struct ls_event *event)
{
	struct seen seen = { .version = event->version,
			     .timestamp_us = event->timestamp_us,
			     .base_version = event->base_version,
			     .base_offset = event->base_offset,
			     .stamped = event->version };
	struct ls_buf buf;

	ls_buf_init(&buf, 1 << 24);
	ls_buf_printf(&buf, "%s %.*s %.*s", ls_change_name(event->change), LS_ARG(event->entity),
		      LS_ARG(event->entity_id));
	if (seen.version == LS_NONE)
		seen.stamped = world->clock =
			event->timestamp_us > world->clock + 1 ? event->timestamp_us : world->clock + 1;
	world_add_row(&buf, &event->after);
	if (event->before.schema)
		ls_buf_add_text(&buf, " |");
	world_add_row(&buf, &event->before);
	seen.line = ls_buf_take(&buf);
	seen.event_id = strndup(event->event_id.ptr, event->event_id.len);
	seen.schema = event->after.schema ? event->after.schema : event->before.schema;
	if (event->metadata_count)
		seen.poison = strndup(event->metadata[0].value.ptr, event->metadata[0].value.len);
	if (world->count == world->room) {
		world->room = world->room ? world->room * 2 : 256;
		world->seen = realloc(world->seen, world->room * sizeof(seen));
	}
	world->seen[world->count++] = seen;
}

/* world_poll polls once, notes the events, and confirms the position as the lane would once all is durable. */
static inline enum ls_class world_poll(struct world *world, struct ls_error *err)
{
	struct ls_batch batch = {
		.arena = world->arena, .event = world->event, .max = world->batch_max, .floor = LS_NONE
	};
	enum ls_class class;

	ls_arena_reset(world->arena);
	class = ls_source_postgres.poll(world->src, 20, &batch, err);
	if (class)
		return class;
	assert_true(batch.count <= batch.max);
	if (batch.floor > world->clock)
		world->clock = batch.floor;
	for (size_t i = 0; i < batch.count; i++)
		world_note(world, &batch.event[i]);
	if (batch.position.len) {
		free(world->position);
		world->position = strndup(batch.position.ptr, batch.position.len);
		world->floor = world->clock;
		if (!world->no_confirm)
			class = ls_source_postgres.confirm(world->src, ls_str_of(world->position), err);
	}
	return class;
}

/* world_until polls until `count` events were seen since the last world_forget, and a position behind them. */
static inline void world_until(struct world *world, size_t count)
{
	int64_t deadline = ls_monotonic_ms() + WORLD_DEADLINE_MS;
	struct ls_error err;

	while (world->count < count) {
		world_ok(world_poll(world, &err), &err);
		if (ls_monotonic_ms() > deadline)
			fail_msg("only %zu of %zu events came", world->count, count);
	}
}

/* world_settle polls until the source has handed over a position at or behind the server's log as it is now. */
static inline void world_settle(struct world *world)
{
	int64_t deadline = ls_monotonic_ms() + WORLD_DEADLINE_MS;
	char *lsn = world_ask(world, "SELECT pg_logical_emit_message(false, 'test', 'settle')"), sql[300],
	     *there = NULL;
	struct ls_error err;
	bool done = false;

	while (!done) {
		char at[32] = "0/0";

		world_ok(world_poll(world, &err), &err);
		if (world->position)
			(void)snprintf(at, sizeof(at), "%.*s", (int)strcspn(world->position + 8, "\""),
				       world->position + 8);
		(void)snprintf(sql, sizeof(sql), "SELECT '%s'::pg_lsn >= '%s'::pg_lsn", at, lsn);
		there = world_ask(world, sql);
		done = *there == 't';
		free(there);
		if (ls_monotonic_ms() > deadline)
			fail_msg("the position stays at %s, the log is at %s", at, lsn);
	}
	free(lsn);
}

static inline void world_line(const struct world *world, size_t i, const char *expected)
{
	assert_true(i < world->count);
	assert_string_equal(world->seen[i].line, expected);
}

/* world_contacts is a world with a table of contacts that the source reads. */
static inline int world_contacts(void **state)
{
	struct world *world;

	world_setup(state);
	world = *state;
	world_sql(world, "CREATE TABLE contacts (id int PRIMARY KEY, name text)");
	world_table(world, "contact", "public.contacts", "id", NULL);
	return 0;
}
