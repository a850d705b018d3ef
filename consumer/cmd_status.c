/* lockstep status [ENTITY ID] [--json] */
#include "lockstep/command.h"
#include "main/app.h"
#include "status.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static long long number_of(const json_t *object, const char *name)
{
	return (long long)json_integer_value(json_object_get(object, name));
}

static void print_partitions(const json_t *destination)
{
	size_t i;
	json_t *part;

	printf("  %-44s %5s %12s %12s %10s %9s\n", "topic", "part", "next", "end", "lag", "lag s");
	json_array_foreach(json_object_get(destination, "partitions"), i, part)
	{
		if (!number_of(part, "end_offset"))
			continue;
		printf("  %-44s %5lld %12lld %12lld %10lld %9.1f\n", text_of(part, "topic"),
		       number_of(part, "partition"), number_of(part, "next_offset"), number_of(part, "end_offset"),
		       number_of(part, "lag_events"), json_real_value(json_object_get(part, "lag_seconds")));
	}
}

static void print_destination(const json_t *destination)
{
	const char *error = text_of(destination, "error"), *reason = text_of(destination, "last_dead_reason");

	printf("destination %s (%s)\n", text_of(destination, "name"), text_of(destination, "type"));
	if (*error) {
		printf("  not known: %s\n", error);
		return;
	}
	print_partitions(destination);
	printf("  lag %lld events, dead letters %lld%s%s\n", number_of(destination, "lag_events"),
	       number_of(destination, "dead"), *reason ? ", the last: " : "", reason);
}

static void print_lanes(const json_t *live)
{
	size_t i;
	json_t *lane;

	if (!live) {
		printf("\nno process answers at http.listen: rates and last errors are not known\n");
		return;
	}
	printf("\n%-28s %4s %12s %12s %10s %10s %8s %8s  %s\n", "lane", "up", "events", "applied", "stale", "duplicate",
	       "dead", "retries", "last error");
	json_array_foreach(json_object_get(live, "lanes"), i, lane)
	{
		long long done = number_of(lane, "applied") + number_of(lane, "published");

		printf("%-28s %4s %12lld %12lld %10lld %10lld %8lld %8lld  %s\n", text_of(lane, "lane"),
		       number_of(lane, "up") ? "yes" : "no", number_of(lane, "events"), done, number_of(lane, "stale"),
		       number_of(lane, "duplicate"), number_of(lane, "dead"), number_of(lane, "retries"),
		       text_of(lane, "last_error"));
	}
}

static void print_json(json_t *root)
{
	json_dumpf(root, stdout, JSON_INDENT(2));
	putchar('\n');
}

static enum ls_exit show_all(struct ls_app *app, bool json)
{
	json_t *destinations = NULL, *live, *root;
	struct ls_error err;
	size_t i;
	json_t *destination;

	if (ls_status_destinations(app, &destinations, &err))
		return ls_app_fail(app, &err);
	live = ls_status_lanes(app);
	root = json_pack("{s:o, s:o}", "destinations", destinations, "live", live ? live : json_null());
	if (json) {
		print_json(root);
	} else {
		json_array_foreach(destinations, i, destination) print_destination(destination);
		print_lanes(live);
	}
	json_decref(root);
	return LS_EXIT_DONE;
}

static void print_entity(const json_t *root)
{
	static const char *const side[] = { "sources", "destinations" };
	const json_t *cdc = json_object_get(root, "cdc");

	printf("%s %s\n", text_of(root, "entity_type"), text_of(root, "entity_id"));
	for (size_t s = 0; s < 2; s++) {
		const char *name;
		json_t *system;

		json_object_foreach(json_object_get(cdc, side[s]), name, system)
		{
			char *row = json_dumps(json_object_get(system, "row"), JSON_COMPACT | JSON_ENCODE_ANY);

			printf("  %-12s %-16s %s", s ? "destination" : "source", name,
			       *text_of(system, "error")                        ? text_of(system, "error")
			       : json_is_true(json_object_get(system, "found")) ? row
										: "not there");
			if (json_object_get(system, "version"))
				printf("\n%32sversion %lld of %s, %s, event %s%s", "", number_of(system, "version"),
				       text_of(system, "source"), text_of(system, "timestamp"),
				       text_of(system, "event_id"),
				       json_is_true(json_object_get(system, "deleted")) ? ", deleted" : "");
			printf("\n");
			free(row);
		}
	}
}

static enum ls_exit show_entity(struct ls_app *app, const char *entity, const char *id, bool json)
{
	json_t *root = NULL;
	struct ls_error err;

	if (ls_status_entity(app, entity, id, &root, &err))
		return ls_app_fail(app, &err);
	if (json)
		print_json(root);
	else
		print_entity(root);
	json_decref(root);
	return LS_EXIT_DONE;
}

static enum ls_exit run(struct ls_app *app, int argc, char **argv)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
	bool json = app->json, usage = false;
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		json = json || c == 'j';
		usage = usage || c != 'j';
	}
	if (!usage && argc - optind == 0)
		return show_all(app, json);
	if (!usage && argc - optind == 2)
		return show_entity(app, argv[optind], argv[optind + 1], json);
	fprintf(stderr, "usage: lockstep status [ENTITY ID] [--json]\n");
	return LS_EXIT_USAGE;
}

const struct ls_command ls_command_status = {
	.name = "status",
	.arguments = "[ENTITY ID]",
	.summary = "how far each destination is; or where one entity stands in each system",
	.help = "  --json   for machines\n"
		"Lag is counted from the destination's own marks to the ends of the topics. Rates and last errors come "
		"from\n"
		"the running process when http.listen is configured.\n",
	.run = run,
};
