/* tables: or objects: of a source or destination: where each entity lives in that system. */
#include "config/near.h"
#include "config/reader.h"

#include <stddef.h>

struct entry {
	const char *entity, *table, *object, *watermark, *version, *guard;
	bool change_history;
};

#define ENTITY                                                                                                         \
	{                                                                                                              \
		"entity", LS_OPT_STRING, NULL, offsetof(struct entry, entity), "an entity declared under entities", 0, \
			0, NULL, NULL                                                                                  \
	}
#define TABLE                                                                                                          \
	{                                                                                                              \
		"table", LS_OPT_STRING, "", offsetof(struct entry, table), "table, with its schema: public.contacts",  \
			0, 0, NULL, NULL                                                                               \
	}
#define OBJECT                                                                                                         \
	{                                                                                                              \
		"object", LS_OPT_STRING, "", offsetof(struct entry, object),                                           \
			"object, in systems that have objects: people", 0, 0, NULL, NULL                               \
	}

static const struct ls_option source_options[] = {
	ENTITY,
	TABLE,
	OBJECT,
	{ "watermark", LS_OPT_STRING, "", offsetof(struct entry, watermark),
	  "polling: the column that grows with every change", 0, 0, NULL, NULL },
	{ "version", LS_OPT_STRING, "", offsetof(struct entry, version),
	  "column:NAME takes the version from an integer column", 0, 0, NULL, NULL },
	{ "change_history", LS_OPT_BOOL, "false", offsetof(struct entry, change_history),
	  "read the system's own change history instead of polling", 0, 0, NULL, NULL },
};

static const struct ls_option destination_options[] = {
	ENTITY,
	TABLE,
	OBJECT,
	{ "guard", LS_OPT_STRING, "", offsetof(struct entry, guard),
	  "two-way: keeps newer local edits: commit_timestamp or column:NAME", 0, 0, NULL, NULL },
};

static const struct ls_part source_parts[] = {
	{ "fields", "map", "entity field: its place here; without it every field travels under its own name", false },
	{ "mask", "map", "entity field: redact or hash; instead of the source's own", false },
	{ "filter", "map", "entity field: the only value that travels; instead of the source's own", false },
};

static const struct ls_part destination_parts[] = {
	{ "fields", "map", "entity field: its place here; without it every field travels under its own name", false },
};

const struct ls_table ls_table_source_mapping = {
	"sources[].tables[]", "where an entity is read", source_options, LS_COUNT_OF(source_options),
	source_parts,         LS_COUNT_OF(source_parts),
};

const struct ls_table ls_table_destination_mapping = {
	"destinations[].tables[]", "where an entity is written",
	destination_options,       LS_COUNT_OF(destination_options),
	destination_parts,         LS_COUNT_OF(destination_parts),
};

/* What is being read: the entry, and the system around it. */
struct place {
	struct ls_reader *reader;
	const struct ls_config *config;
	const struct ls_node *system, *node;
	const char *path;
	bool source;
};

static void check_entity(const struct place *place, struct ls_mapping *mapping)
{
	const struct ls_entity_config *entity = ls_config_entity(place->config, mapping->entity);
	const struct ls_node *node = ls_node_member(place->node, "entity");
	char hint[LS_NEAR_HINT];
	struct ls_near near;

	if (entity) {
		mapping->key = entity->key;
		mapping->key_count = entity->key_count;
		return;
	}
	ls_near_init(&near, mapping->entity);
	for (size_t i = 0; i < place->config->entity_count; i++)
		if (place->config->entity[i].name)
			ls_near_offer(&near, place->config->entity[i].name);
	ls_mistake_add(place->reader, node, place->path, "entity %s is not declared under entities%s",
		       ls_node_show(place->reader, node), ls_near_hint(&near, hint));
}

static void set_place(const struct place *place, const struct entry *entry, struct ls_mapping *mapping)
{
	mapping->place = entry->table ? entry->table : entry->object;
	if (entry->table && entry->object)
		ls_mistake_add(place->reader, place->node, place->path,
			       "has both \"table\" and \"object\"; one is right");
	else if (!mapping->place)
		ls_mistake_add(place->reader, place->node, place->path,
			       "\"table\" is missing: where the entity is kept");
}

static void check_column(const struct place *place, const char *option, const char *value, const char *other)
{
	const struct ls_node *node = ls_node_member(place->node, option);

	if (!value || (strncmp(value, "column:", 7) == 0 && value[7]) || (other && strcmp(value, other) == 0))
		return;
	ls_mistake_add(place->reader, node, ls_path(place->reader, place->path, option),
		       "%s is not known: write %s%scolumn:NAME", ls_node_show(place->reader, node), other ? other : "",
		       other ? " or " : "");
}

static bool travels(const struct ls_mapping *mapping, struct ls_str field)
{
	for (size_t i = 0; i < mapping->field_count; i++)
		if (ls_str_equal(mapping->field[i].name, field))
			return true;
	return mapping->field_count == 0;
}

static bool is_key(const struct ls_mapping *mapping, struct ls_str field)
{
	for (size_t i = 0; i < mapping->key_count; i++)
		if (ls_str_equal(mapping->key[i], field))
			return true;
	return false;
}

static void read_fields(const struct place *place, struct ls_mapping *mapping)
{
	const struct ls_node *node = ls_node_member(place->node, "fields");
	const char *path = ls_path(place->reader, place->path, "fields");

	mapping->field = ls_read_pairs(place->reader, node, path, &mapping->field_count);
	for (size_t i = 0; node && i < mapping->key_count; i++)
		if (!travels(mapping, mapping->key[i]))
			ls_mistake_add(place->reader, node, path, "the key field \"%.60s\" is not among them",
				       mapping->key[i].ptr);
}

/* The entry's own map, else that of the whole source. */
static const struct ls_node *own_or_shared(const struct place *place, const char *name, const char **ret_path)
{
	const struct ls_node *own = ls_node_member(place->node, name);

	*ret_path = ls_path(place->reader, place->path, name);
	return own ? own : ls_node_member(place->system, name);
}

static void check_mask(const struct place *place, const struct ls_node *node, const char *path,
		       const struct ls_mapping *mapping)
{
	for (size_t i = 0; i < mapping->mask_count; i++) {
		struct ls_str how = mapping->mask[i].value;
		const struct ls_node *at = ls_node_member(node, mapping->mask[i].name.ptr);

		if (!ls_str_equal(how, LS_STR("redact")) && !ls_str_equal(how, LS_STR("hash")))
			ls_mistake_add(place->reader, at, path, "%s is not one of redact|hash",
				       ls_node_show(place->reader, at));
		if (is_key(mapping, mapping->mask[i].name))
			ls_mistake_add(place->reader, at, path, "\"%.60s\" is a key field and cannot be masked",
				       mapping->mask[i].name.ptr);
	}
}

static void read_mask_and_filter(const struct place *place, struct ls_mapping *mapping)
{
	const char *path;
	const struct ls_node *node = own_or_shared(place, "mask", &path);

	mapping->mask = ls_read_pairs(place->reader, node, path, &mapping->mask_count);
	check_mask(place, node, path, mapping);
	node = own_or_shared(place, "filter", &path);
	mapping->filter = ls_read_pairs(place->reader, node, path, &mapping->filter_count);
}

static void read_entry(const struct place *place, struct ls_mapping *mapping)
{
	struct entry entry = { 0 };
	struct ls_fill fill = { place->source ? &ls_table_source_mapping : &ls_table_destination_mapping, &entry };

	ls_options_read(place->reader, place->node, place->path, &fill, 1);
	if (place->node->kind != LS_NODE_MAP)
		return;
	*mapping = (struct ls_mapping){ .entity = entry.entity,
					.watermark = entry.watermark,
					.version = entry.version,
					.guard = entry.guard,
					.change_history = entry.change_history,
					.line = place->node->line };
	if (entry.entity)
		check_entity(place, mapping);
	set_place(place, &entry, mapping);
	check_column(place, "version", entry.version, NULL);
	check_column(place, "guard", entry.guard, "commit_timestamp");
	read_fields(place, mapping);
	if (place->source)
		read_mask_and_filter(place, mapping);
}

static bool same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

/* A table read twice would send each change twice; an entity written to two tables would share one version state. */
static void check_repeated(const struct place *place, const struct ls_mapping *mapping, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		if (same(mapping[i].place, mapping[index].place))
			ls_mistake_add(place->reader, place->node, place->path,
				       "\"%.80s\" is listed twice, first in line %d", mapping[i].place,
				       mapping[i].line);
		else if (!place->source && same(mapping[i].entity, mapping[index].entity))
			ls_mistake_add(place->reader, place->node, place->path,
				       "entity \"%.80s\" has two places in one destination, first in line %d",
				       mapping[i].entity, mapping[i].line);
	}
}

static const struct ls_node *find_list(struct ls_reader *reader, const struct ls_node *system, const char *path,
				       const char **ret_name)
{
	const struct ls_node *tables = ls_node_member(system, "tables"), *objects = ls_node_member(system, "objects");

	*ret_name = objects && !tables ? "objects" : "tables";
	if (tables && objects)
		ls_mistake_add(reader, system, path, "has both \"tables\" and \"objects\"; one is right");
	else if (!tables && !objects)
		ls_mistake_add(reader, system, path, "\"tables\" is missing: where each entity lives in this system");
	return tables ? tables : objects;
}

void ls_read_mappings(struct ls_reader *reader, const struct ls_node *system, const char *path, bool source,
		      const struct ls_config *config, const struct ls_mapping **ret, size_t *ret_count)
{
	const char *name;
	const struct ls_node *list = find_list(reader, system, path, &name);
	struct ls_mapping *mapping;

	if (!list || !ls_node_is(reader, list, LS_NODE_LIST, ls_path(reader, path, name)))
		return;
	if (list->count == 0)
		ls_mistake_add(reader, list, ls_path(reader, path, name), "the list is empty");
	mapping = ls_arena_zalloc(reader->arena, (list->count + 1) * sizeof *mapping);
	for (size_t i = 0; i < list->count; i++) {
		struct place place = { reader, config, system, list->member[i].value, NULL, source };

		place.path = ls_arena_printf(reader->arena, "%s.%s[%zu]", path, name, i).ptr;
		read_entry(&place, &mapping[i]);
		check_repeated(&place, mapping, i);
	}
	*ret = mapping;
	*ret_count = list->count;
}
