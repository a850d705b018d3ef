/* Events that a constraint refuses until rows of other partitions came: a child before its parent, a value that another
 * row still holds. The destination writes them down as it moves the mark past them, so their keys wait alone; they are
 * tried again here, in the order of each key, until they are taken or their patience ends. Their bytes stay in memory,
 * and after a restart are read again from the topic: the marker never passes the first of them. */
#include "core/arena.h"
#include "lane.h"
#include "main/app.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	FULL = 500,           /* events: the partition is not read further until there are fewer */
	FULL_BYTES = 8 << 20, /* of a lane: the partitions that have some waiting are not read further */
	FIRST_MS = 20,
	LAST_MS = 500,
	YIELD_AFTER = 3 /* tries */
};

struct ls_waiting {
	int64_t offset;
	int64_t since_ms;
	unsigned tries;
	char code[8];
	char *entity_id;
	struct ls_message *message; /* NULL until it was read again */
};

static struct ls_str key_of(const struct ls_waiting *waiting)
{
	return ls_str_of(waiting->entity_id);
}

static void rebuild_keys(struct ls_part *part)
{
	if (!part->waiting_keys.slot)
		ls_map_init(&part->waiting_keys);
	ls_map_clear(&part->waiting_keys);
	for (size_t i = 0; i < part->waiting_count; i++)
		ls_map_at(&part->waiting_keys, key_of(&part->waiting[i]))->value = &part->waiting[i];
}

static void add(struct ls_part *part, int64_t offset, struct ls_str entity_id, const char *code)
{
	struct ls_waiting *waiting;

	if (part->waiting_count == part->waiting_room) {
		part->waiting_room = part->waiting_room ? part->waiting_room * 2 : 16;
		part->waiting = realloc(part->waiting, part->waiting_room * sizeof *part->waiting);
		if (!part->waiting)
			abort();
	}
	waiting = &part->waiting[part->waiting_count++];
	*waiting = (struct ls_waiting){ .offset = offset, .since_ms = ls_monotonic_ms() };
	snprintf(waiting->code, sizeof waiting->code, "%s", code);
	waiting->entity_id = strndup(entity_id.ptr, entity_id.len);
	if (!waiting->entity_id)
		abort();
}

static void drop(struct ls_waiting *waiting)
{
	free(waiting->entity_id);
	free(waiting->message);
}

void ls_wait_free(struct ls_part *part)
{
	for (size_t i = 0; i < part->waiting_count; i++)
		drop(&part->waiting[i]);
	free(part->waiting);
	ls_map_release(&part->waiting_keys);
	part->waiting = NULL;
	part->waiting_count = part->waiting_room = 0;
}

static struct ls_waiting *find(const struct ls_part *part, int64_t offset)
{
	for (size_t i = 0; i < part->waiting_count; i++)
		if (part->waiting[i].offset == offset)
			return &part->waiting[i];
	return NULL;
}

static size_t held_bytes(const struct ls_sink_lane *lane)
{
	size_t bytes = 0;

	for (size_t i = 0; i < lane->part_count; i++)
		bytes += lane->part[i].waiting_bytes;
	return bytes;
}

bool ls_wait_full(const struct ls_sink_lane *lane, const struct ls_part *part)
{
	return part->waiting_count >= FULL || (part->waiting_count && held_bytes(lane) >= FULL_BYTES);
}

static void keep(struct ls_part *part, struct ls_waiting *waiting, const struct ls_message *message)
{
	waiting->message = ls_message_copy(message);
	waiting->message->topic = part->mark.topic;
	part->waiting_bytes += message->key.len + message->value.len;
}

int64_t ls_wait_floor(const struct ls_part *part)
{
	return part->waiting_count ? part->waiting[0].offset : part->mark.next_offset;
}

bool ls_wait_keep(struct ls_part *part, const struct ls_message *message)
{
	struct ls_waiting *waiting = part->waiting_count ? find(part, message->offset) : NULL;

	if (waiting && !waiting->message)
		keep(part, waiting, message);
	return waiting != NULL;
}

/* ---- taken over ---- */

enum ls_class ls_wait_load(struct ls_sink_lane *lane, struct ls_error *err)
{
	struct ls_wait *wait = NULL;
	size_t count = 0;
	enum ls_class class;

	if (!lane->dst->ops->waits || !lane->part_count)
		return LS_OK;
	ls_arena_reset(lane->plan_arena);
	class = lane->dst->ops->waits(lane->dst, lane->plan_arena, &wait, &count, err);
	for (size_t i = 0; !class && i < count; i++)
		for (size_t p = 0; p < lane->part_count; p++) {
			struct ls_part *part = &lane->part[p];

			if (part->unit->partition != wait[i].partition ||
			    !ls_str_equal(part->mark.topic, wait[i].topic) || wait[i].offset >= part->mark.next_offset)
				continue;
			add(part, wait[i].offset, wait[i].entity_id, wait[i].code);
		}
	for (size_t p = 0; !class && p < lane->part_count; p++)
		rebuild_keys(&lane->part[p]);
	return class;
}

enum ls_class ls_wait_whole(struct ls_sink_lane *lane, const struct ls_part *part, struct ls_error *err)
{
	for (size_t i = 0; i < part->waiting_count; i++)
		if (!part->waiting[i].message)
			return ls_fail(err, LS_FATAL, "waiting",
				       "destination %s, topic %.*s partition %d: the event at offset %lld (entity "
				       "\"%.80s\") waits for other rows, but the topic has it no longer; delete its "
				       "row of sync_waiting and start again, then mend the entity's row by hand or "
				       "have its source read again with `lockstep snapshot`",
				       lane->config->name, LS_ARG(part->mark.topic), part->mark.partition,
				       (long long)part->waiting[i].offset, part->waiting[i].entity_id);
	return LS_OK;
}

/* ---- a batch ---- */

bool ls_wait_is_constraint(const char *code)
{
	return strcmp(code, "23503") == 0 || strcmp(code, "23505") == 0 || strcmp(code, "23P01") == 0;
}

void ls_item_wait(struct ls_sink_lane *lane, struct ls_item *item, const struct ls_refused *refused)
{
	item->fate = LS_FATE_WAIT;
	item->reason = ls_arena_str(lane->arena, refused->reason).ptr;
	item->needs = refused->needs.len ? ls_arena_str(lane->arena, refused->needs).ptr : NULL;
	snprintf(item->code, sizeof item->code, "%s", refused->code);
}

void ls_wait_behind(struct ls_sink_lane *lane, const struct ls_part *part, struct ls_item *items, size_t count)
{
	for (size_t i = 0; part->waiting_count && i < count; i++) {
		struct ls_refused behind = { .reason = LS_STR("an earlier event of this entity waits") };
		struct ls_waiting *first;

		if (items[i].fate != LS_FATE_EVENT)
			continue;
		first = ls_map_get(&part->waiting_keys, items[i].event.entity_id);
		if (!first)
			continue;
		memcpy(behind.code, first->code, sizeof behind.code);
		ls_item_wait(lane, &items[i], &behind);
	}
}

static struct ls_wait wait_of(const struct ls_item *item)
{
	struct ls_wait wait = {
		.offset = item->offset,
		.entity_id = item->event.entity_id,
		.event_id = item->event.event_id,
		.reason = ls_str_of(item->reason),
		.needs = ls_str_of(item->needs ? item->needs : ""),
	};

	snprintf(wait.code, sizeof wait.code, "%.7s", item->code);
	return wait;
}

void ls_wait_list(const struct ls_sink_lane *lane, const struct ls_item *items, bool again, struct ls_slice *slice)
{
	size_t count = lane->plan.count;
	struct ls_wait *wait = ls_arena_alloc(lane->plan_arena, (count + 1) * sizeof *wait);
	int64_t *done = ls_arena_alloc(lane->plan_arena, (count + 1) * sizeof *done);

	slice->wait = wait;
	slice->done = done;
	for (size_t i = 0; i < count; i++) {
		if (again && items[i].fate != LS_FATE_WAIT)
			done[slice->done_count++] = items[i].offset;
		else if (!again && items[i].fate == LS_FATE_WAIT)
			wait[slice->wait_count++] = wait_of(&items[i]);
	}
}

static void say_waiting(struct ls_sink_lane *lane, const struct ls_part *part, const struct ls_item *item)
{
	char id[128];

	snprintf(id, sizeof id, "%.*s", LS_ARG(item->event.entity_id));
	LS_LOG(lane->base.app->log, LS_LOG_INFO, lane->base.name, "event waits for other rows",
	       LS_F("topic", part->unit->entity->topic[part->log]), LS_N("partition", part->unit->partition),
	       LS_N("offset", item->offset), LS_F("entity_id", id), LS_F("code", item->code),
	       LS_F("reason", item->reason));
}

void ls_wait_note(struct ls_sink_lane *lane, struct ls_part *part, const struct ls_item *items,
		  const struct ls_message *message)
{
	bool any = false;

	for (size_t i = 0; i < lane->plan.count; i++) {
		if (items[i].fate != LS_FATE_WAIT)
			continue;
		if (!part->waiting_count)
			say_waiting(lane, part, &items[i]);
		add(part, items[i].offset, items[i].event.entity_id, items[i].code);
		keep(part, &part->waiting[part->waiting_count - 1], &message[i]);
		any = true;
	}
	if (!any)
		return;
	part->retry_ms = FIRST_MS;
	part->retry_at_ms = ls_monotonic_ms() + FIRST_MS;
	rebuild_keys(part);
}

void ls_wait_done(struct ls_part *part, const struct ls_slice *slice)
{
	size_t kept = 0, k = 0;

	for (size_t i = 0; i < part->waiting_count; i++) {
		struct ls_waiting *waiting = &part->waiting[i];

		while (k < slice->done_count && slice->done[k] < waiting->offset)
			k++;
		if (k == slice->done_count || slice->done[k] != waiting->offset) {
			part->waiting[kept++] = *waiting;
			continue;
		}
		part->waiting_bytes -= waiting->message->key.len + waiting->message->value.len;
		drop(waiting);
	}
	part->waiting_count = kept;
	rebuild_keys(part);
}

/* ---- again ---- */

struct again {
	struct ls_item *item;
	struct ls_message *message;
	size_t count;
};

/* hopeless: as long as events that waited are taken one after the other, this one's turn may come; but not for ever. */
static bool hopeless(const struct ls_sink_lane *lane, const struct ls_waiting *waiting, int64_t now_ms)
{
	int64_t age = now_ms - waiting->since_ms, patience = lane->config->patience_ms;

	if (age < patience || waiting->tries < YIELD_AFTER)
		return false;
	return now_ms - lane->taken_ms > patience / 4 || age > 10 * patience;
}

/* taken: what others wait for may have come with it, so all try again at once. */
static void taken(struct ls_sink_lane *lane)
{
	int64_t now = ls_monotonic_ms();

	lane->taken_ms = now;
	for (size_t i = 0; i < lane->part_count; i++) {
		lane->part[i].retry_ms = FIRST_MS;
		if (lane->part[i].retry_at_ms > now + FIRST_MS)
			lane->part[i].retry_at_ms = now + FIRST_MS;
	}
}

/* one_try decodes what waits and applies what is taken by now. */
static enum ls_class one_try(struct ls_sink_lane *lane, struct ls_part *part, const struct again *again,
			     struct ls_error *err)
{
	int64_t now = ls_monotonic_ms();
	enum ls_class class = LS_OK;

	ls_arena_reset(lane->arena);
	for (size_t i = 0; !class && i < again->count; i++) {
		const struct ls_waiting *waiting = &part->waiting[i];

		again->message[i] = *waiting->message;
		class = ls_sink_decode(lane, part->unit->entity, &again->message[i], &again->item[i], err);
		if (!class)
			again->item[i].hopeless = hopeless(lane, waiting, now);
	}
	return class ? class : ls_sink_apply_again(lane, part, again->item, again->message, again->count, err);
}

/* write_of: the whole row, where the event has one; else its key. */
static struct ls_write write_of(struct ls_sink_lane *lane, const struct ls_part *part, const struct ls_item *item,
				size_t mapping)
{
	const struct ls_sink_entity *entity = part->unit->entity;
	const struct ls_row *after = &item->event.after;
	struct ls_write write = { .op = LS_WRITE_UPSERT, .mapping = entity->mapping[mapping], .row = *after };
	bool whole = item->event.change != LS_DELETE && after->schema;

	for (size_t i = 0; whole && i < after->schema->count; i++)
		whole = after->value[i].presence != LS_ABSENT;
	if (whole)
		return write;
	write.op = LS_WRITE_DELETE;
	write.row = ls_plan_key_row(entity->key_schema[mapping], item->event.entity_id, lane->plan_arena);
	return write;
}

/* yield_slice lists the first waiting event of each key, or with `only` that one event. */
static struct ls_slice yield_slice(struct ls_sink_lane *lane, const struct ls_part *part, const struct ls_item *items,
				   size_t count, const struct ls_item *only)
{
	size_t mappings = part->unit->entity->mapping_count;
	struct ls_write *write = ls_arena_alloc(lane->plan_arena, (count * mappings + 1) * sizeof *write);
	struct ls_wait *wait = ls_arena_alloc(lane->plan_arena, (count + 1) * sizeof *wait);
	struct ls_slice slice = { .mark = part->mark, .write = write, .wait = wait };
	struct ls_map seen;

	ls_map_init(&seen);
	slice.next_offset = part->mark.next_offset;
	slice.max_version = part->mark.max_version;
	for (size_t i = 0; i < count; i++) {
		struct ls_map_slot *slot = NULL;

		if (only ? &items[i] != only : items[i].fate != LS_FATE_WAIT)
			continue;
		slot = ls_map_at(&seen, items[i].event.entity_id);
		if (slot->value)
			continue;
		slot->value = &seen;
		for (size_t m = 0; m < mappings; m++) {
			write[slice.write_count] = write_of(lane, part, &items[i], m);
			write[slice.write_count++].entry = slice.wait_count;
		}
		wait[slice.wait_count++] = wait_of(&items[i]);
	}
	ls_map_release(&seen);
	return slice;
}

/* yield is what ends a circle of events that each wait for what the next one's row holds or lacks. */
static enum ls_class yield(struct ls_sink_lane *lane, struct ls_part *part, const struct again *again,
			   struct ls_error *err)
{
	struct ls_slice slice;

	if (!lane->dst->ops->yield || part->retries % YIELD_AFTER)
		return LS_OK;
	ls_arena_reset(lane->plan_arena);
	slice = yield_slice(lane, part, again->item, again->count, NULL);
	return slice.write_count ? lane->dst->ops->yield(lane->dst, &slice, false, lane->plan_arena, err) : LS_OK;
}

enum ls_class ls_wait_back(struct ls_sink_lane *lane, struct ls_part *part, const struct ls_item *item,
			   struct ls_error *err)
{
	struct ls_slice slice;

	if (!lane->dst->ops->yield || !item->event.entity_id.len)
		return LS_OK;
	ls_arena_reset(lane->plan_arena);
	slice = yield_slice(lane, part, item, 1, item);
	return lane->dst->ops->yield(lane->dst, &slice, true, lane->plan_arena, err);
}

/* passing: the destination will have to be asked again, but nothing is lost or unknown. */
static bool passing(enum ls_class class, const struct ls_error *err)
{
	if (ls_hold_mends(class, err))
		return true;
	return class == LS_RETRY && (strncmp(err->code, "40", 2) == 0 || strncmp(err->code, "55", 2) == 0 ||
				     strcmp(err->code, "57014") == 0);
}

enum ls_class ls_wait_retry(struct ls_sink_lane *lane, struct ls_part *part, struct ls_error *err)
{
	size_t before = part->waiting_count;
	struct again again = { .count = before };
	enum ls_class class;

	if (!before || ls_monotonic_ms() < part->retry_at_ms)
		return LS_OK;
	again.item = calloc(before, sizeof *again.item);
	again.message = calloc(before, sizeof *again.message);
	if (!again.item || !again.message)
		abort();
	class = one_try(lane, part, &again, err);
	part->retries++;
	for (size_t i = 0; i < part->waiting_count; i++)
		part->waiting[i].tries++;
	if (!class && part->waiting_count)
		class = yield(lane, part, &again, err);
	free(again.item);
	free(again.message);
	if (passing(class, err)) {
		ls_stats_error(lane->base.stats, err->text);
		class = LS_OK;
	}
	part->retry_ms = part->retry_ms < FIRST_MS ? FIRST_MS : part->retry_ms * 2;
	if (part->retry_ms > LAST_MS)
		part->retry_ms = LAST_MS;
	part->retry_at_ms = ls_monotonic_ms() + part->retry_ms;
	if (part->waiting_count < before)
		taken(lane);
	return class;
}
