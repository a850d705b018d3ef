/* sync_conflicts: both sides of each conflict, in the transaction of the slice that met it, each pair once. */
#include "destinations/postgres/internal.h"

#include "avro/codec.h"

enum { SIDE_MAX_BYTES = 1 << 20, SCRIPT_MAX_BYTES = 32 << 20 };

/* jsonb has no character of number 0; an odd number of backslashes before it makes it one. */
static void replace_zeros(char *text, size_t len)
{
	static const char zero[] = "u0000";
	bool escaped = false;

	for (size_t i = 0; i < len; i++) {
		if (escaped && len - i >= 5 && memcmp(text + i, zero, 5) == 0)
			memcpy(text + i, "ufffd", 5);
		escaped = text[i] == '\\' && !escaped;
	}
}

/* side_of prints a side; what is too large for a table of reports is left to the events topic. */
static struct ls_str side_of(const struct ls_side *side, struct ls_arena *arena)
{
	struct ls_buf buf;
	struct ls_str text;

	ls_buf_init(&buf, SIDE_MAX_BYTES);
	ls_side_json(side, true, &buf);
	if (buf.full) {
		ls_buf_clear(&buf);
		ls_side_json(side, false, &buf);
	}
	replace_zeros(buf.ptr, buf.len);
	text = ls_arena_str(arena, ls_pgd_clean(arena, ls_buf_str(&buf)));
	ls_buf_release(&buf);
	return text;
}

static void add_side(struct ls_buf *out, const struct ls_side *side, struct ls_arena *arena, const char *wrap,
		     const char *end)
{
	ls_pg_add_literal(out, ls_pgd_clean(arena, side->event_id));
	ls_buf_add_text(out, ", ");
	ls_pg_add_literal(out, ls_pgd_clean(arena, side->stamp.source));
	ls_buf_add_text(out, ", ");
	ls_buf_add_text(out, wrap);
	ls_pg_add_literal(out, side_of(side, arena));
	ls_buf_add_text(out, end);
}

static void add_insert(const struct ls_pgd *dst, const struct ls_clash *clash, struct ls_arena *arena, const char *wrap,
		       const char *end, struct ls_buf *out)
{
	ls_buf_add_text(out, "INSERT INTO ");
	ls_pgd_add_table(out, dst->context->ledger_schema, "sync_conflicts");
	ls_buf_add_text(out, " (destination, entity_type, entity_id, winner_event_id, winner_source, winner_data, "
			     "loser_event_id, loser_source, loser_data, verdict, resolution, resolved_at) VALUES (");
	ls_pg_add_literal(out, ls_str_of(dst->context->name));
	ls_buf_add_text(out, ", ");
	ls_pg_add_literal(out, ls_pgd_clean(arena, clash->entity));
	ls_buf_add_text(out, ", ");
	ls_pg_add_literal(out, ls_pgd_clean(arena, clash->entity_id));
	ls_buf_add_text(out, ", ");
	add_side(out, &clash->winner, arena, wrap, end);
	ls_buf_add_text(out, ", ");
	add_side(out, &clash->loser, arena, wrap, end);
	ls_buf_add_text(out, clash->applied ? ", 'applied'" : ", 'stale'");
	ls_buf_add_text(out, ", 'last_write_wins', pg_catalog.now()) ON CONFLICT DO NOTHING; ");
}

/* What jsonb refuses (a number of a hundred thousand digits) is kept as text: a report never fails a slice. */
static void add_one(struct ls_pgd *dst, struct ls_clash clash, struct ls_arena *arena)
{
	if (dst->sql.len > SCRIPT_MAX_BYTES)
		clash.winner.event = clash.loser.event = NULL;
	ls_buf_clear(&dst->body);
	ls_buf_add_text(&dst->body, "BEGIN ");
	add_insert(dst, &clash, arena, "", "::pg_catalog.jsonb", &dst->body);
	ls_buf_add_text(&dst->body, "EXCEPTION WHEN data_exception OR program_limit_exceeded THEN ");
	add_insert(dst, &clash, arena, "pg_catalog.to_jsonb(", "::pg_catalog.text)", &dst->body);
	ls_buf_add_text(&dst->body, "END");
	ls_buf_add_text(&dst->sql, "DO ");
	ls_pg_add_literal(&dst->sql, ls_buf_str(&dst->body));
	ls_buf_add_text(&dst->sql, ";\n");
}

void ls_pgd_add_conflicts(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena)
{
	for (size_t i = 0; i < slice->clash_count; i++)
		add_one(dst, slice->clash[i], arena);
}
