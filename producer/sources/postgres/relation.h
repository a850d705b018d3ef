/* What a table looks like, and which entities are made from it. */
#pragma once

#include "lockstep/mapping.h"
#include "pg/conn.h"
#include "sources/postgres/options.h"
#include "sources/postgres/protocol.h"

struct ls_arena;

struct pgsrc_column {
	struct ls_str name;
	uint32_t type;
	int32_t typmod;
	bool identity; /* part of the replica identity: true in an old row of kind K */
};

/* One entity made from a table. */
struct pgsrc_view {
	const struct ls_mapping *mapping;
	size_t ordinal; /* the how manieth entity of this table; above 0 the event ids name the entity */
	const struct ls_schema *schema;
	uint16_t *from; /* schema->column[i] is the table's column from[i] */
	uint16_t *key;  /* places of the key columns in the schema, in the schema's order */
	size_t key_count;
};

struct pgsrc_relation {
	uint32_t oid;
	struct ls_str schema, table;
	char label[PGSRC_LABEL]; /* schema.table as people write it */
	char identity;           /* d n f i */
	bool ledger;             /* sync_offsets of lockstep's own ledger */
	const struct pgsrc_column *column;
	size_t column_count;
	struct pgsrc_view *view;
	size_t view_count; /* 0: nothing is made from it */
	struct pgsrc_relation *next;
};

/* All tables seen in this session. Everything it makes lives as long as `memory`: batches may point at it. */
struct pgsrc_relations {
	struct ls_arena *memory;
	const char *ledger_schema;
	const struct ls_mapping *mapping;
	size_t mapping_count;
	struct pgsrc_relation *first, *last_found;
};

/* pgsrc_relation_find returns the newest form of a table, or NULL. */
struct pgsrc_relation *pgsrc_relation_find(struct pgsrc_relations *relations, uint32_t oid);

/* pgsrc_relation_learn takes a Relation message in. Nothing changed: the known form stays, pointers and all. Else the
 * types are looked up on `conn` and a new form is made; the old one stays as it was.
 * LS_FATAL: a key column of an entity is gone. */
enum ls_class pgsrc_relation_learn(struct pgsrc_relations *relations, PGconn *conn, const struct pgout_message *message,
				   struct pgsrc_relation **ret, struct ls_error *err);

/* pgsrc_relation_catalog learns a table as the catalog shows it now. Generated columns are left out: before
 * PostgreSQL 18 the log does not carry them. LS_FATAL: no such table. */
enum ls_class pgsrc_relation_catalog(struct pgsrc_relations *relations, PGconn *conn, uint32_t oid,
				     struct pgout_message *scratch, struct pgsrc_relation **ret, struct ls_error *err);

/* pgsrc_label writes schema.table as people write it: names that need quotes get them. */
void pgsrc_label(struct ls_str schema, struct ls_str table, char out[PGSRC_LABEL]);

/* pgsrc_add_table adds "schema"."table". */
void pgsrc_add_table(struct ls_buf *sql, struct ls_str schema, struct ls_str table);
