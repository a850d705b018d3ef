/* Findings of `lockstep check`: each OK, WARNING or FAILED, with what was measured and the fix. */
#pragma once

#include "lockstep/error.h"

#include <stddef.h>

enum ls_level { LS_LEVEL_OK, LS_LEVEL_WARNING, LS_LEVEL_FAILED };

/* ls_report collects findings; the ten checks of the safety report are filled from them. See shared/main/report.c. */
struct ls_report;

/* The ten checks of the safety report, then the rooms beside them. */
enum ls_check {
	LS_CHECK_BIGQUERY,
	LS_CHECK_TWENTY,
	LS_CHECK_SUPABASE,
	LS_CHECK_ERROR_REPORTING,
	LS_CHECK_LEDGER,
	LS_CHECK_DATA_INTEGRITY,
	LS_CHECK_RATE_LIMITING,
	LS_CHECK_CONFLICT_RESOLUTION,
	LS_CHECK_ERROR_HANDLING,
	LS_CHECK_IDEMPOTENCY,
	LS_CHECK_POSTGRES,
	LS_CHECK_KAFKA,
	LS_CHECK_COUNT,
};

/* ls_report_add notes one finding.
 *
 * subject   what it is about: "source crm", "topic lockstep.contact"
 * fix       what to do; NULL or "" when LS_LEVEL_OK
 * fmt       what was measured, one sentence
 * Texts are copied. Never put a secret in. */
void ls_report_add(struct ls_report *report, enum ls_check check, enum ls_level level, const char *subject,
		   const char *fix, const char *fmt, ...) LS_PRINTF(6, 7);
