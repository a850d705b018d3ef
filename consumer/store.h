/* The local copy of the version state of one entity's partition, in LMDB. A cache: losing it costs a restore from the
 * versions topic, never data. Several processes may have the same directory; the owner epoch keeps an old owner out. */
#pragma once

#include "lockstep/error.h"
#include "lockstep/stamp.h"

struct ls_arena;
struct ls_store;

enum { LS_STORE_LOGS = 2, LS_STORE_MAX_KEY = 500 }; /* logs: the events topic and its priority topic */

/* What the store knows of itself; written with every commit. */
struct ls_store_meta {
	int64_t owner_epoch;              /* of the sink that wrote last */
	int64_t versions_next;            /* every record of the versions topic below this offset is folded in */
	int64_t published[LS_STORE_LOGS]; /* all state of events below this offset is in the versions topic; 0: none */
};

/* ls_store_open opens or makes state_dir/destination/entity/partition. A copy that another boot of the machine wrote is
 * thrown away, because it is not synced to disk. *ret_meta is zero for a new one.
 * LS_RETRY: directory not writable, disk full; says the path. */
enum ls_class ls_store_open(const char *state_dir, const char *destination, const char *entity, int32_t partition,
			    struct ls_store **ret, struct ls_store_meta *ret_meta, struct ls_error *err);
struct ls_store *ls_store_close(struct ls_store *store); /* NULL ok */

/* Reading: one snapshot from begin to end. ls_store_get fills *ret (exists false when not there); its views live in
 * arena. */
enum ls_class ls_store_read_begin(struct ls_store *store, struct ls_error *err);
enum ls_class ls_store_get(struct ls_store *store, struct ls_str entity_id, struct ls_arena *arena,
			   struct ls_state *ret, struct ls_error *err);
void ls_store_read_end(struct ls_store *store);

/* Writing: begin, put ..., commit. LS_FENCED from begin: a later owner epoch has written here.
 * Between begin and commit ls_store_get sees what was put. ls_store_abort drops everything. */
enum ls_class ls_store_write_begin(struct ls_store *store, int64_t owner_epoch, struct ls_error *err);
enum ls_class ls_store_put(struct ls_store *store, struct ls_str entity_id, const struct ls_state *state,
			   struct ls_error *err);
enum ls_class ls_store_commit(struct ls_store *store, const struct ls_store_meta *meta, struct ls_error *err);
void ls_store_abort(struct ls_store *store);

/* The record form of a state, used by the store; exposed for its tests. */
size_t ls_store_pack(const struct ls_state *state, char *out, size_t size); /* 0: does not fit */
bool ls_store_unpack(struct ls_str bytes, struct ls_arena *arena, struct ls_state *ret);
