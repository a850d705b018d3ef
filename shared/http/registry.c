/* A Confluent-compatible schema registry as a schema store. Answers are told apart by status and error_code only: the
 * texts differ between the registries that speak this protocol. */
#include "http/registry.h"
#include "core/buf.h"
#include "http/client.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { TIMEOUT_MS = 15000, MAX_ANSWER = 8 << 20, MAX_URL = 4096 };

struct registry {
	struct ls_schema_store store;
	pthread_mutex_t lock; /* the lanes share the client's one handle */
	struct ls_http_client *client;
	char *base; /* without a slash at its end; may hold a password */
	enum ls_compatibility compatibility;
};

/* An answer: its status and, where it is JSON, its document. */
struct reply {
	int status;
	json_t *json;
};

/* ---- asking ---- */

static enum ls_class ask(struct registry *registry, const char *method, const char *path, struct ls_str body,
			 struct reply *ret, struct ls_error *err)
{
	static const char *const header[] = { "Accept: application/vnd.schemaregistry.v1+json, application/json",
					      "Content-Type: application/vnd.schemaregistry.v1+json", NULL };
	struct ls_http_response response;
	struct ls_buf url;
	enum ls_class class;

	ls_buf_init(&url, MAX_URL);
	ls_buf_printf(&url, "%s%s", registry->base, path);
	if (url.full) {
		ls_buf_release(&url);
		return ls_fail(err, LS_FATAL, "url", "schema registry: the address is too long");
	}
	pthread_mutex_lock(&registry->lock);
	class = ls_http_do(registry->client, method, url.ptr, header, body, &response, err);
	pthread_mutex_unlock(&registry->lock);
	ls_buf_release(&url);
	if (class)
		return ls_fail_in(err, "schema registry");
	ret->status = response.status;
	ret->json = json_loadb(ls_buf_str(&response.body).ptr, response.body.len, 0, NULL);
	ls_http_response_release(&response);
	return LS_OK;
}

static json_int_t error_code(const struct reply *reply)
{
	return json_integer_value(json_object_get(reply->json, "error_code"));
}

/* 404 in the registry's own words. One without error_code comes from something else that listens there. */
static bool is_missing(const struct reply *reply)
{
	json_int_t code = error_code(reply);

	return reply->status == 404 && (code == 404 || code / 100 == 404);
}

/* A reply nobody expected, as an error about `what`. */
static enum ls_class refused(const struct reply *reply, const char *what, struct ls_error *err)
{
	const char *said = json_string_value(json_object_get(reply->json, "message"));
	enum ls_class class = ls_http_class(reply->status);
	const char *todo = "look at registry.url and its path";
	char code[32];

	snprintf(code, sizeof(code), "%d", reply->status);
	if (class == LS_AUTH)
		todo = "look at the user and password in registry.url";
	else if (class == LS_RETRY)
		todo = "it is asked again";
	else if (reply->status == 422)
		class = LS_FATAL, todo = "the schema itself was refused";
	else
		class = LS_FATAL;
	return ls_fail(err, class, code, "schema registry: %s was answered with HTTP %d%s%.200s; %s", what,
		       reply->status, said ? ": " : "", said ? said : "", todo);
}

/* ---- finding ---- */

static enum ls_class take_schema(const struct reply *reply, uint64_t id, char **ret_json, struct ls_error *err)
{
	const char *type = json_string_value(json_object_get(reply->json, "schemaType"));
	const char *schema = json_string_value(json_object_get(reply->json, "schema"));

	if (is_missing(reply))
		return ls_fail(err, LS_POISON, "40403", "schema registry: there is no schema with id %llu",
			       (unsigned long long)id);
	if (reply->status != 200)
		return refused(reply, "asking for a schema", err);
	if (!schema)
		return ls_fail(err, LS_FATAL, "200",
			       "schema registry: the answer for schema id %llu holds no schema; look at registry.url",
			       (unsigned long long)id);
	if ((type && strcmp(type, "AVRO")) || json_array_size(json_object_get(reply->json, "references")))
		return ls_fail(err, LS_POISON, "schema", "schema registry: schema id %llu is not a single Avro schema",
			       (unsigned long long)id);
	*ret_json = strdup(schema);
	if (!*ret_json)
		abort();
	return LS_OK;
}

static enum ls_class registry_find(struct ls_schema_store *store, bool by_id, uint64_t id, char **ret_json,
				   struct ls_error *err)
{
	struct registry *registry = (struct registry *)store;
	struct reply reply = { 0 };
	enum ls_class class;
	char path[64];

	if (!by_id)
		return ls_fail(err, LS_POISON, "schema", "schema registry: schemas are kept by id, not by fingerprint");
	snprintf(path, sizeof(path), "/schemas/ids/%llu", (unsigned long long)id);
	class = ask(registry, "GET", path, (struct ls_str){ 0 }, &reply, err);
	if (!class)
		class = take_schema(&reply, id, ret_json, err);
	json_decref(reply.json);
	return class;
}

/* ---- publishing ---- */

static void add_messages(struct ls_buf *out, const json_t *messages)
{
	size_t i;
	json_t *message;

	json_array_foreach(messages, i, message)
	{
		if (json_is_string(message))
			ls_buf_printf(out, "%s%s", out->len ? "; " : ": ", json_string_value(message));
	}
}

static enum ls_class incompatible(const struct reply *reply, struct ls_str subject, struct ls_error *err)
{
	const char *said = json_string_value(json_object_get(reply->json, "message"));
	struct ls_buf messages;

	ls_buf_init(&messages, 1 << 16);
	add_messages(&messages, json_object_get(reply->json, "messages"));
	if (!messages.len && said)
		ls_buf_printf(&messages, ": %s", said);
	ls_fail(err, LS_FATAL, "409",
		"schema registry: the new schema is not compatible with what subject \"%.*s\" has%.160s; change the "
		"column at the destinations, too, set schema_compatibility: none and the subject's compatibility level "
		"in "
		"the registry to NONE, run until capture goes on, and set both back (schemas/README.md)",
		LS_ARG(subject), ls_buf_str(&messages).ptr);
	ls_buf_release(&messages);
	return LS_FATAL;
}

/* No earlier version is no obstacle. */
static enum ls_class judge(const struct reply *reply, struct ls_str subject, struct ls_error *err)
{
	const json_t *verdict = json_object_get(reply->json, "is_compatible");

	if (is_missing(reply))
		return LS_OK;
	if (reply->status != 200)
		return refused(reply, "the compatibility check", err);
	if (!json_is_boolean(verdict))
		return ls_fail(err, LS_FATAL, "200",
			       "schema registry: the compatibility check was not understood; look at registry.url");
	return json_is_true(verdict) ? LS_OK : incompatible(reply, subject, err);
}

static enum ls_class take_id(const struct reply *reply, struct ls_str subject, uint64_t *ret_id, struct ls_error *err)
{
	const json_t *id = json_object_get(reply->json, "id");

	if (reply->status == 409)
		return incompatible(reply, subject, err);
	if (reply->status != 200 && reply->status != 201)
		return refused(reply, "registering a schema", err);
	/* The frame has four bytes for it. */
	if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > UINT32_MAX)
		return ls_fail(err, LS_FATAL, "200", "schema registry: subject \"%.*s\" was given no usable id",
			       LS_ARG(subject));
	*ret_id = (uint64_t)json_integer_value(id);
	return LS_OK;
}

/* Subjects come from configured names; percent-encoding keeps odd ones from changing the path (RFC 3986, 2.3). */
static void add_segment(struct ls_buf *path, struct ls_str text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] && strchr(plain, text.ptr[i]))
			ls_buf_add_char(path, text.ptr[i]);
		else
			ls_buf_printf(path, "%%%02X", (unsigned)(unsigned char)text.ptr[i]);
	}
}

static enum ls_class post(struct registry *registry, const char *before, struct ls_str subject, const char *after,
			  struct ls_str body, struct reply *ret, struct ls_error *err)
{
	enum ls_class class;
	struct ls_buf path;

	ls_buf_init(&path, MAX_URL);
	ls_buf_add_text(&path, before);
	add_segment(&path, subject);
	ls_buf_add_text(&path, after);
	class = path.full ? ls_fail(err, LS_FATAL, "subject", "schema registry: the subject's name is too long")
			  : ask(registry, "POST", path.ptr, body, ret, err);
	ls_buf_release(&path);
	return class;
}

static enum ls_class check_then_register(struct registry *registry, struct ls_str subject, struct ls_str body,
					 uint64_t *ret_id, struct ls_error *err)
{
	struct reply reply = { 0 };
	enum ls_class class;

	if (registry->compatibility == LS_COMPATIBILITY_FULL) {
		class = post(registry, "/compatibility/subjects/", subject, "/versions/latest?verbose=true", body,
			     &reply, err);
		if (!class)
			class = judge(&reply, subject, err);
		json_decref(reply.json);
		if (class)
			return class;
	}
	reply = (struct reply){ 0 };
	class = post(registry, "/subjects/", subject, "/versions", body, &reply, err);
	if (!class)
		class = take_id(&reply, subject, ret_id, err);
	json_decref(reply.json);
	return class;
}

static enum ls_class registry_publish(struct ls_schema_store *store, struct ls_str subject, struct ls_str json,
				      bool *ret_by_id, uint64_t *ret_id, struct ls_error *err)
{
	json_t *request = json_pack("{s:s%}", "schema", json.ptr, json.len);
	char *body = request ? json_dumps(request, JSON_COMPACT) : NULL;
	enum ls_class class;

	json_decref(request);
	if (!body)
		return ls_fail(err, LS_FATAL, "schema", "the schema of subject \"%.*s\" is not UTF-8", LS_ARG(subject));
	class = check_then_register((struct registry *)store, subject, ls_str_of(body), ret_id, err);
	free(body);
	if (!class)
		*ret_by_id = true;
	return class;
}

static enum ls_class latest_of(struct registry *registry, struct ls_str subject, char **ret_json, struct ls_error *err)
{
	struct reply reply = { 0 };
	struct ls_buf path;
	enum ls_class class;

	ls_buf_init(&path, MAX_URL);
	ls_buf_add_text(&path, "/subjects/");
	add_segment(&path, subject);
	ls_buf_add_text(&path, "/versions/latest");
	class = ask(registry, "GET", path.ptr, (struct ls_str){ 0 }, &reply, err);
	ls_buf_release(&path);
	if (!class && !is_missing(&reply))
		class = take_schema(&reply, 0, ret_json, err);
	json_decref(reply.json);
	return class;
}

enum ls_class ls_registry_unlike(struct ls_schema_store *store, struct ls_str subject, struct ls_str json,
				 char **ret_json, struct ls_error *err)
{
	struct registry *registry = (struct registry *)store;
	json_t *request = json_pack("{s:s%}", "schema", json.ptr, json.len);
	char *body = request ? json_dumps(request, JSON_COMPACT) : NULL;
	struct reply reply = { 0 };
	enum ls_class class;

	*ret_json = NULL;
	json_decref(request);
	if (!body)
		return ls_fail(err, LS_FATAL, "schema", "the schema of subject \"%.*s\" is not UTF-8", LS_ARG(subject));
	class = post(registry, "/subjects/", subject, "", ls_str_of(body), &reply, err);
	free(body);
	if (!class && reply.status != 200 && !is_missing(&reply))
		class = refused(&reply, "asking whether a schema is known", err);
	if (!class && is_missing(&reply))
		class = latest_of(registry, subject, ret_json, err);
	json_decref(reply.json);
	return class;
}

/* ---- life ---- */

static struct ls_schema_store *registry_close(struct ls_schema_store *store)
{
	struct registry *registry = (struct registry *)store;

	if (!registry)
		return NULL;
	ls_http_client_close(registry->client);
	pthread_mutex_destroy(&registry->lock);
	if (registry->base)
		explicit_bzero(registry->base, strlen(registry->base));
	free(registry->base);
	free(registry);
	return NULL;
}

enum ls_class ls_registry_open(const char *url, enum ls_compatibility compatibility, struct ls_schema_store **ret,
			       struct ls_error *err)
{
	struct registry *registry;
	enum ls_class class;
	size_t len = strlen(url);

	if (strncmp(url, "http://", 7) && strncmp(url, "https://", 8))
		return ls_fail(err, LS_FATAL, "url", "registry.url: not an http or https URL");
	registry = calloc(1, sizeof(*registry));
	if (!registry)
		abort();
	pthread_mutex_init(&registry->lock, NULL);
	registry->compatibility = compatibility;
	registry->store = (struct ls_schema_store){ registry_find, registry_publish, registry_close };
	while (len && url[len - 1] == '/')
		len--;
	registry->base = strndup(url, len);
	if (!registry->base)
		abort();
	class = ls_http_client_open(TIMEOUT_MS, MAX_ANSWER, &registry->client, err);
	if (class) {
		registry_close(&registry->store);
		return class;
	}
	*ret = &registry->store;
	return LS_OK;
}
