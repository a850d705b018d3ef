/* The sink lane itself, in thousands of histories in which everything goes wrong: see support/sim.h. LS_SEED=N begins
 * with the history of seed N, LS_HISTORIES=N runs as many, LS_SIM_TRACE=1 tells what happens in them:
 *   LS_SEED=17 LS_HISTORIES=1 LS_SIM_TRACE=1 LS_TEST_FILTER='every*' build/dev/tests/unit_test_simulator */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sim.h"

/* Sanitizers make it ten times slower, and look for other things than a rule left out. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#if __has_feature(thread_sanitizer)
#define WITHOUT_FIBERS 1
#endif
#endif
#ifdef SANITIZED
enum { HISTORIES = 300, BASES = 1, STRIDE = 9, MUTANT_HISTORIES = 0 };
#else
enum { HISTORIES = 4000, BASES = 3, STRIDE = 1, MUTANT_HISTORIES = 30000 };
#endif

/* The same histories in every run, unless told otherwise: what another seed finds is found by whoever asks for it. */
static uint64_t first_seed(void)
{
	const char *env = getenv("LS_SEED");
	uint64_t seed = env ? strtoull(env, NULL, 0) : 1;

	printf("seed %llu (LS_SEED=N for others)\n", (unsigned long long)seed);
	return seed;
}

static size_t histories(size_t fallback)
{
	const char *env = getenv("LS_HISTORIES");

	return env ? strtoul(env, NULL, 10) : fallback;
}

/* Of this process: other work on the machine does not count. */
static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void every_history_ends_in_the_winners_of_the_log(void **state)
{
	struct sim *sim = sim_new();
	uint64_t seed = first_seed();
	size_t count = histories(HISTORIES), wrong = 0;
	double begun = seconds();

	(void)state;
	for (size_t i = 0; i < count && wrong < 5; i++) {
		if (sim_run(sim, seed + i, SIM_SOUND, 0))
			continue;
		printf("history %llu (%s ledger, %s): %s\n", (unsigned long long)(seed + i),
		       sim->full ? "full" : "offsets", sim->two_way ? "two-way" : "one source", sim->wrong);
		wrong++;
	}
	begun = seconds() - begun;
	printf("%zu histories of %.0f steps in %.1f s: %.0f histories a second\n", count,
	       (double)sim->tools->steps / (double)count, begun, (double)count / begun);
	sim_free(sim);
	assert_int_equal(wrong, 0);
}

/* Without chance: the same history, with the lane dying at its first step, its second, and so on. */
static void a_death_at_any_single_step_changes_nothing(void **state)
{
	enum { LONG = 4000 };
	struct sim *sim = sim_new();
	uint64_t seed = first_seed();
	size_t tried = 0;

	(void)state;
	for (size_t base = 0; base < BASES; base++)
		for (size_t step = 1; step < LONG; step += STRIDE, tried++) {
			if (!sim_run(sim, seed + base, SIM_SOUND, step))
				fail_msg("history %llu with a death at step %zu: %s", (unsigned long long)(seed + base),
					 step, sim->wrong);
			if (sim->died_never)
				break;
		}
	printf("%zu deaths\n", tried);
	sim_free(sim);
}

static void each_rule_left_out_is_seen(void **state)
{
	static const char *const name[SIM_MUTANTS] = {
		"",        "mark unchecked", "zombie unfenced", "state first",   "marker early", "last by offset",
		"no fold", "notes unread",   "letter late",     "late unhealed", "winner alone"
	};
	struct sim *sim = sim_new();
	uint64_t seed = first_seed();
	size_t missed = 0;

	(void)state;
	for (enum sim_mutant mutant = SIM_SOUND + 1; MUTANT_HISTORIES > 0 && mutant < SIM_MUTANTS; mutant++) {
		size_t tried = 0;

		while (tried < MUTANT_HISTORIES && sim_run(sim, seed + tried, mutant, 0))
			tried++;
		printf("%s: %s after %zu histories\n", name[mutant],
		       tried == MUTANT_HISTORIES ? "not found" : sim->wrong, tried);
		missed += tried == MUTANT_HISTORIES;
	}
	sim_free(sim);
	assert_int_equal(missed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_history_ends_in_the_winners_of_the_log),
		cmocka_unit_test(a_death_at_any_single_step_changes_nothing),
		cmocka_unit_test(each_rule_left_out_is_seen),
	};

#ifdef WITHOUT_FIBERS
	printf("skipped: ThreadSanitizer does not follow one thread onto another stack\n");
	return 77;
#endif
	cmocka_set_test_filter(getenv("LS_TEST_FILTER"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
