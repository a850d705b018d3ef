/* lockstep status [ENTITY ID] [--json] */
#include "lockstep/command.h"
#include "main/app.h"
#include "status.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static void print_json(json_t *root)
{
	json_dumpf(root, stdout, JSON_INDENT(2));
	putchar('\n');
}

static enum ls_exit show_all(struct ls_app *app, bool json)
{
	json_t *kafka = ls_status_kafka(app), *live = ls_status_lanes(app), *root;

	root = json_pack("{s:o, s:o, s:o, s:o}", "kafka", kafka, "sources", ls_status_sources(app, live),
			 "destinations", ls_status_destinations(app, live), "live", live ? live : json_null());
	if (json)
		print_json(root);
	else
		ls_status_print(root, stdout);
	json_decref(root);
	return app->kafka_away ? LS_EXIT_UNREACHABLE : LS_EXIT_DONE;
}

static enum ls_exit show_entity(struct ls_app *app, const char *entity, const char *id, bool json)
{
	json_t *root = NULL;
	struct ls_error err;

	json_decref(ls_status_kafka(app));
	if (ls_status_entity(app, entity, id, &root, &err))
		return ls_app_fail(app, &err);
	if (json)
		print_json(root);
	else
		ls_status_print_entity(root, stdout);
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
	.arguments = "[ENTITY ID] [--json]",
	.summary = "how far each source and destination is; or where one entity stands in each system",
	.help = "  --json   for machines; what is not known is null\n"
		"\n"
		"Lag is counted from the destination's own marks to the ends of the topics, dead letters from their "
		"topic:\n"
		"both are known without a running process. What was applied and rejected, and the last errors, come "
		"from "
		"the\n"
		"process that answers at http.listen, since its start; without one they are unknown.\n"
		"With ENTITY ID: {entity_id, entity_type, cdc, polling}, the row in every system and the version it "
		"was\n"
		"decided by. A system that does not answer says so and hides no other; exit 5 when Kafka is the one.\n",
	.run = run,
};
