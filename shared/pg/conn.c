/* libpq sessions: opening, running statements, and errors that a person can act on. Not for replication messages. */
#include "pg/conn.h"

#include "core/failpoint.h"
#include "core/time.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

static const char session_setup[] = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET bytea_output = 'hex'; "
				    "SET extra_float_digits = 3; SET IntervalStyle = 'postgres'; "
				    "SET standard_conforming_strings = on; SET client_min_messages = warning";

void ls_pgresult_clear(PGresult **res)
{
	PQclear(*res);
	*res = NULL;
}

static void free_options(PQconninfoOption **options)
{
	PQconninfoFree(*options);
}

static const char *option_value(const PQconninfoOption *options, const char *keyword)
{
	for (; options && options->keyword; options++)
		if (strcmp(options->keyword, keyword) == 0)
			return options->val;
	return NULL;
}

/* first_line copies the first line of libpq's message without its "ERROR:  " head. */
static void first_line(const char *message, char *out, size_t size)
{
	size_t len = 0;

	while (message && (*message == '\n' || *message == ' '))
		message++;
	for (; message && message[len] && message[len] != '\n' && len + 1 < size; len++)
		out[len] = message[len];
	while (len && out[len - 1] == ' ')
		len--;
	out[len] = 0;
}

/* where names the server; never more than host, port and database. */
static void where(const PGconn *conn, char *out, size_t size)
{
	const char *host = conn ? PQhost(conn) : NULL, *port = conn ? PQport(conn) : NULL,
		   *db = conn ? PQdb(conn) : NULL;

	(void)snprintf(out, size, "PostgreSQL %s:%s, database \"%s\"", host && *host ? host : "(local socket)",
		       port && *port ? port : "5432", db ? db : "");
}

/* find_sqlstate looks for the ":  28P01: " of a verbose message: libpq gives no result to ask when connecting fails. */
static bool find_sqlstate(const char *message, char code[6])
{
	for (const char *at = message ? strstr(message, ":  ") : NULL; at; at = strstr(at + 1, ":  ")) {
		size_t n = 0;

		while (n < 5 && (isdigit((unsigned char)at[3 + n]) || isupper((unsigned char)at[3 + n])))
			n++;
		if (n == 5 && at[8] == ':' && at[9] == ' ') {
			memcpy(code, at + 3, 5);
			code[5] = 0;
			return true;
		}
	}
	return false;
}

static enum ls_class connect_failed(const PGconn *conn, struct ls_error *err)
{
	char code[6] = "08001", text[320], server[160];
	bool known = find_sqlstate(PQerrorMessage(conn), code);
	enum ls_class class = known ? ls_pg_connect_class(code) : LS_RETRY;

	if (!known && PQconnectionNeedsPassword(conn)) {
		memcpy(code, "28P01", 6);
		class = LS_AUTH;
	}
	first_line(PQerrorMessage(conn), text, sizeof(text));
	where(conn, server, sizeof(server));
	return ls_fail(err, class, code, "could not connect to %s: %s", server, *text ? text : "no answer in time");
}

/* establish drives the connection by hand, so that verbose messages (with their SQLSTATE) can be asked for before the
 * server answers. */
static bool establish(PGconn *conn, int timeout_s)
{
	int64_t deadline = ls_monotonic_ms() + (int64_t)timeout_s * 1000;
	PostgresPollingStatusType step = PGRES_POLLING_WRITING;

	while (step != PGRES_POLLING_OK && step != PGRES_POLLING_FAILED) {
		struct pollfd fd = { PQsocket(conn), step == PGRES_POLLING_READING ? POLLIN : POLLOUT, 0 };
		int64_t left = timeout_s > 0 ? deadline - ls_monotonic_ms() : 60000;
		int ready = left <= 0 ? 0 : poll(&fd, 1, left > 60000 ? 60000 : (int)left);

		if (ready < 0 && errno != EINTR)
			return false;
		if (ready == 0 && timeout_s > 0 && ls_monotonic_ms() >= deadline)
			return false;
		if (ready > 0)
			step = PQconnectPoll(conn);
	}
	return step == PGRES_POLLING_OK;
}

static enum ls_class check_url(const char *url, int *ret_timeout_s, bool *ret_many, struct ls_error *err)
{
	__attribute__((cleanup(free_options))) PQconninfoOption *options = url ? PQconninfoParse(url, NULL) : NULL;
	const char *host = option_value(options, "host"), *timeout = option_value(options, "connect_timeout");
	const char *port = option_value(options, "port");

	/* The parser's own message repeats the URL, password and all; a host with an @ is the rest of a password. */
	if (!options || (host && strchr(host, '@')) || (port && port[strspn(port, "0123456789,")]))
		return ls_fail(
			err, LS_FATAL, "url",
			"cannot read the connection URL (not shown, it may hold a password): "
			"write postgres://user:password@host:5432/database, with : / @ %% in the password written "
			"as %%3A %%2F %%40 %%25");
	*ret_many = host && strchr(host, ',');
	*ret_timeout_s = timeout && *timeout ? (int)strtol(timeout, NULL, 10) : 10;
	return LS_OK;
}

/* start only begins to connect, unless it shall `wait`. at: where the URL has several hosts, only to the one that this
 * connection was at; NULL: to all. */
static PGconn *start(const char *url, const char *name, bool replication, bool wait, const PGconn *at)
{
	char application[64];
	/* What stands before dbname gives way to the URL, what stands behind it does not. */
	const char *const pair[][2] = {
		{ "keepalives", "1" },
		{ "keepalives_idle", "10" },
		{ "keepalives_interval", "5" },
		{ "keepalives_count", "4" },
		{ "tcp_user_timeout", "30000" },
		{ "connect_timeout", "10" },
		{ "dbname", url },
		{ "application_name", application },
		{ "client_encoding", "UTF8" },
		{ "replication", replication ? "database" : NULL },
		{ "host", at ? PQhost(at) : NULL },
		{ "hostaddr", at ? PQhostaddr(at) : NULL },
		{ "port", at ? PQport(at) : NULL },
	};
	enum { PAIRS = sizeof(pair) / sizeof(pair[0]) };
	const char *keyword[PAIRS + 1] = { NULL }, *value[PAIRS + 1] = { NULL };

	for (size_t i = 0, n = 0; i < PAIRS; i++) {
		if (!pair[i][1])
			continue;
		keyword[n] = pair[i][0];
		value[n++] = pair[i][1];
	}
	(void)snprintf(application, sizeof(application), "lockstep %s", name);
	return wait ? PQconnectdbParams(keyword, value, 1) : PQconnectStartParams(keyword, value, 1);
}

static void no_notice(void *arg, const PGresult *res)
{
	(void)arg;
	(void)res;
}

/* try_verbose is what tells the SQLSTATE of a refusal. */
static bool try_verbose(PGconn **ret, const char *url, const char *name, bool replication, int timeout_s,
			const PGconn *at)
{
	PGconn *conn = start(url, name, replication, false, at);

	if (!conn)
		abort(); /* out of memory */
	*ret = conn;
	(void)PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
	(void)PQsetNoticeReceiver(conn, no_notice, NULL);
	return PQstatus(conn) != CONNECTION_BAD && establish(conn, timeout_s);
}

/* try_all lets libpq wait for each of several hosts in turn: only then does it pass over one that is silent. Its
 * refusal has no SQLSTATE, so the host at which it ended is asked once more. */
static bool try_all(PGconn **conn, const char *url, const char *name, bool replication, int timeout_s)
{
	PGconn *all = start(url, name, replication, true, NULL);
	bool good;

	if (!all)
		abort(); /* out of memory */
	PQfinish(*conn);
	*conn = all;
	if (PQstatus(all) == CONNECTION_OK)
		return true;
	good = try_verbose(conn, url, name, replication, timeout_s, all);
	PQfinish(all);
	return good;
}

enum ls_class ls_pg_connect(const char *url, const char *name, bool replication, PGconn **ret, struct ls_error *err)
{
	int timeout_s = 10;
	bool many = false;
	enum ls_class class = check_url(url, &timeout_s, &many, err);
	PGconn *conn = NULL;

	if (class)
		return class;
	LS_FAILPOINT_ERROR("db.connect", err);
	if (!try_verbose(&conn, url, name, replication, timeout_s, NULL) &&
	    !(many && PQstatus(conn) != CONNECTION_BAD && try_all(&conn, url, name, replication, timeout_s))) {
		class = connect_failed(conn, err);
		PQfinish(conn);
		return class;
	}
	(void)PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
	(void)PQsetNoticeReceiver(conn, no_notice, NULL);
	class = ls_pg_exec(conn, session_setup, NULL, err);
	if (class) {
		PQfinish(conn);
		return class;
	}
	*ret = conn;
	LS_FAILPOINT("db.connected");
	return LS_OK;
}

PGconn *ls_pg_close(PGconn *conn)
{
	if (conn)
		PQfinish(conn);
	return NULL;
}

/* value_free takes out what a data exception quotes: row data belongs into no error text. From the first quote to the
 * last, because values hold quotes and line ends of their own. */
static void value_free(const char *message, char *out, size_t size)
{
	const char *first = message ? strchr(message, '"') : NULL, *last = first ? strrchr(message, '"') : NULL;
	char text[320];

	if (!first) {
		first_line(message, out, size);
		return;
	}
	(void)snprintf(text, sizeof(text), "%.*s\"...\"%s", (int)(first - message), message,
		       last > first ? last + 1 : "");
	first_line(text, out, size);
}

/* copy_column finds the column in COPY's context, "COPY stage, line 3, column age: ...". */
static void copy_column(const PGresult *res, char *out, size_t size)
{
	const char *context = PQresultErrorField(res, PG_DIAG_CONTEXT);
	const char *at = context && strncmp(context, "COPY ", 5) == 0 ? strstr(context, ", column ") : NULL;
	size_t len = at ? strcspn(at + 9, ":\n") : 0;

	*out = 0;
	if (len)
		(void)snprintf(out, size, " (column \"%.*s\")", (int)len, at + 9);
}

static void named(const PGresult *res, char *out, size_t size)
{
	const char *constraint = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
	const char *column = PQresultErrorField(res, PG_DIAG_COLUMN_NAME);
	const char *table = PQresultErrorField(res, PG_DIAG_TABLE_NAME);
	const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);
	int n = 0;

	*out = 0;
	if (constraint || column)
		n = snprintf(out, size, " (%s \"%s\"%s%s)", column ? "column" : "constraint",
			     column ? column : constraint, table ? " of table " : "", table ? table : "");
	if (n == 0)
		copy_column(res, out, size);
	if (hint && n >= 0 && (size_t)n + strlen(hint) + 8 < size)
		(void)snprintf(out + n, size - (size_t)n, "; hint: %s", hint);
}

enum ls_class ls_pg_check(PGconn *conn, const PGresult *res, struct ls_error *err)
{
	char text[320], server[160], names[200];
	const char *code;

	switch (res ? PQresultStatus(res) : PGRES_FATAL_ERROR) {
	case PGRES_COMMAND_OK:
	case PGRES_TUPLES_OK:
	case PGRES_SINGLE_TUPLE:
	case PGRES_COPY_IN:
	case PGRES_COPY_OUT:
	case PGRES_COPY_BOTH:
	case PGRES_PIPELINE_SYNC:
	case PGRES_EMPTY_QUERY:
		return LS_OK;
	case PGRES_BAD_RESPONSE:
	case PGRES_NONFATAL_ERROR:
	case PGRES_PIPELINE_ABORTED:
	case PGRES_FATAL_ERROR:
	default: /* libpq may know more than this compiler does */
		break;
	}
	where(conn, server, sizeof(server));
	code = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
	if (!code) {
		first_line(res ? PQresultErrorMessage(res) : PQerrorMessage(conn), text, sizeof(text));
		return ls_fail(err, LS_RETRY, "08006", "%s: connection lost: %s", server, *text ? text : "no message");
	}
	if (strncmp(code, "22", 2) == 0)
		value_free(PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY), text, sizeof(text));
	else
		first_line(PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY), text, sizeof(text));
	named(res, names, sizeof(names));
	return ls_fail(err, ls_pg_class(code), code, "%s: %s%s", server, text, names);
}

static enum ls_class finish(PGconn *conn, PGresult *res, PGresult **ret, struct ls_error *err)
{
	enum ls_class class = ls_pg_check(conn, res, err);

	if (class || !ret)
		PQclear(res);
	else
		*ret = res;
	return class;
}

enum ls_class ls_pg_exec(PGconn *conn, const char *sql, PGresult **ret, struct ls_error *err)
{
	return finish(conn, PQexec(conn, sql), ret, err);
}

enum ls_class ls_pg_params(PGconn *conn, const char *sql, int count, const char *const *value, PGresult **ret,
			   struct ls_error *err)
{
	return finish(conn, PQexecParams(conn, sql, count, NULL, value, NULL, NULL, 0), ret, err);
}
