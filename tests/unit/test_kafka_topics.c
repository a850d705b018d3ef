/* Names, policies and partition counts of the topics that a configuration needs. Expected: the tables of
 * docs/publishing.md. */
#include "config/config.h"
#include "kafka/topics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

struct seen {
	char text[32][400];
	size_t count;
};

static struct ls_str setting(const struct ls_topic_spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->config_count; i++)
		if (ls_str_equal(spec->config[i].name, ls_str_of(name)))
			return spec->config[i].value;
	return LS_STR("-");
}

static void note(const struct ls_topic_spec *spec, void *arg)
{
	struct seen *seen = arg;

	snprintf(seen->text[seen->count++], sizeof(seen->text[0]), "%s %d x%d %.*s %.*s", spec->name, spec->partitions,
		 spec->replication_factor, LS_ARG(setting(spec, "cleanup.policy")),
		 LS_ARG(setting(spec, "max.message.bytes")));
}

static const struct ls_mapping contact_mapping[] = { { .entity = "contact", .place = "public.contacts" } };
static const struct ls_mapping both_mapping[] = { { .entity = "contact", .place = "a" },
						  { .entity = "order", .place = "b" } };
static const struct ls_entity_config entities[] = { { .name = "contact" }, { .name = "order" }, { .name = "unused" } };
static const struct ls_source_config sources[] = { { .name = "crm", .mapping = both_mapping, .mapping_count = 2 } };
static const struct ls_destination_config destinations[] = {
	{ .name = "dw", .mapping = contact_mapping, .mapping_count = 1 },
};

static struct ls_config config_of(int64_t max_event_bytes)
{
	return (struct ls_config){
		.prefix = "acme",
		.partitions = 6,
		.replication_factor = 3,
		.max_event_bytes = max_event_bytes,
		.entity = entities,
		.entity_count = 3,
		.source = sources,
		.source_count = 1,
		.destination = destinations,
		.destination_count = 1,
	};
}

static void every_topic_that_is_needed_and_no_other(void **state)
{
	static const char *const expected[] = {
		"acme.contact 6 x3 delete 1065536",
		"acme.contact.priority 6 x3 delete 1065536",
		"acme.contact.versions.dw 6 x3 compact 1065536",
		"acme.order 6 x3 delete 1065536",
		"acme.order.priority 6 x3 delete 1065536",
		"acme.dlq.dw 1 x3 compact,delete 1262144",
		"acme.dlq.crm 1 x3 compact,delete 1262144",
		"acme.conflicts 6 x3 delete 1262144",
		"acme.schemas 1 x3 compact 1065536",
		"acme.control 1 x3 compact 1065536",
		"acme.positions 1 x3 compact 1065536",
	};
	const struct ls_config config = config_of(1000000);
	struct seen seen = { .count = 0 };

	(void)state;
	ls_topics_each(&config, note, &seen);
	for (size_t i = 0; i < seen.count && i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_string_equal(seen.text[i], expected[i]);
	assert_int_equal(seen.count, sizeof(expected) / sizeof(expected[0]));
}

static void a_batch_of_small_messages_always_fits(void **state)
{
	const struct ls_config config = config_of(1000);
	struct seen seen = { .count = 0 };

	(void)state;
	ls_topics_each(&config, note, &seen);
	assert_string_equal(seen.text[0], "acme.contact 6 x3 delete 1048588");
}

static void check_lag(const struct ls_topic_spec *spec, void *arg)
{
	if (strstr(spec->name, ".versions.")) {
		++*(int *)arg;
		assert_true(ls_str_equal(setting(spec, "min.compaction.lag.ms"), LS_STR("3600000")));
		assert_true(ls_str_equal(setting(spec, "delete.retention.ms"), LS_STR("604800000")));
	}
}

static void state_stays_readable_for_an_hour_before_it_is_compacted(void **state)
{
	const struct ls_config config = config_of(1000000);
	int count = 0;

	(void)state;
	ls_topics_each(&config, check_lag, &count);
	assert_int_equal(count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_topic_that_is_needed_and_no_other),
		cmocka_unit_test(a_batch_of_small_messages_always_fits),
		cmocka_unit_test(state_stays_readable_for_an_hour_before_it_is_compacted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
