/* The sink's protocol as a model, with the real decision inside: claim, restore, fold, apply with the mark, publish
 * state, marker. Every history is hit by crashes, lost local state, a destination that loses its last commits, state
 * published late by an instance that is no longer the owner, and compaction; it must end in the rows of the log's
 * winners. Each mutant leaves one rule of the protocol out, and must be seen to end in wrong rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lockstep/stamp.h"
#include "seed.h"

enum {
	SOURCES = 3,
	KEYS = 3,
	EDITS = 40,
	LOG = 96,
	COMMITS = 512,
	TOPIC = 4096,
	PENDING = 1024,
	ZOMBIES = 8,
	LAG = 60
};
enum { HISTORIES = 40000, MUTANT_HISTORIES = 60000 };

enum mutant {
	NONE,
	SKIP_EQUAL,       /* the state's own winner is not applied again */
	LAST_BY_OFFSET,   /* state records: the last one wins, instead of the join */
	MARK_FIRST,       /* the mark moves before the rows */
	STATE_NO_FOLD,    /* events between the marker and the mark are not decided again */
	FOLD_UNPUBLISHED, /* they are, but their state is not published again */
};

struct entry {
	struct ls_event event;
	char id[24];
	size_t key;
};

struct database {
	int row[KEYS]; /* event number of what stands there, -1: nothing was ever written */
	size_t offset;
};

/* What is restored, and up to which offset it is known to be in the topic. */
struct memory {
	struct ls_state state[KEYS];
	size_t marker;
};

struct record {
	size_t key; /* KEYS: a marker */
	size_t marker;
	struct ls_state state;
};

struct pending {
	struct record record[PENDING];
	size_t count;
};

struct world {
	uint64_t seed;
	enum mutant mutant;
	struct entry entry[LOG];
	size_t log_count;
	struct database database, commit[COMMITS];
	size_t commit_count;
	struct record topic[TOPIC];
	size_t topic_count;
	struct memory memory, saved; /* the running instance's; the local copy on disk */
	bool has_saved;
	struct pending pending, zombie[ZOMBIES];
	size_t zombie_first, zombie_count;
	int64_t epoch;
};

static const char *const source_name[SOURCES] = { "a", "b", "c" };

/* ---- the log ---- */

static void make_edits(struct world *world, struct entry *edit, size_t count)
{
	int64_t last[SOURCES] = { 0 }, known[SOURCES][KEYS] = { 0 }, skew[SOURCES];

	for (size_t s = 0; s < SOURCES; s++)
		skew[s] = (int64_t)test_below(&world->seed, 41) - 20;
	for (size_t t = 0; t < count; t++) {
		size_t s = test_below(&world->seed, SOURCES), key = test_below(&world->seed, KEYS);
		int64_t version = (int64_t)t + skew[s];

		version = version > last[s] ? version : last[s] + 1;
		version = version > known[s][key] ? version : known[s][key] + 1;
		last[s] = version;
		snprintf(edit[t].id, sizeof(edit[t].id), "%zu", t);
		edit[t].key = key;
		edit[t].event = (struct ls_event){ .source = ls_str_of(source_name[s]),
						   .change = test_chance(&world->seed, 20) ? LS_DELETE : LS_UPDATE,
						   .version = version,
						   .base_version = LS_NONE,
						   .base_offset = LS_NONE };
		for (size_t o = 0; o < SOURCES; o++) {
			if ((o == s || test_chance(&world->seed, 50)) && known[o][key] < version)
				known[o][key] = version;
		}
	}
}

static void append(struct world *world, const struct entry *edit)
{
	struct entry *entry = &world->entry[world->log_count];

	if (world->log_count == LOG)
		return;
	*entry = *edit;
	entry->event.event_id = ls_str_of(entry->id);
	world->log_count++;
}

/* Each source's order is kept, the sources are mixed anew; the producer sends some twice, some once more much later. */
static void make_log(struct world *world)
{
	struct entry edit[EDITS];
	bool taken[EDITS] = { false };
	size_t count = 5 + test_below(&world->seed, EDITS - 5);

	make_edits(world, edit, count);
	for (size_t done = 0; done < count; done++) {
		size_t any = test_below(&world->seed, count), i;

		while (taken[any])
			any = (any + 1) % count;
		for (i = 0; taken[i] || edit[i].event.source.ptr != edit[any].event.source.ptr;)
			i++;
		taken[i] = true;
		append(world, &edit[i]);
		if (test_chance(&world->seed, 10))
			append(world, &edit[i]);
		if (test_chance(&world->seed, 5))
			append(world, &world->entry[test_below(&world->seed, world->log_count)]);
	}
}

/* ---- the protocol ---- */

static void push(struct pending *pending, const struct record *record)
{
	assert_true(pending->count < PENDING);
	pending->record[pending->count++] = *record;
}

static void publish(struct world *world, const struct record *record)
{
	assert_true(world->topic_count < TOPIC);
	world->topic[world->topic_count++] = *record;
}

static void decide_and_note(struct world *world, size_t offset, enum ls_verdict *ret, bool note)
{
	const struct entry *entry = &world->entry[offset];
	struct ls_state *state = &world->memory.state[entry->key];
	struct record record = { .key = entry->key };

	*ret = ls_decide(state, &entry->event, (int64_t)offset).verdict;
	record.state = *state;
	record.state.owner_epoch = world->epoch;
	if (note)
		push(&world->pending, &record);
}

static void restore(struct world *world)
{
	if (world->has_saved && test_chance(&world->seed, 60)) {
		world->memory = world->saved;
		return;
	}
	world->memory = (struct memory){ 0 };
	for (size_t i = 0; i < world->topic_count; i++) {
		const struct record *record = &world->topic[i];

		if (record->key == KEYS)
			world->memory.marker =
				record->marker > world->memory.marker ? record->marker : world->memory.marker;
		else if (world->mutant == LAST_BY_OFFSET)
			world->memory.state[record->key] = record->state;
		else
			ls_state_join(&world->memory.state[record->key], &record->state);
	}
}

/* What an earlier owner wrote, perhaps late and over something newer, is published again by the new one. */
static void heal(struct world *world)
{
	for (size_t key = 0; key < KEYS; key++) {
		struct record record = { .key = key, .state = world->memory.state[key] };
		bool stale = false;

		for (size_t i = 0; i < world->topic_count; i++)
			stale = stale ||
				(world->topic[i].key == key && world->topic[i].state.owner_epoch < world->epoch);
		record.state.owner_epoch = world->epoch;
		if (stale && record.state.exists)
			push(&world->pending, &record);
	}
}

static void start(struct world *world)
{
	enum ls_verdict verdict;

	world->epoch++;
	world->pending.count = 0;
	restore(world);
	if (world->mutant != STATE_NO_FOLD) {
		for (size_t i = world->memory.marker; i < world->database.offset; i++)
			decide_and_note(world, i, &verdict, world->mutant != FOLD_UNPUBLISHED);
	}
	heal(world);
}

/* Decides one slice into `into`, the rows as its transaction would leave them. */
static void decide_slice(struct world *world, size_t end, struct database *into)
{
	for (size_t i = world->database.offset; i < end; i++) {
		enum ls_verdict verdict;

		decide_and_note(world, i, &verdict, true);
		if (verdict == LS_APPLY || (verdict == LS_APPLY_AGAIN && world->mutant != SKIP_EQUAL))
			into->row[world->entry[i].key] = (int)strtol(world->entry[i].id, NULL, 10);
	}
	into->offset = end;
}

/* Sends the oldest pending records; the marker goes out only behind the last of them. */
static void publish_some(struct world *world)
{
	struct pending *pending = &world->pending;
	size_t count = test_below(&world->seed, pending->count + 1);

	for (size_t i = 0; i < count; i++)
		publish(world, &pending->record[i]);
	memmove(pending->record, pending->record + count, (pending->count - count) * sizeof(pending->record[0]));
	pending->count -= count;
	if (!pending->count) {
		struct record marker = { .key = KEYS, .marker = world->database.offset };

		world->memory.marker = world->database.offset;
		publish(world, &marker);
	}
}

/* One slice. False: the instance died, or has nothing left to do. */
static bool work(struct world *world)
{
	struct database next = world->database;
	size_t end = world->database.offset + 1 + test_below(&world->seed, 6);

	if (end > world->log_count)
		end = world->log_count;
	if (world->mutant == MARK_FIRST && test_chance(&world->seed, 30)) {
		world->database.offset = end;
		return false;
	}
	decide_slice(world, end, &next);
	if (test_chance(&world->seed, 15))
		return false; /* before COMMIT */
	assert_true(world->commit_count < COMMITS);
	world->database = world->commit[world->commit_count++] = next;
	if (test_chance(&world->seed, 70))
		publish_some(world);
	if (test_chance(&world->seed, 50)) {
		world->saved = world->memory;
		world->has_saved = true;
	}
	return world->database.offset < world->log_count && !test_chance(&world->seed, 15);
}

/* ---- what goes wrong around it ---- */

static void stall(struct world *world)
{
	if (world->pending.count && world->zombie_count < ZOMBIES && test_chance(&world->seed, 30)) {
		struct pending *stalled = &world->zombie[(world->zombie_first + world->zombie_count++) % ZOMBIES];

		stalled->count = world->pending.count;
		memcpy(stalled->record, world->pending.record, stalled->count * sizeof(stalled->record[0]));
	}
	if (world->zombie_count && test_chance(&world->seed, 30)) {
		const struct pending *late = &world->zombie[world->zombie_first];

		for (size_t i = 0; i < late->count; i++)
			publish(world, &late->record[i]);
		world->zombie_first = (world->zombie_first + 1) % ZOMBIES;
		world->zombie_count--;
	}
}

static void lose_commits(struct world *world)
{
	size_t count = 1 + test_below(&world->seed, 3);

	if (world->commit_count < 2 || !test_chance(&world->seed, 20))
		return;
	world->commit_count = world->commit_count > count ? world->commit_count - count : 1;
	world->database = world->commit[world->commit_count - 1];
}

/* Keeps the last record of each key, but for the newest ones, which min.compaction.lag.ms protects. */
static void compact(struct world *world)
{
	size_t cut = world->topic_count > LAG ? world->topic_count - LAG : 0, kept = 0;

	if (!test_chance(&world->seed, 30))
		return;
	for (size_t i = 0; i < world->topic_count; i++) {
		bool last = true;

		for (size_t j = i + 1; j < cut && last; j++)
			last = world->topic[j].key != world->topic[i].key;
		if (i >= cut || last)
			world->topic[kept++] = world->topic[i];
	}
	world->topic_count = kept;
}

static bool ends_right(const struct world *world)
{
	for (size_t key = 0; key < KEYS; key++) {
		const struct entry *winner = NULL;

		for (size_t i = 0; i < world->log_count; i++) {
			const struct entry *entry = &world->entry[i];
			struct ls_stamp stamp = ls_stamp_of(&entry->event), best;

			if (entry->key != key)
				continue;
			if (winner)
				best = ls_stamp_of(&winner->event);
			if (!winner || ls_stamp_compare(&stamp, &best) > 0)
				winner = entry;
		}
		if (world->database.row[key] != (winner ? (int)strtol(winner->id, NULL, 10) : -1))
			return false;
	}
	return true;
}

static bool run_history(struct world *world, uint64_t seed, enum mutant mutant)
{
	world->seed = seed;
	world->mutant = mutant;
	world->log_count = world->topic_count = world->zombie_first = world->zombie_count = 0;
	world->has_saved = false;
	world->epoch = 0;
	world->database = (struct database){ .row = { -1, -1, -1 } };
	world->commit[0] = world->database;
	world->commit_count = 1;
	make_log(world);
	while (world->database.offset < world->log_count) {
		size_t slices = 1 + test_below(&world->seed, 8);

		start(world);
		while (slices-- && work(world))
			;
		stall(world);
		lose_commits(world);
		if (test_chance(&world->seed, 20))
			world->has_saved = false;
		compact(world);
	}
	return ends_right(world);
}

static void every_history_ends_in_the_winners_of_the_log(void **arg)
{
	struct world *world = calloc(1, sizeof(*world));
	uint64_t seed = test_seed();

	(void)arg;
	for (size_t i = 0; i < HISTORIES; i++) {
		if (!run_history(world, seed + i, NONE))
			fail_msg("history %llu ends in wrong rows", (unsigned long long)(seed + i));
	}
	free(world);
}

static void each_rule_left_out_ends_in_wrong_rows_somewhere(void **arg)
{
	static const char *const name[] = { "",           "skip_equal",    "last_by_offset",
					    "mark_first", "state_no_fold", "fold_unpublished" };
	struct world *world = calloc(1, sizeof(*world));
	uint64_t seed = test_seed();

	(void)arg;
	for (enum mutant mutant = SKIP_EQUAL; mutant <= FOLD_UNPUBLISHED; mutant++) {
		size_t tried = 0;

		while (tried < MUTANT_HISTORIES && run_history(world, seed + tried, mutant))
			tried++;
		printf("%s: wrong after %zu histories\n", name[mutant], tried);
		if (tried == MUTANT_HISTORIES)
			fail_msg("mutant %s was not found", name[mutant]);
	}
	free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_history_ends_in_the_winners_of_the_log),
		cmocka_unit_test(each_rule_left_out_ends_in_wrong_rows_somewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
