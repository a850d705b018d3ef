/* COPY's text format: https://www.postgresql.org/docs/15/sql-copy.html, "Text Format". Pure. */
#include "destinations/postgres/internal.h"

#include <ctype.h>

/* The letter behind the backslash; 0: the byte stands for itself. */
static const char escapes[256] = {
	['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\v'] = 'v', ['\f'] = 'f', ['\r'] = 'r', ['\\'] = '\\'
};

void ls_pgd_copy_text(struct ls_buf *out, struct ls_str text)
{
	/* Room for the worst case once, then plain stores: this loop runs over every byte that is applied. */
	char *to = ls_buf_reserve(out, text.len * 2), *start = to;
	const unsigned char *at = (const unsigned char *)text.ptr, *end = at + text.len;

	if (!to || !text.len)
		return;
	for (; at < end; at++) {
		if (escapes[*at]) {
			*to++ = '\\';
			*to++ = escapes[*at];
		} else {
			*to++ = (char)*at;
		}
	}
	out->len += (size_t)(to - start);
}

/* utf8_length returns how many bytes the well-formed character at `at` has, 0 when it is none (or is NUL, which
 * PostgreSQL cannot store). Table 3-7 of the Unicode standard. */
static size_t utf8_length(const unsigned char *at, size_t left)
{
	size_t need = *at < 0x80 ? 1 : *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 0;

	if (*at == 0 || need == 0 || need > left)
		return 0;
	for (size_t i = 1; i < need; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	if ((*at == 0xe0 && at[1] < 0xa0) || (*at == 0xed && at[1] > 0x9f) || (*at == 0xf0 && at[1] < 0x90) ||
	    (*at == 0xf4 && at[1] > 0x8f))
		return 0;
	return need;
}

static size_t clean_length(struct ls_str text)
{
	size_t i = 0;

	while (i < text.len) {
		size_t n = utf8_length((const unsigned char *)text.ptr + i, text.len - i);

		if (!n)
			break;
		i += n;
	}
	return i;
}

struct ls_str ls_pgd_clean(struct ls_arena *arena, struct ls_str text)
{
	size_t i = clean_length(text);
	char *copy;

	if (i == text.len)
		return text;
	copy = ls_arena_bytes(arena, text.len + 1);
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = 0;
	while (i < text.len) {
		copy[i++] = '?';
		i += clean_length((struct ls_str){ text.ptr + i, text.len - i });
	}
	return (struct ls_str){ copy, text.len };
}

void ls_pgd_copy_row(struct ls_buf *out, const struct ls_pgd_shape *shape, const struct ls_value *value)
{
	for (size_t i = 0; i < shape->source_count; i++) {
		const struct ls_value *v = &value[shape->source[i]];

		if (i)
			ls_buf_add_char(out, '\t');
		if (v->presence == LS_PRESENT)
			ls_pgd_copy_text(out, v->text);
		else
			ls_buf_add(out, "\\N", 2);
	}
	ls_buf_add_char(out, '\n');
}

size_t ls_pgd_copy_line(const char *context, const char *table)
{
	const char *at = context ? strstr(context, table) : NULL;
	size_t line = 0;

	if (!at)
		return 0;
	/* The words between depend on the server's language, the order does not. */
	for (at += strlen(table); *at && *at != '\n' && !isdigit((unsigned char)*at); at++)
		;
	for (; isdigit((unsigned char)*at) && line < SIZE_MAX / 20; at++)
		line = line * 10 + (size_t)(*at - '0');
	return line;
}
