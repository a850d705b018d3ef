/* `lockstep topics create|list`: the topics that the configuration needs, and what there is. */
#include "main/app.h"

#include "kafka/topics.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_POLICY = 64 };

struct line {
	char name[LS_TOPIC_NAME];
	char policy[MAX_POLICY];
	int partitions; /* 0: missing */
	long long messages;
	const char *state; /* "ok", "missing", "differs" */
};

struct table {
	struct ls_admin *admin;
	struct line *line;
	size_t count;
	enum ls_class class;
	struct ls_error *err;
};

static struct ls_str setting_of(const struct ls_topic_spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->config_count; i++)
		if (ls_str_equal(spec->config[i].name, ls_str_of(name)))
			return spec->config[i].value;
	return LS_STR("");
}

/* cleanup.policy is a set: "compact,delete" and "delete,compact" are one. */
static bool same_policy(const char *have, struct ls_str want)
{
	bool compact = memmem(want.ptr, want.len, "compact", 7) != NULL;
	bool delete = memmem(want.ptr, want.len, "delete", 6) != NULL;

	return compact == (strstr(have, "compact") != NULL) && delete == (strstr(have, "delete") != NULL);
}

static enum ls_class count_messages(struct ls_admin *admin, struct line *line, struct ls_error *err)
{
	for (int32_t i = 0; i < line->partitions; i++) {
		int64_t low, high;
		enum ls_class class = ls_admin_watermarks(admin, line->name, i, &low, &high, err);

		if (class)
			return class;
		line->messages += high - low;
	}
	return LS_OK;
}

static enum ls_class describe(struct ls_admin *admin, const struct ls_topic_spec *spec, struct line *line,
			      struct ls_error *err)
{
	struct ls_str policy = setting_of(spec, "cleanup.policy");
	struct ls_topic_info info;
	enum ls_class class = ls_admin_topic(admin, spec->name, &info, err);

	if (class)
		return class;
	snprintf(line->name, sizeof(line->name), "%s", spec->name);
	line->partitions = info.partitions;
	if (info.partitions == 0) {
		snprintf(line->policy, sizeof(line->policy), "%.*s", LS_ARG(policy));
		line->state = "missing";
		return LS_OK;
	}
	class = ls_admin_config(admin, spec->name, "cleanup.policy", line->policy, sizeof(line->policy), err);
	if (class)
		return class;
	bool same = info.partitions == spec->partitions && same_policy(line->policy, policy);
	line->state = same ? "ok" : "differs";
	return count_messages(admin, line, err);
}

static void add_line(const struct ls_topic_spec *spec, void *arg)
{
	struct table *table = arg;

	if (table->class)
		return;
	table->line = reallocarray(table->line, table->count + 1, sizeof(*table->line));
	if (!table->line)
		abort();
	table->line[table->count] = (struct line){ .partitions = 0 };
	table->class = describe(table->admin, spec, &table->line[table->count], table->err);
	table->count++;
}

static enum ls_class read_table(struct ls_app *app, struct table *table, struct ls_error *err)
{
	enum ls_class class = ls_admin_open(&app->config->kafka, &table->admin, err);

	if (class)
		return class;
	table->err = err;
	ls_topics_each(app->config, add_line, table);
	ls_admin_close(table->admin);
	return table->class;
}

static int width_of(const struct table *table)
{
	int width = 5;

	for (size_t i = 0; i < table->count; i++)
		if ((int)strlen(table->line[i].name) > width)
			width = (int)strlen(table->line[i].name);
	return width;
}

static void print_text(const struct table *table)
{
	int width = width_of(table);

	printf("%-*s  PARTITIONS  %-14s  %12s  STATE\n", width, "TOPIC", "POLICY", "MESSAGES");
	for (size_t i = 0; i < table->count; i++) {
		const struct line *line = &table->line[i];

		printf("%-*s  %10d  %-14s  %12lld  %s\n", width, line->name, line->partitions, line->policy,
		       line->messages, line->state);
	}
}

/* Topic names and policies are of letters, digits, dots, commas, dashes and underscores: nothing to escape. */
static void print_json(const struct table *table)
{
	printf("[");
	for (size_t i = 0; i < table->count; i++) {
		const struct line *line = &table->line[i];

		printf("%s\n  {\"topic\": \"%s\", \"partitions\": %d, \"policy\": \"%s\", \"messages\": %lld, "
		       "\"state\": \"%s\"}",
		       i ? "," : "", line->name, line->partitions, line->policy, line->messages, line->state);
	}
	printf("\n]\n");
}

static enum ls_exit run_list(struct ls_app *app, bool json)
{
	struct table table = { .count = 0 };
	struct ls_error err;
	enum ls_class class = read_table(app, &table, &err);

	if (!class && json)
		print_json(&table);
	else if (!class)
		print_text(&table);
	free(table.line);
	return class ? ls_app_fail(app, &err) : LS_EXIT_DONE;
}

static size_t count_missing(const struct table *table)
{
	size_t missing = 0;

	for (size_t i = 0; i < table->count; i++)
		missing += table->line[i].partitions == 0;
	return missing;
}

static void print_missing(const struct table *table, const char *verb)
{
	for (size_t i = 0; i < table->count; i++)
		if (table->line[i].partitions == 0)
			printf("%s %s\n", verb, table->line[i].name);
}

static enum ls_exit run_create(struct ls_app *app, bool dry_run)
{
	struct table table = { .count = 0 };
	struct ls_error err;
	enum ls_class class = read_table(app, &table, &err);

	if (!class && !dry_run)
		class = ls_topics_ensure(app->config, &err);
	if (!class) {
		print_missing(&table, dry_run ? "would create" : "created");
		fprintf(stderr, "%zu of %zu topics were missing\n", count_missing(&table), table.count);
	}
	free(table.line);
	return class ? ls_app_fail(app, &err) : LS_EXIT_DONE;
}

static enum ls_exit usage(const char *problem, const char *what)
{
	fprintf(stderr, "lockstep topics: %s%s\nusage: lockstep topics create [--dry-run] | list [--json]\n", problem,
		what);
	return LS_EXIT_USAGE;
}

static enum ls_exit run(struct ls_app *app, int argc, char **argv)
{
	static const struct option options[] = {
		{ "dry-run", no_argument, NULL, 'n' },
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	bool dry_run = false, json = app->json;
	int flag;

	optind = 0;
	while ((flag = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (flag == '?')
			return usage("unknown option", "");
		dry_run |= flag == 'n';
		json |= flag == 'j';
	}
	if (argc - optind != 1)
		return usage("say create or list", "");
	if (strcmp(argv[optind], "create") == 0)
		return run_create(app, dry_run);
	if (strcmp(argv[optind], "list") == 0)
		return run_list(app, json);
	return usage("there is no subcommand ", argv[optind]);
}

extern const struct ls_command ls_command_topics;
const struct ls_command ls_command_topics = {
	.name = "topics",
	.arguments = "create|list",
	.summary = "make the topics that the configuration needs, or list them",
	.help = "  create [--dry-run]  make the missing ones with their policies; --dry-run: only say which\n"
		"  list [--json]       name, partitions, policy, messages, state (ok, missing, differs)\n",
	.run = run,
};
