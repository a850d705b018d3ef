/* What a source hands over in one poll: events in order, and the position that is reached once all are durable. */
#pragma once

#include "lockstep/event.h"

struct ls_arena;

struct ls_batch {
	struct ls_arena *arena; /* the lane's; holds all that the events point at; reset when the batch is released */
	struct ls_event *event; /* room for max events, the lane's */
	size_t count, max;
	int64_t floor;          /* LS_NONE, or: raise the version clock to at least this before the first event */
	struct ls_str position; /* arena; empty, or the source's own text (JSON): where to go on from when every event
				 * of this batch and of all before it is acknowledged */
};
