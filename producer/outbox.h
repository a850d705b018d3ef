/* Changes sent by hand: encoded under schemas of their own, each with its outcome. Used by `publish`. */
#pragma once

#include "lockstep/error.h"
#include "lockstep/event.h"

struct ls_app;
struct ls_outbox;

/* What became of one change. problem NULL: it is durable at partition and offset. */
struct ls_receipt {
	size_t line; /* as given to ls_outbox_send */
	const char *event_id, *topic;
	int32_t partition;
	int64_t offset;
	const char *problem;
};

/* ls_outbox_open makes ready; nothing is written. `done` is called for every change that was taken, in the order of the
 * acknowledgements. */
enum ls_class ls_outbox_open(struct ls_app *app, void (*done)(void *context, const struct ls_receipt *receipt),
			     void *context, struct ls_outbox **ret, struct ls_error *err);

/* ls_outbox_send takes one event; waits while too many are unanswered. LS_POISON: this event cannot be sent. */
enum ls_class ls_outbox_send(struct ls_outbox *outbox, size_t line, const struct ls_event *event, bool priority,
			     struct ls_error *err);

/* ls_outbox_flush waits until everything is answered. LS_RETRY: it was not within timeout_ms. */
enum ls_class ls_outbox_flush(struct ls_outbox *outbox, int timeout_ms, struct ls_error *err);
struct ls_outbox *ls_outbox_close(struct ls_outbox *outbox); /* accepts NULL, returns NULL */
