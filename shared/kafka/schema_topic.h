/* Writer schemas in {prefix}.schemas: key 16 lower-case hex digits of the fingerprint bytes as they stand in the
 * message, value the schema JSON, header "subject". */
#pragma once

#include "avro/schemas.h"
#include "kafka/client.h"

/* compatibility: FULL refuses a schema that the last one of its subject and it cannot both be read as. Either way one
 * that has the fingerprint of another and means something else is refused: its events would be misread. */
enum ls_class ls_schema_topic_open(const struct ls_kafka_conf *conf, const char *topic,
				   enum ls_compatibility compatibility, struct ls_schema_store **ret,
				   struct ls_error *err);
enum ls_class ls_schema_topic_unlike(struct ls_schema_store *store, struct ls_str subject, struct ls_str json,
				     char **ret_json, struct ls_error *err); /* see ls_schemas_unlike */
