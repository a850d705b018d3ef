/* What a local edit had seen of the other systems: sync_offsets in the log of a system that is source and
 * destination. */
#include "source_world.h"

enum { PARTITIONS = 4 };

static const int32_t partitions[WORLD_MAPPINGS] = { PARTITIONS, PARTITIONS };

/* The ledger as a sink makes it, and a session that writes as a sink of ours. */
static int two_way(void **state)
{
	struct world *world;

	world_setup(state);
	world = *state;
	world_sql(world, "CREATE TABLE contacts (id int PRIMARY KEY, name text)");
	world_table(world, "contact", "public.contacts", "id", NULL);
	world->context.is_destination = true;
	world->context.partitions = partitions;
	world_sql(world, "CREATE SCHEMA identity; CREATE TABLE identity.sync_offsets (destination text, topic text, "
			 "partition int, next_offset bigint, max_version bigint, owner_epoch bigint DEFAULT 1, "
			 "updated_at timestamptz DEFAULT now(), PRIMARY KEY (destination, topic, partition))");
	return 0;
}

/* as_origin writes in a session under an origin of that name; the database's own number is put behind it, because
 * origins are the whole server's. */
static void as_origin(struct world *world, const char *name, const char *sql)
{
	struct ls_error err;
	PGconn *conn = NULL;
	char origin[600];

	world_ok(ls_pg_connect(world->url, "test", false, &conn, &err), &err);
	(void)snprintf(origin, sizeof(origin),
		       "SELECT pg_replication_origin_create('%s' || oid) FROM pg_database WHERE datname = "
		       "current_database() AND pg_replication_origin_oid('%s' || oid) IS NULL; "
		       "SELECT pg_replication_origin_session_setup('%s' || oid) FROM pg_database WHERE datname = "
		       "current_database()",
		       name, name, name);
	world_ok(ls_pg_exec(conn, origin, NULL, &err), &err);
	world_ok(ls_pg_exec(conn, sql, NULL, &err), &err);
	ls_pg_close(conn);
}

static void as_sink(struct world *world, const char *sql)
{
	as_origin(world, "lockstep:crm:", sql);
}

static int two_way_end(void **state)
{
	struct world *world = *state;
	int64_t deadline = ls_monotonic_ms() + 20000;
	struct ls_error err;

	world_close(world);
	while (ls_pg_exec(world->sql,
			  "SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname LIKE "
			  "'%:' || (SELECT oid FROM pg_database WHERE datname = current_database())",
			  NULL, &err) &&
	       ls_monotonic_ms() < deadline) /* its session is ending */
		(void)usleep(20000);
	return world_teardown(state);
}

/* The partitions of ids 1 to 8 among four, by murmur2 as confluent-kafka for Python places them. */
static const int32_t partition_of[] = { 0, 3, 0, 3, 1, 2, 2, 3, 3 };

/* Every partition of a topic; `max` is what each has applied, its next offset ten more than its number. */
static void applied(struct world *world, const char *destination, const char *topic, int64_t max)
{
	char sql[600];

	(void)snprintf(
		sql, sizeof(sql),
		"INSERT INTO identity.sync_offsets SELECT '%s', '%s', g, g + 10, %lld + g FROM generate_series(0, "
		"%d) g ON CONFLICT (destination, topic, partition) DO UPDATE SET next_offset = "
		"EXCLUDED.next_offset, max_version = EXCLUDED.max_version",
		destination, topic, (long long)max, PARTITIONS - 1);
	as_sink(world, sql);
}

static void has_base(const struct world *world, size_t i, int id, int64_t max)
{
	assert_true(i < world->count);
	assert_int_equal(world->seen[i].base_offset, partition_of[id] + 10);
	assert_int_equal(world->seen[i].base_version, max + partition_of[id]);
}

static void a_local_edit_says_what_its_own_partition_had_seen(void **state)
{
	struct world *world = *state;

	world_open(world);
	world_sql(world, "INSERT INTO contacts VALUES (1, 'before anything was applied')");
	applied(world, "crm", "lockstep.contact", 1000);
	world_sql(world, "INSERT INTO contacts SELECT g, 'a' FROM generate_series(2, 8) g");
	applied(world, "crm", "lockstep.contact", 2000);
	world_sql(world, "DELETE FROM contacts WHERE id = 3");
	world_until(world, 9);

	assert_int_equal(world->seen[0].base_offset, LS_NONE);
	assert_int_equal(world->seen[0].base_version, LS_NONE);
	for (int id = 2; id <= 8; id++)
		has_base(world, (size_t)id - 1, id, 1000);
	has_base(world, 8, 3, 2000);
}

static void what_other_destinations_and_topics_had_applied_is_not_ours(void **state)
{
	struct world *world = *state;

	world_open(world);
	applied(world, "warehouse", "lockstep.contact", 1000);
	applied(world, "crm", "lockstep.company", 2000);
	applied(world, "crm", "lockstep.contact.priority", 3000);
	as_sink(world, "INSERT INTO identity.sync_offsets VALUES ('crm', 'lockstep.contact', 0, -1, NULL), "
		       "('crm', 'lockstep.contact', 1, -1, NULL), ('crm', 'lockstep.contact', 2, -1, NULL), "
		       "('crm', 'lockstep.contact', 3, -1, NULL)");
	world_sql(world, "INSERT INTO contacts SELECT g, 'a' FROM generate_series(1, 8) g");
	world_until(world, 8);

	for (size_t i = 0; i < 8; i++) {
		assert_int_equal(world->seen[i].base_offset, LS_NONE);
		assert_int_equal(world->seen[i].base_version, LS_NONE);
	}
}

static void only_what_our_own_sink_wrote_is_left_out(void **state)
{
	static const char *const others[] = { "lockstep:crm2:", "lockstep:other:", "lockstep_crm:", "lockstep:crm:x:",
					      "lockstep:c:" };
	struct world *world = *state;
	char sql[100];

	world_open(world);
	as_sink(world, "INSERT INTO contacts VALUES (100, 'ours')");
	for (int i = 0; i < 5; i++) {
		(void)snprintf(sql, sizeof(sql), "INSERT INTO contacts VALUES (%d, 'another''s')", i);
		as_origin(world, others[i], sql);
	}
	world_until(world, 5);
	world_settle(world);

	assert_int_equal(world->count, 5);
	world_line(world, 4, "INSERT contact 4 id=4 name=another's");
}

static void a_restart_keeps_what_was_seen(void **state)
{
	struct world *world = *state;

	world_open(world);
	applied(world, "crm", "lockstep.contact", 1000);
	world_settle(world);
	world_close(world);
	world_sql(world, "INSERT INTO contacts VALUES (5, 'a')");
	applied(world, "crm", "lockstep.contact", 2000);
	world_sql(world, "INSERT INTO contacts VALUES (6, 'b')");
	world_open(world);
	world_until(world, 2);

	has_base(world, 0, 5, 1000);
	has_base(world, 1, 6, 2000);
}

/* Cut after every batch and read again from its position: what was seen comes out the same. */
static void reading_again_from_any_position_gives_the_same_bases(void **state)
{
	enum { EDITS = 40 };
	struct world *world = *state;
	struct {
		char *position;
		size_t events;
	} cut[EDITS + 1];
	int64_t base[EDITS];
	size_t cuts = 0;
	struct ls_error err;

	world_open(world);
	world->batch_max = 4;
	world->no_confirm = true;
	for (int i = 0; i < EDITS; i++) {
		char sql[100];

		applied(world, "crm", "lockstep.contact", 1000 * (i + 1));
		(void)snprintf(sql, sizeof(sql), "INSERT INTO contacts VALUES (%d, 'a')", i + 100);
		world_sql(world, sql);
	}
	while (world->count < EDITS) {
		char *before = strdup(world->position ? world->position : "");

		world_ok(world_poll(world, &err), &err);
		if (world->position && world->count < EDITS && strcmp(before, world->position) != 0) {
			cut[cuts].position = strdup(world->position);
			cut[cuts++].events = world->count;
		}
		free(before);
	}
	assert_true(cuts > 5);
	for (size_t i = 0; i < EDITS; i++) {
		base[i] = world->seen[i].base_version;
		assert_int_equal(base[i] / 1000, i + 1);
	}
	for (size_t c = 0; c < cuts; c++) {
		world_close(world);
		world_forget(world);
		free(world->position);
		world->position = cut[c].position;
		world_open(world);
		world_until(world, EDITS - cut[c].events);
		for (size_t i = cut[c].events; i < EDITS; i++)
			assert_int_equal(world->seen[i - cut[c].events].base_version, base[i]);
	}
}

static void a_ledger_made_later_is_read_from_the_next_start_on(void **state)
{
	struct world *world = *state;
	int64_t deadline = ls_monotonic_ms() + WORLD_DEADLINE_MS;
	enum ls_class class = LS_OK;
	struct ls_error err;

	world_sql(world, "ALTER TABLE identity.sync_offsets RENAME TO later");
	world_open(world);
	world_settle(world);
	world_sql(world, "ALTER TABLE identity.later RENAME TO sync_offsets");
	applied(world, "crm", "lockstep.contact", 1000);
	while (!class && ls_monotonic_ms() < deadline)
		class = world_poll(world, &err);
	assert_int_equal(class, LS_RETRY);
	assert_non_null(strstr(err.text, "identity.sync_offsets has been created"));
	world_close(world);
	world_open(world);
	world_sql(world, "INSERT INTO contacts VALUES (7, 'a')");
	world_until(world, 1);

	has_base(world, 0, 7, 1000);
}

static void a_snapshot_is_newer_than_what_its_rows_came_from(void **state)
{
	struct world *world = *state;
	int64_t ahead = ls_now_us() + 3600000000;

	world_sql(world, "INSERT INTO contacts VALUES (1, 'a')");
	applied(world, "crm", "lockstep.contact", ahead);
	applied(world, "warehouse", "lockstep.contact", ahead + 1000000);
	world->context.snapshot = true;
	world_open(world);
	world_until(world, 1);
	world_sql(world, "INSERT INTO contacts VALUES (2, 'after it')");
	world_until(world, 2);

	assert_int_equal(world->seen[0].stamped, ahead + PARTITIONS);
	assert_true(world->seen[1].stamped > world->seen[0].stamped);
}

int main(void)
{
#define TWO_WAY(test) cmocka_unit_test_setup_teardown(test, two_way, two_way_end)
	const struct CMUnitTest tests[] = {
		TWO_WAY(a_local_edit_says_what_its_own_partition_had_seen),
		TWO_WAY(what_other_destinations_and_topics_had_applied_is_not_ours),
		TWO_WAY(only_what_our_own_sink_wrote_is_left_out),
		TWO_WAY(a_restart_keeps_what_was_seen),
		TWO_WAY(reading_again_from_any_position_gives_the_same_bases),
		TWO_WAY(a_ledger_made_later_is_read_from_the_next_start_on),
		TWO_WAY(a_snapshot_is_newer_than_what_its_rows_came_from),
	};
#undef TWO_WAY

	if (!getenv("LS_TEST_PG")) {
		printf("skipped: LS_TEST_PG is not set (the URL of a superuser on a server with wal_level=logical)\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
