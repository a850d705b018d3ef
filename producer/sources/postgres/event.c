/* From rows to events: which columns travel, what the entity is called, and the id that every delivery shares. */
#include "sources/postgres/source.h"

#include "core/arena.h"

#include <stdio.h>

/* What the events of one row have in common. */
struct making {
	struct pgsrc *src;
	struct ls_batch *into;
	const struct pgsrc_relation *relation;
	const struct pgsrc_view *view;
	bool borrow;
};

size_t pgsrc_event_room(const struct pgsrc *src)
{
	return 2 * (src->context.mapping_count ? src->context.mapping_count : 1);
}

static struct ls_str take(const struct making *making, struct ls_str text)
{
	return making->borrow ? text : ls_arena_str(making->into->arena, text);
}

static struct ls_value value_of(const struct making *making, const struct pgout_cell *cell)
{
	switch (cell->status) {
	case 't':
		return (struct ls_value){ LS_PRESENT, take(making, cell->text) };
	case 'n':
		return (struct ls_value){ .presence = LS_NULL };
	default: /* u: a TOASTed value that did not change is not in the log; absent, not NULL */
		return (struct ls_value){ .presence = LS_ABSENT };
	}
}

/* The cells of one row; identity_only: those outside the replica identity are fillers. count cells came. */
struct cells {
	const struct pgout_cell *cell;
	size_t count;
	bool identity_only;
};

static const struct pgout_cell *cell_at(const struct making *making, const struct cells *cells, size_t i)
{
	size_t column = making->view->from[i];

	if (column >= cells->count || (cells->identity_only && !making->relation->column[column].identity))
		return NULL;
	return &cells->cell[column];
}

/* make_row fills a row; where `cells` has no value, `other` (the old row, may be NULL) is asked. */
static struct ls_row make_row(const struct making *making, const struct cells *cells, const struct cells *other,
			      bool keys_only)
{
	const struct ls_schema *schema = making->view->schema;
	struct ls_row row = { schema, ls_arena_alloc(making->into->arena, (schema->count + 1) * sizeof(*row.value)) };

	for (size_t i = 0; i < schema->count; i++) {
		const struct pgout_cell *cell = cell_at(making, cells, i);

		if (other && (!cell || cell->status == 'u'))
			cell = cell_at(making, other, i);
		if (!cell || (keys_only && !schema->column[i].key))
			row.value[i] = (struct ls_value){ .presence = LS_ABSENT };
		else
			row.value[i] = value_of(making, cell);
	}
	return row;
}

static size_t row_bytes(const struct making *making, const struct cells *cells)
{
	size_t bytes = 0;

	for (size_t i = 0; cells && i < making->view->schema->count; i++) {
		const struct pgout_cell *cell = cell_at(making, cells, i);

		bytes += cell ? cell->text.len + 8 : 0;
	}
	return bytes;
}

static void add_poison(const struct making *making, struct ls_event *event, const char *reason)
{
	event->metadata = ls_arena_zalloc(making->into->arena, sizeof(*event->metadata));
	event->metadata[0].name = LS_STR("lockstep.poison");
	event->metadata[0].value = ls_arena_str(making->into->arena, ls_str_of(reason));
	event->metadata_count = 1;
}

/* check_size marks an event that would be too large; its row then travels as its key alone. A row that was borrowed is
 * within the limit: its whole message was. */
static bool check_size(const struct making *making, struct ls_event *event, const struct cells *before,
		       const struct cells *after)
{
	int64_t limit = making->src->context.max_event_bytes;
	size_t bytes = making->borrow ? 0 : row_bytes(making, before) + row_bytes(making, after);
	char reason[400];

	if (limit <= 0 || bytes <= (size_t)limit)
		return false;
	(void)snprintf(reason, sizeof(reason), "a row of table %s is too large: %zu bytes, max_event_bytes is %lld",
		       making->relation->label, bytes, (long long)limit);
	add_poison(making, event, reason);
	return true;
}

static struct ls_event *new_event(const struct making *making, enum ls_change change, int64_t timestamp_us)
{
	struct ls_event *event = &making->into->event[making->into->count++];

	*event = (struct ls_event){ .source = ls_str_of(making->src->context.name),
				    .entity = making->view->schema->entity,
				    .change = change,
				    .timestamp_us = timestamp_us,
				    .version = LS_NONE,
				    .base_version = LS_NONE,
				    .base_offset = LS_NONE };
	return event;
}

/* name_entity sets the entity id from the row that has the key. A key that is NULL is nothing anyone could apply. */
static void name_entity(const struct making *making, struct ls_event *event, const struct ls_row *row)
{
	const struct ls_mapping *mapping = making->view->mapping;
	char reason[400];

	if (row->schema &&
	    ls_entity_id_make(row, mapping->key, mapping->key_count, making->into->arena, &event->entity_id))
		return;
	event->entity_id = LS_STR("");
	(void)snprintf(
		reason, sizeof(reason),
		"a row of table %s has a key column that is NULL or not in the log: entity \"%s\" needs a primary "
		"key, or a replica identity that holds its key",
		making->relation->label, mapping->entity);
	add_poison(making, event, reason);
}

/* number_event writes "source:LSN:index", and for a second entity of the same row ":entity" behind it. */
static void number_event(const struct making *making, struct ls_event *event, uint64_t index)
{
	const struct pgsrc *src = making->src;
	struct ls_str entity = making->view->ordinal ? making->view->schema->entity : (struct ls_str){ 0 };
	char digits[24], *at = digits + sizeof(digits);
	size_t len;
	char *out;

	do {
		*--at = (char)('0' + index % 10);
		index /= 10;
	} while (index);
	len = (size_t)(digits + sizeof(digits) - at);
	out = ls_arena_bytes(making->into->arena, src->id_head_len + len + entity.len + 2);
	event->event_id.ptr = out;
	memcpy(out, src->id_head, src->id_head_len);
	memcpy(out + src->id_head_len, at, len);
	len += src->id_head_len;
	if (entity.len) {
		out[len++] = ':';
		memcpy(out + len, entity.ptr, entity.len);
		len += entity.len;
	}
	out[len] = 0;
	event->event_id.len = len;
}

/* key_moved says whether the new row is another entity than the old one. */
static bool key_moved(const struct making *making, const struct cells *old, const struct cells *new)
{
	for (size_t k = 0; k < making->view->key_count; k++) {
		const struct pgout_cell *a = cell_at(making, old, making->view->key[k]);
		const struct pgout_cell *b = cell_at(making, new, making->view->key[k]);

		if (a && b && a->status == 't' && b->status == 't' && !ls_str_equal(a->text, b->text))
			return true;
	}
	return false;
}

struct change {
	enum ls_change kind;
	const struct cells *before, *after; /* NULL: none */
	uint64_t index;
};

static void add_change(const struct making *making, const struct change *change)
{
	struct ls_event *event = new_event(making, change->kind, making->src->commit_us);
	bool large = check_size(making, event, change->before, change->after);

	number_event(making, event, change->index);
	if (change->before)
		event->before = make_row(making, change->before, NULL, large);
	if (change->after)
		event->after = make_row(making, change->after, change->before, large);
	name_entity(making, event, event->after.schema ? &event->after : &event->before);
	pgsrc_base_give(making->src, (size_t)(making->view->mapping - making->src->context.mapping), event);
}

static void change_of_view(const struct making *making)
{
	const struct pgout_message *message = making->src->message;
	struct cells old = { message->old_cell, message->old_count, message->old_kind == 'K' };
	struct cells new = { message->new_cell, message->new_count, false };
	const struct cells *before = message->old_kind ? &old : NULL;
	uint64_t index = making->src->row * 2;

	if (message->kind == PGOUT_INSERT)
		add_change(making, &(struct change){ LS_INSERT, NULL, &new, index });
	else if (message->kind == PGOUT_DELETE)
		add_change(making, &(struct change){ LS_DELETE, &old, NULL, index });
	else if (before && key_moved(making, before, &new)) {
		add_change(making, &(struct change){ LS_DELETE, &old, NULL, index });
		/* The old row is of another entity: it fills what the log left out, but is not this one's before. */
		add_change(making, &(struct change){ LS_INSERT, before, &new, index + 1 });
		making->into->event[making->into->count - 1].before = (struct ls_row){ 0 };
	} else
		add_change(making, &(struct change){ LS_UPDATE, before, &new, index });
}

void pgsrc_event_change(struct pgsrc *src, const struct pgsrc_relation *relation, bool borrow, struct ls_batch *into)
{
	for (size_t v = 0; v < relation->view_count; v++)
		change_of_view(&(struct making){ src, into, relation, &relation->view[v], borrow });
}

static void snapshot_of_view(const struct making *making, const struct pgsrc_snapshot_row *from)
{
	struct cells cells = { from->cell, making->relation->column_count, false };
	struct ls_event *event = new_event(making, LS_SNAPSHOT, from->version);
	bool large = check_size(making, event, NULL, &cells);
	char lsn[PGOUT_LSN];

	event->version = from->version;
	event->after = make_row(making, &cells, NULL, large);
	name_entity(making, event, &event->after);
	event->event_id = ls_arena_printf(making->into->arena, "%s:snapshot:%s:%s:%.*s%s%s", making->src->context.name,
					  pgout_lsn_print(from->lsn, lsn), making->relation->label,
					  LS_ARG(event->entity_id), making->view->ordinal ? ":" : "",
					  making->view->ordinal ? making->view->mapping->entity : "");
}

void pgsrc_event_snapshot(struct pgsrc *src, const struct pgsrc_snapshot_row *row, struct ls_batch *into)
{
	for (size_t v = 0; v < row->relation->view_count; v++)
		snapshot_of_view(&(struct making){ src, into, row->relation, &row->relation->view[v], row->borrow },
				 row);
}
