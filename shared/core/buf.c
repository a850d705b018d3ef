/* A growable run of bytes: doubles until its ceiling, then refuses and remembers that it did. */
#include "core/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_ROOM = 256 };

void ls_buf_init(struct ls_buf *buf, size_t max_bytes)
{
	*buf = (struct ls_buf){ .max = max_bytes };
}

void ls_buf_release(struct ls_buf *buf)
{
	free(buf->ptr);
	*buf = (struct ls_buf){ .max = buf->max };
}

void ls_buf_clear(struct ls_buf *buf)
{
	buf->len = 0;
	buf->full = false;
	if (buf->ptr)
		buf->ptr[0] = '\0';
}

static void grow(struct ls_buf *buf, size_t need)
{
	size_t room = buf->room ? buf->room : FIRST_ROOM;
	char *ptr;

	while (room < need)
		room = room > SIZE_MAX / 2 ? need : room * 2;
	ptr = realloc(buf->ptr, room);
	if (!ptr)
		abort();
	buf->ptr = ptr;
	buf->room = room;
}

char *ls_buf_reserve(struct ls_buf *buf, size_t len)
{
	if (buf->full || buf->len > buf->max || len > buf->max - buf->len || len > SIZE_MAX - 1 - buf->len) {
		buf->full = true;
		return NULL;
	}
	/* One more for the terminator, which the ceiling does not count. */
	if (buf->room - buf->len < len + 1)
		grow(buf, buf->len + len + 1);
	return buf->ptr + buf->len;
}

void ls_buf_add(struct ls_buf *buf, const void *bytes, size_t len)
{
	char *to = ls_buf_reserve(buf, len);

	if (!to)
		return;
	if (len)
		memcpy(to, bytes, len);
	buf->len += len;
	buf->ptr[buf->len] = '\0';
}

void ls_buf_add_str(struct ls_buf *buf, struct ls_str text)
{
	ls_buf_add(buf, text.ptr, text.len);
}

void ls_buf_add_text(struct ls_buf *buf, const char *text)
{
	ls_buf_add(buf, text, strlen(text));
}

void ls_buf_add_char(struct ls_buf *buf, char c)
{
	ls_buf_add(buf, &c, 1);
}

void ls_buf_printf(struct ls_buf *buf, const char *fmt, ...)
{
	va_list args;
	char *to;
	int len;

	va_start(args, fmt);
	len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	to = len < 0 ? NULL : ls_buf_reserve(buf, (size_t)len);
	if (!to) {
		buf->full = true;
		return;
	}
	va_start(args, fmt);
	vsnprintf(to, (size_t)len + 1, fmt, args);
	va_end(args);
	buf->len += (size_t)len;
}

struct ls_str ls_buf_str(const struct ls_buf *buf)
{
	return (struct ls_str){ buf->ptr ? buf->ptr : "", buf->len };
}

char *ls_buf_take(struct ls_buf *buf)
{
	char *ptr;

	if (!buf->ptr)
		grow(buf, 1);
	ptr = buf->ptr;
	ptr[buf->len] = '\0';
	*buf = (struct ls_buf){ .max = buf->max };
	return ptr;
}
