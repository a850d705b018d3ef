/* What shared/main knows of the wings: their commands and their lanes. Bodies arrive at link time. */
#pragma once

#include "lockstep/error.h"

#include <stdbool.h>
#include <stddef.h>

struct ls_report;
struct ls_lane_stats;
struct ls_app; /* shared/main/app.h: configuration, logger, metrics, stop flag, output */

enum ls_exit {
	LS_EXIT_DONE = 0,
	LS_EXIT_FAILED = 1,
	LS_EXIT_USAGE = 2,
	LS_EXIT_CONFIG = 3,
	LS_EXIT_AUTH = 4,
	LS_EXIT_UNREACHABLE = 5,
	LS_EXIT_FENCED = 6,
	LS_EXIT_UNSAFE = 7,
};

/* One subcommand. run gets argv with argv[0] = the command's name; it parses its own flags with getopt_long.
 * The configuration is loaded before run unless no_config. */
struct ls_command {
	const char *name;
	const char *arguments; /* "[SOURCE...]" */
	const char *summary;   /* one line */
	const char *help;      /* the rest of `lockstep help NAME`: flags, one per line */
	bool no_config;
	enum ls_exit (*run)(struct ls_app *app, int argc, char **argv);
};

/* One thread of work. The wing allocates it, the supervisor runs, restarts and frees it. */
struct ls_lane {
	char name[96];               /* "capture/crm", "sink/warehouse/0" */
	struct ls_lane_stats *stats; /* metrics/stats.h; the registry's */
	/* run works until *stop, then drains and returns LS_OK. LS_RETRY and LS_FENCED: started again after a backoff.
	 * LS_AUTH: stays down, others go on. LS_FATAL: the process stops. */
	enum ls_class (*run)(struct ls_lane *lane, struct ls_error *err);
	void (*free)(struct ls_lane *lane);
	struct ls_app *app;
};

struct ls_crew; /* shared/main/crew.h: the lanes of this process */

/* A wing: what it adds to `run`. `names` limits to these sources or destinations; count 0: all. */
struct ls_wing {
	const char *name; /* "capture", "sink" */
	enum ls_class (*start)(struct ls_app *app, char *const *names, size_t count, struct ls_crew *crew,
			       struct ls_error *err);
	void (*check)(struct ls_app *app, struct ls_report *report);
};
extern const struct ls_wing ls_wing_capture, ls_wing_sink;
