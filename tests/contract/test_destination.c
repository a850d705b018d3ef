/* The contract of destinations, on a real server. LS_TEST_PG: URL of a superuser; every test works in a database of its
 * own that is dropped afterwards. Expected values are what psql's session of the test itself reads back. */
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

static void must(PGconn *conn, const char *sql)
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
static void set_option(struct bench *b, const char *name, const char *text, int64_t number)
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

static int bench_open(void **state)
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

static int bench_close(void **state)
{
	struct bench *b = *state;
	char sql[160];

	b->dst = ops->close(b->dst);
	ls_pg_close(b->conn);
	must(b->admin, "SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin o WHERE roname LIKE "
		       "'lockstep_it''s%' AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE "
		       "'lockstep it''s%')");
	(void)snprintf(sql, sizeof(sql), "DROP DATABASE %s WITH (FORCE)", b->database);
	must(b->admin, sql);
	ls_pg_close(b->admin);
	ls_arena_free(b->arena);
	free(b->options);
	free(b->stats);
	free(b);
	return 0;
}

static void add_column(struct bench *b, const char *name, enum ls_kind kind, const char *native)
{
	b->column[b->schema.count++] =
		(struct ls_column){ ls_str_of(name),
				    { .kind = kind, .item = LS_STRING, .native = ls_str_of(native) },
				    strcmp(name, "id") == 0 };
}

static void start(struct bench *b)
{
	if (ops->open(b->options, &b->context, &b->dst, &b->err))
		fail_msg("open: %s", b->err.text);
	if (ops->claim(b->dst, &b->mark, 1, &b->err))
		fail_msg("claim: %s", b->err.text);
}

static void contacts(struct bench *b)
{
	must(b->conn, "CREATE TABLE contacts (id int PRIMARY KEY, name text NOT NULL, age int CHECK (age < 200))");
	add_column(b, "id", LS_INT32, "integer");
	add_column(b, "name", LS_STRING, "text");
	add_column(b, "age", LS_INT32, "integer");
	start(b);
}

#define ABSENT ((const char *)&absent_mark)
static const char absent_mark = 0;

static struct ls_str next_event_id(struct bench *b)
{
	return ls_arena_printf(b->arena, "event-%u", ++b->events);
}

/* put adds one write to the slice: texts in order of the columns; NULL is NULL, ABSENT is absent. */
static void put_op(struct bench *b, enum ls_write_op op, const char *const *text)
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

static struct ls_slice slice_of(struct bench *b)
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

static enum ls_class apply_only(struct bench *b, const struct ls_slice *slice)
{
	return ops->apply(b->dst, slice, b->arena, &b->outcome, &b->err);
}

static enum ls_class apply(struct bench *b)
{
	struct ls_slice slice = slice_of(b);
	enum ls_class class = apply_only(b, &slice);

	if (!class && !b->outcome.known_count)
		b->mark.next_offset = slice.next_offset;
	b->writes = 0;
	return class;
}

static void apply_well(struct bench *b)
{
	enum ls_class class = apply(b);

	if (class)
		fail_msg("apply: %s %s: %s", ls_class_name(class), b->err.code, b->err.text);
}

/* ---- opening ---- */

static void open_fails_cleanly_on_a_bad_url(void **state)
{
	struct bench *b = *state;
	static const struct {
		const char *url;
		enum ls_class class;
	} cases[] = {
		{ "postgres://u:sesame@host:port:1/x", LS_FATAL },
		{ "postgres://u:ses@me@127.0.0.1/x", LS_FATAL },
		{ "postgres://u:sesame@127.0.0.1:1/x?connect_timeout=3", LS_RETRY },
		{ "nonsense sesame", LS_FATAL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		set_option(b, "url", cases[i].url, 0);

		assert_int_equal(ops->open(b->options, &b->context, &b->dst, &b->err), cases[i].class);

		assert_null(b->dst);
		assert_null(strstr(b->err.text, "ses"));
	}
	set_option(b, "url", b->url, 0);
}

static void a_missing_database_is_named(void **state)
{
	struct bench *b = *state;

	set_option(b, "url", url_of(b->url, "no_such_database", b->arena), 0);

	assert_int_equal(ops->open(b->options, &b->context, &b->dst, &b->err), LS_FATAL);

	assert_string_equal(b->err.code, "3D000");
	assert_non_null(strstr(b->err.text, "no_such_database"));
}

static void close_takes_nothing(void **state)
{
	(void)state;
	assert_null(ops->close(NULL));
}

static void the_options_table_is_complete(void **state)
{
	(void)state;
	assert_true(ops->option_count > 0);
	for (size_t i = 0; i < ops->option_count; i++) {
		const struct ls_option *o = &ops->options[i];

		assert_non_null(o->name);
		assert_non_null(o->help);
		assert_true(o->help[strlen(o->help) - 1] != '.');
		assert_true(o->offset < ops->options_size);
		assert_true(o->type != LS_OPT_CHOICE || o->choices);
		assert_true(o->type != LS_OPT_DURATION || o->unit);
	}
}

static void several_may_open_at_once_and_again(void **state)
{
	struct bench *b = *state;
	struct ls_destination *second = NULL;

	contacts(b);

	assert_int_equal(ops->open(b->options, &b->context, &second, &b->err), LS_OK);

	assert_string_equal(says(b, "SELECT count(*) FROM pg_tables WHERE schemaname = 'identity'"), "4");
	ops->close(second);
}

/* ---- marks ---- */

static void a_claim_raises_the_epoch_and_keeps_the_offset(void **state)
{
	struct bench *b = *state;
	struct ls_mark again[] = { b->mark, { .topic = LS_STR("t.contact"), .partition = 1 } };

	contacts(b);
	assert_int_equal(b->mark.next_offset, -1);
	assert_int_equal(b->mark.owner_epoch, 1);
	assert_true(b->mark.max_version == LS_NONE);
	PUT(b, "1", "a", "1");
	apply_well(b);

	assert_int_equal(ops->claim(b->dst, again, 2, &b->err), LS_OK);

	assert_int_equal(again[0].next_offset, b->mark.next_offset);
	assert_int_equal(again[0].owner_epoch, 2);
	assert_int_equal(again[0].max_version, 7);
	assert_int_equal(again[1].next_offset, -1);
	assert_int_equal(again[1].owner_epoch, 1);
}

static void marks_are_read_without_claiming(void **state)
{
	struct bench *b = *state;
	struct ls_mark *mark = NULL;
	size_t count = 9;

	assert_int_equal(ops->marks(b->options, &b->context, b->arena, &mark, &count, &b->err), LS_OK);
	assert_int_equal(count, 0);
	contacts(b);

	assert_int_equal(ops->marks(b->options, &b->context, b->arena, &mark, &count, &b->err), LS_OK);

	assert_int_equal(count, 1);
	assert_true(ls_str_equal(mark->topic, b->mark.topic));
	assert_int_equal(mark->partition, 3);
	assert_int_equal(mark->owner_epoch, 1);
}

static void a_fenced_zombie_writes_nothing(void **state)
{
	struct bench *b = *state;
	struct ls_destination *second = NULL;
	struct ls_mark mark = b->mark;

	contacts(b);
	assert_int_equal(ops->open(b->options, &b->context, &second, &b->err), LS_OK);
	mark.topic = b->mark.topic;
	assert_int_equal(ops->claim(second, &mark, 1, &b->err), LS_OK);
	PUT(b, "1", "zombie", "1");

	assert_int_equal(apply(b), LS_FENCED);

	assert_string_equal(says(b, "SELECT count(*) FROM contacts"), "0");
	assert_string_equal(says(b, "SELECT count(*) FROM identity.sync_processed_events"), "0");
	assert_string_equal(says(b, "SELECT next_offset FROM identity.sync_offsets"), "-1");
	ops->close(second);
}

static void of_two_with_one_mark_only_the_first_writes(void **state)
{
	struct bench *b = *state;
	struct ls_destination *first, *second = NULL;
	struct ls_slice slice;

	contacts(b);
	assert_int_equal(ops->open(b->options, &b->context, &second, &b->err), LS_OK);
	first = b->dst;
	PUT(b, "1", "a", "1");
	slice = slice_of(b);
	assert_int_equal(apply_only(b, &slice), LS_OK);
	b->dst = second;

	assert_int_equal(apply_only(b, &slice), LS_FENCED);

	assert_string_equal(says(b, "SELECT count(*) FROM identity.sync_processed_events"), "1");
	b->dst = first;
	ops->close(second);
}

static void a_lost_mark_is_fenced(void **state)
{
	struct bench *b = *state;

	contacts(b);
	must(b->conn, "DELETE FROM identity.sync_offsets");
	PUT(b, "1", "a", "1");

	assert_int_equal(apply(b), LS_FENCED);
}

static void a_slice_without_writes_moves_the_mark(void **state)
{
	struct bench *b = *state;
	struct ls_slice slice;

	contacts(b);
	slice = slice_of(b);
	slice.next_offset = 41;

	assert_int_equal(apply_only(b, &slice), LS_OK);

	assert_string_equal(says(b, "SELECT next_offset || last_event_id FROM identity.sync_offsets"), "41last");
}

/* ---- rows ---- */

static void rows_are_inserted_updated_and_deleted(void **state)
{
	struct bench *b = *state;

	contacts(b);
	PUT(b, "1", "a", "10");
	PUT(b, "2", "b", NULL);
	apply_well(b);
	assert_int_equal(b->outcome.rows, 2);
	PUT(b, "1", "A", "11");
	REMOVE(b, "2", ABSENT, ABSENT);
	PUT(b, "3", "c", "30");
	apply_well(b);

	assert_int_equal(b->outcome.rows, 3);
	assert_string_equal(says(b, "SELECT string_agg(c::text, ' ' ORDER BY id) FROM contacts c"),
			    "(1,A,11) (3,c,30)");
}

static void deleting_what_is_gone_is_no_error(void **state)
{
	struct bench *b = *state;

	contacts(b);
	REMOVE(b, "2", ABSENT, ABSENT);

	apply_well(b);

	assert_int_equal(b->outcome.rows, 0);
}

static void an_unchanged_row_is_no_write(void **state)
{
	struct bench *b = *state;

	contacts(b);
	must(b->conn,
	     "CREATE TABLE seen (op text); CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
	     "INSERT INTO seen VALUES (TG_OP); RETURN NULL; END $$; CREATE TRIGGER see AFTER INSERT OR UPDATE OR "
	     "DELETE ON contacts FOR EACH ROW EXECUTE FUNCTION see()");
	PUT(b, "1", "a", NULL);
	apply_well(b);
	PUT(b, "1", "a", NULL);
	apply_well(b);

	assert_int_equal(b->outcome.rows, 0);
	assert_string_equal(says(b, "SELECT count(*) FROM seen"), "1");
}

static void absent_columns_are_left_alone(void **state)
{
	struct bench *b = *state;

	must(b->conn, "CREATE TABLE contacts (id int PRIMARY KEY, name text, big jsonb NOT NULL)");
	must(b->conn, "INSERT INTO contacts SELECT 1, 'old', jsonb_build_object('x', string_agg(md5(i::text), '')) "
		      "FROM generate_series(1, 32768) i");
	add_column(b, "id", LS_INT32, "integer");
	add_column(b, "name", LS_STRING, "text");
	add_column(b, "big", LS_JSON, "jsonb");
	start(b);
	PUT(b, "1", "new", ABSENT);
	PUT(b, "2", "whole", "{\"y\": 1}");

	apply_well(b);

	assert_int_equal(b->outcome.rows, 2);
	assert_string_equal(says(b, "SELECT name || length(big->>'x') FROM contacts WHERE id = 1"), "new1048576");
	assert_string_equal(says(b, "SELECT name || big FROM contacts WHERE id = 2"), "whole{\"y\": 1}");
}

static const struct {
	const char *type;
	enum ls_kind kind;
	const char *value[4];
} types[] = {
	{ "smallint", LS_INT32, { "-32768", "32767" } },
	{ "bigint", LS_INT64, { "-9223372036854775808", "9223372036854775807" } },
	{ "numeric", LS_NUMERIC, { "NaN", "Infinity", "123456789012345678901234567890.000100" } },
	{ "numeric(10,2)", LS_DECIMAL, { "NaN", "-12345678.90" } },
	{ "real", LS_FLOAT32, { "1.1754944e-38", "NaN", "-Infinity" } },
	{ "double precision", LS_FLOAT64, { "0.1", "-0", "Infinity", "1.7976931348623157e+308" } },
	{ "boolean", LS_BOOL, { "t", "f" } },
	{ "text", LS_STRING, { "", "\\N", "a\\b'\"\n\r\t\v\f\bz", "\xc3\xa4\xf0\x9f\x98\x80 \\." } },
	{ "character varying(5)", LS_STRING, { "abcde", "NULL" } },
	{ "bytea", LS_BYTES, { "\\x", "\\x00ff5c0a" } },
	{ "uuid", LS_UUID, { "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11" } },
	{ "json", LS_JSON, { "{\"a\" :  1, \"a\":2}", "\"\\n\"" } },
	{ "jsonb", LS_JSON, { "{\"a\": [1.00, \"\\\\\"]}", "null" } },
	{ "date", LS_DATE, { "0044-03-15 BC", "infinity", "2026-11-21" } },
	{ "time without time zone", LS_TIME, { "24:00:00", "23:59:59.123456" } },
	{ "time with time zone", LS_STRING, { "10:00:00.5+05:30" } },
	{ "timestamp without time zone",
	  LS_TIMESTAMP,
	  { "-infinity", "0044-03-15 10:00:00 BC", "2026-11-21 09:14:03.12" } },
	{ "timestamp with time zone", LS_TIMESTAMPTZ, { "infinity", "2026-11-21 09:14:03.123456+00" } },
	{ "interval", LS_STRING, { "1 year 2 mons -3 days +04:05:06.7" } },
	{ "inet", LS_STRING, { "10.0.0.1/8", "::1" } },
	{ "int4range", LS_STRING, { "[1,5)", "empty" } },
	{ "point", LS_STRING, { "(1.5,-2)" } },
	{ "xml", LS_STRING, { "<a>&amp;</a>" } },
	{ "money", LS_STRING, { "$1,234.50" } },
	{ "bit varying(8)", LS_STRING, { "10101" } },
	{ "integer[]", LS_ARRAY, { "{1,NULL,3}", "{}", "{{1,2},{3,4}}" } },
	{ "text[]", LS_ARRAY, { "{\"a b\",NULL,\"NULL\",\"\",\"\\\"\\\\\"}" } },
	{ "mood", LS_STRING, { "happy" } },
	{ "mood[]", LS_ARRAY, { "{happy,sad}" } },
	{ "positive", LS_INT32, { "7" } },
};
enum { TYPES = sizeof(types) / sizeof(types[0]) };

static void all_types_round_trip_and_compare_as_unchanged(void **state)
{
	struct bench *b = *state;
	struct ls_str ddl =
		LS_STR("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);"
		       "CREATE TABLE contacts (id int PRIMARY KEY");

	add_column(b, "id", LS_INT32, "integer");
	for (size_t i = 0; i < TYPES; i++) {
		struct ls_str name = ls_arena_printf(b->arena, "c%zu", i);

		ddl = ls_arena_printf(b->arena, "%.*s, %s %s", LS_ARG(ddl), name.ptr, types[i].type);
		add_column(b, name.ptr, types[i].kind, types[i].type);
	}
	must(b->conn, ls_arena_printf(b->arena, "%.*s)", LS_ARG(ddl)).ptr);
	start(b);

	for (int pass = 0; pass < 2; pass++) {
		for (size_t v = 0; v < 4; v++) {
			const char *text[COLUMNS_MAX] = { ls_arena_printf(b->arena, "%zu", v).ptr };

			for (size_t i = 0; i < TYPES; i++)
				text[i + 1] = types[i].value[v];
			put_op(b, LS_WRITE_UPSERT, text);
		}
		apply_well(b);
		assert_int_equal(b->outcome.rows, pass ? 0 : 4);
	}
	for (size_t i = 0; i < TYPES; i++)
		for (size_t v = 0; v < 4; v++) {
			struct ls_str sql = ls_arena_printf(b->arena, "SELECT c%zu FROM contacts WHERE id = %zu", i, v);
			const char *expected = types[i].value[v] ? types[i].value[v] : "(null)";

			assert_string_equal(says(b, sql.ptr), expected);
		}
}

static void composite_keys_and_quoted_names_work(void **state)
{
	struct bench *b = *state;

	must(b->conn,
	     "CREATE SCHEMA \"Odd Schema\"; CREATE TABLE \"Odd Schema\".\"Odd.Ta\"\"ble\" (\"Weird \"\"Col\" text "
	     "COLLATE \"C\", \"select\" int, \"From\" text, PRIMARY KEY (\"select\", \"Weird \"\"Col\"))");
	b->mapping.place = "\"Odd Schema\".\"Odd.Ta\"\"ble\"";
	b->key[0] = LS_STR("Weird \"Col");
	b->key[1] = LS_STR("select");
	b->mapping.key_count = 2;
	add_column(b, "Weird \"Col", LS_STRING, "text");
	add_column(b, "select", LS_INT32, "integer");
	add_column(b, "From", LS_STRING, "text");
	start(b);
	PUT(b, "a", "1", "x");
	PUT(b, "a", "2", "y");
	PUT(b, "b", "1", "z");
	apply_well(b);
	PUT(b, "a", "2", ABSENT);
	PUT(b, "b", "1", "Z");
	REMOVE(b, "a", "1", ABSENT);
	apply_well(b);

	assert_string_equal(says(b, "SELECT string_agg(t::text, ' ' ORDER BY lower(\"From\")) FROM \"Odd "
				    "Schema\".\"Odd.Ta\"\"ble\" t"),
			    "(a,2,y) (b,1,Z)");
}

static void generated_and_identity_columns_are_respected(void **state)
{
	struct bench *b = *state;

	must(b->conn,
	     "CREATE TABLE contacts (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, up text GENERATED "
	     "ALWAYS AS (upper(name)) STORED)");
	add_column(b, "id", LS_INT32, "integer");
	add_column(b, "name", LS_STRING, "text");
	add_column(b, "up", LS_STRING, "text");
	start(b);
	PUT(b, "77", "a", "ignored");
	apply_well(b);
	PUT(b, "77", "b", "ignored");
	apply_well(b);

	assert_string_equal(says(b, "SELECT c::text FROM contacts c"), "(77,b,B)");
}

static void fields_name_their_columns_and_the_rest_stays_home(void **state)
{
	struct bench *b = *state;
	static const struct ls_pair field[] = { { { "id", 2 }, { "nr", 2 } }, { { "name", 4 }, { "label", 5 } } };

	must(b->conn, "CREATE TABLE contacts (nr int PRIMARY KEY, label text, extra int NOT NULL DEFAULT 5)");
	b->mapping.field = field;
	b->mapping.field_count = 2;
	add_column(b, "id", LS_INT32, "integer");
	add_column(b, "name", LS_STRING, "text");
	add_column(b, "secret", LS_STRING, "text");
	start(b);
	PUT(b, "1", "a", "home");

	apply_well(b);

	assert_string_equal(says(b, "SELECT c::text FROM contacts c"), "(1,a,5)");
}

/* ---- ledger ---- */

static void known_events_come_back_and_nothing_is_written(void **state)
{
	struct bench *b = *state;

	contacts(b);
	PUT(b, "1", "a", "1");
	PUT(b, "2", "b", "2");
	apply_well(b);
	PUT(b, "3", "c", "3");
	PUT(b, "1", "again", "1");
	b->entry[1].event_id = LS_STR("event-1");

	apply_well(b);

	assert_int_equal(b->outcome.known_count, 1);
	assert_int_equal(b->outcome.known[0], 1);
	assert_int_equal(b->outcome.rows, 0);
	assert_string_equal(says(b, "SELECT string_agg(name, '' ORDER BY id) FROM contacts"), "ab");
}

static void an_event_twice_in_one_slice_is_known_the_second_time(void **state)
{
	struct bench *b = *state;

	contacts(b);
	PUT(b, "1", "a", "1");
	PUT(b, "2", "b", "2");
	b->entry[1].event_id = b->entry[0].event_id;

	apply_well(b);

	assert_int_equal(b->outcome.known_count, 1);
	assert_int_equal(b->outcome.known[0], 1);
}

static void a_dead_event_may_be_tried_again(void **state)
{
	struct bench *b = *state;
	struct ls_slice slice;

	contacts(b);
	PUT(b, "1", "a", "1");
	b->entry[0].status = LS_ENTRY_DEAD;
	b->entry[0].error = LS_STR("no\tgood\\ \xff");
	slice = slice_of(b);
	slice.write_count = 0;
	assert_int_equal(apply_only(b, &slice), LS_OK);
	b->mark.next_offset = slice.next_offset;
	assert_string_equal(says(b, "SELECT status || error_message FROM identity.sync_processed_events"),
			    "deadno\tgood\\ ?");
	b->entry[0].status = LS_ENTRY_APPLIED;

	apply_well(b);

	assert_int_equal(b->outcome.known_count, 0);
	assert_string_equal(says(b, "SELECT status FROM identity.sync_processed_events"), "applied");
	assert_string_equal(says(b, "SELECT name FROM contacts"), "a");
}

static void hostile_event_ids_are_only_text(void **state)
{
	struct bench *b = *state;
	struct ls_slice slice;

	contacts(b);
	PUT(b, "1", "a", "1");
	b->entry[0].event_id = LS_STR("'; DROP TABLE contacts; -- \\ $$ \xc3(");
	slice = slice_of(b);
	slice.last_event_id = b->entry[0].event_id;
	assert_int_equal(apply_only(b, &slice), LS_OK);
	slice.mark.next_offset = slice.next_offset++;

	assert_int_equal(apply_only(b, &slice), LS_OK);

	assert_int_equal(b->outcome.known_count, 1);
	assert_string_equal(says(b, "SELECT last_event_id FROM identity.sync_offsets"),
			    "'; DROP TABLE contacts; -- \\ $$ ?(");
}

static void offsets_alone_keep_no_processed_events(void **state)
{
	struct bench *b = *state;

	b->context.ledger_full = false;
	contacts(b);
	PUT(b, "1", "a", "1");

	apply_well(b);

	assert_string_equal(says(b, "SELECT count(*) FROM identity.sync_processed_events"), "0");
	assert_string_equal(says(b, "SELECT count(*) FROM contacts"), "1");
}

static void old_processed_events_are_removed(void **state)
{
	struct bench *b = *state;

	contacts(b);
	must(b->conn, "INSERT INTO identity.sync_processed_events SELECT 'old' || i, now() - interval '2 hours', "
		      "'it''s \"one\"', "
		      "'applied' FROM generate_series(1, 100) i");
	PUT(b, "1", "a", "1");

	apply_well(b);

	assert_string_equal(says(b, "SELECT string_agg(event_id, ',') FROM identity.sync_processed_events"), "event-1");
}

/* ---- failures ---- */

static void poison_is_named_and_writes_nothing(void **state)
{
	struct bench *b = *state;

	contacts(b);
	PUT(b, "1", "a", "1");
	REMOVE(b, "9", ABSENT, ABSENT);
	PUT(b, "2", "b", "hidden words");
	PUT(b, "3", "c", "3");

	assert_int_equal(apply(b), LS_POISON);

	assert_int_equal(b->outcome.failed_write, 2);
	assert_string_equal(b->err.code, "22P02");
	assert_non_null(strstr(b->err.text, "age"));
	assert_null(strstr(b->err.text, "hidden"));
	assert_string_equal(says(b, "SELECT count(*) FROM contacts"), "0");
	assert_string_equal(says(b, "SELECT next_offset FROM identity.sync_offsets"), "-1");
	PUT(b, "1", "a", "1");
	apply_well(b);
}

static void every_way_to_be_poison_is_found(void **state)
{
	struct bench *b = *state;
	static const struct {
		const char *id, *name, *age, *code;
		size_t failed;
	} cases[] = {
		{ "5", NULL, "1", "23502", 1 },
		{ "5", "bad \xff utf8", "1", "22021", 1 },
		{ "5", "x", "99999999999", "22003", 1 },
		{ "5", "x", "500", "23514", SIZE_MAX },
		{ NULL, "x", "1", "key", 1 },
	};

	contacts(b);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		PUT(b, "1", "a", "1");
		PUT(b, cases[i].id, cases[i].name, cases[i].age);
		PUT(b, "2", "b", "2");

		if (apply(b) != LS_POISON)
			fail_msg("%s: %s", cases[i].code, b->err.text);

		if (strcmp(cases[i].code, "key") != 0)
			assert_string_equal(b->err.code, cases[i].code);
		assert_null(strstr(b->err.text, "99999999999"));
		if (b->outcome.failed_write != cases[i].failed)
			fail_msg("%s: write %zu", cases[i].code, b->outcome.failed_write);
	}
	assert_string_equal(says(b, "SELECT count(*) FROM contacts"), "0");
}

static void constraints_between_rows_keep_their_codes(void **state)
{
	struct bench *b = *state;

	must(b->conn, "CREATE TABLE parent (id int PRIMARY KEY)");
	contacts(b);
	must(b->conn,
	     "ALTER TABLE contacts ADD FOREIGN KEY (age) REFERENCES parent; CREATE UNIQUE INDEX ON contacts (name)");
	PUT(b, "1", "a", "1");
	assert_int_equal(apply(b), LS_POISON);
	assert_string_equal(b->err.code, "23503");
	PUT(b, "1", "a", NULL);
	PUT(b, "2", "a", NULL);

	assert_int_equal(apply(b), LS_POISON);

	assert_string_equal(b->err.code, "23505");
	assert_int_equal(b->outcome.known_count, 0);
}

static void a_lost_connection_is_a_retry_and_mends_itself(void **state)
{
	struct bench *b = *state;
	struct ls_slice slice;

	contacts(b);
	PUT(b, "1", "a", "1");
	slice = slice_of(b);
	must(b->conn,
	     "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE 'lockstep it%' "
	     "AND datname = current_database()");
	assert_int_equal(apply_only(b, &slice), LS_RETRY);

	assert_int_equal(apply_only(b, &slice), LS_OK);

	assert_string_equal(says(b, "SELECT count(*) FROM contacts"), "1");
}

static void a_locked_table_is_a_retry(void **state)
{
	struct bench *b = *state;
	struct ls_slice slice;

	contacts(b);
	PUT(b, "1", "a", "1");
	slice = slice_of(b);
	must(b->conn, "BEGIN; LOCK contacts");
	assert_int_equal(apply_only(b, &slice), LS_RETRY);
	must(b->conn, "ROLLBACK");

	assert_int_equal(apply_only(b, &slice), LS_OK);
}

static void what_is_applied_twice_stands_once(void **state)
{
	struct bench *b = *state;
	struct ls_slice slice;

	contacts(b);
	PUT(b, "1", "a", "1");
	slice = slice_of(b);
	assert_int_equal(apply_only(b, &slice), LS_OK);

	assert_int_equal(apply_only(b, &slice), LS_FENCED);

	assert_string_equal(says(b, "SELECT count(*) FROM contacts"), "1");
}

/* ---- tables that are not as expected ---- */

static void missing_tables_are_created_when_allowed(void **state)
{
	struct bench *b = *state;

	b->mapping.place = "fresh.contacts";
	add_column(b, "id", LS_INT64, "bigint");
	add_column(b, "name", LS_STRING, "character varying(40)");
	add_column(b, "mood", LS_STRING, "mood");
	add_column(b, "tags", LS_ARRAY, "text[]");
	start(b);
	PUT(b, "1", "a", "happy", "{x}");
	assert_int_equal(apply(b), LS_FATAL);
	assert_non_null(strstr(b->err.text, "CREATE TABLE"));
	b->context.create_tables = true;
	PUT(b, "1", "a", "happy", "{x}");

	apply_well(b);

	assert_string_equal(
		says(b, "SELECT string_agg(format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute "
			"WHERE attrelid = 'fresh.contacts'::regclass AND attnum > 0"),
		"bigint, character varying(40), text, text[]");
	assert_string_equal(says(b, "SELECT c::text FROM fresh.contacts c"), "(1,a,happy,{x})");
}

static void missing_columns_are_added_when_allowed(void **state)
{
	struct bench *b = *state;

	contacts(b);
	PUT(b, "1", "a", "1");
	apply_well(b);
	add_column(b, "joined", LS_DATE, "date");
	PUT(b, "2", "b", "2", "2026-11-21");
	assert_int_equal(apply(b), LS_FATAL);
	assert_non_null(strstr(b->err.text, "ALTER TABLE"));
	b->context.add_columns = true;
	PUT(b, "2", "b", "2", "2026-11-21");

	apply_well(b);

	assert_string_equal(says(b, "SELECT c::text FROM contacts c WHERE id = 2"), "(2,b,2,2026-11-21)");
}

static void a_table_changed_meanwhile_is_read_again(void **state)
{
	struct bench *b = *state;

	contacts(b);
	PUT(b, "1", "a", "1");
	apply_well(b);
	must(b->conn, "ALTER TABLE contacts ALTER age TYPE bigint");
	PUT(b, "2", "b", "1");
	apply_well(b);
	must(b->conn, "ALTER TABLE contacts DROP CONSTRAINT contacts_age_check, ALTER age TYPE text");

	PUT(b, "3", "c", "a text now");
	apply_well(b);

	assert_string_equal(says(b, "SELECT string_agg(age, ',' ORDER BY id) FROM contacts"), "1,1,a text now");
	must(b->conn, "DROP TABLE contacts; CREATE TABLE contacts (age text, name text, id int PRIMARY KEY)");
	PUT(b, "4", "d", "4");
	apply_well(b);
	assert_string_equal(says(b, "SELECT c::text FROM contacts c"), "(4,d,4)");
}

static void a_key_without_unique_index_is_refused_with_the_fix(void **state)
{
	struct bench *b = *state;

	contacts(b);
	must(b->conn, "ALTER TABLE contacts DROP CONSTRAINT contacts_pkey");
	PUT(b, "1", "a", "1");

	assert_int_equal(apply(b), LS_FATAL);

	assert_non_null(strstr(b->err.text, "CREATE UNIQUE INDEX ON \"public\".\"contacts\" (\"id\")"));
}

static void many_shapes_in_one_slice_end_right(void **state)
{
	struct bench *b = *state;
	enum { FIELDS = 6, ROUNDS = 2 };

	must(b->conn,
	     "CREATE TABLE contacts (id int PRIMARY KEY, c0 text, c1 text, c2 text, c3 text, c4 text, c5 text)");
	add_column(b, "id", LS_INT32, "integer");
	for (int i = 0; i < FIELDS; i++)
		add_column(b, ls_arena_printf(b->arena, "c%d", i).ptr, LS_STRING, "text");
	start(b);
	for (int round = 0; round < ROUNDS; round++) {
		for (unsigned set = 0; set < 1u << FIELDS; set++) {
			const char *text[FIELDS + 1] = { ls_arena_printf(b->arena, "%u", set).ptr };

			for (unsigned i = 0; i < FIELDS; i++)
				text[i + 1] = set >> i & 1 ? "y" : ABSENT;
			put_op(b, LS_WRITE_UPSERT, text);
		}
		apply_well(b);
		assert_int_equal(b->outcome.rows, round ? 0 : 64);
	}

	assert_string_equal(
		says(b, "SELECT count(*) FROM contacts WHERE id = ((c0 IS NOT NULL)::int + (c1 IS NOT NULL)::int * 2 + "
			"(c2 IS NOT NULL)::int * 4 + (c3 IS NOT NULL)::int * 8 + (c4 IS NOT NULL)::int * 16 + "
			"(c5 IS NOT NULL)::int * 32)"),
		"64");
}

static void lookup_reads_an_entity_as_it_stands(void **state)
{
	struct bench *b = *state;
	struct ls_row row;

	contacts(b);
	PUT(b, "1", "a", NULL);
	apply_well(b);

	assert_int_equal(ops->lookup(b->options, &b->context, &b->mapping, LS_STR("1"), b->arena, &row, &b->err),
			 LS_OK);

	assert_int_equal(row.schema->count, 3);
	assert_true(ls_str_equal(row.value[1].text, LS_STR("a")));
	assert_int_equal(row.value[2].presence, LS_NULL);
	assert_int_equal(ops->lookup(b->options, &b->context, &b->mapping, LS_STR("2"), b->arena, &row, &b->err),
			 LS_OK);
	assert_null(row.schema);
}

static void check_tries_the_guarantees_and_leaves_nothing(void **state)
{
	struct bench *b = *state;
	struct ls_report *report = ls_report_new();

	must(b->conn, "CREATE TABLE contacts (id int PRIMARY KEY, name text)");

	ops->check(b->options, &b->context, report);

	assert_int_equal(ls_report_level(report, LS_CHECK_LEDGER), LS_LEVEL_WARNING);
	assert_int_equal(ls_report_level(report, LS_CHECK_DATA_INTEGRITY), LS_LEVEL_OK);
	assert_int_equal(ls_report_level(report, LS_CHECK_POSTGRES), LS_LEVEL_OK);
	assert_int_equal(ls_report_level(report, LS_CHECK_IDEMPOTENCY), LS_LEVEL_OK);
	assert_int_equal(ls_report_level(report, LS_CHECK_CONFLICT_RESOLUTION), LS_LEVEL_OK);
	assert_int_equal(ls_report_level(report, LS_CHECK_ERROR_HANDLING), LS_LEVEL_OK);
	assert_string_equal(
		says(b, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'lockstep%' OR nspname = 'identity'"),
		"0");
	must(b->conn, "ALTER TABLE contacts DROP CONSTRAINT contacts_pkey");
	ops->check(b->options, &b->context, report);
	assert_int_equal(ls_report_level(report, LS_CHECK_DATA_INTEGRITY), LS_LEVEL_FAILED);
	ls_report_free(report);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bench_open, bench_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(open_fails_cleanly_on_a_bad_url),
		T(a_missing_database_is_named),
		T(close_takes_nothing),
		T(the_options_table_is_complete),
		T(several_may_open_at_once_and_again),
		T(a_claim_raises_the_epoch_and_keeps_the_offset),
		T(marks_are_read_without_claiming),
		T(a_fenced_zombie_writes_nothing),
		T(of_two_with_one_mark_only_the_first_writes),
		T(a_lost_mark_is_fenced),
		T(a_slice_without_writes_moves_the_mark),
		T(rows_are_inserted_updated_and_deleted),
		T(deleting_what_is_gone_is_no_error),
		T(an_unchanged_row_is_no_write),
		T(absent_columns_are_left_alone),
		T(all_types_round_trip_and_compare_as_unchanged),
		T(composite_keys_and_quoted_names_work),
		T(generated_and_identity_columns_are_respected),
		T(fields_name_their_columns_and_the_rest_stays_home),
		T(known_events_come_back_and_nothing_is_written),
		T(an_event_twice_in_one_slice_is_known_the_second_time),
		T(a_dead_event_may_be_tried_again),
		T(hostile_event_ids_are_only_text),
		T(offsets_alone_keep_no_processed_events),
		T(old_processed_events_are_removed),
		T(poison_is_named_and_writes_nothing),
		T(every_way_to_be_poison_is_found),
		T(constraints_between_rows_keep_their_codes),
		T(a_lost_connection_is_a_retry_and_mends_itself),
		T(a_locked_table_is_a_retry),
		T(what_is_applied_twice_stands_once),
		T(missing_tables_are_created_when_allowed),
		T(missing_columns_are_added_when_allowed),
		T(a_table_changed_meanwhile_is_read_again),
		T(a_key_without_unique_index_is_refused_with_the_fix),
		T(many_shapes_in_one_slice_end_right),
		T(lookup_reads_an_entity_as_it_stands),
		T(check_tries_the_guarantees_and_leaves_nothing),
	};

	if (!getenv("LS_TEST_PG")) {
		puts("skipped: LS_TEST_PG is not set (URL of a PostgreSQL superuser)");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
