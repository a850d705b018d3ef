/* The configuration: what is read from a right file, and what is said about every kind of mistake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <unistd.h>

#include "config/config.h"
#include "stub_kinds.h"

/* A whole file in pieces, so that a test changes one of them. Line 1 is kafka, 2 entities, 3.. the rest. */
#define HEAD                                                                                                           \
	"kafka: {bootstrap.servers: \"h:9092\"}\n"                                                                     \
	"entities: [{name: contact, key: [id]}]\n"
#define SOURCE                                                                                                         \
	"sources:\n"                                                                                                   \
	"  - name: crm\n"                                                                                              \
	"    type: postgres\n"                                                                                         \
	"    url: \"postgresql://u:s3cret@h/crm\"\n"                                                                   \
	"    tables: [{table: public.contacts, entity: contact}]\n"
#define DESTINATION                                                                                                    \
	"destinations:\n"                                                                                              \
	"  - name: warehouse\n"                                                                                        \
	"    type: postgres\n"                                                                                         \
	"    url: \"postgresql://h/w\"\n"                                                                              \
	"    tables: [{entity: contact, table: public.contacts}]\n"

static struct ls_config *good(const char *yaml)
{
	struct ls_config *config = NULL;
	struct ls_error err = { 0 };
	char *more = NULL;

	if (ls_config_parse("c.yaml", ls_str_of(yaml), stub_sources, stub_destinations, &config, &more, &err))
		fail_msg("%s\n%s", err.text, more ? more : "");
	assert_null(more);
	return config;
}

/* All mistakes, one a line; the caller frees. */
static char *mistakes(const char *yaml)
{
	struct ls_config *config = NULL;
	struct ls_error err = { 0 };
	char *more = NULL, *all = NULL;

	assert_int_equal(
		ls_config_parse("c.yaml", ls_str_of(yaml), stub_sources, stub_destinations, &config, &more, &err),
		LS_FATAL);
	assert_string_equal(err.code, "config");
	assert_int_equal(err.class, LS_FATAL);
	assert_null(config);
	assert_true(asprintf(&all, "%s\n%s", err.text, more ? more : "") > 0);
	free(more);
	return all;
}

static void expect(const char *yaml, const char *text)
{
	char *all = mistakes(yaml);

	assert_string_equal(all, text);
	free(all);
}

static void a_small_file_gets_every_default(void **state)
{
	struct ls_config *config = good(HEAD SOURCE DESTINATION);
	const struct ls_destination_config *destination = &config->destination[0];

	(void)state;
	assert_string_equal(config->prefix, "lockstep");
	assert_int_equal(config->partitions, 6);
	assert_int_equal(config->replication_factor, 1);
	assert_null(config->instance);
	assert_null(config->registry_url);
	assert_null(config->http_listen);
	assert_string_equal(config->ledger_schema, "identity");
	assert_int_equal(config->max_skew_ms, 300000);
	assert_int_equal(config->max_event_bytes, 1000000);
	assert_int_equal(config->source_count, 1);
	assert_true(config->source[0].snapshot);
	assert_false(config->source[0].two_way);
	assert_int_equal(config->source[0].polling_interval_ms, 300000);
	assert_true(destination->ledger_full);
	assert_int_equal(destination->conflict, LS_LAST_WRITE_WINS);
	assert_int_equal(destination->batch_size, 5000);
	assert_int_equal(destination->concurrency, 1);
	assert_int_equal(destination->ledger_retention_ms, 7 * 86400000LL);
	assert_int_equal(destination->breaker_cooldown_ms, 30000);
	assert_true(destination->create_tables);
	ls_config_free(config);
}

static void a_mapping_knows_its_place_and_the_key_of_its_entity(void **state)
{
	struct ls_config *config = good(HEAD SOURCE);
	const struct ls_mapping *mapping = config->source[0].mapping;

	(void)state;
	assert_int_equal(config->source[0].mapping_count, 1);
	assert_string_equal(mapping->entity, "contact");
	assert_string_equal(mapping->place, "public.contacts");
	assert_int_equal(mapping->key_count, 1);
	assert_string_equal(mapping->key[0].ptr, "id");
	assert_int_equal(mapping->line, 7);
	ls_config_free(config);
}

static void options_of_the_kind_are_filled_by_their_types(void **state)
{
	struct ls_config *config =
		good(HEAD SOURCE "    connections: 7\n    wait: 1m\n    fast: true\n    mode: wild\n");
	const struct stub_options *options = config->source[0].options;

	(void)state;
	assert_string_equal(options->url, "postgresql://u:s3cret@h/crm");
	assert_string_equal(options->schema, "public");
	assert_int_equal(options->connections, 7);
	assert_int_equal(options->wait_ms, 60000);
	assert_true(options->fast);
	assert_int_equal(options->mode, 2);
	ls_config_free(config);
}

static void one_name_on_both_sides_is_one_system(void **state)
{
	struct ls_config *config =
		good(HEAD SOURCE "destinations:\n"
				 "  - {name: crm, type: postgres, url: u, tables: [{entity: contact, table: t}]}\n"
				 "  - {name: w, type: postgres, url: u, tables: [{entity: contact, table: t}]}\n");

	(void)state;
	assert_true(config->source[0].two_way);
	assert_true(config->destination[0].two_way);
	assert_false(config->destination[1].two_way);
	ls_config_free(config);
}

static void kafka_properties_pass_through_in_order(void **state)
{
	struct ls_config *config = good("kafka: {bootstrap.servers: h, linger.ms: 5, enable.foo: true}\n"
					"entities: [{name: contact, key: [id]}]\n");

	(void)state;
	assert_int_equal(config->kafka.count, 3);
	assert_string_equal(config->kafka.property[1].name.ptr, "linger.ms");
	assert_string_equal(config->kafka.property[1].value.ptr, "5");
	assert_string_equal(config->kafka.property[2].value.ptr, "true");
	ls_config_free(config);
}

static void mask_and_filter_of_a_source_reach_its_tables_unless_they_have_their_own(void **state)
{
	struct ls_config *config = good(HEAD "sources:\n"
					     "  - name: crm\n"
					     "    type: postgres\n"
					     "    url: u\n"
					     "    mask: {email: hash}\n"
					     "    filter: {country: DE}\n"
					     "    tables:\n"
					     "      - {table: a, entity: contact}\n"
					     "      - {table: b, entity: contact, mask: {phone: redact}}\n");
	const struct ls_mapping *mapping = config->source[0].mapping;

	(void)state;
	assert_string_equal(mapping[0].mask[0].name.ptr, "email");
	assert_string_equal(mapping[0].filter[0].value.ptr, "DE");
	assert_string_equal(mapping[1].mask[0].name.ptr, "phone");
	assert_string_equal(mapping[1].filter[0].value.ptr, "DE");
	ls_config_free(config);
}

static void an_unknown_option_is_told_with_place_and_near_miss(void **state)
{
	(void)state;
	expect(HEAD "sources:\n"
		    "  - name: crm\n"
		    "    type: postgres\n"
		    "    url: u\n"
		    "    tabels: []\n",
	       "c.yaml:4:5: sources.crm: \"tables\" is missing: where each entity lives in this system\n"
	       "c.yaml:7:5: sources.crm: unknown option \"tabels\" (did you mean \"tables\"?)\n");
	expect(HEAD "xyzzy: 1\n", "c.yaml:3:1: unknown option \"xyzzy\"\n");
	expect(HEAD "topics: {prefx: a}\n",
	       "c.yaml:3:10: topics: unknown option \"prefx\" (did you mean \"prefix\"?)\n");
	expect(HEAD SOURCE "    conections: 4\n",
	       "c.yaml:8:5: sources.crm: unknown option \"conections\" (did you mean \"connections\"?)\n");
}

static void a_wrong_type_is_told_at_the_value(void **state)
{
	(void)state;
	expect(HEAD "topics: {partitions: six}\n", "c.yaml:3:22: topics.partitions: \"six\" is not a whole number\n");
	expect(HEAD "topics: {partitions: 0}\n",
	       "c.yaml:3:22: topics.partitions: \"0\" is out of range (1 to 10000)\n");
	expect(HEAD "topics: {partitions: [1]}\n", "c.yaml:3:22: topics.partitions: is to be a single value\n");
	expect(HEAD "topics: 6\n", "c.yaml:3:9: topics: is to be a map: {...}\n");
	expect(HEAD "sources: {}\n", "c.yaml:3:10: sources: is to be a list: [...]\n");
	expect(HEAD "sources: [crm]\n", "c.yaml:3:11: sources[0]: is to be a map: {...}\n");
	expect(HEAD "max_skew: soon\n",
	       "c.yaml:3:11: max_skew: \"soon\" is not a duration: write 500ms, 5s, 10m, 2h or 7d\n");
	expect(HEAD "max_skew: 1ms\n", "c.yaml:3:11: max_skew: \"1ms\" is out of range (1s to 365d)\n");
	expect(HEAD SOURCE "    fast: yes\n", "c.yaml:8:11: sources.crm.fast: \"yes\" is neither true nor false\n");
	expect(HEAD SOURCE "    mode: wilt\n",
	       "c.yaml:8:11: sources.crm.mode: \"wilt\" is not one of calm|brisk|wild (did you mean \"wild\"?)\n");
	expect(HEAD SOURCE "    initial: full\n",
	       "c.yaml:8:14: sources.crm.initial: \"full\" is not one of snapshot|none\n");
	expect(HEAD "state_dir:\n", "c.yaml:3:11: state_dir: has no value\n");
}

static void what_is_missing_is_told_where_it_belongs(void **state)
{
	(void)state;
	expect("{}\n", "c.yaml:1:1: \"kafka\" is missing: properties of librdkafka, as they are; bootstrap.servers is "
		       "required\n"
		       "c.yaml:1:1: \"entities\" is missing: what is kept the same everywhere\n");
	expect("kafka: {linger.ms: 5}\nentities: [{name: a, key: [id]}]\n",
	       "c.yaml:1:8: kafka: \"bootstrap.servers\" is missing: host:port of one or more brokers\n");
	expect("kafka: {bootstrap.servers: h}\nentities: [{name: contact}]\n",
	       "c.yaml:2:12: entities.contact: \"key\" is missing: the fields that identify it: [id]\n");
	expect(HEAD "sources:\n  - {name: crm, type: postgres, tables: [{table: t, entity: contact}]}\n",
	       "c.yaml:4:5: sources.crm: \"url\" is missing: where the database is\n");
	expect(HEAD "sources:\n  - {name: crm, type: postgres, url: u, tables: [{table: t}]}\n",
	       "c.yaml:4:50: sources.crm.tables[0]: \"entity\" is missing: an entity declared under entities\n");
	expect(HEAD "sources:\n  - {name: crm, type: postgres, url: u, tables: [{entity: contact}]}\n",
	       "c.yaml:4:50: sources.crm.tables[0]: \"table\" is missing: where the entity is kept\n");
	expect(HEAD "sources:\n  - {name: crm, type: postgres, url: \"\", tables: [{table: t, entity: contact}]}\n",
	       "c.yaml:4:38: sources.crm.url: is empty\n");
	expect(HEAD "sources:\n  - {name: crm, type: postgres, url: u, tables: []}\n",
	       "c.yaml:4:49: sources.crm.tables: the list is empty\n");
}

static void an_entity_must_be_declared(void **state)
{
	(void)state;
	expect(HEAD "sources:\n  - {name: crm, type: postgres, url: u, tables: [{table: t, entity: contcat}]}\n",
	       "c.yaml:4:69: sources.crm.tables[0]: entity \"contcat\" is not declared under entities "
	       "(did you mean \"contact\"?)\n");
}

static void what_is_written_twice_is_told(void **state)
{
	(void)state;
	expect(HEAD "state_dir: a\nstate_dir: b\n", "c.yaml:4:1: \"state_dir\" is written twice, first in line 3\n");
	expect("kafka: {bootstrap.servers: h}\nentities:\n  - {name: a, key: [id]}\n  - {name: a, key: [id]}\n",
	       "c.yaml:4:12: entities: there are two entities named \"a\"\n");
	expect("kafka: {bootstrap.servers: h}\nentities:\n  - {name: a, key: [id, id]}\n",
	       "c.yaml:3:25: entities.a.key: \"id\" is listed twice\n");
	expect(HEAD "destinations:\n  - {name: w, type: postgres, url: u, tables: [{entity: contact, table: t}]}\n"
		    "  - {name: w, type: postgres, url: u, tables: [{entity: contact, table: t}]}\n",
	       "c.yaml:5:12: destinations: there are two destinations named \"w\"\n");
	expect(HEAD "destinations:\n  - name: w\n    type: postgres\n    url: u\n    tables:\n"
		    "      - {entity: contact, table: t}\n      - {entity: contact, table: s}\n",
	       "c.yaml:9:9: destinations.w.tables[1]: entity \"contact\" has two places in one destination, first in "
	       "line 8\n");
}

static void a_type_that_does_not_exist_lists_those_that_do(void **state)
{
	(void)state;
	expect(HEAD "sources:\n  - {name: crm, type: postgers, uri: u}\n",
	       "c.yaml:4:23: sources.crm.type: there is no source of type \"postgers\" (did you mean \"postgres\"?); "
	       "there is: postgres\n");
	expect(HEAD "destinations:\n  - {name: x, type: mysql, url: u}\n",
	       "c.yaml:4:21: destinations.x.type: there is no destination of type \"mysql\"; there is: postgres\n");
}

static void names_must_fit_into_topic_names(void **state)
{
	(void)state;
	expect("kafka: {bootstrap.servers: h}\nentities: [{name: \"con tact\", key: [id]}]\n",
	       "c.yaml:2:19: entities.con tact.name: \"con tact\" is no name: letters, digits, \".\", \"_\" and \"-\", "
	       "at most "
	       "100, for it becomes part of topic names\n");
	expect("kafka: {bootstrap.servers: h}\nentities: [{name: conflicts, key: [id]}]\n",
	       "c.yaml:2:19: entities.conflicts.name: \"conflicts\" would take the name of one of lockstep's own "
	       "topics\n");
	expect("kafka: {bootstrap.servers: h}\nentities: [{name: a.priority, key: [id]}]\n",
	       "c.yaml:2:19: entities.a.priority.name: \"a.priority\" would take the name of one of lockstep's own "
	       "topics\n");
}

static void fields_must_hold_the_key_and_masks_must_not(void **state)
{
	(void)state;
	expect(HEAD "sources:\n  - name: crm\n    type: postgres\n    url: u\n    tables:\n"
		    "      - {table: t, entity: contact, fields: {name: full_name}, mask: {id: hash, name: hide}}\n",
	       "c.yaml:8:45: sources.crm.tables[0].fields: the key field \"id\" is not among them\n"
	       "c.yaml:8:75: sources.crm.tables[0].mask: \"id\" is a key field and cannot be masked\n"
	       "c.yaml:8:87: sources.crm.tables[0].mask: \"hide\" is not one of redact|hash\n");
}

static void version_and_guard_have_a_form(void **state)
{
	(void)state;
	expect(HEAD "sources:\n  - name: crm\n    type: postgres\n    url: u\n    tables:\n"
		    "      - {table: t, entity: contact, version: rev}\n",
	       "c.yaml:8:46: sources.crm.tables[0].version: \"rev\" is not known: write column:NAME\n");
	expect(HEAD "destinations:\n  - name: w\n    type: postgres\n    url: u\n    tables:\n"
		    "      - {entity: contact, table: t, guard: rev}\n",
	       "c.yaml:8:44: destinations.w.tables[0].guard: \"rev\" is not known: write commit_timestamp or "
	       "column:NAME\n");
}

static void an_event_larger_than_kafka_takes_is_refused(void **state)
{
	(void)state;
	expect(HEAD "max_event_bytes: 2000000\n", "c.yaml:3:18: max_event_bytes: 2000000 is more than Kafka takes "
						  "(1048588): raise message.max.bytes under kafka, "
						  "and on the broker, too\n");
	ls_config_free(good("kafka: {bootstrap.servers: h, message.max.bytes: 3000000}\n"
			    "entities: [{name: contact, key: [id]}]\nmax_event_bytes: 2000000\n"));
}

static void all_mistakes_come_in_the_order_of_the_file(void **state)
{
	(void)state;
	expect("kafka: {bootstrap.servers: h}\ntopics: {partitions: x}\nentities: [{name: a, key: []}]\nmax_skew: y\n",
	       "c.yaml:2:22: topics.partitions: \"x\" is not a whole number\n"
	       "c.yaml:3:27: entities.a.key: an entity needs 1 to 32 key fields\n"
	       "c.yaml:4:11: max_skew: \"y\" is not a duration: write 500ms, 5s, 10m, 2h or 7d\n");
}

static void the_retry_waits_must_be_in_order(void **state)
{
	(void)state;
	expect(HEAD DESTINATION "    retry: {initial_ms: 10s, max_ms: 1s}\n",
	       "c.yaml:8:12: destinations.warehouse.retry: initial_ms is above max_ms\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_file_gets_every_default),
		cmocka_unit_test(a_mapping_knows_its_place_and_the_key_of_its_entity),
		cmocka_unit_test(options_of_the_kind_are_filled_by_their_types),
		cmocka_unit_test(one_name_on_both_sides_is_one_system),
		cmocka_unit_test(kafka_properties_pass_through_in_order),
		cmocka_unit_test(mask_and_filter_of_a_source_reach_its_tables_unless_they_have_their_own),
		cmocka_unit_test(an_unknown_option_is_told_with_place_and_near_miss),
		cmocka_unit_test(a_wrong_type_is_told_at_the_value),
		cmocka_unit_test(what_is_missing_is_told_where_it_belongs),
		cmocka_unit_test(an_entity_must_be_declared),
		cmocka_unit_test(what_is_written_twice_is_told),
		cmocka_unit_test(a_type_that_does_not_exist_lists_those_that_do),
		cmocka_unit_test(names_must_fit_into_topic_names),
		cmocka_unit_test(fields_must_hold_the_key_and_masks_must_not),
		cmocka_unit_test(version_and_guard_have_a_form),
		cmocka_unit_test(an_event_larger_than_kafka_takes_is_refused),
		cmocka_unit_test(all_mistakes_come_in_the_order_of_the_file),
		cmocka_unit_test(the_retry_waits_must_be_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
