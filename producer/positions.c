/* Position records: JSON in and out, and the newest one of a source. Not here: when they are written. */
#include "positions.h"

#include "core/arena.h"
#include "core/buf.h"
#include "core/time.h"
#include "kafka/client.h"
#include "lockstep/event.h"

#include <jansson.h>

#include <stdlib.h>

enum { FETCH = 100, WAIT_MS = 500, PATIENCE_MS = 60 * 1000, SAVE_MS = 30 * 1000, VALUE_MAX = 4 * 1024 * 1024 };

static void json_release(json_t **json)
{
	json_decref(*json);
}

void ls_position_print(const struct ls_position *record, struct ls_buf *out)
{
	char at[25];
	char *text;
	json_t *json = json_object();

	ls_time_format(record->updated_us, at);
	json_object_set_new(json, "source", json_stringn(record->source.ptr, record->source.len));
	json_object_set_new(json, "position", json_stringn(record->position.ptr, record->position.len));
	json_object_set_new(json, "version", record->version == LS_NONE ? json_null() : json_integer(record->version));
	json_object_set_new(json, "updated_at", json_string(at));
	json_object_set_new(json, "writer", json_stringn(record->writer.ptr, record->writer.len));
	if (record->epoch)
		json_object_set_new(json, "epoch", json_integer(record->epoch));
	text = json_dumps(json, JSON_COMPACT);
	if (!text)
		abort(); /* only out of memory: every value above is ours */
	ls_buf_add_text(out, text);
	free(text);
	json_decref(json);
}

static struct ls_str text_of(const json_t *json, struct ls_arena *arena)
{
	return ls_arena_str(arena, (struct ls_str){ json_string_value(json), json_string_length(json) });
}

enum ls_class ls_position_parse(struct ls_str text, struct ls_arena *arena, struct ls_position *ret,
				struct ls_error *err)
{
	json_error_t at;
	__attribute__((cleanup(json_release))) json_t *json = json_loadb(text.ptr ? text.ptr : "", text.len, 0, &at);
	const json_t *source = json_object_get(json, "source"), *position = json_object_get(json, "position");
	const json_t *version = json_object_get(json, "version"), *writer = json_object_get(json, "writer");
	const json_t *epoch = json_object_get(json, "epoch");

	if (!json_is_object(json))
		return ls_fail(err, LS_FATAL, "position", "the record is not a JSON object: %s",
			       json ? "it is another JSON value" : at.text);
	if (!json_is_string(source) || !json_is_string(position))
		return ls_fail(err, LS_FATAL, "position", "\"%s\" is not a string in the record",
			       json_is_string(source) ? "position" : "source");
	if (version && !json_is_integer(version) && !json_is_null(version))
		return ls_fail(err, LS_FATAL, "position", "\"version\" is neither an integer nor null in the record");
	if (epoch && (!json_is_integer(epoch) || json_integer_value(epoch) < 0))
		return ls_fail(err, LS_FATAL, "position", "\"epoch\" is no count in the record");
	*ret = (struct ls_position){
		.source = text_of(source, arena),
		.position = text_of(position, arena),
		.version = json_is_integer(version) ? (int64_t)json_integer_value(version) : LS_NONE,
		.writer = json_is_string(writer) ? text_of(writer, arena) : LS_STR(""),
		.epoch = (int64_t)json_integer_value(epoch),
	};
	return LS_OK;
}

/* The newest record of the source so far, as it stands in the topic. */
struct newest {
	struct ls_str source;
	struct ls_buf value; /* empty: none */
	int64_t epoch, version;
	struct ls_arena *arena;
	int32_t partition;
	int64_t offset;
};

/* is_late: a capture that was no longer the source's said it, after the one that took over from it. What cannot be read
 * is not late: it is an error, unless a record follows. */
static bool is_late(struct newest *newest, struct ls_str value)
{
	struct ls_position record;
	struct ls_error ignored;
	bool late;

	ls_arena_reset(newest->arena);
	if (!value.len || ls_position_parse(value, newest->arena, &record, &ignored))
		record = (struct ls_position){ .version = LS_NONE };
	late = record.epoch &&
	       (record.epoch < newest->epoch || (record.epoch == newest->epoch && record.version < newest->version));
	if (late)
		return true;
	newest->epoch = record.epoch;
	newest->version = record.version;
	return false;
}

static enum ls_class take(struct newest *newest, const char *topic, const struct ls_message *message,
			  struct ls_error *err)
{
	if (message->class)
		return ls_fail(err, message->class, "position", "%s[%d]@%lld: %s", topic, (int)message->partition,
			       (long long)message->offset, message->problem);
	if (!message->has_key || !ls_str_equal(message->key, newest->source))
		return LS_OK;
	if (is_late(newest, message->has_value ? message->value : LS_STR("")))
		return LS_OK;
	ls_buf_clear(&newest->value);
	if (message->has_value)
		ls_buf_add_str(&newest->value, message->value);
	newest->partition = message->partition;
	newest->offset = message->offset;
	return LS_OK;
}

/* Every message is freed, also after the first that is wrong. */
static enum ls_class take_all(struct newest *newest, const char *topic, struct ls_message *message, size_t count,
			      struct ls_error *err)
{
	enum ls_class class = LS_OK;

	for (size_t i = 0; i < count; i++) {
		if (!class)
			class = take(newest, topic, &message[i], err);
		ls_message_free(&message[i]);
	}
	return class;
}

static enum ls_class read_all(struct ls_reader *reader, const char *topic, struct newest *newest, struct ls_error *err)
{
	int64_t deadline_ms = ls_monotonic_ms() + PATIENCE_MS;
	struct ls_message message[FETCH];
	bool end = false;

	while (!end) {
		size_t count = 0;
		enum ls_class class = ls_reader_next(reader, WAIT_MS, message, FETCH, &count, &end, err);

		if (!class)
			class = take_all(newest, topic, message, count, err);
		if (class)
			return class;
		if (count)
			deadline_ms = ls_monotonic_ms() + PATIENCE_MS;
		else if (!end && ls_monotonic_ms() > deadline_ms)
			return ls_fail(err, LS_RETRY, "position", "topic %s gave nothing for %d s before its end",
				       topic, PATIENCE_MS / 1000);
	}
	return LS_OK;
}

static enum ls_class parse(const struct newest *newest, const char *topic, struct ls_arena *arena,
			   struct ls_position *ret, struct ls_error *err)
{
	if (newest->value.full)
		ls_fail(err, LS_FATAL, "position", "the record is larger than %d bytes", VALUE_MAX);
	else if (!newest->value.len) {
		*ret = (struct ls_position){ .version = LS_NONE };
		return LS_OK;
	} else if (!ls_position_parse(ls_buf_str(&newest->value), arena, ret, err)) {
		return LS_OK;
	}
	return ls_fail_in(err,
			  "position of source \"%.*s\" at %s[%d]@%lld (write a right record, or a tombstone with that "
			  "key to begin again)",
			  LS_ARG(newest->source), topic, (int)newest->partition, (long long)newest->offset);
}

enum ls_class ls_positions_load(const struct ls_kafka_conf *conf, const char *topic, struct ls_str source,
				struct ls_arena *arena, struct ls_position *ret, struct ls_error *err)
{
	struct newest newest = { .source = source, .version = LS_NONE };
	struct ls_reader *reader = NULL;
	enum ls_class class = ls_reader_open(conf, topic, -1, -1, &reader, err);

	if (class)
		return class;
	ls_buf_init(&newest.value, VALUE_MAX);
	newest.arena = ls_arena_new(0);
	class = read_all(reader, topic, &newest, err);
	ls_reader_close(reader);
	if (!class)
		class = parse(&newest, topic, arena, ret, err);
	ls_buf_release(&newest.value);
	ls_arena_free(newest.arena);
	return class;
}

static void delivered(void *context, void *opaque, enum ls_class class, const char *problem, int64_t offset)
{
	struct ls_error *lost = context;

	(void)opaque;
	(void)offset;
	if (class)
		ls_fail(lost, class, "delivery", "Kafka did not take the record: %s",
			problem ? problem : "no reason given");
}

enum ls_class ls_positions_save(const struct ls_kafka_conf *conf, const char *topic, const struct ls_position *record,
				struct ls_error *err)
{
	struct ls_error lost = { .class = LS_OK };
	struct ls_producer *producer = NULL;
	struct ls_str value = { NULL, 0 };
	struct ls_buf text;
	enum ls_class class = ls_producer_open(conf, delivered, &lost, &producer, err);

	if (class)
		return class;
	ls_buf_init(&text, VALUE_MAX);
	if (record->position.len) {
		ls_position_print(record, &text);
		value = ls_buf_str(&text);
	}
	class = text.full ? ls_fail(err, LS_FATAL, "position", "the record is larger than %d bytes", VALUE_MAX)
			  : ls_producer_send(producer, topic, -1, record->source, value, NULL, 0, &lost, err);
	if (!class)
		class = ls_producer_flush(producer, SAVE_MS, err);
	if (!class && lost.class) {
		*err = lost;
		class = lost.class;
	}
	ls_producer_close(producer);
	ls_buf_release(&text);
	return class ? ls_fail_in(err, "position of source \"%.*s\" to topic %s", LS_ARG(record->source), topic)
		     : LS_OK;
}
