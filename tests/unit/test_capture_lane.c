/* The capture lane with a source made up here and librdkafka's mock cluster: what is acknowledged, saved and confirmed,
 * in which order, and that nothing is lost or renumbered on the way. */
#include "lane.h"

#include "avro/codec.h"
#include "config/config.h"
#include "core/arena.h"
#include "main/app.h"
#include "mock_kafka.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
#include <cmocka.h>

enum { MOST = 6000, DEADLINE_MS = 30000, BROKER = 1 };

static const struct ls_column columns[] = {
	{ LS_STR("id"), { .kind = LS_INT64, .native = LS_STR("bigint") }, true },
	{ LS_STR("name"), { .kind = LS_STRING, .native = LS_STR("text") }, false },
};
static const struct ls_schema contact = { LS_STR("contact"), columns, 2 };
static const struct ls_str key[] = { LS_STR("id") };
static const struct ls_mapping mapping = {
	.entity = "contact", .place = "public.contacts", .key = key, .key_count = 1
};

/* ---- schemas in memory ---- */

struct memory_store {
	struct ls_schema_store base;
	uint64_t id;
	char *json;
	int failures; /* so many publishes fail first */
};

static enum ls_class memory_find(struct ls_schema_store *base, bool by_id, uint64_t id, char **ret,
				 struct ls_error *err)
{
	struct memory_store *store = (struct memory_store *)base;

	if (by_id || !store->json || id != store->id)
		return ls_fail(err, LS_POISON, "schema", "no such schema");
	*ret = strdup(store->json);
	return LS_OK;
}

static enum ls_class memory_publish(struct ls_schema_store *base, struct ls_str subject, struct ls_str json,
				    bool *ret_by_id, uint64_t *ret_id, struct ls_error *err)
{
	struct memory_store *store = (struct memory_store *)base;

	(void)subject;
	if (store->failures-- > 0)
		return ls_fail(err, LS_RETRY, "schema", "not now");
	if (ls_avro_fingerprint(json, &store->id, err))
		return err->class;
	free(store->json);
	store->json = strndup(json.ptr, json.len);
	*ret_by_id = false;
	*ret_id = store->id;
	return LS_OK;
}

static struct ls_schema_store *memory_close(struct ls_schema_store *base)
{
	struct memory_store *store = (struct memory_store *)base;

	free(store->json);
	free(store);
	return NULL;
}

/* ---- the world: configuration, source and what it saw ---- */

struct world {
	struct ls_source base; /* the source itself: there is one at a time */
	struct mock_kafka *mock;
	struct memory_store *store;
	struct ls_config config;
	struct ls_source_config source;
	struct ls_app app;
	struct ls_lane *lane;
	struct ls_source_ops ops;

	size_t total, next, batch;
	size_t silent_from; /* no positions from this event on */
	size_t snapshot;    /* so many events are rows of a snapshot, with a version of their own */
	size_t confirmed, confirms;
	size_t stop_at_next; /* stop when so many were handed over; 0: when all are confirmed */
	size_t poison[4], keepalives;
	bool down_at_start; /* the broker goes away before the first event, */
	size_t up_after;    /* and comes back after so many keepalives */
	int64_t opened_floor, deadline_ms;
	char opened[32];
	bool wrong_order;
};

static size_t count_records(struct world *world, const char *topic, struct ls_message *out, size_t max)
{
	struct ls_reader *reader;
	struct ls_error err;
	size_t count = 0;
	bool end = false;

	assert_int_equal(ls_reader_open(&world->mock->conf, topic, -1, -1, &reader, &err), LS_OK);
	while (!end && count < max) {
		size_t got = 0;

		if (ls_reader_next(reader, 1000, out + count, max - count, &got, &end, &err))
			fail_msg("%s: %s", topic, err.text);
		count += got;
	}
	for (size_t i = 0; i < count; i++)
		ls_message_free(&out[i]);
	ls_reader_close(reader);
	return count;
}

static enum ls_class fake_open(const void *options, const struct ls_source_context *context, struct ls_str position,
			       int64_t floor, struct ls_source **ret, struct ls_error *err)
{
	struct world *world = *(struct world *const *)options;

	(void)context, (void)err;
	snprintf(world->opened, sizeof(world->opened), "%.*s", LS_ARG(position));
	world->opened_floor = floor;
	world->next = (size_t)strtoull(world->opened, NULL, 10);
	world->base.ops = &world->ops;
	*ret = &world->base;
	return LS_OK;
}

static bool is_poison(const struct world *world, size_t i)
{
	for (size_t j = 0; j < 4; j++)
		if (world->poison[j] == i + 1)
			return true;
	return false;
}

/* Commit times tie and step back: only the floor keeps the numbers the same. */
static void make_event(struct world *world, size_t i, struct ls_batch *into)
{
	struct ls_value *value = ls_arena_zalloc(into->arena, 2 * sizeof(*value));
	struct ls_event *event = &into->event[into->count++];

	*event = (struct ls_event){ .event_id = ls_arena_printf(into->arena, "e%zu", i),
				    .source = LS_STR("fake"),
				    .entity = LS_STR("contact"),
				    .entity_id = ls_arena_printf(into->arena, "%zu", i % 50),
				    .change = LS_UPDATE,
				    .timestamp_us = 1000000 - (int64_t)(i % 7) * 1000,
				    .version = LS_NONE,
				    .base_version = LS_NONE,
				    .base_offset = LS_NONE };
	value[0] = (struct ls_value){ LS_PRESENT, event->entity_id };
	value[1] = (struct ls_value){ LS_PRESENT, ls_arena_printf(into->arena, "name %zu", i) };
	event->after = (struct ls_row){ &contact, value };
	if (i < world->snapshot) {
		event->change = LS_SNAPSHOT;
		event->version = event->timestamp_us = 5000000;
	}
	if (!is_poison(world, i))
		return;
	if (i % 2)
		event->entity_id = LS_STR("");
	else
		value[0].text = LS_STR("not a number");
}

static enum ls_class fake_poll(struct ls_source *src, int timeout_ms, struct ls_batch *into, struct ls_error *err)
{
	struct world *world = (struct world *)src;
	bool done = world->stop_at_next ? world->next >= world->stop_at_next : world->confirmed == world->total;

	(void)err;
	if (done || ls_monotonic_ms() > world->deadline_ms) {
		atomic_store(&world->app.stop.set, true);
		return LS_OK;
	}
	if (world->next == world->total)
		ls_stop_wait(&world->app.stop, timeout_ms);
	if (world->down_at_start && world->next == 0)
		rd_kafka_mock_broker_set_down(world->mock->cluster, BROKER);
	while (world->next < world->total && into->count < into->max && into->count < world->batch)
		make_event(world, world->next++, into);
	if (into->count && world->next <= world->silent_from)
		into->position = ls_arena_printf(into->arena, "%zu", world->next);
	return LS_OK;
}

/* The one rule: when the source is told, events and position record are in Kafka already. Kafka is asked, not the
 * lane. */
static enum ls_class fake_confirm(struct ls_source *src, struct ls_str position, struct ls_error *err)
{
	struct world *world = (struct world *)src;
	struct ls_message *message = calloc(2 * MOST, sizeof(*message));
	char text[32];
	size_t at;

	(void)err;
	snprintf(text, sizeof(text), "%.*s", LS_ARG(position));
	at = (size_t)strtoull(text, NULL, 10);
	world->confirms++;
	if (count_records(world, "t.contact", message, 2 * MOST) + count_records(world, "t.dlq.fake", message, 100) <
	    at)
		world->wrong_order = true;
	if (count_records(world, "t.positions", message, 2 * MOST) < world->confirms)
		world->wrong_order = true;
	if (at < world->confirmed)
		world->wrong_order = true;
	world->confirmed = at;
	free(message);
	return LS_OK;
}

static enum ls_class fake_keepalive(struct ls_source *src, struct ls_error *err)
{
	struct world *world = (struct world *)src;

	(void)err;
	if (++world->keepalives == world->up_after)
		rd_kafka_mock_broker_set_up(world->mock->cluster, BROKER);
	return LS_OK;
}

static struct ls_source *fake_close(struct ls_source *src)
{
	(void)src;
	return NULL;
}

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct ls_error err;

	world->mock = mock_kafka_new();
	mock_kafka_topic(world->mock, "t.contact", 3);
	mock_kafka_topic(world->mock, "t.positions", 1);
	mock_kafka_topic(world->mock, "t.dlq.fake", 1);
	world->ops = (struct ls_source_ops){ .kind = "fake",
					     .open = fake_open,
					     .poll = fake_poll,
					     .confirm = fake_confirm,
					     .keepalive = fake_keepalive,
					     .close = fake_close };
	world->source = (struct ls_source_config){
		.name = "fake", .ops = &world->ops, .mapping = &mapping, .mapping_count = 1
	};
	world->source.options = malloc(sizeof(world));
	memcpy(world->source.options, &world, sizeof(world));
	world->config = (struct ls_config){
		.file = "test", .prefix = "t", .max_event_bytes = 1 << 20, .source = &world->source, .source_count = 1
	};
	world->store = calloc(1, sizeof(*world->store));
	world->store->base = (struct ls_schema_store){ memory_find, memory_publish, memory_close };
	world->app.config = &world->config;
	world->app.log = ls_log_new(open("/dev/null", O_WRONLY | O_CLOEXEC), false, LS_LOG_ERROR);
	world->app.stats = ls_stats_new();
	world->app.schemas = ls_schemas_new(&world->store->base, NULL, "t");
	pthread_mutex_init(&world->app.lock, NULL);
	world->total = 1000;
	world->batch = 100;
	world->silent_from = SIZE_MAX;
	assert_int_equal(ls_capture_lane_new(&world->app, &world->source, &world->lane, &err), LS_OK);
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;

	world->lane->free(world->lane);
	ls_schemas_free(world->app.schemas);
	ls_stats_free(world->app.stats);
	ls_log_free(world->app.log);
	mock_kafka_free(world->mock);
	free(world->source.options);
	free(world);
	return 0;
}

static void run(struct world *world)
{
	struct ls_error err;

	world->config.kafka = world->mock->conf;
	world->deadline_ms = ls_monotonic_ms() + DEADLINE_MS;
	atomic_store(&world->app.stop.set, false);
	if (world->lane->run(world->lane, &err))
		fail_msg("%s %s: %s", ls_class_name(err.class), err.code, err.text);
}

/* Version of each event as the topic has it; each delivery of an event must have the same. Returns the deliveries. */
static size_t read_versions(struct world *world, int64_t version[MOST])
{
	struct ls_decoder *decoder = ls_decoder_new(world->app.schemas);
	struct ls_arena *arena = ls_arena_new(0);
	struct ls_message message[100];
	struct ls_reader *reader;
	struct ls_error err;
	size_t total = 0;
	bool end = false;

	for (size_t i = 0; i < MOST; i++)
		version[i] = LS_NONE;
	assert_int_equal(ls_reader_open(&world->mock->conf, "t.contact", -1, -1, &reader, &err), LS_OK);
	while (!end) {
		size_t count = 0;

		assert_int_equal(ls_reader_next(reader, 1000, message, 100, &count, &end, &err), LS_OK);
		for (size_t i = 0; i < count; i++) {
			struct ls_event event;
			size_t at;

			ls_arena_reset(arena);
			if (ls_decode(decoder, message[i].value, 0, arena, &event, &err))
				fail_msg("%s", err.text);
			assert_true(ls_str_equal(event.entity_id, message[i].key));
			at = (size_t)strtoull(event.event_id.ptr + 1, NULL, 10);
			if (version[at] != LS_NONE && version[at] != event.version)
				fail_msg("event %zu was %lld and then %lld", at, (long long)version[at],
					 (long long)event.version);
			version[at] = event.version;
			ls_message_free(&message[i]);
			total++;
		}
	}
	ls_reader_close(reader);
	ls_decoder_free(decoder);
	ls_arena_free(arena);
	return total;
}

static void the_source_is_told_only_what_kafka_has(void **state)
{
	struct world *world = *state;
	int64_t version[MOST];

	world->total = 5000;
	run(world);

	assert_int_equal(world->confirmed, 5000);
	assert_false(world->wrong_order);
	assert_int_equal(read_versions(world, version), 5000);
	for (size_t i = 1; i < 5000; i++)
		assert_true(version[i] > version[i - 1]);
	assert_int_equal(LS_READ(world->lane->stats, published), 5000);
}

static void reading_again_from_the_saved_position_gives_the_same_versions(void **state)
{
	struct world *world = *state;
	int64_t version[MOST];

	world->total = 3000;
	world->silent_from = 1000;
	world->stop_at_next = 2500;
	run(world);
	assert_int_equal(world->confirmed, 1000);
	world->silent_from = SIZE_MAX;
	world->stop_at_next = 0;
	run(world);

	assert_string_equal(world->opened, "1000");
	assert_true(world->opened_floor != LS_NONE);
	assert_false(world->wrong_order);
	assert_true(read_versions(world, version) >= 3000 + 1500);
	for (size_t i = 1; i < 3000; i++)
		assert_true(version[i] > version[i - 1]);
}

/* A table read late has the higher version, so that the log before that moment does not take its rows back. */
static void rows_of_a_snapshot_do_not_raise_the_versions_of_the_log(void **state)
{
	struct world *world = *state;
	int64_t version[MOST];

	world->snapshot = 300;
	run(world);

	assert_int_equal(read_versions(world, version), 1000);
	for (size_t i = 0; i < 300; i++)
		assert_int_equal(version[i], 5000000);
	for (size_t i = 301; i < 1000; i++)
		assert_true(version[i] > version[i - 1]);
	assert_true(version[999] < 5000000);
}

static void poison_becomes_a_dead_letter_and_the_others_go_on(void **state)
{
	struct world *world = *state;
	struct ls_message message[10];
	int64_t version[MOST];

	world->poison[0] = 11;  /* event 10: a text where a number belongs */
	world->poison[1] = 502; /* event 501: no key */
	world->poison[2] = 1000;
	run(world);

	assert_int_equal(world->confirmed, 1000);
	assert_false(world->wrong_order);
	assert_int_equal(LS_READ(world->lane->stats, dead), 3);
	assert_int_equal(count_records(world, "t.dlq.fake", message, 10), 3);
	assert_int_equal(read_versions(world, version), 997);
	assert_true(version[10] == LS_NONE && version[501] == LS_NONE && version[999] == LS_NONE);
	/* Their numbers stay taken: what is poison does not change the versions of the rest. */
	assert_int_equal(version[11], version[9] + 2);
}

static void a_full_queue_loses_nothing_and_keeps_the_source_alive(void **state)
{
	struct world *world = *state;
	int64_t version[MOST];

	mock_kafka_set(world->mock, "queue.buffering.max.messages", "50");
	mock_kafka_set(world->mock, "reconnect.backoff.max.ms", "200");
	world->down_at_start = true;
	world->up_after = 4;
	run(world);

	assert_true(world->keepalives >= 4);
	assert_int_equal(world->confirmed, 1000);
	assert_false(world->wrong_order);
	assert_int_equal(read_versions(world, version), 1000);
}

static void a_schema_that_cannot_be_published_yet_is_waited_for(void **state)
{
	struct world *world = *state;
	int64_t version[MOST];

	world->store->failures = 3;
	run(world);

	assert_int_equal(world->confirmed, 1000);
	assert_int_equal(LS_READ(world->lane->stats, retries), 3);
	assert_int_equal(read_versions(world, version), 1000);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_WORLD(the_source_is_told_only_what_kafka_has),
		WITH_WORLD(reading_again_from_the_saved_position_gives_the_same_versions),
		WITH_WORLD(rows_of_a_snapshot_do_not_raise_the_versions_of_the_log),
		WITH_WORLD(poison_becomes_a_dead_letter_and_the_others_go_on),
		WITH_WORLD(a_full_queue_loses_nothing_and_keeps_the_source_alive),
		WITH_WORLD(a_schema_that_cannot_be_published_yet_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
