/* JSON strings and numbers. */
#include "avro/json_out.h"

void ls_json_quote(struct ls_buf *out, struct ls_str text)
{
	static const char named[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
	size_t start = 0;

	ls_buf_add_char(out, '"');
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		const char *found;

		if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
			continue;
		ls_buf_add(out, text.ptr + start, i - start);
		start = i + 1;
		found = memchr(named, c, sizeof(named) - 1);
		if (found) {
			ls_buf_add_char(out, '\\');
			ls_buf_add_char(out, letter[found - named]);
		} else {
			ls_buf_printf(out, "\\u%04x", c);
		}
	}
	ls_buf_add(out, text.ptr + start, text.len - start);
	ls_buf_add_char(out, '"');
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
