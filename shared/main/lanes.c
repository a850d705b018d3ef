/* What `run`, `capture` and `sink` have in common: topics first, then the HTTP server, then the lanes. */
#include "main/app.h"

#include "kafka/topics.h"
#include "main/live.h"
#include "main/status_server.h"

#include <signal.h>
#include <stdio.h>

struct scene {
	struct ls_app *app;
	struct ls_crew *crew;
	struct ls_live *live;
	struct ls_status_server *server;
};

/* Threads that are started while these are blocked never see them; the crew reads them itself. */
static void block_signals(sigset_t *before)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, before);
}

/* Nothing runs yet: a signal may simply end the process here. */
static enum ls_class ensure_topics(struct ls_app *app, struct ls_error *err)
{
	struct ls_backoff backoff = { .initial_ms = 500, .max_ms = 15000 };
	enum ls_class class;
	char next[48];

	LS_LOG(app->log, LS_LOG_INFO, NULL, "looking after the topics", LS_F("prefix", app->config->prefix));
	while ((class = ls_topics_ensure(app->config, err)) == LS_RETRY) {
		int64_t wait_ms = ls_backoff_next(&backoff);

		snprintf(next, sizeof next, "tried again in %lld ms", (long long)wait_ms);
		ls_log_error(app->log, LS_LOG_WARN, NULL, err, next);
		ls_stop_wait(&app->stop, wait_ms);
	}
	return class;
}

static void tick(void *arg)
{
	struct scene *scene = arg;

	ls_live_tick(scene->live);
	ls_status_server_tick(scene->server);
}

static enum ls_class start_wings(struct scene *scene, const struct ls_wing *const *wing, size_t count,
				 char *const *names, size_t name_count, struct ls_error *err)
{
	for (size_t i = 0; i < count; i++) {
		enum ls_class class = wing[i]->start(scene->app, names, name_count, scene->crew, err);

		if (class)
			return class;
	}
	if (ls_crew_count(scene->crew) == 0)
		return ls_fail(err, LS_FATAL, "config",
			       "%s: nothing to do: no source or destination is left to run; look at its sources and "
			       "destinations and at the flags of this command",
			       scene->app->config->file);
	return LS_OK;
}

static enum ls_exit run_crew(struct scene *scene)
{
	enum ls_exit code;

	LS_LOG(scene->app->log, LS_LOG_INFO, NULL, "started", LS_N("lanes", ls_crew_count(scene->crew)),
	       LS_F("version", LS_VERSION), LS_F("config", scene->app->config->file));
	ls_status_server_started(scene->server);
	scene->live = ls_live_new(scene->app, scene->crew);
	code = ls_crew_run(scene->crew, tick, scene);
	scene->live = ls_live_free(scene->live);
	LS_LOG(scene->app->log, LS_LOG_INFO, NULL, "ended", LS_N("exit", code));
	return code;
}

enum ls_exit ls_main_lanes(struct ls_app *app, const struct ls_wing *const *wing, size_t count, char *const *names,
			   size_t name_count)
{
	struct scene scene = { .app = app, .crew = ls_crew_new(app) };
	struct ls_error err;
	enum ls_class class;
	enum ls_exit code;
	sigset_t before;

	block_signals(&before);
	class = ls_status_server_open(app, scene.crew, &scene.server, &err);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (class == LS_OK)
		class = ensure_topics(app, &err);
	block_signals(&before);
	if (class == LS_OK)
		class = start_wings(&scene, wing, count, names, name_count, &err);
	code = class ? ls_app_fail(app, &err) : run_crew(&scene);
	scene.server = ls_status_server_close(scene.server);
	ls_crew_free(scene.crew);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return code;
}
