/* Tried, not assumed: a stale event, a duplicate, another key and garbage go through scratch topics, the state through
 * a scratch versions topic and back. What is compared came out of Kafka again, by the decoder that sinks use. */
#include "check_topics.h"

#include "avro/codec.h"
#include "check_schemas.h"
#include "core/arena.h"
#include "core/buf.h"
#include "kafka/topics.h"
#include "lockstep/report.h"
#include "lockstep/stamp.h"
#include "main/app.h"

#include <stdio.h>
#include <stdlib.h>

enum { EVENTS, VERSIONS, DLQ, TOPICS };
enum { ARENA_BYTES = 4 << 20, BUF_BYTES = 1 << 20, PATIENCE_MS = 10000, LEFT_BEHIND_S = 3600, HEADERS = 16 };

/* The log that is tried, by offset. */
enum { NEWEST, STALE, AGAIN, OTHER_KEY, GARBAGE, LATE_STALE, RECORDS };

static const struct ls_str garbage = { "\xc3\x01 no event \0\xff", 14 };

static const struct ls_column columns[] = {
	{ { "id", 2 }, { .kind = LS_INT32 }, true },
	{ { "name", 4 }, { .kind = LS_STRING }, false },
};
static const struct ls_schema row_schema = { { "check", 5 }, columns, 2 };

struct trial {
	struct ls_app *app;
	struct ls_report *report;
	char topic[TOPICS][LS_TOPIC_NAME];
	struct ls_admin *admin;
	struct ls_producer *producer;
	struct ls_schemas *schemas;
	struct ls_encoder *encoder;
	struct ls_decoder *decoder;
	struct ls_state_codec *codec;
	struct ls_arena *arena;
	struct ls_buf buf;
	size_t sent, acked;
	char problem[160];
	struct ls_state state[2]; /* of the keys 1 and 2 */
	size_t applied[2];
	enum ls_verdict verdict[RECORDS];
	char reason[480]; /* why the garbage is no event */
	bool garbage_refused, garbage_kept;
};

static void delivered(void *context, void *opaque, enum ls_class class, const char *problem, int64_t offset)
{
	struct trial *trial = context;

	(void)opaque;
	(void)offset;
	trial->acked++;
	if (class && !trial->problem[0])
		snprintf(trial->problem, sizeof trial->problem, "%s", problem);
}

static enum ls_class send(struct trial *trial, int topic, struct ls_str key, struct ls_str value,
			  const struct ls_header *header, size_t count, struct ls_error *err)
{
	trial->sent++;
	return ls_producer_send(trial->producer, trial->topic[topic], 0, key, value, header, count, trial, err);
}

static enum ls_class settle(struct trial *trial, struct ls_error *err)
{
	enum ls_class class = ls_producer_flush(trial->producer, PATIENCE_MS, err);

	if (!class && (trial->problem[0] || trial->acked != trial->sent))
		class = ls_fail(err, LS_RETRY, "produce", "%zu of %zu records were acknowledged%s%s", trial->acked,
				trial->sent, trial->problem[0] ? ": " : "", trial->problem);
	return class;
}

/* ---- scratch topics ---- */

int64_t ls_check_topic_age(const char *name, const char *prefix, int64_t now_s)
{
	size_t len = strlen(prefix);
	char *end;
	long long then;

	if (strncmp(name, prefix, len) != 0 || strncmp(name + len, ".check-", 7) != 0)
		return -1;
	then = strtoll(name + len + 7, &end, 16);
	if (end == name + len + 7 || *end != '-' || then <= 0 || then > now_s)
		return -1;
	return now_s - then;
}

static void name_topics(struct trial *trial)
{
	static const char *const last[TOPICS] = { "events", "versions", "dlq" };
	uint64_t seed = (uint64_t)ls_now_us(), random = ls_random(&seed);

	for (int i = 0; i < TOPICS; i++)
		snprintf(trial->topic[i], LS_TOPIC_NAME, "%s.check-%llx-%08llx.%s", trial->app->config->prefix,
			 (unsigned long long)(ls_now_us() / 1000000), (unsigned long long)(random >> 32), last[i]);
}

static enum ls_class make_topics(struct trial *trial, struct ls_error *err)
{
	static const struct ls_pair kept[] = { { LS_STR("cleanup.policy"), LS_STR("delete") } };
	static const struct ls_pair compacted[] = { { LS_STR("cleanup.policy"), LS_STR("compact") },
						    { LS_STR("min.compaction.lag.ms"), LS_STR("3600000") } };
	static const struct ls_pair both[] = { { LS_STR("cleanup.policy"), LS_STR("compact,delete") } };
	int copies = (int)trial->app->config->replication_factor;
	const struct ls_topic_spec spec[TOPICS] = {
		{ trial->topic[EVENTS], 1, copies, kept, 1 },
		{ trial->topic[VERSIONS], 1, copies, compacted, 2 },
		{ trial->topic[DLQ], 1, copies, both, 1 },
	};

	return ls_admin_create(trial->admin, spec, TOPICS, err);
}

struct left {
	const char *prefix;
	char name[32][LS_TOPIC_NAME + 8];
	size_t count;
};

static void note_left(const struct ls_topic_info *topic, void *arg)
{
	struct left *left = arg;

	if (left->count < 32 && ls_check_topic_age(topic->name, left->prefix, ls_now_us() / 1000000) > LEFT_BEHIND_S)
		snprintf(left->name[left->count++], sizeof left->name[0], "%s", topic->name);
}

/* What a check left that was killed in the middle goes with the next one, an hour later. */
static void sweep(struct trial *trial)
{
	struct left left = { .prefix = trial->app->config->prefix };
	const char *name[32];
	struct ls_error ignored;

	if (ls_admin_list(trial->admin, left.prefix, note_left, &left, &ignored))
		return;
	for (size_t i = 0; i < left.count; i++)
		name[i] = left.name[i];
	if (left.count)
		(void)ls_admin_delete(trial->admin, name, left.count, &ignored);
}

static enum ls_class drop_topics(struct trial *trial, struct ls_error *err)
{
	const char *name[TOPICS];

	for (int i = 0; i < TOPICS; i++)
		name[i] = trial->topic[i];
	return ls_admin_delete(trial->admin, name, TOPICS, err);
}

/* ---- publishing ---- */

static enum ls_class send_event(struct trial *trial, const char *event_id, const char *source, const char *id,
				int64_t version, struct ls_error *err)
{
	struct ls_value value[2] = { { LS_PRESENT, ls_str_of(id) }, { LS_PRESENT, ls_str_of(event_id) } };
	struct ls_event event = { .event_id = ls_str_of(event_id),
				  .source = ls_str_of(source),
				  .entity = row_schema.entity,
				  .entity_id = ls_str_of(id),
				  .change = LS_UPDATE,
				  .timestamp_us = version,
				  .version = version,
				  .base_version = LS_NONE,
				  .base_offset = LS_NONE,
				  .after = { &row_schema, value } };
	enum ls_class class;

	ls_buf_clear(&trial->buf);
	class = ls_encode(trial->encoder, &event, &trial->buf, err);
	return class ? class : send(trial, EVENTS, event.entity_id, ls_buf_str(&trial->buf), NULL, 0, err);
}

static enum ls_class send_log(struct trial *trial, struct ls_error *err)
{
	const struct ls_header header = { LS_STR("check"), LS_STR("kept \x01\xff") };
	enum ls_class class = send_event(trial, "newest", "a", "1", 10, err);

	if (!class)
		class = send_event(trial, "stale", "b", "1", 5, err);
	if (!class)
		class = send_event(trial, "newest", "a", "1", 10, err);
	if (!class)
		class = send_event(trial, "other", "b", "2", 6, err);
	if (!class)
		class = send(trial, EVENTS, LS_STR("1"), garbage, &header, 1, err);
	if (!class)
		class = send_event(trial, "late", "c", "1", 7, err);
	return class ? class : settle(trial, err);
}

static enum ls_class send_state(struct trial *trial, struct ls_error *err)
{
	static const struct ls_str key[] = { LS_STR("1"), LS_STR("2") };
	enum ls_class class = LS_OK;

	for (size_t i = 0; !class && i < 2; i++) {
		ls_buf_clear(&trial->buf);
		ls_state_encode(trial->codec, &trial->state[i], &trial->buf);
		class = send(trial, VERSIONS, key[i], ls_buf_str(&trial->buf), NULL, 0, err);
	}
	return class ? class : settle(trial, err);
}

/* ---- reading back ---- */

typedef enum ls_class take_record(struct trial *trial, const struct ls_message *message, struct ls_error *err);

static enum ls_class read_back(struct trial *trial, int topic, int64_t from, size_t want, take_record *take,
			       struct ls_error *err)
{
	int64_t until = ls_monotonic_ms() + PATIENCE_MS;
	struct ls_reader *reader = NULL;
	enum ls_class class = ls_reader_open(&trial->app->config->kafka, trial->topic[topic], 0, from, &reader, err);
	size_t got = 0;

	while (!class && got < want) {
		struct ls_message message;
		size_t count = 0;
		bool end = false;

		class = ls_reader_next(reader, 100, &message, 1, &count, &end, err);
		if (!class && count) {
			class = message.class ? ls_fail(err, message.class, "fetch", "%s", message.problem)
					      : take(trial, &message, err);
			ls_message_free(&message);
		}
		got += count;
		if (!class && got < want && (end || ls_monotonic_ms() > until))
			class = ls_fail(err, LS_RETRY, "fetch", "%zu of %zu acknowledged records came back from %s",
					got, want, trial->topic[topic]);
	}
	ls_reader_close(reader);
	return class;
}

/* The garbage becomes a dead letter as sinks write them: bytes and headers as they were, the reason beside them. */
static enum ls_class bury(struct trial *trial, const struct ls_message *message, const struct ls_error *why,
			  struct ls_error *err)
{
	struct ls_header header[HEADERS + 1];
	size_t count = ls_message_headers(message, header, HEADERS);

	trial->garbage_refused = message->offset == GARBAGE;
	snprintf(trial->reason, sizeof trial->reason, "%s", why->text);
	header[count++] = (struct ls_header){ LS_STR("lockstep.reason"), ls_str_of(trial->reason) };
	return send(trial, DLQ, LS_STR("check-0-4"), message->value, header, count, err);
}

static enum ls_class take_event(struct trial *trial, const struct ls_message *message, struct ls_error *err)
{
	struct ls_event event;
	struct ls_error why;
	enum ls_class class =
		ls_decode(trial->decoder, message->value, message->timestamp_us, trial->arena, &event, &why);
	size_t key;

	if (class == LS_POISON)
		return bury(trial, message, &why, err);
	if (class || message->offset >= RECORDS || message->offset < 0)
		return ls_fail(err, class ? class : LS_FATAL, "check", "%s", class ? why.text : "an offset too many");
	/* The last one waits until the state has been lost and restored. */
	key = ls_str_equal(event.entity_id, LS_STR("2"));
	trial->verdict[message->offset] = ls_decide(&trial->state[key], &event, message->offset).verdict;
	trial->applied[key] += trial->verdict[message->offset] == LS_APPLY;
	return LS_OK;
}

static enum ls_class take_state(struct trial *trial, const struct ls_message *message, struct ls_error *err)
{
	struct ls_state state;
	enum ls_class class = ls_state_decode(trial->codec, message->value, trial->arena, &state, err);

	if (!class)
		ls_state_join(&trial->state[ls_str_equal(message->key, LS_STR("2"))], &state);
	return class;
}

static enum ls_class take_dead(struct trial *trial, const struct ls_message *message, struct ls_error *err)
{
	struct ls_header header[HEADERS];
	size_t count = ls_message_headers(message, header, HEADERS);

	(void)err;
	trial->garbage_kept = ls_str_equal(message->value, garbage) && count == 2 &&
			      ls_str_equal(header[0].name, LS_STR("check")) &&
			      ls_str_equal(header[0].value, LS_STR("kept \x01\xff")) &&
			      ls_str_equal(header[1].value, ls_str_of(trial->reason));
	return LS_OK;
}

/* ---- the walk ---- */

static enum ls_class open_all(struct trial *trial, struct ls_error *err)
{
	trial->schemas = ls_schemas_new(ls_check_schemas_new(), NULL, trial->app->config->prefix);
	trial->encoder = ls_encoder_new(trial->schemas);
	trial->decoder = ls_decoder_new(trial->schemas);
	trial->codec = ls_state_codec_new();
	trial->arena = ls_arena_new(ARENA_BYTES);
	ls_buf_init(&trial->buf, BUF_BYTES);
	return ls_producer_open(&trial->app->config->kafka, delivered, trial, &trial->producer, err);
}

static void close_all(struct trial *trial)
{
	ls_producer_close(trial->producer);
	ls_encoder_free(trial->encoder);
	ls_decoder_free(trial->decoder);
	ls_schemas_free(trial->schemas);
	ls_state_codec_free(trial->codec);
	ls_arena_free(trial->arena);
	ls_buf_release(&trial->buf);
}

static enum ls_class walk(struct trial *trial, struct ls_error *err)
{
	enum ls_class class = send_log(trial, err);

	if (!class)
		class = read_back(trial, EVENTS, 0, LATE_STALE, take_event, err);
	if (!class)
		class = settle(trial, err);
	if (!class)
		class = send_state(trial, err);
	if (class)
		return class;
	memset(trial->state, 0, sizeof trial->state); /* a sink that lost its state directory */
	class = read_back(trial, VERSIONS, 0, 2, take_state, err);
	if (!class)
		class = read_back(trial, EVENTS, LATE_STALE, 1, take_event, err);
	return class ? class : read_back(trial, DLQ, 0, 1, take_dead, err);
}

/* ---- findings ---- */

static void say(const struct trial *trial, enum ls_check check, bool good, const char *what)
{
	ls_report_add(trial->report, check, good ? LS_LEVEL_OK : LS_LEVEL_FAILED, "scratch topics",
		      good ? NULL
			   : "look for a proxy that changes records; else this is a fault of lockstep: report it",
		      "%s%s", good ? "" : "NOT true that ", what);
}

static void report_walk(const struct trial *trial, int64_t took_ms)
{
	const enum ls_verdict *verdict = trial->verdict;
	char text[400];

	snprintf(text, sizeof text,
		 "version 10 won against version 5 of another source, and against version 7 after its state was "
		 "lost and restored from the versions topic; %zu records in %lld ms",
		 trial->acked, (long long)took_ms);
	say(trial, LS_CHECK_CONFLICT_RESOLUTION,
	    verdict[NEWEST] == LS_APPLY && verdict[STALE] == LS_STALE && verdict[LATE_STALE] == LS_STALE &&
		    trial->state[0].stamp.version == 10,
	    text);
	snprintf(text, sizeof text,
		 "%zu bytes that are no event came back from the dead letters byte for byte with their headers, "
		 "and the other key went on",
		 garbage.len);
	say(trial, LS_CHECK_ERROR_HANDLING,
	    trial->garbage_refused && trial->garbage_kept && verdict[OTHER_KEY] == LS_APPLY, text);
	say(trial, LS_CHECK_IDEMPOTENCY,
	    trial->applied[0] == 1 && trial->applied[1] == 1 && verdict[AGAIN] == LS_APPLY_AGAIN,
	    "an event delivered twice was decided once: the second was recognised as the same write");
}

static void report_untried(struct ls_report *report, const char *fix, const char *why)
{
	static const enum ls_check check[] = { LS_CHECK_CONFLICT_RESOLUTION, LS_CHECK_ERROR_HANDLING,
					       LS_CHECK_IDEMPOTENCY };

	for (size_t i = 0; i < sizeof check / sizeof *check; i++)
		ls_report_add(report, check[i], LS_LEVEL_WARNING, "scratch topics", fix, "could not be tried: %s", why);
}

static void try_on_topics(struct trial *trial)
{
	struct ls_error err;
	int64_t begun = ls_monotonic_ms();
	enum ls_class class = make_topics(trial, &err);

	if (class) {
		report_untried(trial->report, "allow Create and Delete on topics of this prefix to this user",
			       err.text);
	} else {
		class = open_all(trial, &err);
		if (!class)
			class = walk(trial, &err);
		close_all(trial);
		if (class)
			report_untried(trial->report, "mend what the message says, then check again", err.text);
		else
			report_walk(trial, ls_monotonic_ms() - begun);
	}
	/* Some may have been made even where the making failed. */
	if (drop_topics(trial, &err) && !class)
		ls_report_add(trial->report, LS_CHECK_ERROR_HANDLING, LS_LEVEL_WARNING, "scratch topics",
			      "allow Delete on topics of this prefix to this user; delete them by hand",
			      "could not be deleted: %s", err.text);
}

void ls_check_topics(struct ls_app *app, struct ls_report *report)
{
	struct trial trial = { .app = app, .report = report };
	struct ls_error err;

	if (app->kafka_away) {
		report_untried(report, "see what is said of Kafka", "Kafka does not answer");
		return;
	}
	name_topics(&trial);
	if (ls_admin_open(&app->config->kafka, &trial.admin, &err)) {
		report_untried(report, "see what is said of Kafka", err.text);
		return;
	}
	sweep(&trial);
	try_on_topics(&trial);
	ls_admin_close(trial.admin);
}
