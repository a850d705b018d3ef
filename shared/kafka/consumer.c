/* A member of a consumer group. Every assigned partition has a queue of its own, so that one that has to wait holds up
 * no other, and nothing is ever paused or sought. */
#include "kafka/handle.h"
#include "core/failpoint.h"
#include "core/time.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct ls_partition {
	rd_kafka_queue_t *queue;
};

struct ls_consumer {
	struct ls_kafka_handle handle;
	rd_kafka_queue_t *queue;               /* the consumer's own: rebalances and errors */
	int wake_fd;                           /* written by librdkafka when any queue stops being empty */
	rd_kafka_topic_partition_list_t *list; /* of the event not yet answered, or owned now */
	struct ls_assigned *assigned;
	struct ls_partition *partition; /* one per entry of `list` once assigned */
	bool joined;                    /* subscribed: there is something to leave */
};

enum { WAIT_MAX_MS = 50, CLOSE_MAX_MS = 5000 };

static void want_events(rd_kafka_conf_t *conf)
{
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR);
}

static enum ls_class open_handle(struct ls_consumer *consumer, const struct ls_kafka_conf *conf, const char *group,
				 const char *instance, struct ls_error *err)
{
	const struct ls_kafka_setting settings[] = {
		{ "group.id", group, LS_FIXED },
		{ "group.instance.id", instance, LS_FIXED },
		{ "enable.auto.commit", "false", LS_FIXED },
		{ "enable.auto.offset.store", "false", LS_FIXED },
		/* Out of range means that events were lost or the topic was made anew: stop, never guess. */
		{ "auto.offset.reset", "error", LS_FIXED },
		{ "isolation.level", "read_committed", LS_FIXED },
		/* Eager: the cooperative protocol of librdkafka before 2.10 loses assignments. Range puts the same
		 * partition of every topic to one member. */
		{ "partition.assignment.strategy", "range", LS_FIXED },
		{ "enable.partition.eof", "false", LS_FIXED },
		{ "allow.auto.create.topics", "false", LS_FALLBACK },
		/* A killed sink's partitions move on after this; too early a move costs a restore, never data. */
		{ "session.timeout.ms", "10000", LS_FALLBACK },
		{ "heartbeat.interval.ms", "2000", LS_FALLBACK },
		{ "max.poll.interval.ms", "300000", LS_FALLBACK },
		/* Bounds of memory, per partition. */
		{ "queued.min.messages", "100000", LS_FALLBACK },
		{ "queued.max.messages.kbytes", "1024", LS_FALLBACK },
		{ "fetch.message.max.bytes", "1048576", LS_FALLBACK },
		{ "fetch.max.bytes", "8388608", LS_FALLBACK },
		{ "fetch.wait.max.ms", "100", LS_FALLBACK },
		/* The pause after every queue was full; its default of half a second would be felt. */
		{ "fetch.error.backoff.ms", "20", LS_FALLBACK },
		{ "fetch.queue.backoff.ms", "20", LS_IF_KNOWN },
		{ "check.crcs", "true", LS_FALLBACK },
		{ NULL, NULL, LS_FALLBACK },
	};

	return ls_kafka_handle_open(&consumer->handle, consumer, RD_KAFKA_CONSUMER, conf, settings, want_events, err);
}

static void wake_on(struct ls_consumer *consumer, rd_kafka_queue_t *queue)
{
	static const uint64_t one = 1;

	rd_kafka_queue_io_event_enable(queue, consumer->wake_fd, &one, sizeof(one));
}

static enum ls_class subscribe(struct ls_consumer *consumer, const char *const *topic, size_t count,
			       struct ls_error *err)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);

	for (size_t i = 0; i < count; i++)
		rd_kafka_topic_partition_list_add(list, topic[i], RD_KAFKA_PARTITION_UA);
	rd_kafka_resp_err_t code = rd_kafka_subscribe(consumer->handle.rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	if (code)
		return ls_kafka_fail(&consumer->handle, code, err, "could not subscribe to topic \"%s\"%s", topic[0],
				     count > 1 ? " and others" : "");
	consumer->joined = true;
	return LS_OK;
}

enum ls_class ls_consumer_open(const struct ls_kafka_conf *conf, const char *group, const char *instance,
			       const char *const *topic, size_t topic_count, struct ls_consumer **ret,
			       struct ls_error *err)
{
	struct ls_consumer *consumer = calloc(1, sizeof(*consumer));

	if (!consumer)
		abort();
	consumer->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	enum ls_class class = open_handle(consumer, conf, group, instance, err);
	if (!class && consumer->wake_fd < 0)
		class = ls_fail(err, LS_FATAL, "eventfd", "could not make an eventfd: %m");
	if (!class) {
		rd_kafka_poll_set_consumer(consumer->handle.rk);
		consumer->queue = rd_kafka_queue_get_consumer(consumer->handle.rk);
		wake_on(consumer, consumer->queue);
		class = subscribe(consumer, topic, topic_count, err);
	}
	if (class)
		ls_consumer_close(consumer);
	else
		*ret = consumer;
	return class;
}

/* Queues, then the list that names them: what is kept of a list or queue keeps librdkafka from ending. */
static void drop_assignment(struct ls_consumer *consumer)
{
	for (int i = 0; consumer->partition && i < consumer->list->cnt; i++)
		if (consumer->partition[i].queue) {
			rd_kafka_queue_io_event_enable(consumer->partition[i].queue, -1, NULL, 0);
			rd_kafka_queue_destroy(consumer->partition[i].queue);
		}
	free(consumer->partition);
	free(consumer->assigned);
	consumer->partition = NULL;
	consumer->assigned = NULL;
	if (consumer->list)
		rd_kafka_topic_partition_list_destroy(consumer->list);
	consumer->list = NULL;
}

static void take_list(struct ls_consumer *consumer, const rd_kafka_topic_partition_list_t *list)
{
	drop_assignment(consumer);
	consumer->list = rd_kafka_topic_partition_list_copy(list);
	consumer->assigned = calloc((size_t)list->cnt + 1, sizeof(*consumer->assigned));
	consumer->partition = calloc((size_t)list->cnt + 1, sizeof(*consumer->partition));
	if (!consumer->assigned || !consumer->partition)
		abort();
	for (int i = 0; i < list->cnt; i++)
		consumer->assigned[i] = (struct ls_assigned){ .topic = consumer->list->elems[i].topic,
							      .partition = consumer->list->elems[i].partition,
							      .offset = -1 };
}

static void on_rebalance(struct ls_consumer *consumer, rd_kafka_event_t *event, struct ls_consumer_event *ret)
{
	rd_kafka_resp_err_t code = rd_kafka_event_error(event);

	if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
		take_list(consumer, rd_kafka_event_topic_partition_list(event));
		ret->kind = LS_CONSUMER_ASSIGN;
	} else if (!consumer->list) {
		rd_kafka_assign(consumer->handle.rk, NULL); /* nothing was given: nobody has to know */
		return;
	} else {
		ret->kind = LS_CONSUMER_REVOKE;
		ret->lost =
			rd_kafka_assignment_lost(consumer->handle.rk) || code != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS;
	}
	ret->assigned = consumer->assigned;
	ret->count = (size_t)consumer->list->cnt;
}

/* librdkafka goes on by itself after all but fatal errors and refusals; single lost connections are not worth a
 * word. */
static void on_event_error(struct ls_consumer *consumer, rd_kafka_event_t *event, struct ls_consumer_event *ret)
{
	rd_kafka_resp_err_t code = rd_kafka_event_error(event);
	const char *reason = rd_kafka_event_error_string(event);
	char fatal[200];

	ls_kafka_handle_note(&consumer->handle, code, reason ? reason : rd_kafka_err2str(code));
	if (code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__RESOLVE)
		return;
	if (code == RD_KAFKA_RESP_ERR__FATAL)
		code = rd_kafka_fatal_error(consumer->handle.rk, fatal, sizeof(fatal));
	ret->kind = LS_CONSUMER_ERROR;
	ls_kafka_fail(&consumer->handle, code, &ret->error, "the consumer group");
}

void ls_consumer_poll(struct ls_consumer *consumer, int timeout_ms, struct ls_consumer_event *ret)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(consumer->queue, timeout_ms);

	*ret = (struct ls_consumer_event){ .kind = LS_CONSUMER_NOTHING };
	if (!event)
		return;
	if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
		on_rebalance(consumer, event, ret);
	else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
		on_event_error(consumer, event, ret);
	rd_kafka_event_destroy(event);
}

enum ls_class ls_consumer_assign(struct ls_consumer *consumer, struct ls_assigned *assigned, size_t count,
				 struct ls_error *err)
{
	rd_kafka_t *rk = consumer->handle.rk;

	LS_FAILPOINT_ERROR("kafka.assign", err);
	for (size_t i = 0; i < count && consumer->list && i < (size_t)consumer->list->cnt; i++) {
		rd_kafka_topic_partition_t *at = &consumer->list->elems[i];
		struct ls_partition *partition = &consumer->partition[i];

		/* Before every assign, and anew each time: the queue of the last assignment stays silent. */
		partition->queue = rd_kafka_queue_get_partition(rk, at->topic, at->partition);
		if (!partition->queue)
			return ls_fail(err, LS_RETRY, "queue", "no queue for topic \"%s\" partition %d", at->topic,
				       (int)at->partition);
		rd_kafka_queue_forward(partition->queue, NULL);
		wake_on(consumer, partition->queue);
		at->offset = assigned[i].offset >= 0 ? assigned[i].offset : RD_KAFKA_OFFSET_BEGINNING;
		assigned[i].queue = consumer->assigned[i].queue = partition;
	}
	rd_kafka_resp_err_t code = rd_kafka_assign(rk, consumer->list);
	return code ? ls_kafka_fail(&consumer->handle, code, err, "could not take the assigned partitions") : LS_OK;
}

void ls_consumer_revoke(struct ls_consumer *consumer)
{
	LS_FAILPOINT("kafka.revoke");
	drop_assignment(consumer);
	rd_kafka_assign(consumer->handle.rk, NULL);
}

size_t ls_partition_fetch(struct ls_partition *partition, int timeout_ms, struct ls_message *out, size_t max)
{
	enum { CHUNK = 512 };
	rd_kafka_message_t *raw[CHUNK];
	size_t count = 0;

	/* A batch call with a timeout would wait for the batch to fill: wait for the first message alone. */
	if (timeout_ms > 0 && max > 0) {
		rd_kafka_message_t *first = rd_kafka_consume_queue(partition->queue, timeout_ms);

		if (!first)
			return 0;
		ls_message_from(first, &out[count++]);
	}
	while (count < max) {
		size_t want = max - count < CHUNK ? max - count : CHUNK;
		ssize_t got = rd_kafka_consume_batch_queue(partition->queue, 0, raw, want);

		for (ssize_t i = 0; i < got; i++)
			ls_message_from(raw[i], &out[count++]);
		if (got < (ssize_t)want)
			break;
	}
	return count;
}

void ls_consumer_wait(struct ls_consumer *consumer, int timeout_ms)
{
	struct pollfd fd = { .fd = consumer->wake_fd, .events = POLLIN };
	uint64_t count;

	/* librdkafka writes when a queue stops being empty, and that can be missed: never sleep long. */
	if (poll(&fd, 1, timeout_ms < 0 || timeout_ms > WAIT_MAX_MS ? WAIT_MAX_MS : timeout_ms) > 0)
		while (read(consumer->wake_fd, &count, sizeof(count)) > 0)
			;
}

void ls_consumer_commit(struct ls_consumer *consumer, const char *topic, int32_t partition, int64_t next_offset)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

	rd_kafka_topic_partition_list_add(list, topic, partition)->offset = next_offset;
	LS_FAILPOINT("kafka.commit");
	rd_kafka_commit(consumer->handle.rk, list, 1);
	LS_FAILPOINT("kafka.commit_sent");
	rd_kafka_topic_partition_list_destroy(list);
}

int64_t ls_consumer_lag(struct ls_consumer *consumer, const char *topic, int32_t partition, int64_t next_offset)
{
	int64_t low = -1, high = -1;

	if (rd_kafka_get_watermark_offsets(consumer->handle.rk, topic, partition, &low, &high) || high < 0)
		return -1;
	if (next_offset < 0)
		next_offset = low > 0 ? low : 0;
	return high > next_offset ? high - next_offset : 0;
}

bool ls_consumer_lost(struct ls_consumer *consumer)
{
	return rd_kafka_assignment_lost(consumer->handle.rk) != 0;
}

/* rd_kafka_consumer_close can wait for ever in some versions: close through a queue, with a deadline. */
static bool leave(struct ls_consumer *consumer)
{
	rd_kafka_t *rk = consumer->handle.rk;
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	rd_kafka_error_t *error = rd_kafka_consumer_close_queue(rk, queue);
	int64_t deadline_ms = ls_monotonic_ms() + CLOSE_MAX_MS;

	while (!error && !rd_kafka_consumer_closed(rk) && ls_monotonic_ms() < deadline_ms) {
		rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 50);

		if (event && rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
			rd_kafka_assign(rk, NULL);
		if (event)
			rd_kafka_event_destroy(event);
	}
	bool closed = rd_kafka_consumer_closed(rk) != 0;
	rd_kafka_queue_destroy(queue);
	if (error)
		rd_kafka_error_destroy(error);
	return closed;
}

struct ls_consumer *ls_consumer_close(struct ls_consumer *consumer)
{
	if (!consumer)
		return NULL;
	drop_assignment(consumer);
	if (consumer->queue) {
		rd_kafka_queue_io_event_enable(consumer->queue, -1, NULL, 0);
		rd_kafka_queue_destroy(consumer->queue);
	}
	if (consumer->joined)
		leave(consumer);
	ls_kafka_handle_close(&consumer->handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	if (consumer->wake_fd >= 0)
		close(consumer->wake_fd);
	free(consumer);
	return NULL;
}
