/* The lanes of this process: started, restarted, drained. Signals are blocked everywhere and read here, on the thread
 * that called ls_crew_run. */
#include "main/app.h"
#include "main/live.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	SAME_WISH_MS = 500,
	WAKE = SIGUSR1, /* a lane tells the waiting thread that it has ended */
	BACKOFF_FIRST_MS = 200,
	BACKOFF_MOST_MS = 30000,
	HEALTHY_MS = 60000, /* a lane that ran this long begins its backoff anew */
};

struct member {
	struct ls_crew *crew;
	struct ls_lane *lane;
	pthread_t thread;
	enum ls_class end; /* the lane's last class; read after it has ended */
	bool started;
};

struct ls_crew {
	struct ls_app *app;
	struct member *member;
	size_t count, room;
	pthread_t waiter;
	atomic_size_t ended;
	atomic_bool fatal;
};

struct ls_crew *ls_crew_new(struct ls_app *app)
{
	struct ls_crew *crew = calloc(1, sizeof *crew);

	if (!crew)
		abort();
	crew->app = app;
	return crew;
}

struct ls_crew *ls_crew_free(struct ls_crew *crew)
{
	for (size_t i = 0; crew && i < crew->count; i++)
		crew->member[i].lane->free(crew->member[i].lane);
	if (crew)
		free(crew->member);
	free(crew);
	return NULL;
}

void ls_crew_add(struct ls_crew *crew, struct ls_lane *lane)
{
	if (crew->count == crew->room) {
		crew->room = crew->room ? crew->room * 2 : 8;
		crew->member = realloc(crew->member, crew->room * sizeof *crew->member);
		if (!crew->member)
			abort();
	}
	crew->member[crew->count++] = (struct member){ .crew = crew, .lane = lane };
}

size_t ls_crew_count(const struct ls_crew *crew)
{
	return crew->count;
}

struct ls_lane *ls_crew_lane(const struct ls_crew *crew, size_t index)
{
	return crew->member[index].lane;
}

static void set_up(struct ls_lane *lane, int up)
{
	if (lane->stats)
		LS_GAUGE(lane->stats, up, up);
}

/* What the end of a lane means, in one place. Returns the milliseconds to wait before it runs again, or -1. */
static int64_t judge(struct member *member, const struct ls_error *err, struct ls_backoff *backoff)
{
	struct ls_app *app = member->crew->app;
	struct ls_lane *lane = member->lane;
	int64_t wait_ms = -1;
	char next[48];

	if (member->end == LS_OK)
		return -1;
	if (lane->stats)
		ls_stats_error(lane->stats, err->text);
	if (ls_stop_is_set(&app->stop)) {
		ls_log_error(app->log, LS_LOG_WARN, lane->name, err, "stopped; goes on from here at the next start");
	} else if (member->end == LS_RETRY || member->end == LS_FENCED) {
		wait_ms = ls_backoff_next(backoff);
		if (lane->stats)
			LS_COUNT(lane->stats, retries, 1);
		snprintf(next, sizeof next, "restart in %lld ms", (long long)wait_ms);
		ls_log_error(app->log, LS_LOG_WARN, lane->name, err, next);
	} else if (member->end == LS_AUTH) {
		ls_log_error(app->log, LS_LOG_ERROR, lane->name, err, "lane stays down, the others go on");
	} else {
		ls_log_error(app->log, LS_LOG_ERROR, lane->name, err, "every lane stops");
		atomic_store(&member->crew->fatal, true);
	}
	return wait_ms;
}

static void *work(void *arg)
{
	struct member *member = arg;
	struct ls_app *app = member->crew->app;
	struct ls_backoff backoff = { .initial_ms = BACKOFF_FIRST_MS, .max_ms = BACKOFF_MOST_MS };

	for (;;) {
		struct ls_error err = { .class = LS_OK };
		int64_t begun = ls_monotonic_ms(), wait_ms;

		set_up(member->lane, 1);
		member->end = member->lane->run(member->lane, &err);
		set_up(member->lane, 0);
		if (ls_monotonic_ms() - begun > HEALTHY_MS)
			ls_backoff_reset(&backoff);
		wait_ms = judge(member, &err, &backoff);
		if (wait_ms < 0 || ls_stop_wait(&app->stop, wait_ms))
			break;
	}
	atomic_fetch_add(&member->crew->ended, 1);
	pthread_kill(member->crew->waiter, WAKE);
	return NULL;
}

static void crew_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, WAKE);
}

/* Returns the signal that came, or 0 when timeout_ms passed. */
static int wait_signal(int64_t timeout_ms)
{
	struct timespec timeout = { .tv_sec = timeout_ms / 1000, .tv_nsec = (timeout_ms % 1000) * 1000000 };
	sigset_t set;
	int sig;

	crew_signals(&set);
	sig = sigtimedwait(&set, NULL, &timeout);
	return sig < 0 ? 0 : sig;
}

/* The truth is in Kafka and in the destinations; what a stuck lane holds is done again by the next owner. */
static void end_now(struct ls_crew *crew, const char *why)
{
	ls_live_reset();
	ls_log_line(crew->app->log, LS_LOG_ERROR, NULL, why, NULL, 0);
	_exit(LS_EXIT_WATCHDOG);
}

static void begin_stop(struct ls_crew *crew, const char *why, int64_t *deadline_ms)
{
	LS_LOG(crew->app->log, LS_LOG_INFO, NULL, "stopping", LS_F("why", why), LS_N("lanes", crew->count));
	atomic_store(&crew->app->stop.set, true);
	*deadline_ms = ls_monotonic_ms() + LS_DRAIN_MS;
}

static bool all_ended(const struct ls_crew *crew)
{
	return atomic_load(&crew->ended) == crew->count;
}

/* The first signal begins the drain; a later one ends at once. Some tools (timeout, a terminal's process group) send
 * one wish twice, so the same signal within SAME_WISH_MS is one. */
static void take_signal(struct ls_crew *crew, int sig, int *first, int64_t *deadline_ms)
{
	if (*deadline_ms && sig == *first && ls_monotonic_ms() < *deadline_ms - LS_DRAIN_MS + SAME_WISH_MS)
		return;
	if (*deadline_ms)
		end_now(crew, "second signal: ended without draining");
	*first = sig;
	begin_stop(crew, sig == SIGTERM ? "SIGTERM" : "SIGINT", deadline_ms);
}

/* The waiting thread's loop: signals in, ticks out, until every lane has ended. */
static void supervise(struct ls_crew *crew, void (*tick)(void *arg), void *arg)
{
	int64_t next_tick_ms = ls_monotonic_ms() + 1000, deadline_ms = 0;
	int first = 0;

	while (!all_ended(crew)) {
		int64_t wait_ms = next_tick_ms - ls_monotonic_ms();
		int sig = wait_signal(wait_ms > 0 ? wait_ms : 0);

		if (sig == SIGTERM || sig == SIGINT)
			take_signal(crew, sig, &first, &deadline_ms);
		if (!deadline_ms && (atomic_load(&crew->fatal) || ls_stop_is_set(&crew->app->stop)))
			begin_stop(crew, atomic_load(&crew->fatal) ? "fatal lane" : "asked to", &deadline_ms);
		if (deadline_ms && ls_monotonic_ms() > deadline_ms)
			end_now(crew, "lanes did not drain in 20 s: ended without them");
		if (ls_monotonic_ms() >= next_tick_ms) {
			next_tick_ms = ls_monotonic_ms() + 1000;
			if (tick)
				tick(arg);
		}
	}
}

/* A lane that was stopped while it waited for something is not a failure; a refused or fatal one is. */
static enum ls_exit worst_end(const struct ls_crew *crew)
{
	enum ls_exit code = LS_EXIT_DONE;

	for (size_t i = 0; i < crew->count; i++) {
		enum ls_class end = crew->member[i].end;

		if (end == LS_FATAL || end == LS_POISON)
			return LS_EXIT_FAILED;
		if (end == LS_AUTH)
			code = LS_EXIT_AUTH;
	}
	return code;
}

static void start_threads(struct ls_crew *crew)
{
	for (size_t i = 0; i < crew->count; i++) {
		struct member *member = &crew->member[i];
		int error = pthread_create(&member->thread, NULL, work, member);

		member->started = error == 0;
		if (member->started)
			continue;
		LS_LOG(crew->app->log, LS_LOG_ERROR, member->lane->name, "no thread for this lane",
		       LS_F("error", strerror(error)));
		member->end = LS_FATAL;
		atomic_store(&crew->fatal, true);
		atomic_fetch_add(&crew->ended, 1);
	}
}

enum ls_exit ls_crew_run(struct ls_crew *crew, void (*tick)(void *arg), void *arg)
{
	sigset_t set, before;

	crew_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	crew->waiter = pthread_self();
	start_threads(crew);
	supervise(crew, tick, arg);
	for (size_t i = 0; i < crew->count; i++)
		if (crew->member[i].started)
			pthread_join(crew->member[i].thread, NULL);
	/* Late wake-ups would end the process once they are let through. */
	sigemptyset(&set);
	sigaddset(&set, WAKE);
	while (sigtimedwait(&set, NULL, &(struct timespec){ 0, 0 }) > 0)
		continue;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return worst_end(crew);
}
