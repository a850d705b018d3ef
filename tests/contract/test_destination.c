/* The contract of destinations: opening, marks and fencing, the ledger, and what becomes of failures. */
#include "destination_world.h"

#include <netinet/in.h>
#include <sys/socket.h>

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

/* The port of a socket that takes connections and never answers. */
static int silent_socket(int *ret_port)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(name);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &size), 0);
	*ret_port = ntohs(name.sin_port);
	return fd;
}

static void a_refusal_behind_a_silent_host_keeps_its_sqlstate(void **state)
{
	struct bench *b = *state;
	PGconn *conn = NULL;
	struct ls_str url;
	int port, fd = silent_socket(&port);

	/* What comes last in such a text is what counts. */
	url = ls_arena_printf(b->arena, "%s host=127.0.0.1,%s port=%d,%s dbname=lsdest_nowhere connect_timeout=2",
			      b->url, PQhost(b->conn), port, PQport(b->conn));

	assert_int_equal(ls_pg_connect(url.ptr, "test", false, &conn, &b->err), LS_FATAL);

	assert_string_equal(b->err.code, "3D000");
	close(fd);
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

	assert_string_equal(says(b, "SELECT count(*) FROM pg_tables WHERE schemaname = 'identity'"), "5");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(open_fails_cleanly_on_a_bad_url),
		T(a_missing_database_is_named),
		T(a_refusal_behind_a_silent_host_keeps_its_sqlstate),
		T(close_takes_nothing),
		T(the_options_table_is_complete),
		T(several_may_open_at_once_and_again),
		T(a_claim_raises_the_epoch_and_keeps_the_offset),
		T(marks_are_read_without_claiming),
		T(a_fenced_zombie_writes_nothing),
		T(of_two_with_one_mark_only_the_first_writes),
		T(a_lost_mark_is_fenced),
		T(a_slice_without_writes_moves_the_mark),
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
	};

	return bench_run(tests);
}
