/* The PostgreSQL destination, private to its folder.
 *
 * One slice is one transaction, sent as one script: the mark, the ledger entries by COPY, then per shape of write a
 * COPY into a temporary staging table and the statements that carry it into the target. postgres.c holds the contract,
 * session.c the connection, ledger.c the ledger tables, takeover.c sessions that keep a new owner from them, passed.c
 * what took no effect, target.c what the catalog says about a table, shape.c the statements of a group of like writes,
 * guard.c what keeps newer local edits, copytext.c the bytes of COPY, apply.c the transaction and what an error of it
 * means, conflict.c both sides of a conflict, careful.c a slice row by row, wait.c what waits for other rows, yield.c
 * circles of them, check.c and trial.c `lockstep check`, lookup.c one entity as it stands. */
#pragma once

#include "core/arena.h"
#include "core/buf.h"
#include "lockstep/destination.h"
#include "pg/conn.h"

#include <stdint.h>

enum { LS_PGD_SHAPES_KEPT = 48 };

struct ls_pgd_options {
	char *url;
	int synchronous_commit; /* enum ls_pgd_synchronous */
	int64_t statement_timeout_ms, lock_timeout_ms;
};
enum ls_pgd_synchronous { LS_PGD_SYNC_DEFAULT, LS_PGD_SYNC_ON, LS_PGD_SYNC_OFF };

struct ls_pgd_column {
	struct ls_str name, type, collation; /* SQL text; collation empty when it is the type's own */
	struct ls_type kind;
	bool not_null, has_default, generated, identity_always;
	int number;
};

/* A target table as the catalog shows it. */
struct ls_pgd_target {
	struct ls_arena *arena; /* holds the target itself */
	const struct ls_mapping *mapping;
	char schema[64], table[64];
	struct ls_pgd_column *column;
	size_t count;
	bool exists, key_unique;
	bool insert_triggers; /* some fire before each INSERT, even where a row is there already */
	uint64_t signature;   /* of all that the statements depend on */
	struct ls_pgd_target *next;
};

enum ls_pgd_care { LS_PGD_PRESENT, LS_PGD_ABSENT, LS_PGD_ANY };

/* Writes of one mapping, writer schema, operation and set of absent columns; lives as long as the session's stage. */
struct ls_pgd_shape {
	struct ls_arena *arena; /* holds the shape itself */
	const struct ls_mapping *mapping;
	const struct ls_schema *schema;
	enum ls_write_op op;
	struct ls_str *name; /* the schema's column names, copied: a pointer may come back as another schema */
	unsigned char *care; /* enum ls_pgd_care per column of the schema */
	size_t schema_count;
	size_t *source; /* columns of the COPY, as indexes into the row */
	size_t source_count;
	size_t key_count; /* the first of them are the key */
	char stage[64];
	struct ls_str create, copy, statements;
	struct ls_str careful_copy, careful; /* one row at a time */
	struct ls_str key_match;             /* of the target `d` and the stage `s` */
	uint64_t session;                    /* in which the stage exists; 0: in none */
	uint64_t slice;                      /* the last slice that used it */
	size_t head, tail, writes;
	struct ls_pgd_shape *next;
};

struct ls_pgd {
	struct ls_destination base;
	const struct ls_pgd_options *options;
	const struct ls_destination_context *context;
	PGconn *conn;
	uint64_t session, slice, stages;
	bool takes_origin; /* this session writes rows: they are to carry our replication origin */
	bool origin;       /* and do */
	bool commit_times; /* a guard may ask who wrote a row last, and when */
	struct ls_pgd_seen *seen;
	struct ls_pgd_target *target;
	struct ls_pgd_shape *shape, *last;
	struct ls_buf sql, body, row;
	int64_t next_prune_ms;
};

/* ---- session.c ---- */
enum ls_class ls_pgd_ready(struct ls_pgd *dst, struct ls_error *err); /* reconnects when needed */
void ls_pgd_settle(struct ls_pgd *dst); /* after an error: rolls back, or drops a broken connection */
/* ls_pgd_next waits for the next result of a script. *ret NULL: the script is over. */
enum ls_class ls_pgd_next(struct ls_pgd *dst, PGresult **ret, struct ls_error *err);
struct ls_pgd *ls_pgd_new(const struct ls_pgd_options *options, const struct ls_destination_context *context);
struct ls_pgd *ls_pgd_free(struct ls_pgd *dst);

/* ---- ledger.c ---- */
enum ls_class ls_pgd_ledger_make(struct ls_pgd *dst, struct ls_error *err);
void ls_pgd_ledger_ddl(const char *schema, struct ls_buf *out);
enum ls_class ls_pgd_ledger_missing(struct ls_pgd *dst, bool *ret, struct ls_error *err);
enum ls_class ls_pgd_claim(struct ls_pgd *dst, struct ls_mark *mark, size_t count, struct ls_error *err);
enum ls_class ls_pgd_marks(struct ls_pgd *dst, struct ls_arena *arena, struct ls_mark **ret, size_t *ret_count,
			   struct ls_error *err);
/* To dst->sql: moves the mark or raises LS001. */
void ls_pgd_add_mark(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena);
void ls_pgd_add_forget_dead(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena);
enum ls_class ls_pgd_known(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena,
			   struct ls_outcome *ret, struct ls_error *err);
void ls_pgd_add_owned(struct ls_pgd *dst, const struct ls_mark *mark, struct ls_buf *sql);
void ls_pgd_prune(struct ls_pgd *dst, bool idle);
bool ls_pgd_in_ledger(enum ls_entry_status status);

/* ---- takeover.c ---- */
/* ls_pgd_end_stuck ends sessions of other sinks that hold these marks and wait for their client. */
enum ls_class ls_pgd_end_stuck(struct ls_pgd *dst, const struct ls_mark *mark, size_t count, struct ls_error *err);

/* ---- passed.c ---- */
void ls_pgd_add_passed(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena); /* to dst->sql */
/* ls_pgd_passed: as ls_destination_ops.passed. */
enum ls_class ls_pgd_passed(struct ls_pgd *dst, const struct ls_mark *mark, const int64_t *offset, size_t count,
			    struct ls_arena *arena, bool *ret, struct ls_error *err);

/* ---- target.c ---- */
/* ls_pgd_target_get: the cached target of a mapping, read from the catalog when it is not there; `like` (may be NULL)
 * gives the columns that are created when missing and allowed. LS_FATAL names the statement to run. */
enum ls_class ls_pgd_target_get(struct ls_pgd *dst, const struct ls_mapping *mapping, const struct ls_schema *like,
				struct ls_pgd_target **ret, struct ls_error *err);
enum ls_class ls_pgd_target_load(PGconn *conn, const struct ls_mapping *mapping, struct ls_pgd_target **ret,
				 struct ls_error *err);
struct ls_pgd_target *ls_pgd_target_free(struct ls_pgd_target *target);
const struct ls_pgd_column *ls_pgd_target_find(const struct ls_pgd_target *target, struct ls_str name);
void ls_pgd_target_ddl(const struct ls_pgd_target *target, const struct ls_schema *like, struct ls_buf *out);
void ls_pgd_add_table(struct ls_buf *buf, const char *schema, const char *table);
/* ls_pgd_targets_changed reads all cached targets again; true when one is not as it was. */
bool ls_pgd_targets_changed(struct ls_pgd *dst);
void ls_pgd_forget(struct ls_pgd *dst); /* drops cached targets and shapes */

/* ---- shape.c ---- */
enum ls_class ls_pgd_shape_get(struct ls_pgd *dst, const struct ls_write *write, struct ls_pgd_shape **ret,
			       struct ls_error *err);
struct ls_pgd_shape *ls_pgd_shape_free(struct ls_pgd_shape *shape);
void ls_pgd_shapes_trim(struct ls_pgd *dst);

/* ---- conflict.c ---- */
/* To dst->sql: the conflicts that the slice met. */
void ls_pgd_add_conflicts(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena);

/* ---- guard.c ---- */
/* What keeps a newer local edit, as a condition behind another: of one row against its own event, where `s` is the
 * stage and `d` the target, and of a row that came in between against all events of the stage. */
struct ls_pgd_guard {
	struct ls_buf *each, *all;
};
bool ls_pgd_guards(const struct ls_mapping *mapping);
bool ls_pgd_guards_by_commit(const struct ls_destination_context *context);
/* ls_pgd_guard_ready: in a new session. LS_FATAL: the server or the role lacks what a guard needs. */
enum ls_class ls_pgd_guard_ready(struct ls_pgd *dst, struct ls_error *err);
void ls_pgd_guard_note(struct ls_pgd *dst, const struct ls_mark *mark); /* after a commit or a claim */
/* The columns of the stage that a guard compares with, and their cells for one write; nothing without a guard. */
void ls_pgd_guard_columns(const struct ls_mapping *mapping, bool types, struct ls_buf *out);
void ls_pgd_guard_cells(const struct ls_pgd *dst, const struct ls_slice *slice, const struct ls_write *write,
			struct ls_buf *out);
/* ls_pgd_guard_make clears both and fills them where the mapping has a guard. LS_FATAL: the column it names does not
 * do. */
enum ls_class ls_pgd_guard_make(const struct ls_pgd *dst, const struct ls_pgd_target *target, const char *stage,
				struct ls_pgd_guard *ret, struct ls_error *err);
void ls_pgd_guard_free(struct ls_pgd *dst);

/* ---- copytext.c ---- */
void ls_pgd_copy_text(struct ls_buf *out, struct ls_str text); /* escaped for COPY's text format */
/* ls_pgd_clean returns text itself, or a copy with '?' for every byte that PostgreSQL cannot store as UTF-8. */
struct ls_str ls_pgd_clean(struct ls_arena *arena, struct ls_str text);
void ls_pgd_copy_row(struct ls_buf *out, const struct ls_pgd_shape *shape, const struct ls_value *value);
/* ls_pgd_copy_line finds the line number in the context of a COPY error, "COPY stage, line 3, column a"; 0: none. */
size_t ls_pgd_copy_line(const char *context, const char *table);

/* ---- yield.c ---- */
/* A column with which a row makes room in a unique index, or stands in no need of another row; SQL text all three. */
struct ls_pgd_giving {
	struct ls_str name, literal, value;
	bool reference; /* of a foreign key */
};
enum ls_class ls_pgd_giving(struct ls_pgd *dst, const struct ls_pgd_target *target, struct ls_arena *arena,
			    struct ls_pgd_giving **ret, size_t *ret_count, struct ls_error *err);
void ls_pgd_add_giving(const struct ls_pgd_giving *giving, size_t count, bool references, struct ls_buf *out);
/* Declarations of a DO block: how its session treats triggers, for ls_pgd_add_silence; and how many rows the statements
 * of ls_pgd_shape.careful have written, added up. */
#define LS_PGD_ROLE    "lockstep_role text := pg_catalog.current_setting('session_replication_role'); "
#define LS_PGD_WRITTEN "lockstep_count bigint; lockstep_written bigint := 0;\n"
/* ls_pgd_add_silence leaves out the triggers of the user where the role may do so, for changes that nobody made; and
 * lets them be as the session has them again. */
void ls_pgd_add_silence(struct ls_buf *out, bool on);
/* To dst->sql: what ls_destination_ops.yield does, after the mark and the numbered stages. */
enum ls_class ls_pgd_add_yield(struct ls_pgd *dst, const struct ls_slice *slice, bool back, struct ls_arena *arena,
			       struct ls_error *err);

/* ---- wait.c ---- */
void ls_pgd_add_waiting(const struct ls_pgd *dst, struct ls_buf *out); /* the table's name */
/* ls_pgd_add_waiting_of: a condition on the rows of one partition; table: "" or "w." */
void ls_pgd_add_waiting_of(const struct ls_pgd *dst, const struct ls_mark *mark, const char *table, struct ls_buf *out);
/* To dst->sql: what begins to wait, and what waits no longer. */
void ls_pgd_add_waits(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena);
enum ls_class ls_pgd_waits(struct ls_pgd *dst, struct ls_arena *arena, struct ls_wait **ret, size_t *ret_count,
			   struct ls_error *err);

/* ---- careful.c ---- */
/* To dst->sql: stages whose rows carry the number of their write. */
void ls_pgd_add_numbered(struct ls_pgd *dst, struct ls_pgd_shape *const *shape, size_t count);
/* To dst->sql: the rest of a careful slice's script, but for its end. */
enum ls_class ls_pgd_add_careful(struct ls_pgd *dst, struct ls_pgd_shape *const *shape, size_t count,
				 struct ls_arena *arena, struct ls_error *err);
/* ls_pgd_read_careful reads either of its two answers: how many rows changed, which ones were refused. */
void ls_pgd_read_careful(const PGresult *res, struct ls_arena *arena, struct ls_outcome *ret);

/* ---- apply.c ---- */
enum ls_class ls_pgd_apply(struct ls_pgd *dst, const struct ls_slice *slice, struct ls_arena *arena,
			   struct ls_outcome *ret, struct ls_error *err);
enum ls_class ls_pgd_yield(struct ls_pgd *dst, const struct ls_slice *slice, bool back, struct ls_arena *arena,
			   struct ls_error *err);

/* ---- check.c, trial.c, lookup.c ---- */
void ls_pgd_check(const void *options, const struct ls_destination_context *context, struct ls_report *report);
void ls_pgd_trial(const struct ls_pgd_options *options, const struct ls_destination_context *context,
		  const char *subject, struct ls_report *report);
enum ls_class ls_pgd_lookup(const void *options, const struct ls_destination_context *context,
			    const struct ls_mapping *mapping, struct ls_str entity_id, struct ls_arena *arena,
			    struct ls_row *ret_row, struct ls_error *err);
