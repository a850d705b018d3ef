/* What time it is, for saying that an event comes from the future. A clock that is set back must not make dead letters
 * of good events, so the latest of what may be believed counts: this machine's clock; what it said when the lane began,
 * carried on by the monotonic clock, which nobody sets; and the destination's, as of its last claim or look. Where the
 * destination is a source, too, its clock is the one that is judged, and no witness: all destinations of a two-way
 * entity must come to the same. */
#include "lane.h"

void ls_sink_clock_begin(struct ls_sink_lane *lane)
{
	lane->begun_us = ls_now_us();
	lane->begun_ms = ls_monotonic_ms();
	lane->told_us = 0;
}

void ls_sink_clock_told(struct ls_sink_lane *lane, const struct ls_mark *mark, size_t count)
{
	if (!count || !mark[0].clock_us || lane->context.is_source)
		return;
	lane->told_us = mark[0].clock_us;
	lane->told_ms = ls_monotonic_ms();
}

int64_t ls_sink_clock_now(const struct ls_sink_lane *lane)
{
	int64_t now_us = ls_now_us(), now_ms = ls_monotonic_ms();
	int64_t begun_us = lane->begun_us + (now_ms - lane->begun_ms) * 1000;
	int64_t told_us = lane->told_us ? lane->told_us + (now_ms - lane->told_ms) * 1000 : 0;

	now_us = begun_us > now_us ? begun_us : now_us;
	return told_us > now_us ? told_us : now_us;
}
