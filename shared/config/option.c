/* Option tables at work: a map of the file in, a filled struct out, every mistake noted at its place. */
#include "config/duration.h"
#include "config/near.h"
#include "config/reader.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* One option being read. node NULL: the table's own fallback, which is right by construction. */
struct setting {
	struct ls_reader *reader;
	const struct ls_option *option;
	const struct ls_node *node;
	const char *path; /* of the option itself: "topics.partitions" */
	const char *text;
	char *at;
};

bool ls_node_is(struct ls_reader *reader, const struct ls_node *node, enum ls_node_kind kind, const char *path)
{
	static const char *const expected[] = { "a single value", "a list: [...]", "a map: {...}" };

	if (node->kind == kind)
		return true;
	if (!node->broken)
		ls_mistake_add(reader, node, path, "is to be %s", expected[kind]);
	return false;
}

static void put(const struct setting *set, const void *value, size_t bytes)
{
	memcpy(set->at + set->option->offset, value, bytes);
}

static void set_string(const struct setting *set)
{
	const char *text = set->text[0] ? set->text : NULL;

	if (set->node && set->option->type == LS_OPT_SECRET)
		ls_secret_add(set->reader, text);
	else if (set->node && text)
		ls_secret_add_url(set->reader, text);
	if (!text && set->node && !set->option->fallback)
		ls_mistake_add(set->reader, set->node, set->path, "is empty");
	put(set, &text, sizeof text);
}

static void out_of_range(const struct setting *set, const char *lo, const char *hi)
{
	ls_mistake_add(set->reader, set->node, set->path, "%s is out of range (%s to %s)",
		       ls_node_show(set->reader, set->node), lo, hi);
}

static bool in_range(const struct ls_option *option, int64_t value)
{
	return (option->lo == 0 && option->hi == 0) || (value >= option->lo && value <= option->hi);
}

static void set_int(const struct setting *set)
{
	char lo[LS_DURATION_TEXT], hi[LS_DURATION_TEXT], *end;
	long long value;

	errno = 0;
	value = strtoll(set->text, &end, 10);
	if (errno || *end || end == set->text || (set->text[0] != '-' && (set->text[0] < '0' || set->text[0] > '9'))) {
		ls_mistake_add(set->reader, set->node, set->path, "%s is not a whole number",
			       ls_node_show(set->reader, set->node));
	} else if (!in_range(set->option, value)) {
		snprintf(lo, sizeof lo, "%" PRId64, set->option->lo);
		snprintf(hi, sizeof hi, "%" PRId64, set->option->hi);
		out_of_range(set, lo, hi);
	} else {
		put(set, &(int64_t){ value }, sizeof(int64_t));
	}
}

static void set_duration(const struct setting *set)
{
	char lo[LS_DURATION_TEXT], hi[LS_DURATION_TEXT];
	int64_t ms;

	if (!ls_duration_parse(set->text, set->option->unit, &ms))
		ls_mistake_add(set->reader, set->node, set->path,
			       "%s is not a duration: write 500ms, 5s, 10m, 2h or 7d",
			       ls_node_show(set->reader, set->node));
	else if (!in_range(set->option, ms))
		out_of_range(set, ls_duration_format(set->option->lo, lo), ls_duration_format(set->option->hi, hi));
	else
		put(set, &ms, sizeof ms);
}

static void set_bool(const struct setting *set)
{
	bool yes = strcmp(set->text, "true") == 0;

	if (!yes && strcmp(set->text, "false") != 0)
		ls_mistake_add(set->reader, set->node, set->path, "%s is neither true nor false",
			       ls_node_show(set->reader, set->node));
	else
		put(set, &yes, sizeof yes);
}

static void set_choice(const struct setting *set)
{
	struct ls_near near;
	char hint[LS_NEAR_HINT];
	const char *next = set->option->choices;

	ls_near_init(&near, set->text);
	for (int index = 0; *next; index++) {
		size_t len = strcspn(next, "|");
		const char *choice = ls_arena_str(set->reader->arena, (struct ls_str){ next, len }).ptr;

		if (strcmp(choice, set->text) == 0) {
			put(set, &index, sizeof index);
			return;
		}
		ls_near_offer(&near, choice);
		next += len + (next[len] == '|');
	}
	ls_mistake_add(set->reader, set->node, set->path, "%s is not one of %s%s", ls_node_show(set->reader, set->node),
		       set->option->choices, ls_near_hint(&near, hint));
}

static void set_value(const struct setting *set)
{
	switch (set->option->type) {
	case LS_OPT_STRING:
	case LS_OPT_SECRET:
		set_string(set);
		break;
	case LS_OPT_INT:
		set_int(set);
		break;
	case LS_OPT_BOOL:
		set_bool(set);
		break;
	case LS_OPT_CHOICE:
		set_choice(set);
		break;
	case LS_OPT_DURATION:
		set_duration(set);
		break;
	}
}

static void set_fallback(struct ls_reader *reader, const struct ls_option *option, void *target)
{
	struct setting set = { reader, option, NULL, "", option->fallback, target };
	size_t before = reader->mistakes;

	/* The target is cleared memory: unset is what is there. */
	if (option->fallback && option->fallback[0])
		set_value(&set);
	assert(reader->mistakes == before);
	(void)before;
}

static void read_one(struct ls_reader *reader, const struct ls_node *map, const char *path,
		     const struct ls_option *option, void *target)
{
	const struct ls_node *node = ls_node_member(map, option->name);
	struct setting set = { reader, option, node, ls_path(reader, path, option->name), "", target };

	set_fallback(reader, option, target);
	if (!node) {
		if (!option->fallback)
			ls_mistake_add(reader, map, path, "\"%s\" is missing: %s", option->name, option->help);
		return;
	}
	if (!ls_node_is(reader, node, LS_NODE_SCALAR, set.path) || node->broken)
		return;
	if (node->null) {
		ls_mistake_add(reader, node, set.path, "has no value");
		return;
	}
	set.text = node->text;
	set_value(&set);
}

/* Offers every known key; returns true when `name` is one. */
static bool is_known(const char *name, const struct ls_fill *fill, size_t count, struct ls_near *near)
{
	for (size_t i = 0; i < count; i++) {
		const struct ls_table *table = fill[i].table;

		for (size_t k = 0; k < table->option_count; k++) {
			if (strcmp(table->option[k].name, name) == 0)
				return true;
			ls_near_offer(near, table->option[k].name);
		}
		for (size_t k = 0; k < table->part_count; k++) {
			if (strcmp(table->part[k].name, name) == 0)
				return true;
			ls_near_offer(near, table->part[k].name);
		}
	}
	return false;
}

static void note_unknown(struct ls_reader *reader, const struct ls_node *map, const char *path,
			 const struct ls_fill *fill, size_t count)
{
	for (size_t i = 0; i < map->count; i++) {
		const struct ls_node *key = map->member[i].key;
		char hint[LS_NEAR_HINT];
		struct ls_near near;

		ls_near_init(&near, key->text);
		if (!is_known(key->text, fill, count, &near))
			ls_mistake_add(reader, key, path, "unknown option \"%.60s\"%s", key->text,
				       ls_near_hint(&near, hint));
	}
}

static void note_missing_parts(struct ls_reader *reader, const struct ls_node *map, const char *path,
			       const struct ls_table *table)
{
	for (size_t i = 0; i < table->part_count; i++)
		if (table->part[i].required && !ls_node_member(map, table->part[i].name))
			ls_mistake_add(reader, map, path, "\"%s\" is missing: %s", table->part[i].name,
				       table->part[i].help);
}

void ls_options_read(struct ls_reader *reader, const struct ls_node *node, const char *path, const struct ls_fill *fill,
		     size_t count)
{
	bool usable = node && !node->broken && ls_node_is(reader, node, LS_NODE_MAP, path);

	if (usable)
		note_unknown(reader, node, path, fill, count);
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < fill[i].table->option_count; k++) {
			const struct ls_option *option = &fill[i].table->option[k];

			if (usable)
				read_one(reader, node, path, option, fill[i].target);
			else
				set_fallback(reader, option, fill[i].target);
		}
		if (usable)
			note_missing_parts(reader, node, path, fill[i].table);
	}
}

bool ls_name_check(struct ls_reader *reader, const struct ls_node *node, const char *path, const char *name)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strlen(name);

	if (len > 0 && len <= LS_CONFIG_MAX_NAME && strspn(name, letters) == len && strcmp(name, ".") != 0 &&
	    strcmp(name, "..") != 0)
		return true;
	ls_mistake_add(reader, node, path,
		       "%s is no name: letters, digits, \".\", \"_\" and \"-\", at most %d, for it becomes part of "
		       "topic names",
		       ls_node_show(reader, node), LS_CONFIG_MAX_NAME);
	return false;
}

const struct ls_pair *ls_read_pairs(struct ls_reader *reader, const struct ls_node *node, const char *path,
				    size_t *ret_count)
{
	struct ls_pair *pair;
	size_t count = 0;

	*ret_count = 0;
	if (!node || !ls_node_is(reader, node, LS_NODE_MAP, path))
		return NULL;
	pair = ls_arena_zalloc(reader->arena, (node->count + 1) * sizeof *pair);
	for (size_t i = 0; i < node->count; i++) {
		const struct ls_member *member = &node->member[i];
		const char *inner = ls_path(reader, path, member->key->text);

		if (!ls_node_is(reader, member->value, LS_NODE_SCALAR, inner) || member->value->broken)
			continue;
		if (member->value->null)
			ls_mistake_add(reader, member->value, inner, "has no value");
		else
			pair[count++] =
				(struct ls_pair){ ls_str_of(member->key->text), ls_str_of(member->value->text) };
	}
	*ret_count = count;
	return pair;
}
