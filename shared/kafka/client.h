/* What lockstep needs of librdkafka, and no more: its types stay in this folder.
 * One handle is used by one thread; errors are classified by kafka/error.c. */
#pragma once

#include "lockstep/error.h"
#include "lockstep/event.h"

#include <stdint.h>

/* Properties passed through to librdkafka, later ones win. Not owned. */
struct ls_kafka_conf {
	const struct ls_pair *property;
	size_t count;
};

struct ls_header {
	struct ls_str name, value;
};

/* A message read. Views are good until ls_message_free of its `handle`. */
struct ls_message {
	struct ls_str topic;
	int32_t partition;
	int64_t offset;
	int64_t timestamp_us; /* Kafka's record timestamp */
	struct ls_str key, value;
	bool has_key, has_value;
	enum ls_class class; /* LS_OK, or the fetch failed here: LS_FATAL (offset out of range), LS_AUTH or LS_RETRY; */
	const char *problem; /* then a constant text says why, and offset is where */
	void *handle;
	const struct ls_header *header; /* of a copy: handle is NULL then */
	size_t header_count;
};
/* ls_message_copy makes a copy of its own in one piece of memory, freed by free(). The topic stays the original's. */
struct ls_message *ls_message_copy(const struct ls_message *message);
/* Every message must be freed before its consumer or reader is closed: closing waits for it otherwise, for ever. */
void ls_message_free(struct ls_message *message);
/* ls_message_headers copies up to max headers' views; returns how many there are. */
size_t ls_message_headers(const struct ls_message *message, struct ls_header *out, size_t max);

/* ---- producer: idempotent, acks=all, message.timeout.ms=0, murmur2_random ---- */

struct ls_producer;

/* Called from ls_producer_poll, _flush and _send only, on the caller's thread, once per message sent with an opaque.
 * class LS_OK: durable, at `offset`. Else it is lost for this handle: LS_POISON (too large), LS_FATAL (the handle is
 * dead: close it and begin again from the last durable position) or LS_AUTH. */
typedef void ls_delivery(void *context, void *opaque, enum ls_class class, const char *problem, int64_t offset);

enum ls_class ls_producer_open(const struct ls_kafka_conf *conf, ls_delivery *delivery, void *context,
			       struct ls_producer **ret, struct ls_error *err);

/* ls_producer_send queues one message; key and value are copied.
 * partition   -1: by murmur2 of the key, as Java clients do
 * value.ptr   NULL: a tombstone
 * LS_RETRY: the queue is full, poll and send again. LS_POISON: larger than message.max.bytes. LS_FATAL, LS_AUTH: the
 * handle is dead. */
enum ls_class ls_producer_send(struct ls_producer *producer, const char *topic, int32_t partition, struct ls_str key,
			       struct ls_str value, const struct ls_header *header, size_t header_count, void *opaque,
			       struct ls_error *err);
int ls_producer_poll(struct ls_producer *producer, int timeout_ms); /* runs deliveries; returns how many */
size_t ls_producer_queued(const struct ls_producer *producer);
/* ls_producer_flush waits until nothing is queued. LS_RETRY when timeout_ms passed first. */
enum ls_class ls_producer_flush(struct ls_producer *producer, int timeout_ms, struct ls_error *err);
struct ls_producer *ls_producer_close(struct ls_producer *producer); /* drops what is queued; NULL ok */

/* ls_producer_error: LS_OK, or why nothing is going out (broker unreachable: LS_RETRY; refused: LS_AUTH; fatal). */
enum ls_class ls_producer_error(struct ls_producer *producer, struct ls_error *err);

/* ---- consumer of a group: eager range assignment, offsets never stored by librdkafka ---- */

struct ls_consumer;
struct ls_partition; /* one assigned partition with its own queue */

enum ls_consumer_event_kind { LS_CONSUMER_NOTHING, LS_CONSUMER_ASSIGN, LS_CONSUMER_REVOKE, LS_CONSUMER_ERROR };

struct ls_assigned {
	const char *topic; /* the consumer's, good until the revoke is answered */
	int32_t partition;
	int64_t offset; /* the caller sets it before ls_consumer_assign: where to start; -1: the beginning */
	struct ls_partition *queue; /* set by ls_consumer_assign */
};

struct ls_consumer_event {
	enum ls_consumer_event_kind kind;
	struct ls_assigned *assigned; /* ASSIGN and REVOKE; the consumer's until it is answered */
	size_t count;
	bool lost;             /* REVOKE: already taken away; do not commit */
	struct ls_error error; /* ERROR; LS_RETRY: librdkafka goes on trying by itself, the handle is still good */
};

/* group       consumer group id
 * instance    static membership id, or NULL
 * topics      subscribed, all of them; must exist */
enum ls_class ls_consumer_open(const struct ls_kafka_conf *conf, const char *group, const char *instance,
			       const char *const *topic, size_t topic_count, struct ls_consumer **ret,
			       struct ls_error *err);

/* ls_consumer_poll must be called at least every few seconds whatever happens. ASSIGN must be answered by
 * ls_consumer_assign, REVOKE by ls_consumer_revoke, before the next poll. */
void ls_consumer_poll(struct ls_consumer *consumer, int timeout_ms, struct ls_consumer_event *ret);
/* ls_consumer_assign takes the partitions of the event, in the order they came. */
enum ls_class ls_consumer_assign(struct ls_consumer *consumer, struct ls_assigned *assigned, size_t count,
				 struct ls_error *err);
void ls_consumer_revoke(struct ls_consumer *consumer); /* gives everything back; queues are gone */

/* ls_partition_fetch takes up to max messages that are already here or come within timeout_ms; each is to be freed. */
size_t ls_partition_fetch(struct ls_partition *partition, int timeout_ms, struct ls_message *out, size_t max);

/* ls_consumer_wait sleeps until any assigned queue or the consumer itself has something, or timeout_ms (at most 50). */
void ls_consumer_wait(struct ls_consumer *consumer, int timeout_ms);

/* ls_consumer_commit sends an advisory offset commit without waiting. */
void ls_consumer_commit(struct ls_consumer *consumer, const char *topic, int32_t partition, int64_t next_offset);

/* ls_consumer_lag returns high watermark minus next_offset as last heard, or -1 when not known. */
int64_t ls_consumer_lag(struct ls_consumer *consumer, const char *topic, int32_t partition, int64_t next_offset);
bool ls_consumer_lost(struct ls_consumer *consumer); /* the assignment was lost without a revoke */
/* ls_consumer_close leaves the group cleanly. It may run a last revoke by itself: drain first. NULL ok. */
struct ls_consumer *ls_consumer_close(struct ls_consumer *consumer);

/* ---- reader: partitions of a topic without a group, from an offset to where it ended at opening ---- */

struct ls_reader;

/* partition -1: all of the topic's. from: offset to start at, -1 the beginning. The end is taken at opening. */
enum ls_class ls_reader_open(const struct ls_kafka_conf *conf, const char *topic, int32_t partition, int64_t from,
			     struct ls_reader **ret, struct ls_error *err);
/* ls_reader_next waits up to timeout_ms. *ret_end true: every partition is at its end. Otherwise *ret_count messages,
 * maybe 0. */
enum ls_class ls_reader_next(struct ls_reader *reader, int timeout_ms, struct ls_message *out, size_t max,
			     size_t *ret_count, bool *ret_end, struct ls_error *err);
/* ls_reader_extend moves the end to where the topic ends now, so that the same reader goes on. */
enum ls_class ls_reader_extend(struct ls_reader *reader, struct ls_error *err);
struct ls_reader *ls_reader_close(struct ls_reader *reader);

/* ---- topics ---- */

struct ls_admin;

struct ls_topic_spec {
	const char *name;
	int partitions, replication_factor;
	const struct ls_pair *config; /* cleanup.policy=compact ... */
	size_t config_count;
};

struct ls_topic_info {
	char name[256];
	int partitions; /* 0: does not exist */
	int replication_factor;
};

enum ls_class ls_admin_open(const struct ls_kafka_conf *conf, struct ls_admin **ret, struct ls_error *err);
struct ls_admin *ls_admin_close(struct ls_admin *admin);
/* ls_admin_create makes the topics; those that exist already are fine. Waits until every one has leaders. */
enum ls_class ls_admin_create(struct ls_admin *admin, const struct ls_topic_spec *spec, size_t count,
			      struct ls_error *err);
enum ls_class ls_admin_delete(struct ls_admin *admin, const char *const *topic, size_t count, struct ls_error *err);
enum ls_class ls_admin_topic(struct ls_admin *admin, const char *topic, struct ls_topic_info *ret,
			     struct ls_error *err);
/* ls_admin_list calls visit for every topic whose name starts with prefix. */
enum ls_class ls_admin_list(struct ls_admin *admin, const char *prefix,
			    void (*visit)(const struct ls_topic_info *topic, void *arg), void *arg,
			    struct ls_error *err);
enum ls_class ls_admin_config(struct ls_admin *admin, const char *topic, const char *name, char *out, size_t size,
			      struct ls_error *err);
/* ls_admin_watermarks: first and next offset of a partition. */
enum ls_class ls_admin_watermarks(struct ls_admin *admin, const char *topic, int32_t partition, int64_t *ret_low,
				  int64_t *ret_high, struct ls_error *err);

/* ls_kafka_reach asks whether any broker answers, for timeout_ms at most. LS_RETRY: none did. */
enum ls_class ls_kafka_reach(const struct ls_kafka_conf *conf, int timeout_ms, int *ret_brokers, struct ls_error *err);

/* ls_kafka_partition_of: the partition murmur2 gives a key, as Java clients compute it. */
int32_t ls_kafka_partition_of(struct ls_str key, int32_t partitions);
