/* A row that got a new key while a large value of it stayed: the log has that value neither in the new row nor, without
 * REPLICA IDENTITY FULL, in the old one. The new entity would begin without it, so it is read from the table. What is
 * there may be newer than the event; the later change then follows in the log and comes to the same end. */
#include "sources/postgres/source.h"

#include "core/arena.h"

static bool has_absent(const struct ls_row *row)
{
	for (size_t i = 0; row->schema && i < row->schema->count; i++)
		if (row->value[i].presence == LS_ABSENT)
			return true;
	return false;
}

static const struct pgsrc_view *view_of(const struct pgsrc_relation *relation, const struct ls_schema *schema)
{
	for (size_t i = 0; i < relation->view_count; i++)
		if (relation->view[i].schema == schema)
			return &relation->view[i];
	return NULL;
}

static enum ls_class complete(struct pgsrc *src, const struct pgsrc_relation *relation, struct ls_event *event,
			      struct ls_arena *arena, struct ls_error *err)
{
	const struct pgsrc_view *view = view_of(relation, event->after.schema);
	struct ls_row now = { 0 };
	enum ls_class class;
	PGconn *side;

	class = pgsrc_side(src, &side, err);
	if (!class && view)
		class = pgsrc_lookup_on(side, relation, view, event->entity_id, arena, &now, err);
	/* A table that has changed its columns since, or the row is gone: the value stays absent. */
	if (class == LS_FATAL)
		return LS_OK;
	for (size_t i = 0; !class && now.schema && i < now.schema->count; i++)
		if (event->after.value[i].presence == LS_ABSENT)
			event->after.value[i] = now.value[i];
	return class;
}

enum ls_class pgsrc_event_complete(struct pgsrc *src, const struct pgsrc_relation *relation, struct ls_batch *into,
				   size_t first, struct ls_error *err)
{
	enum ls_class class = LS_OK;

	for (size_t i = first; !class && i < into->count; i++) {
		struct ls_event *event = &into->event[i];

		if (event->change == LS_INSERT && !event->metadata_count && has_absent(&event->after))
			class = complete(src, relation, event, into->arena, err);
	}
	return class;
}
