/* Key ranges of a table that is being read: found one after another in the order of a unique index, read by several
 * sessions at once, and counted as read only from the lowest on without a gap. */
#pragma once

#include "sources/postgres/source.h"

struct pgsrc_chunk {
	json_t *above, *upto; /* owned: key texts; NULL: from the first, to the last */
	bool complete;
	struct pgsrc_chunk *next;
};

/* One table and its chunks. */
struct pgsrc_walk {
	const struct pgsrc_table *table;
	const struct pgsrc_relation *relation;
	struct ls_str *key; /* columns of the index; arena of the source */
	size_t key_count;   /* 0: no index fits, the table is one chunk */
	json_t *found_upto; /* owned: where the next chunk begins */
	bool all_found;     /* the last chunk has no upper end */
	bool seeking;       /* a session looks for the next end */
	struct pgsrc_chunk *first, *last;
	bool done;
};

/* pgsrc_walk_open finds the index and takes up where `progress` (true, false, key texts, NULL) stands. */
enum ls_class pgsrc_walk_open(struct pgsrc *src, PGconn *conn, const struct pgsrc_table *table, const json_t *progress,
			      struct pgsrc_walk *walk, struct ls_error *err);
void pgsrc_walk_release(struct pgsrc_walk *walk);

/* pgsrc_walk_seek_sql: the question for the last key of the next chunk. */
void pgsrc_walk_seek_sql(const struct pgsrc_walk *walk, int64_t rows, struct ls_buf *sql);
/* pgsrc_walk_add makes the next chunk; res is the answer (no row: it goes to the end), NULL: the whole table. */
struct pgsrc_chunk *pgsrc_walk_add(struct pgsrc_walk *walk, const PGresult *res);
void pgsrc_walk_copy_sql(const struct pgsrc_walk *walk, const struct pgsrc_chunk *chunk, struct ls_buf *sql);

/* pgsrc_walk_settle drops the complete chunks at the low end and counts them up in *settled. Returns how far the table
 * is now (true, or key texts; the caller's), or NULL when nothing moved. */
json_t *pgsrc_walk_settle(struct pgsrc_walk *walk, size_t *settled);
