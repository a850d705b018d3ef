/* Bytes on a connection to the admin port: the real server on loopback, its own routes and one that reads all that a
 * request has. After each it must still answer. */
#include "../../shared/main/http.c"

#include <arpa/inet.h>
#include <poll.h>
#include <unistd.h>

enum { ANSWER_MS = 60000, PIECE = 0xff };

static void echo(void *context, const struct ls_http_request *request, int *ret_status, const char **ret_type,
		 struct ls_buf *body)
{
	(void)context;
	*ret_type = "application/json";
	*ret_status = request->authorised ? 200 : 299;
	ls_buf_add_text(body, "{\"");
	ls_buf_add_text(body, request->method);
	ls_json_add_member(body, "path");
	ls_json_add_text(body, request->path);
	ls_json_add_member(body, "query");
	ls_json_add_text(body, request->query);
	ls_buf_add_str(body, request->body);
}

static int port_of_servers(size_t which)
{
	static struct ls_config config = { .http_listen = "127.0.0.1:0", .http_token = "secret", .prefix = "f" };
	static struct ls_app app = { .config = &config };
	static const struct ls_http_route routes[] = { { "POST", "/echo/*", false, echo, NULL },
						       { "GET", "/echo/*", false, echo, NULL },
						       { "PUT", "/token", true, echo, NULL } };
	static int port[2];
	struct ls_status_server *status;
	struct ls_http_server *other;
	struct ls_error err;

	if (port[0])
		return port[which];
	app.log = ls_log_new(-1, false, LS_LOG_ERROR);
	app.stats = ls_stats_new();
	LS_COUNT(ls_stats_lane(app.stats, "sink/warehouse/0"), events, 1);
	if (ls_status_server_open(&app, ls_crew_new(&app), &status, &err) || !status ||
	    ls_http_server_open("127.0.0.1:0", "secret", routes, 3, &other, &err))
		abort();
	ls_status_server_started(status);
	port[0] = ls_http_server_port(status->http);
	port[1] = ls_http_server_port(other);
	return port[which];
}

/* Each connection comes from an address of its own: the ports of one would soon all be waiting in TIME_WAIT. */
static bool from_somewhere(int fd)
{
	static uint32_t count;
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 65536 + count++ % 65000) };
	int late = 1;

	return !setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof(late)) &&
	       !bind(fd, (struct sockaddr *)&address, sizeof(address));
}

/* A machine may run out of ports for a while: only a server that takes no connection for a minute is gone. */
static int dial(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger gone = { 1, 0 }; /* closed by a reset: nothing waits in TIME_WAIT */

	for (int tries = 0; tries < 1200; tries++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_LINGER, &gone, sizeof(gone)) && from_somewhere(fd) &&
		    !connect(fd, (struct sockaddr *)&address, sizeof(address)))
			return fd;
		if (fd >= 0)
			close(fd);
		(void)usleep(50000);
	}
	abort();
}

/* Reads until the server closes, or says nothing for so long. */
static size_t listen_for(int fd, char *out, size_t size, int timeout_ms)
{
	struct pollfd poll_fd = { fd, POLLIN, 0 };
	size_t len = 0;
	ssize_t got;

	while (poll(&poll_fd, 1, timeout_ms) > 0) {
		got = read(fd, out + (len < size / 2 ? len : size / 2), size / 2);
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	return len;
}

/* In as many writes as there are bytes 0xff, so that a request comes in pieces. */
static void send_pieces(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		const uint8_t *mark = memchr(data, PIECE, size);
		size_t len = mark ? (size_t)(mark - data) : size;

		if (len && send(fd, data, len, MSG_NOSIGNAL) < 0)
			return;
		len += mark != NULL;
		data += len;
		size -= len;
	}
}

static bool answers(int port)
{
	static const char request[] = "GET /echo/healthz HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n";
	char answer[4096];
	int fd = dial(port);
	bool fine = send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0 &&
		    listen_for(fd, answer, sizeof(answer), ANSWER_MS) && memcmp(answer, "HTTP/1.1 ", 9) == 0;

	close(fd);
	return fine;
}

static void still_answers(int port)
{
	for (int tries = 0; !answers(port); tries++)
		if (tries == 3)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char answer[4096];
	int fd;

	if (!size)
		return 0;
	fd = dial(port_of_servers(data[0] & 1));
	send_pieces(fd, data + 1, size - 1);
	/* The server has one thread: when it has answered the next one, it has seen all of the first. */
	still_answers(port_of_servers(data[0] & 1));
	listen_for(fd, answer, sizeof(answer), 0);
	close(fd);
	return 0;
}
