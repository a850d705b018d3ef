/* The HTTP server of a process: health, metrics, admin. libmicrohttpd inside. */
#pragma once

#include "lockstep/error.h"
#include "lockstep/str.h"

struct ls_buf;
struct ls_http_server;

struct ls_http_request {
	const char *method; /* "GET" */
	const char *path;   /* "/metrics"; query left out */
	const char *query;  /* after '?', or "" */
	struct ls_str body; /* at most max_body bytes */
	bool authorised;    /* Authorization: Bearer <token> was right, compared in constant time */
};

/* A handler fills status, content type (constant) and body. */
struct ls_http_route {
	const char *method, *path; /* path ending in a star: prefix */
	bool needs_token;          /* 401 without it; 403 when no token is configured */
	void (*handle)(void *context, const struct ls_http_request *request, int *ret_status, const char **ret_type,
		       struct ls_buf *body);
	void *context;
};

/* listen  "127.0.0.1:8088"; port 0 picks one. token NULL: nothing that needs it is allowed.
 * routes are copied. LS_FATAL: the address cannot be bound. */
enum ls_class ls_http_server_open(const char *listen, const char *token, const struct ls_http_route *route,
				  size_t route_count, struct ls_http_server **ret, struct ls_error *err);
int ls_http_server_port(const struct ls_http_server *server);
struct ls_http_server *ls_http_server_close(struct ls_http_server *server);
