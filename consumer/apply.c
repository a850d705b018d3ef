/* A batch of one partition into the destination: plan, dead letters, apply, then state. What fails is narrowed down to
 * the one event that can never succeed; what may succeed later is tried again while the group is kept alive. */
#include "core/arena.h"
#include "core/failpoint.h"
#include "core/mutant.h"
#include "lane.h"
#include "main/app.h"

#include <stdint.h>
#include <stdio.h>

/* Only of a destination in which nothing may wait: see wait.c for the others. */
enum { CONSTRAINT_ATTEMPTS = 5 };

/* What is tried at once. */
struct batch {
	struct ls_item *items;
	const struct ls_message *message;
	size_t count, rest; /* to be tried now; with all that come after them */
	bool again;         /* the mark has passed them already: they wait */
	bool careful;       /* row by row */
};

static struct ls_slice slice_of(const struct ls_sink_lane *lane, const struct ls_part *part, const struct batch *batch)
{
	const struct ls_plan *plan = &lane->plan;
	struct ls_slice slice = {
		.mark = part->mark,
		.next_offset = batch->again ? part->mark.next_offset : batch->items[plan->count - 1].offset + 1,
		.max_version = plan->max_version > part->mark.max_version ? plan->max_version : part->mark.max_version,
		.last_event_id = plan->last_event_id,
		.entry = plan->entry,
		.entry_count = plan->count,
		.write = plan->write,
		.write_count = plan->write_count,
		.careful = batch->careful,
		.clash = plan->clash,
		.clash_count = plan->conflict_count,
	};

	if (slice.max_version == LS_NONE)
		slice.max_version = 0; /* nothing was decided: versions begin above it, and "none" means not known */
	ls_wait_list(lane, batch->items, batch->again, &slice);
	return slice;
}

/* ---- after the commit ---- */

static void count_up(struct ls_sink_lane *lane, const struct batch *batch, size_t rows)
{
	const struct ls_plan *plan = &lane->plan;
	const struct ls_item *items = batch->items;
	int64_t now_us = ls_now_us(), newest_us = 0;

	LS_COUNT(lane->base.stats, events, batch->again ? 0 : plan->count);
	LS_COUNT(lane->base.stats, batches, 1);
	LS_COUNT(lane->base.stats, rows, rows);
	LS_COUNT(lane->base.stats, applied, plan->applied);
	LS_COUNT(lane->base.stats, stale, plan->stale);
	LS_COUNT(lane->base.stats, duplicate, plan->duplicate);
	LS_COUNT(lane->base.stats, dead, plan->dead);
	LS_COUNT(lane->base.stats, conflict, plan->conflict_count);
	for (size_t i = 0; i < plan->count; i++) {
		if (plan->entry[i].status != LS_ENTRY_APPLIED)
			continue;
		newest_us = items[i].event.timestamp_us;
		ls_histogram_note(&lane->base.stats->commit_to_applied, now_us - newest_us);
	}
	if (newest_us)
		LS_GAUGE(lane->base.stats, lag_us, now_us > newest_us ? now_us - newest_us : 0);
}

static enum ls_class committed(struct ls_sink_lane *lane, struct ls_part *part, const struct batch *batch,
			       const struct ls_slice *slice, size_t rows, struct ls_error *err)
{
	enum ls_class class;

	LS_FAILPOINT_ERROR("sink.applied", err);
	/* The mark as known here moves last: a partition may be given back wherever the group is served, and no marker
	 * may then stand above what is in the versions topic. */
	class = ls_sink_conflicts(lane, part, err);
	if (class)
		return class;
	LS_FAILPOINT_ERROR("sink.conflicts_sent", err);
	class = ls_unit_save(lane, part->unit, &lane->plan, err);
	if (class)
		return class;
	part->mark.next_offset = slice->next_offset;
	part->mark.max_version = slice->max_version;
	lane->failures = 0;
	part->hold_ms = 0;
	ls_backoff_reset(&lane->backoff);
	if (batch->again)
		ls_wait_done(part, slice);
	else
		ls_wait_note(lane, part, batch->items, batch->message);
	count_up(lane, batch, rows);
	return LS_OK;
}

/* ---- trying again ---- */

static int64_t wait_ms(struct ls_sink_lane *lane)
{
	lane->failures++;
	if (lane->failures >= (unsigned)lane->config->breaker_failures)
		return lane->config->breaker_cooldown_ms;
	return ls_backoff_next(&lane->backoff);
}

/* wait_out serves the group for the time of the backoff. */
static enum ls_class wait_out(struct ls_sink_lane *lane, const struct ls_error *why, struct ls_error *err)
{
	int64_t wait = wait_ms(lane), until = ls_monotonic_ms() + wait;
	bool open = lane->failures >= (unsigned)lane->config->breaker_failures;
	char next[96];

	snprintf(next, sizeof next, "%s in %lld ms", open ? "breaker open, one probe" : "try again", (long long)wait);
	ls_log_error(lane->base.app->log, LS_LOG_WARN, lane->base.name, why, next);
	ls_stats_error(lane->base.stats, why->text);
	LS_COUNT(lane->base.stats, retries, 1);
	while (ls_monotonic_ms() < until) {
		enum ls_class class = ls_sink_poll(lane, 50, err);

		if (class)
			return class;
		if (ls_stop_is_set(&lane->base.app->stop))
			return ls_fail(err, LS_RETRY, "stop",
				       "destination %s: stopped while it waited to try a batch again",
				       lane->config->name);
	}
	return LS_OK;
}

/* reclaim takes the partition again after an attempt whose end is not known, and says whether it was committed after
 * all. */
static enum ls_class reclaim(struct ls_sink_lane *lane, struct ls_part *part, const struct ls_slice *slice,
			     bool *ret_done, struct ls_error *err)
{
	struct ls_mark mark = part->mark;
	enum ls_class class;

	if (ls_consumer_lost(lane->consumer))
		return ls_fail(err, LS_FENCED, "lost", "the partitions of %s were given to another sink",
			       lane->config->name);
	LS_FAILPOINT_ERROR("sink.reclaim", err);
	class = lane->dst->ops->claim(lane->dst, &mark, 1, err);
	if (class)
		return class;
	LS_FAILPOINT_ERROR("sink.reclaimed", err);
	/* It may not have moved this log yet; but the state held here lacks what it did in the other one. */
	if (mark.owner_epoch != part->mark.owner_epoch + 1)
		return ls_fail(err, LS_FENCED, "owner_epoch",
			       "destination %s, topic %.*s partition %d: another sink has claimed it in between "
			       "(epoch %lld after %lld)",
			       lane->config->name, LS_ARG(mark.topic), mark.partition, (long long)mark.owner_epoch,
			       (long long)part->mark.owner_epoch);
	if (mark.next_offset != part->mark.next_offset && mark.next_offset != slice->next_offset)
		return ls_fail(err, LS_FENCED, "next_offset",
			       "destination %s, topic %.*s partition %d: its mark stands at "
			       "%lld, expected %lld or %lld: another sink works on it",
			       lane->config->name, LS_ARG(mark.topic), mark.partition, (long long)mark.next_offset,
			       (long long)part->mark.next_offset, (long long)slice->next_offset);
	*ret_done = mark.next_offset == slice->next_offset;
	part->mark.owner_epoch = mark.owner_epoch;
	if (mark.owner_epoch > part->unit->owner_epoch)
		part->unit->owner_epoch = mark.owner_epoch;
	return LS_OK;
}

static enum ls_class recover(struct ls_sink_lane *lane, struct ls_part *part, const struct ls_slice *slice,
			     struct ls_error *why, bool *ret_done, struct ls_error *err)
{
	*ret_done = false;
	for (;;) {
		enum ls_class class = wait_out(lane, why, err);

		if (class)
			return class;
		class = reclaim(lane, part, slice, ret_done, why);
		if (class != LS_RETRY) {
			if (class)
				*err = *why;
			return class;
		}
	}
}

/* ---- one attempt ---- */

static void mark_known(struct ls_item *items, const struct ls_outcome *outcome)
{
	for (size_t i = 0; i < outcome->known_count; i++)
		items[outcome->known[i]].fate = LS_FATE_KNOWN;
}

/* doubt_known: an event id may have been known for no more than an earlier event of the slice that now fails. */
static void doubt_known(struct ls_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (items[i].fate == LS_FATE_KNOWN)
			items[i].fate = LS_FATE_EVENT;
}

/* set_aside takes the rows that the destination refused out of the batch, with all that it has of their keys: what a
 * row of another partition may mend waits, the rest are dead letters. */
static enum ls_class set_aside(struct ls_sink_lane *lane, struct ls_part *part, const struct batch *batch,
			       const struct ls_outcome *outcome, struct ls_error *err)
{
	for (size_t i = 0; i < outcome->refused_count; i++) {
		const struct ls_refused *refused = &outcome->refused[i];
		struct ls_item *winner = &batch->items[lane->plan.write[refused->write].entry];
		bool waits = ls_wait_is_constraint(refused->code);
		struct ls_error why;

		if (winner->fate != LS_FATE_EVENT)
			continue; /* refused by two tables */
		(void)ls_fail(&why, LS_POISON, refused->code, "%.*s", LS_ARG(refused->reason));
		for (size_t k = 0; k < batch->rest; k++) {
			struct ls_item *item = &batch->items[k];

			if (item->fate != LS_FATE_EVENT ||
			    !ls_str_equal(item->event.entity_id, winner->event.entity_id))
				continue;
			if (waits && !item->hopeless)
				ls_item_wait(lane, item, refused);
			else if (waits || item == winner)
				ls_item_kill(lane, item, &why);
		}
	}
	for (size_t k = 0; batch->again && k < lane->plan.count; k++) {
		enum ls_class class = batch->items[k].fate == LS_FATE_DEAD && !batch->items[k].dead_sent
					      ? ls_wait_back(lane, part, &batch->items[k], err)
					      : LS_OK;

		if (class)
			return class;
	}
	return LS_OK;
}

/* What an attempt came to. */
struct end {
	size_t done;    /* items that are through */
	size_t suspect; /* on LS_POISON: the item that failed, or SIZE_MAX */
};

/* attempt applies a prefix of the batch. On LS_POISON lane->plan is still the plan that failed. */
static enum ls_class attempt(struct ls_sink_lane *lane, struct ls_part *part, const struct batch *batch,
			     struct end *ret, struct ls_error *err)
{
	struct ls_outcome outcome;
	struct ls_slice slice;
	enum ls_class class;
	bool done = false;

	do {
		class = ls_unit_plan(lane, part->unit, batch->items, batch->count, err);
		if (!class)
			class = ls_conflicts_gather(lane, part->unit, batch->items, err);
		if (class)
			return class;
		slice = slice_of(lane, part, batch);
		outcome = (struct ls_outcome){ .failed_write = SIZE_MAX };
		if (LS_MUTANT("state.first") && ls_unit_save(lane, part->unit, &lane->plan, err))
			return err->class;
		class = lane->dst->ops->apply(lane->dst, &slice, lane->plan_arena, &outcome, err);
		if (!class)
			mark_known(batch->items, &outcome);
	} while (!class && outcome.known_count);
	LS_FAILPOINT("sink.apply_returned");
	if (!batch->again && class == LS_RETRY) {
		struct ls_error why = *err;

		class = recover(lane, part, &slice, &why, &done, err);
		if (class || !done)
			return class;
	}
	ret->suspect = outcome.failed_write < slice.write_count ? slice.write[outcome.failed_write].entry : SIZE_MAX;
	if (class == LS_POISON || outcome.refused_count)
		doubt_known(batch->items, batch->count);
	if (!class && outcome.refused_count)
		return set_aside(lane, part, batch, &outcome, err);
	if (class)
		return class;
	ret->done = lane->plan.count;
	return committed(lane, part, batch, &slice, outcome.rows, err);
}

/* alone: no other event of this key is part of the write that failed. */
static bool alone(const struct ls_sink_lane *lane, const struct ls_item *item)
{
	const struct ls_plan_key *key = ls_map_get(&lane->plan.keys, item->event.entity_id);

	return key && key->applied == 1;
}

/* narrow decides what to try next after a failed attempt on items[0..*limit). */
static enum ls_class narrow(struct ls_sink_lane *lane, struct ls_item *items, size_t *limit, size_t suspect,
			    struct ls_error *why, struct ls_error *err)
{
	size_t tried = lane->plan.count;
	bool repairable = ls_wait_is_constraint(why->code);

	if (suspect == SIZE_MAX && tried == 1)
		suspect = 0;
	if (suspect == SIZE_MAX) {
		*limit = tried / 2;
	} else if (tried > 1 && (!alone(lane, &items[suspect]) || repairable)) {
		*limit = suspect ? suspect : 1;
	} else if (repairable && ++items[suspect].attempts < CONSTRAINT_ATTEMPTS) {
		return wait_out(lane, why, err);
	} else {
		ls_item_kill(lane, &items[suspect], why);
		ls_stats_error(lane->base.stats, why->text);
		lane->failures = 0;
	}
	return LS_OK;
}

/* through: nothing of the batch is left but what goes on waiting. */
static bool through(const struct batch *batch)
{
	if (!batch->again)
		return batch->count == 0;
	for (size_t i = 0; i < batch->count; i++)
		if (batch->items[i].fate != LS_FATE_WAIT)
			return false;
	return true;
}

static enum ls_class apply_all(struct ls_sink_lane *lane, struct ls_part *part, struct batch all, struct ls_error *err)
{
	size_t limit = all.count, whole = all.count;

	while (!through(&all)) {
		struct batch batch = all;
		struct end end = { 0, SIZE_MAX };
		struct ls_error why;
		enum ls_class class;

		batch.rest = all.count;
		batch.count = limit < all.count ? limit : all.count;
		if (!all.again)
			ls_wait_behind(lane, part, batch.items, batch.count);
		class = ls_sink_bury(lane, batch.message, batch.items, batch.count, err);
		if (class)
			return class;
		class = attempt(lane, part, &batch, &end, &why);
		if (class == LS_POISON) {
			if (!all.careful && lane->dst->ops->waits && ls_wait_is_constraint(why.code))
				all.careful = true;
			else
				class = narrow(lane, batch.items, &limit, end.suspect, &why, err);
			if (class && class != LS_POISON)
				return class;
			continue;
		}
		if (!all.again && ls_hold_mends(class, &why)) {
			ls_hold(lane, part, &why);
			return LS_OK;
		}
		if (class) {
			*err = why;
			return class;
		}
		all.items += end.done;
		all.message += end.done;
		all.count -= end.done;
		all.careful = all.careful && !end.done;
		limit = limit * 2 < whole ? limit * 2 : whole;
	}
	return LS_OK;
}

enum ls_class ls_sink_apply(struct ls_sink_lane *lane, struct ls_part *part, struct ls_item *items,
			    const struct ls_message *message, size_t count, struct ls_error *err)
{
	return apply_all(lane, part, (struct batch){ .items = items, .message = message, .count = count }, err);
}

enum ls_class ls_sink_apply_again(struct ls_sink_lane *lane, struct ls_part *part, struct ls_item *items,
				  const struct ls_message *message, size_t count, struct ls_error *err)
{
	struct batch batch = { .items = items, .message = message, .count = count, .again = true };

	return apply_all(lane, part, batch, err);
}
