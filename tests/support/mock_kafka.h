/* librdkafka's own mock of a cluster, for tests of clients without a server. */
#pragma once

#include "kafka/client.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>

struct mock_kafka {
	rd_kafka_t *rk;
	rd_kafka_mock_cluster_t *cluster;
	char servers[256];
	struct ls_pair property[8];
	struct ls_kafka_conf conf;
};

static inline void mock_kafka_set(struct mock_kafka *mock, const char *name, const char *value)
{
	mock->property[mock->conf.count++] = (struct ls_pair){ ls_str_of(name), ls_str_of(value) };
}

static inline struct mock_kafka *mock_kafka_new(void)
{
	struct mock_kafka *mock = calloc(1, sizeof(*mock));
	char text[256];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	rd_kafka_conf_set(conf, "log_level", "0", text, sizeof(text));
	mock->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	mock->cluster = rd_kafka_mock_cluster_new(mock->rk, 1);
	snprintf(mock->servers, sizeof(mock->servers), "%s", rd_kafka_mock_cluster_bootstraps(mock->cluster));
	mock->conf.property = mock->property;
	mock_kafka_set(mock, "bootstrap.servers", mock->servers);
	return mock;
}

static inline void mock_kafka_topic(struct mock_kafka *mock, const char *topic, int partitions)
{
	rd_kafka_mock_topic_create(mock->cluster, topic, partitions, 1);
}

static inline void mock_kafka_free(struct mock_kafka *mock)
{
	rd_kafka_mock_cluster_destroy(mock->cluster);
	rd_kafka_destroy(mock->rk);
	free(mock);
}
