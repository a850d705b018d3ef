/* Partitions come and go: claimed from the destination when they come, drained and forgotten when they go. */
#include "core/arena.h"
#include "core/failpoint.h"
#include "lane.h"
#include "main/app.h"

#include <stdlib.h>

enum { MAX_CLAIMS = 10000 };

static const struct ls_sink_entity *entity_of(const struct ls_sink_lane *lane, const char *topic, int *ret_log)
{
	for (size_t i = 0; i < lane->entity_count; i++)
		for (int log = 0; log < LS_STORE_LOGS; log++)
			if (strcmp(lane->entity[i].topic[log], topic) == 0) {
				*ret_log = log;
				return &lane->entity[i];
			}
	return NULL;
}

static enum ls_class unit_of(struct ls_sink_lane *lane, const struct ls_sink_entity *entity, int32_t partition,
			     struct ls_unit **ret, struct ls_error *err)
{
	enum ls_class class;

	for (size_t i = 0; i < lane->unit_count; i++)
		if (lane->unit[i]->entity == entity && lane->unit[i]->partition == partition) {
			*ret = lane->unit[i];
			return LS_OK;
		}
	*ret = ls_unit_open(lane, entity, partition, err, &class);
	if (!class)
		lane->unit[lane->unit_count++] = *ret;
	return class;
}

static enum ls_class claim_all(struct ls_sink_lane *lane, const struct ls_assigned *assigned, size_t count,
			       struct ls_mark *mark, struct ls_error *err)
{
	enum ls_class class;

	for (size_t i = 0; i < count; i++)
		mark[i] = (struct ls_mark){ .topic = ls_str_of(assigned[i].topic), .partition = assigned[i].partition };
	LS_FAILPOINT_ERROR("sink.claim", err);
	class = count ? lane->dst->ops->claim(lane->dst, mark, count, err) : LS_OK;
	if (!class) {
		ls_sink_clock_told(lane, mark, count);
		LS_FAILPOINT_ERROR("sink.claimed", err);
	}
	return class;
}

/* catch_up: a destination that lost its last commits lost the last claims with them, and its owner epochs lie behind
 * what the local copy was written under. Claiming goes on until they are past it. */
static enum ls_class catch_up(struct ls_sink_lane *lane, struct ls_part *part, struct ls_error *err)
{
	struct ls_unit *unit = part->unit;
	enum ls_class class = LS_OK;

	for (int i = 0; !class && i < MAX_CLAIMS && part->mark.owner_epoch < unit->meta.owner_epoch; i++)
		class = lane->dst->ops->claim(lane->dst, &part->mark, 1, err);
	if (part->mark.owner_epoch > unit->owner_epoch)
		unit->owner_epoch = part->mark.owner_epoch;
	return class;
}

static enum ls_class take(struct ls_sink_lane *lane, const struct ls_assigned *assigned, const struct ls_mark *mark,
			  struct ls_error *err)
{
	struct ls_part *part = &lane->part[lane->part_count];
	int log = 0;
	const struct ls_sink_entity *entity = entity_of(lane, assigned->topic, &log);
	enum ls_class class;

	if (!entity)
		return ls_fail(err, LS_FATAL, "assign", "was assigned topic %s, which it did not subscribe to",
			       assigned->topic);
	*part = (struct ls_part){ .log = log, .mark = *mark, .goal = -1, .marker = -1, .committed = -1 };
	part->marker_ms = ls_monotonic_ms();
	part->mark.topic = ls_str_of(entity->topic[log]);
	class = unit_of(lane, entity, assigned->partition, &part->unit, err);
	if (class)
		return class;
	part->unit->folding++;
	lane->part_count++;
	return catch_up(lane, part, err);
}

enum ls_class ls_sink_assign(struct ls_sink_lane *lane, struct ls_assigned *assigned, size_t count,
			     struct ls_error *err)
{
	struct ls_mark *mark = calloc(count + 1, sizeof *mark);
	enum ls_class class;

	if (!mark)
		abort();
	class = claim_all(lane, assigned, count, mark, err);
	free(lane->part);
	free(lane->unit);
	lane->part_count = lane->unit_count = 0; /* what there was is dropped by the revoke before */
	lane->part = calloc(count + 1, sizeof *lane->part);
	lane->unit = calloc(count + 1, sizeof *lane->unit);
	if (!lane->part || !lane->unit)
		abort();
	for (size_t i = 0; !class && i < count; i++) {
		class = take(lane, &assigned[i], &mark[i], err);
		assigned[i].offset = class ? -1 : lane->part[i].mark.next_offset;
	}
	free(mark);
	if (!class)
		class = ls_wait_load(lane, err);
	if (!class)
		class = ls_consumer_assign(lane->consumer, assigned, count, err);
	for (size_t i = 0; !class && i < count; i++)
		lane->part[i].queue = assigned[i].queue;
	if (!class)
		LS_FAILPOINT_ERROR("sink.assigned", err);
	LS_GAUGE(lane->base.stats, partitions, lane->part_count);
	LS_GAUGE(lane->base.stats, up, class == LS_OK);
	if (!class)
		LS_LOG(lane->base.app->log, LS_LOG_INFO, lane->base.name, "partitions assigned", LS_N("count", count));
	return class;
}

/* drained: all state is published and every marker stands at its mark. */
static bool drained(const struct ls_sink_lane *lane)
{
	for (size_t i = 0; i < lane->part_count; i++) {
		const struct ls_part *part = &lane->part[i];

		if (part->phase == LS_PART_RUN && part->unit->meta.published[part->log] < ls_wait_floor(part))
			return false;
	}
	return true;
}

void ls_sink_drain(struct ls_sink_lane *lane, int timeout_ms)
{
	int64_t until = ls_monotonic_ms() + timeout_ms;
	struct ls_error err;

	LS_FAILPOINT("sink.drain");
	while (lane->producer && !lane->delivery_class && ls_monotonic_ms() < until) {
		for (size_t i = 0; i < lane->part_count; i++)
			if (ls_part_marker(lane, &lane->part[i], &err))
				return;
		if (drained(lane))
			break;
		ls_producer_poll(lane->producer, 5);
	}
	for (size_t i = 0; i < lane->part_count; i++) {
		struct ls_part *part = &lane->part[i];

		ls_part_marker(lane, part, &err); /* the last one only saves what is known */
		if (part->mark.next_offset >= 0 && part->mark.next_offset != part->committed)
			ls_consumer_commit(lane->consumer, part->unit->entity->topic[part->log], part->unit->partition,
					   part->mark.next_offset);
		part->committed = part->mark.next_offset;
	}
}

void ls_sink_drop(struct ls_sink_lane *lane)
{
	struct ls_error err;

	/* Receipts live in the units: nothing may be on its way when they go. */
	if (lane->producer && ls_producer_flush(lane->producer, 5000, &err))
		lane->producer = ls_producer_close(lane->producer);
	for (size_t i = 0; i < lane->part_count; i++) {
		ls_reader_close(lane->part[i].reader);
		ls_wait_free(&lane->part[i]);
		ls_hold_free(&lane->part[i]);
	}
	for (size_t i = 0; i < lane->unit_count; i++)
		ls_unit_free(lane->unit[i]);
	lane->part_count = lane->unit_count = 0;
	lane->generation++;
	LS_GAUGE(lane->base.stats, partitions, 0);
	LS_GAUGE(lane->base.stats, waiting, 0);
	LS_GAUGE(lane->base.stats, held, 0);
}
