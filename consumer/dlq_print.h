/* Dead letters for people and programs: a table, and JSON. */
#pragma once

#include "dlq.h"

#include <jansson.h>
#include <stdio.h>

/* ls_dead_json is one letter as an object. Keys and reasons may hold any bytes: what is no UTF-8 becomes U+FFFD. */
json_t *ls_dead_json(const struct ls_dead_letter *letter);
/* ls_dead_text is a JSON string of any bytes, with the same rule. */
json_t *ls_dead_text(struct ls_str view);

/* ls_dead_table prints letters under a head, aligned; a row is cut at `columns` characters (0: never). */
void ls_dead_table(const struct ls_dead_letter *const *letter, size_t count, int columns, FILE *out);
