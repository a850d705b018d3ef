/* Which partition a key goes to. Vectors: Apache Kafka, clients/src/test/java/org/apache/kafka/common/utils/
 * UtilsTest.java (testMurmur2); and librdkafka's own murmur2, over keys of every length. */
#include "kafka/client.h"
#include "seed.h"

#include <librdkafka/rdkafka.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void keys_hash_as_in_java(void **state)
{
	static const struct {
		const char *key;
		int32_t murmur2;
	} vector[] = {
		{ "21", -973932308 },
		{ "foobar", -790332482 },
		{ "a-little-bit-long-string", -985981536 },
		{ "a-little-bit-longer-string", -1486304829 },
		{ "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971 },
		{ "abc", 479470107 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(vector) / sizeof(vector[0]); i++) {
		int32_t positive = vector[i].murmur2 & 0x7fffffff;

		print_message("%s\n", vector[i].key);
		assert_int_equal(ls_kafka_partition_of(ls_str_of(vector[i].key), INT32_MAX), positive);
		assert_int_equal(ls_kafka_partition_of(ls_str_of(vector[i].key), 6), positive % 6);
	}
}

static void keys_of_every_length_go_where_librdkafka_sends_them(void **state)
{
	uint64_t seed = test_seed();
	char key[300];

	(void)state;
	for (size_t len = 0; len < sizeof(key); len++)
		for (int32_t partitions = 1; partitions < 50; partitions += 7) {
			for (size_t i = 0; i < len; i++)
				key[i] = (char)ls_random(&seed);
			assert_int_equal(ls_kafka_partition_of((struct ls_str){ key, len }, partitions),
					 rd_kafka_msg_partitioner_murmur2(NULL, key, len, partitions, NULL, NULL));
		}
}

static void no_partitions_is_no_division_by_zero(void **state)
{
	(void)state;
	assert_int_equal(ls_kafka_partition_of(LS_STR("a"), 0), 0);
}

/* With a number of partitions: keys from stdin, one a line, their partitions to stdout
 * (integration/test_partitioner). */
static int answer(const char *partitions)
{
	char line[1024];

	while (fgets(line, sizeof(line), stdin)) {
		struct ls_str key = { line, strcspn(line, "\n") };

		printf("%d\n", (int)ls_kafka_partition_of(key, (int32_t)strtol(partitions, NULL, 10)));
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2)
		return answer(argv[1]);

	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_hash_as_in_java),
		cmocka_unit_test(keys_of_every_length_go_where_librdkafka_sends_them),
		cmocka_unit_test(no_partitions_is_no_division_by_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
