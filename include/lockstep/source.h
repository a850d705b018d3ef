/* The contract of a source kind. producer/sources.def names the kinds; tests/contract runs on each. */
#pragma once

#include "lockstep/batch.h"
#include "lockstep/error.h"
#include "lockstep/mapping.h"
#include "lockstep/option.h"
#include "lockstep/report.h"

struct ls_source_context {
	const char *name; /* the source's name in the configuration */
	const struct ls_mapping *mapping;
	size_t mapping_count;
	const char *prefix;        /* topics.prefix */
	const char *ledger_schema; /* "identity" */
	bool snapshot;             /* initial: snapshot */
	bool is_destination;       /* a destination of the same name exists: two-way */
	const int32_t *partitions; /* two-way: how many the events topic of mapping[i] has; NULL: not known */
	int64_t polling_interval_ms;
	int64_t max_event_bytes;
	struct ls_lane_stats *stats; /* metrics/stats.h; never NULL */
};

struct ls_source;

/* What `lockstep snapshot` is going to do. Everything in the arena. */
struct ls_resnapshot {
	struct ls_str position; /* to be saved for the source; empty: the saved record is to be forgotten */
	struct ls_str why;      /* whole sentence: what was lost and what is done about it; empty: nothing was */
	struct ls_resnapshot_table {
		struct ls_str name;
		int64_t rows; /* estimate */
	} * table;            /* to be read again */
	size_t table_count;
};

/* How a kind learns of changes: run --no-cdc, --no-event-driven and --no-polling leave out one family each. */
enum ls_family {
	LS_FAMILY_CDC,     /* reads the system's own log of changes */
	LS_FAMILY_EVENT,   /* is told: webhooks */
	LS_FAMILY_POLLING, /* asks from time to time */
};

struct ls_source_ops {
	const char *kind; /* "postgres" */
	enum ls_family family;
	const char *summary; /* one line for `lockstep options` */
	const struct ls_option *options;
	size_t option_count;
	size_t options_size; /* bytes of the kind's options struct */

	/* open connects and makes ready; nothing is read yet.
	 * position  text saved by the last run, empty when there is none
	 * floor     the version clock's floor as saved with it, LS_NONE when there is none
	 * *ret_src is set on LS_OK only. */
	enum ls_class (*open)(const void *options, const struct ls_source_context *context, struct ls_str position,
			      int64_t floor, struct ls_source **ret_src, struct ls_error *err);

	/* poll waits up to timeout_ms for something, then adds what is there to `into` (count 0: nothing came) without
	 * waiting for the batch to fill. MUST stop at into->max events or at about 4 MiB of arena. An error loses
	 * nothing: the events in `into` are to be dropped and the source opened again from the last durable position.
	 * An event too large or not representable is no error: it comes with change data left out and metadata
	 * "lockstep.poison" = reason, so that the publisher dead-letters it. */
	enum ls_class (*poll)(struct ls_source *src, int timeout_ms, struct ls_batch *into, struct ls_error *err);

	/* confirm: everything up to `position` (text of an earlier batch) is durable in Kafka, and so is the position
	 * record itself. The source MAY let go of it. */
	enum ls_class (*confirm)(struct ls_source *src, struct ls_str position, struct ls_error *err);

	/* keepalive MUST be cheap and MUST NOT produce events; called at least every second under backpressure. */
	enum ls_class (*keepalive)(struct ls_source *src, struct ls_error *err);

	/* close accepts NULL and a half-open source; returns NULL. */
	struct ls_source *(*close)(struct ls_source *src);

	/* check adds findings for `lockstep check`; opens and closes its own connections; changes nothing that
	 * stays. */
	void (*check)(const void *options, const struct ls_source_context *context, struct ls_report *report);

	/* lookup reads one entity as it stands now into *ret_row (values in arena; schema NULL when it does not exist).
	 * MAY be NULL. */
	enum ls_class (*lookup)(const void *options, const struct ls_source_context *context,
				const struct ls_mapping *mapping, struct ls_str entity_id, struct ls_arena *arena,
				struct ls_row *ret_row, struct ls_error *err);

	/* describe reads the fields that an entity of this mapping has now, masks and filters aside: *ret lives in the
	 * arena. MAY be NULL. LS_FATAL: it cannot be made from what is there, a key field is missing. */
	enum ls_class (*describe)(const void *options, const struct ls_source_context *context,
				  const struct ls_mapping *mapping, struct ls_arena *arena,
				  const struct ls_schema **ret, struct ls_error *err);

	/* resnapshot makes the position from which the next open reads a table again, in a round of its own.
	 * position  the saved one, empty when there is none
	 * table     as configured; NULL: every table
	 * dry_run   changes nothing; otherwise what the saved position held on to in vain is let go of
	 * LS_FENCED: a capture runs. LS_FATAL: no such table, or reading it alone would not mend what was lost.
	 * MAY be NULL. */
	enum ls_class (*resnapshot)(const void *options, const struct ls_source_context *context,
				    struct ls_str position, const char *table, bool dry_run, struct ls_arena *arena,
				    struct ls_resnapshot *ret, struct ls_error *err);
};

/* Each kind embeds this first. */
struct ls_source {
	const struct ls_source_ops *ops;
};

/* ls_source_kinds returns the NULL-terminated list of producer/sources.def. */
const struct ls_source_ops *const *ls_source_kinds(void);
