/* A world in memory around real sink lanes, for simulated histories. The lane's own object code runs in it, from
 * lane.c down to decide.c: only what it stands on is replaced when the test is linked, Kafka (kafka/client.h), LMDB
 * (store.h), failpoints and the clock, each by a file beside this one:
 *   sim_fiber.c     a stack for each lane, so that it can be paused, left behind, or killed between any two steps
 *   sim_kafka.c     logs, a group, producers whose records land late or never
 *   sim_store.c     the local copy of the version state
 *   sim_database.c  the destination: rows, marks and ledger in one transaction, and what must never be seen there
 *   sim_log.c       the changes of one history
 *   sim_seam.c      clocks, failpoints, and rules left out
 *   sim_tools.c     what every history needs and none changes
 *   sim_world.c     the scheduler and what it does to them
 *   sim_model.c     how it must end, worked out from the log alone
 * One number, the seed, makes a whole history. */
#pragma once

#include "avro/codec.h"
#include "core/arena.h"
#include "../../consumer/lane.h" /* producer/ has one, too */
#include "main/app.h"
#include "seed.h"
#include "sim_fiber.h"

enum {
	SIM_PARTITIONS = 2,
	SIM_LOGS = 2,                           /* events, priority */
	SIM_TOPICS = SIM_LOGS * SIM_PARTITIONS, /* see sim_topic */
	SIM_LANES = 3,
	SIM_HOSTS = 2, /* lanes 0 and 1 share the state directory of host 0 */
	SIM_KEYS = 4,  /* key % SIM_PARTITIONS is its partition */
	SIM_SOURCES = 3,
	SIM_EDITS = 24,
	SIM_RECORDS = 64, /* of one events log */
	SIM_BACKUPS = 4,
	SIM_BATCH = 8,
	SIM_COMPACTION_LAG_MS = 3600000,
};

/* sim_topic is the place of one partition of the events (log 0) or priority (log 1) topic in arrays of both. */
static inline size_t sim_topic(size_t log, size_t partition)
{
	return log * SIM_PARTITIONS + partition;
}

/* Rules left out on purpose; each must be seen to end wrong. */
enum sim_mutant {
	SIM_SOUND,
	SIM_MARK_UNCHECKED,  /* the destination moves the mark from wherever it stands */
	SIM_ZOMBIE_UNFENCED, /* the mark must stand as expected, under whatever owner */
	SIM_STATE_FIRST,     /* version state goes out before the commit */
	SIM_MARKER_EARLY,    /* records count as acknowledged when they are sent */
	SIM_LAST_BY_OFFSET,  /* state records: the last one wins, instead of the join */
	SIM_NO_FOLD,         /* what was applied and not published is not decided again */
	SIM_NOTES_UNREAD,    /* what was passed over counts as applied when it is decided again */
	SIM_LETTER_LATE,     /* the mark passes a dead letter that is not acknowledged */
	SIM_LATE_UNHEALED,   /* what another writer publishes late is not read until the next restore */
	SIM_WINNER_ALONE,    /* a destination that lost commits gets the last event of each key, not those before it */
	SIM_MUTANTS,
};

/* One change as its source made it; several records may carry it. */
struct sim_edit {
	char event_id[24], name[8]; /* name: what it writes into its columns */
	size_t key, source, id;     /* id: the number of its event_id; two edits may share it */
	int64_t version;
	bool deletes, partial; /* partial: column b is absent */
	bool poison;           /* the destination never takes it */
	bool ahead;            /* its version lies beyond max_skew for a while */
	struct ls_str bytes;
};

struct sim_record {
	int64_t offset, time_ms;
	struct ls_str key, value;
	int edit;     /* events; -1: bytes that are no event */
	bool refused; /* the destination does not take it here, whatever it says of it elsewhere */
};

struct sim_log {
	char topic[LS_TOPIC_NAME];
	int32_t partition;
	struct sim_record *record;
	size_t count, room;
	int64_t low, next;
};

/* ---- the destination ---- */

struct sim_mark {
	int64_t next_offset, owner_epoch, max_version;
	int owner;
};

struct sim_row {
	bool present;
	int a, b;   /* edits whose name stands there; -1: NULL */
	int writer; /* edit that wrote it last, or deleted it; -1: none */
};

/* What its transactions keep together, and a backup brings back together. */
struct sim_data {
	struct sim_mark mark[SIM_TOPICS];
	struct sim_row row[SIM_KEYS];
	bool entered[SIM_EDITS];                  /* by event id */
	uint8_t effects[SIM_EDITS];               /* by edit */
	bool dead[SIM_TOPICS][SIM_RECORDS * 2];   /* by offset: passed as a dead letter */
	bool passed[SIM_TOPICS][SIM_RECORDS * 2]; /* by offset: noted as passed over */
};

/* ---- hosts and lanes ---- */

struct sim_state {
	char bytes[512];
	size_t len;
};

struct sim_copy {
	struct ls_store_meta meta;
	struct sim_state state[SIM_KEYS];
};

struct sim_pending {
	struct sim_log *log; /* NULL: a topic nobody looks at */
	struct ls_str key, value;
	void *opaque;
	bool acked;
};

struct ls_producer {
	struct sim_lane *lane;
	ls_delivery *delivery;
	void *context;
	struct sim_pending *pending; /* those before `sent` are in their log */
	size_t count, room, sent, told;
};

struct ls_partition {
	struct sim_lane *lane;
	struct sim_log *log;
	int64_t position;
};

struct ls_consumer {
	struct sim_lane *lane;
	struct ls_assigned assigned[SIM_TOPICS];
	struct ls_partition queue[SIM_TOPICS];
	size_t count;
	unsigned given, next; /* partitions, as bits */
	bool assign, revoke, lost;
};

struct sim_lane {
	struct sim *sim;
	int number, host;
	struct ls_app app;
	struct ls_config config;
	struct ls_sink_lane *lane;
	struct sim_fiber *fiber;
	bool running, killed, paused, joined, fenced_out;
	int64_t late_ms; /* how far its own clock went on after its death */
	int kill_in;     /* steps until it dies; -1: it does not */
	enum ls_class end;
	struct ls_error err;
	struct ls_consumer consumer;
	struct ls_producer *producer;
	/* the slice that SIM_STATE_FIRST has promised and not committed */
	struct sim_promise *promise;
};

struct sim {
	uint64_t seed;
	enum sim_mutant mutant;
	bool full, two_way; /* ledger: full; several sources write one key */
	bool restores;      /* the destination is put back to a backup; else an event id may have two versions */
	bool chaos, calm;   /* chaos: things go wrong by chance; calm: nothing goes wrong any more */
	int64_t now_ms;
	size_t steps, kill_at; /* kill_at: the step of the history at which the lane in it dies; 0: by chance */
	bool died_never;       /* the history was over before kill_at */
	struct ls_arena *arena;
	struct sim_edit edit[SIM_EDITS];
	size_t edit_count, next_edit;
	struct sim_log events[SIM_TOPICS], versions[SIM_PARTITIONS], letters;
	struct sim_data data, backup[SIM_BACKUPS];
	size_t backup_count;
	struct sim_copy copy[SIM_HOSTS][SIM_PARTITIONS], old_copy[SIM_HOSTS][SIM_PARTITIONS];
	struct sim_lane lane[SIM_LANES];
	struct sim_pending limbo[256]; /* on the wire when their sender died */
	size_t limbo_count;
	bool truncated;  /* below some mark: a lane may stop for it */
	bool told;       /* every step of note is printed: LS_SIM_TRACE */
	char wrong[400]; /* the first thing that must not be; empty: none */
	struct sim_tools *tools;
};

/* What outlives a history because it is costly to make and remembers nothing of it. */
struct sim_tools {
	struct ls_schemas *schemas;
	struct ls_encoder *encoder;
	struct ls_decoder *decoder;
	struct ls_state_codec *codec;
	struct ls_stats *stats;
	struct ls_log *log;
	struct ls_buf buf;
	struct ls_column column[3];
	struct ls_schema schema;
	struct ls_str key;
	struct ls_entity_config entity;
	struct ls_mapping mapping;
	struct ls_destination_config destination;
	size_t steps; /* of all histories */
};

extern const struct ls_destination_ops sim_destination;

/* sim_self is the lane whose code is running. */
struct sim_lane *sim_self(void);
void sim_set_self(struct sim_lane *lane);

/* sim_step is what every call out of a lane begins with: here it may be paused or killed. True: it is dead, and what it
 * asks for has no effect any more. */
bool sim_step(struct sim_lane *lane);
void sim_wrong(struct sim *sim, const char *fmt, ...) LS_PRINTF(2, 3);
void sim_note(const struct sim *sim, const char *fmt, ...) LS_PRINTF(2, 3);

/* ---- sim_kafka.c ---- */
void sim_log_append(struct sim *sim, struct sim_log *log, struct ls_str key, struct ls_str value, int edit);
struct sim_record *sim_log_at(const struct sim_log *log, int64_t offset);
void sim_deliver(struct sim_lane *lane, size_t count); /* moves records from the producer into their logs */
void sim_rebalance(struct sim *sim);
void sim_leave(struct sim_lane *lane, bool to_limbo); /* what is left of a process at the broker */

/* ---- sim_store.c, sim_database.c, sim_log.c, sim_model.c ---- */
int sim_key_of(struct ls_str entity_id);
void sim_keep_promise(struct sim_lane *lane);
void sim_make_edits(struct sim *sim);
void sim_append_next(struct sim *sim);
struct ls_stamp sim_stamp(const struct sim *sim, int edit);
void sim_judge(struct sim *sim);

/* ---- sim_seam.c ---- */
struct ls_decoder *__real_ls_decoder_new(struct ls_schemas *schemas);
struct ls_decoder *__real_ls_decoder_free(struct ls_decoder *decoder);
struct ls_state_codec *__real_ls_state_codec_new(void);
struct ls_state_codec *__real_ls_state_codec_free(struct ls_state_codec *codec);

/* ---- sim_tools.c ---- */
struct sim *sim_new(void);
void sim_free(struct sim *sim);

/* ---- sim_world.c ---- */
void sim_lane_work(void *arg);
void sim_name_logs(struct sim *sim);
/* sim_run runs one history. True: it ended as it must; else sim->wrong says what is wrong. */
bool sim_run(struct sim *sim, uint64_t seed, enum sim_mutant mutant, size_t kill_at);
