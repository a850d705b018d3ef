/* Before anything is read: the server, the tables, the publication. Slots and where to begin are in begin.c. */
#include "sources/postgres/source.h"

#include "core/arena.h"
#include "core/failpoint.h"

#include <stdio.h>
#include <stdlib.h>

enum ls_class pgsrc_server(struct pgsrc *src, struct ls_error *err)
{
	LS_PGRESULT res = NULL;
	enum ls_class class = ls_pg_exec(
		src->side, "SELECT pg_catalog.current_setting('wal_level'), pg_catalog.pg_is_in_recovery()", &res, err);

	if (class)
		return class;
	src->server_version = PQserverVersion(src->side);
	src->standby = PQgetvalue(res, 0, 1)[0] == 't';
	if (src->server_version < 140000)
		return ls_fail(err, LS_FATAL, "version", "PostgreSQL %d.%d is too old: 14 to 18 are supported",
			       src->server_version / 10000, src->server_version % 10000);
	if (strcmp(PQgetvalue(res, 0, 0), "logical") != 0)
		return ls_fail(err, LS_FATAL, "wal_level",
			       "wal_level is %s: run ALTER SYSTEM SET wal_level = logical; and restart PostgreSQL",
			       PQgetvalue(res, 0, 0));
	if (src->standby && src->server_version < 160000)
		return ls_fail(err, LS_FATAL, "version",
			       "the server is a standby, which can be captured from PostgreSQL 16 on: use the primary");
	return LS_OK;
}

static const char table_sql[] =
	"SELECT c.oid, c.relkind, greatest(0, CASE WHEN c.relkind = 'p' THEN (SELECT pg_catalog.sum(l.reltuples) FROM"
	" pg_catalog.pg_partition_tree(c.oid) t JOIN pg_catalog.pg_class l ON l.oid = t.relid WHERE t.isleaf)"
	" ELSE c.reltuples END)::bigint, c.relpersistence"
	" FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	" WHERE n.nspname = $1 AND c.relname = $2";

static enum ls_class find_table(struct pgsrc *src, const struct ls_mapping *mapping, struct pgsrc_table *table,
				struct ls_error *err)
{
	LS_PGRESULT res = NULL;
	char schema[64], name[64];
	const char *value[2] = { schema, name };
	enum ls_class class = ls_pg_split_table(mapping->place, schema, name, err);

	if (!class)
		class = ls_pg_params(src->side, table_sql, 2, value, &res, err);
	if (class)
		return class;
	pgsrc_label(ls_str_of(schema), ls_str_of(name), table->label);
	if (PQntuples(res) == 0)
		return ls_fail(err, LS_FATAL, "42P01", "table %s of entity \"%s\" does not exist in database \"%s\"",
			       table->label, mapping->entity, PQdb(src->side));
	table->kind = PQgetvalue(res, 0, 1)[0];
	if ((table->kind != 'r' && table->kind != 'p') || PQgetvalue(res, 0, 3)[0] != 'p')
		return ls_fail(
			err, LS_FATAL, "42809",
			"%s of entity \"%s\" is not an ordinary or partitioned table whose changes are logged: views, "
			"foreign, temporary and unlogged tables cannot be captured",
			table->label, mapping->entity);
	table->oid = (uint32_t)strtoul(PQgetvalue(res, 0, 0), NULL, 10);
	table->rows = strtod(PQgetvalue(res, 0, 2), NULL);
	table->schema = ls_arena_str(src->memory, ls_str_of(schema));
	table->name = ls_arena_str(src->memory, ls_str_of(name));
	return LS_OK;
}

static bool known_table(const struct pgsrc *src, uint32_t oid)
{
	for (size_t i = 0; i < src->table_count; i++)
		if (src->table[i].oid == oid)
			return true;
	return false;
}

enum ls_class pgsrc_tables(struct pgsrc *src, struct ls_error *err)
{
	size_t n = src->context.mapping_count;

	src->table = ls_arena_zalloc(src->memory, (n + 1) * sizeof(*src->table));
	for (size_t i = 0; i < n; i++) {
		struct pgsrc_table *table = &src->table[src->table_count];
		struct pgsrc_relation *relation;
		enum ls_class class = find_table(src, &src->context.mapping[i], table, err);

		if (!class && known_table(src, table->oid))
			continue;
		if (!class)
			class = pgsrc_relation_catalog(&src->relations, src->side, table->oid, src->message, &relation,
						       err);
		if (class)
			return class;
		src->table_count++;
	}
	if (!src->table_count)
		return ls_fail(err, LS_FATAL, "config",
			       "no tables are configured: add `tables: [{table: ..., entity: ...}]`");
	return LS_OK;
}

/* ---- the publication ---- */

/* add_list adds the configured tables, and our ledger's sync_offsets where this is one side of a two-way route. */
static void add_list(const struct pgsrc *src, bool ledger, struct ls_buf *sql)
{
	for (size_t i = 0; i < src->table_count; i++) {
		ls_buf_add_text(sql, i ? ", " : "");
		/* ONLY keeps children of plain inheritance out; of a partitioned table there is no ONLY. */
		ls_buf_add_text(sql, src->table[i].kind == 'r' ? "ONLY " : "");
		pgsrc_add_table(sql, src->table[i].schema, src->table[i].name);
	}
	if (ledger) {
		ls_buf_add_text(sql, ", ");
		pgsrc_add_table(sql, ls_str_of(src->context.ledger_schema), LS_STR("sync_offsets"));
	}
}

static enum ls_class ledger_there(const struct pgsrc *src, bool *ret, struct ls_error *err)
{
	const char *value[1] = { src->context.ledger_schema };
	LS_PGRESULT res = NULL;
	enum ls_class class;

	*ret = false;
	if (!src->context.is_destination)
		return LS_OK;
	class = ls_pg_params(
		src->side,
		"SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
		"WHERE n.nspname = $1 AND c.relname = 'sync_offsets'",
		1, value, &res, err);
	*ret = !class && PQntuples(res) > 0;
	return class;
}

static enum ls_class create_publication(struct pgsrc *src, bool ledger, struct ls_error *err)
{
	struct ls_buf sql;
	enum ls_class class;

	ls_buf_init(&sql, 1 << 20);
	ls_buf_add_text(&sql, "CREATE PUBLICATION ");
	ls_pg_add_ident(&sql, ls_str_of(src->publication));
	ls_buf_add_text(&sql, " FOR TABLE ");
	add_list(src, ledger, &sql);
	ls_buf_add_text(&sql, " WITH (publish_via_partition_root = true)");
	class = ls_pg_exec(src->side, sql.ptr, NULL, err);
	ls_buf_release(&sql);
	if (class)
		return ls_fail_in(err, "could not create publication \"%s\" (its owner must own the tables)",
				  src->publication);
	LS_FAILPOINT_ERROR("postgres.publication_made", err);
	return LS_OK;
}

static enum ls_class set_publication(struct pgsrc *src, bool ledger, struct ls_error *err)
{
	struct ls_buf sql;
	enum ls_class class;

	ls_buf_init(&sql, 1 << 20);
	ls_buf_add_text(&sql, "ALTER PUBLICATION ");
	ls_pg_add_ident(&sql, ls_str_of(src->publication));
	ls_buf_add_text(&sql, " SET TABLE ");
	add_list(src, ledger, &sql);
	ls_buf_add_text(&sql, "; ALTER PUBLICATION ");
	ls_pg_add_ident(&sql, ls_str_of(src->publication));
	ls_buf_add_text(&sql, " SET (publish_via_partition_root = true, publish = 'insert, update, delete, truncate')");
	class = ls_pg_exec(src->side, sql.ptr, NULL, err);
	ls_buf_release(&sql);
	return class ? ls_fail_in(err, "could not change publication \"%s\" to the configured tables", src->publication)
		     : LS_OK;
}

/* How many tables the publication names, how many of the wanted are among what it publishes, and its settings. */
static const char publication_sql[] =
	"SELECT p.puballtables, p.pubviaroot AND p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate,"
	" (SELECT count(*) FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid),"
	" (SELECT count(*) FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = ANY"
	" ($2::text[]::oid[])),"
	" (SELECT count(*) FROM pg_catalog.pg_publication_tables t JOIN pg_catalog.pg_namespace n ON n.nspname ="
	" t.schemaname JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename WHERE "
	"t.pubname ="
	" p.pubname AND c.oid = ANY ($2::text[]::oid[]))"
	" FROM pg_catalog.pg_publication p WHERE p.pubname = $1";

static enum ls_class ask_publication(struct pgsrc *src, PGresult **ret, struct ls_error *err)
{
	struct ls_buf oids;
	const char *value[2] = { src->publication, NULL };
	enum ls_class class;

	ls_buf_init(&oids, 1 << 20);
	ls_buf_add_char(&oids, '{');
	for (size_t i = 0; i < src->table_count; i++)
		ls_buf_printf(&oids, "%s%u", i ? "," : "", (unsigned int)src->table[i].oid);
	ls_buf_add_char(&oids, '}');
	value[1] = oids.ptr;
	class = ls_pg_params(src->side, publication_sql, 2, value, ret, err);
	ls_buf_release(&oids);
	return class;
}

static enum ls_class check_publication(struct pgsrc *src, const PGresult *res, bool ledger, struct ls_error *err)
{
	bool all = PQgetvalue(res, 0, 0)[0] == 't', settings = PQgetvalue(res, 0, 1)[0] == 't';
	size_t named = strtoul(PQgetvalue(res, 0, 2), NULL, 10);
	size_t wanted_named = strtoul(PQgetvalue(res, 0, 3), NULL, 10);
	size_t wanted_published = strtoul(PQgetvalue(res, 0, 4), NULL, 10);
	bool ours = !src->options.publication || !*src->options.publication;

	if (settings && named == src->table_count + ledger && wanted_named == src->table_count)
		return LS_OK;
	if (ours && !all)
		return set_publication(src, ledger, err);
	/* One that somebody made for us is theirs to change. */
	if (settings && wanted_published == src->table_count)
		return LS_OK;
	return ls_fail(err, LS_FATAL, "publication",
		       "publication \"%s\" publishes %zu of the %zu configured tables%s: mend it with ALTER "
		       "PUBLICATION, or leave "
		       "out the option `publication` so that lockstep keeps one of its own",
		       src->publication, wanted_published, src->table_count,
		       settings ? "" : ", or not all kinds of change with publish_via_partition_root");
}

enum ls_class pgsrc_publication(struct pgsrc *src, struct ls_error *err)
{
	LS_PGRESULT res = NULL;
	bool ledger = false;
	enum ls_class class;

	LS_FAILPOINT_ERROR("postgres.publication", err);
	class = ledger_there(src, &ledger, err);
	src->ledger = ledger;
	if (!class)
		class = ask_publication(src, &res, err);
	if (class)
		return class;
	if (PQntuples(res) == 0)
		return src->standby
			       ? ls_fail(err, LS_FATAL, "publication",
					 "publication \"%s\" does not exist, and a standby cannot create it: create it "
					 "on the primary",
					 src->publication)
			       : create_publication(src, ledger, err);
	return check_publication(src, res, ledger, err);
}
