/* May one schema follow another? Avro's schema resolution, both ways, with the rule of schemas/README.md. */
#include "avro/plan.h"
#include "avro/schemas.h"

#include <stdio.h>

enum { STEPS_MAX = 10000000 };

/* One comparison: what `writer` wrote is to be read as `reader`. widening: promotions may also go backwards. */
struct match {
	bool widening;
	int depth;
	long *steps; /* left: types that refer to each other can be compared without end */
	char where[200];
	char why[160];
};

static bool resolves(struct match *m, const struct ls_avro_node *writer, const struct ls_avro_node *reader);

static bool refuse(struct match *m, const struct ls_avro_node *writer, const struct ls_avro_node *reader)
{
	snprintf(m->why, sizeof(m->why), "%s%s%s cannot be read as %s%s%s", ls_avro_tag_name(writer->tag),
		 writer->logical ? " " : "", ls_avro_logical_name(writer->logical), ls_avro_tag_name(reader->tag),
		 reader->logical ? " " : "", ls_avro_logical_name(reader->logical));
	return false;
}

/* promotes: Avro's table of promotions ("Schema Resolution"). */
static bool promotes(enum ls_avro_tag from, enum ls_avro_tag to)
{
	if (from >= LS_AVRO_INT && from <= LS_AVRO_FLOAT)
		return to > from && to <= LS_AVRO_DOUBLE;
	return (from == LS_AVRO_STRING && to == LS_AVRO_BYTES) || (from == LS_AVRO_BYTES && to == LS_AVRO_STRING);
}

static bool numeric(enum ls_avro_tag tag)
{
	return tag >= LS_AVRO_INT && tag <= LS_AVRO_DOUBLE;
}

/* meaning: what a logical type changes about the value. On strings it is a note for readers and changes nothing. */
static enum ls_avro_logical meaning(const struct ls_avro_node *node)
{
	return node->tag == LS_AVRO_STRING ? LS_LOGICAL_NONE : node->logical;
}

static bool short_names_equal(struct ls_str a, struct ls_str b)
{
	size_t skip_a = ls_avro_namespace(a).len, skip_b = ls_avro_namespace(b).len;

	skip_a += skip_a > 0;
	skip_b += skip_b > 0;
	return ls_str_equal((struct ls_str){ a.ptr + skip_a, a.len - skip_a },
			    (struct ls_str){ b.ptr + skip_b, b.len - skip_b });
}

static bool in_field(struct match *m, struct ls_str name, const struct ls_avro_node *writer,
		     const struct ls_avro_node *reader)
{
	size_t len = strlen(m->where);
	bool fine;

	snprintf(m->where + len, sizeof(m->where) - len, "%s%.*s", len ? "." : "", LS_ARG(name));
	fine = resolves(m, writer, reader);
	if (fine)
		m->where[len] = 0; /* else it stays, to be named */
	return fine;
}

static const struct ls_avro_field *field_of(const struct ls_avro_node *record, struct ls_str name)
{
	for (size_t i = 0; i < record->count; i++)
		if (ls_str_equal(record->field[i].name, name))
			return &record->field[i];
	return NULL;
}

static bool records(struct match *m, const struct ls_avro_node *writer, const struct ls_avro_node *reader)
{
	if (!short_names_equal(writer->name, reader->name))
		return refuse(m, writer, reader);
	for (size_t i = 0; i < reader->count; i++) {
		const struct ls_avro_field *want = &reader->field[i], *have = field_of(writer, want->name);

		if (!have && !want->has_default) {
			snprintf(m->where, sizeof(m->where), "%.*s", LS_ARG(want->name));
			snprintf(m->why, sizeof(m->why), "it has no default and the other schema does not have it");
			return false;
		}
		if (have && !in_field(m, want->name, have->type, want->type))
			return false;
	}
	return true;
}

static bool symbols(struct match *m, const struct ls_avro_node *writer, const struct ls_avro_node *reader)
{
	for (size_t i = 0; i < writer->count; i++) {
		bool found = false;

		for (size_t j = 0; j < reader->count && !found; j++)
			found = ls_str_equal(writer->symbol[i], reader->symbol[j]);
		if (!found) {
			snprintf(m->why, sizeof(m->why), "the enum value %.*s is missing on the other side",
				 LS_ARG(writer->symbol[i]));
			return false;
		}
	}
	return short_names_equal(writer->name, reader->name) || refuse(m, writer, reader);
}

static bool decimals(struct match *m, const struct ls_avro_node *writer, const struct ls_avro_node *reader)
{
	if (writer->scale == reader->scale && (writer->precision <= reader->precision || m->widening))
		return true;
	snprintf(m->why, sizeof(m->why), "decimal(%d,%d) cannot be read as decimal(%d,%d)", writer->precision,
		 writer->scale, reader->precision, reader->scale);
	return false;
}

static bool same_tag(struct match *m, const struct ls_avro_node *writer, const struct ls_avro_node *reader)
{
	switch (writer->tag) {
	case LS_AVRO_RECORD:
		return records(m, writer, reader);
	case LS_AVRO_ENUM:
		return symbols(m, writer, reader);
	case LS_AVRO_FIXED:
		if (writer->size != reader->size || !short_names_equal(writer->name, reader->name))
			return refuse(m, writer, reader);
		break;
	case LS_AVRO_ARRAY:
	case LS_AVRO_MAP:
		return resolves(m, writer->item, reader->item);
	case LS_AVRO_NULL:
	case LS_AVRO_BOOLEAN:
	case LS_AVRO_INT:
	case LS_AVRO_LONG:
	case LS_AVRO_FLOAT:
	case LS_AVRO_DOUBLE:
	case LS_AVRO_BYTES:
	case LS_AVRO_STRING:
	case LS_AVRO_UNION:
		break;
	}
	return writer->logical != LS_LOGICAL_DECIMAL || decimals(m, writer, reader);
}

static bool unions(struct match *m, const struct ls_avro_node *writer, const struct ls_avro_node *reader)
{
	char where[sizeof(m->where)];

	if (writer->tag == LS_AVRO_UNION) {
		for (size_t i = 0; i < writer->count; i++)
			if (!resolves(m, writer->branch[i], reader))
				return false;
		return true;
	}
	memcpy(where, m->where, sizeof(where));
	for (size_t i = 0; i < reader->count; i++) {
		/* the reason to tell is that of the branch that is of the writer's type, or of the first solid one */
		struct match attempt = *m;

		if (resolves(&attempt, writer, reader->branch[i]))
			return true;
		if (reader->branch[i]->tag == writer->tag || (!m->why[0] && reader->branch[i]->tag != LS_AVRO_NULL)) {
			memcpy(m->why, attempt.why, sizeof(m->why));
			memcpy(where, attempt.where, sizeof(where));
		}
	}
	if (!m->why[0])
		refuse(m, writer, reader);
	memcpy(m->where, where, sizeof(where));
	return false;
}

static bool resolves(struct match *m, const struct ls_avro_node *writer, const struct ls_avro_node *reader)
{
	bool fine;

	if (m->depth >= LS_AVRO_DEPTH)
		return true; /* a recursive type met itself again */
	if (--*m->steps < 0) {
		snprintf(m->why, sizeof(m->why), "the types refer to each other too often");
		return false;
	}
	m->depth++;
	if (writer->tag == LS_AVRO_UNION || reader->tag == LS_AVRO_UNION)
		fine = unions(m, writer, reader);
	else if (meaning(writer) != meaning(reader))
		fine = refuse(m, writer, reader);
	else if (writer->tag == reader->tag)
		fine = same_tag(m, writer, reader);
	else
		fine = promotes(writer->tag, reader->tag) ||
		       (m->widening && numeric(writer->tag) && promotes(reader->tag, writer->tag)) ||
		       refuse(m, writer, reader);
	m->depth--;
	return fine;
}

static enum ls_class check(const struct ls_avro_plan *writer, const struct ls_avro_plan *reader, bool widening,
			   struct ls_error *err)
{
	long steps = STEPS_MAX;
	struct match m = { .widening = widening, .steps = &steps };

	if (resolves(&m, writer->root, reader->root))
		return LS_OK;
	return ls_fail(err, LS_FATAL, "INCOMPATIBLE",
		       "the %s schema cannot read what the %s one wrote: field \"%s\": %s", widening ? "old" : "new",
		       widening ? "new" : "old", m.where, m.why);
}

enum ls_class ls_avro_compatible(struct ls_str old_json, struct ls_str new_json, struct ls_error *err)
{
	struct ls_avro_plan *old = NULL, *new = NULL;
	enum ls_class class = ls_avro_plan_new(old_json, &old, err);

	if (!class)
		class = ls_avro_plan_new(new_json, &new, err);
	if (!class)
		class = check(old, new, false, err);
	if (!class)
		class = check(new, old, true, err);
	ls_avro_plan_free(old);
	ls_avro_plan_free(new);
	return class;
}
