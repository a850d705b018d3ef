/* What a source's `filter` and `mask` do to its events before they travel. One per lane: it keeps a plan per schema.
 *
 * filter  field: value. Only rows whose field has this text travel; several fields must all match. An update that
 *         leaves the filter becomes a DELETE, so that destinations do not keep a stale row; one that enters it travels
 *         as it is. A delete travels unless its row is known not to have matched.
 * mask    redact: "***" for strings, NULL for every other type. hash: the lower-case hex SHA-256 of the text; the
 *         column is then a string. Before and after alike. A hashed key changes the entity id with it; a key cannot be
 *         redacted. */
#pragma once

#include "lockstep/error.h"
#include "lockstep/mapping.h"

struct ls_arena;
struct ls_transform;

/* mapping  of the source; kept by reference */
struct ls_transform *ls_transform_new(const struct ls_mapping *mapping, size_t count);
struct ls_transform *ls_transform_free(struct ls_transform *transform); /* accepts NULL, returns NULL */

/* ls_transform_check finds what no row is needed for: an unknown mask, a redacted key. LS_FATAL with the line. */
enum ls_class ls_transform_check(const struct ls_mapping *mapping, struct ls_error *err);

/* ls_transform_apply changes *event in place. *ret_keep false: it does not travel.
 *
 * mapping  the event's own, one of those given to ls_transform_new
 * arena    the batch's
 * LS_FATAL: a masked or filtered field that the only mapping of the source does not have. LS_POISON: no room, or no
 * entity id after hashing. */
enum ls_class ls_transform_apply(struct ls_transform *transform, const struct ls_mapping *mapping,
				 struct ls_event *event, struct ls_arena *arena, bool *ret_keep, struct ls_error *err);

/* ls_transform_version takes the version of a mapping with `version: column:NAME` from the event's row. LS_OK and
 * event->version untouched without such a mapping. LS_POISON: the column is missing or not an integer. */
enum ls_class ls_transform_version(const struct ls_mapping *mapping, struct ls_event *event, struct ls_error *err);
