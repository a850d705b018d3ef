/* What is shared by the lanes of a process: schema stores opened once, and errors turned into exit codes. */
#include "main/app.h"

#include "http/registry.h"
#include "kafka/schema_topic.h"
#include "kafka/topics.h"

#include <string.h>

static enum ls_class open_schemas(struct ls_app *app, struct ls_error *err)
{
	enum ls_compatibility compatibility = app->config->schema_compatibility;
	struct ls_schema_store *topics = NULL, *registry = NULL;
	char name[LS_TOPIC_NAME];
	enum ls_class class;

	ls_topic_named(name, app->config->prefix, "schemas");
	if (compatibility == LS_COMPATIBILITY_NONE)
		LS_LOG(app->log, LS_LOG_WARN, NULL,
		       "a schema that old events cannot be read as is published, too: set it back to full once capture "
		       "goes on",
		       LS_F("schema_compatibility", "none"));
	class = ls_schema_topic_open(&app->config->kafka, name, compatibility, &topics, err);
	if (class)
		return class;
	if (app->config->registry_url) {
		class = ls_registry_open(app->config->registry_url, compatibility, &registry, err);
		if (class) {
			topics->close(topics);
			return class;
		}
	}
	app->schemas = ls_schemas_new(topics, registry, app->config->prefix);
	ls_schemas_ask_with(app->schemas, registry ? ls_registry_unlike : ls_schema_topic_unlike);
	return LS_OK;
}

enum ls_class ls_app_schemas(struct ls_app *app, struct ls_schemas **ret, struct ls_error *err)
{
	enum ls_class class = LS_OK;

	pthread_mutex_lock(&app->lock);
	if (!app->schemas)
		class = open_schemas(app, err);
	if (class == LS_OK)
		*ret = app->schemas;
	pthread_mutex_unlock(&app->lock);
	return class;
}

enum ls_exit ls_exit_of(enum ls_class class)
{
	switch (class) {
	case LS_OK:
		return LS_EXIT_DONE;
	case LS_RETRY:
		return LS_EXIT_UNREACHABLE;
	case LS_AUTH:
		return LS_EXIT_AUTH;
	case LS_FENCED:
		return LS_EXIT_FENCED;
	case LS_POISON:
	case LS_FATAL:
		return LS_EXIT_FAILED;
	}
	return LS_EXIT_FAILED;
}

enum ls_exit ls_app_fail(struct ls_app *app, const struct ls_error *err)
{
	ls_log_error(app->log, LS_LOG_ERROR, NULL, err, "stopped");
	return strcmp(err->code, "config") == 0 ? LS_EXIT_CONFIG : ls_exit_of(err->class);
}
