/* Failpoints: each action, at its hit. The variable is read once per process, so main sets it before the first use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/failpoint.h"
#include "core/time.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef LS_FAILPOINTS

static enum ls_class step(const char *name, struct ls_error *err)
{
	LS_FAILPOINT_ERROR(name, err);
	return LS_OK;
}

static void an_error_comes_at_its_hit_and_only_then(void **state)
{
	struct ls_error err;

	(void)state;
	assert_int_equal(step("third", &err), LS_OK);
	assert_int_equal(step("third", &err), LS_OK);
	assert_int_equal(step("third", &err), LS_RETRY);
	assert_string_equal(err.code, "failpoint");
	assert_int_equal(step("third", &err), LS_OK);
	assert_int_equal(step("not.named", &err), LS_OK);
	assert_int_equal(step("always", &err), LS_RETRY);
	assert_int_equal(step("always", &err), LS_RETRY);
	LS_FAILPOINT("always"); /* an error has nowhere to go here */
}

static void a_delay_waits_as_long_as_it_says(void **state)
{
	int64_t start = ls_monotonic_ms();

	(void)state;
	LS_FAILPOINT("slow");
	assert_true(ls_monotonic_ms() - start >= 30);
}

static void *hit_often(void *arg)
{
	struct ls_error err;
	long failed = 0;

	for (int i = 0; i < 100; i++)
		failed += step(arg, &err) == LS_RETRY;
	return (void *)(intptr_t)failed;
}

static void hits_of_many_threads_are_counted_once_each(void **state)
{
	char name[] = "crowd";
	pthread_t thread[8];
	intptr_t failed = 0;

	(void)state;
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, hit_often, name), 0);
	for (size_t i = 0; i < 8; i++) {
		void *count;

		pthread_join(thread[i], &count);
		failed += (intptr_t)count;
	}
	assert_int_equal(failed, 1);
}

static int child_status(const char *name, int options)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		LS_FAILPOINT(name);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, options), pid);
	if (WIFSTOPPED(status)) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return status;
}

static void kill_dies_by_sigkill_and_stop_by_sigstop(void **state)
{
	int killed = child_status("die", 0), stopped = child_status("halt", WUNTRACED);

	(void)state;
	assert_true(WIFSIGNALED(killed) && WTERMSIG(killed) == SIGKILL);
	assert_true(WIFSTOPPED(stopped) && WSTOPSIG(stopped) == SIGSTOP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_comes_at_its_hit_and_only_then),
		cmocka_unit_test(a_delay_waits_as_long_as_it_says),
		cmocka_unit_test(hits_of_many_threads_are_counted_once_each),
		cmocka_unit_test(kill_dies_by_sigkill_and_stop_by_sigstop),
	};

	setenv("LOCKSTEP_FAILPOINT", "third:error:3,always:error:*,slow:delay=30,crowd:error:777,die:kill,halt:stop:1",
	       1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
	return 77; /* compiled out: skipped */
}

#endif
