/* How far each destination is: its marks beside the ends of the topics. */
#include "status.h"

#include "core/arena.h"
#include "dlq.h"
#include "dlq_print.h"
#include "kafka/topics.h"
#include "main/app.h"

#include <stdio.h>

enum { PATIENCE_MS = 4000 };

json_t *ls_status_kafka(struct ls_app *app)
{
	struct ls_error err;
	int brokers = 0;

	app->kafka_away = ls_kafka_reach(&app->config->kafka, PATIENCE_MS, &brokers, &err) != LS_OK;
	if (app->kafka_away)
		return json_pack("{s:n, s:s}", "brokers", "error", err.text);
	return json_pack("{s:i, s:n}", "brokers", brokers, "error");
}

/* age_of returns how long ago the message at this offset was written, in microseconds, or -1. */
static int64_t age_of(const struct ls_app *app, const char *topic, int32_t partition, int64_t offset)
{
	struct ls_reader *reader = NULL;
	struct ls_message message;
	struct ls_error err;
	int64_t age = -1, until = ls_monotonic_ms() + 3000;
	size_t count = 0;
	bool end = false;

	if (ls_reader_open(&app->config->kafka, topic, partition, offset, &reader, &err))
		return -1;
	while (!count && !end && ls_monotonic_ms() < until)
		if (ls_reader_next(reader, 100, &message, 1, &count, &end, &err))
			break;
	if (count) {
		age = ls_now_us() - message.timestamp_us;
		ls_message_free(&message);
	}
	ls_reader_close(reader);
	return age;
}

static enum ls_class partition_json(const struct ls_app *app, struct ls_admin *admin, const char *topic,
				    int32_t partition, const struct ls_mark *mark, json_t *into, int64_t *lag,
				    struct ls_error *err)
{
	int64_t low = 0, high = 0, next, age_us = 0;
	enum ls_class class = ls_admin_watermarks(admin, topic, partition, &low, &high, err);

	if (class)
		return class;
	next = mark && mark->next_offset >= 0 ? mark->next_offset : low;
	if (high > next) {
		age_us = age_of(app, topic, partition, next);
		*lag += high - next;
	}
	json_array_append_new(into,
			      json_pack("{s:s, s:i, s:I, s:I, s:I, s:f, s:I, s:I}", "topic", topic, "partition",
					partition, "next_offset", (json_int_t)next, "end_offset", (json_int_t)high,
					"lag_events", (json_int_t)(high > next ? high - next : 0), "lag_seconds",
					age_us > 0 ? (double)age_us / 1e6 : 0.0, "owner_epoch",
					(json_int_t)(mark ? mark->owner_epoch : 0), "max_version",
					(json_int_t)(mark && mark->max_version > 0 ? mark->max_version : 0)));
	return LS_OK;
}

static const struct ls_mark *mark_of(const struct ls_mark *mark, size_t count, const char *topic, int32_t partition)
{
	for (size_t i = 0; i < count; i++)
		if (mark[i].partition == partition && ls_str_equal(mark[i].topic, ls_str_of(topic)))
			return &mark[i];
	return NULL;
}

static enum ls_class topic_json(const struct ls_app *app, struct ls_admin *admin, const char *topic,
				const struct ls_mark *mark, size_t count, json_t *into, int64_t *lag,
				struct ls_error *err)
{
	struct ls_topic_info info = { 0 };
	enum ls_class class = ls_admin_topic(admin, topic, &info, err);

	for (int32_t i = 0; !class && i < info.partitions; i++)
		class = partition_json(app, admin, topic, i, mark_of(mark, count, topic, i), into, lag, err);
	return class;
}

static enum ls_class entities_json(const struct ls_app *app, const struct ls_destination_config *destination,
				   struct ls_admin *admin, const struct ls_mark *mark, size_t count, json_t *into,
				   int64_t *lag, struct ls_error *err)
{
	enum ls_class class = LS_OK;

	for (size_t i = 0; !class && i < destination->mapping_count; i++) {
		char topic[LS_TOPIC_NAME];

		ls_topic_events(topic, app->config->prefix, destination->mapping[i].entity);
		class = topic_json(app, admin, topic, mark, count, into, lag, err);
		ls_topic_priority(topic, app->config->prefix, destination->mapping[i].entity);
		if (!class)
			class = topic_json(app, admin, topic, mark, count, into, lag, err);
	}
	return class;
}

struct ls_destination_context ls_status_context(const struct ls_app *app,
						const struct ls_destination_config *destination)
{
	return (struct ls_destination_context){
		.name = destination->name,
		.mapping = destination->mapping,
		.mapping_count = destination->mapping_count,
		.ledger_schema = app->config->ledger_schema,
		.owner = "status",
		.ledger_full = destination->ledger_full,
		.stats = ls_stats_lane(app->stats, "status"),
	};
}

static enum ls_class dead_count(const struct ls_app *app, const char *name, json_t *into, struct ls_error *err)
{
	struct ls_dead_list list;
	enum ls_class class;

	ls_dead_list_init(&list);
	class = ls_dead_list_read(app, name, &list, err);
	if (!class) {
		ls_dead_list_sort(&list);
		json_object_set_new(into, "dead", json_integer((json_int_t)list.count));
		json_object_set_new(into, "last_dead_reason",
				    list.count ? ls_dead_text(list.letter[list.count - 1].reason) : json_null());
	}
	ls_dead_list_release(&list);
	return class;
}

/* What only the running process knows. */
static void add_counted(json_t *into, const char *name, const json_t *live)
{
	static const char *const pair[][2] = { { "applied", "applied" },      { "rejected", "stale" },
					       { "duplicates", "duplicate" }, { "dead_this_run", "dead" },
					       { "waiting", "waiting" },      { "partitions_held", "held" },
					       { "retries", "retries" },      { "lanes_up", "up" } };

	for (size_t i = 0; i < sizeof pair / sizeof *pair; i++)
		json_object_set_new(into, pair[i][0], ls_status_total(live, "sink", name, pair[i][1]));
	json_object_set_new(into, "last_error", ls_status_last_error(live, "sink", name));
}

/* The largest lag in seconds of all partitions. */
static double most_seconds(const json_t *partitions)
{
	double most = 0;
	json_t *part;
	size_t i;

	json_array_foreach(partitions, i, part)
	{
		double seconds = json_real_value(json_object_get(part, "lag_seconds"));

		most = seconds > most ? seconds : most;
	}
	return most;
}

static enum ls_class add_lag(const struct ls_app *app, const struct ls_destination_config *destination,
			     struct ls_admin *admin, json_t *into, struct ls_error *err)
{
	struct ls_destination_context context = ls_status_context(app, destination);
	struct ls_arena *arena = ls_arena_new(0);
	json_t *partitions = json_array();
	struct ls_mark *mark = NULL;
	size_t count = 0;
	int64_t lag = 0;
	enum ls_class class = destination->ops->marks(destination->options, &context, arena, &mark, &count, err);

	if (!class)
		class = entities_json(app, destination, admin, mark, count, partitions, &lag, err);
	json_object_set_new(into, "lag_events", class ? json_null() : json_integer((json_int_t)lag));
	json_object_set_new(into, "lag_seconds", class ? json_null() : json_real(most_seconds(partitions)));
	json_object_set_new(into, "partitions", partitions);
	ls_arena_free(arena);
	return class;
}

/* Dead letters are in Kafka: they are counted also where the destination does not answer. */
static json_t *destination_json(const struct ls_app *app, const struct ls_destination_config *destination,
				struct ls_admin *admin, const json_t *live)
{
	json_t *object = json_pack("{s:s, s:s, s:n, s:n, s:[], s:n, s:n, s:n}", "name", destination->name, "type",
				   destination->ops->kind, "lag_events", "lag_seconds", "partitions", "dead",
				   "last_dead_reason", "error");
	struct ls_error err;

	add_counted(object, destination->name, live);
	if (!admin) {
		json_object_set_new(object, "error",
				    json_string("Kafka does not answer: lag and dead letters are not known"));
		return object;
	}
	if (add_lag(app, destination, admin, object, &err))
		json_object_set_new(object, "error", json_string(err.text));
	if (dead_count(app, destination->name, object, &err) && json_is_null(json_object_get(object, "error")))
		json_object_set_new(object, "error", json_string(err.text));
	return object;
}

json_t *ls_status_destinations(const struct ls_app *app, const json_t *live)
{
	struct ls_admin *admin = NULL;
	json_t *array = json_array();
	struct ls_error err;

	if (!app->kafka_away && ls_admin_open(&app->config->kafka, &admin, &err))
		admin = NULL;
	for (size_t i = 0; i < app->config->destination_count; i++)
		json_array_append_new(array, destination_json(app, &app->config->destination[i], admin, live));
	ls_admin_close(admin);
	return array;
}
