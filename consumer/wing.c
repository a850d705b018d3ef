/* The sink wing as shared/main sees it: lanes to run, findings for `check`. */
#include "check_topics.h"
#include "lane.h"
#include "main/app.h"

#include <stdio.h>

struct ls_destination_context ls_sink_context(const struct ls_config *config,
					      const struct ls_destination_config *destination, const char *owner,
					      struct ls_lane_stats *stats)
{
	return (struct ls_destination_context){
		.name = destination->name,
		.mapping = destination->mapping,
		.mapping_count = destination->mapping_count,
		.ledger_schema = config->ledger_schema,
		.owner = owner,
		.ledger_full = destination->ledger_full,
		.is_source = destination->two_way,
		.create_tables = destination->create_tables,
		.add_columns = destination->add_columns,
		.ledger_retention_ms = destination->ledger_retention_ms,
		.stats = stats,
	};
}

static bool wanted(const char *name, char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return count == 0;
}

static enum ls_class check_names(const struct ls_config *config, char *const *names, size_t count, struct ls_error *err)
{
	for (size_t i = 0; i < count; i++)
		if (!ls_config_destination(config, names[i]))
			return ls_fail(err, LS_FATAL, "config", "there is no destination \"%s\" in %s", names[i],
				       config->file);
	return LS_OK;
}

static enum ls_class start(struct ls_app *app, char *const *names, size_t count, struct ls_crew *crew,
			   struct ls_error *err)
{
	const struct ls_config *config = app->config;
	enum ls_class class = check_names(config, names, count, err);

	if (class)
		return class;
	for (size_t i = 0; i < config->destination_count; i++) {
		const struct ls_destination_config *destination = &config->destination[i];

		if (!wanted(destination->name, names, count))
			continue;
		for (int lane = 0; lane < destination->concurrency; lane++)
			ls_crew_add(crew, &ls_sink_lane_new(app, destination, lane)->base);
	}
	return LS_OK;
}

static void check(struct ls_app *app, struct ls_report *report)
{
	const struct ls_config *config = app->config;

	for (size_t i = 0; i < config->destination_count; i++) {
		const struct ls_destination_config *destination = &config->destination[i];
		struct ls_lane_stats stats = { 0 }; /* of this check alone: no lane of the process */
		struct ls_destination_context context = ls_sink_context(config, destination, "check", &stats);

		destination->ops->check(destination->options, &context, report);
	}
	if (config->destination_count)
		ls_check_topics(app, report);
}

const struct ls_wing ls_wing_sink = { .name = "sink", .start = start, .check = check };
