/* Sending changes by hand. Their schemas are inferred from JSON and are nobody's contract: each is published under a
 * subject of its own, so that it is never held against the schema that a source of the same entity has. Sinks read
 * any. */
#include "outbox.h"
#include "own_subject.h"

#include "avro/codec.h"
#include "core/buf.h"
#include "core/failpoint.h"
#include "kafka/schema_topic.h"
#include "kafka/topics.h"
#include "main/app.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { IN_FLIGHT = 1000, EVENT_ID = 512, WAIT_MS = 50, TOPICS_MAX = 256, PATIENCE_MS = 30 * 1000 };

struct ticket {
	struct ls_outbox *outbox;
	struct ticket *next; /* of the free ones */
	size_t line;
	const char *topic; /* of a struct target */
	int32_t partition;
	char event_id[EVENT_ID];
};

struct target {
	char topic[LS_TOPIC_NAME];
	int32_t partitions;
};

struct ls_outbox {
	struct ls_app *app;
	struct ls_admin *admin;
	struct ls_producer *producer;
	struct ls_schemas *schemas;
	struct ls_encoder *encoder;
	struct ls_buf bytes;
	struct target *target; /* room for TOPICS_MAX: tickets point into it */
	size_t target_count;
	struct ticket *ticket, *free;
	void (*done)(void *context, const struct ls_receipt *receipt);
	void *context;
};

/* Single-object encoding also where a registry is configured: a registry would keep these schemas for ever. */
static enum ls_class open_schemas(struct ls_outbox *outbox, struct ls_error *err)
{
	const struct ls_config *config = outbox->app->config;
	struct ls_schema_store *inner;
	char topic[LS_TOPIC_NAME];
	enum ls_class class = ls_schema_topic_open(&config->kafka, ls_topic_named(topic, config->prefix, "schemas"),
						   LS_COMPATIBILITY_FULL, &inner, err);

	if (class)
		return class;
	outbox->schemas = ls_schemas_new(ls_own_subject(inner, "publish"), NULL, config->prefix);
	outbox->encoder = ls_encoder_new(outbox->schemas);
	return LS_OK;
}

/* ---- sending ---- */

static void delivered(void *context, void *opaque, enum ls_class class, const char *problem, int64_t offset)
{
	struct ls_outbox *outbox = context;
	struct ticket *ticket = opaque;
	struct ls_receipt receipt = { .line = ticket->line,
				      .event_id = ticket->event_id,
				      .topic = ticket->topic,
				      .partition = ticket->partition,
				      .offset = offset };

	LS_FAILPOINT("publish.acked");
	if (class)
		receipt.problem = problem ? problem : ls_class_name(class);
	outbox->done(outbox->context, &receipt);
	ticket->next = outbox->free;
	outbox->free = ticket;
}

static void make_tickets(struct ls_outbox *outbox)
{
	outbox->ticket = calloc(IN_FLIGHT, sizeof(*outbox->ticket));
	outbox->target = calloc(TOPICS_MAX, sizeof(*outbox->target));
	if (!outbox->ticket || !outbox->target)
		abort();
	for (size_t i = 0; i < IN_FLIGHT; i++) {
		outbox->ticket[i].next = outbox->free;
		outbox->free = &outbox->ticket[i];
	}
}

enum ls_class ls_outbox_open(struct ls_app *app, void (*done)(void *context, const struct ls_receipt *receipt),
			     void *context, struct ls_outbox **ret, struct ls_error *err)
{
	struct ls_outbox *outbox = calloc(1, sizeof(*outbox));
	enum ls_class class;

	if (!outbox)
		abort();
	outbox->app = app;
	outbox->done = done;
	outbox->context = context;
	ls_buf_init(&outbox->bytes, (size_t)app->config->max_event_bytes);
	make_tickets(outbox);
	class = ls_admin_open(&app->config->kafka, &outbox->admin, err);
	if (!class)
		class = open_schemas(outbox, err);
	if (!class)
		class = ls_producer_open(&app->config->kafka, delivered, outbox, &outbox->producer, err);
	if (class) {
		ls_outbox_close(outbox);
		return class;
	}
	*ret = outbox;
	return LS_OK;
}

static enum ls_class target_of(struct ls_outbox *outbox, const struct ls_event *event, bool priority,
			       const struct target **ret, struct ls_error *err)
{
	char entity[LS_TOPIC_NAME], topic[LS_TOPIC_NAME] = "";
	struct ls_topic_info info = { .partitions = 0 };
	struct target *target = &outbox->target[outbox->target_count];
	enum ls_class class;

	snprintf(entity, sizeof(entity), "%.*s", LS_ARG(event->entity));
	(priority ? ls_topic_priority : ls_topic_events)(topic, outbox->app->config->prefix, entity);
	for (size_t i = 0; i < outbox->target_count; i++)
		if (strcmp(outbox->target[i].topic, topic) == 0) {
			*ret = &outbox->target[i];
			return LS_OK;
		}
	if (outbox->target_count == TOPICS_MAX)
		return ls_fail(err, LS_POISON, "topic", "more than %d topics in one run", TOPICS_MAX);
	class = ls_admin_topic(outbox->admin, topic, &info, err);
	if (class)
		return class;
	if (!info.partitions)
		return ls_fail(err, LS_POISON, "topic", "topic %s does not exist: lockstep topics create", topic);
	snprintf(target->topic, sizeof(target->topic), "%s", topic);
	target->partitions = info.partitions;
	outbox->target_count++;
	*ret = target;
	return LS_OK;
}

static enum ls_class wait_for_ticket(struct ls_outbox *outbox, struct ticket **ret, struct ls_error *err)
{
	int64_t until_ms = ls_monotonic_ms() + PATIENCE_MS;

	while (!outbox->free) {
		ls_producer_poll(outbox->producer, WAIT_MS);
		if (!outbox->free && ls_monotonic_ms() > until_ms)
			return ls_fail(err, LS_RETRY, "timeout", "Kafka acknowledged nothing for %d s",
				       PATIENCE_MS / 1000);
	}
	*ret = outbox->free;
	return LS_OK;
}

/* Queues the encoded event; a full queue is waited out while it moves. */
static enum ls_class queue(struct ls_outbox *outbox, struct ticket *ticket, struct ls_str key, struct ls_error *err)
{
	int64_t until_ms = ls_monotonic_ms() + PATIENCE_MS;

	for (;;) {
		enum ls_class class = ls_producer_send(outbox->producer, ticket->topic, ticket->partition, key,
						       ls_buf_str(&outbox->bytes), NULL, 0, ticket, err);

		if (class != LS_RETRY || ls_monotonic_ms() > until_ms)
			return class;
		if (ls_producer_poll(outbox->producer, WAIT_MS))
			until_ms = ls_monotonic_ms() + PATIENCE_MS;
	}
}

enum ls_class ls_outbox_send(struct ls_outbox *outbox, size_t line, const struct ls_event *event, bool priority,
			     struct ls_error *err)
{
	const struct target *target = NULL;
	struct ticket *ticket = NULL;
	enum ls_class class = target_of(outbox, event, priority, &target, err);

	LS_FAILPOINT_ERROR("publish.send", err);
	ls_buf_clear(&outbox->bytes);
	if (!class)
		class = ls_encode(outbox->encoder, event, &outbox->bytes, err);
	if (!class)
		class = wait_for_ticket(outbox, &ticket, err);
	if (class)
		return class;
	assert(target && ticket);
	ticket->line = line;
	ticket->topic = target->topic;
	ticket->partition = ls_kafka_partition_of(event->entity_id, target->partitions);
	snprintf(ticket->event_id, sizeof(ticket->event_id), "%.*s", LS_ARG(event->event_id));
	outbox->free = ticket->next; /* deliveries may put others back meanwhile */
	class = queue(outbox, ticket, event->entity_id, err);
	if (class) {
		ticket->next = outbox->free;
		outbox->free = ticket;
		return class;
	}
	LS_FAILPOINT("publish.sent");
	ls_producer_poll(outbox->producer, 0);
	return LS_OK;
}

enum ls_class ls_outbox_flush(struct ls_outbox *outbox, int timeout_ms, struct ls_error *err)
{
	return ls_producer_flush(outbox->producer, timeout_ms, err);
}

struct ls_outbox *ls_outbox_close(struct ls_outbox *outbox)
{
	if (!outbox)
		return NULL;
	ls_producer_close(outbox->producer);
	ls_encoder_free(outbox->encoder);
	ls_schemas_free(outbox->schemas);
	ls_admin_close(outbox->admin);
	ls_buf_release(&outbox->bytes);
	free(outbox->ticket);
	free(outbox->target);
	free(outbox);
	return NULL;
}
