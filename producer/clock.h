/* The version clock of one source: numbers that only grow, stay near wall time, and come out the same when the same
 * log is read again from a saved floor. Pure: it reads no clock of its own. */
#pragma once

#include <stdint.h>

struct ls_clock {
	int64_t last; /* the last version given; the floor that is saved with a position */
};

/* ls_clock_start sets the clock to a saved floor; LS_NONE: nothing was ever given. */
void ls_clock_start(struct ls_clock *clock, int64_t floor);

/* ls_clock_raise makes the next version greater than `floor`; LS_NONE and lower floors change nothing. */
void ls_clock_raise(struct ls_clock *clock, int64_t floor);

/* ls_clock_next gives max(last + 1, base_version + 1, commit_us).
 *
 * commit_us     the source's commit, microseconds since 1970 UTC
 * base_version  the highest version that the writer had seen; LS_NONE: not known */
int64_t ls_clock_next(struct ls_clock *clock, int64_t commit_us, int64_t base_version);
