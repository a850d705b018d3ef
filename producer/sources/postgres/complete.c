/* A row that got a new key while a large value of it stayed: the log has that value neither in the new row nor, without
 * REPLICA IDENTITY FULL, in the old one. The new entity would begin without it, so it is read from the table. What is
 * there may be newer than the event; the later change then follows in the log and comes to the same end. */
#include "sources/postgres/source.h"

#include "core/arena.h"

#include <stdio.h>

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

/* The log shows a commit a moment before other sessions do: the server writes it, wakes the walsender, and only then
 * takes the transaction off the list of running ones (longer where it waits for a synchronous standby). A question
 * asked in between would not see the row. Its lock on its own number goes last. */
static enum ls_class wait_until_visible(struct pgsrc *src, PGconn *side, struct ls_error *err)
{
	enum { TRIES = 5000 };
	char xid[16];
	const char *value[1] = { xid };

	snprintf(xid, sizeof(xid), "%u", src->commit_xid);
	for (int i = 0; i < TRIES; i++) {
		LS_PGRESULT res = NULL;
		enum ls_class class = ls_pg_params(side,
						   "SELECT pg_catalog.pg_sleep(0.001) FROM pg_catalog.pg_locks WHERE "
						   "locktype = 'transactionid' AND transactionid = $1::xid AND granted",
						   1, value, &res, err);

		if (class || PQntuples(res) == 0)
			return class;
	}
	return ls_fail(
		err, LS_RETRY, "not_visible",
		"source \"%s\": transaction %s is in the log and not yet to be seen by others, as while it waits for "
		"a synchronous standby; it is read again",
		src->context.name, xid);
}

static enum ls_class complete(struct pgsrc *src, const struct pgsrc_relation *relation, struct ls_event *event,
			      struct ls_arena *arena, struct ls_error *err)
{
	const struct pgsrc_view *view = view_of(relation, event->after.schema);
	struct ls_row now = { 0 };
	enum ls_class class;
	PGconn *side;

	class = pgsrc_side(src, &side, err);
	if (!class)
		class = wait_until_visible(src, side, err);
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
