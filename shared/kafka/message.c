/* A message of librdkafka as lockstep sees it. */
#include "kafka/handle.h"

void ls_message_from(rd_kafka_message_t *raw, struct ls_message *out)
{
	int64_t ms = rd_kafka_message_timestamp(raw, NULL);

	*out = (struct ls_message){
		.topic = ls_str_of(raw->rkt ? rd_kafka_topic_name(raw->rkt) : ""),
		.partition = raw->partition,
		.offset = raw->offset,
		.handle = raw,
	};
	if (raw->err) {
		enum ls_class class = ls_kafka_class(raw->err);

		/* A record that cannot be read has no bytes to put into the dead letters: stop rather than skip. */
		out->class = class == LS_POISON || class == LS_OK ? LS_FATAL : class;
		out->problem = ls_kafka_text(raw->err);
		return;
	}
	out->timestamp_us = ms > 0 ? ms * 1000 : 0;
	out->key = (struct ls_str){ raw->key, raw->key_len };
	out->value = (struct ls_str){ raw->payload, raw->len };
	out->has_key = raw->key != NULL;
	out->has_value = raw->payload != NULL;
}

void ls_message_free(struct ls_message *message)
{
	if (message->handle)
		rd_kafka_message_destroy(message->handle);
	message->handle = NULL;
}

size_t ls_message_headers(const struct ls_message *message, struct ls_header *out, size_t max)
{
	rd_kafka_headers_t *headers;
	size_t count = 0;
	const char *name;
	const void *value;
	size_t size;

	if (!message->handle || rd_kafka_message_headers(message->handle, &headers))
		return 0;
	for (; !rd_kafka_header_get_all(headers, count, &name, &value, &size); count++)
		if (count < max)
			out[count] = (struct ls_header){ ls_str_of(name), { value, size } };
	return count;
}
