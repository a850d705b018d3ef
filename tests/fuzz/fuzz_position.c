/* Records of the positions topic: anyone may have written one. Read, or refused; what is read is printed and read again
 * as the same. */
#include "positions.h"
#include "sources/postgres/position.h"

#include "core/arena.h"
#include "core/buf.h"

#include <stdlib.h>

static void same(struct ls_str a, struct ls_str b)
{
	if (!ls_str_equal(a, b))
		abort();
}

/* The text of a postgres source: what is printed from it reads as itself. */
static void source_text(struct ls_str text, struct ls_arena *arena)
{
	struct pgsrc_position position, again;
	struct ls_error err;
	struct ls_str first;
	int64_t offset = 0, version = 0;

	pgsrc_position_init(&position);
	pgsrc_position_init(&again);
	if (!pgsrc_position_parse(&position, text, &err)) {
		(void)pgsrc_position_all_read(&position);
		(void)pgsrc_position_floor(&position, position.lsn);
		(void)pgsrc_position_member(&position, "public.contacts");
		pgsrc_position_seen(&position, "t.contact", 0, &offset, &version);
		first = pgsrc_position_print(&position, position.lsn, arena);
		if (pgsrc_position_parse(&again, first, &err))
			abort();
		same(pgsrc_position_print(&again, again.lsn, arena), first);
	}
	pgsrc_position_release(&position);
	pgsrc_position_release(&again);
}

static void record(struct ls_str text, struct ls_arena *arena)
{
	struct ls_position position, again;
	struct ls_error err;
	struct ls_buf out;

	if (ls_position_parse(text, arena, &position, &err))
		return;
	ls_buf_init(&out, 1 << 20);
	ls_position_print(&position, &out);
	if (ls_position_parse(ls_buf_str(&out), arena, &again, &err))
		abort();
	same(again.source, position.source);
	same(again.position, position.position);
	if (again.version != position.version)
		abort();
	ls_buf_release(&out);
	source_text(position.position, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ls_arena *arena = ls_arena_new(64 * 1024 * 1024);
	struct ls_str text = { (const char *)data + 1, size - 1 };

	if (size && data[0] == 'p')
		source_text(text, arena);
	else if (size)
		record((struct ls_str){ (const char *)data, size }, arena);
	ls_arena_free(arena);
	return 0;
}
