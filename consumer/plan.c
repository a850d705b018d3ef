/* From decoded events to one slice: see plan.h. */
#include "plan.h"

#include "core/arena.h"

#include <stdint.h>

void ls_plan_init(struct ls_plan *plan)
{
	*plan = (struct ls_plan){ 0 };
	ls_map_init(&plan->keys);
}

void ls_plan_release(struct ls_plan *plan)
{
	ls_map_release(&plan->keys);
}

static enum ls_class key_of(struct ls_plan *plan, const struct ls_plan_input *input, struct ls_str entity_id,
			    struct ls_plan_key **ret, struct ls_error *err)
{
	struct ls_map_slot *slot = ls_map_at(&plan->keys, entity_id);
	struct ls_plan_key *key = slot->value;
	enum ls_class class;

	if (!key) {
		key = ls_arena_alloc(input->arena, sizeof *key);
		key->entity_id = entity_id;
		key->changed = false;
		key->write = SIZE_MAX;
		key->applied = 0;
		key->again = NULL;
		class = input->lookup(input->context, entity_id, &key->state, err);
		if (class)
			return class;
		if (key->state.exists && key->state.stamp.version > input->floor)
			key->again = ls_arena_zalloc(input->arena, sizeof *key->again);
		slot->value = key;
	}
	*ret = key;
	return LS_OK;
}

static bool has_absent(const struct ls_row *row)
{
	for (size_t i = 0; i < row->schema->count; i++)
		if (row->value[i].presence == LS_ABSENT)
			return true;
	return false;
}

/* mergeable: can this row's absent columns be taken from the write that the slice already has for its key? */
static bool mergeable(const struct ls_write *held, const struct ls_event *event)
{
	if (event->change == LS_DELETE || !has_absent(&event->after))
		return true;
	return held->op == LS_WRITE_UPSERT && held->row.schema == event->after.schema;
}

static struct ls_row merge(const struct ls_row *older, const struct ls_row *newer, struct ls_arena *arena)
{
	struct ls_row row = { newer->schema, ls_arena_alloc(arena, newer->schema->count * sizeof *row.value) };

	for (size_t i = 0; i < newer->schema->count; i++)
		row.value[i] = newer->value[i].presence == LS_ABSENT ? older->value[i] : newer->value[i];
	return row;
}

struct ls_row ls_plan_key_row(const struct ls_schema *key_schema, struct ls_str entity_id, struct ls_arena *arena)
{
	struct ls_row row = { key_schema, ls_arena_zalloc(arena, key_schema->count * sizeof *row.value) };
	struct ls_str *part = ls_arena_alloc(arena, key_schema->count * sizeof *part);

	if (!ls_entity_id_split(entity_id, key_schema->count, arena, part))
		return (struct ls_row){ NULL, NULL };
	for (size_t i = 0; i < key_schema->count; i++)
		row.value[i] = (struct ls_value){ LS_PRESENT, part[i] };
	return row;
}

/* put_writes makes the event the one write of its key, in each table that takes this entity. */
static void put_writes(struct ls_plan *plan, const struct ls_plan_input *input, struct ls_plan_key *key,
		       const struct ls_event *event, size_t entry)
{
	bool fresh = key->write == SIZE_MAX;

	if (fresh) {
		key->write = plan->write_count;
		plan->write_count += input->mapping_count;
	}
	for (size_t i = 0; i < input->mapping_count; i++) {
		struct ls_write *write = &plan->write[key->write + i];
		struct ls_row row = event->after;

		if (event->change == LS_DELETE)
			row = ls_plan_key_row(input->key_schema[i], key->entity_id, input->arena);
		else if (!fresh && has_absent(&row))
			row = merge(&write->row, &row, input->arena);
		*write = (struct ls_write){
			.op = event->change == LS_DELETE ? LS_WRITE_DELETE : LS_WRITE_UPSERT,
			.mapping = input->mapping[i],
			.row = row,
			.event = event,
			.entry = entry,
		};
	}
	key->applied++;
}

static bool is_write(enum ls_verdict verdict)
{
	return verdict == LS_APPLY || verdict == LS_APPLY_AGAIN;
}

/* decide folds the event into the state. Where that is ahead, it is the events from the mark on, folded anew, that say
 * what is written. */
static struct ls_decision decide(struct ls_state *state, struct ls_state *again, int64_t floor,
				 const struct ls_item *item, bool *ret_changed)
{
	struct ls_decision decision = ls_decide(state, &item->event, item->offset), anew;

	*ret_changed = decision.verdict != LS_DUPLICATE;
	if (!again || item->event.version <= floor)
		return decision;
	anew = ls_decide(again, &item->event, item->offset);
	if (is_write(anew.verdict))
		decision.verdict = anew.verdict;
	return decision;
}

/* must_end: the slice ends before this event when it would be written and cannot be merged with its key's write. */
static bool must_end(const struct ls_plan *plan, const struct ls_plan_input *input, const struct ls_plan_key *key,
		     const struct ls_item *item)
{
	struct ls_state trial, again;
	bool changed;

	if (key->write == SIZE_MAX || mergeable(&plan->write[key->write], &item->event))
		return false;
	trial = key->state;
	if (key->again)
		again = *key->again;
	return is_write(decide(&trial, key->again ? &again : NULL, input->floor, item, &changed).verdict);
}

/* decide_item folds one event into its key's state and takes down what is to be done with it. */
static void decide_item(struct ls_plan *plan, const struct ls_plan_input *input, struct ls_plan_key *key,
			const struct ls_item *item, size_t index)
{
	struct ls_stamp held = key->state.stamp;
	struct ls_str held_event_id = key->state.event_id;
	int64_t held_offset = key->state.offset;
	bool changed;
	struct ls_decision decision = decide(&key->state, key->again, input->floor, item, &changed);
	struct ls_entry *entry = &plan->entry[index];

	key->changed = key->changed || changed;
	if (decision.conflict)
		plan->conflict[plan->conflict_count++] = (struct ls_conflict){
			.item = index,
			.held = held,
			.held_event_id = held_event_id,
			.held_offset = held_offset,
			.applied = decision.verdict == LS_APPLY,
		};
	entry->event_id = item->event.event_id;
	switch (decision.verdict) {
	case LS_APPLY:
	case LS_APPLY_AGAIN:
		entry->status = LS_ENTRY_APPLIED;
		plan->applied++;
		put_writes(plan, input, key, &item->event, index);
		break;
	case LS_STALE:
		entry->status = LS_ENTRY_STALE;
		plan->stale++;
		break;
	case LS_DUPLICATE:
		entry->status = LS_ENTRY_DUPLICATE;
		plan->duplicate++;
		break;
	}
}

static void pass_over(struct ls_plan *plan, const struct ls_item *item, struct ls_entry *entry)
{
	entry->event_id = item->event.event_id;
	entry->status = LS_ENTRY_DUPLICATE;
	if (item->fate == LS_FATE_WAIT)
		return;
	entry->passed_over = true;
	if (item->fate == LS_FATE_KNOWN) {
		plan->duplicate++;
		return;
	}
	plan->dead++;
	if (item->event.event_id.len) {
		entry->status = LS_ENTRY_DEAD;
		entry->error = ls_str_of(item->reason);
	}
}

static void begin(struct ls_plan *plan, const struct ls_plan_input *input, size_t count)
{
	struct ls_map keys = plan->keys;

	ls_map_clear(&keys);
	*plan = (struct ls_plan){ .keys = keys, .max_version = LS_NONE };
	plan->entry = ls_arena_zalloc(input->arena, count * sizeof *plan->entry);
	plan->write = ls_arena_alloc(input->arena, count * input->mapping_count * sizeof *plan->write);
	plan->conflict = ls_arena_alloc(input->arena, count * sizeof *plan->conflict);
}

/* is_held: the state has it as its winner, so folding it again changes nothing, and nothing of it need be noted. */
static enum ls_class is_held(const struct ls_plan *plan, const struct ls_plan_input *input, const struct ls_item *item,
			     bool *ret, struct ls_error *err)
{
	const struct ls_plan_key *key = ls_map_get(&plan->keys, item->event.entity_id);
	struct ls_stamp stamp = ls_stamp_of(&item->event);
	struct ls_state stored;
	const struct ls_state *state = key ? &key->state : &stored;
	enum ls_class class = key ? LS_OK : input->lookup(input->context, item->event.entity_id, &stored, err);

	if (!class)
		*ret = state->exists && ls_str_equal(state->event_id, item->event.event_id) &&
		       ls_stamp_compare(&state->stamp, &stamp) == 0;
	return class;
}

enum ls_class ls_plan_make(struct ls_plan *plan, const struct ls_plan_input *input, struct ls_item *items, size_t count,
			   struct ls_error *err)
{
	begin(plan, input, count);
	for (size_t i = 0; i < count; i++) {
		struct ls_item *item = &items[i];
		struct ls_plan_key *key;
		enum ls_class class;

		plan->entry[i].offset = item->offset;
		if (item->fate != LS_FATE_EVENT) {
			bool held = false;

			class = item->fate == LS_FATE_KNOWN ? is_held(plan, input, item, &held, err) : LS_OK;
			if (class)
				return class;
			pass_over(plan, item, &plan->entry[i]);
			plan->entry[i].passed_over = plan->entry[i].passed_over && !held;
		} else {
			class = key_of(plan, input, item->event.entity_id, &key, err);
			if (class)
				return class;
			if (must_end(plan, input, key, item))
				break;
			decide_item(plan, input, key, item, i);
			if (item->event.version > plan->max_version)
				plan->max_version = item->event.version;
		}
		if (plan->entry[i].event_id.len)
			plan->last_event_id = plan->entry[i].event_id;
		plan->count = i + 1;
	}
	return LS_OK;
}
