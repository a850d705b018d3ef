/* What every kind of source has to keep, tried on PostgreSQL: what comes, in which order, and where it goes on. */
#include "source_world.h"

#include "main/report.h"

static int contacts(void **state)
{
	struct world *world;

	world_setup(state);
	world = *state;
	world_sql(world, "CREATE TABLE contacts (id int PRIMARY KEY, name text)");
	world_table(world, "contact", "public.contacts", "id", NULL);
	return 0;
}

static void insert_update_and_delete_come_as_they_were_made(void **state)
{
	struct world *world = *state;

	world_open(world);
	world_sql(world, "INSERT INTO contacts VALUES (1, 'Bo')");
	world_sql(world, "UPDATE contacts SET name = 'Bob' WHERE id = 1");
	world_sql(world, "DELETE FROM contacts WHERE id = 1");
	world_until(world, 3);

	world_line(world, 0, "INSERT contact 1 id=1 name=Bo");
	world_line(world, 1, "UPDATE contact 1 id=1 name=Bob");
	world_line(world, 2, "DELETE contact 1 | id=1 name=~");
	assert_int_equal(world->seen[0].version, LS_NONE);
	assert_true(world->seen[0].timestamp_us > ls_now_us() - 60000000 &&
		    world->seen[0].timestamp_us < ls_now_us() + 1000000);
}

static void rows_of_one_statement_and_of_copy_have_ids_of_their_own(void **state)
{
	struct world *world = *state;
	char line[64];

	world_open(world);
	world_sql(world, "INSERT INTO contacts SELECT g, 'n' || g FROM generate_series(1, 500) g");
	world_sql(world, "COPY contacts FROM PROGRAM 'seq 501 1000 | sed ''s/$/\tx/'''");
	world_until(world, 1000);

	for (size_t i = 0; i < 1000; i++) {
		(void)snprintf(line, sizeof(line),
			       i < 500 ? "INSERT contact %zu id=%zu name=n%zu" : "INSERT contact %zu id=%zu name=x",
			       i + 1, i + 1, i + 1);
		world_line(world, i, line);
		if (i)
			assert_string_not_equal(world->seen[i].event_id, world->seen[i - 1].event_id);
	}
	assert_memory_equal(world->seen[0].event_id, "crm:", 4);
	assert_string_equal(strrchr(world->seen[499].event_id, ':'), ":998");
}

static void rolled_back_work_does_not_come_and_savepoints_do(void **state)
{
	struct world *world = *state;

	world_open(world);
	world_sql(world, "BEGIN; INSERT INTO contacts VALUES (1, 'a'); ROLLBACK");
	world_sql(world,
		  "BEGIN; INSERT INTO contacts VALUES (2, 'b'); SAVEPOINT s; INSERT INTO contacts VALUES (3, 'c'); "
		  "ROLLBACK TO s; INSERT INTO contacts VALUES (4, 'd'); COMMIT");
	world_until(world, 2);
	world_settle(world);

	assert_int_equal(world->count, 2);
	world_line(world, 0, "INSERT contact 2 id=2 name=b");
	world_line(world, 1, "INSERT contact 4 id=4 name=d");
}

static void a_changed_key_is_a_delete_and_an_insert(void **state)
{
	struct world *world = *state;

	world_open(world);
	world_sql(world, "INSERT INTO contacts VALUES (1, 'a')");
	world_sql(world, "UPDATE contacts SET id = 2");
	world_until(world, 3);

	world_line(world, 1, "DELETE contact 1 | id=1 name=~");
	world_line(world, 2, "INSERT contact 2 id=2 name=a");
	assert_string_equal(strrchr(world->seen[1].event_id, ':'), ":0");
	assert_string_equal(strrchr(world->seen[2].event_id, ':'), ":1");
}

static void a_changed_key_with_the_full_old_row_fills_what_the_log_left_out(void **state)
{
	struct world *world = *state;

	world_sql(world,
		  "ALTER TABLE contacts REPLICA IDENTITY FULL; ALTER TABLE contacts ALTER name SET STORAGE EXTERNAL");
	world_sql(world, "INSERT INTO contacts VALUES (1, repeat('x', 5000))");
	world_open(world);
	world_sql(world, "UPDATE contacts SET id = 2");
	world_until(world, 2);

	assert_int_equal(strlen(world->seen[1].line), strlen("INSERT contact 2 id=2 name=") + 5000);
}

static void a_changed_key_asks_the_table_for_what_the_log_left_out(void **state)
{
	struct world *world = *state;

	world_sql(world, "ALTER TABLE contacts ALTER name SET STORAGE EXTERNAL");
	world_sql(world, "INSERT INTO contacts VALUES (1, repeat('x', 5000))");
	world_open(world);
	world_sql(world, "UPDATE contacts SET id = 2");
	world_until(world, 2);

	world_line(world, 0, "DELETE contact 1 | id=1 name=~");
	assert_int_equal(strlen(world->seen[1].line), strlen("INSERT contact 2 id=2 name=") + 5000);
}

static void an_unchanged_toasted_value_is_absent_not_null(void **state)
{
	struct world *world = *state;

	world_sql(world, "ALTER TABLE contacts ADD note text; ALTER TABLE contacts ALTER note SET STORAGE EXTERNAL");
	world_sql(world, "INSERT INTO contacts VALUES (1, 'a', repeat('x', 5000)), (2, 'b', NULL)");
	world_open(world);
	world_sql(world, "UPDATE contacts SET name = 'c'");
	world_until(world, 2);

	world_line(world, 0, "UPDATE contact 1 id=1 name=c note=~");
	world_line(world, 1, "UPDATE contact 2 id=2 name=c note=!");
}

static void the_full_replica_identity_fills_an_unchanged_toasted_value(void **state)
{
	struct world *world = *state;

	world_sql(world, "ALTER TABLE contacts REPLICA IDENTITY FULL; ALTER TABLE contacts ADD note text; "
			 "ALTER TABLE contacts ALTER note SET STORAGE EXTERNAL");
	world_sql(world, "INSERT INTO contacts VALUES (1, 'a', repeat('x', 5000))");
	world_open(world);
	world_sql(world, "UPDATE contacts SET name = 'c'");
	world_until(world, 1);

	assert_int_equal(strlen(world->seen[0].line),
			 strlen("UPDATE contact 1 id=1 name=c note= | id=1 name=a note=") + 2 * 5000);
}

static void a_changed_table_gets_a_new_schema_and_the_old_one_stays(void **state)
{
	struct world *world = *state;

	world_open(world);
	world_sql(world, "INSERT INTO contacts VALUES (1, 'a'); ALTER TABLE contacts ADD age int; "
			 "INSERT INTO contacts VALUES (2, 'b', 3); ALTER TABLE contacts DROP name; "
			 "INSERT INTO contacts VALUES (4, 5)");
	world_sql(world, "INSERT INTO contacts VALUES (5, 6)");
	world_until(world, 4);

	world_line(world, 0, "INSERT contact 1 id=1 name=a");
	world_line(world, 1, "INSERT contact 2 id=2 name=b age=3");
	world_line(world, 2, "INSERT contact 4 id=4 age=5");
	world_line(world, 3, "INSERT contact 5 id=5 age=6");
	assert_ptr_not_equal(world->seen[0].schema, world->seen[1].schema);
	assert_ptr_not_equal(world->seen[1].schema, world->seen[2].schema);
	assert_ptr_equal(world->seen[2].schema, world->seen[3].schema);
	assert_int_equal(world->seen[0].schema->count, 2);
}

static void a_renamed_table_is_an_error_and_not_silence(void **state)
{
	struct world *world = *state;
	int64_t deadline = ls_monotonic_ms() + WORLD_DEADLINE_MS;
	enum ls_class class = LS_OK;
	struct ls_error err;

	world_open(world);
	world_sql(world, "ALTER TABLE contacts RENAME TO people; INSERT INTO people VALUES (1, 'a')");
	while (!class && ls_monotonic_ms() < deadline)
		class = world_poll(world, &err);

	assert_int_equal(class, LS_FATAL);
	assert_non_null(strstr(err.text, "renamed to public.people"));
}

static void truncate_is_noted_or_fails_as_configured(void **state)
{
	struct world *world = *state;
	int64_t deadline = ls_monotonic_ms() + WORLD_DEADLINE_MS;
	enum ls_class class = LS_OK;
	struct ls_error err;

	world_open(world);
	world_sql(world,
		  "INSERT INTO contacts VALUES (1, 'a'); TRUNCATE contacts; INSERT INTO contacts VALUES (2, 'b')");
	world_until(world, 2);
	world_line(world, 1, "INSERT contact 2 id=2 name=b");
	world_settle(world);
	world_close(world);

	world->options.on_truncate = PGSRC_TRUNCATE_FAIL;
	world_open(world);
	world_sql(world, "TRUNCATE contacts");
	while (!class && ls_monotonic_ms() < deadline)
		class = world_poll(world, &err);
	assert_int_equal(class, LS_FATAL);
	assert_non_null(strstr(err.text, "public.contacts was truncated"));
}

static void composite_keys_quoted_names_and_renamed_fields_travel(void **state)
{
	struct world *world = *state;
	static const struct ls_pair field[] = { { LS_STR("tenant"), LS_STR("Ten \"ant") },
						{ LS_STR("title"), LS_STR("Title.Text") } };

	world_sql(world,
		  "CREATE SCHEMA \"Odd Schema\"; CREATE TABLE \"Odd Schema\".\"Odd.Table\" (\"Title.Text\" text, "
		  "\"Ten \"\"ant\" text, no int, secret text, PRIMARY KEY (no, \"Ten \"\"ant\"))");
	world_table(world, "thing", "\"Odd Schema\".\"Odd.Table\"", "tenant", "no");
	world->mapping[1].field = field;
	world->mapping[1].field_count = 2;
	world_open(world);
	world_sql(world, "INSERT INTO \"Odd Schema\".\"Odd.Table\" VALUES ('hi', 'a\"b', 7, 'not to travel')");
	world_sql(world, "DELETE FROM \"Odd Schema\".\"Odd.Table\"");
	world_until(world, 2);

	world_line(world, 0, "INSERT thing [\"a\\\"b\",\"7\"] title=hi tenant=a\"b no=7");
	world_line(world, 1, "DELETE thing [\"a\\\"b\",\"7\"] | title=~ tenant=a\"b no=7");
}

static void a_partitioned_table_travels_as_its_root(void **state)
{
	struct world *world = *state;

	world_sql(world, "CREATE TABLE parts (id int, area text, PRIMARY KEY (id, area)) PARTITION BY LIST (area);"
			 "CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');"
			 "CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b')");
	world_table(world, "part", "parts", "id", "area");
	world_open(world);
	world_sql(world, "INSERT INTO parts VALUES (1, 'a'), (2, 'b')");
	world_sql(world, "UPDATE parts SET area = 'b' WHERE id = 1");
	world_until(world, 4);

	world_line(world, 0, "INSERT part [\"1\",\"a\"] id=1 area=a");
	world_line(world, 2, "DELETE part [\"1\",\"a\"] | id=1 area=a");
	world_line(world, 3, "INSERT part [\"1\",\"b\"] id=1 area=b");
}

static void generated_columns_stay_behind_and_a_null_key_is_poison(void **state)
{
	struct world *world = *state;

	world_sql(world, "CREATE TABLE loose (k text, twice int GENERATED ALWAYS AS (n * 2) STORED, n int)");
	world_table(world, "loose", "loose", "k", NULL);
	world_open(world);
	world_sql(world, "INSERT INTO loose (k, n) VALUES ('a', 2), (NULL, 3)");
	world_until(world, 2);

	world_line(world, 0, "INSERT loose a k=a n=2");
	assert_null(world->seen[0].poison);
	assert_non_null(strstr(world->seen[1].poison, "public.loose"));
}

static void an_event_too_large_comes_as_its_key_with_the_reason(void **state)
{
	struct world *world = *state;

	world->context.max_event_bytes = 1000;
	world_open(world);
	world_sql(world, "INSERT INTO contacts VALUES (1, repeat('x', 2000)), (2, 'ok')");
	world_until(world, 2);

	world_line(world, 0, "INSERT contact 1 id=1 name=~");
	assert_non_null(strstr(world->seen[0].poison, "public.contacts is too large"));
	world_line(world, 1, "INSERT contact 2 id=2 name=ok");
}

/* Types: what comes is what PostgreSQL itself prints for the column under the canonical settings. */
static const char all_types[] =
	"CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN posint AS int CHECK (VALUE > 0);"
	"CREATE DOMAIN smallpos AS posint; CREATE TABLE types (id bigint PRIMARY KEY, a smallint, b int, c real, d "
	"double "
	"precision, e numeric, f numeric(10,2), g boolean, h uuid, i json, j jsonb, k bytea, l date, m time, n "
	"timestamp, o "
	"timestamptz, p interval, q int[], r text[], s mood, t smallpos, u int4range, v inet, w char(3), x varchar(5), "
	"y "
	"numeric[], z timetz)";
static const char type_rows[] =
	"INSERT INTO types VALUES (1, -5, 7, 0.1, 1e300, 'NaN', 12.30, true, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', "
	"'{\"a\" : 1}', '{\"a\" : 1}', '\\x00ff', '0044-03-15 BC', '24:00', 'infinity', '2026-11-21 10:00:00.5+02', '1 "
	"day 2 "
	"hours', '{1,NULL,3}', '{\"a b\",\"c\\\"d\",NULL}', 'glad', 4, '[1,5)', '10.0.0.1/8', 'ab', 'xyz', "
	"'{1.50,NaN}', '10:00+02'), (2, NULL, NULL, 'NaN', '-Infinity', 12345678901234567890.123456789, -0.01, false, "
	"NULL, "
	"'null', '\"tab\\tline\\nback\\\\slash\"', '', 'infinity', '00:00', '0001-01-01 00:00:00 BC', '-infinity', '-3 "
	"mons', "
	"'{}', '{}', 'sad', 1, 'empty', '::1', '', E'\\t\\n\\\\', '{}', '00:00-12')";

static void types(struct world *world)
{
	world_sql(world, all_types);
	world_table(world, "typed", "types", "id", NULL);
}

/* printed asks PostgreSQL for the row as text: the very line that is expected. */
static char *printed(struct world *world, const char *change, int id)
{
	char sql[3000];

	(void)snprintf(
		sql, sizeof(sql),
		"SELECT '%s typed %d' || (SELECT string_agg(' ' || a.attname || '=' || coalesce((SELECT x.v "
		"FROM (SELECT "
		"row_number() OVER () n, v FROM "
		"unnest(ARRAY[t.id::text,a::text,b::text,c::text,d::text,e::text,f::text,"
		"CASE WHEN g THEN 't' ELSE 'f' END,h::text,"
		"i::text,j::text,k::text,l::text,m::text,n::text,o::text,p::text,q::text,r::text,s::text,t.t::"
		"text,u::text,"
		"format('%%s',v),rpad(w, 3),x::text,y::text,z::text]) v) x WHERE x.n = a.attnum), '!'), '' ORDER BY "
		"attnum) FROM "
		"pg_attribute a WHERE attrelid = 'types'::regclass AND attnum > 0) FROM types t WHERE id = %d",
		change, id, id);
	return world_ask(world, sql);
}

static void every_type_comes_as_postgresql_prints_it(void **state)
{
	struct world *world = *state;
	char *one, *two;

	types(world);
	world_open(world);
	world_sql(world, type_rows);
	world_until(world, 2);

	one = printed(world, "INSERT", 1);
	two = printed(world, "INSERT", 2);
	world_line(world, 0, one);
	world_line(world, 1, two);
	free(one);
	free(two);
}

static void every_type_comes_the_same_from_a_snapshot(void **state)
{
	struct world *world = *state;
	char *one, *two;

	types(world);
	world_sql(world, type_rows);
	world->context.snapshot = true;
	world_open(world);
	world_until(world, 2);

	one = printed(world, "SNAPSHOT", 1);
	two = printed(world, "SNAPSHOT", 2);
	world_line(world, 0, one);
	world_line(world, 1, two);
	free(one);
	free(two);
}

static void types_have_their_neutral_kinds(void **state)
{
	struct world *world = *state;
	static const struct {
		const char *name;
		enum ls_kind kind;
	} expected[] = { { "id", LS_INT64 }, { "a", LS_INT32 },       { "e", LS_NUMERIC }, { "f", LS_DECIMAL },
			 { "j", LS_JSON },   { "o", LS_TIMESTAMPTZ }, { "q", LS_ARRAY },   { "s", LS_STRING },
			 { "t", LS_INT32 },  { "u", LS_STRING },      { "v", LS_STRING },  { "y", LS_ARRAY } };

	types(world);
	world_open(world);
	world_sql(world, type_rows);
	world_until(world, 2);

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		const struct ls_schema *schema = world->seen[0].schema;
		size_t at = ls_schema_find(schema, ls_str_of(expected[i].name));

		assert_true(at < schema->count);
		if (schema->column[at].type.kind != expected[i].kind)
			fail_msg("column %s is of kind %d", expected[i].name, (int)schema->column[at].type.kind);
	}
}

/* ---- positions ---- */

static void a_source_goes_on_from_its_position_with_the_same_ids(void **state)
{
	struct world *world = *state;
	char *first;

	world_open(world);
	world_sql(world, "INSERT INTO contacts VALUES (1, 'a')");
	world_until(world, 1);
	world_settle(world);
	world->no_confirm = true;
	first = strdup(world->position);
	world_sql(world, "INSERT INTO contacts VALUES (2, 'b'), (3, 'c')");
	world_until(world, 3);
	world_close(world);

	free(world->position);
	world->position = first;
	world_open(world);
	world_until(world, 5);
	world_line(world, 3, "INSERT contact 2 id=2 name=b");
	assert_string_equal(world->seen[3].event_id, world->seen[1].event_id);
	assert_string_equal(world->seen[4].event_id, world->seen[2].event_id);
}

static void a_batch_that_ends_inside_a_transaction_has_no_position(void **state)
{
	struct world *world = *state;
	char *before;
	struct ls_error err;

	world_open(world);
	world_sql(world, "INSERT INTO contacts VALUES (0, 'a')");
	world_until(world, 1);
	world_settle(world);
	before = strdup(world->position);
	world_sql(world, "INSERT INTO contacts SELECT g, 'x' FROM generate_series(1, 300) g");
	while (world->count < 200) {
		size_t count = world->count;

		world_ok(world_poll(world, &err), &err);
		if (world->count > count)
			assert_string_equal(world->position, before);
	}
	world_until(world, 301);
	world_settle(world);
	assert_string_not_equal(world->position, before);
	free(before);
}

static void an_idle_slot_moves_on_while_other_tables_write(void **state)
{
	struct world *world = *state;
	int64_t deadline = ls_monotonic_ms() + WORLD_DEADLINE_MS;
	char *moved = NULL;
	struct ls_error err;

	world_open(world);
	world_sql(world, "CREATE TABLE other AS SELECT g, repeat('x', 500) FROM generate_series(1, 20000) g");
	world_settle(world);

	do {
		free(moved);
		world_ok(world_poll(world, &err), &err);
		moved = world_ask(world, "SELECT pg_current_wal_lsn() - confirmed_flush_lsn < 1000000 FROM "
					 "pg_replication_slots WHERE slot_name = current_database()");
	} while (*moved != 't' && ls_monotonic_ms() < deadline);
	assert_string_equal(moved, "t");
	assert_int_equal(world->count, 0);
	free(moved);
}

static void a_slot_ahead_of_the_position_is_refused(void **state)
{
	struct world *world = *state;
	struct ls_error err;
	char *early;

	world_open(world);
	world_sql(world, "INSERT INTO contacts VALUES (1, 'a')");
	world_until(world, 1);
	world_settle(world);
	early = strdup(world->position);
	world_sql(world, "INSERT INTO contacts VALUES (2, 'b')");
	world_close(world);
	(void)usleep(100000);
	world_sql(world, "SELECT pg_replication_slot_advance(current_database()::text, pg_current_wal_lsn())");

	free(world->position);
	world->position = early;
	assert_int_equal(world_try_open(world, &err), LS_FATAL);
	assert_non_null(strstr(err.text, "ahead of what was published"));
	assert_null(world->src);
}

static void a_slot_that_is_gone_or_in_use_is_named(void **state)
{
	struct world *world = *state;
	struct ls_source *first;
	struct ls_error err;
	char sql[200];

	world_open(world);
	world_settle(world);
	first = world->src;
	assert_int_equal(world_try_open(world, &err), LS_FENCED);
	assert_non_null(strstr(err.text, "is active for PID"));
	ls_source_postgres.close(first);
	world->src = NULL;

	(void)usleep(200000);
	(void)snprintf(sql, sizeof(sql), "SELECT pg_drop_replication_slot('%s')", world->database);
	world_sql(world, sql);
	assert_int_equal(world_try_open(world, &err), LS_FATAL);
	assert_non_null(strstr(err.text, "is gone"));
}

static void a_position_that_is_not_one_is_refused(void **state)
{
	struct world *world = *state;
	static const char *const bad[] = { "{}", "x", "{\"lsn\":\"0/zz\"}",
					   "{\"lsn\":\"0/1\",\"snapshot\":{\"tables\":{\"a\":1}}}",
					   "{\"lsn\":\"0/1\",\"snapshot\":{\"rounds\":[{}]}}" };
	struct ls_error err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		world->position = strdup(bad[i]);
		assert_int_equal(world_try_open(world, &err), LS_FATAL);
		assert_string_equal(err.code, "position");
		free(world->position);
		world->position = NULL;
	}
}

static void opening_fails_cleanly(void **state)
{
	struct world *world = *state;
	struct ls_error err;
	char bad[64] = "postgres://127.0.0.1:1/none";

	world->options.url = bad;
	assert_int_equal(world_try_open(world, &err), LS_RETRY);
	assert_null(world->src);
	world->options.url = world->url;
	world->mapping[0].place = "public.missing";
	assert_int_equal(world_try_open(world, &err), LS_FATAL);
	assert_non_null(strstr(err.text, "source \"crm\""));
	assert_non_null(strstr(err.text, "public.missing"));
	world->mapping[0].place = "public.contacts";
	world->key[0][0] = LS_STR("nokey");
	assert_int_equal(world_try_open(world, &err), LS_FATAL);
	assert_non_null(strstr(err.text, "key"));
	assert_null(ls_source_postgres.close(NULL));
}

static void a_lost_connection_is_to_be_tried_again(void **state)
{
	struct world *world = *state;
	int64_t deadline = ls_monotonic_ms() + WORLD_DEADLINE_MS;
	enum ls_class class = LS_OK;
	struct ls_error err;

	world_open(world);
	world_settle(world);
	world_sql(world, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = "
			 "current_database()");
	while (!class && ls_monotonic_ms() < deadline)
		class = world_poll(world, &err);
	assert_int_equal(class, LS_RETRY);
	world_close(world);
	world_open(world);
	world_sql(world, "INSERT INTO contacts VALUES (9, 'again')");
	world_until(world, 1);
}

/* The server gives a client up that is silent for wal_sender_timeout; a lane that waits for Kafka must not be
 * silent. */
static void keepalives_hold_the_connection_while_nothing_is_read(void **state)
{
	struct world *world = *state;
	int64_t until;
	struct ls_error err;
	char sql[200];

	(void)snprintf(sql, sizeof(sql), "ALTER DATABASE %s SET wal_sender_timeout = '2s'", world->database);
	world_sql(world, sql);
	world_open(world);
	world_settle(world);
	world_sql(world, "INSERT INTO contacts SELECT g, repeat('x', 2000) FROM generate_series(1, 20000) g");
	for (until = ls_monotonic_ms() + 5000; ls_monotonic_ms() < until; (void)usleep(200000))
		world_ok(ls_source_postgres.keepalive(world->src, &err), &err);
	world->batch_max = 5000;
	world_until(world, 20000);
}

static void the_option_table_is_complete(void **state)
{
	(void)state;
	for (size_t i = 0; i < ls_source_postgres.option_count; i++) {
		const struct ls_option *option = &ls_source_postgres.options[i];

		assert_non_null(option->name);
		assert_true(option->help && *option->help);
		assert_true(option->offset < ls_source_postgres.options_size);
		assert_true((option->type == LS_OPT_CHOICE) == (option->choices != NULL));
		assert_true(option->type != LS_OPT_DURATION || option->unit);
	}
	assert_true(ls_source_postgres.open && ls_source_postgres.poll && ls_source_postgres.confirm);
	assert_true(ls_source_postgres.keepalive && ls_source_postgres.close && ls_source_postgres.check);
}

static void lookup_gives_the_row_as_it_is_now(void **state)
{
	struct world *world = *state;
	struct ls_row row = { 0 };
	struct ls_error err;
	struct ls_buf buf;

	world_sql(world, "INSERT INTO contacts VALUES (1, NULL)");
	world_ok(ls_source_postgres.lookup(&world->options, &world->context, &world->mapping[0], LS_STR("1"),
					   world->arena, &row, &err),
		 &err);
	ls_buf_init(&buf, 1000);
	world_add_row(&buf, &row);
	assert_string_equal(buf.ptr, " id=1 name=!");
	ls_buf_release(&buf);
	world_ok(ls_source_postgres.lookup(&world->options, &world->context, &world->mapping[0], LS_STR("2"),
					   world->arena, &row, &err),
		 &err);
	assert_null(row.schema);
}

/* ---- check ---- */

static void check_text(struct world *world, struct ls_buf *out)
{
	struct ls_report *report = ls_report_new();

	ls_source_postgres.check(&world->options, &world->context, report);
	ls_buf_init(out, 1 << 20);
	ls_report_text(report, false, out);
	(void)ls_report_free(report);
}

static void finds(const struct ls_buf *text, const char *what)
{
	if (!strstr(text->ptr, what))
		fail_msg("\"%s\" is not in:\n%s", what, text->ptr);
}

static void check_measures_and_says_the_fix(void **state)
{
	struct world *world = *state;
	struct ls_buf text;

	world_sql(world, "CREATE TABLE bad (\"K\" text, k2 int, g int GENERATED ALWAYS AS (1) STORED)");
	world_sql(world, "INSERT INTO bad VALUES ('a', 1), ('a', 1), (NULL, 2)");
	world_table(world, "bad", "bad", "K", "k2");
	world_table(world, "gone", "gone", "id", NULL);
	check_text(world, &text);
	finds(&text, "wal_level is logical");
	finds(&text, "the key of entity \"contact\" is unique in table public.contacts");
	finds(&text, "table public.contacts has replica identity by primary key");
	finds(&text, "ALTER TABLE public.bad REPLICA IDENTITY FULL");
	finds(&text, "no unique index of table public.bad");
	finds(&text, "3 rows of table public.bad looked at: 1 keys occur twice, 1 have a NULL");
	finds(&text, "generated columns are not in the log and do not travel: g");
	finds(&text, "public.gone does not exist");
	finds(&text, "will be created");
	finds(&text, "clock differs");
	ls_buf_release(&text);
}

static void check_says_when_the_server_cannot_be_reached(void **state)
{
	struct world *world = *state;
	char bad[64] = "postgres://u:sesame@127.0.0.1:1/none";
	struct ls_buf text;

	world->options.url = bad;
	check_text(world, &text);
	finds(&text, "could not connect");
	assert_null(strstr(text.ptr, "sesame"));
	ls_buf_release(&text);
}

/* ---- two-way ---- */

static void what_a_sink_of_ours_wrote_is_dropped_where_it_is_a_destination_too(void **state)
{
	struct world *world = *state;

	world_sql(world,
		  "CREATE SCHEMA identity; CREATE TABLE identity.sync_offsets (destination text, topic text, partition "
		  "int, next_offset bigint, max_version bigint, PRIMARY KEY (destination, topic, partition))");
	world->context.is_destination = true;
	world_open(world);
	world_sql(world, "SELECT pg_replication_origin_create('lockstep_test_' || current_database())");
	world_sql(world, "SELECT pg_replication_origin_session_setup('lockstep_test_' || current_database())");
	world_sql(world,
		  "BEGIN; INSERT INTO identity.sync_offsets VALUES ('crm', 'lockstep.contact', 0, 5, 6); INSERT INTO "
		  "contacts VALUES (1, 'theirs'); COMMIT");
	world_sql(world, "SELECT pg_replication_origin_session_reset()");
	world_sql(world, "INSERT INTO contacts VALUES (2, 'ours')");
	world_until(world, 1);
	world_settle(world);

	assert_int_equal(world->count, 1);
	world_line(world, 0, "INSERT contact 2 id=2 name=ours");
	world_close(world);
	(void)usleep(100000);
	world_sql(world, "SELECT pg_replication_origin_drop('lockstep_test_' || current_database())");
}

#define ON(test, start) cmocka_unit_test_setup_teardown(test, start, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON(insert_update_and_delete_come_as_they_were_made, contacts),
		ON(rows_of_one_statement_and_of_copy_have_ids_of_their_own, contacts),
		ON(rolled_back_work_does_not_come_and_savepoints_do, contacts),
		ON(a_changed_key_is_a_delete_and_an_insert, contacts),
		ON(a_changed_key_with_the_full_old_row_fills_what_the_log_left_out, contacts),
		ON(a_changed_key_asks_the_table_for_what_the_log_left_out, contacts),
		ON(an_unchanged_toasted_value_is_absent_not_null, contacts),
		ON(the_full_replica_identity_fills_an_unchanged_toasted_value, contacts),
		ON(a_changed_table_gets_a_new_schema_and_the_old_one_stays, contacts),
		ON(a_renamed_table_is_an_error_and_not_silence, contacts),
		ON(truncate_is_noted_or_fails_as_configured, contacts),
		ON(composite_keys_quoted_names_and_renamed_fields_travel, contacts),
		ON(a_partitioned_table_travels_as_its_root, contacts),
		ON(generated_columns_stay_behind_and_a_null_key_is_poison, contacts),
		ON(an_event_too_large_comes_as_its_key_with_the_reason, contacts),
		ON(every_type_comes_as_postgresql_prints_it, contacts),
		ON(every_type_comes_the_same_from_a_snapshot, contacts),
		ON(types_have_their_neutral_kinds, contacts),
		ON(a_source_goes_on_from_its_position_with_the_same_ids, contacts),
		ON(a_batch_that_ends_inside_a_transaction_has_no_position, contacts),
		ON(an_idle_slot_moves_on_while_other_tables_write, contacts),
		ON(a_slot_ahead_of_the_position_is_refused, contacts),
		ON(a_slot_that_is_gone_or_in_use_is_named, contacts),
		ON(a_position_that_is_not_one_is_refused, contacts),
		ON(opening_fails_cleanly, contacts),
		ON(a_lost_connection_is_to_be_tried_again, contacts),
		ON(keepalives_hold_the_connection_while_nothing_is_read, contacts),
		ON(the_option_table_is_complete, contacts),
		ON(lookup_gives_the_row_as_it_is_now, contacts),
		ON(check_measures_and_says_the_fix, contacts),
		ON(check_says_when_the_server_cannot_be_reached, contacts),
		ON(what_a_sink_of_ours_wrote_is_dropped_where_it_is_a_destination_too, contacts),
	};

	if (!getenv("LS_TEST_PG")) {
		printf("skipped: LS_TEST_PG is not set (the URL of a superuser on a server with wal_level=logical)\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
