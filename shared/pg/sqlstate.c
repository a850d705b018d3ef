/* SQLSTATE to class: the one table. Whole codes stand before their class of two characters. */
#include "pg/conn.h"

#include <string.h>

static const struct {
	char prefix[6];
	enum ls_class class;
} sqlstates[] = {
	{ "42501", LS_AUTH },   /* insufficient_privilege */
	{ "40001", LS_RETRY },  /* serialization_failure */
	{ "40P01", LS_RETRY },  /* deadlock_detected */
	{ "55P03", LS_RETRY },  /* lock_not_available */
	{ "55006", LS_FENCED }, /* object_in_use: the slot or the origin is active elsewhere */
	{ "57014", LS_RETRY },  /* query_canceled: statement_timeout */
	{ "25006", LS_RETRY },  /* read_only_sql_transaction: the primary has moved */
	{ "25P03", LS_RETRY },  /* idle_in_transaction_session_timeout */
	{ "LS001", LS_FENCED }, /* raised by our own function: the mark was not as expected */
	{ "57P", LS_RETRY },    /* shutting down, starting up, terminated by an administrator */
	{ "08", LS_RETRY },     /* connection */
	{ "53", LS_RETRY },     /* too many connections, disk full, out of memory */
	{ "22", LS_POISON },    /* data exception */
	{ "23", LS_POISON },    /* constraint; the caller retries 23503 while the parent may still be on its way */
	{ "54", LS_POISON },    /* program limit: the row is too big */
	{ "28", LS_AUTH },      { "42", LS_FATAL },
};

enum ls_class ls_pg_class(const char *sqlstate)
{
	if (!sqlstate || !*sqlstate)
		return LS_RETRY;
	for (size_t i = 0; i < sizeof(sqlstates) / sizeof(sqlstates[0]); i++)
		if (strncmp(sqlstate, sqlstates[i].prefix, strlen(sqlstates[i].prefix)) == 0)
			return sqlstates[i].class;
	return LS_FATAL;
}

enum ls_class ls_pg_connect_class(const char *sqlstate)
{
	/* It exists and takes no connections for now: an operator holds them off while restoring or moving it. */
	if (sqlstate && strcmp(sqlstate, "55000") == 0)
		return LS_RETRY;
	return ls_pg_class(sqlstate);
}
