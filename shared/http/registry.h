/* A Confluent-compatible schema registry as a schema store. The URL may have a path prefix and user:password. */
#pragma once

#include "avro/schemas.h"

/* compatibility: FULL asks the registry before a schema is registered. With NONE its own rule for the subject, or the
 * one for all, still stands. */
enum ls_class ls_registry_open(const char *url, enum ls_compatibility compatibility, struct ls_schema_store **ret,
			       struct ls_error *err);
enum ls_class ls_registry_unlike(struct ls_schema_store *store, struct ls_str subject, struct ls_str json,
				 char **ret_json, struct ls_error *err); /* see ls_schemas_unlike */
