/* The configuration's values: what ${...} brings in, what is kept secret, spans of time, near misses, and files that
 * are meant to hurt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <unistd.h>

#include "config/config.h"
#include "config/duration.h"
#include "config/near.h"
#include "main/commands.h"
#include "stub_kinds.h"

#define HEAD                                                                                                           \
	"kafka: {bootstrap.servers: \"h:9092\"}\n"                                                                     \
	"entities: [{name: contact, key: [id]}]\n"

static struct ls_config *parse_as(const char *file, const char *yaml, char *text, size_t size)
{
	struct ls_config *config = NULL;
	struct ls_error err = { 0 };
	char *more = NULL;

	text[0] = 0;
	if (ls_config_parse(file, ls_str_of(yaml), stub_sources, stub_destinations, &config, &more, &err))
		snprintf(text, size, "%s\n%s", err.text, more ? more : "");
	free(more);
	return config;
}

static struct ls_config *good(const char *yaml)
{
	char text[2000];
	struct ls_config *config = parse_as("c.yaml", yaml, text, sizeof text);

	assert_string_equal(text, "");
	return config;
}

static void expect(const char *yaml, const char *expected)
{
	char text[4000];

	assert_null(parse_as("c.yaml", yaml, text, sizeof text));
	assert_string_equal(text, expected);
}

static void environment_variables_fill_scalars_and_parts_of_them(void **state)
{
	struct ls_config *config;

	(void)state;
	setenv("LS_TEST_DIR", "/srv", 1);
	setenv("LS_TEST_NUMBER", "12", 1);
	config = good(HEAD "state_dir: \"${env:LS_TEST_DIR}/a/${env:LS_TEST_NUMBER}\"\n"
			   "topics: {partitions: \"${env:LS_TEST_NUMBER}\"}\nledger_schema: $${env:X}\n");
	assert_string_equal(config->state_dir, "/srv/a/12");
	assert_int_equal(config->partitions, 12);
	assert_string_equal(config->ledger_schema, "${env:X}");
	ls_config_free(config);
}

static void files_fill_scalars_without_their_last_line_end(void **state)
{
	char path[] = "/tmp/lockstep-test-XXXXXX", yaml[600];
	int fd = mkstemp(path);
	struct ls_config *config;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "a: b # c\nd\r\n", 12), 12);
	close(fd);
	snprintf(yaml, sizeof yaml, HEAD "state_dir: \"${file:%s}\"\n", path);
	config = good(yaml);
	assert_string_equal(config->state_dir, "a: b # c\nd");
	ls_config_free(config);
	unlink(path);
}

static void a_relative_file_is_beside_the_configuration(void **state)
{
	char directory[] = "/tmp/lockstep-test-XXXXXX", path[100], file[100], text[400];
	struct ls_config *config;
	FILE *stream;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/key", directory);
	snprintf(file, sizeof file, "%s/c.yaml", directory);
	stream = fopen(path, "w");
	assert_non_null(stream);
	fputs("beside\n", stream);
	fclose(stream);
	config = parse_as(file, HEAD "state_dir: \"${file:key}\"\n", text, sizeof text);
	assert_string_equal(text, "");
	assert_string_equal(config->state_dir, "beside");
	ls_config_free(config);
	unlink(path);
	rmdir(directory);
}

static void what_cannot_be_filled_in_is_a_mistake_at_its_place(void **state)
{
	(void)state;
	unsetenv("LS_TEST_MISSING");
	expect(HEAD "sources:\n  - name: crm\n    type: postgres\n    url: \"${env:LS_TEST_MISSING}\"\n"
		    "    tables: [{table: t, entity: contact}]\n",
	       "c.yaml:6:10: sources.crm.url: environment variable \"LS_TEST_MISSING\" is not set\n");
	expect(HEAD "state_dir: ${file:/nonexistent/x}\n",
	       "c.yaml:3:12: state_dir: file \"/nonexistent/x\" cannot be read: No such file or directory\n");
	expect(HEAD "state_dir: ${vault:x}\n", "c.yaml:3:12: state_dir: \"${vault:x}\" is not known: write ${env:NAME} "
					       "or ${file:/path}, and $${ for a plain ${\n");
	expect(HEAD "state_dir: \"${env:X\"\n", "c.yaml:3:12: state_dir: \"${\" has no \"}\"\n");
}

static bool is_secret(const struct ls_config *config, const char *text)
{
	for (const char *const *secret = config->secret; *secret; secret++)
		if (strcmp(*secret, text) == 0)
			return true;
	return false;
}

static void secrets_are_listed_whole_and_by_their_passwords(void **state)
{
	struct ls_config *config =
		good("kafka: {bootstrap.servers: h, sasl.password: kafkapw, ssl.key.password: keypw,"
		     " sasl.username: someone}\n"
		     "entities: [{name: contact, key: [id]}]\n"
		     "registry: {url: \"http://reg:regpw@r:8081/x\"}\n"
		     "http: {listen: \"127.0.0.1:0\", token: tok123}\n"
		     "sources:\n"
		     "  - name: a\n    type: postgres\n    url: \"postgresql://u:p%40ss@h/crm\"\n"
		     "    tables: [{table: t, entity: contact}]\n"
		     "  - name: b\n    type: postgres\n    url: \"host=h password='two words' user=u\"\n"
		     "    tables: [{table: t, entity: contact}]\n");

	(void)state;
	assert_true(is_secret(config, "kafkapw"));
	assert_true(is_secret(config, "keypw"));
	assert_true(is_secret(config, "regpw"));
	assert_true(is_secret(config, "tok123"));
	assert_true(is_secret(config, "postgresql://u:p%40ss@h/crm"));
	assert_true(is_secret(config, "p%40ss"));
	assert_true(is_secret(config, "p@ss"));
	assert_true(is_secret(config, "two words"));
	assert_false(is_secret(config, "someone"));
	assert_false(is_secret(config, "http://reg:regpw@r:8081/x"));
	ls_config_free(config);
}

static void no_mistake_prints_a_value_that_was_filled_in(void **state)
{
	(void)state;
	setenv("LS_TEST_SECRET", "hunter2hunter2", 1);
	expect(HEAD "topics: {partitions: \"${env:LS_TEST_SECRET}\", prefix: \"${env:LS_TEST_SECRET}!\"}\n"
		    "max_skew: ${env:LS_TEST_SECRET}\n",
	       "c.yaml:3:22: topics.partitions: the value is not a whole number\n"
	       "c.yaml:3:55: topics.prefix: the value is no name: letters, digits, \".\", \"_\" and \"-\", at most "
	       "100, for it "
	       "becomes part of topic names\n"
	       "c.yaml:4:11: max_skew: the value is not a duration: write 500ms, 5s, 10m, 2h or 7d\n");
}

static void a_secret_in_the_wrong_place_is_not_printed(void **state)
{
	char text[2000];

	(void)state;
	assert_null(parse_as("c.yaml", HEAD "http: hunter2hunter2\nregistry: [hunter2hunter2]\n", text, sizeof text));
	assert_null(strstr(text, "hunter2"));
	setenv("LS_TEST_SECRET", "hunter2hunter2", 1);
	assert_null(parse_as("c.yaml",
			     HEAD "sources:\n  - {name: \"${env:LS_TEST_SECRET}\", type: \"${env:LS_TEST_SECRET}\"}\n",
			     text, sizeof text));
	assert_null(strstr(text, "type \"hunter2"));
}

static void durations_are_read_with_their_units(void **state)
{
	static const struct {
		const char *text, *unit;
		int64_t ms;
	} cases[] = { { "500ms", "s", 500 },    { "5s", "ms", 5000 }, { "10m", "s", 600000 }, { "2h", "s", 7200000 },
		      { "7d", "s", 604800000 }, { "5", "m", 300000 }, { "0", "s", 0 },        { "90", "s", 90000 } };
	static const char *const wrong[] = {
		"", "s", "-5s", "5 s", "5x", "1.5s", "5ss", "99999999999999999999", "9223372036854775807d", "+5s", " 5s"
	};
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_true(ls_duration_parse(cases[i].text, cases[i].unit, &ms));
		assert_int_equal(ms, cases[i].ms);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_false(ls_duration_parse(wrong[i], "s", &ms));
}

static void durations_are_written_in_the_largest_exact_unit(void **state)
{
	char out[LS_DURATION_TEXT];

	(void)state;
	assert_string_equal(ls_duration_format(1500, out), "1500ms");
	assert_string_equal(ls_duration_format(90000, out), "90s");
	assert_string_equal(ls_duration_format(120000, out), "2m");
	assert_string_equal(ls_duration_format(604800000, out), "7d");
	assert_string_equal(ls_duration_format(0, out), "0s");
}

static const char *nearest(const char *word)
{
	static const char *const known[] = { "tables", "table", "name", "url", "polling_interval", "on_missing_table" };
	struct ls_near near;

	ls_near_init(&near, word);
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		ls_near_offer(&near, known[i]);
	return near.best ? near.best : "";
}

static void a_near_miss_finds_the_word_that_was_meant(void **state)
{
	(void)state;
	assert_string_equal(nearest("tabels"), "tables");
	assert_string_equal(nearest("nmae"), "name");
	assert_string_equal(nearest("ulr"), "url");
	assert_string_equal(nearest("poling-interval"), "polling_interval");
	assert_string_equal(nearest("on_missing_tabel"), "on_missing_table");
	assert_string_equal(nearest("frobnicate"), "");
	assert_string_equal(nearest(""), "");
}

static void broken_yaml_is_told_with_its_place(void **state)
{
	char text[600];

	(void)state;
	assert_null(parse_as("c.yaml", "kafka: {a: b\nentities: [\n", text, sizeof text));
	assert_memory_equal(text, "c.yaml:2:9: not valid YAML: ", 28);
	expect("", "c.yaml:1:1: the file is empty: `lockstep init` writes one to start from\n");
	expect(HEAD "---\na: b\n", "c.yaml:3:1: a second document begins here; one file holds one configuration\n");
	expect("[a]\n", "c.yaml:1:1: is to be a map: {...}\n");
	expect("state_dir: \"a\\0b\"\nkafka: {bootstrap.servers: h}\nentities: [{name: a, key: [id]}]\n",
	       "c.yaml:1:12: state_dir: the value has a NUL character inside\n");
}

static void aliases_work_but_cannot_be_made_to_explode(void **state)
{
	struct ls_config *config =
		good("kafka: {bootstrap.servers: &h h}\nentities: [{name: contact, key: &k [id]}, {name: b, key: *k}]\n"
		     "state_dir: *h\n");

	(void)state;
	assert_string_equal(config->state_dir, "h");
	assert_string_equal(config->entity[1].key[0].ptr, "id");
	ls_config_free(config);
	expect("a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c "
	       "[*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
	       "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
	       "f: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
	       "c.yaml:1:24: more than 200000 values, aliases counted each time\n");
	expect("a: &a [*a]\n", "c.yaml:1:4: nested deeper than 24 levels\n");
	expect("a: [[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
	       "c.yaml:1:28: nested deeper than 24 levels\n");
}

static void the_starter_configuration_is_right(void **state)
{
	struct ls_config *config = good(ls_init_text());

	(void)state;
	assert_int_equal(config->source_count, 1);
	assert_int_equal(config->destination_count, 1);
	ls_config_free(config);
}

static void every_example_is_right(void **state)
{
	static const char *const examples[] = { "crm-to-warehouse.yaml" };

	(void)state;
	setenv("CRM_URL", "postgresql://u:p@h/crm", 1);
	setenv("WAREHOUSE_URL", "postgresql://u:p@h/w", 1);
	setenv("KAFKA_BROKERS", "127.0.0.1:9092", 1);
	for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
		struct ls_config *config = NULL;
		struct ls_error err = { 0 };
		char path[500], *more = NULL;

		snprintf(path, sizeof path, "%s/../compose/config/%s", LS_SCHEMAS, examples[i]);
		if (ls_config_load(path, stub_sources, stub_destinations, &config, &more, &err))
			fail_msg("%s\n%s", err.text, more ? more : "");
		assert_true(config->source_count > 0);
		ls_config_free(config);
	}
}

static void a_file_that_is_not_there_says_what_to_do(void **state)
{
	struct ls_config *config = NULL;
	struct ls_error err = { 0 };
	char *more = NULL;

	(void)state;
	assert_int_equal(ls_config_load("/nonexistent/c.yaml", stub_sources, stub_destinations, &config, &more, &err),
			 LS_FATAL);
	assert_string_equal(err.text,
			    "/nonexistent/c.yaml: cannot be read: No such file or directory; `lockstep init` writes "
			    "one to start from");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(environment_variables_fill_scalars_and_parts_of_them),
		cmocka_unit_test(files_fill_scalars_without_their_last_line_end),
		cmocka_unit_test(a_relative_file_is_beside_the_configuration),
		cmocka_unit_test(what_cannot_be_filled_in_is_a_mistake_at_its_place),
		cmocka_unit_test(secrets_are_listed_whole_and_by_their_passwords),
		cmocka_unit_test(no_mistake_prints_a_value_that_was_filled_in),
		cmocka_unit_test(a_secret_in_the_wrong_place_is_not_printed),
		cmocka_unit_test(durations_are_read_with_their_units),
		cmocka_unit_test(durations_are_written_in_the_largest_exact_unit),
		cmocka_unit_test(a_near_miss_finds_the_word_that_was_meant),
		cmocka_unit_test(broken_yaml_is_told_with_its_place),
		cmocka_unit_test(aliases_work_but_cannot_be_made_to_explode),
		cmocka_unit_test(the_starter_configuration_is_right),
		cmocka_unit_test(every_example_is_right),
		cmocka_unit_test(a_file_that_is_not_there_says_what_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
