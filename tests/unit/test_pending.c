/* The ring of batches in flight: a position is reached only when everything up to it is acknowledged. */
#include "pending.h"

#include "lockstep/event.h"
#include "seed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static size_t batch(struct ls_pending *pending, size_t messages, const char *position, int64_t floor)
{
	size_t slot;

	assert_true(ls_pending_begin(pending, &slot));
	for (size_t i = 0; i < messages; i++)
		ls_pending_add(pending, slot);
	assert_true(ls_pending_close(pending, slot, ls_str_of(position), floor));
	return slot;
}

static void reaches(struct ls_pending *pending, const char *position, int64_t floor)
{
	struct ls_str text;
	int64_t at;

	if (!position) {
		assert_false(ls_pending_reached(pending, &text, &at));
		return;
	}
	assert_true(ls_pending_reached(pending, &text, &at));
	assert_int_equal(text.len, strlen(position));
	assert_memory_equal(text.ptr, position, text.len);
	assert_int_equal(at, floor);
}

static void acks_out_of_order_reach_nothing_until_the_oldest_is_complete(void **state)
{
	struct ls_pending *pending = ls_pending_new(8);
	size_t a = batch(pending, 2, "a", 1), b = batch(pending, 1, "b", 2), c = batch(pending, 1, "c", 3);

	(void)state;
	ls_pending_ack(pending, c);
	ls_pending_ack(pending, b);
	ls_pending_ack(pending, a);
	reaches(pending, NULL, 0);
	assert_int_equal(ls_pending_unacked(pending), 1);
	ls_pending_ack(pending, a);
	reaches(pending, "c", 3);
	reaches(pending, NULL, 0);
	assert_int_equal(ls_pending_batches(pending), 0);
	ls_pending_free(pending);
}

static void an_open_batch_is_not_complete_though_all_it_sent_is_acknowledged(void **state)
{
	struct ls_pending *pending = ls_pending_new(2);
	size_t slot;

	(void)state;
	assert_true(ls_pending_begin(pending, &slot));
	ls_pending_add(pending, slot);
	ls_pending_ack(pending, slot);
	reaches(pending, NULL, 0);
	assert_true(ls_pending_close(pending, slot, LS_STR("p"), 7));
	reaches(pending, "p", 7);
	ls_pending_free(pending);
}

static void an_empty_batch_with_a_position_waits_for_those_before_it(void **state)
{
	struct ls_pending *pending = ls_pending_new(4);
	size_t a = batch(pending, 1, "a", 1);

	(void)state;
	batch(pending, 0, "idle", 1);
	reaches(pending, NULL, 0);
	ls_pending_ack(pending, a);
	reaches(pending, "idle", 1);
	batch(pending, 0, "later", 1);
	reaches(pending, "later", 1);
	ls_pending_free(pending);
}

static void a_batch_without_position_reaches_none_and_keeps_the_newest_before_it(void **state)
{
	struct ls_pending *pending = ls_pending_new(4);
	size_t a = batch(pending, 1, "a", 1), b = batch(pending, 1, "", 2);

	(void)state;
	ls_pending_ack(pending, b);
	ls_pending_ack(pending, a);
	reaches(pending, "a", 1);
	ls_pending_ack(pending, batch(pending, 1, "", 3));
	reaches(pending, NULL, 0);
	assert_int_equal(ls_pending_batches(pending), 0);
	ls_pending_free(pending);
}

static void a_full_ring_takes_no_batch_until_the_oldest_is_complete(void **state)
{
	struct ls_pending *pending = ls_pending_new(2);
	size_t a = batch(pending, 1, "a", 1), b = batch(pending, 1, "b", 2), slot;

	(void)state;
	assert_false(ls_pending_begin(pending, &slot));
	ls_pending_ack(pending, b);
	reaches(pending, NULL, 0);
	assert_false(ls_pending_begin(pending, &slot));
	ls_pending_ack(pending, a);
	reaches(pending, "b", 2);
	assert_true(ls_pending_begin(pending, &slot));
	ls_pending_free(pending);
}

static void a_position_that_is_too_long_is_refused(void **state)
{
	struct ls_pending *pending = ls_pending_new(1);
	char *text = test_calloc(LS_POSITION_MAX + 1, 1);
	size_t slot;

	(void)state;
	assert_true(ls_pending_begin(pending, &slot));
	assert_false(ls_pending_close(pending, slot, (struct ls_str){ text, LS_POSITION_MAX + 1 }, 1));
	assert_true(ls_pending_close(pending, slot, LS_STR("short"), 1));
	reaches(pending, "short", 1);
	test_free(text);
	ls_pending_free(pending);
}

/* Against the plain model: batch n is reached when every batch up to n is closed and has no message open. */
static void any_order_of_acks_reaches_what_the_model_reaches(void **state)
{
	enum { ROOM = 7, ROUNDS = 20000 };
	struct ls_pending *pending = ls_pending_new(ROOM);
	size_t slot[ROOM], open[ROOM], first = 0, next = 0, told = 0, reached;
	uint64_t seed = test_seed();

	(void)state;
	for (size_t round = 0; round < ROUNDS; round++) {
		struct ls_str text;
		int64_t floor;
		size_t at;

		if (next - first < ROOM && test_chance(&seed, 40)) {
			char position[24];

			open[next % ROOM] = test_below(&seed, 4);
			snprintf(position, sizeof(position), "%zu", next + 1);
			slot[next % ROOM] = batch(pending, open[next % ROOM], position, (int64_t)next + 1);
			next++;
		} else if (next > first) {
			at = (first + test_below(&seed, next - first)) % ROOM;
			if (open[at]) {
				open[at]--;
				ls_pending_ack(pending, slot[at]);
			}
		}
		while (first < next && !open[first % ROOM])
			first++;
		reached = first;
		if (!ls_pending_reached(pending, &text, &floor)) {
			assert_int_equal(told, reached);
			continue;
		}
		assert_int_equal(floor, reached);
		told = reached;
	}
	ls_pending_free(pending);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(acks_out_of_order_reach_nothing_until_the_oldest_is_complete),
		cmocka_unit_test(an_open_batch_is_not_complete_though_all_it_sent_is_acknowledged),
		cmocka_unit_test(an_empty_batch_with_a_position_waits_for_those_before_it),
		cmocka_unit_test(a_batch_without_position_reaches_none_and_keeps_the_newest_before_it),
		cmocka_unit_test(a_full_ring_takes_no_batch_until_the_oldest_is_complete),
		cmocka_unit_test(a_position_that_is_too_long_is_refused),
		cmocka_unit_test(any_order_of_acks_reaches_what_the_model_reaches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
