/* A destination of any kind under test, on a database of its own that is dropped afterwards: slices are put together
 * one write at a time, and what stands in the tables is what a session of the test itself reads back. LS_TEST_PG: URL
 * of a superuser. */
#pragma once

#include "core/arena.h"
#include "core/buf.h"
#include "core/time.h"
#include "lockstep/destination.h"
#include "main/report.h"
#include "metrics/stats.h"
#include "pg/conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { COLUMNS_MAX = 40, WRITES_MAX = 64 };

extern const struct ls_destination_ops ls_destination_postgres;
static const struct ls_destination_ops *const ops = &ls_destination_postgres;

struct bench {
	PGconn *admin, *conn;
	char database[64];
	char *url;
	void *options;
	struct ls_arena *arena;
	struct ls_lane_stats *stats;
	struct ls_str key[4];
	struct ls_mapping mapping;
	struct ls_destination_context context;
	struct ls_column column[COLUMNS_MAX];
	struct ls_schema schema;
	struct ls_mark mark;
	struct ls_destination *dst;
	struct ls_write write[WRITES_MAX];
	struct ls_entry entry[WRITES_MAX];
	size_t writes;
	struct ls_outcome outcome;
	struct ls_error err;
	unsigned events;
};

static inline void must(PGconn *conn, const char *sql)
{
	PGresult *res = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(res);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(conn));
	PQclear(res);
}

/* says asks one value of the server. */
static const char *says(struct bench *b, const char *sql)
{
	PGresult *res = PQexec(b->conn, sql);
	struct ls_str text;

	if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1)
		fail_msg("%s: %d rows, %s", sql, PQntuples(res), PQerrorMessage(b->conn));
	text = ls_arena_str(b->arena, ls_str_of(PQgetisnull(res, 0, 0) ? "(null)" : PQgetvalue(res, 0, 0)));
	PQclear(res);
	return text.ptr;
}

static const char *url_of(const char *base, const char *database, struct ls_arena *arena)
{
	PQconninfoOption *option = PQconninfoParse(base, NULL);
	struct ls_str url = LS_STR("");

	for (PQconninfoOption *o = option; o && o->keyword; o++)
		if (o->val && strcmp(o->keyword, "dbname") != 0)
			url = ls_arena_printf(arena, "%.*s%s='%s' ", LS_ARG(url), o->keyword, o->val);
	PQconninfoFree(option);
	return ls_arena_printf(arena, "%.*sdbname=%s", LS_ARG(url), database).ptr;
}

/* set_option writes into the options struct by the kind's own table. */
static inline void set_option(struct bench *b, const char *name, const char *text, int64_t number)
{
	for (size_t i = 0; i < ops->option_count; i++) {
		char *to = (char *)b->options + ops->options[i].offset;

		if (strcmp(ops->options[i].name, name) != 0)
			continue;
		if (ops->options[i].type == LS_OPT_STRING || ops->options[i].type == LS_OPT_SECRET)
			memcpy(to, &text, sizeof(text));
		else if (ops->options[i].type == LS_OPT_CHOICE)
			*(int *)(void *)to = (int)number;
		else
			*(int64_t *)(void *)to = number;
		return;
	}
	fail_msg("no option %s", name);
}

static inline int bench_open(void **state)
{
	const char *base = getenv("LS_TEST_PG");
	struct bench *b = calloc(1, sizeof(*b));
	char sql[160];

	b->arena = ls_arena_new(0);
	(void)snprintf(b->database, sizeof(b->database), "lsdest_%d_%llx", (int)getpid(),
		       (unsigned long long)ls_now_us());
	assert_int_equal(ls_pg_connect(base, "test", false, &b->admin, &b->err), LS_OK);
	(void)snprintf(sql, sizeof(sql), "CREATE DATABASE %s", b->database);
	must(b->admin, sql);
	b->url = (char *)(uintptr_t)url_of(base, b->database, b->arena);
	assert_int_equal(ls_pg_connect(b->url, "test", false, &b->conn, &b->err), LS_OK);
	b->options = calloc(1, ops->options_size);
	set_option(b, "url", b->url, 0);
	set_option(b, "statement_timeout", NULL, 60000);
	set_option(b, "lock_timeout", NULL, 2000);
	b->stats = calloc(1, sizeof(*b->stats));
	b->key[0] = LS_STR("id");
	b->mapping =
		(struct ls_mapping){ .entity = "contact", .place = "public.contacts", .key = b->key, .key_count = 1 };
	b->context = (struct ls_destination_context){ .name = "it's \"one\"",
						      .mapping = &b->mapping,
						      .mapping_count = 1,
						      .ledger_schema = "identity",
						      .owner = "test",
						      .ledger_full = true,
						      .ledger_retention_ms = 3600000,
						      .stats = b->stats };
	b->schema = (struct ls_schema){ LS_STR("contact"), b->column, 0 };
	b->mark = (struct ls_mark){ .topic = LS_STR("t.contact"), .partition = 3 };
	*state = b;
	return 0;
}

static inline int bench_close(void **state)
{
	struct bench *b = *state;
	int64_t deadline = ls_monotonic_ms() + 20000;
	struct ls_error err;
	char sql[280];

	b->dst = ops->close(b->dst);
	ls_pg_close(b->conn);
	/* Of this database alone: other programs run beside this one. Its session may still be ending. */
	(void)snprintf(
		sql, sizeof(sql),
		"SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname LIKE '%%:' || "
		"(SELECT oid FROM pg_database WHERE datname = '%s')",
		b->database);
	while (ls_pg_exec(b->admin, sql, NULL, &err) && ls_monotonic_ms() < deadline)
		(void)usleep(20000);
	(void)snprintf(sql, sizeof(sql), "DROP DATABASE %s WITH (FORCE)", b->database);
	must(b->admin, sql);
	ls_pg_close(b->admin);
	ls_arena_free(b->arena);
	free(b->options);
	free(b->stats);
	free(b);
	return 0;
}

static inline void add_column(struct bench *b, const char *name, enum ls_kind kind, const char *native)
{
	b->column[b->schema.count++] =
		(struct ls_column){ ls_str_of(name),
				    { .kind = kind, .item = LS_STRING, .native = ls_str_of(native) },
				    strcmp(name, "id") == 0 };
}

static inline void start(struct bench *b)
{
	if (ops->open(b->options, &b->context, &b->dst, &b->err))
		fail_msg("open: %s", b->err.text);
	if (ops->claim(b->dst, &b->mark, 1, &b->err))
		fail_msg("claim: %s", b->err.text);
}

static inline void contacts(struct bench *b)
{
	must(b->conn, "CREATE TABLE contacts (id int PRIMARY KEY, name text NOT NULL, age int CHECK (age < 200))");
	add_column(b, "id", LS_INT32, "integer");
	add_column(b, "name", LS_STRING, "text");
	add_column(b, "age", LS_INT32, "integer");
	start(b);
}

#define ABSENT ((const char *)&absent_mark)
static const char absent_mark = 0;

static inline struct ls_str next_event_id(struct bench *b)
{
	return ls_arena_printf(b->arena, "event-%u", ++b->events);
}

/* put adds one write to the slice: texts in order of the columns; NULL is NULL, ABSENT is absent. */
static inline void put_op(struct bench *b, enum ls_write_op op, const char *const *text)
{
	struct ls_value *value = ls_arena_zalloc(b->arena, sizeof(*value) * (b->schema.count + 1));
	size_t at = b->writes++;

	for (size_t i = 0; i < b->schema.count; i++) {
		value[i].presence = text[i] == ABSENT ? LS_ABSENT : text[i] ? LS_PRESENT : LS_NULL;
		value[i].text = text[i] && text[i] != ABSENT ? ls_str_of(text[i]) : (struct ls_str){ NULL, 0 };
	}
	b->write[at] = (struct ls_write){ .op = op, .mapping = &b->mapping, .row = { &b->schema, value }, .entry = at };
	b->entry[at] = (struct ls_entry){ .event_id = next_event_id(b), .status = LS_ENTRY_APPLIED };
}
#define PUT(b, ...)    put_op((b), LS_WRITE_UPSERT, (const char *const[]){ __VA_ARGS__ })
#define REMOVE(b, ...) put_op((b), LS_WRITE_DELETE, (const char *const[]){ __VA_ARGS__ })

static inline struct ls_slice slice_of(struct bench *b)
{
	int64_t from = b->mark.next_offset < 0 ? 0 : b->mark.next_offset;

	return (struct ls_slice){ .mark = b->mark,
				  .next_offset = from + (int64_t)b->writes + 1,
				  .max_version = 7,
				  .last_event_id = LS_STR("last"),
				  .entry = b->entry,
				  .entry_count = b->writes,
				  .write = b->write,
				  .write_count = b->writes };
}

static inline enum ls_class apply_only(struct bench *b, const struct ls_slice *slice)
{
	return ops->apply(b->dst, slice, b->arena, &b->outcome, &b->err);
}

static inline enum ls_class apply(struct bench *b)
{
	struct ls_slice slice = slice_of(b);
	enum ls_class class = apply_only(b, &slice);

	if (!class && !b->outcome.known_count)
		b->mark.next_offset = slice.next_offset;
	b->writes = 0;
	return class;
}

static inline void apply_well(struct bench *b)
{
	enum ls_class class = apply(b);

	if (class)
		fail_msg("apply: %s %s: %s", ls_class_name(class), b->err.code, b->err.text);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_open, bench_close)

/* bench_run runs the tests, or says that there is no server to run them on. */
#define bench_run(tests)                                                                                               \
	(getenv("LS_TEST_PG") ? cmocka_run_group_tests(tests, NULL, NULL)                                              \
			      : (puts("skipped: LS_TEST_PG is not set (URL of a PostgreSQL superuser)"), 77))
