/* Canonical text to avro-c values, kind by kind. Error texts name the column and what is wrong, never the value. */
#include "avro/encode_value.h"
#include "avro/avsc.h"
#include "avro/text.h"

#include "core/arena.h"

enum { BRANCH_NULL, BRANCH_TYPED, BRANCH_TEXT };

int ls_avro_lend_string(avro_value_t *value, struct ls_str text)
{
	avro_wrapped_buffer_t lent;

	/* Avro-c counts a terminator into the size of a string and writes one byte less: the byte behind is not
	 * read. */
	avro_wrapped_buffer_new(&lent, text.len ? text.ptr : "", text.len + 1);
	return avro_value_give_string_len(value, &lent);
}

static int lend_bytes(avro_value_t *value, const void *bytes, size_t len)
{
	avro_wrapped_buffer_t lent;

	avro_wrapped_buffer_new(&lent, bytes, len);
	return avro_value_give_bytes(value, &lent);
}

static enum ls_class refuse(struct ls_error *err, const struct ls_column *column, const char *problem)
{
	return ls_fail(err, LS_POISON, "BAD_VALUE", "the value of column \"%.*s\" %s (%.*s)", LS_ARG(column->name),
		       problem, LS_ARG(column->type.native.len ? column->type.native : LS_STR("no native type")));
}

/* branch switches the union and returns false when avro-c cannot. */
static bool branch(avro_value_t *value, int which, avro_value_t *ret)
{
	return avro_value_set_branch(value, which, ret) == 0;
}

static enum ls_class as_text(avro_value_t *value, int which, const struct ls_column *column, struct ls_str text,
			     struct ls_error *err)
{
	avro_value_t string;

	if (!branch(value, which, &string) || ls_avro_lend_string(&string, text))
		return refuse(err, column, "could not be encoded");
	return LS_OK;
}

static enum ls_class set_bytes(avro_value_t *value, const struct ls_column *column, struct ls_str text,
			       struct ls_arena *scratch, struct ls_error *err)
{
	uint8_t *bytes = (uint8_t *)ls_arena_bytes(scratch, text.len / 2 + 1);
	avro_value_t typed;
	size_t len;

	if (!ls_text_hex(text, bytes, &len))
		return refuse(err, column, "is not \\x and hex digits");
	if (!branch(value, BRANCH_TYPED, &typed) || lend_bytes(&typed, bytes, len))
		return refuse(err, column, "could not be encoded");
	return LS_OK;
}

static enum ls_class set_decimal(avro_value_t *value, const struct ls_column *column, struct ls_str text,
				 struct ls_arena *scratch, struct ls_error *err)
{
	uint8_t *bytes = (uint8_t *)ls_arena_bytes(scratch, 16);
	const char *problem = NULL;
	avro_value_t typed;
	__int128 unscaled;

	if (ls_text_not_a_number(text))
		return as_text(value, BRANCH_TEXT, column, text, err);
	if (!ls_text_decimal(text, column->type.precision, column->type.scale, &unscaled, &problem))
		return refuse(err, column, problem);
	if (!branch(value, BRANCH_TYPED, &typed) || lend_bytes(&typed, bytes, ls_decimal_pack(unscaled, bytes)))
		return refuse(err, column, "could not be encoded");
	return LS_OK;
}

/* set_timestamp: infinity, and the few thousand years that PostgreSQL has beyond 64 bits, travel as text. */
static enum ls_class set_timestamp(avro_value_t *value, const struct ls_column *column, bool zone, struct ls_str text,
				   struct ls_error *err)
{
	avro_value_t typed;
	int64_t us;

	if (ls_text_timestamp(text, zone, &us)) {
		if (!branch(value, BRANCH_TYPED, &typed) || avro_value_set_long(&typed, us))
			return refuse(err, column, "could not be encoded");
		return LS_OK;
	}
	if (ls_text_infinite(text) || ls_text_timestamp_far(text, zone))
		return as_text(value, BRANCH_TEXT, column, text, err);
	return refuse(err, column,
		      zone ? "is not a timestamp in UTC (2026-11-21 09:14:03.12+00)"
			   : "is not a timestamp (2026-11-21 09:14:03.12)");
}

static enum ls_class set_date(avro_value_t *value, const struct ls_column *column, struct ls_str text,
			      struct ls_error *err)
{
	avro_value_t typed;
	int32_t days;

	if (ls_text_infinite(text))
		return as_text(value, BRANCH_TEXT, column, text, err);
	if (!ls_text_date(text, &days))
		return refuse(err, column, "is not a date (2026-11-21)");
	if (!branch(value, BRANCH_TYPED, &typed) || avro_value_set_int(&typed, days))
		return refuse(err, column, "could not be encoded");
	return LS_OK;
}

static enum ls_class set_integer(avro_value_t *value, const struct ls_column *column, enum ls_kind kind,
				 struct ls_str text, struct ls_error *err)
{
	avro_value_t typed;
	bool small = kind == LS_INT32;
	int64_t number;

	if (!ls_text_int(text, small ? INT32_MIN : INT64_MIN, small ? INT32_MAX : INT64_MAX, &number))
		return refuse(err, column, small ? "is not an integer of 32 bits" : "is not an integer of 64 bits");
	if (!branch(value, BRANCH_TYPED, &typed) ||
	    (small ? avro_value_set_int(&typed, (int32_t)number) : avro_value_set_long(&typed, number)))
		return refuse(err, column, "could not be encoded");
	return LS_OK;
}

static enum ls_class set_simple(avro_value_t *value, const struct ls_column *column, enum ls_kind kind,
				struct ls_str text, struct ls_error *err)
{
	avro_value_t typed;
	double wide;
	float narrow;
	int64_t us;
	bool truth;
	int failed;

	if (!branch(value, BRANCH_TYPED, &typed))
		return refuse(err, column, "could not be encoded");
	if (kind == LS_BOOL) {
		if (!ls_text_bool(text, &truth))
			return refuse(err, column, "is not t or f");
		failed = avro_value_set_boolean(&typed, truth);
	} else if (kind == LS_FLOAT32) {
		if (!ls_text_float(text, &narrow))
			return refuse(err, column, "is not a floating point number of 32 bits");
		failed = avro_value_set_float(&typed, narrow);
	} else if (kind == LS_FLOAT64) {
		if (!ls_text_double(text, &wide))
			return refuse(err, column, "is not a floating point number of 64 bits");
		failed = avro_value_set_double(&typed, wide);
	} else {
		if (!ls_text_time(text, &us))
			return refuse(err, column, "is not a time (23:59:59.123456)");
		failed = avro_value_set_long(&typed, us);
	}
	return failed ? refuse(err, column, "could not be encoded") : LS_OK;
}

static enum ls_class set_array(avro_value_t *value, const struct ls_column *column, struct ls_str text,
			       struct ls_arena *scratch, struct ls_error *err);

static enum ls_class set_kind(avro_value_t *value, const struct ls_column *column, enum ls_kind kind,
			      struct ls_str text, struct ls_arena *scratch, struct ls_error *err)
{
	switch (kind) {
	case LS_BOOL:
	case LS_FLOAT32:
	case LS_FLOAT64:
	case LS_TIME:
		return set_simple(value, column, kind, text, err);
	case LS_INT32:
	case LS_INT64:
		return set_integer(value, column, kind, text, err);
	case LS_DECIMAL:
		return set_decimal(value, column, text, scratch, err);
	case LS_NUMERIC:
	case LS_STRING:
	case LS_UUID:
	case LS_JSON:
		return as_text(value, BRANCH_TYPED, column, text, err);
	case LS_BYTES:
		return set_bytes(value, column, text, scratch, err);
	case LS_DATE:
		return set_date(value, column, text, err);
	case LS_TIMESTAMP:
	case LS_TIMESTAMPTZ:
		return set_timestamp(value, column, kind == LS_TIMESTAMPTZ, text, err);
	case LS_ARRAY:
		return set_array(value, column, text, scratch, err);
	}
	return refuse(err, column, "is of no known kind");
}

static enum ls_class set_item(avro_value_t *array, const struct ls_column *column, struct ls_array_item *item,
			      struct ls_arena *scratch, struct ls_error *err)
{
	avro_value_t child, none;

	if (avro_value_append(array, &child, NULL))
		return refuse(err, column, "could not be encoded");
	if (item->null)
		return branch(&child, BRANCH_NULL, &none) ? LS_OK : refuse(err, column, "could not be encoded");
	if (item->escaped) {
		char *plain = ls_arena_bytes(scratch, item->text.len);

		item->text.len = ls_array_unescape(item->text, plain);
		item->text.ptr = plain;
	}
	return set_kind(&child, column, ls_avro_kind(&column->type, column->type.item), item->text, scratch, err);
}

/* set_array: what is not a plain list (more dimensions, other bounds, a quoting of its own) travels as text. */
static enum ls_class set_array(avro_value_t *value, const struct ls_column *column, struct ls_str text,
			       struct ls_arena *scratch, struct ls_error *err)
{
	struct ls_array_item item;
	enum ls_array_step step;
	avro_value_t array;
	size_t at;

	if (!ls_array_open(text, &at))
		return as_text(value, BRANCH_TEXT, column, text, err);
	if (!branch(value, BRANCH_TYPED, &array) || avro_value_reset(&array))
		return refuse(err, column, "could not be encoded");
	while ((step = ls_array_next(text, &at, &item)) == LS_ARRAY_ITEM) {
		enum ls_class class = set_item(&array, column, &item, scratch, err);

		if (class)
			return class;
	}
	return step == LS_ARRAY_END ? LS_OK : as_text(value, BRANCH_TEXT, column, text, err);
}

enum ls_class ls_avro_set(avro_value_t *value, const struct ls_column *column, struct ls_str text,
			  struct ls_arena *scratch, struct ls_error *err)
{
	return set_kind(value, column, ls_avro_kind(&column->type, column->type.kind), text, scratch, err);
}
