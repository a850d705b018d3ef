/* What every command and lane of a process shares. Made by main, freed by main; no globals. */
#pragma once

#include "config/config.h"
#include "core/log.h"
#include "core/time.h"
#include "metrics/stats.h"

#include "avro/schemas.h"
#include "lockstep/command.h"

struct ls_app {
	const struct ls_config *config; /* NULL for commands with no_config */
	struct ls_log *log;
	struct ls_stats *stats;
	struct ls_stop stop;
	struct ls_schemas *schemas;     /* opened on first use by ls_app_schemas */
	bool json;                      /* --json given before the command; commands have their own too */
};

/* ls_app_schemas opens the schema stores once (topic, and registry where configured) and returns them in *ret. */
enum ls_class ls_app_schemas(struct ls_app *app, struct ls_schemas **ret, struct ls_error *err);

/* ls_exit_of maps a class to the exit code: RETRY unreachable, AUTH authentication, FENCED fenced, else failed. */
enum ls_exit ls_exit_of(enum ls_class class);
/* ls_app_fail logs the error and returns its exit code. */
enum ls_exit ls_app_fail(struct ls_app *app, const struct ls_error *err);

/* ---- crew.h ---- the lanes of this process ---- */
struct ls_crew *ls_crew_new(struct ls_app *app);
struct ls_crew *ls_crew_free(struct ls_crew *crew);
void ls_crew_add(struct ls_crew *crew, struct ls_lane *lane); /* takes the lane */
size_t ls_crew_count(const struct ls_crew *crew);
/* ls_crew_run starts a thread per lane, restarts those that end with RETRY or FENCED after a backoff, waits for SIGTERM,
 * SIGINT or a fatal lane, then drains; a watchdog ends the process 20 s after the signal. `tick` (may be NULL) is called
 * every second on the main thread. Returns the exit code. */
enum ls_exit ls_crew_run(struct ls_crew *crew, void (*tick)(void *arg), void *arg);
