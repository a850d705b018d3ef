/* JSON strings, members and numbers, written. */
#include "core/json.h"

/* Length of the well-formed UTF-8 sequence that text begins with, or 0. */
static size_t sequence(struct ls_str text)
{
	const unsigned char *at = (const unsigned char *)text.ptr;
	unsigned char first = at[0];
	size_t len = first < 0x80                    ? 1
		     : first >= 0xC2 && first < 0xE0 ? 2
		     : first >= 0xE0 && first < 0xF0 ? 3
		     : first >= 0xF0 && first < 0xF5 ? 4
						     : 0;

	if (len > text.len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((at[i] & 0xC0) != 0x80)
			return 0;
	if ((first == 0xE0 && at[1] < 0xA0) || (first == 0xED && at[1] > 0x9F) || (first == 0xF0 && at[1] < 0x90) ||
	    (first == 0xF4 && at[1] > 0x8F))
		return 0;
	return len;
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void add_escaped(struct ls_buf *out, unsigned char c)
{
	static const char named[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
	const char *found = memchr(named, c, sizeof(named) - 1);

	if (found)
		ls_buf_printf(out, "\\%c", letter[found - named]);
	else
		ls_buf_printf(out, "\\u%04x", c);
}

void ls_json_quote(struct ls_buf *out, struct ls_str text)
{
	size_t at = 0;

	ls_buf_add_char(out, '"');
	while (at < text.len) {
		size_t start = at, len;

		while (at < text.len && is_plain((unsigned char)text.ptr[at]))
			at++;
		ls_buf_add(out, text.ptr + start, at - start);
		if (at == text.len)
			break;
		len = sequence((struct ls_str){ text.ptr + at, text.len - at });
		if (len == 0)
			ls_buf_add_text(out, "\xEF\xBF\xBD");
		else if (len == 1)
			add_escaped(out, (unsigned char)text.ptr[at]);
		else
			ls_buf_add(out, text.ptr + at, len);
		at += len ? len : 1;
	}
	ls_buf_add_char(out, '"');
}

void ls_json_add_text(struct ls_buf *out, const char *text)
{
	ls_json_quote(out, ls_str_of(text));
}

void ls_json_add_member(struct ls_buf *out, const char *name)
{
	if (out->len && out->ptr[out->len - 1] != '{')
		ls_buf_add_char(out, ',');
	ls_json_add_text(out, name);
	ls_buf_add_char(out, ':');
}

bool ls_json_number(struct ls_str text)
{
	size_t i = text.len && text.ptr[0] == '-';

	if (i == text.len || text.ptr[i] < '0' || text.ptr[i] > '9')
		return false; /* NaN, Infinity, .5 */
	if (text.ptr[i] == '0' && i + 1 < text.len && text.ptr[i + 1] >= '0' && text.ptr[i + 1] <= '9')
		return false;
	for (; i < text.len; i++)
		if (!memchr("0123456789.eE+-", text.ptr[i], 15))
			return false;
	return text.ptr[text.len - 1] != '.';
}
