/* Reading tables again because somebody asks for it: the position is edited so that the next start finds them unread,
 * and reads them in a round of their own. Where the log was lost, too, it begins anew or goes on from where it still
 * is: then every table has to be read, or what happened in between would be missing silently. */
#include "sources/postgres/source.h"

#include "config/near.h"
#include "core/arena.h"

/* What became of the log after the saved position. */
enum loss {
	NOTHING_LOST,
	NOTHING_SAVED, /* there is no position: the next start is the first */
	SLOT_GONE,
	SLOT_LOST,
	SLOT_AHEAD,
	PUBLICATION_OTHER,
	LOG_OTHER, /* of another server, or a part that the server lost */
};

static enum ls_class assess(const struct pgsrc *src, const struct pgsrc_slot *slot, bool saved, enum loss *ret,
			    struct ls_error *err)
{
	if (slot->active)
		return ls_fail(err, LS_FENCED, "55006",
			       "slot \"%s\" is active for PID %d: a capture of this source is running. Stop it first, "
			       "then run this again",
			       src->slot, slot->pid);
	if (slot->exists && (strcmp(slot->plugin, "pgoutput") != 0 || strcmp(slot->database, PQdb(src->side)) != 0))
		return pgsrc_slot_foreign(src, slot, err);
	*ret = NOTHING_LOST;
	if (slot->exists && slot->lost)
		*ret = SLOT_LOST;
	else if (!saved)
		*ret = NOTHING_SAVED;
	else if (!slot->exists)
		*ret = SLOT_GONE;
	else if (slot->confirmed > src->position.lsn)
		*ret = SLOT_AHEAD;
	else if (pgsrc_members_other_publication(src))
		*ret = PUBLICATION_OTHER;
	return LS_OK;
}

/* assess_history: what the position says may be about another server's log; `why` then says how that is known. */
static enum ls_class assess_history(struct pgsrc *src, enum loss *loss, struct ls_error *why, struct ls_error *err)
{
	PGconn *repl = NULL;
	enum ls_class class;

	if (*loss != NOTHING_LOST)
		return LS_OK;
	class = ls_pg_connect(src->options.url, src->context.name, true, &repl, err);
	if (class)
		return class;
	class = pgsrc_history_check(src, repl, why);
	ls_pg_close(repl);
	if (class && strcmp(why->code, "history") != 0) {
		*err = *why;
		return class;
	}
	if (class)
		*loss = LOG_OTHER;
	return LS_OK;
}

/* After every one of these the rest says the same: rows that are gone cannot be read. */
#define GONE_ROWS "; rows deleted meanwhile are not noticed and stay at the destinations"

static struct ls_str explain(const struct pgsrc *src, const struct pgsrc_slot *slot, enum loss loss,
			     const struct ls_error *history, struct ls_arena *arena)
{
	char ours[PGOUT_LSN], theirs[PGOUT_LSN];

	(void)pgout_lsn_print(src->position.lsn, ours);
	switch (loss) {
	case SLOT_GONE:
		return ls_arena_printf(arena, "slot \"%s\" is gone, and with it the changes after %s" GONE_ROWS,
				       src->slot, ours);
	case SLOT_LOST:
		return ls_arena_printf(arena,
				       "slot \"%s\" is lost: the server removed WAL after %s that it still needed. It "
				       "is dropped, the next start makes a new one" GONE_ROWS,
				       src->slot, ours);
	case SLOT_AHEAD:
		return ls_arena_printf(arena,
				       "slot \"%s\" is ahead of what was published: the changes between %s and %s are "
				       "lost to lockstep, the log goes on from the latter" GONE_ROWS,
				       src->slot, ours, pgout_lsn_print(slot->confirmed, theirs));
	case PUBLICATION_OTHER:
		return ls_arena_printf(
			arena,
			"publication \"%s\" was dropped and made anew: what changed in between is not in "
			"the log for lockstep. Slot \"%s\" is dropped, the next start makes a new one" GONE_ROWS,
			src->publication, src->slot);
	case LOG_OTHER:
		return ls_arena_printf(arena, "%s. Slot \"%s\" is dropped, the next start makes a new one" GONE_ROWS,
				       history->text, src->slot);
	case NOTHING_LOST:
	case NOTHING_SAVED:
		break;
	}
	return (struct ls_str){ 0 };
}

static enum ls_class find(const struct pgsrc *src, const char *table, const struct pgsrc_table **ret,
			  struct ls_error *err)
{
	char schema[64], name[64], label[PGSRC_LABEL], hint[LS_NEAR_HINT];
	enum ls_class class = ls_pg_split_table(table, schema, name, err);
	struct ls_near near;

	if (class)
		return class;
	pgsrc_label(ls_str_of(schema), ls_str_of(name), label);
	ls_near_init(&near, label);
	for (size_t i = 0; i < src->table_count; i++) {
		*ret = &src->table[i];
		if (strcmp(src->table[i].label, label) == 0)
			return LS_OK;
		ls_near_offer(&near, src->table[i].label);
	}
	return ls_fail(err, LS_FATAL, "table", "no entity is made from table %s%s: --table takes one of `tables`",
		       label, ls_near_hint(&near, hint));
}

/* choose: the one table that was asked for, or all of them. */
static enum ls_class choose(struct pgsrc *src, const char *table, struct ls_arena *arena, struct ls_resnapshot *ret,
			    struct ls_error *err)
{
	const struct pgsrc_table *only = NULL;
	enum ls_class class = table ? find(src, table, &only, err) : LS_OK;

	if (class)
		return class;
	if (only && ret->why.len)
		return ls_fail(err, LS_FATAL, "slot",
			       "%.*s. One table alone would not mend that: run it again without --table",
			       LS_ARG(ret->why));
	ret->table = ls_arena_zalloc(arena, (src->table_count + 1) * sizeof(*ret->table));
	for (size_t i = 0; i < src->table_count; i++) {
		const struct pgsrc_table *each = &src->table[i];

		if (only && each != only)
			continue;
		pgsrc_position_table(&src->position, each->label, json_false());
		pgsrc_position_set_member(&src->position, each->label, "");
		ret->table[ret->table_count++] =
			(struct ls_resnapshot_table){ ls_arena_str(arena, ls_str_of(each->label)),
						      (int64_t)each->rows };
	}
	return LS_OK;
}

static enum ls_class drop_slot(struct pgsrc *src, struct ls_error *err)
{
	const char *value[1] = { src->slot };
	enum ls_class class =
		ls_pg_params(src->side, "SELECT pg_catalog.pg_drop_replication_slot($1)", 1, value, NULL, err);

	return class ? ls_fail_in(err, "could not drop slot \"%s\"", src->slot) : LS_OK;
}

static enum ls_class resnapshot(struct pgsrc *src, struct ls_str position, const char *table, bool dry_run,
				struct ls_arena *arena, struct ls_resnapshot *ret, struct ls_error *err)
{
	enum loss loss = NOTHING_LOST;
	struct pgsrc_slot slot;
	struct ls_error history;
	enum ls_class class = ls_pg_connect(src->options.url, src->context.name, false, &src->side, err);

	if (!class)
		class = pgsrc_server(src, err);
	if (!class)
		class = pgsrc_tables(src, err);
	if (!class)
		class = pgsrc_members(src, err);
	if (!class)
		class = pgsrc_slot_state(src->side, src->slot, &slot, err);
	if (!class && position.len)
		class = pgsrc_position_parse(&src->position, position, err);
	if (!class)
		class = assess(src, &slot, src->position.lsn > 0, &loss, err);
	if (!class)
		class = assess_history(src, &loss, &history, err);
	if (class)
		return class;
	ret->why = explain(src, &slot, loss, &history, arena);
	class = choose(src, table, arena, ret, err);
	if (!class && slot.exists && !dry_run && (loss == SLOT_LOST || loss == PUBLICATION_OTHER || loss == LOG_OTHER))
		class = drop_slot(src, err);
	if (class)
		return class;
	if (loss != NOTHING_LOST)
		pgsrc_position_restart(&src->position, loss == SLOT_AHEAD ? slot.confirmed : 0);
	ret->position = pgsrc_position_print(&src->position, src->position.lsn, arena);
	return LS_OK;
}

enum ls_class pgsrc_resnapshot(const void *options, const struct ls_source_context *context, struct ls_str position,
			       const char *table, bool dry_run, struct ls_arena *arena, struct ls_resnapshot *ret,
			       struct ls_error *err)
{
	struct pgsrc *src = pgsrc_new(options, context);
	enum ls_class class;

	*ret = (struct ls_resnapshot){ .table_count = 0 };
	class = resnapshot(src, position, table, dry_run, arena, ret, err);
	(void)pgsrc_free(src);
	return class ? ls_fail_in(err, "source \"%s\"", context->name) : LS_OK;
}
