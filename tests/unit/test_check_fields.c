/* What `check` says of mappings by looking at them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_fields.h"
#include "config/config.h"
#include "core/buf.h"
#include "main/report.h"

static const struct ls_column contact_columns[] = { { .name = { "id", 2 } }, { .name = { "email", 5 } } };
static const struct ls_column order_columns[] = { { .name = { "id", 2 } }, { .name = { "total", 5 } } };
static const struct ls_schema contact = { { "contact", 7 }, contact_columns, 2 },
			      order = { { "order", 5 }, order_columns, 2 };
static const struct ls_schema *const both[] = { &contact, &order };

static const struct ls_pair email[] = { { { "email", 5 }, { "redact", 6 } } };
static const struct ls_pair emial[] = { { { "emial", 5 }, { "redact", 6 } } };
static const struct ls_pair totals[] = { { { "totals", 6 }, { "hash", 4 } } };

static struct ls_mapping mapping_of(const char *entity, const struct ls_pair *mask)
{
	return (struct ls_mapping){
		.entity = entity, .place = entity, .mask = mask, .mask_count = mask != NULL, .line = 7
	};
}

/* The text of the report; the caller frees it. */
static char *said(const struct ls_mapping *mapping, const struct ls_schema *const *schema, size_t count,
		  enum ls_level *ret_level)
{
	struct ls_report *report = ls_report_new();
	struct ls_buf out;

	ls_check_fields(mapping, schema, count, "source crm", report);
	/* Without a finding the check is "not measured". */
	ls_report_add(report, LS_CHECK_DATA_INTEGRITY, LS_LEVEL_OK, "source crm", NULL, "looked at");
	*ret_level = ls_report_level(report, LS_CHECK_DATA_INTEGRITY);
	ls_buf_init(&out, 1 << 20);
	ls_report_text(report, false, &out);
	ls_report_free(report);
	return ls_buf_take(&out);
}

static void a_masked_field_that_the_entity_has_is_fine(void **state)
{
	struct ls_mapping mapping[] = { mapping_of("contact", email), mapping_of("order", NULL) };
	enum ls_level level;

	(void)state;
	free(said(mapping, both, 2, &level));
	assert_int_equal(level, LS_LEVEL_OK);
}

static void a_misspelt_one_fails_with_a_near_miss(void **state)
{
	struct ls_mapping mapping[] = { mapping_of("contact", emial) };
	enum ls_level level;
	char *text = said(mapping, both, 1, &level);

	(void)state;
	assert_int_equal(level, LS_LEVEL_FAILED);
	assert_non_null(strstr(text, "line 7: mask names field \"emial\""));
	assert_non_null(strstr(text, "(did you mean \"email\"?)"));
	free(text);
}

static void a_filter_is_looked_at_too(void **state)
{
	struct ls_mapping mapping[] = { mapping_of("contact", NULL) };
	enum ls_level level;
	char *text;

	(void)state;
	mapping[0].filter = emial;
	mapping[0].filter_count = 1;
	text = said(mapping, both, 1, &level);
	assert_int_equal(level, LS_LEVEL_FAILED);
	assert_non_null(strstr(text, "filter names field"));
	free(text);
}

static void a_mask_of_all_mappings_need_fit_one_of_them_only(void **state)
{
	struct ls_mapping mapping[] = { mapping_of("contact", email), mapping_of("order", email) };
	enum ls_level level;

	(void)state;
	free(said(mapping, both, 2, &level));
	assert_int_equal(level, LS_LEVEL_OK);
}

static void a_mask_of_all_mappings_that_fits_none_fails(void **state)
{
	struct ls_mapping mapping[] = { mapping_of("contact", emial), mapping_of("order", emial) };
	enum ls_level level;

	(void)state;
	free(said(mapping, both, 2, &level));
	assert_int_equal(level, LS_LEVEL_FAILED);
}

static void a_mask_of_one_mapping_is_not_excused_by_the_fields_of_another(void **state)
{
	struct ls_mapping mapping[] = { mapping_of("contact", NULL), mapping_of("order", email) };
	enum ls_level level;

	(void)state;
	free(said(mapping, both, 2, &level));
	assert_int_equal(level, LS_LEVEL_FAILED);
}

static void a_near_miss_beside_a_hit_is_a_warning(void **state)
{
	static const struct ls_column shipment_columns[] = { { .name = { "totals", 6 } } };
	static const struct ls_schema shipment = { { "shipment", 8 }, shipment_columns, 1 };
	const struct ls_schema *const schemas[] = { &shipment, &order };
	struct ls_mapping mapping[] = { mapping_of("shipment", totals), mapping_of("order", totals) };
	enum ls_level level;

	(void)state;
	free(said(mapping, schemas, 2, &level));
	assert_int_equal(level, LS_LEVEL_WARNING);
}

static void nothing_is_said_of_a_table_that_is_not_known(void **state)
{
	const struct ls_schema *const unknown[] = { NULL };
	struct ls_mapping mapping[] = { mapping_of("contact", emial) };
	enum ls_level level;

	(void)state;
	free(said(mapping, unknown, 1, &level));
	assert_int_equal(level, LS_LEVEL_OK);
}

static enum ls_level level_of_writers(size_t count)
{
	static const struct ls_entity_config entity = { .name = "contact" };
	struct ls_source_config *source = calloc(count, sizeof *source);
	struct ls_mapping mapping = { .entity = "contact" };
	struct ls_config config = { .entity = &entity, .entity_count = 1, .source = source, .source_count = count };
	struct ls_report *report = ls_report_new();
	enum ls_level level;

	assert_non_null(source);
	for (size_t i = 0; i < count; i++) {
		source[i].mapping = &mapping;
		source[i].mapping_count = 1;
	}
	ls_report_add(report, LS_CHECK_CONFLICT_RESOLUTION, LS_LEVEL_OK, "it", NULL, "fine");
	ls_check_writers(&config, report);
	level = ls_report_level(report, LS_CHECK_CONFLICT_RESOLUTION);
	ls_report_free(report);
	free(source);
	return level;
}

static void thirty_two_writers_are_as_many_as_can_be_told_apart(void **state)
{
	(void)state;
	assert_int_equal(level_of_writers(32), LS_LEVEL_OK);
	assert_int_equal(level_of_writers(33), LS_LEVEL_FAILED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_masked_field_that_the_entity_has_is_fine),
		cmocka_unit_test(a_misspelt_one_fails_with_a_near_miss),
		cmocka_unit_test(a_filter_is_looked_at_too),
		cmocka_unit_test(a_mask_of_all_mappings_need_fit_one_of_them_only),
		cmocka_unit_test(a_mask_of_all_mappings_that_fits_none_fails),
		cmocka_unit_test(a_mask_of_one_mapping_is_not_excused_by_the_fields_of_another),
		cmocka_unit_test(a_near_miss_beside_a_hit_is_a_warning),
		cmocka_unit_test(nothing_is_said_of_a_table_that_is_not_known),
		cmocka_unit_test(thirty_two_writers_are_as_many_as_can_be_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
