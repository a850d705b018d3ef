/* Mistakes found while reading the configuration, and the values that must never be printed. */
#include "config/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void ls_mistake_add(struct ls_reader *reader, const struct ls_node *at, const char *path, const char *fmt, ...)
{
	char what[400];
	int line = at ? at->line : 1, column = at ? at->column : 1;
	va_list args;

	if (reader->mistakes == LS_CONFIG_MAX_MISTAKES)
		return;
	va_start(args, fmt);
	vsnprintf(what, sizeof what, fmt, args);
	va_end(args);
	reader->mistake[reader->mistakes] = (struct ls_mistake){
		line,
		column,
		reader->mistakes,
		ls_arena_printf(reader->arena, "%s:%d:%d: %s%s%s", reader->file, line, column, path,
				path[0] ? ": " : "", what)
			.ptr,
	};
	reader->mistakes++;
}

const char *ls_node_show(struct ls_reader *reader, const struct ls_node *node)
{
	const char *dots = strlen(node->text) > 60 ? "..." : "";

	if (node->interpolated)
		return "the value";
	return ls_arena_printf(reader->arena, "\"%.60s%s\"", node->text, dots).ptr;
}

const char *ls_path(struct ls_reader *reader, const char *path, const char *name)
{
	return ls_arena_printf(reader->arena, "%s%s%s", path, path[0] ? "." : "", name).ptr;
}

static void add(struct ls_reader *reader, const char *text)
{
	if (reader->secret_count + 1 >= reader->secret_room) {
		size_t room = reader->secret_room ? reader->secret_room * 2 : 16;
		const char **more = ls_arena_zalloc(reader->arena, room * sizeof *more);

		if (reader->secret_count)
			memcpy(more, reader->secret, reader->secret_count * sizeof *more);
		reader->secret = more;
		reader->secret_room = room;
	}
	reader->secret[reader->secret_count++] = text;
	reader->secret[reader->secret_count] = NULL;
}

void ls_secret_add(struct ls_reader *reader, const char *text)
{
	if (!text || !text[0])
		return;
	add(reader, text);
	ls_secret_add_url(reader, text);
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 32) >= 'a' && (c | 32) <= 'f')
		return (c | 32) - 'a' + 10;
	return -1;
}

/* A password may be shown as it stands in the URL or as the server knows it: both are secret. */
static void add_password(struct ls_reader *reader, const char *at, size_t len)
{
	struct ls_str raw = ls_arena_str(reader->arena, (struct ls_str){ at, len });
	char *plain = ls_arena_bytes(reader->arena, len + 1);
	size_t n = 0;

	/* Shorter ones would blot out every line of the log. */
	if (len < 3)
		return;
	for (size_t i = 0; i < len; i++) {
		bool escape = at[i] == '%' && i + 2 < len && hex(at[i + 1]) >= 0 && hex(at[i + 2]) >= 0;

		plain[n++] = escape ? (char)(hex(at[i + 1]) * 16 + hex(at[i + 2])) : at[i];
		i += escape ? 2 : 0;
	}
	plain[n] = 0;
	add(reader, raw.ptr);
	if (n != len && strlen(plain) >= 3)
		add(reader, plain);
}

void ls_secret_add_url(struct ls_reader *reader, const char *url)
{
	const char *start = strstr(url, "://");
	const char *parameter = strstr(url, "password=");

	if (start) {
		const char *host = start + 3, *end = host + strcspn(host, "/?#"), *at = NULL, *colon;

		for (const char *p = host; p < end; p++)
			at = *p == '@' ? p : at;
		colon = at ? memchr(host, ':', (size_t)(at - host)) : NULL;
		if (colon)
			add_password(reader, colon + 1, (size_t)(at - colon - 1));
	}
	if (parameter) {
		parameter += strlen("password=");
		if (*parameter == '\'')
			add_password(reader, parameter + 1, strcspn(parameter + 1, "'"));
		else
			add_password(reader, parameter, strcspn(parameter, "& \t\n"));
	}
}
