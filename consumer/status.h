/* What `lockstep status` knows, as JSON: gathered from the destinations' marks, the topics and the running process. */
#pragma once

#include "lockstep/error.h"
#include "lockstep/str.h"

#include <jansson.h>

struct ls_app;

/* ls_status_lanes asks the running process at http.listen for its lanes; NULL when none answers. */
json_t *ls_status_lanes(const struct ls_app *app);

/* ls_status_destinations: one object per destination, with one per partition: next_offset, end, lag in events, lag in
 * seconds; dead letters. The caller owns *ret. */
enum ls_class ls_status_destinations(const struct ls_app *app, json_t **ret, struct ls_error *err);

/* ls_status_entity: where one entity stands in each system: {entity_id, entity_type, cdc, polling}. */
enum ls_class ls_status_entity(struct ls_app *app, const char *entity, const char *id, json_t **ret,
			       struct ls_error *err);
