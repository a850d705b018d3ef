/* Any bytes as a frame, a pgoutput message, a COPY line and a position: refused or read, never past their end. */
#include "sources/postgres/copytext.h"
#include "sources/postgres/position.h"
#include "sources/postgres/protocol.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned char sink;

static void touch(struct ls_str text)
{
	for (size_t i = 0; i < text.len; i++)
		sink ^= (unsigned char)text.ptr[i];
}

static void touch_cells(const struct pgout_cell *cell, size_t count)
{
	for (size_t i = 0; i < count; i++)
		touch(cell[i].text);
}

static void try_copy(const uint8_t *data, size_t size)
{
	struct pgout_cell cell[4];
	char *line = malloc(size + 1);

	memcpy(line, data, size);
	if (pgsrc_copy_line(line, size, cell, 4))
		touch_cells(cell, 4);
	free(line);
}

static void try_position(struct ls_str text)
{
	struct pgsrc_position position;
	struct ls_error err;

	pgsrc_position_init(&position);
	(void)pgsrc_position_parse(&position, text, &err);
	pgsrc_position_release(&position);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pgout_message message;
	struct ls_str bytes = { (const char *)data, size };
	struct pgout_frame frame;

	if (pgout_read(bytes, &message)) {
		touch_cells(message.old_cell, message.old_count);
		touch_cells(message.new_cell, message.new_count);
		for (size_t i = 0; i < message.column_count; i++)
			touch(message.column[i].name);
	}
	if (pgout_frame_read(bytes, &frame))
		touch(frame.payload);
	try_copy(data, size);
	try_position(bytes);
	return 0;
}
