/* The HTTP server and client against each other, and the server against raw bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/client.h"
#include "http/server.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void echo(void *context, const struct ls_http_request *request, int *status, const char **type,
		 struct ls_buf *body)
{
	*status = context ? 503 : 201;
	*type = "application/json";
	ls_buf_printf(body, "%s %s ?%s %zu %s", request->method, request->path, request->query, request->body.len,
		      request->authorised ? "yes" : "no");
}

static void large(void *context, const struct ls_http_request *request, int *status, const char **type,
		  struct ls_buf *body)
{
	(void)context, (void)request, (void)status, (void)type;
	for (int i = 0; i < 10000; i++)
		ls_buf_add_text(body, "0123456789");
}

static const struct ls_http_route route[] = {
	{ "GET", "/echo", false, echo, NULL },   { "POST", "/hooks/*", false, echo, NULL },
	{ "POST", "/admin", true, echo, NULL },  { "GET", "/busy", false, echo, (void *)(uintptr_t)1 },
	{ "GET", "/large", false, large, NULL },
};

struct fixture {
	struct ls_http_server *server;
	struct ls_http_client *client;
	struct ls_http_response response;
	struct ls_error err;
};

static int start_with(void **state, const char *token)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	return ls_http_server_open("127.0.0.1:0", token, route, 5, &f->server, &f->err) ||
	       ls_http_client_open(10000, 50000, &f->client, &f->err);
}

static int start(void **state)
{
	return start_with(state, "s3cret");
}

static int start_without_token(void **state)
{
	return start_with(state, NULL);
}

static int stop(void **state)
{
	struct fixture *f = *state;

	ls_http_client_close(f->client);
	ls_http_server_close(f->server);
	free(f);
	return 0;
}

/* The status, or minus the class of the error. The body is in f->response until the next call of release. */
static int ask(struct fixture *f, const char *method, const char *path, const char *header, struct ls_str body)
{
	const char *const headers[] = { header, NULL };
	enum ls_class class;
	char url[200];

	snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", ls_http_server_port(f->server), path);
	class = ls_http_do(f->client, method, url, headers, body, &f->response, &f->err);
	return class ? -(int)class : f->response.status;
}

static int status_of(struct fixture *f, const char *method, const char *path, const char *header, struct ls_str body)
{
	int status = ask(f, method, path, header, body);

	if (status > 0)
		ls_http_response_release(&f->response);
	return status;
}

static void a_handler_sees_method_path_query_and_body(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, "GET", "/echo?a=1&b=%20x", NULL, (struct ls_str){ 0 }), 201);
	assert_string_equal(f->response.body.ptr, "GET /echo ?a=1&b=%20x 0 no");
	ls_http_response_release(&f->response);
	assert_int_equal(ask(f, "POST", "/hooks/crm", NULL, LS_STR("{\"a\":1}")), 201);
	assert_string_equal(f->response.body.ptr, "POST /hooks/crm ? 7 no");
	ls_http_response_release(&f->response);
	assert_int_equal(ask(f, "HEAD", "/echo", NULL, (struct ls_str){ 0 }), 201);
	assert_int_equal(f->response.body.len, 0);
	ls_http_response_release(&f->response);
}

static void unknown_paths_are_404_and_other_methods_405(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(status_of(f, "GET", "/nothing", NULL, (struct ls_str){ 0 }), 404);
	assert_int_equal(status_of(f, "GET", "/echo/", NULL, (struct ls_str){ 0 }), 404);
	assert_int_equal(status_of(f, "POST", "/echo", NULL, LS_STR("x")), 405);
	assert_int_equal(status_of(f, "DELETE", "/hooks/crm", NULL, (struct ls_str){ 0 }), 405);
}

static void only_the_right_token_opens_what_needs_one(void **state)
{
	static const char *const wrong[] = { NULL,
					     "Authorization: Bearer s3cre",
					     "Authorization: Bearer s3cret2",
					     "Authorization: Bearer S3cret",
					     "Authorization: Bearer ",
					     "Authorization: Basic s3cret",
					     "Authorization: s3cret" };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(status_of(f, "POST", "/admin", wrong[i], LS_STR("x")), 401);
	assert_int_equal(ask(f, "POST", "/admin", "Authorization: Bearer s3cret", LS_STR("x")), 201);
	assert_string_equal(f->response.body.ptr, "POST /admin ? 1 yes");
	ls_http_response_release(&f->response);
}

static void without_a_configured_token_nothing_that_needs_one_is_allowed(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(status_of(f, "POST", "/admin", NULL, LS_STR("x")), 403);
	assert_int_equal(status_of(f, "POST", "/admin", "Authorization: Bearer ", LS_STR("x")), 403);
	assert_int_equal(status_of(f, "GET", "/echo", NULL, (struct ls_str){ 0 }), 201);
}

static void a_request_body_over_one_mebibyte_is_413(void **state)
{
	struct fixture *f = *state;
	char *bytes = calloc(1, (1 << 20) + 1);

	assert_int_equal(status_of(f, "POST", "/hooks/crm", NULL, (struct ls_str){ bytes, 1 << 20 }), 201);
	assert_int_equal(status_of(f, "POST", "/hooks/crm", NULL, (struct ls_str){ bytes, (1 << 20) + 1 }), 413);
	free(bytes);
}

static void an_answer_over_the_clients_bound_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, "GET", "/large", NULL, (struct ls_str){ 0 }), -LS_POISON);
	assert_string_equal(f->err.code, "too-large");
	assert_int_equal(status_of(f, "GET", "/echo", NULL, (struct ls_str){ 0 }), 201);
}

static void errors_name_the_host_and_never_the_user_password_or_query(void **state)
{
	static const char *const url[] = { "http://bob:hunter2@127.0.0.1:1/path?key=hunter2",
					   "http://bob:hunter2@no-such-host.invalid/?hunter2#hunter2",
					   "ftp://bob:hunter2@127.0.0.1/",
					   "file:///etc/passwd?hunter2",
					   "bob:hunter2@",
					   "" };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(url) / sizeof(url[0]); i++) {
		enum ls_class class =
			ls_http_do(f->client, "GET", url[i], NULL, (struct ls_str){ 0 }, &f->response, &f->err);

		assert_int_equal(class, i < 2 ? LS_RETRY : LS_FATAL);
		assert_null(strstr(f->err.text, "hunter2"));
		assert_null(strstr(f->err.text, "bob"));
	}
	assert_int_equal(ask(f, "GET", "/echo", "A: b\r\nC: d", (struct ls_str){ 0 }), -LS_FATAL);
}

static void an_address_in_use_or_wrong_is_a_plain_error(void **state)
{
	static const char *const wrong[] = { "127.0.0.1", "127.0.0.1:x", "", "127.0.0.1:", "999.1.1.1:80" };
	struct fixture *f = *state;
	struct ls_http_server *second;
	char listen_on[64];

	snprintf(listen_on, sizeof(listen_on), "127.0.0.1:%d", ls_http_server_port(f->server));
	assert_int_equal(ls_http_server_open(listen_on, NULL, route, 5, &second, &f->err), LS_FATAL);
	assert_non_null(strstr(f->err.text, listen_on));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(ls_http_server_open(wrong[i], NULL, route, 5, &second, &f->err), LS_FATAL);
	assert_null(ls_http_server_close(NULL));
}

/* ---- raw bytes ---- */

/* Connects and sends bytes. */
static int send_raw(int port, const char *bytes)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
	return fd;
}

static void answers_carry_the_security_headers(void **state)
{
	struct fixture *f = *state;
	char out[4096];
	size_t len = 0;
	ssize_t got;
	int fd;

	fd = send_raw(ls_http_server_port(f->server), "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	while ((got = read(fd, out + len, sizeof(out) - 1 - len)) > 0)
		len += (size_t)got;
	out[len] = '\0';
	close(fd);
	assert_memory_equal(out, "HTTP/1.1 201 ", 13);
	assert_non_null(strstr(out, "X-Content-Type-Options: nosniff\r\n"));
	assert_non_null(strstr(out, "X-Frame-Options: DENY\r\n"));
	assert_non_null(strstr(out, "Cache-Control: no-store\r\n"));
	assert_non_null(strstr(out, "Content-Type: application/json\r\n"));
}

static void broken_and_half_requests_do_no_harm(void **state)
{
	static const char *const broken[] = {
		"",
		"\r\n\r\n",
		"GET",
		"GET /a?b HTTP/1.1\r\n",
		"GET /a?b HTTP/1.1\r\nbroken",
		"POST /hooks/x?q HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
		"POST /hooks/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"POST /hooks/x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		close(send_raw(ls_http_server_port(f->server), broken[i]));
	assert_int_equal(status_of(f, "GET", "/echo", NULL, (struct ls_str){ 0 }), 201);
}

/* ---- a peer that answers once with given bytes ---- */

struct peer {
	int fd, port;
	const char *answer;
	pthread_t thread;
};

static void *answer_once(void *arg)
{
	struct peer *peer = arg;
	int fd = accept(peer->fd, NULL, NULL);
	char in[4096];

	if (read(fd, in, sizeof(in)) > 0 && write(fd, peer->answer, strlen(peer->answer)) < 0)
		abort();
	shutdown(fd, SHUT_WR);
	while (read(fd, in, sizeof(in)) > 0)
		;
	close(fd);
	return NULL;
}

static void peer_start(struct peer *peer, const char *answer)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	peer->answer = answer;
	peer->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(peer->fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(peer->fd, 1), 0);
	getsockname(peer->fd, (struct sockaddr *)&at, &len);
	peer->port = ntohs(at.sin_port);
	assert_int_equal(pthread_create(&peer->thread, NULL, answer_once, peer), 0);
}

static enum ls_class ask_peer(const char *answer, struct ls_http_response *response, struct ls_error *err)
{
	struct ls_http_client *client;
	enum ls_class class;
	struct peer peer;
	char url[64];

	peer_start(&peer, answer);
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/", peer.port);
	assert_int_equal(ls_http_client_open(5000, 1000, &client, err), LS_OK);
	class = ls_http_do(client, "GET", url, NULL, (struct ls_str){ 0 }, response, err);
	ls_http_client_close(client);
	pthread_join(peer.thread, NULL);
	close(peer.fd);
	return class;
}

static void retry_after_is_read_as_seconds_or_as_a_date(void **state)
{
	static const struct {
		const char *header;
		int64_t low, high;
	} table[] = {
		{ "Retry-After: 7\r\n", 7000, 7000 },
		{ "retry-after:  0 \r\n", 0, 0 },
		{ "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n", 0, 0 },
		{ "Retry-After: Fri, 31 Dec 2999 23:59:59 GMT\r\n", 86400000, 86400000 },
		{ "Retry-After: soon\r\n", -1, -1 },
		{ "Retry-After: -4\r\n", -1, -1 },
		{ "", -1, -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct ls_http_response response;
		struct ls_error err;
		char answer[300];

		snprintf(answer, sizeof(answer), "HTTP/1.1 429 Slow\r\n%sContent-Length: 2\r\n\r\nhi", table[i].header);
		assert_int_equal(ask_peer(answer, &response, &err), LS_OK);
		assert_int_equal(response.status, 429);
		assert_string_equal(response.body.ptr, "hi");
		assert_in_range(response.retry_after_ms + 1, table[i].low + 1, table[i].high + 1);
		ls_http_response_release(&response);
	}
}

static void redirects_are_handed_back_not_followed(void **state)
{
	struct ls_http_response response;
	struct ls_error err;

	(void)state;
	assert_int_equal(ask_peer("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
				  &response, &err),
			 LS_OK);
	assert_int_equal(response.status, 302);
	ls_http_response_release(&response);
}

static void an_answer_that_breaks_off_is_a_retry(void **state)
{
	struct ls_http_response response;
	struct ls_error err;

	(void)state;
	assert_int_equal(ask_peer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", &response, &err), LS_RETRY);
	assert_int_equal(ask_peer("", &response, &err), LS_RETRY);
	assert_int_equal(ask_peer("garbage\r\n\r\n", &response, &err), LS_RETRY);
}

static void a_status_has_its_class(void **state)
{
	static const struct {
		int status;
		enum ls_class class;
	} table[] = { { 200, LS_OK },    { 204, LS_OK },     { 304, LS_OK },    { 400, LS_POISON }, { 401, LS_AUTH },
		      { 403, LS_AUTH },  { 404, LS_POISON }, { 408, LS_RETRY }, { 409, LS_POISON }, { 422, LS_POISON },
		      { 425, LS_RETRY }, { 429, LS_RETRY },  { 500, LS_RETRY }, { 503, LS_RETRY },  { 599, LS_RETRY } };

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_int_equal(ls_http_class(table[i].status), table[i].class);
}

static void *ask_often(void *arg)
{
	struct fixture own = { .server = ((struct fixture *)arg)->server };
	long right = 0;

	if (ls_http_client_open(10000, 1000, &own.client, &own.err))
		return NULL;
	for (int i = 0; i < 50; i++)
		right += status_of(&own, "GET", "/echo", NULL, (struct ls_str){ 0 }) == 201;
	ls_http_client_close(own.client);
	return (void *)(intptr_t)right;
}

static void many_clients_are_answered_at_once(void **state)
{
	pthread_t thread[6];

	for (size_t i = 0; i < 6; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, ask_often, *state), 0);
	for (size_t i = 0; i < 6; i++) {
		void *right;

		pthread_join(thread[i], &right);
		assert_int_equal((intptr_t)right, 50);
	}
}

int main(void)
{
#define WITH_TOKEN(test) cmocka_unit_test_setup_teardown(test, start, stop)
	const struct CMUnitTest tests[] = {
		WITH_TOKEN(a_handler_sees_method_path_query_and_body),
		WITH_TOKEN(unknown_paths_are_404_and_other_methods_405),
		WITH_TOKEN(only_the_right_token_opens_what_needs_one),
		cmocka_unit_test_setup_teardown(without_a_configured_token_nothing_that_needs_one_is_allowed,
						start_without_token, stop),
		WITH_TOKEN(a_request_body_over_one_mebibyte_is_413),
		WITH_TOKEN(an_answer_over_the_clients_bound_is_refused),
		WITH_TOKEN(errors_name_the_host_and_never_the_user_password_or_query),
		WITH_TOKEN(an_address_in_use_or_wrong_is_a_plain_error),
		WITH_TOKEN(answers_carry_the_security_headers),
		WITH_TOKEN(broken_and_half_requests_do_no_harm),
		WITH_TOKEN(many_clients_are_answered_at_once),
		cmocka_unit_test(retry_after_is_read_as_seconds_or_as_a_date),
		cmocka_unit_test(redirects_are_handed_back_not_followed),
		cmocka_unit_test(an_answer_that_breaks_off_is_a_retry),
		cmocka_unit_test(a_status_has_its_class),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
