/* Entity ids, changes and mappings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/arena.h"
#include "lockstep/mapping.h"

#include <jansson.h>

static const struct ls_column column[] = {
	{ .name = { "id", 2 }, .key = true },
	{ .name = { "region", 6 }, .key = true },
	{ .name = { "name", 4 } },
};
static const struct ls_schema schema = { { "contact", 7 }, column, 3 };

static int start(void **state)
{
	*state = ls_arena_new(0);
	return 0;
}

static int end(void **state)
{
	ls_arena_free(*state);
	return 0;
}

static void one_key_column_is_the_id_as_it_is(void **state)
{
	struct ls_value value[] = { { LS_PRESENT, LS_STR("a\"b") }, { 0 }, { 0 } };
	struct ls_row row = { &schema, value };
	struct ls_str key = LS_STR("id"), id;

	assert_true(ls_entity_id_make(&row, &key, 1, *state, &id));
	assert_string_equal(id.ptr, "a\"b");
}

static void several_key_columns_make_a_json_array_in_key_order(void **state)
{
	struct ls_value value[] = { { LS_PRESENT, LS_STR("7") }, { LS_PRESENT, LS_STR("a") }, { 0 } };
	struct ls_row row = { &schema, value };
	struct ls_str key[] = { LS_STR("id"), LS_STR("region") }, turned[] = { LS_STR("region"), LS_STR("id") }, id;

	assert_true(ls_entity_id_make(&row, key, 2, *state, &id));
	assert_string_equal(id.ptr, "[\"7\",\"a\"]");
	assert_int_equal(id.len, 9);
	assert_true(ls_entity_id_make(&row, turned, 2, *state, &id));
	assert_string_equal(id.ptr, "[\"a\",\"7\"]");
}

/* jansson, which did not write it, must read the same texts. */
static void odd_key_texts_are_json_that_another_parser_reads(void **state)
{
	struct ls_str odd = LS_STR("q\" b\\ n\n t\t \x01 \xC3\xA9 \xF0\x9F\x90\xA7 \x7F"), out[2], id;
	struct ls_value value[] = { { LS_PRESENT, odd }, { LS_PRESENT, LS_STR("") }, { 0 } };
	struct ls_row row = { &schema, value };
	struct ls_str key[] = { LS_STR("id"), LS_STR("region") };
	json_t *json;

	assert_true(ls_entity_id_make(&row, key, 2, *state, &id));
	json = json_loadb(id.ptr, id.len, 0, NULL);
	assert_non_null(json);
	assert_string_equal(json_string_value(json_array_get(json, 0)), odd.ptr);
	assert_string_equal(json_string_value(json_array_get(json, 1)), "");
	json_decref(json);
	assert_true(ls_entity_id_split(id, 2, *state, out));
	assert_true(ls_str_equal(out[0], odd));
	assert_int_equal(out[1].len, 0);
}

static void a_row_without_its_whole_key_has_no_id(void **state)
{
	struct ls_value null[] = { { LS_PRESENT, LS_STR("7") }, { LS_NULL, { 0 } }, { 0 } };
	struct ls_row row = { &schema, null }, none = { 0 };
	struct ls_str key[] = { LS_STR("id"), LS_STR("region"), LS_STR("nowhere") }, id;

	assert_false(ls_entity_id_make(&row, key, 2, *state, &id));
	assert_false(ls_entity_id_make(&row, &key[2], 1, *state, &id));
	assert_false(ls_entity_id_make(&none, key, 1, *state, &id));
	assert_false(ls_entity_id_make(&row, key, 0, *state, &id));
}

static void an_id_that_does_not_fit_the_key_is_not_split(void **state)
{
	static const char *const wrong[] = {
		"",       "7",         "[\"7\"]",        "[\"7\",1]",       "[\"7\",\"a\",\"b\"]",
		"[\"7\"", "{\"a\":1}", "[\"7\",\"a\"]x", "[\"\xFF\",\"a\"]"
	};
	struct ls_str out[2];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (ls_entity_id_split(ls_str_of(wrong[i]), 2, *state, out))
			fail_msg("%s was split", wrong[i]);
	}
	assert_true(ls_entity_id_split(LS_STR("[not json"), 1, *state, out));
	assert_string_equal(out[0].ptr, "[not json");
}

static void changes_have_names_both_ways(void **state)
{
	enum ls_change change;

	(void)state;
	for (enum ls_change c = LS_INSERT; c <= LS_SNAPSHOT; c++) {
		assert_true(ls_change_parse(ls_str_of(ls_change_name(c)), &change));
		assert_int_equal(change, c);
	}
	assert_false(ls_change_parse(LS_STR("insert"), &change));
	assert_false(ls_change_parse(LS_STR(""), &change));
}

static void a_mapping_without_fields_keeps_names_and_with_them_only_those_travel(void **state)
{
	static const struct ls_pair field[] = { { { "email", 5 }, { "emails.primaryEmail", 19 } } };
	struct ls_mapping all = { .entity = "contact" }, some = { .field = field, .field_count = 1 };

	(void)state;
	assert_true(ls_str_equal(ls_mapping_place(&all, LS_STR("x")), LS_STR("x")));
	assert_true(ls_str_equal(ls_mapping_field(&all, LS_STR("x")), LS_STR("x")));
	assert_true(ls_str_equal(ls_mapping_place(&some, LS_STR("email")), LS_STR("emails.primaryEmail")));
	assert_true(ls_str_equal(ls_mapping_field(&some, LS_STR("emails.primaryEmail")), LS_STR("email")));
	assert_int_equal(ls_mapping_place(&some, LS_STR("name")).len, 0);
	assert_int_equal(ls_mapping_field(&some, LS_STR("email")).len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_key_column_is_the_id_as_it_is),
		cmocka_unit_test(several_key_columns_make_a_json_array_in_key_order),
		cmocka_unit_test(odd_key_texts_are_json_that_another_parser_reads),
		cmocka_unit_test(a_row_without_its_whole_key_has_no_id),
		cmocka_unit_test(an_id_that_does_not_fit_the_key_is_not_split),
		cmocka_unit_test(changes_have_names_both_ways),
		cmocka_unit_test(a_mapping_without_fields_keeps_names_and_with_them_only_those_travel),
	};

	return cmocka_run_group_tests(tests, start, end);
}
