/* Position records as JSON. */
#include "positions.h"

#include "core/arena.h"
#include "core/buf.h"
#include "lockstep/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void a_record_is_printed_as_documented(void **state)
{
	struct ls_position record = { LS_STR("crm"),    LS_STR("{\"lsn\":\"0/1A\"}"),
				      1763716443120000, 1763716443120000,
				      LS_STR("host-1"), 3 };
	struct ls_buf out;

	(void)state;
	ls_buf_init(&out, 4096);
	ls_position_print(&record, &out);
	assert_string_equal(out.ptr, "{\"source\":\"crm\",\"position\":\"{\\\"lsn\\\":\\\"0/1A\\\"}\","
				     "\"version\":1763716443120000,\"updated_at\":\"2025-11-21T09:14:03.120Z\","
				     "\"writer\":\"host-1\",\"epoch\":3}");
	ls_buf_release(&out);
}

static void what_is_printed_is_read_back(void **state)
{
	struct ls_position record = { LS_STR("a \"b\" \xc3\xa9"), LS_STR("x\ny"), LS_NONE, 0, LS_STR("w"), 7 }, back;
	struct ls_arena *arena = ls_arena_new(0);
	struct ls_error err;
	struct ls_buf out;

	(void)state;
	ls_buf_init(&out, 4096);
	ls_position_print(&record, &out);
	assert_int_equal(ls_position_parse(ls_buf_str(&out), arena, &back, &err), LS_OK);
	assert_true(ls_str_equal(back.source, record.source));
	assert_true(ls_str_equal(back.position, record.position));
	assert_int_equal(back.version, LS_NONE);
	assert_int_equal(back.epoch, 7);
	ls_buf_release(&out);
	ls_arena_free(arena);
}

static void a_record_that_cannot_be_read_is_fatal_and_says_why(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "", "JSON" },
		{ "[]", "object" },
		{ "{\"source\":\"a\"}", "position" },
		{ "{\"position\":\"a\"}", "source" },
		{ "{\"source\":\"a\",\"position\":7}", "position" },
		{ "{\"source\":\"a\",\"position\":\"b\",\"version\":\"9\"}", "version" },
		{ "{\"source\":\"a\",\"position\":\"b\",\"epoch\":-1}", "epoch" },
		{ "{\"source\":\"a\",\"position\":\"b\"} x", "JSON" },
	};
	struct ls_arena *arena = ls_arena_new(0);
	struct ls_position record;
	struct ls_error err;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (ls_position_parse(ls_str_of(cases[i].text), arena, &record, &err) != LS_FATAL)
			fail_msg("%s was read", cases[i].text);
		if (!strstr(err.text, cases[i].says))
			fail_msg("%s: %s", cases[i].text, err.text);
	}
	ls_arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_printed_as_documented),
		cmocka_unit_test(what_is_printed_is_read_back),
		cmocka_unit_test(a_record_that_cannot_be_read_is_fatal_and_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
