/* Memory of one batch: bump allocation, freed all at once. Out of memory aborts: the log and Kafka hold the truth. */
#pragma once

#include "lockstep/error.h"
#include "lockstep/str.h"

struct ls_arena;

/* ls_arena_new makes an arena. max_bytes is its ceiling: a request past it aborts, so callers that take sizes from
 * outside ask ls_arena_left first. 0: 1 GiB. */
struct ls_arena *ls_arena_new(size_t max_bytes);
struct ls_arena *ls_arena_free(struct ls_arena *arena); /* accepts NULL, returns NULL */

/* ls_arena_reset forgets everything; keeps up to 1 MiB of memory for the next batch. */
void ls_arena_reset(struct ls_arena *arena);

void *ls_arena_alloc(struct ls_arena *arena, size_t bytes);  /* aligned to 16, not cleared */
void *ls_arena_zalloc(struct ls_arena *arena, size_t bytes); /* cleared */
char *ls_arena_bytes(struct ls_arena *arena, size_t bytes);  /* not aligned: for text */
size_t ls_arena_used(const struct ls_arena *arena);
size_t ls_arena_left(const struct ls_arena *arena);

struct ls_str ls_arena_str(struct ls_arena *arena, struct ls_str text); /* a terminated copy */
struct ls_str ls_arena_printf(struct ls_arena *arena, const char *fmt, ...) LS_PRINTF(2, 3);
