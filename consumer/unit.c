/* The version state of one partition: restored from the versions topic, folded up to the destination's mark, published
 * again as it changes. docs/guarantees.md tells why this order and no other. */
#include "core/arena.h"
#include "core/failpoint.h"
#include "core/mutant.h"
#include "lane.h"
#include "main/app.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum { RESTORE_STEP = 2000, FOLD_STEP = 1000, STORE_STEP = 250, MARKER_AGAIN_MS = 600000 };

/* Markers have a key that is no UTF-8 text, so no entity can have it: 0xff and the name of the events topic. */
static const char marker_lead = '\xff';

void ls_unit_free(struct ls_unit *unit)
{
	if (!unit)
		return;
	ls_reader_close(unit->reader);
	ls_store_close(unit->store);
	ls_map_release(&unit->heal);
	ls_arena_free(unit->heal_arena);
	free(unit);
}

struct ls_unit *ls_unit_open(struct ls_sink_lane *lane, const struct ls_sink_entity *entity, int32_t partition,
			     struct ls_error *err, enum ls_class *ret)
{
	const struct ls_config *config = lane->base.app->config;
	struct ls_unit *unit = calloc(1, sizeof *unit);

	if (!unit)
		abort();
	unit->entity = entity;
	unit->partition = partition;
	unit->heal_arena = ls_arena_new(0);
	ls_map_init(&unit->heal);
	*ret = ls_store_open(config->state_dir, lane->config->name, entity->config->name, partition, &unit->store,
			     &unit->meta, err);
	if (*ret) {
		ls_unit_free(unit);
		return NULL;
	}
	unit->receipt.track = true;
	unit->receipt.next = unit->meta.versions_next;
	unit->restore_started_ms = ls_monotonic_ms();
	return unit;
}

/* note_next takes down up to where the versions topic is folded in here; not past what is to be healed until that is
 * acknowledged, because only who reads the two records knows of it. */
static void note_next(struct ls_unit *unit)
{
	if (unit->heal_sent <= unit->receipt.acked)
		unit->meta.versions_next = unit->receipt.next;
}

/* ---- publishing ---- */

static enum ls_class publish(struct ls_sink_lane *lane, struct ls_unit *unit, struct ls_str entity_id,
			     struct ls_state *state, struct ls_error *err)
{
	state->owner_epoch = unit->owner_epoch;
	ls_buf_clear(&lane->buf);
	ls_state_encode(lane->codec, state, &lane->buf);
	return ls_sink_send(lane, unit->entity->versions, unit->partition, entity_id, ls_buf_str(&lane->buf), NULL, 0,
			    &unit->receipt, err);
}

static int by_key(const void *a, const void *b)
{
	const struct ls_plan_key *const *left = a, *const *right = b;

	return ls_str_compare((*left)->entity_id, (*right)->entity_id);
}

/* changed_keys lists the keys whose state changed in the order of the store, so that neighbours share a page. */
static size_t changed_keys(struct ls_sink_lane *lane, const struct ls_plan *plan, struct ls_plan_key ***ret)
{
	struct ls_plan_key **key =
		ls_arena_alloc(lane->plan_arena, (plan->keys.count + 1) * sizeof(struct ls_plan_key *));
	size_t count = 0;

	for (size_t i = 0; i < plan->keys.count; i++) {
		key[count] = plan->keys.slot[i].value;
		count += key[count]->changed;
	}
	qsort(key, count, sizeof(struct ls_plan_key *), by_key);
	*ret = key;
	return count;
}

static enum ls_class store_some(struct ls_unit *unit, struct ls_plan_key **key, size_t count, struct ls_error *err)
{
	enum ls_class class = ls_store_write_begin(unit->store, unit->owner_epoch, err);

	for (size_t i = 0; !class && i < count; i++) {
		key[i]->state.owner_epoch = unit->owner_epoch;
		class = ls_store_put(unit->store, key[i]->entity_id, &key[i]->state, err);
		if (class)
			ls_store_abort(unit->store);
	}
	if (class)
		return class;
	unit->meta.owner_epoch = unit->owner_epoch;
	note_next(unit);
	unit->meta_dirty = false;
	return ls_store_commit(unit->store, &unit->meta, err);
}

/* store_states commits in several steps: each holds its changed pages in memory, and a part of a batch is as good as
 * none, because the log is folded again from the marker. */
static enum ls_class store_states(struct ls_sink_lane *lane, struct ls_unit *unit, const struct ls_plan *plan,
				  struct ls_error *err)
{
	struct ls_plan_key **key;
	size_t count = changed_keys(lane, plan, &key), at = 0;
	enum ls_class class = LS_OK;

	while (!class && at < count) {
		size_t n = count - at < STORE_STEP ? count - at : STORE_STEP;

		class = store_some(unit, key + at, n, err);
		at += n;
	}
	return class;
}

enum ls_class ls_unit_save(struct ls_sink_lane *lane, struct ls_unit *unit, struct ls_plan *plan, struct ls_error *err)
{
	enum ls_class class = store_states(lane, unit, plan, err);

	if (!class)
		LS_FAILPOINT_ERROR("sink.state_stored", err);
	for (size_t i = 0; !class && i < plan->keys.count; i++) {
		struct ls_plan_key *key = plan->keys.slot[i].value;

		if (!key->changed)
			continue;
		class = publish(lane, unit, key->entity_id, &key->state, err);
		LS_FAILPOINT("sink.state_queued");
	}
	if (!class)
		LS_FAILPOINT_ERROR("sink.state_sent", err);
	return class;
}

/* ---- markers ---- */

static enum ls_class send_marker(struct ls_sink_lane *lane, struct ls_part *part, struct ls_error *err)
{
	struct ls_unit *unit = part->unit;
	char key[LS_TOPIC_NAME + 1], value[96];

	LS_FAILPOINT_ERROR("sink.marker", err);
	int key_len = snprintf(key, sizeof key, "%c%s", marker_lead, unit->entity->topic[part->log]);
	int len = snprintf(value, sizeof value, "{\"below\":%lld,\"owner_epoch\":%lld}", (long long)part->goal,
			   (long long)unit->owner_epoch);
	enum ls_class class =
		ls_sink_send(lane, unit->entity->versions, unit->partition, (struct ls_str){ key, (size_t)key_len },
			     (struct ls_str){ value, (size_t)len }, NULL, 0, &unit->receipt, err);

	if (class)
		return class;
	part->marker = part->goal;
	part->marker_sent = (int64_t)unit->receipt.sent;
	part->marker_ms = ls_monotonic_ms();
	part->goal = -1;
	LS_FAILPOINT_ERROR("sink.marker_sent", err);
	return LS_OK;
}

static enum ls_class save_meta(struct ls_unit *unit, struct ls_error *err)
{
	enum ls_class class = ls_store_write_begin(unit->store, unit->owner_epoch, err);

	if (class)
		return class;
	unit->meta.owner_epoch = unit->owner_epoch;
	note_next(unit);
	unit->meta_dirty = false;
	return ls_store_commit(unit->store, &unit->meta, err);
}

/* read_again: somebody else has written to the versions topic since it was restored, perhaps older state over ours; it
 * is read on from there and healed, before compaction can make his records the last. */
static void read_again(struct ls_unit *unit)
{
	unit->receipt.gap = false;
	unit->phase = LS_UNIT_RESTORE;
	unit->restored = 0;
	unit->restore_started_ms = ls_monotonic_ms();
}

enum ls_class ls_part_marker(struct ls_sink_lane *lane, struct ls_part *part, struct ls_error *err)
{
	struct ls_unit *unit = part->unit;
	int64_t acked = (int64_t)unit->receipt.acked;

	if (unit->receipt.gap && unit->phase == LS_UNIT_READY && unit->receipt.acked == unit->receipt.sent)
		read_again(unit);
	if (unit->phase != LS_UNIT_READY)
		return LS_OK;
	if (part->marker >= 0 && acked >= part->marker_sent) {
		LS_FAILPOINT_ERROR("sink.marker_acked", err);
		unit->meta.published[part->log] = part->marker;
		part->marker = -1;
		unit->meta_dirty = true;
	}
	if (part->marker >= 0 || part->phase != LS_PART_RUN)
		return LS_OK;
	if (part->goal < 0 && ls_wait_floor(part) > unit->meta.published[part->log]) {
		part->goal = ls_wait_floor(part);
		part->goal_sent = (int64_t)unit->receipt.sent;
	}
	/* Said again when nothing was published for long: what another has written meanwhile shows at its offset. */
	if (part->goal < 0 && unit->meta.published[part->log] > 0 &&
	    ls_monotonic_ms() - part->marker_ms >= MARKER_AGAIN_MS) {
		part->goal = unit->meta.published[part->log];
		part->goal_sent = (int64_t)unit->receipt.sent;
	}
	if (part->goal >= 0 && acked >= part->goal_sent)
		return send_marker(lane, part, err);
	return unit->meta_dirty ? save_meta(unit, err) : LS_OK;
}

/* ---- restoring ---- */

static void read_marker(struct ls_unit *unit, const struct ls_message *message)
{
	json_t *root = json_loadb(message->value.ptr, message->value.len, 0, NULL);
	json_int_t below = json_integer_value(json_object_get(root, "below"));
	struct ls_str topic = { message->key.ptr + 1, message->key.len - 1 };

	for (int i = 0; i < LS_STORE_LOGS; i++)
		if (ls_str_equal(topic, ls_str_of(unit->entity->topic[i])) && below > unit->meta.published[i])
			unit->meta.published[i] = below;
	json_decref(root);
}

static bool same_state(const struct ls_state *a, const struct ls_state *b)
{
	if (ls_stamp_compare(&a->stamp, &b->stamp) != 0 || a->seen_count != b->seen_count)
		return false;
	for (size_t i = 0; i < a->seen_count; i++) {
		size_t j = 0;

		while (j < b->seen_count && !ls_str_equal(a->seen[i].source, b->seen[j].source))
			j++;
		if (j == b->seen_count || a->seen[i].version != b->seen[j].version)
			return false;
	}
	return true;
}

/* mark_heal remembers a key whose newest record is not its greatest: compaction would keep the wrong one. */
static void mark_heal(struct ls_unit *unit, struct ls_str key, bool needed)
{
	struct ls_map_slot *slot;

	if (!needed && !ls_map_get(&unit->heal, key))
		return;
	slot = ls_map_at(&unit->heal, needed ? ls_arena_str(unit->heal_arena, key) : key);
	slot->value = needed ? (void *)unit : NULL;
	if (needed)
		unit->heal_sent = UINT64_MAX;
}

static enum ls_class fold_record(struct ls_sink_lane *lane, struct ls_unit *unit, const struct ls_message *message,
				 struct ls_error *err)
{
	struct ls_state state, held;
	enum ls_class class;

	if (!message->has_key || !message->has_value)
		return LS_OK;
	if (message->key.len && message->key.ptr[0] == marker_lead) {
		read_marker(unit, message);
		return LS_OK;
	}
	class = ls_state_decode(lane->codec, message->value, lane->arena, &state, err);
	if (class)
		return ls_fail(err, LS_FATAL, "state",
			       "topic %s partition %d offset %lld: not a version state record "
			       "(%s); only lockstep may write to this topic",
			       unit->entity->versions, unit->partition, (long long)message->offset, err->text);
	class = ls_store_get(unit->store, message->key, lane->arena, &held, err);
	if (class)
		return class;
	ls_state_join(&held, &state);
	mark_heal(unit, message->key, !same_state(&held, &state));
	return ls_store_put(unit->store, message->key, &held, err);
}

static enum ls_class fold_records(struct ls_sink_lane *lane, struct ls_unit *unit, struct ls_message *message,
				  size_t count, struct ls_error *err)
{
	enum ls_class class;

	LS_FAILPOINT_ERROR("sink.restoring", err);
	class = ls_store_write_begin(unit->store, unit->owner_epoch, err);
	for (size_t i = 0; !class && i < count; i++) {
		class = message[i].class ? ls_fail(err, message[i].class, "fetch", "topic %s partition %d: %s",
						   unit->entity->versions, unit->partition, message[i].problem)
					 : fold_record(lane, unit, &message[i], err);
		if (class)
			ls_store_abort(unit->store);
		else if (message[i].offset + 1 > unit->receipt.next)
			unit->receipt.next = message[i].offset + 1;
	}
	if (class)
		return class;
	unit->meta.owner_epoch = unit->owner_epoch;
	note_next(unit);
	return ls_store_commit(unit->store, &unit->meta, err);
}

static enum ls_class heal(struct ls_sink_lane *lane, struct ls_unit *unit, struct ls_error *err)
{
	enum ls_class class = ls_store_read_begin(unit->store, err);

	for (size_t i = 0; !class && i < unit->heal.count; i++) {
		struct ls_state state;

		if (!unit->heal.slot[i].value)
			continue;
		class = ls_store_get(unit->store, unit->heal.slot[i].key, lane->arena, &state, err);
		if (!class)
			class = publish(lane, unit, unit->heal.slot[i].key, &state, err);
	}
	ls_store_read_end(unit->store);
	ls_map_clear(&unit->heal);
	ls_arena_reset(unit->heal_arena);
	if (!class && unit->heal_sent == UINT64_MAX)
		unit->heal_sent = unit->receipt.sent;
	return class;
}

static enum ls_class restored(struct ls_sink_lane *lane, struct ls_unit *unit, struct ls_error *err)
{
	int64_t end = unit->receipt.next;

	unit->reader = ls_reader_close(unit->reader);
	unit->phase = LS_UNIT_READY;
	if (unit->restored)
		LS_LOG(lane->base.app->log, LS_LOG_INFO, lane->base.name, "version state restored",
		       LS_F("topic", unit->entity->versions), LS_N("partition", unit->partition),
		       LS_N("records", unit->restored), LS_N("up_to", end),
		       LS_N("ms", ls_monotonic_ms() - unit->restore_started_ms));
	LS_FAILPOINT_ERROR("sink.restored", err);
	return heal(lane, unit, err);
}

enum ls_class ls_unit_step(struct ls_sink_lane *lane, struct ls_unit *unit, struct ls_error *err)
{
	size_t max = (size_t)lane->config->batch_size < RESTORE_STEP ? (size_t)lane->config->batch_size : RESTORE_STEP;
	size_t count = 0;
	bool end = false;
	enum ls_class class = LS_OK;

	if (unit->phase == LS_UNIT_READY)
		return LS_OK;
	LS_FAILPOINT_ERROR("sink.restore", err);
	if (!unit->reader)
		class = ls_reader_open(&lane->base.app->config->kafka, unit->entity->versions, unit->partition,
				       unit->receipt.next, &unit->reader, err);
	if (!class)
		class = ls_reader_next(unit->reader, 100, lane->message, max, &count, &end, err);
	if (class)
		return class;
	ls_arena_reset(lane->arena);
	if (count)
		class = fold_records(lane, unit, lane->message, count, err);
	for (size_t i = 0; i < count; i++)
		ls_message_free(&lane->message[i]);
	unit->restored += (int64_t)count;
	if (class)
		return class;
	return end ? restored(lane, unit, err) : LS_OK;
}

/* ---- deciding ---- */

enum ls_class ls_unit_lookup(void *context, struct ls_str entity_id, struct ls_state *ret, struct ls_error *err)
{
	struct ls_lookup *lookup = context;

	return ls_store_get(lookup->unit->store, entity_id, lookup->arena, ret, err);
}

/* floor_of: the highest version that came to the destination, by either log. A mark that has moved and names none says
 * nothing: then no state is taken to be ahead. */
static int64_t floor_of(const struct ls_sink_lane *lane, const struct ls_unit *unit)
{
	int64_t floor = LS_MUTANT("state.first") ? INT64_MAX : LS_NONE;

	for (size_t i = 0; i < lane->part_count; i++) {
		const struct ls_mark *mark = &lane->part[i].mark;

		if (lane->part[i].unit != unit)
			continue;
		if (mark->next_offset >= 0 && mark->max_version == LS_NONE)
			return INT64_MAX;
		if (mark->max_version > floor)
			floor = mark->max_version;
	}
	return floor;
}

static enum ls_class plan_above(struct ls_sink_lane *lane, struct ls_unit *unit, int64_t floor, struct ls_item *items,
				size_t count, struct ls_error *err)
{
	struct ls_lookup lookup = { unit, lane->plan_arena };
	struct ls_plan_input input = {
		.mapping = unit->entity->mapping,
		.key_schema = unit->entity->key_schema,
		.mapping_count = unit->entity->mapping_count,
		.lookup = ls_unit_lookup,
		.context = &lookup,
		.floor = floor,
		.arena = lane->plan_arena,
	};
	enum ls_class class = ls_store_read_begin(unit->store, err);

	if (class)
		return class;
	ls_arena_reset(lane->plan_arena);
	class = ls_plan_make(&lane->plan, &input, items, count, err);
	ls_store_read_end(unit->store);
	return class;
}

enum ls_class ls_unit_plan(struct ls_sink_lane *lane, struct ls_unit *unit, struct ls_item *items, size_t count,
			   struct ls_error *err)
{
	return plan_above(lane, unit, floor_of(lane, unit), items, count, err);
}

/* ---- folding what was applied but not published ---- */

/* leave_out takes out what had no effect when the mark passed it: what the ledger knew, what was refused. The log does
 * not tell; the destination noted it. */
static enum ls_class leave_out(struct ls_sink_lane *lane, const struct ls_part *part, struct ls_item *items,
			       size_t count, struct ls_error *err)
{
	int64_t *offset = ls_arena_alloc(lane->arena, (count + 1) * sizeof *offset);
	bool *passed = ls_arena_zalloc(lane->arena, count + 1);
	enum ls_class class;

	if (!lane->dst->ops->passed || !count)
		return LS_OK;
	for (size_t i = 0; i < count; i++)
		offset[i] = items[i].offset;
	class = lane->dst->ops->passed(lane->dst, &part->mark, offset, count, lane->arena, passed, err);
	for (size_t i = 0; !class && i < count; i++) {
		if (passed[i] && items[i].fate == LS_FATE_EVENT)
			items[i].fate = LS_FATE_KNOWN;
		else if (!passed[i] && items[i].fate == LS_FATE_DEAD && strcmp(items[i].code, "max_skew") == 0)
			items[i].fate = LS_FATE_EVENT; /* this machine's clock went back since it was taken */
	}
	return class;
}

/* fold_batch decides messages below the mark again, without applying them, and publishes their states again. */
static enum ls_class fold_batch(struct ls_sink_lane *lane, struct ls_part *part, size_t count, struct ls_error *err)
{
	enum ls_class class = LS_OK;
	size_t items = 0;

	LS_FAILPOINT_ERROR("sink.folding", err);
	ls_arena_reset(lane->arena);
	for (size_t i = 0; !class && i < count; i++) {
		if (lane->message[i].offset >= part->mark.next_offset || lane->message[i].class ||
		    ls_wait_keep(part, &lane->message[i]))
			continue;
		class = ls_sink_decode(lane, part->unit->entity, &lane->message[i], &lane->item[items], err);
		if (!class)
			class = ls_sink_same_log(lane, part, &lane->message[i], &lane->item[items], err);
		items++;
	}
	if (!class)
		class = leave_out(lane, part, lane->item, items, err);
	for (size_t done = 0; !class && done < items; done += lane->plan.count) {
		class = plan_above(lane, part->unit, INT64_MAX, lane->item + done, items - done, err);
		if (!class)
			class = ls_conflicts_gather(lane, part->unit, lane->item + done, err);
		if (!class)
			class = ls_sink_conflicts(lane, part, err);
		if (!class)
			class = ls_unit_save(lane, part->unit, &lane->plan, err);
	}
	return class;
}

/* fold_from: where the fold begins. The last event below the mark is always looked at: see same_log.c. */
static int64_t fold_from(const struct ls_part *part)
{
	int64_t from = part->unit->meta.published[part->log], last = part->mark.next_offset - 1;

	if (ls_wait_floor(part) < from)
		from = ls_wait_floor(part);
	return from > last && last >= 0 ? last : from;
}

enum ls_class ls_part_fold(struct ls_sink_lane *lane, struct ls_part *part, struct ls_error *err)
{
	int64_t from = fold_from(part);
	size_t max = (size_t)lane->config->batch_size < FOLD_STEP ? (size_t)lane->config->batch_size : FOLD_STEP;
	size_t count = 0;
	bool end = from >= part->mark.next_offset;
	enum ls_class class = LS_OK;

	LS_FAILPOINT_ERROR("sink.fold", err);
	if (!end && !part->reader)
		class = ls_reader_open(&lane->base.app->config->kafka, part->unit->entity->topic[part->log],
				       part->unit->partition, from ? from : -1, &part->reader, err);
	if (!end && !class)
		class = ls_reader_next(part->reader, 100, lane->message, max, &count, &end, err);
	if (class)
		return class;
	if (count) {
		end = end || lane->message[count - 1].offset >= part->mark.next_offset - 1;
		class = fold_batch(lane, part, count, err);
	}
	for (size_t i = 0; i < count; i++)
		ls_message_free(&lane->message[i]);
	if (!class && end)
		class = ls_wait_whole(lane, part, err);
	if (class || !end)
		return class;
	part->reader = ls_reader_close(part->reader);
	part->phase = LS_PART_RUN;
	part->unit->folding--;
	LS_FAILPOINT_ERROR("sink.folded", err);
	return LS_OK;
}
