/* The session of a PostgreSQL destination: made ready on first use, settled after errors, reopened after losses. */
#include "destinations/postgres/internal.h"

#include "core/failpoint.h"
#include "core/mutant.h"
#include "core/time.h"
#include "pg/origin.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

enum {
	SQL_MAX_BYTES = 64 * 1024 * 1024,
	ROW_MAX_BYTES = 512 * 1024 * 1024,
	ORIGINS_MAX = 32,
	ANSWER_GRACE_MS = 30000, /* beyond the server's own statement_timeout */
};

struct ls_pgd *ls_pgd_new(const struct ls_pgd_options *options, const struct ls_destination_context *context)
{
	struct ls_pgd *dst = calloc(1, sizeof(*dst));

	if (!dst)
		abort();
	dst->options = options;
	dst->context = context;
	ls_buf_init(&dst->sql, SQL_MAX_BYTES);
	ls_buf_init(&dst->body, SQL_MAX_BYTES);
	ls_buf_init(&dst->row, ROW_MAX_BYTES);
	return dst;
}

struct ls_pgd *ls_pgd_free(struct ls_pgd *dst)
{
	if (!dst)
		return NULL;
	ls_pgd_forget(dst);
	ls_pgd_guard_free(dst);
	dst->conn = ls_pg_close(dst->conn);
	ls_buf_release(&dst->sql);
	ls_buf_release(&dst->body);
	ls_buf_release(&dst->row);
	free(dst);
	return NULL;
}

static enum ls_class no_origin(const struct ls_pgd *dst, struct ls_error *err)
{
	char text[sizeof(err->text)];

	memcpy(text, err->text, sizeof(text));
	return ls_fail(
		err, err->class == LS_FENCED ? LS_RETRY : err->class, "origin",
		"destination \"%s\" is a source too, and capture would send its writes back as local edits, because "
		"they cannot be marked with a replication origin; grant EXECUTE on the pg_replication_origin "
		"functions, drop origins that nobody uses (pg_replication_origin_status) or raise "
		"max_replication_slots: %s",
		dst->context->name, text);
}

/* take_origin marks this session's writes as ours, so that capture on the same database can leave them out. Before
 * PostgreSQL 16 a session needs an origin for itself, hence the numbers. A role that may not do so goes on without
 * where nothing is captured. */
static enum ls_class take_origin(struct ls_pgd *dst, struct ls_error *err)
{
	char name[LS_PG_ORIGIN];
	enum ls_class class = LS_FENCED;

	dst->origin = false;
	for (int i = 1; i <= ORIGINS_MAX && class == LS_FENCED; i++) { /* active in another session: take the next */
		const char *value[1] = { ls_pg_origin_name(dst->context->name, i, name) };

		class = ls_pg_params(dst->conn,
				     "SELECT pg_catalog.pg_replication_origin_create($1) "
				     "WHERE pg_catalog.pg_replication_origin_oid($1) IS NULL",
				     1, value, NULL, err);
		if (class && strncmp(err->code, "23505", 5) != 0)
			break;
		class = ls_pg_params(dst->conn, "SELECT pg_catalog.pg_replication_origin_session_setup($1)", 1, value,
				     NULL, err);
	}
	dst->origin = class == LS_OK;
	return dst->origin || !dst->context->is_source ? LS_OK : no_origin(dst, err);
}

static enum ls_class set_up(struct ls_pgd *dst, PGconn *conn, struct ls_error *err)
{
	static const char *const synchronous[] = { "", "SET synchronous_commit = on;",
						   "SET synchronous_commit = off;" };

	/* search_path stays the role's own: triggers of the target tables may count on it. All names of ours are
	 * qualified, and pg_catalog is searched first. jit never pays for statements of this size. */
	ls_buf_clear(&dst->sql);
	ls_buf_printf(&dst->sql,
		      "SET idle_in_transaction_session_timeout = '30s'; SET statement_timeout = %lld; "
		      "SET lock_timeout = %lld; SET jit = off; %s",
		      (long long)dst->options->statement_timeout_ms, (long long)dst->options->lock_timeout_ms,
		      synchronous[dst->options->synchronous_commit]);
	return ls_pg_exec(conn, dst->sql.ptr, NULL, err);
}

enum ls_class ls_pgd_ready(struct ls_pgd *dst, struct ls_error *err)
{
	PGconn *conn = NULL;
	enum ls_class class;

	if (dst->conn && PQstatus(dst->conn) == CONNECTION_OK)
		return LS_OK;
	dst->conn = ls_pg_close(dst->conn);
	LS_FAILPOINT_ERROR("pg.connect", err);
	class = ls_pg_connect(dst->options->url, dst->context->name, false, &conn, err);
	if (!class)
		class = set_up(dst, conn, err);
	if (class) {
		ls_pg_close(conn);
		return ls_fail_in(err, "destination \"%s\"", dst->context->name);
	}
	dst->conn = conn;
	dst->session++;
	class = dst->takes_origin && !LS_MUTANT("origin.none") ? take_origin(dst, err) : LS_OK;
	if (!class && dst->takes_origin)
		class = ls_pgd_guard_ready(dst, err);
	if (class) {
		dst->conn = ls_pg_close(dst->conn);
		return class;
	}
	if (PQstatus(dst->conn) != CONNECTION_OK)
		return ls_fail(err, LS_RETRY, "08006", "destination \"%s\": connection lost while it was set up",
			       dst->context->name);
	return LS_OK;
}

void ls_pgd_settle(struct ls_pgd *dst)
{
	struct ls_error ignored;
	PGTransactionStatusType state = dst->conn ? PQtransactionStatus(dst->conn) : PQTRANS_IDLE;

	if (state == PQTRANS_INERROR || state == PQTRANS_INTRANS)
		(void)ls_pg_exec(dst->conn, "ROLLBACK", NULL, &ignored);
	if (dst->conn && PQtransactionStatus(dst->conn) != PQTRANS_IDLE)
		dst->conn = ls_pg_close(dst->conn);
}

/* wait_input sends what is left and waits until libpq has a whole result. A server that neither answers nor closes is
 * given up after its own statement_timeout and some grace. */
static bool wait_input(PGconn *conn, int64_t deadline_ms)
{
	int unsent;

	while ((unsent = PQflush(conn)) >= 0 && PQisBusy(conn)) {
		struct pollfd fd = { PQsocket(conn), (short)(unsent ? POLLIN | POLLOUT : POLLIN), 0 };
		int64_t left = deadline_ms - ls_monotonic_ms();

		if (left <= 0 && deadline_ms)
			return false;
		if (poll(&fd, 1, deadline_ms && left < 60000 ? (int)left : 60000) < 0 && errno != EINTR)
			return false;
		if (fd.revents & (POLLIN | POLLHUP | POLLERR) && !PQconsumeInput(conn))
			return true; /* PQgetResult tells the error */
	}
	return true;
}

enum ls_class ls_pgd_next(struct ls_pgd *dst, PGresult **ret, struct ls_error *err)
{
	int64_t timeout_ms = dst->options->statement_timeout_ms;
	int64_t deadline_ms = timeout_ms > 0 ? ls_monotonic_ms() + timeout_ms + ANSWER_GRACE_MS : 0;

	if (!wait_input(dst->conn, deadline_ms)) {
		dst->conn = ls_pg_close(dst->conn);
		return ls_fail(err, LS_RETRY, "timeout",
			       "destination \"%s\": no answer within %lld s; the connection "
			       "was given up",
			       dst->context->name, (long long)(timeout_ms + ANSWER_GRACE_MS) / 1000);
	}
	*ret = PQgetResult(dst->conn);
	return LS_OK;
}
