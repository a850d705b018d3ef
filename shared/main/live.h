/* Status lines of the running lanes: redrawn at the foot of a terminal, or one log line a minute elsewhere. */
#pragma once

struct ls_app;
struct ls_crew;
struct ls_live;

struct ls_live *ls_live_new(struct ls_app *app, struct ls_crew *crew);
void ls_live_tick(struct ls_live *live); /* every second */
struct ls_live *ls_live_free(struct ls_live *live);

/* ls_live_reset gives the terminal back as it was; for the way out that frees nothing. */
void ls_live_reset(void);
