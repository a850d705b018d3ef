/* Events of a schema that was not there before, where the source's policy is not to follow: refused with the way to go
 * on, or kept aside as dead letters that hold the whole message, ready to be sent. */
#include "park.h"

#include "avro/codec.h"
#include "kafka/schema_topic.h"
#include "kafka/topics.h"
#include "main/app.h"
#include "own_subject.h"

#include <stdio.h>
#include <stdlib.h>

struct ls_park {
	struct ls_schemas *schemas;
	struct ls_encoder *encoder;
};

bool ls_park_is(const struct ls_error *err)
{
	return strcmp(err->code, "schema_change") == 0;
}

enum ls_class ls_park_say(const struct ls_source_config *config, const struct ls_mapping *mapping,
			  const struct ls_event *event, struct ls_error *err)
{
	char what[200];

	snprintf(what, sizeof what, "%.*s", (int)sizeof what - 1, err->text);
	if (config->schema_change == LS_SCHEMA_FAIL)
		return ls_fail(
			err, LS_FATAL, "schema_change",
			"source \"%s\", %s changed: %s, from event %.*s on; nothing is lost, the log waits: start "
			"once with schema_change: follow, or with park",
			config->name, mapping->place, what, LS_ARG(event->event_id));
	return ls_fail(err, LS_POISON, "schema_change",
		       "%s changed: %s; kept aside: start with schema_change: follow, then `lockstep dlq retry --code "
		       "schema_change`",
		       mapping->place, what);
}

/* Single-object encoding also where a registry is configured: it is not to know this schema yet. */
static enum ls_class open_park(const struct ls_config *config, struct ls_park **ret, struct ls_error *err)
{
	struct ls_schema_store *inner = NULL;
	char topic[LS_TOPIC_NAME];
	enum ls_class class = ls_schema_topic_open(&config->kafka, ls_topic_named(topic, config->prefix, "schemas"),
						   LS_COMPATIBILITY_NONE, &inner, err);

	if (class)
		return class;
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		abort();
	(*ret)->schemas = ls_schemas_new(ls_own_subject(inner, "parked"), NULL, config->prefix);
	(*ret)->encoder = ls_encoder_new((*ret)->schemas);
	return LS_OK;
}

enum ls_class ls_park_encode(struct ls_park **park, const struct ls_config *config, const struct ls_event *event,
			     struct ls_buf *out, struct ls_error *err)
{
	enum ls_class class = *park ? LS_OK : open_park(config, park, err);

	ls_buf_clear(out);
	return class ? class : ls_encode((*park)->encoder, event, out, err);
}

struct ls_park *ls_park_close(struct ls_park *park)
{
	if (!park)
		return NULL;
	ls_encoder_free(park->encoder);
	ls_schemas_free(park->schemas);
	free(park);
	return NULL;
}
