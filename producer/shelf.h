/* Schemas made up from rows, kept once each: whoever compares schemas by pointer sees the same one again. */
#pragma once

#include "lockstep/schema.h"

struct ls_shelf;

enum { LS_SHELF_MAX = 1000 }; /* different shapes; each becomes a published schema */

struct ls_shelf *ls_shelf_new(void);
struct ls_shelf *ls_shelf_free(struct ls_shelf *shelf); /* accepts NULL, returns NULL */

/* ls_shelf_schema returns the schema with this entity and these columns (names, kinds and keys; copied when new), the
 * shelf's; NULL when the shelf is full. */
const struct ls_schema *ls_shelf_schema(struct ls_shelf *shelf, struct ls_str entity, const struct ls_column *column,
					size_t count);
