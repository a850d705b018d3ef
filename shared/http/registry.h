/* A Confluent-compatible schema registry as a schema store. The URL may have a path prefix and user:password. */
#pragma once

#include "avro/schemas.h"

enum ls_class ls_registry_open(const char *url, struct ls_schema_store **ret, struct ls_error *err);
