/* The total order of stamps. */
#include "lockstep/stamp.h"

static int compare(int64_t a, int64_t b)
{
	return a < b ? -1 : a > b;
}

int ls_stamp_compare(const struct ls_stamp *a, const struct ls_stamp *b)
{
	int c = compare(a->version, b->version);

	if (!c)
		c = compare(a->timestamp_us, b->timestamp_us);
	return c ? c : ls_str_compare(a->source, b->source);
}

struct ls_stamp ls_stamp_of(const struct ls_event *event)
{
	return (struct ls_stamp){ event->version, event->timestamp_us, event->source };
}
