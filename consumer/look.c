/* Does the destination still stand where this lane left it? A backup that was put back, or a standby that was behind
 * when it took over, says nothing of itself, and a partition in which nothing arrives would never find out. */
#include "core/arena.h"
#include "lane.h"

enum { LOOK_EVERY_MS = 5000 };

/* mark_of searches from *at on, where the one after the last found is: both lists are mostly in one order. */
static const struct ls_mark *mark_of(const struct ls_mark *mark, size_t count, const struct ls_mark *ours, size_t *at)
{
	for (size_t tried = 0; tried < count; tried++) {
		const struct ls_mark *here = &mark[*at];

		*at = (*at + 1) % count;
		if (here->partition == ours->partition && ls_str_equal(here->topic, ours->topic))
			return here;
	}
	return NULL;
}

/* compare: every mark of this lane must stand as the lane itself has moved it. */
static enum ls_class compare(const struct ls_sink_lane *lane, const struct ls_mark *mark, size_t count,
			     struct ls_error *err)
{
	size_t at = 0;

	for (size_t i = 0; i < lane->part_count; i++) {
		const struct ls_mark *ours = &lane->part[i].mark, *there = mark_of(mark, count, ours, &at);

		if (there && there->next_offset == ours->next_offset && there->owner_epoch == ours->owner_epoch)
			continue;
		return ls_fail(err, LS_FENCED, "mark",
			       "destination %s, topic %.*s partition %d: its mark stands at %lld under epoch %lld, "
			       "this sink left it at %lld under epoch %lld: the destination was put back to an older "
			       "state, or another sink works on it; beginning again from its mark",
			       lane->config->name, LS_ARG(ours->topic), (int)ours->partition,
			       there ? (long long)there->next_offset : -1LL,
			       there ? (long long)there->owner_epoch : 0LL, (long long)ours->next_offset,
			       (long long)ours->owner_epoch);
	}
	return LS_OK;
}

enum ls_class ls_sink_look(struct ls_sink_lane *lane, struct ls_error *err)
{
	int64_t now = ls_monotonic_ms();
	struct ls_mark *mark = NULL;
	struct ls_error away;
	size_t count = 0;

	if (!lane->dst->ops->stand || !lane->part_count || now - lane->last_look_ms < LOOK_EVERY_MS)
		return LS_OK;
	lane->last_look_ms = now;
	ls_arena_reset(lane->arena);
	/* A destination that is away is a matter for the next batch, which waits for it and says so. */
	if (lane->dst->ops->stand(lane->dst, lane->arena, &mark, &count, &away))
		return LS_OK;
	ls_sink_clock_told(lane, mark, count);
	return compare(lane, mark, count, err);
}
