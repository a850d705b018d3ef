/* The pure parts of the operator's tools: scratch topic names, sums over lanes, the table of dead letters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_schemas.h"
#include "check_topics.h"
#include "core/arena.h"
#include "dlq_print.h"
#include "status.h"

static void only_names_of_scratch_topics_have_an_age(void **state)
{
	(void)state;
	assert_int_equal(ls_check_topic_age("app.check-64-deadbeef.events", "app", 160), 60);
	assert_int_equal(ls_check_topic_age("app.check-64-deadbeef.dlq", "app", 100), 0);
	assert_int_equal(ls_check_topic_age("app.check-64-deadbeef.dlq", "app", 99), -1);
	assert_int_equal(ls_check_topic_age("apple.check-64-deadbeef.events", "app", 160), -1);
	assert_int_equal(ls_check_topic_age("app.check", "app", 160), -1);
	assert_int_equal(ls_check_topic_age("app.check-", "app", 160), -1);
	assert_int_equal(ls_check_topic_age("app.check-list", "app", 160), -1);
	assert_int_equal(ls_check_topic_age("app.check-64.events", "app", 160), -1);
	assert_int_equal(ls_check_topic_age("app.contact", "app", 160), -1);
}

static void schemas_of_a_check_are_found_by_fingerprint_and_nowhere_else(void **state)
{
	struct ls_schema_store *store = ls_check_schemas_new();
	struct ls_error err;
	char *json = NULL;
	uint64_t id = 0;
	bool by_id = true;

	(void)state;
	assert_int_equal(store->publish(store, LS_STR("s"), LS_STR("\"int\""), &by_id, &id, &err), LS_OK);
	assert_false(by_id);
	/* CRC-64-AVRO of "int" as the Avro project's own test data has it. */
	assert_true(id == 0x7275d51a3f395c8fULL);
	assert_int_equal(store->find(store, false, id, &json, &err), LS_OK);
	assert_string_equal(json, "\"int\"");
	free(json);
	assert_int_equal(store->find(store, true, id, &json, &err), LS_POISON);
	assert_int_equal(store->find(store, false, id + 1, &json, &err), LS_POISON);
	store->close(store);
}

static json_t *two_lanes(void)
{
	return json_loads("{\"lanes\": [{\"lane\": \"sink/house/0\", \"applied\": 3, \"last_error\": \"old\","
			  " \"last_error_at\": \"2026-11-21T09:00:00.000Z\"},"
			  "{\"lane\": \"sink/house/1\", \"applied\": 4, \"last_error\": \"new\","
			  " \"last_error_at\": \"2026-11-21T10:00:00.000Z\"},"
			  "{\"lane\": \"sink/house2/0\", \"applied\": 100, \"last_error\": null},"
			  "{\"lane\": \"capture/house\", \"published\": 9, \"last_error\": null}]}",
			  0, NULL);
}

static void counters_are_summed_over_the_lanes_of_one_name(void **state)
{
	json_t *live = two_lanes(), *sum = ls_status_total(live, "sink", "house", "applied");

	(void)state;
	assert_int_equal(json_integer_value(sum), 7);
	json_decref(sum);
	sum = ls_status_total(live, "capture", "house", "published");
	assert_int_equal(json_integer_value(sum), 9);
	json_decref(sum);
	json_decref(live);
}

static void what_no_process_counted_is_unknown_and_not_zero(void **state)
{
	json_t *live = two_lanes(), *sum = ls_status_total(NULL, "sink", "house", "applied");

	(void)state;
	assert_true(json_is_null(sum));
	json_decref(sum);
	sum = ls_status_total(live, "sink", "elsewhere", "applied");
	assert_true(json_is_null(sum));
	json_decref(sum);
	json_decref(live);
}

static void the_newest_error_of_the_lanes_is_the_last(void **state)
{
	json_t *live = two_lanes(), *last = ls_status_last_error(live, "sink", "house");

	(void)state;
	assert_string_equal(json_string_value(json_object_get(last, "text")), "new");
	json_decref(last);
	last = ls_status_last_error(live, "sink", "house2");
	assert_true(json_is_null(last));
	json_decref(last);
	json_decref(live);
}

static char *table_of(const struct ls_dead_letter *letter, int columns)
{
	const struct ls_dead_letter *const one[] = { letter };
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	ls_dead_table(one, 1, columns, out);
	fclose(out);
	return text;
}

static void bytes_that_would_move_the_cursor_never_reach_the_terminal(void **state)
{
	struct ls_dead_letter letter = { .id = LS_STR("t-0-1"),
					 .owner = LS_STR("house"),
					 .topic = LS_STR("t"),
					 .key = LS_STR("k\x1b[2J\xff"),
					 .code = LS_STR("avro"),
					 .reason = LS_STR("two\nlines") };
	char *text = table_of(&letter, 0);

	(void)state;
	assert_null(strchr(text, 0x1b));
	assert_non_null(strstr(text, "k [2J\xEF\xBF\xBD"));
	assert_non_null(strstr(text, "two lines\n"));
	assert_non_null(strstr(text, "1970-01-01T00:00:00.000Z  house  t-0-1  "));
	free(text);
}

static void a_long_reason_is_cut_to_the_terminal_between_characters(void **state)
{
	struct ls_dead_letter letter = { .id = LS_STR("t-0-1"),
					 .reason = LS_STR("a\xC3\xB6\xC3\xB6\xC3\xB6\xC3\xB6\xC3\xB6\xC3\xB6\xC3\xB6"
							  "\xC3\xB6\xC3\xB6\xC3\xB6\xC3\xB6\xC3\xB6\xC3\xB6\xC3\xB6"
							  "\xC3\xB6\xC3\xB6\xC3\xB6\xC3\xB6\xC3\xB6\xC3\xB6\xC3\xB6") };
	char *text = table_of(&letter, 70), *dots = strstr(text, "...\n");
	json_t *whole = json_string(text);

	(void)state;
	assert_non_null(dots);
	assert_non_null(whole); /* well-formed UTF-8 */
	json_decref(whole);
	free(text);
}

static void a_letter_as_json_keeps_what_is_no_utf8_out(void **state)
{
	struct ls_dead_letter letter = {
		.id = LS_STR("crm-1"), .key = LS_STR("\xff"), .capture = true, .source = LS_STR("crm")
	};
	json_t *object = ls_dead_json(&letter);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(object, "key")), "\xEF\xBF\xBD");
	assert_string_equal(json_string_value(json_object_get(object, "side")), "capture");
	assert_true(json_is_null(json_object_get(object, "topic")));
	assert_true(json_is_false(json_object_get(object, "can_retry")));
	json_decref(object);
}

static void letters_are_sorted_by_time_the_oldest_first(void **state)
{
	struct ls_dead_list list;
	struct ls_dead_letter letter[] = { { .time_us = 3 },
					   { .time_us = 1, .dlq_offset = 9 },
					   { .time_us = 1, .dlq_offset = 2 } };

	(void)state;
	list = (struct ls_dead_list){ .letter = letter, .count = 3 };
	ls_dead_list_sort(&list);
	assert_int_equal(letter[0].dlq_offset, 2);
	assert_int_equal(letter[1].dlq_offset, 9);
	assert_int_equal(letter[2].time_us, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_names_of_scratch_topics_have_an_age),
		cmocka_unit_test(schemas_of_a_check_are_found_by_fingerprint_and_nowhere_else),
		cmocka_unit_test(counters_are_summed_over_the_lanes_of_one_name),
		cmocka_unit_test(what_no_process_counted_is_unknown_and_not_zero),
		cmocka_unit_test(the_newest_error_of_the_lanes_is_the_last),
		cmocka_unit_test(bytes_that_would_move_the_cursor_never_reach_the_terminal),
		cmocka_unit_test(a_long_reason_is_cut_to_the_terminal_between_characters),
		cmocka_unit_test(a_letter_as_json_keeps_what_is_no_utf8_out),
		cmocka_unit_test(letters_are_sorted_by_time_the_oldest_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
