/* Key ranges and their SQL. */
#include "sources/postgres/chunk.h"

#include "core/arena.h"

#include <stdlib.h>

/* A unique index over exactly the entity's key, with nothing that could be NULL, in any order of its columns: the order
 * that the ranges then follow. */
static const char index_sql[] =
	"SELECT pg_catalog.array_to_json(pg_catalog.array_agg(a.attname ORDER BY k.n))::text FROM pg_catalog.pg_index i"
	" CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)"
	" JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum"
	" WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL"
	" AND k.n <= i.indnkeyatts"
	" GROUP BY i.indexrelid, i.indisprimary HAVING pg_catalog.bool_and(a.attnotnull)"
	" AND pg_catalog.array_agg(a.attname::text ORDER BY a.attname::text COLLATE \"C\") = $2::text[]"
	" ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1";

static int by_bytes(const void *a, const void *b)
{
	return ls_str_compare(*(const struct ls_str *)a, *(const struct ls_str *)b);
}

/* key_columns writes the entity's key columns as a PostgreSQL array, ordered by bytes. */
static void key_columns(const struct pgsrc_relation *relation, struct ls_buf *out)
{
	const struct pgsrc_view *view = &relation->view[0];
	struct ls_str name[64] = { { NULL, 0 } };
	size_t n = view->key_count < 64 ? view->key_count : 64;

	for (size_t i = 0; i < n; i++)
		name[i] = relation->column[view->from[view->key[i]]].name;
	qsort(name, n, sizeof(name[0]), by_bytes);
	ls_buf_add_char(out, '{');
	for (size_t i = 0; i < n; i++) {
		ls_buf_add_text(out, i ? ",\"" : "\"");
		for (size_t c = 0; c < name[i].len; c++) {
			if (name[i].ptr[c] == '"' || name[i].ptr[c] == '\\')
				ls_buf_add_char(out, '\\');
			ls_buf_add_char(out, name[i].ptr[c]);
		}
		ls_buf_add_char(out, '"');
	}
	ls_buf_add_char(out, '}');
}

static enum ls_class find_index(struct pgsrc *src, PGconn *conn, struct pgsrc_walk *walk, struct ls_error *err)
{
	LS_PGRESULT res = NULL;
	struct ls_buf oid, columns;
	const char *value[2];
	enum ls_class class;
	json_t *names, *name;
	size_t i;

	ls_buf_init(&oid, 32);
	ls_buf_init(&columns, 1 << 16);
	ls_buf_printf(&oid, "%u", (unsigned int)walk->table->oid);
	key_columns(walk->relation, &columns);
	value[0] = oid.ptr;
	value[1] = columns.ptr;
	class = ls_pg_params(conn, index_sql, 2, value, &res, err);
	ls_buf_release(&oid);
	ls_buf_release(&columns);
	if (class || PQntuples(res) == 0)
		return class;
	names = json_loads(PQgetvalue(res, 0, 0), 0, NULL);
	walk->key = ls_arena_zalloc(src->memory, (json_array_size(names) + 1) * sizeof(*walk->key));
	json_array_foreach(names, i, name) walk->key[walk->key_count++] =
		ls_arena_str(src->memory, ls_str_of(json_string_value(name)));
	json_decref(names);
	return LS_OK;
}

enum ls_class pgsrc_walk_open(struct pgsrc *src, PGconn *conn, const struct pgsrc_table *table, const json_t *progress,
			      struct pgsrc_walk *walk, struct ls_error *err)
{
	enum ls_class class;

	*walk = (struct pgsrc_walk){ .table = table, .relation = pgsrc_relation_find(&src->relations, table->oid) };
	walk->done = walk->all_found = json_is_true(progress);
	if (walk->done)
		return LS_OK;
	class = find_index(src, conn, walk, err);
	/* Another key than last time, or none: its bounds mean nothing now, so the table is read from the first row. */
	if (!class && json_is_array(progress) && json_array_size(progress) == walk->key_count)
		walk->found_upto = json_deep_copy(progress);
	return class;
}

static struct pgsrc_chunk *free_chunk(struct pgsrc_chunk *chunk)
{
	struct pgsrc_chunk *next = chunk->next;

	json_decref(chunk->above);
	json_decref(chunk->upto);
	free(chunk);
	return next;
}

void pgsrc_walk_release(struct pgsrc_walk *walk)
{
	while (walk->first)
		walk->first = free_chunk(walk->first);
	json_decref(walk->found_upto);
	walk->found_upto = NULL;
}

static void add_keys(const struct pgsrc_walk *walk, const char *suffix, struct ls_buf *sql)
{
	for (size_t i = 0; i < walk->key_count; i++) {
		ls_buf_add_text(sql, i ? ", " : "");
		ls_pg_add_ident(sql, walk->key[i]);
		ls_buf_add_text(sql, suffix);
	}
}

/* add_bound adds ("a", "b") > ('1', 'x'): literals without a type take that of their column. */
static void add_bound(const struct pgsrc_walk *walk, const char *operator, const json_t * bound, struct ls_buf *sql)
{
	size_t i;
	json_t *item;

	ls_buf_add_char(sql, '(');
	add_keys(walk, "", sql);
	ls_buf_printf(sql, ") %s (", operator);
	json_array_foreach(bound, i, item)
	{
		ls_buf_add_text(sql, i ? ", " : "");
		ls_pg_add_literal(sql, (struct ls_str){ json_string_value(item), json_string_length(item) });
	}
	ls_buf_add_char(sql, ')');
}

static void add_from(const struct pgsrc_walk *walk, struct ls_buf *sql)
{
	ls_buf_add_text(sql, walk->table->kind == 'r' ? " FROM ONLY " : " FROM ");
	pgsrc_add_table(sql, walk->table->schema, walk->table->name);
}

void pgsrc_walk_seek_sql(const struct pgsrc_walk *walk, int64_t rows, struct ls_buf *sql)
{
	ls_buf_add_text(sql, "SELECT ");
	/* By a name of its own: ORDER BY would take the text, not the column, and ranges by texts are of any
	 * size. */
	add_keys(walk, "::text AS lockstep_key", sql);
	add_from(walk, sql);
	if (walk->found_upto) {
		ls_buf_add_text(sql, " WHERE ");
		add_bound(walk, ">", walk->found_upto, sql);
	}
	ls_buf_add_text(sql, " ORDER BY ");
	add_keys(walk, "", sql);
	ls_buf_printf(sql, " OFFSET %lld LIMIT 1", (long long)rows - 1);
}

struct pgsrc_chunk *pgsrc_walk_add(struct pgsrc_walk *walk, const PGresult *res)
{
	struct pgsrc_chunk *chunk = calloc(1, sizeof(*chunk));

	if (!chunk)
		abort();
	chunk->above = walk->found_upto;
	walk->found_upto = NULL;
	if (res && PQntuples(res) == 1) {
		chunk->upto = json_array();
		for (int i = 0; i < PQnfields(res); i++)
			if (json_array_append_new(chunk->upto, json_string(PQgetvalue(res, 0, i))))
				abort();
		walk->found_upto = json_incref(chunk->upto);
	} else {
		walk->all_found = true;
	}
	if (walk->last)
		walk->last->next = chunk;
	else
		walk->first = chunk;
	walk->last = chunk;
	return chunk;
}

void pgsrc_walk_copy_sql(const struct pgsrc_walk *walk, const struct pgsrc_chunk *chunk, struct ls_buf *sql)
{
	ls_buf_add_text(sql, "COPY (SELECT ");
	for (size_t i = 0; i < walk->relation->column_count; i++) {
		ls_buf_add_text(sql, i ? ", " : "");
		ls_pg_add_ident(sql, walk->relation->column[i].name);
	}
	add_from(walk, sql);
	if (chunk->above || chunk->upto)
		ls_buf_add_text(sql, " WHERE ");
	if (chunk->above)
		add_bound(walk, ">", chunk->above, sql);
	if (chunk->above && chunk->upto)
		ls_buf_add_text(sql, " AND ");
	if (chunk->upto)
		add_bound(walk, "<=", chunk->upto, sql);
	ls_buf_add_text(sql, ") TO STDOUT");
}

json_t *pgsrc_walk_settle(struct pgsrc_walk *walk, size_t *settled)
{
	json_t *upto = NULL;
	bool moved = false;

	while (walk->first && walk->first->complete) {
		json_decref(upto);
		upto = json_incref(walk->first->upto);
		walk->first = free_chunk(walk->first);
		moved = true;
		(*settled)++;
	}
	if (!walk->first)
		walk->last = NULL;
	if (!moved)
		return NULL;
	walk->done = walk->all_found && !walk->first;
	if (!walk->done)
		return upto;
	json_decref(upto);
	return json_true();
}
