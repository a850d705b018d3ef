/* sources: where changes come from. */
#include "config/near.h"
#include "config/reader.h"

#include <stddef.h>

struct common {
	const char *name, *type;
	int64_t polling_interval_ms;
	int initial; /* 0: snapshot */
	int schema_change;
};

static const struct ls_option options[] = {
	{ "name", LS_OPT_STRING, NULL, offsetof(struct common, name),
	  "name of the source, part of every event it makes", 0, 0, NULL, NULL },
	{ "type", LS_OPT_STRING, NULL, offsetof(struct common, type), "kind of system, see below", 0, 0, NULL, NULL },
	{ "polling_interval", LS_OPT_DURATION, "5m", offsetof(struct common, polling_interval_ms),
	  "time between two polls, where the source is polled; a bare number is minutes", 1000, 30 * 86400000LL, NULL,
	  "m" },
	{ "initial", LS_OPT_CHOICE, "snapshot", offsetof(struct common, initial),
	  "what the first run begins with: the rows that are there, or none", 0, 0, "snapshot|none", NULL },
	{ "schema_change", LS_OPT_CHOICE, "follow", offsetof(struct common, schema_change),
	  "columns that came, went or changed their type: follow (within schema_compatibility), park that entity's "
	  "events as dead letters until you go on, or fail",
	  0, 0, "follow|park|fail", NULL },
};

static const struct ls_part parts[] = {
	{ "tables", "list", "where each entity is read; `objects` in systems that have objects", false },
	{ "objects", "list", "the same as `tables`", false },
	{ "mask", "map", "entity field: redact or hash, before it leaves the source", false },
	{ "filter", "map", "entity field: the only value that travels", false },
};

const struct ls_table ls_table_source = {
	"sources[]", "where changes come from", options, LS_COUNT_OF(options), parts, LS_COUNT_OF(parts),
};

static const struct ls_source_ops *find_kind(struct ls_reader *reader, const struct ls_node *node, const char *path)
{
	struct ls_str known = LS_STR("");
	char hint[LS_NEAR_HINT];
	struct ls_near near;

	if (!node || node->kind != LS_NODE_SCALAR || node->null || node->broken)
		return NULL;
	ls_near_init(&near, node->text);
	for (size_t i = 0; reader->sources[i]; i++) {
		const char *kind = reader->sources[i]->kind;

		if (strcmp(kind, node->text) == 0)
			return reader->sources[i];
		ls_near_offer(&near, kind);
		known = ls_arena_printf(reader->arena, "%s%s%s", known.ptr, i ? ", " : "", kind);
	}
	ls_mistake_add(reader, node, path, "there is no source of type %s%s; there is: %s", ls_node_show(reader, node),
		       ls_near_hint(&near, hint), known.ptr);
	return NULL;
}

static void read_source(struct ls_reader *reader, const struct ls_node *node, const char *path,
			const struct ls_config *config, struct ls_source_config *source)
{
	const struct ls_source_ops *ops =
		find_kind(reader, ls_node_member(node, "type"), ls_path(reader, path, "type"));
	struct common common = { 0 };
	struct ls_table own = { "", "", ops ? ops->options : NULL, ops ? ops->option_count : 0, NULL, 0 };
	struct ls_fill fill[2] = { { &ls_table_source, &common }, { &own, NULL } };

	source->ops = ops;
	if (ops)
		fill[1].target = source->options = ls_arena_zalloc(reader->arena, ops->options_size + 1);
	/* Without the kind its options are not known, and every one of them would look like a mistake. */
	if (!ops && ls_node_member(node, "type"))
		return;
	ls_options_read(reader, node, path, fill, LS_COUNT_OF(fill));
	if (node->kind != LS_NODE_MAP)
		return;
	source->name = common.name;
	source->polling_interval_ms = common.polling_interval_ms;
	source->snapshot = common.initial == 0;
	source->schema_change = common.schema_change;
	if (common.name)
		ls_name_check(reader, ls_node_member(node, "name"), ls_path(reader, path, "name"), common.name);
	ls_read_mappings(reader, node, path, true, config, &source->mapping, &source->mapping_count);
}

void ls_read_sources(struct ls_reader *reader, const struct ls_node *node, struct ls_config *config)
{
	struct ls_source_config *source;

	if (!node || !ls_node_is(reader, node, LS_NODE_LIST, "sources"))
		return;
	source = ls_arena_zalloc(reader->arena, (node->count + 1) * sizeof *source);
	for (size_t i = 0; i < node->count; i++) {
		const struct ls_node *item = node->member[i].value, *name = ls_node_member(item, "name");
		const char *number = ls_arena_printf(reader->arena, "sources[%zu]", i).ptr;
		const char *path = name && name->text[0] ? ls_path(reader, "sources", name->text) : number;

		read_source(reader, item, path, config, &source[i]);
		if (source[i].name && ls_config_source(config, source[i].name))
			ls_mistake_add(reader, name, "sources", "there are two sources named %s",
				       ls_node_show(reader, name));
		config->source = source;
		config->source_count = i + 1;
	}
}
