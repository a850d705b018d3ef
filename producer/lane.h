/* The capture lane of one source: what it holds, and the steps of its loop. Private to the producer wing.
 *
 * The order that nothing may change: every event up to a position is acknowledged, then the position record is
 * acknowledged, then the source is told. lane.c drives, publish.c sends events, settle.c follows acknowledgements. */
#pragma once

#include "clock.h"
#include "core/buf.h"
#include "kafka/topics.h"
#include "lockstep/command.h"
#include "lockstep/source.h"

enum {
	LS_CAPTURE_SLOTS = 256,       /* batches in flight */
	LS_CAPTURE_BATCH = 2000,      /* events per batch */
	LS_CAPTURE_SAVE_MS = 1000,    /* a position record at least so often while there is something new */
	LS_CAPTURE_SAVE_BATCHES = 64, /* or after so many batches */
	LS_CAPTURE_DRAIN_MS = 10000,
	LS_CAPTURE_ARENA = 24 * 1024 * 1024,
};

struct ls_source_config;

struct ls_capture_lane {
	struct ls_lane base;
	const struct ls_source_config *config;
	struct ls_source_context context;
	char (*topic)[LS_TOPIC_NAME]; /* one per mapping */
	int32_t *partitions;          /* of each; two-way only */
	char dlq[LS_TOPIC_NAME], positions[LS_TOPIC_NAME];
	char writer[96];
	int64_t epoch;   /* of this run's position records */
	bool ask_limits; /* Kafka refused a message for its size: ask the topics for theirs before going on */

	/* Of one run. */
	struct ls_source *src;
	struct ls_producer *producer;
	struct ls_encoder *encoder;
	struct ls_park *park; /* NULL until an event is kept aside */
	struct ls_transform *transform;
	struct ls_pending *pending;
	struct ls_clock clock;
	struct ls_arena *arena;
	struct ls_event *event;
	struct ls_buf bytes;  /* the message being sent */
	struct ls_buf record; /* the position record: it is sent while a message waits for room */
	size_t last_mapping;

	/* Positions: reached, sent and not acknowledged, told to the source. */
	struct ls_buf reached, sent, told;
	int64_t reached_floor, sent_floor, told_floor;
	bool has_reached, is_sent, is_acked;
	int64_t saved_ms;
	size_t batches; /* reached since the last save */
	bool hurry;     /* in a snapshot: what a saved position tells need not be read again */

	int64_t deadline_ms;            /* of draining; 0: not stopping */
	int64_t alive_ms;               /* last keepalive */
	int64_t complain_ms;            /* last log line about Kafka */
	int64_t now_us;                 /* of the running poll of deliveries */
	struct ls_error lost;           /* a delivery that failed; class LS_OK: none */
	char tag[LS_CAPTURE_SLOTS + 1]; /* addresses are opaques: one per slot, the last for the position record */
};

/* ls_capture_lane_new makes the lane of one source. LS_FATAL: its mappings cannot work. */
enum ls_class ls_capture_lane_new(struct ls_app *app, const struct ls_source_config *config, struct ls_lane **ret,
				  struct ls_error *err);

/* ls_capture_context fills what a source kind is told about itself. */
void ls_capture_context(const struct ls_config *config, const struct ls_source_config *source,
			struct ls_lane_stats *stats, struct ls_source_context *ret);

/* ls_capture_known: every name is a source of the configuration. LS_FATAL offers the nearest one. */
enum ls_class ls_capture_known(const struct ls_config *config, char *const *names, size_t count, struct ls_error *err);

/* ls_capture_publish sends one batch. LS_RETRY: begin again from the last durable position (or stopping). */
enum ls_class ls_capture_publish(struct ls_capture_lane *lane, const struct ls_batch *batch, struct ls_error *err);

/* ls_capture_delivered is the producer's delivery callback; context is the lane. */
void ls_capture_delivered(void *context, void *opaque, enum ls_class class, const char *problem, int64_t offset);

/* ls_capture_settle waits up to timeout_ms for acknowledgements, then saves and confirms what they allow, and keeps the
 * source's connection alive. Called wherever the lane waits. LS_AUTH, or LS_RETRY: the run is over. */
enum ls_class ls_capture_settle(struct ls_capture_lane *lane, int timeout_ms, struct ls_error *err);

/* ls_capture_settled: nothing is sent, reached or saved that is not confirmed. */
bool ls_capture_settled(const struct ls_capture_lane *lane);
