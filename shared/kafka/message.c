/* A message of librdkafka as lockstep sees it. */
#include "kafka/handle.h"

#include <stdlib.h>
#include <string.h>

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

	if (!message->handle) {
		for (; count < message->header_count && count < max; count++)
			out[count] = message->header[count];
		return message->header_count;
	}
	if (rd_kafka_message_headers(message->handle, &headers))
		return 0;
	for (; !rd_kafka_header_get_all(headers, count, &name, &value, &size); count++)
		if (count < max)
			out[count] = (struct ls_header){ ls_str_of(name), { value, size } };
	return count;
}

static struct ls_str put(char **at, struct ls_str bytes)
{
	struct ls_str copy = { *at, bytes.len };

	if (bytes.len)
		memcpy(*at, bytes.ptr, bytes.len);
	*at += bytes.len;
	return copy;
}

struct ls_message *ls_message_copy(const struct ls_message *message)
{
	size_t count = ls_message_headers(message, NULL, 0), bytes = message->key.len + message->value.len;
	struct ls_header *header = calloc(count + 1, sizeof *header);
	struct ls_message *copy;
	char *at;

	if (!header)
		abort();
	ls_message_headers(message, header, count);
	for (size_t i = 0; i < count; i++)
		bytes += header[i].name.len + header[i].value.len;
	copy = malloc(sizeof *copy + (count + 1) * sizeof *header + bytes);
	if (!copy)
		abort();
	*copy = *message;
	copy->handle = NULL;
	copy->header = memcpy(copy + 1, header, (count + 1) * sizeof *header);
	copy->header_count = count;
	at = (char *)(copy + 1) + (count + 1) * sizeof *header;
	copy->key = put(&at, message->key);
	copy->value = put(&at, message->value);
	for (size_t i = 0; i < count; i++) {
		header[i].name = put(&at, header[i].name);
		header[i].value = put(&at, header[i].value);
	}
	memcpy(copy + 1, header, count * sizeof *header);
	free(header);
	return copy;
}
