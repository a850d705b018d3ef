/* Near misses: which of the known words did the person mean? */
#pragma once

#include <stddef.h>

enum { LS_NEAR_WORD = 64, LS_NEAR_HINT = LS_NEAR_WORD + 24 };

/* Offer every known word, then ask for the hint. */
struct ls_near {
	const char *word; /* as written */
	const char *best; /* the nearest known word so far; NULL: none is near */
	size_t distance;  /* of best; at first one more than what counts as near */
};

void ls_near_init(struct ls_near *near, const char *word);
void ls_near_offer(struct ls_near *near, const char *known); /* known outlives near */

/* ls_near_hint writes ` (did you mean "tables"?)`, or nothing when no word is near, and returns out. */
const char *ls_near_hint(const struct ls_near *near, char out[LS_NEAR_HINT]);
