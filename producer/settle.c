/* What follows acknowledgements: slots complete, a position is reached, its record is saved and acknowledged, and only
 * then the source is told. Also what a waiting lane owes: keepalives to the source, a word when Kafka takes nothing. */
#include "lane.h"
#include "pending.h"
#include "positions.h"

#include "core/failpoint.h"
#include "main/app.h"

#include <stdio.h>

enum { KEEPALIVE_MS = 500, COMPLAIN_MS = 30 * 1000 };

void ls_capture_delivered(void *context, void *opaque, enum ls_class class, const char *problem, int64_t offset)
{
	struct ls_capture_lane *lane = context;
	size_t slot = (size_t)((char *)opaque - lane->tag);
	int64_t commit_us;

	(void)offset;
	LS_FAILPOINT("capture.delivered");
	if (class) {
		/* Lost for this handle only: the source still has it, and begins again from the last durable
		 * position. */
		lane->ask_limits |= class == LS_POISON;
		if (!lane->lost.class)
			ls_fail(&lane->lost, class == LS_AUTH ? LS_AUTH : LS_RETRY, "delivery",
				"source \"%s\": Kafka did not take a message: %s; reading again from the last saved "
				"position",
				lane->config->name, problem ? problem : "no reason given");
		return;
	}
	if (slot == LS_CAPTURE_SLOTS) {
		lane->is_acked = true;
		return;
	}
	ls_pending_ack(lane->pending, slot);
	LS_COUNT(lane->base.stats, published, 1);
	commit_us = ls_pending_noted(lane->pending, slot);
	if (commit_us != LS_NONE)
		ls_histogram_note(&lane->base.stats->commit_to_published, lane->now_us - commit_us);
}

static void advance(struct ls_capture_lane *lane)
{
	size_t before = ls_pending_batches(lane->pending);
	struct ls_str position;
	int64_t floor;

	if (ls_pending_reached(lane->pending, &position, &floor)) {
		LS_FAILPOINT("capture.acked");
		ls_buf_clear(&lane->reached);
		ls_buf_add_str(&lane->reached, position);
		lane->reached_floor = floor;
		/* An idle source repeats itself: nothing new, nothing to write. */
		lane->has_reached = lane->is_sent || floor != lane->told_floor ||
				    !ls_str_equal(ls_buf_str(&lane->reached), ls_buf_str(&lane->told));
	}
	before -= ls_pending_batches(lane->pending);
	lane->batches += before;
	LS_COUNT(lane->base.stats, batches, before);
	LS_GAUGE(lane->base.stats, pending, ls_pending_unacked(lane->pending));
}

static bool save_is_due(const struct ls_capture_lane *lane)
{
	if (!lane->has_reached || lane->is_sent)
		return false;
	return lane->deadline_ms || lane->hurry || lane->batches >= LS_CAPTURE_SAVE_BATCHES ||
	       ls_monotonic_ms() - lane->saved_ms >= LS_CAPTURE_SAVE_MS;
}

static enum ls_class save(struct ls_capture_lane *lane, struct ls_error *err)
{
	struct ls_str source = ls_str_of(lane->config->name);
	struct ls_position record = { source,      ls_buf_str(&lane->reached), lane->reached_floor,
				      ls_now_us(), ls_str_of(lane->writer),    lane->epoch };
	struct ls_buf old = lane->sent;
	enum ls_class class;

	LS_FAILPOINT_ERROR("capture.position_send", err);
	ls_buf_clear(&lane->record);
	ls_position_print(&record, &lane->record);
	if (lane->record.full)
		return ls_fail(err, LS_FATAL, "position", "source \"%s\": its position is too large to be saved",
			       lane->config->name);
	class = ls_producer_send(lane->producer, lane->positions, -1, source, ls_buf_str(&lane->record), NULL, 0,
				 &lane->tag[LS_CAPTURE_SLOTS], err);
	if (class == LS_RETRY)
		return LS_OK; /* the queue is full: at the next turn */
	if (class)
		return ls_fail_in(err, "position of source \"%s\"", lane->config->name);
	lane->sent = lane->reached;
	lane->sent_floor = lane->reached_floor;
	lane->reached = old;
	lane->has_reached = false;
	lane->is_sent = true;
	lane->saved_ms = ls_monotonic_ms();
	lane->batches = 0;
	LS_FAILPOINT_ERROR("capture.position_sent", err);
	return LS_OK;
}

static enum ls_class confirm(struct ls_capture_lane *lane, struct ls_error *err)
{
	struct ls_buf old = lane->told;
	enum ls_class class;

	LS_FAILPOINT_ERROR("capture.position_acked", err);
	lane->is_acked = false;
	lane->is_sent = false;
	lane->told = lane->sent;
	lane->told_floor = lane->sent_floor;
	lane->sent = old;
	class = lane->src->ops->confirm(lane->src, ls_buf_str(&lane->told), err);
	if (class)
		return class;
	LS_FAILPOINT_ERROR("capture.confirmed", err);
	return LS_OK;
}

/* Kafka takes nothing: refused is the end of the run, anything else is waited out, and said now and then. */
static enum ls_class look_at_kafka(struct ls_capture_lane *lane, int64_t now_ms, struct ls_error *err)
{
	struct ls_error why;
	enum ls_class class = ls_producer_error(lane->producer, &why);

	if (!class)
		return LS_OK;
	if (class != LS_RETRY) {
		*err = why;
		/* The handle is dead; another one may live. */
		err->class = class == LS_AUTH ? LS_AUTH : LS_RETRY;
		return ls_fail_in(err, "source \"%s\"", lane->config->name);
	}
	if (lane->complain_ms && now_ms - lane->complain_ms < COMPLAIN_MS)
		return LS_OK;
	lane->complain_ms = now_ms;
	ls_stats_error(lane->base.stats, why.text);
	ls_log_error(lane->base.app->log, LS_LOG_WARN, lane->base.name, &why, "waiting, the source is kept alive");
	return LS_OK;
}

static enum ls_class keep_alive(struct ls_capture_lane *lane, struct ls_error *err)
{
	int64_t now_ms = ls_monotonic_ms();
	enum ls_class class;

	if (now_ms - lane->alive_ms < KEEPALIVE_MS)
		return LS_OK;
	lane->alive_ms = now_ms;
	LS_FAILPOINT_ERROR("capture.keepalive", err);
	class = lane->src->ops->keepalive(lane->src, err);
	if (class || !ls_producer_queued(lane->producer))
		return class;
	return look_at_kafka(lane, now_ms, err);
}

enum ls_class ls_capture_settle(struct ls_capture_lane *lane, int timeout_ms, struct ls_error *err)
{
	enum ls_class class = LS_OK;

	lane->now_us = ls_now_us();
	if (ls_producer_queued(lane->producer))
		ls_producer_poll(lane->producer, timeout_ms);
	else if (timeout_ms)
		ls_stop_wait(&lane->base.app->stop, timeout_ms);
	if (lane->lost.class) {
		*err = lane->lost;
		return err->class;
	}
	advance(lane);
	if (lane->is_acked)
		class = confirm(lane, err);
	if (!class && save_is_due(lane))
		class = save(lane, err);
	return class ? class : keep_alive(lane, err);
}

bool ls_capture_settled(const struct ls_capture_lane *lane)
{
	return !ls_pending_unacked(lane->pending) && !lane->has_reached && !lane->is_sent;
}
