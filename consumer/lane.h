/* The sink lane: one thread with its own consumer, producer, destination connection, decoder and arena. Private to
 * consumer/. The files beside this one each hold one idea of it:
 *   lane.c       the loop
 *   assign.c     partitions come and go
 *   unit.c       version state of a partition: restore, publish, fold
 *   decode.c     bytes to items
 *   skew.c       what time it is, where an event may come from the future
 *   apply.c      a batch into the destination, with bisection and retries
 *   dead.c       dead letters
 *   conflicts.c  both sides of a conflict
 *   wait.c       events that wait for rows of other partitions
 *   hold.c       partitions that wait until their destination is mended
 *   look.c       whether the destination still stands where this lane left it
 *   same_log.c   whether the topic is still the one that the mark is about */
#pragma once

#include "avro/codec.h"
#include "config/config.h"
#include "core/buf.h"
#include "core/map.h"
#include "core/time.h"
#include "kafka/client.h"
#include "kafka/topics.h"
#include "lockstep/command.h"
#include "lockstep/destination.h"
#include "metrics/stats.h"
#include "plan.h"
#include "store.h"

struct ls_arena;

/* Counts records given to the producer and records acknowledged; in order, because one partition's are. */
struct ls_receipt {
	uint64_t sent, acked;
	bool track;   /* the versions topic: follow the offsets */
	int64_t next; /* every record of the versions topic below this is folded in here */
	bool gap;     /* records of another writer lie behind it */
};

/* One entity as this destination takes it. */
struct ls_sink_entity {
	const struct ls_entity_config *config;
	const struct ls_mapping **mapping;
	const struct ls_schema **key_schema; /* key columns as texts, one per mapping */
	size_t mapping_count;
	char topic[LS_STORE_LOGS][LS_TOPIC_NAME]; /* events, priority */
	char versions[LS_TOPIC_NAME];
};

enum ls_unit_phase { LS_UNIT_RESTORE, LS_UNIT_READY };

/* The version state of one partition of one entity. */
struct ls_unit {
	const struct ls_sink_entity *entity;
	int32_t partition;
	int64_t owner_epoch;
	enum ls_unit_phase phase;
	unsigned folding; /* its logs that are not folded up to their marks yet: until then its state is not whole */
	struct ls_store *store;
	struct ls_store_meta meta;
	struct ls_reader *reader; /* of the versions topic while restoring */
	struct ls_map heal;       /* keys whose last record is not their greatest: published again when ready */
	struct ls_arena *heal_arena;
	uint64_t heal_sent; /* all is healed once as many records are acknowledged; UINT64_MAX: not sent yet */
	struct ls_receipt receipt;
	bool meta_dirty;
	int64_t restored; /* records read */
	int64_t restore_started_ms;
};

enum ls_part_phase { LS_PART_WAIT, LS_PART_FOLD, LS_PART_RUN };

/* One assigned partition of an events or priority topic. */
struct ls_part {
	struct ls_unit *unit;
	int log; /* 0 events, 1 priority */
	enum ls_part_phase phase;
	struct ls_partition *queue;
	struct ls_mark mark;
	struct ls_reader *reader; /* of the events while folding what was applied but not published */
	int64_t goal,
		goal_sent; /* a marker for `goal` may be published once receipt.acked >= goal_sent; goal -1: none */
	int64_t marker, marker_sent; /* a marker on its way; -1: none */
	int64_t marker_ms;           /* when the last one was sent */
	int64_t committed;           /* last advisory offset */
	struct ls_waiting *waiting;  /* in the order of their offsets */
	size_t waiting_count, waiting_room, waiting_bytes;
	struct ls_map waiting_keys; /* entity id -> struct ls_waiting */
	int64_t retry_at_ms, retry_ms;
	unsigned retries;
	struct ls_message *held; /* taken and not applied: the destination has to be mended for them first */
	size_t held_count;
	int64_t held_until_ms, hold_ms; /* 0: not held */
};

struct ls_sink_lane {
	struct ls_lane base;
	const struct ls_destination_config *config;
	int index;
	char owner[160];
	struct ls_sink_entity *entity;
	size_t entity_count;
	struct ls_destination_context context; /* the destination keeps pointing at it */
	struct ls_destination *dst;
	struct ls_consumer *consumer;
	struct ls_producer *producer;
	struct ls_decoder *decoder;
	struct ls_state_codec *codec;
	struct ls_arena *arena;      /* of one batch */
	struct ls_arena *plan_arena; /* of one plan of it */
	struct ls_buf buf;
	struct ls_message *message; /* batch_size of each */
	struct ls_item *item;
	struct ls_plan plan;
	struct ls_map key_rows;      /* writer row schemas without the key columns, completed: see decode.c */
	struct ls_arena *lane_arena; /* lives as long as the run */
	struct ls_part *part;
	size_t part_count;
	struct ls_unit **unit;
	size_t unit_count;
	uint64_t generation; /* grows with every revoke: what was held before is gone */
	struct ls_receipt dead, other;
	struct ls_map held; /* event id -> struct ls_event: what was read again for the reports of conflicts */
	struct ls_arena *held_arena;
	enum ls_class delivery_class; /* first failed delivery */
	char delivery_problem[200];
	struct ls_backoff backoff;
	unsigned failures; /* in a row, for the breaker */
	int64_t last_tick_ms, last_news_ms, last_look_ms;
	int64_t begun_us, begun_ms; /* wall and monotonic clock when the lane began */
	int64_t told_us, told_ms;   /* the destination's clock, and our monotonic one when it said so; 0: it did not */
	int64_t taken_ms;           /* when an event that waited was taken last */
	char dlq[LS_TOPIC_NAME], conflicts[LS_TOPIC_NAME];
};

/* ---- wing.c ---- */
/* ls_sink_context is how a destination is opened or checked. What it points at stays the configuration's, owner and
 * stats the caller's. */
struct ls_destination_context ls_sink_context(const struct ls_config *config,
					      const struct ls_destination_config *destination, const char *owner,
					      struct ls_lane_stats *stats);

/* ---- lane.c ---- */
struct ls_sink_lane *ls_sink_lane_new(struct ls_app *app, const struct ls_destination_config *config, int index);

/* ls_sink_poll serves the group (assign, revoke), the deliveries and nothing else; to be called while waiting for
 * anything. LS_FENCED when the partitions held before the call are gone. */
enum ls_class ls_sink_poll(struct ls_sink_lane *lane, int timeout_ms, struct ls_error *err);

/* ls_sink_settle polls until everything counted by the receipt is acknowledged. */
enum ls_class ls_sink_settle(struct ls_sink_lane *lane, struct ls_receipt *receipt, struct ls_error *err);

/* ls_sink_send queues a record, waiting while the producer is full. */
enum ls_class ls_sink_send(struct ls_sink_lane *lane, const char *topic, int32_t partition, struct ls_str key,
			   struct ls_str value, const struct ls_header *header, size_t header_count,
			   struct ls_receipt *receipt, struct ls_error *err);

/* ---- assign.c ---- */
enum ls_class ls_sink_assign(struct ls_sink_lane *lane, struct ls_assigned *assigned, size_t count,
			     struct ls_error *err);
void ls_sink_drain(struct ls_sink_lane *lane, int timeout_ms); /* markers and advisory offsets before giving up */
void ls_sink_drop(struct ls_sink_lane *lane);                  /* forgets every partition */

/* ---- unit.c ---- */
struct ls_unit *ls_unit_open(struct ls_sink_lane *lane, const struct ls_sink_entity *entity, int32_t partition,
			     struct ls_error *err, enum ls_class *ret);
void ls_unit_free(struct ls_unit *unit);
/* ls_unit_step reads some of the versions topic; phase LS_UNIT_READY when it is all there. */
enum ls_class ls_unit_step(struct ls_sink_lane *lane, struct ls_unit *unit, struct ls_error *err);
/* ls_part_fold decides some of what was applied before but is not in the versions topic; phase LS_PART_RUN when
 * done. */
enum ls_class ls_part_fold(struct ls_sink_lane *lane, struct ls_part *part, struct ls_error *err);
/* ls_unit_save stores the plan's states locally and publishes them. */
enum ls_class ls_unit_save(struct ls_sink_lane *lane, struct ls_unit *unit, struct ls_plan *plan, struct ls_error *err);
/* ls_part_marker publishes the marker when its time has come. */
enum ls_class ls_part_marker(struct ls_sink_lane *lane, struct ls_part *part, struct ls_error *err);
/* lookup for ls_plan_input; context is the unit, a read snapshot is open. */
struct ls_lookup {
	struct ls_unit *unit;
	struct ls_arena *arena;
};
enum ls_class ls_unit_lookup(void *context, struct ls_str entity_id, struct ls_state *ret, struct ls_error *err);
enum ls_class ls_unit_plan(struct ls_sink_lane *lane, struct ls_unit *unit, struct ls_item *items, size_t count,
			   struct ls_error *err);

/* ---- decode.c ---- */
/* ls_sink_decode turns a message into an item: an event that may be decided, or a dead letter with its reason.
 * LS_RETRY: the schema could not be asked for; nothing may be passed over. */
enum ls_class ls_sink_decode(struct ls_sink_lane *lane, const struct ls_sink_entity *entity,
			     const struct ls_message *message, struct ls_item *ret, struct ls_error *err);

/* ---- dead.c ---- */
void ls_item_kill(struct ls_sink_lane *lane, struct ls_item *item, const struct ls_error *why);
/* ls_sink_bury sends the dead letters among items[0..count) that are not sent yet and waits for them. */
enum ls_class ls_sink_bury(struct ls_sink_lane *lane, const struct ls_message *message, struct ls_item *items,
			   size_t count, struct ls_error *err);

/* ---- conflicts.c ---- */
/* ls_conflicts_gather finds both sides of the plan's conflicts, reading the topics again where need be, and takes out
 * those that are none. */
enum ls_class ls_conflicts_gather(struct ls_sink_lane *lane, const struct ls_unit *unit, const struct ls_item *items,
				  struct ls_error *err);
/* ls_sink_conflicts sends them to {prefix}.conflicts and waits until they are acknowledged. */
enum ls_class ls_sink_conflicts(struct ls_sink_lane *lane, const struct ls_part *part, struct ls_error *err);

/* ---- wait.c ---- */
bool ls_wait_is_constraint(const char *code); /* a foreign key, a unique value, an exclusion: others may mend it */
void ls_wait_free(struct ls_part *part);
/* ls_wait_full: so much waits that this partition is not to be read further. */
bool ls_wait_full(const struct ls_sink_lane *lane, const struct ls_part *part);
/* ls_wait_floor: no event below it waits. */
int64_t ls_wait_floor(const struct ls_part *part);
/* ls_wait_load takes over what waits in the partitions that were assigned; their bytes come while folding. */
enum ls_class ls_wait_load(struct ls_sink_lane *lane, struct ls_error *err);
/* ls_wait_keep copies the message where its event waits; false: it does not. */
bool ls_wait_keep(struct ls_part *part, const struct ls_message *message);
/* ls_wait_whole: LS_FATAL when, after folding, the bytes of one that waits did not come: its topic has lost them. */
enum ls_class ls_wait_whole(struct ls_sink_lane *lane, const struct ls_part *part, struct ls_error *err);
/* ls_item_wait takes the item out of its batch: it is to be written down as waiting. Copies what it needs. */
void ls_item_wait(struct ls_sink_lane *lane, struct ls_item *item, const struct ls_refused *refused);
/* ls_wait_behind makes events of keys that wait already wait too: the order of a key is kept. */
void ls_wait_behind(struct ls_sink_lane *lane, const struct ls_part *part, struct ls_item *items, size_t count);
/* ls_wait_list fills slice->wait, or slice->done when the items have waited already. */
void ls_wait_list(const struct ls_sink_lane *lane, const struct ls_item *items, bool again, struct ls_slice *slice);
/* Both after the commit: what began to wait, what waits no longer. */
void ls_wait_note(struct ls_sink_lane *lane, struct ls_part *part, const struct ls_item *items,
		  const struct ls_message *message);
void ls_wait_done(struct ls_part *part, const struct ls_slice *slice);
/* ls_wait_back: an event that will not be taken leaves its row as it was. */
enum ls_class ls_wait_back(struct ls_sink_lane *lane, struct ls_part *part, const struct ls_item *item,
			   struct ls_error *err);
/* ls_wait_retry tries what waits once more, when it is time. */
enum ls_class ls_wait_retry(struct ls_sink_lane *lane, struct ls_part *part, struct ls_error *err);

/* ---- skew.c ---- */
void ls_sink_clock_begin(struct ls_sink_lane *lane);
/* ls_sink_clock_told takes the destination's clock from marks that were read just now. */
void ls_sink_clock_told(struct ls_sink_lane *lane, const struct ls_mark *mark, size_t count);
int64_t ls_sink_clock_now(const struct ls_sink_lane *lane);

/* ---- look.c ---- */
/* ls_sink_look compares, now and then, the marks at the destination with those of the lane. LS_FENCED: they differ. */
enum ls_class ls_sink_look(struct ls_sink_lane *lane, struct ls_error *err);

/* ---- hold.c ---- */
/* ls_hold_mends: a schema that the destination does not have yet (SQLSTATE class 42) is a matter of waiting for a
 * person, not of stopping the others. */
bool ls_hold_mends(enum ls_class class, const struct ls_error *err);
/* ls_hold puts a partition off until a person has mended the destination; the others go on. */
void ls_hold(struct ls_sink_lane *lane, struct ls_part *part, const struct ls_error *why);
bool ls_hold_is(const struct ls_part *part);
/* ls_hold_keep takes message[0..count): what was not applied was taken from the queue and does not come again. */
void ls_hold_keep(struct ls_part *part, struct ls_message *message, size_t count);
/* ls_hold_take gives them back once it is time to try again; returns how many, maybe 0. */
size_t ls_hold_take(struct ls_part *part, struct ls_message *message);
void ls_hold_free(struct ls_part *part);

/* ---- same_log.c ---- */
/* ls_sink_same_log: LS_FATAL when the message, the last below the mark, is not what was applied from there. */
enum ls_class ls_sink_same_log(const struct ls_sink_lane *lane, const struct ls_part *part,
			       const struct ls_message *message, const struct ls_item *item, struct ls_error *err);

/* ---- apply.c ---- */
enum ls_class ls_sink_apply(struct ls_sink_lane *lane, struct ls_part *part, struct ls_item *items,
			    const struct ls_message *message, size_t count, struct ls_error *err);
/* ls_sink_apply_again: items that wait already, all of the partition's; what is still refused goes on waiting, or
 * becomes a dead letter when it is hopeless. */
enum ls_class ls_sink_apply_again(struct ls_sink_lane *lane, struct ls_part *part, struct ls_item *items,
				  const struct ls_message *message, size_t count, struct ls_error *err);
