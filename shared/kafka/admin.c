/* Topics: making, removing, describing. Every call waits for its answer, with a deadline. */
#include "kafka/handle.h"
#include "core/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct ls_admin {
	struct ls_kafka_handle handle;
};

enum ls_class ls_admin_open(const struct ls_kafka_conf *conf, struct ls_admin **ret, struct ls_error *err)
{
	/* A consumer's handle: describing a topic through a producer's may create it. */
	static const struct ls_kafka_setting settings[] = {
		{ "isolation.level", "read_uncommitted", LS_FIXED },
		{ "allow.auto.create.topics", "false", LS_FIXED },
		{ NULL, NULL, LS_FALLBACK },
	};
	struct ls_admin *admin = calloc(1, sizeof(*admin));

	if (!admin)
		abort();
	enum ls_class class = ls_kafka_handle_open(&admin->handle, admin, RD_KAFKA_CONSUMER, conf, settings, NULL, err);
	if (class)
		ls_admin_close(admin);
	else
		*ret = admin;
	return class;
}

struct ls_admin *ls_admin_close(struct ls_admin *admin)
{
	if (!admin)
		return NULL;
	ls_kafka_handle_close(&admin->handle, 0);
	free(admin);
	return NULL;
}

/* Waits for the one answer to a question put on `queue`. NULL: none in time, or it is an error, told in err. */
static rd_kafka_event_t *answer(struct ls_admin *admin, rd_kafka_queue_t *queue, const char *what, struct ls_error *err)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, LS_KAFKA_TIMEOUT_MS + 2000);

	if (event && !rd_kafka_event_error(event))
		return event;
	ls_kafka_fail(&admin->handle, event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT, err,
		      "could not %s", what);
	if (event)
		rd_kafka_event_destroy(event);
	return NULL;
}

static rd_kafka_AdminOptions_t *options_new(struct ls_admin *admin, rd_kafka_admin_op_t op)
{
	rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(admin->handle.rk, op);
	char text[128];

	rd_kafka_AdminOptions_set_request_timeout(options, LS_KAFKA_TIMEOUT_MS, text, sizeof(text));
	if (op == RD_KAFKA_ADMIN_OP_CREATETOPICS || op == RD_KAFKA_ADMIN_OP_DELETETOPICS)
		rd_kafka_AdminOptions_set_operation_timeout(options, LS_KAFKA_TIMEOUT_MS / 2, text, sizeof(text));
	return options;
}

/* The broker's own words say more than the code: "Replication factor: 3 larger than available brokers: 1". */
static enum ls_class check_results(struct ls_admin *admin, const rd_kafka_topic_result_t **result, size_t count,
				   rd_kafka_resp_err_t fine, const char *verb, struct ls_error *err)
{
	for (size_t i = 0; i < count; i++) {
		rd_kafka_resp_err_t code = rd_kafka_topic_result_error(result[i]);
		const char *text = rd_kafka_topic_result_error_string(result[i]);

		if (code && code != fine)
			return ls_kafka_fail(&admin->handle, code, err, "could not %s topic \"%s\"%s%s", verb,
					     rd_kafka_topic_result_name(result[i]), text ? ": " : "", text ? text : "");
	}
	return LS_OK;
}

static enum ls_class new_topic(const struct ls_topic_spec *spec, rd_kafka_NewTopic_t **ret, struct ls_error *err)
{
	char text[256], name[128], value[512];
	rd_kafka_NewTopic_t *topic =
		rd_kafka_NewTopic_new(spec->name, spec->partitions, spec->replication_factor, text, sizeof(text));

	if (!topic)
		return ls_fail(err, LS_FATAL, "config", "topic \"%s\": %s", spec->name, text);
	for (size_t i = 0; i < spec->config_count; i++) {
		snprintf(name, sizeof(name), "%.*s", LS_ARG(spec->config[i].name));
		snprintf(value, sizeof(value), "%.*s", LS_ARG(spec->config[i].value));
		rd_kafka_NewTopic_set_config(topic, name, value);
	}
	*ret = topic;
	return LS_OK;
}

static enum ls_class create_all(struct ls_admin *admin, rd_kafka_NewTopic_t **topic, size_t count, struct ls_error *err)
{
	rd_kafka_queue_t *queue = rd_kafka_queue_new(admin->handle.rk);
	rd_kafka_AdminOptions_t *options = options_new(admin, RD_KAFKA_ADMIN_OP_CREATETOPICS);

	rd_kafka_CreateTopics(admin->handle.rk, topic, count, options, queue);
	rd_kafka_event_t *event = answer(admin, queue, "create topics", err);
	enum ls_class class = event ? LS_OK : err->class;
	if (event) {
		size_t results;
		const rd_kafka_topic_result_t **result =
			rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &results);

		class = check_results(admin, result, results, RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, "create", err);
		rd_kafka_event_destroy(event);
	}
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_queue_destroy(queue);
	return class;
}

static bool has_leaders(struct ls_admin *admin, const char *topic)
{
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(admin->handle.rk, topic, NULL);
	const struct rd_kafka_metadata *metadata = NULL;
	bool all = false;

	if (rkt && !rd_kafka_metadata(admin->handle.rk, 0, rkt, &metadata, LS_KAFKA_TIMEOUT_MS)) {
		const struct rd_kafka_metadata_topic *found = &metadata->topics[0];

		all = metadata->topic_cnt == 1 && !found->err && found->partition_cnt > 0;
		for (int i = 0; all && i < found->partition_cnt; i++)
			all = found->partitions[i].leader >= 0 && !found->partitions[i].err;
		rd_kafka_metadata_destroy(metadata);
	}
	if (rkt)
		rd_kafka_topic_destroy(rkt);
	return all;
}

static enum ls_class wait_for_leaders(struct ls_admin *admin, const struct ls_topic_spec *spec, size_t count,
				      struct ls_error *err)
{
	int64_t deadline_ms = ls_monotonic_ms() + LS_KAFKA_TIMEOUT_MS;

	for (size_t i = 0; i < count; i++)
		while (!has_leaders(admin, spec[i].name)) {
			if (ls_monotonic_ms() > deadline_ms)
				return ls_kafka_fail(&admin->handle, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, err,
						     "topic \"%s\" was created but has no leader yet", spec[i].name);
			nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
		}
	return LS_OK;
}

enum ls_class ls_admin_create(struct ls_admin *admin, const struct ls_topic_spec *spec, size_t count,
			      struct ls_error *err)
{
	rd_kafka_NewTopic_t **topic = calloc(count + 1, sizeof(rd_kafka_NewTopic_t *));
	enum ls_class class = LS_OK;

	if (!topic)
		abort();
	for (size_t i = 0; i < count && !class; i++)
		class = new_topic(&spec[i], &topic[i], err);
	if (!class && count)
		class = create_all(admin, topic, count, err);
	for (size_t i = 0; i < count; i++)
		if (topic[i])
			rd_kafka_NewTopic_destroy(topic[i]);
	free(topic);
	return class ? class : wait_for_leaders(admin, spec, count, err);
}

enum ls_class ls_admin_delete(struct ls_admin *admin, const char *const *topic, size_t count, struct ls_error *err)
{
	rd_kafka_DeleteTopic_t **list = calloc(count + 1, sizeof(rd_kafka_DeleteTopic_t *));
	rd_kafka_queue_t *queue = rd_kafka_queue_new(admin->handle.rk);
	rd_kafka_AdminOptions_t *options = options_new(admin, RD_KAFKA_ADMIN_OP_DELETETOPICS);

	if (!list)
		abort();
	for (size_t i = 0; i < count; i++)
		list[i] = rd_kafka_DeleteTopic_new(topic[i]);
	rd_kafka_DeleteTopics(admin->handle.rk, list, count, options, queue);
	rd_kafka_event_t *event = answer(admin, queue, "delete topics", err);
	enum ls_class class = event ? LS_OK : err->class;
	if (event) {
		size_t results;
		const rd_kafka_topic_result_t **result =
			rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &results);

		class = check_results(admin, result, results, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "delete", err);
		rd_kafka_event_destroy(event);
	}
	rd_kafka_DeleteTopic_destroy_array(list, count);
	free(list);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_queue_destroy(queue);
	return class;
}

static void fill_info(struct ls_topic_info *info, const struct rd_kafka_metadata_topic *topic)
{
	*info = (struct ls_topic_info){ .partitions = topic->partition_cnt };
	snprintf(info->name, sizeof(info->name), "%s", topic->topic);
	if (topic->partition_cnt > 0)
		info->replication_factor = topic->partitions[0].replica_cnt;
}

enum ls_class ls_admin_topic(struct ls_admin *admin, const char *topic, struct ls_topic_info *ret, struct ls_error *err)
{
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(admin->handle.rk, topic, NULL);
	const struct rd_kafka_metadata *metadata = NULL;

	if (!rkt)
		return ls_kafka_fail(&admin->handle, rd_kafka_last_error(), err, "topic \"%s\"", topic);
	rd_kafka_resp_err_t code = rd_kafka_metadata(admin->handle.rk, 0, rkt, &metadata, LS_KAFKA_TIMEOUT_MS);
	rd_kafka_topic_destroy(rkt);
	struct ls_topic_info info = { .partitions = 0 };
	snprintf(info.name, sizeof(info.name), "%s", topic);
	if (!code && metadata->topic_cnt == 1) {
		code = metadata->topics[0].err;
		if (!code)
			fill_info(&info, &metadata->topics[0]);
	}
	if (metadata)
		rd_kafka_metadata_destroy(metadata);
	if (code && code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		return ls_kafka_fail(&admin->handle, code, err, "could not describe topic \"%s\"", topic);
	*ret = info;
	return LS_OK;
}

enum ls_class ls_admin_list(struct ls_admin *admin, const char *prefix,
			    void (*visit)(const struct ls_topic_info *topic, void *arg), void *arg,
			    struct ls_error *err)
{
	const struct rd_kafka_metadata *metadata = NULL;
	rd_kafka_resp_err_t code = rd_kafka_metadata(admin->handle.rk, 1, NULL, &metadata, LS_KAFKA_TIMEOUT_MS);

	if (code)
		return ls_kafka_fail(&admin->handle, code, err, "could not list topics");
	for (int i = 0; i < metadata->topic_cnt; i++) {
		struct ls_topic_info info;

		if (strncmp(metadata->topics[i].topic, prefix, strlen(prefix)) != 0)
			continue;
		fill_info(&info, &metadata->topics[i]);
		visit(&info, arg);
	}
	rd_kafka_metadata_destroy(metadata);
	return LS_OK;
}

static enum ls_class find_entry(struct ls_admin *admin, const rd_kafka_ConfigResource_t *resource, const char *topic,
				const char *name, char *out, size_t size, struct ls_error *err)
{
	size_t count;
	const rd_kafka_ConfigEntry_t **entry = rd_kafka_ConfigResource_configs(resource, &count);

	if (rd_kafka_ConfigResource_error(resource))
		return ls_kafka_fail(&admin->handle, rd_kafka_ConfigResource_error(resource), err,
				     "could not read the settings of topic \"%s\"", topic);
	for (size_t i = 0; i < count; i++)
		if (strcmp(rd_kafka_ConfigEntry_name(entry[i]), name) == 0) {
			const char *value = rd_kafka_ConfigEntry_value(entry[i]);

			snprintf(out, size, "%s", value ? value : "");
			return LS_OK;
		}
	return ls_fail(err, LS_FATAL, "config", "topic \"%s\" has no setting \"%s\"", topic, name);
}

enum ls_class ls_admin_config(struct ls_admin *admin, const char *topic, const char *name, char *out, size_t size,
			      struct ls_error *err)
{
	rd_kafka_ConfigResource_t *asked = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(admin->handle.rk);
	rd_kafka_AdminOptions_t *options = options_new(admin, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);

	rd_kafka_DescribeConfigs(admin->handle.rk, &asked, 1, options, queue);
	rd_kafka_event_t *event = answer(admin, queue, "read the settings of topics", err);
	enum ls_class class = event ? LS_OK : err->class;
	if (event) {
		size_t count;
		const rd_kafka_ConfigResource_t **resource =
			rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &count);

		class = count == 1 ? find_entry(admin, resource[0], topic, name, out, size, err)
				   : ls_fail(err, LS_FATAL, "config", "topic \"%s\" has no settings", topic);
		rd_kafka_event_destroy(event);
	}
	rd_kafka_ConfigResource_destroy(asked);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_queue_destroy(queue);
	return class;
}

static enum ls_class ask_offset(struct ls_admin *admin, const char *topic, int32_t partition, int64_t time_ms,
				int64_t *ret, struct ls_error *err)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

	rd_kafka_topic_partition_list_add(list, topic, partition)->offset = time_ms;
	enum ls_class class = ls_kafka_offsets(&admin->handle, list, err);
	if (!class)
		*ret = list->elems[0].offset;
	rd_kafka_topic_partition_list_destroy(list);
	return class;
}

enum ls_class ls_admin_watermarks(struct ls_admin *admin, const char *topic, int32_t partition, int64_t *ret_low,
				  int64_t *ret_high, struct ls_error *err)
{
	int64_t low, high;
	enum ls_class class = ask_offset(admin, topic, partition, RD_KAFKA_OFFSET_BEGINNING, &low, err);

	if (!class)
		class = ask_offset(admin, topic, partition, RD_KAFKA_OFFSET_END, &high, err);
	if (class)
		return class;
	*ret_low = low;
	*ret_high = high;
	return LS_OK;
}
