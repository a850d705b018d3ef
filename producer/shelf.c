/* Schemas by their shape. Not here: how a row's types are found out. */
#include "shelf.h"

#include "core/arena.h"
#include "core/buf.h"
#include "core/map.h"

#include <stdlib.h>

enum { SHELF_BYTES = 64 * 1024 * 1024, SHAPE_BYTES = 4 * 1024 * 1024, SPARE_BYTES = 4096 };

struct ls_shelf {
	struct ls_map map;
	struct ls_arena *arena;
	struct ls_buf shape; /* the key of the schema that is asked for */
};

struct ls_shelf *ls_shelf_new(void)
{
	struct ls_shelf *shelf = calloc(1, sizeof(*shelf));

	if (!shelf)
		abort();
	ls_map_init(&shelf->map);
	shelf->arena = ls_arena_new(SHELF_BYTES);
	ls_buf_init(&shelf->shape, SHAPE_BYTES);
	return shelf;
}

struct ls_shelf *ls_shelf_free(struct ls_shelf *shelf)
{
	if (!shelf)
		return NULL;
	ls_map_release(&shelf->map);
	ls_arena_free(shelf->arena);
	ls_buf_release(&shelf->shape);
	free(shelf);
	return NULL;
}

static void describe(struct ls_buf *shape, struct ls_str entity, const struct ls_column *column, size_t count)
{
	ls_buf_clear(shape);
	ls_buf_printf(shape, "%zu:", entity.len);
	ls_buf_add_str(shape, entity);
	for (size_t i = 0; i < count; i++) {
		ls_buf_printf(shape, "%zu:", column[i].name.len);
		ls_buf_add_str(shape, column[i].name);
		ls_buf_printf(shape, "%d%d;", (int)column[i].type.kind, column[i].key);
	}
}

static struct ls_schema *copy(struct ls_arena *arena, struct ls_str entity, const struct ls_column *column,
			      size_t count)
{
	struct ls_column *columns = ls_arena_zalloc(arena, (count + 1) * sizeof(*columns));
	struct ls_schema *schema = ls_arena_alloc(arena, sizeof(*schema));

	for (size_t i = 0; i < count; i++) {
		columns[i].name = ls_arena_str(arena, column[i].name);
		columns[i].type.kind = column[i].type.kind;
		columns[i].type.native = LS_STR("");
		columns[i].key = column[i].key;
	}
	*schema = (struct ls_schema){ ls_arena_str(arena, entity), columns, count };
	return schema;
}

const struct ls_schema *ls_shelf_schema(struct ls_shelf *shelf, struct ls_str entity, const struct ls_column *column,
					size_t count)
{
	struct ls_schema *found;

	describe(&shelf->shape, entity, column, count);
	if (shelf->shape.full) {
		ls_buf_release(&shelf->shape);
		ls_buf_init(&shelf->shape, SHAPE_BYTES);
		return NULL;
	}
	found = ls_map_get(&shelf->map, ls_buf_str(&shelf->shape));
	if (found)
		return found;
	if (shelf->map.count == LS_SHELF_MAX ||
	    ls_arena_left(shelf->arena) < SPARE_BYTES + 2 * shelf->shape.len + (count + 1) * (sizeof(*column) + 16))
		return NULL;
	found = copy(shelf->arena, entity, column, count);
	ls_map_at(&shelf->map, ls_arena_str(shelf->arena, ls_buf_str(&shelf->shape)))->value = found;
	return found;
}
