/* Conflicts: two changes of one entity by different sources, neither of whose writers had seen the other. Both sides
 * are kept with their rows: in the destination's sync_conflicts, in the transaction of the slice, and in
 * {prefix}.conflicts.
 *
 * The event that came is at hand. Of the one that held the entity the state knows only stamp, id and offset: it is in
 * the same batch, or it is read again from its topic, which also tells whether a row of a snapshot says the same.
 *
 * A record is sent after the commit, so that none is of a slice that was not taken, and acknowledged before the state
 * is stored, so that a killed sink finds the conflict again when it folds the log: at least once, under one key. */
#include "core/arena.h"
#include "core/failpoint.h"
#include "core/json.h"
#include "lane.h"
#include "main/app.h"

#include <stdlib.h>

enum { FETCH_MAX = 512, GAP = 5000, PATIENCE_MS = 30000, CACHE_BYTES = 4 << 20 };

/* What one gathering looks for: conflicts in the order of the offsets of what held their entities. */
struct search {
	struct ls_sink_lane *lane;
	const struct ls_unit *unit;
	struct ls_conflict **want;
	size_t count;
};

static int by_offset(const void *a, const void *b)
{
	const struct ls_conflict *const *left = a, *const *right = b;

	return ((*left)->held_offset > (*right)->held_offset) - ((*left)->held_offset < (*right)->held_offset);
}

/* in_batch: what held the entity came in this very slice. */
static const struct ls_event *in_batch(const struct ls_item *items, const struct ls_conflict *conflict)
{
	for (size_t i = conflict->item; i-- > 0;)
		if (items[i].offset == conflict->held_offset &&
		    ls_str_equal(items[i].event.event_id, conflict->held_event_id))
			return &items[i].event;
	return NULL;
}

static void keep(struct ls_sink_lane *lane, const struct ls_event *event)
{
	struct ls_event *copy = ls_arena_alloc(lane->held_arena, sizeof *copy);

	*copy = *event;
	ls_map_at(&lane->held, event->event_id)->value = copy;
}

/* take looks at messages as they come; those that held an entity are decoded and kept. Returns how many of the search
 * are behind it. */
static size_t take(const struct search *search, size_t at, const struct ls_message *message)
{
	struct ls_event event;
	struct ls_error ignored;
	bool wanted = false;

	while (at < search->count && search->want[at]->held_offset < message->offset)
		at++;
	for (size_t i = at; i < search->count && search->want[i]->held_offset == message->offset; i++)
		wanted = true;
	if (!wanted || message->class || !message->has_value)
		return at;
	if (!ls_decode(search->lane->decoder, message->value, message->timestamp_us, search->lane->held_arena, &event,
		       &ignored))
		keep(search->lane, &event);
	while (at < search->count && search->want[at]->held_offset == message->offset)
		at++;
	return at;
}

/* read_run reads from want[at] on as long as the next one is near, and returns where it ended. */
static enum ls_class read_run(const struct search *search, const char *topic, size_t *at, struct ls_error *err)
{
	int64_t deadline = ls_monotonic_ms() + PATIENCE_MS, next = search->want[*at]->held_offset;
	struct ls_message *message = calloc(FETCH_MAX, sizeof *message);
	struct ls_reader *reader = NULL;
	bool end = false;
	enum ls_class class = ls_reader_open(&search->lane->base.app->config->kafka, topic, search->unit->partition,
					     next, &reader, err);

	if (!message)
		abort();
	while (!class && !end && *at < search->count && search->want[*at]->held_offset - next < GAP) {
		size_t count = 0;

		class = ls_reader_next(reader, 100, message, FETCH_MAX, &count, &end, err);
		for (size_t i = 0; i < count; i++) {
			if (!class)
				*at = take(search, *at, &message[i]);
			next = message[i].offset + 1;
			ls_message_free(&message[i]);
		}
		if (count)
			deadline = ls_monotonic_ms() + PATIENCE_MS;
		else if (!class && ls_monotonic_ms() > deadline)
			class = ls_fail(err, LS_RETRY, "fetch",
					"destination %s, topic %s partition %d: nothing came from offset %lld on "
					"within %d s while the other side of a conflict was read again",
					search->lane->config->name, topic, search->unit->partition, (long long)next,
					PATIENCE_MS / 1000);
	}
	if (end)
		*at = search->count;
	ls_reader_close(reader);
	free(message);
	return class;
}

static bool is_known(const struct ls_sink_lane *lane, const struct ls_conflict *conflict)
{
	return ls_map_get(&lane->held, conflict->held_event_id) != NULL;
}

/* search_log reads what is still unknown from one of the entity's topics. The state does not say which of them the
 * offset is of: an event of another id is not what was looked for. */
static enum ls_class search_log(struct search *search, int log, struct ls_error *err)
{
	enum ls_class class = LS_OK;
	size_t kept = 0;

	for (size_t i = 0; i < search->count; i++)
		if (!is_known(search->lane, search->want[i]))
			search->want[kept++] = search->want[i];
	search->count = kept;
	for (size_t at = 0; !class && at < search->count;)
		class = read_run(search, search->unit->entity->topic[log], &at, err);
	return class;
}

/* ---- a snapshot's row that says the same ---- */

static bool same_value(const struct ls_value *a, const struct ls_value *b)
{
	if (a->presence != b->presence)
		return false;
	return a->presence != LS_PRESENT || ls_str_equal(a->text, b->text);
}

static bool same_row(const struct ls_row *a, const struct ls_row *b)
{
	if (!a->schema || !b->schema)
		return a->schema == b->schema;
	for (size_t i = 0; i < a->schema->count; i++) {
		size_t k = ls_schema_find(b->schema, a->schema->column[i].name);

		if (k == b->schema->count || !same_value(&a->value[i], &b->value[k]))
			return false;
	}
	return true;
}

/* A row of a snapshot is what somebody wrote before: where it says what the other says, nothing is lost. */
static bool is_none(const struct ls_event *event, const struct ls_event *held)
{
	return held && (event->change == LS_SNAPSHOT || held->change == LS_SNAPSHOT) &&
	       same_row(&event->after, &held->after);
}

static void drop_none(struct ls_plan *plan, const struct ls_item *items)
{
	size_t kept = 0;

	for (size_t i = 0; i < plan->conflict_count; i++)
		if (!is_none(&items[plan->conflict[i].item].event, plan->conflict[i].held_event))
			plan->conflict[kept++] = plan->conflict[i];
	plan->conflict_count = kept;
}

/* ---- what the slice says of them ---- */

static void describe(struct ls_sink_lane *lane, const struct ls_item *items)
{
	struct ls_plan *plan = &lane->plan;
	struct ls_clash *clash = ls_arena_alloc(lane->plan_arena, (plan->conflict_count + 1) * sizeof *clash);

	for (size_t i = 0; i < plan->conflict_count; i++) {
		const struct ls_conflict *conflict = &plan->conflict[i];
		const struct ls_event *event = &items[conflict->item].event;
		struct ls_side held = { conflict->held_event_id, conflict->held, conflict->held_event };
		struct ls_side came = { event->event_id, ls_stamp_of(event), event };

		clash[i] = (struct ls_clash){
			.entity = event->entity,
			.entity_id = event->entity_id,
			.offset = items[conflict->item].offset,
			.applied = conflict->applied,
			.winner = conflict->applied ? came : held,
			.loser = conflict->applied ? held : came,
		};
	}
	plan->clash = clash;
}

static void forget_old(struct ls_sink_lane *lane)
{
	if (ls_arena_used(lane->held_arena) < CACHE_BYTES)
		return;
	ls_map_clear(&lane->held);
	ls_arena_reset(lane->held_arena);
}

enum ls_class ls_conflicts_gather(struct ls_sink_lane *lane, const struct ls_unit *unit, const struct ls_item *items,
				  struct ls_error *err)
{
	struct ls_plan *plan = &lane->plan;
	struct search search = { lane, unit, NULL, 0 };
	enum ls_class class = LS_OK;

	plan->clash = NULL;
	if (!plan->conflict_count)
		return LS_OK;
	forget_old(lane);
	search.want = ls_arena_alloc(lane->plan_arena, plan->conflict_count * sizeof(struct ls_conflict *));
	for (size_t i = 0; i < plan->conflict_count; i++) {
		plan->conflict[i].held_event = in_batch(items, &plan->conflict[i]);
		if (!plan->conflict[i].held_event)
			search.want[search.count++] = &plan->conflict[i];
	}
	qsort(search.want, search.count, sizeof(struct ls_conflict *), by_offset);
	for (int log = 0; !class && log < LS_STORE_LOGS && search.count; log++)
		class = search_log(&search, log, err);
	for (size_t i = 0; !class && i < plan->conflict_count; i++)
		if (!plan->conflict[i].held_event)
			plan->conflict[i].held_event = ls_map_get(&lane->held, plan->conflict[i].held_event_id);
	if (class)
		return class;
	drop_none(plan, items);
	describe(lane, items);
	return LS_OK;
}

/* ---- {prefix}.conflicts ---- */

static struct ls_str key_of(struct ls_sink_lane *lane, const struct ls_clash *clash)
{
	return ls_arena_printf(lane->plan_arena, "%s/%.*s/%.*s", lane->config->name, LS_ARG(clash->winner.event_id),
			       LS_ARG(clash->loser.event_id));
}

static void add_text(struct ls_buf *out, const char *name, struct ls_str text)
{
	ls_buf_printf(out, ",\"%s\":", name);
	ls_json_quote(out, text);
}

static void write_record(struct ls_sink_lane *lane, const struct ls_part *part, const struct ls_clash *clash,
			 bool payload)
{
	struct ls_buf *out = &lane->buf;

	ls_buf_clear(out);
	ls_buf_add_text(out, "{\"destination\":");
	ls_json_quote(out, ls_str_of(lane->config->name));
	add_text(out, "entity_type", clash->entity);
	add_text(out, "entity_id", clash->entity_id);
	add_text(out, "topic", part->mark.topic);
	ls_buf_printf(out, ",\"partition\":%d,\"offset\":%lld", part->mark.partition, (long long)clash->offset);
	add_text(out, "verdict", ls_str_of(clash->applied ? "applied" : "stale"));
	add_text(out, "resolution", LS_STR("last_write_wins"));
	ls_buf_add_text(out, ",\"winner\":");
	ls_side_json(&clash->winner, payload, out);
	ls_buf_add_text(out, ",\"loser\":");
	ls_side_json(&clash->loser, payload, out);
	ls_buf_add_char(out, '}');
}

static enum ls_class send(struct ls_sink_lane *lane, const struct ls_part *part, const struct ls_clash *clash,
			  bool payload, struct ls_error *err)
{
	write_record(lane, part, clash, payload);
	if (lane->buf.full)
		return ls_fail(err, LS_POISON, "size", "the record of a conflict passes what a record may have");
	return ls_sink_send(lane, lane->conflicts, -1, key_of(lane, clash), ls_buf_str(&lane->buf), NULL, 0,
			    &lane->other, err);
}

enum ls_class ls_sink_conflicts(struct ls_sink_lane *lane, const struct ls_part *part, struct ls_error *err)
{
	const struct ls_plan *plan = &lane->plan;
	enum ls_class class = LS_OK;

	for (size_t i = 0; !class && plan->clash && i < plan->conflict_count; i++) {
		LS_FAILPOINT_ERROR("sink.conflict_send", err);
		class = send(lane, part, &plan->clash[i], true, err);
		if (class == LS_POISON) /* too large with both rows: the events themselves are in their topic */
			class = send(lane, part, &plan->clash[i], false, err);
	}
	if (!class && plan->clash && plan->conflict_count)
		class = ls_sink_settle(lane, &lane->other, err);
	return class;
}
