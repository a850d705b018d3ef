/* The text of a position, both ways. */
#include "sources/postgres/position.h"

#include "core/arena.h"
#include "lockstep/event.h"
#include "sources/postgres/protocol.h"

#include <stdio.h>
#include <stdlib.h>

void pgsrc_position_init(struct pgsrc_position *position)
{
	*position = (struct pgsrc_position){ .tables = json_object(), .base = json_object(), .log = json_object() };
	if (!position->tables || !position->base || !position->log)
		abort();
}

static void changed(struct pgsrc_position *position)
{
	free(position->tail);
	position->tail = NULL;
}

void pgsrc_position_release(struct pgsrc_position *position)
{
	json_decref(position->tables);
	json_decref(position->base);
	json_decref(position->log);
	position->tables = position->base = position->log = NULL;
	changed(position);
}

static enum ls_class unreadable(struct ls_error *err, const char *what)
{
	return ls_fail(
		err, LS_FATAL, "position",
		"the saved position cannot be read: %s. It was not written by this kind of source, or it was "
		"damaged; remove the record of this source from the positions topic and drop its slot to start over",
		what);
}

static bool read_lsn(const json_t *from, uint64_t *ret)
{
	const char *text = json_string_value(json_object_get(from, "lsn"));

	return text && pgout_lsn_parse(ls_str_of(text), ret);
}

static bool table_ok(const json_t *value)
{
	size_t i;
	json_t *item;

	if (json_is_boolean(value))
		return true;
	if (!json_is_array(value) || json_array_size(value) == 0)
		return false;
	json_array_foreach(value, i, item) if (!json_is_string(item)) return false;
	return true;
}

static bool read_tables(struct pgsrc_position *position, json_t *tables)
{
	const char *label;
	json_t *value;

	if (!tables)
		return true;
	if (!json_is_object(tables))
		return false;
	json_object_foreach(tables, label, value) if (!table_ok(value) ||
						      json_object_set(position->tables, label, value)) return false;
	return true;
}

static bool read_rounds(struct pgsrc_position *position, const json_t *rounds)
{
	size_t i;
	json_t *item;

	if (rounds && (!json_is_array(rounds) || json_array_size(rounds) > PGSRC_MAX_ROUNDS))
		return false;
	json_array_foreach(rounds, i, item)
	{
		struct pgsrc_round round = { 0 };
		const json_t *version = json_object_get(item, "version");

		if (!read_lsn(item, &round.lsn) || !json_is_integer(version))
			return false;
		round.version = json_integer_value(version);
		position->round[position->round_count++] = round;
	}
	return true;
}

static bool seen_ok(const json_t *seen)
{
	const json_t *version = json_array_get(seen, 1);

	return json_array_size(seen) == 2 && json_is_integer(json_array_get(seen, 0)) &&
	       (json_is_integer(version) || json_is_null(version));
}

static bool read_base(struct pgsrc_position *position, json_t *base)
{
	const char *topic, *partition;
	json_t *partitions, *seen;

	if (base && !json_is_object(base))
		return false;
	json_object_foreach(base, topic, partitions)
	{
		if (!json_is_object(partitions))
			return false;
		json_object_foreach(partitions, partition, seen) if (!seen_ok(seen)) return false;
	}
	return !base || json_object_update(position->base, base) == 0;
}

static bool read_log(struct pgsrc_position *position, json_t *log)
{
	const json_t *system = json_object_get(log, "system"), *timeline = json_object_get(log, "timeline");
	json_t *tables = json_object_get(log, "tables"), *token;
	const char *label;

	if (!log)
		return true;
	if (!json_is_object(log) || (system && !json_is_string(system)) || (timeline && !json_is_integer(timeline)) ||
	    (tables && !json_is_object(tables)))
		return false;
	json_object_foreach(tables, label, token) if (!json_is_string(token)) return false;
	return json_object_update(position->log, log) == 0;
}

enum ls_class pgsrc_position_parse(struct pgsrc_position *position, struct ls_str text, struct ls_error *err)
{
	json_error_t error;
	json_t *root = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
	const json_t *snapshot = json_object_get(root, "snapshot");
	enum ls_class class = LS_OK;

	if (!root)
		return unreadable(err, error.text);
	if (!read_lsn(root, &position->lsn))
		class = unreadable(err, "\"lsn\" is missing or no LSN");
	else if (!read_tables(position, json_object_get(snapshot, "tables")) ||
		 !read_rounds(position, json_object_get(snapshot, "rounds")))
		class = unreadable(err, "\"snapshot\" is not as it should be");
	else if (!read_base(position, json_object_get(root, "base")))
		class = unreadable(err, "\"base\" is not as it should be");
	else if (!read_log(position, json_object_get(root, "log")))
		class = unreadable(err, "\"log\" is not as it should be");
	json_decref(root);
	changed(position);
	return class;
}

static json_t *print_rounds(const struct pgsrc_position *position)
{
	json_t *rounds = json_array();
	char lsn[PGOUT_LSN];

	for (size_t i = 0; i < position->round_count; i++)
		(void)json_array_append_new(rounds,
					    json_pack("{s:s, s:I}", "lsn", pgout_lsn_print(position->round[i].lsn, lsn),
						      "version", (json_int_t)position->round[i].version));
	return rounds;
}

static char *dump(const json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);

	if (!text)
		abort(); /* out of memory */
	return text;
}

/* Also the brace that closes it all. */
static void make_tail(struct pgsrc_position *position)
{
	json_t *snapshot = json_pack("{s:O, s:o}", "tables", position->tables, "rounds", print_rounds(position));
	char *tables = dump(snapshot), *base = json_object_size(position->base) ? dump(position->base) : NULL;
	char *log = json_object_size(position->log) ? dump(position->log) : NULL;
	int len = asprintf(&position->tail, "%s%s%s%s%s}", tables, base ? ",\"base\":" : "", base ? base : "",
			   log ? ",\"log\":" : "", log ? log : "");

	if (len < 0)
		abort(); /* out of memory */
	position->tail_len = (size_t)len;
	free(tables);
	free(base);
	free(log);
	json_decref(snapshot);
}

struct ls_str pgsrc_position_print(struct pgsrc_position *position, uint64_t lsn, struct ls_arena *arena)
{
	char text[PGOUT_LSN];

	if (!position->tail)
		make_tail(position);
	return ls_arena_printf(arena, "{\"lsn\":\"%s\",\"snapshot\":%.*s", pgout_lsn_print(lsn, text),
			       (int)position->tail_len, position->tail);
}

void pgsrc_position_table(struct pgsrc_position *position, const char *label, json_t *value)
{
	if (!value || json_object_set_new(position->tables, label, value))
		abort(); /* out of memory */
	changed(position);
}

void pgsrc_position_see(struct pgsrc_position *position, const char *topic, int32_t partition, int64_t next_offset,
			int64_t max_version)
{
	json_t *partitions = json_object_get(position->base, topic), *seen;
	char key[16];

	(void)snprintf(key, sizeof(key), "%d", (int)partition);
	changed(position);
	if (next_offset == LS_NONE) {
		(void)json_object_del(partitions, key);
		return;
	}
	if (!partitions) {
		partitions = json_object();
		(void)json_object_set_new(position->base, topic, partitions);
	}
	seen = json_array();
	(void)json_array_append_new(seen, json_integer(next_offset));
	(void)json_array_append_new(seen, max_version == LS_NONE ? json_null() : json_integer(max_version));
	if (json_object_set_new(partitions, key, seen))
		abort(); /* out of memory */
}

void pgsrc_position_seen(const struct pgsrc_position *position, const char *topic, int32_t partition,
			 int64_t *ret_next_offset, int64_t *ret_max_version)
{
	const json_t *seen, *version;
	char key[16];

	(void)snprintf(key, sizeof(key), "%d", (int)partition);
	seen = json_object_get(json_object_get(position->base, topic), key);
	if (!seen)
		return;
	version = json_array_get(seen, 1);
	*ret_next_offset = json_integer_value(json_array_get(seen, 0));
	*ret_max_version = json_is_integer(version) ? json_integer_value(version) : LS_NONE;
}

void pgsrc_position_log(struct pgsrc_position *position, const char *name, json_t *value)
{
	if (!value || json_object_set_new(position->log, name, value))
		abort(); /* out of memory */
	changed(position);
}

void pgsrc_position_set_member(struct pgsrc_position *position, const char *label, const char *token)
{
	json_t *tables = json_object_get(position->log, "tables");

	if (!tables) {
		pgsrc_position_log(position, "tables", json_object());
		tables = json_object_get(position->log, "tables");
	}
	if (!*token)
		(void)json_object_del(tables, label);
	else if (json_object_set_new(tables, label, json_string(token)))
		abort(); /* out of memory */
	changed(position);
}

const char *pgsrc_position_member(const struct pgsrc_position *position, const char *label)
{
	return json_string_value(json_object_get(json_object_get(position->log, "tables"), label));
}

void pgsrc_position_forget(struct pgsrc_position *position, const char *label)
{
	(void)json_object_del(position->tables, label);
	(void)json_object_del(json_object_get(position->log, "tables"), label);
	changed(position);
}

void pgsrc_position_restart(struct pgsrc_position *position, uint64_t lsn)
{
	position->lsn = lsn;
	(void)json_object_clear(position->base);
	(void)json_object_clear(position->log);
	changed(position);
}

bool pgsrc_position_all_read(const struct pgsrc_position *position)
{
	const char *label;
	json_t *value;

	json_object_foreach(position->tables, label, value) if (!json_is_true(value)) return false;
	return true;
}

enum ls_class pgsrc_position_round(struct pgsrc_position *position, struct pgsrc_round round, struct ls_error *err)
{
	if (position->round_count == PGSRC_MAX_ROUNDS)
		return ls_fail(
			err, LS_FATAL, "snapshot",
			"the snapshot was begun %d times without coming to its end: something ends it each time; "
			"see the log, or raise snapshot_connections, or lower snapshot_chunk_rows",
			PGSRC_MAX_ROUNDS);
	position->round[position->round_count++] = round;
	changed(position);
	return LS_OK;
}

int64_t pgsrc_position_floor(const struct pgsrc_position *position, uint64_t lsn)
{
	int64_t version = LS_NONE;

	for (size_t i = 0; i < position->round_count; i++)
		if (position->round[i].lsn <= lsn && position->round[i].version > version)
			version = position->round[i].version;
	return version;
}

void pgsrc_position_pass(struct pgsrc_position *position, uint64_t lsn)
{
	size_t kept = 0;

	for (size_t i = 0; i < position->round_count; i++)
		if (position->round[i].lsn > lsn)
			position->round[kept++] = position->round[i];
	if (kept != position->round_count)
		changed(position);
	position->round_count = kept;
}
