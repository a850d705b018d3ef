/* What a sink reads back of version state: records and markers of the versions topic, records of the local copy. */
#include "../../consumer/unit.c"

static void record(struct ls_str bytes, struct ls_arena *arena)
{
	struct ls_state_codec *codec = ls_state_codec_new();
	struct ls_state state, again, joined = { .exists = false };
	struct ls_error err;
	struct ls_buf out;

	ls_buf_init(&out, 1 << 20);
	if (!ls_state_decode(codec, bytes, arena, &state, &err)) {
		ls_state_encode(codec, &state, &out);
		if (ls_state_decode(codec, ls_buf_str(&out), arena, &again, &err) || !same_state(&again, &state))
			abort();
		ls_state_join(&joined, &state);
		ls_state_join(&joined, &again);
	}
	ls_buf_release(&out);
	ls_state_codec_free(codec);
}

static void local(struct ls_str bytes, struct ls_arena *arena)
{
	static const size_t room = 1 << 20;
	struct ls_state state = { .exists = false }, again = { .exists = false };
	char *packed;
	size_t len;

	if (!ls_store_unpack(bytes, arena, &state))
		return;
	packed = malloc(room);
	if (!packed)
		abort();
	len = ls_store_pack(&state, packed, room);
	if (!len || !ls_store_unpack((struct ls_str){ packed, len }, arena, &again))
		abort();
	free(packed);
}

/* The key up to the first NUL, the value behind it. */
static void marker(struct ls_str bytes)
{
	struct ls_sink_entity entity = { .topic = { "f.contact", "f.contact.priority" } };
	struct ls_unit unit = { .entity = &entity };
	size_t key = strnlen(bytes.ptr, bytes.len);
	struct ls_message message = { .key = { bytes.ptr, key },
				      .value = { bytes.ptr + key, bytes.len - key },
				      .has_key = true,
				      .has_value = true };

	if (!key)
		return;
	if (message.value.len) {
		message.value.ptr++;
		message.value.len--;
	}
	read_marker(&unit, &message);
	for (int i = 0; i < LS_STORE_LOGS; i++)
		if (unit.meta.published[i] < 0)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ls_arena *arena = ls_arena_new(64 * 1024 * 1024);
	struct ls_str rest = { (const char *)data + 1, size - 1 };

	if (size && data[0] == 'l')
		local(rest, arena);
	else if (size && data[0] == 'm')
		marker(rest);
	else if (size)
		record((struct ls_str){ (const char *)data, size }, arena);
	ls_arena_free(arena);
	return 0;
}
