/* Avro bytes of any schema to canonical text, along a plan, every length checked before it is believed. */
#pragma once

#include "avro/plan.h"
#include "avro/wire.h"
#include "core/buf.h"
#include "lockstep/event.h"

struct ls_arena;

/* One walk over one datum. */
struct ls_walk {
	struct ls_wire wire;
	struct ls_arena *arena;
	struct ls_buf *scratch;
	struct ls_error *err;
	struct ls_str where; /* the field being read, for errors */
	int depth;
	long steps; /* values passed over so far */
};

/* ls_walk_fail fills err as LS_POISON with the field's name and returns false. */
bool ls_walk_fail(struct ls_walk *walk, const char *problem);
/* ls_walk_room: the arena can take that much more; else fails. */
bool ls_walk_room(struct ls_walk *walk, size_t bytes);
/* ls_walk_branch reads the index of a union; on anything else returns the node itself. NULL: failed. */
const struct ls_avro_node *ls_walk_branch(struct ls_walk *walk, const struct ls_avro_node *node);
bool ls_walk_skip(struct ls_walk *walk, const struct ls_avro_node *node);

/* ls_avro_type_of says as which neutral type values of a node are handed on. */
struct ls_type ls_avro_type_of(const struct ls_avro_node *node);
/* ls_walk_text reads one value as its canonical text. json: print it as JSON whatever it is. */
bool ls_walk_text(struct ls_walk *walk, const struct ls_avro_node *node, bool json, struct ls_value *ret);
/* ls_walk_json adds one value as JSON to `scratch`. */
bool ls_walk_json(struct ls_walk *walk, const struct ls_avro_node *node);
/* ls_walk_scalar reads a value that is not a record, array, map or union as canonical text, at most
 * LS_PRINT_MAX bytes of it in `small`, longer ones in the arena or where they stand. *ret_null: it is null. */
bool ls_walk_scalar(struct ls_walk *walk, const struct ls_avro_node *node, char *small, struct ls_str *ret,
		    bool *ret_null);
