/* How a history must end, by the definition alone: of all events that the destination took, the greatest stamp of each
 * key; with a full ledger the first occurrence of an event id. Nothing here knows of marks, state or epochs. */
#include "sim.h"

/* take_log goes through the events of one key in the order of their log; `seen` are event ids met before. Where columns
 * are left out, one source writes the key into one log, and that order is the order of its versions. */
static void take_log(const struct sim *sim, size_t topic, size_t key, bool *seen, struct sim_row *row)
{
	const struct sim_log *events = &sim->events[topic];

	for (size_t i = 0; i < events->count; i++) {
		const struct sim_record *record = &events->record[i];
		const struct sim_edit *edit = record->edit < 0 ? NULL : &sim->edit[record->edit];
		int name = edit ? (int)edit->id : -1;
		struct ls_stamp stamp, held;

		if (!edit || edit->key != key || sim->data.dead[topic][record->offset])
			continue;
		if (sim->full && seen[edit->id])
			continue;
		seen[edit->id] = true;
		stamp = sim_stamp(sim, record->edit);
		if (row->writer >= 0 && (held = sim_stamp(sim, row->writer), ls_stamp_compare(&stamp, &held) <= 0))
			continue;
		if (edit->deletes)
			*row = (struct sim_row){ false, -1, -1, record->edit };
		else
			*row = (struct sim_row){ true, name, edit->partial ? row->b : name, record->edit };
	}
}

static struct sim_row expected(const struct sim *sim, size_t key)
{
	struct sim_row row = { false, -1, -1, -1 };
	bool seen[SIM_EDITS] = { false };

	for (size_t log = 0; log < SIM_LOGS; log++)
		take_log(sim, sim_topic(log, key % SIM_PARTITIONS), key, seen, &row);
	return row;
}

static void judge_row(struct sim *sim, size_t key)
{
	struct sim_row want = expected(sim, key), row = sim->data.row[key];
	struct ls_stamp held, best;

	if (row.present != want.present || row.a != want.a || row.b != want.b)
		sim_wrong(sim, "row of key %zu ends as (%d, e%d, e%d), not as (%d, e%d, e%d)", key, row.present, row.a,
			  row.b, want.present, want.a, want.b);
	if (row.writer < 0 || want.writer < 0)
		return;
	held = sim_stamp(sim, row.writer);
	best = sim_stamp(sim, want.writer);
	if (ls_stamp_compare(&held, &best) != 0)
		sim_wrong(sim, "key %zu ends with the stamp of %s v%lld, not of %s v%lld", key,
			  sim->edit[row.writer].name, (long long)held.version, sim->edit[want.writer].name,
			  (long long)best.version);
}

/* judge_state folds the versions topic: it must say of each key what the row says. */
static void judge_state(struct sim *sim, size_t key)
{
	const struct sim_log *log = &sim->versions[key % SIM_PARTITIONS];
	struct ls_state all = { .exists = false }, one;
	const struct sim_row *row = &sim->data.row[key];
	struct ls_stamp stamp;
	struct ls_error err;

	for (size_t i = 0; i < log->count; i++) {
		if (sim_key_of(log->record[i].key) != (int)key)
			continue;
		if (ls_state_decode(sim->tools->codec, log->record[i].value, sim->arena, &one, &err))
			sim_wrong(sim, "a state record does not decode: %s", err.text);
		else
			ls_state_join(&all, &one);
	}
	if (row->writer < 0)
		return;
	stamp = sim_stamp(sim, row->writer);
	if (!all.exists || ls_stamp_compare(&all.stamp, &stamp) != 0 || all.deleted == row->present)
		sim_wrong(sim, "the versions topic says v%lld%s of key %zu, its row was written by %s v%lld",
			  all.exists ? (long long)all.stamp.version : -1, all.deleted ? " deleted" : "", key,
			  sim->edit[row->writer].name, (long long)stamp.version);
}

/* A dead letter for each that was not taken, and for no other. */
static void judge_letters(struct sim *sim)
{
	for (size_t i = 0; i < SIM_TOPICS; i++) {
		const struct sim_log *log = &sim->events[i];
		const bool *dead = sim->data.dead[i];

		for (size_t r = 0; r < log->count; r++) {
			const struct sim_record *record = &log->record[r];

			if (dead[record->offset] && record->edit >= 0 && !record->refused &&
			    !sim->edit[record->edit].ahead)
				sim_wrong(sim, "%s:%lld is a dead letter without a reason", log->topic,
					  (long long)record->offset);
			if (record->edit < 0 && !dead[record->offset])
				sim_wrong(sim, "%s:%lld is no event and no dead letter", log->topic,
					  (long long)record->offset);
		}
	}
}

void sim_judge(struct sim *sim)
{
	for (size_t key = 0; key < SIM_KEYS; key++) {
		judge_row(sim, key);
		judge_state(sim, key);
	}
	judge_letters(sim);
}
