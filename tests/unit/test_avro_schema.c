/* Schemas: canonical form and fingerprints by the specification and by fastavro, what may follow what, and the
 * cache. */
#include "avro/codec.h"
#include "avro_store.h"
#include "core/buf.h"
#include "lockstep/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static uint64_t print_of(const char *json)
{
	struct ls_error err;
	uint64_t print = 0;

	if (ls_avro_fingerprint(ls_str_of(json), &print, &err))
		fail_msg("%s: %s", json, err.text);
	return print;
}

static void fingerprints_are_those_of_the_specification(void **unused)
{
	(void)unused;
	/* the Avro project's share/test/data/schema-tests.txt */
	assert_true(print_of("\"int\"") == UINT64_C(0x7275d51a3f395c8f));
	assert_true(print_of("{\"type\":\"int\"}") == UINT64_C(0x7275d51a3f395c8f));
	assert_true(print_of("\"string\"") == UINT64_C(0x8f014872634503c7));
	assert_true(print_of("\"null\"") == UINT64_C(0x63dd24e7cc258f8a));
}

static void canonical_forms_and_fingerprints_are_those_of_fastavro(void **unused)
{
	FILE *file = fopen(LS_FIXTURES "/avro/schemas.tsv", "re");
	size_t room = 0, count = 0;
	char *line = NULL;

	(void)unused;
	assert_non_null(file);
	while (getline(&line, &room, file) > 0) {
		char *rest = line, *hex, *form, *mine, print[17];
		struct ls_error err;
		uint64_t value;

		if (line[0] == '#')
			continue;
		line[strcspn(line, "\n")] = 0;
		hex = strsep(&rest, "\t");
		form = strsep(&rest, "\t");
		assert_int_equal(ls_avro_canonical(ls_str_of(rest), &mine, &err), LS_OK);
		assert_string_equal(mine, form);
		free(mine);
		value = print_of(rest);
		for (int i = 0; i < 8; i++)
			snprintf(print + 2 * i, 3, "%02x", (unsigned)(value >> (8 * i)) & 0xff);
		assert_string_equal(print, hex);
		count++;
	}
	free(line);
	fclose(file);
	assert_true(count >= 15);
}

#define TWICE "{\"name\":\"a\",\"type\":\"int\"}"

static void what_is_not_a_schema_is_refused_with_a_reason(void **unused)
{
	static const char *const BAD[] = {
		"",
		"{",
		"7",
		"\"unknown\"",
		"[]",
		"[[\"int\"]]",
		"{\"type\":\"record\",\"name\":\"R\"}",
		"{\"type\":\"record\",\"name\":\"1R\",\"fields\":[]}",
		"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\"}]}",
		"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a b\",\"type\":\"int\"}]}",
		"{\"type\":\"record\",\"name\":\"R\",\"fields\":[" TWICE "," TWICE "]}",
		"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[]}",
		"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"a-b\"]}",
		"{\"type\":\"fixed\",\"name\":\"F\",\"size\":-1}",
		"{\"type\":\"array\"}",
		"{\"type\":\"map\",\"values\":\"X\"}",
		"[{\"type\":\"fixed\",\"name\":\"F\",\"size\":1},{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}]",
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(BAD) / sizeof(*BAD); i++) {
		struct ls_error err = { .text = "" };
		uint64_t print;

		if (ls_avro_fingerprint(ls_str_of(BAD[i]), &print, &err) != LS_POISON)
			fail_msg("accepted: %s", BAD[i]);
		assert_true(err.text[0]);
	}
}

static void nesting_without_end_is_refused(void **unused)
{
	static char deep[20000];
	struct ls_error err;
	uint64_t print;
	size_t len = 0;

	(void)unused;
	for (int i = 0; i < 500; i++)
		len += (size_t)snprintf(deep + len, sizeof(deep) - len, "{\"type\":\"array\",\"items\":");
	len += (size_t)snprintf(deep + len, sizeof(deep) - len, "\"int\"");
	memset(deep + len, '}', 500);
	deep[len + 500] = 0;
	assert_int_equal(ls_avro_fingerprint(ls_str_of(deep), &print, &err), LS_POISON);
	assert_non_null(strstr(err.text, "deep"));
}

#define RECORD(fields)      "{\"type\":\"record\",\"name\":\"R\",\"fields\":[" fields "]}"
#define FIELD(name, type)   "{\"name\":\"" name "\",\"type\":[\"null\"," type "],\"default\":null}"
#define DECIMAL(p, s)       "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":" p ",\"scale\":" s "}"
#define LOGICAL(type, name) "{\"type\":\"" type "\",\"logicalType\":\"" name "\"}"

static void one_schema_may_follow_another_by_the_rule_of_the_readme(void **unused)
{
	static const struct {
		const char *old, *new;
		bool fine;
	} CASE[] = {
		{ RECORD(FIELD("a", "\"int\"")), RECORD(FIELD("a", "\"int\"")), true },
		{ RECORD(FIELD("a", "\"int\"")), RECORD(FIELD("a", "\"int\"") "," FIELD("b", "\"string\"")), true },
		{ RECORD(FIELD("a", "\"int\"") "," FIELD("b", "\"string\"")), RECORD(FIELD("a", "\"int\"")), true },
		{ RECORD(FIELD("a", "\"int\"")), RECORD(FIELD("a", "\"long\"")), true },
		{ RECORD(FIELD("a", "\"float\"")), RECORD(FIELD("a", "\"double\"")), true },
		{ RECORD(FIELD("a", "\"long\"")), RECORD(FIELD("a", "\"int\"")), false },
		{ RECORD(FIELD("a", "\"double\"")), RECORD(FIELD("a", "\"float\"")), false },
		{ RECORD(FIELD("a", "\"int\"")), RECORD(FIELD("a", "\"string\"")), false },
		{ RECORD(FIELD("a", "\"string\"")), RECORD(FIELD("a", "\"int\"")), false },
		{ RECORD(FIELD("a", "\"string\"")), RECORD(FIELD("a", LOGICAL("string", "uuid"))), true },
		{ RECORD(FIELD("a", "\"long\"")), RECORD(FIELD("a", LOGICAL("long", "timestamp-micros"))), false },
		{ RECORD(FIELD("a", LOGICAL("long", "local-timestamp-micros"))),
		  RECORD(FIELD("a", LOGICAL("long", "timestamp-micros"))), false },
		{ RECORD(FIELD("a", DECIMAL("10", "2"))), RECORD(FIELD("a", DECIMAL("12", "2"))), true },
		{ RECORD(FIELD("a", DECIMAL("12", "2"))), RECORD(FIELD("a", DECIMAL("10", "2"))), false },
		{ RECORD(FIELD("a", DECIMAL("10", "2"))), RECORD(FIELD("a", DECIMAL("10", "4"))), false },
		{ RECORD(FIELD("a", DECIMAL("10", "2"))), RECORD(FIELD("a", "\"string\"")), false },
		{ RECORD(FIELD("a", "{\"type\":\"array\",\"items\":\"int\"}")),
		  RECORD(FIELD("a", "{\"type\":\"array\",\"items\":\"long\"}")), true },
		{ RECORD(FIELD("a", "\"int\"")), RECORD(FIELD("a", "\"int\"") ",{\"name\":\"must\",\"type\":\"int\"}"),
		  false },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(CASE) / sizeof(*CASE); i++) {
		struct ls_error err = { .text = "" };
		enum ls_class class = ls_avro_compatible(ls_str_of(CASE[i].old), ls_str_of(CASE[i].new), &err);

		if (class != (CASE[i].fine ? LS_OK : LS_FATAL))
			fail_msg("%s then %s: %s", CASE[i].old, CASE[i].new, err.text);
		if (!CASE[i].fine)
			assert_non_null(strstr(err.text, strstr(CASE[i].new, "must") ? "must" : "\"a\""));
	}
}

static void the_schema_of_an_entity_is_the_example_of_the_schemas_folder(void **unused)
{
	static char example[16384];
	const struct ls_column column[] = {
		{ LS_STR("id"), { .kind = LS_UUID, .native = LS_STR("uuid") }, false },
		{ LS_STR("name"), { .kind = LS_STRING, .native = LS_STR("text") }, false },
	};
	const struct ls_schema schema = { LS_STR("contact"), column, 2 };
	FILE *file = fopen(LS_SCHEMAS "/change_event.avsc", "re");
	struct ls_buf out;

	(void)unused;
	assert_non_null(file);
	example[fread(example, 1, sizeof(example) - 1, file)] = 0;
	fclose(file);
	ls_buf_init(&out, 1 << 20);
	ls_schema_avro(&schema, &out);
	assert_true(print_of(out.ptr) == print_of(example));
	ls_buf_release(&out);
}

static uint64_t print_of_type(struct ls_type type, const char *column)
{
	const struct ls_column one = { ls_str_of(column), type, false };
	const struct ls_schema schema = { LS_STR("contact"), &one, 1 };
	struct ls_buf out;
	uint64_t print;

	ls_buf_init(&out, 1 << 20);
	ls_schema_avro(&schema, &out);
	print = print_of(out.ptr);
	ls_buf_release(&out);
	return print;
}

static void what_is_read_differently_has_another_fingerprint(void **unused)
{
	static const struct ls_type TYPE[] = {
		{ .kind = LS_DECIMAL, .precision = 10, .scale = 2 },
		{ .kind = LS_DECIMAL, .precision = 10, .scale = 4 },
		{ .kind = LS_DECIMAL, .precision = 12, .scale = 2 },
		{ .kind = LS_TIMESTAMP },
		{ .kind = LS_TIMESTAMPTZ },
		{ .kind = LS_INT64 },
		{ .kind = LS_TIME },
		{ .kind = LS_INT32 },
		{ .kind = LS_DATE },
		{ .kind = LS_STRING },
		{ .kind = LS_ARRAY, .item = LS_DECIMAL, .precision = 10, .scale = 2 },
		{ .kind = LS_ARRAY, .item = LS_DECIMAL, .precision = 10, .scale = 4 },
		{ .kind = LS_ARRAY, .item = LS_TIMESTAMP },
		{ .kind = LS_ARRAY, .item = LS_TIMESTAMPTZ },
	};
	const struct ls_type text = { .kind = LS_STRING };
	size_t count = sizeof(TYPE) / sizeof(*TYPE);

	(void)unused;
	for (size_t i = 0; i < count; i++)
		for (size_t k = i + 1; k < count; k++)
			if (print_of_type(TYPE[i], "v") == print_of_type(TYPE[k], "v"))
				fail_msg("types %zu and %zu have one fingerprint", i, k);
	assert_true(print_of_type(text, "a b") != print_of_type(text, "a-b")); /* both are a_b in Avro */
	assert_true(print_of_type(text, "a b") != print_of_type(text, "a_b"));
}

static void a_row_whose_meaning_changes_keeps_its_name_for_schema_resolution(void **unused)
{
	const struct ls_column column[] = {
		{ LS_STR("id"), { .kind = LS_INT64 }, true },
		{ LS_STR("seen"), { .kind = LS_TIMESTAMPTZ }, false },
	};
	const struct ls_schema narrow = { LS_STR("contact"), column, 1 }, wide = { LS_STR("contact"), column, 2 };
	struct ls_buf before, after;
	struct ls_error err = { .text = "" };

	(void)unused;
	ls_buf_init(&before, 1 << 20);
	ls_buf_init(&after, 1 << 20);
	ls_schema_avro(&narrow, &before);
	ls_schema_avro(&wide, &after);
	assert_null(strstr(before.ptr, "lockstep.contact.m"));
	/* fastavro.schema.fingerprint("seen timestamp-micros\n", "CRC-64-AVRO") */
	assert_non_null(strstr(after.ptr, "\"name\":\"Row\",\"namespace\":\"lockstep.contact.m4cca5efd78146562\""));
	if (ls_avro_compatible(ls_buf_str(&before), ls_buf_str(&after), &err))
		fail_msg("%s", err.text);
	ls_buf_release(&before);
	ls_buf_release(&after);
}

static void a_schema_found_is_asked_for_once_and_a_missing_one_not_at_every_message(void **unused)
{
	struct avro_store *store = avro_store_new();
	struct ls_schemas *schemas = ls_schemas_new(&store->ops, NULL, "t");
	struct ls_error err = { .text = "" };
	struct ls_str json;

	(void)unused;
	avro_store_put(store, false, 5, LS_STR("\"int\""));
	assert_int_equal(ls_schemas_find(schemas, false, 5, &json, &err), LS_OK);
	assert_int_equal(ls_schemas_find(schemas, false, 5, &json, &err), LS_OK);
	assert_true(ls_str_equal(json, LS_STR("\"int\"")));
	assert_int_equal(store->finds, 1);

	assert_int_equal(ls_schemas_find(schemas, false, 6, &json, &err), LS_POISON);
	assert_int_equal(ls_schemas_find(schemas, false, 6, &json, &err), LS_POISON);
	assert_int_equal(store->finds, 2);

	assert_int_equal(ls_schemas_find(schemas, true, 6, &json, &err), LS_POISON);
	assert_non_null(strstr(err.text, "registry.url"));
	ls_schemas_free(schemas);
}

static void a_schema_is_published_once_per_process_and_to_the_registry_where_there_is_one(void **unused)
{
	struct avro_store *topics = avro_store_new(), *registry = avro_store_new();
	struct ls_schemas *schemas = ls_schemas_new(&topics->ops, &registry->ops, "t");
	struct ls_error err;
	bool by_id = false;
	uint64_t id = 0;

	(void)unused;
	registry->registry = true;
	for (int i = 0; i < 2; i++)
		assert_int_equal(ls_schemas_publish(schemas, LS_STR("contact"), LS_STR("\"int\""), &by_id, &id, &err),
				 LS_OK);
	assert_true(by_id);
	assert_int_equal(id, 7);
	assert_int_equal(registry->publishes, 1);
	assert_int_equal(topics->publishes, 0);
	ls_schemas_free(schemas);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fingerprints_are_those_of_the_specification),
		cmocka_unit_test(canonical_forms_and_fingerprints_are_those_of_fastavro),
		cmocka_unit_test(what_is_not_a_schema_is_refused_with_a_reason),
		cmocka_unit_test(nesting_without_end_is_refused),
		cmocka_unit_test(one_schema_may_follow_another_by_the_rule_of_the_readme),
		cmocka_unit_test(the_schema_of_an_entity_is_the_example_of_the_schemas_folder),
		cmocka_unit_test(what_is_read_differently_has_another_fingerprint),
		cmocka_unit_test(a_row_whose_meaning_changes_keeps_its_name_for_schema_resolution),
		cmocka_unit_test(a_schema_found_is_asked_for_once_and_a_missing_one_not_at_every_message),
		cmocka_unit_test(a_schema_is_published_once_per_process_and_to_the_registry_where_there_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
