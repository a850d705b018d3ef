/* guard: which local edits an event leaves alone, on PostgreSQL's own answers; and what a trigger makes of our writes.
 * Events are numbered by `version`, in microseconds as commit times are. The server tracks commit timestamps. */
#include "destination_world.h"

#include <poll.h>

static struct ls_event events[WRITES_MAX];

static void guarded(struct bench *b, const char *guard)
{
	b->mapping.guard = guard;
	contacts(b);
}

/* From an event of another system; `version` is its commit time, too. */
static void from(struct bench *b, const char *source, int64_t version)
{
	struct ls_event *event = &events[b->writes - 1];

	*event = (struct ls_event){ .source = ls_str_of(source), .version = version, .timestamp_us = version };
	b->write[b->writes - 1].event = event;
}

static int64_t number(struct bench *b, const char *sql)
{
	return strtoll(says(b, sql), NULL, 10);
}

/* When the row was last written, in microseconds. */
static int64_t written(struct bench *b, int id)
{
	char sql[200];

	(void)snprintf(sql, sizeof(sql),
		       "SELECT (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint FROM contacts "
		       "WHERE id = %d",
		       id);
	return number(b, sql);
}

static const char *name_of(struct bench *b, int id)
{
	char sql[100];

	(void)snprintf(sql, sizeof(sql), "SELECT coalesce((SELECT name FROM contacts WHERE id = %d), 'none')", id);
	return says(b, sql);
}

/* The partition's highest version as the next slices leave it. */
static void apply_at(struct bench *b, int64_t max_version)
{
	struct ls_slice slice = slice_of(b);

	slice.max_version = max_version;
	if (apply_only(b, &slice))
		fail_msg("apply: %s: %s", b->err.code, b->err.text);
	b->mark.next_offset = slice.next_offset;
	b->writes = 0;
}

static void a_newer_local_edit_is_kept_and_an_older_one_is_not(void **state)
{
	struct bench *b = *state;

	guarded(b, "commit_timestamp");
	must(b->conn, "INSERT INTO contacts VALUES (1, 'local', 1), (2, 'local', 1), (3, 'local', 1)");
	PUT(b, "1", "event", "2");
	from(b, "other", written(b, 1) - 1);
	PUT(b, "2", "event", "2");
	from(b, "other", written(b, 2) + 1);
	REMOVE(b, "3", ABSENT, ABSENT);
	from(b, "other", written(b, 3) - 1);
	PUT(b, "4", "event", "2");
	from(b, "other", 5);

	apply_at(b, 7);

	assert_string_equal(name_of(b, 1), "local");
	assert_string_equal(name_of(b, 2), "event");
	assert_string_equal(name_of(b, 3), "local");
	assert_string_equal(name_of(b, 4), "event");
	assert_int_equal(b->outcome.rows, 2);
}

static void a_local_edit_is_removed_by_a_newer_delete(void **state)
{
	struct bench *b = *state;

	guarded(b, "commit_timestamp");
	must(b->conn, "INSERT INTO contacts VALUES (1, 'local', 1)");
	REMOVE(b, "1", ABSENT, ABSENT);
	from(b, "other", written(b, 1) + 1);

	apply_at(b, 7);

	assert_string_equal(name_of(b, 1), "none");
}

/* The stamp is (version, commit time, source); the destination is called it's "one". */
static void equal_versions_are_decided_as_everywhere(void **state)
{
	struct bench *b = *state;

	guarded(b, "commit_timestamp");
	must(b->conn, "INSERT INTO contacts VALUES (1, 'local', 1), (2, 'local', 1)");
	PUT(b, "1", "event", "2");
	from(b, "aaa", written(b, 1));
	PUT(b, "2", "event", "2");
	from(b, "zzz", written(b, 2));

	apply_at(b, 7);

	assert_string_equal(name_of(b, 1), "local");
	assert_string_equal(name_of(b, 2), "event");
}

/* Another system's clock is an hour ahead: what had seen its version is numbered after it, whatever the time is. */
static void what_the_writer_had_seen_counts_where_clocks_differ(void **state)
{
	struct bench *b = *state;
	int64_t ahead = ls_now_us() + 3600000000;

	guarded(b, "commit_timestamp");
	must(b->conn, "INSERT INTO contacts VALUES (1, 'before', 1)");
	apply_at(b, ahead);
	must(b->conn, "INSERT INTO contacts VALUES (2, 'after', 1), (3, 'after', 1), (4, 'after', 1)");
	PUT(b, "1", "event", "2");
	from(b, "other", ahead - 5);
	PUT(b, "2", "event", "2");
	from(b, "other", ahead - 5);
	PUT(b, "3", "event", "2");
	from(b, "other", ahead);
	PUT(b, "4", "event", "2");
	from(b, "other", ahead + 2);

	apply_at(b, ahead + 2);

	assert_string_equal(name_of(b, 1), "event");
	assert_string_equal(name_of(b, 2), "after");
	assert_string_equal(name_of(b, 3), "after");
	assert_string_equal(name_of(b, 4), "event");
}

static void what_was_seen_is_remembered_for_many_slices_back(void **state)
{
	struct bench *b = *state;
	int64_t ahead = ls_now_us() + 3600000000;

	guarded(b, "commit_timestamp");
	apply_at(b, ahead);
	must(b->conn, "INSERT INTO contacts VALUES (1, 'after', 1)");
	for (int i = 1; i <= 600; i++)
		apply_at(b, ahead + i);
	PUT(b, "1", "event", "2");
	from(b, "other", ahead - 1);
	apply_at(b, ahead + 1000);
	assert_string_equal(name_of(b, 1), "after");

	PUT(b, "1", "event", "2");
	from(b, "other", ahead + 300);
	apply_at(b, ahead + 1000);
	assert_string_equal(name_of(b, 1), "event");
}

static void a_sink_that_takes_over_knows_what_was_applied_before_it(void **state)
{
	struct bench *b = *state;
	int64_t ahead = ls_now_us() + 3600000000;

	guarded(b, "commit_timestamp");
	apply_at(b, ahead);
	b->dst = ops->close(b->dst);
	start(b);
	must(b->conn, "INSERT INTO contacts VALUES (1, 'after', 1)");
	PUT(b, "1", "event", "2");
	from(b, "other", ahead - 1);

	apply_at(b, ahead);

	assert_string_equal(name_of(b, 1), "after");
}

static void an_edit_that_began_before_a_slice_had_not_seen_it(void **state)
{
	struct bench *b = *state;
	int64_t ahead = ls_now_us() + 3600000000;

	guarded(b, "commit_timestamp");
	must(b->conn, "BEGIN; INSERT INTO contacts VALUES (1, 'began before', 1)");
	apply_at(b, ahead);
	must(b->conn, "COMMIT");
	PUT(b, "1", "event", "2");
	from(b, "other", ahead - 5);

	apply_at(b, ahead);

	assert_string_equal(name_of(b, 1), "event");
}

static void what_a_sink_wrote_is_no_local_edit(void **state)
{
	struct bench *b = *state;
	int64_t now = ls_now_us() - 60000000;

	guarded(b, "commit_timestamp");
	PUT(b, "1", "first", "1");
	from(b, "other", now);
	apply_at(b, now);
	PUT(b, "1", "second", "1");
	from(b, "other", now + 1);

	apply_at(b, now + 1);

	assert_string_equal(name_of(b, 1), "second");
}

static void an_event_of_our_own_never_overwrites_a_local_edit(void **state)
{
	struct bench *b = *state;
	int64_t ahead = ls_now_us() + 3600000000;

	guarded(b, "commit_timestamp");
	must(b->conn, "INSERT INTO contacts VALUES (1, 'later edit', 1)");
	PUT(b, "1", "earlier edit", "1");
	from(b, b->context.name, ahead);
	PUT(b, "2", "mine", "1");
	from(b, "other", 5);
	apply_at(b, ahead);
	assert_string_equal(name_of(b, 1), "later edit");

	PUT(b, "2", "mine again", "1");
	from(b, b->context.name, 6);
	apply_at(b, ahead);
	assert_string_equal(name_of(b, 2), "mine again");
}

/* wait_blocked waits until a session of the sink waits for a lock. */
static void wait_blocked(struct bench *b)
{
	int64_t deadline = ls_monotonic_ms() + 60000;

	while (number(b,
		      "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE "
		      "'lockstep it%' AND datname = current_database()") == 0) {
		if (ls_monotonic_ms() > deadline)
			fail_msg("the sink does not come to wait");
		(void)poll(NULL, 0, 20);
	}
}

/* race lets another process apply what is in the slice, while `sql` is uncommitted. */
static void race(struct bench *b, const char *sql, int64_t version)
{
	PGconn *other = NULL;
	struct ls_slice slice;
	int fd[2];
	char done;
	pid_t child;

	assert_int_equal(ls_pg_connect(b->url, "local", false, &other, &b->err), LS_OK);
	must(other, "BEGIN");
	must(other, sql);
	PUT(b, "1", "event", "2");
	from(b, "other", version);
	slice = slice_of(b);
	assert_int_equal(pipe(fd), 0);
	child = fork();
	if (child == 0) { /* the session is the child's from here on */
		enum ls_class class = apply_only(b, &slice);

		_exit(write(fd[1], class ? "n" : "y", 1) == 1 ? 0 : 1);
	}
	wait_blocked(b);
	must(other, "COMMIT");
	assert_int_equal(read(fd[0], &done, 1), 1);
	assert_int_equal(done, 'y');
	(void)close(fd[0]);
	(void)close(fd[1]);
	ls_pg_close(other);
	b->writes = 0;
}

static void an_edit_that_commits_while_the_sink_waits_for_it_is_kept(void **state)
{
	struct bench *b = *state;

	set_option(b, "lock_timeout", NULL, 120000);
	guarded(b, "commit_timestamp");
	must(b->conn, "INSERT INTO contacts VALUES (1, 'old', 1)");
	race(b, "UPDATE contacts SET name = 'while it waited' WHERE id = 1", written(b, 1) + 1);

	assert_string_equal(name_of(b, 1), "while it waited");
}

static void a_row_that_comes_in_between_is_kept(void **state)
{
	struct bench *b = *state;

	set_option(b, "lock_timeout", NULL, 120000);
	guarded(b, "commit_timestamp");
	race(b, "INSERT INTO contacts VALUES (1, 'in between', 1)", 1000);

	assert_string_equal(name_of(b, 1), "in between");
}

static void a_table_written_anew_by_its_owner_is_no_local_edit(void **state)
{
	struct bench *b = *state;
	int64_t before = ls_now_us() - 1000000;

	guarded(b, "commit_timestamp");
	PUT(b, "1", "first", "1");
	from(b, "other", before);
	apply_at(b, before);
	must(b->conn, "ALTER TABLE contacts ALTER age TYPE bigint");
	PUT(b, "1", "second", "1");
	from(b, "other", before + 1);

	apply_at(b, before + 1);

	assert_string_equal(name_of(b, 1), "second");
}

static void a_column_may_hold_the_version(void **state)
{
	struct bench *b = *state;

	guarded(b, "column:age");
	must(b->conn, "INSERT INTO contacts VALUES (1, 'local', 10), (2, 'local', 10), (3, 'local', NULL)");
	PUT(b, "1", "event", "9");
	from(b, "other", 9);
	PUT(b, "2", "event", "11");
	from(b, "other", 11);
	PUT(b, "3", "event", "11");
	from(b, "other", 11);
	apply_at(b, 11);

	assert_string_equal(name_of(b, 1), "local");
	assert_string_equal(name_of(b, 2), "event");
	assert_string_equal(name_of(b, 3), "event");
	PUT(b, "2", "lower, yet newer", "3");
	from(b, "other", 3);
	apply_at(b, 11);
	assert_string_equal(name_of(b, 2), "lower, yet newer"); /* the row is the sink's own */
}

static void a_column_may_hold_the_time(void **state)
{
	struct bench *b = *state;

	must(b->conn, "CREATE TABLE contacts (id int PRIMARY KEY, name text, age int, at timestamptz)");
	must(b->conn,
	     "INSERT INTO contacts VALUES (1, 'local', 1, to_timestamp(10)), (2, 'local', 1, to_timestamp(10)), "
	     "(3, 'local', 1, 'infinity')");
	b->mapping.guard = "column:at";
	add_column(b, "id", LS_INT32, "integer");
	add_column(b, "name", LS_STRING, "text");
	start(b);
	for (int i = 1; i <= 3; i++) {
		PUT(b, i == 1 ? "1" : i == 2 ? "2" : "3", "event");
		from(b, "other", i == 1 ? 9999999 : 10000000);
	}
	apply_at(b, 11);

	assert_string_equal(name_of(b, 1), "local");
	assert_string_equal(name_of(b, 2), "event");
	assert_string_equal(name_of(b, 3), "local");
}

static void a_column_that_cannot_hold_a_version_is_named(void **state)
{
	struct bench *b = *state;

	guarded(b, "column:name");
	PUT(b, "1", "event", "9");
	assert_int_equal(apply(b), LS_FATAL);
	assert_non_null(strstr(b->err.text, "guard: column:name needs an integer or a timestamp"));
	b->mapping.guard = "column:nowhere";
	PUT(b, "1", "event", "9");
	assert_int_equal(apply(b), LS_FATAL);
	assert_non_null(strstr(b->err.text, "has no column \"nowhere\""));
}

static void keys_alone_and_absent_columns_are_guarded_too(void **state)
{
	struct bench *b = *state;

	guarded(b, "commit_timestamp");
	must(b->conn, "INSERT INTO contacts VALUES (1, 'local', 1), (2, 'local', 1)");
	PUT(b, "1", ABSENT, "9");
	from(b, "other", written(b, 1) - 1);
	PUT(b, "2", ABSENT, "9");
	from(b, "other", written(b, 2) + 1);

	apply_at(b, 11);

	assert_string_equal(says(b, "SELECT string_agg(name || age, ' ' ORDER BY id) FROM contacts"), "local1 local9");
}

/* ---- triggers ---- */

static void a_row_that_is_already_so_is_not_written_and_fires_nothing(void **state)
{
	struct bench *b = *state;

	must(b->conn, "CREATE TABLE fired (what text)");
	must(b->conn, "CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO fired VALUES "
		      "(TG_WHEN || TG_OP); NEW.age := NEW.age + 1; RETURN NEW; END $$");
	contacts(b);
	must(b->conn, "INSERT INTO contacts VALUES (1, 'a', 1)");
	must(b->conn, "CREATE TRIGGER fire BEFORE INSERT OR UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION fire()");
	must(b->conn, "ALTER TABLE contacts ENABLE ALWAYS TRIGGER fire");
	PUT(b, "1", "a", "1");
	apply_well(b);
	assert_int_equal(b->outcome.rows, 0);
	assert_string_equal(says(b, "SELECT count(*) FROM fired"), "0");

	PUT(b, "1", "b", "1");
	PUT(b, "2", "c", "1");
	apply_well(b);
	assert_string_equal(says(b, "SELECT string_agg(what, ' ' ORDER BY what) FROM fired"),
			    "BEFOREINSERT BEFOREUPDATE");
	assert_string_equal(says(b, "SELECT string_agg(name || age, ' ' ORDER BY id) FROM contacts"), "b2 c2");
}

static int tracks_commit_timestamps(void)
{
	struct ls_error err;
	PGconn *conn = NULL;
	LS_PGRESULT res = NULL;
	bool on = !ls_pg_connect(getenv("LS_TEST_PG"), "test", false, &conn, &err) &&
		  !ls_pg_exec(conn, "SHOW track_commit_timestamp", &res, &err) &&
		  strcmp(PQgetvalue(res, 0, 0), "on") == 0;

	ls_pg_close(conn);
	return on;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_newer_local_edit_is_kept_and_an_older_one_is_not),
		T(a_local_edit_is_removed_by_a_newer_delete),
		T(equal_versions_are_decided_as_everywhere),
		T(what_the_writer_had_seen_counts_where_clocks_differ),
		T(what_was_seen_is_remembered_for_many_slices_back),
		T(a_sink_that_takes_over_knows_what_was_applied_before_it),
		T(an_edit_that_began_before_a_slice_had_not_seen_it),
		T(what_a_sink_wrote_is_no_local_edit),
		T(an_event_of_our_own_never_overwrites_a_local_edit),
		T(an_edit_that_commits_while_the_sink_waits_for_it_is_kept),
		T(a_row_that_comes_in_between_is_kept),
		T(a_table_written_anew_by_its_owner_is_no_local_edit),
		T(a_column_may_hold_the_version),
		T(a_column_may_hold_the_time),
		T(a_column_that_cannot_hold_a_version_is_named),
		T(keys_alone_and_absent_columns_are_guarded_too),
		T(a_row_that_is_already_so_is_not_written_and_fires_nothing),
	};

	if (getenv("LS_TEST_PG") && !tracks_commit_timestamps()) {
		printf("skipped: the server of LS_TEST_PG has track_commit_timestamp off\n");
		return 77;
	}
	return bench_run(tests);
}
