/* Which neutral type stands for an Avro type that someone else chose. */
#include "avro/decode_value.h"

static bool simple(const struct ls_avro_node *node)
{
	return node->tag != LS_AVRO_ARRAY && node->tag != LS_AVRO_MAP && node->tag != LS_AVRO_RECORD &&
	       node->tag != LS_AVRO_UNION;
}

static enum ls_kind long_kind(const struct ls_avro_node *node)
{
	switch (node->logical) {
	case LS_LOGICAL_DATE:
		return LS_DATE;
	case LS_LOGICAL_TIME_MILLIS:
	case LS_LOGICAL_TIME_MICROS:
		return LS_TIME;
	case LS_LOGICAL_TIMESTAMP_MILLIS:
	case LS_LOGICAL_TIMESTAMP_MICROS:
		return LS_TIMESTAMPTZ;
	case LS_LOGICAL_LOCAL_MILLIS:
	case LS_LOGICAL_LOCAL_MICROS:
		return LS_TIMESTAMP;
	case LS_LOGICAL_NONE:
	case LS_LOGICAL_DECIMAL:
	case LS_LOGICAL_UUID:
	case LS_LOGICAL_JSON:
	case LS_LOGICAL_NUMERIC:
		break;
	}
	return node->tag == LS_AVRO_INT ? LS_INT32 : LS_INT64;
}

static enum ls_kind raw_kind(const struct ls_avro_node *node)
{
	if (node->logical == LS_LOGICAL_UUID)
		return LS_UUID;
	if (node->logical != LS_LOGICAL_DECIMAL)
		return LS_BYTES;
	return node->precision <= 38 ? LS_DECIMAL : LS_NUMERIC;
}

static enum ls_kind simple_kind(const struct ls_avro_node *node)
{
	switch (node->tag) {
	case LS_AVRO_BOOLEAN:
		return LS_BOOL;
	case LS_AVRO_INT:
	case LS_AVRO_LONG:
		return long_kind(node);
	case LS_AVRO_FLOAT:
		return LS_FLOAT32;
	case LS_AVRO_DOUBLE:
		return LS_FLOAT64;
	case LS_AVRO_BYTES:
	case LS_AVRO_FIXED:
		return raw_kind(node);
	case LS_AVRO_STRING:
		return node->logical == LS_LOGICAL_UUID      ? LS_UUID
		       : node->logical == LS_LOGICAL_JSON    ? LS_JSON
		       : node->logical == LS_LOGICAL_NUMERIC ? LS_NUMERIC
							     : LS_STRING;
	case LS_AVRO_NULL:
	case LS_AVRO_ENUM:
		return LS_STRING;
	case LS_AVRO_ARRAY:
	case LS_AVRO_MAP:
	case LS_AVRO_RECORD:
	case LS_AVRO_UNION:
		break;
	}
	return LS_JSON;
}

/* with_text: [null, T, string], T being a type that lends its odd values to a string: returns T. */
static const struct ls_avro_node *with_text(const struct ls_avro_node *node)
{
	const struct ls_avro_node *typed = NULL;
	bool text = false;

	if (node->tag != LS_AVRO_UNION)
		return NULL;
	for (size_t i = 0; i < node->count; i++) {
		const struct ls_avro_node *branch = node->branch[i];

		if (branch->tag == LS_AVRO_STRING && branch->logical == LS_LOGICAL_NONE && !text)
			text = true;
		else if (branch->tag != LS_AVRO_NULL && !typed)
			typed = branch;
		else if (branch->tag != LS_AVRO_NULL)
			return NULL;
	}
	if (!text || !typed)
		return NULL;
	switch (simple_kind(typed)) {
	case LS_DECIMAL:
	case LS_DATE:
	case LS_TIMESTAMP:
	case LS_TIMESTAMPTZ:
		return typed;
	default: /* of foreign schemas: any other mixture */
		return typed->tag == LS_AVRO_ARRAY ? typed : NULL;
	}
}

/* mixed: several branches that have nothing in common but being printable. */
static struct ls_type mixed(const struct ls_avro_node *node)
{
	struct ls_type type = { .kind = LS_STRING };
	bool integers = true;

	for (size_t i = 0; i < node->count; i++) {
		const struct ls_avro_node *branch = node->branch[i];

		if (!simple(branch))
			type.kind = LS_JSON;
		if (branch->tag != LS_AVRO_NULL &&
		    (branch->logical || (branch->tag != LS_AVRO_INT && branch->tag != LS_AVRO_LONG)))
			integers = false;
	}
	if (integers && node->count > 1)
		type.kind = LS_INT64;
	return type;
}

static struct ls_type array_type(const struct ls_avro_node *node)
{
	const struct ls_avro_node *item = ls_avro_solid(node->item);
	struct ls_type type = { .kind = LS_ARRAY };

	if (!item)
		item = with_text(node->item);
	if (!item || !simple(item))
		return (struct ls_type){ .kind = LS_JSON, .native = node->native };
	type.item = simple_kind(item);
	if (type.item == LS_DECIMAL) {
		type.precision = item->precision;
		type.scale = item->scale;
	}
	type.native = node->native;
	return type;
}

struct ls_type ls_avro_type_of(const struct ls_avro_node *node)
{
	const struct ls_avro_node *typed = ls_avro_solid(node);
	struct ls_type type = { .kind = LS_STRING };

	if (!typed)
		typed = with_text(node);
	if (!typed)
		return mixed(node);
	if (typed->tag == LS_AVRO_ARRAY)
		return array_type(typed);
	type.kind = simple_kind(typed);
	type.native = typed->native;
	if (type.kind == LS_DECIMAL) {
		type.precision = typed->precision;
		type.scale = typed->scale;
	}
	return type;
}
