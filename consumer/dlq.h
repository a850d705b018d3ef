/* The dead letter topics as lists: what is in them, sent again, dropped. Used by `lockstep dlq` and `status`. */
#pragma once

#include "kafka/client.h"
#include "lockstep/error.h"

struct ls_app;
struct ls_arena;

struct ls_dead_letter {
	struct ls_str id;    /* topic-partition-offset of the event it was; from a source: its name and the event_id */
	struct ls_str owner; /* the destination (or source) whose topic it lies in */
	struct ls_str topic; /* where the event came from; empty: from a source, never was in a topic */
	int32_t partition;
	int64_t offset;
	struct ls_str key, code, reason;
	struct ls_str source, entity, event_id; /* of letters from a source; else empty */
	int64_t time_us;
	int64_t retries;
	size_t bytes; /* of the value in the dead letter topic: the original bytes, or from a source JSON or nothing */
	int32_t dlq_partition;
	int64_t dlq_offset;
	bool capture; /* written by the source's side: it never became an event, there is nothing to send again */
	bool alive;   /* not retried or dropped since */
	bool chosen;  /* the caller's */
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

/* ls_dead_list_sort puts the oldest first. */
void ls_dead_list_sort(struct ls_dead_list *list);

/* ls_dead_each reads the owner's topic again, from its first chosen letter to its last, and calls visit with the whole
 * record of every chosen letter, in the order of the topic. */
typedef enum ls_class ls_dead_visit(void *context, const struct ls_dead_letter *letter, const struct ls_message *record,
				    struct ls_error *err);
enum ls_class ls_dead_each(const struct ls_app *app, const char *owner, const struct ls_dead_list *list,
			   ls_dead_visit *visit, void *context, struct ls_error *err);
