/* YAML by libyaml's document API, turned into a tree of our own with a position on every node. Aliases are followed,
 * but depth and the number of nodes are bounded, so that a small file cannot become a large tree. */
#include "config/reader.h"

#include <yaml.h>

struct walk {
	struct ls_reader *reader;
	yaml_document_t *document;
};

static const struct ls_node *convert(const struct walk *walk, int index, const char *path, int depth);

static struct ls_node *node_new(struct ls_reader *reader, enum ls_node_kind kind, const yaml_mark_t *mark)
{
	struct ls_node *node = ls_arena_zalloc(reader->arena, sizeof *node);

	node->kind = kind;
	node->line = (int)mark->line + 1;
	node->column = (int)mark->column + 1;
	node->text = "";
	return node;
}

static bool is_null(const yaml_node_t *from)
{
	const char *text = (const char *)from->data.scalar.value;

	return from->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (from->data.scalar.length == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static struct ls_node *scalar(const struct walk *walk, const yaml_node_t *from, const char *path, bool expand)
{
	struct ls_node *node = node_new(walk->reader, LS_NODE_SCALAR, &from->start_mark);
	struct ls_str text = { (const char *)from->data.scalar.value, from->data.scalar.length };
	const char *expanded;

	if (memchr(text.ptr, 0, text.len)) {
		ls_mistake_add(walk->reader, node, path, "the value has a NUL character inside");
		node->broken = true;
		return node;
	}
	node->text = ls_arena_str(walk->reader->arena, text).ptr;
	node->null = is_null(from);
	if (!expand)
		return node;
	expanded = ls_interpolate(walk->reader, node, path, node->text, &node->interpolated);
	node->broken = !expanded;
	node->text = expanded ? expanded : "";
	return node;
}

/* The name that an item of a list has, for paths: sources.crm is better than sources[0]. */
static const char *item_name(const struct walk *walk, int index)
{
	const yaml_node_t *item = yaml_document_get_node(walk->document, index);

	if (!item || item->type != YAML_MAPPING_NODE)
		return NULL;
	for (yaml_node_pair_t *pair = item->data.mapping.pairs.start; pair < item->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(walk->document, pair->key);
		const yaml_node_t *value = yaml_document_get_node(walk->document, pair->value);

		if (key && value && key->type == YAML_SCALAR_NODE && value->type == YAML_SCALAR_NODE &&
		    strcmp((const char *)key->data.scalar.value, "name") == 0 && value->data.scalar.length &&
		    value->data.scalar.length <= LS_CONFIG_MAX_NAME)
			return (const char *)value->data.scalar.value;
	}
	return NULL;
}

static struct ls_node *list(const struct walk *walk, const yaml_node_t *from, const char *path, int depth)
{
	struct ls_node *node = node_new(walk->reader, LS_NODE_LIST, &from->start_mark);
	size_t count = (size_t)(from->data.sequence.items.top - from->data.sequence.items.start);

	node->member = ls_arena_zalloc(walk->reader->arena, (count + 1) * sizeof *node->member);
	for (size_t i = 0; i < count; i++) {
		int index = from->data.sequence.items.start[i];
		const char *name = item_name(walk, index);
		const char *item = name ? ls_path(walk->reader, path, name)
					: ls_arena_printf(walk->reader->arena, "%s[%zu]", path, i).ptr;

		node->member[i].value = convert(walk, index, item, depth + 1);
		if (!node->member[i].value)
			return NULL;
		node->count++;
	}
	return node;
}

static bool is_repeated(struct ls_reader *reader, const struct ls_node *map, const struct ls_node *key,
			const char *path)
{
	for (size_t i = 0; i < map->count; i++)
		if (strcmp(map->member[i].key->text, key->text) == 0) {
			ls_mistake_add(reader, key, path, "\"%.60s\" is written twice, first in line %d", key->text,
				       map->member[i].key->line);
			return true;
		}
	return false;
}

static struct ls_node *map(const struct walk *walk, const yaml_node_t *from, const char *path, int depth)
{
	struct ls_node *node = node_new(walk->reader, LS_NODE_MAP, &from->start_mark);
	size_t count = (size_t)(from->data.mapping.pairs.top - from->data.mapping.pairs.start);

	node->member = ls_arena_zalloc(walk->reader->arena, (count + 1) * sizeof *node->member);
	for (size_t i = 0; i < count; i++) {
		const yaml_node_pair_t *pair = &from->data.mapping.pairs.start[i];
		const yaml_node_t *key_from = yaml_document_get_node(walk->document, pair->key);
		const struct ls_node *key, *value;

		if (!key_from || key_from->type != YAML_SCALAR_NODE) {
			ls_mistake_add(walk->reader, node, path, "a name is expected before each \":\"");
			return NULL;
		}
		key = scalar(walk, key_from, path, false);
		if (key_from->data.scalar.length > LS_CONFIG_MAX_KEY) {
			ls_mistake_add(walk->reader, key, path, "a name of more than %d characters", LS_CONFIG_MAX_KEY);
			return NULL;
		}
		value = convert(walk, pair->value, ls_path(walk->reader, path, key->text), depth + 1);
		if (!value)
			return NULL;
		if (!is_repeated(walk->reader, node, key, path))
			node->member[node->count++] = (struct ls_member){ key, value };
	}
	return node;
}

/* Returns NULL, with a mistake noted, when there is no going on. */
static const struct ls_node *convert(const struct walk *walk, int index, const char *path, int depth)
{
	const yaml_node_t *from = yaml_document_get_node(walk->document, index);
	struct ls_node *here;

	if (!from)
		return NULL;
	here = node_new(walk->reader, LS_NODE_SCALAR, &from->start_mark);
	if (depth > LS_CONFIG_MAX_DEPTH) {
		ls_mistake_add(walk->reader, here, "", "nested deeper than %d levels", LS_CONFIG_MAX_DEPTH);
		return NULL;
	}
	if (++walk->reader->nodes > LS_CONFIG_MAX_NODES) {
		ls_mistake_add(walk->reader, here, "", "more than %d values, aliases counted each time",
			       LS_CONFIG_MAX_NODES);
		return NULL;
	}
	if (from->type == YAML_SEQUENCE_NODE)
		return list(walk, from, path, depth);
	if (from->type == YAML_MAPPING_NODE)
		return map(walk, from, path, depth);
	return scalar(walk, from, path, true);
}

static void parse_failed(struct ls_reader *reader, const yaml_parser_t *parser)
{
	struct ls_node at = { .line = (int)parser->problem_mark.line + 1,
			      .column = (int)parser->problem_mark.column + 1 };

	ls_mistake_add(reader, &at, "", "not valid YAML: %s%s%s", parser->problem ? parser->problem : "unreadable",
		       parser->context ? ", " : "", parser->context ? parser->context : "");
}

static const struct ls_node *first_document(struct ls_reader *reader, yaml_parser_t *parser)
{
	yaml_document_t document, second;
	struct walk walk = { reader, &document };
	const struct ls_node *root = NULL;

	if (!yaml_parser_load(parser, &document)) {
		parse_failed(reader, parser);
		return NULL;
	}
	if (yaml_document_get_root_node(&document))
		root = convert(&walk, 1, "", 0);
	else
		ls_mistake_add(reader, NULL, "", "the file is empty: `lockstep init` writes one to start from");
	yaml_document_delete(&document);
	if (!root)
		return NULL;
	if (!yaml_parser_load(parser, &second)) {
		parse_failed(reader, parser);
		return NULL;
	}
	if (yaml_document_get_root_node(&second)) {
		struct ls_node at = { .line = (int)second.start_mark.line + 1, .column = 1 };

		ls_mistake_add(reader, &at, "", "a second document begins here; one file holds one configuration");
	}
	yaml_document_delete(&second);
	return root;
}

const struct ls_node *ls_tree_read(struct ls_reader *reader, struct ls_str yaml)
{
	const struct ls_node *root;
	yaml_parser_t parser;

	if (!yaml_parser_initialize(&parser)) {
		ls_mistake_add(reader, NULL, "", "out of memory");
		return NULL;
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)yaml.ptr, yaml.len);
	root = first_document(reader, &parser);
	yaml_parser_delete(&parser);
	return root;
}

const struct ls_node *ls_node_member(const struct ls_node *map, const char *name)
{
	if (!map || map->kind != LS_NODE_MAP)
		return NULL;
	for (size_t i = 0; i < map->count; i++)
		if (strcmp(map->member[i].key->text, name) == 0)
			return map->member[i].value;
	return NULL;
}
