/* Framed bytes to events: which writer schema, from where, and the readers already made for the ones seen. */
#include "avro/codec.h"
#include "avro/reader.h"

#include "core/arena.h"
#include "core/buf.h"
#include "core/map.h"

#include <stdio.h>
#include <stdlib.h>

enum { WRITERS_MAX = 4096, SCRATCH_MAX = 16 << 20 };

/* A writer schema that was met: its reader, or why there is none. */
struct writer {
	char key[9];
	bool by_id;
	uint64_t id;
	struct ls_reader *reader;
	struct ls_error error;
};

struct ls_decoder {
	struct ls_schemas *schemas;
	struct ls_map writers;
	struct writer *last; /* most messages are of the schema of the one before */
	struct ls_buf scratch;
};

struct ls_decoder *ls_decoder_new(struct ls_schemas *schemas)
{
	struct ls_decoder *decoder = calloc(1, sizeof(*decoder));

	if (!decoder)
		abort();
	decoder->schemas = schemas;
	ls_map_init(&decoder->writers);
	ls_buf_init(&decoder->scratch, SCRATCH_MAX);
	return decoder;
}

struct ls_decoder *ls_decoder_free(struct ls_decoder *decoder)
{
	if (!decoder)
		return NULL;
	for (size_t i = 0; i < decoder->writers.count; i++) {
		struct writer *writer = decoder->writers.slot[i].value;

		ls_reader_free(writer->reader);
		free(writer);
	}
	ls_map_release(&decoder->writers);
	ls_buf_release(&decoder->scratch);
	free(decoder);
	return NULL;
}

static enum ls_class unknown_frame(struct ls_str bytes, struct ls_error *err)
{
	char hex[3 * 8 + 1] = "";
	size_t shown = bytes.len < 8 ? bytes.len : 8;

	for (size_t i = 0; i < shown; i++)
		snprintf(hex + 3 * i, 4, " %02x", (unsigned char)bytes.ptr[i]);
	return ls_fail(
		err, LS_POISON, "BAD_FRAME",
		"not an event: it has %zu bytes and begins with%s; expected c3 01 (Avro single-object encoding) or "
		"00 (schema registry)",
		bytes.len, shown ? hex : " nothing");
}

/* unframe reads how the schema is named and leaves the datum. */
static enum ls_class unframe(struct ls_str bytes, bool *ret_by_id, uint64_t *ret_id, struct ls_str *ret_datum,
			     struct ls_error *err)
{
	const uint8_t *at = (const uint8_t *)bytes.ptr;
	uint64_t id = 0;

	if (bytes.len >= 5 && at[0] == 0) {
		for (int i = 1; i <= 4; i++)
			id = id << 8 | at[i];
		*ret_by_id = true;
		*ret_datum = (struct ls_str){ bytes.ptr + 5, bytes.len - 5 };
	} else if (bytes.len >= 10 && at[0] == 0xc3 && at[1] == 0x01) {
		for (int i = 9; i >= 2; i--)
			id = id << 8 | at[i];
		*ret_by_id = false;
		*ret_datum = (struct ls_str){ bytes.ptr + 10, bytes.len - 10 };
	} else {
		return unknown_frame(bytes, err);
	}
	*ret_id = id;
	return LS_OK;
}

/* check_print: the schema stored under a fingerprint must have it, or every message would be misread. */
static enum ls_class check_print(struct ls_str json, uint64_t id, struct ls_error *err)
{
	uint64_t found;
	enum ls_class class = ls_avro_fingerprint(json, &found, err);

	if (!class && found != id)
		return ls_fail(err, LS_POISON, "BAD_SCHEMA",
			       "the schema stored for fingerprint %016llx has the fingerprint %016llx",
			       (unsigned long long)id, (unsigned long long)found);
	return class;
}

static struct writer *writer_new(struct ls_decoder *decoder, bool by_id, uint64_t id, struct ls_str json)
{
	struct writer *writer = calloc(1, sizeof(*writer));

	if (!writer)
		abort();
	writer->by_id = by_id;
	writer->id = id;
	/* Without a reader, `error` says why. */
	if (by_id || !check_print(json, id, &writer->error))
		(void)ls_reader_new(json, &writer->reader, &writer->error);
	writer->key[0] = by_id;
	memcpy(writer->key + 1, &id, 8);
	ls_map_at(&decoder->writers, (struct ls_str){ writer->key, 9 })->value = writer;
	return writer;
}

static enum ls_class writer_of(struct ls_decoder *decoder, bool by_id, uint64_t id, struct writer **ret,
			       struct ls_error *err)
{
	struct ls_str json;
	enum ls_class class;
	char key[9];

	if (decoder->last && decoder->last->by_id == by_id && decoder->last->id == id) {
		*ret = decoder->last;
		return LS_OK;
	}
	key[0] = by_id;
	memcpy(key + 1, &id, 8);
	*ret = ls_map_get(&decoder->writers, (struct ls_str){ key, 9 });
	if (!*ret) {
		if (decoder->writers.count >= WRITERS_MAX)
			return ls_fail(err, LS_POISON, "TOO_MANY_SCHEMAS",
				       "events of more than %d writer schemas were read already", WRITERS_MAX);
		class = ls_schemas_find(decoder->schemas, by_id, id, &json, err);
		if (class)
			return class;
		*ret = writer_new(decoder, by_id, id, json);
	}
	decoder->last = *ret;
	return LS_OK;
}

enum ls_class ls_decode(struct ls_decoder *decoder, struct ls_str bytes, int64_t timestamp_us, struct ls_arena *arena,
			struct ls_event *ret, struct ls_error *err)
{
	struct ls_walk walk = { .arena = arena, .scratch = &decoder->scratch, .err = err };
	struct writer *writer = NULL;
	struct ls_str datum = { NULL, 0 };
	enum ls_class class;
	uint64_t id = 0;
	bool by_id = false;

	class = unframe(bytes, &by_id, &id, &datum, err);
	if (!class)
		class = writer_of(decoder, by_id, id, &writer, err);
	if (class)
		return class;
	if (!writer->reader) {
		*err = writer->error;
		return err->class;
	}
	walk.where = LS_STR("event_id");
	if (!ls_walk_room(&walk, datum.len + 1))
		return LS_POISON;
	datum = ls_arena_str(arena, datum);
	walk.wire = (struct ls_wire){ (const uint8_t *)datum.ptr, (const uint8_t *)datum.ptr + datum.len };
	return ls_reader_read(writer->reader, &walk, timestamp_us, ret);
}
