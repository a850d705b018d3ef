/* Arbitrary bytes as messages. The first byte chooses: a message against known writer schemas, a version state, or
 * a schema (up to the first NUL) with a datum behind it. */
#include "avro/codec.h"
#include "core/arena.h"
#include "core/buf.h"
#include "lockstep/stamp.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define S(name) "{\"name\":\"" name "\",\"type\":\"string\"}"
#define HEAD                                                                                                           \
	"{\"type\":\"record\",\"name\":\"E\",\"fields\":[" S("event_id") "," S("source") "," S("entity_type") "," S(   \
		"entity_id") "," S("change_type") ",{\"name\":\"timestamp\",\"type\":\"long\"},"                       \
						  "{\"name\":\"after\",\"type\":{\"type\":\"record\",\"name\":\"R\","  \
						  "\"fields\":["
#define V(type)       "{\"name\":\"v\",\"type\":" type "}"
#define L(type, name) "{\"type\":\"" type "\",\"logicalType\":\"" name "\"}"
#define TAIL                                                                                                           \
	"]}},{\"name\":\"absent\",\"type\":{\"type\":\"array\",\"items\":\"string\"}},{\"name\":\"metadata\","         \
	"\"type\":{\"type\":\"map\",\"values\":[\"null\",\"string\",\"boolean\"]}}]}"

static const char *const SCHEMA[] = {
	HEAD V("[\"null\",{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":38,\"scale\":9},\"string\"]")
		TAIL,
	HEAD V("{\"type\":\"array\",\"items\":[\"null\",\"int\",\"string\"]}") TAIL,
	HEAD V("{\"type\":\"array\",\"items\":[\"null\"," L("int", "date") ",\"string\"]}") TAIL,
	HEAD V("{\"type\":\"map\",\"values\":{\"type\":\"array\",\"items\":\"null\"}}") TAIL,
	HEAD V("[\"null\",{\"type\":\"record\",\"name\":\"N\",\"fields\":[{\"name\":\"n\",\"type\":[\"null\",\"N\"]},"
	       "{\"name\":\"d\",\"type\":\"double\"},{\"name\":\"f\",\"type\":\"float\"}]}]") TAIL,
	HEAD V("[" L("long", "timestamp-micros") "," L("int", "time-millis") "," L("string", "uuid") ",\"boolean\"]")
		TAIL,
	HEAD V(L("long", "local-timestamp-millis")) TAIL,
	HEAD V("{\"type\":\"fixed\",\"name\":\"F\",\"size\":16,\"logicalType\":\"uuid\"}") TAIL,
	HEAD V("{\"type\":\"enum\",\"name\":\"X\",\"symbols\":[\"A\",\"B\"]}") TAIL,
};

struct store {
	struct ls_schema_store base;
	struct ls_str extra;
};

static enum ls_class find(struct ls_schema_store *base, bool by_id, uint64_t id, char **ret, struct ls_error *err)
{
	const struct store *store = (const struct store *)base;
	const size_t known = sizeof(SCHEMA) / sizeof(*SCHEMA);

	if (!by_id)
		return ls_fail(err, LS_POISON, "NO_SCHEMA", "no such schema");
	*ret = id < known ? strdup(SCHEMA[id]) : strndup(store->extra.ptr ? store->extra.ptr : "", store->extra.len);
	return LS_OK;
}

static enum ls_class publish(struct ls_schema_store *base, struct ls_str subject, struct ls_str json, bool *ret_by_id,
			     uint64_t *ret_id, struct ls_error *err)
{
	(void)base, (void)subject, (void)json, (void)ret_by_id, (void)ret_id;
	return ls_fail(err, LS_RETRY, "NONE", "not here");
}

static struct ls_schema_store *close_store(struct ls_schema_store *base)
{
	(void)base;
	return NULL;
}

static void decode(struct store *store, uint8_t id, struct ls_str datum, struct ls_arena *arena)
{
	struct store topics = { .base = { find, publish, close_store } };
	struct ls_schemas *schemas = ls_schemas_new(&topics.base, &store->base, "f");
	struct ls_decoder *decoder = ls_decoder_new(schemas);
	char *bytes = malloc(datum.len + 5);
	struct ls_event event;
	struct ls_error err;
	struct ls_buf out;

	memcpy(bytes, (const uint8_t[]){ 0, 0, 0, 0, id }, 5);
	if (datum.len)
		memcpy(bytes + 5, datum.ptr, datum.len);
	ls_buf_init(&out, 1 << 20);
	if (!ls_decode(decoder, (struct ls_str){ bytes, datum.len + 5 }, 1, arena, &event, &err))
		ls_event_json(&event, &out);
	ls_buf_release(&out);
	free(bytes);
	ls_decoder_free(decoder);
	ls_schemas_free(schemas);
}

static void state(struct ls_str bytes, struct ls_arena *arena)
{
	struct ls_state_codec *codec = ls_state_codec_new();
	struct ls_state back;
	struct ls_error err;
	struct ls_buf out;

	ls_buf_init(&out, 1 << 20);
	if (!ls_state_decode(codec, bytes, arena, &back, &err))
		ls_state_encode(codec, &back, &out);
	ls_buf_release(&out);
	ls_state_codec_free(codec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t known = sizeof(SCHEMA) / sizeof(*SCHEMA);
	struct store store = { .base = { find, publish, close_store } };
	struct ls_arena *arena = ls_arena_new(0);
	struct ls_str rest = { (const char *)data + 1, size - 1 };
	struct ls_error err;

	if (size && data[0] < known) {
		decode(&store, data[0], rest, arena);
	} else if (size && data[0] == 's') {
		state(rest, arena);
	} else if (size) {
		store.extra = (struct ls_str){ rest.ptr, strnlen(rest.ptr, rest.len) };
		rest.ptr += store.extra.len;
		rest.len -= store.extra.len;
		if (rest.len) {
			rest.ptr++;
			rest.len--;
		}
		decode(&store, 200, rest, arena);
		(void)!ls_avro_compatible(ls_str_of(SCHEMA[4]), store.extra, &err);
		(void)!ls_avro_compatible(store.extra, store.extra, &err);
	}
	ls_arena_free(arena);
	return 0;
}
