/* The Kafka client against a real broker: groups, fencing, readers, topics. LS_TEST_KAFKA names the broker. */
#include "kafka/client.h"
#include "core/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

enum { DEADLINE_MS = 30000 };

struct world {
	struct ls_pair property[2];
	struct ls_kafka_conf conf;
	struct ls_admin *admin;
	char topic[128], group[160];
	int serial;
};

static void ok(enum ls_class class, const struct ls_error *err)
{
	if (class)
		fail_msg("%s %s: %s", ls_class_name(class), err->code, err->text);
}

static void make_topic(struct world *world, int partitions, const struct ls_pair *config, size_t count)
{
	struct ls_error err;

	snprintf(world->topic, sizeof(world->topic), "kafka-test-%d-%lld-%d", (int)getpid(), (long long)ls_now_us(),
		 world->serial++);
	snprintf(world->group, sizeof(world->group), "group-%s", world->topic);
	struct ls_topic_spec spec = { world->topic, partitions, 1, config, count };
	ok(ls_admin_create(world->admin, &spec, 1, &err), &err);
}

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct ls_error err;

	world->property[0] = (struct ls_pair){ LS_STR("bootstrap.servers"), ls_str_of(getenv("LS_TEST_KAFKA")) };
	world->conf = (struct ls_kafka_conf){ world->property, 1 };
	ok(ls_admin_open(&world->conf, &world->admin, &err), &err);
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;
	const char *topic = world->topic;
	struct ls_error err;

	if (world->topic[0])
		ls_admin_delete(world->admin, &topic, 1, &err);
	ls_admin_close(world->admin);
	free(world);
	return 0;
}

struct receipts {
	int ok, failed;
	int64_t last_offset;
};

static void on_delivery(void *context, void *opaque, enum ls_class class, const char *problem, int64_t offset)
{
	struct receipts *receipts = context;

	(void)opaque, (void)problem;
	if (class) {
		receipts->failed++;
		return;
	}
	receipts->ok++;
	receipts->last_offset = offset;
}

static void produce(struct world *world, int32_t partition, int count, const char *key)
{
	struct receipts receipts = { 0 };
	struct ls_producer *producer;
	struct ls_error err;
	const struct ls_header header = { LS_STR("n"), LS_STR("v") };

	ok(ls_producer_open(&world->conf, on_delivery, &receipts, &producer, &err), &err);
	for (int i = 0; i < count; i++) {
		char name[32], value[32];

		snprintf(name, sizeof(name), key ? "%s" : "%.0s%d", key ? key : "", i);
		snprintf(value, sizeof(value), "value %d", i);
		ok(ls_producer_send(producer, world->topic, partition, ls_str_of(name), ls_str_of(value), &header, 1,
				    &receipts, &err),
		   &err);
	}
	ok(ls_producer_flush(producer, DEADLINE_MS, &err), &err);
	assert_int_equal(receipts.ok, count);
	assert_int_equal(receipts.failed, 0);
	ls_producer_close(producer);
}

static struct ls_consumer *join(struct world *world, const char *instance)
{
	const char *topic = world->topic;
	struct ls_consumer *consumer;
	struct ls_error err;

	ok(ls_consumer_open(&world->conf, world->group, instance, &topic, 1, &consumer, &err), &err);
	return consumer;
}

/* A member of the group that starts every partition at `from` and counts. */
struct member {
	struct ls_consumer *consumer;
	struct ls_assigned owned[16];
	size_t count;
	int64_t from, first;
	int got, revokes, lost;
	struct ls_error error;
	bool failed;
};

static void member_step(struct member *member)
{
	struct ls_consumer_event event;
	struct ls_message message[100];
	struct ls_error err;

	ls_consumer_poll(member->consumer, 0, &event);
	if (event.kind == LS_CONSUMER_ASSIGN) {
		for (size_t i = 0; i < event.count; i++)
			event.assigned[i].offset = member->from;
		ok(ls_consumer_assign(member->consumer, event.assigned, event.count, &err), &err);
		member->count = event.count;
		for (size_t i = 0; i < event.count; i++)
			member->owned[i] = event.assigned[i];
	} else if (event.kind == LS_CONSUMER_REVOKE) {
		member->revokes++;
		member->lost += event.lost;
		member->count = 0;
		ls_consumer_revoke(member->consumer);
	} else if (event.kind == LS_CONSUMER_ERROR) {
		member->failed = true;
		member->error = event.error;
	}
	for (size_t i = 0; i < member->count; i++) {
		size_t got = ls_partition_fetch(member->owned[i].queue, 0, message, 100);

		for (size_t m = 0; m < got; m++) {
			if (message[m].class) {
				member->failed = true;
				member->error.class = message[m].class;
				snprintf(member->error.text, sizeof(member->error.text), "%s", message[m].problem);
			} else {
				if (member->got++ == 0)
					member->first = message[m].offset;
			}
			ls_message_free(&message[m]);
		}
	}
	ls_consumer_wait(member->consumer, 20);
}

#define STEP_UNTIL(condition, ...)                                                                                     \
	for (int64_t end_ = ls_monotonic_ms() + DEADLINE_MS; !(condition);) {                                          \
		struct member *members_[] = { __VA_ARGS__ };                                                           \
		if (ls_monotonic_ms() > end_)                                                                          \
			fail_msg("not within %d ms: %s", DEADLINE_MS, #condition);                                     \
		for (size_t i_ = 0; i_ < sizeof(members_) / sizeof(*members_); i_++)                                   \
			member_step(members_[i_]);                                                                     \
	}

static void two_members_share_the_partitions(void **state)
{
	struct world *world = *state;

	make_topic(world, 4, NULL, 0);
	produce(world, -1, 200, NULL);
	struct member a = { .consumer = join(world, NULL), .from = -1 };
	STEP_UNTIL(a.count == 4 && a.got == 200, &a);
	assert_int_equal(ls_consumer_lag(a.consumer, world->topic, 0, 0) > 0, 1);

	struct member b = { .consumer = join(world, NULL), .from = -1 };
	STEP_UNTIL(a.count == 2 && b.count == 2, &a, &b);
	assert_int_equal(a.revokes, 1);
	assert_int_equal(a.lost, 0);
	STEP_UNTIL(a.got - 200 + b.got == 200, &a, &b);

	ls_consumer_close(b.consumer);
	STEP_UNTIL(a.count == 4, &a);
	ls_consumer_close(a.consumer);
}

static void a_partition_starts_at_the_offset_it_was_given(void **state)
{
	struct world *world = *state;

	make_topic(world, 1, NULL, 0);
	produce(world, 0, 50, NULL);
	struct member a = { .consumer = join(world, NULL), .from = 37 };

	STEP_UNTIL(a.got == 13, &a);
	assert_int_equal(a.first, 37);
	ls_consumer_commit(a.consumer, world->topic, 0, 50);
	ls_consumer_close(a.consumer);
}

static void an_offset_the_topic_does_not_hold_is_fatal(void **state)
{
	struct world *world = *state;

	make_topic(world, 1, NULL, 0);
	produce(world, 0, 10, NULL);
	struct member a = { .consumer = join(world, NULL), .from = 5000 };

	STEP_UNTIL(a.failed, &a);
	assert_int_equal(a.error.class, LS_FATAL);
	assert_non_null(strstr(a.error.text, "does not hold this offset any more"));
	ls_consumer_close(a.consumer);
}

static void the_older_of_two_with_one_instance_is_fenced(void **state)
{
	struct world *world = *state;

	make_topic(world, 1, NULL, 0);
	struct member a = { .consumer = join(world, "east-1"), .from = -1 };
	STEP_UNTIL(a.count == 1, &a);
	struct member b = { .consumer = join(world, "east-1"), .from = -1 };

	STEP_UNTIL(a.failed && a.error.class == LS_FENCED && b.count == 1, &a, &b);
	assert_non_null(strstr(a.error.text, "same instance"));
	ls_consumer_close(a.consumer);
	ls_consumer_close(b.consumer);
}

static int read_all(struct ls_reader *reader, int64_t *ret_first)
{
	struct ls_message message[64];
	struct ls_error err;
	size_t count;
	bool end = false;
	int total = 0;

	for (int64_t deadline = ls_monotonic_ms() + DEADLINE_MS; !end;) {
		if (ls_monotonic_ms() > deadline)
			fail_msg("the reader does not end");
		ok(ls_reader_next(reader, 100, message, 64, &count, &end, &err), &err);
		for (size_t i = 0; i < count; i++) {
			if (total++ == 0 && ret_first)
				*ret_first = message[i].offset;
			ls_message_free(&message[i]);
		}
	}
	return total;
}

static void a_reader_ends_where_the_topic_ended_and_can_go_on(void **state)
{
	struct world *world = *state;
	struct ls_reader *reader;
	struct ls_error err;

	make_topic(world, 3, NULL, 0);
	produce(world, -1, 100, NULL);
	ok(ls_reader_open(&world->conf, world->topic, -1, -1, &reader, &err), &err);
	assert_int_equal(read_all(reader, NULL), 100);
	produce(world, -1, 20, NULL);
	ok(ls_reader_extend(reader, &err), &err);
	assert_int_equal(read_all(reader, NULL), 20);
	ls_reader_close(reader);
}

static void a_reader_of_an_empty_topic_is_at_its_end(void **state)
{
	struct world *world = *state;
	struct ls_reader *reader;
	struct ls_error err;

	int64_t until_ms = ls_monotonic_ms() + 10000;
	enum ls_class class;

	make_topic(world, 2, NULL, 0);
	do /* a topic just made has no leader for a moment */
		class = ls_reader_open(&world->conf, world->topic, -1, -1, &reader, &err);
	while (class == LS_RETRY && ls_monotonic_ms() < until_ms);
	ok(class, &err);
	assert_int_equal(read_all(reader, NULL), 0);
	ls_reader_close(reader);
}

static void a_reader_begins_at_its_offset_or_at_the_first_there_is(void **state)
{
	struct world *world = *state;
	struct ls_reader *reader;
	struct ls_error err;
	int64_t first = -1;

	make_topic(world, 1, NULL, 0);
	produce(world, 0, 30, NULL);
	ok(ls_reader_open(&world->conf, world->topic, 0, 25, &reader, &err), &err);
	assert_int_equal(read_all(reader, &first), 5);
	assert_int_equal(first, 25);
	ls_reader_close(reader);
	/* The topic was made anew: what was remembered is past its end. */
	ok(ls_reader_open(&world->conf, world->topic, 0, 9000, &reader, &err), &err);
	assert_int_equal(read_all(reader, &first), 30);
	assert_int_equal(first, 0);
	ls_reader_close(reader);
}

static void a_reader_of_a_compacted_topic_reaches_its_end(void **state)
{
	struct world *world = *state;
	const struct ls_pair config[] = { { LS_STR("cleanup.policy"), LS_STR("compact") },
					  { LS_STR("min.cleanable.dirty.ratio"), LS_STR("0.01") },
					  { LS_STR("segment.ms"), LS_STR("100") } };
	struct ls_reader *reader;
	struct ls_error err;

	make_topic(world, 1, config, 3);
	produce(world, 0, 40, "same");
	produce(world, 0, 1, "other");
	ok(ls_reader_open(&world->conf, world->topic, -1, -1, &reader, &err), &err);
	int total = read_all(reader, NULL);
	assert_in_range(total, 2, 41);
	ls_reader_close(reader);
}

static void a_reader_of_a_missing_topic_says_what_to_do(void **state)
{
	struct world *world = *state;
	struct ls_reader *reader;
	struct ls_error err;

	assert_int_equal(ls_reader_open(&world->conf, "kafka-test-nowhere", -1, -1, &reader, &err), LS_FATAL);
	assert_non_null(strstr(err.text, "kafka-test-nowhere"));
	assert_non_null(strstr(err.text, "topics create"));
}

static void topics_are_made_described_and_made_again_without_harm(void **state)
{
	struct world *world = *state;
	const struct ls_pair config[] = { { LS_STR("cleanup.policy"), LS_STR("compact,delete") } };
	struct ls_topic_info info;
	struct ls_error err;
	char text[64];
	int64_t low, high;

	make_topic(world, 5, config, 1);
	struct ls_topic_spec again = { world->topic, 5, 1, config, 1 };
	ok(ls_admin_create(world->admin, &again, 1, &err), &err);
	ok(ls_admin_topic(world->admin, world->topic, &info, &err), &err);
	assert_int_equal(info.partitions, 5);
	assert_int_equal(info.replication_factor, 1);
	ok(ls_admin_config(world->admin, world->topic, "cleanup.policy", text, sizeof(text), &err), &err);
	assert_string_equal(text, "compact,delete");
	produce(world, 3, 7, NULL);
	ok(ls_admin_watermarks(world->admin, world->topic, 3, &low, &high, &err), &err);
	assert_int_equal(low, 0);
	assert_int_equal(high, 7);
	ok(ls_admin_topic(world->admin, "kafka-test-nowhere", &info, &err), &err);
	assert_int_equal(info.partitions, 0);
}

static void count_topic(const struct ls_topic_info *topic, void *arg)
{
	(void)topic;
	++*(int *)arg;
}

static void list_names_the_topics_of_a_prefix(void **state)
{
	struct world *world = *state;
	struct ls_error err;
	int count = 0;

	make_topic(world, 1, NULL, 0);
	ok(ls_admin_list(world->admin, world->topic, count_topic, &count, &err), &err);
	assert_int_equal(count, 1);
}

static void too_many_replicas_is_told_in_the_brokers_words(void **state)
{
	struct world *world = *state;
	struct ls_topic_spec spec = { "kafka-test-replicas", 1, 100, NULL, 0 };
	struct ls_error err;

	assert_int_equal(ls_admin_create(world->admin, &spec, 1, &err), LS_FATAL);
	assert_non_null(strstr(err.text, "kafka-test-replicas"));
	assert_non_null(strstr(err.text, "100"));
}

static void a_message_larger_than_the_topic_allows_is_poison(void **state)
{
	struct world *world = *state;
	const struct ls_pair config[] = { { LS_STR("max.message.bytes"), LS_STR("20000") } };
	struct ls_pair plain[] = { world->property[0], { LS_STR("compression.type"), LS_STR("none") } };
	struct ls_kafka_conf conf = { plain, 2 };
	struct receipts receipts = { 0 };
	struct ls_producer *producer;
	struct ls_error err;
	char *large = calloc(1, 100000);

	make_topic(world, 1, config, 1);
	ok(ls_producer_open(&conf, on_delivery, &receipts, &producer, &err), &err);
	ok(ls_producer_send(producer, world->topic, 0, LS_STR("k"), (struct ls_str){ large, 100000 }, NULL, 0,
			    &receipts, &err),
	   &err);
	ls_producer_flush(producer, DEADLINE_MS, &err);
	assert_int_equal(receipts.failed, 1);
	/* The producer lives on. */
	ok(ls_producer_send(producer, world->topic, 0, LS_STR("k"), LS_STR("v"), NULL, 0, &receipts, &err), &err);
	ok(ls_producer_flush(producer, DEADLINE_MS, &err), &err);
	assert_int_equal(receipts.ok, 1);
	ls_producer_close(producer);
	free(large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(topics_are_made_described_and_made_again_without_harm),
		T(list_names_the_topics_of_a_prefix),
		T(too_many_replicas_is_told_in_the_brokers_words),
		T(a_message_larger_than_the_topic_allows_is_poison),
		T(a_reader_ends_where_the_topic_ended_and_can_go_on),
		T(a_reader_of_an_empty_topic_is_at_its_end),
		T(a_reader_begins_at_its_offset_or_at_the_first_there_is),
		T(a_reader_of_a_compacted_topic_reaches_its_end),
		T(a_reader_of_a_missing_topic_says_what_to_do),
		T(a_partition_starts_at_the_offset_it_was_given),
		T(an_offset_the_topic_does_not_hold_is_fatal),
		T(two_members_share_the_partitions),
		T(the_older_of_two_with_one_instance_is_fenced),
	};

	if (!getenv("LS_TEST_KAFKA")) {
		printf("skipped: LS_TEST_KAFKA does not name a broker\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
