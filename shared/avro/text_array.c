/* PostgreSQL array literals of one dimension. What array_out would not have written so is left to the caller as text,
 * so that text -> items -> text is always the same text. */
#include "avro/text.h"

#include "core/buf.h"

static bool blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_null_word(struct ls_str text)
{
	static const char lower[] = "null";

	if (text.len != 4)
		return false;
	for (size_t i = 0; i < 4; i++)
		if ((text.ptr[i] | 0x20) != lower[i])
			return false;
	return true;
}

/* array_out quotes what is empty, reads as NULL, or holds a character with a meaning.
 * https://www.postgresql.org/docs/15/arrays.html#ARRAYS-IO */
static bool needs_quotes(struct ls_str text)
{
	if (!text.len || is_null_word(text))
		return true;
	for (size_t i = 0; i < text.len; i++)
		if (blank(text.ptr[i]) || memchr("\"\\{},", text.ptr[i], 5))
			return true;
	return false;
}

bool ls_array_open(struct ls_str literal, size_t *ret_at)
{
	if (literal.len < 2 || literal.ptr[0] != '{' || literal.ptr[literal.len - 1] != '}')
		return false;
	*ret_at = 1;
	return true;
}

/* quoted reads from behind the opening quote; *at ends behind the closing one. */
static enum ls_array_step quoted(struct ls_str literal, size_t *at, struct ls_array_item *ret)
{
	size_t start = *at, i = start;
	bool had_reason = false;

	*ret = (struct ls_array_item){ .escaped = false };
	for (; i < literal.len && literal.ptr[i] != '"'; i++) {
		if (literal.ptr[i] == '\\') {
			if (++i >= literal.len || (literal.ptr[i] != '"' && literal.ptr[i] != '\\'))
				return LS_ARRAY_ODD;
			ret->escaped = true;
		}
		had_reason |= blank(literal.ptr[i]) || memchr("\"\\{},", literal.ptr[i], 5) != NULL;
	}
	if (i >= literal.len)
		return LS_ARRAY_ODD;
	ret->text = (struct ls_str){ literal.ptr + start, i - start };
	*at = i + 1;
	if (!had_reason && ret->text.len && !is_null_word(ret->text))
		return LS_ARRAY_ODD;
	return LS_ARRAY_ITEM;
}

static enum ls_array_step bare(struct ls_str literal, size_t *at, struct ls_array_item *ret)
{
	size_t start = *at, i = start;

	while (i < literal.len && literal.ptr[i] != ',' && literal.ptr[i] != '}')
		i++;
	*ret = (struct ls_array_item){ .text = { literal.ptr + start, i - start } };
	*at = i;
	if (ls_str_equal(ret->text, LS_STR("NULL"))) {
		ret->null = true;
		return LS_ARRAY_ITEM;
	}
	return needs_quotes(ret->text) ? LS_ARRAY_ODD : LS_ARRAY_ITEM;
}

enum ls_array_step ls_array_next(struct ls_str literal, size_t *at, struct ls_array_item *ret)
{
	enum ls_array_step step;

	if (*at == literal.len)
		return LS_ARRAY_END; /* the last call stood behind the closing brace */
	if (*at == 1 && literal.len == 2) {
		*at = literal.len;
		return LS_ARRAY_END;
	}
	if (literal.ptr[*at] == '"') {
		++*at;
		step = quoted(literal, at, ret);
	} else {
		step = bare(literal, at, ret);
	}
	if (step != LS_ARRAY_ITEM)
		return LS_ARRAY_ODD;
	if (*at == literal.len - 1) { /* the closing brace: ls_array_open saw it there */
		*at = literal.len;
		return LS_ARRAY_ITEM;
	}
	if (*at >= literal.len || literal.ptr[*at] != ',')
		return LS_ARRAY_ODD;
	++*at;
	if (*at == literal.len - 1)
		return LS_ARRAY_ODD; /* {1,} */
	return LS_ARRAY_ITEM;
}

size_t ls_array_unescape(struct ls_str text, char *out)
{
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '\\' && i + 1 < text.len)
			i++;
		out[len++] = text.ptr[i];
	}
	return len;
}

void ls_array_add(struct ls_buf *out, struct ls_str text)
{
	size_t start = 0;

	if (!needs_quotes(text)) {
		ls_buf_add_str(out, text);
		return;
	}
	ls_buf_add_char(out, '"');
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] != '"' && text.ptr[i] != '\\')
			continue;
		ls_buf_add(out, text.ptr + start, i - start);
		ls_buf_add_char(out, '\\');
		start = i;
	}
	ls_buf_add(out, text.ptr + start, text.len - start);
	ls_buf_add_char(out, '"');
}
