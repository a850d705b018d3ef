/* The changes of one history, and the records that carry them: sources with clocks apart, one of them perhaps twice, an
 * event id again under a higher version, a change that arrives much later, one the destination does not take, bytes
 * that are no event. */
#include "sim.h"

#include <stdio.h>

static const char *const source_name[SIM_SOURCES] = { "a", "b", "c" };

enum { BASE_US = 1000000000 }; /* versions count from here */

struct ls_stamp sim_stamp(const struct sim *sim, int edit)
{
	const struct sim_edit *e = &sim->edit[edit];

	return (struct ls_stamp){ e->version, e->version, ls_str_of(source_name[e->source]) };
}

static void encode(struct sim *sim, struct sim_edit *edit, int64_t base_version)
{
	char id[3] = { 'k', (char)('0' + edit->key), 0 };
	struct ls_value cell[3] = { { LS_PRESENT, ls_str_of(id) },
				    { LS_PRESENT, ls_str_of(edit->name) },
				    { edit->partial ? LS_ABSENT : LS_PRESENT, ls_str_of(edit->name) } };
	struct ls_row row = { &sim->tools->schema, cell };
	struct ls_event event = {
		.event_id = ls_str_of(edit->event_id),
		.source = ls_str_of(source_name[edit->source]),
		.entity = LS_STR("thing"),
		.entity_id = ls_str_of(id),
		.change = edit->deletes ? LS_DELETE : LS_UPDATE,
		.timestamp_us = edit->version,
		.version = edit->version,
		.base_version = base_version,
		.base_offset = LS_NONE,
	};
	struct ls_error err;

	if (edit->deletes)
		cell[1].presence = cell[2].presence = LS_ABSENT;
	*(edit->deletes ? &event.before : &event.after) = row;
	ls_buf_clear(&sim->tools->buf);
	if (ls_encode(sim->tools->encoder, &event, &sim->tools->buf, &err))
		sim_wrong(sim, "could not encode: %s", err.text);
	edit->bytes = ls_arena_str(sim->arena, ls_buf_str(&sim->tools->buf));
}

/* What the sources know while they make their edits. */
struct clocks {
	int64_t last[SIM_SOURCES], known[SIM_SOURCES][SIM_KEYS], skew[SIM_SOURCES];
	bool present[SIM_KEYS];
};

static void make_edit(struct sim *sim, size_t i, struct clocks *clocks)
{
	struct sim_edit *edit = &sim->edit[i];
	size_t key = test_below(&sim->seed, SIM_KEYS), s = sim->two_way ? test_below(&sim->seed, SIM_SOURCES) : 0;
	int64_t version = BASE_US + (int64_t)i * 10 + clocks->skew[s];

	version = version > clocks->last[s] ? version : clocks->last[s] + 1;
	version = version > clocks->known[s][key] ? version : clocks->known[s][key] + 1;
	*edit = (struct sim_edit){
		.key = key,
		.source = s,
		.id = i,
		.version = version,
		.deletes = test_chance(&sim->seed, 15),
	};
	edit->poison = !edit->deletes && test_chance(&sim->seed, 6);
	/* Unchanged columns are left out only where one source writes a row that is there. */
	edit->partial = !edit->deletes && !sim->two_way && clocks->present[key] && test_chance(&sim->seed, 40);
	edit->ahead = sim->two_way && !sim->restores && test_chance(&sim->seed, 2);
	if (edit->ahead)
		edit->version = version += 600000000;
	clocks->present[key] = !edit->deletes && !edit->poison && !edit->ahead;
	if (!edit->ahead)
		clocks->last[s] = version;
	snprintf(edit->name, sizeof edit->name, "e%zu", i);
	snprintf(edit->event_id, sizeof edit->event_id, "id-%zu", i);
	encode(sim, edit, clocks->known[s][key] ? clocks->known[s][key] : LS_NONE);
	for (size_t o = 0; o < SIM_SOURCES && !edit->ahead; o++)
		if ((o == s || test_chance(&sim->seed, 50)) && clocks->known[o][key] < version)
			clocks->known[o][key] = version;
}

/* repeat_edit: the same event once more, under a higher version, as a publisher does that makes versions by its own
 * clock. */
static void repeat_edit(struct sim *sim, size_t i, struct clocks *clocks)
{
	struct sim_edit *edit = &sim->edit[i];
	size_t of = test_below(&sim->seed, i), s = sim->edit[of].source;

	*edit = sim->edit[of];
	edit->version = BASE_US + (int64_t)i * 10 + clocks->skew[s];
	if (edit->version <= clocks->last[s])
		edit->version = clocks->last[s] + 1;
	clocks->last[s] = edit->version;
	encode(sim, edit, LS_NONE);
}

void sim_make_edits(struct sim *sim)
{
	struct clocks clocks = { 0 };

	for (size_t s = 0; s < SIM_SOURCES; s++)
		clocks.skew[s] = (int64_t)test_below(&sim->seed, 61) - 30;
	sim->edit_count = 6 + test_below(&sim->seed, SIM_EDITS - 6);
	for (size_t i = 0; i < sim->edit_count; i++) {
		const struct sim_edit *of;

		make_edit(sim, i, &clocks);
		of = i ? &sim->edit[test_below(&sim->seed, i)] : NULL;
		if (of && !sim->restores && !of->ahead && !of->partial && test_chance(&sim->seed, 8))
			repeat_edit(sim, i, &clocks);
	}
}

static void append(struct sim *sim, struct sim_log *log, int edit)
{
	const struct sim_edit *e = edit < 0 ? NULL : &sim->edit[edit];
	char id[2] = { 'k', (char)('0' + (e ? (int)e->key : (int)log->partition)) };

	if (log->count == SIM_RECORDS || log->next >= SIM_RECORDS * 2 - 4)
		return;
	if (test_chance(&sim->seed, 5))
		log->next++; /* a gap */
	sim_log_append(sim, log, ls_arena_str(sim->arena, (struct ls_str){ id, 2 }), e ? e->bytes : LS_STR("no event"),
		       edit);
	/* What is refused once may be taken the next time, unless there is a backup to meet it twice from. */
	log->record[log->count - 1].refused = e && e->poison && (sim->restores || !test_chance(&sim->seed, 20));
	sim_note(sim, "%s/%d:%lld is %s (%s) v%lld of source %zu, key %zu%s%s%s%s", log->topic, log->partition,
		 (long long)log->next - 1, e ? e->name : "rubbish", e ? e->event_id : "", e ? (long long)e->version : 0,
		 e ? e->source : 0, e ? e->key : 0, e && e->deletes ? ", a delete" : "",
		 e && e->partial ? ", partial" : "", e && e->ahead ? ", ahead" : "",
		 log->record[log->count - 1].refused ? ", refused" : "");
}

/* sim_append_next publishes the next edit; at times twice, at times with an older one, or with rubbish, behind it. */
void sim_append_next(struct sim *sim)
{
	int edit = (int)sim->next_edit++;
	const struct sim_edit *e = &sim->edit[edit];
	struct sim_log *log;
	bool hurried = sim->two_way && test_chance(&sim->seed, 30);

	/* Which of two versions of one event id comes first must be certain: their key keeps to one log. */
	for (size_t i = 0; i < sim->edit_count; i++)
		hurried = hurried && (sim->edit[i].key != e->key || sim->edit[i].id == i);
	log = &sim->events[sim_topic(hurried, e->key % SIM_PARTITIONS)];
	append(sim, log, edit);
	if (test_chance(&sim->seed, 8))
		append(sim, log, edit);
	if (test_chance(&sim->seed, 8)) {
		int old = (int)test_below(&sim->seed, (size_t)edit + 1);

		append(sim, &sim->events[sim->edit[old].key % SIM_PARTITIONS], old);
	}
	if (test_chance(&sim->seed, 3))
		append(sim, log, -1);
}
