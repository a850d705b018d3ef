/* Which libpq this process runs on. */
#include "pg/version.h"

#include <libpq-fe.h>
#include <stdio.h>

void ls_pg_library_version(char *out, size_t size)
{
	int version = PQlibVersion();

	snprintf(out, size, "%d.%d", version / 10000, version % 10000);
}
