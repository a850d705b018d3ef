/* The safety report: findings collected by ls_report_add, the checks judged from them, and both ways to print it. */
#pragma once

#include "lockstep/report.h"

#include <stdbool.h>

struct ls_buf;

enum ls_verdict_of_check { LS_SAFE, LS_SAFE_WITH_WARNINGS, LS_UNSAFE };

struct ls_report *ls_report_new(void);
struct ls_report *ls_report_free(struct ls_report *report);

/* ls_report_level is the worst finding of a check. Without findings: WARNING for the ten, OK for those beside. */
enum ls_level ls_report_level(const struct ls_report *report, enum ls_check check);
enum ls_verdict_of_check ls_report_verdict(const struct ls_report *report);
const char *ls_report_verdict_name(enum ls_verdict_of_check verdict); /* "SAFE" ... */

/* Text for people, with colours when asked; one JSON object for programs. */
void ls_report_text(const struct ls_report *report, bool colour, struct ls_buf *out);
void ls_report_json(const struct ls_report *report, struct ls_buf *out);
