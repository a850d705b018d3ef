/* The safety report: levels, verdict, and both ways it is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "core/buf.h"
#include "core/json.h"
#include "main/report.h"

/* A report in which every check has one finding that is fine. */
static struct ls_report *all_fine(void)
{
	struct ls_report *report = ls_report_new();

	for (int check = 0; check < LS_CHECK_COUNT; check++)
		ls_report_add(report, (enum ls_check)check, LS_LEVEL_OK, "it", NULL, "fine");
	return report;
}

static json_t *as_json(const struct ls_report *report)
{
	struct ls_buf out;
	json_t *root;

	ls_buf_init(&out, 1 << 20);
	ls_report_json(report, &out);
	assert_false(out.full);
	root = json_loadb(out.ptr, out.len, 0, NULL);
	assert_non_null(root);
	ls_buf_release(&out);
	return root;
}

static void nothing_but_fine_findings_is_safe(void **state)
{
	struct ls_report *report = all_fine();

	(void)state;
	assert_int_equal(ls_report_verdict(report), LS_SAFE);
	assert_string_equal(ls_report_verdict_name(LS_SAFE), "SAFE");
	ls_report_free(report);
}

static void one_warning_makes_it_safe_with_warnings(void **state)
{
	struct ls_report *report = all_fine();

	(void)state;
	ls_report_add(report, LS_CHECK_KAFKA, LS_LEVEL_WARNING, "topic a", "copy it", "has one copy");
	assert_int_equal(ls_report_verdict(report), LS_SAFE_WITH_WARNINGS);
	assert_int_equal(ls_report_level(report, LS_CHECK_KAFKA), LS_LEVEL_WARNING);
	ls_report_free(report);
}

static void many_findings_of_one_kind_are_two_lines_and_a_number_in_text(void **state)
{
	struct ls_report *report = ls_report_new();
	struct ls_buf out;
	json_t *root;

	(void)state;
	for (int i = 0; i < 9; i++)
		ls_report_add(report, LS_CHECK_POSTGRES, LS_LEVEL_OK, "source crm", NULL, "table t%d is fine", i);
	ls_report_add(report, LS_CHECK_POSTGRES, LS_LEVEL_OK, "source erp", NULL, "table t%d is fine", 70);
	ls_buf_init(&out, 1 << 20);
	ls_report_text(report, false, &out);
	assert_non_null(strstr(out.ptr, "table t1 is fine"));
	assert_null(strstr(out.ptr, "table t2 is fine"));
	assert_non_null(strstr(out.ptr, "and 7 more of the same; --json lists them"));
	assert_non_null(strstr(out.ptr, "source erp: table t70 is fine"));
	ls_buf_release(&out);
	root = as_json(report);
	assert_int_equal(json_array_size(json_object_get(
				 json_array_get(json_object_get(root, "checks"), LS_CHECK_POSTGRES), "findings")),
			 10);
	json_decref(root);
	ls_report_free(report);
}

static void the_worst_finding_is_the_level_whatever_comes_after_it(void **state)
{
	struct ls_report *report = all_fine();

	(void)state;
	ls_report_add(report, LS_CHECK_LEDGER, LS_LEVEL_FAILED, "w", "grant", "refused");
	ls_report_add(report, LS_CHECK_LEDGER, LS_LEVEL_OK, "w", NULL, "fine");
	assert_int_equal(ls_report_level(report, LS_CHECK_LEDGER), LS_LEVEL_FAILED);
	assert_int_equal(ls_report_verdict(report), LS_UNSAFE);
	ls_report_free(report);
}

static void what_is_not_configured_is_a_warning(void **state)
{
	struct ls_report *report = ls_report_new();
	json_t *root, *check;

	(void)state;
	assert_int_equal(ls_report_verdict(report), LS_SAFE_WITH_WARNINGS);
	root = as_json(report);
	check = json_array_get(json_object_get(root, "checks"), 0);
	assert_string_equal(json_string_value(json_object_get(check, "level")), "WARNING");
	check = json_array_get(json_object_get(check, "findings"), 0);
	assert_string_equal(json_string_value(json_object_get(check, "measured")), "not configured");
	json_decref(root);
	ls_report_free(report);
}

static void the_ten_checks_come_in_their_order_then_postgresql_and_kafka(void **state)
{
	static const char *const names[] = { "BigQuery connection", "Twenty connection",   "Supabase connection",
					     "error reporting",     "ledger (CDC) tables", "data integrity",
					     "rate limiting",       "conflict resolution", "error handling",
					     "idempotency",         "PostgreSQL",          "Kafka" };
	struct ls_report *report = all_fine();
	json_t *root = as_json(report), *checks = json_object_get(root, "checks");

	(void)state;
	assert_string_equal(json_string_value(json_object_get(root, "verdict")), "SAFE");
	assert_int_equal(json_array_size(checks), 12);
	for (size_t i = 0; i < 12; i++)
		assert_string_equal(json_string_value(json_object_get(json_array_get(checks, i), "name")), names[i]);
	json_decref(root);
	ls_report_free(report);
}

static void findings_keep_their_texts_in_json(void **state)
{
	struct ls_report *report = ls_report_new();
	json_t *root, *finding;

	(void)state;
	ls_report_add(report, LS_CHECK_POSTGRES, LS_LEVEL_FAILED, "source \"crm\"", "a\nb\t\\",
		      "%d slots \xc3\xa4 \x01", 3);
	root = as_json(report);
	finding = json_array_get(json_object_get(json_array_get(json_object_get(root, "checks"), 10), "findings"), 0);
	assert_string_equal(json_string_value(json_object_get(finding, "level")), "FAILED");
	assert_string_equal(json_string_value(json_object_get(finding, "subject")), "source \"crm\"");
	assert_string_equal(json_string_value(json_object_get(finding, "measured")), "3 slots \xc3\xa4 \x01");
	assert_string_equal(json_string_value(json_object_get(finding, "fix")), "a\nb\t\\");
	json_decref(root);
	ls_report_free(report);
}

static void the_text_names_the_fix_and_ends_in_the_verdict(void **state)
{
	struct ls_report *report = all_fine();
	struct ls_buf out;

	(void)state;
	ls_report_add(report, LS_CHECK_KAFKA, LS_LEVEL_FAILED, "topic a", "compact it", "is not compacted");
	ls_buf_init(&out, 1 << 20);
	ls_report_text(report, false, &out);
	assert_non_null(strstr(out.ptr, "FAILED   Kafka\n"));
	assert_non_null(strstr(out.ptr, "  FAILED  topic a: is not compacted\n          fix: compact it\n"));
	assert_non_null(strstr(out.ptr, "\nUNSAFE: 11 OK, 0 WARNING, 1 FAILED\n"));
	assert_null(strchr(out.ptr, '\033'));
	ls_buf_release(&out);
	ls_report_free(report);
}

static void bytes_that_are_no_utf8_do_not_break_json(void **state)
{
	static const char *const texts[] = {
		"\xff", "a\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf", "\xe2\x82"
	};
	struct ls_buf out;
	json_t *text;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		ls_buf_init(&out, 1000);
		ls_json_add_text(&out, texts[i]);
		text = json_loadb(out.ptr, out.len, JSON_DECODE_ANY, NULL);
		assert_non_null(text);
		assert_non_null(strstr(json_string_value(text), "\xEF\xBF\xBD"));
		json_decref(text);
		ls_buf_release(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_but_fine_findings_is_safe),
		cmocka_unit_test(one_warning_makes_it_safe_with_warnings),
		cmocka_unit_test(many_findings_of_one_kind_are_two_lines_and_a_number_in_text),
		cmocka_unit_test(the_worst_finding_is_the_level_whatever_comes_after_it),
		cmocka_unit_test(what_is_not_configured_is_a_warning),
		cmocka_unit_test(the_ten_checks_come_in_their_order_then_postgresql_and_kafka),
		cmocka_unit_test(findings_keep_their_texts_in_json),
		cmocka_unit_test(the_text_names_the_fix_and_ends_in_the_verdict),
		cmocka_unit_test(bytes_that_are_no_utf8_do_not_break_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
