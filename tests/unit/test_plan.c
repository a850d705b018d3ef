/* The plan of a slice: one write per key, absent columns merged, what is passed over, where it must end. */
#include "core/arena.h"
#include "plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const struct ls_column columns[] = {
	{ .name = { "id", 2 }, .type = { .kind = LS_STRING }, .key = true },
	{ .name = { "name", 4 }, .type = { .kind = LS_STRING } },
	{ .name = { "notes", 5 }, .type = { .kind = LS_STRING } },
};
static const struct ls_schema schema = { { "contact", 7 }, columns, 3 };
static const struct ls_schema altered = { { "contact", 7 }, columns, 2 };
static const struct ls_schema key_schema = { { "contact", 7 }, columns, 1 };
static const struct ls_str key = { "id", 2 };
static const struct ls_mapping mapping = {
	.entity = "contact", .place = "public.contacts", .key = &key, .key_count = 1
};

struct world {
	struct ls_arena *arena;
	struct ls_plan plan;
	struct ls_state stored; /* returned for every key when it exists */
	int64_t floor;
};

static enum ls_class lookup(void *context, struct ls_str entity_id, struct ls_state *ret, struct ls_error *err)
{
	(void)entity_id;
	(void)err;
	*ret = ((struct world *)context)->stored;
	return LS_OK;
}

static int set_up(void **state)
{
	static struct world world;

	world = (struct world){ .arena = ls_arena_new(0), .floor = INT64_MAX };
	ls_plan_init(&world.plan);
	*state = &world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	ls_plan_release(&world->plan);
	ls_arena_free(world->arena);
	return 0;
}

static void make(struct world *world, struct ls_item *items, size_t count)
{
	static const struct ls_mapping *const mappings[] = { &mapping };
	static const struct ls_schema *const key_schemas[] = { &key_schema };
	struct ls_plan_input input = { mappings, key_schemas, 1, lookup, world, world->floor, world->arena };
	struct ls_error err;

	assert_int_equal(ls_plan_make(&world->plan, &input, items, count, &err), LS_OK);
}

/* item: an update of entity `id` at `version`; a NULL text is an absent column. */
static struct ls_item item(struct world *world, const char *event_id, const char *id, int64_t version, const char *name,
			   const char *notes)
{
	const char *text[] = { id, name, notes };
	struct ls_value *value = ls_arena_zalloc(world->arena, 3 * sizeof *value);

	for (int i = 0; i < 3; i++)
		if (text[i])
			value[i] = (struct ls_value){ LS_PRESENT, ls_str_of(text[i]) };
	return (struct ls_item){
		.event = { .event_id = ls_str_of(event_id),
			   .source = LS_STR("crm"),
			   .entity = LS_STR("contact"),
			   .entity_id = ls_str_of(id),
			   .change = LS_UPDATE,
			   .timestamp_us = version,
			   .version = version,
			   .base_version = LS_NONE,
			   .base_offset = LS_NONE,
			   .after = { &schema, value } },
		.offset = version,
	};
}

static const char *cell(const struct world *world, size_t write, size_t column)
{
	const struct ls_value *value = &world->plan.write[write].row.value[column];

	return value->presence == LS_PRESENT ? value->text.ptr : NULL;
}

static void the_newest_of_a_key_is_its_one_write(void **state)
{
	struct world *world = *state;
	struct ls_item items[] = { item(world, "a", "1", 10, "old", "x"), item(world, "b", "2", 11, "other", "y"),
				   item(world, "c", "1", 12, "new", "z") };

	make(world, items, 3);

	assert_int_equal(world->plan.count, 3);
	assert_int_equal(world->plan.write_count, 2);
	assert_string_equal(cell(world, 0, 1), "new");
	assert_int_equal(world->plan.write[0].entry, 2);
	assert_int_equal(world->plan.applied, 3);
	assert_int_equal(world->plan.max_version, 12);
}

static void an_absent_column_keeps_the_value_of_the_same_slice(void **state)
{
	struct world *world = *state;
	struct ls_item items[] = { item(world, "a", "1", 10, "old", "long text"),
				   item(world, "b", "1", 11, "new", NULL) };

	make(world, items, 2);

	assert_int_equal(world->plan.write_count, 1);
	assert_string_equal(cell(world, 0, 1), "new");
	assert_string_equal(cell(world, 0, 2), "long text");
}

static void an_absent_column_alone_stays_absent(void **state)
{
	struct world *world = *state;
	struct ls_item items[] = { item(world, "a", "1", 10, "new", NULL) };

	make(world, items, 1);

	assert_int_equal(world->plan.write[0].row.value[2].presence, LS_ABSENT);
}

static void a_partial_row_after_a_delete_ends_the_slice(void **state)
{
	struct world *world = *state;
	struct ls_item items[] = { item(world, "a", "1", 10, "x", "y"), item(world, "b", "1", 11, "new", NULL) };

	items[0].event.change = LS_DELETE;
	make(world, items, 2);

	assert_int_equal(world->plan.count, 1);
	assert_int_equal(world->plan.write[0].op, LS_WRITE_DELETE);
	assert_int_equal(world->plan.write[0].row.schema->count, 1);
	assert_string_equal(cell(world, 0, 0), "1");
}

static void a_partial_row_under_another_schema_ends_the_slice(void **state)
{
	struct world *world = *state;
	struct ls_item items[] = { item(world, "a", "1", 10, "x", "y"), item(world, "b", "1", 11, NULL, NULL) };

	items[1].event.after.schema = &altered;
	make(world, items, 2);

	assert_int_equal(world->plan.count, 1);
	assert_int_equal(world->plan.applied, 1);
}

static void an_older_event_is_stale_and_writes_nothing(void **state)
{
	struct world *world = *state;
	struct ls_item items[] = { item(world, "a", "1", 10, "x", "y") };

	world->stored = (struct ls_state){ .exists = true,
					   .stamp = { 50, 50, LS_STR("erp") },
					   .event_id = LS_STR("w"),
					   .seen = { { LS_STR("erp"), 50 } },
					   .seen_count = 1 };
	make(world, items, 1);

	assert_int_equal(world->plan.write_count, 0);
	assert_int_equal(world->plan.entry[0].status, LS_ENTRY_STALE);
	assert_int_equal(world->plan.conflict_count, 1);
	assert_false(world->plan.conflict[0].applied);
	assert_int_equal(world->plan.conflict[0].held.version, 50);
}

static void a_duplicate_is_not_for_the_ledger(void **state)
{
	struct world *world = *state;
	struct ls_item items[] = { item(world, "a", "1", 10, "x", "y"), item(world, "b", "1", 11, "z", "y"),
				   item(world, "a", "1", 10, "x", "y") };

	make(world, items, 3);

	assert_int_equal(world->plan.entry[2].status, LS_ENTRY_DUPLICATE);
	assert_string_equal(cell(world, 0, 1), "z");
}

static void what_is_known_or_dead_is_passed_over_and_leaves_no_state(void **state)
{
	struct world *world = *state;
	struct ls_item items[] = { item(world, "a", "1", 10, "x", "y"), item(world, "b", "2", 11, "x", "y"),
				   item(world, "c", "3", 12, "x", "y") };

	items[0].fate = LS_FATE_KNOWN;
	items[1].fate = LS_FATE_DEAD;
	items[1].reason = "a reason";
	make(world, items, 3);

	assert_int_equal(world->plan.keys.count, 1);
	assert_int_equal(world->plan.entry[0].status, LS_ENTRY_DUPLICATE);
	assert_int_equal(world->plan.entry[1].status, LS_ENTRY_DEAD);
	assert_string_equal(world->plan.entry[1].error.ptr, "a reason");
	assert_int_equal(world->plan.write_count, 1);
}

static void a_destination_that_lost_commits_gets_what_the_last_event_leaves_out(void **state)
{
	struct world *world = *state;
	struct ls_item items[] = { item(world, "before", "1", 4, "oldest", "w"), item(world, "a", "1", 10, "old", "x"),
				   item(world, "b", "1", 11, "new", NULL) };

	world->floor = 5; /* the destination has nothing above it, the state has b */
	world->stored = (struct ls_state){ .exists = true,
					   .stamp = { 11, 11, LS_STR("crm") },
					   .event_id = LS_STR("b"),
					   .seen = { { LS_STR("crm"), 11 } },
					   .seen_count = 1 };

	make(world, items, 3);

	assert_int_equal(world->plan.count, 3);
	assert_int_equal(world->plan.write_count, 1);
	assert_string_equal(cell(world, 0, 1), "new");
	assert_string_equal(cell(world, 0, 2), "x");
	assert_int_equal(world->plan.entry[0].status, LS_ENTRY_DUPLICATE);
	assert_int_equal(world->plan.conflict_count, 0);
}

static void what_took_no_effect_is_to_be_noted_and_what_waits_is_not(void **state)
{
	struct world *world = *state;
	struct ls_item items[] = { item(world, "a", "1", 10, "n", "x"), item(world, "b", "2", 11, "n", "y"),
				   item(world, "c", "3", 12, "n", "z"), item(world, "d", "4", 13, "n", "z") };

	items[0].fate = LS_FATE_DEAD;
	items[0].reason = "refused";
	items[1].fate = LS_FATE_KNOWN;
	items[2].fate = LS_FATE_WAIT;

	make(world, items, 4);

	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(world->plan.entry[i].offset, 10 + (int64_t)i);
		assert_int_equal(world->plan.entry[i].passed_over, i < 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_newest_of_a_key_is_its_one_write, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_absent_column_keeps_the_value_of_the_same_slice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_absent_column_alone_stays_absent, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_partial_row_after_a_delete_ends_the_slice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_partial_row_under_another_schema_ends_the_slice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_older_event_is_stale_and_writes_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_duplicate_is_not_for_the_ledger, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_known_or_dead_is_passed_over_and_leaves_no_state, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_destination_that_lost_commits_gets_what_the_last_event_leaves_out,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_took_no_effect_is_to_be_noted_and_what_waits_is_not, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
