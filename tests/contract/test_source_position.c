/* Where a source goes on after a restart, what it refuses to go on from, and what its check says. */
#include "source_world.h"

#include "main/report.h"

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

#define T(test) cmocka_unit_test_setup_teardown(test, world_contacts, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_source_goes_on_from_its_position_with_the_same_ids),
		T(a_batch_that_ends_inside_a_transaction_has_no_position),
		T(an_idle_slot_moves_on_while_other_tables_write),
		T(a_slot_ahead_of_the_position_is_refused),
		T(a_slot_that_is_gone_or_in_use_is_named),
		T(a_position_that_is_not_one_is_refused),
		T(opening_fails_cleanly),
		T(a_lost_connection_is_to_be_tried_again),
		T(keepalives_hold_the_connection_while_nothing_is_read),
		T(the_option_table_is_complete),
		T(lookup_gives_the_row_as_it_is_now),
		T(check_measures_and_says_the_fix),
		T(check_says_when_the_server_cannot_be_reached),
	};

	if (!getenv("LS_TEST_PG")) {
		printf("skipped: LS_TEST_PG is not set (the URL of a superuser on a server with wal_level=logical)\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
