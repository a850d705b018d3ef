/* Whose writes an origin marks: exactly those of one destination. */
#include "pg/origin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void the_names_of_a_destination_are_its_own(void **state)
{
	char name[LS_PG_ORIGIN];

	(void)state;
	assert_string_equal(ls_pg_origin_name("crm", 1, name), "lockstep:crm:1");
	assert_true(ls_pg_origin_is(ls_str_of(name), "crm"));
	assert_true(ls_pg_origin_is(LS_STR("lockstep:crm:32"), "crm"));
}

static void names_that_only_look_alike_are_others(void **state)
{
	static const char *const others[] = {
		"lockstep:crm2:1", "lockstep:crm:",  "lockstep:crm:x",   "lockstep:crm:1x", "lockstep:cr:1",

		"lockstep_crm",    "lockstep:crm:-", "lockstep:crm:1:1", "lockstep",        "",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(ls_pg_origin_is(ls_str_of(others[i]), "crm"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_names_of_a_destination_are_its_own),
		cmocka_unit_test(names_that_only_look_alike_are_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
