/* Writer schemas kept in a topic, against librdkafka's mock cluster. Fingerprints: computed by Python's fastavro
 * (fastavro.schema.fingerprint(to_parsing_canonical_form(s), "CRC-64-AVRO"), which prints the bytes as they stand). */
#include "kafka/schema_topic.h"
#include "mock_kafka.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { DEADLINE_MS = 20000 };

#define V1 "{\"type\":\"record\",\"name\":\"E\",\"fields\":[{\"name\":\"a\",\"type\":\"string\"}]}"
#define V2                                                                                                             \
	"{\"type\":\"record\",\"name\":\"E\",\"fields\":[{\"name\":\"a\",\"type\":\"string\"},"                        \
	"{\"name\":\"b\",\"type\":[\"null\",\"long\"],\"default\":null}]}"
#define WRONG "{\"type\":\"record\",\"name\":\"E\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"}]}"
#define MONEY(scale)                                                                                                   \
	"{\"type\":\"record\",\"name\":\"M\",\"fields\":[{\"name\":\"a\",\"type\":{\"type\":\"bytes\","                \
	"\"logicalType\":\"decimal\",\"precision\":10,\"scale\":" scale "}}]}"
#define V1_KEY "8a1775a0f4804552"

static void ok(enum ls_class class, const struct ls_error *err)
{
	if (class)
		fail_msg("%s %s: %s", ls_class_name(class), err->code, err->text);
}

static struct ls_schema_store *open_with(struct mock_kafka *mock, enum ls_compatibility compatibility)
{
	struct ls_schema_store *store;
	struct ls_error err;

	ok(ls_schema_topic_open(&mock->conf, "schemas", compatibility, &store, &err), &err);
	return store;
}

static struct ls_schema_store *open_store(struct mock_kafka *mock)
{
	return open_with(mock, LS_COMPATIBILITY_FULL);
}

static int setup(void **state)
{
	struct mock_kafka *mock = mock_kafka_new();

	mock_kafka_topic(mock, "schemas", 1);
	*state = mock;
	return 0;
}

static int teardown(void **state)
{
	mock_kafka_free(*state);
	return 0;
}

static uint64_t publish(struct ls_schema_store *store, const char *subject, const char *json)
{
	struct ls_error err;
	uint64_t id = 0;
	bool by_id = true;

	ok(store->publish(store, ls_str_of(subject), ls_str_of(json), &by_id, &id, &err), &err);
	assert_false(by_id);
	return id;
}

static void put(struct mock_kafka *mock, const char *key, const char *value)
{
	struct ls_producer *producer;
	struct ls_error err;

	ok(ls_producer_open(&mock->conf, NULL, NULL, &producer, &err), &err);
	ok(ls_producer_send(producer, "schemas", 0, ls_str_of(key), ls_str_of(value), NULL, 0, NULL, &err), &err);
	ok(ls_producer_flush(producer, DEADLINE_MS, &err), &err);
	ls_producer_close(producer);
}

static void a_published_schema_is_found_by_everyone(void **state)
{
	struct ls_schema_store *here = open_store(*state), *there = open_store(*state);
	uint64_t id = publish(here, "p.contact-value", V1);
	struct ls_error err;
	char *json;

	ok(there->find(there, false, id, &json, &err), &err);
	assert_string_equal(json, V1);
	free(json);
	assert_int_equal(publish(there, "p.contact-value", V1), id);
	here->close(here);
	there->close(there);
}

static void the_key_is_the_fingerprint_as_it_stands_in_a_message(void **state)
{
	struct ls_schema_store *store = open_store(*state);
	struct mock_kafka *mock = *state;
	struct ls_reader *reader;
	struct ls_message message;
	struct ls_error err;
	size_t count = 0;
	bool end = false;

	publish(store, "s", V1);
	ok(ls_reader_open(&mock->conf, "schemas", -1, -1, &reader, &err), &err);
	while (!count && !end)
		ok(ls_reader_next(reader, 1000, &message, 1, &count, &end, &err), &err);
	assert_int_equal(count, 1);
	assert_true(ls_str_equal(message.key, LS_STR(V1_KEY)));
	assert_true(ls_str_equal(message.value, LS_STR(V1)));
	struct ls_header header[2];
	assert_int_equal(ls_message_headers(&message, header, 2), 1);
	assert_true(ls_str_equal(header[0].name, LS_STR("subject")) && ls_str_equal(header[0].value, LS_STR("s")));
	ls_message_free(&message);
	ls_reader_close(reader);
	store->close(store);
}

static void a_strangers_schema_needs_no_header(void **state)
{
	struct ls_schema_store *store = open_store(*state);
	struct ls_error err;
	uint64_t id;
	char *json;

	put(*state, "not a key", "nonsense");
	put(*state, V1_KEY, V1);
	ok(ls_avro_fingerprint(LS_STR(V1), &id, &err), &err);
	ok(store->find(store, false, id, &json, &err), &err);
	assert_string_equal(json, V1);
	free(json);
	store->close(store);
}

static void a_schema_that_nobody_published_is_poison_with_its_key(void **state)
{
	struct ls_schema_store *store = open_store(*state);
	struct ls_error err;
	char *json;

	assert_int_equal(store->find(store, false, 0x1122334455667788, &json, &err), LS_POISON);
	assert_non_null(strstr(err.text, "8877665544332211"));
	assert_int_equal(store->find(store, true, 7, &json, &err), LS_POISON);
	store->close(store);
}

static void an_incompatible_schema_is_refused_and_a_compatible_one_follows(void **state)
{
	struct ls_schema_store *store = open_store(*state);
	struct ls_error err;
	uint64_t id;
	bool by_id;

	uint64_t first = publish(store, "s", V1);
	assert_int_equal(store->publish(store, LS_STR("s"), LS_STR(WRONG), &by_id, &id, &err), LS_FATAL);
	assert_non_null(strstr(err.text, "\"s\""));
	assert_true(publish(store, "s", V2) != first);
	publish(store, "another", WRONG);
	store->close(store);
}

static void without_the_check_an_incompatible_schema_follows_and_the_check_then_knows_it(void **state)
{
	struct ls_schema_store *full = open_store(*state), *none = open_with(*state, LS_COMPATIBILITY_NONE);
	uint64_t first = publish(full, "s", V1), second, id;
	struct ls_error err;
	char *json;
	bool by_id;

	assert_int_equal(full->publish(full, LS_STR("s"), LS_STR(WRONG), &by_id, &id, &err), LS_FATAL);
	assert_non_null(strstr(err.text, "schema_compatibility: none"));
	assert_non_null(strstr(err.text, V1_KEY));

	second = publish(none, "s", WRONG);
	assert_true(second != first);
	assert_int_equal(publish(full, "s", WRONG), second);
	assert_int_equal(publish(full, "s", V1), first);
	assert_int_equal(full->publish(full, LS_STR("s"), LS_STR(V2), &by_id, &id, &err), LS_FATAL);
	ok(full->find(full, false, first, &json, &err), &err);
	assert_string_equal(json, V1);
	free(json);
	full->close(full);
	none->close(none);
}

static void one_fingerprint_never_stands_for_two_meanings(void **state)
{
	struct ls_schema_store *none = open_with(*state, LS_COMPATIBILITY_NONE);
	struct ls_error err;
	uint64_t id;
	bool by_id;

	publish(none, "s", MONEY("2"));
	assert_int_equal(none->publish(none, LS_STR("s"), LS_STR(MONEY("4")), &by_id, &id, &err), LS_FATAL);
	assert_non_null(strstr(err.text, "fingerprint"));
	none->close(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_published_schema_is_found_by_everyone),
		T(the_key_is_the_fingerprint_as_it_stands_in_a_message),
		T(a_strangers_schema_needs_no_header),
		T(a_schema_that_nobody_published_is_poison_with_its_key),
		T(an_incompatible_schema_is_refused_and_a_compatible_one_follows),
		T(without_the_check_an_incompatible_schema_follows_and_the_check_then_knows_it),
		T(one_fingerprint_never_stands_for_two_meanings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
