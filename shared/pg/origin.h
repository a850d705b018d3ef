/* The replication origin that a sink writes under, by which capture on the same database knows its writes again. */
#pragma once

#include "lockstep/str.h"

enum { LS_PG_ORIGIN = 512 };

/* ls_pg_origin_name names the number-th session of a destination: "lockstep:{destination}:{number}"; 0: what all of
 * them begin with. A name can hold no colon, so no two destinations share an origin, whatever they are called. The
 * server has room for few origins and keeps those of dead sessions: what changes from run to run has no place in it. */
const char *ls_pg_origin_name(const char *destination, int number, char out[LS_PG_ORIGIN]);

/* ls_pg_origin_is tells whether `origin` belongs to that destination. */
bool ls_pg_origin_is(struct ls_str origin, const char *destination);
