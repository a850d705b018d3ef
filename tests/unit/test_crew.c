/* The crew: what the end of a lane does to it, to the others and to the process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "main/app.h"

/* A lane that ends with the classes of its script, one a run, then works until it is told to stop. */
struct fake {
	struct ls_lane lane;
	const enum ls_class *script;
	size_t scripted;
	atomic_size_t runs, frees;
	bool deaf;              /* does not stop when told to */
	int tell;               /* >= 0: file descriptor that gets a byte once it works steadily */
	struct fake *waits_for; /* works until this one has worked `wanted` times, then stops the crew */
	size_t wanted;
};

static struct ls_app *app_new(void)
{
	struct ls_app *app = calloc(1, sizeof *app);

	app->log = ls_log_new(open("/dev/null", O_WRONLY | O_CLOEXEC), false, LS_LOG_ERROR);
	app->stats = ls_stats_new();
	return app;
}

static void app_free(struct ls_app *app)
{
	ls_stats_free(app->stats);
	ls_log_free(app->log);
	free(app);
}

static enum ls_class fake_run(struct ls_lane *lane, struct ls_error *err)
{
	struct fake *fake = (struct fake *)lane;
	size_t run = atomic_fetch_add(&fake->runs, 1);

	if (run < fake->scripted && fake->script[run])
		return ls_fail(err, fake->script[run], "X", "run %zu of %s", run, lane->name);
	if (run < fake->scripted)
		return LS_OK;
	if (fake->tell >= 0 && write(fake->tell, "x", 1) != 1)
		return LS_FATAL;
	while (fake->deaf || !ls_stop_wait(&lane->app->stop, 20))
		if (fake->waits_for && atomic_load(&fake->waits_for->runs) >= fake->wanted)
			atomic_store(&lane->app->stop.set, true);
	return LS_OK;
}

static void fake_free(struct ls_lane *lane)
{
	atomic_fetch_add(&((struct fake *)lane)->frees, 1);
}

static void fake_join(struct fake *fake, const char *name, struct ls_app *app, struct ls_crew *crew)
{
	snprintf(fake->lane.name, sizeof fake->lane.name, "%s", name);
	fake->lane.run = fake_run;
	fake->lane.free = fake_free;
	fake->lane.app = app;
	fake->lane.stats = ls_stats_lane(app->stats, name);
	ls_crew_add(crew, &fake->lane);
}

#define SCRIPT(...)                                                                                                    \
	.script = (const enum ls_class[]){ __VA_ARGS__ },                                                              \
	.scripted = sizeof((const enum ls_class[]){ __VA_ARGS__ }) / sizeof(enum ls_class), .tell = -1

static void a_lane_that_failed_for_now_is_started_again(void **state)
{
	struct ls_app *app = app_new();
	struct ls_crew *crew = ls_crew_new(app);
	struct fake fake = { SCRIPT(LS_RETRY, LS_FENCED, LS_RETRY, LS_OK) };
	char error[100];

	(void)state;
	fake_join(&fake, "capture/a", app, crew);
	assert_int_equal(ls_crew_run(crew, NULL, NULL), LS_EXIT_DONE);
	assert_int_equal(fake.runs, 4);
	assert_int_equal(LS_READ(fake.lane.stats, retries), 3);
	assert_int_equal(LS_READ(fake.lane.stats, up), 0);
	ls_stats_last_error(fake.lane.stats, error, sizeof error);
	assert_string_equal(error, "run 2 of capture/a");
	ls_crew_free(crew);
	assert_int_equal(fake.frees, 1);
	app_free(app);
}

static void a_refused_credential_stops_its_lane_and_no_other(void **state)
{
	struct ls_app *app = app_new();
	struct ls_crew *crew = ls_crew_new(app);
	struct fake refused = { SCRIPT(LS_AUTH) }, retried = { SCRIPT(LS_RETRY) };
	struct fake other = { .tell = -1, .waits_for = &retried, .wanted = 2 };

	(void)state;
	fake_join(&refused, "a", app, crew);
	fake_join(&retried, "b", app, crew);
	fake_join(&other, "c", app, crew);
	assert_int_equal(ls_crew_run(crew, NULL, NULL), LS_EXIT_AUTH);
	assert_int_equal(refused.runs, 1);
	assert_int_equal(retried.runs, 2);
	assert_int_equal(other.runs, 1);
	ls_crew_free(crew);
	app_free(app);
}

static void a_fatal_lane_stops_all(void **state)
{
	struct ls_app *app = app_new();
	struct ls_crew *crew = ls_crew_new(app);
	struct fake fatal = { SCRIPT(LS_FATAL) }, other = { .tell = -1 };

	(void)state;
	fake_join(&fatal, "a", app, crew);
	fake_join(&other, "b", app, crew);
	assert_int_equal(ls_crew_run(crew, NULL, NULL), LS_EXIT_FAILED);
	assert_true(ls_stop_is_set(&app->stop));
	assert_int_equal(other.runs, 1);
	ls_crew_free(crew);
	app_free(app);
}

static void the_crew_ends_when_every_lane_has_ended(void **state)
{
	struct ls_app *app = app_new();
	struct ls_crew *crew = ls_crew_new(app);
	struct fake one = { SCRIPT(LS_OK) }, two = { SCRIPT(LS_OK) };

	(void)state;
	fake_join(&one, "a", app, crew);
	fake_join(&two, "b", app, crew);
	assert_int_equal(ls_crew_count(crew), 2);
	assert_ptr_equal(ls_crew_lane(crew, 1), &two.lane);
	assert_int_equal(ls_crew_run(crew, NULL, NULL), LS_EXIT_DONE);
	ls_crew_free(crew);
	app_free(app);
}

static void a_lane_is_up_while_it_runs(void **state)
{
	struct ls_app *app = app_new();
	struct ls_crew *crew = ls_crew_new(app);
	struct fake one = { .tell = -1 }, two = { .tell = -1, .waits_for = &one, .wanted = 1 };

	(void)state;
	fake_join(&one, "a", app, crew);
	fake_join(&two, "b", app, crew);
	LS_GAUGE(one.lane.stats, up, 7);
	assert_int_equal(ls_crew_run(crew, NULL, NULL), LS_EXIT_DONE);
	assert_int_equal(LS_READ(one.lane.stats, up), 0);
	ls_crew_free(crew);
	app_free(app);
}

/* Runs a crew of one lane in a process of its own; returns its pid once the lane works. */
static pid_t process(bool deaf)
{
	int pipes[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct ls_app *app = app_new();
		struct ls_crew *crew = ls_crew_new(app);
		struct fake fake = { .tell = pipes[1], .deaf = deaf };

		fake_join(&fake, "a", app, crew);
		int code = (int)ls_crew_run(crew, NULL, NULL);

		ls_crew_free(crew);
		app_free(app);
		_exit(code);
	}
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	close(pipes[0]);
	return pid;
}

static int exit_code(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void a_signal_stops_gracefully(void **state)
{
	static const int signals[] = { SIGTERM, SIGINT };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		pid_t pid = process(false);

		kill(pid, signals[i]);
		assert_int_equal(exit_code(pid), LS_EXIT_DONE);
	}
}

static void the_same_signal_sent_twice_is_one_wish(void **state)
{
	pid_t pid = process(false);

	(void)state;
	for (int i = 0; i < 50; i++)
		kill(pid, SIGTERM);
	assert_int_equal(exit_code(pid), LS_EXIT_DONE);
}

static void a_second_signal_ends_at_once(void **state)
{
	pid_t pid = process(true);

	(void)state;
	/* Two different ones: two of a kind that are pending count as one. */
	kill(pid, SIGTERM);
	kill(pid, SIGINT);
	assert_int_equal(exit_code(pid), LS_EXIT_WATCHDOG);
}

static void classes_have_their_exit_codes(void **state)
{
	(void)state;
	assert_int_equal(ls_exit_of(LS_OK), 0);
	assert_int_equal(ls_exit_of(LS_RETRY), 5);
	assert_int_equal(ls_exit_of(LS_AUTH), 4);
	assert_int_equal(ls_exit_of(LS_FENCED), 6);
	assert_int_equal(ls_exit_of(LS_FATAL), 1);
	assert_int_equal(ls_exit_of(LS_POISON), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lane_that_failed_for_now_is_started_again),
		cmocka_unit_test(a_refused_credential_stops_its_lane_and_no_other),
		cmocka_unit_test(a_fatal_lane_stops_all),
		cmocka_unit_test(the_crew_ends_when_every_lane_has_ended),
		cmocka_unit_test(a_lane_is_up_while_it_runs),
		cmocka_unit_test(a_signal_stops_gracefully),
		cmocka_unit_test(the_same_signal_sent_twice_is_one_wish),
		cmocka_unit_test(a_second_signal_ends_at_once),
		cmocka_unit_test(classes_have_their_exit_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
