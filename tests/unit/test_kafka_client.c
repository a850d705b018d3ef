/* Producer, consumer and reader against librdkafka's mock cluster: what is sent arrives, what fails is told. */
#include "kafka/handle.h"
#include "core/time.h"
#include "kafka/client.h"
#include "mock_kafka.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { DEADLINE_MS = 20000, PRODUCE = 0 /* ApiKey */ };

struct delivered {
	int ok, failed;
	enum ls_class class;
	char problem[200];
	int64_t offset;
};

static void on_delivery(void *context, void *opaque, enum ls_class class, const char *problem, int64_t offset)
{
	struct delivered *delivered = context;

	assert_ptr_equal(opaque, delivered);
	if (class) {
		delivered->failed++;
		delivered->class = class;
		snprintf(delivered->problem, sizeof(delivered->problem), "%s", problem);
		return;
	}
	delivered->ok++;
	delivered->offset = offset;
}

static void ok(enum ls_class class, const struct ls_error *err)
{
	if (class)
		fail_msg("%s %s: %s", ls_class_name(class), err->code, err->text);
}

static int setup(void **state)
{
	*state = mock_kafka_new();
	return 0;
}

static int teardown(void **state)
{
	mock_kafka_free(*state);
	return 0;
}

static struct ls_producer *open_producer(struct mock_kafka *mock, struct delivered *delivered)
{
	struct ls_producer *producer;
	struct ls_error err;

	ok(ls_producer_open(&mock->conf, on_delivery, delivered, &producer, &err), &err);
	return producer;
}

static void send_one(struct ls_producer *producer, const char *topic, int32_t partition, const char *key,
		     const char *value, struct delivered *delivered)
{
	struct ls_error err;

	ok(ls_producer_send(producer, topic, partition, ls_str_of(key), ls_str_of(value), NULL, 0, delivered, &err),
	   &err);
}

/* Reads the whole topic into out; returns how many messages. They are to be freed before *ret_reader is closed. */
static size_t read_topic(struct mock_kafka *mock, const char *topic, struct ls_message *out, size_t max,
			 struct ls_reader **ret_reader)
{
	int64_t deadline_ms = ls_monotonic_ms() + DEADLINE_MS;
	struct ls_reader *reader;
	struct ls_error err;
	size_t total = 0;
	bool end = false;

	ok(ls_reader_open(&mock->conf, topic, -1, -1, &reader, &err), &err);
	while (!end) {
		size_t count;

		assert_true(ls_monotonic_ms() < deadline_ms);
		assert_true(total < max);
		ok(ls_reader_next(reader, 100, out + total, max - total, &count, &end, &err), &err);
		total += count;
	}
	*ret_reader = reader;
	return total;
}

static void what_is_sent_is_read_back_with_headers(void **state)
{
	struct mock_kafka *mock = *state;
	struct delivered delivered = { 0 };
	const struct ls_header header[] = { { LS_STR("a"), LS_STR("1") }, { LS_STR("b"), LS_STR("") } };
	struct ls_message message[4];
	struct ls_reader *reader;
	struct ls_header got[4];
	struct ls_error err;

	mock_kafka_topic(mock, "t", 1);
	struct ls_producer *producer = open_producer(mock, &delivered);
	ok(ls_producer_send(producer, "t", -1, LS_STR("key"), LS_STR("value"), header, 2, &delivered, &err), &err);
	send_one(producer, "t", 0, "gone", NULL, &delivered);
	ok(ls_producer_flush(producer, DEADLINE_MS, &err), &err);
	assert_int_equal(delivered.ok, 2);
	assert_int_equal(delivered.offset, 1);
	assert_int_equal(ls_producer_queued(producer), 0);
	ls_producer_close(producer);

	assert_int_equal(read_topic(mock, "t", message, 4, &reader), 2);
	assert_true(ls_str_equal(message[0].topic, LS_STR("t")));
	assert_true(ls_str_equal(message[0].key, LS_STR("key")));
	assert_true(ls_str_equal(message[0].value, LS_STR("value")));
	assert_int_equal(ls_message_headers(&message[0], got, 4), 2);
	assert_true(ls_str_equal(got[0].name, LS_STR("a")) && ls_str_equal(got[0].value, LS_STR("1")));
	assert_int_equal(ls_message_headers(&message[1], got, 4), 0);
	assert_true(message[1].has_key);
	assert_false(message[1].has_value);
	assert_int_equal(message[1].offset, 1);
	for (size_t i = 0; i < 2; i++)
		ls_message_free(&message[i]);
	ls_reader_close(reader);
}

static void keys_go_to_the_partition_that_is_computed(void **state)
{
	struct mock_kafka *mock = *state;
	struct delivered delivered = { 0 };
	struct ls_message message[400];
	struct ls_reader *reader;
	struct ls_error err;

	mock_kafka_topic(mock, "spread", 6);
	struct ls_producer *producer = open_producer(mock, &delivered);
	for (int i = 0; i < 300; i++) {
		char key[16];

		snprintf(key, sizeof(key), "entity-%d", i);
		send_one(producer, "spread", -1, key, "v", &delivered);
	}
	ok(ls_producer_flush(producer, DEADLINE_MS, &err), &err);
	ls_producer_close(producer);

	size_t count = read_topic(mock, "spread", message, 400, &reader);
	assert_int_equal(count, 300);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(message[i].partition, ls_kafka_partition_of(message[i].key, 6));
		ls_message_free(&message[i]);
	}
	ls_reader_close(reader);
}

static void errors_that_pass_lose_and_double_nothing(void **state)
{
	struct mock_kafka *mock = *state;
	struct delivered delivered = { 0 };
	struct ls_message message[1200];
	struct ls_reader *reader;
	struct ls_error err;
	char key[16];

	mock_kafka_topic(mock, "rough", 1);
	mock_kafka_set(mock, "batch.num.messages", "50");
	mock_kafka_set(mock, "retry.backoff.ms", "5");
	rd_kafka_mock_push_request_errors(mock->cluster, PRODUCE, 4, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
					  RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
					  RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE);
	struct ls_producer *producer = open_producer(mock, &delivered);
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		send_one(producer, "rough", 0, key, "v", &delivered);
	}
	ok(ls_producer_flush(producer, DEADLINE_MS, &err), &err);
	assert_int_equal(delivered.ok, 1000);
	ls_producer_close(producer);

	assert_int_equal(read_topic(mock, "rough", message, 1200, &reader), 1000);
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		assert_true(ls_str_equal(message[i].key, ls_str_of(key)));
		ls_message_free(&message[i]);
	}
	ls_reader_close(reader);
}

static void a_refused_topic_is_a_matter_of_credentials(void **state)
{
	struct mock_kafka *mock = *state;
	struct delivered delivered = { 0 };
	struct ls_error err;

	mock_kafka_topic(mock, "secret", 1);
	rd_kafka_mock_push_request_errors(mock->cluster, PRODUCE, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	struct ls_producer *producer = open_producer(mock, &delivered);
	send_one(producer, "secret", 0, "k", "v", &delivered);
	ls_producer_flush(producer, DEADLINE_MS, &err);
	assert_int_equal(delivered.failed, 1);
	assert_int_equal(delivered.class, LS_AUTH);
	ls_producer_close(producer);
}

static void a_missing_topic_says_what_to_do(void **state)
{
	struct mock_kafka *mock = *state;
	struct delivered delivered = { 0 };
	struct ls_error err;

	rd_kafka_mock_topic_set_error(mock->cluster, "nowhere", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
	mock_kafka_set(mock, "topic.metadata.propagation.max.ms", "100");
	struct ls_producer *producer = open_producer(mock, &delivered);
	send_one(producer, "nowhere", -1, "k", "v", &delivered);
	ls_producer_flush(producer, DEADLINE_MS, &err);
	assert_int_equal(delivered.failed, 1);
	assert_int_equal(delivered.class, LS_FATAL);
	assert_non_null(strstr(delivered.problem, "topics create"));
	ls_producer_close(producer);
}

/* A broker that has just started may answer before it knows the partitions that it leads; the client then has not heard
 * of a partition that it knew a moment ago. */
static void what_a_broker_says_while_it_starts_passes(void **state)
{
	static const rd_kafka_resp_err_t code[] = {
		RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
		RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
		RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
		RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
	};

	(void)state;
	for (size_t i = 0; i < sizeof code / sizeof code[0]; i++)
		assert_int_equal(ls_kafka_class(code[i]), LS_RETRY);
}

static void an_unreachable_broker_is_told_and_forgotten_when_it_is_back(void **state)
{
	struct mock_kafka *mock = *state;
	struct delivered delivered = { 0 };
	int64_t deadline_ms = ls_monotonic_ms() + DEADLINE_MS;
	struct ls_error err;

	mock_kafka_topic(mock, "away", 1);
	mock_kafka_set(mock, "reconnect.backoff.ms", "10");
	mock_kafka_set(mock, "reconnect.backoff.max.ms", "50");
	rd_kafka_mock_broker_set_down(mock->cluster, 1);
	struct ls_producer *producer = open_producer(mock, &delivered);
	send_one(producer, "away", 0, "k", "v", &delivered);
	while (ls_producer_error(producer, &err) == LS_OK) {
		assert_true(ls_monotonic_ms() < deadline_ms);
		ls_producer_poll(producer, 20);
	}
	assert_int_equal(err.class, LS_RETRY);
	assert_string_equal(err.code, "_ALL_BROKERS_DOWN");
	assert_int_equal(ls_producer_flush(producer, 50, &err), LS_RETRY);

	rd_kafka_mock_broker_set_up(mock->cluster, 1);
	ok(ls_producer_flush(producer, DEADLINE_MS, &err), &err);
	assert_int_equal(delivered.ok, 1);
	assert_int_equal(ls_producer_error(producer, &err), LS_OK);
	ls_producer_close(producer);
}

static void a_full_queue_asks_to_wait_and_an_oversized_message_never_fits(void **state)
{
	struct mock_kafka *mock = *state;
	struct delivered delivered = { 0 };
	struct ls_error err;
	static char large[200000];

	rd_kafka_mock_broker_set_down(mock->cluster, 1);
	mock_kafka_set(mock, "queue.buffering.max.messages", "10");
	mock_kafka_set(mock, "message.max.bytes", "100000");
	struct ls_producer *producer = open_producer(mock, &delivered);
	assert_int_equal(ls_producer_send(producer, "t", 0, LS_STR("k"), (struct ls_str){ large, sizeof(large) }, NULL,
					  0, &delivered, &err),
			 LS_POISON);
	for (int i = 0; i < 10; i++)
		send_one(producer, "t", 0, "k", "v", &delivered);
	assert_int_equal(ls_producer_send(producer, "t", 0, LS_STR("k"), LS_STR("v"), NULL, 0, &delivered, &err),
			 LS_RETRY);
	/* librdkafka counts what it has to say about the broker with them. */
	assert_in_range(ls_producer_queued(producer), 10, 20);
	ls_producer_close(producer);
	assert_int_equal(delivered.ok + delivered.failed, 0);
}

static enum ls_class open_with(const char *name, const char *value, struct ls_error *err)
{
	const struct ls_pair property[] = { { LS_STR("bootstrap.servers"), LS_STR("127.0.0.1:1") },
					    { ls_str_of(name), ls_str_of(value) } };
	const struct ls_kafka_conf conf = { property, 2 };
	struct ls_producer *producer;
	enum ls_class class = ls_producer_open(&conf, NULL, NULL, &producer, err);

	if (!class)
		ls_producer_close(producer);
	return class;
}

static void properties_that_would_break_a_guarantee_are_refused(void **state)
{
	static const char *const refused[][2] = { { "acks", "1" },
						  { "request.required.acks", "0" },
						  { "enable.idempotence", "false" },
						  { "partitioner", "consistent_random" },
						  { "message.timeout.ms", "30000" } };
	struct ls_error err;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		print_message("%s=%s\n", refused[i][0], refused[i][1]);
		assert_int_equal(open_with(refused[i][0], refused[i][1], &err), LS_FATAL);
		assert_string_equal(err.code, "config");
	}
	assert_int_equal(open_with("acks", "-1", &err), LS_OK);
	assert_int_equal(open_with("acks", "all", &err), LS_OK);
	assert_int_equal(open_with("linger.ms", "50", &err), LS_OK);
	assert_int_equal(open_with("group.id", "ours", &err), LS_OK);
}

static void a_wrong_property_is_named_and_a_secret_never_shown(void **state)
{
	struct ls_error err;

	(void)state;
	assert_int_equal(open_with("bootstrap.server", "x", &err), LS_FATAL);
	assert_non_null(strstr(err.text, "bootstrap.server"));
	const struct ls_pair property[] = { { LS_STR("bootstrap.servers"), LS_STR("127.0.0.1:1") },
					    { LS_STR("security.protocol"), LS_STR("ssl") },
					    { LS_STR("ssl.key.pem"), LS_STR("hunter2") } };
	const struct ls_kafka_conf conf = { property, 3 };
	struct ls_producer *producer;
	assert_int_equal(ls_producer_open(&conf, NULL, NULL, &producer, &err), LS_FATAL);
	assert_null(strstr(err.text, "hunter2"));
}

static void without_brokers_there_is_nothing_to_open(void **state)
{
	const struct ls_kafka_conf conf = { NULL, 0 };
	struct ls_admin *admin;
	struct ls_error err;

	(void)state;
	assert_int_equal(ls_admin_open(&conf, &admin, &err), LS_FATAL);
	assert_non_null(strstr(err.text, "bootstrap.servers"));
}

static void a_consumer_is_given_partitions_and_wakes_when_something_comes(void **state)
{
	struct mock_kafka *mock = *state;
	struct delivered delivered = { 0 };
	const char *topic = "group";
	int64_t deadline_ms = ls_monotonic_ms() + DEADLINE_MS;
	struct ls_consumer_event event;
	struct ls_consumer *consumer;
	struct ls_message message[10];
	struct ls_error err;
	size_t got = 0;

	mock_kafka_topic(mock, topic, 2);
	ok(ls_consumer_open(&mock->conf, "g", NULL, &topic, 1, &consumer, &err), &err);
	do {
		assert_true(ls_monotonic_ms() < deadline_ms);
		ls_consumer_poll(consumer, 50, &event);
	} while (event.kind != LS_CONSUMER_ASSIGN);
	assert_int_equal(event.count, 2);
	event.assigned[0].offset = -1;
	event.assigned[1].offset = 0;
	struct ls_assigned owned[2];
	ok(ls_consumer_assign(consumer, event.assigned, event.count, &err), &err);
	memcpy(owned, event.assigned, sizeof(owned));

	struct ls_producer *producer = open_producer(mock, &delivered);
	for (int i = 0; i < 6; i++)
		send_one(producer, topic, i % 2, "k", "v", &delivered);
	ok(ls_producer_flush(producer, DEADLINE_MS, &err), &err);
	ls_producer_close(producer);
	while (got < 6) {
		assert_true(ls_monotonic_ms() < deadline_ms);
		ls_consumer_wait(consumer, 50);
		ls_consumer_poll(consumer, 0, &event);
		for (size_t i = 0; i < 2; i++) {
			size_t count = ls_partition_fetch(owned[i].queue, 0, message, 10);

			for (size_t m = 0; m < count; m++) {
				assert_int_equal(message[m].class, LS_OK);
				assert_int_equal(message[m].partition, owned[i].partition);
				ls_message_free(&message[m]);
			}
			got += count;
		}
	}
	assert_int_equal(got, 6);
	assert_false(ls_consumer_lost(consumer));
	assert_int_equal(ls_consumer_lag(consumer, topic, 0, 1), 2);
	ls_consumer_close(consumer);
}

static void a_consumer_that_nobody_answers_can_be_closed(void **state)
{
	struct mock_kafka *mock = *state;
	const char *topic = "silent";
	struct ls_consumer_event event;
	struct ls_consumer *consumer;
	struct ls_error err;

	rd_kafka_mock_broker_set_down(mock->cluster, 1);
	ok(ls_consumer_open(&mock->conf, "g", "one", &topic, 1, &consumer, &err), &err);
	ls_consumer_poll(consumer, 50, &event);
	int64_t start_ms = ls_monotonic_ms();
	ls_consumer_close(consumer);
	assert_true(ls_monotonic_ms() - start_ms < 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(what_is_sent_is_read_back_with_headers),
		T(keys_go_to_the_partition_that_is_computed),
		T(errors_that_pass_lose_and_double_nothing),
		T(a_refused_topic_is_a_matter_of_credentials),
		T(a_missing_topic_says_what_to_do),
		cmocka_unit_test(what_a_broker_says_while_it_starts_passes),
		T(an_unreachable_broker_is_told_and_forgotten_when_it_is_back),
		T(a_full_queue_asks_to_wait_and_an_oversized_message_never_fits),
		cmocka_unit_test(properties_that_would_break_a_guarantee_are_refused),
		cmocka_unit_test(a_wrong_property_is_named_and_a_secret_never_shown),
		cmocka_unit_test(without_brokers_there_is_nothing_to_open),
		T(a_consumer_is_given_partitions_and_wakes_when_something_comes),
		T(a_consumer_that_nobody_answers_can_be_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
