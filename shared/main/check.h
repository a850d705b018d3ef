/* The safety report as one step: `check` prints it, `run` refuses by it. */
#pragma once

#include "lockstep/command.h"

#include <stdbool.h>

struct ls_report;

/* ls_check_all fills a new report from both wings, Kafka and the configuration; the caller's to free. */
struct ls_report *ls_check_all(struct ls_app *app);

/* ls_check_print writes it to stdout, as JSON or as text, in colour on a terminal. */
void ls_check_print(const struct ls_report *report, bool json);

/* ls_check_note writes what is not OK to stderr, for commands whose work is something else. */
void ls_check_note(const struct ls_report *report);
