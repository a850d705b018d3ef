/* The capture wing: a lane per source, and what `check` asks of each source. */
#include "check_fields.h"
#include "lane.h"
#include "transform.h"

#include "config/near.h"
#include "core/arena.h"
#include "kafka/topics.h"
#include "main/app.h"

#include <stdio.h>
#include <stdlib.h>

/* Every name must be a source; the nearest one is offered. */
enum ls_class ls_capture_known(const struct ls_config *config, char *const *names, size_t count, struct ls_error *err)
{
	for (size_t i = 0; i < count; i++) {
		char hint[LS_NEAR_HINT];
		struct ls_near near;

		if (ls_config_source(config, names[i]))
			continue;
		ls_near_init(&near, names[i]);
		for (size_t j = 0; j < config->source_count; j++)
			ls_near_offer(&near, config->source[j].name);
		return ls_fail(err, LS_FATAL, "source", "%s has no source \"%s\"%s", config->file, names[i],
			       ls_near_hint(&near, hint));
	}
	return LS_OK;
}

static bool wanted(const char *name, char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return count == 0;
}

/* The flag of `run` that leaves this source out, or NULL. */
static const char *left_out(const struct ls_app *app, const struct ls_source_config *source)
{
	switch (source->ops->family) {
	case LS_FAMILY_CDC:
		return app->no_cdc ? "--no-cdc" : NULL;
	case LS_FAMILY_EVENT:
		return app->no_event_driven ? "--no-event-driven" : NULL;
	case LS_FAMILY_POLLING:
		return app->no_polling ? "--no-polling" : NULL;
	}
	return NULL;
}

static enum ls_class start(struct ls_app *app, char *const *names, size_t count, struct ls_crew *crew,
			   struct ls_error *err)
{
	const struct ls_config *config = app->config;
	enum ls_class class = ls_capture_known(config, names, count, err);

	for (size_t i = 0; !class && i < config->source_count; i++) {
		struct ls_lane *lane;

		const char *flag = left_out(app, &config->source[i]);

		if (!wanted(config->source[i].name, names, count))
			continue;
		if (flag) {
			LS_LOG(app->log, LS_LOG_INFO, NULL, "source left out", LS_F("source", config->source[i].name),
			       LS_F("flag", flag));
			continue;
		}
		class = ls_capture_lane_new(app, &config->source[i], &lane, err);
		if (!class)
			ls_crew_add(crew, lane);
	}
	return class;
}

/* Where poison goes: a topic that is there, or that `run` will make. */
static void check_dead_letters(struct ls_app *app, const struct ls_source_config *source, struct ls_report *report)
{
	char topic[LS_TOPIC_NAME], subject[160];
	struct ls_topic_info info = { .partitions = 0 };
	struct ls_admin *admin = NULL;
	struct ls_error err;

	snprintf(subject, sizeof(subject), "source %s", source->name);
	ls_topic_dlq(topic, app->config->prefix, source->name);
	if (app->kafka_away || ls_admin_open(&app->config->kafka, &admin, &err))
		return; /* the Kafka checks say so */
	if (!ls_admin_topic(admin, topic, &info, &err)) {
		if (info.partitions)
			ls_report_add(report, LS_CHECK_ERROR_REPORTING, LS_LEVEL_OK, subject, NULL,
				      "what cannot become an event goes to topic %s", topic);
		else
			ls_report_add(report, LS_CHECK_ERROR_REPORTING, LS_LEVEL_WARNING, subject,
				      "`lockstep topics create` makes it now, the first `run` otherwise",
				      "its dead letter topic %s does not exist yet", topic);
	}
	ls_admin_close(admin);
}

static void check_mappings(const struct ls_source_config *source, struct ls_report *report)
{
	char subject[160];
	struct ls_error err;

	snprintf(subject, sizeof(subject), "source %s", source->name);
	for (size_t i = 0; i < source->mapping_count; i++)
		if (ls_transform_check(&source->mapping[i], &err))
			ls_report_add(report, LS_CHECK_DATA_INTEGRITY, LS_LEVEL_FAILED, subject,
				      "correct the mask of this source", "%s", err.text);
}

/* A table that cannot be asked about is the kind's own finding; one whose key is missing is told here. */
static void check_fields(const struct ls_source_config *source, const struct ls_source_context *context,
			 struct ls_report *report)
{
	const struct ls_schema **schema = calloc(source->mapping_count + 1, sizeof(const struct ls_schema *));
	struct ls_arena *arena = ls_arena_new(0);
	char subject[160];

	if (!schema)
		abort();
	snprintf(subject, sizeof(subject), "source %s", source->name);
	for (size_t i = 0; source->ops->describe && i < source->mapping_count; i++) {
		struct ls_error err;
		enum ls_class class =
			source->ops->describe(source->options, context, &source->mapping[i], arena, &schema[i], &err);

		if (class == LS_RETRY || class == LS_AUTH)
			break;
		if (class && strcmp(err.code, "42P01") != 0)
			ls_report_add(report, LS_CHECK_DATA_INTEGRITY, LS_LEVEL_FAILED, subject,
				      "correct the entity's key or the fields of this table", "%s", err.text);
	}
	ls_check_fields(source->mapping, schema, source->mapping_count, subject, report);
	ls_arena_free(arena);
	free(schema);
}

static void check(struct ls_app *app, struct ls_report *report)
{
	const struct ls_config *config = app->config;

	for (size_t i = 0; i < config->source_count; i++) {
		const struct ls_source_config *source = &config->source[i];
		struct ls_source_context context;
		char lane[96];

		snprintf(lane, sizeof(lane), "capture/%s", source->name);
		ls_capture_context(config, source, ls_stats_lane(app->stats, lane), &context);
		check_mappings(source, report);
		check_fields(source, &context, report);
		check_dead_letters(app, source, report);
		if (source->ops->check)
			source->ops->check(source->options, &context, report);
	}
	ls_check_writers(config, report);
}

const struct ls_wing ls_wing_capture = { .name = "capture", .start = start, .check = check };
