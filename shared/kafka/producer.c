/* The idempotent producer: nothing is lost, doubled or reordered by it, or it says that it is dead. */
#include "kafka/handle.h"
#include "core/failpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct known_topic {
	char *name;
	rd_kafka_topic_t *rkt;
};

struct ls_producer {
	struct ls_kafka_handle handle;
	ls_delivery *delivery;
	void *context;
	int delivered; /* since the last poll began */
	bool healthy;  /* the last thing heard was an acknowledgement */
	struct known_topic *topic;
	size_t topic_count, last_topic;
};

/* A timeout would make a gap in the order of a key, so there is none: what cannot be sent stays queued. */
static const struct ls_kafka_setting settings[] = {
	{ "enable.idempotence", "true", LS_FIXED },
	{ "acks", "all", LS_FIXED },
	{ "message.timeout.ms", "0", LS_FIXED },
	{ "partitioner", "murmur2_random", LS_FIXED },
	{ "allow.auto.create.topics", "false", LS_FALLBACK },
	{ "linger.ms", "5", LS_FALLBACK },
	{ "batch.size", "1000000", LS_FALLBACK },
	{ "batch.num.messages", "10000", LS_FALLBACK },
	{ "message.max.bytes", "16777216", LS_FALLBACK },
	{ "compression.type", "lz4", LS_FALLBACK },
	/* Bounds of memory, both needed: librdkafka adds some 250 bytes to each message, more than a state is long. */
	{ "queue.buffering.max.messages", "30000", LS_FALLBACK },
	{ "queue.buffering.max.kbytes", "16384", LS_FALLBACK },
	{ "sticky.partitioning.linger.ms", "0", LS_FALLBACK },
	{ "topic.metadata.propagation.max.ms", "5000", LS_FALLBACK },
	{ NULL, NULL, LS_FALLBACK },
};

/* What this handle could not deliver is lost for it, whatever the reason: only a new handle can try again. */
static enum ls_class delivery_class(rd_kafka_resp_err_t code)
{
	enum ls_class class = ls_kafka_class(code);

	return class == LS_RETRY || class == LS_FENCED ? LS_FATAL : class;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	struct ls_kafka_handle *handle = opaque;
	struct ls_producer *producer = handle->owner;

	(void)rk;
	LS_FAILPOINT("kafka.delivered");
	producer->delivered++;
	if (message->err) {
		producer->healthy = false;
	} else if (!producer->healthy) {
		producer->healthy = true;
		ls_kafka_handle_forget(handle);
	}
	if (!message->_private || !producer->delivery)
		return;
	producer->delivery(producer->context, message->_private, delivery_class(message->err),
			   message->err ? ls_kafka_text(message->err) : NULL, message->offset);
}

static void on_trouble(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
	struct ls_kafka_handle *handle = opaque;
	struct ls_producer *producer = handle->owner;

	(void)rk;
	producer->healthy = false;
	ls_kafka_handle_note(handle, (rd_kafka_resp_err_t)code, reason);
}

static void prepare(rd_kafka_conf_t *conf)
{
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	rd_kafka_conf_set_error_cb(conf, on_trouble);
}

enum ls_class ls_producer_open(const struct ls_kafka_conf *conf, ls_delivery *delivery, void *context,
			       struct ls_producer **ret, struct ls_error *err)
{
	struct ls_producer *producer = calloc(1, sizeof(*producer));

	if (!producer)
		abort();
	producer->delivery = delivery;
	producer->context = context;
	enum ls_class class =
		ls_kafka_handle_open(&producer->handle, producer, RD_KAFKA_PRODUCER, conf, settings, prepare, err);
	if (class) {
		ls_producer_close(producer);
		return class;
	}
	*ret = producer;
	return LS_OK;
}

static rd_kafka_topic_t *topic_add(struct ls_producer *producer, const char *name)
{
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(producer->handle.rk, name, NULL);

	if (!rkt)
		return NULL;
	producer->topic = reallocarray(producer->topic, producer->topic_count + 1, sizeof(*producer->topic));
	if (!producer->topic)
		abort();
	producer->topic[producer->topic_count] = (struct known_topic){ strdup(name), rkt };
	if (!producer->topic[producer->topic_count].name)
		abort();
	producer->last_topic = producer->topic_count++;
	return rkt;
}

/* A producer writes to a handful of topics, mostly the one it wrote to last. */
static rd_kafka_topic_t *topic_of(struct ls_producer *producer, const char *name)
{
	if (producer->topic_count && strcmp(producer->topic[producer->last_topic].name, name) == 0)
		return producer->topic[producer->last_topic].rkt;
	for (size_t i = 0; i < producer->topic_count; i++)
		if (strcmp(producer->topic[i].name, name) == 0) {
			producer->last_topic = i;
			return producer->topic[i].rkt;
		}
	return topic_add(producer, name);
}

static rd_kafka_resp_err_t queue(struct ls_producer *producer, rd_kafka_topic_t *rkt, int32_t partition,
				 struct ls_str key, struct ls_str value, const struct ls_header *header,
				 size_t header_count, void *opaque)
{
	rd_kafka_t *rk = producer->handle.rk;
	void *key_ptr = (void *)(uintptr_t)key.ptr, *value_ptr = (void *)(uintptr_t)value.ptr;

	if (header_count == 0)
		return rd_kafka_producev(rk, RD_KAFKA_V_RKT(rkt), RD_KAFKA_V_PARTITION(partition),
					 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key_ptr, key.len),
					 RD_KAFKA_V_VALUE(value_ptr, value.len), RD_KAFKA_V_OPAQUE(opaque),
					 RD_KAFKA_V_END);
	rd_kafka_headers_t *headers = rd_kafka_headers_new(header_count);
	for (size_t i = 0; i < header_count; i++)
		rd_kafka_header_add(headers, header[i].name.ptr, (ssize_t)header[i].name.len, header[i].value.ptr,
				    (ssize_t)header[i].value.len);
	rd_kafka_resp_err_t code = rd_kafka_producev(
		rk, RD_KAFKA_V_RKT(rkt), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		RD_KAFKA_V_KEY(key_ptr, key.len), RD_KAFKA_V_VALUE(value_ptr, value.len), RD_KAFKA_V_OPAQUE(opaque),
		RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
	if (code) /* librdkafka took them only if it took the message */
		rd_kafka_headers_destroy(headers);
	return code;
}

/* A dead handle answers every send with "fatal"; the reason is the first one it had. */
static enum ls_class fail_send(struct ls_producer *producer, rd_kafka_resp_err_t code, const char *topic,
			       struct ls_str key, struct ls_str value, struct ls_error *err)
{
	char fatal[200];

	if (code == RD_KAFKA_RESP_ERR__FATAL) {
		code = rd_kafka_fatal_error(producer->handle.rk, fatal, sizeof(fatal));
		enum ls_class class = ls_kafka_class(code) == LS_AUTH ? LS_AUTH : LS_FATAL;

		return ls_fail(err, class, rd_kafka_err2name(code), "the producer of topic \"%s\" cannot go on: %s",
			       topic, fatal);
	}
	if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
		return ls_fail(err, LS_POISON, rd_kafka_err2name(code),
			       "a message of %zu bytes for topic \"%s\" is larger than message.max.bytes",
			       key.len + value.len, topic);
	if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return ls_fail(err, LS_RETRY, rd_kafka_err2name(code), "the queue to Kafka is full");
	return ls_kafka_fail(&producer->handle, code, err, "could not send to topic \"%s\"", topic);
}

enum ls_class ls_producer_send(struct ls_producer *producer, const char *topic, int32_t partition, struct ls_str key,
			       struct ls_str value, const struct ls_header *header, size_t header_count, void *opaque,
			       struct ls_error *err)
{
	rd_kafka_topic_t *rkt = topic_of(producer, topic);

	LS_FAILPOINT_ERROR("kafka.send", err);
	if (!rkt)
		return ls_kafka_fail(&producer->handle, rd_kafka_last_error(), err, "topic \"%s\"", topic);
	rd_kafka_resp_err_t code = queue(producer, rkt, partition, key, value, header, header_count, opaque);
	/* A message that does not fit an empty queue never will. */
	if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && rd_kafka_outq_len(producer->handle.rk) == 0)
		code = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
	return code ? fail_send(producer, code, topic, key, value, err) : LS_OK;
}

int ls_producer_poll(struct ls_producer *producer, int timeout_ms)
{
	producer->delivered = 0;
	rd_kafka_poll(producer->handle.rk, timeout_ms);
	return producer->delivered;
}

size_t ls_producer_queued(const struct ls_producer *producer)
{
	return (size_t)rd_kafka_outq_len(producer->handle.rk);
}

enum ls_class ls_producer_flush(struct ls_producer *producer, int timeout_ms, struct ls_error *err)
{
	rd_kafka_resp_err_t code = rd_kafka_flush(producer->handle.rk, timeout_ms);

	if (!code)
		return LS_OK;
	enum ls_class class = ls_producer_error(producer, err);
	if (class)
		return class;
	return ls_kafka_fail(&producer->handle, code, err, "%d messages are not acknowledged after %d ms",
			     rd_kafka_outq_len(producer->handle.rk), timeout_ms);
}

enum ls_class ls_producer_error(struct ls_producer *producer, struct ls_error *err)
{
	struct ls_kafka_handle *handle = &producer->handle;
	enum ls_class class = LS_OK;

	pthread_mutex_lock(&handle->lock);
	if (handle->class)
		class = ls_fail(err, handle->class == LS_FENCED ? LS_FATAL : handle->class, handle->code,
				"Kafka takes nothing now: %s", handle->problem);
	pthread_mutex_unlock(&handle->lock);
	return class;
}

struct ls_producer *ls_producer_close(struct ls_producer *producer)
{
	if (!producer)
		return NULL;
	producer->delivery = NULL;
	if (producer->handle.rk)
		rd_kafka_purge(producer->handle.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	for (size_t i = 0; i < producer->topic_count; i++) {
		rd_kafka_topic_destroy(producer->topic[i].rkt);
		free(producer->topic[i].name);
	}
	free(producer->topic);
	ls_kafka_handle_close(&producer->handle, 0);
	free(producer);
	return NULL;
}
