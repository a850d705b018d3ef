/* The HTTP server: libmicrohttpd with one thread of its own. Everything an answer needs is done here (token, methods,
 * sizes, headers), so that a handler only says what it has. */
#include "http/server.h"
#include "core/buf.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_BODY = 1 << 20, MAX_ANSWER = 64 << 20, MAX_CONNECTIONS = 128, TIMEOUT_S = 30, BACKLOG = 128 };

struct ls_http_server {
	struct MHD_Daemon *daemon;
	struct ls_http_route *route;
	size_t route_count;
	char *token;
	int port;
};

/* One request while it comes in. */
struct exchange {
	char *query;
	struct ls_buf body;
	bool started;
};

/* ---- answering ---- */

static const char *reason(unsigned status)
{
	switch (status) {
	case 401:
		return "this needs the header Authorization: Bearer TOKEN\n";
	case 403:
		return "no token is configured (http.token), so this is not allowed\n";
	case 404:
		return "nothing here\n";
	case 405:
		return "not with this method\n";
	case 413:
		return "the request is too large\n";
	default:
		return "the answer could not be made\n";
	}
}

static void add_headers(struct MHD_Response *response, const char *type)
{
	static const char *const header[][2] = {
		{ "X-Content-Type-Options", "nosniff" },
		{ "X-Frame-Options", "DENY" },
		{ "Referrer-Policy", "no-referrer" },
		{ "Cache-Control", "no-store" },
		{ "Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'" },
	};

	for (size_t i = 0; i < sizeof(header) / sizeof(header[0]); i++)
		MHD_add_response_header(response, header[i][0], header[i][1]);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
}

static enum MHD_Result send_response(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response)
{
	enum MHD_Result result = MHD_queue_response(connection, status, response);

	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, const char *allow)
{
	const char *text = reason(status);
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);

	if (!response)
		return MHD_NO;
	add_headers(response, "text/plain; charset=utf-8");
	if (status == 401)
		MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	if (allow)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
	return send_response(connection, status, response);
}

/* ---- who asks, and for what ---- */

/* Takes as long for a wrong token as for the right one; only its length shows. */
static bool same_token(const char *given, const char *token)
{
	size_t given_len = strlen(given), len = strlen(token);
	volatile unsigned char differ = given_len != len;

	for (size_t i = 0; i < given_len; i++)
		differ = (unsigned char)(differ | (given[i] ^ token[len ? i % len : 0]));
	return !differ && len;
}

static bool is_authorised(const struct ls_http_server *server, struct MHD_Connection *connection)
{
	const char *header = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);

	if (!server->token || !header || strncasecmp(header, "Bearer ", 7))
		return false;
	header += 7;
	return same_token(header + strspn(header, " "), server->token);
}

static bool path_matches(const char *pattern, const char *path)
{
	size_t len = strlen(pattern);

	if (len && pattern[len - 1] == '*')
		return !strncmp(pattern, path, len - 1);
	return !strcmp(pattern, path);
}

/* The first route for method and path; *ret_allow is set to a method that the path knows when there is no such
 * route. */
static const struct ls_http_route *find_route(const struct ls_http_server *server, const char *method, const char *path,
					      const char **ret_allow)
{
	for (size_t i = 0; i < server->route_count; i++) {
		const struct ls_http_route *route = &server->route[i];

		if (!path_matches(route->path, path))
			continue;
		if (!strcmp(route->method, method))
			return route;
		*ret_allow = route->method;
	}
	return NULL;
}

static enum MHD_Result handle(const struct ls_http_route *route, const struct ls_http_request *request,
			      struct MHD_Connection *connection)
{
	const char *type = "text/plain; charset=utf-8";
	struct MHD_Response *response;
	struct ls_buf body;
	int status = 200;
	size_t len;

	ls_buf_init(&body, MAX_ANSWER);
	route->handle(route->context, request, &status, &type, &body);
	if (body.full || status < 200 || status > 599) {
		ls_buf_release(&body);
		return refuse(connection, 500, NULL);
	}
	len = body.len;
	response = MHD_create_response_from_buffer(len, ls_buf_take(&body), MHD_RESPMEM_MUST_FREE);
	if (!response)
		return MHD_NO;
	add_headers(response, type);
	return send_response(connection, (unsigned)status, response);
}

static enum MHD_Result answer(const struct ls_http_server *server, struct MHD_Connection *connection,
			      const char *method, const char *path, const struct exchange *exchange)
{
	/* HEAD is GET whose body is not sent; libmicrohttpd leaves it out. */
	struct ls_http_request request = {
		.method = strcmp(method, "HEAD") ? method : "GET",
		.path = path,
		.query = exchange->query,
		.body = ls_buf_str(&exchange->body),
		.authorised = is_authorised(server, connection),
	};
	const char *allow = NULL;
	const struct ls_http_route *route = find_route(server, request.method, path, &allow);

	if (!route)
		return refuse(connection, allow ? 405 : 404, allow);
	if (route->needs_token && !request.authorised)
		return refuse(connection, server->token ? 401 : 403, NULL);
	if (exchange->body.full)
		return refuse(connection, 413, NULL);
	return handle(route, &request, connection);
}

/* ---- libmicrohttpd's callbacks ---- */

/* Called with the whole request target before it is taken apart: the one place that sees the query as it was sent. */
static void *on_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
	const char *query = strchr(uri, '?');
	struct exchange *exchange = calloc(1, sizeof(*exchange));

	(void)cls;
	(void)connection;
	if (!exchange)
		abort();
	exchange->query = strdup(query ? query + 1 : "");
	if (!exchange->query)
		abort();
	ls_buf_init(&exchange->body, MAX_BODY);
	return exchange;
}

static void on_done(void *cls, struct MHD_Connection *connection, void **con_cls, enum MHD_RequestTerminationCode why)
{
	struct exchange *exchange = *con_cls;

	(void)cls;
	(void)connection;
	(void)why;
	*con_cls = NULL;
	if (!exchange)
		return;
	free(exchange->query);
	ls_buf_release(&exchange->body);
	free(exchange);
}

static bool says_too_large(struct MHD_Connection *connection)
{
	const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return length && strtoull(length, NULL, 10) > MAX_BODY;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *path, const char *method,
				  const char *version, const char *bytes, size_t *size, void **con_cls)
{
	struct exchange *exchange = *con_cls;

	(void)version;
	if (!exchange->started) {
		exchange->started = true;
		return says_too_large(connection) ? refuse(connection, 413, NULL) : MHD_YES;
	}
	if (*size) {
		ls_buf_add(&exchange->body, bytes, *size);
		*size = 0;
		return MHD_YES;
	}
	return answer(cls, connection, method, path, exchange);
}

/* ---- opening ---- */

/* Splits "host:port", "[v6]:port", ":port" or "port". Without a host it is the loopback address. */
static bool split_listen(const char *listen, char host[256], char port[16])
{
	const char *colon = strrchr(listen, ':'), *from = listen;
	size_t len = colon ? (size_t)(colon - listen) : 0;

	if (len >= 2 && from[0] == '[' && from[len - 1] == ']') {
		from++;
		len -= 2;
	}
	if (len >= 256 || strlen(colon ? colon + 1 : listen) >= 16)
		return false;
	snprintf(host, 256, "%.*s", len ? (int)len : 9, len ? from : "127.0.0.1");
	snprintf(port, 16, "%s", colon ? colon + 1 : listen);
	return port[0] && strspn(port, "0123456789") == strlen(port);
}

static int bind_address(const struct addrinfo *address)
{
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, saved;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!bind(fd, address->ai_addr, address->ai_addrlen) && !listen(fd, BACKLOG))
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static enum ls_class open_socket(const char *listen_on, int *ret_fd, struct ls_error *err)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *address = NULL;
	char host[256], port[16];
	int code;

	if (!split_listen(listen_on, host, port))
		return ls_fail(err, LS_FATAL, "listen", "http.listen: \"%s\" is not host:port", listen_on);
	code = getaddrinfo(host, port, &hints, &address);
	if (code)
		return ls_fail(err, LS_FATAL, "listen", "http.listen: \"%s\": %s", listen_on, gai_strerror(code));
	*ret_fd = bind_address(address);
	freeaddrinfo(address);
	if (*ret_fd < 0)
		return ls_fail(err, LS_FATAL, "listen", "http.listen: could not bind %s: %s; choose another address",
			       listen_on, strerrordesc_np(errno));
	return LS_OK;
}

static int port_of(int fd)
{
	struct sockaddr_storage address = { 0 };
	socklen_t len = sizeof(address);
	char port[16] = "";

	if (getsockname(fd, (struct sockaddr *)&address, &len) ||
	    getnameinfo((struct sockaddr *)&address, len, NULL, 0, port, sizeof(port), NI_NUMERICSERV))
		return 0;
	return (int)strtol(port, NULL, 10);
}

static struct ls_http_server *server_new(const char *token, const struct ls_http_route *route, size_t route_count)
{
	struct ls_http_server *server = calloc(1, sizeof(*server));

	if (!server)
		abort();
	server->token = token && *token ? strdup(token) : NULL;
	server->route = calloc(route_count + 1, sizeof(*route));
	if (!server->route)
		abort();
	if (route_count)
		memcpy(server->route, route, route_count * sizeof(*route));
	server->route_count = route_count;
	return server;
}

enum ls_class ls_http_server_open(const char *listen_on, const char *token, const struct ls_http_route *route,
				  size_t route_count, struct ls_http_server **ret, struct ls_error *err)
{
	struct ls_http_server *server;
	enum ls_class class;
	int fd = -1;

	class = open_socket(listen_on, &fd, err);
	if (class)
		return class;
	server = server_new(token, route, route_count);
	server->port = port_of(fd);
	server->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, server,
					  MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK, on_uri, NULL,
					  MHD_OPTION_NOTIFY_COMPLETED, on_done, NULL, MHD_OPTION_CONNECTION_LIMIT,
					  (unsigned)MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
					  MHD_OPTION_END);
	if (!server->daemon) {
		ls_http_server_close(server);
		return ls_fail(err, LS_FATAL, "listen", "could not start the HTTP server on %s", listen_on);
	}
	*ret = server;
	return LS_OK;
}

int ls_http_server_port(const struct ls_http_server *server)
{
	return server->port;
}

struct ls_http_server *ls_http_server_close(struct ls_http_server *server)
{
	if (!server)
		return NULL;
	if (server->daemon)
		MHD_stop_daemon(server->daemon); /* closes the socket, joins the thread */
	if (server->token)
		explicit_bzero(server->token, strlen(server->token));
	free(server->token);
	free(server->route);
	free(server);
	return NULL;
}
