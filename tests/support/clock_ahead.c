/* Preloaded into a server, sets its wall clock CLOCK_AHEAD seconds ahead; monotonic clocks and timers stay as they are.
 * libfaketime does the same, but a PostgreSQL under it never fires deadlock_timeout. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long ahead;

__attribute__((constructor)) static void begin(void)
{
	const char *text = getenv("CLOCK_AHEAD");

	ahead = text ? strtol(text, NULL, 10) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	long failed = syscall(SYS_clock_gettime, clock, ret);

	if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		ret->tv_sec += ahead;
	return (int)failed;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &now))
		return -1;
	*ret = (struct timeval){ now.tv_sec, now.tv_nsec / 1000 };
	return 0;
}

time_t time(time_t *ret)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now))
		return -1;
	if (ret)
		*ret = now.tv_sec;
	return now.tv_sec;
}
