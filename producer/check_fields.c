/* The looking at mappings: see check_fields.h. */
#include "check_fields.h"

#include "config/config.h"
#include "config/near.h"
#include "lockstep/stamp.h"

#include <stdio.h>

struct look {
	const struct ls_mapping *mapping;
	const struct ls_schema *const *schema;
	size_t count;
	const char *subject, *what; /* "mask" or "filter" */
	struct ls_report *report;
};

static bool has(const struct ls_schema *schema, struct ls_str field)
{
	return schema && ls_schema_find(schema, field) < schema->count;
}

static const struct ls_pair *pairs(const struct look *look, size_t index, size_t *ret_count)
{
	const struct ls_mapping *mapping = &look->mapping[index];
	bool mask = look->what[0] == 'm';

	*ret_count = mask ? mapping->mask_count : mapping->filter_count;
	return mask ? mapping->mask : mapping->filter;
}

/* Another mapping that names the field, too, and has it (or may have it): the field belongs there. */
static bool belongs_elsewhere(const struct look *look, size_t index, struct ls_str field)
{
	for (size_t i = 0; i < look->count; i++) {
		size_t count;
		const struct ls_pair *pair = pairs(look, i, &count);

		for (size_t p = 0; i != index && p < count; p++)
			if (ls_str_equal(pair[p].name, field) && (!look->schema[i] || has(look->schema[i], field)))
				return true;
	}
	return false;
}

/* The nearest field of this mapping's entity, as a hint; known texts end with a NUL where they come from a source. */
static const char *hint_of(const struct ls_schema *schema, struct ls_str field, char names[][LS_NEAR_WORD],
			   char out[LS_NEAR_HINT])
{
	char word[LS_NEAR_WORD];
	struct ls_near near;

	snprintf(word, sizeof word, "%.*s", LS_ARG(field));
	ls_near_init(&near, word);
	for (size_t i = 0; i < schema->count && i < LS_MAX_COLUMNS; i++) {
		snprintf(names[i], LS_NEAR_WORD, "%.*s", LS_ARG(schema->column[i].name));
		ls_near_offer(&near, names[i]);
	}
	return ls_near_hint(&near, out);
}

static void check_field(const struct look *look, size_t index, struct ls_str field)
{
	const struct ls_mapping *mapping = &look->mapping[index];
	char names[LS_MAX_COLUMNS][LS_NEAR_WORD], hint[LS_NEAR_HINT], fix[200];
	bool elsewhere;

	if (!look->schema[index] || has(look->schema[index], field))
		return;
	hint_of(look->schema[index], field, names, hint);
	elsewhere = belongs_elsewhere(look, index, field);
	if (elsewhere && !hint[0])
		return;
	snprintf(fix, sizeof fix,
		 elsewhere ? "if it is meant here too, write the field's own name into a %s of this table"
			   : "correct the name, or take it out of the %s",
		 look->what);
	ls_report_add(look->report, LS_CHECK_DATA_INTEGRITY, elsewhere ? LS_LEVEL_WARNING : LS_LEVEL_FAILED,
		      look->subject, fix,
		      "line %d: %s names field \"%.*s\", which entity \"%s\" from %s does not have%s", mapping->line,
		      look->what, LS_ARG(field), mapping->entity, mapping->place, hint);
}

void ls_check_fields(const struct ls_mapping *mapping, const struct ls_schema *const *schema, size_t count,
		     const char *subject, struct ls_report *report)
{
	struct look look = { mapping, schema, count, subject, "mask", report };

	for (int mask = 1; mask >= 0; mask--) {
		look.what = mask ? "mask" : "filter";
		for (size_t i = 0; i < count; i++) {
			size_t pair_count;
			const struct ls_pair *pair = pairs(&look, i, &pair_count);

			for (size_t p = 0; p < pair_count; p++)
				check_field(&look, i, pair[p].name);
		}
	}
}

static bool writes(const struct ls_source_config *source, const char *entity)
{
	for (size_t i = 0; i < source->mapping_count; i++)
		if (strcmp(source->mapping[i].entity, entity) == 0)
			return true;
	return false;
}

void ls_check_writers(const struct ls_config *config, struct ls_report *report)
{
	char subject[160];

	for (size_t e = 0; e < config->entity_count; e++) {
		size_t count = 0;

		for (size_t s = 0; s < config->source_count; s++)
			count += writes(&config->source[s], config->entity[e].name);
		if (count <= LS_SEEN_MAX)
			continue;
		snprintf(subject, sizeof subject, "entity %s", config->entity[e].name);
		ls_report_add(report, LS_CHECK_CONFLICT_RESOLUTION, LS_LEVEL_FAILED, subject,
			      "let fewer sources write it, or give those of one kind one name",
			      "%zu sources write it; the version state of an entity tells %d apart, repeats of the "
			      "others would not be known",
			      count, LS_SEEN_MAX);
	}
}
