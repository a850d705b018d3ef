/* destinations: where changes go, and how carefully. */
#include "config/near.h"
#include "config/reader.h"

#include <stddef.h>

struct common {
	const char *name, *type;
	int ledger, conflict, on_missing_table, on_missing_column, backup;
	int64_t ledger_retention_ms, batch_size, concurrency, rate_limit, patience_ms;
};

struct retry {
	int64_t max_attempts, initial_ms, max_ms;
};

struct breaker {
	int64_t failures, cooldown_ms;
};

enum { DEFAULT_BATCH = 5000 };

static const struct ls_option options[] = {
	{ "name", LS_OPT_STRING, NULL, offsetof(struct common, name),
	  "name of the destination, part of its topics' names", 0, 0, NULL, NULL },
	{ "type", LS_OPT_STRING, NULL, offsetof(struct common, type), "kind of system, see below", 0, 0, NULL, NULL },
	{ "ledger", LS_OPT_CHOICE, "full", offsetof(struct common, ledger),
	  "full: every event id is kept too; offsets: only how far each partition is", 0, 0, "full|offsets", NULL },
	{ "ledger_retention", LS_OPT_DURATION, "7d", offsetof(struct common, ledger_retention_ms),
	  "how long event ids are kept; a bare number is days", 3600000, 3650 * 86400000LL, NULL, "d" },
	{ "conflict", LS_OPT_CHOICE, "last_write_wins", offsetof(struct common, conflict),
	  "who wins where two sources changed one entity; only last_write_wins is in force yet", 0, 0,
	  "last_write_wins|source_wins|target_wins|manual", NULL },
	{ "on_missing_table", LS_OPT_CHOICE, "create", offsetof(struct common, on_missing_table),
	  "a table that is not there is created, or stops the start", 0, 0, "create|fail", NULL },
	{ "on_missing_column", LS_OPT_CHOICE, "create", offsetof(struct common, on_missing_column),
	  "a column that is not there is added, or its events wait until somebody adds it", 0, 0, "create|fail", NULL },
	{ "patience", LS_OPT_DURATION, "60s", offsetof(struct common, patience_ms),
	  "how long an event may wait for rows that its foreign keys or unique values need, before it is a dead letter",
	  100, 7 * 86400000, NULL, "s" },
	{ "batch_size", LS_OPT_INT, "", offsetof(struct common, batch_size),
	  "most rows written at once; unset: what suits the kind", 1, 100000, NULL, NULL },
	{ "concurrency", LS_OPT_INT, "1", offsetof(struct common, concurrency), "lanes that share its partitions", 1,
	  64, NULL, NULL },
	{ "rate_limit", LS_OPT_INT, "", offsetof(struct common, rate_limit),
	  "most requests per minute, for REST kinds; unset: no limit", 1, 1000000, NULL, NULL },
	{ "backup", LS_OPT_CHOICE, "none", offsetof(struct common, backup),
	  "keep a copy of the tables before the first run; not in force yet", 0, 0, "none|before_first_run", NULL },
};

static const struct ls_part parts[] = {
	{ "tables", "list", "where each entity is written; `objects` in systems that have objects", false },
	{ "objects", "list", "the same as `tables`", false },
	{ "retry", "map", "how a refused write is tried again", false },
	{ "breaker", "map", "when to leave a failing system in peace", false },
};

static const struct ls_option retry_options[] = {
	{ "max_attempts", LS_OPT_INT, "0", offsetof(struct retry, max_attempts),
	  "attempts before the lane starts anew; 0: no end; not in force yet", 0, 1000000, NULL, NULL },
	{ "initial_ms", LS_OPT_DURATION, "200ms", offsetof(struct retry, initial_ms), "the first wait, at most", 1,
	  3600000, NULL, "ms" },
	{ "max_ms", LS_OPT_DURATION, "30s", offsetof(struct retry, max_ms), "the longest wait, at most", 1, 86400000,
	  NULL, "ms" },
};

static const struct ls_option breaker_options[] = {
	{ "failures", LS_OPT_INT, "5", offsetof(struct breaker, failures), "failures in a row that open the breaker", 1,
	  1000000, NULL, NULL },
	{ "cooldown_s", LS_OPT_DURATION, "30s", offsetof(struct breaker, cooldown_ms), "time until it tries one again",
	  100, 86400000, NULL, "s" },
};

const struct ls_table ls_table_destination = {
	"destinations[]", "where changes go", options, LS_COUNT_OF(options), parts, LS_COUNT_OF(parts),
};
const struct ls_table ls_table_retry = {
	"destinations[].retry",
	"how a refused write is tried again",
	retry_options,
	LS_COUNT_OF(retry_options),
	NULL,
	0,
};
const struct ls_table ls_table_breaker = {
	"destinations[].breaker",
	"when to leave a failing system in peace",
	breaker_options,
	LS_COUNT_OF(breaker_options),
	NULL,
	0,
};

static const struct ls_destination_ops *find_kind(struct ls_reader *reader, const struct ls_node *node,
						  const char *path)
{
	struct ls_str known = LS_STR("");
	char hint[LS_NEAR_HINT];
	struct ls_near near;

	if (!node || node->kind != LS_NODE_SCALAR || node->null || node->broken)
		return NULL;
	ls_near_init(&near, node->text);
	for (size_t i = 0; reader->destinations[i]; i++) {
		const char *kind = reader->destinations[i]->kind;

		if (strcmp(kind, node->text) == 0)
			return reader->destinations[i];
		ls_near_offer(&near, kind);
		known = ls_arena_printf(reader->arena, "%s%s%s", known.ptr, i ? ", " : "", kind);
	}
	ls_mistake_add(reader, node, path, "there is no destination of type %s%s; there is: %s",
		       ls_node_show(reader, node), ls_near_hint(&near, hint), known.ptr);
	return NULL;
}

static void read_retry(struct ls_reader *reader, const struct ls_node *node, const char *path,
		       struct ls_destination_config *destination)
{
	const struct ls_node *retry_node = ls_node_member(node, "retry");
	struct retry retry = { 0 };
	struct breaker breaker = { 0 };
	struct ls_fill fill = { &ls_table_retry, &retry };

	ls_options_read(reader, retry_node, ls_path(reader, path, "retry"), &fill, 1);
	if (retry.initial_ms > retry.max_ms)
		ls_mistake_add(reader, retry_node, ls_path(reader, path, "retry"), "initial_ms is above max_ms");
	fill = (struct ls_fill){ &ls_table_breaker, &breaker };
	ls_options_read(reader, ls_node_member(node, "breaker"), ls_path(reader, path, "breaker"), &fill, 1);
	destination->retry_max_attempts = retry.max_attempts;
	destination->retry_initial_ms = retry.initial_ms;
	destination->retry_max_ms = retry.max_ms;
	destination->breaker_failures = breaker.failures;
	destination->breaker_cooldown_ms = breaker.cooldown_ms;
}

static void copy_common(const struct common *common, struct ls_destination_config *destination)
{
	int64_t kind_batch =
		destination->ops && destination->ops->batch_size ? destination->ops->batch_size : DEFAULT_BATCH;

	destination->name = common->name;
	destination->ledger_full = common->ledger == 0;
	destination->ledger_retention_ms = common->ledger_retention_ms;
	destination->patience_ms = common->patience_ms;
	destination->conflict = (unsigned)common->conflict; /* the choices stand in the enum's order */
	destination->create_tables = common->on_missing_table == 0;
	destination->add_columns = common->on_missing_column == 0;
	destination->batch_size = common->batch_size ? common->batch_size : kind_batch;
	destination->concurrency = common->concurrency;
	destination->rate_limit = common->rate_limit;
	destination->backup = common->backup == 1;
}

static void read_destination(struct ls_reader *reader, const struct ls_node *node, const char *path,
			     const struct ls_config *config, struct ls_destination_config *destination)
{
	const struct ls_destination_ops *ops =
		find_kind(reader, ls_node_member(node, "type"), ls_path(reader, path, "type"));
	struct common common = { 0 };
	struct ls_table own = { "", "", ops ? ops->options : NULL, ops ? ops->option_count : 0, NULL, 0 };
	struct ls_fill fill[2] = { { &ls_table_destination, &common }, { &own, NULL } };

	destination->ops = ops;
	if (ops)
		fill[1].target = destination->options = ls_arena_zalloc(reader->arena, ops->options_size + 1);
	/* Without the kind its options are not known, and every one of them would look like a mistake. */
	if (!ops && ls_node_member(node, "type"))
		return;
	ls_options_read(reader, node, path, fill, LS_COUNT_OF(fill));
	if (node->kind != LS_NODE_MAP)
		return;
	copy_common(&common, destination);
	if (common.name)
		ls_name_check(reader, ls_node_member(node, "name"), ls_path(reader, path, "name"), common.name);
	read_retry(reader, node, path, destination);
	ls_read_mappings(reader, node, path, false, config, &destination->mapping, &destination->mapping_count);
}

void ls_read_destinations(struct ls_reader *reader, const struct ls_node *node, struct ls_config *config)
{
	struct ls_destination_config *destination;

	if (!node || !ls_node_is(reader, node, LS_NODE_LIST, "destinations"))
		return;
	destination = ls_arena_zalloc(reader->arena, (node->count + 1) * sizeof *destination);
	for (size_t i = 0; i < node->count; i++) {
		const struct ls_node *item = node->member[i].value, *name = ls_node_member(item, "name");
		const char *number = ls_arena_printf(reader->arena, "destinations[%zu]", i).ptr;
		const char *path = name && name->text[0] ? ls_path(reader, "destinations", name->text) : number;

		read_destination(reader, item, path, config, &destination[i]);
		if (destination[i].name && ls_config_destination(config, destination[i].name))
			ls_mistake_add(reader, name, "destinations", "there are two destinations named %s",
				       ls_node_show(reader, name));
		config->destination = destination;
		config->destination_count = i + 1;
	}
}
