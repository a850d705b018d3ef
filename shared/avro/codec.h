/* Change events to bytes and back: framing, the mapping between the neutral schema and Avro's, logical types. avro-c
 * writes. Reading is one pass of a cursor along the writer's schema that checks every length before it believes it:
 * avro-c trusts them, and its reader alone takes longer per event than all of this. */
#pragma once

#include "avro/schemas.h"
#include "lockstep/event.h"

struct ls_arena;
struct ls_buf;

/* ---- writing; one encoder per lane ---- */

struct ls_encoder;
struct ls_encoder *ls_encoder_new(struct ls_schemas *schemas);
/* ls_encoder_strict: events of a schema that would be a change for its entity (ls_schemas_settled) are LS_POISON, code
 * schema_change. */
void ls_encoder_strict(struct ls_encoder *encoder);
struct ls_encoder *ls_encoder_free(struct ls_encoder *encoder);

/* ls_encode appends the framed bytes of one event to `out`. Row schemas are known by their address: one that this
 * encoder has seen is kept unchanged for as long as the encoder lives, not freed with another made in its place. The
 * first event of a new event->after.schema (or before, for deletes) makes the writer schema known first: compatibility
 * checked, published, acknowledged.
 * LS_POISON: a value does not fit its type, or the event passes out's ceiling; says which column. LS_RETRY: registry or
 * topic not reachable. LS_FATAL: not compatible with what was published before; says which field. */
enum ls_class ls_encode(struct ls_encoder *encoder, const struct ls_event *event, struct ls_buf *out,
			struct ls_error *err);

/* ---- reading; one decoder per lane ---- */

struct ls_decoder;
struct ls_decoder *ls_decoder_new(struct ls_schemas *schemas);
struct ls_decoder *ls_decoder_free(struct ls_decoder *decoder);

/* ls_decode reads one framed event, of any writer schema that has the fields of docs/publishing.md.
 *
 * timestamp_us  Kafka's record timestamp: the version of an event that has none
 * arena         holds all that *ret points at, every text of it terminated by a NUL; row schemas belong to the
 *               decoder, one per writer schema and entity, for its life
 * LS_POISON: not an event, says why. LS_RETRY: the registry or the schemas topic could not be asked. */
enum ls_class ls_decode(struct ls_decoder *decoder, struct ls_str bytes, int64_t timestamp_us, struct ls_arena *arena,
			struct ls_event *ret, struct ls_error *err);

/* ---- version state records of {prefix}.{entity}.versions.{destination} (schemas/version_state.avsc) ---- */

struct ls_state;
struct ls_state_codec;
struct ls_state_codec *ls_state_codec_new(void);
struct ls_state_codec *ls_state_codec_free(struct ls_state_codec *codec);
/* Single-object encoding. Cannot fail but for memory. */
void ls_state_encode(struct ls_state_codec *codec, const struct ls_state *state, struct ls_buf *out);
/* LS_POISON when it is not such a record. */
enum ls_class ls_state_decode(struct ls_state_codec *codec, struct ls_str bytes, struct ls_arena *arena,
			      struct ls_state *ret, struct ls_error *err);

/* ls_event_json prints a decoded event as JSON, one object, for people and tools (dlq show, conflicts, console). */
void ls_event_json(const struct ls_event *event, struct ls_buf *out);

/* ls_side_json prints one side of a conflict: its event as by ls_event_json, or, without payload or where its topic
 * does not hold it any more, what the state knows of it. */
struct ls_side;
void ls_side_json(const struct ls_side *side, bool payload, struct ls_buf *out);

/* ls_schema_avro prints the Avro schema of change events of this entity (schemas/change_event.avsc with its
 * `after`). */
void ls_schema_avro(const struct ls_schema *schema, struct ls_buf *out);
