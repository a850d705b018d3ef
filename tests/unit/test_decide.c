/* Properties of last-write-wins: what order, duplicates and replays may not change, and what counts as a conflict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lockstep/stamp.h"
#include "seed.h"

enum { EVENTS = 10, SOURCES = 3, ROUNDS = 4000 };

static const char *const source_name[SOURCES] = { "x", "y", "z" };

/* One entity's history: events in log order, and for each which earlier ones its writer knew (bits). */
struct history {
	struct ls_event event[EVENTS];
	char id[EVENTS][8];
	uint32_t knew[EVENTS];
};

struct writer {
	struct ls_state state;
	size_t read; /* events of the log it has applied */
	uint32_t knows;
	int64_t last, skew;
};

/* Writers apply the log up to some place, then edit: what they knew is exact, and told by base_offset or
 * base_version. */
static void make_history(struct history *history, uint64_t *seed, bool with_offset)
{
	struct writer writer[SOURCES] = { 0 };

	for (size_t s = 0; s < SOURCES; s++)
		writer[s].skew = (int64_t)test_below(seed, 100) - 50;
	for (size_t t = 0; t < EVENTS; t++) {
		size_t s = test_below(seed, SOURCES), to = writer[s].read + test_below(seed, t - writer[s].read + 1);
		struct ls_event *event = &history->event[t];
		int64_t base, now = (int64_t)t * 10 + writer[s].skew;

		for (; writer[s].read < to; writer[s].read++) {
			size_t r = writer[s].read;

			ls_decide(&writer[s].state, &history->event[r], (int64_t)r);
			writer[s].knows |= history->knew[r] | UINT32_C(1) << r;
		}
		base = writer[s].state.exists ? writer[s].state.stamp.version : LS_NONE;
		snprintf(history->id[t], sizeof(history->id[t]), "e%zu", t);
		*event = (struct ls_event){
			.event_id = ls_str_of(history->id[t]),
			.source = ls_str_of(source_name[s]),
			.change = test_chance(seed, 20) ? LS_DELETE : LS_UPDATE,
			.timestamp_us = now,
			.version = now,
			.base_version = with_offset ? LS_NONE : base,
			.base_offset = with_offset ? (int64_t)to : LS_NONE,
		};
		if (base != LS_NONE && event->version <= base)
			event->version = base + 1;
		if (writer[s].last && event->version <= writer[s].last)
			event->version = writer[s].last + 1;
		writer[s].last = event->version;
		history->knew[t] = writer[s].knows;
		writer[s].knows |= UINT32_C(1) << t;
		ls_decide(&writer[s].state, event, (int64_t)t);
	}
}

static struct ls_state fold(const struct history *history)
{
	struct ls_state state = { 0 };

	for (size_t i = 0; i < EVENTS; i++)
		ls_decide(&state, &history->event[i], (int64_t)i);
	return state;
}

static int64_t seen_version(const struct ls_state *state, struct ls_str source)
{
	for (size_t i = 0; i < state->seen_count; i++) {
		if (ls_str_equal(state->seen[i].source, source))
			return state->seen[i].version;
	}
	return LS_NONE;
}

static void assert_same_state(const struct ls_state *a, const struct ls_state *b)
{
	assert_true(a->exists == b->exists && a->deleted == b->deleted);
	assert_int_equal(ls_stamp_compare(&a->stamp, &b->stamp), 0);
	assert_true(ls_str_equal(a->event_id, b->event_id));
	assert_int_equal(a->offset, b->offset);
	assert_int_equal(a->owner_epoch, b->owner_epoch);
	assert_int_equal(a->seen_count, b->seen_count);
	for (size_t i = 0; i < a->seen_count; i++)
		assert_int_equal(a->seen[i].version, seen_version(b, a->seen[i].source));
}

static void any_order_that_keeps_each_source_in_order_ends_the_same(void **arg)
{
	uint64_t seed = test_seed();

	(void)arg;
	for (size_t round = 0; round < ROUNDS; round++) {
		struct history history;
		struct ls_state expected, state = { 0 };
		bool taken[EVENTS] = { false };

		make_history(&history, &seed, true);
		expected = fold(&history);
		for (size_t done = 0; done < EVENTS; done++) {
			size_t i = test_below(&seed, EVENTS), first;

			while (taken[i])
				i = (i + 1) % EVENTS;
			for (first = 0;
			     taken[first] || !ls_str_equal(history.event[first].source, history.event[i].source);)
				first++;
			taken[first] = true;
			ls_decide(&state, &history.event[first], (int64_t)first);
		}
		assert_same_state(&state, &expected);
	}
}

static void duplicates_and_replays_from_earlier_offsets_end_the_same(void **arg)
{
	uint64_t seed = test_seed();

	(void)arg;
	for (size_t round = 0; round < ROUNDS; round++) {
		struct history history;
		struct ls_state expected, state = { 0 };
		size_t steps = 0;

		make_history(&history, &seed, true);
		expected = fold(&history);
		for (size_t at = 0; at < EVENTS; steps++) {
			ls_decide(&state, &history.event[at], (int64_t)at);
			at = test_chance(&seed, 25) && steps < 60 ? test_below(&seed, at + 1) : at + 1;
		}
		assert_same_state(&state, &expected);
	}
}

static void an_event_delivered_again_is_a_duplicate_or_the_winner_again(void **arg)
{
	uint64_t seed = test_seed();

	(void)arg;
	for (size_t round = 0; round < ROUNDS; round++) {
		struct history history;
		struct ls_state state;

		make_history(&history, &seed, true);
		state = fold(&history);
		for (size_t i = 0; i < EVENTS; i++) {
			struct ls_decision decision = ls_decide(&state, &history.event[i], (int64_t)i + 100);
			bool winner = ls_str_equal(history.event[i].event_id, state.event_id);

			assert_int_equal(decision.verdict, winner ? LS_APPLY_AGAIN : LS_DUPLICATE);
			assert_false(decision.conflict);
		}
	}
}

static void the_greatest_stamp_wins_and_the_stamp_never_falls(void **arg)
{
	uint64_t seed = test_seed();

	(void)arg;
	for (size_t round = 0; round < ROUNDS; round++) {
		struct history history;
		struct ls_state state = { 0 };
		struct ls_stamp best;

		make_history(&history, &seed, true);
		best = ls_stamp_of(&history.event[0]);
		for (size_t i = 0; i < EVENTS; i++) {
			struct ls_stamp before = state.stamp, stamp = ls_stamp_of(&history.event[i]);
			bool existed = state.exists;
			struct ls_decision decision = ls_decide(&state, &history.event[i], (int64_t)i);

			if (ls_stamp_compare(&stamp, &best) > 0)
				best = stamp;
			assert_int_equal(ls_stamp_compare(&state.stamp, &best), 0);
			if (existed)
				assert_true(ls_stamp_compare(&state.stamp, &before) >= 0);
			assert_int_equal(decision.verdict == LS_APPLY,
					 !existed || ls_stamp_compare(&stamp, &before) > 0);
		}
	}
}

/* Causality is known here because the histories are made: a conflict is an edit by another source that had not seen the
 * state's winner, and nothing else. base_version alone cannot tell two events of one version apart: one of them seen,
 * the other counts as seen too. base_offset has no such gap. */
static void conflicts_are_exactly_the_concurrent_edits(void **arg)
{
	uint64_t seed = test_seed();
	size_t conflicts = 0;

	(void)arg;
	for (size_t round = 0; round < ROUNDS * 2; round++) {
		struct history history;
		struct ls_state state = { 0 };

		make_history(&history, &seed, round % 2);
		for (size_t i = 0; i < EVENTS; i++) {
			const struct ls_event *event = &history.event[i];
			bool other = state.exists && !ls_str_equal(state.stamp.source, event->source);
			bool knew_winner = history.knew[i] & UINT32_C(1) << state.offset;
			bool tie = event->base_offset == LS_NONE && event->base_version == state.stamp.version;
			struct ls_decision decision = ls_decide(&state, event, (int64_t)i);

			assert_int_equal(decision.conflict, other && !knew_winner && !tie);
			conflicts += decision.conflict;
		}
	}
	assert_true(conflicts > ROUNDS);
}

static void a_writer_that_says_nothing_of_what_it_saw_conflicts_with_other_sources(void **arg)
{
	struct ls_event first = { .event_id = LS_STR("1"),
				  .source = LS_STR("a"),
				  .version = 10,
				  .base_version = LS_NONE,
				  .base_offset = LS_NONE };
	struct ls_event second = { .event_id = LS_STR("2"),
				   .source = LS_STR("b"),
				   .version = 20,
				   .base_version = LS_NONE,
				   .base_offset = LS_NONE };
	struct ls_event third = { .event_id = LS_STR("3"),
				  .source = LS_STR("b"),
				  .version = 30,
				  .base_version = LS_NONE,
				  .base_offset = LS_NONE };
	struct ls_state state = { 0 };

	(void)arg;
	assert_false(ls_decide(&state, &first, 0).conflict);
	assert_true(ls_decide(&state, &second, 1).conflict);
	assert_false(ls_decide(&state, &third, 2).conflict);
}

/* A state as a sink could have it: any part of a history, folded. */
static struct ls_state some_state(const struct history *history, uint64_t *seed)
{
	struct ls_state state = { 0 };

	for (size_t i = 0; i < EVENTS; i++) {
		if (test_chance(seed, 50))
			ls_decide(&state, &history->event[i], (int64_t)i);
	}
	if (state.exists)
		state.owner_epoch = (int64_t)test_below(seed, 4);
	return state;
}

static struct ls_state joined(const struct ls_state *a, const struct ls_state *b)
{
	struct ls_state state = *a;

	ls_state_join(&state, b);
	return state;
}

static void join_is_commutative_associative_and_idempotent(void **arg)
{
	uint64_t seed = test_seed();

	(void)arg;
	for (size_t round = 0; round < ROUNDS; round++) {
		struct history history;
		struct ls_state a, b, c, ab, ba, bc, left, right, aa;

		make_history(&history, &seed, true);
		a = some_state(&history, &seed), b = some_state(&history, &seed), c = some_state(&history, &seed);
		ab = joined(&a, &b), ba = joined(&b, &a), bc = joined(&b, &c), aa = joined(&a, &a);
		left = joined(&ab, &c), right = joined(&a, &bc);
		assert_same_state(&ab, &ba);
		assert_same_state(&left, &right);
		assert_same_state(&aa, &a);
	}
}

static void joining_two_parts_of_a_log_is_folding_the_whole(void **arg)
{
	uint64_t seed = test_seed();

	(void)arg;
	for (size_t round = 0; round < ROUNDS; round++) {
		struct history history;
		struct ls_state head = { 0 }, tail = { 0 }, whole;
		size_t cut = test_below(&seed, EVENTS + 1);

		make_history(&history, &seed, true);
		whole = fold(&history);
		for (size_t i = 0; i < EVENTS; i++)
			ls_decide(i < cut ? &head : &tail, &history.event[i], (int64_t)i);
		ls_state_join(&head, &tail);
		assert_same_state(&head, &whole);
	}
}

static void stamps_compare_as_version_then_time_then_source(void **arg)
{
	static const struct ls_stamp rising[] = {
		{ -5, 9, { "z", 1 } }, { 1, 1, { "a", 1 } }, { 1, 1, { "ab", 2 } },
		{ 1, 1, { "b", 1 } },  { 1, 2, { "a", 1 } }, { 2, 0, { "a", 1 } },
	};

	(void)arg;
	for (size_t i = 0; i < sizeof(rising) / sizeof(rising[0]); i++) {
		for (size_t j = 0; j < sizeof(rising) / sizeof(rising[0]); j++)
			assert_int_equal(ls_stamp_compare(&rising[i], &rising[j]) > 0, i > j);
	}
}

static void more_sources_than_a_state_can_hold_push_out_the_lowest(void **arg)
{
	char name[LS_SEEN_MAX + 1][8];
	struct ls_state state = { 0 };

	(void)arg;
	for (int i = 0; i <= LS_SEEN_MAX; i++) {
		struct ls_event event = {
			.event_id = LS_STR("e"), .version = i + 1, .base_version = LS_NONE, .base_offset = LS_NONE
		};

		snprintf(name[i], sizeof(name[i]), "s%d", i);
		event.source = ls_str_of(name[i]);
		assert_int_equal(ls_decide(&state, &event, i).verdict, LS_APPLY);
	}

	assert_int_equal(state.seen_count, LS_SEEN_MAX);
	assert_int_equal(seen_version(&state, LS_STR("s0")), LS_NONE);
	assert_int_equal(seen_version(&state, LS_STR("s1")), 2);
	assert_int_equal(seen_version(&state, LS_STR("s32")), 33);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_order_that_keeps_each_source_in_order_ends_the_same),
		cmocka_unit_test(duplicates_and_replays_from_earlier_offsets_end_the_same),
		cmocka_unit_test(an_event_delivered_again_is_a_duplicate_or_the_winner_again),
		cmocka_unit_test(the_greatest_stamp_wins_and_the_stamp_never_falls),
		cmocka_unit_test(conflicts_are_exactly_the_concurrent_edits),
		cmocka_unit_test(a_writer_that_says_nothing_of_what_it_saw_conflicts_with_other_sources),
		cmocka_unit_test(join_is_commutative_associative_and_idempotent),
		cmocka_unit_test(joining_two_parts_of_a_log_is_folding_the_whole),
		cmocka_unit_test(stamps_compare_as_version_then_time_then_source),
		cmocka_unit_test(more_sources_than_a_state_can_hold_push_out_the_lowest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
