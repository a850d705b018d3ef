/* lockstep run: check, then every lane in one process. */
#include "config/duration.h"
#include "main/app.h"
#include "main/check.h"
#include "main/report.h"

#include <getopt.h>
#include <stdio.h>

enum { NO_CDC = 256, NO_EVENT_DRIVEN, NO_POLLING, POLLING_INTERVAL, SKIP_CHECK };

static const struct option flags[] = {
	{ "no-cdc", no_argument, NULL, NO_CDC },
	{ "no-event-driven", no_argument, NULL, NO_EVENT_DRIVEN },
	{ "no-polling", no_argument, NULL, NO_POLLING },
	{ "polling-interval", required_argument, NULL, POLLING_INTERVAL },
	{ "skip-check", no_argument, NULL, SKIP_CHECK },
	{ NULL, 0, NULL, 0 },
};

/* The configuration is main's own, and no lane reads it yet. */
static bool set_interval(struct ls_app *app, const char *text)
{
	struct ls_source_config *source = (struct ls_source_config *)app->config->source;
	int64_t ms;

	if (!ls_duration_parse(text, "m", &ms) || ms < 1000) {
		fprintf(stderr, "lockstep: --polling-interval takes minutes, or a duration such as 30s\n");
		return false;
	}
	for (size_t i = 0; i < app->config->source_count; i++)
		source[i].polling_interval_ms = ms;
	return true;
}

static bool parse(struct ls_app *app, int argc, char **argv, bool *ret_skip)
{
	int flag;

	while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
		if (flag == '?' || (flag == POLLING_INTERVAL && !set_interval(app, optarg)))
			return false;
		app->no_cdc = app->no_cdc || flag == NO_CDC;
		app->no_event_driven = app->no_event_driven || flag == NO_EVENT_DRIVEN;
		app->no_polling = app->no_polling || flag == NO_POLLING;
		*ret_skip = *ret_skip || flag == SKIP_CHECK;
	}
	if (optind < argc)
		fprintf(stderr, "lockstep: run takes no names; `capture NAME` and `sink NAME` run a part\n");
	return optind == argc;
}

static bool is_safe(struct ls_app *app)
{
	struct ls_report *report = ls_check_all(app);
	enum ls_verdict_of_check verdict = ls_report_verdict(report);

	if (verdict == LS_UNSAFE) {
		ls_check_note(report);
		fprintf(stderr, "lockstep: run refuses what is UNSAFE: mend what is FAILED above (each has its fix), "
				"or start with "
				"--skip-check\n");
	} else {
		LS_LOG(app->log, LS_LOG_INFO, NULL, "checked", LS_F("verdict", ls_report_verdict_name(verdict)));
	}
	ls_report_free(report);
	return verdict != LS_UNSAFE;
}

static enum ls_exit run(struct ls_app *app, int argc, char **argv)
{
	static const struct ls_wing *const wings[] = { &ls_wing_capture, &ls_wing_sink };
	bool skip = false;

	if (!parse(app, argc, argv, &skip))
		return LS_EXIT_USAGE;
	if (!skip && !is_safe(app))
		return LS_EXIT_UNSAFE;
	return ls_main_lanes(app, wings, sizeof wings / sizeof wings[0], NULL, 0);
}

extern const struct ls_command ls_command_run;
const struct ls_command ls_command_run = {
	.name = "run",
	.arguments = "[flags]",
	.summary = "check, then keep everything in step until told to stop",
	.help = "  --no-cdc                    leave sources out that read a database's log\n"
		"  --no-event-driven           leave sources out that are told: webhooks\n"
		"  --no-polling                leave sources out that are asked from time to time\n"
		"  --polling-interval MINUTES  for every polled source; or a duration such as 30s\n"
		"  --skip-check                start even what `check` calls UNSAFE\n"
		"\nWhat `check` calls UNSAFE is refused with exit 7. Sinks run whichever sources are left out.\n"
		"SIGTERM and SIGINT stop it gracefully, within 20 s; a second one at once (exit 75).\n",
	.run = run,
};
