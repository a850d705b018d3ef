/* lockstep snapshot: has the next capture take a source's tables again. It only edits the saved position; rows are read
 * by the capture, so that they travel the one way that everything travels. */
#include "lane.h"
#include "positions.h"

#include "core/arena.h"
#include "main/app.h"
#include "core/json.h"

#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 20 };

struct asked {
	const char *source, *table; /* table NULL: every one */
	bool dry_run, json;
};

static bool parse_flags(int argc, char **argv, struct asked *ret)
{
	static const struct option longs[] = {
		{ "table", required_argument, NULL, 't' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == '?')
			return false;
		if (c == 't')
			ret->table = optarg;
		ret->dry_run = ret->dry_run || c == 'n';
		ret->json = ret->json || c == 'j';
	}
	if (argc - optind != 1)
		return false;
	ret->source = argv[optind];
	return true;
}

/* ---- what is said ---- */

static void print_json(const struct asked *asked, const struct ls_resnapshot *plan)
{
	struct ls_buf out;

	ls_buf_init(&out, TEXT_MAX);
	ls_buf_add_char(&out, '{');
	ls_json_add_member(&out, "source");
	ls_json_add_text(&out, asked->source);
	ls_json_add_member(&out, "dry_run");
	ls_buf_add_text(&out, asked->dry_run ? "true" : "false");
	ls_json_add_member(&out, "lost");
	ls_json_add_text(&out, plan->why.len ? plan->why.ptr : "");
	ls_json_add_member(&out, "tables");
	ls_buf_add_char(&out, '[');
	for (size_t i = 0; i < plan->table_count; i++) {
		ls_buf_add_text(&out, i ? ",{" : "{");
		ls_json_add_member(&out, "table");
		ls_json_add_text(&out, plan->table[i].name.ptr);
		ls_buf_printf(&out, ",\"estimated_rows\":%lld}", (long long)plan->table[i].rows);
	}
	ls_buf_add_text(&out, "]}");
	puts(out.ptr);
	ls_buf_release(&out);
}

static void print_table(const struct ls_resnapshot *plan)
{
	printf("%-48s %16s\n", "table to be read again", "rows (estimate)");
	for (size_t i = 0; i < plan->table_count; i++)
		printf("%-48s %16lld\n", plan->table[i].name.ptr, (long long)plan->table[i].rows);
}

static void print_plan(const struct asked *asked, const struct ls_resnapshot *plan)
{
	if (asked->json)
		print_json(asked, plan);
	else
		print_table(plan);
	if (plan->why.len)
		fprintf(stderr, "note: %.*s\n", LS_ARG(plan->why));
	if (asked->dry_run)
		fprintf(stderr, "nothing was changed; without --dry-run the next capture reads them\n");
	else
		fprintf(stderr,
			"next: `lockstep capture %s`, or `lockstep run`; it reads them first, then goes on with the "
			"log\n",
			asked->source);
}

/* ---- what is done ---- */

/* The floor of the version clock stays: what is read again must win against all that was published before. */
static enum ls_class save(const struct ls_config *config, const char *topic, const struct ls_resnapshot *plan,
			  const struct ls_position *from, struct ls_error *err)
{
	struct ls_position record = *from;
	char host[48] = "", writer[96];

	gethostname(host, sizeof(host) - 1);
	snprintf(writer, sizeof(writer), "%s-%ld snapshot", host, (long)getpid());
	record.position = plan->position;
	record.updated_us = ls_now_us();
	record.writer = ls_str_of(writer);
	record.epoch = from->epoch + 1;
	return ls_positions_save(&config->kafka, topic, &record, err);
}

static enum ls_class snapshot(struct ls_app *app, const struct asked *asked, struct ls_arena *arena,
			      struct ls_error *err)
{
	const struct ls_source_config *source = ls_config_source(app->config, asked->source);
	struct ls_source_context context;
	struct ls_resnapshot plan;
	struct ls_position record;
	char topic[LS_TOPIC_NAME];
	enum ls_class class;

	if (!source->ops->resnapshot)
		return ls_fail(err, LS_FATAL, "snapshot",
			       "source \"%s\" is of kind %s, whose tables cannot be read again", source->name,
			       source->ops->kind);
	ls_topic_named(topic, app->config->prefix, "positions");
	ls_capture_context(app->config, source, ls_stats_lane(app->stats, "snapshot"), &context);
	class = ls_positions_load(&app->config->kafka, topic, ls_str_of(source->name), arena, &record, err);
	if (!class)
		class = source->ops->resnapshot(source->options, &context, record.position, asked->table,
						asked->dry_run, arena, &plan, err);
	if (class)
		return class;
	record.source = ls_str_of(source->name);
	if (!asked->dry_run)
		class = save(app->config, topic, &plan, &record, err);
	if (!class)
		print_plan(asked, &plan);
	return class;
}

static enum ls_exit run(struct ls_app *app, int argc, char **argv)
{
	struct asked asked = { .json = app->json };
	struct ls_arena *arena;
	struct ls_error err;
	enum ls_class class;
	char *name[1];

	if (!parse_flags(argc, argv, &asked)) {
		fprintf(stderr, "usage: lockstep snapshot SOURCE [--table T] [--dry-run] [--json]\n");
		return LS_EXIT_USAGE;
	}
	name[0] = argv[optind];
	arena = ls_arena_new(0);
	class = ls_capture_known(app->config, name, 1, &err);
	if (!class)
		class = snapshot(app, &asked, arena, &err);
	ls_arena_free(arena);
	return class ? ls_app_fail(app, &err) : LS_EXIT_DONE;
}

extern const struct ls_command ls_command_snapshot;
const struct ls_command ls_command_snapshot = {
	.name = "snapshot",
	.arguments = "SOURCE [--table T]",
	.summary = "have the next capture read this source's tables again",
	.help = "  --table T   only this table, as it stands under `tables`\n"
		"  --dry-run   say what would be read, change nothing\n"
		"  --json      for machines\n"
		"For rows that are missing or different at a destination, and when a capture stops because its\n"
		"replication slot is gone, lost or ahead of what was published. The capture must be stopped; start it\n"
		"again afterwards. Rows read again are newer than all that was published before them. Rows that were\n"
		"deleted while nobody read the log stay at the destinations.\n",
	.run = run,
};
