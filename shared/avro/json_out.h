/* Writing JSON into a buffer. Reading it is jansson's. */
#pragma once

#include "core/buf.h"

/* ls_json_quote adds "text" with what must be escaped escaped. */
void ls_json_quote(struct ls_buf *out, struct ls_str text);
/* ls_json_number: a text that may stand in JSON as a number. */
bool ls_json_number(struct ls_str text);
