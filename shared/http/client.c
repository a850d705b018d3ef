/* HTTP requests on one libcurl handle, which keeps its connections between requests. Redirects are not followed: the
 * headers of a request, keys among them, go to nobody but the host that was configured. */
#include "http/client.h"
#include "core/time.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

enum { CONNECT_TIMEOUT_MS = 10000, SAFE_URL = 200 };

struct ls_http_client {
	CURL *curl;
	long timeout_ms;
	size_t max_body;
	char error[CURL_ERROR_SIZE];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

enum ls_class ls_http_client_open(int timeout_ms, size_t max_body, struct ls_http_client **ret, struct ls_error *err)
{
	struct ls_http_client *client = calloc(1, sizeof(*client));

	pthread_once(&once, init_curl);
	if (!client)
		abort();
	client->curl = curl_easy_init();
	client->timeout_ms = timeout_ms;
	client->max_body = max_body;
	if (!client->curl) {
		free(client);
		return ls_fail(err, LS_FATAL, "curl", "could not start the HTTP client");
	}
	*ret = client;
	return LS_OK;
}

struct ls_http_client *ls_http_client_close(struct ls_http_client *client)
{
	if (client)
		curl_easy_cleanup(client->curl);
	free(client);
	return NULL;
}

void ls_http_response_release(struct ls_http_response *response)
{
	ls_buf_release(&response->body);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
	struct ls_buf *body = arg;

	ls_buf_add(body, bytes, size * count);
	return body->full ? 0 : size * count; /* 0 ends the transfer with CURLE_WRITE_ERROR */
}

/* Retry-After: delay-seconds or an HTTP date (RFC 9110, 10.2.3). */
static int64_t parse_retry_after(const char *value)
{
	char *end;
	long long seconds = strtoll(value, &end, 10);
	time_t date;

	while (*end == ' ' || *end == '\t' || *end == '\r' || *end == '\n')
		end++;
	if (end != value && !*end)
		return seconds < 0 ? -1 : seconds > 86400 ? (int64_t)86400000 : (int64_t)seconds * 1000;
	date = curl_getdate(value, NULL);
	if (date == (time_t)-1)
		return -1;
	seconds = (long long)date - ls_now_us() / 1000000;
	return seconds < 0 ? 0 : seconds > 86400 ? (int64_t)86400000 : (int64_t)seconds * 1000;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *arg)
{
	static const char name[] = "retry-after:";
	struct ls_http_response *response = arg;
	size_t len = size * count, skip = sizeof(name) - 1;
	char value[64];

	if (len <= skip || len - skip >= sizeof(value) || strncasecmp(bytes, name, skip))
		return len;
	memcpy(value, bytes + skip, len - skip);
	value[len - skip] = '\0';
	response->retry_after_ms = parse_retry_after(value);
	return len;
}

/* Writes scheme, host, port and path into out: what an error may say of a URL. False: it is none. */
static bool safe_url(const char *url, char out[SAFE_URL])
{
	static const CURLUPart hide[] = { CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS, CURLUPART_QUERY,
					  CURLUPART_FRAGMENT };
	CURLU *parts = curl_url();
	char *text = NULL;
	bool is_url;

	if (!parts)
		abort();
	is_url = !curl_url_set(parts, CURLUPART_URL, url, 0);
	for (size_t i = 0; is_url && i < sizeof(hide) / sizeof(hide[0]); i++)
		is_url = !curl_url_set(parts, hide[i], NULL, 0);
	is_url = is_url && !curl_url_get(parts, CURLUPART_URL, &text, 0);
	is_url = is_url && (!strncmp(text, "http://", 7) || !strncmp(text, "https://", 8));
	if (is_url)
		snprintf(out, SAFE_URL, "%s", text);
	curl_free(text);
	curl_url_cleanup(parts);
	return is_url;
}

static bool make_headers(const char *const *header, struct curl_slist **ret)
{
	/* A request body goes at once: waiting for "100 Continue" costs a second with servers that do not know it. */
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");

	for (; header && *header; header++) {
		if (strpbrk(*header, "\r\n")) {
			curl_slist_free_all(list);
			return false;
		}
		list = curl_slist_append(list, *header);
	}
	*ret = list;
	return true;
}

static void set_method(CURL *curl, const char *method, struct ls_str body)
{
	if (!strcmp(method, "HEAD")) {
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	} else if (strcmp(method, "GET") || body.len) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.len ? body.ptr : "");
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	}
}

static void set_options(struct ls_http_client *client, const char *url, struct curl_slist *headers,
			struct ls_http_response *response)
{
	CURL *curl = client->curl;

	curl_easy_reset(curl);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, client->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
			 client->timeout_ms < CONNECT_TIMEOUT_MS ? client->timeout_ms : (long)CONNECT_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "lockstep/" LS_VERSION);
	curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, response);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &response->body);
	client->error[0] = '\0';
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->error);
}

static enum ls_class transfer_failed(const struct ls_http_client *client, CURLcode code, bool too_large,
				     const char *url, struct ls_error *err)
{
	const char *why = client->error[0] ? client->error : curl_easy_strerror(code);

	if (too_large)
		return ls_fail(err, LS_POISON, "too-large", "the answer of %s is larger than %zu bytes", url,
			       client->max_body);
	if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
		return ls_fail(err, LS_AUTH, "tls",
			       "the certificate of %s was not accepted: %s; mend it, or install its authority", url,
			       why);
	return ls_fail(err, LS_RETRY, code == CURLE_OPERATION_TIMEDOUT ? "timeout" : "network",
		       "could not reach %s: %s", url, why);
}

enum ls_class ls_http_do(struct ls_http_client *client, const char *method, const char *url, const char *const *header,
			 struct ls_str body, struct ls_http_response *ret, struct ls_error *err)
{
	struct ls_http_response response = { .retry_after_ms = -1 };
	struct curl_slist *headers = NULL;
	char shown[SAFE_URL];
	long status = 0;
	CURLcode code;

	if (!safe_url(url, shown))
		return ls_fail(err, LS_FATAL, "url", "not an http or https URL; look at the configured address");
	if (!make_headers(header, &headers))
		return ls_fail(err, LS_FATAL, "header", "a request header for %s has a line break in it", shown);
	ls_buf_init(&response.body, client->max_body);
	set_options(client, url, headers, &response);
	set_method(client->curl, method, body);
	code = curl_easy_perform(client->curl);
	curl_slist_free_all(headers);
	if (code) {
		enum ls_class class = transfer_failed(client, code, response.body.full, shown, err);

		ls_http_response_release(&response);
		return class;
	}
	curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	response.status = (int)status;
	*ret = response;
	return LS_OK;
}
