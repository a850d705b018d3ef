/* `lockstep status` for people: short and aligned. Reads nothing but the JSON. */
#include "status.h"

#include <stdlib.h>
#include <string.h>

enum { MANY = 12 };

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static long long number_of(const json_t *object, const char *name)
{
	return (long long)json_integer_value(json_object_get(object, name));
}

/* A number, or "unknown" where it is null. */
static const char *known(const json_t *object, const char *name, char out[24])
{
	const json_t *value = json_object_get(object, name);

	snprintf(out, 24, "unknown");
	if (json_is_integer(value))
		snprintf(out, 24, "%lld", (long long)json_integer_value(value));
	return out;
}

/* 0.4 s, 12 s, 3 min, 5 h, 2 d: one look must do. */
static const char *span(double seconds, char out[24])
{
	if (seconds < 10)
		snprintf(out, 24, "%.1f s", seconds > 0 ? seconds : 0);
	else if (seconds < 120)
		snprintf(out, 24, "%.0f s", seconds);
	else if (seconds < 7200)
		snprintf(out, 24, "%.0f min", seconds / 60);
	else if (seconds < 172800)
		snprintf(out, 24, "%.0f h", seconds / 3600);
	else
		snprintf(out, 24, "%.0f d", seconds / 86400);
	return out;
}

static void print_error(const json_t *object, bool live, FILE *out)
{
	const json_t *error = json_object_get(object, "last_error");

	if (live && json_is_object(error))
		fprintf(out, "  last error: %s  %s\n", text_of(error, "at"), text_of(error, "text"));
}

/* ---- sources ---- */

static void print_snapshot(const json_t *source, FILE *out)
{
	const json_t *tables = json_object_get(source, "snapshot_tables");
	long long rows = number_of(source, "snapshot_rows"), expected = number_of(source, "snapshot_total");

	if (!json_is_object(tables) && !rows)
		return;
	fprintf(out, "  snapshot:");
	if (json_is_object(tables))
		fprintf(out, " %lld of %lld tables read%s", number_of(tables, "done"), number_of(tables, "all"),
			rows ? "," : "");
	if (rows)
		fprintf(out, " %lld of about %lld rows", rows, expected > rows ? expected : rows);
	fputc('\n', out);
}

static void print_source(const json_t *source, bool live, FILE *out)
{
	const json_t *position = json_object_get(source, "position"),
		     *age = json_object_get(source, "position_age_seconds");
	char number[4][24], when[24];

	fprintf(out, "source %s (%s, %s)\n", text_of(source, "name"), text_of(source, "type"),
		text_of(source, "family"));
	if (*text_of(source, "error"))
		fprintf(out, "  not known: %s\n", text_of(source, "error"));
	else if (json_is_null(position))
		fprintf(out, "  position: none saved yet\n");
	else
		fprintf(out, "  position: %s, saved %s ago by %s\n",
			json_is_string(position) ? json_string_value(position) : text_of(position, "lsn"),
			span(json_number_value(age), when), text_of(source, "writer"));
	print_snapshot(source, out);
	if (!live)
		return;
	fprintf(out, "  published %s, pending %s, dead since its start %s, retries %s\n",
		known(source, "published", number[0]), known(source, "pending", number[1]),
		known(source, "dead_this_run", number[2]), known(source, "retries", number[3]));
	print_error(source, live, out);
}

/* ---- destinations ---- */

static int topic_width(const json_t *partitions)
{
	int width = 5;
	json_t *part;
	size_t i;

	json_array_foreach(partitions, i, part)
	{
		int len = (int)strlen(text_of(part, "topic"));

		width = len > width ? len : width;
	}
	return width;
}

/* Empty partitions are left out; where there are many, so are those without lag. */
static bool is_shown(const json_t *part, size_t count)
{
	return number_of(part, "end_offset") && (count <= MANY || number_of(part, "lag_events"));
}

static void print_partitions(const json_t *partitions, FILE *out)
{
	int width = topic_width(partitions);
	size_t i, filled = 0, shown = 0;
	json_t *part;
	char when[24];

	json_array_foreach(partitions, i, part) filled += number_of(part, "end_offset") > 0;
	json_array_foreach(partitions, i, part)
	{
		if (!is_shown(part, filled))
			continue;
		if (!shown++)
			fprintf(out, "  %-*s %5s %12s %12s %10s %9s\n", width, "topic", "part", "next", "end", "lag",
				"behind");
		fprintf(out, "  %-*s %5lld %12lld %12lld %10lld %9s\n", width, text_of(part, "topic"),
			number_of(part, "partition"), number_of(part, "next_offset"), number_of(part, "end_offset"),
			number_of(part, "lag_events"),
			number_of(part, "lag_events")
				? span(json_real_value(json_object_get(part, "lag_seconds")), when)
				: "-");
	}
	if (filled > shown)
		fprintf(out, "  %zu partitions without lag\n", filled - shown);
}

static void print_destination(const json_t *destination, bool live, FILE *out)
{
	const char *reason = text_of(destination, "last_dead_reason");
	char number[7][24], when[24];

	fprintf(out, "destination %s (%s)\n", text_of(destination, "name"), text_of(destination, "type"));
	if (*text_of(destination, "error"))
		fprintf(out, "  not known: %s\n", text_of(destination, "error"));
	if (json_is_integer(json_object_get(destination, "lag_events")))
		fprintf(out, "  lag %lld events, %s\n", number_of(destination, "lag_events"),
			span(json_real_value(json_object_get(destination, "lag_seconds")), when));
	fprintf(out, "  applied %s, rejected %s, duplicates %s, retries %s, dead letters %s\n",
		known(destination, "applied", number[0]), known(destination, "rejected", number[1]),
		known(destination, "duplicates", number[2]), known(destination, "retries", number[3]),
		known(destination, "dead", number[4]));
	fprintf(out, "  waiting for other rows %s, partitions held %s\n", known(destination, "waiting", number[5]),
		known(destination, "partitions_held", number[6]));
	if (*reason)
		fprintf(out, "  last dead letter: %s\n", reason);
	print_error(destination, live, out);
	print_partitions(json_object_get(destination, "partitions"), out);
}

void ls_status_print(const json_t *root, FILE *out)
{
	const json_t *kafka = json_object_get(root, "kafka");
	bool live = json_is_object(json_object_get(root, "live"));
	json_t *one;
	size_t i;

	if (*text_of(kafka, "error"))
		fprintf(out, "kafka\n  %s\n", text_of(kafka, "error"));
	json_array_foreach(json_object_get(root, "sources"), i, one) print_source(one, live, out);
	json_array_foreach(json_object_get(root, "destinations"), i, one) print_destination(one, live, out);
	if (!live)
		fprintf(out,
			"\nno process answers at http.listen: what was applied and rejected, and the last errors, are "
			"unknown\n");
}

/* ---- one entity ---- */

static void print_system(const char *side, const char *name, const json_t *system, FILE *out)
{
	char *row = json_dumps(json_object_get(system, "row"), JSON_COMPACT | JSON_ENCODE_ANY);

	fprintf(out, "  %-12s %-16s %s\n", side, name,
		*text_of(system, "error")                        ? text_of(system, "error")
		: json_is_true(json_object_get(system, "found")) ? row
								 : "not there");
	if (json_object_get(system, "version"))
		fprintf(out, "%32sversion %lld of %s, %s, event %s%s\n", "", number_of(system, "version"),
			text_of(system, "source"), text_of(system, "timestamp"), text_of(system, "event_id"),
			json_is_true(json_object_get(system, "deleted")) ? ", deleted" : "");
	else if (*text_of(system, "version_error"))
		fprintf(out, "%32sversion unknown: %s\n", "", text_of(system, "version_error"));
	free(row);
}

void ls_status_print_entity(const json_t *root, FILE *out)
{
	static const char *const part[][3] = { { "cdc", "sources", "source" },
					       { "polling", "sources", "polled" },
					       { "cdc", "destinations", "destination" } };
	const char *name;
	json_t *system;

	fprintf(out, "%s %s\n", text_of(root, "entity_type"), text_of(root, "entity_id"));
	for (size_t i = 0; i < sizeof part / sizeof *part; i++)
		json_object_foreach(json_object_get(json_object_get(root, part[i][0]), part[i][1]), name, system)
			print_system(part[i][2], name, system, out);
}
