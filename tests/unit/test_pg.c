/* What is pure about PostgreSQL: SQLSTATE classes, names, types, and the bytes of COPY. Expected types and literals are
 * PostgreSQL 15's own format_type() and quote_literal() answers. */
#include "destinations/postgres/internal.h"
#include "pg/conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void sqlstates_have_their_class(void **state)
{
	static const struct {
		const char *code;
		enum ls_class class;
	} cases[] = {
		{ "", LS_RETRY },       { "08006", LS_RETRY },  { "53300", LS_RETRY },  { "57P01", LS_RETRY },
		{ "57014", LS_RETRY },  { "40001", LS_RETRY },  { "40P01", LS_RETRY },  { "55P03", LS_RETRY },
		{ "25006", LS_RETRY },  { "55006", LS_FENCED }, { "28P01", LS_AUTH },   { "42501", LS_AUTH },
		{ "22P02", LS_POISON }, { "23503", LS_POISON }, { "54000", LS_POISON }, { "42P01", LS_FATAL },
		{ "XX000", LS_FATAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (ls_pg_class(cases[i].code) != cases[i].class)
			fail_msg("%s", cases[i].code);
	assert_int_equal(ls_pg_class(NULL), LS_RETRY);
}

static void a_refused_connection_is_tried_again_where_waiting_can_help(void **state)
{
	(void)state;
	/* "database ... is not currently accepting connections", as PostgreSQL 15 and 17 say it. */
	assert_int_equal(ls_pg_connect_class("55000"), LS_RETRY);
	assert_int_equal(ls_pg_class("55000"), LS_FATAL);
	assert_int_equal(ls_pg_connect_class("57P03"), LS_RETRY);
	assert_int_equal(ls_pg_connect_class("53300"), LS_RETRY);
	assert_int_equal(ls_pg_connect_class("28P01"), LS_AUTH);
	assert_int_equal(ls_pg_connect_class("3D000"), LS_FATAL);
}

static void table_names_are_read_as_people_write_them(void **state)
{
	static const struct {
		const char *place, *schema, *table;
	} cases[] = {
		{ "public.contacts", "public", "contacts" },
		{ "contacts", "public", "contacts" },
		{ "Crm.Contacts", "crm", "contacts" },
		{ "\"Odd Schema\".\"Odd.Ta\"\"ble\"", "Odd Schema", "Odd.Ta\"ble" },
		{ "a.b.c", NULL, NULL },
		{ "\"open", NULL, NULL },
		{ "", NULL, NULL },
		{ "a b", NULL, NULL },
		{ "a.", NULL, NULL },
	};
	char schema[64], table[64];
	struct ls_error err;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum ls_class class = ls_pg_split_table(cases[i].place, schema, table, &err);

		if (class != (cases[i].schema ? LS_OK : LS_FATAL))
			fail_msg("%s", cases[i].place);
		if (class)
			continue;
		assert_string_equal(schema, cases[i].schema);
		assert_string_equal(table, cases[i].table);
	}
}

static void types_become_kinds_and_names_again(void **state)
{
	static const struct {
		const char *type, *elem, *native, *name;
		int typmod;
		char typtype;
		enum ls_kind kind, item;
	} cases[] = {
		{ "int2", NULL, "smallint", "smallint", -1, 'b', LS_INT32, LS_STRING },
		{ "oid", NULL, "oid", "oid", -1, 'b', LS_INT64, LS_STRING },
		{ "numeric", NULL, "numeric(10,2)", "numeric(10,2)", 655366, 'b', LS_DECIMAL, LS_STRING },
		{ "numeric", NULL, "numeric", "numeric", -1, 'b', LS_NUMERIC, LS_STRING },
		{ "numeric", NULL, "numeric(5,-2)", "numeric", 329730, 'b', LS_NUMERIC, LS_STRING },
		{ "varchar", NULL, "character varying(40)", "character varying(40)", 44, 'b', LS_STRING, LS_STRING },
		{ "_int4", "int4", "integer[]", "integer[]", -1, 'b', LS_ARRAY, LS_INT32 },
		{ "mood", NULL, "mood", "text", -1, 'e', LS_STRING, LS_STRING },
		{ "_mood", "mood", "mood[]", "text[]", -1, 'b', LS_ARRAY, LS_STRING },
		{ "point", "float8", "point", "point", -1, 'b', LS_STRING, LS_STRING },
		{ "timetz", NULL, "time with time zone", "time with time zone", -1, 'b', LS_STRING, LS_STRING },
		{ "jsonb", NULL, "jsonb", "jsonb", -1, 'b', LS_JSON, LS_STRING },
		{ "int4", NULL, "integer); DROP TABLE x; --", "integer", -1, 'b', LS_INT32, LS_STRING },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ls_type type = ls_pg_type(cases[i].type, cases[i].typtype, cases[i].elem, cases[i].typmod,
						 ls_str_of(cases[i].native));
		struct ls_buf buf;

		ls_buf_init(&buf, 1000);
		ls_pg_type_name(&type, &buf);
		if (type.kind != cases[i].kind || type.item != cases[i].item)
			fail_msg("%s: kind %d item %d", cases[i].native, (int)type.kind, (int)type.item);
		assert_string_equal(buf.ptr, cases[i].name);
		ls_buf_release(&buf);
	}
}

static void literals_and_copy_text_are_escaped(void **state)
{
	struct ls_buf buf;

	(void)state;
	ls_buf_init(&buf, 1000);
	ls_pg_add_literal(&buf, LS_STR("it's \\"));
	assert_string_equal(buf.ptr, " E'it''s \\\\'");
	ls_buf_clear(&buf);
	ls_pgd_copy_text(&buf, LS_STR("a\tb\n\\N"));
	ls_buf_add_char(&buf, '|');
	assert_string_equal(buf.ptr, "a\\tb\\n\\\\N|");
	ls_buf_release(&buf);
}

static void bytes_that_are_no_utf8_become_question_marks(void **state)
{
	struct ls_arena *arena = ls_arena_new(0);

	(void)state;
	assert_true(ls_str_equal(ls_pgd_clean(arena, LS_STR("\xc3\xa4 ok")), LS_STR("\xc3\xa4 ok")));
	assert_true(ls_str_equal(ls_pgd_clean(arena, LS_STR("a\xff\0\xed\xa0\x80z")), LS_STR("a?????z")));
	assert_true(ls_str_equal(ls_pgd_clean(arena, LS_STR("\xf0\x9f\x98")), LS_STR("???")));
	ls_arena_free(arena);
}

static void the_line_of_a_copy_error_is_found_in_any_language(void **state)
{
	(void)state;
	assert_int_equal(ls_pgd_copy_line("COPY lockstep_stage_3, line 12, column a: \"4\"", "lockstep_stage_3"), 12);
	assert_int_equal(ls_pgd_copy_line("COPY lockstep_stage_3, Zeile 7", "lockstep_stage_3"), 7);
	assert_int_equal(ls_pgd_copy_line("SQL statement", "lockstep_stage_3"), 0);
	assert_int_equal(ls_pgd_copy_line(NULL, "lockstep_stage_3"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sqlstates_have_their_class),
		cmocka_unit_test(a_refused_connection_is_tried_again_where_waiting_can_help),
		cmocka_unit_test(table_names_are_read_as_people_write_them),
		cmocka_unit_test(types_become_kinds_and_names_again),
		cmocka_unit_test(literals_and_copy_text_are_escaped),
		cmocka_unit_test(bytes_that_are_no_utf8_become_question_marks),
		cmocka_unit_test(the_line_of_a_copy_error_is_found_in_any_language),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
