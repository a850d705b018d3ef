/* A growable run of bytes, born with a ceiling. */
#pragma once

#include "lockstep/error.h"
#include "lockstep/str.h"

#include <stdint.h>

struct ls_buf {
	char *ptr; /* owned; ptr[len] is 0 once anything was added */
	size_t len, room, max;
	bool full; /* something did not fit: the content is to be thrown away */
};

void ls_buf_init(struct ls_buf *buf, size_t max_bytes);
void ls_buf_release(struct ls_buf *buf); /* frees; safe to call twice */
void ls_buf_clear(struct ls_buf *buf);   /* len 0, keeps the memory */

/* The adds do nothing and set `full` when the ceiling would be passed; callers check `full` once at the end. */
void ls_buf_add(struct ls_buf *buf, const void *bytes, size_t len);
void ls_buf_add_str(struct ls_buf *buf, struct ls_str text);
void ls_buf_add_text(struct ls_buf *buf, const char *text);
void ls_buf_add_char(struct ls_buf *buf, char c);
void ls_buf_printf(struct ls_buf *buf, const char *fmt, ...) LS_PRINTF(2, 3);

/* ls_buf_reserve makes room for len more bytes and returns where they go (NULL and full: over the ceiling);
 * the caller fills them and adds to buf->len itself. */
char *ls_buf_reserve(struct ls_buf *buf, size_t len);
struct ls_str ls_buf_str(const struct ls_buf *buf);
char *ls_buf_take(struct ls_buf *buf); /* hands the memory over; buf is empty again */
