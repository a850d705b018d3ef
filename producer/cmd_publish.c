/* lockstep publish: one change by flags, or one per line on stdin. */
#include "change_json.h"
#include "clock.h"
#include "outbox.h"
#include "shelf.h"

#include "avro/codec.h"
#include "config/near.h"
#include "core/arena.h"
#include "core/buf.h"
#include "main/app.h"

#include <jansson.h>

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { ARENA_BYTES = 64 * 1024 * 1024, FLUSH_MS = 30 * 1000, LEAST_ROOM = 1024 };

struct publish {
	struct ls_app *app;
	bool json, dry_run;
	struct ls_outbox *outbox;
	struct ls_shelf *shelf;
	struct ls_arena *arena;
	struct ls_clock clock;
	struct ls_buf text;
	size_t failed, done;
};

/* ---- what is printed ---- */

static void print_json(json_t *json)
{
	/* NULL: a text that is not UTF-8, somewhere in it. */
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	puts(text ? text : "{\"error\":\"a text that is not UTF-8\"}");
	free(text);
	json_decref(json);
}

static void complain(struct publish *publish, size_t line, const char *problem)
{
	publish->failed++;
	if (publish->json)
		print_json(json_pack("{s:i,s:s}", "line", (int)line, "error", problem));
	if (line)
		fprintf(stderr, "line %zu: %s\n", line, problem);
	else
		fprintf(stderr, "%s\n", problem);
}

static void done(void *context, const struct ls_receipt *receipt)
{
	struct publish *publish = context;

	if (receipt->problem) {
		complain(publish, receipt->line, receipt->problem);
		return;
	}
	publish->done++;
	if (publish->json)
		print_json(json_pack("{s:s,s:i,s:I,s:s}", "topic", receipt->topic, "partition", (int)receipt->partition,
				     "offset", (json_int_t)receipt->offset, "event_id", receipt->event_id));
	else
		printf("%s\t%d\t%lld\t%s\n", receipt->topic, (int)receipt->partition, (long long)receipt->offset,
		       receipt->event_id);
}

static void print_event(struct publish *publish, const struct ls_event *event)
{
	ls_buf_clear(&publish->text);
	ls_event_json(event, &publish->text);
	printf("%.*s\n", LS_ARG(ls_buf_str(&publish->text)));
	publish->done++;
}

/* ---- one change ---- */

static enum ls_class lookup(const void *context, struct ls_str entity, struct ls_entity_key *ret, struct ls_error *err)
{
	const struct ls_config *config = context;
	char name[LS_NEAR_WORD + 1], hint[LS_NEAR_HINT];
	struct ls_near near;

	for (size_t i = 0; i < config->entity_count; i++) {
		const struct ls_entity_config *known = &config->entity[i];

		if (!ls_str_equal(ls_str_of(known->name), entity))
			continue;
		*ret = (struct ls_entity_key){ known->key, known->key_count };
		return LS_OK;
	}
	snprintf(name, sizeof(name), "%.*s", LS_ARG(entity));
	ls_near_init(&near, name);
	for (size_t i = 0; i < config->entity_count; i++)
		ls_near_offer(&near, config->entity[i].name);
	return ls_fail(err, LS_POISON, "entity", "%s has no entity \"%s\"%s", config->file, name,
		       ls_near_hint(&near, hint));
}

/* A random UUID, version 4 (RFC 9562, section 5.4). */
static struct ls_str make_uuid(struct ls_arena *arena)
{
	unsigned char b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		abort();
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	return ls_arena_printf(arena, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
			       b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
			       b[15]);
}

/* What the text leaves out. Versions of one run grow, so that two changes of one entity in one file keep their
 * order. */
static void complete(struct publish *publish, struct ls_event *event)
{
	int64_t now_us = ls_now_us();

	if (event->timestamp_us == LS_NONE)
		event->timestamp_us = now_us;
	if (event->version == LS_NONE)
		event->version = ls_clock_next(&publish->clock, now_us, event->base_version);
	else
		ls_clock_raise(&publish->clock, event->version);
	if (!event->event_id.len)
		event->event_id = make_uuid(publish->arena);
}

static void warn_skew(const struct publish *publish, size_t line, const struct ls_event *event)
{
	int64_t ahead_ms = (event->version - ls_now_us()) / 1000;

	if (ahead_ms > publish->app->config->max_skew_ms)
		fprintf(stderr,
			"line %zu: note: version %lld is further ahead than max_skew: sinks will put it into the "
			"dead letters\n",
			line ? line : 1, (long long)event->version);
}

/* LS_OK also when the change was wrong: it is reported and counted. */
static enum ls_class publish_one(struct publish *publish, size_t line, struct ls_str text, struct ls_error *err)
{
	struct ls_change_line change;
	enum ls_class class;

	ls_arena_reset(publish->arena);
	class = ls_change_json(text, lookup, publish->app->config, publish->shelf, publish->arena, &change, err);
	if (!class) {
		complete(publish, &change.event);
		warn_skew(publish, line, &change.event);
		if (publish->dry_run)
			print_event(publish, &change.event);
		else
			class = ls_outbox_send(publish->outbox, line, &change.event, change.priority, err);
	}
	if (class != LS_POISON)
		return class;
	complain(publish, line, err->text);
	return LS_OK;
}

/* ---- stdin ---- */

enum line { LINE, TOO_LONG, END };

/* The rest of a line that is too long is read past. */
static enum line read_line(struct ls_buf *into)
{
	bool any = false;
	int c;

	ls_buf_clear(into);
	into->full = false;
	while ((c = getc_unlocked(stdin)) != EOF && c != '\n') {
		any = true;
		if (!into->full)
			ls_buf_add_char(into, (char)c);
	}
	if (c == EOF && !any)
		return END;
	return into->full ? TOO_LONG : LINE;
}

static bool is_blank(struct ls_str text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!strchr(" \t\r", text.ptr[i]))
			return false;
	return true;
}

static enum ls_class publish_lines(struct publish *publish, struct ls_error *err)
{
	enum ls_class class = LS_OK;
	enum line what;
	struct ls_buf buf;

	ls_buf_init(&buf, LS_CHANGE_JSON_MAX + LEAST_ROOM);
	for (size_t line = 1; !class && (what = read_line(&buf)) != END; line++) {
		if (what == TOO_LONG || buf.len > LS_CHANGE_JSON_MAX)
			complain(publish, line, "longer than 1 MiB");
		else if (!is_blank(ls_buf_str(&buf)))
			class = publish_one(publish, line, ls_buf_str(&buf), err);
	}
	ls_buf_release(&buf);
	return class;
}

/* ---- flags ---- */

static bool add_number(json_t *change, const char *name, const char *text)
{
	char *end;
	long long number;

	errno = 0;
	number = strtoll(text, &end, 10);
	if (errno || end == text || *end)
		return false;
	json_object_set_new(change, name, json_integer(number));
	return true;
}

static bool add_json(json_t *change, const char *name, const char *text)
{
	json_error_t at;
	json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, &at);

	return value && json_object_set_new(change, name, value) == 0;
}

/* An id that is an array belongs to several key fields; everything else is a text. */
static bool add_id(json_t *change, const char *text)
{
	if (text[0] == '[' && add_json(change, "id", text))
		return true;
	return json_object_set_new(change, "id", json_string(text)) == 0;
}

static bool add_time(json_t *change, const char *text)
{
	return add_number(change, "timestamp", text) ||
	       json_object_set_new(change, "timestamp", json_string(text)) == 0;
}

static const struct option flags[] = {
	{ "entity", required_argument, NULL, 'e' },
	{ "id", required_argument, NULL, 'i' },
	{ "source", required_argument, NULL, 's' },
	{ "type", required_argument, NULL, 't' },
	{ "version", required_argument, NULL, 'v' },
	{ "event-id", required_argument, NULL, 'E' },
	{ "timestamp", required_argument, NULL, 'T' },
	{ "data", required_argument, NULL, 'd' },
	{ "priority", no_argument, NULL, 'p' },
	{ "dry-run", no_argument, NULL, 'n' },
	{ "json", no_argument, NULL, 'j' },
	{ NULL, 0, NULL, 0 },
};

static bool take_flag(struct publish *publish, json_t *change, int flag)
{
	switch (flag) {
	case 'e':
		return json_object_set_new(change, "entity", json_string(optarg)) == 0;
	case 'i':
		return add_id(change, optarg);
	case 's':
		return json_object_set_new(change, "source", json_string(optarg)) == 0;
	case 't':
		return json_object_set_new(change, "type", json_string(optarg)) == 0;
	case 'v':
		return add_number(change, "version", optarg);
	case 'E':
		return json_object_set_new(change, "event_id", json_string(optarg)) == 0;
	case 'T':
		return add_time(change, optarg);
	case 'd':
		return add_json(change, "data", optarg);
	case 'p':
		return json_object_set_new(change, "priority", json_true()) == 0;
	case 'n':
		publish->dry_run = true;
		return true;
	case 'j':
		publish->json = true;
		return true;
	default:
		return false;
	}
}

static bool parse_flags(struct publish *publish, json_t *change, int argc, char **argv)
{
	int flag;

	while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
		if (take_flag(publish, change, flag))
			continue;
		if (flag != '?')
			fprintf(stderr, "lockstep publish: \"%s\" is not a value for this flag%s\n", optarg,
				flag == 'd' ? ": write JSON, as '{\"name\":\"Ada\"}'" : "");
		return false;
	}
	if (optind < argc)
		fprintf(stderr, "lockstep publish: \"%s\": a change is given by flags or on stdin\n", argv[optind]);
	return optind == argc;
}

/* ---- the command ---- */

static enum ls_class publish_all(struct publish *publish, json_t *change, struct ls_error *err)
{
	enum ls_class class = LS_OK;
	char *text;

	if (!publish->dry_run)
		class = ls_outbox_open(publish->app, done, publish, &publish->outbox, err);
	if (class)
		return class;
	if (json_object_size(change)) {
		text = json_dumps(change, JSON_COMPACT);
		if (!text)
			abort();
		class = publish_one(publish, 0, ls_str_of(text), err);
		free(text);
	} else {
		class = publish_lines(publish, err);
	}
	/* Also after an error: what was sent before it has a receipt to come. */
	if (publish->outbox) {
		struct ls_error late;

		if (ls_outbox_flush(publish->outbox, FLUSH_MS, &late) && !class) {
			*err = late;
			class = err->class;
		}
	}
	return class;
}

static enum ls_exit run(struct ls_app *app, int argc, char **argv)
{
	struct publish publish = { .app = app, .json = app->json };
	json_t *change = json_object();
	enum ls_exit exit = LS_EXIT_USAGE;
	struct ls_error err;

	if (parse_flags(&publish, change, argc, argv)) {
		publish.shelf = ls_shelf_new();
		publish.arena = ls_arena_new(ARENA_BYTES);
		ls_buf_init(&publish.text, ARENA_BYTES);
		exit = publish_all(&publish, change, &err) ? ls_app_fail(app, &err) : LS_EXIT_DONE;
		if (exit == LS_EXIT_DONE && publish.failed)
			exit = LS_EXIT_FAILED;
		if (publish.failed && publish.failed + publish.done > 1)
			fprintf(stderr, "%zu published, %zu failed\n", publish.done, publish.failed);
		ls_outbox_close(publish.outbox);
		ls_buf_release(&publish.text);
		ls_arena_free(publish.arena);
		ls_shelf_free(publish.shelf);
	}
	json_decref(change);
	return exit;
}

extern const struct ls_command ls_command_publish;
const struct ls_command ls_command_publish = {
	.name = "publish",
	.arguments = "[--entity NAME --id ID --data JSON]",
	.summary = "publish one change by flags, or one per line of JSON on stdin",
	.help = "  --entity NAME     of the configuration\n"
		"  --id ID           its key; several key fields: a JSON array of texts\n"
		"  --data JSON       the fields that change; others are left alone; null empties a field\n"
		"  --type TYPE       INSERT, UPDATE (default), DELETE or SNAPSHOT\n"
		"  --source NAME     who says so (default: publish)\n"
		"  --version N       compared first by last-write-wins (default: now, in microseconds)\n"
		"  --event-id ID     idempotency key (default: a random UUID)\n"
		"  --timestamp TIME  of the change: microseconds, or 2026-11-21T09:14:03.12Z (default: now)\n"
		"  --priority        into the priority topic\n"
		"  --dry-run         print the event and send nothing\n"
		"  --json            receipts as JSON\n"
		"Without flags: each line of stdin is an object with entity, id, source, type, version, event_id,\n"
		"timestamp, base_version, data, metadata, priority. A line that is wrong is named on stderr, the "
		"others\n"
		"go on, and the exit code is 1. Prints topic, partition, offset and event id of each.\n",
	.run = run,
};
