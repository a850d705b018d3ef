/* The local copy of the version state, in LMDB: see store.h. */
#include "store.h"

#include "core/arena.h"
#include "core/failpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_RECORD = 8192, BOOT_ID = 36, LOCK_BYTES = 16384 /* more than LMDB's own 126 readers take */ };
static const size_t first_map_bytes = (size_t)16 << 30; /* address space, not memory */

/* 0xff starts no UTF-8 text, so no entity id can be this key. */
static const char meta_key[] = "\xffmeta";

struct meta_record {
	char boot_id[BOOT_ID];
	struct ls_store_meta meta;
};

struct ls_store {
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *txn; /* the one open transaction, read or write */
	size_t map_bytes;
	char boot_id[BOOT_ID];
	char path[512];
};

static enum ls_class store_fail(const struct ls_store *store, int rc, const char *what, struct ls_error *err)
{
	return ls_fail(err, LS_RETRY, "state_dir",
		       "version state in %s: %s: %s; see that the directory is writable "
		       "and the disk has room (it is a cache: it may be deleted while lockstep is stopped)",
		       store->path, what, mdb_strerror(rc));
}

/* ---- opening ---- */

static enum ls_class make_directories(struct ls_store *store, struct ls_error *err)
{
	for (char *at = store->path + 1;; at++) {
		char was = *at;

		if (was && was != '/')
			continue;
		*at = 0;
		if (mkdir(store->path, 0700) && errno != EEXIST) {
			int rc = errno;

			return store_fail(store, rc, "could not make the directory", err);
		}
		*at = was;
		if (!was)
			return LS_OK;
	}
}

static void read_boot_id(char out[BOOT_ID])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	memset(out, '0', BOOT_ID);
	if (fd < 0)
		return;
	if (read(fd, out, BOOT_ID) != BOOT_ID)
		memset(out, '0', BOOT_ID);
	close(fd);
}

/* reserve_lock gives the lock file its blocks beforehand. LMDB maps it right after making it longer, and on a full disk
 * a page that has no block is a SIGBUS, where this is an error. */
static int reserve_lock(const struct ls_store *store)
{
	char path[600];
	struct stat st;
	int fd, rc = 0;

	snprintf(path, sizeof path, "%s/lock.mdb", store->path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	if (fstat(fd, &st))
		rc = errno;
	else if (st.st_size < LOCK_BYTES)
		rc = posix_fallocate(fd, 0, LOCK_BYTES);
	close(fd);
	return rc;
}

static int env_open(struct ls_store *store)
{
	MDB_txn *txn = NULL;
	int rc = reserve_lock(store);

	if (!rc)
		rc = mdb_env_create(&store->env);
	if (rc)
		return rc;
	store->map_bytes = first_map_bytes;
	if ((rc = mdb_env_set_mapsize(store->env, store->map_bytes)) ||
	    /* Not MDB_NOMEMINIT: what this process has in memory, passwords too, would stand in the file. */
	    (rc = mdb_env_open(store->env, store->path, MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD, 0600)) ||
	    (rc = mdb_txn_begin(store->env, NULL, 0, &txn)))
		return rc;
	rc = mdb_dbi_open(txn, NULL, 0, &store->dbi);
	if (rc) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

static void remove_files(struct ls_store *store)
{
	static const char *const name[] = { "data.mdb", "lock.mdb" };

	for (size_t i = 0; i < 2; i++) {
		char path[600];

		snprintf(path, sizeof path, "%s/%s", store->path, name[i]);
		unlink(path);
	}
}

static bool read_meta(struct ls_store *store, struct meta_record *ret)
{
	MDB_val key = { sizeof meta_key - 1, (void *)(uintptr_t)meta_key }, value;

	if (mdb_get(store->txn, store->dbi, &key, &value) || value.mv_size != sizeof *ret)
		return false;
	memcpy(ret, value.mv_data, sizeof *ret);
	return true;
}

static int open_checked(struct ls_store *store, struct ls_store_meta *ret_meta)
{
	struct meta_record record;
	int rc = env_open(store);

	if (!rc)
		rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &store->txn);
	if (rc)
		return rc;
	if (read_meta(store, &record)) {
		if (memcmp(record.boot_id, store->boot_id, BOOT_ID) != 0)
			rc = MDB_VERSION_MISMATCH;
		else
			*ret_meta = record.meta;
	}
	mdb_txn_abort(store->txn);
	store->txn = NULL;
	return rc;
}

enum ls_class ls_store_open(const char *state_dir, const char *destination, const char *entity, int32_t partition,
			    struct ls_store **ret, struct ls_store_meta *ret_meta, struct ls_error *err)
{
	struct ls_store *store = calloc(1, sizeof *store);
	struct ls_store_meta meta = { 0 };
	enum ls_class class;
	int rc;

	if (!store)
		abort();
	snprintf(store->path, sizeof store->path, "%s/%s/%s/%d", state_dir, destination, entity, partition);
	read_boot_id(store->boot_id);
	class = make_directories(store, err);
	if (class) {
		free(store);
		return class;
	}
	rc = open_checked(store, &meta);
	if (rc == MDB_VERSION_MISMATCH || rc == MDB_INVALID || rc == MDB_CORRUPTED) {
		mdb_env_close(store->env);
		store->env = NULL;
		remove_files(store);
		meta = (struct ls_store_meta){ 0 };
		rc = open_checked(store, &meta);
	}
	if (rc) {
		class = store_fail(store, rc, "could not open", err);
		ls_store_close(store);
		return class;
	}
	*ret = store;
	*ret_meta = meta;
	return LS_OK;
}

struct ls_store *ls_store_close(struct ls_store *store)
{
	if (!store)
		return NULL;
	if (store->txn)
		mdb_txn_abort(store->txn);
	if (store->env)
		mdb_env_close(store->env);
	free(store);
	return NULL;
}

/* ---- reading and writing ---- */

static enum ls_class begin(struct ls_store *store, unsigned flags, struct ls_error *err)
{
	int rc = mdb_txn_begin(store->env, NULL, flags, &store->txn);

	if (rc == MDB_MAP_RESIZED) { /* another process made it larger */
		rc = mdb_env_set_mapsize(store->env, 0);
		if (!rc)
			rc = mdb_txn_begin(store->env, NULL, flags, &store->txn);
	}
	return rc ? store_fail(store, rc, "could not begin", err) : LS_OK;
}

enum ls_class ls_store_read_begin(struct ls_store *store, struct ls_error *err)
{
	return begin(store, MDB_RDONLY, err);
}

void ls_store_read_end(struct ls_store *store)
{
	if (store->txn)
		mdb_txn_abort(store->txn);
	store->txn = NULL;
}

enum ls_class ls_store_get(struct ls_store *store, struct ls_str entity_id, struct ls_arena *arena,
			   struct ls_state *ret, struct ls_error *err)
{
	MDB_val key = { entity_id.len, (void *)(uintptr_t)entity_id.ptr }, value;
	int rc = mdb_get(store->txn, store->dbi, &key, &value);

	ret->exists = false;
	ret->deleted = false;
	ret->seen_count = 0;
	ret->stamp = (struct ls_stamp){ 0 };
	if (rc == MDB_NOTFOUND)
		return LS_OK;
	if (rc)
		return store_fail(store, rc, "could not read", err);
	if (!ls_store_unpack((struct ls_str){ value.mv_data, value.mv_size }, arena, ret))
		return ls_fail(err, LS_FATAL, "state_dir",
			       "version state in %s is damaged; stop lockstep, delete that "
			       "directory and start again: it is restored from the versions topic",
			       store->path);
	return LS_OK;
}

enum ls_class ls_store_write_begin(struct ls_store *store, int64_t owner_epoch, struct ls_error *err)
{
	struct meta_record record;
	enum ls_class class = begin(store, 0, err);

	if (class)
		return class;
	if (!read_meta(store, &record) || record.meta.owner_epoch <= owner_epoch)
		return LS_OK;
	ls_store_abort(store);
	return ls_fail(err, LS_FENCED, "owner_epoch",
		       "version state in %s: owner epoch %lld has written here, this "
		       "sink has %lld: the partition has another owner now",
		       store->path, (long long)record.meta.owner_epoch, (long long)owner_epoch);
}

enum ls_class ls_store_put(struct ls_store *store, struct ls_str entity_id, const struct ls_state *state,
			   struct ls_error *err)
{
	char record[MAX_RECORD];
	size_t len = ls_store_pack(state, record, sizeof record);
	MDB_val key = { entity_id.len, (void *)(uintptr_t)entity_id.ptr }, value = { len, record };
	int rc;

	if (!len)
		return ls_fail(err, LS_FATAL, "state", "version state of \"%.*s\" is larger than %d bytes",
			       LS_ARG(entity_id), MAX_RECORD);
	rc = mdb_put(store->txn, store->dbi, &key, &value, 0);
	return rc ? store_fail(store, rc, "could not write", err) : LS_OK;
}

enum ls_class ls_store_commit(struct ls_store *store, const struct ls_store_meta *meta, struct ls_error *err)
{
	struct meta_record record = { .meta = *meta };
	MDB_val key = { sizeof meta_key - 1, (void *)(uintptr_t)meta_key }, value = { sizeof record, &record };
	int rc;

	LS_FAILPOINT("sink.store");
	memcpy(record.boot_id, store->boot_id, BOOT_ID);
	rc = mdb_put(store->txn, store->dbi, &key, &value, 0);
	if (rc) {
		ls_store_abort(store);
		return store_fail(store, rc, "could not write", err);
	}
	rc = mdb_txn_commit(store->txn);
	store->txn = NULL;
	return rc ? store_fail(store, rc, "could not commit", err) : LS_OK;
}

void ls_store_abort(struct ls_store *store)
{
	ls_store_read_end(store);
}
