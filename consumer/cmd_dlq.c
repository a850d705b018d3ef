/* lockstep dlq list|show|retry|drop: dead letters seen, sent again once their cause is mended, or let go with a
 * reason. */
#include "avro/codec.h"
#include "core/arena.h"
#include "core/buf.h"
#include "core/map.h"
#include "dlq.h"
#include "dlq_print.h"
#include "kafka/topics.h"
#include "lockstep/command.h"
#include "main/app.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { MAX_HEADERS = 96, HEX_BYTES = 512, NAMED = 5 };

struct dlq_flags {
	const char *destination, *code, *reason;
	bool all, dry_run, json;
	int64_t limit;
	char **id;
	int id_count;
};

static bool parse_flags(int argc, char **argv, struct dlq_flags *ret)
{
	static const struct option longs[] = {
		{ "destination", required_argument, NULL, 'd' },
		{ "code", required_argument, NULL, 'c' },
		{ "reason", required_argument, NULL, 'r' },
		{ "limit", required_argument, NULL, 'n' },
		{ "all", no_argument, NULL, 'a' },
		{ "dry-run", no_argument, NULL, 'y' },
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	int c;

	*ret = (struct dlq_flags){ .limit = 100 };
	optind = 0;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (c) {
		case 'd':
			ret->destination = optarg;
			break;
		case 'c':
			ret->code = optarg;
			break;
		case 'r':
			ret->reason = optarg;
			break;
		case 'n':
			ret->limit = strtoll(optarg, NULL, 10);
			break;
		case 'a':
			ret->all = true;
			break;
		case 'y':
			ret->dry_run = true;
			break;
		case 'j':
			ret->json = true;
			break;
		default:
			return false;
		}
	ret->id = argv + optind;
	ret->id_count = argc - optind;
	return ret->limit > 0;
}

/* for_owners calls with the name of every destination and source that may have a dead letter topic. */
static enum ls_class for_owners(struct ls_app *app, const struct dlq_flags *flags,
				enum ls_class (*call)(struct ls_app *app, const char *owner, void *arg,
						      struct ls_error *err),
				void *arg, struct ls_error *err)
{
	const struct ls_config *config = app->config;
	enum ls_class class = LS_OK;

	for (size_t i = 0; !class && i < config->destination_count; i++)
		if (!flags->destination || strcmp(flags->destination, config->destination[i].name) == 0)
			class = call(app, config->destination[i].name, arg, err);
	for (size_t i = 0; !class && i < config->source_count; i++)
		if ((!flags->destination || strcmp(flags->destination, config->source[i].name) == 0) &&
		    !ls_config_destination(config, config->source[i].name))
			class = call(app, config->source[i].name, arg, err);
	return class;
}

static enum ls_class read_owner(struct ls_app *app, const char *owner, void *arg, struct ls_error *err)
{
	return ls_dead_list_read(app, owner, arg, err);
}

/* choose marks the letters that the flags speak of; returns how many. */
static size_t choose(struct ls_dead_list *list, const struct dlq_flags *flags)
{
	struct ls_map named;
	size_t count = 0;

	ls_map_init(&named);
	for (int n = 0; n < flags->id_count; n++)
		ls_map_at(&named, ls_str_of(flags->id[n]))->value = flags->id[n];
	for (size_t i = 0; i < list->count; i++) {
		struct ls_dead_letter *letter = &list->letter[i];

		letter->chosen = (flags->all || ls_map_get(&named, letter->id)) &&
				 (!flags->code || ls_str_equal(letter->code, ls_str_of(flags->code)));
		count += letter->chosen;
	}
	ls_map_release(&named);
	return count;
}

/* ---- list ---- */

static void print_json(json_t *root)
{
	json_dumpf(root, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(root);
}

/* The terminal's width; 0 where the output is no terminal: nothing is cut then. */
static int terminal_columns(void)
{
	struct winsize size;

	return isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) ? size.ws_col : 0;
}

static void print_letters(const struct ls_dead_letter *const *letter, size_t count, size_t all, bool json)
{
	json_t *array = json_array();

	for (size_t i = 0; json && i < count; i++)
		json_array_append_new(array, ls_dead_json(letter[i]));
	if (json) {
		print_json(array);
		return;
	}
	json_decref(array);
	if (count)
		ls_dead_table(letter, count, terminal_columns(), stdout);
	if (!all)
		fprintf(stderr, "no dead letters\n");
	else
		fprintf(stderr,
			"%zu of %zu shown, the newest last; `lockstep dlq show ID` for one, `lockstep dlq retry "
			"ID|--all` "
			"once its cause is mended\n",
			count, all);
}

/* The newest `limit` letters of those that are meant, the newest last. */
static enum ls_exit list_letters(const struct dlq_flags *flags, const struct ls_dead_list *list)
{
	const struct ls_dead_letter **letter = calloc(list->count + 1, sizeof(const struct ls_dead_letter *));
	size_t count = 0, skip;

	if (!letter)
		abort();
	for (size_t i = 0; i < list->count; i++)
		if (!flags->code || ls_str_equal(list->letter[i].code, ls_str_of(flags->code)))
			letter[count++] = &list->letter[i];
	skip = count > (size_t)flags->limit ? count - (size_t)flags->limit : 0;
	print_letters(letter + skip, count - skip, list->count, flags->json);
	free(letter);
	return LS_EXIT_DONE;
}

/* ---- show ---- */

struct showing {
	struct ls_app *app;
	struct ls_decoder *decoder;
	struct ls_arena *arena;
};

static json_t *headers_json(const struct ls_message *record)
{
	struct ls_header header[MAX_HEADERS];
	size_t count = ls_message_headers(record, header, MAX_HEADERS);
	json_t *object = json_object();

	for (size_t i = 0; i < count && i < MAX_HEADERS; i++) {
		char name[256];

		snprintf(name, sizeof name, "%.*s", LS_ARG(header[i].name)); /* jansson leaves out what is no UTF-8 */
		json_object_set_new(object, name, ls_dead_text(header[i].value));
	}
	return object;
}

static json_t *hex(struct ls_str bytes)
{
	static const char digit[] = "0123456789abcdef";
	size_t len = bytes.len < HEX_BYTES ? bytes.len : HEX_BYTES;
	char out[2 * HEX_BYTES];

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digit[(unsigned char)bytes.ptr[i] >> 4];
		out[2 * i + 1] = digit[(unsigned char)bytes.ptr[i] & 15];
	}
	return json_stringn(out, len * 2);
}

/* The event as far as it can be seen. From a source it is JSON already, or nothing where it was too large to keep. */
static json_t *event_json(struct showing *showing, const struct ls_dead_letter *letter, const struct ls_message *record)
{
	json_t *made = NULL;
	struct ls_event event;
	struct ls_error err;
	struct ls_buf buf;

	if (letter->capture)
		made = json_loadb(record->value.ptr ? record->value.ptr : "", record->value.len, 0, NULL);
	ls_buf_init(&buf, 16 << 20);
	if (!letter->capture && showing->decoder &&
	    !ls_decode(showing->decoder, record->value, record->timestamp_us, showing->arena, &event, &err)) {
		ls_event_json(&event, &buf);
		made = json_loadb(buf.ptr, buf.len, 0, NULL);
	}
	ls_buf_release(&buf);
	ls_arena_reset(showing->arena);
	return made ? made : json_null();
}

static enum ls_class show_one(void *context, const struct ls_dead_letter *letter, const struct ls_message *record,
			      struct ls_error *err)
{
	struct showing *showing = context;
	json_t *root = ls_dead_json(letter);

	(void)err;
	json_object_set_new(root, "headers", headers_json(record));
	if (!letter->capture) {
		json_object_set_new(root, "key_hex", hex(letter->key));
		json_object_set_new(root, "value_hex", hex(record->value));
		json_object_set_new(root, "value_hex_cut", json_boolean(record->value.len > HEX_BYTES));
	}
	json_object_set_new(root, "event", event_json(showing, letter, record));
	print_json(root);
	return LS_OK;
}

/* ---- retry and drop ---- */

struct sending {
	struct ls_app *app;
	struct ls_producer *producer;
	char problem[200];
};

static void delivered(void *context, void *opaque, enum ls_class class, const char *problem, int64_t offset)
{
	struct sending *sending = context;

	(void)opaque;
	(void)offset;
	if (class)
		snprintf(sending->problem, sizeof sending->problem, "%s", problem);
}

static enum ls_class send_record(struct sending *sending, const char *topic, int32_t partition, struct ls_str key,
				 struct ls_str value, const struct ls_header *header, size_t count,
				 struct ls_error *err)
{
	enum ls_class class;

	do {
		class = ls_producer_send(sending->producer, topic, partition, key, value, header, count, sending, err);
		ls_producer_poll(sending->producer, class == LS_RETRY ? 20 : 0);
	} while (class == LS_RETRY && !ls_stop_is_set(&sending->app->stop));
	return class;
}

/* settle waits until Kafka has everything that was sent. */
static enum ls_class settle(struct sending *sending, struct ls_error *err)
{
	enum ls_class class = ls_producer_flush(sending->producer, 60000, err);

	if (!class && sending->problem[0])
		class = ls_fail(err, LS_RETRY, "produce",
				"not every record was taken: %s; the dead letters stay, try again", sending->problem);
	return class;
}

/* let_go puts a tombstone for every chosen letter. */
static enum ls_class let_go(struct sending *sending, const struct ls_dead_list *list, struct ls_error *err)
{
	enum ls_class class = LS_OK;

	for (size_t i = 0; !class && i < list->count; i++) {
		const struct ls_dead_letter *letter = &list->letter[i];
		char topic[LS_TOPIC_NAME], owner[LS_TOPIC_NAME];

		if (!letter->chosen)
			continue;
		snprintf(owner, sizeof owner, "%.*s", LS_ARG(letter->owner));
		ls_topic_dlq(topic, sending->app->config->prefix, owner);
		class = send_record(sending, topic, letter->dlq_partition, letter->id, (struct ls_str){ NULL, 0 }, NULL,
				    0, err);
	}
	return class ? class : settle(sending, err);
}

static enum ls_class retry_one(void *context, const struct ls_dead_letter *letter, const struct ls_message *record,
			       struct ls_error *err)
{
	size_t count = ls_message_headers(record, NULL, 0), n = 0;
	struct ls_header *header = calloc(count + 1, sizeof *header);
	char topic[LS_TOPIC_NAME], retries[24];
	struct ls_str value = record->value;
	enum ls_class class;

	if (!header)
		abort();
	ls_message_headers(record, header, count);
	for (size_t i = 0; i < count; i++) {
		if (ls_str_equal(header[i].name, LS_STR("lockstep.null")))
			value = (struct ls_str){ NULL, 0 };
		if (header[i].name.len < 9 || memcmp(header[i].name.ptr, "lockstep.", 9) != 0)
			header[n++] = header[i];
	}
	snprintf(topic, sizeof topic, "%.*s", LS_ARG(letter->topic));
	snprintf(retries, sizeof retries, "%lld", (long long)letter->retries + 1);
	header[n++] = (struct ls_header){ LS_STR("lockstep.retries"), ls_str_of(retries) };
	class = send_record(context, topic, letter->partition, letter->key, value, header, n, err);
	free(header);
	return class;
}

static void log_drops(struct ls_app *app, const struct ls_dead_list *list, const char *reason)
{
	for (size_t i = 0; i < list->count; i++) {
		char id[300];

		if (!list->letter[i].chosen)
			continue;
		snprintf(id, sizeof id, "%.*s", LS_ARG(list->letter[i].id));
		LS_LOG(app->log, LS_LOG_WARN, NULL, "dead letter dropped", LS_F("id", id), LS_F("reason", reason));
	}
}

struct acting {
	const struct ls_dead_list *list;
	ls_dead_visit *visit;
	void *context;
};

static enum ls_class act_on_owner(struct ls_app *app, const char *owner, void *arg, struct ls_error *err)
{
	struct acting *acting = arg;

	for (size_t i = 0; i < acting->list->count; i++)
		if (acting->list->letter[i].chosen && ls_str_equal(acting->list->letter[i].owner, ls_str_of(owner)))
			return ls_dead_each(app, owner, acting->list, acting->visit, acting->context, err);
	return LS_OK;
}

static void print_chosen(const struct ls_dead_list *list, const char *verb)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->letter[i].chosen)
			printf("would %s %.*s\n", verb, LS_ARG(list->letter[i].id));
}

/* keep_sendable takes those out of the choice that came from a source and never were in a topic. */
static size_t keep_sendable(struct ls_dead_list *list)
{
	size_t refused = 0;

	for (size_t i = 0; i < list->count; i++) {
		struct ls_dead_letter *letter = &list->letter[i];

		if (!letter->chosen || (letter->topic.len && !letter->capture))
			continue;
		letter->chosen = false;
		if (++refused <= NAMED)
			fprintf(stderr,
				"%.*s: never was in a topic, its source could not make an event of it; mend the row "
				"and it "
				"comes with its next change, then drop this letter\n",
				LS_ARG(letter->id));
	}
	if (refused > NAMED)
		fprintf(stderr, "and %zu more like these\n", refused - NAMED);
	return refused;
}

static enum ls_class send_again_and_let_go(struct ls_app *app, const struct dlq_flags *flags, struct ls_dead_list *list,
					   bool again, struct ls_error *err)
{
	struct sending sending = { .app = app };
	struct acting acting = { list, retry_one, &sending };
	enum ls_class class = ls_producer_open(&app->config->kafka, delivered, &sending, &sending.producer, err);

	if (!class && again)
		class = for_owners(app, flags, act_on_owner, &acting, err);
	if (!class)
		class = settle(&sending, err);
	if (!class)
		class = let_go(&sending, list, err);
	ls_producer_close(sending.producer);
	return class;
}

static enum ls_exit change(struct ls_app *app, const struct dlq_flags *flags, struct ls_dead_list *list, bool again)
{
	const char *verb = again ? "retry" : "drop";
	size_t chosen = choose(list, flags), refused = again ? keep_sendable(list) : 0;
	struct ls_error err;

	if (!chosen) {
		fprintf(stderr, "no dead letter is meant by that; see `lockstep dlq list`\n");
		return LS_EXIT_FAILED;
	}
	if (chosen == refused)
		return LS_EXIT_FAILED;
	if (flags->dry_run) {
		print_chosen(list, verb);
		return LS_EXIT_DONE;
	}
	if (send_again_and_let_go(app, flags, list, again, &err))
		return ls_app_fail(app, &err);
	if (!again)
		log_drops(app, list, flags->reason);
	printf("%zu dead letters: %s\n", chosen - refused, again ? "sent again" : "dropped");
	return refused ? LS_EXIT_FAILED : LS_EXIT_DONE;
}

static enum ls_exit show(struct ls_app *app, const struct dlq_flags *flags, struct ls_dead_list *list)
{
	struct showing showing = { .app = app, .arena = ls_arena_new(0) };
	struct acting acting = { list, show_one, &showing };
	struct ls_schemas *schemas = NULL;
	struct ls_error err;
	enum ls_class class;

	if (!choose(list, flags)) {
		ls_arena_free(showing.arena);
		fprintf(stderr, "no dead letter has that id; see `lockstep dlq list`\n");
		return LS_EXIT_FAILED;
	}
	if (!ls_app_schemas(app, &schemas, &err))
		showing.decoder = ls_decoder_new(schemas);
	class = for_owners(app, flags, act_on_owner, &acting, &err);
	ls_decoder_free(showing.decoder);
	ls_arena_free(showing.arena);
	return class ? ls_app_fail(app, &err) : LS_EXIT_DONE;
}

static enum ls_exit act(struct ls_app *app, const char *verb, const struct dlq_flags *flags, struct ls_dead_list *list)
{
	if (strcmp(verb, "list") == 0)
		return list_letters(flags, list);
	if (strcmp(verb, "show") == 0)
		return show(app, flags, list);
	if (strcmp(verb, "retry") == 0)
		return change(app, flags, list, true);
	if (!flags->reason && !flags->dry_run) {
		fprintf(stderr, "dlq drop needs --reason TEXT: it is the last trace of the event outside the log\n");
		return LS_EXIT_USAGE;
	}
	return change(app, flags, list, false);
}

static bool is_verb(const char *verb)
{
	static const char *const known[] = { "list", "show", "retry", "drop" };

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strcmp(verb, known[i]) == 0)
			return true;
	return false;
}

static enum ls_exit run(struct ls_app *app, int argc, char **argv)
{
	struct ls_dead_list list;
	struct dlq_flags flags;
	struct ls_error err;
	enum ls_exit exit;

	if (argc < 2 || !is_verb(argv[1]) || !parse_flags(argc - 1, argv + 1, &flags)) {
		fprintf(stderr, "usage: lockstep dlq list|show|retry|drop [ID...]; see `lockstep help dlq`\n");
		return LS_EXIT_USAGE;
	}
	flags.json = flags.json || app->json;
	ls_dead_list_init(&list);
	if (for_owners(app, &flags, read_owner, &list, &err)) {
		exit = ls_app_fail(app, &err);
	} else {
		ls_dead_list_sort(&list);
		exit = act(app, argv[1], &flags, &list);
	}
	ls_dead_list_release(&list);
	return exit;
}

const struct ls_command ls_command_dlq = {
	.name = "dlq",
	.arguments = "list|show|retry|drop [ID...]",
	.summary = "dead letters: look, send again, let go",
	.help = "  list                 what lies in the dead letter topics, the newest last\n"
		"  show ID...           one whole: headers, bytes in hex, the event where it can be decoded\n"
		"  retry ID...|--all    send the original bytes to their topic again, then take them out\n"
		"  drop ID...|--all     take them out; needs --reason\n"
		"  --destination NAME   only this destination's (or source's)\n"
		"  --code CODE          only those with this code\n"
		"  --limit N            list the newest N (100)\n"
		"  --reason TEXT        why they are dropped, for the log\n"
		"  --dry-run            say what would happen\n"
		"  --json               for machines\n",
	.run = run,
};
