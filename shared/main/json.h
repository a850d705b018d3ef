/* Small JSON output for the tables of this room. */
#pragma once

#include "core/buf.h"

/* ls_json_add_text adds a quoted JSON string. Bytes that are no UTF-8 become U+FFFD. */
void ls_json_add_text(struct ls_buf *buf, const char *text);

/* ls_json_add_member adds `,"name":` (the comma unless the object was just opened). */
void ls_json_add_member(struct ls_buf *buf, const char *name);
