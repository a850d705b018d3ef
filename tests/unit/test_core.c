/* Arenas, buffers, maps, errors, time and backoff. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/arena.h"
#include "core/buf.h"
#include "core/map.h"
#include "seed.h"

static void an_arena_gives_aligned_memory_that_does_not_overlap(void **arg)
{
	struct ls_arena *arena = ls_arena_new(0);
	uint64_t seed = test_seed();
	unsigned char *got[500];
	size_t size[500];

	(void)arg;
	for (size_t i = 0; i < 500; i++) {
		size[i] = test_below(&seed, i % 50 ? 300 : 3 << 20);
		got[i] = i % 3 ? ls_arena_alloc(arena, size[i]) : (void *)ls_arena_bytes(arena, size[i]);
		if (i % 3)
			assert_int_equal((uintptr_t)got[i] % 16, 0);
		memset(got[i], (int)(i & 0xFF), size[i]);
	}
	for (size_t i = 0; i < 500; i++) {
		for (size_t k = 0; k < size[i]; k += 97)
			assert_int_equal(got[i][k], i & 0xFF);
	}
	assert_null(ls_arena_free(arena));
}

static void an_arena_counts_what_it_gave_and_starts_again_after_reset(void **arg)
{
	struct ls_arena *arena = ls_arena_new(100000);

	(void)arg;
	assert_int_equal(ls_arena_used(arena), 0);
	for (int round = 0; round < 100; round++) {
		ls_arena_bytes(arena, 50000);
		assert_true(ls_arena_used(arena) >= 50000);
		assert_true(ls_arena_left(arena) <= 50000);
		ls_arena_alloc(arena, ls_arena_left(arena));
		ls_arena_reset(arena);
		assert_int_equal(ls_arena_used(arena), 0);
	}
	ls_arena_free(arena);
}

static void arena_texts_are_terminated_copies(void **arg)
{
	struct ls_arena *arena = ls_arena_new(0);
	char source[] = "contact";
	struct ls_str copy = ls_arena_str(arena, LS_STR("contact")), none = ls_arena_str(arena, (struct ls_str){ 0 });

	(void)arg;
	assert_string_equal(copy.ptr, source);
	assert_int_equal(none.len, 0);
	assert_string_equal(none.ptr, "");
	assert_string_equal(ls_arena_printf(arena, "%s-%d", "a", 7).ptr, "a-7");
	ls_arena_free(arena);
}

static void a_buffer_grows_up_to_its_ceiling_and_then_says_full(void **arg)
{
	struct ls_buf buf;

	(void)arg;
	ls_buf_init(&buf, 1000);
	for (int i = 0; i < 100; i++)
		ls_buf_add_text(&buf, "0123456789");
	assert_false(buf.full);
	assert_int_equal(buf.len, 1000);
	ls_buf_add_char(&buf, 'x');
	assert_true(buf.full);
	assert_int_equal(buf.len, 1000);
	ls_buf_clear(&buf);
	ls_buf_printf(&buf, "%s %d", "again", 5);
	assert_false(buf.full);
	assert_string_equal(buf.ptr, "again 5");
	assert_null(ls_buf_reserve(&buf, SIZE_MAX));
	assert_true(buf.full);
	ls_buf_release(&buf);
	ls_buf_release(&buf);
}

static void a_taken_buffer_is_the_callers_and_leaves_an_empty_one(void **arg)
{
	struct ls_buf buf;
	char *text;

	(void)arg;
	ls_buf_init(&buf, 100);
	ls_buf_add_str(&buf, LS_STR("mine"));
	text = ls_buf_take(&buf);
	assert_string_equal(text, "mine");
	assert_int_equal(ls_buf_str(&buf).len, 0);
	free(text);
	text = ls_buf_take(&buf);
	assert_string_equal(text, "");
	free(text);
}

static void a_map_finds_every_key_and_walks_in_order_of_insertion(void **arg)
{
	enum { COUNT = 5000 };
	static char name[COUNT][16];
	struct ls_map map;

	(void)arg;
	ls_map_init(&map);
	assert_null(ls_map_get(&map, LS_STR("nothing")));
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < COUNT; i++) {
			snprintf(name[i], sizeof(name[i]), "key-%zu", i * 7);
			ls_map_at(&map, ls_str_of(name[i]))->value = name[i];
			ls_map_at(&map, ls_str_of(name[i / 2])); /* there already: no second slot */
		}
		assert_int_equal(map.count, COUNT);
		for (size_t i = 0; i < COUNT; i++) {
			assert_ptr_equal(ls_map_get(&map, ls_str_of(name[i])), name[i]);
			assert_ptr_equal(map.slot[i].value, name[i]);
		}
		assert_null(ls_map_get(&map, LS_STR("key-1")));
		assert_null(ls_map_get(&map, LS_STR("")));
		ls_map_clear(&map);
		assert_null(ls_map_get(&map, ls_str_of(name[0])));
	}
	ls_map_release(&map);
}

static void keys_of_zero_bytes_and_of_one_differ(void **arg)
{
	struct ls_map map;

	(void)arg;
	ls_map_init(&map);
	for (size_t len = 0; len < 20; len++)
		ls_map_at(&map, (struct ls_str){ "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", len });
	assert_int_equal(map.count, 20);
	ls_map_release(&map);
}

static void an_error_holds_class_code_and_text(void **arg)
{
	struct ls_error err;

	(void)arg;
	assert_int_equal(ls_fail(&err, LS_RETRY, "08006", "could not reach %s", "crm"), LS_RETRY);
	assert_int_equal(err.class, LS_RETRY);
	assert_string_equal(err.code, "08006");
	assert_string_equal(err.text, "could not reach crm");
	assert_int_equal(ls_fail_in(&err, "source %s", "x"), LS_RETRY);
	assert_string_equal(err.text, "source x: could not reach crm");
	ls_fail(&err, LS_FATAL, "", "again: %s", err.text);
	assert_string_equal(err.text, "again: source x: could not reach crm");
	assert_string_equal(err.code, "fatal");
	assert_string_equal(ls_class_name(LS_FENCED), "fenced");
}

static void a_long_error_is_cut_between_characters(void **arg)
{
	struct ls_error err;
	char text[1201];

	(void)arg;
	for (size_t shift = 0; shift < 4; shift++) {
		for (size_t i = 0; i < 300; i++)
			memcpy(text + i * 4, "\xF0\x9F\x90\xA7", 4); /* one penguin, four bytes */
		text[1200] = '\0';
		ls_fail(&err, LS_POISON, "x", "%.*s%s", (int)shift, "abc", text);
		assert_true(strlen(err.text) > sizeof(err.text) - 5 && strlen(err.text) < sizeof(err.text));
		assert_int_equal((strlen(err.text) - shift) % 4, 0);
		ls_fail_in(&err, "%.*s", (int)shift, "xyz");
		assert_int_equal((strlen(err.text) - 2 * shift - 2) % 4, 0);
	}
}

static void waits_stay_within_full_jitter_of_the_exponential(void **arg)
{
	uint64_t seed = test_seed();

	(void)arg;
	for (int round = 0; round < 200; round++) {
		struct ls_backoff backoff = { .initial_ms = 100, .max_ms = 5000, .seed = ls_random(&seed) };
		int64_t most = 100;

		for (int i = 0; i < 100; i++) {
			int64_t wait = ls_backoff_next(&backoff);

			assert_true(wait >= 0 && wait <= most);
			most = most * 2 < 5000 ? most * 2 : 5000;
		}
		ls_backoff_reset(&backoff);
		assert_true(ls_backoff_next(&backoff) <= 100);
	}
}

static void jitter_spreads_over_the_whole_range(void **arg)
{
	struct ls_backoff backoff = { .initial_ms = 1000, .max_ms = 1000, .seed = 42 };
	int low = 0, high = 0;

	(void)arg;
	for (int i = 0; i < 1000; i++) {
		int64_t wait = ls_backoff_next(&backoff);

		low += wait < 250;
		high += wait > 750;
	}
	assert_true(low > 150 && high > 150);
}

/* Vectors: splitmix64 with seed 1234567, as the reference code of https://prng.di.unimi.it/splitmix64.c gives them. */
static void random_numbers_are_splitmix64(void **arg)
{
	uint64_t seed = 1234567;

	(void)arg;
	assert_true(ls_random(&seed) == UINT64_C(6457827717110365317));
	assert_true(ls_random(&seed) == UINT64_C(3203168211198807973));
	assert_true(ls_random(&seed) == UINT64_C(9817491932198370423));
}

/* Expected texts: date -u -d @SECONDS. */
static void times_are_written_in_utc_with_milliseconds(void **arg)
{
	static const struct {
		int64_t time_us;
		const char *text;
	} vector[] = {
		{ 0, "1970-01-01T00:00:00.000Z" },         { INT64_C(1795252443120999), "2026-11-21T09:14:03.120Z" },
		{ -1, "1969-12-31T23:59:59.999Z" },        { INT64_MAX, "0000-00-00T00:00:00.000Z" },
		{ INT64_MIN, "0000-00-00T00:00:00.000Z" },
	};
	char out[25];

	(void)arg;
	for (size_t i = 0; i < sizeof(vector) / sizeof(vector[0]); i++) {
		ls_time_format(vector[i].time_us, out);
		assert_string_equal(out, vector[i].text);
	}
}

static void a_set_stop_flag_ends_a_wait_at_once(void **arg)
{
	struct ls_stop stop = { true };
	int64_t start = ls_monotonic_ms();

	(void)arg;
	assert_true(ls_stop_wait(&stop, 60000));
	assert_true(ls_monotonic_ms() - start < 30000);
	stop.set = false;
	assert_false(ls_stop_wait(&stop, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_arena_gives_aligned_memory_that_does_not_overlap),
		cmocka_unit_test(an_arena_counts_what_it_gave_and_starts_again_after_reset),
		cmocka_unit_test(arena_texts_are_terminated_copies),
		cmocka_unit_test(a_buffer_grows_up_to_its_ceiling_and_then_says_full),
		cmocka_unit_test(a_taken_buffer_is_the_callers_and_leaves_an_empty_one),
		cmocka_unit_test(a_map_finds_every_key_and_walks_in_order_of_insertion),
		cmocka_unit_test(keys_of_zero_bytes_and_of_one_differ),
		cmocka_unit_test(an_error_holds_class_code_and_text),
		cmocka_unit_test(a_long_error_is_cut_between_characters),
		cmocka_unit_test(waits_stay_within_full_jitter_of_the_exponential),
		cmocka_unit_test(jitter_spreads_over_the_whole_range),
		cmocka_unit_test(random_numbers_are_splitmix64),
		cmocka_unit_test(times_are_written_in_utc_with_milliseconds),
		cmocka_unit_test(a_set_stop_flag_ends_a_wait_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
