/* Whole events: our own round trip, a stranger's schema written by fastavro, damage of every sort, version states. */
#include "avro/codec.h"
#include "avro_store.h"
#include "core/arena.h"
#include "core/buf.h"
#include "lockstep/stamp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct fixture {
	struct avro_store *store;
	struct ls_schemas *schemas;
	struct ls_encoder *encoder;
	struct ls_decoder *decoder;
	struct ls_arena *arena;
	struct ls_buf out;
	struct ls_error err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->store = avro_store_new();
	f->schemas = ls_schemas_new(&f->store->ops, NULL, "t");
	f->encoder = ls_encoder_new(f->schemas);
	f->decoder = ls_decoder_new(f->schemas);
	f->arena = ls_arena_new(0);
	ls_buf_init(&f->out, 1 << 20);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ls_encoder_free(f->encoder);
	ls_decoder_free(f->decoder);
	ls_schemas_free(f->schemas);
	ls_arena_free(f->arena);
	ls_buf_release(&f->out);
	free(f);
	return 0;
}

static const struct ls_column COLUMN[] = {
	{ LS_STR("id"), { .kind = LS_INT64, .native = LS_STR("bigint") }, true },
	{ LS_STR("Full Name"), { .kind = LS_STRING, .native = LS_STR("text") }, false },
	{ LS_STR("Full_Name"), { .kind = LS_STRING, .native = LS_STR("text") }, false },
	{ LS_STR("2nd"), { .kind = LS_BOOL, .native = LS_STR("boolean") }, false },
	{ LS_STR("photo"), { .kind = LS_BYTES, .native = LS_STR("bytea") }, false },
};
static const struct ls_schema SCHEMA = { LS_STR("odd entity"), COLUMN, 5 };

static struct ls_value present(const char *text)
{
	return (struct ls_value){ LS_PRESENT, ls_str_of(text) };
}

static const struct ls_value NONE = { .presence = LS_NULL }, ABSENT = { .presence = LS_ABSENT };

static struct ls_event base(enum ls_change change)
{
	return (struct ls_event){
		.event_id = LS_STR("crm:0/16B3748:1"),
		.source = LS_STR("crm"),
		.entity = LS_STR("odd entity"),
		.entity_id = LS_STR("42"),
		.change = change,
		.timestamp_us = 1700000000000000,
		.version = 1700000000000001,
		.base_version = LS_NONE,
		.base_offset = 17,
	};
}

static void equal(struct ls_str have, const char *want)
{
	assert_int_equal(have.len, strlen(want));
	assert_string_equal(have.ptr, want); /* terminated */
}

static struct ls_event round_trip(struct fixture *f, const struct ls_event *event)
{
	struct ls_event back = { .event_id = LS_STR("") };

	ls_buf_clear(&f->out);
	if (ls_encode(f->encoder, event, &f->out, &f->err) ||
	    ls_decode(f->decoder, ls_buf_str(&f->out), 99, f->arena, &back, &f->err))
		fail_msg("%s", f->err.text);
	return back;
}

static void an_update_comes_back_with_names_keys_absent_columns_and_metadata(void **state)
{
	struct fixture *f = *state;
	struct ls_value before[] = { present("42"), NONE, NONE, NONE, NONE };
	struct ls_value after[] = { present("42"), present("Zoë"), NONE, present("t"), ABSENT };
	struct ls_pair metadata[] = { { LS_STR("lsn"), LS_STR("0/16B3748") }, { LS_STR("empty"), LS_STR("") } };
	struct ls_event event = base(LS_UPDATE), back;

	event.before = (struct ls_row){ &SCHEMA, before };
	event.after = (struct ls_row){ &SCHEMA, after };
	event.metadata = metadata;
	event.metadata_count = 2;
	back = round_trip(f, &event);

	equal(back.event_id, "crm:0/16B3748:1");
	equal(back.entity, "odd entity");
	equal(back.entity_id, "42");
	assert_int_equal(back.change, LS_UPDATE);
	assert_true(back.version == event.version && back.timestamp_us == event.timestamp_us);
	assert_true(back.base_version == LS_NONE && back.base_offset == 17);
	assert_int_equal(back.after.schema->count, 5);
	equal(back.after.schema->entity, "odd entity");
	for (size_t i = 0; i < 5; i++) {
		assert_true(ls_str_equal(back.after.schema->column[i].name, COLUMN[i].name));
		assert_true(ls_str_equal(back.after.schema->column[i].type.native, COLUMN[i].type.native));
		assert_int_equal(back.after.schema->column[i].key, COLUMN[i].key);
	}
	equal(back.after.value[1].text, "Zoë");
	assert_int_equal(back.after.value[2].presence, LS_NULL);
	equal(back.after.value[3].text, "t");
	assert_int_equal(back.after.value[4].presence, LS_ABSENT);
	assert_int_equal(back.before.value[4].presence, LS_NULL);
	assert_int_equal(back.metadata_count, 2);
	equal(back.metadata[0].name, "lsn");
	equal(back.metadata[0].value, "0/16B3748");
}

static void a_delete_carries_its_key_and_says_that_the_rest_is_absent(void **state)
{
	struct fixture *f = *state;
	struct ls_value before[] = { present("42"), ABSENT, ABSENT, ABSENT, ABSENT };
	struct ls_event event = base(LS_DELETE), back;

	event.before = (struct ls_row){ &SCHEMA, before };
	back = round_trip(f, &event);

	assert_null(back.after.schema);
	equal(back.before.value[0].text, "42");
	assert_int_equal(back.before.value[1].presence, LS_ABSENT);
}

static void a_form_filled_with_much_leaves_nothing_in_the_next_event(void **state)
{
	struct fixture *f = *state;
	struct ls_value full[] = { present("1"), present("a"), present("b"), present("f"), present("\\x00ff") };
	struct ls_value bare[] = { present("2"), NONE, NONE, NONE, NONE };
	struct ls_pair metadata[] = { { LS_STR("k"), LS_STR("v") } };
	struct ls_event event = base(LS_INSERT), back;

	event.after = event.before = (struct ls_row){ &SCHEMA, full };
	event.metadata = metadata;
	event.metadata_count = 1;
	round_trip(f, &event);
	event = base(LS_SNAPSHOT);
	event.version = LS_NONE;
	event.after = (struct ls_row){ &SCHEMA, bare };
	back = round_trip(f, &event);

	assert_int_equal(back.version, 99); /* Kafka's timestamp stands for it */
	assert_null(back.before.schema);
	assert_int_equal(back.metadata_count, 0);
	for (size_t i = 1; i < 5; i++)
		assert_int_equal(back.after.value[i].presence, LS_NULL);
	assert_int_equal(f->store->publishes, 1);
}

static void events_before_and_after_a_change_of_type_are_each_read_by_their_own_schema(void **state)
{
	static const struct {
		struct ls_type type;
		const char *text;
	} CASE[] = {
		{ { .kind = LS_DECIMAL, .precision = 10, .scale = 2 }, "12.34" },
		{ { .kind = LS_DECIMAL, .precision = 12, .scale = 4 }, "12.3401" },
		{ { .kind = LS_TIMESTAMP }, "2026-11-21 09:14:03" },
		{ { .kind = LS_TIMESTAMPTZ }, "2026-11-21 09:14:03+00" },
		{ { .kind = LS_INT32 }, "7" },
		{ { .kind = LS_DATE }, "2026-11-21" },
		{ { .kind = LS_STRING }, "x7" },
	};
	enum { CASES = sizeof(CASE) / sizeof(*CASE) };
	struct fixture *f = *state;
	struct ls_column column[CASES];
	struct ls_schema schema[CASES];

	for (size_t i = 0; i < CASES; i++) {
		column[i] = (struct ls_column){ LS_STR("v"), CASE[i].type, false };
		schema[i] = (struct ls_schema){ LS_STR("odd entity"), &column[i], 1 };
	}
	for (size_t i = 0; i < 3 * CASES; i++) {
		size_t at = i * 3 % CASES; /* mixed as they come in a topic with several writers */
		struct ls_value value = present(CASE[at].text);
		struct ls_event event = base(LS_UPDATE), back;

		event.after = (struct ls_row){ &schema[at], &value };
		back = round_trip(f, &event);
		assert_int_equal(back.after.schema->column[0].type.kind, CASE[at].type.kind);
		assert_int_equal(back.after.schema->column[0].type.scale, CASE[at].type.scale);
		equal(back.after.value[0].text, CASE[at].text);
	}
}

static void with_a_registry_the_frame_is_a_zero_and_the_id(void **state)
{
	struct fixture *f = *state;
	struct ls_value row[] = { present("1"), NONE, NONE, NONE, NONE };
	struct avro_store *registry = avro_store_new();
	struct ls_schemas *schemas = ls_schemas_new(&avro_store_new()->ops, &registry->ops, "t");
	struct ls_encoder *encoder = ls_encoder_new(schemas);
	struct ls_decoder *decoder = ls_decoder_new(schemas);
	struct ls_event event = base(LS_INSERT), back;

	registry->registry = true;
	event.after = (struct ls_row){ &SCHEMA, row };
	assert_int_equal(ls_encode(encoder, &event, &f->out, &f->err), LS_OK);
	assert_memory_equal(f->out.ptr, "\0\0\0\0\7", 5);
	assert_int_equal(ls_decode(decoder, ls_buf_str(&f->out), 0, f->arena, &back, &f->err), LS_OK);
	equal(back.after.value[0].text, "1");
	ls_encoder_free(encoder);
	ls_decoder_free(decoder);
	ls_schemas_free(schemas);
}

static void an_event_over_the_ceiling_is_poison_and_leaves_the_buffer_as_it_was(void **state)
{
	struct fixture *f = *state;
	static char large[5000];
	struct ls_value row[] = { present("1"), present(large), NONE, NONE, NONE };
	struct ls_event event = base(LS_INSERT);
	struct ls_buf small;

	memset(large, 'x', sizeof(large) - 1);
	row[1] = present(large);
	event.after = (struct ls_row){ &SCHEMA, row };
	ls_buf_init(&small, 4096);
	assert_int_equal(ls_encode(f->encoder, &event, &small, &f->err), LS_POISON);
	assert_int_equal(small.len, 0);
	assert_non_null(strstr(f->err.text, "42"));
	ls_buf_release(&small);
}

/* load reads a fixture file; the caller frees. */
static struct ls_str load(const char *name)
{
	char path[512];
	FILE *file;
	char *bytes = calloc(1, 1 << 16);
	size_t len;

	snprintf(path, sizeof(path), LS_FIXTURES "/avro/%s", name);
	file = fopen(path, "re");
	if (!file)
		fail_msg("%s", path);
	len = fread(bytes, 1, 1 << 16, file);
	fclose(file);
	return (struct ls_str){ bytes, len };
}

static struct ls_str stranger(struct fixture *f)
{
	struct ls_str schema = load("stranger.avsc"), bytes = load("stranger.bin");
	uint64_t print = 0;

	assert_int_equal(ls_avro_fingerprint(schema, &print, &f->err), LS_OK);
	avro_store_put(f->store, false, print, schema);
	free((char *)schema.ptr);
	return bytes;
}

static void a_strangers_schema_with_fields_and_types_of_its_own_is_read(void **state)
{
	static const struct {
		const char *name;
		enum ls_kind kind;
		const char *text;
	} WANT[] = {
		{ "id", LS_INT64, "42" },
		{ "name", LS_STRING, "Zoë \"Z\"" },
		{ "tier", LS_STRING, "PAID" },
		{ "mac", LS_BYTES, "\\x000102fdfeff" },
		{ "balance", LS_DECIMAL, "-12.50" },
		{ "born", LS_DATE, "1969-12-31" },
		{ "seen", LS_TIMESTAMPTZ, "1970-01-01 00:00:00.001+00" },
		{ "mixed", LS_STRING, "7" },
		{ "address", LS_JSON, "{\"city\":\"Köln\",\"zip\":null}" },
		{ "scores", LS_ARRAY, "{1.5,1e+20}" },
		{ "props", LS_JSON, "{\"vip\":true,\"note\":\"a\\\"b\"}" },
	};
	struct fixture *f = *state;
	struct ls_str bytes = stranger(f);
	struct ls_event back;

	if (ls_decode(f->decoder, bytes, 1234, f->arena, &back, &f->err))
		fail_msg("%s", f->err.text);
	equal(back.event_id, "x-1");
	equal(back.entity_id, "42");
	assert_int_equal(back.change, LS_INSERT);
	assert_true(back.timestamp_us == 1700000000123000);
	assert_true(back.version == 1234);
	assert_int_equal(back.after.schema->count, sizeof(WANT) / sizeof(*WANT));
	assert_true(back.after.schema->column[0].key);
	for (size_t i = 0; i < back.after.schema->count; i++) {
		equal(back.after.schema->column[i].name, WANT[i].name);
		assert_int_equal(back.after.schema->column[i].type.kind, WANT[i].kind);
		equal(back.after.value[i].text, WANT[i].text);
	}
	equal(back.metadata[0].value, "t1");
	free((char *)bytes.ptr);
}

static void every_cut_of_a_message_is_poison(void **state)
{
	struct fixture *f = *state;
	struct ls_str bytes = stranger(f);
	struct ls_event back;

	for (size_t len = 0; len < bytes.len; len++) {
		char *exact = malloc(len + 1); /* a read past the end is seen by the sanitizer */

		memcpy(exact, bytes.ptr, len);
		exact = realloc(exact, len ? len : 1);
		assert_int_equal(ls_decode(f->decoder, (struct ls_str){ exact, len }, 0, f->arena, &back, &f->err),
				 LS_POISON);
		free(exact);
	}
	free((char *)bytes.ptr);
}

static void every_flipped_byte_is_an_event_or_poison(void **state)
{
	struct fixture *f = *state;
	struct ls_str bytes = stranger(f);
	char *damaged = malloc(bytes.len);
	struct ls_event back;

	for (size_t i = 0; i < bytes.len; i++)
		for (int bit = 0; bit < 8; bit++) {
			enum ls_class class;

			memcpy(damaged, bytes.ptr, bytes.len);
			damaged[i] = (char)(damaged[i] ^ 1 << bit);
			class = ls_decode(f->decoder, (struct ls_str){ damaged, bytes.len }, 0, f->arena, &back,
					  &f->err);
			assert_true(class == LS_OK || class == LS_POISON);
			ls_arena_reset(f->arena);
		}
	free(damaged);
	free((char *)bytes.ptr);
}

static void what_is_left_over_is_poison(void **state)
{
	struct fixture *f = *state;
	struct ls_str bytes = stranger(f);
	struct ls_event back;

	bytes.len++; /* load cleared the byte behind */
	assert_int_equal(ls_decode(f->decoder, bytes, 0, f->arena, &back, &f->err), LS_POISON);
	assert_non_null(strstr(f->err.text, "left over"));
	free((char *)bytes.ptr);
}

static void what_has_no_frame_is_poison_and_its_first_bytes_are_shown(void **state)
{
	struct fixture *f = *state;
	struct ls_event back;

	assert_int_equal(ls_decode(f->decoder, LS_STR("{\"id\":1}"), 0, f->arena, &back, &f->err), LS_POISON);
	assert_non_null(strstr(f->err.text, "7b 22 69 64"));
	assert_int_equal(ls_decode(f->decoder, LS_STR(""), 0, f->arena, &back, &f->err), LS_POISON);
	assert_non_null(strstr(f->err.text, "0 bytes"));
	assert_int_equal(ls_decode(f->decoder,
				   LS_STR("\xc3\x01"
					  "12345678x"),
				   0, f->arena, &back, &f->err),
			 LS_POISON);
}

#define STRING(name) "{\"name\":\"" name "\",\"type\":\"string\"}"
#define EVENT(more)                                                                                                    \
	"{\"type\":\"record\",\"name\":\"E\",\"fields\":[" STRING("event_id") "," STRING("source") "," STRING(         \
		"entity_type") "," STRING("entity_id") "," STRING("change_type") ",{\"name\":\"timestamp\","           \
										 "\"type\":\"long\"}" more "]}"
#define AFTER(type)                                                                                                    \
	",{\"name\":\"after\",\"type\":{\"type\":\"record\",\"name\":\"Row\",\"fields\":["                             \
	"{\"name\":\"v\",\"type\":" type "}]}}"
#define HEAD "\2e\2s\2t\0021\014INSERT\0"

/* poison frames a datum under a schema and expects a dead letter whose reason has `word`. */
static void poison(struct fixture *f, const char *schema, struct ls_str datum, const char *word)
{
	char bytes[512] = { 0 };
	struct ls_event back;
	uint64_t id = 100 + f->store->count;

	avro_store_put(f->store, true, id, ls_str_of(schema));
	bytes[4] = (char)id;
	memcpy(bytes + 5, datum.ptr, datum.len);
	if (ls_decode(f->decoder, (struct ls_str){ bytes, 5 + datum.len }, 0, f->arena, &back, &f->err) != LS_POISON)
		fail_msg("accepted: %s", schema);
	if (!strstr(f->err.text, word))
		fail_msg("%s does not say %s", f->err.text, word);
}

static void each_kind_of_damage_is_named(void **state)
{
	struct fixture *f = *state;
	struct avro_store *registry = avro_store_new();

	ls_schemas_free(f->schemas);
	ls_decoder_free(f->decoder);
	f->store = registry;
	f->schemas = ls_schemas_new(&avro_store_new()->ops, &registry->ops, "t");
	f->decoder = ls_decoder_new(f->schemas);

	poison(f, "\"int\"", LS_STR("\2"), "not a record");
	poison(f, "{\"type\":\"record\",\"name\":\"E\",\"fields\":[]}", LS_STR(""), "event_id");
	poison(f, EVENT(",{\"name\":\"after\",\"type\":\"int\"}"), LS_STR(HEAD "\0"), "after");
	poison(f, EVENT(""), LS_STR(HEAD), "after");
	poison(f, EVENT(AFTER("\"string\"")), LS_STR("\0\2s\2t\0021\014INSERT\0\2x"), "event_id");
	poison(f, EVENT(AFTER("\"string\"")), LS_STR("\2e\2s\2t\0021\014UPSERT\0\2x"), "change_type");
	poison(f, EVENT(AFTER("\"string\"")), LS_STR(HEAD "\2\xff"), "UTF-8");
	poison(f, EVENT(AFTER("\"string\"")), LS_STR(HEAD "\4a\0"), "NUL");
	poison(f, EVENT(AFTER("\"string\"")), LS_STR(HEAD "\xfe\xff\xff\xff\x0f"), "longer");
	poison(f, EVENT(AFTER("\"string\"")), LS_STR(HEAD "\1"), "longer");
	poison(f, EVENT(AFTER("\"int\"")), LS_STR(HEAD "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"), "\"v\"");
	poison(f, EVENT(AFTER("\"int\"")), LS_STR(HEAD "\xfe\xff\xff\xff\x7f"), "\"v\"");
	poison(f, EVENT(AFTER("[\"null\",\"int\"]")), LS_STR(HEAD "\4\2"), "branch");
	poison(f, EVENT(AFTER("\"boolean\"")), LS_STR(HEAD "\2"), "boolean");
	poison(f, EVENT(AFTER("{\"type\":\"enum\",\"name\":\"X\",\"symbols\":[\"A\"]}")), LS_STR(HEAD "\2"), "enum");
	poison(f, EVENT(AFTER("{\"type\":\"array\",\"items\":\"null\"}")),
	       LS_STR(HEAD "\xfe\xff\xff\xff\xff\xff\xff\xff\x7f\0"), "items");
	poison(f, EVENT(AFTER("{\"type\":\"array\",\"items\":\"int\"}")), LS_STR(HEAD "\xfe\xff\x3\2"), "items");
	poison(f, EVENT(AFTER("{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":4,\"scale\":2}")),
	       LS_STR(HEAD "\0"), "decimal");
	poison(f, EVENT(AFTER("{\"type\":\"long\",\"logicalType\":\"time-micros\"}")), LS_STR(HEAD "\1"), "time");
	poison(f, EVENT(AFTER("\"double\"")), LS_STR(HEAD "\1\1"), "early");
	poison(f,
	       EVENT(AFTER(
		       "{\"type\":\"record\",\"name\":\"L\",\"fields\":[{\"name\":\"n\",\"type\":[\"null\",\"L\"]}]}")),
	       LS_STR(HEAD "\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2"
			   "\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\0"),
	       "deep");
	poison(f, "{\"type\":\"rec", LS_STR(HEAD), "JSON");
}

static void the_json_of_an_event_has_numbers_as_numbers_and_lists_what_is_absent(void **state)
{
	struct fixture *f = *state;
	struct ls_value after[] = { present("42"), present("a \"b\"\n"), NONE, present("t"), ABSENT };
	struct ls_event event = base(LS_INSERT);

	event.after = (struct ls_row){ &SCHEMA, after };
	ls_event_json(&event, &f->out);
	assert_string_equal(f->out.ptr,
			    "{\"event_id\":\"crm:0/16B3748:1\",\"source\":\"crm\",\"entity_type\":\"odd entity\","
			    "\"entity_id\":\"42\",\"change_type\":\"INSERT\",\"timestamp\":1700000000000000,"
			    "\"version\":1700000000000001,\"base_version\":null,\"base_offset\":17,\"before\":null,"
			    "\"after\":{\"id\":42,\"Full Name\":\"a \\\"b\\\"\\n\",\"Full_Name\":null,\"2nd\":true},"
			    "\"absent\":[\"photo\"],\"metadata\":{}}");
}

static void a_version_state_written_by_fastavro_is_read_and_written_the_same(void **state)
{
	struct fixture *f = *state;
	struct ls_state_codec *codec = ls_state_codec_new();
	struct ls_str bytes = load("state.bin");
	struct ls_state back;

	assert_int_equal(ls_state_decode(codec, bytes, f->arena, &back, &f->err), LS_OK);
	assert_true(back.exists && !back.deleted);
	assert_true(back.stamp.version == 1700000000000007 && back.stamp.timestamp_us == 1700000000000000);
	equal(back.stamp.source, "crm");
	equal(back.event_id, "crm:0/16B3748:1");
	assert_int_equal(back.seen_count, 2);
	equal(back.seen[1].source, "app");
	assert_int_equal(back.seen[1].version, 5);
	assert_int_equal(back.offset, 99);
	assert_int_equal(back.owner_epoch, 3);

	for (int i = 0; i < 2; i++) { /* the second time with a value that was used */
		ls_buf_clear(&f->out);
		ls_state_encode(codec, &back, &f->out);
		assert_int_equal(f->out.len, bytes.len);
		assert_memory_equal(f->out.ptr, bytes.ptr, bytes.len);
	}
	for (size_t len = 0; len < bytes.len; len++)
		assert_int_equal(ls_state_decode(codec, (struct ls_str){ bytes.ptr, len }, f->arena, &back, &f->err),
				 LS_POISON);
	bytes.len++;
	assert_int_equal(ls_state_decode(codec, bytes, f->arena, &back, &f->err), LS_POISON);
	ls_state_codec_free(codec);
	free((char *)bytes.ptr);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_update_comes_back_with_names_keys_absent_columns_and_metadata),
		TEST(a_delete_carries_its_key_and_says_that_the_rest_is_absent),
		TEST(a_form_filled_with_much_leaves_nothing_in_the_next_event),
		TEST(events_before_and_after_a_change_of_type_are_each_read_by_their_own_schema),
		TEST(with_a_registry_the_frame_is_a_zero_and_the_id),
		TEST(an_event_over_the_ceiling_is_poison_and_leaves_the_buffer_as_it_was),
		TEST(a_strangers_schema_with_fields_and_types_of_its_own_is_read),
		TEST(every_cut_of_a_message_is_poison),
		TEST(every_flipped_byte_is_an_event_or_poison),
		TEST(what_is_left_over_is_poison),
		TEST(what_has_no_frame_is_poison_and_its_first_bytes_are_shown),
		TEST(each_kind_of_damage_is_named),
		TEST(the_json_of_an_event_has_numbers_as_numbers_and_lists_what_is_absent),
		TEST(a_version_state_written_by_fastavro_is_read_and_written_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
