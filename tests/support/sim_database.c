/* The destination of the simulated world: rows, marks and ledger that commit together. It judges each commit against
 * what must never happen: a row that goes back, an effect twice, a mark past a dead letter that is not there. */
#include "sim.h"

#include <stdlib.h>

struct destination {
	struct ls_destination base;
	struct sim_lane *lane;
};

static struct sim_lane *lane_of(struct ls_destination *base)
{
	return ((struct destination *)base)->lane;
}

static size_t place(const struct sim *sim, const struct ls_mark *mark)
{
	return sim_topic(ls_str_equal(mark->topic, ls_str_of(sim->events[sim_topic(1, 0)].topic)),
			 (size_t)mark->partition);
}

static enum ls_class destination_open(const void *options, const struct ls_destination_context *context,
				      struct ls_destination **ret, struct ls_error *err)
{
	struct sim_lane *lane = sim_self();
	struct destination *dst;

	(void)options, (void)context;
	if (sim_step(lane))
		return ls_fail(err, LS_FATAL, "dead", "dead");
	dst = calloc(1, sizeof *dst);
	if (!dst)
		abort();
	*dst = (struct destination){ { &sim_destination }, lane };
	*ret = &dst->base;
	return LS_OK;
}

static struct ls_destination *destination_close(struct ls_destination *base)
{
	free(base);
	return NULL;
}

static enum ls_class destination_claim(struct ls_destination *base, struct ls_mark *mark, size_t count,
				       struct ls_error *err)
{
	struct sim_lane *lane = lane_of(base);
	struct sim *sim = lane->sim;

	if (sim_step(lane))
		return ls_fail(err, LS_FATAL, "dead", "dead");
	sim_keep_promise(lane);
	if (!sim->calm && test_chance(&sim->seed, 3))
		return ls_fail(err, LS_RETRY, "08006", "no answer to a claim");
	for (size_t i = 0; i < count; i++) {
		struct sim_mark *held = &sim->data.mark[place(sim, &mark[i])];

		mark[i].owner_epoch = ++held->owner_epoch;
		held->owner = lane->number;
		mark[i].next_offset = held->next_offset;
		mark[i].max_version = held->max_version;
		sim_note(sim, "claims %s/%d: epoch %lld, next %lld, max v%lld", sim->events[place(sim, &mark[i])].topic,
			 mark[i].partition, (long long)held->owner_epoch, (long long)held->next_offset,
			 (long long)held->max_version);
	}
	return LS_OK;
}

/* ---- one slice ---- */

static int edit_of(const struct sim *sim, const struct ls_event *event)
{
	for (size_t i = 0; i < sim->edit_count; i++)
		if (ls_str_equal(ls_str_of(sim->edit[i].event_id), event->event_id) &&
		    sim->edit[i].version == event->version)
			return (int)i;
	return -1;
}

static int name_of(const struct sim *sim, const struct ls_write *write, const char *column)
{
	size_t at = ls_schema_find(write->row.schema, ls_str_of(column));
	const struct ls_value *value = &write->row.value[at];

	if (at == write->row.schema->count || value->presence != LS_PRESENT)
		return -1;
	for (size_t i = 0; i < sim->edit_count; i++)
		if (ls_str_equal(ls_str_of(sim->edit[i].name), value->text))
			return (int)i;
	return -1;
}

static bool absent(const struct ls_write *write, const char *column)
{
	size_t at = ls_schema_find(write->row.schema, ls_str_of(column));

	return at < write->row.schema->count && write->row.value[at].presence == LS_ABSENT;
}

static void write_row(struct sim *sim, struct sim_data *data, const struct ls_write *write)
{
	struct sim_row *row = &data->row[sim_key_of(write->event->entity_id)], was = *row;
	int edit = edit_of(sim, write->event);
	struct ls_stamp stamp = sim_stamp(sim, edit), held;

	if (was.writer >= 0) {
		held = sim_stamp(sim, was.writer);
		if (ls_stamp_compare(&stamp, &held) < 0)
			sim_wrong(sim, "key %d goes back from %s to %s", sim_key_of(write->event->entity_id),
				  sim->edit[was.writer].name, sim->edit[edit].name);
	}
	row->present = write->op == LS_WRITE_UPSERT;
	row->a = row->present ? name_of(sim, write, "a") : -1;
	if (!row->present || !absent(write, "b"))
		row->b = row->present ? name_of(sim, write, "b") : -1;
	row->writer = edit;
	if (was.writer == edit || (was.present == row->present && was.a == row->a && was.b == row->b))
		return;
	data->effects[sim->full ? sim->edit[edit].id : (size_t)edit]++;
	if (data->effects[sim->full ? sim->edit[edit].id : (size_t)edit] > 1)
		sim_wrong(sim, "%s takes effect twice", sim->edit[edit].name);
}

static struct sim_record *record_of(struct sim *sim, const struct ls_slice *slice, const struct ls_entry *entry)
{
	return sim_log_at(&sim->events[place(sim, &slice->mark)], entry->offset);
}

/* known lists what the ledger has, or what this slice brings twice, as the real ledger would. */
static bool known(struct sim *sim, const struct ls_slice *slice, struct ls_arena *arena, struct ls_outcome *ret)
{
	bool seen[SIM_EDITS];

	memcpy(seen, sim->data.entered, sizeof seen);
	ret->known = ls_arena_alloc(arena, (slice->entry_count + 1) * sizeof *ret->known);
	for (size_t i = 0; sim->full && i < slice->entry_count; i++) {
		const struct ls_entry *entry = &slice->entry[i];
		size_t id;

		if (entry->status != LS_ENTRY_APPLIED && entry->status != LS_ENTRY_STALE)
			continue;
		id = sim->edit[record_of(sim, slice, entry)->edit].id;
		if (seen[id])
			ret->known[ret->known_count++] = i;
		seen[id] = true;
	}
	return ret->known_count > 0;
}

/* refused: the record of this write is not taken, or one whose column it carries along is not. */
static bool refused(struct sim *sim, const struct ls_slice *slice, const struct ls_write *write)
{
	int a = name_of(sim, write, "a"), b = name_of(sim, write, "b");

	if (record_of(sim, slice, &slice->entry[write->entry])->refused)
		return true;
	for (size_t i = 0; b >= 0 && b != a && i < slice->entry_count; i++) {
		const struct sim_record *record = record_of(sim, slice, &slice->entry[i]);

		if (record->refused && (int)sim->edit[record->edit].id == b)
			return true;
	}
	return false;
}

static enum ls_class refuse(struct sim *sim, const struct ls_slice *slice, struct ls_outcome *ret, struct ls_error *err)
{
	for (size_t i = 0; i < slice->write_count; i++) {
		if (!refused(sim, slice, &slice->write[i]))
			continue;
		ret->failed_write = test_chance(&sim->seed, 50) ? i : SIZE_MAX;
		return ls_fail(err, LS_POISON, "23514", "the row is not taken");
	}
	return LS_OK;
}

static bool has_letter(const struct sim *sim, const struct ls_slice *slice, int64_t offset)
{
	char key[LS_TOPIC_NAME + 48];
	int len = snprintf(key, sizeof key, "%.*s-%d-%lld", LS_ARG(slice->mark.topic), slice->mark.partition,
			   (long long)offset);

	for (size_t i = 0; i < sim->letters.count; i++)
		if (ls_str_equal(sim->letters.record[i].key, (struct ls_str){ key, (size_t)len }))
			return true;
	return false;
}

static void enter(struct sim *sim, struct sim_data *data, const struct ls_slice *slice, const struct ls_entry *entry)
{
	size_t at = place(sim, &slice->mark);
	const struct sim_record *record = record_of(sim, slice, entry);
	bool dead = entry->status == LS_ENTRY_DEAD || (entry->passed_over && record->edit < 0);

	sim_note(sim, "  :%lld %s%s", (long long)entry->offset,
		 (const char *[]){ "applied", "stale", "dead", "duplicate" }[entry->status],
		 entry->passed_over ? ", passed over" : "");
	if (entry->passed_over)
		data->passed[at][entry->offset] = true;
	if (entry->status == LS_ENTRY_APPLIED || entry->status == LS_ENTRY_STALE)
		data->entered[sim->edit[record->edit].id] = true;
	data->dead[at][entry->offset] = dead;
	if (dead && !has_letter(sim, slice, entry->offset))
		sim_wrong(sim, "the mark passes %s:%lld, whose dead letter is not in the topic", sim->events[at].topic,
			  (long long)entry->offset);
}

static void commit(struct sim *sim, struct sim_data *data, const struct ls_slice *slice)
{
	struct sim_mark *mark = &data->mark[place(sim, &slice->mark)];

	if (slice->next_offset <= mark->next_offset && sim->mutant == SIM_SOUND)
		sim_wrong(sim, "a mark goes back from %lld to %lld", (long long)mark->next_offset,
			  (long long)slice->next_offset);
	sim_note(sim, "commits %s/%d: %lld to %lld under epoch %lld", sim->events[place(sim, &slice->mark)].topic,
		 slice->mark.partition, (long long)mark->next_offset, (long long)slice->next_offset,
		 (long long)slice->mark.owner_epoch);
	mark->next_offset = slice->next_offset;
	mark->max_version = slice->max_version;
	for (size_t i = 0; i < slice->entry_count; i++)
		enter(sim, data, slice, &slice->entry[i]);
	for (size_t i = 0; i < slice->write_count; i++)
		write_row(sim, data, &slice->write[i]);
}

/* What SIM_STATE_FIRST answered as committed: it is, a little later, unless the lane dies before or loses the mark. */
struct sim_promise {
	struct sim_data data;
	size_t place;
	struct sim_mark mark; /* as it stood */
};

void sim_keep_promise(struct sim_lane *lane)
{
	struct sim_promise *promise = lane->promise;
	struct sim_data *data = &lane->sim->data;

	lane->promise = NULL;
	if (promise && !lane->killed &&
	    memcmp(&data->mark[promise->place], &promise->mark, sizeof promise->mark) == 0) {
		data->mark[promise->place] = promise->data.mark[promise->place];
		memcpy(data->dead[promise->place], promise->data.dead[promise->place], sizeof *data->dead);
		memcpy(data->passed[promise->place], promise->data.passed[promise->place], sizeof *data->passed);
		for (size_t key = promise->place % SIM_PARTITIONS; key < SIM_KEYS; key += SIM_PARTITIONS)
			data->row[key] = promise->data.row[key];
		for (size_t i = 0; i < SIM_EDITS; i++)
			data->entered[i] = data->entered[i] || promise->data.entered[i];
	}
	free(promise);
}

static void promise(struct sim_lane *lane, const struct ls_slice *slice)
{
	struct sim_promise *promise = malloc(sizeof *promise);

	if (!promise)
		abort();
	promise->place = place(lane->sim, &slice->mark);
	promise->mark = lane->sim->data.mark[promise->place];
	promise->data = lane->sim->data;
	commit(lane->sim, &promise->data, slice);
	lane->promise = promise;
}

static bool fenced(const struct sim_lane *lane, const struct ls_mark *mine)
{
	const struct sim *sim = lane->sim;
	const struct sim_mark *mark = &sim->data.mark[place(sim, mine)];

	if (sim->mutant == SIM_MARK_UNCHECKED)
		return false;
	return mark->next_offset != mine->next_offset ||
	       ((mark->owner_epoch != mine->owner_epoch || mark->owner != lane->number) &&
		sim->mutant != SIM_ZOMBIE_UNFENCED);
}

static enum ls_class destination_apply(struct ls_destination *base, const struct ls_slice *slice,
				       struct ls_arena *arena, struct ls_outcome *ret, struct ls_error *err)
{
	struct sim_lane *lane = lane_of(base);
	struct sim *sim = lane->sim;
	enum ls_class class;

	*ret = (struct ls_outcome){ .failed_write = SIZE_MAX };
	if (sim_step(lane))
		return ls_fail(err, LS_FATAL, "dead", "dead");
	sim_keep_promise(lane);
	if (!sim->calm && test_chance(&sim->seed, 4))
		return ls_fail(err, LS_RETRY, "08006", "the connection was lost before the commit");
	if (fenced(lane, &slice->mark))
		return ls_fail(err, LS_FENCED, "LS001", "the mark is not as expected");
	if (known(sim, slice, arena, ret))
		return LS_OK;
	class = refuse(sim, slice, ret, err);
	if (class)
		return class;
	if (sim->mutant == SIM_STATE_FIRST) {
		promise(lane, slice);
		return LS_OK;
	}
	commit(sim, &sim->data, slice);
	ret->rows = slice->write_count;
	if (!sim->calm && test_chance(&sim->seed, 4))
		return ls_fail(err, LS_RETRY, "08006", "the reply of the commit was lost");
	return LS_OK;
}

static enum ls_class destination_passed(struct ls_destination *base, const struct ls_mark *mark, const int64_t *offset,
					size_t count, struct ls_arena *arena, bool *ret, struct ls_error *err)
{
	struct sim_lane *lane = lane_of(base);
	struct sim *sim = lane->sim;

	(void)arena;
	if (sim_step(lane))
		return ls_fail(err, LS_FATAL, "dead", "dead");
	if (fenced(lane, mark))
		return ls_fail(err, LS_FENCED, "LS001", "the mark is not as expected");
	for (size_t i = 0; i < count; i++)
		ret[i] = sim->mutant != SIM_NOTES_UNREAD && sim->data.passed[place(sim, mark)][offset[i]];
	return LS_OK;
}

static enum ls_class destination_stand(struct ls_destination *base, struct ls_arena *arena, struct ls_mark **ret,
				       size_t *ret_count, struct ls_error *err)
{
	struct sim_lane *lane = lane_of(base);
	struct ls_mark *mark = ls_arena_zalloc(arena, SIM_TOPICS * sizeof *mark);

	if (sim_step(lane))
		return ls_fail(err, LS_FATAL, "dead", "dead");
	for (size_t i = 0; i < SIM_TOPICS; i++) {
		const struct sim_mark *held = &lane->sim->data.mark[i];

		mark[i].topic = ls_str_of(lane->sim->events[i].topic);
		mark[i].partition = lane->sim->events[i].partition;
		mark[i].next_offset = held->next_offset;
		mark[i].owner_epoch = held->owner_epoch;
		mark[i].max_version = held->max_version;
	}
	*ret = mark;
	*ret_count = SIM_TOPICS;
	return LS_OK;
}

const struct ls_destination_ops sim_destination = {
	.kind = "simulated",
	.summary = "a destination of the simulated world",
	.open = destination_open,
	.claim = destination_claim,
	.apply = destination_apply,
	.passed = destination_passed,
	.stand = destination_stand,
	.close = destination_close,
};
