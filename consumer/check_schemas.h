/* Writer schemas kept in memory: what `check` tries must leave nothing in {prefix}.schemas or in a registry. */
#pragma once

#include "avro/schemas.h"

struct ls_schema_store *ls_check_schemas_new(void);
