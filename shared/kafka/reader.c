/* Reading partitions of a topic from an offset to where it ended at opening, without a group. */
#include "kafka/handle.h"
#include "core/failpoint.h"
#include "core/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct reach {
	int64_t position, end; /* the next offset to come; where reading ends */
};

struct ls_reader {
	struct ls_kafka_handle handle;
	rd_kafka_queue_t *queue;
	char *topic;
	int32_t first; /* the partition of reach[0] */
	int32_t count;
	struct reach *reach;
};

static enum ls_class open_handle(struct ls_reader *reader, const struct ls_kafka_conf *conf, struct ls_error *err)
{
	uint64_t seed = (uint64_t)ls_now_us() ^ (uint64_t)getpid() << 40;
	char group[64];

	/* librdkafka cannot assign without a group id; nothing joins or commits under it. */
	snprintf(group, sizeof(group), "lockstep.reader.%016llx", (unsigned long long)ls_random(&seed));
	const struct ls_kafka_setting settings[] = {
		{ "group.id", group, LS_FALLBACK },
		{ "enable.auto.commit", "false", LS_FIXED },
		{ "enable.auto.offset.store", "false", LS_FIXED },
		{ "auto.offset.reset", "earliest", LS_FIXED },
		/* The end is the high watermark: a bound by committed records could leave newer ones unread. */
		{ "isolation.level", "read_uncommitted", LS_FIXED },
		{ "enable.partition.eof", "true", LS_FIXED },
		{ "allow.auto.create.topics", "false", LS_FALLBACK },
		/* Several are open at a time, and a message weighs some 400 bytes more than it holds. */
		{ "queued.min.messages", "5000", LS_FALLBACK },
		{ "queued.max.messages.kbytes", "1024", LS_FALLBACK },
		{ "fetch.message.max.bytes", "1048576", LS_FALLBACK },
		{ "fetch.max.bytes", "8388608", LS_FALLBACK },
		{ "fetch.wait.max.ms", "100", LS_FALLBACK },
		{ "fetch.error.backoff.ms", "20", LS_FALLBACK },
		{ "fetch.queue.backoff.ms", "20", LS_IF_KNOWN },
		{ "check.crcs", "true", LS_FALLBACK },
		{ NULL, NULL, LS_FALLBACK },
	};

	return ls_kafka_handle_open(&reader->handle, reader, RD_KAFKA_CONSUMER, conf, settings, NULL, err);
}

static rd_kafka_topic_partition_list_t *list_of(const struct ls_reader *reader, int64_t offset)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(reader->count);

	for (int32_t i = 0; i < reader->count; i++)
		rd_kafka_topic_partition_list_add(list, reader->topic, reader->first + i)->offset = offset;
	return list;
}

static enum ls_class ask_ends(struct ls_reader *reader, struct ls_error *err)
{
	rd_kafka_topic_partition_list_t *list = list_of(reader, RD_KAFKA_OFFSET_END);
	enum ls_class class = ls_kafka_offsets(&reader->handle, list, err);

	for (int32_t i = 0; i < reader->count && !class; i++)
		reader->reach[i].end = list->elems[i].offset;
	rd_kafka_topic_partition_list_destroy(list);
	return class;
}

/* A start that the topic does not hold (retention, or the topic was made anew) is moved to the first offset it
 * holds. */
static enum ls_class ask_starts(struct ls_reader *reader, int64_t from, struct ls_error *err)
{
	rd_kafka_topic_partition_list_t *list = list_of(reader, RD_KAFKA_OFFSET_BEGINNING);
	enum ls_class class = ls_kafka_offsets(&reader->handle, list, err);

	for (int32_t i = 0; i < reader->count && !class; i++) {
		struct reach *reach = &reader->reach[i];
		int64_t low = list->elems[i].offset;

		reach->position = from < low || from > reach->end ? low : from;
	}
	rd_kafka_topic_partition_list_destroy(list);
	return class;
}

static enum ls_class assign(struct ls_reader *reader, struct ls_error *err)
{
	rd_kafka_topic_partition_list_t *list = list_of(reader, 0);

	for (int32_t i = 0; i < reader->count; i++)
		list->elems[i].offset = reader->reach[i].position;
	rd_kafka_resp_err_t code = rd_kafka_assign(reader->handle.rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	return code ? ls_kafka_fail(&reader->handle, code, err, "could not read topic \"%s\"", reader->topic) : LS_OK;
}

static enum ls_class start(struct ls_reader *reader, int32_t partition, int64_t from, struct ls_error *err)
{
	int32_t partitions;
	enum ls_class class = ls_kafka_partitions(&reader->handle, reader->topic, &partitions, err);

	if (class)
		return class;
	if (partitions == 0 || partition >= partitions)
		return ls_kafka_fail(&reader->handle, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, err,
				     "could not read topic \"%s\"", reader->topic);
	reader->first = partition < 0 ? 0 : partition;
	reader->count = partition < 0 ? partitions : 1;
	reader->reach = calloc((size_t)reader->count, sizeof(*reader->reach));
	if (!reader->reach)
		abort();
	class = ask_ends(reader, err);
	if (!class)
		class = ask_starts(reader, from, err);
	return class ? class : assign(reader, err);
}

enum ls_class ls_reader_open(const struct ls_kafka_conf *conf, const char *topic, int32_t partition, int64_t from,
			     struct ls_reader **ret, struct ls_error *err)
{
	struct ls_reader *reader;

	LS_FAILPOINT_ERROR("kafka.read", err);
	reader = calloc(1, sizeof(*reader));
	if (!reader || !(reader->topic = strdup(topic)))
		abort();
	enum ls_class class = open_handle(reader, conf, err);
	if (!class) {
		rd_kafka_poll_set_consumer(reader->handle.rk);
		reader->queue = rd_kafka_queue_get_consumer(reader->handle.rk);
		class = start(reader, partition, from, err);
	}
	if (class)
		ls_reader_close(reader);
	else
		*ret = reader;
	return class;
}

static bool at_end(const struct ls_reader *reader)
{
	for (int32_t i = 0; i < reader->count; i++)
		if (reader->reach[i].position < reader->reach[i].end)
			return false;
	return true;
}

static void advance(struct ls_reader *reader, int32_t partition, int64_t position)
{
	int32_t i = partition - reader->first;

	if (i >= 0 && i < reader->count && position > reader->reach[i].position)
		reader->reach[i].position = position;
}

/* Takes one raw message: true when it is one for the caller. The last offsets of a compacted topic, or control records,
 * never come as messages; where reading stands then is known from the "end of partition" alone. */
static bool take(struct ls_reader *reader, rd_kafka_message_t *raw, struct ls_message *out, enum ls_class *class,
		 struct ls_error *err)
{
	if (!raw->err) {
		advance(reader, raw->partition, raw->offset + 1);
		ls_message_from(raw, out);
		return true;
	}
	if (raw->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		advance(reader, raw->partition, raw->offset);
	else if (ls_kafka_class(raw->err) != LS_RETRY) /* librdkafka tries again by itself */
		*class = ls_kafka_fail(&reader->handle, raw->err, err, "could not read topic \"%s\" partition %d",
				       reader->topic, (int)raw->partition);
	rd_kafka_message_destroy(raw);
	return false;
}

enum ls_class ls_reader_next(struct ls_reader *reader, int timeout_ms, struct ls_message *out, size_t max,
			     size_t *ret_count, bool *ret_end, struct ls_error *err)
{
	enum { CHUNK = 512 };
	rd_kafka_message_t *raw[CHUNK];
	size_t count = 0, want = max < CHUNK ? max : CHUNK;
	enum ls_class class = LS_OK;
	rd_kafka_message_t *first = NULL;

	LS_FAILPOINT_ERROR("kafka.reading", err);
	if (!at_end(reader) && want > 0)
		first = rd_kafka_consume_queue(reader->queue, timeout_ms);
	if (first && take(reader, first, &out[count], &class, err))
		count++;
	if (first && count < want) {
		ssize_t got = rd_kafka_consume_batch_queue(reader->queue, 0, raw, want - count);

		for (ssize_t i = 0; i < got; i++)
			if (take(reader, raw[i], &out[count], &class, err))
				count++;
	}
	for (size_t i = 0; class && i < count; i++)
		ls_message_free(&out[i]);
	if (class)
		return class;
	*ret_count = count;
	*ret_end = count == 0 && at_end(reader);
	return LS_OK;
}

enum ls_class ls_reader_extend(struct ls_reader *reader, struct ls_error *err)
{
	return ask_ends(reader, err);
}

struct ls_reader *ls_reader_close(struct ls_reader *reader)
{
	if (!reader)
		return NULL;
	if (reader->queue)
		rd_kafka_queue_destroy(reader->queue);
	if (reader->count)
		rd_kafka_assign(reader->handle.rk, NULL);
	ls_kafka_handle_close(&reader->handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	free(reader->reach);
	free(reader->topic);
	free(reader);
	return NULL;
}
