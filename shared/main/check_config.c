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
	for (size_t i = 0; i < destination->mapping_count; i++)
		if (destination->mapping[i].guard)
			not_yet(report, destination->name, "guard", true);
	if (destination->rate_limit)
		not_yet(report, destination->name, "rate_limit", false);
	if (destination->retry_max_attempts)
		not_yet(report, destination->name, "retry.max_attempts", false);
	if (destination->backup)
		not_yet(report, destination->name, "backup", false);
}

void ls_check_config(struct ls_app *app, struct ls_report *report)
{
	const struct ls_config *config = app->config;

	for (size_t i = 0; i < config->destination_count; i++)
		check_destination(&config->destination[i], config, report);
	for (size_t i = 0; i < config->destination_count; i++)
		check_inert(&config->destination[i], report);
	if (config->http_listen)
		ls_report_add(report, LS_CHECK_ERROR_REPORTING, LS_LEVEL_OK, "metrics", NULL,
			      "served at http://%s/metrics", config->http_listen);
	else
		ls_report_add(report, LS_CHECK_ERROR_REPORTING, LS_LEVEL_WARNING, "metrics",
			      "set http: {listen: \"127.0.0.1:8088\"}",
			      "http.listen is not set: errors are seen in the log and nowhere else");
}
