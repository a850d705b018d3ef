/* lockstep check: may this configuration run? */
#include "main/check.h"

#include "core/buf.h"
#include "main/app.h"
#include "main/check_kafka.h"
#include "main/report.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct ls_report *ls_check_all(struct ls_app *app)
{
	struct ls_report *report = ls_report_new();
	struct ls_stats *lanes = app->stats;

	/* What a check counts is nobody's lane: it must not stay behind in the metrics. */
	app->stats = ls_stats_new();
	ls_check_kafka(app, report);
	ls_check_config(app, report);
	ls_wing_capture.check(app, report);
	ls_wing_sink.check(app, report);
	ls_stats_free(app->stats);
	app->stats = lanes;
	return report;
}

static void print(const struct ls_report *report, bool json, FILE *stream)
{
	bool colour = isatty(fileno(stream)) && !getenv("NO_COLOR");
	struct ls_buf out;

	ls_buf_init(&out, 16 << 20);
	if (json)
		ls_report_json(report, &out);
	else
		ls_report_text(report, colour, &out);
	fwrite(out.ptr, 1, out.len, stream);
	ls_buf_release(&out);
}

void ls_check_print(const struct ls_report *report, bool json)
{
	print(report, json, stdout);
}

void ls_check_note(const struct ls_report *report)
{
	print(report, false, stderr);
}

static enum ls_exit check(struct ls_app *app, int argc, char **argv)
{
	static const struct option flags[] = { { "json", no_argument, NULL, 'j' },
					       { "strict", no_argument, NULL, 's' },
					       { NULL, 0, NULL, 0 } };
	bool json = app->json, strict = false;
	struct ls_report *report;
	enum ls_verdict_of_check verdict;
	int flag;

	while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
		if (flag == '?')
			return LS_EXIT_USAGE;
		json = json || flag == 'j';
		strict = strict || flag == 's';
	}
	report = ls_check_all(app);
	ls_check_print(report, json);
	verdict = ls_report_verdict(report);
	ls_report_free(report);
	return verdict == LS_UNSAFE || (strict && verdict != LS_SAFE) ? LS_EXIT_UNSAFE : LS_EXIT_DONE;
}

extern const struct ls_command ls_command_check;
const struct ls_command ls_command_check = {
	.name = "check",
	.arguments = "[--json] [--strict]",
	.summary = "is it safe to run? each check measured, with the fix",
	.help = "  --json    as JSON: {\"verdict\", \"checks\": [{\"name\", \"level\", \"findings\"}]}\n"
		"  --strict  exit 7 on warnings, too\n"
		"\nConflict resolution, error handling and idempotency are tried on scratch tables and scratch topics\n"
		"({prefix}.check-...), which are removed again. Nothing else is written.\n"
		"SAFE and SAFE_WITH_WARNINGS exit with 0, UNSAFE with 7.\n",
	.run = check,
};
