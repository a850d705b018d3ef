/* A sink lane on a real broker with a destination in memory, for tests: the destination outlives its lanes as a
 * database would, keeps marks, ledger and rows together, and fails when the test says so. LS_TEST_KAFKA names the
 * broker. */
#pragma once

#include "avro/codec.h"
#include "core/arena.h"
#include "core/buf.h"
#include "core/map.h"
#include "fake_destination.h"
#include "kafka/schema_topic.h"
#include "kafka/topics.h"
#include "lockstep/destination.h"
#include "main/app.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

enum { DEADLINE_MS = 40000, PARTITIONS = 3, LANES_MAX = 2 };

/* ---- the world ---- */

struct sink_lane {
	struct sink_world *world;
	struct ls_app app;
	struct ls_crew *crew;
	struct ls_lane *lane;
	pthread_t thread;
	char state_dir[200];
	struct ls_config config;
	enum ls_class end;
	struct ls_error err; /* of the last run that ended in one */
	int restarts;
	bool running;
	atomic_bool over;
};

struct sink_world {
	struct fake fake;
	struct fake_options options;
	struct ls_pair property[2];
	struct ls_config config;
	struct ls_destination_config destination;
	struct ls_mapping mapping;
	struct ls_entity_config entity;
	struct ls_str key;
	struct ls_column column[2];
	struct ls_schema schema;
	char prefix[64], dir[128];
	char events[LS_TOPIC_NAME], priority[LS_TOPIC_NAME], versions[LS_TOPIC_NAME], dlq[LS_TOPIC_NAME];
	struct ls_admin *admin;
	struct ls_producer *producer;
	struct ls_schemas *schemas;
	struct ls_encoder *encoder;
	struct ls_arena *arena;
	struct ls_buf buf;
	struct ls_stats *stats;
	struct ls_log *log;
	struct sink_lane lane[LANES_MAX];
	bool one_process; /* lanes share the state directory, as those of `concurrency` do */
	int64_t base;     /* versions of events count from here */
	int failed;
};

static inline void ok(enum ls_class class, const struct ls_error *err)
{
	if (class)
		fail_msg("%s %s: %s", ls_class_name(class), err->code, err->text);
}

static inline void world_delivered(void *context, void *opaque, enum ls_class class, const char *problem,
				   int64_t offset)
{
	struct sink_world *w = context;

	(void)opaque, (void)problem, (void)offset;
	w->failed += class != LS_OK;
}

static inline void world_flush(struct sink_world *w)
{
	struct ls_error err;

	ok(ls_producer_flush(w->producer, DEADLINE_MS, &err), &err);
	assert_int_equal(w->failed, 0);
}

static inline void world_send(struct sink_world *w, const char *topic, int32_t partition, struct ls_str key,
			      struct ls_str value, const struct ls_header *header, size_t headers)
{
	int64_t until = ls_monotonic_ms() + DEADLINE_MS;
	struct ls_error err;
	enum ls_class class;

	/* A full queue is no failure: Kafka takes what is in it, then there is room. */
	do {
		class = ls_producer_send(w->producer, topic, partition, key, value, header, headers, w, &err);
		ls_producer_poll(w->producer, class == LS_RETRY ? 20 : 0);
	} while (class == LS_RETRY && ls_monotonic_ms() < until);
	ok(class, &err);
}

/* One event as a test writes it; version counts from the world's base. */
struct say {
	const char *id, *name, *event_id, *source; /* name NULL: a delete; source NULL: "crm" */
	int64_t version;
	bool priority;
	const char *key, *entity; /* instead of id and "contact" */
};

static inline struct ls_str world_encode(struct sink_world *w, const struct say *say)
{
	struct ls_value cell[2] = { { LS_PRESENT, ls_str_of(say->id) }, { LS_PRESENT, ls_str_of(say->name) } };
	struct ls_event event = {
		.event_id = ls_str_of(say->event_id),
		.source = ls_str_of(say->source ? say->source : "crm"),
		.entity = ls_str_of(say->entity ? say->entity : "contact"),
		.entity_id = ls_str_of(say->id),
		.change = say->name ? LS_UPDATE : LS_DELETE,
		.timestamp_us = w->base + say->version,
		.version = w->base + say->version,
		.base_version = LS_NONE,
		.base_offset = LS_NONE,
	};
	struct ls_row row = { &w->schema, ls_arena_alloc(w->arena, sizeof cell) };
	struct ls_error err;

	memcpy(row.value, cell, sizeof cell);
	if (say->name) {
		event.after = row;
	} else {
		row.value[1] = (struct ls_value){ LS_ABSENT, { NULL, 0 } };
		event.before = row;
	}
	ls_buf_clear(&w->buf);
	ok(ls_encode(w->encoder, &event, &w->buf, &err), &err);
	return ls_buf_str(&w->buf);
}

static inline void world_say(struct sink_world *w, struct say say)
{
	world_send(w, say.priority ? w->priority : w->events, -1, ls_str_of(say.key ? say.key : say.id),
		   world_encode(w, &say), NULL, 0);
}

/* ---- waiting ---- */

static inline int64_t world_end(struct sink_world *w, const char *topic, int32_t partition)
{
	int64_t low, high;
	struct ls_error err;

	ok(ls_admin_watermarks(w->admin, topic, partition, &low, &high, &err), &err);
	return high;
}

static inline bool world_at_end(struct sink_world *w)
{
	const char *topic[2] = { w->events, w->priority };

	for (int log = 0; log < 2; log++)
		for (int32_t p = 0; p < PARTITIONS; p++) {
			int64_t end = world_end(w, topic[log], p), next;

			pthread_mutex_lock(&w->fake.lock);
			next = fake_mark_of(&w->fake.data, ls_str_of(topic[log]), p)->next_offset;
			pthread_mutex_unlock(&w->fake.lock);
			if (end > 0 && next != end)
				return false;
		}
	return true;
}

#define world_wait(w, condition)                                                                                       \
	do {                                                                                                           \
		int64_t until_ = ls_monotonic_ms() + DEADLINE_MS;                                                      \
		while (!(condition)) {                                                                                 \
			if (ls_monotonic_ms() > until_)                                                                \
				fail_msg("waited in vain: %s (last error: %s)", #condition, (w)->lane[0].err.text);    \
			usleep(10000);                                                                                 \
		}                                                                                                      \
	} while (0)

/* ---- lanes ---- */

static inline void *lane_work(void *arg)
{
	struct sink_lane *lane = arg;

	for (;;) {
		struct ls_error err = { .class = LS_OK };

		lane->end = lane->lane->run(lane->lane, &err);
		if (lane->end)
			lane->err = err;
		if (lane->end != LS_RETRY && lane->end != LS_FENCED)
			break;
		lane->restarts++;
		if (ls_stop_wait(&lane->app.stop, 50))
			break;
	}
	atomic_store(&lane->over, true);
	return NULL;
}

/* world_start runs lane n with a state directory of its own, as another host would. */
static inline struct sink_lane *world_start(struct sink_world *w, int n)
{
	struct sink_lane *lane = &w->lane[n];
	struct ls_error err;

	*lane = (struct sink_lane){ .world = w };
	lane->config = w->config;
	snprintf(lane->state_dir, sizeof lane->state_dir, "%s/%d", w->dir, w->one_process ? 0 : n);
	lane->config.state_dir = lane->state_dir;
	lane->app = (struct ls_app){ .config = &lane->config, .log = w->log, .stats = w->stats };
	lane->crew = ls_crew_new(&lane->app);
	ok(ls_wing_sink.start(&lane->app, NULL, 0, lane->crew, &err), &err);
	lane->lane = ls_crew_lane(lane->crew, 0);
	lane->running = true;
	assert_int_equal(pthread_create(&lane->thread, NULL, lane_work, lane), 0);
	return lane;
}

/* world_stop ends the lane as SIGTERM does; returns how long it took in ms. */
static inline int64_t world_stop(struct sink_lane *lane)
{
	int64_t begun = ls_monotonic_ms();

	if (!lane->running)
		return 0;
	atomic_store(&lane->app.stop.set, true);
	pthread_join(lane->thread, NULL);
	lane->running = false;
	ls_crew_free(lane->crew);
	ls_schemas_free(lane->app.schemas);
	return ls_monotonic_ms() - begun;
}

static inline void world_run_to_end(struct sink_world *w)
{
	struct sink_lane *lane = world_start(w, 0);

	world_wait(w, world_at_end(w));
	world_stop(lane);
	assert_int_equal(lane->end, LS_OK);
}

static inline void world_forget_state(struct sink_world *w)
{
	char command[300];

	snprintf(command, sizeof command, "rm -rf %s/0 %s/1", w->dir, w->dir);
	assert_int_equal(system(command), 0);
}

/* ---- looking ---- */

static inline const struct fake_row *world_row(struct sink_world *w, const char *id)
{
	return fake_row_of(&w->fake.data, ls_str_of(id));
}

static inline void assert_row(struct sink_world *w, const char *id, const char *name)
{
	const struct fake_row *row = world_row(w, id);

	if (!name && row->present)
		fail_msg("row %s is there: %s by %s", id, row->name, row->event_id);
	if (name && (!row->present || strcmp(row->name, name) != 0))
		fail_msg("row %s is \"%s\" by %s, not \"%s\"", id, row->present ? row->name : "gone", row->event_id,
			 name);
}

static inline int effects(struct sink_world *w, const char *event_id)
{
	return fake_event_of(&w->fake.data, ls_str_of(event_id))->effects;
}

/* world_read calls visit for every message of a topic up to its end; returns how many there were. */
static inline size_t world_read(struct sink_world *w, const char *topic,
				void (*visit)(const struct ls_message *message, void *arg), void *arg)
{
	struct ls_message message[64];
	struct ls_reader *reader;
	struct ls_error err;
	size_t total = 0, count = 0;
	bool end = false;

	ok(ls_reader_open(&w->config.kafka, topic, -1, -1, &reader, &err), &err);
	while (!end) {
		ok(ls_reader_next(reader, 100, message, 64, &count, &end, &err), &err);
		for (size_t i = 0; i < count; i++) {
			if (visit)
				visit(&message[i], arg);
			ls_message_free(&message[i]);
		}
		total += count;
	}
	ls_reader_close(reader);
	return total;
}

static inline size_t world_letters(void *world)
{
	struct sink_world *w = world;

	return world_read(w, w->dlq, NULL, NULL);
}

static inline struct ls_str header_of(const struct ls_message *message, const char *name)
{
	struct ls_header header[64];
	size_t count = ls_message_headers(message, header, 64);

	for (size_t i = 0; i < count && i < 64; i++)
		if (ls_str_equal(header[i].name, ls_str_of(name)))
			return header[i].value;
	return LS_STR("");
}

/* ---- making and ending it ---- */

static inline void world_configure(struct sink_world *w)
{
	w->key = LS_STR("id");
	w->entity = (struct ls_entity_config){ "contact", &w->key, 1 };
	w->mapping = (struct ls_mapping){ .entity = "contact", .place = "contacts", .key = &w->key, .key_count = 1 };
	w->destination = (struct ls_destination_config){
		.name = "warehouse",
		.ops = &fake_ops,
		.options = &w->options,
		.mapping = &w->mapping,
		.mapping_count = 1,
		.batch_size = 50,
		.concurrency = 1,
		.retry_initial_ms = 10,
		.retry_max_ms = 40,
		.breaker_failures = 100,
		.breaker_cooldown_ms = 200,
	};
	w->property[0] = (struct ls_pair){ LS_STR("bootstrap.servers"), ls_str_of(getenv("LS_TEST_KAFKA")) };
	w->property[1] = (struct ls_pair){ LS_STR("session.timeout.ms"), LS_STR("6000") };
	w->config = (struct ls_config){
		.file = "test.yaml",
		.kafka = { w->property, 1 },
		.prefix = w->prefix,
		.partitions = PARTITIONS,
		.replication_factor = 1,
		.state_dir = w->dir,
		.ledger_schema = "identity",
		.max_skew_ms = 300000,
		.max_event_bytes = 1 << 20,
		.entity = &w->entity,
		.entity_count = 1,
		.destination = &w->destination,
		.destination_count = 1,
	};
}

static inline int world_setup(void **state)
{
	struct sink_world *w = calloc(1, sizeof *w);
	struct ls_schema_store *store;
	struct ls_error err;

	if (!w)
		abort();
	w->base = ls_now_us() - 60000000;
	snprintf(w->prefix, sizeof w->prefix, "sinktest-%d-%llx", (int)getpid(), (unsigned long long)w->base);
	snprintf(w->dir, sizeof w->dir, "/tmp/%s", w->prefix);
	pthread_mutex_init(&w->fake.lock, NULL);
	w->options.fake = &w->fake;
	world_configure(w);
	w->column[0] = (struct ls_column){ LS_STR("id"), { .kind = LS_STRING }, true };
	w->column[1] = (struct ls_column){ LS_STR("name"), { .kind = LS_STRING }, false };
	w->schema = (struct ls_schema){ LS_STR("contact"), w->column, 2 };
	ls_topic_events(w->events, w->prefix, "contact");
	ls_topic_priority(w->priority, w->prefix, "contact");
	ls_topic_versions(w->versions, w->prefix, "contact", "warehouse");
	ls_topic_dlq(w->dlq, w->prefix, "warehouse");
	ok(ls_topics_ensure(&w->config, &err), &err);
	ok(ls_admin_open(&w->config.kafka, &w->admin, &err), &err);
	ok(ls_producer_open(&w->config.kafka, world_delivered, w, &w->producer, &err), &err);
	ok(ls_schema_topic_open(&w->config.kafka, ls_topic_named((char[LS_TOPIC_NAME]){ 0 }, w->prefix, "schemas"),
				LS_COMPATIBILITY_FULL, &store, &err),
	   &err);
	w->schemas = ls_schemas_new(store, NULL, w->prefix);
	w->encoder = ls_encoder_new(w->schemas);
	w->arena = ls_arena_new(0);
	ls_buf_init(&w->buf, 4 << 20);
	w->stats = ls_stats_new();
	w->log = ls_log_new(getenv("LS_TEST_LOG") ? 2 : open("/dev/null", O_WRONLY | O_CLOEXEC), false, LS_LOG_INFO);
	*state = w;
	return 0;
}

struct doomed {
	const char *name[32];
	size_t count;
	struct ls_arena *arena;
};

static inline void doom(const struct ls_topic_info *topic, void *arg)
{
	struct doomed *doomed = arg;

	if (doomed->count < 32)
		doomed->name[doomed->count++] = ls_arena_str(doomed->arena, ls_str_of(topic->name)).ptr;
}

static inline int world_teardown(void **state)
{
	struct sink_world *w = *state;
	struct doomed doomed = { .arena = w->arena };
	char command[200];
	struct ls_error err;

	for (int i = 0; i < LANES_MAX; i++)
		world_stop(&w->lane[i]);
	ls_encoder_free(w->encoder);
	ls_schemas_free(w->schemas);
	ls_producer_close(w->producer);
	if (!ls_admin_list(w->admin, w->prefix, doom, &doomed, &err))
		ls_admin_delete(w->admin, doomed.name, doomed.count, &err);
	ls_admin_close(w->admin);
	ls_stats_free(w->stats);
	ls_log_free(w->log);
	ls_buf_release(&w->buf);
	ls_arena_free(w->arena);
	snprintf(command, sizeof command, "rm -rf %s", w->dir);
	if (system(command))
		return -1;
	free(w);
	return 0;
}

/* ---- many at once ---- */

static inline void say_many(struct sink_world *w, int from, int count, const char *name)
{
	for (int i = from; i < from + count; i++)
		world_say(w, (struct say){ .id = ls_arena_printf(w->arena, "%d", i).ptr,
					   .name = ls_arena_printf(w->arena, "%s %d", name, i).ptr,
					   .event_id = ls_arena_printf(w->arena, "%s-%d", name, i).ptr,
					   .version = 1000 + i });
	world_flush(w);
}

static inline void assert_once(struct sink_world *w, int from, int count, const char *name)
{
	for (int i = from; i < from + count; i++) {
		assert_row(w, ls_arena_printf(w->arena, "%d", i).ptr, ls_arena_printf(w->arena, "%s %d", name, i).ptr);
		assert_int_equal(effects(w, ls_arena_printf(w->arena, "%s-%d", name, i).ptr), 1);
	}
}
