/* A schema store that gives every schema a subject of its own, so that it is never held against what the entity's topic
 * has, nor the next one against it. */
#pragma once

#include "avro/schemas.h"

/* what is part of the subjects: SUBJECT-what-FINGERPRINT. Takes `inner`. */
struct ls_schema_store *ls_own_subject(struct ls_schema_store *inner, const char *what);
