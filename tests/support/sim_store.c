/* The local copy of the version state in memory: store.h for lanes of the simulated world. A host's copy outlives its
 * lanes; two lanes of one host share it, as two processes share LMDB files. */
#include "sim.h"
#include "store.h"

#include <stdlib.h>

struct ls_store {
	struct sim_lane *lane;
	struct sim_copy *copy; /* of the host */
	struct sim_copy view;  /* of the open transaction */
	bool open, writes;
};

int sim_key_of(struct ls_str entity_id)
{
	return entity_id.len == 2 ? entity_id.ptr[1] - '0' : -1;
}

static enum ls_class dead(struct ls_error *err)
{
	return ls_fail(err, LS_FATAL, "dead", "dead");
}

enum ls_class ls_store_open(const char *state_dir, const char *destination, const char *entity, int32_t partition,
			    struct ls_store **ret, struct ls_store_meta *ret_meta, struct ls_error *err)
{
	struct sim_lane *lane = sim_self();
	struct ls_store *store;

	(void)state_dir, (void)destination, (void)entity;
	if (sim_step(lane))
		return dead(err);
	store = calloc(1, sizeof *store);
	if (!store)
		abort();
	store->lane = lane;
	store->copy = &lane->sim->copy[lane->host][partition];
	*ret = store;
	*ret_meta = store->copy->meta;
	return LS_OK;
}

struct ls_store *ls_store_close(struct ls_store *store)
{
	free(store);
	return NULL;
}

static enum ls_class begin(struct ls_store *store, bool writes, struct ls_error *err)
{
	if (sim_step(store->lane))
		return dead(err);
	store->view = *store->copy;
	store->open = true;
	store->writes = writes;
	return LS_OK;
}

enum ls_class ls_store_read_begin(struct ls_store *store, struct ls_error *err)
{
	return begin(store, false, err);
}

void ls_store_read_end(struct ls_store *store)
{
	store->open = false;
}

enum ls_class ls_store_get(struct ls_store *store, struct ls_str entity_id, struct ls_arena *arena,
			   struct ls_state *ret, struct ls_error *err)
{
	const struct sim_state *held = &store->view.state[sim_key_of(entity_id)];

	(void)err;
	if (!store->open)
		sim_wrong(store->lane->sim, "the local copy is read outside of a transaction");
	ret->exists = ret->deleted = false;
	ret->seen_count = 0;
	ret->stamp = (struct ls_stamp){ 0 };
	if (held->len && !ls_store_unpack((struct ls_str){ held->bytes, held->len }, arena, ret))
		sim_wrong(store->lane->sim, "a packed state does not unpack");
	return LS_OK;
}

enum ls_class ls_store_write_begin(struct ls_store *store, int64_t owner_epoch, struct ls_error *err)
{
	enum ls_class class = begin(store, true, err);

	if (class || store->view.meta.owner_epoch <= owner_epoch)
		return class;
	store->open = false;
	return ls_fail(err, LS_FENCED, "owner_epoch", "a later owner has written to this copy");
}

enum ls_class ls_store_put(struct ls_store *store, struct ls_str entity_id, const struct ls_state *state,
			   struct ls_error *err)
{
	struct sim_state *held = &store->view.state[sim_key_of(entity_id)];

	(void)err;
	if (!store->writes)
		sim_wrong(store->lane->sim, "the local copy is written outside of a transaction");
	held->len = ls_store_pack(state, held->bytes, sizeof held->bytes);
	return LS_OK;
}

/* Nobody else runs between begin and commit: the real store has one writer at a time. */
enum ls_class ls_store_commit(struct ls_store *store, const struct ls_store_meta *meta, struct ls_error *err)
{
	store->open = store->writes = false;
	if (store->lane->killed)
		return dead(err);
	store->view.meta = *meta;
	*store->copy = store->view;
	return LS_OK;
}

void ls_store_abort(struct ls_store *store)
{
	store->open = store->writes = false;
}
