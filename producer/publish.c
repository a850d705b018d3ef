/* One batch to Kafka: each event gets its version, is filtered and masked, encoded and queued under its slot. What can
 * never be an event becomes a dead letter in the same slot, so that the position does not pass it unnoticed. */
#include "lane.h"
#include "park.h"
#include "pending.h"
#include "transform.h"

#include "avro/codec.h"
#include "core/arena.h"
#include "core/failpoint.h"
#include "main/app.h"

#include <stdio.h>

enum {
	WAIT_MS = 20,
	POLL_EVERY = 512,
	DEAD_BYTES = 900 * 1024,
	DEAD_KEY = 1024,
	DEAD_HEADERS = 8,
	PARKED_HEADERS = 10,
	PARKED_LOGGED = 1000
};

/* Waits without forgetting anyone. LS_RETRY also when the process is to stop: the batch is given up, it was never
 * closed, so its position is not reached. */
static enum ls_class wait(struct ls_capture_lane *lane, int64_t wait_ms, struct ls_error *err)
{
	int64_t until_ms = ls_monotonic_ms() + wait_ms;
	enum ls_class class;

	do {
		if (ls_stop_is_set(&lane->base.app->stop))
			return ls_fail(err, LS_RETRY, "stopping", "source \"%s\": stopping", lane->config->name);
		class = ls_capture_settle(lane, WAIT_MS, err);
	} while (!class && ls_monotonic_ms() < until_ms);
	return class;
}

/* Queues one message under the slot. LS_POISON: too large. */
static enum ls_class send(struct ls_capture_lane *lane, size_t slot, const char *topic, struct ls_str key,
			  struct ls_str value, const struct ls_header *header, size_t header_count,
			  struct ls_error *err)
{
	enum ls_class class;

	ls_pending_add(lane->pending, slot);
	for (;;) {
		class = ls_producer_send(lane->producer, topic, -1, key, value, header, header_count, &lane->tag[slot],
					 err);
		if (class != LS_RETRY)
			break;
		class = wait(lane, 0, err);
		if (class)
			break;
	}
	if (class)
		ls_pending_ack(lane->pending, slot);
	/* The handle is dead, the events are not: begin again. */
	if (class == LS_FATAL)
		class = err->class = LS_RETRY;
	return class;
}

static void dead_value(struct ls_capture_lane *lane, const struct ls_event *event)
{
	ls_buf_clear(&lane->bytes);
	ls_event_json(event, &lane->bytes);
	if (lane->bytes.full || lane->bytes.len > DEAD_BYTES)
		ls_buf_clear(&lane->bytes);
}

static void log_dead(struct ls_capture_lane *lane, const char *entity, const struct ls_error *why)
{
	long long dead = LS_COUNT(lane->base.stats, dead, 1);

	ls_stats_error(lane->base.stats, why->text);
	if (ls_park_is(why) && dead % PARKED_LOGGED)
		return; /* a table's every change, until somebody acts */
	LS_LOG(lane->base.app->log, LS_LOG_WARN, lane->base.name, "dead letter", LS_F("class", "poison"),
	       LS_F("code", why->code), LS_F("entity", entity), LS_F("topic", lane->dlq), LS_F("reason", why->text),
	       LS_F("next", "the event is in the dead letter topic, others go on; see `lockstep dlq list`"));
}

static size_t mapping_of(struct ls_capture_lane *lane, struct ls_str entity)
{
	size_t count = lane->config->mapping_count, last = lane->last_mapping;

	if (last < count && ls_str_equal(ls_str_of(lane->config->mapping[last].entity), entity))
		return last;
	for (size_t i = 0; i < count; i++)
		if (ls_str_equal(ls_str_of(lane->config->mapping[i].entity), entity))
			return lane->last_mapping = i;
	return count;
}

static enum ls_class bury(struct ls_capture_lane *lane, size_t slot, const struct ls_event *event,
			  const struct ls_error *why, struct ls_error *err)
{
	char key[DEAD_KEY], time[24], entity[128];
	struct ls_header header[PARKED_HEADERS] = {
		{ LS_STR("lockstep.reason"), ls_str_of(why->text) },
		{ LS_STR("lockstep.code"), ls_str_of(why->code) },
		{ LS_STR("lockstep.source"), event->source },
		{ LS_STR("lockstep.entity"), event->entity },
		{ LS_STR("lockstep.key"), event->entity_id },
		{ LS_STR("lockstep.event_id"), event->event_id },
		{ LS_STR("lockstep.time"), LS_STR("") },
		{ LS_STR("lockstep.side"), LS_STR("capture") },
	};
	struct ls_str dead_key, empty = { "", 0 };
	enum ls_class class;
	bool parked;

	LS_FAILPOINT_ERROR("capture.dead_send", err);
	parked = ls_park_is(why);
	snprintf(time, sizeof(time), "%lld", (long long)ls_now_us());
	header[6].value = ls_str_of(time);
	snprintf(key, sizeof(key), "%s-%.*s", lane->config->name, LS_ARG(event->event_id));
	snprintf(entity, sizeof(entity), "%.*s", LS_ARG(event->entity));
	dead_key = ls_str_of(key);
	if (parked) {
		header[7].value = LS_STR("parked");
		header[8] = (struct ls_header){ LS_STR("lockstep.topic"),
						ls_str_of(lane->topic[mapping_of(lane, event->entity)]) };
		header[9] = (struct ls_header){ LS_STR("lockstep.partition"), LS_STR("-1") };
	} else {
		dead_value(lane, event);
	}
	class = send(lane, slot, lane->dlq, dead_key, lane->bytes.len ? ls_buf_str(&lane->bytes) : empty, header,
		     parked ? PARKED_HEADERS : DEAD_HEADERS, err);
	if (class == LS_POISON) {
		header[7].value = LS_STR("capture");
		header[4].value = empty; /* it may be the key that is too large */
		class = send(lane, slot, lane->dlq, dead_key, empty, header, DEAD_HEADERS, err);
	}
	if (class == LS_POISON)
		class = err->class = LS_FATAL;
	if (class)
		return ls_fail_in(err, "dead letter of source \"%s\" to topic %s", lane->config->name, lane->dlq);
	LS_FAILPOINT_ERROR("capture.dead_sent", err);
	log_dead(lane, entity, why);
	return LS_OK;
}

/* What the source already knows, and what no topic takes. */
static enum ls_class check(const struct ls_capture_lane *lane, const struct ls_event *event, size_t mapping,
			   struct ls_error *err)
{
	for (size_t i = 0; i < event->metadata_count; i++)
		if (ls_str_equal(event->metadata[i].name, LS_STR("lockstep.poison")))
			return ls_fail(err, LS_POISON, "source", "%.*s", LS_ARG(event->metadata[i].value));
	if (mapping == lane->config->mapping_count)
		return ls_fail(err, LS_POISON, "entity", "source \"%s\" has no mapping for entity \"%.*s\"",
			       lane->config->name, LS_ARG(event->entity));
	if (!event->entity_id.len)
		return ls_fail(
			err, LS_POISON, "key",
			"a change of entity \"%.*s\" has no key: its key columns are NULL or not sent (is REPLICA "
			"IDENTITY set?)",
			LS_ARG(event->entity));
	return LS_OK;
}

static enum ls_class encode(struct ls_capture_lane *lane, const struct ls_event *event, bool aside,
			    struct ls_error *err)
{
	struct ls_backoff backoff = { .initial_ms = 100, .max_ms = 10 * 1000 };

	for (;;) {
		enum ls_class class;

		ls_buf_clear(&lane->bytes);
		class = aside ? ls_park_encode(&lane->park, lane->base.app->config, event, &lane->bytes, err)
			      : ls_encode(lane->encoder, event, &lane->bytes, err);
		if (class == LS_FATAL)
			return ls_fail_in(err, "source \"%s\", entity \"%.*s\"", lane->config->name,
					  LS_ARG(event->entity));
		if (class != LS_RETRY)
			return class;
		LS_COUNT(lane->base.stats, retries, 1);
		ls_stats_error(lane->base.stats, err->text);
		ls_log_error(lane->base.app->log, LS_LOG_WARN, lane->base.name, err, "trying again, nothing is lost");
		class = wait(lane, ls_backoff_next(&backoff), err);
		if (class)
			return class;
	}
}

/* keep_aside does what the source's schema_change says; LS_POISON of that code: the message is ready in lane->bytes. */
static enum ls_class keep_aside(struct ls_capture_lane *lane, size_t mapping, const struct ls_event *event,
				struct ls_error *err)
{
	struct ls_error why = *err;
	enum ls_class class = ls_park_say(lane->config, &lane->config->mapping[mapping], event, &why);

	if (class == LS_POISON) {
		enum ls_class encoded = encode(lane, event, true, err);

		if (encoded)
			return encoded;
	}
	*err = why;
	return class;
}

/* Version, filter and mask. *ret_keep false: it does not travel. The version comes first: an update that leaves the
 * filter loses the row that has it. */
static enum ls_class prepare(struct ls_capture_lane *lane, size_t mapping, struct ls_event *event, bool *ret_keep,
			     struct ls_error *err)
{
	const struct ls_mapping *map = &lane->config->mapping[mapping];
	struct ls_error unversioned;
	enum ls_class version = ls_transform_version(map, event, &unversioned);
	enum ls_class class = ls_transform_apply(lane->transform, map, event, lane->arena, ret_keep, err);

	/* Half masked is not masked. */
	if (class)
		event->before = event->after = (struct ls_row){ NULL, NULL };
	if (class || !version)
		return class;
	*err = unversioned;
	return version;
}

/* Masks come before anything that may become a dead letter; an entity without mapping has none to go by. */
static enum ls_class make_ready(struct ls_capture_lane *lane, size_t mapping, struct ls_event *event, bool *ret_keep,
				struct ls_error *err)
{
	enum ls_class class = LS_OK;

	if (mapping < lane->config->mapping_count)
		class = prepare(lane, mapping, event, ret_keep, err);
	else
		event->before = event->after = (struct ls_row){ NULL, NULL };
	if (class || !*ret_keep)
		return class;
	class = check(lane, event, mapping, err);
	if (!class)
		class = encode(lane, event, false, err);
	return class == LS_POISON && ls_park_is(err) ? keep_aside(lane, mapping, event, err) : class;
}

static enum ls_class publish_one(struct ls_capture_lane *lane, size_t slot, struct ls_event *event,
				 struct ls_error *err)
{
	size_t mapping = mapping_of(lane, event->entity);
	bool keep = true;
	enum ls_class class;

	/* Every event of the log takes a number, also one that does not travel: filters do not change versions. The
	 * rows of a snapshot bring theirs and take none: a later round of it is ahead of the log before it. */
	if (event->version == LS_NONE)
		event->version = ls_clock_next(&lane->clock, event->timestamp_us, event->base_version);
	class = make_ready(lane, mapping, event, &keep, err);
	if (!class && !keep)
		return LS_OK;
	if (!class) {
		LS_FAILPOINT_ERROR("capture.encoded", err);
		class = send(lane, slot, lane->topic[mapping], event->entity_id, ls_buf_str(&lane->bytes), NULL, 0,
			     err);
		LS_FAILPOINT("capture.queued");
	}
	if (class == LS_POISON) {
		struct ls_error why = *err;

		class = bury(lane, slot, event, &why, err);
	}
	return class;
}

/* The batch's figures: its newest commit; none for a snapshot, whose rows are as old as they are. */
static void note(struct ls_capture_lane *lane, size_t slot, const struct ls_batch *batch)
{
	const struct ls_event *last = batch->count ? &batch->event[batch->count - 1] : NULL;

	LS_COUNT(lane->base.stats, events, batch->count);
	if (!last || last->change == LS_SNAPSHOT || last->timestamp_us <= 0)
		return;
	ls_pending_note(lane->pending, slot, last->timestamp_us);
	LS_GAUGE(lane->base.stats, lag_us, ls_now_us() - last->timestamp_us);
}

enum ls_class ls_capture_publish(struct ls_capture_lane *lane, const struct ls_batch *batch, struct ls_error *err)
{
	enum ls_class class = LS_OK;
	size_t slot;

	while (!ls_pending_begin(lane->pending, &slot)) {
		class = wait(lane, 0, err);
		if (class)
			return class;
	}
	ls_clock_raise(&lane->clock, batch->floor);
	note(lane, slot, batch);
	for (size_t i = 0; !class && i < batch->count; i++) {
		class = publish_one(lane, slot, &batch->event[i], err);
		if (!class && i % POLL_EVERY == POLL_EVERY - 1)
			class = ls_capture_settle(lane, 0, err);
	}
	if (class)
		return class;
	LS_FAILPOINT_ERROR("capture.sent", err);
	if (batch->count)
		lane->hurry = batch->event[batch->count - 1].change == LS_SNAPSHOT;
	if (!ls_pending_close(lane->pending, slot, batch->position, lane->clock.last))
		return ls_fail(err, LS_FATAL, "position", "source \"%s\": a position of %zu bytes is longer than %d",
			       lane->config->name, batch->position.len, LS_POSITION_MAX);
	return LS_OK;
}
