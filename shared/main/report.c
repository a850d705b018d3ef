/* The safety report. The worst finding of a check is its level, the worst check is the verdict. */
#include "main/report.h"

#include "core/buf.h"
#include "core/map.h"
#include "core/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct finding {
	enum ls_check check;
	enum ls_level level;
	char *subject, *measured, *fix;
	uint64_t kind; /* of the sentence: findings that say the same of many tables; 0: like no other */
	struct finding *next;
};

struct ls_report {
	struct finding *first, **end;
};

static const struct {
	const char *name, *nothing; /* what is said when there was nothing to find */
} checks[LS_CHECK_COUNT] = {
	[LS_CHECK_BIGQUERY] = { "BigQuery connection", "not configured" },
	[LS_CHECK_TWENTY] = { "Twenty connection", "not configured" },
	[LS_CHECK_SUPABASE] = { "Supabase connection", "not configured" },
	[LS_CHECK_ERROR_REPORTING] = { "error reporting", "not measured" },
	[LS_CHECK_LEDGER] = { "ledger (CDC) tables", "not measured" },
	[LS_CHECK_DATA_INTEGRITY] = { "data integrity", "not measured" },
	[LS_CHECK_RATE_LIMITING] = { "rate limiting", "not measured" },
	[LS_CHECK_CONFLICT_RESOLUTION] = { "conflict resolution", "not measured" },
	[LS_CHECK_ERROR_HANDLING] = { "error handling", "not measured" },
	[LS_CHECK_IDEMPOTENCY] = { "idempotency", "not measured" },
	[LS_CHECK_POSTGRES] = { "PostgreSQL", "not configured" },
	[LS_CHECK_KAFKA] = { "Kafka", "not measured" },
};

static const char *const level_names[] = { "OK", "WARNING", "FAILED" };

struct ls_report *ls_report_new(void)
{
	struct ls_report *report = calloc(1, sizeof *report);

	if (!report)
		abort();
	report->end = &report->first;
	return report;
}

struct ls_report *ls_report_free(struct ls_report *report)
{
	while (report && report->first) {
		struct finding *finding = report->first;

		report->first = finding->next;
		free(finding->subject);
		free(finding->measured);
		free(finding->fix);
		free(finding);
	}
	free(report);
	return NULL;
}

void ls_report_add(struct ls_report *report, enum ls_check check, enum ls_level level, const char *subject,
		   const char *fix, const char *fmt, ...)
{
	struct finding *finding = calloc(1, sizeof *finding);
	va_list args;

	if (!finding)
		abort();
	finding->check = check;
	finding->level = level;
	finding->kind = strcmp(fmt, "%s") == 0 ? 0 : ls_hash(ls_str_of(fmt));
	finding->subject = strdup(subject ? subject : "");
	finding->fix = strdup(fix ? fix : "");
	va_start(args, fmt);
	if (vasprintf(&finding->measured, fmt, args) < 0)
		finding->measured = NULL;
	va_end(args);
	if (!finding->subject || !finding->fix || !finding->measured)
		abort();
	*report->end = finding;
	report->end = &finding->next;
}

enum ls_level ls_report_level(const struct ls_report *report, enum ls_check check)
{
	enum ls_level worst = LS_LEVEL_OK;
	bool any = false;

	for (const struct finding *finding = report->first; finding; finding = finding->next) {
		if (finding->check != check)
			continue;
		any = true;
		worst = finding->level > worst ? finding->level : worst;
	}
	return any || check >= LS_CHECK_POSTGRES ? worst : LS_LEVEL_WARNING;
}

enum ls_verdict_of_check ls_report_verdict(const struct ls_report *report)
{
	enum ls_level worst = LS_LEVEL_OK;

	for (int check = 0; check < LS_CHECK_COUNT; check++) {
		enum ls_level level = ls_report_level(report, (enum ls_check)check);

		worst = level > worst ? level : worst;
	}
	return worst == LS_LEVEL_OK ? LS_SAFE : worst == LS_LEVEL_WARNING ? LS_SAFE_WITH_WARNINGS : LS_UNSAFE;
}

const char *ls_report_verdict_name(enum ls_verdict_of_check verdict)
{
	static const char *const names[] = { "SAFE", "SAFE_WITH_WARNINGS", "UNSAFE" };

	return names[verdict];
}

static const char *colour_of(enum ls_level level, bool colour)
{
	static const char *const codes[] = { "\033[32m", "\033[33m", "\033[31m" };

	return colour ? codes[level] : "";
}

static bool alike(const struct finding *a, const struct finding *b)
{
	return a == b || (a->kind && a->kind == b->kind && a->check == b->check && a->level == b->level &&
			  strcmp(a->subject, b->subject) == 0);
}

static void text_finding(const struct finding *finding, bool colour, struct ls_buf *out)
{
	ls_buf_printf(out, "  %s%-7s%s %s: %s\n", colour_of(finding->level, colour), level_names[finding->level],
		      colour ? "\033[0m" : "", finding->subject, finding->measured);
	if (finding->fix[0])
		ls_buf_printf(out, "          fix: %s\n", finding->fix);
}

/* A hundred tables that are all fine are two lines and a number; what is wrong is shown a little longer. JSON has
 * all. */
static void text_group(const struct ls_report *report, const struct finding *first, bool colour, struct ls_buf *out)
{
	size_t most = first->level == LS_LEVEL_OK ? 2 : 5, count = 0;

	for (const struct finding *finding = report->first; finding != first; finding = finding->next)
		if (alike(finding, first))
			return; /* shown with the first of its kind */
	for (const struct finding *finding = first; finding; finding = finding->next)
		if (alike(finding, first) && ++count <= most)
			text_finding(finding, colour, out);
	if (count > most)
		ls_buf_printf(out, "          and %zu more of the same; --json lists them\n", count - most);
}

static void text_check(const struct ls_report *report, enum ls_check check, bool colour, struct ls_buf *out)
{
	enum ls_level level = ls_report_level(report, check);
	bool any = false;

	ls_buf_printf(out, "%s%-8s%s %s\n", colour_of(level, colour), level_names[level], colour ? "\033[0m" : "",
		      checks[check].name);
	for (const struct finding *finding = report->first; finding; finding = finding->next) {
		if (finding->check != check)
			continue;
		any = true;
		text_group(report, finding, colour, out);
	}
	if (!any)
		ls_buf_printf(out, "  %s\n", checks[check].nothing);
}

void ls_report_text(const struct ls_report *report, bool colour, struct ls_buf *out)
{
	int count[3] = { 0 };

	for (int check = 0; check < LS_CHECK_COUNT; check++) {
		text_check(report, (enum ls_check)check, colour, out);
		count[ls_report_level(report, (enum ls_check)check)]++;
	}
	ls_buf_printf(out, "\n%s: %d OK, %d WARNING, %d FAILED\n", ls_report_verdict_name(ls_report_verdict(report)),
		      count[LS_LEVEL_OK], count[LS_LEVEL_WARNING], count[LS_LEVEL_FAILED]);
}

static void json_finding(struct ls_buf *out, enum ls_level level, const char *subject, const char *measured,
			 const char *fix)
{
	ls_buf_add_text(out, out->ptr[out->len - 1] == '[' ? "{" : ",{");
	ls_json_add_member(out, "level");
	ls_json_add_text(out, level_names[level]);
	ls_json_add_member(out, "subject");
	ls_json_add_text(out, subject);
	ls_json_add_member(out, "measured");
	ls_json_add_text(out, measured);
	ls_json_add_member(out, "fix");
	ls_json_add_text(out, fix);
	ls_buf_add_char(out, '}');
}

static void json_check(const struct ls_report *report, enum ls_check check, struct ls_buf *out)
{
	bool any = false;

	ls_buf_add_text(out, out->ptr[out->len - 1] == '[' ? "{" : ",{");
	ls_json_add_member(out, "name");
	ls_json_add_text(out, checks[check].name);
	ls_json_add_member(out, "level");
	ls_json_add_text(out, level_names[ls_report_level(report, check)]);
	ls_json_add_member(out, "findings");
	ls_buf_add_char(out, '[');
	for (const struct finding *finding = report->first; finding; finding = finding->next) {
		if (finding->check != check)
			continue;
		any = true;
		json_finding(out, finding->level, finding->subject, finding->measured, finding->fix);
	}
	if (!any)
		json_finding(out, ls_report_level(report, check), "", checks[check].nothing, "");
	ls_buf_add_text(out, "]}");
}

void ls_report_json(const struct ls_report *report, struct ls_buf *out)
{
	ls_buf_add_char(out, '{');
	ls_json_add_member(out, "verdict");
	ls_json_add_text(out, ls_report_verdict_name(ls_report_verdict(report)));
	ls_json_add_member(out, "checks");
	ls_buf_add_char(out, '[');
	for (int check = 0; check < LS_CHECK_COUNT; check++)
		json_check(report, (enum ls_check)check, out);
	ls_buf_add_text(out, "]}\n");
}
