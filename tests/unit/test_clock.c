/* The version clock: DESIGN of versions, max(last + 1, base + 1, commit time), and what follows from it. */
#include "clock.h"

#include "lockstep/event.h"
#include "seed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void version_is_the_commit_time_when_nothing_is_greater(void **state)
{
	struct ls_clock clock;

	(void)state;
	ls_clock_start(&clock, LS_NONE);

	assert_int_equal(ls_clock_next(&clock, 1763716443120000, LS_NONE), 1763716443120000);
}

static void ties_and_steps_back_still_grow_by_one(void **state)
{
	struct ls_clock clock;

	(void)state;
	ls_clock_start(&clock, LS_NONE);

	assert_int_equal(ls_clock_next(&clock, 1000, LS_NONE), 1000);
	assert_int_equal(ls_clock_next(&clock, 1000, LS_NONE), 1001);
	assert_int_equal(ls_clock_next(&clock, 400, LS_NONE), 1002);
	assert_int_equal(ls_clock_next(&clock, 2000, LS_NONE), 2000);
}

static void version_is_above_what_the_writer_had_seen(void **state)
{
	struct ls_clock clock;

	(void)state;
	ls_clock_start(&clock, 10);

	assert_int_equal(ls_clock_next(&clock, 20, 5000), 5001);
	assert_int_equal(ls_clock_next(&clock, 20, 5000), 5002);
}

static void raising_never_lowers(void **state)
{
	struct ls_clock clock;

	(void)state;
	ls_clock_start(&clock, 100);
	ls_clock_raise(&clock, 50);
	assert_int_equal(clock.last, 100);
	ls_clock_raise(&clock, LS_NONE);
	assert_int_equal(clock.last, 100);
	ls_clock_raise(&clock, 300);

	assert_int_equal(ls_clock_next(&clock, 1, LS_NONE), 301);
}

static void the_top_of_the_range_does_not_wrap(void **state)
{
	struct ls_clock clock;

	(void)state;
	ls_clock_start(&clock, LS_NONE);

	assert_int_equal(ls_clock_next(&clock, 1, INT64_MAX), INT64_MAX);
	assert_int_equal(ls_clock_next(&clock, 1, LS_NONE), INT64_MAX);
}

/* Any log, cut anywhere: from the floor saved at the cut, the rest gets the numbers it had. */
static void reading_again_from_a_saved_floor_gives_the_same_numbers(void **state)
{
	enum { EVENTS = 500 };
	int64_t commit[EVENTS], base[EVENTS], version[EVENTS], floor[EVENTS + 1];
	uint64_t seed = test_seed();
	struct ls_clock clock;

	(void)state;
	ls_clock_start(&clock, LS_NONE);
	for (size_t i = 0; i < EVENTS; i++) {
		commit[i] = (int64_t)test_below(&seed, 1000);
		base[i] = test_chance(&seed, 20) ? (int64_t)test_below(&seed, 2000) : LS_NONE;
		floor[i] = clock.last;
		version[i] = ls_clock_next(&clock, commit[i], base[i]);
		assert_true(i == 0 || version[i] > version[i - 1]);
	}
	for (size_t cut = 0; cut < EVENTS; cut++) {
		struct ls_clock again;

		ls_clock_start(&again, floor[cut]);
		for (size_t i = cut; i < EVENTS; i++)
			assert_int_equal(ls_clock_next(&again, commit[i], base[i]), version[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_is_the_commit_time_when_nothing_is_greater),
		cmocka_unit_test(ties_and_steps_back_still_grow_by_one),
		cmocka_unit_test(version_is_above_what_the_writer_had_seen),
		cmocka_unit_test(raising_never_lowers),
		cmocka_unit_test(the_top_of_the_range_does_not_wrap),
		cmocka_unit_test(reading_again_from_a_saved_floor_gives_the_same_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
