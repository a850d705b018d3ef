/* Small JSON output. */
#include "main/json.h"

#include <string.h>

/* Length of the well-formed UTF-8 sequence at text, or 0. */
static size_t sequence(const unsigned char *text)
{
	unsigned char first = text[0];
	size_t len = first < 0x80                    ? 1
		     : first >= 0xC2 && first < 0xE0 ? 2
		     : first >= 0xE0 && first < 0xF0 ? 3
		     : first >= 0xF0 && first < 0xF5 ? 4
						     : 0;

	for (size_t i = 1; i < len; i++)
		if ((text[i] & 0xC0) != 0x80)
			return 0;
	if ((first == 0xE0 && text[1] < 0xA0) || (first == 0xED && text[1] > 0x9F) ||
	    (first == 0xF0 && text[1] < 0x90) || (first == 0xF4 && text[1] > 0x8F))
		return 0;
	return len;
}

void ls_json_add_text(struct ls_buf *buf, const char *text)
{
	ls_buf_add_char(buf, '"');
	while (*text) {
		size_t len = sequence((const unsigned char *)text);

		if (len == 0)
			ls_buf_add_text(buf, "\xEF\xBF\xBD");
		else if (*text == '"' || *text == '\\')
			ls_buf_printf(buf, "\\%c", *text);
		else if (len == 1 && (unsigned char)*text < 0x20)
			ls_buf_printf(buf, "\\u%04x", (unsigned)*text);
		else
			ls_buf_add(buf, text, len);
		text += len ? len : 1;
	}
	ls_buf_add_char(buf, '"');
}

void ls_json_add_member(struct ls_buf *buf, const char *name)
{
	if (buf->len && buf->ptr[buf->len - 1] != '{')
		ls_buf_add_char(buf, ',');
	ls_json_add_text(buf, name);
	ls_buf_add_char(buf, ':');
}
