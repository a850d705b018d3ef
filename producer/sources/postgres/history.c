/* Whose log a position is a place in. After a failover the same number may be another place: the new primary goes on
 * from where it had got to, and what it writes takes the numbers that the old one had used beyond that. Reading on from
 * there would leave changes out and say nothing. */
#include "sources/postgres/source.h"

#include <stdio.h>
#include <stdlib.h>

struct identity {
	char system[24];
	long timeline;
	uint64_t end; /* of its log */
};

static enum ls_class identify(PGconn *repl, struct identity *ret, struct ls_error *err)
{
	LS_PGRESULT res = NULL;
	enum ls_class class = ls_pg_exec(repl, "IDENTIFY_SYSTEM", &res, err);

	if (class)
		return class;
	if (PQntuples(res) != 1 || PQnfields(res) < 3 || !pgout_lsn_parse(ls_str_of(PQgetvalue(res, 0, 2)), &ret->end))
		return ls_fail(err, LS_FATAL, "08P01", "the server's answer to IDENTIFY_SYSTEM is not understood");
	(void)snprintf(ret->system, sizeof(ret->system), "%s", PQgetvalue(res, 0, 0));
	ret->timeline = strtol(PQgetvalue(res, 0, 1), NULL, 10);
	return LS_OK;
}

/* find_end looks for "1\t0/3000148\treason" in a timeline's history: where timeline 1 ended. */
static bool find_end(const char *history, size_t len, long timeline, uint64_t *ret)
{
	const char *end = history + len;

	while (history < end) {
		const char *line_end = memchr(history, '\n', (size_t)(end - history));
		char line[64], *tab;
		size_t n;

		line_end = line_end ? line_end : end;
		n = (size_t)(line_end - history) < sizeof(line) - 1 ? (size_t)(line_end - history) : sizeof(line) - 1;
		memcpy(line, history, n);
		line[n] = 0;
		history = line_end + 1;
		if (strtol(line, &tab, 10) != timeline || *tab != '\t')
			continue;
		tab[1 + strcspn(tab + 1, "\t")] = 0;
		return pgout_lsn_parse(ls_str_of(tab + 1), ret);
	}
	return false;
}

/* ended: where the saved timeline ended in the server's history; UINT64_MAX: it is not part of it. */
static enum ls_class ended(PGconn *repl, long saved, long now, uint64_t *ret, struct ls_error *err)
{
	LS_PGRESULT res = NULL;
	char sql[64];
	enum ls_class class;

	(void)snprintf(sql, sizeof(sql), "TIMELINE_HISTORY %ld", now);
	class = ls_pg_exec(repl, sql, &res, err);
	if (class)
		return ls_fail_in(err, "could not read the history of timeline %ld", now);
	if (PQntuples(res) != 1 || PQnfields(res) < 2 ||
	    !find_end(PQgetvalue(res, 0, 1), (size_t)PQgetlength(res, 0, 1), saved, ret))
		*ret = UINT64_MAX;
	return LS_OK;
}

static enum ls_class compare(const struct pgsrc *src, PGconn *repl, const struct identity *now, const char *system,
			     long timeline, struct ls_error *err)
{
	char ours[PGOUT_LSN], theirs[PGOUT_LSN];
	uint64_t end = 0;
	enum ls_class class;

	(void)pgout_lsn_print(src->position.lsn, ours);
	if (strcmp(system, now->system) != 0)
		return ls_fail(err, LS_FATAL, "history",
			       "the server is another one: the saved position %s is of system %s, and this is %s", ours,
			       system, now->system);
	if (timeline == now->timeline && (src->position.lsn <= now->end || src->standby))
		return LS_OK;
	if (timeline >= now->timeline)
		return ls_fail(err, LS_FATAL, "history",
			       "the server has lost what was published already: up to %s on timeline %ld, and its log "
			       "ends at %s on timeline %ld. It was restored from a backup, or is an old primary",
			       ours, timeline, pgout_lsn_print(now->end, theirs), now->timeline);
	class = ended(repl, timeline, now->timeline, &end, err);
	if (class || src->position.lsn <= end)
		return class ? class
		       : end == UINT64_MAX
			       ? ls_fail(err, LS_FATAL, "history",
					 "the server's timeline %ld does not come from timeline %ld, which was "
					 "published up to %s",
					 now->timeline, timeline, ours)
			       : LS_OK;
	return ls_fail(err, LS_FATAL, "history",
		       "a standby took over that was behind: it went on from %s, and timeline %ld was published up to "
		       "%s. What it lost is published, and what it wrote in that place is not; "
		       "synchronized_standby_slots on the primary prevents it",
		       pgout_lsn_print(end, theirs), timeline, ours);
}

enum ls_class pgsrc_history_check(struct pgsrc *src, PGconn *repl, struct ls_error *err)
{
	const char *system = json_string_value(json_object_get(src->position.log, "system"));
	long timeline = (long)json_integer_value(json_object_get(src->position.log, "timeline"));
	struct identity now = { .timeline = 0 };
	enum ls_class class = identify(repl, &now, err);

	if (!class && system && timeline && src->position.lsn)
		class = compare(src, repl, &now, system, timeline, err);
	if (class)
		return class;
	pgsrc_position_log(&src->position, "system", json_string(now.system));
	pgsrc_position_log(&src->position, "timeline", json_integer(now.timeline));
	return LS_OK;
}
