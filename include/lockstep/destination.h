/* The contract of a destination kind. consumer/destinations.def names the kinds; tests/contract runs on each. */
#pragma once

#include "lockstep/error.h"
#include "lockstep/mapping.h"
#include "lockstep/option.h"
#include "lockstep/report.h"
#include "lockstep/stamp.h"

struct ls_destination_context {
	const char *name;
	const struct ls_mapping *mapping;
	size_t mapping_count;
	const char *ledger_schema; /* "identity" */
	const char *owner;         /* who claims: instance or host-pid-lane, for people */
	bool ledger_full;
	bool is_source; /* a source of the same name exists: two-way, its capture must know our writes from others */
	bool create_tables, add_columns; /* on_missing_table / on_missing_column: create */
	int64_t ledger_retention_ms;
	struct ls_lane_stats *stats; /* metrics/stats.h; never NULL */
};

/* The mark of one partition: how far this destination is, and who may move it. */
struct ls_mark {
	struct ls_str topic;
	int32_t partition;
	int64_t next_offset; /* -1: never */
	int64_t owner_epoch;
	int64_t max_version;
	uint64_t last_event; /* ls_hash of the id of the last event below next_offset; 0: not known */
	int64_t moved_us;    /* when the mark came to next_offset, by the destination's clock */
	int64_t clock_us;    /* the destination's clock when the mark was read; 0: not known */
};

enum ls_write_op { LS_WRITE_UPSERT, LS_WRITE_DELETE };

/* The one write of one key in a slice. Absent columns of `row` are to be left alone. For deletes the row holds at least
 * the key columns. */
struct ls_write {
	enum ls_write_op op;
	const struct ls_mapping *mapping;
	struct ls_row row;
	const struct ls_event *event; /* the winner */
	size_t entry;                 /* index of the winner in slice->entry */
};

enum ls_entry_status {
	LS_ENTRY_APPLIED,
	LS_ENTRY_STALE,
	LS_ENTRY_DEAD,
	LS_ENTRY_DUPLICATE, /* not to be written to the ledger */
};

/* One per event of the slice, in offset order. */
struct ls_entry {
	struct ls_str event_id;
	enum ls_entry_status status;
	struct ls_str error; /* LS_ENTRY_DEAD: the reason */
	int64_t offset;
	bool passed_over; /* has no effect, for a reason that the log does not tell: to be noted, see `passed` below */
};

/* An event below the mark that waits for rows of other partitions, because a constraint refuses it until they came. It
 * is written down in the transaction that moves the mark past it, and taken out in the one that writes its row. */
struct ls_wait {
	struct ls_str topic;
	int32_t partition;
	int64_t offset;
	struct ls_str entity_id, event_id;
	char code[8]; /* SQLSTATE */
	struct ls_str reason;
	struct ls_str needs; /* the key of the row that is missing, empty when not known */
};

/* One of two changes that did not know of each other. */
struct ls_side {
	struct ls_str event_id;
	struct ls_stamp stamp;
	const struct ls_event *event; /* NULL: its topic does not hold it any more */
};

/* A conflict that this slice met: to be kept in its transaction, each pair of events once. */
struct ls_clash {
	struct ls_str entity, entity_id;
	int64_t offset; /* of the event that came */
	bool applied;   /* it won */
	struct ls_side winner, loser;
};

/* All or nothing: mark, ledger entries and writes. At most one write per key. */
struct ls_slice {
	struct ls_mark mark; /* as last known: topic, partition, owner_epoch, and next_offset as it must stand now */
	int64_t next_offset; /* as it will stand */
	int64_t max_version; /* as it will stand */
	struct ls_str last_event_id;
	const struct ls_entry *entry;
	size_t entry_count;
	const struct ls_write *write;
	size_t write_count;
	bool careful;               /* write row by row, and name the rows that are refused: outcome.refused */
	const struct ls_wait *wait; /* written down as waiting */
	size_t wait_count;
	const int64_t *done; /* offsets that wait no longer */
	size_t done_count;
	const struct ls_clash *clash;
	size_t clash_count;
};

/* A write that the destination refuses as things stand. */
struct ls_refused {
	size_t write;
	char code[8];
	struct ls_str reason, needs;
};

struct ls_outcome {
	size_t failed_write;        /* on LS_POISON: index into slice->write, or SIZE_MAX when not known which */
	size_t *known;              /* on LS_OK: entries whose event_id is in the ledger already; arena of the call */
	size_t known_count;         /* above 0: NOTHING was written; take these out and apply again */
	size_t rows;                /* on LS_OK: rows that really changed */
	struct ls_refused *refused; /* on LS_OK of a careful slice: NOTHING was written; take these out, apply again */
	size_t refused_count;
};

struct ls_destination;

struct ls_destination_ops {
	const char *kind;
	const char *summary;
	const struct ls_option *options;
	size_t option_count;
	size_t options_size;
	int64_t batch_size; /* default of `batch_size`; 0: 5000 */

	/* open connects, creates the ledger tables when missing. *context stays the caller's and
	 * outlives the destination. *ret_dst is set on LS_OK only. */
	enum ls_class (*open)(const void *options, const struct ls_destination_context *context,
			      struct ls_destination **ret_dst, struct ls_error *err);

	/* claim takes ownership of each partition of `mark` (topic and partition are given): raises owner_epoch by
	 * one and fills the rest. */
	enum ls_class (*claim)(struct ls_destination *dst, struct ls_mark *mark, size_t count, struct ls_error *err);

	/* apply writes the slice in one transaction, first of all moving the mark from (owner_epoch, next_offset).
	 * LS_FENCED: the mark was not as expected, nothing written. LS_POISON: nothing written, one of the writes
	 * can never succeed. LS_RETRY: nothing known; when the reply of COMMIT was lost, claim again and look.
	 * LS_FATAL with a code of SQLSTATE class 42: nothing written, a table or column is missing that a person has
	 * to make. What *ret points at is in `arena`. */
	enum ls_class (*apply)(struct ls_destination *dst, const struct ls_slice *slice, struct ls_arena *arena,
			       struct ls_outcome *ret, struct ls_error *err);

	/* waits lists what waits in all partitions, of each in the order of the offsets; MAY be NULL: then nothing
	 * may wait there, slices are never careful and bring no `wait` or `done`. arena owns the result. */
	enum ls_class (*waits)(struct ls_destination *dst, struct ls_arena *arena, struct ls_wait **ret,
			       size_t *ret_count, struct ls_error *err);

	/* yield ends circles of events that wait for each other. Each write belongs to one that waits,
	 * slice->wait[write->entry]: its row gives up unique values that others may wait for, or, where it is not there
	 * yet and others need it, is made without what it waits for itself. With `back` that is undone, for events that
	 * will not be taken. The mark is checked as by apply and not moved. MAY be NULL. */
	enum ls_class (*yield)(struct ls_destination *dst, const struct ls_slice *slice, bool back,
			       struct ls_arena *arena, struct ls_error *err);

	/* passed says of each offset of a partition whether its event was passed over: apply noted it, in either
	 * form of the ledger, with the mark. ret has room for `count`. LS_FENCED: the mark is not as claimed. MAY be
	 * NULL where no state is ever folded behind the mark. */
	enum ls_class (*passed)(struct ls_destination *dst, const struct ls_mark *mark, const int64_t *offset,
				size_t count, struct ls_arena *arena, bool *ret, struct ls_error *err);

	/* stand reads all marks of this destination as it stands now, claiming nothing, on the session of the lane;
	 * arena owns the result. MAY be NULL: then a destination that goes back to an older state is noticed only
	 * where an event arrives. */
	enum ls_class (*stand)(struct ls_destination *dst, struct ls_arena *arena, struct ls_mark **ret,
			       size_t *ret_count, struct ls_error *err);

	/* close accepts NULL and a half-open destination; returns NULL. */
	struct ls_destination *(*close)(struct ls_destination *dst);

	/* check adds findings; what it creates to try things it removes. */
	void (*check)(const void *options, const struct ls_destination_context *context, struct ls_report *report);

	/* marks reads all marks of this destination without claiming them. arena owns the result. */
	enum ls_class (*marks)(const void *options, const struct ls_destination_context *context,
			       struct ls_arena *arena, struct ls_mark **ret, size_t *ret_count, struct ls_error *err);

	/* lookup reads one entity as it stands now; MAY be NULL. As ls_source_ops.lookup. */
	enum ls_class (*lookup)(const void *options, const struct ls_destination_context *context,
				const struct ls_mapping *mapping, struct ls_str entity_id, struct ls_arena *arena,
				struct ls_row *ret_row, struct ls_error *err);
};

struct ls_destination {
	const struct ls_destination_ops *ops;
};

/* ls_destination_kinds returns the NULL-terminated list of consumer/destinations.def. */
const struct ls_destination_ops *const *ls_destination_kinds(void);
