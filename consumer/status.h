/* What `lockstep status` knows, as JSON: gathered from the destinations' marks, the topics and the running process.
 * Nothing that does not answer hides the rest: it has "error" instead, and what is not known is null. */
#pragma once

#include "config/config.h"
#include "lockstep/error.h"
#include "lockstep/str.h"

#include <jansson.h>
#include <stdio.h>

struct ls_app;

/* ls_status_lanes asks the running process at http.listen for its lanes; NULL when none answers. */
json_t *ls_status_lanes(const struct ls_app *app);

/* ls_status_kafka asks once whether Kafka answers, and remembers it in app->kafka_away. {"error": null or text} */
json_t *ls_status_kafka(struct ls_app *app);

/* ls_status_destinations: one object per destination, with one per partition: next_offset, end, lag in events, lag in
 * seconds; dead letters; what the running process counted, null without one.
 *
 * live  of ls_status_lanes; may be NULL */
json_t *ls_status_destinations(const struct ls_app *app, const json_t *live);

/* ls_status_sources: one object per source: the saved position and its age, how far the snapshot is. */
json_t *ls_status_sources(const struct ls_app *app, const json_t *live);

/* ls_status_entity: where one entity stands in each system: {entity_id, entity_type, cdc, polling}. LS_FATAL: there is
 * no such entity. The caller owns *ret. */
enum ls_class ls_status_entity(struct ls_app *app, const char *entity, const char *id, json_t **ret,
			       struct ls_error *err);

/* ls_status_context is how a destination is only looked at: it may make and change nothing. */
struct ls_destination_context ls_status_context(const struct ls_app *app,
						const struct ls_destination_config *destination);

/* ---- status_lanes.c: what a running process counted; pure ---- */

/* ls_status_total sums a counter over the lanes named `side`/`name` or `side`/`name`/N. JSON null when there is no
 * process or no such lane. */
json_t *ls_status_total(const json_t *live, const char *side, const char *name, const char *counter);
/* ls_status_last_error is the newest error of those lanes: {"text", "at"}; null: none, or not known. */
json_t *ls_status_last_error(const json_t *live, const char *side, const char *name);

/* ---- status_print.c: for people ---- */

void ls_status_print(const json_t *root, FILE *out);
void ls_status_print_entity(const json_t *root, FILE *out);
