/* The snapshot of a source: whole while others write, taken up after it was cut off, and joined to the log without a
 * gap. */
#include "source_world.h"

#include "core/map.h"
#include "seed.h"

static int contacts(void **state)
{
	struct world *world;

	world_setup(state);
	world = *state;
	world_sql(world, "CREATE TABLE contacts (id int PRIMARY KEY, name text)");
	world_table(world, "contact", "public.contacts", "id", NULL);
	world->context.snapshot = true;
	return 0;
}

/* The rows as last-write-wins leaves them, from the events seen: what every destination would hold. */
struct folded {
	int64_t version;
	bool deleted;
	const char *line;
};

static void fold(const struct world *world, struct ls_map *rows, struct folded *room)
{
	for (size_t i = 0; i < world->count; i++) {
		const struct seen *seen = &world->seen[i];
		const char *rest = strchr(strchr(seen->line, ' ') + 1, ' ') + 1;
		struct ls_map_slot *slot = ls_map_at(rows, (struct ls_str){ rest, strcspn(rest, " ") });

		if (slot->value && ((struct folded *)slot->value)->version >= seen->stamped)
			continue;
		slot->value = &room[i];
		room[i] = (struct folded){ seen->stamped, strncmp(seen->line, "DELETE", 6) == 0, rest };
	}
}

/* check_ids: an event that comes again is the same to the byte, version and all. */
static void check_ids(const struct world *world)
{
	struct ls_map ids;

	ls_map_init(&ids);
	for (size_t i = 0; i < world->count; i++) {
		struct ls_map_slot *slot = ls_map_at(&ids, ls_str_of(world->seen[i].event_id));
		const struct seen *before = slot->value;

		if (before) {
			assert_string_equal(before->line, world->seen[i].line);
			if (before->stamped != world->seen[i].stamped)
				fail_msg("%s had version %lld, now %lld", before->event_id, (long long)before->stamped,
					 (long long)world->seen[i].stamped);
		}
		slot->value = &world->seen[i];
	}
	ls_map_release(&ids);
}

/* check_rows compares the fold with the table itself, row by row. */
static void check_rows(struct world *world)
{
	struct folded *room = calloc(world->count + 1, sizeof(*room));
	size_t alive = 0;
	struct ls_map rows;
	struct ls_error err;
	PGresult *res = NULL;

	ls_map_init(&rows);
	fold(world, &rows, room);
	for (size_t i = 0; i < rows.count; i++)
		alive += !((struct folded *)rows.slot[i].value)->deleted;
	world_ok(ls_pg_exec(world->sql,
			    "SELECT id, format('%s id=%s name=%s', id, id, coalesce(name, '!')) FROM contacts", &res,
			    &err),
		 &err);
	for (int i = 0; i < PQntuples(res); i++) {
		const struct folded *row = ls_map_get(&rows, ls_str_of(PQgetvalue(res, i, 0)));
		const char *expected = PQgetvalue(res, i, 1);

		if (!row || row->deleted)
			fail_msg("row %s is missing", expected);
		if (strncmp(row->line, expected, strlen(expected)) != 0)
			fail_msg("row is %s, not %s", row->line, expected);
	}
	assert_int_equal(alive, PQntuples(res));
	PQclear(res);
	ls_map_release(&rows);
	free(room);
}

static void a_table_is_read_whole_then_the_log_goes_on(void **state)
{
	struct world *world = *state;
	size_t snapshots = 0;

	world_sql(world, "INSERT INTO contacts SELECT g, 'n' || g FROM generate_series(1, 1003) g; ANALYZE contacts");
	world_open(world);
	world_until(world, 1003);
	for (size_t i = 0; i < world->count; i++) {
		snapshots += strncmp(world->seen[i].line, "SNAPSHOT contact ", 17) == 0;
		assert_int_equal(world->seen[i].version, world->seen[0].version);
	}
	assert_int_equal(snapshots, 1003);
	assert_memory_equal(world->seen[0].event_id, "crm:snapshot:", 13);
	assert_int_equal(LS_READ(world->stats, snapshot_rows), 1003);
	assert_int_equal(LS_READ(world->stats, snapshot_total), 1003);

	world_sql(world, "UPDATE contacts SET name = 'new' WHERE id = 7");
	world_until(world, 1004);
	world_line(world, 1003, "UPDATE contact 7 id=7 name=new");
	assert_true(world->floor >= world->seen[0].version);
	check_rows(world);
}

static void an_empty_table_is_done_at_once(void **state)
{
	struct world *world = *state;

	world_open(world);
	world_settle(world);
	assert_non_null(strstr(world->position, "\"public.contacts\":true"));
	assert_int_equal(world->count, 0);
}

static void no_row_goes_out_before_the_round_is_durable(void **state)
{
	struct world *world = *state;
	struct ls_error err;

	world_sql(world, "INSERT INTO contacts VALUES (1, 'a')");
	world->no_confirm = true;
	world_open(world);
	for (int i = 0; i < 10; i++)
		world_ok(world_poll(world, &err), &err);
	assert_int_equal(world->count, 0);
	assert_non_null(strstr(world->position, "\"rounds\":[{"));

	world_ok(ls_source_postgres.confirm(world->src, ls_str_of(world->position), &err), &err);
	world_until(world, 1);
}

static void without_initial_snapshot_only_changes_come(void **state)
{
	struct world *world = *state;

	world_sql(world, "INSERT INTO contacts VALUES (1, 'a')");
	world->context.snapshot = false;
	world_open(world);
	world_sql(world, "INSERT INTO contacts VALUES (2, 'b')");
	world_until(world, 1);
	world_line(world, 0, "INSERT contact 2 id=2 name=b");
}

/* A few changes of every kind, on keys all over the table. */
static void change_something(struct world *world, uint64_t *seed)
{
	char sql[400];
	size_t a = test_below(seed, 400), b = test_below(seed, 400), c = test_below(seed, 400);

	(void)snprintf(
		sql, sizeof(sql),
		"UPDATE contacts SET name = 'u%zu' WHERE id = %zu; DELETE FROM contacts WHERE id = %zu; INSERT INTO "
		"contacts VALUES (%zu, 'i') ON CONFLICT (id) DO UPDATE SET name = 'again%zu'; UPDATE contacts SET id = "
		"-id WHERE id = %zu AND NOT EXISTS (SELECT FROM contacts x WHERE x.id = -contacts.id)",
		test_below(seed, 1000), a, b, c, test_below(seed, 1000), test_below(seed, 400));
	world_sql(world, sql);
}

static void a_snapshot_among_writers_ends_as_the_table(void **state)
{
	struct world *world = *state;
	uint64_t seed = test_seed();
	struct ls_error err;

	world_sql(world, "INSERT INTO contacts SELECT g, 'n' || g FROM generate_series(0, 399) g");
	world_open(world);
	for (int i = 0; i < 100; i++) {
		change_something(world, &seed);
		world_ok(world_poll(world, &err), &err);
	}
	world_settle(world);
	check_rows(world);
}

/* Cut off at random points, with the position of a random earlier moment, while others write. The events that went out
 * before the cut stay out: a destination has them. */
static void a_snapshot_cut_off_again_and_again_ends_as_the_table(void **state)
{
	struct world *world = *state;
	uint64_t seed = test_seed();
	struct ls_error err;

	world_sql(world, "INSERT INTO contacts SELECT g, 'n' || g FROM generate_series(0, 399) g");
	for (int cut = 0; cut < 6; cut++) {
		world_open(world);
		for (size_t i = 0, n = test_below(&seed, 8); i < n; i++) {
			change_something(world, &seed);
			world_ok(world_poll(world, &err), &err);
		}
		/* What is polled last never became durable: the next start knows an older position. */
		change_something(world, &seed);
		if (test_chance(&seed, 50) && world->position) {
			char *older = strdup(world->position);
			int64_t floor = world->floor;

			world->no_confirm = true;
			world_ok(world_poll(world, &err), &err);
			world->no_confirm = false;
			free(world->position);
			world->position = older;
			world->floor = floor;
		}
		world_close(world);
	}
	world_open(world);
	world_settle(world);
	check_rows(world);
	check_ids(world);
	world_settle(world);
	assert_non_null(strstr(world->position, "\"public.contacts\":true"));
	assert_non_null(strstr(world->position, "\"rounds\":[]"));
}

static void a_stream_cut_off_again_and_again_repeats_itself_to_the_byte(void **state)
{
	struct world *world = *state;
	uint64_t seed = test_seed();
	struct ls_error err;

	for (int cut = 0; cut < 6; cut++) {
		world_open(world);
		for (size_t i = 0, n = 5 + test_below(&seed, 20); i < n; i++) {
			change_something(world, &seed);
			if (test_chance(&seed, 20))
				world_sql(world, "INSERT INTO contacts SELECT g, 'b' FROM generate_series(0, 399) g ON "
						 "CONFLICT (id) "
						 "DO UPDATE SET name = contacts.name || '.'");
			/* Some batches never become durable. */
			if (test_chance(&seed, 70) || world->position == NULL) {
				world_ok(world_poll(world, &err), &err);
			} else {
				char *older = strdup(world->position);
				int64_t floor = world->floor;

				world->no_confirm = true;
				world_ok(world_poll(world, &err), &err);
				world->no_confirm = false;
				free(world->position);
				world->position = older;
				world->floor = floor;
				break;
			}
		}
		world_close(world);
	}
	world_open(world);
	world_settle(world);
	check_rows(world);
	check_ids(world);
}

static void chunks_that_are_durable_are_not_read_again(void **state)
{
	struct world *world = *state;
	size_t before;

	world_sql(world, "INSERT INTO contacts SELECT g, 'n' || g FROM generate_series(1, 1000) g");
	world->options.snapshot_connections = 1;
	world_open(world);
	world_until(world, 600);
	before = world->count;
	world_close(world);
	assert_non_null(strstr(world->position, "\"public.contacts\":[\""));

	world_open(world);
	world_settle(world);
	/* At most what one batch and one chunk hold was read twice. */
	assert_in_range(world->count, 1000, 1000 + WORLD_EVENTS + 10);
	assert_true(world->seen[before].version > world->seen[0].version);
	check_rows(world);
}

static void a_table_configured_later_is_read_then(void **state)
{
	struct world *world = *state;
	size_t before;

	world_sql(world, "INSERT INTO contacts VALUES (1, 'a')");
	world_open(world);
	world_settle(world);
	world_close(world);
	before = world->count;

	world_sql(world, "CREATE TABLE orders (no bigint PRIMARY KEY); INSERT INTO orders VALUES (10), (11)");
	world_table(world, "order", "orders", "no", NULL);
	world_sql(world, "INSERT INTO contacts VALUES (2, 'b')");
	world_open(world);
	world_sql(world, "INSERT INTO orders VALUES (12)");
	world_settle(world);

	assert_int_equal(before, 1);
	assert_int_equal(world->count, 5);
	world_line(world, 1, "SNAPSHOT order 10 no=10");
	world_line(world, 2, "SNAPSHOT order 11 no=11");
	world_line(world, 3, "INSERT contact 2 id=2 name=b");
	world_line(world, 4, "INSERT order 12 no=12");
}

static void keys_of_every_shape_are_walked_in_ranges(void **state)
{
	struct world *world = *state;

	world_sql(world,
		  "CREATE TABLE odd (\"K 1\" text COLLATE \"C\", k2 timestamptz, n int, PRIMARY KEY (k2, \"K 1\"));"
		  "INSERT INTO odd SELECT 'it''s \\ ' || g % 7, '2026-01-01'::timestamptz + g / 3 * interval '1 ms', g "
		  "FROM generate_series(1, 200) g ON CONFLICT DO NOTHING;"
		  "CREATE TABLE loose (k text, n int); INSERT INTO loose SELECT g, g FROM generate_series(1, 50) g;"
		  "CREATE TABLE parts (id int PRIMARY KEY, t text) PARTITION BY RANGE (id);"
		  "CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM (0) TO (50);"
		  "CREATE TABLE parts_b PARTITION OF parts FOR VALUES FROM (50) TO (1000);"
		  "INSERT INTO parts SELECT g, 'x' FROM generate_series(1, 99) g");
	world_table(world, "odd", "odd", "K 1", "k2");
	world_table(world, "loose", "loose", "k", NULL);
	world_table(world, "part", "parts", "id", NULL);
	world_open(world);
	world_settle(world);
	assert_int_equal(world->count, 200 + 50 + 99);
	for (size_t i = 1; i < world->count; i++)
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(world->seen[i].event_id, world->seen[j].event_id);
}

static void a_slot_without_a_position_is_taken_up(void **state)
{
	struct world *world = *state;
	struct ls_error err;

	world_sql(world, "INSERT INTO contacts VALUES (1, 'a'), (2, 'b')");
	world_open(world);
	world->no_confirm = true;
	world_ok(world_poll(world, &err), &err);
	world_close(world);
	free(world->position);
	world->position = NULL;
	world->no_confirm = false;
	world_sql(world, "DELETE FROM contacts WHERE id = 1");

	world_open(world);
	world_settle(world);
	check_rows(world);
	assert_string_equal(world->seen[world->count - 1].line, "DELETE contact 1 | id=1 name=~");
}

#define ON(test, start) cmocka_unit_test_setup_teardown(test, start, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON(a_table_is_read_whole_then_the_log_goes_on, contacts),
		ON(an_empty_table_is_done_at_once, contacts),
		ON(no_row_goes_out_before_the_round_is_durable, contacts),
		ON(without_initial_snapshot_only_changes_come, contacts),
		ON(a_snapshot_among_writers_ends_as_the_table, contacts),
		ON(a_snapshot_cut_off_again_and_again_ends_as_the_table, contacts),
		ON(a_stream_cut_off_again_and_again_repeats_itself_to_the_byte, contacts),
		ON(chunks_that_are_durable_are_not_read_again, contacts),
		ON(a_table_configured_later_is_read_then, contacts),
		ON(keys_of_every_shape_are_walked_in_ranges, contacts),
		ON(a_slot_without_a_position_is_taken_up, contacts),
	};

	if (!getenv("LS_TEST_PG")) {
		printf("skipped: LS_TEST_PG is not set (the URL of a superuser on a server with wal_level=logical)\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
