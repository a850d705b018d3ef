/* Batches sent to Kafka and not yet acknowledged, in the order in which the source gave them. Acknowledgements come in
 * any order; a position is reached when everything up to it is acknowledged. */
#pragma once

#include "lockstep/str.h"

#include <stddef.h>
#include <stdint.h>

struct ls_pending;

enum { LS_POSITION_MAX = 512 * 1024 }; /* bytes of a position text; it must fit a Kafka message of default size */

struct ls_pending *ls_pending_new(size_t slots);
struct ls_pending *ls_pending_free(struct ls_pending *pending); /* accepts NULL, returns NULL */

/* ls_pending_begin opens the next batch. Returns false when every slot is taken: wait for acknowledgements. */
bool ls_pending_begin(struct ls_pending *pending, size_t *ret_slot);

/* ls_pending_add counts one message of the open batch `slot`, before it is sent.
 * ls_pending_ack takes one back, sent or not; acknowledging what was never added is a bug (assert). */
void ls_pending_add(struct ls_pending *pending, size_t slot);
void ls_pending_ack(struct ls_pending *pending, size_t slot);

/* ls_pending_close ends the batch: no more messages will be added.
 *
 * position  reached when this batch and all before it are acknowledged; copied; empty: this batch has none
 * floor     of the version clock at that point
 * Returns false when the text is longer than LS_POSITION_MAX; the batch is then still open. */
bool ls_pending_close(struct ls_pending *pending, size_t slot, struct ls_str position, int64_t floor);

/* ls_pending_reached frees the slots of complete batches, oldest first, up to the first that is not.
 * Returns true when that passed a position; *ret_position and *ret_floor are then the newest one. The text is the
 * ring's until the next call. */
bool ls_pending_reached(struct ls_pending *pending, struct ls_str *ret_position, int64_t *ret_floor);

size_t ls_pending_unacked(const struct ls_pending *pending); /* messages */
size_t ls_pending_batches(const struct ls_pending *pending); /* slots in use */

/* What the lane remembers of a batch for its figures: the newest commit time in it. LS_NONE: nothing to measure. */
void ls_pending_note(struct ls_pending *pending, size_t slot, int64_t commit_us);
int64_t ls_pending_noted(const struct ls_pending *pending, size_t slot);
