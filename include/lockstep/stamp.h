/* What last-write-wins compares, the state it is decided from, and the decision: pure, no I/O, no clock. */
#pragma once

#include "lockstep/event.h"

/* Compared as one tuple (version, timestamp_us, source bytewise): a total order. */
struct ls_stamp {
	int64_t version;
	int64_t timestamp_us;
	struct ls_str source;
};

int ls_stamp_compare(const struct ls_stamp *a, const struct ls_stamp *b);
struct ls_stamp ls_stamp_of(const struct ls_event *event);

struct ls_seen {
	struct ls_str source;
	int64_t version; /* the highest version of this source folded into the state */
};

enum { LS_SEEN_MAX = 32 }; /* sources that may write one entity; more is refused by `check` */

/* The version state of one entity at one destination: a fold of the log, joined by greatest stamp. */
struct ls_state {
	bool exists; /* false: nothing was ever seen; the other fields are then zero */
	bool deleted;
	struct ls_stamp stamp;
	struct ls_str event_id; /* of the winner */
	int64_t offset;         /* of the winner, in its topic */
	int64_t owner_epoch;    /* of the sink that wrote this record */
	struct ls_seen seen[LS_SEEN_MAX];
	size_t seen_count;
};

enum ls_verdict {
	LS_APPLY,
	LS_APPLY_AGAIN, /* it is the state's own winner, delivered again: the same write, harmless, sometimes needed */
	LS_STALE,       /* a concurrent loser: recorded, payload kept */
	LS_DUPLICATE,   /* folded before */
};

struct ls_decision {
	enum ls_verdict verdict;
	bool conflict; /* the writer had not seen the state's winner, which another source wrote */
};

/* ls_decide folds one event into *state and says what to do with it.
 *
 * offset  of the event in its topic; kept in the state as the winner's
 * Views of the event are stored in *state: copy the state before the event's arena is reset.
 * A source beyond LS_SEEN_MAX takes the place of the one with the lowest version; the stamp still decides.
 * Source of the rule: docs/guarantees.md, "The decision"; tests/unit/test_decide.c holds its properties. */
struct ls_decision ls_decide(struct ls_state *state, const struct ls_event *event, int64_t offset);

/* ls_state_join sets *into to the least upper bound of both: greatest stamp, greatest version per source. */
void ls_state_join(struct ls_state *into, const struct ls_state *other);
