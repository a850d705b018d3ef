/* A partition that the destination cannot take as it is: a column or a table is missing that a person has to make. It
 * waits with the messages it has, and is tried again every few seconds; the other partitions go on. */
#include "core/time.h"
#include "lane.h"
#include "main/app.h"

#include <stdio.h>
#include <stdlib.h>

enum { FIRST_MS = 200, LAST_MS = 5000 };

bool ls_hold_mends(enum ls_class class, const struct ls_error *err)
{
	return class == LS_FATAL && strncmp(err->code, "42", 2) == 0;
}

void ls_hold(struct ls_sink_lane *lane, struct ls_part *part, const struct ls_error *why)
{
	char next[96];

	part->hold_ms = part->hold_ms ? part->hold_ms * 2 : FIRST_MS;
	if (part->hold_ms > LAST_MS)
		part->hold_ms = LAST_MS;
	part->held_until_ms = ls_monotonic_ms() + part->hold_ms;
	snprintf(next, sizeof next, "this partition waits, the others go on; try again in %lld ms",
		 (long long)part->hold_ms);
	ls_log_error(lane->base.app->log, LS_LOG_WARN, lane->base.name, why, next);
	ls_stats_error(lane->base.stats, why->text);
	LS_COUNT(lane->base.stats, retries, 1);
}

bool ls_hold_is(const struct ls_part *part)
{
	return part->held_until_ms != 0;
}

void ls_hold_keep(struct ls_part *part, struct ls_message *message, size_t count)
{
	size_t done = 0;

	while (done < count && !message[done].class && message[done].offset < part->mark.next_offset)
		ls_message_free(&message[done++]);
	part->held = calloc(count - done + 1, sizeof *part->held);
	if (!part->held)
		abort();
	part->held_count = count - done;
	memcpy(part->held, message + done, part->held_count * sizeof *part->held);
}

size_t ls_hold_take(struct ls_part *part, struct ls_message *message)
{
	size_t count = part->held_count;

	if (ls_monotonic_ms() < part->held_until_ms)
		return 0;
	memcpy(message, part->held, count * sizeof *part->held);
	free(part->held);
	part->held = NULL;
	part->held_count = 0;
	part->held_until_ms = 0;
	return count;
}

void ls_hold_free(struct ls_part *part)
{
	for (size_t i = 0; i < part->held_count; i++)
		ls_message_free(&part->held[i]);
	free(part->held);
	part->held = NULL;
	part->held_count = 0;
}
