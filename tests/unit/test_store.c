/* The local copy of the version state: what is put is found again, an older owner is kept out, damage is thrown
 * away. */
#include "core/arena.h"
#include "store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct place {
	char dir[64];
	struct ls_arena *arena;
};

static int set_up(void **state)
{
	static struct place place;

	snprintf(place.dir, sizeof place.dir, "/tmp/lockstep-store-XXXXXX");
	assert_non_null(mkdtemp(place.dir));
	place.arena = ls_arena_new(0);
	*state = &place;
	return 0;
}

static int tear_down(void **state)
{
	struct place *place = *state;
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", place->dir);
	ls_arena_free(place->arena);
	return system(command);
}

static struct ls_store *open_store(struct place *place, struct ls_store_meta *meta)
{
	struct ls_store *store = NULL;
	struct ls_error err = { 0 };

	if (ls_store_open(place->dir, "warehouse", "contact", 3, &store, meta, &err))
		fail_msg("%s", err.text);
	return store;
}

static const struct ls_state sample = {
	.exists = true,
	.deleted = true,
	.stamp = { 42, 43, { "crm", 3 } },
	.event_id = { "crm:0/1:2", 9 },
	.offset = 7,
	.owner_epoch = 5,
	.seen = { { { "crm", 3 }, 42 }, { { "erp", 3 }, 40 } },
	.seen_count = 2,
};

static enum ls_class put(struct ls_store *store, int64_t epoch, const char *id, const struct ls_state *state_in)
{
	struct ls_store_meta meta = { .owner_epoch = epoch, .versions_next = 9, .published = { 4, 2 } };
	struct ls_error err;
	enum ls_class class = ls_store_write_begin(store, epoch, &err);

	if (!class)
		class = ls_store_put(store, ls_str_of(id), state_in, &err);
	return class ? class : ls_store_commit(store, &meta, &err);
}

static void a_state_is_found_again_after_reopening(void **state)
{
	struct place *place = *state;
	struct ls_store_meta meta;
	struct ls_store *store = open_store(place, &meta);
	struct ls_state found;
	struct ls_error err;

	assert_int_equal(meta.versions_next, 0);
	assert_int_equal(put(store, 5, "k1", &sample), LS_OK);
	ls_store_close(store);
	store = open_store(place, &meta);
	assert_int_equal(meta.versions_next, 9);
	assert_int_equal(meta.published[0], 4);
	assert_int_equal(ls_store_read_begin(store, &err), LS_OK);
	assert_int_equal(ls_store_get(store, LS_STR("k1"), place->arena, &found, &err), LS_OK);
	ls_store_read_end(store);

	assert_true(found.exists);
	assert_true(found.deleted);
	assert_int_equal(found.stamp.version, 42);
	assert_string_equal(found.stamp.source.ptr, "crm");
	assert_string_equal(found.event_id.ptr, "crm:0/1:2");
	assert_int_equal(found.seen_count, 2);
	assert_string_equal(found.seen[1].source.ptr, "erp");
	assert_int_equal(found.seen[1].version, 40);
	ls_store_close(store);
}

static void an_unknown_key_does_not_exist(void **state)
{
	struct place *place = *state;
	struct ls_store_meta meta;
	struct ls_store *store = open_store(place, &meta);
	struct ls_state found;
	struct ls_error err;

	assert_int_equal(ls_store_read_begin(store, &err), LS_OK);
	assert_int_equal(ls_store_get(store, LS_STR("nobody"), place->arena, &found, &err), LS_OK);
	ls_store_read_end(store);
	assert_false(found.exists);
	ls_store_close(store);
}

static void an_older_owner_may_not_write(void **state)
{
	struct place *place = *state;
	struct ls_store_meta meta;
	struct ls_store *store = open_store(place, &meta);

	assert_int_equal(put(store, 6, "k1", &sample), LS_OK);
	assert_int_equal(put(store, 5, "k2", &sample), LS_FENCED);
	assert_int_equal(put(store, 6, "k2", &sample), LS_OK);
	ls_store_close(store);
}

static void a_damaged_file_is_thrown_away(void **state)
{
	struct place *place = *state;
	struct ls_store_meta meta;
	struct ls_store *store = open_store(place, &meta);
	char path[128];
	FILE *file;

	assert_int_equal(put(store, 6, "k1", &sample), LS_OK);
	ls_store_close(store);
	snprintf(path, sizeof path, "%s/warehouse/contact/3/data.mdb", place->dir);
	file = fopen(path, "w");
	assert_non_null(file);
	for (int i = 0; i < 2000; i++)
		fputs("not a database ", file);
	fclose(file);

	store = open_store(place, &meta);

	assert_int_equal(meta.versions_next, 0);
	ls_store_close(store);
}

static void a_cut_record_is_refused(void **state)
{
	struct place *place = *state;
	char record[512];
	size_t len = ls_store_pack(&sample, record, sizeof record);
	struct ls_state out;

	assert_true(len > 0);
	for (size_t cut = 0; cut < len; cut++)
		assert_false(ls_store_unpack((struct ls_str){ record, cut }, place->arena, &out));
	assert_true(ls_store_unpack((struct ls_str){ record, len }, place->arena, &out));
	assert_int_equal(ls_store_pack(&sample, record, len - 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_state_is_found_again_after_reopening, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_unknown_key_does_not_exist, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_older_owner_may_not_write, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_damaged_file_is_thrown_away, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_cut_record_is_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
