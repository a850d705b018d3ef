/* What `check` can say of the configuration alone: where errors go, what is limited, what has no effect yet. */
#include "main/check_kafka.h"

#include "kafka/topics.h"
#include "main/app.h"

#include <stdio.h>

static void check_destination(const struct ls_destination_config *destination, const struct ls_config *config,
			      struct ls_report *report)
{
	char subject[128], topic[LS_TOPIC_NAME];

	snprintf(subject, sizeof subject, "destination %s", destination->name);
	ls_report_add(report, LS_CHECK_RATE_LIMITING, LS_LEVEL_OK, subject, NULL,
		      "%lld rows at once on %lld lanes; after %lld failures it is left in peace for %lld s",
		      (long long)destination->batch_size, (long long)destination->concurrency,
		      (long long)destination->breaker_failures, (long long)(destination->breaker_cooldown_ms / 1000));
	ls_report_add(report, LS_CHECK_ERROR_REPORTING, LS_LEVEL_OK, subject, NULL,
		      "what cannot be applied goes to %s with its reason",
		      ls_topic_dlq(topic, config->prefix, destination->name));
}

/* not_yet reports a setting that is read and has no effect: what decides about data fails, the rest warns. */
static void not_yet(struct ls_report *report, const char *destination, const char *setting, bool decides)
{
	char subject[128];

	snprintf(subject, sizeof subject, "destination %s", destination);
	ls_report_add(report, decides ? LS_CHECK_CONFLICT_RESOLUTION : LS_CHECK_RATE_LIMITING,
		      decides ? LS_LEVEL_FAILED : LS_LEVEL_WARNING, subject, "take it out of the configuration",
		      "%s has no effect in this version", setting);
}

static void check_inert(const struct ls_destination_config *destination, struct ls_report *report)
{
	if (destination->conflict != LS_LAST_WRITE_WINS)
		not_yet(report, destination->name, "a conflict strategy other than last_write_wins", true);
	if (destination->rate_limit)
		not_yet(report, destination->name, "rate_limit", false);
	if (destination->retry_max_attempts)
		not_yet(report, destination->name, "retry.max_attempts", false);
	if (destination->backup)
		not_yet(report, destination->name, "backup", false);
}

static const struct ls_mapping *mapping_of(const struct ls_source_config *source, const char *entity)
{
	for (size_t i = 0; source && i < source->mapping_count; i++)
		if (strcmp(source->mapping[i].entity, entity) == 0)
			return &source->mapping[i];
	return NULL;
}

/* A guard keeps an edit because its own event will come and win. Where none comes, it would be kept for good. */
static void check_guard(const struct ls_config *config, const struct ls_destination_config *destination,
			const struct ls_mapping *mapping, struct ls_report *report)
{
	const struct ls_source_config *source = ls_config_source(config, destination->name);
	const struct ls_mapping *captured = mapping_of(source, mapping->entity);
	char subject[128];

	snprintf(subject, sizeof subject, "destination %s", destination->name);
	if (!captured)
		ls_report_add(report, LS_CHECK_CONFLICT_RESOLUTION, LS_LEVEL_FAILED, subject,
			      "add a source of the same name for this entity, or take the guard out",
			      "guard: %s of entity \"%s\" keeps local edits, and nothing captures them", mapping->guard,
			      mapping->entity);
	else if (captured->filter_count)
		ls_report_add(report, LS_CHECK_CONFLICT_RESOLUTION, LS_LEVEL_FAILED, subject,
			      "take the guard or the filter out",
			      "guard: %s of entity \"%s\" keeps edits that the source's filter does not let travel",
			      mapping->guard, mapping->entity);
	else if (!source->snapshot)
		ls_report_add(report, LS_CHECK_CONFLICT_RESOLUTION, LS_LEVEL_WARNING, subject,
			      "set initial: snapshot, or touch the rows once capture runs",
			      "guard: %s of entity \"%s\" also keeps rows edited before the first capture, which "
			      "initial: none lets nobody else see",
			      mapping->guard, mapping->entity);
}

void ls_check_config(struct ls_app *app, struct ls_report *report)
{
	const struct ls_config *config = app->config;

	for (size_t i = 0; i < config->destination_count; i++)
		check_destination(&config->destination[i], config, report);
	for (size_t i = 0; i < config->destination_count; i++)
		check_inert(&config->destination[i], report);
	for (size_t i = 0; i < config->destination_count; i++)
		for (size_t k = 0; k < config->destination[i].mapping_count; k++)
			if (config->destination[i].mapping[k].guard)
				check_guard(config, &config->destination[i], &config->destination[i].mapping[k],
					    report);
	if (config->http_listen)
		ls_report_add(report, LS_CHECK_ERROR_REPORTING, LS_LEVEL_OK, "metrics", NULL,
			      "served at http://%s/metrics", config->http_listen);
	else
		ls_report_add(report, LS_CHECK_ERROR_REPORTING, LS_LEVEL_WARNING, "metrics",
			      "set http: {listen: \"127.0.0.1:8088\"}",
			      "http.listen is not set: errors are seen in the log and nowhere else");
}
