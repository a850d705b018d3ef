/* Which libpq this process runs on. */
#pragma once

#include <stddef.h>

void ls_pg_library_version(char *out, size_t size); /* "15.7" */
