/* What `check` finds out about Kafka and about the configuration itself. */
#pragma once

struct ls_app;
struct ls_report;

void ls_check_kafka(struct ls_app *app, struct ls_report *report);
void ls_check_config(struct ls_app *app, struct ls_report *report);
