/* Clocks, waiting that a stop flag ends, backoff with full jitter. */
#include "core/time.h"

#include <string.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SLICE_MS = 20 };

#ifdef LS_FAILPOINTS
/* stepped: how far a test has set this process's clock, in seconds, written into the file LOCKSTEP_CLOCK. */
static int64_t stepped_us(void)
{
	const char *path = getenv("LOCKSTEP_CLOCK");
	FILE *file = path ? fopen(path, "re") : NULL;
	char text[32] = "";
	size_t len;

	if (!file)
		return 0;
	len = fread(text, 1, sizeof text - 1, file);
	fclose(file);
	text[len] = 0;
	return strtoll(text, NULL, 10) * 1000000;
}
#else
static int64_t stepped_us(void)
{
	return 0;
}
#endif

int64_t ls_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 + stepped_us();
}

int64_t ls_monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool ls_stop_wait(const struct ls_stop *stop, int64_t ms)
{
	int64_t end = ls_monotonic_ms() + ms;

	for (;;) {
		int64_t left = end - ls_monotonic_ms();
		struct timespec slice;

		if (ls_stop_is_set(stop))
			return true;
		if (left <= 0)
			return false;
		slice = (struct timespec){ .tv_nsec = (left < SLICE_MS ? left : SLICE_MS) * 1000000 };
		nanosleep(&slice, NULL);
	}
}

uint64_t ls_random(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static int64_t ceiling(const struct ls_backoff *backoff)
{
	int64_t wait = backoff->initial_ms > 0 ? backoff->initial_ms : 1;

	for (unsigned i = 0; i < backoff->attempt && wait < backoff->max_ms; i++)
		wait = wait > INT64_MAX / 2 ? INT64_MAX : wait * 2;
	return wait < backoff->max_ms ? wait : backoff->max_ms;
}

int64_t ls_backoff_next(struct ls_backoff *backoff)
{
	int64_t most = ceiling(backoff);

	if (!backoff->seed)
		backoff->seed = (uint64_t)ls_now_us() ^ (uint64_t)(uintptr_t)backoff << 20;
	if (backoff->attempt < 64)
		backoff->attempt++;
	return most > 0 ? (int64_t)(ls_random(&backoff->seed) % ((uint64_t)most + 1)) : 0;
}

void ls_backoff_reset(struct ls_backoff *backoff)
{
	backoff->attempt = 0;
}

void ls_time_format(int64_t time_us, char out[25])
{
	int64_t ms = time_us / 1000 - (time_us % 1000 < 0), seconds = ms / 1000 - (ms % 1000 < 0);
	time_t when = (time_t)seconds;
	char text[96];
	struct tm tm;

	/* Beyond the years 0 to 9999 there is no text of 24 characters. */
	if (!gmtime_r(&when, &tm) || tm.tm_year < -1900 || tm.tm_year > 8099) {
		memcpy(out, "0000-00-00T00:00:00.000Z", 25);
		return;
	}
	snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
		 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms - seconds * 1000));
	memcpy(out, text, 24);
	out[24] = '\0';
}
