/* entities: what is kept the same, and by which fields it is known. */
#include "config/reader.h"

enum { MAX_KEY_FIELDS = 32 };

static const struct ls_option options[] = {
	{ "name", LS_OPT_STRING, NULL, 0, "name of the entity, part of its topic's name", 0, 0, NULL, NULL },
};

static const struct ls_part parts[] = {
	{ "key", "list of fields", "the fields that identify it: [id]", true },
};

const struct ls_table ls_table_entity = {
	"entities[]", "what is kept the same everywhere", options, LS_COUNT_OF(options), parts, LS_COUNT_OF(parts),
};

static void read_key(struct ls_reader *reader, const struct ls_node *node, const char *path,
		     struct ls_entity_config *entity)
{
	struct ls_str *key;

	if (!node || !ls_node_is(reader, node, LS_NODE_LIST, path))
		return;
	if (node->count == 0 || node->count > MAX_KEY_FIELDS) {
		ls_mistake_add(reader, node, path, "an entity needs 1 to %d key fields", MAX_KEY_FIELDS);
		return;
	}
	key = ls_arena_zalloc(reader->arena, node->count * sizeof *key);
	for (size_t i = 0; i < node->count; i++) {
		const struct ls_node *field = node->member[i].value;

		if (!ls_node_is(reader, field, LS_NODE_SCALAR, path) || field->broken)
			return;
		if (field->null || !field->text[0]) {
			ls_mistake_add(reader, field, path, "a key field has no name");
			return;
		}
		key[i] = ls_str_of(field->text);
		for (size_t k = 0; k < i; k++)
			if (ls_str_equal(key[k], key[i]))
				ls_mistake_add(reader, field, path, "\"%.60s\" is listed twice", field->text);
	}
	entity->key = key;
	entity->key_count = node->count;
}

/* {prefix}.NAME is the entity's topic: it must not be one of lockstep's own. */
static void check_reserved(struct ls_reader *reader, const struct ls_node *node, const char *path, const char *name)
{
	static const char *const own[] = { "conflicts", "schemas", "control", "positions" };
	const char *priority = strrchr(name, '.');
	bool reserved = strncmp(name, "dlq.", 4) == 0 || strstr(name, ".versions.") != NULL ||
			(priority && strcmp(priority, ".priority") == 0);

	for (size_t i = 0; i < LS_COUNT_OF(own); i++)
		reserved = reserved || strcmp(name, own[i]) == 0;
	if (reserved)
		ls_mistake_add(reader, node, path, "%s would take the name of one of lockstep's own topics",
			       ls_node_show(reader, node));
}

static void read_entity(struct ls_reader *reader, const struct ls_node *node, const char *path,
			struct ls_entity_config *entity)
{
	struct ls_fill fill = { &ls_table_entity, &entity->name };
	const struct ls_node *name;

	ls_options_read(reader, node, path, &fill, 1);
	name = ls_node_member(node, "name");
	if (entity->name && ls_name_check(reader, name, ls_path(reader, path, "name"), entity->name))
		check_reserved(reader, name, ls_path(reader, path, "name"), entity->name);
	read_key(reader, ls_node_member(node, "key"), ls_path(reader, path, "key"), entity);
}

void ls_read_entities(struct ls_reader *reader, const struct ls_node *node, struct ls_config *config)
{
	struct ls_entity_config *entity;

	if (!node || !ls_node_is(reader, node, LS_NODE_LIST, "entities"))
		return;
	if (node->count == 0)
		ls_mistake_add(reader, node, "entities", "the list is empty");
	entity = ls_arena_zalloc(reader->arena, (node->count + 1) * sizeof *entity);
	for (size_t i = 0; i < node->count; i++) {
		const struct ls_node *item = node->member[i].value;
		const char *number = ls_arena_printf(reader->arena, "entities[%zu]", i).ptr;
		const struct ls_node *name = ls_node_member(item, "name");
		const char *path = name && name->text[0] ? ls_path(reader, "entities", name->text) : number;

		read_entity(reader, item, path, &entity[i]);
		if (entity[i].name && ls_config_entity(config, entity[i].name))
			ls_mistake_add(reader, name, "entities", "there are two entities named %s",
				       ls_node_show(reader, name));
		config->entity = entity;
		config->entity_count = i + 1;
	}
}
