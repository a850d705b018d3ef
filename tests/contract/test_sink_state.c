/* The sink lane on a real broker: its version state over crashes, losses and late writers, and partitions that go from
 * lane to lane. Expected rows come from the rules of docs/guarantees.md, worked out here by hand. */
#include "sink_world.h"
#include "lockstep/stamp.h"

#include <string.h>

/* ---- version state ---- */

static void a_stale_event_is_rejected_when_the_local_state_is_lost(void **state)
{
	struct sink_world *w = *state;

	say_many(w, 0, 60, "name");
	world_say(w, (struct say){ .id = "5", .event_id = "delete", .version = 9000 });
	world_flush(w);
	world_run_to_end(w);
	world_forget_state(w);
	world_say(w, (struct say){ .id = "5", .name = "back", .event_id = "s5", .version = 8000, .source = "import" });
	world_say(w, (struct say){ .id = "6", .name = "old", .event_id = "s6", .version = 1, .source = "import" });
	world_say(w, (struct say){ .id = "7", .name = "new", .event_id = "s7", .version = 9000, .source = "import" });
	world_flush(w);

	world_run_to_end(w);

	assert_row(w, "5", NULL);
	assert_row(w, "6", "name 6");
	assert_row(w, "7", "new");
}

/* The destination as a sink leaves it that dies between commit and state record. */
static void commit_without_state(struct sink_world *w, int count)
{
	for (int32_t p = 0; p < PARTITIONS; p++) {
		struct fake_mark *mark = fake_mark_of(&w->fake.data, ls_str_of(w->events), p);

		mark->next_offset = world_end(w, w->events, p);
		mark->epoch = 1;
	}
	for (int i = 0; i < count; i++) {
		struct fake_row *row = fake_row_of(&w->fake.data, ls_arena_printf(w->arena, "%d", i));

		row->present = true;
		snprintf(row->name, sizeof row->name, "name %d", i);
	}
}

static void what_was_applied_but_not_published_is_folded_again_without_being_written(void **state)
{
	struct sink_world *w = *state;

	say_many(w, 0, 300, "name");
	commit_without_state(w, 300);
	world_run_to_end(w);
	assert_int_equal(w->fake.applies, 0);
	world_forget_state(w);
	world_say(w, (struct say){ .id = "6", .name = "old", .event_id = "s6", .version = 1, .source = "import" });
	world_flush(w);

	world_run_to_end(w);

	assert_row(w, "6", "name 6");
	assert_int_equal(w->fake.applies, 1);
}

/* say_passed: one event more, which the mark has passed without effect. */
static void say_passed(struct sink_world *w, struct say say)
{
	int32_t partition = ls_kafka_partition_of(ls_str_of(say.id), PARTITIONS);

	world_say(w, say);
	world_flush(w);
	fake_note(&w->fake.data, ls_str_of(w->events), partition, world_end(w, w->events, partition) - 1);
}

static void an_event_that_was_refused_is_no_winner_after_a_death_before_its_state(void **state)
{
	struct sink_world *w = *state;

	say_many(w, 0, 20, "name");
	say_passed(w, (struct say){ .id = "6", .name = "refused", .event_id = "r6", .version = 9000 });
	commit_without_state(w, 20);
	world_run_to_end(w);
	world_say(w,
		  (struct say){ .id = "6", .name = "between", .event_id = "b6", .version = 5000, .source = "import" });
	world_flush(w);

	world_run_to_end(w);

	assert_row(w, "6", "between");
}

static void a_known_event_under_a_higher_version_is_no_winner_after_a_death_before_its_state(void **state)
{
	struct sink_world *w = *state;

	say_many(w, 0, 20, "name");
	say_passed(w, (struct say){ .id = "6", .name = "name 6", .event_id = "name-6", .version = 9000 });
	commit_without_state(w, 20);
	world_run_to_end(w);
	world_say(w,
		  (struct say){ .id = "6", .name = "between", .event_id = "b6", .version = 5000, .source = "import" });
	world_flush(w);

	world_run_to_end(w);

	assert_row(w, "6", "between");
}

static void a_partition_that_another_sink_had_in_between_is_begun_again(void **state)
{
	struct sink_world *w = *state;

	w->fake.stolen = 1; /* it may have moved the other log of the partition: the state held here is not whole */
	say_many(w, 0, 20, "name");

	world_run_to_end(w);

	assert_true(w->lane[0].restarts >= 1);
	assert_once(w, 0, 20, "name");
}

static void the_priority_topic_waits_until_what_was_applied_is_folded(void **state)
{
	struct sink_world *w = *state;

	w->destination.batch_size = 10;
	for (int i = 0; i < 30000; i++) /* much to fold before it */
		world_say(w, (struct say){ .id = ls_arena_printf(w->arena, "filler %d", i % 50).ptr,
					   .name = "filler",
					   .event_id = "filler",
					   .version = 1 });
	say_many(w, 0, 200, "name");
	commit_without_state(w, 200);
	for (int i = 0; i < 200; i++)
		world_say(w, (struct say){ .id = ls_arena_printf(w->arena, "%d", i).ptr,
					   .name = "old",
					   .event_id = ls_arena_printf(w->arena, "old-%d", i).ptr,
					   .version = 1,
					   .source = "import",
					   .priority = true });
	world_flush(w);

	world_run_to_end(w);

	for (int i = 0; i < 200; i++)
		assert_row(w, ls_arena_printf(w->arena, "%d", i).ptr, ls_arena_printf(w->arena, "name %d", i).ptr);
}

static void winners_are_applied_again_when_the_destination_lost_its_last_commits(void **state)
{
	struct sink_world *w = *state;
	struct fake_data *backup = malloc(sizeof *backup);

	say_many(w, 0, 60, "name");
	world_run_to_end(w);
	*backup = w->fake.data;
	for (int round = 0; round < 4; round++) {
		say_many(w, 30, 60, ls_arena_printf(w->arena, "round%d", round).ptr);
		for (int i = 30; i < 90; i++) /* above what the round before had */
			world_say(w, (struct say){ .id = ls_arena_printf(w->arena, "%d", i).ptr,
						   .name = ls_arena_printf(w->arena, "won%d %d", round, i).ptr,
						   .event_id = ls_arena_printf(w->arena, "won%d-%d", round, i).ptr,
						   .version = 10000 * (round + 1) + i });
		world_flush(w);
		world_run_to_end(w);
	}
	w->fake.data = *backup; /* rows, marks and epochs of four runs before */
	free(backup);

	world_run_to_end(w);

	for (int i = 30; i < 90; i++)
		assert_row(w, ls_arena_printf(w->arena, "%d", i).ptr, ls_arena_printf(w->arena, "won3 %d", i).ptr);
	assert_row(w, "7", "name 7");
	assert_int_equal(w->lane[0].restarts, 0);
}

struct state_seen {
	struct ls_state_codec *codec;
	struct ls_arena *arena;
	const char *key;
	int64_t last; /* version of the key's record with the highest offset */
	char value[512];
	size_t len; /* of its first record */
	int32_t partition;
};

static void note_state(const struct ls_message *message, void *arg)
{
	struct state_seen *seen = arg;
	struct ls_state one;
	struct ls_error err;

	if (!ls_str_equal(message->key, ls_str_of(seen->key)) || message->value.len > sizeof seen->value)
		return;
	ok(ls_state_decode(seen->codec, message->value, seen->arena, &one, &err), &err);
	seen->last = one.stamp.version;
	if (!seen->len)
		memcpy(seen->value, message->value.ptr, seen->len = message->value.len);
	seen->partition = message->partition;
}

static void a_record_that_a_paused_sink_publishes_late_is_healed(void **state)
{
	struct sink_world *w = *state;
	struct state_seen seen = { .codec = ls_state_codec_new(), .arena = w->arena, .key = "6" };

	say_many(w, 0, 20, "name");
	world_run_to_end(w);
	world_say(w, (struct say){ .id = "6", .name = "newer", .event_id = "n6", .version = 9000 });
	world_flush(w);
	world_run_to_end(w);
	world_read(w, w->versions, note_state, &seen);
	assert_int_equal(seen.last - w->base, 9000);
	world_send(w, w->versions, seen.partition, LS_STR("6"), (struct ls_str){ seen.value, seen.len }, NULL, 0);
	world_flush(w);
	world_forget_state(w);
	world_say(w,
		  (struct say){ .id = "6", .name = "between", .event_id = "b6", .version = 8000, .source = "import" });
	world_flush(w);

	world_run_to_end(w);

	assert_row(w, "6", "newer");
	world_read(w, w->versions, note_state, &seen);
	assert_int_equal(seen.last - w->base, 9000);
	ls_state_codec_free(seen.codec);
}

struct markers {
	struct sink_world *w;
	long long below[2][PARTITIONS];
};

static void note_marker(const struct ls_message *message, void *arg)
{
	struct markers *markers = arg;
	struct ls_str topic = { message->key.ptr + 1, message->key.len - 1 };
	const char *at;

	if (!message->key.len || message->key.ptr[0] != '\xff')
		return;
	at = memmem(message->value.ptr, message->value.len, "\"below\":", 8);
	assert_non_null(at);
	markers->below[ls_str_equal(topic, ls_str_of(markers->w->priority))][message->partition] =
		strtoll(at + 8, NULL, 10);
}

static void a_stop_leaves_the_markers_at_the_marks(void **state)
{
	struct sink_world *w = *state;
	struct markers markers = { .w = w };

	say_many(w, 0, 200, "name");
	world_say(w, (struct say){ .id = "6", .name = "hurried", .event_id = "h", .version = 9000, .priority = true });
	world_flush(w);

	world_run_to_end(w);

	world_read(w, w->versions, note_marker, &markers);
	for (int32_t p = 0; p < PARTITIONS; p++) {
		assert_int_equal(markers.below[0][p], world_end(w, w->events, p));
		assert_int_equal(markers.below[1][p], world_end(w, w->priority, p));
	}
}

/* ---- the group ---- */

static bool claimed_thrice(struct sink_world *w)
{
	bool enough;

	pthread_mutex_lock(&w->fake.lock);
	enough = w->fake.claims >= 3;
	pthread_mutex_unlock(&w->fake.lock);
	return enough;
}

static void shared(struct sink_world *w)
{
	struct sink_lane *first = world_start(w, 0), *second;

	say_many(w, 0, 100, "name");
	world_wait(w, world_at_end(w));
	second = world_start(w, 1);
	/* lanes of one name share their counters: claims tell */
	world_wait(w, claimed_thrice(w));
	say_many(w, 100, 100, "name");
	world_wait(w, world_at_end(w));
	world_stop(first);
	assert_int_equal(first->end, LS_OK);
	say_many(w, 200, 100, "name");
	world_wait(w, world_at_end(w));
	world_stop(second);
	assert_int_equal(second->end, LS_OK);

	assert_once(w, 0, 300, "name");
}

static void two_sinks_share_the_partitions_and_hand_them_over(void **state)
{
	shared(*state);
}

static void two_lanes_of_one_process_do_so_over_one_state_directory(void **state)
{
	struct sink_world *w = *state;

	w->one_process = true;
	shared(w);
}

static void a_handover_in_the_middle_of_a_retry_repeats_nothing(void **state)
{
	struct sink_world *w = *state;
	struct sink_lane *first, *second;

	w->destination.retry_initial_ms = w->destination.retry_max_ms = 200;
	say_many(w, 0, 200, "name");
	w->fake.retry_after = 12;
	first = world_start(w, 0);
	world_wait(w, LS_READ(first->lane->stats, retries) > 0);
	second = world_start(w, 1);
	world_wait(w, world_at_end(w));
	world_stop(second);
	world_stop(first);

	assert_once(w, 0, 200, "name");
}

static void large_events_come_in_several_slices(void **state)
{
	enum { EVENTS = 60, BYTES = 300000 };
	struct sink_world *w = *state;
	char *name = ls_arena_zalloc(w->arena, BYTES + 1);

	memset(name, 'n', BYTES);
	for (int i = 0; i < EVENTS; i++)
		world_say(w, (struct say){ .id = "1",
					   .name = name,
					   .event_id = ls_arena_printf(w->arena, "e%d", i).ptr,
					   .version = i });
	world_flush(w);

	world_run_to_end(w);

	assert_string_equal(world_row(w, "1")->event_id, "e59");
	assert_true(w->fake.applies >= EVENTS * BYTES / (9 << 20));
	assert_int_equal(world_letters(w), 0);
}

static void what_hurries_comes_first(void **state)
{
	struct sink_world *w = *state;

	say_many(w, 0, 30, "name");
	for (int i = 100; i < 110; i++)
		world_say(w, (struct say){ .id = ls_arena_printf(w->arena, "%d", i).ptr,
					   .name = "hurried",
					   .event_id = ls_arena_printf(w->arena, "h%d", i).ptr,
					   .version = 1,
					   .priority = true });
	world_flush(w);

	world_run_to_end(w);

	for (int i = 100; i < 110; i++)
		assert_row(w, ls_arena_printf(w->arena, "%d", i).ptr, "hurried");
	assert_once(w, 0, 30, "name");
}

static void a_mark_that_the_topic_does_not_hold_is_fatal_and_says_so(void **state)
{
	struct sink_world *w = *state;
	struct sink_lane *lane;

	say_many(w, 0, 20, "name");
	fake_mark_of(&w->fake.data, ls_str_of(w->events), 1)->next_offset = 100000;
	lane = world_start(w, 0);
	world_wait(w, atomic_load(&lane->over));
	world_stop(lane);

	assert_int_equal(lane->end, LS_FATAL);
	assert_non_null(strstr(lane->err.text, w->events));
	assert_non_null(strstr(lane->err.text, "does not hold this offset"));
	assert_non_null(strstr(lane->err.text, "100000"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
		T(a_stale_event_is_rejected_when_the_local_state_is_lost),
		T(what_was_applied_but_not_published_is_folded_again_without_being_written),
		T(an_event_that_was_refused_is_no_winner_after_a_death_before_its_state),
		T(a_known_event_under_a_higher_version_is_no_winner_after_a_death_before_its_state),
		T(a_partition_that_another_sink_had_in_between_is_begun_again),
		T(the_priority_topic_waits_until_what_was_applied_is_folded),
		T(winners_are_applied_again_when_the_destination_lost_its_last_commits),
		T(a_record_that_a_paused_sink_publishes_late_is_healed),
		T(a_stop_leaves_the_markers_at_the_marks),
		T(two_sinks_share_the_partitions_and_hand_them_over),
		T(two_lanes_of_one_process_do_so_over_one_state_directory),
		T(a_handover_in_the_middle_of_a_retry_repeats_nothing),
		T(large_events_come_in_several_slices),
		T(what_hurries_comes_first),
		T(a_mark_that_the_topic_does_not_hold_is_fatal_and_says_so),
	};

	if (!getenv("LS_TEST_KAFKA")) {
		printf("skipped: LS_TEST_KAFKA does not name a broker\n");
		return 77;
	}
	cmocka_set_test_filter(getenv("LS_TEST_FILTER"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
