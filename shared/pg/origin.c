/* Names of replication origins: see origin.h. */
#include "pg/origin.h"

#include <stdio.h>

static size_t head(const char *destination, char out[LS_PG_ORIGIN])
{
	int len = snprintf(out, LS_PG_ORIGIN, "lockstep:%.200s:", destination);

	return len < LS_PG_ORIGIN ? (size_t)len : LS_PG_ORIGIN - 1;
}

const char *ls_pg_origin_name(const char *destination, int number, char out[LS_PG_ORIGIN])
{
	size_t len = head(destination, out);

	if (number > 0)
		(void)snprintf(out + len, LS_PG_ORIGIN - len, "%d", number);
	return out;
}

bool ls_pg_origin_is(struct ls_str origin, const char *destination)
{
	char name[LS_PG_ORIGIN];
	size_t len = head(destination, name);

	if (origin.len <= len || memcmp(origin.ptr, name, len) != 0)
		return false;
	for (size_t i = len; i < origin.len; i++)
		if (origin.ptr[i] < '0' || origin.ptr[i] > '9')
			return false;
	return true;
}
