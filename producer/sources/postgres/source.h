/* The PostgreSQL source from the inside: what its files share. Third parties see only ls_source_postgres. */
#pragma once

#include "lockstep/source.h"
#include "sources/postgres/position.h"
#include "sources/postgres/relation.h"

struct pgsrc_snapshot;

/* One configured table. */
struct pgsrc_table {
	uint32_t oid;
	struct ls_str schema, name;
	char label[PGSRC_LABEL];
	char member[32]; /* see members.c */
	char kind;       /* relkind: r or p */
	double rows;     /* estimate */
};

/* What sync_offsets said last about a partition: how far the destination of our own name had applied. LS_NONE: nothing
 * was ever applied, or nothing is known. */
struct pgsrc_seen {
	int64_t next_offset, max_version;
	bool moved; /* in the transaction being read: the position does not have it yet */
};

/* The topic of one mapping. */
struct pgsrc_base {
	const char *topic;
	int32_t partitions;
	struct pgsrc_seen *seen; /* one per partition */
};

struct pgsrc {
	struct ls_source source; /* first */
	struct pgsrc_options options;
	struct ls_source_context context;
	char slot[PGSRC_NAME];
	const char *publication;
	int server_version;
	bool standby;

	struct ls_arena *memory; /* lives as long as the source: schemas, tables, names */
	struct pgout_message *message;
	struct pgsrc_relations relations;
	struct pgsrc_table *table;
	size_t table_count;
	uint32_t publication_oid;
	const char *members; /* the tables' numbers, as an array for the server */
	int64_t members_sum; /* of these, their names and their places in the publication */

	PGconn *side;   /* questions to the catalog, heartbeats */
	bool side_busy; /* a heartbeat is under way on it */
	int64_t side_busy_since_ms;
	PGconn *repl;                    /* the walsender */
	struct pgsrc_snapshot *snapshot; /* NULL: none is running */
	bool streaming;

	struct pgsrc_position position;
	uint64_t confirmed; /* durable in Kafka: what the slot may forget */
	uint64_t received;  /* how far we have read, as told to the server */
	uint64_t wal_end;   /* how far the server is */
	int64_t floor_next; /* floor of the batch to come, LS_NONE: none */
	bool announce;      /* a first position is to be handed over before anything else */
	bool confirm_due;

	/* the transaction being read */
	bool in_transaction, foreign; /* foreign: written by a sink of ours, to be dropped */
	uint64_t commit_lsn;
	int64_t commit_us;
	uint32_t commit_xid;
	uint64_t row;      /* row changes seen in it */
	char id_head[160]; /* "source:LSN:" */
	size_t id_head_len;
	uint64_t commit_end; /* of the last transaction read to its end, or where an idle log stands */
	uint64_t handed_lsn; /* the last position handed over */
	size_t open_events;  /* events of the unfinished transaction handed over so far */
	bool overdue;        /* a batch ended inside a transaction: the next ends at the first commit */

	int64_t status_at_ms, heartbeat_at_ms, advance_at_ms; /* when last done */
	int64_t status_interval_ms, confirm_interval_ms;      /* how often at most, for this server's patience */

	struct pgsrc_base *base; /* one per mapping; NULL: one-way, or the topics' partitions are not known */
	bool base_moved;
	bool tables_durable; /* a durable position says that every table was read: starting again costs nothing */
	bool ledger;         /* sync_offsets is there, and in the publication where that is ours */
};

/* Nothing is connected yet; half-made is freed as well. */
struct pgsrc *pgsrc_new(const void *options, const struct ls_source_context *context);
struct pgsrc *pgsrc_free(struct pgsrc *src); /* NULL ok */

enum { PGSRC_BATCH_BYTES = 4 << 20 };

/* ---- setup.c: before anything is read ---- */
enum ls_class pgsrc_tables(struct pgsrc *src, struct ls_error *err);      /* fills table[], relations */
enum ls_class pgsrc_publication(struct pgsrc *src, struct ls_error *err); /* created or altered */
struct pgsrc_slot {
	bool exists, active, lost, two_phase, failover;
	int pid;
	uint64_t confirmed;
	char plugin[64], database[64];
};
enum ls_class pgsrc_slot_state(PGconn *conn, const char *name, struct pgsrc_slot *ret, struct ls_error *err);
/* pgsrc_slot_foreign: the slot was made for something else. */
enum ls_class pgsrc_slot_foreign(const struct pgsrc *src, const struct pgsrc_slot *slot, struct ls_error *err);
enum pgsrc_slot_kind { PGSRC_SLOT_PLAIN, PGSRC_SLOT_TEMPORARY, PGSRC_SLOT_FAILOVER };
enum ls_class pgsrc_slot_create(PGconn *conn, const char *name, enum pgsrc_slot_kind kind, uint64_t *ret_lsn,
				char snapshot[64], struct ls_error *err);
enum ls_class pgsrc_server(struct pgsrc *src, struct ls_error *err); /* version, wal_level */
/* pgsrc_begin decides between stream and snapshot from what was saved, and starts it. */
enum ls_class pgsrc_begin(struct pgsrc *src, struct ls_str position, int64_t floor, struct ls_error *err);

/* ---- members.c: is each table still the one whose changes were read? ---- */
extern const char pgsrc_members_sql[]; /* gives the sum; $1: the publication, $2: src->members */
enum ls_class pgsrc_members(struct pgsrc *src, struct ls_error *err); /* asks the catalog */
bool pgsrc_members_other_publication(const struct pgsrc *src);
/* pgsrc_members_check: the position, where it was read, is of these tables; LS_FATAL: of others. Notes them in it. */
enum ls_class pgsrc_members_check(struct pgsrc *src, struct ls_error *err);

/* ---- history.c ---- */
/* pgsrc_history_check: the position is a place in this server's log; LS_FATAL with code "history": it is not. */
enum ls_class pgsrc_history_check(struct pgsrc *src, PGconn *repl, struct ls_error *err);

/* ---- stream.c ---- */
enum ls_class pgsrc_stream_start(struct pgsrc *src, struct ls_error *err);
enum ls_class pgsrc_stream_poll(struct pgsrc *src, int timeout_ms, struct ls_batch *into, struct ls_error *err);
/* pgsrc_status tells the server how far we are: at once when `now`, else when it is due. */
enum ls_class pgsrc_status(struct pgsrc *src, bool now, struct ls_error *err);

/* ---- event.c ---- */
/* pgsrc_event_change turns a row change of src->message into events of the batch.
 * borrow: the message stands in the batch's arena; else what travels is copied there. */
void pgsrc_event_change(struct pgsrc *src, const struct pgsrc_relation *relation, bool borrow, struct ls_batch *into);
/* pgsrc_event_complete asks the table for what the log left out of rows that got a new key: entries first.. of the
 * batch that are INSERTs with absent values. Their old entity has the value, and it is being deleted. */
enum ls_class pgsrc_event_complete(struct pgsrc *src, const struct pgsrc_relation *relation, struct ls_batch *into,
				   size_t first, struct ls_error *err);
/* pgsrc_event_snapshot makes events of one row; cell[] stands in the arena when borrow. */
struct pgsrc_snapshot_row {
	uint64_t lsn;
	int64_t version;
	const struct pgsrc_relation *relation;
	const struct pgout_cell *cell;
	bool borrow;
};
void pgsrc_event_snapshot(struct pgsrc *src, const struct pgsrc_snapshot_row *row, struct ls_batch *into);
size_t pgsrc_event_room(const struct pgsrc *src); /* the most events that one row change can become */

/* ---- snapshot.c ---- */
struct pgsrc_snapshot_start {
	const char *name; /* of the exported snapshot */
	uint64_t lsn;
	int64_t version;
	PGconn *holder; /* taken: closed at the end; NULL: src->repl holds it */
};
enum ls_class pgsrc_snapshot_begin(struct pgsrc *src, const struct pgsrc_snapshot_start *start, struct ls_error *err);
enum ls_class pgsrc_snapshot_poll(struct pgsrc *src, int timeout_ms, struct ls_batch *into, struct ls_error *err);
void pgsrc_snapshot_confirm(struct pgsrc *src, const struct pgsrc_position *position, struct ls_str text);
struct pgsrc_snapshot *pgsrc_snapshot_free(struct pgsrc_snapshot *snapshot);

/* ---- heartbeat.c ---- */
/* pgsrc_side gives the session for questions, opened again when it was lost, with no heartbeat under way. */
enum ls_class pgsrc_side(struct pgsrc *src, PGconn **ret, struct ls_error *err);
enum ls_class pgsrc_heartbeat(struct pgsrc *src, struct ls_error *err);

/* ---- base.c: what a local edit had seen of the other systems ---- */
void pgsrc_base_begin(struct pgsrc *src); /* from the position that was read */
void pgsrc_base_note(struct pgsrc *src, const struct pgsrc_relation *relation, const struct pgout_message *message);
void pgsrc_base_settle(struct pgsrc *src); /* at a commit: the position follows */
void pgsrc_base_give(const struct pgsrc *src, size_t mapping, struct ls_event *event);
/* pgsrc_base_recall lets sync_offsets come by once more where nothing is known of it. LS_RETRY: connection lost. */
enum ls_class pgsrc_base_recall(struct pgsrc *src, struct ls_error *err);

/* ---- check.c, lookup.c, resnapshot.c ---- */
enum ls_class pgsrc_resnapshot(const void *options, const struct ls_source_context *context, struct ls_str position,
			       const char *table, bool dry_run, struct ls_arena *arena, struct ls_resnapshot *ret,
			       struct ls_error *err);
void pgsrc_check(const void *options, const struct ls_source_context *context, struct ls_report *report);
enum ls_class pgsrc_lookup(const void *options, const struct ls_source_context *context,
			   const struct ls_mapping *mapping, struct ls_str entity_id, struct ls_arena *arena,
			   struct ls_row *ret_row, struct ls_error *err);
enum ls_class pgsrc_describe(const void *options, const struct ls_source_context *context,
			     const struct ls_mapping *mapping, struct ls_arena *arena, const struct ls_schema **ret,
			     struct ls_error *err);
enum ls_class pgsrc_lookup_on(PGconn *conn, const struct pgsrc_relation *relation, const struct pgsrc_view *view,
			      struct ls_str entity_id, struct ls_arena *arena, struct ls_row *ret_row,
			      struct ls_error *err);

extern const struct ls_source_ops ls_source_postgres;
