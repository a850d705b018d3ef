/* The sink lane on a real broker, with a destination in memory that fails when told to: what ends up in it, once, and
 * what is told about the rest. Expected rows come from the rule of docs/guarantees.md, worked out here by hand. */
#include "sink_world.h"
#include "lockstep/stamp.h"
#include "seed.h"

#include <string.h>

/* ---- the decision, through everything ---- */

struct expected {
	int64_t version;
	const char *source, *name, *event_id;
};

static void rows_are_the_winners_and_each_event_takes_effect_at_most_once(void **state)
{
	enum { KEYS = 40, EVENTS = 600 };
	static const char *const source[] = { "crm", "shop" };
	struct sink_world *w = *state;
	struct expected winner[KEYS] = { 0 };
	uint64_t seed = test_seed();

	for (int i = 0; i < EVENTS; i++) {
		size_t key = ls_random(&seed) % KEYS;
		const char *id = ls_arena_printf(w->arena, "k%zu", key).ptr;
		struct say say = {
			.id = id,
			.name = ls_random(&seed) % 6 ? ls_arena_printf(w->arena, "name %d", i).ptr : NULL,
			.event_id = ls_arena_printf(w->arena, "e%d", i).ptr,
			.source = source[ls_random(&seed) % 2],
			.version = (int64_t)(1 + ls_random(&seed) % 1000000),
			.priority = ls_random(&seed) % 8 == 0,
		};
		struct expected *held = &winner[key];

		world_say(w, say);
		if (ls_random(&seed) % 4 == 0)
			world_say(w, say); /* delivered twice */
		if (say.version > held->version ||
		    (say.version == held->version && strcmp(say.source, held->source) > 0))
			*held = (struct expected){ say.version, say.source, say.name, say.event_id };
	}
	world_flush(w);

	world_run_to_end(w);

	for (size_t key = 0; key < KEYS; key++)
		if (winner[key].source)
			assert_row(w, ls_arena_printf(w->arena, "k%zu", key).ptr, winner[key].name);
	for (size_t i = 0; i < w->fake.data.events; i++)
		assert_in_range(w->fake.data.event[i].effects, 0, 1);
	assert_int_equal(world_letters(w), 0);
}

/* ---- a destination that fails ---- */

static void what_fails_before_or_after_its_commit_is_applied_once(void **state)
{
	struct sink_world *w = *state;

	say_many(w, 0, 200, "name");
	w->fake.retry_before = 3;
	w->fake.retry_after = 5;
	w->fake.claim_fails = 1;

	world_run_to_end(w);

	assert_once(w, 0, 200, "name");
	assert_int_equal(w->fake.retry_before + w->fake.retry_after + w->fake.claim_fails, 0);
}

static void a_destination_that_is_not_there_at_the_start_is_waited_for(void **state)
{
	struct sink_world *w = *state;

	say_many(w, 0, 20, "name");
	w->fake.open_fails = 2;
	w->fake.claim_fails = 2;

	world_run_to_end(w);

	assert_once(w, 0, 20, "name");
}

static void the_breaker_opens_and_its_probe_goes_on(void **state)
{
	struct sink_world *w = *state;

	w->destination.breaker_failures = 3;
	say_many(w, 0, 20, "name");
	w->fake.retry_before = 6;

	world_run_to_end(w);

	assert_once(w, 0, 20, "name");
	assert_true(LS_READ(ls_stats_lane(w->stats, "sink/warehouse/0"), retries) >= 6);
}

static void a_stop_does_not_wait_for_a_destination_that_is_away(void **state)
{
	struct sink_world *w = *state;
	struct sink_lane *lane;

	w->destination.breaker_failures = 1;
	w->destination.breaker_cooldown_ms = 60000;
	say_many(w, 0, 20, "name");
	w->fake.retry_before = 1000;
	lane = world_start(w, 0);
	world_wait(w, LS_READ(lane->lane->stats, retries) > 0);

	assert_in_range(world_stop(lane), 0, 5000);

	w->fake.retry_before = 0;
	world_run_to_end(w);
	assert_once(w, 0, 20, "name");
}

static void a_fenced_sink_claims_again_and_goes_on(void **state)
{
	struct sink_world *w = *state;

	say_many(w, 0, 100, "name");
	w->fake.fenced = 2;

	world_run_to_end(w);

	assert_once(w, 0, 100, "name");
}

static void an_event_id_that_the_ledger_knows_is_passed_over(void **state)
{
	struct sink_world *w = *state;

	w->fake.ledger = true;
	world_say(w, (struct say){ .id = "1", .name = "first", .event_id = "a", .version = 1 });
	world_say(w, (struct say){ .id = "1", .name = "second", .event_id = "b", .version = 2 });
	world_flush(w);
	world_run_to_end(w);
	world_say(w, (struct say){ .id = "1", .name = "first", .event_id = "a", .version = 3 });
	world_say(w, (struct say){ .id = "2", .name = "other", .event_id = "c", .version = 4 });
	world_flush(w);

	world_run_to_end(w);

	assert_row(w, "1", "second");
	assert_row(w, "2", "other");
}

/* ---- poison ---- */

struct letter_check {
	size_t count, wrong;
	const char *code;
	char reason[480];
};

static void check_letter(const struct ls_message *message, void *arg)
{
	struct letter_check *check = arg;
	struct ls_str reason = header_of(message, "lockstep.reason");

	check->count++;
	if (!ls_str_equal(header_of(message, "lockstep.code"), ls_str_of(check->code)) || !reason.len ||
	    !ls_str_equal(header_of(message, "trace"), LS_STR("kept")))
		check->wrong++;
	fake_copy(check->reason, sizeof check->reason, reason);
}

static void poisoned(struct sink_world *w, bool names_write)
{
	static const struct ls_header trace = { LS_STR("trace"), LS_STR("kept") };
	struct letter_check check = { .code = "23514" };

	w->fake.poison = "poison";
	w->fake.names_write = names_write;
	w->fake.letters = world_letters;
	w->fake.world = w;
	say_many(w, 0, 40, "name");
	for (int i = 0; i < 4; i++) {
		struct say say = { .id = ls_arena_printf(w->arena, "%d", i).ptr,
				   .name = "poison",
				   .event_id = ls_arena_printf(w->arena, "p%d", i).ptr,
				   .version = 5000 };

		world_send(w, w->events, -1, ls_str_of(say.id), world_encode(w, &say), &trace, 1);
	}
	say_many(w, 100, 40, "name");
	world_say(w, (struct say){ .id = "2", .name = "later", .event_id = "later", .version = 6000 });
	world_flush(w);

	world_run_to_end(w);

	assert_once(w, 4, 36, "name");
	assert_once(w, 100, 40, "name");
	assert_row(w, "1", "name 1");
	assert_row(w, "2", "later");
	assert_int_equal(world_read(w, w->dlq, check_letter, &check), 4);
	assert_int_equal(check.wrong, 0);
	assert_non_null(strstr(check.reason, "cannot take"));
	assert_int_equal(w->fake.dead_early, 0);
	assert_int_equal(w->fake.dead_entries, 4);
}

static void poison_that_the_destination_names_is_a_dead_letter_before_the_mark_passes(void **state)
{
	poisoned(*state, true);
}

static void poison_that_it_does_not_name_is_found_by_halving(void **state)
{
	poisoned(*state, false);
}

static void a_violated_foreign_key_is_tried_again_before_it_is_dead(void **state)
{
	struct sink_world *w = *state;
	struct letter_check check = { .code = "23503" };

	w->fake.poison = "orphan";
	w->fake.code = "23503";
	w->fake.names_write = true;
	world_say(w, (struct say){ .id = "1", .name = "orphan", .event_id = "o", .version = 1 });
	world_say(w, (struct say){ .id = "2", .name = "fine", .event_id = "f", .version = 1 });
	world_flush(w);

	world_run_to_end(w);

	assert_row(w, "1", NULL);
	assert_row(w, "2", "fine");
	assert_in_range(w->fake.refused, 4, 20);
	assert_int_equal(world_read(w, w->dlq, check_letter, &check), 1);
}

/* ---- what no sink can read ---- */

struct reasons {
	size_t count;
	char key[16][64], code[16][32], reason[16][480];
	bool same[16]; /* value as sent */
	struct ls_str value[16];
	size_t values;
};

static void note_reason(const struct ls_message *message, void *arg)
{
	struct reasons *reasons = arg;
	size_t i = reasons->count++;

	fake_copy(reasons->key[i], 64, header_of(message, "lockstep.offset"));
	fake_copy(reasons->code[i], 32, header_of(message, "lockstep.code"));
	fake_copy(reasons->reason[i], 480, header_of(message, "lockstep.reason"));
	for (size_t n = 0; n < reasons->values; n++)
		reasons->same[n] |= ls_str_equal(message->value, reasons->value[n]);
}

static void has_reason(const struct reasons *reasons, const char *code, const char *part)
{
	for (size_t i = 0; i < reasons->count; i++)
		if ((!code || strcmp(reasons->code[i], code) == 0) && strstr(reasons->reason[i], part))
			return;
	for (size_t i = 0; i < reasons->count; i++)
		print_error("%s: %s\n", reasons->code[i], reasons->reason[i]);
	fail_msg("no dead letter says [%s] %s", code ? code : "any", part);
}

static void bad(struct sink_world *w, struct reasons *reasons, struct say say)
{
	struct ls_str value = ls_arena_str(w->arena, world_encode(w, &say));

	reasons->value[reasons->values++] = value;
	world_send(w, w->events, 0, ls_str_of(say.key ? say.key : say.id), value, NULL, 0);
}

static void what_cannot_be_decided_is_a_dead_letter_with_its_reason(void **state)
{
	struct sink_world *w = *state;
	struct reasons reasons = { 0 };
	char *long_id = ls_arena_zalloc(w->arena, 2001);

	memset(long_id, 'x', 2000);
	bad(w, &reasons,
	    (struct say){ .id = "1", .name = "2099", .event_id = "a", .version = 73LL * 365 * 86400 * 1000000 });
	bad(w, &reasons, (struct say){ .id = "2", .key = "3", .name = "key", .event_id = "b", .version = 1 });
	bad(w, &reasons, (struct say){ .id = "4", .name = "entity", .event_id = "c", .version = 1, .entity = "order" });
	bad(w, &reasons, (struct say){ .id = long_id, .name = "long", .event_id = "d", .version = 1 });
	bad(w, &reasons, (struct say){ .id = "5", .name = "long", .event_id = long_id, .version = 1 });
	bad(w, &reasons, (struct say){ .id = "6", .name = "before 1970", .event_id = "e", .version = -2 * w->base });
	reasons.value[reasons.values++] = LS_STR("no event at all");
	reasons.value[reasons.values++] = LS_STR("\xc3\x01ghostly!and more");
	reasons.value[reasons.values++] = LS_STR("");
	for (size_t i = 6; i < 9; i++)
		world_send(w, w->events, 0, LS_STR("7"), reasons.value[i], NULL, 0);
	world_send(w, w->events, 0, LS_STR("8"), (struct ls_str){ NULL, 0 }, NULL, 0);
	say_many(w, 100, 20, "name");

	world_run_to_end(w);

	assert_once(w, 100, 20, "name");
	assert_int_equal(world_read(w, w->dlq, note_reason, &reasons), 10);
	has_reason(&reasons, "max_skew", "ahead of this machine's clock");
	has_reason(&reasons, "key", "not the event's entity_id");
	has_reason(&reasons, "entity_type", "\"order\"");
	has_reason(&reasons, "entity_id", "2000 bytes");
	has_reason(&reasons, "event_id", "2000 bytes");
	has_reason(&reasons, "version", "negative");
	has_reason(&reasons, "null", "no value");
	for (size_t i = 0; i < reasons.values; i++)
		assert_true(reasons.same[i]);
	for (size_t i = 0; i < reasons.count; i++)
		assert_true(strlen(reasons.reason[i]) > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
		T(rows_are_the_winners_and_each_event_takes_effect_at_most_once),
		T(what_fails_before_or_after_its_commit_is_applied_once),
		T(a_destination_that_is_not_there_at_the_start_is_waited_for),
		T(the_breaker_opens_and_its_probe_goes_on),
		T(a_stop_does_not_wait_for_a_destination_that_is_away),
		T(a_fenced_sink_claims_again_and_goes_on),
		T(an_event_id_that_the_ledger_knows_is_passed_over),
		T(poison_that_the_destination_names_is_a_dead_letter_before_the_mark_passes),
		T(poison_that_it_does_not_name_is_found_by_halving),
		T(a_violated_foreign_key_is_tried_again_before_it_is_dead),
		T(what_cannot_be_decided_is_a_dead_letter_with_its_reason),
	};

	if (!getenv("LS_TEST_KAFKA")) {
		printf("skipped: LS_TEST_KAFKA does not name a broker\n");
		return 77;
	}
	cmocka_set_test_filter(getenv("LS_TEST_FILTER"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
