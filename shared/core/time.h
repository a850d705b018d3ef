/* Clocks, waiting, and how long to wait before trying again. */
#pragma once

#include <stdbool.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

int64_t ls_now_us(void);       /* wall clock, microseconds since 1970 UTC */
int64_t ls_monotonic_ms(void); /* for timeouts; never goes back */

/* ls_stop is the one flag shared by all threads of the process: set once, read often. */
struct ls_stop {
	atomic_bool set;
};
static inline bool ls_stop_is_set(const struct ls_stop *stop)
{
	return atomic_load_explicit(&stop->set, memory_order_relaxed);
}

/* ls_stop_wait sleeps up to ms, in slices of 20 ms; returns true when the flag is set. */
bool ls_stop_wait(const struct ls_stop *stop, int64_t ms);

/* Exponential backoff with full jitter: each wait is uniform in 0..min(max, initial * 2^attempt). */
struct ls_backoff {
	int64_t initial_ms, max_ms;
	unsigned attempt;
	uint64_t seed; /* any; 0 takes one from the clock */
};
int64_t ls_backoff_next(struct ls_backoff *backoff); /* counts the attempt, returns milliseconds */
void ls_backoff_reset(struct ls_backoff *backoff);

/* ls_time_format writes 2026-11-21T09:14:03.120Z into out (25 bytes). */
void ls_time_format(int64_t time_us, char out[25]);
uint64_t ls_random(uint64_t *seed); /* splitmix64 */
