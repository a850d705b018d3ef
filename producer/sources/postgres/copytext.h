/* One line of COPY TO STDOUT in text format, taken apart. Pure. */
#pragma once

#include "sources/postgres/protocol.h"

/* pgsrc_copy_line splits a line at its tabs and resolves the escapes where it stands: cells point into it.
 * false: it has not exactly `count` columns. */
bool pgsrc_copy_line(char *line, size_t len, struct pgout_cell *cell, size_t count);
