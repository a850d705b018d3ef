/* A view of bytes. It never owns; who owns is said where the view is handed out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* ptr[len] is 0 where the producer of the view says so; do not rely on it otherwise. */
struct ls_str {
	const char *ptr;
	size_t len;
};

#define LS_STR(literal) ((struct ls_str){ (literal), sizeof(literal) - 1 })

static inline struct ls_str ls_str_of(const char *text)
{
	return (struct ls_str){ text, text ? strlen(text) : 0 };
}

static inline bool ls_str_equal(struct ls_str a, struct ls_str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ls_str_compare orders by bytes, then by length: the order of strcmp without the terminator. */
static inline int ls_str_compare(struct ls_str a, struct ls_str b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n ? memcmp(a.ptr, b.ptr, n) : 0;

	if (c)
		return c;
	return a.len < b.len ? -1 : a.len > b.len;
}

/* For printf: "%.*s", LS_ARG(view). */
#define LS_ARG(view) (int)(view).len, (view).ptr
