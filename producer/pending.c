/* The ring of batches in flight. Not here: what the messages are, and what happens when a position is reached. */
#include "pending.h"

#include "core/buf.h"
#include "core/mutant.h"
#include "lockstep/event.h"

#include <assert.h>
#include <stdlib.h>

struct slot {
	size_t unacked;
	bool open, closed;      /* neither: free */
	struct ls_buf position; /* kept between uses; empty: none */
	int64_t floor;
	int64_t commit_us;
};

struct ls_pending {
	struct slot *slot;
	size_t room, head, used; /* head: the oldest batch */
	size_t unacked;
	struct ls_buf reached;
};

struct ls_pending *ls_pending_new(size_t slots)
{
	struct ls_pending *pending = calloc(1, sizeof(*pending));

	assert(slots > 0);
	if (!pending)
		abort();
	pending->slot = calloc(slots, sizeof(*pending->slot));
	if (!pending->slot)
		abort();
	pending->room = slots;
	for (size_t i = 0; i < slots; i++)
		ls_buf_init(&pending->slot[i].position, LS_POSITION_MAX);
	ls_buf_init(&pending->reached, LS_POSITION_MAX);
	return pending;
}

struct ls_pending *ls_pending_free(struct ls_pending *pending)
{
	if (!pending)
		return NULL;
	for (size_t i = 0; i < pending->room; i++)
		ls_buf_release(&pending->slot[i].position);
	ls_buf_release(&pending->reached);
	free(pending->slot);
	free(pending);
	return NULL;
}

bool ls_pending_begin(struct ls_pending *pending, size_t *ret_slot)
{
	size_t i = (pending->head + pending->used) % pending->room;

	if (pending->used == pending->room)
		return false;
	pending->used++;
	pending->slot[i].open = true;
	pending->slot[i].commit_us = LS_NONE;
	*ret_slot = i;
	return true;
}

void ls_pending_add(struct ls_pending *pending, size_t slot)
{
	assert(slot < pending->room && pending->slot[slot].open);
	pending->slot[slot].unacked++;
	pending->unacked++;
}

void ls_pending_ack(struct ls_pending *pending, size_t slot)
{
	assert(slot < pending->room && pending->slot[slot].unacked > 0);
	pending->slot[slot].unacked--;
	pending->unacked--;
}

bool ls_pending_close(struct ls_pending *pending, size_t slot, struct ls_str position, int64_t floor)
{
	struct slot *at = &pending->slot[slot];

	assert(slot < pending->room && at->open);
	ls_buf_clear(&at->position);
	if (position.len > LS_POSITION_MAX - 1)
		return false;
	ls_buf_add_str(&at->position, position);
	at->floor = floor;
	at->open = false;
	at->closed = true;
	return true;
}

bool ls_pending_reached(struct ls_pending *pending, struct ls_str *ret_position, int64_t *ret_floor)
{
	bool passed = false;

	while (pending->used > 0) {
		struct slot *head = &pending->slot[pending->head];

		if (!head->closed || (head->unacked > 0 && !LS_MUTANT("lsn.early")))
			break;
		if (head->position.len > 0) {
			struct ls_buf old = pending->reached;

			pending->reached = head->position;
			head->position = old;
			*ret_floor = head->floor;
			passed = true;
		}
		head->closed = false;
		pending->head = (pending->head + 1) % pending->room;
		pending->used--;
	}
	if (passed)
		*ret_position = ls_buf_str(&pending->reached);
	return passed;
}

size_t ls_pending_unacked(const struct ls_pending *pending)
{
	return pending->unacked;
}

size_t ls_pending_batches(const struct ls_pending *pending)
{
	return pending->used;
}

void ls_pending_note(struct ls_pending *pending, size_t slot, int64_t commit_us)
{
	pending->slot[slot].commit_us = commit_us;
}

int64_t ls_pending_noted(const struct ls_pending *pending, size_t slot)
{
	return pending->slot[slot].commit_us;
}
