/* Spans of time as people write them: 500ms, 5s, 10m, 2h, 7d. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { LS_DURATION_TEXT = 32 };

/* ls_duration_parse reads a whole number and its unit. unit: of a bare number, "ms" "s" "m" "h" or "d".
 * Returns false when it is no duration or too long for 64 bits. */
bool ls_duration_parse(const char *text, const char *unit, int64_t *ret_ms);

/* ls_duration_format writes the shortest exact form, "90s" or "2m", and returns out. */
const char *ls_duration_format(int64_t ms, char out[LS_DURATION_TEXT]);
