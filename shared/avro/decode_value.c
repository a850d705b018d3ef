/* Values of any Avro type as the canonical text of the neutral schema. */
#include "avro/decode_value.h"
#include "avro/text.h"

#include "core/arena.h"

#define DAY_US INT64_C(86400000000)

bool ls_walk_fail(struct ls_walk *walk, const char *problem)
{
	ls_fail(walk->err, LS_POISON, "BAD_AVRO", "field \"%.*s\" %s", LS_ARG(walk->where), problem);
	return false;
}

bool ls_walk_room(struct ls_walk *walk, size_t bytes)
{
	/* What the arena takes for its own alignment is small beside this. */
	return ls_arena_left(walk->arena) > bytes + 4096 || ls_walk_fail(walk, "is larger than the memory of a batch");
}

const struct ls_avro_node *ls_walk_branch(struct ls_walk *walk, const struct ls_avro_node *node)
{
	int64_t index;

	if (node->tag != LS_AVRO_UNION)
		return node;
	if (ls_wire_long(&walk->wire, &index) && index >= 0 && (uint64_t)index < node->count)
		return node->branch[index];
	ls_walk_fail(walk, "ends early or has a union branch that its schema does not have");
	return NULL;
}

/* keep copies a short text into the arena. */
static bool keep(struct ls_walk *walk, struct ls_str text, struct ls_str *ret)
{
	if (!ls_walk_room(walk, text.len + 1))
		return false;
	*ret = ls_arena_str(walk->arena, text);
	return true;
}

static bool string(struct ls_walk *walk, struct ls_str *ret)
{
	if (!ls_wire_bytes(&walk->wire, ret))
		return ls_walk_fail(walk, "says it is longer than the message");
	return ls_utf8_ok(*ret) || ls_walk_fail(walk, "is not UTF-8 or has a NUL byte");
}

static bool hex(struct ls_walk *walk, struct ls_str bytes, struct ls_str *ret)
{
	char *out;

	if (!ls_walk_room(walk, bytes.len * 2 + 3))
		return false;
	out = ls_arena_bytes(walk->arena, bytes.len * 2 + 3);
	ls_print_hex(bytes, out);
	out[bytes.len * 2 + 2] = 0;
	*ret = (struct ls_str){ out, bytes.len * 2 + 2 };
	return true;
}

static bool decimal(struct ls_walk *walk, const struct ls_avro_node *node, struct ls_str bytes, char *small,
		    struct ls_str *ret)
{
	__int128 unscaled;

	if (node->scale > 38)
		return ls_walk_fail(walk, "has a decimal scale above 38, which is not supported");
	if (!ls_decimal_unpack(bytes, &unscaled))
		return ls_walk_fail(walk, "is a decimal of no bytes or of more than 16");
	*ret = (struct ls_str){ small, ls_print_decimal(small, unscaled, node->scale) };
	return true;
}

static bool raw(struct ls_walk *walk, const struct ls_avro_node *node, char *small, struct ls_str *ret)
{
	struct ls_str bytes;

	if (!(node->tag == LS_AVRO_FIXED ? ls_wire_view(&walk->wire, node->size, &bytes)
					 : ls_wire_bytes(&walk->wire, &bytes)))
		return ls_walk_fail(walk, "says it is longer than the message");
	if (node->logical == LS_LOGICAL_DECIMAL)
		return decimal(walk, node, bytes, small, ret);
	if (node->logical != LS_LOGICAL_UUID)
		return hex(walk, bytes, ret);
	ls_print_uuid((const uint8_t *)bytes.ptr, small); /* a fixed of 16 bytes: plan.c saw to it */
	*ret = (struct ls_str){ small, 36 };
	return true;
}

static bool moment(struct ls_walk *walk, int64_t value, int64_t unit, bool zone, char *small, struct ls_str *ret)
{
	if (__builtin_mul_overflow(value, unit, &value))
		return ls_walk_fail(walk, "is a timestamp out of range");
	*ret = (struct ls_str){ small, ls_print_timestamp(small, value, zone) };
	return true;
}

static bool time_of_day(struct ls_walk *walk, int64_t value, int64_t unit, char *small, struct ls_str *ret)
{
	if (value < 0 || value > DAY_US / unit)
		return ls_walk_fail(walk, "is a time of day out of range");
	*ret = (struct ls_str){ small, ls_print_time(small, value * unit) };
	return true;
}

static bool integer(struct ls_walk *walk, const struct ls_avro_node *node, char *small, struct ls_str *ret)
{
	int64_t value;
	int32_t narrow = 0;

	if (node->tag == LS_AVRO_INT ? !ls_wire_int(&walk->wire, &narrow) : !ls_wire_long(&walk->wire, &value))
		return ls_walk_fail(walk, "ends early or is not an integer of its size");
	if (node->tag == LS_AVRO_INT)
		value = narrow;
	switch (node->logical) {
	case LS_LOGICAL_DATE:
		*ret = (struct ls_str){ small, ls_print_date(small, (int32_t)value) };
		return true;
	case LS_LOGICAL_TIME_MILLIS:
		return time_of_day(walk, value, 1000, small, ret);
	case LS_LOGICAL_TIME_MICROS:
		return time_of_day(walk, value, 1, small, ret);
	case LS_LOGICAL_TIMESTAMP_MILLIS:
		return moment(walk, value, 1000, true, small, ret);
	case LS_LOGICAL_TIMESTAMP_MICROS:
		return moment(walk, value, 1, true, small, ret);
	case LS_LOGICAL_LOCAL_MILLIS:
		return moment(walk, value, 1000, false, small, ret);
	case LS_LOGICAL_LOCAL_MICROS:
		return moment(walk, value, 1, false, small, ret);
	case LS_LOGICAL_NONE:
	case LS_LOGICAL_DECIMAL:
	case LS_LOGICAL_UUID:
	case LS_LOGICAL_JSON:
	case LS_LOGICAL_NUMERIC:
		break;
	}
	*ret = (struct ls_str){ small, ls_print_int(small, value) };
	return true;
}

static bool fraction(struct ls_walk *walk, const struct ls_avro_node *node, char *small, struct ls_str *ret)
{
	float narrow;
	double wide;

	if (node->tag == LS_AVRO_FLOAT ? !ls_wire_float(&walk->wire, &narrow) : !ls_wire_double(&walk->wire, &wide))
		return ls_walk_fail(walk, "ends early");
	*ret = (struct ls_str){ small, node->tag == LS_AVRO_FLOAT ? ls_print_float(small, narrow)
								  : ls_print_double(small, wide) };
	return true;
}

static bool symbol(struct ls_walk *walk, const struct ls_avro_node *node, struct ls_str *ret)
{
	int64_t index;

	if (!ls_wire_long(&walk->wire, &index) || index < 0 || (uint64_t)index >= node->count)
		return ls_walk_fail(walk, "has an enum value that its schema does not have");
	*ret = node->symbol[index];
	return true;
}

bool ls_walk_scalar(struct ls_walk *walk, const struct ls_avro_node *node, char *small, struct ls_str *ret,
		    bool *ret_null)
{
	bool truth;

	*ret_null = false;
	switch (node->tag) {
	case LS_AVRO_NULL:
		*ret_null = true;
		return true;
	case LS_AVRO_BOOLEAN:
		if (!ls_wire_bool(&walk->wire, &truth))
			return ls_walk_fail(walk, "is not a boolean");
		*ret = truth ? LS_STR("t") : LS_STR("f");
		return true;
	case LS_AVRO_INT:
	case LS_AVRO_LONG:
		return integer(walk, node, small, ret);
	case LS_AVRO_FLOAT:
	case LS_AVRO_DOUBLE:
		return fraction(walk, node, small, ret);
	case LS_AVRO_BYTES:
	case LS_AVRO_FIXED:
		return raw(walk, node, small, ret);
	case LS_AVRO_STRING:
		return string(walk, ret);
	case LS_AVRO_ENUM:
		return symbol(walk, node, ret);
	case LS_AVRO_ARRAY:
	case LS_AVRO_MAP:
	case LS_AVRO_RECORD:
	case LS_AVRO_UNION:
		break;
	}
	return ls_walk_fail(walk, "is not of a simple type");
}

/* array_text writes the items as a PostgreSQL array literal. */
static bool array_text(struct ls_walk *walk, const struct ls_avro_node *node)
{
	uint64_t left = 0;
	bool first = true;

	ls_buf_add_char(walk->scratch, '{');
	for (;; left--) {
		const struct ls_avro_node *item;
		char small[LS_PRINT_MAX];
		struct ls_str text;
		bool null;

		if (!left && !ls_wire_block(&walk->wire, node->item->empty, &left))
			return ls_walk_fail(walk, "has more items than the message has bytes");
		if (!left)
			break;
		if (walk->scratch->full)
			return ls_walk_fail(walk, "is too large as text");
		item = ls_walk_branch(walk, node->item);
		if (!item || !ls_walk_scalar(walk, item, small, &text, &null))
			return false;
		if (!first)
			ls_buf_add_char(walk->scratch, ',');
		first = false;
		if (null)
			ls_buf_add_text(walk->scratch, "NULL");
		else
			ls_array_add(walk->scratch, text);
	}
	ls_buf_add_char(walk->scratch, '}');
	return true;
}

bool ls_walk_text(struct ls_walk *walk, const struct ls_avro_node *node, bool json, struct ls_value *ret)
{
	char small[LS_PRINT_MAX];
	bool null;

	node = ls_walk_branch(walk, node);
	if (!node)
		return false;
	if (node->tag == LS_AVRO_NULL) {
		ret->presence = LS_NULL;
		return true;
	}
	ret->presence = LS_PRESENT;
	ls_buf_clear(walk->scratch);
	if (json || node->tag == LS_AVRO_MAP || node->tag == LS_AVRO_RECORD) {
		if (!ls_walk_json(walk, node))
			return false;
	} else if (node->tag == LS_AVRO_ARRAY) {
		if (!array_text(walk, node))
			return false;
	} else {
		if (!ls_walk_scalar(walk, node, small, &ret->text, &null))
			return false;
		return ret->text.ptr != small || keep(walk, ret->text, &ret->text);
	}
	if (walk->scratch->full)
		return ls_walk_fail(walk, "is too large as text");
	return keep(walk, ls_buf_str(walk->scratch), &ret->text);
}
