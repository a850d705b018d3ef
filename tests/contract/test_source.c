/* What every kind of source has to keep, tried on PostgreSQL: what comes, and in which order. */
#include "source_world.h"

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

/* ---- two-way ---- */

static void what_a_sink_of_ours_wrote_is_dropped_where_it_is_a_destination_too(void **state)
{
	struct world *world = *state;
	int64_t deadline = ls_monotonic_ms() + 20000;
	struct ls_error err;

	world_sql(world,
		  "CREATE SCHEMA identity; CREATE TABLE identity.sync_offsets (destination text, topic text, partition "
		  "int, next_offset bigint, max_version bigint, PRIMARY KEY (destination, topic, partition))");
	world->context.is_destination = true;
	world_open(world);
	world_sql(world, "SELECT pg_replication_origin_create('lockstep:crm:' || oid) FROM pg_database "
			 "WHERE datname = current_database()");
	world_sql(world, "SELECT pg_replication_origin_session_setup('lockstep:crm:' || oid) FROM pg_database "
			 "WHERE datname = current_database()");
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
	while (ls_pg_exec(world->sql,
			  "SELECT pg_replication_origin_drop('lockstep:crm:' || oid) FROM pg_database WHERE "
			  "datname = current_database()",
			  NULL, &err) &&
	       ls_monotonic_ms() < deadline) /* its session is ending */
		(void)usleep(20000);
}

#define T(test) cmocka_unit_test_setup_teardown(test, world_contacts, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(insert_update_and_delete_come_as_they_were_made),
		T(rows_of_one_statement_and_of_copy_have_ids_of_their_own),
		T(rolled_back_work_does_not_come_and_savepoints_do),
		T(a_changed_key_is_a_delete_and_an_insert),
		T(a_changed_key_with_the_full_old_row_fills_what_the_log_left_out),
		T(a_changed_key_asks_the_table_for_what_the_log_left_out),
		T(an_unchanged_toasted_value_is_absent_not_null),
		T(the_full_replica_identity_fills_an_unchanged_toasted_value),
		T(a_changed_table_gets_a_new_schema_and_the_old_one_stays),
		T(a_renamed_table_is_an_error_and_not_silence),
		T(truncate_is_noted_or_fails_as_configured),
		T(composite_keys_quoted_names_and_renamed_fields_travel),
		T(a_partitioned_table_travels_as_its_root),
		T(generated_columns_stay_behind_and_a_null_key_is_poison),
		T(an_event_too_large_comes_as_its_key_with_the_reason),
		T(what_a_sink_of_ours_wrote_is_dropped_where_it_is_a_destination_too),
	};

	if (!getenv("LS_TEST_PG")) {
		printf("skipped: LS_TEST_PG is not set (the URL of a superuser on a server with wal_level=logical)\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
