/* Questions that are waited for, each with a deadline that holds. */
#include "kafka/handle.h"

enum ls_class ls_kafka_partitions(struct ls_kafka_handle *handle, const char *topic, int32_t *ret, struct ls_error *err)
{
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(handle->rk, topic, NULL);
	const struct rd_kafka_metadata *metadata = NULL;

	if (!rkt)
		return ls_kafka_fail(handle, rd_kafka_last_error(), err, "topic \"%s\"", topic);
	rd_kafka_resp_err_t code = rd_kafka_metadata(handle->rk, 0, rkt, &metadata, LS_KAFKA_TIMEOUT_MS);
	rd_kafka_topic_destroy(rkt);
	int32_t partitions = 0;
	if (!code && metadata->topic_cnt == 1) {
		partitions = metadata->topics[0].partition_cnt;
		code = metadata->topics[0].err;
	}
	if (metadata)
		rd_kafka_metadata_destroy(metadata);
	if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		partitions = 0;
	else if (code)
		return ls_kafka_fail(handle, code, err, "could not describe topic \"%s\"", topic);
	*ret = partitions;
	return LS_OK;
}

/* Not rd_kafka_query_watermark_offsets: before 2.12 it waits for ever when the broker is silent. The times -1 and -2
 * mean the end and the beginning in the protocol itself. https://kafka.apache.org/protocol (ListOffsets) */
enum ls_class ls_kafka_offsets(struct ls_kafka_handle *handle, rd_kafka_topic_partition_list_t *list,
			       struct ls_error *err)
{
	if (list->cnt == 0)
		return LS_OK;
	rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(handle->rk, list, LS_KAFKA_TIMEOUT_MS);
	const rd_kafka_topic_partition_t *first = &list->elems[0];

	for (int i = 0; i < list->cnt && !code; i++) {
		first = &list->elems[i];
		code = first->err;
	}
	if (code)
		return ls_kafka_fail(handle, code, err, "could not ask for offsets of topic \"%s\" partition %d",
				     first->topic, (int)first->partition);
	return LS_OK;
}
