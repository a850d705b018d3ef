/* Reading the configuration, for shared/config alone: the tree of the file, the mistakes found so far, and the option
 * tables that turn parts of the tree into structs. */
#pragma once

#include "config/config.h"
#include "core/arena.h"

enum {
	LS_CONFIG_MAX_BYTES = 1 << 20, /* of the file, and of each ${file:...} */
	LS_CONFIG_MAX_DEPTH = 24,
	LS_CONFIG_MAX_NODES = 200000, /* thousands of tables; aliases counted each time they are used */
	LS_CONFIG_MAX_MISTAKES = 100,
	LS_CONFIG_MAX_KEY = 200,
	LS_CONFIG_MAX_NAME = 100, /* names become parts of topic names */
};

/* ---- tree.c: the file as a tree ---- */

enum ls_node_kind { LS_NODE_SCALAR, LS_NODE_LIST, LS_NODE_MAP };

struct ls_node;
struct ls_member {
	const struct ls_node *key; /* NULL in a list */
	const struct ls_node *value;
};

struct ls_node {
	enum ls_node_kind kind;
	int line, column;  /* from 1 */
	const char *text;  /* scalar, after ${...}; terminated, no NUL inside */
	bool null;         /* scalar without a value: nothing, ~ or null, not quoted */
	bool interpolated; /* part of the text came from ${...}: never print it */
	bool broken;       /* a mistake was noted already: say no more about it */
	struct ls_member *member;
	size_t count;
};

struct ls_mistake {
	int line, column;
	size_t order; /* in which they were found */
	const char *text;
};

struct ls_reader {
	const char *file;
	struct ls_arena *arena;
	struct ls_mistake mistake[LS_CONFIG_MAX_MISTAKES];
	size_t mistakes;
	size_t nodes;
	const char **secret; /* arena */
	size_t secret_count, secret_room;
	const struct ls_source_ops *const *sources;
	const struct ls_destination_ops *const *destinations;
};

/* ls_tree_read parses the YAML and fills in every ${...}. NULL: mistakes were noted and there is no tree. */
const struct ls_node *ls_tree_read(struct ls_reader *reader, struct ls_str yaml);
const struct ls_node *ls_node_member(const struct ls_node *map, const char *name); /* or NULL; map may be NULL */

/* ls_interpolate returns the scalar's text with every ${env:X} and ${file:PATH} replaced ($${ stands for ${), arena.
 * NULL: a mistake was noted. */
const char *ls_interpolate(struct ls_reader *reader, const struct ls_node *at, const char *path, const char *text,
			   bool *ret_changed);

/* ---- reader.c: mistakes and secrets ---- */

/* ls_mistake_add notes `file:line:column: path: what`. path may be empty. */
void ls_mistake_add(struct ls_reader *reader, const struct ls_node *at, const char *path, const char *fmt, ...)
	LS_PRINTF(4, 5);
/* ls_node_show is how a value stands in a mistake: quoted, cut, or "the value" when it came from ${...}. */
const char *ls_node_show(struct ls_reader *reader, const struct ls_node *node);
void ls_secret_add(struct ls_reader *reader, const char *text);
void ls_secret_add_url(struct ls_reader *reader, const char *url); /* only the password inside, if there is one */
const char *ls_path(struct ls_reader *reader, const char *path, const char *name); /* "sources" + "crm" */

/* ---- option.c: option tables ---- */

/* A key that has a structure of its own; read by hand, described here for the docs and for near misses. */
struct ls_part {
	const char *name, *form, *help;
	bool required;
};

/* The keys of one place in the file. */
struct ls_table {
	const char *where, *summary;
	const struct ls_option *option;
	size_t option_count;
	const struct ls_part *part;
	size_t part_count;
};

struct ls_fill {
	const struct ls_table *table;
	void *target; /* what the rows' offsets count from */
};

/* ls_options_read fills each target from the map `node` and notes unknown keys, wrong types and missing ones.
 * node NULL: every fallback. Something that is no map is a mistake and gives the fallbacks. */
void ls_options_read(struct ls_reader *reader, const struct ls_node *node, const char *path, const struct ls_fill *fill,
		     size_t count);
bool ls_node_is(struct ls_reader *reader, const struct ls_node *node, enum ls_node_kind kind, const char *path);
bool ls_name_check(struct ls_reader *reader, const struct ls_node *node, const char *path, const char *name);

/* ---- the parts ---- */

void ls_read_entities(struct ls_reader *reader, const struct ls_node *node, struct ls_config *config);
void ls_read_sources(struct ls_reader *reader, const struct ls_node *node, struct ls_config *config);
void ls_read_destinations(struct ls_reader *reader, const struct ls_node *node, struct ls_config *config);
void ls_read_mappings(struct ls_reader *reader, const struct ls_node *system, const char *path, bool source,
		      const struct ls_config *config, const struct ls_mapping **ret, size_t *ret_count);
/* ls_read_pairs reads a map of texts. */
const struct ls_pair *ls_read_pairs(struct ls_reader *reader, const struct ls_node *node, const char *path,
				    size_t *ret_count);

extern const struct ls_table ls_table_top, ls_table_topics, ls_table_registry, ls_table_http, ls_table_entity,
	ls_table_source, ls_table_source_mapping, ls_table_destination, ls_table_destination_mapping, ls_table_retry,
	ls_table_breaker;

#define LS_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
