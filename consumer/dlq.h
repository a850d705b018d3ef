/* The dead letter topics as lists: what is in them, sent again, dropped. Used by `lockstep dlq` and `status`. */
#pragma once

#include "kafka/client.h"
#include "lockstep/error.h"

struct ls_app;
struct ls_arena;

struct ls_dead_letter {
	struct ls_str id;    /* topic-partition-offset of the event it was */
	struct ls_str owner; /* the destination (or source) whose topic it lies in */
	struct ls_str topic; /* where the event came from; empty: from a source, never was in a topic */
	int32_t partition;
	int64_t offset;
	struct ls_str key, code, reason;
	int64_t time_us;
	int64_t retries;
	size_t bytes; /* of the original value */
	int32_t dlq_partition;
	int64_t dlq_offset;
	bool alive;  /* not retried or dropped since */
	bool chosen; /* the caller's */
};

struct ls_dead_list {
	struct ls_dead_letter *letter; /* owned */
	size_t count, room;
	struct ls_arena *arena;
};

/* ls_dead_list_read adds the dead letters of one owner's topic, those still alive first in their order. A topic that
 * does not exist is empty. */
enum ls_class ls_dead_list_read(const struct ls_app *app, const char *owner, struct ls_dead_list *list,
				struct ls_error *err);
void ls_dead_list_init(struct ls_dead_list *list);
void ls_dead_list_release(struct ls_dead_list *list);

/* ls_dead_each reads the owner's topic again and calls visit with the whole record of every chosen letter. */
typedef enum ls_class ls_dead_visit(void *context, const struct ls_dead_letter *letter, const struct ls_message *record,
				    struct ls_error *err);
enum ls_class ls_dead_each(const struct ls_app *app, const char *owner, const struct ls_dead_list *list,
			   ls_dead_visit *visit, void *context, struct ls_error *err);
