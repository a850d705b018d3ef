/* The record form of a version state in the local copy: a fixed head, then the texts, then what was seen. */
#include "store.h"

#include "core/arena.h"

struct head {
	int64_t version, timestamp_us, offset, owner_epoch;
	uint16_t source_len, event_id_len, seen_count;
	uint8_t deleted, form;
};

struct seen_head {
	int64_t version;
	uint64_t len;
};

static char *put_bytes(char *at, const void *bytes, size_t len)
{
	if (len)
		memcpy(at, bytes, len);
	return at + len;
}

size_t ls_store_pack(const struct ls_state *state, char *out, size_t size)
{
	struct head head = {
		.version = state->stamp.version,
		.timestamp_us = state->stamp.timestamp_us,
		.offset = state->offset,
		.owner_epoch = state->owner_epoch,
		.source_len = (uint16_t)state->stamp.source.len,
		.event_id_len = (uint16_t)state->event_id.len,
		.seen_count = (uint16_t)state->seen_count,
		.deleted = state->deleted,
		.form = 1,
	};
	size_t need = sizeof head + state->stamp.source.len + state->event_id.len;
	char *at = out;

	for (size_t i = 0; i < state->seen_count; i++)
		need += sizeof(struct seen_head) + state->seen[i].source.len;
	if (need > size || state->stamp.source.len > UINT16_MAX || state->event_id.len > UINT16_MAX)
		return 0;
	at = put_bytes(at, &head, sizeof head);
	at = put_bytes(at, state->stamp.source.ptr, state->stamp.source.len);
	at = put_bytes(at, state->event_id.ptr, state->event_id.len);
	for (size_t i = 0; i < state->seen_count; i++) {
		struct seen_head seen = { state->seen[i].version, state->seen[i].source.len };

		at = put_bytes(at, &seen, sizeof seen);
		at = put_bytes(at, state->seen[i].source.ptr, state->seen[i].source.len);
	}
	return (size_t)(at - out);
}

/* take moves the cursor over len bytes; false when there are not that many. */
static bool take(struct ls_str *rest, size_t len, struct ls_str *ret)
{
	if (rest->len < len)
		return false;
	*ret = (struct ls_str){ rest->ptr, len };
	rest->ptr += len;
	rest->len -= len;
	return true;
}

static bool unpack_seen(struct ls_str *rest, struct ls_arena *arena, struct ls_state *state)
{
	for (size_t i = 0; i < state->seen_count; i++) {
		struct seen_head seen;
		struct ls_str bytes;

		if (!take(rest, sizeof seen, &bytes))
			return false;
		memcpy(&seen, bytes.ptr, sizeof seen);
		if (!take(rest, (size_t)seen.len, &bytes))
			return false;
		state->seen[i] = (struct ls_seen){ ls_arena_str(arena, bytes), seen.version };
	}
	return rest->len == 0;
}

bool ls_store_unpack(struct ls_str bytes, struct ls_arena *arena, struct ls_state *ret)
{
	struct head head;
	struct ls_str part;

	if (!take(&bytes, sizeof head, &part))
		return false;
	memcpy(&head, part.ptr, sizeof head);
	if (head.form != 1 || head.seen_count > LS_SEEN_MAX)
		return false;
	ret->exists = true;
	ret->deleted = head.deleted != 0;
	ret->stamp.version = head.version;
	ret->stamp.timestamp_us = head.timestamp_us;
	ret->offset = head.offset;
	ret->owner_epoch = head.owner_epoch;
	ret->seen_count = head.seen_count;
	if (!take(&bytes, head.source_len, &part))
		return false;
	ret->stamp.source = ls_arena_str(arena, part);
	if (!take(&bytes, head.event_id_len, &part))
		return false;
	ret->event_id = ls_arena_str(arena, part);
	return unpack_seen(&bytes, arena, ret);
}
