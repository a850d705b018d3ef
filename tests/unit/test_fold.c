/* The sink's protocol as a model, with the real decision inside: claim, restore, heal, fold, apply with the mark,
 * publish state, marker. Every history is hit by crashes, lost local state, a destination that loses its last commits,
 * state published late by an instance that is no longer the owner, and compaction; it must end in the rows of the
 * log's winners. Each mutant leaves one rule of the protocol out, and must be seen to end in wrong rows.
 *
 * As in the lane, a local copy is read on from where the versions topic was joined into it. A model that went on with
 * the copy alone ended in wrong rows: a destination that had lost commits then has events decided from an older state
 * than the topic's, that older state is published over the newer one, compaction keeps it, and the marker stands above
 * what it is worth. Late records are compacted only after an owner has healed them: min.compaction.lag.ms promises as
 * much, and docs/guarantees.md says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lockstep/stamp.h"
#include "seed.h"

enum { SOURCES = 3, KEYS = 3, EDITS = 40, LOG = 96, COMMITS = 512, TOPIC = 4096, PENDING = 1024, ZOMBIES = 8 };
enum { HISTORIES = 40000, MUTANT_HISTORIES = 60000 };

enum mutant {
	NONE,
	SKIP_EQUAL,       /* the state's own winner is not applied again */
	LAST_BY_OFFSET,   /* state records: the last one wins, instead of the join */
	MARK_FIRST,       /* the mark moves before the rows */
	STATE_NO_FOLD,    /* events between the marker and the mark are not decided again */
	FOLD_UNPUBLISHED, /* they are, but their state is not published again */
	COPY_ALONE,       /* a local copy is not read on from the topic */
	LATE_UNHEALED,    /* what was written late over something newer is not published again */
	MUTANTS
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
	size_t read; /* every record of the topic below it is joined in, and healed where it had to be */
};

struct record {
	size_t offset; /* in the topic; compaction leaves it */
	size_t key;    /* KEYS: a marker */
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
	size_t topic_count, topic_end;
	size_t unhealed;             /* of the pending, those that heal */
	size_t healed;               /* below it, the last record of each key is its greatest */
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
	world->topic[world->topic_count] = *record;
	world->topic[world->topic_count++].offset = world->topic_end++;
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

static void read_on(struct world *world, const struct record *record)
{
	struct memory *memory = &world->memory;

	if (record->key == KEYS)
		memory->marker = record->marker > memory->marker ? record->marker : memory->marker;
	else if (world->mutant == LAST_BY_OFFSET)
		memory->state[record->key] = record->state;
	else
		ls_state_join(&memory->state[record->key], &record->state);
}

static bool same_state(const struct ls_state *a, const struct ls_state *b)
{
	struct ls_state joined = *a;

	/* A join loses nothing: of two that are equal in stamp and seen versions, neither has more. */
	ls_state_join(&joined, b);
	if (ls_stamp_compare(&a->stamp, &b->stamp) != 0 || joined.seen_count != b->seen_count)
		return false;
	for (size_t i = 0; i < joined.seen_count; i++)
		for (size_t j = 0; j < b->seen_count; j++)
			if (ls_str_equal(joined.seen[i].source, b->seen[j].source) &&
			    joined.seen[i].version != b->seen[j].version)
				return false;
	return true;
}

/* A key whose last record is not its greatest, because an earlier owner wrote late, is published again. */
static void heal(struct world *world, size_t from)
{
	for (size_t key = 0; key < KEYS && world->mutant != LATE_UNHEALED; key++) {
		struct record record = { .key = key, .state = world->memory.state[key] };
		const struct record *last = NULL;

		for (size_t i = 0; i < world->topic_count; i++)
			if (world->topic[i].key == key && world->topic[i].offset >= from)
				last = &world->topic[i];
		record.state.owner_epoch = world->epoch;
		if (last && !same_state(&record.state, &last->state))
			push(&world->pending, &record);
	}
	world->unhealed = world->pending.count;
}

/* note_read says how far the topic is known; not past what is to be healed until that is published. */
static void note_read(struct world *world)
{
	if (!world->unhealed)
		world->memory.read = world->healed = world->topic_end;
}

static void restore(struct world *world)
{
	bool copy = world->has_saved && test_chance(&world->seed, 60);
	size_t from;

	world->memory = copy ? world->saved : (struct memory){ 0 };
	if (copy && world->mutant == COPY_ALONE)
		return;
	from = world->memory.read;
	for (size_t i = 0; i < world->topic_count; i++)
		if (world->topic[i].offset >= from)
			read_on(world, &world->topic[i]);
	heal(world, from);
}

static void start(struct world *world)
{
	enum ls_verdict verdict;

	world->epoch++;
	world->pending.count = world->unhealed = 0;
	restore(world);
	for (size_t i = world->memory.marker; i < world->database.offset && world->mutant != STATE_NO_FOLD; i++)
		decide_and_note(world, i, &verdict, world->mutant != FOLD_UNPUBLISHED);
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
	world->unhealed -= count < world->unhealed ? count : world->unhealed;
	if (!pending->count) {
		struct record marker = { .key = KEYS, .marker = world->database.offset };

		world->memory.marker = world->database.offset;
		publish(world, &marker);
	}
	note_read(world);
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

/* Keeps the last record of each key, of those that an owner has healed: min.compaction.lag.ms is the time it has. */
static void compact(struct world *world)
{
	size_t cut = 0, kept = 0;

	if (!test_chance(&world->seed, 30))
		return;
	while (cut < world->topic_count && world->topic[cut].offset < world->healed)
		cut++;
	if (test_chance(&world->seed, 50))
		cut = test_below(&world->seed, cut + 1);
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
	world->log_count = world->topic_count = world->topic_end = world->zombie_first = world->zombie_count = 0;
	world->has_saved = false;
	world->healed = 0;
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

/* Histories that once ended wrong. */
static void histories_that_were_wrong_once_end_right(void **arg)
{
	static const uint64_t once[] = { 1795281294975648 };
	struct world *world = calloc(1, sizeof(*world));

	(void)arg;
	for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++)
		assert_true(run_history(world, once[i], NONE));
	free(world);
}

static void each_rule_left_out_ends_in_wrong_rows_somewhere(void **arg)
{
	static const char *const name[] = { "",           "skip_equal",    "last_by_offset",
					    "mark_first", "state_no_fold", "fold_unpublished",
					    "copy_alone", "late_unhealed" };
	struct world *world = calloc(1, sizeof(*world));
	/* Always the same: what is rare enough would now and then not be found from another. */
	uint64_t seed = 1;

	(void)arg;
	for (enum mutant mutant = SKIP_EQUAL; mutant < MUTANTS; mutant++) {
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
		cmocka_unit_test(histories_that_were_wrong_once_end_right),
		cmocka_unit_test(each_rule_left_out_ends_in_wrong_rows_somewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
