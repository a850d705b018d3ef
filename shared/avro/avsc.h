/* How the neutral schema maps to Avro: what the encoder and the schema printer must agree on. */
#pragma once

#include "lockstep/schema.h"

struct ls_arena;

/* ls_avro_field_names returns one Avro name per column, unique; the column's own where it is an Avro name. */
struct ls_str *ls_avro_field_names(const struct ls_schema *schema, struct ls_arena *arena);
bool ls_avro_decimal_ok(const struct ls_type *type); /* precision and scale that Avro's decimal can carry here */
/* ls_avro_kind: `kind` as it is written; a decimal that does not fit goes as LS_NUMERIC. */
enum ls_kind ls_avro_kind(const struct ls_type *type, enum ls_kind kind);
