/* The capture lane: opens everything of one source, turns until it is told to stop, drains, closes. */
#include "lane.h"
#include "park.h"
#include "pending.h"
#include "positions.h"
#include "transform.h"

#include "avro/codec.h"
#include "core/arena.h"
#include "core/failpoint.h"
#include "main/app.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BUSY_MS = 10, IDLE_MS = 100, FULL_MS = 20, FRAME_BYTES = 4096, LEAST_BYTES = 4096 };

void ls_capture_context(const struct ls_config *config, const struct ls_source_config *source,
			struct ls_lane_stats *stats, struct ls_source_context *ret)
{
	*ret = (struct ls_source_context){
		.name = source->name,
		.mapping = source->mapping,
		.mapping_count = source->mapping_count,
		.prefix = config->prefix,
		.ledger_schema = config->ledger_schema,
		.snapshot = source->snapshot,
		.is_destination = source->two_way,
		.polling_interval_ms = source->polling_interval_ms,
		.max_event_bytes = config->max_event_bytes,
		.stats = stats,
	};
}

/* What a topic takes can be less than max_event_bytes. Only asked after a refusal; what cannot be asked is not a
 * limit. */
static int64_t largest_event(struct ls_capture_lane *lane)
{
	const struct ls_config *config = lane->base.app->config;
	int64_t limit = config->max_event_bytes;
	struct ls_admin *admin = NULL;
	struct ls_error ignored;
	char text[32];

	if (!lane->ask_limits || ls_admin_open(&config->kafka, &admin, &ignored))
		return limit;
	for (size_t i = 0; i < lane->config->mapping_count; i++) {
		int64_t bytes;

		if (ls_admin_config(admin, lane->topic[i], "max.message.bytes", text, sizeof(text), &ignored))
			continue;
		bytes = strtoll(text, NULL, 10) - FRAME_BYTES;
		if (bytes >= LEAST_BYTES && bytes < limit)
			limit = bytes;
	}
	ls_admin_close(admin);
	return limit;
}

static void log_start(const struct ls_capture_lane *lane, const struct ls_position *from)
{
	LS_LOG(lane->base.app->log, LS_LOG_INFO, lane->base.name, "capture started",
	       LS_F("kind", lane->config->ops->kind),
	       LS_F("from", from->position.len ? "saved position" : "the beginning"),
	       LS_N("mappings", lane->config->mapping_count));
}

/* Two-way, the source says what its writers had seen of each partition: it must know which one an entity is in. */
static enum ls_class ask_partitions(struct ls_capture_lane *lane, struct ls_error *err)
{
	struct ls_topic_info info = { .partitions = 0 };
	struct ls_admin *admin = NULL;
	enum ls_class class = LS_OK;

	if (!lane->config->two_way)
		return LS_OK;
	class = ls_admin_open(&lane->base.app->config->kafka, &admin, err);
	for (size_t i = 0; !class && i < lane->config->mapping_count; i++) {
		class = ls_admin_topic(admin, lane->topic[i], &info, err);
		if (!class && !info.partitions)
			class = ls_fail(err, LS_RETRY, "topic",
					"source \"%s\": topic %s does not exist; `lockstep topics create` makes it",
					lane->config->name, lane->topic[i]);
		lane->partitions[i] = (int32_t)info.partitions;
	}
	ls_admin_close(admin);
	return class;
}

static enum ls_class open_source(struct ls_capture_lane *lane, struct ls_error *err)
{
	const struct ls_config *config = lane->base.app->config;
	struct ls_position from;
	enum ls_class class;

	LS_FAILPOINT_ERROR("capture.open", err);
	class = ls_positions_load(&config->kafka, lane->positions, ls_str_of(lane->config->name), lane->arena, &from,
				  err);
	if (class)
		return class;
	LS_FAILPOINT_ERROR("capture.position_read", err);
	lane->epoch = from.epoch + 1;
	ls_clock_start(&lane->clock, from.version);
	LS_GAUGE(lane->base.stats, up, 0); /* until the source is open */
	class = ask_partitions(lane, err);
	if (class)
		return class;
	class = lane->config->ops->open(lane->config->options, &lane->context, from.position, from.version, &lane->src,
					err);
	if (class)
		return class;
	LS_FAILPOINT_ERROR("capture.opened", err);
	LS_GAUGE(lane->base.stats, up, 1);
	log_start(lane, &from);
	return LS_OK;
}

/* The memory of a run: a lane that waits to be restarted holds none. */
static void open_memory(struct ls_capture_lane *lane)
{
	int64_t limit = largest_event(lane);

	lane->arena = ls_arena_new(LS_CAPTURE_ARENA);
	lane->event = calloc(LS_CAPTURE_BATCH, sizeof(*lane->event));
	if (!lane->event)
		abort();
	lane->pending = ls_pending_new(LS_CAPTURE_SLOTS);
	lane->transform = ls_transform_new(lane->config->mapping, lane->config->mapping_count);
	ls_buf_init(&lane->bytes, (size_t)(limit > LEAST_BYTES ? limit : LEAST_BYTES));
	ls_buf_init(&lane->record, 2 * LS_POSITION_MAX);
	ls_buf_init(&lane->reached, LS_POSITION_MAX);
	ls_buf_init(&lane->sent, LS_POSITION_MAX);
	ls_buf_init(&lane->told, LS_POSITION_MAX);
	lane->has_reached = lane->is_sent = lane->is_acked = false;
	lane->told_floor = LS_NONE;
	lane->deadline_ms = lane->alive_ms = lane->complain_ms = 0;
	lane->saved_ms = ls_monotonic_ms() - LS_CAPTURE_SAVE_MS;
	lane->batches = lane->last_mapping = 0;
	lane->hurry = false;
	lane->lost = (struct ls_error){ .class = LS_OK };
}

static enum ls_class open_all(struct ls_capture_lane *lane, struct ls_error *err)
{
	struct ls_schemas *schemas = NULL;
	enum ls_class class;

	open_memory(lane);
	class = ls_app_schemas(lane->base.app, &schemas, err);
	if (class)
		return class;
	lane->encoder = ls_encoder_new(schemas);
	if (lane->config->schema_change != LS_SCHEMA_FOLLOW)
		ls_encoder_strict(lane->encoder);
	class = ls_producer_open(&lane->base.app->config->kafka, ls_capture_delivered, lane, &lane->producer, err);
	if (class)
		return class;
	return open_source(lane, err);
}

/* The source first: it lets go of nothing that was not confirmed. */
static void close_all(struct ls_capture_lane *lane)
{
	if (lane->src)
		lane->src = lane->src->ops->close(lane->src);
	lane->producer = ls_producer_close(lane->producer);
	lane->encoder = ls_encoder_free(lane->encoder);
	lane->park = ls_park_close(lane->park);
	lane->transform = ls_transform_free(lane->transform);
	lane->pending = ls_pending_free(lane->pending);
	lane->arena = ls_arena_free(lane->arena);
	free(lane->event);
	lane->event = NULL;
	ls_buf_release(&lane->bytes);
	ls_buf_release(&lane->record);
	ls_buf_release(&lane->reached);
	ls_buf_release(&lane->sent);
	ls_buf_release(&lane->told);
	LS_GAUGE(lane->base.stats, pending, 0);
}

static enum ls_class turn(struct ls_capture_lane *lane, struct ls_error *err)
{
	bool full = ls_pending_batches(lane->pending) == LS_CAPTURE_SLOTS;
	enum ls_class class = ls_capture_settle(lane, full ? FULL_MS : 0, err);
	struct ls_batch batch = {
		.arena = lane->arena, .event = lane->event, .max = LS_CAPTURE_BATCH, .floor = LS_NONE
	};

	/* Backpressure stops reading, never the keepalives: those are in settle. */
	if (class || ls_pending_batches(lane->pending) == LS_CAPTURE_SLOTS)
		return class;
	ls_arena_reset(lane->arena);
	class = lane->src->ops->poll(lane->src, ls_capture_settled(lane) ? IDLE_MS : BUSY_MS, &batch, err);
	if (class)
		return class;
	LS_FAILPOINT_ERROR("capture.polled", err);
	if (!batch.count && !batch.position.len) {
		ls_clock_raise(&lane->clock, batch.floor);
		return LS_OK;
	}
	return ls_capture_publish(lane, &batch, err);
}

/* Stopping: what was sent is acknowledged, saved and confirmed, as far as ten seconds reach; the rest is read again. */
static void drain(struct ls_capture_lane *lane)
{
	struct ls_log *log = lane->base.app->log;
	struct ls_error err;

	lane->deadline_ms = ls_monotonic_ms() + LS_CAPTURE_DRAIN_MS;
	LS_FAILPOINT("capture.drain");
	do {
		if (ls_capture_settle(lane, FULL_MS, &err)) {
			ls_log_error(log, LS_LOG_WARN, lane->base.name, &err,
				     "the rest is read again at the next start");
			return;
		}
	} while (!ls_capture_settled(lane) && ls_monotonic_ms() < lane->deadline_ms);
	LS_LOG(log, LS_LOG_INFO, lane->base.name, "capture stopped",
	       LS_N("unacknowledged", ls_pending_unacked(lane->pending)),
	       LS_F("next",
		    ls_capture_settled(lane) ? "goes on from here" : "the rest is read again at the next start"));
}

static enum ls_class run(struct ls_lane *base, struct ls_error *err)
{
	struct ls_capture_lane *lane = (struct ls_capture_lane *)base;
	const struct ls_stop *stop = &base->app->stop;
	enum ls_class class = open_all(lane, err);

	while (!class && !ls_stop_is_set(stop))
		class = turn(lane, err);
	/* A batch that was given up because of the stop is no failure. */
	if ((!class || class == LS_RETRY) && ls_stop_is_set(stop)) {
		class = LS_OK;
		if (lane->src && !lane->lost.class)
			drain(lane);
	}
	close_all(lane);
	return class;
}

static void lane_free(struct ls_lane *base)
{
	struct ls_capture_lane *lane = (struct ls_capture_lane *)base;

	free(lane->topic);
	free(lane->partitions);
	free(lane);
}

enum ls_class ls_capture_lane_new(struct ls_app *app, const struct ls_source_config *config, struct ls_lane **ret,
				  struct ls_error *err)
{
	struct ls_capture_lane *lane;
	char host[48] = "";

	for (size_t i = 0; i < config->mapping_count; i++)
		if (ls_transform_check(&config->mapping[i], err))
			return ls_fail_in(err, "source \"%s\"", config->name);
	lane = calloc(1, sizeof(*lane));
	if (!lane)
		abort();
	lane->topic = calloc(config->mapping_count + 1, sizeof(*lane->topic));
	lane->partitions = calloc(config->mapping_count + 1, sizeof(*lane->partitions));
	if (!lane->topic || !lane->partitions)
		abort();
	lane->config = config;
	snprintf(lane->base.name, sizeof(lane->base.name), "capture/%s", config->name);
	lane->base.stats = ls_stats_lane(app->stats, lane->base.name);
	lane->base.app = app;
	lane->base.run = run;
	lane->base.free = lane_free;
	ls_capture_context(app->config, config, lane->base.stats, &lane->context);
	lane->context.partitions = config->two_way ? lane->partitions : NULL;
	for (size_t i = 0; i < config->mapping_count; i++)
		ls_topic_events(lane->topic[i], app->config->prefix, config->mapping[i].entity);
	ls_topic_dlq(lane->dlq, app->config->prefix, config->name);
	ls_topic_named(lane->positions, app->config->prefix, "positions");
	gethostname(host, sizeof(host) - 1);
	snprintf(lane->writer, sizeof(lane->writer), "%s-%ld", host, (long)getpid());
	*ret = &lane->base;
	return LS_OK;
}
