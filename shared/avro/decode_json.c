/* Values of any Avro type as JSON text, and passing over values that nobody asked for. */
#include "avro/decode_value.h"
#include "core/json.h"
#include "avro/text.h"

enum { STEPS_MAX = 20000000 };

static bool enter(struct ls_walk *walk)
{
	if (walk->depth >= LS_AVRO_DEPTH)
		return ls_walk_fail(walk, "is nested too deep");
	walk->depth++;
	return true;
}

static bool scalar_json(struct ls_walk *walk, const struct ls_avro_node *node)
{
	char small[LS_PRINT_MAX];
	struct ls_str text;
	bool null, plain;

	if (!ls_walk_scalar(walk, node, small, &text, &null))
		return false;
	if (null) {
		ls_buf_add_text(walk->scratch, "null");
		return true;
	}
	if (node->tag == LS_AVRO_BOOLEAN) {
		ls_buf_add_text(walk->scratch, text.ptr[0] == 't' ? "true" : "false");
		return true;
	}
	plain = !node->logical && node->tag >= LS_AVRO_INT && node->tag <= LS_AVRO_DOUBLE;
	if (plain && ls_json_number(text))
		ls_buf_add_str(walk->scratch, text);
	else
		ls_json_quote(walk->scratch, text);
	return true;
}

static bool key(struct ls_walk *walk, struct ls_str *ret)
{
	if (!ls_wire_bytes(&walk->wire, ret))
		return ls_walk_fail(walk, "says it is longer than the message");
	return ls_utf8_ok(*ret) || ls_walk_fail(walk, "is not UTF-8 or has a NUL byte");
}

static bool items_json(struct ls_walk *walk, const struct ls_avro_node *node)
{
	bool map = node->tag == LS_AVRO_MAP, first = true;
	struct ls_str name;
	uint64_t left = 0;

	ls_buf_add_char(walk->scratch, map ? '{' : '[');
	for (;; left--) {
		if (!left && !ls_wire_block(&walk->wire, !map && node->item->empty, &left))
			return ls_walk_fail(walk, "has more items than the message has bytes");
		if (!left)
			break;
		if (!first)
			ls_buf_add_char(walk->scratch, ',');
		first = false;
		if (map) {
			if (!key(walk, &name))
				return false;
			ls_json_quote(walk->scratch, name);
			ls_buf_add_char(walk->scratch, ':');
		}
		if (!ls_walk_json(walk, node->item))
			return false;
	}
	ls_buf_add_char(walk->scratch, map ? '}' : ']');
	return true;
}

static bool record_json(struct ls_walk *walk, const struct ls_avro_node *node)
{
	for (size_t i = 0; i < node->count; i++) {
		ls_buf_add_char(walk->scratch, i ? ',' : '{');
		ls_json_quote(walk->scratch, node->field[i].column);
		ls_buf_add_char(walk->scratch, ':');
		if (!ls_walk_json(walk, node->field[i].type))
			return false;
	}
	ls_buf_add_text(walk->scratch, node->count ? "}" : "{}");
	return true;
}

bool ls_walk_json(struct ls_walk *walk, const struct ls_avro_node *node)
{
	bool fine;

	/* Records of nothing can hold records of nothing without end: the text's ceiling stops them. */
	if (walk->scratch->full)
		return ls_walk_fail(walk, "is too large as text");
	if (!enter(walk))
		return false;
	node = ls_walk_branch(walk, node);
	if (!node)
		return false;
	if (node->tag == LS_AVRO_RECORD)
		fine = record_json(walk, node);
	else if (node->tag == LS_AVRO_ARRAY || node->tag == LS_AVRO_MAP)
		fine = items_json(walk, node);
	else
		fine = scalar_json(walk, node);
	walk->depth--;
	return fine;
}

static bool skip_items(struct ls_walk *walk, const struct ls_avro_node *node)
{
	bool map = node->tag == LS_AVRO_MAP;
	struct ls_str name;
	uint64_t left = 0;

	for (;; left--) {
		if (!left && !ls_wire_block(&walk->wire, !map && node->item->empty, &left))
			return ls_walk_fail(walk, "has more items than the message has bytes");
		if (!left)
			return true;
		if (map && !key(walk, &name))
			return false;
		if (!map && node->item->empty)
			left = 1; /* nothing to walk over, however many */
		if (!ls_walk_skip(walk, node->item))
			return false;
	}
}

/* skip_scalar moves on without making text: a field of megabytes that nobody reads costs nothing. */
static bool skip_scalar(struct ls_walk *walk, const struct ls_avro_node *node)
{
	char small[LS_PRINT_MAX];
	struct ls_str text;
	bool null;

	if (node->tag == LS_AVRO_FIXED)
		return ls_wire_view(&walk->wire, node->size, &text) ||
		       ls_walk_fail(walk, "says it is longer than the message");
	if (node->tag == LS_AVRO_BYTES || node->tag == LS_AVRO_STRING)
		return ls_wire_bytes(&walk->wire, &text) || ls_walk_fail(walk, "says it is longer than the message");
	return ls_walk_scalar(walk, node, small, &text, &null);
}

bool ls_walk_skip(struct ls_walk *walk, const struct ls_avro_node *node)
{
	bool fine = true;

	if (++walk->steps > STEPS_MAX)
		return ls_walk_fail(walk, "has too many parts");
	if (node->empty)
		return true;
	if (!enter(walk))
		return false;
	node = ls_walk_branch(walk, node);
	if (!node)
		return false;
	if (node->tag == LS_AVRO_RECORD)
		for (size_t i = 0; fine && i < node->count; i++)
			fine = ls_walk_skip(walk, node->field[i].type);
	else if (node->tag == LS_AVRO_ARRAY || node->tag == LS_AVRO_MAP)
		fine = skip_items(walk, node);
	else
		fine = skip_scalar(walk, node);
	walk->depth--;
	return fine;
}
