/* COPY's text format: tabs between columns, \N for NULL, backslash escapes for what would not fit on a line. */
#include "sources/postgres/copytext.h"

static char unescape(char c)
{
	switch (c) {
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'v':
		return '\v';
	default: /* a backslash, or a character that stands for itself */
		return c;
	}
}

static size_t unescape_in_place(char *text, size_t len)
{
	char *first = memchr(text, '\\', len);
	size_t out;

	if (!first)
		return len;
	out = (size_t)(first - text);
	for (size_t in = out; in < len; in++) {
		if (text[in] == '\\' && in + 1 < len)
			text[out++] = unescape(text[++in]);
		else
			text[out++] = text[in];
	}
	return out;
}

bool pgsrc_copy_line(char *line, size_t len, struct pgout_cell *cell, size_t count)
{
	char *at = line, *end = line + len;

	if (len && end[-1] == '\n')
		end--;
	if (count == 0)
		return at == end;
	for (size_t i = 0; i < count; i++) {
		char *tab = at <= end ? memchr(at, '\t', (size_t)(end - at)) : NULL;
		char *stop = tab ? tab : end;
		size_t width = (size_t)(stop - at);

		if ((tab != NULL) != (i + 1 < count))
			return false;
		if (width == 2 && at[0] == '\\' && at[1] == 'N')
			cell[i] = (struct pgout_cell){ .status = 'n' };
		else
			cell[i] = (struct pgout_cell){ 't', { at, unescape_in_place(at, width) } };
		at = stop + 1;
	}
	return true;
}
