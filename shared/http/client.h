/* HTTP requests by libcurl: TLS verified, bodies bounded, errors classified by http/status.c. One handle per thread. */
#pragma once

#include "core/buf.h"
#include "lockstep/error.h"

struct ls_http_client;

struct ls_http_response {
	int status;
	struct ls_buf body;     /* bounded; the response's */
	int64_t retry_after_ms; /* -1: none */
};

enum ls_class ls_http_client_open(int timeout_ms, size_t max_body, struct ls_http_client **ret, struct ls_error *err);
struct ls_http_client *ls_http_client_close(struct ls_http_client *client);

/* ls_http_do sends one request. header: "Name: value" lines, NULL-terminated. LS_OK whenever a status came back;
 * LS_RETRY for network failures. URLs with user:password never reach an error text. */
enum ls_class ls_http_do(struct ls_http_client *client, const char *method, const char *url, const char *const *header,
			 struct ls_str body, struct ls_http_response *ret, struct ls_error *err);
void ls_http_response_release(struct ls_http_response *response);
/* ls_http_class: the class of a status: 408 425 429 5xx RETRY; 401 403 AUTH; other 4xx POISON; else OK. */
enum ls_class ls_http_class(int status);
