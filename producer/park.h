/* What becomes of events whose schema is a change, by the source's policy schema_change. */
#pragma once

#include "config/config.h"
#include "core/buf.h"
#include "lockstep/error.h"
#include "lockstep/event.h"

struct ls_park;

bool ls_park_is(const struct ls_error *err); /* the encoder refused the event for its schema: code schema_change */
/* ls_park_say turns the encoder's refusal into what the policy says: LS_FATAL, or LS_POISON to be kept aside. */
enum ls_class ls_park_say(const struct ls_source_config *config, const struct ls_mapping *mapping,
			  const struct ls_event *event, struct ls_error *err);
/* ls_park_encode writes the whole message, with a schema under a subject of its own. Opens *park when NULL. */
enum ls_class ls_park_encode(struct ls_park **park, const struct ls_config *config, const struct ls_event *event,
			     struct ls_buf *out, struct ls_error *err);
struct ls_park *ls_park_close(struct ls_park *park); /* NULL ok */
