/* Writing JSON into a buffer. Reading it is jansson's. */
#pragma once

#include "core/buf.h"

/* ls_json_quote adds "text" with what must be escaped escaped; bytes that are no UTF-8 become U+FFFD. */
void ls_json_quote(struct ls_buf *out, struct ls_str text);

/* ls_json_add_text is ls_json_quote of a terminated text. */
void ls_json_add_text(struct ls_buf *out, const char *text);

/* ls_json_add_member adds `"name":`, after a comma unless the object was just opened. */
void ls_json_add_member(struct ls_buf *out, const char *name);

/* ls_json_number: a text that may stand in JSON as a number. */
bool ls_json_number(struct ls_str text);
