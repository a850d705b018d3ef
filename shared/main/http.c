/* /healthz, /readyz, /metrics and /api/v1/status. Handlers run on the server's threads and read only atomics. */
#include "http/server.h"
#include "core/buf.h"
#include "main/app.h"
#include "core/json.h"
#include "main/status_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STUCK_MS = 600000 };

/* A lane is stuck when it has work (lag or unacknowledged events) and none of its counters moves for ten minutes. */
struct pulse {
	long long sum;
	int64_t moved_ms;
};

struct ls_status_server {
	struct ls_app *app;
	struct ls_crew *crew;
	struct ls_http_server *http;
	struct pulse *pulse;
	atomic_bool started;
	atomic_size_t stuck;
};

static long long movement(struct ls_lane_stats *stats)
{
	return LS_READ(stats, events) + LS_READ(stats, published) + LS_READ(stats, applied) + LS_READ(stats, stale) +
	       LS_READ(stats, duplicate) + LS_READ(stats, dead) + LS_READ(stats, retries) + LS_READ(stats, batches) +
	       LS_READ(stats, snapshot_rows);
}

static bool is_stuck(struct ls_lane_stats *stats, struct pulse *pulse, int64_t now_ms)
{
	long long sum = movement(stats);
	bool busy = LS_READ(stats, up) && (LS_READ(stats, lag_events) > 0 || LS_READ(stats, pending) > 0);

	if (sum != pulse->sum || !busy || pulse->moved_ms == 0) {
		pulse->sum = sum;
		pulse->moved_ms = now_ms;
	}
	return now_ms - pulse->moved_ms > STUCK_MS;
}

void ls_status_server_tick(struct ls_status_server *server)
{
	size_t stuck = 0;

	if (!server || !server->pulse)
		return;
	for (size_t i = 0; i < ls_crew_count(server->crew); i++)
		stuck += is_stuck(ls_crew_lane(server->crew, i)->stats, &server->pulse[i], ls_monotonic_ms());
	atomic_store(&server->stuck, stuck);
}

static void healthz(void *context, const struct ls_http_request *request, int *ret_status, const char **ret_type,
		    struct ls_buf *body)
{
	struct ls_status_server *server = context;
	size_t stuck = atomic_load(&server->stuck);

	(void)request;
	*ret_type = "application/json";
	*ret_status = stuck ? 503 : 200;
	ls_buf_printf(body, "{\"healthy\":%s,\"stuck_lanes\":%zu}\n", stuck ? "false" : "true", stuck);
}

static void add_reason(struct ls_buf *body, const struct ls_lane *lane)
{
	char error[600];

	ls_stats_last_error(lane->stats, error, sizeof error);
	ls_buf_add_text(body, body->ptr[body->len - 1] == '[' ? "{" : ",{");
	ls_json_add_member(body, "lane");
	ls_json_add_text(body, lane->name);
	ls_json_add_member(body, "reason");
	ls_json_add_text(body, error[0] ? error : "not started yet");
	ls_buf_add_char(body, '}');
}

static void readyz(void *context, const struct ls_http_request *request, int *ret_status, const char **ret_type,
		   struct ls_buf *body)
{
	struct ls_status_server *server = context;
	bool started = atomic_load(&server->started), ready = started && !ls_stop_is_set(&server->app->stop);

	(void)request;
	for (size_t i = 0; started && i < ls_crew_count(server->crew); i++)
		ready = ready && LS_READ(ls_crew_lane(server->crew, i)->stats, up);
	*ret_type = "application/json";
	*ret_status = ready ? 200 : 503;
	ls_buf_printf(body, "{\"ready\":%s,\"state\":\"%s\",\"down\":[", ready ? "true" : "false",
		      !started                             ? "starting"
		      : ls_stop_is_set(&server->app->stop) ? "stopping"
							   : "running");
	for (size_t i = 0; started && i < ls_crew_count(server->crew); i++)
		if (!LS_READ(ls_crew_lane(server->crew, i)->stats, up))
			add_reason(body, ls_crew_lane(server->crew, i));
	ls_buf_add_text(body, "]}\n");
}

static void metrics(void *context, const struct ls_http_request *request, int *ret_status, const char **ret_type,
		    struct ls_buf *body)
{
	struct ls_status_server *server = context;

	(void)request;
	*ret_status = 200;
	*ret_type = "text/plain; version=0.0.4; charset=utf-8";
	ls_stats_prometheus(server->app->stats, body);
}

static void add_lane(struct ls_lane_stats *stats, void *arg)
{
	struct ls_buf *body = arg;
	char error[600], time[25];
	int64_t when = ls_stats_last_error(stats, error, sizeof error);

	ls_buf_add_text(body, body->ptr[body->len - 1] == '[' ? "{" : ",{");
	ls_json_add_member(body, "lane");
	ls_json_add_text(body, stats->lane);
#define X(field, type, name, help)                                                                                     \
	ls_json_add_member(body, #field);                                                                              \
	ls_buf_printf(body, "%lld", (long long)LS_READ(stats, field));
	LS_STATS(X)
#undef X
	ls_json_add_member(body, "last_error");
	if (!error[0]) {
		ls_buf_add_text(body, "null}");
		return;
	}
	ls_json_add_text(body, error);
	ls_json_add_member(body, "last_error_at");
	ls_time_format(when, time);
	ls_json_add_text(body, time);
	ls_buf_add_char(body, '}');
}

static void status(void *context, const struct ls_http_request *request, int *ret_status, const char **ret_type,
		   struct ls_buf *body)
{
	struct ls_status_server *server = context;

	(void)request;
	*ret_status = 200;
	*ret_type = "application/json";
	ls_buf_printf(body, "{\"version\":\"%s\",\"stopping\":%s,\"lanes\":[", LS_VERSION,
		      ls_stop_is_set(&server->app->stop) ? "true" : "false");
	ls_stats_each(server->app->stats, add_lane, body);
	ls_buf_add_text(body, "]}\n");
}

enum ls_class ls_status_server_open(struct ls_app *app, struct ls_crew *crew, struct ls_status_server **ret,
				    struct ls_error *err)
{
	struct ls_status_server *server;
	enum ls_class class;

	*ret = NULL;
	if (!app->config->http_listen)
		return LS_OK;
	server = calloc(1, sizeof *server);
	if (!server)
		abort();
	server->app = app;
	server->crew = crew;
	{
		const struct ls_http_route routes[] = {
			{ "GET", "/healthz", false, healthz, server },
			{ "GET", "/readyz", false, readyz, server },
			{ "GET", "/metrics", false, metrics, server },
			{ "GET", "/api/v1/status", app->config->http_token != NULL, status, server },
		};

		class = ls_http_server_open(app->config->http_listen, app->config->http_token, routes,
					    sizeof routes / sizeof routes[0], &server->http, err);
	}
	if (class) {
		free(server);
		/* Several processes may share one configuration and machine; the data matters more than the port. */
		if (strcmp(err->code, "listen") != 0)
			return class;
		ls_log_error(app->log, LS_LOG_WARN, NULL, err, "this process goes on without health and metrics");
		return LS_OK;
	}
	LS_LOG(app->log, LS_LOG_INFO, NULL, "http server listens", LS_F("listen", app->config->http_listen),
	       LS_N("port", ls_http_server_port(server->http)));
	*ret = server;
	return LS_OK;
}

void ls_status_server_started(struct ls_status_server *server)
{
	if (!server)
		return;
	server->pulse = calloc(ls_crew_count(server->crew) + 1, sizeof *server->pulse);
	if (!server->pulse)
		abort();
	atomic_store(&server->started, true);
}

struct ls_status_server *ls_status_server_close(struct ls_status_server *server)
{
	if (!server)
		return NULL;
	ls_http_server_close(server->http);
	free(server->pulse);
	free(server);
	return NULL;
}
