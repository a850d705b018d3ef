/* One column's canonical text into an avro-c value. */
#pragma once

#include "lockstep/error.h"
#include "lockstep/schema.h"

#include <avro.h>

struct ls_arena;

/* ls_avro_set sets `value`, a nullable union of avsc.c, from text. Strings and bytes are lent, not copied: text and
 * scratch live until the value was written. LS_POISON: does not fit; the text says which column. */
enum ls_class ls_avro_set(avro_value_t *value, const struct ls_column *column, struct ls_str text,
			  struct ls_arena *scratch, struct ls_error *err);
/* ls_avro_lend_string gives text to a string value without a copy. */
int ls_avro_lend_string(avro_value_t *value, struct ls_str text);
