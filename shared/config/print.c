/* The option tables as text and as Markdown: `lockstep options`, and docs/configuration.md. */
#include "config/reader.h"
#include "core/buf.h"

#include <stdio.h>

struct printer {
	struct ls_buf *out;
	bool markdown;
	int name, type, fallback; /* widths of the columns, of text alone */
};

static const char *type_name(const struct ls_option *option)
{
	switch (option->type) {
	case LS_OPT_STRING:
		return "text";
	case LS_OPT_SECRET:
		return "secret";
	case LS_OPT_INT:
		return "number";
	case LS_OPT_BOOL:
		return "true|false";
	case LS_OPT_CHOICE:
		return option->choices;
	case LS_OPT_DURATION:
		return "duration";
	}
	return "";
}

static void add_escaped(struct ls_buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '|')
			ls_buf_add_char(out, '\\');
		ls_buf_add_char(out, *text);
	}
}

static void print_row(const struct printer *print, const char *name, const char *type, const char *fallback,
		      const char *help)
{
	const char *shown = !fallback ? "required" : fallback[0] ? fallback : "-";

	if (!print->markdown) {
		ls_buf_printf(print->out, "  %-*s  %-*s  %-*s  %s\n", print->name, name, print->type, type,
			      print->fallback, shown, help);
		return;
	}
	ls_buf_printf(print->out, "| `%s` | ", name);
	add_escaped(print->out, type);
	if (!fallback)
		ls_buf_add_text(print->out, " | required | ");
	else if (fallback[0])
		ls_buf_printf(print->out, " | `%s` | ", fallback);
	else
		ls_buf_add_text(print->out, " | | ");
	add_escaped(print->out, help);
	ls_buf_add_text(print->out, " |\n");
}

static void widen(int *width, const char *text)
{
	int len = (int)strlen(text);

	*width = len > *width ? len : *width;
}

static void measure(struct printer *print, const struct ls_table *table)
{
	print->name = print->type = 4;
	print->fallback = 8;
	for (size_t i = 0; i < table->option_count; i++) {
		widen(&print->name, table->option[i].name);
		widen(&print->type, type_name(&table->option[i]));
		widen(&print->fallback, table->option[i].fallback ? table->option[i].fallback : "");
	}
	for (size_t i = 0; i < table->part_count; i++) {
		widen(&print->name, table->part[i].name);
		widen(&print->type, table->part[i].form);
	}
}

static void print_title(const struct printer *print, const struct ls_table *table)
{
	const char *tick = print->markdown && table->where[0] ? "`" : "", *colon = table->where[0] ? ": " : "";

	ls_buf_printf(print->out, "%s%s%s%s%s%s\n", print->markdown ? "### " : "", tick, table->where, tick, colon,
		      table->summary);
	if (print->markdown)
		ls_buf_add_text(print->out, "\n| key | type | default | what it is |\n|---|---|---|---|\n");
}

static void print_table(const struct printer *settings, const struct ls_table *table)
{
	struct printer print = *settings;

	measure(&print, table);
	print_title(&print, table);
	for (size_t i = 0; i < table->option_count; i++)
		print_row(&print, table->option[i].name, type_name(&table->option[i]), table->option[i].fallback,
			  table->option[i].help);
	for (size_t i = 0; i < table->part_count; i++)
		print_row(&print, table->part[i].name, table->part[i].form, table->part[i].required ? NULL : "",
			  table->part[i].help);
	ls_buf_add_char(print.out, '\n');
}

static void print_common(const struct printer *print, const struct ls_table *const *table, size_t count)
{
	for (size_t i = 0; i < count; i++)
		print_table(print, table[i]);
}

static void print_kind(const struct printer *print, const char *list, const char *kind, const char *summary,
		       const struct ls_option *option, size_t count)
{
	char where[120];
	struct ls_table table = { where, summary, option, count, NULL, 0 };

	snprintf(where, sizeof where, "%s[] of type %.60s", list, kind);
	print_table(print, &table);
}

void ls_config_options(const char *kind, bool markdown, const struct ls_source_ops *const *sources,
		       const struct ls_destination_ops *const *destinations, struct ls_buf *out)
{
	static const struct ls_table *const whole[] = { &ls_table_top, &ls_table_topics, &ls_table_registry,
							&ls_table_http, &ls_table_entity };
	static const struct ls_table *const source[] = { &ls_table_source, &ls_table_source_mapping };
	static const struct ls_table *const destination[] = { &ls_table_destination, &ls_table_destination_mapping,
							      &ls_table_retry, &ls_table_breaker };
	const struct printer print = { .out = out, .markdown = markdown };

	if (!kind) {
		print_common(&print, whole, LS_COUNT_OF(whole));
		print_common(&print, source, LS_COUNT_OF(source));
	}
	for (; *sources; sources++)
		if (!kind || strcmp(kind, (*sources)->kind) == 0)
			print_kind(&print, "sources", (*sources)->kind, (*sources)->summary, (*sources)->options,
				   (*sources)->option_count);
	if (!kind)
		print_common(&print, destination, LS_COUNT_OF(destination));
	for (; *destinations; destinations++)
		if (!kind || strcmp(kind, (*destinations)->kind) == 0)
			print_kind(&print, "destinations", (*destinations)->kind, (*destinations)->summary,
				   (*destinations)->options, (*destinations)->option_count);
}
