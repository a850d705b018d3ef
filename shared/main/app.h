/* What every command and lane of a process shares. Made by main, freed by main; no globals. */
#pragma once

#include "config/config.h"
#include "core/log.h"
#include "core/time.h"
#include "metrics/stats.h"

#include "avro/schemas.h"
#include "lockstep/command.h"

#include <pthread.h>

struct ls_app {
	const struct ls_config *config; /* NULL for commands with no_config */
	struct ls_log *log;
	struct ls_stats *stats;
	struct ls_stop stop;
	pthread_mutex_t lock;       /* of schemas; zeroed memory is an open lock */
	struct ls_schemas *schemas; /* opened on first use by ls_app_schemas */
	bool json;                  /* --json given before the command; commands have their own too */
	bool no_cdc;                /* run --no-cdc: sources that read a log stay out */
	bool no_event_driven;       /* run --no-event-driven: no webhooks */
	bool no_polling;            /* run --no-polling: polled sources stay out */
	bool kafka_away;            /* check: Kafka did not answer, nobody need wait for it again */
};

/* ls_app_schemas opens the schema stores once (topic, and registry where configured) and returns them in *ret. */
enum ls_class ls_app_schemas(struct ls_app *app, struct ls_schemas **ret, struct ls_error *err);

/* ls_exit_of maps a class to the exit code: RETRY unreachable, AUTH authentication, FENCED fenced, else failed. */
enum ls_exit ls_exit_of(enum ls_class class);
/* ls_app_fail logs the error and returns its exit code. */
enum ls_exit ls_app_fail(struct ls_app *app, const struct ls_error *err);

/* ---- crew.c: the lanes of this process ---- */

struct ls_crew *ls_crew_new(struct ls_app *app);
struct ls_crew *ls_crew_free(struct ls_crew *crew);           /* frees the lanes, too */
void ls_crew_add(struct ls_crew *crew, struct ls_lane *lane); /* takes the lane */
size_t ls_crew_count(const struct ls_crew *crew);
struct ls_lane *ls_crew_lane(const struct ls_crew *crew, size_t index); /* the crew's */

/* ls_crew_run starts a thread per lane, restarts those that end with RETRY or FENCED after a backoff, waits for
 * SIGTERM, SIGINT or a fatal lane, then drains; a watchdog ends the process 20 s after the signal, a second signal at
 * once. It is over, too, when every lane has ended. `tick` (may be NULL) is called every second on the calling thread.
 * lane_up is the crew's: 1 from the start of run to its end; a lane may lower it meanwhile. Returns the exit code of
 * the worst. */
enum ls_exit ls_crew_run(struct ls_crew *crew, void (*tick)(void *arg), void *arg);

enum { LS_EXIT_WATCHDOG = 75, LS_DRAIN_MS = 20000 };

/* ---- lanes.c: what `run`, `capture` and `sink` have in common ---- */

/* ls_main_lanes makes the topics (tried again with backoff while Kafka is not reachable), starts the HTTP server and
 * the status lines, lets each wing add its lanes, and runs the crew.
 *
 * names  of sources or destinations, for every wing; name_count 0: all */
enum ls_exit ls_main_lanes(struct ls_app *app, const struct ls_wing *const *wing, size_t count, char *const *names,
			   size_t name_count);
