/* Seeds of property tests: printed, so that a failure can be run again with LS_SEED=. */
#pragma once

#include "core/time.h"

#include <stdio.h>
#include <stdlib.h>

static inline uint64_t test_seed(void)
{
	const char *env = getenv("LS_SEED");
	uint64_t seed = env ? strtoull(env, NULL, 0) : (uint64_t)ls_now_us();

	printf("seed %llu (LS_SEED=%llu runs it again)\n", (unsigned long long)seed, (unsigned long long)seed);
	return seed;
}

/* test_below returns a number in 0..n-1. */
static inline size_t test_below(uint64_t *seed, size_t n)
{
	return (size_t)(ls_random(seed) % n);
}

static inline bool test_chance(uint64_t *seed, unsigned percent)
{
	return ls_random(seed) % 100 < percent;
}
