/* What a destination notes of events that its mark passed without effect, and who may ask for it. LS_TEST_PG names the
 * server; expected values are read by psql's own library. */
#include "destination_world.h"

/* slice: the event at offset 10 is refused, the one at 11 known, the one at 12 written. */
static struct ls_slice slice_with_notes(struct bench *b)
{
	static struct ls_write write[1];
	struct ls_slice slice;

	PUT(b, "1", "a", "1");
	PUT(b, "2", "b", "1");
	PUT(b, "3", "c", "1");
	for (size_t i = 0; i < 3; i++)
		b->entry[i].offset = 10 + (int64_t)i;
	b->entry[0].status = LS_ENTRY_DEAD;
	b->entry[0].error = LS_STR("refused");
	b->entry[1].status = LS_ENTRY_DUPLICATE;
	b->entry[0].passed_over = b->entry[1].passed_over = true;
	slice = slice_of(b);
	write[0] = b->write[2];
	slice.write = write;
	slice.write_count = 1;
	slice.next_offset = 13;
	return slice;
}

static void apply_notes(struct bench *b)
{
	struct ls_slice slice = slice_with_notes(b);

	if (apply_only(b, &slice))
		fail_msg("apply: %s", b->err.text);
	assert_int_equal(b->outcome.known_count, 0);
	b->mark.next_offset = 13;
	b->writes = 0;
}

static enum ls_class ask(struct bench *b, bool ret[3])
{
	static const int64_t offset[3] = { 10, 11, 12 };

	return ops->passed(b->dst, &b->mark, offset, 3, b->arena, ret, &b->err);
}

static void assert_noted(struct bench *b)
{
	bool passed[3];

	if (ask(b, passed))
		fail_msg("passed: %s", b->err.text);
	assert_true(passed[0] && passed[1] && !passed[2]);
}

static void what_took_no_effect_is_noted_at_its_offset(void **state)
{
	struct bench *b = *state;

	contacts(b);
	apply_notes(b);

	assert_noted(b);
	assert_string_equal(says(b, "SELECT string_agg(status, ',' ORDER BY status) FROM "
				    "identity.sync_processed_events"),
			    "applied,dead,passed,passed");
}

static void it_is_noted_where_no_processed_events_are_kept_too(void **state)
{
	struct bench *b = *state;

	b->context.ledger_full = false;
	contacts(b);
	apply_notes(b);

	assert_noted(b);
	assert_string_equal(says(b, "SELECT string_agg(status, ',' ORDER BY status) FROM "
				    "identity.sync_processed_events"),
			    "passed,passed");
}

static void it_is_told_to_the_owner_of_the_mark_alone(void **state)
{
	struct bench *b = *state;
	struct ls_mark mine;
	bool passed[3];

	contacts(b);
	apply_notes(b);
	mine = b->mark;
	assert_int_equal(ops->claim(b->dst, &b->mark, 1, &b->err), LS_OK);
	assert_noted(b);
	b->mark.owner_epoch = mine.owner_epoch;

	assert_int_equal(ask(b, passed), LS_FENCED);
}

static void a_mark_with_the_right_numbers_of_another_owner_is_fenced(void **state)
{
	struct bench *b = *state;

	contacts(b);
	must(b->conn, "UPDATE identity.sync_offsets SET owner = 'another'"); /* as a restored backup may bring back */
	PUT(b, "1", "zombie", "1");

	assert_int_equal(apply(b), LS_FENCED);

	assert_string_equal(says(b, "SELECT count(*) FROM contacts"), "0");
}

static void an_event_refused_and_then_taken_in_one_slice_is_applied(void **state)
{
	struct bench *b = *state;
	struct ls_slice slice;

	contacts(b);
	PUT(b, "1", "a", "1");
	PUT(b, "1", "a", "1");
	b->entry[0].status = LS_ENTRY_DEAD;
	b->entry[0].error = LS_STR("refused");
	b->entry[0].passed_over = true;
	b->entry[1].event_id = b->entry[0].event_id;
	b->entry[1].offset = 1;
	slice = slice_of(b);
	slice.write = b->write + 1;
	slice.write_count = 1;

	assert_int_equal(apply_only(b, &slice), LS_OK);

	assert_int_equal(b->outcome.known_count, 0);
	assert_string_equal(says(b, "SELECT string_agg(status, ',' ORDER BY status) FROM "
				    "identity.sync_processed_events"),
			    "applied,passed");
	assert_string_equal(says(b, "SELECT name FROM contacts"), "a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_took_no_effect_is_noted_at_its_offset),
		T(it_is_noted_where_no_processed_events_are_kept_too),
		T(it_is_told_to_the_owner_of_the_mark_alone),
		T(a_mark_with_the_right_numbers_of_another_owner_is_fenced),
		T(an_event_refused_and_then_taken_in_one_slice_is_applied),
	};

	return bench_run(tests);
}
