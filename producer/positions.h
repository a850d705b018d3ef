/* {prefix}.positions: where each source goes on from. Key: the source's name; value: one JSON object. The record is
 * written only after every event before it is acknowledged, and the source lets go of its log only after the record
 * is. */
#pragma once

#include "lockstep/error.h"
#include "lockstep/str.h"

#include <stdint.h>

struct ls_arena;
struct ls_buf;
struct ls_kafka_conf;

struct ls_position {
	struct ls_str source;
	struct ls_str position; /* the source kind's own text; empty: there is none */
	int64_t version;        /* floor of the version clock; LS_NONE: none */
	int64_t updated_us;
	struct ls_str writer; /* who wrote it, for people: host-pid */
	int64_t epoch;        /* one above that of the record the writer began from; 0: none, an older record */
};

/* ls_position_print appends the record's value. */
void ls_position_print(const struct ls_position *record, struct ls_buf *out);

/* ls_position_parse reads a value; texts in arena. LS_FATAL: it is not such a record; says what is wrong. */
enum ls_class ls_position_parse(struct ls_str text, struct ls_arena *arena, struct ls_position *ret,
				struct ls_error *err);

/* ls_positions_load reads the whole topic and keeps the newest record of `source`: the last of the greatest epoch,
 * because a capture that stood still may say an old position late. One without an epoch, written by hand or before
 * there were any, counts as it stands. A tombstone forgets what was before.
 * LS_OK with an empty position when there is none. LS_FATAL: a record that cannot be read, named by topic, partition
 * and offset. LS_RETRY: Kafka was not reachable. */
enum ls_class ls_positions_load(const struct ls_kafka_conf *conf, const char *topic, struct ls_str source,
				struct ls_arena *arena, struct ls_position *ret, struct ls_error *err);

/* ls_positions_save writes one record and waits until it is acknowledged; an empty position writes a tombstone. Not for
 * a running capture: that one keeps its own producer. LS_RETRY: Kafka did not take it within 30 s. */
enum ls_class ls_positions_save(const struct ls_kafka_conf *conf, const char *topic, const struct ls_position *record,
				struct ls_error *err);
