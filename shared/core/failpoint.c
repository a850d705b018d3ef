/* The failpoints of LOCKSTEP_FAILPOINT, read once. A mistake in it ends the process: a test must not pass unnoticed. */
#include "core/failpoint.h"

#ifdef LS_FAILPOINTS

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum action { KILL, STOP, FAIL, DELAY };
enum { MAX_POINTS = 64, EVERY_HIT = 0 };

struct point {
	char name[64];
	enum action action;
	long delay_ms;
	unsigned long hit;
	atomic_ulong hits;
};

static struct point points[MAX_POINTS];
static size_t point_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static _Noreturn void refuse(const char *spec)
{
	fprintf(stderr, "LOCKSTEP_FAILPOINT: \"%s\" is not name:kill|stop|error|delay=MS[:hit|*]\n", spec);
	abort();
}

static unsigned long number(const char *text, const char *spec)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || !isdigit((unsigned char)*text))
		refuse(spec);
	return value;
}

static void parse_action(struct point *point, const char *text, const char *spec)
{
	static const struct {
		const char *name;
		enum action action;
	} action[] = { { "kill", KILL }, { "stop", STOP }, { "error", FAIL } };

	for (size_t i = 0; i < sizeof(action) / sizeof(action[0]); i++) {
		if (!strcmp(text, action[i].name)) {
			point->action = action[i].action;
			return;
		}
	}
	if (strncmp(text, "delay=", 6))
		refuse(spec);
	point->action = DELAY;
	point->delay_ms = (long)number(text + 6, spec);
}

static void parse_point(const char *spec)
{
	struct point *point = &points[point_count];
	char text[160];
	char *action, *hit;

	if (point_count == MAX_POINTS || strlen(spec) >= sizeof(text))
		refuse(spec);
	memcpy(text, spec, strlen(spec) + 1);
	action = strchr(text, ':');
	if (!action || action == text || (size_t)(action - text) >= sizeof(point->name))
		refuse(spec);
	*action++ = '\0';
	hit = strchr(action, ':');
	if (hit)
		*hit++ = '\0';
	memcpy(point->name, text, strlen(text) + 1);
	parse_action(point, action, spec);
	point->hit = !hit ? 1 : !strcmp(hit, "*") ? EVERY_HIT : number(hit, spec);
	point_count++;
}

static void parse(void)
{
	const char *env = getenv("LOCKSTEP_FAILPOINT");
	char *copy = env ? strdup(env) : NULL, *at = copy, *spec;

	while ((spec = strsep(&at, ","))) {
		if (*spec)
			parse_point(spec);
	}
	free(copy);
}

/* A test wants to see that the place was reached, also of a process that is killed there. */
static void announce(const struct point *point, unsigned long hits)
{
	static const char *const action[] = { "kill", "stop", "error", "delay" };
	char line[128];
	int len =
		snprintf(line, sizeof(line), "failpoint %s:%s at hit %lu\n", point->name, action[point->action], hits);

	if (write(STDERR_FILENO, line, (size_t)len) < 0)
		return; /* nobody reads it */
}

static enum ls_class act(const struct point *point, struct ls_error *err)
{
	struct timespec wait = { point->delay_ms / 1000, point->delay_ms % 1000 * 1000000 };

	switch (point->action) {
	case KILL:
		kill(getpid(), SIGKILL);
		pause();
		break;
	case STOP:
		raise(SIGSTOP); /* this thread before all: it goes not one step further */
		break;
	case FAIL:
		return err ? ls_fail(err, LS_RETRY, "failpoint", "failpoint %s answered with an error", point->name)
			   : LS_OK;
	case DELAY:
		while (nanosleep(&wait, &wait) && errno == EINTR)
			;
		break;
	}
	return LS_OK;
}

enum ls_class ls_failpoint(const char *name, struct ls_error *err)
{
	pthread_once(&once, parse);
	for (size_t i = 0; i < point_count; i++) {
		struct point *point = &points[i];
		unsigned long hits;
		enum ls_class class;

		if (strcmp(point->name, name))
			continue;
		hits = atomic_fetch_add(&point->hits, 1) + 1;
		if (point->hit != EVERY_HIT && hits != point->hit)
			continue;
		if (err || point->action != FAIL)
			announce(point, hits);
		class = act(point, err);
		if (class)
			return class;
	}
	return LS_OK;
}

#endif
