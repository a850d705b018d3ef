/* libpq with classes: connecting, running statements, SQLSTATE to class. libpq's types may be seen only by includers
 * of this header: shared/pg and the kinds that speak to PostgreSQL. */
#pragma once

#include "core/buf.h"
#include "lockstep/error.h"
#include "lockstep/str.h"

#include <libpq-fe.h>

/* ls_pg_connect opens a session with application_name "lockstep NAME", TimeZone UTC, DateStyle ISO, bytea_output hex,
 * extra_float_digits 3, IntervalStyle postgres, standard_conforming_strings on, client_encoding UTF8, keepalives and
 * tcp_user_timeout 30 s, connect_timeout 10 s unless the URL says otherwise.
 * replication: a walsender session (replication=database). Errors name the host, port and database, never the
 * password. */
enum ls_class ls_pg_connect(const char *url, const char *name, bool replication, PGconn **ret, struct ls_error *err);
PGconn *ls_pg_close(PGconn *conn); /* NULL ok */

/* ls_pg_exec runs one or more statements; *ret (may be NULL) is the last result, the caller's to PQclear.
 * Errors by pg/sqlstate.c. */
enum ls_class ls_pg_exec(PGconn *conn, const char *sql, PGresult **ret, struct ls_error *err);
enum ls_class ls_pg_params(PGconn *conn, const char *sql, int count, const char *const *value, PGresult **ret,
			   struct ls_error *err);
/* ls_pg_check turns a result (NULL: the connection's error) into a class; LS_OK for TUPLES_OK, COMMAND_OK, COPY_*. */
enum ls_class ls_pg_check(PGconn *conn, const PGresult *res, struct ls_error *err);
enum ls_class
ls_pg_class(const char *sqlstate); /* the table; unknown: LS_FATAL; NULL or "" (no connection): LS_RETRY */
/* ls_pg_connect_class is the same for a connection that was refused: some states pass there, final elsewhere. */
enum ls_class ls_pg_connect_class(const char *sqlstate);

void ls_pgresult_clear(PGresult **res); /* for __attribute__((cleanup)) */
#define LS_PGRESULT __attribute__((cleanup(ls_pgresult_clear))) PGresult *

/* Quoting without a connection. */
void ls_pg_add_ident(struct ls_buf *buf, struct ls_str name);   /* "name" with quotes doubled */
void ls_pg_add_literal(struct ls_buf *buf, struct ls_str text); /* 'text', E'' form when it has a backslash */
/* ls_pg_add_table adds schema-qualified "public"."contacts" from the configuration's spelling: public.contacts,
 * "Odd Schema"."Odd.Table", contacts (schema public). LS_FATAL when it cannot be read so. */
enum ls_class ls_pg_split_table(const char *place, char schema[64], char table[64], struct ls_error *err);

/* ls_pg_type maps a column's type to the neutral kind. type: pg_type.typname of the base type (domains resolved),
 * typtype ('e' enum ...), elem: typname of the array's element or NULL, typmod: atttypmod, native: format_type(). */
#include "lockstep/schema.h"
struct ls_type ls_pg_type(const char *type, char typtype, const char *elem, int typmod, struct ls_str native);
/* ls_pg_type_name writes the SQL type that a neutral type is created as in a destination: native when the destination
 * knows it, else the kind's own (enum and domain: text). */
void ls_pg_type_name(const struct ls_type *type, struct ls_buf *out);
