/* Spans of time as people write them. */
#include "config/duration.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	int64_t ms;
} units[] = { { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } };

enum { UNITS = sizeof units / sizeof units[0] };

bool ls_duration_parse(const char *text, const char *unit, int64_t *ret_ms)
{
	char *end;
	long long number;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	number = strtoll(text, &end, 10);
	if (errno)
		return false;
	if (*end == 0 && unit)
		end = (char *)unit;
	for (size_t i = 0; i < UNITS; i++)
		if (strcmp(end, units[i].name) == 0)
			return !__builtin_mul_overflow((int64_t)number, units[i].ms, ret_ms);
	return false;
}

const char *ls_duration_format(int64_t ms, char out[LS_DURATION_TEXT])
{
	size_t i = 0;

	while (i < UNITS - 1 && (ms == 0 || ms % units[i].ms != 0))
		i++;
	snprintf(out, LS_DURATION_TEXT, "%" PRId64 "%s", ms / units[i].ms, ms ? units[i].name : "s");
	return out;
}
