/* Last write wins: the fold of one event into an entity's state, and the join of two states. */
#include "lockstep/stamp.h"

#include "core/mutant.h"

static struct ls_seen *seen_of(struct ls_state *state, struct ls_str source)
{
	for (size_t i = 0; i < state->seen_count; i++) {
		if (ls_str_equal(state->seen[i].source, source))
			return &state->seen[i];
	}
	return NULL;
}

static struct ls_seen *lowest(struct ls_state *state)
{
	struct ls_seen *low = &state->seen[0];

	for (size_t i = 1; i < state->seen_count; i++) {
		struct ls_seen *seen = &state->seen[i];

		if (seen->version < low->version ||
		    (seen->version == low->version && ls_str_compare(seen->source, low->source) < 0))
			low = seen;
	}
	return low;
}

static void note_seen(struct ls_state *state, struct ls_str source, int64_t version)
{
	struct ls_seen *seen = seen_of(state, source);

	if (seen) {
		if (seen->version < version)
			seen->version = version;
		return;
	}
	seen = state->seen_count < LS_SEEN_MAX ? &state->seen[state->seen_count++] : lowest(state);
	*seen = (struct ls_seen){ source, version };
}

static void make_winner(struct ls_state *state, const struct ls_event *event, int64_t offset)
{
	state->exists = true;
	state->deleted = event->change == LS_DELETE;
	state->stamp = ls_stamp_of(event);
	state->event_id = event->event_id;
	state->offset = offset;
	if (state->deleted && LS_MUTANT("delete.forgets"))
		state->stamp.version = 0, state->seen_count = 0;
}

/* Whether the writer of `event` did not know the state's winner when it wrote. An edit by the winner's own source
 * always did. */
static bool is_conflict(const struct ls_state *state, const struct ls_event *event)
{
	if (!state->exists || ls_str_equal(state->stamp.source, event->source))
		return false;
	if (event->base_offset != LS_NONE && !LS_MUTANT("conflict.by_version"))
		return state->offset >= event->base_offset;
	return event->base_version == LS_NONE || event->base_version < state->stamp.version;
}

struct ls_decision ls_decide(struct ls_state *state, const struct ls_event *event, int64_t offset)
{
	struct ls_stamp stamp = ls_stamp_of(event);
	const struct ls_seen *seen = seen_of(state, event->source);
	int order = state->exists ? ls_stamp_compare(&stamp, &state->stamp) : 1;
	struct ls_decision decision = { .verdict = LS_STALE };

	if (order == 0 && ls_str_equal(event->event_id, state->event_id)) {
		/* Its first place in the log is the one that later writers may have seen. */
		if (offset < state->offset)
			state->offset = offset;
		decision.verdict = LS_APPLY_AGAIN;
		return decision;
	}
	if (LS_MUTANT("version.ignored")) {
		decision.verdict = LS_APPLY;
		make_winner(state, event, offset);
		return decision;
	}
	if (seen && event->version <= seen->version) {
		decision.verdict = LS_DUPLICATE;
		return decision;
	}
	decision.conflict = is_conflict(state, event);
	note_seen(state, event->source, event->version);
	if (order > 0) {
		decision.verdict = LS_APPLY;
		make_winner(state, event, offset);
	}
	return decision;
}

void ls_state_join(struct ls_state *into, const struct ls_state *other)
{
	int order;

	if (!other->exists)
		return;
	if (!into->exists) {
		*into = *other;
		return;
	}
	for (size_t i = 0; i < other->seen_count; i++)
		note_seen(into, other->seen[i].source, other->seen[i].version);
	if (into->owner_epoch < other->owner_epoch)
		into->owner_epoch = other->owner_epoch;
	order = ls_stamp_compare(&other->stamp, &into->stamp);
	if (!order)
		order = ls_str_compare(other->event_id, into->event_id);
	if (order > 0) {
		into->deleted = other->deleted;
		into->stamp = other->stamp;
		into->event_id = other->event_id;
		into->offset = other->offset;
	} else if (!order && other->offset < into->offset) {
		into->offset = other->offset;
	}
}
