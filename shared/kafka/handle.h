/* What the files of this folder share: one librdkafka handle with its settings, its last complaint and its errors. */
#pragma once

#include "kafka/client.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>

struct ls_kafka_handle {
	rd_kafka_t *rk;
	void *owner;          /* the producer, consumer or reader it is part of */
	pthread_mutex_t lock; /* librdkafka logs on threads of its own */
	enum ls_class class;  /* LS_OK, or what stands in the way now */
	char code[32];
	char problem[240];   /* text of `class` */
	char complaint[240]; /* the last warning that librdkafka logged */
};

struct ls_kafka_setting {
	const char *name, *value; /* value NULL: left out */
	enum {
		LS_FALLBACK, /* the user's own value wins */
		LS_FIXED,    /* a guarantee rests on it: a different value is refused */
		LS_IF_KNOWN, /* a fallback that older librdkafka does not have */
	} how;
};

/* ls_kafka_handle_open makes the handle: settings, then the user's properties.
 *
 * setting  ends with name NULL
 * prepare  may be NULL; sets callbacks on the configuration
 * LS_FATAL: a property is wrong, or contradicts a fixed setting. */
enum ls_class ls_kafka_handle_open(struct ls_kafka_handle *handle, void *owner, rd_kafka_type_t type,
				   const struct ls_kafka_conf *user, const struct ls_kafka_setting *setting,
				   void (*prepare)(rd_kafka_conf_t *conf), struct ls_error *err);
void ls_kafka_handle_close(struct ls_kafka_handle *handle, int flags); /* flags of rd_kafka_destroy_flags */

/* ls_kafka_handle_note remembers what stands in the way; LS_OK forgets it. */
void ls_kafka_handle_note(struct ls_kafka_handle *handle, rd_kafka_resp_err_t code, const char *reason);
void ls_kafka_handle_forget(struct ls_kafka_handle *handle);

/* ls_kafka_fail fills err: the sentence, what Kafka says, and the last complaint where the network is to blame.
 * Class and code come from the table in error.c. */
enum ls_class ls_kafka_fail(struct ls_kafka_handle *handle, rd_kafka_resp_err_t code, struct ls_error *err,
			    const char *fmt, ...) LS_PRINTF(4, 5);

enum ls_class ls_kafka_class(rd_kafka_resp_err_t code);
const char *ls_kafka_text(rd_kafka_resp_err_t code); /* a constant sentence for a person */

/* ls_kafka_partitions asks how many partitions a topic has; 0 when it does not exist. */
enum ls_class ls_kafka_partitions(struct ls_kafka_handle *handle, const char *topic, int32_t *ret,
				  struct ls_error *err);

/* ls_kafka_offsets replaces each entry's offset: a time in milliseconds, -1 (end) or -2 (beginning), by the offset
 * that it means. The deadline holds even when the broker does not answer. */
enum ls_class ls_kafka_offsets(struct ls_kafka_handle *handle, rd_kafka_topic_partition_list_t *list,
			       struct ls_error *err);

/* ls_message_from wraps a librdkafka message, which it then owns. */
void ls_message_from(rd_kafka_message_t *raw, struct ls_message *out);

enum { LS_KAFKA_TIMEOUT_MS = 10000 }; /* of every question that is waited for */
