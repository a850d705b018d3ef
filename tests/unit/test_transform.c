/* Filters and masks of a source. Digests: FIPS 180-2 appendix B and NIST's SHA-256 examples. */
#include "sha256.h"
#include "transform.h"

#include "core/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { ID, NAME, AGE, TENANT, COLUMNS };

static const struct ls_column columns[COLUMNS] = {
	[ID] = { LS_STR("id"), { .kind = LS_INT64, .native = LS_STR("bigint") }, true },
	[NAME] = { LS_STR("name"), { .kind = LS_STRING, .native = LS_STR("character varying(2)") }, false },
	[AGE] = { LS_STR("age"), { .kind = LS_INT32, .native = LS_STR("integer") }, false },
	[TENANT] = { LS_STR("tenant"), { .kind = LS_STRING, .native = LS_STR("text") }, false },
};
static const struct ls_schema contact = { LS_STR("contact"), columns, COLUMNS };
static const struct ls_str key[] = { LS_STR("id") };

struct row {
	struct ls_value value[COLUMNS];
};

static struct row row_of(const char *id, const char *name, const char *age, const char *tenant)
{
	const char *text[COLUMNS] = { id, name, age, tenant };
	struct row row = { 0 };

	for (size_t i = 0; i < COLUMNS; i++)
		if (text[i])
			row.value[i] = (struct ls_value){ LS_PRESENT, ls_str_of(text[i]) };
	return row;
}

struct world {
	struct ls_arena *arena;
	struct ls_transform *transform;
	struct ls_mapping mapping;
};

static int setup(void **state)
{
	struct world *world = test_calloc(1, sizeof(*world));

	world->arena = ls_arena_new(0);
	world->mapping =
		(struct ls_mapping){ .entity = "contact", .place = "public.contacts", .key = key, .key_count = 1 };
	world->transform = ls_transform_new(&world->mapping, 1);
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;

	ls_transform_free(world->transform);
	ls_arena_free(world->arena);
	test_free(world);
	return 0;
}

static bool apply(struct world *world, enum ls_change change, struct row *before, struct row *after,
		  struct ls_event *ret)
{
	struct ls_error err;
	bool keep;

	*ret = (struct ls_event){ .event_id = LS_STR("e"),
				  .entity = LS_STR("contact"),
				  .entity_id = LS_STR("7"),
				  .change = change,
				  .version = LS_NONE };
	if (before)
		ret->before = (struct ls_row){ &contact, before->value };
	if (after)
		ret->after = (struct ls_row){ &contact, after->value };
	assert_int_equal(ls_transform_apply(world->transform, &world->mapping, ret, world->arena, &keep, &err), LS_OK);
	return keep;
}

static void is_text(const struct ls_value *value, const char *text)
{
	assert_int_equal(value->presence, LS_PRESENT);
	assert_int_equal(value->text.len, strlen(text));
	assert_memory_equal(value->text.ptr, text, value->text.len);
}

static void digests_are_those_of_the_standard(void **state)
{
	static const struct {
		const char *text, *hex;
	} vector[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
		{ "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnop"
		  "qrst"
		  "nopqrstu",
		  "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
	};
	char hex[LS_SHA256_HEX + 1], *million = test_malloc(1000000);

	(void)state;
	for (size_t i = 0; i < sizeof(vector) / sizeof(vector[0]); i++) {
		ls_sha256_hex(ls_str_of(vector[i].text), hex);
		assert_string_equal(hex, vector[i].hex);
	}
	memset(million, 'a', 1000000);
	ls_sha256_hex((struct ls_str){ million, 1000000 }, hex);
	assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	test_free(million);
}

static void without_filter_and_mask_nothing_is_touched(void **state)
{
	struct row after = row_of("7", "Al", "40", "a");
	struct ls_event event;

	assert_true(apply(*state, LS_UPDATE, NULL, &after, &event));
	assert_ptr_equal(event.after.schema, &contact);
	is_text(&event.after.value[NAME], "Al");
}

static void a_row_outside_the_filter_does_not_travel(void **state)
{
	static const struct ls_pair filter[] = { { LS_STR("tenant"), LS_STR("a") } };
	struct row in = row_of("7", "Al", "40", "a"), out = row_of("7", "Al", "40", "b");
	struct row null = row_of("7", "Al", "40", NULL);
	struct world *world = *state;
	struct ls_event event;

	null.value[TENANT].presence = LS_NULL;
	world->mapping.filter = filter;
	world->mapping.filter_count = 1;
	assert_true(apply(world, LS_INSERT, NULL, &in, &event));
	assert_false(apply(world, LS_INSERT, NULL, &out, &event));
	assert_false(apply(world, LS_SNAPSHOT, NULL, &null, &event));
	assert_true(apply(world, LS_UPDATE, &out, &in, &event));
	assert_int_equal(event.change, LS_UPDATE);
	assert_false(apply(world, LS_UPDATE, &out, &out, &event));
}

static void an_update_that_leaves_the_filter_becomes_a_delete(void **state)
{
	static const struct ls_pair filter[] = { { LS_STR("tenant"), LS_STR("a") } };
	struct row in = row_of("7", "Al", "40", "a"), out = row_of("7", "Al", "40", "b");
	struct world *world = *state;
	struct ls_event event;

	world->mapping.filter = filter;
	world->mapping.filter_count = 1;
	assert_true(apply(world, LS_UPDATE, &in, &out, &event));
	assert_int_equal(event.change, LS_DELETE);
	assert_null(event.after.schema);
	is_text(&event.before.value[TENANT], "a");

	/* Without the row before, only the key may be told. */
	assert_true(apply(world, LS_UPDATE, NULL, &out, &event));
	assert_int_equal(event.change, LS_DELETE);
	is_text(&event.before.value[ID], "7");
	assert_int_equal(event.before.value[TENANT].presence, LS_ABSENT);
	assert_int_equal(event.before.value[NAME].presence, LS_ABSENT);
}

static void a_delete_travels_unless_its_row_is_known_to_be_outside(void **state)
{
	static const struct ls_pair filter[] = { { LS_STR("tenant"), LS_STR("a") } };
	struct row in = row_of("7", "Al", "40", "a"), out = row_of("7", "Al", "40", "b"), bare = row_of("7", 0, 0, 0);
	struct world *world = *state;
	struct ls_event event;

	world->mapping.filter = filter;
	world->mapping.filter_count = 1;
	assert_true(apply(world, LS_DELETE, &in, NULL, &event));
	assert_true(apply(world, LS_DELETE, &bare, NULL, &event));
	assert_false(apply(world, LS_DELETE, &out, NULL, &event));
}

static void an_unchanged_filter_column_is_looked_up_in_the_row_before(void **state)
{
	static const struct ls_pair filter[] = { { LS_STR("tenant"), LS_STR("a") } };
	struct row out = row_of("7", "Al", "40", "b"), unsent = row_of("7", "Bo", "40", NULL);
	struct world *world = *state;
	struct ls_event event;

	world->mapping.filter = filter;
	world->mapping.filter_count = 1;
	assert_false(apply(world, LS_UPDATE, &out, &unsent, &event));
}

static void redact_writes_stars_into_strings_and_null_into_the_rest(void **state)
{
	static const struct ls_pair mask[] = { { LS_STR("name"), LS_STR("redact") },
					       { LS_STR("age"), LS_STR("redact") } };
	struct row before = row_of("7", "Al", "39", "a"), after = row_of("7", "Al", "40", "a");
	struct world *world = *state;
	struct ls_event event;

	world->mapping.mask = mask;
	world->mapping.mask_count = 2;
	assert_true(apply(world, LS_UPDATE, &before, &after, &event));
	is_text(&event.after.value[NAME], "***");
	is_text(&event.before.value[NAME], "***");
	assert_int_equal(event.after.value[AGE].presence, LS_NULL);
	assert_int_equal(event.before.value[AGE].presence, LS_NULL);
	is_text(&event.after.value[TENANT], "a");
	/* three stars do not fit varchar(2) */
	assert_true(ls_str_equal(event.after.schema->column[NAME].type.native, LS_STR("text")));
	assert_ptr_equal(event.after.schema, event.before.schema);
}

static void hash_writes_the_digest_and_makes_the_column_a_string(void **state)
{
	static const struct ls_pair mask[] = { { LS_STR("age"), LS_STR("hash") }, { LS_STR("name"), LS_STR("hash") } };
	struct row after = row_of("7", "abc", "40", "a"), again = row_of("8", "abc", "41", "a");
	struct world *world = *state;
	const struct ls_schema *schema;
	struct ls_event event;

	after.value[TENANT].presence = LS_NULL;
	world->mapping.mask = mask;
	world->mapping.mask_count = 2;
	assert_true(apply(world, LS_INSERT, NULL, &after, &event));
	is_text(&event.after.value[NAME], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	/* printf 40 | sha256sum */
	is_text(&event.after.value[AGE], "d59eced1ded07f84c145592f65bdf854358e009c5cd705f5215bf18697fed103");
	assert_int_equal(event.after.schema->column[AGE].type.kind, LS_STRING);
	schema = event.after.schema;
	assert_true(apply(world, LS_INSERT, NULL, &again, &event));
	assert_ptr_equal(event.after.schema, schema);
}

static void a_hashed_key_changes_the_entity_id_with_it(void **state)
{
	static const struct ls_pair mask[] = { { LS_STR("id"), LS_STR("hash") } };
	/* printf 7 | sha256sum */
	static const char digest[] = "7902699be42c8a8e46fbbb4501726517e86b22c56a189f7625a6da49081b2451";
	struct row after = row_of("7", "Al", "40", "a");
	struct world *world = *state;
	struct ls_event event;

	world->mapping.mask = mask;
	world->mapping.mask_count = 1;
	assert_true(apply(world, LS_INSERT, NULL, &after, &event));
	is_text(&event.after.value[ID], digest);
	assert_true(ls_str_equal(event.entity_id, LS_STR(digest)));
}

static void a_redacted_key_and_an_unknown_mask_are_refused(void **state)
{
	static const struct ls_pair redact[] = { { LS_STR("id"), LS_STR("redact") } };
	static const struct ls_pair typo[] = { { LS_STR("name"), LS_STR("hide") } };
	struct world *world = *state;
	struct ls_error err;

	world->mapping.mask_count = 1;
	world->mapping.mask = redact;
	assert_int_equal(ls_transform_check(&world->mapping, &err), LS_FATAL);
	assert_non_null(strstr(err.text, "id"));
	world->mapping.mask = typo;
	assert_int_equal(ls_transform_check(&world->mapping, &err), LS_FATAL);
	assert_non_null(strstr(err.text, "hide"));
}

static void a_field_that_the_only_entity_lacks_stops_the_source(void **state)
{
	static const struct ls_pair typo[] = { { LS_STR("nmae"), LS_STR("hash") } };
	struct row after = row_of("7", "Al", "40", "a");
	struct ls_event event = { .change = LS_INSERT, .after = { &contact, after.value } };
	struct world *world = *state;
	struct ls_error err;
	bool keep;

	world->mapping.mask = typo;
	world->mapping.mask_count = 1;
	assert_int_equal(ls_transform_apply(world->transform, &world->mapping, &event, world->arena, &keep, &err),
			 LS_FATAL);
	assert_non_null(strstr(err.text, "nmae"));
}

static void a_version_column_gives_the_version_or_poison(void **state)
{
	struct row good = row_of("7", "Al", "42", "a"), bad = row_of("7", "Al", "4x", "a");
	struct ls_event event = { .version = LS_NONE, .after = { &contact, good.value } };
	struct world *world = *state;
	struct ls_error err;

	world->mapping.version = "column:age";
	assert_int_equal(ls_transform_version(&world->mapping, &event, &err), LS_OK);
	assert_int_equal(event.version, 42);
	event.after.value = bad.value;
	assert_int_equal(ls_transform_version(&world->mapping, &event, &err), LS_POISON);
	assert_int_equal(event.version, LS_NONE);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digests_are_those_of_the_standard),
		WITH_WORLD(without_filter_and_mask_nothing_is_touched),
		WITH_WORLD(a_row_outside_the_filter_does_not_travel),
		WITH_WORLD(an_update_that_leaves_the_filter_becomes_a_delete),
		WITH_WORLD(a_delete_travels_unless_its_row_is_known_to_be_outside),
		WITH_WORLD(an_unchanged_filter_column_is_looked_up_in_the_row_before),
		WITH_WORLD(redact_writes_stars_into_strings_and_null_into_the_rest),
		WITH_WORLD(hash_writes_the_digest_and_makes_the_column_a_string),
		WITH_WORLD(a_hashed_key_changes_the_entity_id_with_it),
		WITH_WORLD(a_redacted_key_and_an_unknown_mask_are_refused),
		WITH_WORLD(a_field_that_the_only_entity_lacks_stops_the_source),
		WITH_WORLD(a_version_column_gives_the_version_or_poison),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
