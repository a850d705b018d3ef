/* A decoded event as one JSON object, for people and tools. */
#include "avro/codec.h"
#include "core/json.h"

#include "lockstep/event.h"

static void add_name(struct ls_buf *out, const char *name)
{
	ls_buf_printf(out, ",\"%s\":", name);
}

static void add_text(struct ls_buf *out, const char *name, struct ls_str text)
{
	add_name(out, name);
	ls_json_quote(out, text);
}

static void add_number(struct ls_buf *out, const char *name, int64_t number)
{
	add_name(out, name);
	if (number == LS_NONE)
		ls_buf_add_text(out, "null");
	else
		ls_buf_printf(out, "%lld", (long long)number);
}

static void add_value(struct ls_buf *out, enum ls_kind kind, const struct ls_value *value)
{
	bool number = kind == LS_INT32 || kind == LS_INT64 || kind == LS_FLOAT32 || kind == LS_FLOAT64 ||
		      kind == LS_DECIMAL || kind == LS_NUMERIC;

	if (value->presence != LS_PRESENT)
		ls_buf_add_text(out, "null");
	else if (kind == LS_BOOL)
		ls_buf_add_text(out, value->text.len && value->text.ptr[0] == 't' ? "true" : "false");
	else if (number && ls_json_number(value->text))
		ls_buf_add_str(out, value->text);
	else
		ls_json_quote(out, value->text);
}

static void add_row(struct ls_buf *out, const char *name, const struct ls_row *row)
{
	bool first = true;

	add_name(out, name);
	if (!row->schema) {
		ls_buf_add_text(out, "null");
		return;
	}
	ls_buf_add_char(out, '{');
	for (size_t i = 0; i < row->schema->count; i++) {
		if (row->value[i].presence == LS_ABSENT)
			continue;
		if (!first)
			ls_buf_add_char(out, ',');
		first = false;
		ls_json_quote(out, row->schema->column[i].name);
		ls_buf_add_char(out, ':');
		add_value(out, row->schema->column[i].type.kind, &row->value[i]);
	}
	ls_buf_add_char(out, '}');
}

static void add_absent(struct ls_buf *out, const struct ls_row *row)
{
	bool first = true;

	ls_buf_add_text(out, ",\"absent\":[");
	for (size_t i = 0; row->schema && i < row->schema->count; i++) {
		if (row->value[i].presence != LS_ABSENT)
			continue;
		if (!first)
			ls_buf_add_char(out, ',');
		first = false;
		ls_json_quote(out, row->schema->column[i].name);
	}
	ls_buf_add_char(out, ']');
}

static void add_metadata(struct ls_buf *out, const struct ls_event *event)
{
	ls_buf_add_text(out, ",\"metadata\":{");
	for (size_t i = 0; i < event->metadata_count; i++) {
		if (i)
			ls_buf_add_char(out, ',');
		ls_json_quote(out, event->metadata[i].name);
		ls_buf_add_char(out, ':');
		ls_json_quote(out, event->metadata[i].value);
	}
	ls_buf_add_text(out, "}}");
}

void ls_event_json(const struct ls_event *event, struct ls_buf *out)
{
	ls_buf_add_text(out, "{\"event_id\":");
	ls_json_quote(out, event->event_id);
	add_text(out, "source", event->source);
	add_text(out, "entity_type", event->entity);
	add_text(out, "entity_id", event->entity_id);
	add_text(out, "change_type", ls_str_of(ls_change_name(event->change)));
	add_number(out, "timestamp", event->timestamp_us);
	add_number(out, "version", event->version);
	add_number(out, "base_version", event->base_version);
	add_number(out, "base_offset", event->base_offset);
	add_row(out, "before", &event->before);
	add_row(out, "after", &event->after);
	add_absent(out, event->change == LS_DELETE ? &event->before : &event->after);
	add_metadata(out, event);
}
