/* `lockstep check`, the part that is tried: this very destination, on scratch tables in a schema of their own that is
 * dropped afterwards. */
#include "destinations/postgres/internal.h"

#include "core/time.h"

#include <stdio.h>

enum { TRIAL_ARENA_BYTES = 1024 * 1024, ROWS = 3 };

static const struct ls_column trial_columns[] = {
	{ { "id", 2 }, { .kind = LS_INT32 }, true },
	{ { "name", 4 }, { .kind = LS_STRING }, false },
};
static const struct ls_schema trial_schema = { { "trial", 5 }, trial_columns, 2 };

struct trial {
	struct ls_pgd *dst;
	struct ls_report *report;
	const char *subject;
	struct ls_arena *arena;
	const struct ls_mapping *mapping;
	struct ls_mark mark;
	struct ls_value value[ROWS][2];
	struct ls_write write[ROWS];
	struct ls_entry entry[ROWS];
};

/* fill makes a slice of `count` rows from `from` on; texts are literals. */
static struct ls_slice fill(struct trial *trial, const char *const id[], const char *const event[], const char *name,
			    size_t count)
{
	for (size_t i = 0; i < count; i++) {
		trial->value[i][0] = (struct ls_value){ LS_PRESENT, ls_str_of(id[i]) };
		trial->value[i][1] = (struct ls_value){ LS_PRESENT, ls_str_of(name) };
		trial->entry[i] = (struct ls_entry){ .event_id = ls_str_of(event[i]), .status = LS_ENTRY_APPLIED };
		trial->write[i] = (struct ls_write){ .op = LS_WRITE_UPSERT,
						     .mapping = trial->mapping,
						     .row = { &trial_schema, trial->value[i] },
						     .entry = i };
	}
	return (struct ls_slice){ .mark = trial->mark,
				  .next_offset = trial->mark.next_offset + (int64_t)count + 1,
				  .max_version = 1,
				  .last_event_id = ls_str_of(event[count - 1]),
				  .entry = trial->entry,
				  .entry_count = count,
				  .write = trial->write,
				  .write_count = count };
}

static enum ls_class send(struct trial *trial, const struct ls_slice *slice, struct ls_outcome *ret,
			  struct ls_error *err)
{
	enum ls_class class = ls_pgd_apply(trial->dst, slice, trial->arena, ret, err);

	if (!class && !ret->known_count)
		trial->mark.next_offset = slice->next_offset;
	return class;
}

static void say(const struct trial *trial, enum ls_check check, bool good, const char *what)
{
	ls_report_add(trial->report, check, good ? LS_LEVEL_OK : LS_LEVEL_FAILED, trial->subject,
		      good ? NULL
			   : "this is a fault of lockstep or of a trigger or rule in the database: please report it",
		      "tried on scratch tables: %s%s", good ? "" : "NOT true that ", what);
}

static bool stands(struct trial *trial, const char *expected)
{
	LS_PGRESULT res = NULL;
	struct ls_error err;
	struct ls_buf sql;
	bool same;

	ls_buf_init(&sql, 4096);
	ls_buf_add_text(&sql, "SELECT pg_catalog.string_agg(id || name, ',' ORDER BY id) FROM ");
	ls_pgd_add_table(&sql, trial->dst->context->ledger_schema, "trial");
	same = !ls_pg_exec(trial->dst->conn, sql.ptr, &res, &err) && strcmp(PQgetvalue(res, 0, 0), expected) == 0;
	ls_buf_release(&sql);
	return same;
}

static void try_idempotency(struct trial *trial)
{
	static const char *const id[] = { "1", "2" }, *const event[] = { "e1", "e2" };
	struct ls_slice slice = fill(trial, id, event, "a", 2);
	struct ls_outcome first, second;
	struct ls_error err;
	bool good = !send(trial, &slice, &first, &err) && first.rows == 2;

	slice = fill(trial, id, event, "b", 2);
	good = good && !send(trial, &slice, &second, &err) && second.known_count == 2 && second.rows == 0;
	say(trial, LS_CHECK_IDEMPOTENCY, good && stands(trial, "1a,2a"),
	    "the same events delivered twice had one effect");
}

static void try_fencing(struct trial *trial)
{
	static const char *const id[] = { "1" }, *const event[] = { "e3" };
	struct ls_slice slice = fill(trial, id, event, "z", 1);
	struct ls_outcome outcome;
	struct ls_error err;

	slice.mark.owner_epoch--;
	say(trial, LS_CHECK_CONFLICT_RESOLUTION,
	    ls_pgd_apply(trial->dst, &slice, trial->arena, &outcome, &err) == LS_FENCED && stands(trial, "1a,2a"),
	    "a sink that lost its partition wrote nothing");
}

static void try_poison(struct trial *trial)
{
	static const char *const id[] = { "3", "not a number", "4" }, *const event[] = { "e4", "e5", "e6" };
	static const char *const rest[] = { "3", "4" }, *const rest_event[] = { "e4", "e6" };
	struct ls_slice slice = fill(trial, id, event, "c", 3);
	struct ls_outcome outcome;
	struct ls_error err;
	bool good = send(trial, &slice, &outcome, &err) == LS_POISON && outcome.failed_write == 1;

	slice = fill(trial, rest, rest_event, "c", 2);
	good = good && !send(trial, &slice, &outcome, &err);
	say(trial, LS_CHECK_ERROR_HANDLING, good && stands(trial, "1a,2a,3c,4c"),
	    "a row that cannot be stored was named and the others were written");
}

static enum ls_class make(struct trial *trial, struct ls_error *err)
{
	enum ls_class class = ls_pgd_ready(trial->dst, err);

	if (!class)
		class = ls_pgd_ledger_make(trial->dst, err);
	if (!class)
		class = ls_pgd_claim(trial->dst, &trial->mark, 1, err);
	return class;
}

static void drop(struct trial *trial)
{
	struct ls_error ignored;

	if (!trial->dst->conn)
		return;
	ls_buf_clear(&trial->dst->sql);
	ls_buf_add_text(&trial->dst->sql, "DROP SCHEMA IF EXISTS ");
	ls_pg_add_ident(&trial->dst->sql, ls_str_of(trial->dst->context->ledger_schema));
	ls_buf_add_text(&trial->dst->sql, " CASCADE");
	(void)ls_pg_exec(trial->dst->conn, trial->dst->sql.ptr, NULL, &ignored);
}

void ls_pgd_trial(const struct ls_pgd_options *options, const struct ls_destination_context *context,
		  const char *subject, struct ls_report *report)
{
	char schema[64], place[80];
	const struct ls_str key[] = { LS_STR("id") };
	struct ls_mapping mapping = { .entity = "trial", .place = place, .key = key, .key_count = 1 };
	struct ls_destination_context scratch = *context;
	struct trial trial = { .report = report, .subject = subject, .mapping = &mapping };
	struct ls_error err;

	(void)snprintf(schema, sizeof(schema), "lockstep_check_%llx", (unsigned long long)ls_now_us());
	(void)snprintf(place, sizeof(place), "%s.trial", schema);
	scratch.ledger_schema = schema;
	scratch.mapping = &mapping;
	scratch.mapping_count = 1;
	scratch.ledger_full = scratch.create_tables = true;
	trial.mark = (struct ls_mark){ .topic = LS_STR("lockstep.check"), .partition = 0 };
	trial.dst = ls_pgd_new(options, &scratch);
	trial.arena = ls_arena_new(TRIAL_ARENA_BYTES);
	if (make(&trial, &err)) {
		ls_report_add(report, LS_CHECK_IDEMPOTENCY, LS_LEVEL_WARNING, subject,
			      "GRANT CREATE ON DATABASE to this role for the time of the check",
			      "could not be tried on scratch tables: %s", err.text);
	} else {
		try_idempotency(&trial);
		try_fencing(&trial);
		try_poison(&trial);
	}
	drop(&trial);
	ls_arena_free(trial.arena);
	ls_pgd_free(trial.dst);
}
