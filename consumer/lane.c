/* The loop of a sink lane: serve the group, take what is there of each partition in turn, apply it, publish. */
#include "core/arena.h"
#include "core/failpoint.h"
#include "lane.h"
#include "main/app.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	TICK_MS = 1000,
	NEWS_MS = 5000,
	DRAIN_MS = 5000,
	PATIENCE_MS = 2000,
	MAX_BATCH_BYTES = 8 << 20,
	MAX_RECORD_BYTES = 16 << 20,
	MAX_READERS = 8
};

/* ---- records out ---- */

static void delivered(void *context, void *opaque, enum ls_class class, const char *problem, int64_t offset)
{
	struct ls_sink_lane *lane = context;
	struct ls_receipt *receipt = opaque;

	if (class) {
		if (!lane->delivery_class)
			snprintf(lane->delivery_problem, sizeof lane->delivery_problem, "%s", problem);
		lane->delivery_class = class;
		return;
	}
	LS_FAILPOINT("sink.delivered");
	receipt->acked++;
	if (!receipt->track)
		return;
	/* Where another writer's record lies between ours, `next` stays: it is read again from there. */
	if (offset == receipt->next)
		receipt->next++;
	else
		receipt->gap = true;
}

static enum ls_class delivery_error(struct ls_sink_lane *lane, struct ls_error *err)
{
	if (!lane->delivery_class)
		return LS_OK;
	return ls_fail(err, lane->delivery_class == LS_AUTH ? LS_AUTH : LS_RETRY, "produce",
		       "destination %s: Kafka did not take a record of version state or a dead letter: %s; beginning "
		       "again from the destination's mark",
		       lane->config->name, lane->delivery_problem);
}

/* consumer_error: what librdkafka gets over by itself (a broker away) is news, not an end. */
static enum ls_class consumer_error(struct ls_sink_lane *lane, const struct ls_error *news, struct ls_error *err)
{
	int64_t now = ls_monotonic_ms();

	if (news->class != LS_RETRY) {
		*err = *news;
		return news->class;
	}
	ls_stats_error(lane->base.stats, news->text);
	if (now - lane->last_news_ms >= NEWS_MS)
		ls_log_error(lane->base.app->log, LS_LOG_WARN, lane->base.name, news, "the client goes on trying");
	lane->last_news_ms = now;
	return LS_OK;
}

enum ls_class ls_sink_poll(struct ls_sink_lane *lane, int timeout_ms, struct ls_error *err)
{
	uint64_t generation = lane->generation;
	struct ls_consumer_event event;
	enum ls_class class = LS_OK;

	ls_producer_poll(lane->producer, 0);
	ls_consumer_poll(lane->consumer, timeout_ms, &event);
	switch (event.kind) {
	case LS_CONSUMER_NOTHING:
		break;
	case LS_CONSUMER_ASSIGN:
		class = ls_sink_assign(lane, event.assigned, event.count, err);
		break;
	case LS_CONSUMER_REVOKE:
		LS_FAILPOINT("sink.revoke");
		if (!event.lost)
			ls_sink_drain(lane, DRAIN_MS);
		ls_sink_drop(lane);
		ls_consumer_revoke(lane->consumer);
		LS_FAILPOINT("sink.revoked");
		break;
	case LS_CONSUMER_ERROR:
		class = consumer_error(lane, &event.error, err);
		break;
	}
	if (!class && !lane->producer)
		class = ls_fail(err, LS_RETRY, "produce",
				"destination %s: Kafka does not take records; beginning again", lane->config->name);
	if (!class)
		class = delivery_error(lane, err);
	if (!class && generation != lane->generation)
		class = ls_fail(err, LS_FENCED, "revoked", "destination %s: the partitions were given back",
				lane->config->name);
	return class;
}

/* patience: while Kafka is away the lane waits for ever, but a stop only for a moment. */
static enum ls_class patience(const struct ls_sink_lane *lane, int64_t since_ms, struct ls_error *err)
{
	if (!ls_stop_is_set(&lane->base.app->stop) || ls_monotonic_ms() - since_ms < PATIENCE_MS)
		return LS_OK;
	return ls_fail(err, LS_RETRY, "produce",
		       "destination %s: stopped while Kafka did not take records of version state or dead letters",
		       lane->config->name);
}

enum ls_class ls_sink_settle(struct ls_sink_lane *lane, struct ls_receipt *receipt, struct ls_error *err)
{
	int64_t since_ms = ls_monotonic_ms();

	while (receipt->acked < receipt->sent) {
		enum ls_class class;

		ls_producer_poll(lane->producer, 20);
		class = ls_sink_poll(lane, 0, err);
		if (!class)
			class = patience(lane, since_ms, err);
		if (class)
			return class;
	}
	return LS_OK;
}

enum ls_class ls_sink_send(struct ls_sink_lane *lane, const char *topic, int32_t partition, struct ls_str key,
			   struct ls_str value, const struct ls_header *header, size_t header_count,
			   struct ls_receipt *receipt, struct ls_error *err)
{
	int64_t since_ms = ls_monotonic_ms();

	for (;;) {
		enum ls_class class = ls_producer_send(lane->producer, topic, partition, key, value, header,
						       header_count, receipt, err);

		if (!class)
			receipt->sent++;
		if (class != LS_RETRY)
			return class;
		ls_producer_poll(lane->producer, 10);
		class = delivery_error(lane, err);
		if (!class)
			class = patience(lane, since_ms, err);
		if (class)
			return class;
	}
}

/* ---- one partition ---- */

/* batch_of decodes from the front until the batch is full; the rest waits in the caller's array. */
static enum ls_class batch_of(struct ls_sink_lane *lane, struct ls_part *part, const struct ls_message *message,
			      size_t count, size_t *ret_count, struct ls_error *err)
{
	size_t n = 0;

	ls_arena_reset(lane->arena);
	while (n < count && ls_arena_used(lane->arena) < MAX_BATCH_BYTES) {
		enum ls_class class;

		if (message[n].class)
			break;
		class = ls_sink_decode(lane, part->unit->entity, &message[n], &lane->item[n], err);
		if (class)
			return class;
		n++;
	}
	if (n == 0)
		return ls_fail(err, message[0].class, "fetch", "topic %.*s partition %d at offset %lld: %s",
			       LS_ARG(message[0].topic), message[0].partition, (long long)message[0].offset,
			       message[0].problem);
	*ret_count = n;
	return LS_OK;
}

/* skip_old: the destination's mark is the truth; what it has passed is not looked at again. */
static size_t skip_old(const struct ls_part *part, const struct ls_message *message, size_t count)
{
	size_t n = 0;

	while (n < count && !message[n].class && message[n].offset < part->mark.next_offset)
		n++;
	return n;
}

/* drop_passing takes out reports of what the client gets over by itself: no record is lost by them, and the lane need
 * not begin anew. Returns how many messages are left. */
static size_t drop_passing(struct ls_sink_lane *lane, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (lane->message[i].class != LS_RETRY) {
			lane->message[kept++] = lane->message[i];
			continue;
		}
		ls_stats_error(lane->base.stats, lane->message[i].problem);
		ls_message_free(&lane->message[i]);
	}
	return kept;
}

static enum ls_class work(struct ls_sink_lane *lane, struct ls_part *part, size_t count, struct ls_error *err)
{
	uint64_t generation = lane->generation;
	size_t at = skip_old(part, lane->message, count);
	enum ls_class class = LS_OK;

	while (!class && at < count) {
		size_t n = 0;

		class = batch_of(lane, part, lane->message + at, count - at, &n, err);
		LS_FAILPOINT("sink.decoded");
		if (!class)
			class = ls_sink_apply(lane, part, lane->item, lane->message + at, n, err);
		at += n;
		if (!class && generation == lane->generation && ls_hold_is(part)) {
			ls_hold_keep(part, lane->message, count);
			return LS_OK;
		}
	}
	for (size_t i = 0; i < count; i++)
		ls_message_free(&lane->message[i]);
	return class;
}

static enum ls_class step(struct ls_sink_lane *lane, struct ls_part *part, size_t *ret_count, struct ls_error *err)
{
	enum ls_class class = LS_OK;

	*ret_count = 1;
	if (part->unit->phase == LS_UNIT_RESTORE)
		return ls_unit_step(lane, part->unit, err);
	if (part->phase == LS_PART_WAIT)
		part->phase = LS_PART_FOLD;
	if (part->phase == LS_PART_FOLD)
		return ls_part_fold(lane, part, err);
	*ret_count = 0;
	if (part->unit->folding)
		return LS_OK;
	class = ls_wait_retry(lane, part, err);
	if (class || ls_wait_full(lane, part))
		return class;
	if (ls_hold_is(part))
		*ret_count = ls_hold_take(part, lane->message);
	else
		*ret_count = drop_passing(
			lane, ls_partition_fetch(part->queue, 0, lane->message, (size_t)lane->config->batch_size));
	if (*ret_count)
		class = work(lane, part, *ret_count, err);
	return class;
}

static bool reads(const struct ls_part *part)
{
	return part->reader || part->unit->reader;
}

/* round gives every partition a turn, those of priority topics first. *ret_busy: something was there. */
static enum ls_class one_round(struct ls_sink_lane *lane, bool *ret_busy, struct ls_error *err)
{
	uint64_t generation = lane->generation;
	size_t readers = 0;

	*ret_busy = false;
	for (int log = LS_STORE_LOGS - 1; log >= 0; log--)
		for (size_t i = 0; i < lane->part_count; i++) {
			struct ls_part *part = &lane->part[i];
			size_t count = 0;
			enum ls_class class;

			if (part->log != log)
				continue;
			/* Each reader is a Kafka client of its own: thousands of partitions catch up some at a time. */
			if (part->phase != LS_PART_RUN && !reads(part) && readers >= MAX_READERS)
				continue;
			class = step(lane, part, &count, err);
			if (class || generation != lane->generation)
				return class;
			readers += reads(part);
			*ret_busy = *ret_busy || count;
			ls_producer_poll(lane->producer, 0);
		}
	return LS_OK;
}

static void count_waiting(const struct ls_sink_lane *lane)
{
	size_t waiting = 0, held = 0;

	for (size_t i = 0; i < lane->part_count; i++) {
		waiting += lane->part[i].waiting_count;
		held += ls_hold_is(&lane->part[i]);
	}
	LS_GAUGE(lane->base.stats, waiting, waiting);
	LS_GAUGE(lane->base.stats, held, held);
}

/* tick does what is due once a second: markers, advisory offsets, lag, what waits. */
static enum ls_class tick(struct ls_sink_lane *lane, struct ls_error *err)
{
	int64_t now = ls_monotonic_ms(), lag = 0;

	if (now - lane->last_tick_ms < TICK_MS)
		return LS_OK;
	lane->last_tick_ms = now;
	count_waiting(lane);
	for (size_t i = 0; i < lane->part_count; i++) {
		struct ls_part *part = &lane->part[i];
		const char *topic = part->unit->entity->topic[part->log];
		int64_t next = part->mark.next_offset, behind;
		enum ls_class class = ls_part_marker(lane, part, err);

		if (class)
			return class;
		if (next >= 0 && next != part->committed)
			ls_consumer_commit(lane->consumer, topic, part->unit->partition, next);
		part->committed = next;
		behind = ls_consumer_lag(lane->consumer, topic, part->unit->partition, next < 0 ? 0 : next);
		lag += behind > 0 ? behind : 0;
	}
	LS_GAUGE(lane->base.stats, lag_events, lag);
	LS_GAUGE(lane->base.stats, pending, ls_producer_queued(lane->producer));
	return ls_sink_look(lane, err);
}

static enum ls_class loop(struct ls_sink_lane *lane, struct ls_error *err)
{
	const struct ls_stop *stop = &lane->base.app->stop;
	bool busy = false;

	while (!ls_stop_is_set(stop)) {
		uint64_t generation = lane->generation;
		enum ls_class class;

		if (!busy)
			ls_consumer_wait(lane->consumer, ls_producer_queued(lane->producer) ? 5 : 50);
		class = ls_sink_poll(lane, 0, err);
		if (!class)
			class = one_round(lane, &busy, err);
		if (!class)
			class = tick(lane, err);
		if (class == LS_FENCED && generation != lane->generation)
			class = LS_OK; /* given back in the middle of a batch: nothing of it was kept */
		if (class)
			return class;
	}
	return LS_OK;
}

/* ---- opening and closing ---- */

static const struct ls_schema *key_schema(struct ls_sink_lane *lane, const struct ls_mapping *mapping)
{
	struct ls_schema *schema = ls_arena_zalloc(lane->lane_arena, sizeof *schema);
	struct ls_column *column = ls_arena_zalloc(lane->lane_arena, mapping->key_count * sizeof *column);

	for (size_t i = 0; i < mapping->key_count; i++)
		column[i] = (struct ls_column){ .name = mapping->key[i], .type = { .kind = LS_STRING }, .key = true };
	*schema = (struct ls_schema){ ls_str_of(mapping->entity), column, mapping->key_count };
	return schema;
}

static void add_entity(struct ls_sink_lane *lane, const struct ls_entity_config *entity)
{
	const struct ls_config *config = lane->base.app->config;
	struct ls_sink_entity *into = &lane->entity[lane->entity_count];
	size_t max = lane->config->mapping_count;

	*into = (struct ls_sink_entity){ .config = entity };
	into->mapping = ls_arena_zalloc(lane->lane_arena, max * sizeof *into->mapping);
	into->key_schema = ls_arena_zalloc(lane->lane_arena, max * sizeof *into->key_schema);
	for (size_t i = 0; i < max; i++) {
		const struct ls_mapping *mapping = &lane->config->mapping[i];

		if (strcmp(mapping->entity, entity->name) != 0)
			continue;
		into->mapping[into->mapping_count] = mapping;
		into->key_schema[into->mapping_count++] = key_schema(lane, mapping);
	}
	if (into->mapping_count == 0)
		return;
	ls_topic_events(into->topic[0], config->prefix, entity->name);
	ls_topic_priority(into->topic[1], config->prefix, entity->name);
	ls_topic_versions(into->versions, config->prefix, entity->name, lane->config->name);
	lane->entity_count++;
}

static enum ls_class open_destination(struct ls_sink_lane *lane, struct ls_error *err)
{
	lane->context = ls_sink_context(lane->base.app->config, lane->config, lane->owner, lane->base.stats);
	return lane->config->ops->open(lane->config->options, &lane->context, &lane->dst, err);
}

static enum ls_class open_consumer(struct ls_sink_lane *lane, struct ls_error *err)
{
	const struct ls_config *config = lane->base.app->config;
	const char **topic = ls_arena_zalloc(lane->lane_arena, lane->entity_count * LS_STORE_LOGS * sizeof *topic);
	struct ls_str group = ls_arena_printf(lane->lane_arena, "%s.%s", config->prefix, lane->config->name);
	struct ls_str instance = { NULL, 0 };
	size_t count = 0;

	for (size_t i = 0; i < lane->entity_count; i++)
		for (int log = 0; log < LS_STORE_LOGS; log++)
			topic[count++] = lane->entity[i].topic[log];
	if (config->instance)
		instance = ls_arena_printf(lane->lane_arena, "%s.%s.%d", config->instance, lane->config->name,
					   lane->index);
	return ls_consumer_open(&config->kafka, group.ptr, instance.ptr, topic, count, &lane->consumer, err);
}

/* open_producer leaves room in a record for an event at its largest with the headers of a dead letter around it. */
static enum ls_class open_producer(struct ls_sink_lane *lane, struct ls_error *err)
{
	const struct ls_config *config = lane->base.app->config;
	struct ls_pair *property = ls_arena_zalloc(lane->lane_arena, (config->kafka.count + 1) * sizeof *property);
	struct ls_kafka_conf conf = { property, config->kafka.count + 1 };

	property[0].name = LS_STR("message.max.bytes");
	property[0].value = ls_arena_printf(lane->lane_arena, "%lld", (long long)config->max_event_bytes + (128 << 10));
	for (size_t i = 0; i < config->kafka.count; i++)
		property[1 + i] = config->kafka.property[i];
	return ls_producer_open(&conf, delivered, lane, &lane->producer, err);
}

static enum ls_class open_all(struct ls_sink_lane *lane, struct ls_error *err)
{
	struct ls_app *app = lane->base.app;
	size_t batch = (size_t)lane->config->batch_size;
	struct ls_schemas *schemas = NULL;
	enum ls_class class;

	lane->arena = ls_arena_new(0);
	lane->plan_arena = ls_arena_new(0);
	lane->held_arena = ls_arena_new(0);
	ls_map_init(&lane->held);
	lane->lane_arena = ls_arena_new(0);
	lane->message = calloc(batch, sizeof *lane->message);
	lane->item = calloc(batch, sizeof *lane->item);
	lane->entity = calloc(app->config->entity_count + 1, sizeof *lane->entity);
	if (!lane->message || !lane->item || !lane->entity)
		abort();
	ls_buf_init(&lane->buf, MAX_RECORD_BYTES);
	ls_plan_init(&lane->plan);
	ls_map_init(&lane->key_rows);
	for (size_t i = 0; i < app->config->entity_count; i++)
		add_entity(lane, &app->config->entity[i]);
	ls_topic_dlq(lane->dlq, app->config->prefix, lane->config->name);
	ls_topic_named(lane->conflicts, app->config->prefix, "conflicts");
	lane->codec = ls_state_codec_new();
	class = ls_app_schemas(app, &schemas, err);
	if (class)
		return class;
	lane->decoder = ls_decoder_new(schemas);
	ls_sink_clock_begin(lane);
	LS_FAILPOINT_ERROR("sink.open", err);
	class = open_destination(lane, err);
	if (!class)
		class = open_producer(lane, err);
	if (!class)
		class = open_consumer(lane, err);
	return class;
}

static void close_all(struct ls_sink_lane *lane)
{
	ls_sink_drop(lane);
	lane->consumer = ls_consumer_close(lane->consumer);
	lane->producer = ls_producer_close(lane->producer);
	if (lane->dst)
		lane->dst = lane->dst->ops->close(lane->dst);
	lane->decoder = ls_decoder_free(lane->decoder);
	lane->codec = ls_state_codec_free(lane->codec);
	ls_plan_release(&lane->plan);
	ls_map_release(&lane->key_rows);
	ls_buf_release(&lane->buf);
	free(lane->message);
	free(lane->item);
	free(lane->entity);
	free(lane->part);
	free(lane->unit);
	lane->arena = ls_arena_free(lane->arena);
	lane->plan_arena = ls_arena_free(lane->plan_arena);
	lane->held_arena = ls_arena_free(lane->held_arena);
	ls_map_release(&lane->held);
	lane->lane_arena = ls_arena_free(lane->lane_arena);
}

/* forget makes a lane that is started again begin from nothing. */
static void forget(struct ls_sink_lane *lane)
{
	struct ls_sink_lane fresh = { .base = lane->base, .config = lane->config, .index = lane->index };

	memcpy(fresh.owner, lane->owner, sizeof fresh.owner);
	*lane = fresh;
	lane->backoff = (struct ls_backoff){ .initial_ms = lane->config->retry_initial_ms,
					     .max_ms = lane->config->retry_max_ms };
}

static enum ls_class run(struct ls_lane *base, struct ls_error *err)
{
	struct ls_sink_lane *lane = (struct ls_sink_lane *)base;
	enum ls_class class;

	forget(lane);
	LS_GAUGE(base->stats, up, 0); /* until the group has answered: see ls_sink_assign */
	class = open_all(lane, err);
	if (!class) {
		class = loop(lane, err);
		if (!class)
			ls_sink_drain(lane, DRAIN_MS);
	}
	LS_GAUGE(base->stats, up, 0);
	close_all(lane);
	return class;
}

static void lane_free(struct ls_lane *base)
{
	free(base);
}

struct ls_sink_lane *ls_sink_lane_new(struct ls_app *app, const struct ls_destination_config *config, int index)
{
	struct ls_sink_lane *lane = calloc(1, sizeof *lane);
	char host[64] = "";

	if (!lane)
		abort();
	gethostname(host, sizeof host - 1);
	lane->config = config;
	lane->index = index;
	lane->base.app = app;
	lane->base.run = run;
	lane->base.free = lane_free;
	snprintf(lane->base.name, sizeof lane->base.name, "sink/%.80s/%d", config->name, index);
	snprintf(lane->owner, sizeof lane->owner, "%.60s-%d-%d", app->config->instance ? app->config->instance : host,
		 (int)getpid(), index);
	lane->base.stats = ls_stats_lane(app->stats, lane->base.name);
	return lane;
}
