/* Changes written as JSON: what they become, and what is refused with which words. */
#include "change_json.h"
#include "shelf.h"

#include "core/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static const struct ls_str one_key[] = { LS_STR("id") }, two_keys[] = { LS_STR("id"), LS_STR("line") };

static enum ls_class lookup(const void *context, struct ls_str entity, struct ls_entity_key *ret, struct ls_error *err)
{
	(void)context;
	if (ls_str_equal(entity, LS_STR("contact")))
		*ret = (struct ls_entity_key){ one_key, 1 };
	else if (ls_str_equal(entity, LS_STR("item")))
		*ret = (struct ls_entity_key){ two_keys, 2 };
	else
		return ls_fail(err, LS_POISON, "entity", "no entity \"%.*s\"", LS_ARG(entity));
	return LS_OK;
}

struct world {
	struct ls_arena *arena;
	struct ls_shelf *shelf;
	struct ls_change_line line;
	struct ls_error err;
};

static int setup(void **state)
{
	struct world *world = test_calloc(1, sizeof(*world));

	world->arena = ls_arena_new(0);
	world->shelf = ls_shelf_new();
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;

	ls_shelf_free(world->shelf);
	ls_arena_free(world->arena);
	test_free(world);
	return 0;
}

static void read_ok(struct world *world, const char *text)
{
	if (ls_change_json(ls_str_of(text), lookup, NULL, world->shelf, world->arena, &world->line, &world->err))
		fail_msg("%s: %s", text, world->err.text);
}

static void column(const struct ls_row *row, const char *name, enum ls_kind kind, enum ls_presence presence,
		   const char *text)
{
	size_t at = ls_schema_find(row->schema, ls_str_of(name));

	assert_true(at < row->schema->count);
	assert_int_equal(row->schema->column[at].type.kind, kind);
	assert_int_equal(row->value[at].presence, presence);
	if (text && !ls_str_equal(row->value[at].text, ls_str_of(text)))
		fail_msg("%s is %.*s, not %s", name, LS_ARG(row->value[at].text), text);
}

static void every_json_type_has_its_kind(void **state)
{
	struct world *world = *state;
	const struct ls_row *row = &world->line.event.after;

	read_ok(world, "{\"entity\":\"contact\",\"id\":\"7\",\"data\":{\"name\":\"Ada \\u00e9\",\"age\":-36,\"big\":"
		       "9223372036854775807,\"rate\":0.1,\"on\":true,\"off\":false,\"gone\":null,"
		       "\"tags\":[1,\"a\"],\"home\":{\"city\":\"x\"}}}");
	assert_int_equal(row->schema->count, 10);
	column(row, "name", LS_STRING, LS_PRESENT, "Ada \xc3\xa9");
	column(row, "age", LS_INT64, LS_PRESENT, "-36");
	column(row, "big", LS_INT64, LS_PRESENT, "9223372036854775807");
	column(row, "rate", LS_FLOAT64, LS_PRESENT, "0.1");
	column(row, "on", LS_BOOL, LS_PRESENT, "t");
	column(row, "off", LS_BOOL, LS_PRESENT, "f");
	column(row, "gone", LS_STRING, LS_NULL, NULL);
	column(row, "tags", LS_JSON, LS_PRESENT, "[1,\"a\"]");
	column(row, "home", LS_JSON, LS_PRESENT, "{\"city\":\"x\"}");
	column(row, "id", LS_STRING, LS_PRESENT, "7");
	assert_true(row->schema->column[9].key);
}

static void what_is_left_out_has_its_default(void **state)
{
	struct world *world = *state;
	const struct ls_event *event = &world->line.event;

	read_ok(world, "{\"entity\":\"contact\",\"id\":\"7\",\"data\":{\"a\":1}}");
	assert_true(ls_str_equal(event->source, LS_STR("publish")));
	assert_int_equal(event->change, LS_UPDATE);
	assert_int_equal(event->version, LS_NONE);
	assert_int_equal(event->timestamp_us, LS_NONE);
	assert_int_equal(event->base_version, LS_NONE);
	assert_int_equal(event->base_offset, LS_NONE);
	assert_int_equal(event->event_id.len, 0);
	assert_false(world->line.priority);
}

static void what_is_given_is_taken(void **state)
{
	struct world *world = *state;
	const struct ls_event *event = &world->line.event;

	read_ok(world, "{\"entity\":\"contact\",\"id\":7,\"source\":\"ops\",\"type\":\"INSERT\",\"version\":12,"
		       "\"event_id\":\"e-1\",\"timestamp\":5,\"base_version\":11,\"data\":{\"a\":1},"
		       "\"metadata\":{\"why\":\"fix\"},\"priority\":true}");
	assert_true(ls_str_equal(event->entity_id, LS_STR("7")));
	assert_true(ls_str_equal(event->source, LS_STR("ops")));
	assert_true(ls_str_equal(event->event_id, LS_STR("e-1")));
	assert_int_equal(event->change, LS_INSERT);
	assert_int_equal(event->version, 12);
	assert_int_equal(event->timestamp_us, 5);
	assert_int_equal(event->base_version, 11);
	assert_int_equal(event->metadata_count, 1);
	assert_true(ls_str_equal(event->metadata[0].value, LS_STR("fix")));
	assert_true(world->line.priority);
}

/* Expected values: date -u -d ... +%s */
static void times_are_read_with_their_zone(void **state)
{
	static const struct {
		const char *text;
		int64_t us;
	} cases[] = {
		{ "2026-11-21T09:14:03.12Z", 1795252443120000 },
		{ "2026-11-21T09:14:03Z", 1795252443000000 },
		{ "2026-11-21T10:14:03+01:00", 1795252443000000 },
		{ "2026-11-21T03:44:03.000001-05:30", 1795252443000001 },
		{ "1969-12-31T23:59:59.5Z", -500000 },
	};
	char text[200];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world *world = *state;

		snprintf(text, sizeof(text),
			 "{\"entity\":\"contact\",\"id\":\"7\",\"timestamp\":\"%s\",\"data\":{\"a\":1}}",
			 cases[i].text);
		read_ok(world, text);
		if (world->line.event.timestamp_us != cases[i].us)
			fail_msg("%s became %lld", cases[i].text, (long long)world->line.event.timestamp_us);
	}
}

static void a_delete_has_its_key_in_before_and_no_after(void **state)
{
	struct world *world = *state;

	read_ok(world, "{\"entity\":\"contact\",\"id\":\"7\",\"type\":\"DELETE\"}");
	assert_null(world->line.event.after.schema);
	column(&world->line.event.before, "id", LS_STRING, LS_PRESENT, "7");
}

static void several_key_fields_make_one_id_either_way(void **state)
{
	struct world *world = *state;
	const struct ls_event *event = &world->line.event;

	read_ok(world, "{\"entity\":\"item\",\"data\":{\"id\":7,\"line\":\"a\",\"n\":1}}");
	assert_true(ls_str_equal(event->entity_id, LS_STR("[\"7\",\"a\"]")));
	read_ok(world, "{\"entity\":\"item\",\"id\":[\"7\",\"a\"],\"data\":{\"n\":1}}");
	assert_true(ls_str_equal(event->entity_id, LS_STR("[\"7\",\"a\"]")));
	column(&event->after, "line", LS_STRING, LS_PRESENT, "a");
}

static void rows_of_one_shape_share_one_schema(void **state)
{
	struct world *world = *state;
	const struct ls_schema *schema;

	read_ok(world, "{\"entity\":\"contact\",\"id\":\"7\",\"data\":{\"a\":1}}");
	schema = world->line.event.after.schema;
	ls_arena_reset(world->arena);
	read_ok(world, "{\"entity\":\"contact\",\"id\":\"8\",\"data\":{\"a\":2}}");
	assert_ptr_equal(world->line.event.after.schema, schema);
	read_ok(world, "{\"entity\":\"contact\",\"id\":\"8\",\"data\":{\"a\":\"2\"}}");
	assert_ptr_not_equal(world->line.event.after.schema, schema);
}

static void what_is_wrong_is_refused_and_named(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "", "not JSON" },
		{ "{\"entity\":\"contact\"", "not JSON" },
		{ "{\"entity\":\"contact\",\"entity\":\"item\"}", "duplicate" },
		{ "[]", "object" },
		{ "{\"id\":\"7\"}", "entity" },
		{ "{\"entity\":\"contcat\",\"id\":\"7\",\"data\":{\"a\":1}}", "contcat" },
		{ "{\"entity\":\"contact\",\"id\":\"7\"}", "data" },
		{ "{\"entity\":\"contact\",\"id\":\"7\",\"dta\":{\"a\":1}}", "did you mean \"data\"" },
		{ "{\"entity\":\"contact\",\"data\":{\"a\":1}}", "id" },
		{ "{\"entity\":\"contact\",\"data\":{\"id\":null}}", "id" },
		{ "{\"entity\":\"contact\",\"id\":\"7\",\"data\":{\"id\":8}}", "make 8" },
		{ "{\"entity\":\"contact\",\"id\":\"\",\"data\":{\"a\":1}}", "id" },
		{ "{\"entity\":\"contact\",\"id\":\"7\",\"data\":[1]}", "data" },
		{ "{\"entity\":\"contact\",\"id\":\"7\",\"type\":\"update\",\"data\":{\"a\":1}}", "type" },
		{ "{\"entity\":\"contact\",\"id\":\"7\",\"version\":\"1\",\"data\":{\"a\":1}}", "version" },
		{ "{\"entity\":\"contact\",\"id\":\"7\",\"version\":-1,\"data\":{\"a\":1}}", "version" },
		{ "{\"entity\":\"contact\",\"id\":\"7\",\"timestamp\":\"yesterday\",\"data\":{\"a\":1}}", "timestamp" },
		{ "{\"entity\":\"contact\",\"id\":\"7\",\"timestamp\":\"2026-11-21T09:14:03\",\"data\":{\"a\":1}}",
		  "timestamp" },
		{ "{\"entity\":\"contact\",\"id\":\"7\",\"priority\":1,\"data\":{\"a\":1}}", "priority" },
		{ "{\"entity\":\"contact\",\"id\":\"7\",\"metadata\":{\"a\":1},\"data\":{\"a\":1}}", "metadata" },
		{ "{\"entity\":\"contact\",\"id\":\"7\",\"data\":{\"a\":9223372036854775808}}", "not JSON" },
		{ "{\"entity\":\"item\",\"id\":\"7\",\"data\":{\"n\":1}}", "array of 2" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world *world = *state;

		if (ls_change_json(ls_str_of(cases[i].text), lookup, NULL, world->shelf, world->arena, &world->line,
				   &world->err) != LS_POISON)
			fail_msg("%s was read", cases[i].text);
		if (!strstr(world->err.text, cases[i].says))
			fail_msg("%s: %s", cases[i].text, world->err.text);
	}
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_WORLD(every_json_type_has_its_kind),
		WITH_WORLD(what_is_left_out_has_its_default),
		WITH_WORLD(what_is_given_is_taken),
		WITH_WORLD(times_are_read_with_their_zone),
		WITH_WORLD(a_delete_has_its_key_in_before_and_no_after),
		WITH_WORLD(several_key_fields_make_one_id_either_way),
		WITH_WORLD(rows_of_one_shape_share_one_schema),
		WITH_WORLD(what_is_wrong_is_refused_and_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
