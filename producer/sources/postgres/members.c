/* Which tables the position was written for: as what publication, as what table, and as what member of it. A table that
 * was dropped and made anew, or was out of the publication for a while, has changes that the log never gave us, though
 * all looks as before; the numbers that the catalog gives each of the three are never used again. */
#include "sources/postgres/source.h"

#include "core/arena.h"

#include <stdio.h>
#include <stdlib.h>

#define MEMBERS                                                                                                        \
	" FROM pg_catalog.unnest($2::text[]::oid[]) WITH ORDINALITY x(rel, n) LEFT JOIN pg_catalog.pg_class c ON "     \
	"c.oid = x.rel"                                                                                                \
	" LEFT JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace LEFT JOIN pg_catalog.pg_publication p"         \
	" ON p.pubname = $1 LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = x.rel"

static const char member_sql[] =
	"SELECT coalesce(p.oid, 0), x.rel || '.' || coalesce(r.oid, 0)" MEMBERS " ORDER BY x.n";

/* One number for all of them, names included: cheap to ask for, and another one when any of them is. */
const char pgsrc_members_sql[] =
	"(SELECT coalesce(pg_catalog.hashtextextended(pg_catalog.string_agg(pg_catalog.concat_ws('.', coalesce(p.oid, "
	"0), x.rel,"
	" coalesce(r.oid, 0), s.nspname, c.relname), ',' ORDER BY x.n), 0), 0)" MEMBERS ")";

static struct ls_str oid_array(const struct pgsrc *src)
{
	struct ls_buf oids;
	struct ls_str text;

	ls_buf_init(&oids, 1 << 20);
	ls_buf_add_char(&oids, '{');
	for (size_t i = 0; i < src->table_count; i++)
		ls_buf_printf(&oids, "%s%u", i ? "," : "", (unsigned int)src->table[i].oid);
	ls_buf_add_char(&oids, '}');
	text = ls_arena_str(src->memory, ls_buf_str(&oids));
	ls_buf_release(&oids);
	return text;
}

static enum ls_class ask_sum(struct pgsrc *src, const char *const value[2], struct ls_error *err)
{
	LS_PGRESULT res = NULL;
	char sql[1200];
	enum ls_class class;

	(void)snprintf(sql, sizeof(sql), "SELECT %s", pgsrc_members_sql);
	class = ls_pg_params(src->side, sql, 2, value, &res, err);
	if (!class)
		src->members_sum = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
	return class;
}

enum ls_class pgsrc_members(struct pgsrc *src, struct ls_error *err)
{
	const char *value[2] = { src->publication, NULL };
	LS_PGRESULT res = NULL;
	enum ls_class class;

	src->members = oid_array(src).ptr;
	value[1] = src->members;
	class = ask_sum(src, value, err);
	if (!class)
		class = ls_pg_params(src->side, member_sql, 2, value, &res, err);
	for (int i = 0; !class && i < PQntuples(res) && (size_t)i < src->table_count; i++) {
		src->publication_oid = (uint32_t)strtoul(PQgetvalue(res, i, 0), NULL, 10);
		(void)snprintf(src->table[i].member, sizeof(src->table[i].member), "%s", PQgetvalue(res, i, 1));
	}
	return class;
}

bool pgsrc_members_other_publication(const struct pgsrc *src)
{
	json_int_t saved = json_integer_value(json_object_get(src->position.log, "publication"));

	return saved && saved != (json_int_t)src->publication_oid;
}

static enum ls_class check_table(const struct pgsrc *src, const struct pgsrc_table *table, struct ls_error *err)
{
	const char *saved = pgsrc_position_member(&src->position, table->label);
	bool same_table = saved && strtoul(saved, NULL, 10) == table->oid;

	if (!saved || strcmp(saved, table->member) == 0)
		return LS_OK;
	return ls_fail(err, LS_FATAL, "table",
		       "table %s %s: changes are missing that the log never gave, and rows deleted meanwhile stay at "
		       "the destinations. Run `lockstep snapshot %s --table %s`, which reads it again",
		       table->label,
		       same_table ? "was taken out of the publication and put back"
				  : "is not the one that was captured, but another of the same name",
		       src->context.name, table->label);
}

static bool is_configured(const struct pgsrc *src, const char *label)
{
	for (size_t i = 0; i < src->table_count; i++)
		if (strcmp(src->table[i].label, label) == 0)
			return true;
	return false;
}

/* What is captured no more is not known any more: when it comes back, it is read anew. */
static void forget_others(struct pgsrc *src)
{
	const char *label;
	json_t *value;
	void *next;

	json_object_foreach_safe(src->position.tables, next, label, value)
	{
		char copy[PGSRC_LABEL];

		if (is_configured(src, label))
			continue;
		(void)snprintf(copy, sizeof(copy), "%s", label);
		pgsrc_position_forget(&src->position, copy);
	}
}

static void note(struct pgsrc *src)
{
	pgsrc_position_log(&src->position, "publication", json_integer((json_int_t)src->publication_oid));
	for (size_t i = 0; i < src->table_count; i++)
		pgsrc_position_set_member(&src->position, src->table[i].label, src->table[i].member);
}

enum ls_class pgsrc_members_check(struct pgsrc *src, struct ls_error *err)
{
	enum ls_class class = LS_OK;

	if (pgsrc_members_other_publication(src))
		return ls_fail(err, LS_FATAL, "publication",
			       "publication \"%s\" was dropped and made anew since: what changed in between is not in "
			       "the log for lockstep. Run `lockstep snapshot %s`, which reads the tables again",
			       src->publication, src->context.name);
	for (size_t i = 0; !class && i < src->table_count; i++)
		class = check_table(src, &src->table[i], err);
	if (class)
		return class;
	forget_others(src);
	note(src);
	return LS_OK;
}
