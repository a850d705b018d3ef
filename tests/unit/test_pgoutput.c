/* What a walsender sends, taken apart: messages captured from PostgreSQL (fixtures/pgoutput), frames, COPY lines, LSNs,
 * positions, names. */
#include "sources/postgres/copytext.h"
#include "sources/postgres/options.h"
#include "sources/postgres/position.h"
#include "sources/postgres/protocol.h"

#include "core/arena.h"
#include "lockstep/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static char bytes[65536];
static struct pgout_message message;

static struct ls_str load(const char *name)
{
	char path[400];
	size_t len;
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/pgoutput/%s.bin", LS_FIXTURES, name);
	file = fopen(path, "rb");
	assert_non_null(file);
	len = fread(bytes, 1, sizeof(bytes), file);
	(void)fclose(file);
	return (struct ls_str){ bytes, len };
}

static void read_fixture(const char *name)
{
	assert_true(pgout_read(load(name), &message));
}

static void cell(const struct pgout_cell *got, const char *expected)
{
	assert_int_equal(got->status, 't');
	assert_true(ls_str_equal(got->text, ls_str_of(expected)));
}

static void a_relation_names_its_columns_and_its_identity(void **state)
{
	(void)state;
	read_fixture("02-R");
	assert_int_equal(message.kind, PGOUT_RELATION);
	assert_true(ls_str_equal(message.schema, LS_STR("public")));
	assert_true(ls_str_equal(message.name, LS_STR("pair")));
	assert_int_equal(message.identity, 'd');
	assert_int_equal(message.column_count, 4);
	assert_true(ls_str_equal(message.column[1].name, LS_STR("b")));
	assert_int_equal(message.column[0].type, 23); /* int4 */
	assert_int_equal(message.column[1].type, 25); /* text */
	assert_int_equal(message.column[1].typmod, -1);
	assert_true(message.column[0].identity && message.column[1].identity);
	assert_false(message.column[2].identity || message.column[3].identity);
}

static void an_insert_has_all_values(void **state)
{
	(void)state;
	read_fixture("04-I");
	assert_int_equal(message.new_count, 4);
	cell(&message.new_cell[0], "2");
	cell(&message.new_cell[1], "y");
	assert_int_equal(message.new_cell[2].status, 'n');
	cell(&message.new_cell[3], "");
}

static void an_update_leaves_out_what_was_toasted_and_did_not_change(void **state)
{
	(void)state;
	read_fixture("07-U");
	assert_int_equal(message.old_kind, 0);
	cell(&message.new_cell[2], "sad");
	assert_int_equal(message.new_cell[3].status, 'u');
}

static void an_update_of_the_key_has_the_old_key(void **state)
{
	(void)state;
	read_fixture("10-U");
	assert_int_equal(message.old_kind, 'K');
	cell(&message.old_cell[1], "y");
	cell(&message.new_cell[1], "z");
}

static void deletes_have_the_old_key_or_the_old_row(void **state)
{
	(void)state;
	read_fixture("13-D");
	assert_int_equal(message.old_kind, 'K');
	cell(&message.old_cell[0], "2");
	read_fixture("23-D");
	assert_int_equal(message.old_kind, 'O');
	cell(&message.old_cell[0], "7");
	assert_int_equal(message.old_cell[1].status, 'n');
}

static void the_full_identity_has_the_whole_old_row(void **state)
{
	(void)state;
	read_fixture("20-U");
	assert_int_equal(message.old_kind, 'O');
	cell(&message.old_cell[1], "seven");
	assert_int_equal(message.new_cell[1].status, 'n');
}

static void truncate_names_its_tables_and_origin_its_name(void **state)
{
	uint32_t pair;

	(void)state;
	read_fixture("02-R");
	pair = message.relation;
	read_fixture("29-T");
	assert_int_equal(message.truncated, 2);
	assert_int_equal(message.truncate[0], pair);
	read_fixture("32-O");
	assert_true(ls_str_equal(message.name, LS_STR("lockstep_fixture")));
}

static void begin_and_commit_agree_on_where_and_when(void **state)
{
	uint64_t lsn;
	int64_t time_us;

	(void)state;
	read_fixture("00-B");
	lsn = message.lsn;
	time_us = message.time_us;
	assert_in_range(time_us, 1700000000LL * 1000000, 4000000000LL * 1000000);
	read_fixture("05-C");
	assert_int_equal(message.lsn, lsn);
	assert_int_equal(message.time_us, time_us);
	assert_true(message.end_lsn > lsn);
}

static void every_message_cut_short_is_refused(void **state)
{
	static const char *const names[] = { "00-B", "01-Y", "02-R", "04-I", "05-C",
					     "07-U", "10-U", "13-D", "29-T", "32-O" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct ls_str whole = load(names[i]);

		for (size_t len = 0; len < whole.len; len++) {
			char *part = malloc(len + 1); /* of its own, so that a sanitizer sees a byte too far */

			memcpy(part, whole.ptr, len);
			if (pgout_read((struct ls_str){ part, len }, &message))
				fail_msg("%s was read from %zu of %zu bytes", names[i], len, whole.len);
			free(part);
		}
	}
}

static void an_unknown_message_is_refused(void **state)
{
	(void)state;
	assert_false(pgout_read(LS_STR("Zxxxxxxxxxxxxxxxxxxxxxxxxx"), &message));
	assert_false(pgout_read((struct ls_str){ "", 0 }, &message));
	assert_false(pgout_read((struct ls_str){ "I\0\0\0\1N\377\377", 8 }, &message)); /* 65535 columns */
}

/* The layouts are those of "Streaming Replication Protocol" in PostgreSQL's manual. */
static void frames_are_told_apart(void **state)
{
	static const char keepalive[] = "k\0\0\0\1\0\0\0\2\0\0\0\0\0\0\0\0\1";
	static const char data[] = "w\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\0BODY";
	struct pgout_frame frame;

	(void)state;
	assert_true(pgout_frame_read((struct ls_str){ keepalive, 18 }, &frame));
	assert_true(frame.keepalive && frame.reply);
	assert_int_equal(frame.wal_end, 0x100000002);
	assert_true(pgout_frame_read((struct ls_str){ data, 29 }, &frame));
	assert_false(frame.keepalive);
	assert_int_equal(frame.wal_end, 5);
	assert_true(ls_str_equal(frame.payload, LS_STR("BODY")));
	assert_false(pgout_frame_read((struct ls_str){ keepalive, 17 }, &frame));
	assert_false(pgout_frame_read((struct ls_str){ data, 24 }, &frame));
}

static void a_status_says_written_flushed_and_applied(void **state)
{
	char status[PGOUT_STATUS];
	static const char expected[] = "r\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\7";

	(void)state;
	pgout_status(status, 2, 1, 946684800000007, true);
	assert_memory_equal(status, expected, 33);
	assert_int_equal(status[33], 1);
}

static void lsns_are_read_as_they_are_printed(void **state)
{
	char text[PGOUT_LSN];
	uint64_t lsn;

	(void)state;
	assert_string_equal(pgout_lsn_print(0x16B3748, text), "0/16B3748");
	assert_true(pgout_lsn_parse(LS_STR("FF/a0000001"), &lsn));
	assert_int_equal(lsn, 0xFFA0000001);
	assert_string_equal(pgout_lsn_print(UINT64_MAX, text), "FFFFFFFF/FFFFFFFF");
	assert_false(pgout_lsn_parse(LS_STR(""), &lsn));
	assert_false(pgout_lsn_parse(LS_STR("12"), &lsn));
	assert_false(pgout_lsn_parse(LS_STR("1/"), &lsn));
	assert_false(pgout_lsn_parse(LS_STR("/1"), &lsn));
	assert_false(pgout_lsn_parse(LS_STR("1/2 "), &lsn));
	assert_false(pgout_lsn_parse(LS_STR("1/123456789"), &lsn));
}

static void copy_lines_are_split_and_unescaped(void **state)
{
	char line[] = "a\\tb\t\\N\t\t\\\\N\\n\\x\n";
	struct pgout_cell cells[5];

	(void)state;
	assert_true(pgsrc_copy_line(line, strlen(line), cells, 4));
	cell(&cells[0], "a\tb");
	assert_int_equal(cells[1].status, 'n');
	cell(&cells[2], "");
	cell(&cells[3], "\\N\nx");
	assert_false(pgsrc_copy_line((char[]){ "a\tb\n" }, 4, cells, 1));
	assert_false(pgsrc_copy_line((char[]){ "a\tb\n" }, 4, cells, 3));
	assert_true(pgsrc_copy_line((char[]){ "\\" }, 1, cells, 1));
	assert_false(pgsrc_copy_line((char[]){ "" }, 0, cells, 2));
}

static void a_position_comes_back_as_it_was_written(void **state)
{
	static const char text[] =
		"{\"lsn\":\"0/A\",\"snapshot\":{\"rounds\":[{\"lsn\":\"0/9\",\"version\":1795252443120000}],"
		"\"tables\":{\"public.a\":true,\"public.b\":[\"it's\",\"7\"],\"public.c\":false}}}";
	struct ls_arena *arena = ls_arena_new(0);
	struct pgsrc_position position;
	struct ls_error err;

	(void)state;
	pgsrc_position_init(&position);
	assert_int_equal(pgsrc_position_parse(&position, LS_STR(text), &err), LS_OK);
	assert_int_equal(position.lsn, 10);
	assert_string_equal(pgsrc_position_print(&position, 10, arena).ptr, text);

	assert_int_equal(pgsrc_position_floor(&position, 8), LS_NONE);
	assert_int_equal(pgsrc_position_floor(&position, 9), 1795252443120000);
	pgsrc_position_pass(&position, 9);
	assert_int_equal(position.round_count, 0);
	assert_non_null(
		strstr(pgsrc_position_print(&position, 11, arena).ptr, "{\"lsn\":\"0/B\",\"snapshot\":{\"rounds\":[]"));
	pgsrc_position_release(&position);
	ls_arena_free(arena);
}

static void whose_log_it_is_and_which_tables_it_is_of_are_part_of_the_position(void **state)
{
	static const char text[] = "{\"lsn\":\"0/A\",\"snapshot\":{\"rounds\":[],\"tables\":{\"public.a\":true}},"
				   "\"log\":{\"publication\":16399,\"system\":\"7575164232184430123\","
				   "\"tables\":{\"public.a\":\"16384.16400\"},\"timeline\":2}}";
	static const char *const bad[] = { "{\"lsn\":\"0/A\",\"log\":[]}", "{\"lsn\":\"0/A\",\"log\":{\"system\":1}}",
					   "{\"lsn\":\"0/A\",\"log\":{\"timeline\":\"1\"}}",
					   "{\"lsn\":\"0/A\",\"log\":{\"tables\":{\"public.a\":16384}}}" };
	struct ls_arena *arena = ls_arena_new(0);
	struct pgsrc_position position;
	struct ls_error err;

	(void)state;
	pgsrc_position_init(&position);
	assert_int_equal(pgsrc_position_parse(&position, LS_STR(text), &err), LS_OK);
	assert_string_equal(pgsrc_position_print(&position, 10, arena).ptr, text);
	assert_string_equal(pgsrc_position_member(&position, "public.a"), "16384.16400");
	assert_null(pgsrc_position_member(&position, "public.b"));

	pgsrc_position_forget(&position, "public.a");
	assert_null(pgsrc_position_member(&position, "public.a"));
	assert_null(strstr(pgsrc_position_print(&position, 10, arena).ptr, "public.a"));
	/* Another log begins: nothing that was said about the old one holds. */
	pgsrc_position_restart(&position, 0);
	assert_null(strstr(pgsrc_position_print(&position, 0, arena).ptr, "7575164232184430123"));
	pgsrc_position_release(&position);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		pgsrc_position_init(&position);
		assert_int_equal(pgsrc_position_parse(&position, ls_str_of(bad[i]), &err), LS_FATAL);
		pgsrc_position_release(&position);
	}
	ls_arena_free(arena);
}

static void what_was_seen_of_each_partition_is_part_of_the_position(void **state)
{
	static const char text[] = "{\"lsn\":\"0/A\",\"snapshot\":{\"rounds\":[],\"tables\":{}},\"base\":{\"lockstep."
				   "contact\":{\"0\":[17,1795252443120000],\"11\":[0,null]}}}";
	int64_t next_offset = LS_NONE, max_version = LS_NONE;
	struct ls_arena *arena = ls_arena_new(0);
	struct pgsrc_position position;
	struct ls_error err;

	(void)state;
	pgsrc_position_init(&position);
	assert_int_equal(pgsrc_position_parse(&position, LS_STR(text), &err), LS_OK);
	assert_string_equal(pgsrc_position_print(&position, 10, arena).ptr, text);
	pgsrc_position_seen(&position, "lockstep.contact", 1, &next_offset, &max_version);
	assert_int_equal(next_offset, LS_NONE);
	pgsrc_position_seen(&position, "lockstep.contact", 0, &next_offset, &max_version);
	assert_int_equal(next_offset, 17);
	assert_int_equal(max_version, 1795252443120000);
	pgsrc_position_seen(&position, "lockstep.contact", 11, &next_offset, &max_version);
	assert_int_equal(next_offset, 0);
	assert_int_equal(max_version, LS_NONE);

	pgsrc_position_see(&position, "lockstep.contact", 11, LS_NONE, LS_NONE);
	pgsrc_position_see(&position, "lockstep.company", 2, 5, 6);
	assert_string_equal(
		pgsrc_position_print(&position, 11, arena).ptr,
		"{\"lsn\":\"0/B\",\"snapshot\":{\"rounds\":[],\"tables\":{}},\"base\":{\"lockstep.company\":"
		"{\"2\":[5,6]},\"lockstep.contact\":{\"0\":[17,1795252443120000]}}}");
	pgsrc_position_release(&position);
	ls_arena_free(arena);
}

static void a_position_that_begins_anew_forgets_what_was_seen_and_keeps_its_rounds(void **state)
{
	static const char text[] =
		"{\"lsn\":\"0/A\",\"snapshot\":{\"rounds\":[{\"lsn\":\"0/9\",\"version\":7}],\"tables\":"
		"{\"public.a\":true,\"public.b\":[\"7\"]}},\"base\":{\"t\":{\"0\":[17,18]}}}";
	struct ls_arena *arena = ls_arena_new(0);
	struct pgsrc_position position;
	struct ls_error err;

	(void)state;
	pgsrc_position_init(&position);
	assert_int_equal(pgsrc_position_parse(&position, LS_STR(text), &err), LS_OK);
	pgsrc_position_table(&position, "public.a", json_false());
	assert_string_equal(pgsrc_position_print(&position, position.lsn, arena).ptr,
			    "{\"lsn\":\"0/A\",\"snapshot\":{\"rounds\":[{\"lsn\":\"0/9\",\"version\":7}],\"tables\":"
			    "{\"public.a\":false,\"public.b\":[\"7\"]}},\"base\":{\"t\":{\"0\":[17,18]}}}");
	pgsrc_position_restart(&position, 0);
	assert_string_equal(pgsrc_position_print(&position, position.lsn, arena).ptr,
			    "{\"lsn\":\"0/0\",\"snapshot\":{\"rounds\":[{\"lsn\":\"0/9\",\"version\":7}],\"tables\":"
			    "{\"public.a\":false,\"public.b\":[\"7\"]}}}");
	pgsrc_position_release(&position);
	ls_arena_free(arena);
}

static void a_base_that_is_not_one_is_refused(void **state)
{
	static const char *const bad[] = {
		"[]", "7", "{\"t\":[]}", "{\"t\":{\"0\":[1]}}", "{\"t\":{\"0\":[1,\"2\"]}}", "{\"t\":{\"0\":[null,2]}}"
	};
	struct ls_error err;
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct pgsrc_position position;

		(void)snprintf(text, sizeof(text), "{\"lsn\":\"0/A\",\"base\":%s}", bad[i]);
		pgsrc_position_init(&position);
		assert_int_equal(pgsrc_position_parse(&position, ls_str_of(text), &err), LS_FATAL);
		pgsrc_position_release(&position);
	}
}

static void slots_of_two_sources_or_installations_never_share_a_name(void **state)
{
	struct pgsrc_options options = { 0 };
	char a[PGSRC_NAME], b[PGSRC_NAME], other[PGSRC_NAME], longer[PGSRC_NAME];

	(void)state;
	pgsrc_slot_name(&options, "crm_1", "lockstep", a);
	assert_string_equal(a, "lockstep_crm_1");
	pgsrc_slot_name(&options, "crm-1", "lockstep", b);
	assert_string_not_equal(a, b);
	assert_memory_equal(b, "lockstep_crm_1_", 15);
	pgsrc_slot_name(&options, "crm_1", "staging", other);
	assert_string_not_equal(a, other);
	pgsrc_slot_name(&options, "a_source_with_a_name_that_is_longer_than_any_slot_of_postgresql_may_be", "lockstep",
			longer);
	assert_true(strlen(longer) < 64);
	assert_string_equal(pgsrc_publication_name(&options, a), a);
	options.slot = (char[]){ "mine" };
	pgsrc_slot_name(&options, "crm", "lockstep", a);
	assert_string_equal(a, "mine");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_relation_names_its_columns_and_its_identity),
		cmocka_unit_test(an_insert_has_all_values),
		cmocka_unit_test(an_update_leaves_out_what_was_toasted_and_did_not_change),
		cmocka_unit_test(an_update_of_the_key_has_the_old_key),
		cmocka_unit_test(deletes_have_the_old_key_or_the_old_row),
		cmocka_unit_test(the_full_identity_has_the_whole_old_row),
		cmocka_unit_test(truncate_names_its_tables_and_origin_its_name),
		cmocka_unit_test(begin_and_commit_agree_on_where_and_when),
		cmocka_unit_test(every_message_cut_short_is_refused),
		cmocka_unit_test(an_unknown_message_is_refused),
		cmocka_unit_test(frames_are_told_apart),
		cmocka_unit_test(a_status_says_written_flushed_and_applied),
		cmocka_unit_test(lsns_are_read_as_they_are_printed),
		cmocka_unit_test(copy_lines_are_split_and_unescaped),
		cmocka_unit_test(a_position_comes_back_as_it_was_written),
		cmocka_unit_test(whose_log_it_is_and_which_tables_it_is_of_are_part_of_the_position),
		cmocka_unit_test(what_was_seen_of_each_partition_is_part_of_the_position),
		cmocka_unit_test(a_position_that_begins_anew_forgets_what_was_seen_and_keeps_its_rounds),
		cmocka_unit_test(a_base_that_is_not_one_is_refused),
		cmocka_unit_test(slots_of_two_sources_or_installations_never_share_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
