/* The replication origin that a sink writes under, by which capture on the same database knows its writes again. */
#pragma once

#include "lockstep/str.h"

enum { LS_PG_ORIGIN = 512 };

/* ls_pg_origin_name names the number-th session of a destination: "lockstep:{prefix}:{destination}:{number}". Neither
 * name can hold a colon, so no two destinations share an origin, whatever they are called. */
const char *ls_pg_origin_name(const char *prefix, const char *destination, int number, char out[LS_PG_ORIGIN]);

/* ls_pg_origin_is tells whether `origin` belongs to that destination. */
bool ls_pg_origin_is(struct ls_str origin, const char *prefix, const char *destination);
