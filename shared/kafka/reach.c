/* Does Kafka answer at all? Asked once, with little patience, before anything waits for it. */
#include "kafka/handle.h"

enum ls_class ls_kafka_reach(const struct ls_kafka_conf *conf, int timeout_ms, int *ret_brokers, struct ls_error *err)
{
	static const struct ls_kafka_setting settings[] = {
		{ "allow.auto.create.topics", "false", LS_FIXED },
		{ NULL, NULL, LS_FALLBACK },
	};
	const struct rd_kafka_metadata *metadata = NULL;
	struct ls_kafka_handle handle = { 0 };
	enum ls_class class = ls_kafka_handle_open(&handle, &handle, RD_KAFKA_CONSUMER, conf, settings, NULL, err);

	if (class) {
		ls_kafka_handle_close(&handle, 0);
		return class;
	}
	rd_kafka_resp_err_t code = rd_kafka_metadata(handle.rk, 0, NULL, &metadata, timeout_ms);
	if (code)
		class = ls_kafka_fail(&handle, code, err, "Kafka did not answer within %d ms", timeout_ms);
	else
		*ret_brokers = metadata->broker_cnt;
	if (metadata)
		rd_kafka_metadata_destroy(metadata);
	ls_kafka_handle_close(&handle, 0);
	return class;
}
