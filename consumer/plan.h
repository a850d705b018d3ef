/* From decoded events to one slice for the destination: decides each event, keeps one write per key, remembers the
 * states that will hold once the slice is committed. Pure: the state comes through a callback, nothing is written. */
#pragma once

#include "core/map.h"
#include "lockstep/destination.h"
#include "lockstep/error.h"
#include "lockstep/stamp.h"

struct ls_arena;

enum ls_fate {
	LS_FATE_EVENT, /* to be decided */
	LS_FATE_DEAD,  /* a dead letter: passed over, entered in the ledger with its reason */
	LS_FATE_KNOWN, /* the ledger has its event_id: passed over */
	LS_FATE_WAIT,  /* refused as things stand: passed over, written down as waiting */
};

/* One message of the batch. */
struct ls_item {
	struct ls_event event; /* views in the batch arena; all zero when the bytes could not be read */
	int64_t offset;
	enum ls_fate fate;
	bool dead_sent;     /* its dead letter is acknowledged */
	unsigned attempts;  /* where nothing may wait: of constraint violations that another event may mend */
	bool hopeless;      /* has waited long enough: refused once more, it is a dead letter */
	const char *reason; /* of a dead letter, or why it waits; arena */
	const char *needs;  /* the key of the row it waits for, or NULL; arena */
	char code[32];
};

/* A concurrent change, for {prefix}.conflicts. */
struct ls_conflict {
	size_t item;          /* index of the event that met the other */
	struct ls_stamp held; /* the state's winner before it */
	struct ls_str held_event_id;
	int64_t held_offset;
	const struct ls_event *held_event; /* found by ls_conflicts_gather */
	bool applied;                      /* the event won */
};

/* What will be known of one key once the slice is committed. */
struct ls_plan_key {
	struct ls_str entity_id;
	struct ls_state state;
	struct ls_state *again; /* the state is ahead of the destination: what this slice alone comes to; else NULL */
	bool changed;           /* the state differs from the stored one */
	size_t write;           /* index of its first write, SIZE_MAX: none */
	size_t applied;         /* events of this key in the slice that are to be written */
};

struct ls_plan {
	struct ls_map keys; /* entity id -> struct ls_plan_key */
	struct ls_entry *entry;
	struct ls_write *write;
	struct ls_conflict *conflict;
	const struct ls_clash *clash; /* of each conflict, once gathered */
	size_t count;                 /* items planned: the first `count` of those given */
	size_t write_count, conflict_count;
	size_t applied, stale, duplicate, dead;
	int64_t max_version;
	struct ls_str last_event_id;
};

struct ls_plan_input {
	const struct ls_mapping *const *mapping;   /* of this entity at this destination */
	const struct ls_schema *const *key_schema; /* the key columns alone, as texts; one per mapping */
	size_t mapping_count;
	/* lookup fills *ret with the stored state of a key; views must outlive the plan. */
	enum ls_class (*lookup)(void *context, struct ls_str entity_id, struct ls_state *ret, struct ls_error *err);
	void *context;
	/* No version above it has ever come to the destination. A state that is above it is ahead: the destination lost
	 * commits, and gets the events up to that state once more, not the last of them alone: it may leave out columns
	 * that an earlier one brings. INT64_MAX: nothing is ahead. */
	int64_t floor;
	struct ls_arena *arena;
};

void ls_plan_init(struct ls_plan *plan);
void ls_plan_release(struct ls_plan *plan);

/* ls_plan_make plans items[0..count). It may stop before the end (plan->count) where two events of one key cannot
 * become one write: a row with absent columns after a delete or under another schema. At least one item is planned. */
enum ls_class ls_plan_make(struct ls_plan *plan, const struct ls_plan_input *input, struct ls_item *items, size_t count,
			   struct ls_error *err);
/* ls_plan_key_row: the key columns alone, taken from the entity id. */
struct ls_row ls_plan_key_row(const struct ls_schema *key_schema, struct ls_str entity_id, struct ls_arena *arena);
