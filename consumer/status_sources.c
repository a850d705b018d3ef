/* How far each source is: its record in {prefix}.positions, and the snapshot of the running process. */
#include "core/arena.h"
#include "kafka/topics.h"
#include "main/app.h"
#include "status.h"

#include <stdio.h>
#include <stdlib.h>

enum { STEP = 200, PATIENCE_MS = 15000 };

/* The newest record of each source, as it stands: source name -> {"record": object, "age": seconds}. */
static void note_record(json_t *records, const struct ls_message *message)
{
	char name[256];
	json_t *record;

	if (!message->has_key || message->class)
		return;
	snprintf(name, sizeof name, "%.*s", LS_ARG(message->key));
	if (!message->has_value) {
		json_object_del(records, name);
		return;
	}
	record = json_loadb(message->value.ptr, message->value.len, 0, NULL);
	json_object_set_new(records, name,
			    json_pack("{s:o, s:f}", "record", record ? record : json_null(), "age",
				      (double)(ls_now_us() - message->timestamp_us) / 1e6));
}

static enum ls_class read_records(struct ls_reader *reader, json_t *records, struct ls_error *err)
{
	int64_t until = ls_monotonic_ms() + PATIENCE_MS;
	struct ls_message message[STEP];
	enum ls_class class = LS_OK;
	bool end = false;

	while (!class && !end) {
		size_t count = 0;

		class = ls_reader_next(reader, 100, message, STEP, &count, &end, err);
		for (size_t i = 0; !class && i < count; i++) {
			note_record(records, &message[i]);
			ls_message_free(&message[i]);
		}
		if (!class && !end && ls_monotonic_ms() > until)
			class = ls_fail(err, LS_RETRY, "positions",
					"the positions topic was not read to its end in %d s", PATIENCE_MS / 1000);
	}
	return class;
}

static enum ls_class load_records(const struct ls_app *app, json_t *records, struct ls_error *err)
{
	struct ls_topic_info info = { 0 };
	struct ls_reader *reader = NULL;
	struct ls_admin *admin = NULL;
	char topic[LS_TOPIC_NAME];
	enum ls_class class;

	if (app->kafka_away)
		return ls_fail(err, LS_RETRY, "kafka", "Kafka does not answer");
	ls_topic_named(topic, app->config->prefix, "positions");
	class = ls_admin_open(&app->config->kafka, &admin, err);
	if (!class)
		class = ls_admin_topic(admin, topic, &info, err);
	ls_admin_close(admin);
	if (class || !info.partitions)
		return class;
	class = ls_reader_open(&app->config->kafka, topic, -1, -1, &reader, err);
	if (!class)
		class = read_records(reader, records, err);
	ls_reader_close(reader);
	return class;
}

/* Tables read to their end, of those that a saved position names; null: this kind does not say. */
static json_t *snapshot_tables(const json_t *position)
{
	const json_t *tables = json_object_get(json_object_get(position, "snapshot"), "tables");
	json_int_t done = 0, all = (json_int_t)json_object_size(tables);
	const char *name;
	json_t *table;

	if (!json_is_object(tables))
		return json_null();
	json_object_foreach((json_t *)tables, name, table) done += json_is_true(table);
	return json_pack("{s:I, s:I}", "done", done, "all", all);
}

static void add_position(json_t *into, const json_t *entry)
{
	const json_t *record = json_object_get(entry, "record");
	const char *text = json_string_value(json_object_get(record, "position"));
	json_t *position = text ? json_loads(text, 0, NULL) : NULL;

	if (text && !position)
		position = json_string(text);
	json_object_set_new(into, "position", position ? position : json_null());
	json_object_set(into, "position_age_seconds", entry ? json_object_get(entry, "age") : json_null());
	json_object_set(into, "updated_at",
			record && json_object_get(record, "updated_at") ? json_object_get(record, "updated_at")
									: json_null());
	json_object_set(into, "writer",
			record && json_object_get(record, "writer") ? json_object_get(record, "writer") : json_null());
	json_object_set_new(into, "snapshot_tables", snapshot_tables(position));
}

static void add_counted(json_t *into, const char *name, const json_t *live)
{
	static const char *const counted[] = { "published", "dead",          "retries",
					       "pending",   "snapshot_rows", "snapshot_total" };

	for (size_t i = 0; i < sizeof counted / sizeof *counted; i++)
		json_object_set_new(into, strcmp(counted[i], "dead") ? counted[i] : "dead_this_run",
				    ls_status_total(live, "capture", name, counted[i]));
	json_object_set_new(into, "last_error", ls_status_last_error(live, "capture", name));
}

json_t *ls_status_sources(const struct ls_app *app, const json_t *live)
{
	static const char *const family[] = { "cdc", "event", "polling" };
	json_t *array = json_array(), *records = json_object();
	struct ls_error err;
	enum ls_class class = app->config->source_count ? load_records(app, records, &err) : LS_OK;

	for (size_t i = 0; i < app->config->source_count; i++) {
		const struct ls_source_config *source = &app->config->source[i];
		json_t *object = json_pack("{s:s, s:s, s:s}", "name", source->name, "type", source->ops->kind, "family",
					   family[source->ops->family]);

		add_position(object, json_object_get(records, source->name));
		add_counted(object, source->name, live);
		json_object_set_new(object, "error", class ? json_string(err.text) : json_null());
		json_array_append_new(array, object);
	}
	json_decref(records);
	return array;
}
