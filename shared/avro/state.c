/* Version state records: schemas/version_state.avsc in single-object encoding. avro-c writes them through one value
 * that is kept; a cursor that checks lengths reads them. */
#include "avro/avro_text.h"
#include "avro/codec.h"
#include "avro/encode_value.h"
#include "avro/wire.h"

#include "core/arena.h"
#include "core/buf.h"
#include "lockstep/stamp.h"

#include <stdio.h>
#include <stdlib.h>

/* The same schema as schemas/version_state.avsc, without its comments: tests/unit/test_avro_state.c compares them. */
static const char SCHEMA[] =
	"{\"type\":\"record\",\"name\":\"VersionState\",\"namespace\":\"lockstep\",\"fields\":["
	"{\"name\":\"version\",\"type\":\"long\"},"
	"{\"name\":\"timestamp\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}},"
	"{\"name\":\"source\",\"type\":\"string\"},"
	"{\"name\":\"deleted\",\"type\":\"boolean\"},"
	"{\"name\":\"event_id\",\"type\":\"string\"},"
	"{\"name\":\"seen\",\"type\":{\"type\":\"map\",\"values\":\"long\"}},"
	"{\"name\":\"offset\",\"type\":\"long\"},"
	"{\"name\":\"owner_epoch\",\"type\":\"long\"}]}";

enum field { VERSION, TIMESTAMP, SOURCE, DELETED, EVENT_ID, SEEN, OFFSET, OWNER_EPOCH, FIELDS };

struct ls_state_codec {
	avro_schema_t schema;
	avro_value_iface_t *class;
	avro_value_t value;
	avro_value_t field[FIELDS];
	avro_writer_t writer;
	struct ls_buf name; /* a source's name, terminated for avro-c's map */
	uint8_t frame[10];
};

static _Noreturn void give_up(void)
{
	char text[160];

	ls_avro_text(text);
	fprintf(stderr, "lockstep: the Avro schema of version states: %s\n", text);
	abort();
}

struct ls_state_codec *ls_state_codec_new(void)
{
	struct ls_state_codec *codec = calloc(1, sizeof(*codec));
	struct ls_error err;
	uint64_t print;

	if (!codec || avro_schema_from_json_length(SCHEMA, sizeof(SCHEMA) - 1, &codec->schema) ||
	    ls_avro_fingerprint(LS_STR(SCHEMA), &print, &err))
		give_up();
	codec->class = avro_generic_class_from_schema(codec->schema);
	if (!codec->class || avro_generic_value_new(codec->class, &codec->value))
		give_up();
	for (size_t i = 0; i < FIELDS; i++)
		if (avro_value_get_by_index(&codec->value, i, &codec->field[i], NULL))
			give_up();
	codec->writer = avro_writer_memory("", 0);
	ls_buf_init(&codec->name, 1 << 20);
	codec->frame[0] = 0xc3;
	codec->frame[1] = 0x01;
	for (int i = 0; i < 8; i++)
		codec->frame[2 + i] = (uint8_t)(print >> (8 * i));
	return codec;
}

struct ls_state_codec *ls_state_codec_free(struct ls_state_codec *codec)
{
	if (!codec)
		return NULL;
	avro_value_decref(&codec->value);
	avro_value_iface_decref(codec->class);
	avro_schema_decref(codec->schema);
	avro_writer_free(codec->writer);
	ls_buf_release(&codec->name);
	free(codec);
	return NULL;
}

static int set_seen(struct ls_state_codec *codec, const struct ls_state *state)
{
	avro_value_t *map = &codec->field[SEEN], item;
	int failed = avro_value_reset(map);

	for (size_t i = 0; !failed && i < state->seen_count; i++) {
		ls_buf_clear(&codec->name);
		ls_buf_add_str(&codec->name, state->seen[i].source);
		ls_buf_add_char(&codec->name, '\0');
		failed = avro_value_add(map, codec->name.ptr, &item, NULL, NULL) ||
			 avro_value_set_long(&item, state->seen[i].version);
	}
	return failed;
}

static int fill(struct ls_state_codec *codec, const struct ls_state *state)
{
	avro_value_t *field = codec->field;

	return avro_value_set_long(&field[VERSION], state->stamp.version) ||
	       avro_value_set_long(&field[TIMESTAMP], state->stamp.timestamp_us) ||
	       ls_avro_lend_string(&field[SOURCE], state->stamp.source) ||
	       avro_value_set_boolean(&field[DELETED], state->deleted) ||
	       ls_avro_lend_string(&field[EVENT_ID], state->event_id) || set_seen(codec, state) ||
	       avro_value_set_long(&field[OFFSET], state->offset) ||
	       avro_value_set_long(&field[OWNER_EPOCH], state->owner_epoch);
}

/* room_for: more than the encoding can take: numbers are at most 10 bytes each. */
static size_t room_for(const struct ls_state *state)
{
	size_t room =
		sizeof(((struct ls_state_codec *)0)->frame) + 12 * 10 + state->stamp.source.len + state->event_id.len;

	for (size_t i = 0; i < state->seen_count; i++)
		room += state->seen[i].source.len + 2 * 10;
	return room;
}

void ls_state_encode(struct ls_state_codec *codec, const struct ls_state *state, struct ls_buf *out)
{
	size_t room = room_for(state), frame = sizeof(codec->frame);
	char *at = ls_buf_reserve(out, room);

	if (!at)
		return; /* out->full says so */
	memcpy(at, codec->frame, frame);
	avro_writer_memory_set_dest(codec->writer, at + frame, (int64_t)(room - frame));
	if (fill(codec, state) || avro_value_write(codec->writer, &codec->value))
		give_up();
	out->len += frame + (size_t)avro_writer_tell(codec->writer);
	out->ptr[out->len] = 0;
}

static enum ls_class refuse(struct ls_error *err, const char *what)
{
	return ls_fail(err, LS_POISON, "BAD_STATE", "not a version state record: %s", what);
}

static bool text(struct ls_wire *wire, struct ls_arena *arena, struct ls_str *ret)
{
	struct ls_str view;

	if (!ls_wire_bytes(wire, &view) || !ls_utf8_ok(view) || ls_arena_left(arena) < view.len + 4096)
		return false;
	*ret = ls_arena_str(arena, view);
	return true;
}

/* A map may repeat a key on the wire; which of its versions counts nobody could say. */
static bool is_seen_twice(const struct ls_state *state)
{
	for (size_t i = 0; i < state->seen_count; i++)
		if (ls_str_equal(state->seen[i].source, state->seen[state->seen_count].source))
			return true;
	return false;
}

static bool read_seen(struct ls_wire *wire, struct ls_arena *arena, struct ls_state *state)
{
	uint64_t left = 0;

	for (;; left--) {
		if (!left && !ls_wire_block(wire, false, &left))
			return false;
		if (!left)
			return true;
		if (state->seen_count == LS_SEEN_MAX)
			return false;
		if (!text(wire, arena, &state->seen[state->seen_count].source) ||
		    !ls_wire_long(wire, &state->seen[state->seen_count].version) || is_seen_twice(state))
			return false;
		state->seen_count++;
	}
}

enum ls_class ls_state_decode(struct ls_state_codec *codec, struct ls_str bytes, struct ls_arena *arena,
			      struct ls_state *ret, struct ls_error *err)
{
	struct ls_wire wire = { (const uint8_t *)bytes.ptr, (const uint8_t *)bytes.ptr + bytes.len };
	struct ls_str frame;

	if (!ls_wire_view(&wire, sizeof(codec->frame), &frame) ||
	    memcmp(frame.ptr, codec->frame, sizeof(codec->frame)) != 0)
		return refuse(err, "another schema, or no Avro at all");
	*ret = (struct ls_state){ .exists = true };
	if (!ls_wire_long(&wire, &ret->stamp.version) || !ls_wire_long(&wire, &ret->stamp.timestamp_us) ||
	    !text(&wire, arena, &ret->stamp.source) || !ls_wire_bool(&wire, &ret->deleted) ||
	    !text(&wire, arena, &ret->event_id) || !read_seen(&wire, arena, ret) ||
	    !ls_wire_long(&wire, &ret->offset) || !ls_wire_long(&wire, &ret->owner_epoch))
		return refuse(err, "it ends early, a length in it is wrong, or it has a source twice");
	if (ls_wire_left(&wire))
		return refuse(err, "bytes are left over behind it");
	return LS_OK;
}
