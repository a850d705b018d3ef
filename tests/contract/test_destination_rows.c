/* What a destination writes: rows and types as they came, in tables that are not as expected, too. */
#include "destination_world.h"

/* ---- rows ---- */

static void rows_are_inserted_updated_and_deleted(void **state)
{
	struct bench *b = *state;

	contacts(b);
	PUT(b, "1", "a", "10");
	PUT(b, "2", "b", NULL);
	apply_well(b);
	assert_int_equal(b->outcome.rows, 2);
	PUT(b, "1", "A", "11");
	REMOVE(b, "2", ABSENT, ABSENT);
	PUT(b, "3", "c", "30");
	apply_well(b);

	assert_int_equal(b->outcome.rows, 3);
	assert_string_equal(says(b, "SELECT string_agg(c::text, ' ' ORDER BY id) FROM contacts c"),
			    "(1,A,11) (3,c,30)");
}

/* apply_careful applies what was put, row by row. */
static void apply_careful(struct bench *b)
{
	struct ls_slice slice = slice_of(b);

	slice.careful = true;
	if (apply_only(b, &slice))
		fail_msg("apply: %s: %s", b->err.code, b->err.text);
	if (!b->outcome.refused_count)
		b->mark.next_offset = slice.next_offset;
	b->writes = 0;
}

static void rows_written_one_by_one_are_counted_as_others_are(void **state)
{
	struct bench *b = *state;

	contacts(b);
	must(b->conn, "ALTER TABLE contacts ADD UNIQUE (name)");
	PUT(b, "1", "a", "10");
	PUT(b, "2", "b", NULL);
	apply_careful(b);
	assert_int_equal(b->outcome.rows, 2);
	PUT(b, "1", "b", "10"); /* waits for the next one in the same slice, and gives up its name for it */
	PUT(b, "2", "a", NULL);
	REMOVE(b, "3", ABSENT, ABSENT);
	PUT(b, "4", "d", "40");
	apply_careful(b);
	assert_int_equal(b->outcome.refused_count, 0);
	assert_int_equal(b->outcome.rows, 3);
	PUT(b, "1", "b", "10");
	REMOVE(b, "4", ABSENT, ABSENT);
	apply_careful(b);
	assert_int_equal(b->outcome.rows, 1);
	PUT(b, "5", "e", NULL);
	PUT(b, "6", "a", NULL);
	apply_careful(b);

	assert_int_equal(b->outcome.refused_count, 1);
	assert_int_equal(b->outcome.rows, 0);
	assert_string_equal(says(b, "SELECT string_agg(c::text, ' ' ORDER BY id) FROM contacts c"), "(1,b,10) (2,a,)");
}

static void triggers_stay_as_the_session_has_them(void **state)
{
	struct bench *b = *state;

	set_option(b, "url", ls_arena_printf(b->arena, "%s options='-c session_replication_role=replica'", b->url).ptr,
		   0);
	contacts(b);
	must(b->conn,
	     "CREATE TABLE seen (op text); CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
	     "INSERT INTO seen VALUES (TG_OP); RETURN NULL; END $$; CREATE TRIGGER see AFTER INSERT OR UPDATE OR "
	     "DELETE ON contacts FOR EACH ROW EXECUTE FUNCTION see(); ALTER TABLE contacts ADD UNIQUE (name); "
	     "INSERT INTO contacts VALUES (1, 'a', 1), (2, 'b', 2); TRUNCATE seen");
	PUT(b, "1", "b", "1");
	PUT(b, "2", "a", "2");
	apply_careful(b);

	assert_int_equal(b->outcome.refused_count, 0);
	assert_string_equal(says(b, "SELECT string_agg(name, ' ' ORDER BY id) FROM contacts"), "b a");
	assert_string_equal(says(b, "SELECT count(*) FROM seen"), "0");
}

static void deleting_what_is_gone_is_no_error(void **state)
{
	struct bench *b = *state;

	contacts(b);
	REMOVE(b, "2", ABSENT, ABSENT);

	apply_well(b);

	assert_int_equal(b->outcome.rows, 0);
}

static void an_unchanged_row_is_no_write(void **state)
{
	struct bench *b = *state;

	contacts(b);
	must(b->conn,
	     "CREATE TABLE seen (op text); CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
	     "INSERT INTO seen VALUES (TG_OP); RETURN NULL; END $$; CREATE TRIGGER see AFTER INSERT OR UPDATE OR "
	     "DELETE ON contacts FOR EACH ROW EXECUTE FUNCTION see()");
	PUT(b, "1", "a", NULL);
	apply_well(b);
	PUT(b, "1", "a", NULL);
	apply_well(b);

	assert_int_equal(b->outcome.rows, 0);
	assert_string_equal(says(b, "SELECT count(*) FROM seen"), "1");
}

static void absent_columns_are_left_alone(void **state)
{
	struct bench *b = *state;

	must(b->conn, "CREATE TABLE contacts (id int PRIMARY KEY, name text, big jsonb NOT NULL)");
	must(b->conn, "INSERT INTO contacts SELECT 1, 'old', jsonb_build_object('x', string_agg(md5(i::text), '')) "
		      "FROM generate_series(1, 32768) i");
	add_column(b, "id", LS_INT32, "integer");
	add_column(b, "name", LS_STRING, "text");
	add_column(b, "big", LS_JSON, "jsonb");
	start(b);
	PUT(b, "1", "new", ABSENT);
	PUT(b, "2", "whole", "{\"y\": 1}");

	apply_well(b);

	assert_int_equal(b->outcome.rows, 2);
	assert_string_equal(says(b, "SELECT name || length(big->>'x') FROM contacts WHERE id = 1"), "new1048576");
	assert_string_equal(says(b, "SELECT name || big FROM contacts WHERE id = 2"), "whole{\"y\": 1}");
}

static const struct {
	const char *type;
	enum ls_kind kind;
	const char *value[4];
} types[] = {
	{ "smallint", LS_INT32, { "-32768", "32767" } },
	{ "bigint", LS_INT64, { "-9223372036854775808", "9223372036854775807" } },
	{ "numeric", LS_NUMERIC, { "NaN", "Infinity", "123456789012345678901234567890.000100" } },
	{ "numeric(10,2)", LS_DECIMAL, { "NaN", "-12345678.90" } },
	{ "real", LS_FLOAT32, { "1.1754944e-38", "NaN", "-Infinity" } },
	{ "double precision", LS_FLOAT64, { "0.1", "-0", "Infinity", "1.7976931348623157e+308" } },
	{ "boolean", LS_BOOL, { "t", "f" } },
	{ "text", LS_STRING, { "", "\\N", "a\\b'\"\n\r\t\v\f\bz", "\xc3\xa4\xf0\x9f\x98\x80 \\." } },
	{ "character varying(5)", LS_STRING, { "abcde", "NULL" } },
	{ "bytea", LS_BYTES, { "\\x", "\\x00ff5c0a" } },
	{ "uuid", LS_UUID, { "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11" } },
	{ "json", LS_JSON, { "{\"a\" :  1, \"a\":2}", "\"\\n\"" } },
	{ "jsonb", LS_JSON, { "{\"a\": [1.00, \"\\\\\"]}", "null" } },
	{ "date", LS_DATE, { "0044-03-15 BC", "infinity", "2026-11-21" } },
	{ "time without time zone", LS_TIME, { "24:00:00", "23:59:59.123456" } },
	{ "time with time zone", LS_STRING, { "10:00:00.5+05:30" } },
	{ "timestamp without time zone",
	  LS_TIMESTAMP,
	  { "-infinity", "0044-03-15 10:00:00 BC", "2026-11-21 09:14:03.12" } },
	{ "timestamp with time zone", LS_TIMESTAMPTZ, { "infinity", "2026-11-21 09:14:03.123456+00" } },
	{ "interval", LS_STRING, { "1 year 2 mons -3 days +04:05:06.7" } },
	{ "inet", LS_STRING, { "10.0.0.1/8", "::1" } },
	{ "int4range", LS_STRING, { "[1,5)", "empty" } },
	{ "point", LS_STRING, { "(1.5,-2)" } },
	{ "xml", LS_STRING, { "<a>&amp;</a>" } },
	{ "money", LS_STRING, { "$1,234.50" } },
	{ "bit varying(8)", LS_STRING, { "10101" } },
	{ "integer[]", LS_ARRAY, { "{1,NULL,3}", "{}", "{{1,2},{3,4}}" } },
	{ "text[]", LS_ARRAY, { "{\"a b\",NULL,\"NULL\",\"\",\"\\\"\\\\\"}" } },
	{ "mood", LS_STRING, { "happy" } },
	{ "mood[]", LS_ARRAY, { "{happy,sad}" } },
	{ "positive", LS_INT32, { "7" } },
};
enum { TYPES = sizeof(types) / sizeof(types[0]) };

static void all_types_round_trip_and_compare_as_unchanged(void **state)
{
	struct bench *b = *state;
	struct ls_str ddl =
		LS_STR("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);"
		       "CREATE TABLE contacts (id int PRIMARY KEY");

	add_column(b, "id", LS_INT32, "integer");
	for (size_t i = 0; i < TYPES; i++) {
		struct ls_str name = ls_arena_printf(b->arena, "c%zu", i);

		ddl = ls_arena_printf(b->arena, "%.*s, %s %s", LS_ARG(ddl), name.ptr, types[i].type);
		add_column(b, name.ptr, types[i].kind, types[i].type);
	}
	must(b->conn, ls_arena_printf(b->arena, "%.*s)", LS_ARG(ddl)).ptr);
	start(b);

	for (int pass = 0; pass < 2; pass++) {
		for (size_t v = 0; v < 4; v++) {
			const char *text[COLUMNS_MAX] = { ls_arena_printf(b->arena, "%zu", v).ptr };

			for (size_t i = 0; i < TYPES; i++)
				text[i + 1] = types[i].value[v];
			put_op(b, LS_WRITE_UPSERT, text);
		}
		apply_well(b);
		assert_int_equal(b->outcome.rows, pass ? 0 : 4);
	}
	for (size_t i = 0; i < TYPES; i++)
		for (size_t v = 0; v < 4; v++) {
			struct ls_str sql = ls_arena_printf(b->arena, "SELECT c%zu FROM contacts WHERE id = %zu", i, v);
			const char *expected = types[i].value[v] ? types[i].value[v] : "(null)";

			assert_string_equal(says(b, sql.ptr), expected);
		}
}

static void composite_keys_and_quoted_names_work(void **state)
{
	struct bench *b = *state;

	must(b->conn,
	     "CREATE SCHEMA \"Odd Schema\"; CREATE TABLE \"Odd Schema\".\"Odd.Ta\"\"ble\" (\"Weird \"\"Col\" text "
	     "COLLATE \"C\", \"select\" int, \"From\" text, PRIMARY KEY (\"select\", \"Weird \"\"Col\"))");
	b->mapping.place = "\"Odd Schema\".\"Odd.Ta\"\"ble\"";
	b->key[0] = LS_STR("Weird \"Col");
	b->key[1] = LS_STR("select");
	b->mapping.key_count = 2;
	add_column(b, "Weird \"Col", LS_STRING, "text");
	add_column(b, "select", LS_INT32, "integer");
	add_column(b, "From", LS_STRING, "text");
	start(b);
	PUT(b, "a", "1", "x");
	PUT(b, "a", "2", "y");
	PUT(b, "b", "1", "z");
	apply_well(b);
	PUT(b, "a", "2", ABSENT);
	PUT(b, "b", "1", "Z");
	REMOVE(b, "a", "1", ABSENT);
	apply_well(b);

	assert_string_equal(says(b, "SELECT string_agg(t::text, ' ' ORDER BY lower(\"From\")) FROM \"Odd "
				    "Schema\".\"Odd.Ta\"\"ble\" t"),
			    "(a,2,y) (b,1,Z)");
}

static void generated_and_identity_columns_are_respected(void **state)
{
	struct bench *b = *state;

	must(b->conn,
	     "CREATE TABLE contacts (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, up text GENERATED "
	     "ALWAYS AS (upper(name)) STORED)");
	add_column(b, "id", LS_INT32, "integer");
	add_column(b, "name", LS_STRING, "text");
	add_column(b, "up", LS_STRING, "text");
	start(b);
	PUT(b, "77", "a", "ignored");
	apply_well(b);
	PUT(b, "77", "b", "ignored");
	apply_well(b);

	assert_string_equal(says(b, "SELECT c::text FROM contacts c"), "(77,b,B)");
}

static void fields_name_their_columns_and_the_rest_stays_home(void **state)
{
	struct bench *b = *state;
	static const struct ls_pair field[] = { { { "id", 2 }, { "nr", 2 } }, { { "name", 4 }, { "label", 5 } } };

	must(b->conn, "CREATE TABLE contacts (nr int PRIMARY KEY, label text, extra int NOT NULL DEFAULT 5)");
	b->mapping.field = field;
	b->mapping.field_count = 2;
	add_column(b, "id", LS_INT32, "integer");
	add_column(b, "name", LS_STRING, "text");
	add_column(b, "secret", LS_STRING, "text");
	start(b);
	PUT(b, "1", "a", "home");

	apply_well(b);

	assert_string_equal(says(b, "SELECT c::text FROM contacts c"), "(1,a,5)");
}

/* ---- tables that are not as expected ---- */

static void missing_tables_are_created_when_allowed(void **state)
{
	struct bench *b = *state;

	b->mapping.place = "fresh.contacts";
	add_column(b, "id", LS_INT64, "bigint");
	add_column(b, "name", LS_STRING, "character varying(40)");
	add_column(b, "mood", LS_STRING, "mood");
	add_column(b, "tags", LS_ARRAY, "text[]");
	start(b);
	PUT(b, "1", "a", "happy", "{x}");
	assert_int_equal(apply(b), LS_FATAL);
	assert_non_null(strstr(b->err.text, "CREATE TABLE"));
	b->context.create_tables = true;
	PUT(b, "1", "a", "happy", "{x}");

	apply_well(b);

	assert_string_equal(
		says(b, "SELECT string_agg(format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute "
			"WHERE attrelid = 'fresh.contacts'::regclass AND attnum > 0"),
		"bigint, character varying(40), text, text[]");
	assert_string_equal(says(b, "SELECT c::text FROM fresh.contacts c"), "(1,a,happy,{x})");
}

static void missing_columns_are_added_when_allowed(void **state)
{
	struct bench *b = *state;

	contacts(b);
	PUT(b, "1", "a", "1");
	apply_well(b);
	add_column(b, "joined", LS_DATE, "date");
	PUT(b, "2", "b", "2", "2026-11-21");
	assert_int_equal(apply(b), LS_FATAL);
	assert_non_null(strstr(b->err.text, "ALTER TABLE"));
	b->context.add_columns = true;
	PUT(b, "2", "b", "2", "2026-11-21");

	apply_well(b);

	assert_string_equal(says(b, "SELECT c::text FROM contacts c WHERE id = 2"), "(2,b,2,2026-11-21)");
}

static void a_table_changed_meanwhile_is_read_again(void **state)
{
	struct bench *b = *state;

	contacts(b);
	PUT(b, "1", "a", "1");
	apply_well(b);
	must(b->conn, "ALTER TABLE contacts ALTER age TYPE bigint");
	PUT(b, "2", "b", "1");
	apply_well(b);
	must(b->conn, "ALTER TABLE contacts DROP CONSTRAINT contacts_age_check, ALTER age TYPE text");

	PUT(b, "3", "c", "a text now");
	apply_well(b);

	assert_string_equal(says(b, "SELECT string_agg(age, ',' ORDER BY id) FROM contacts"), "1,1,a text now");
	must(b->conn, "DROP TABLE contacts; CREATE TABLE contacts (age text, name text, id int PRIMARY KEY)");
	PUT(b, "4", "d", "4");
	apply_well(b);
	assert_string_equal(says(b, "SELECT c::text FROM contacts c"), "(4,d,4)");
}

static void a_key_without_unique_index_is_refused_with_the_fix(void **state)
{
	struct bench *b = *state;

	contacts(b);
	must(b->conn, "ALTER TABLE contacts DROP CONSTRAINT contacts_pkey");
	PUT(b, "1", "a", "1");

	assert_int_equal(apply(b), LS_FATAL);

	assert_non_null(strstr(b->err.text, "CREATE UNIQUE INDEX ON \"public\".\"contacts\" (\"id\")"));
}

static void many_shapes_in_one_slice_end_right(void **state)
{
	struct bench *b = *state;
	enum { FIELDS = 6, ROUNDS = 2 };

	must(b->conn,
	     "CREATE TABLE contacts (id int PRIMARY KEY, c0 text, c1 text, c2 text, c3 text, c4 text, c5 text)");
	add_column(b, "id", LS_INT32, "integer");
	for (int i = 0; i < FIELDS; i++)
		add_column(b, ls_arena_printf(b->arena, "c%d", i).ptr, LS_STRING, "text");
	start(b);
	for (int round = 0; round < ROUNDS; round++) {
		for (unsigned set = 0; set < 1u << FIELDS; set++) {
			const char *text[FIELDS + 1] = { ls_arena_printf(b->arena, "%u", set).ptr };

			for (unsigned i = 0; i < FIELDS; i++)
				text[i + 1] = set >> i & 1 ? "y" : ABSENT;
			put_op(b, LS_WRITE_UPSERT, text);
		}
		apply_well(b);
		assert_int_equal(b->outcome.rows, round ? 0 : 64);
	}

	assert_string_equal(
		says(b, "SELECT count(*) FROM contacts WHERE id = ((c0 IS NOT NULL)::int + (c1 IS NOT NULL)::int * 2 + "
			"(c2 IS NOT NULL)::int * 4 + (c3 IS NOT NULL)::int * 8 + (c4 IS NOT NULL)::int * 16 + "
			"(c5 IS NOT NULL)::int * 32)"),
		"64");
}

static void lookup_reads_an_entity_as_it_stands(void **state)
{
	struct bench *b = *state;
	struct ls_row row;

	contacts(b);
	PUT(b, "1", "a", NULL);
	apply_well(b);

	assert_int_equal(ops->lookup(b->options, &b->context, &b->mapping, LS_STR("1"), b->arena, &row, &b->err),
			 LS_OK);

	assert_int_equal(row.schema->count, 3);
	assert_true(ls_str_equal(row.value[1].text, LS_STR("a")));
	assert_int_equal(row.value[2].presence, LS_NULL);
	assert_int_equal(ops->lookup(b->options, &b->context, &b->mapping, LS_STR("2"), b->arena, &row, &b->err),
			 LS_OK);
	assert_null(row.schema);
}

static void check_tries_the_guarantees_and_leaves_nothing(void **state)
{
	struct bench *b = *state;
	struct ls_report *report = ls_report_new();

	must(b->conn, "CREATE TABLE contacts (id int PRIMARY KEY, name text)");

	ops->check(b->options, &b->context, report);

	assert_int_equal(ls_report_level(report, LS_CHECK_LEDGER), LS_LEVEL_WARNING);
	assert_int_equal(ls_report_level(report, LS_CHECK_DATA_INTEGRITY), LS_LEVEL_OK);
	assert_int_equal(ls_report_level(report, LS_CHECK_POSTGRES), LS_LEVEL_OK);
	assert_int_equal(ls_report_level(report, LS_CHECK_IDEMPOTENCY), LS_LEVEL_OK);
	assert_int_equal(ls_report_level(report, LS_CHECK_CONFLICT_RESOLUTION), LS_LEVEL_OK);
	assert_int_equal(ls_report_level(report, LS_CHECK_ERROR_HANDLING), LS_LEVEL_OK);
	assert_string_equal(
		says(b, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'lockstep%' OR nspname = 'identity'"),
		"0");
	must(b->conn, "ALTER TABLE contacts DROP CONSTRAINT contacts_pkey");
	ops->check(b->options, &b->context, report);
	assert_int_equal(ls_report_level(report, LS_CHECK_DATA_INTEGRITY), LS_LEVEL_FAILED);
	ls_report_free(report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(rows_are_inserted_updated_and_deleted),
		T(rows_written_one_by_one_are_counted_as_others_are),
		T(triggers_stay_as_the_session_has_them),
		T(deleting_what_is_gone_is_no_error),
		T(an_unchanged_row_is_no_write),
		T(absent_columns_are_left_alone),
		T(all_types_round_trip_and_compare_as_unchanged),
		T(composite_keys_and_quoted_names_work),
		T(generated_and_identity_columns_are_respected),
		T(fields_name_their_columns_and_the_rest_stays_home),
		T(missing_tables_are_created_when_allowed),
		T(missing_columns_are_added_when_allowed),
		T(a_table_changed_meanwhile_is_read_again),
		T(a_key_without_unique_index_is_refused_with_the_fix),
		T(many_shapes_in_one_slice_end_right),
		T(lookup_reads_an_entity_as_it_stands),
		T(check_tries_the_guarantees_and_leaves_nothing),
	};

	return bench_run(tests);
}
