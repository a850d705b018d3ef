/* Status lines. On a terminal the log scrolls above a fixed foot (a scroll region), so that neither tears the other. */
#include "main/live.h"

#include "core/buf.h"
#include "main/app.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { SUMMARY_TICKS = 60, LEAST_LOG_ROWS = 5 };

struct ls_live {
	struct ls_app *app;
	struct ls_crew *crew;
	long long *last;   /* events of each lane at the last tick */
	int rows, columns; /* of the terminal the foot was laid out for; 0: no foot */
	unsigned ticks;
};

static int foot_rows(const struct ls_live *live)
{
	return (int)ls_crew_count(live->crew) + 1;
}

static void send(const struct ls_buf *out)
{
	/* A terminal that is gone is no reason to stop. */
	if (write(STDERR_FILENO, out->ptr, out->len) < 0)
		return;
}

/* Reads the size of the terminal and lays the scroll region out anew when it has changed. */
static bool lay_out(struct ls_live *live)
{
	struct winsize size;
	struct ls_buf out;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row < foot_rows(live) + LEAST_LOG_ROWS)
		return false;
	if (live->rows == size.ws_row && live->columns == size.ws_col)
		return true;
	ls_buf_init(&out, 4096);
	/* Push what is there up by the height of the foot, then keep the log above it. */
	for (int i = 0; live->rows == 0 && i < foot_rows(live); i++)
		ls_buf_add_char(&out, '\n');
	live->rows = size.ws_row;
	live->columns = size.ws_col;
	ls_buf_printf(&out, "\0337\033[1;%dr\0338\033[%dA", live->rows - foot_rows(live), foot_rows(live));
	send(&out);
	ls_buf_release(&out);
	return true;
}

static bool is_terminal(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && term && term[0] && strcmp(term, "dumb") != 0;
}

struct ls_live *ls_live_new(struct ls_app *app, struct ls_crew *crew)
{
	struct ls_live *live = calloc(1, sizeof *live);

	if (!live)
		abort();
	live->app = app;
	live->crew = crew;
	live->last = calloc(ls_crew_count(crew) + 1, sizeof *live->last);
	if (!live->last)
		abort();
	return live;
}

static void add_cut(struct ls_buf *out, const char *line, int columns)
{
	size_t len = strlen(line);

	ls_buf_add(out, line, len < (size_t)columns ? len : (size_t)columns);
}

/* Control characters in an error would move the cursor. */
static void clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = ' ';
}

static void lane_line(struct ls_live *live, size_t index, char *out, size_t size)
{
	const struct ls_lane *lane = ls_crew_lane(live->crew, index);
	struct ls_lane_stats *stats = lane->stats;
	long long events = LS_READ(stats, events), rate = events - live->last[index];
	char error[120];

	live->last[index] = events;
	ls_stats_last_error(stats, error, sizeof error);
	clean(error);
	snprintf(out, size, "%-24s %-4s %9lld/s %10lld %12lld %8lld  %s", lane->name,
		 LS_READ(stats, up) ? "up" : "DOWN", rate, (long long)LS_READ(stats, lag_events),
		 (long long)(LS_READ(stats, applied) + LS_READ(stats, published)), (long long)LS_READ(stats, dead),
		 error);
}

static void draw(struct ls_live *live)
{
	struct ls_buf out;
	char line[400];
	int top = live->rows - foot_rows(live) + 1;

	ls_buf_init(&out, 1 << 16);
	ls_buf_printf(&out, "\0337\033[%d;1H\033[2K\033[7m", top);
	snprintf(line, sizeof line, "%-24s %-4s %11s %10s %12s %8s  %s", "lane", "", "events", "lag", "done", "dead",
		 "last error");
	add_cut(&out, line, live->columns);
	ls_buf_add_text(&out, "\033[0m");
	for (size_t i = 0; i < ls_crew_count(live->crew); i++) {
		lane_line(live, i, line, sizeof line);
		ls_buf_printf(&out, "\033[%d;1H\033[2K", top + 1 + (int)i);
		add_cut(&out, line, live->columns);
	}
	ls_buf_add_text(&out, "\0338");
	send(&out);
	ls_buf_release(&out);
}

static void summary(struct ls_live *live)
{
	long long events = 0, applied = 0, published = 0, dead = 0, lag = 0, up = 0;

	for (size_t i = 0; i < ls_crew_count(live->crew); i++) {
		struct ls_lane_stats *stats = ls_crew_lane(live->crew, i)->stats;

		events += LS_READ(stats, events);
		applied += LS_READ(stats, applied);
		published += LS_READ(stats, published);
		dead += LS_READ(stats, dead);
		lag += LS_READ(stats, lag_events);
		up += LS_READ(stats, up);
	}
	LS_LOG(live->app->log, LS_LOG_INFO, NULL, "summary", LS_N("lanes", ls_crew_count(live->crew)), LS_N("up", up),
	       LS_N("events", events), LS_N("published", published), LS_N("applied", applied), LS_N("dead", dead),
	       LS_N("lag", lag));
}

void ls_live_tick(struct ls_live *live)
{
	live->ticks++;
	if (is_terminal() && lay_out(live))
		draw(live);
	else if (live->ticks % SUMMARY_TICKS == 0)
		summary(live);
}

void ls_live_reset(void)
{
	static const char reset[] = "\0337\033[r\0338";

	if (is_terminal() && write(STDERR_FILENO, reset, sizeof reset - 1) < 0)
		return;
}

struct ls_live *ls_live_free(struct ls_live *live)
{
	struct ls_buf out;

	if (!live)
		return NULL;
	if (live->rows) {
		ls_buf_init(&out, 256);
		ls_buf_printf(&out, "\033[r\033[%d;1H\n", live->rows);
		send(&out);
		ls_buf_release(&out);
	}
	free(live->last);
	free(live);
	return NULL;
}
