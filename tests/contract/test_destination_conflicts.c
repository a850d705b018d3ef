/* sync_conflicts: both sides of a conflict, once, in the transaction of the slice that met it. */
#include "destination_world.h"

static struct ls_value cells[3] = { { LS_PRESENT, { "1", 1 } }, { LS_PRESENT, { "theirs", 6 } }, { LS_NULL, { 0 } } };
static struct ls_event lost, won;

static struct ls_clash clash_of(struct bench *b)
{
	struct ls_event common = { .source = LS_STR("a"),
				   .entity = LS_STR("contact"),
				   .entity_id = LS_STR("1"),
				   .change = LS_UPDATE,
				   .timestamp_us = 5,
				   .base_offset = LS_NONE,
				   .base_version = 3 };

	lost = won = common;
	lost.event_id = LS_STR("e-lost");
	lost.version = 7;
	lost.after = (struct ls_row){ &b->schema, cells };
	won.event_id = LS_STR("e-won");
	won.source = LS_STR("b");
	won.version = 8;
	won.change = LS_DELETE;
	return (struct ls_clash){ .entity = LS_STR("contact"),
				  .entity_id = LS_STR("1"),
				  .applied = true,
				  .winner = { won.event_id, ls_stamp_of(&won), &won },
				  .loser = { lost.event_id, ls_stamp_of(&lost), &lost } };
}

static enum ls_class apply_with(struct bench *b, const struct ls_clash *clash, size_t count)
{
	struct ls_slice slice = slice_of(b);
	enum ls_class class;

	slice.clash = clash;
	slice.clash_count = count;
	class = apply_only(b, &slice);
	if (!class)
		b->mark.next_offset = slice.next_offset;
	b->writes = 0;
	return class;
}

static void both_sides_are_kept_with_their_rows(void **state)
{
	struct bench *b = *state;
	struct ls_clash clash;

	contacts(b);
	clash = clash_of(b);
	assert_int_equal(apply_with(b, &clash, 1), LS_OK);

	assert_string_equal(says(b, "SELECT concat_ws(' ', destination, entity_type, entity_id, winner_event_id, "
				    "winner_source, loser_event_id, loser_source, verdict, resolution) FROM "
				    "identity.sync_conflicts"),
			    "it's \"one\" contact 1 e-won b e-lost a applied last_write_wins");
	assert_string_equal(says(b, "SELECT loser_data->'after' FROM identity.sync_conflicts"),
			    "{\"id\": 1, \"age\": null, \"name\": \"theirs\"}");
	assert_string_equal(says(b,
				 "SELECT concat_ws(' ', winner_data->>'change_type', winner_data->>'version', "
				 "loser_data->>'version', loser_data->>'base_version') FROM identity.sync_conflicts"),
			    "DELETE 8 7 3");
}

static void a_conflict_told_again_is_the_same_one(void **state)
{
	struct bench *b = *state;
	struct ls_clash clash[2];

	contacts(b);
	clash[0] = clash[1] = clash_of(b);
	assert_int_equal(apply_with(b, clash, 2), LS_OK);
	assert_int_equal(apply_with(b, clash, 1), LS_OK);

	assert_string_equal(says(b, "SELECT count(*) FROM identity.sync_conflicts"), "1");
}

static void a_slice_that_is_not_taken_leaves_no_conflict(void **state)
{
	struct bench *b = *state;
	struct ls_clash clash;

	contacts(b);
	clash = clash_of(b);
	PUT(b, "1", NULL, "1");
	assert_int_equal(apply_with(b, &clash, 1), LS_POISON);

	assert_string_equal(says(b, "SELECT count(*) FROM identity.sync_conflicts"), "0");
}

static void what_is_known_of_a_side_that_is_gone_is_kept(void **state)
{
	struct bench *b = *state;
	struct ls_clash clash;

	contacts(b);
	clash = clash_of(b);
	clash.loser.event = NULL;
	assert_int_equal(apply_with(b, &clash, 1), LS_OK);

	assert_string_equal(says(b, "SELECT loser_data FROM identity.sync_conflicts"),
			    "{\"after\": null, \"source\": \"a\", \"version\": 7, \"event_id\": \"e-lost\", "
			    "\"left_out\": \"no longer in its topic\", \"timestamp\": 5}");
}

/* A report never fails a slice: jsonb takes no character 0, no such number, and no broken UTF-8. */
static void what_jsonb_refuses_is_kept_all_the_same(void **state)
{
	struct bench *b = *state;
	struct ls_clash clash;

	contacts(b);
	clash = clash_of(b);
	cells[1].text = (struct ls_str){ "x\0y\\u0000 \xff", 11 };
	assert_int_equal(apply_with(b, &clash, 1), LS_OK);
	assert_int_equal(says(b, "SELECT loser_data->'after'->>'name' FROM identity.sync_conflicts")[0], 'x');
	must(b->conn, "DELETE FROM identity.sync_conflicts");
	cells[2] = (struct ls_value){ LS_PRESENT, LS_STR("1e999999") };

	assert_int_equal(apply_with(b, &clash, 1), LS_OK);

	assert_string_equal(says(b, "SELECT jsonb_typeof(loser_data) || jsonb_typeof(winner_data) FROM "
				    "identity.sync_conflicts"),
			    "stringstring");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(both_sides_are_kept_with_their_rows),          T(a_conflict_told_again_is_the_same_one),
		T(a_slice_that_is_not_taken_leaves_no_conflict), T(what_is_known_of_a_side_that_is_gone_is_kept),
		T(what_jsonb_refuses_is_kept_all_the_same),
	};

	return bench_run(tests);
}
