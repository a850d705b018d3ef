/* The version clock of one source. Not here: where commit times come from, and where the floor is kept. */
#include "clock.h"

#include "lockstep/event.h"

#include "core/mutant.h"

/* The number after `version`. The top of the range stays where it is: a foreign base_version must not wrap us round. */
static int64_t after(int64_t version)
{
	return version == INT64_MAX ? INT64_MAX : version + 1;
}

void ls_clock_start(struct ls_clock *clock, int64_t floor)
{
	clock->last = floor == LS_NONE ? 0 : floor;
}

void ls_clock_raise(struct ls_clock *clock, int64_t floor)
{
	if (floor != LS_NONE && floor > clock->last)
		clock->last = floor;
}

int64_t ls_clock_next(struct ls_clock *clock, int64_t commit_us, int64_t base_version)
{
	int64_t version = after(clock->last);

	if (base_version != LS_NONE && !LS_MUTANT("clock.alone") && after(base_version) > version)
		version = after(base_version);
	if (commit_us > version)
		version = commit_us;
	clock->last = version;
	return version;
}
