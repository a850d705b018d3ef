/* Lines of `publish` from anyone: read, or refused with a text; nothing else. */
#include "change_json.h"
#include "shelf.h"

#include "core/arena.h"

#include <stdlib.h>

static enum ls_class lookup(const void *context, struct ls_str entity, struct ls_entity_key *ret, struct ls_error *err)
{
	static const struct ls_str key[] = { LS_STR("id"), LS_STR("line") };

	(void)context, (void)err;
	*ret = (struct ls_entity_key){ key, entity.len && entity.ptr[0] == 'i' ? 2 : 1 };
	return LS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ls_arena *arena = ls_arena_new(64 * 1024 * 1024);
	struct ls_shelf *shelf = ls_shelf_new();
	struct ls_change_line line;
	struct ls_error err;

	if (!ls_change_json((struct ls_str){ (const char *)data, size }, lookup, NULL, shelf, arena, &line, &err) &&
	    !line.event.entity_id.len)
		abort();
	ls_shelf_free(shelf);
	ls_arena_free(arena);
	return 0;
}
