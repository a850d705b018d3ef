/* The schema registry's store against a small registry made of our own HTTP server. What it answers is what Confluent's
 * and Apicurio's answer (status, error_code, fields). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/buf.h"
#include "http/registry.h"
#include "http/server.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the registry answers next; set before a request, read by the server's thread while it is waited for. */
struct answer {
	int status;
	const char *body;
};

struct fixture {
	struct ls_http_server *server;
	struct ls_schema_store *store;
	_Atomic(const struct answer *) find, check, post;
	atomic_int registered;
	atomic_bool body_right, path_right;
	struct ls_error err;
};

static void give(const struct answer *answer, int *status, const char **type, struct ls_buf *body)
{
	*status = answer->status;
	*type = "application/vnd.schemaregistry.v1+json";
	ls_buf_add_text(body, answer->body);
}

static void on_find(void *context, const struct ls_http_request *request, int *status, const char **type,
		    struct ls_buf *body)
{
	struct fixture *f = context;

	f->path_right = !strcmp(request->path, "/apis/v7/schemas/ids/7");
	give(f->find, status, type, body);
}

static void on_check(void *context, const struct ls_http_request *request, int *status, const char **type,
		     struct ls_buf *body)
{
	struct fixture *f = context;

	f->path_right = !strcmp(request->path, "/apis/v7/compatibility/subjects/lockstep.a/b-value/versions/latest");
	give(f->check, status, type, body);
}

static void on_register(void *context, const struct ls_http_request *request, int *status, const char **type,
			struct ls_buf *body)
{
	struct fixture *f = context;
	json_t *json = json_loadb(request->body.ptr, request->body.len, 0, NULL);
	const char *schema = json_string_value(json_object_get(json, "schema"));

	f->body_right = schema && !strcmp(schema, "{\"type\":\"string\"}");
	json_decref(json);
	f->registered++;
	give(f->post, status, type, body);
}

static int start(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct ls_http_route route[] = {
		{ "GET", "/apis/v7/schemas/ids/*", false, on_find, f },
		{ "POST", "/apis/v7/compatibility/*", false, on_check, f },
		{ "POST", "/apis/v7/subjects/*", false, on_register, f },
	};
	char url[100];

	*state = f;
	if (ls_http_server_open("127.0.0.1:0", NULL, route, 3, &f->server, &f->err))
		return 1;
	snprintf(url, sizeof(url), "http://bob:hunter2@127.0.0.1:%d/apis/v7/", ls_http_server_port(f->server));
	return ls_registry_open(url, LS_COMPATIBILITY_FULL, &f->store, &f->err) != LS_OK;
}

static int stop(void **state)
{
	struct fixture *f = *state;

	f->store->close(f->store);
	ls_http_server_close(f->server);
	free(f);
	return 0;
}

static void a_schema_is_found_by_its_id(void **state)
{
	static const struct answer answer = {
		200, "{\"schema\":\"\\\"string\\\"\",\"schemaType\":\"AVRO\",\"references\":[]}"
	};
	struct fixture *f = *state;
	char *json;

	f->find = &answer;
	assert_int_equal(f->store->find(f->store, true, 7, &json, &f->err), LS_OK);
	assert_true(f->path_right);
	assert_string_equal(json, "\"string\"");
	free(json);
}

static void what_is_not_a_schema_has_its_class(void **state)
{
	static const struct {
		struct answer answer;
		enum ls_class class;
	} table[] = {
		{ { 404, "{\"error_code\":40403,\"message\":\"Schema 7 not found\"}" }, LS_POISON },
		{ { 404, "<html>nothing here</html>" }, LS_FATAL },
		{ { 200, "{\"schema\":\"{}\",\"schemaType\":\"PROTOBUF\"}" }, LS_POISON },
		{ { 200, "{\"schema\":\"{}\",\"references\":[{\"name\":\"x\"}]}" }, LS_POISON },
		{ { 200, "[]" }, LS_FATAL },
		{ { 200, "" }, LS_FATAL },
		{ { 302, "" }, LS_FATAL },
		{ { 401, "{}" }, LS_AUTH },
		{ { 500, "{\"error_code\":50001,\"message\":\"Error in the backend\"}" }, LS_RETRY },
		{ { 503, "" }, LS_RETRY },
	};
	struct fixture *f = *state;
	char *json;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		f->find = &table[i].answer;
		if (f->store->find(f->store, true, 7, &json, &f->err) != table[i].class)
			fail_msg("%d %s: %s", table[i].answer.status, table[i].answer.body, f->err.text);
		assert_null(strstr(f->err.text, "hunter2"));
	}
	assert_int_equal(f->store->find(f->store, false, 7, &json, &f->err), LS_POISON);
}

static enum ls_class publish(struct fixture *f, const struct answer *check, const struct answer *post, uint64_t *id)
{
	bool by_id = false;
	enum ls_class class;

	f->check = check;
	f->post = post;
	f->registered = 0;
	class = f->store->publish(f->store, LS_STR("lockstep.a/b-value"), LS_STR("{\"type\":\"string\"}"), &by_id, id,
				  &f->err);
	assert_true(by_id || class);
	return class;
}

static void a_compatible_schema_is_registered(void **state)
{
	static const struct answer fits = { 200, "{\"is_compatible\":true,\"messages\":[]}" },
				   done = { 200, "{\"id\":41}" };
	struct fixture *f = *state;
	uint64_t id = 0;

	assert_int_equal(publish(f, &fits, &done, &id), LS_OK);
	assert_int_equal(id, 41);
	assert_true(f->body_right && f->path_right);
}

static void the_first_schema_of_a_subject_needs_no_earlier_one(void **state)
{
	static const struct answer none[] = { { 404, "{\"error_code\":40401,\"message\":\"Subject not found.\"}" },
					      { 404, "{\"error_code\":40402,\"message\":\"Version not found.\"}" } };
	static const struct answer done = { 200, "{\"id\":1}" };
	struct fixture *f = *state;
	uint64_t id = 0;

	for (size_t i = 0; i < 2; i++)
		assert_int_equal(publish(f, &none[i], &done, &id), LS_OK);
	assert_int_equal(id, 1);
}

static void an_incompatible_schema_is_not_registered_and_the_reason_is_told(void **state)
{
	static const struct answer no = { 200,
					  "{\"is_compatible\":false,\"messages\":[\"READER_FIELD_MISSING: age\"]}" };
	static const struct answer done = { 200, "{\"id\":1}" };
	struct fixture *f = *state;
	uint64_t id = 0;

	assert_int_equal(publish(f, &no, &done, &id), LS_FATAL);
	assert_int_equal(f->registered, 0);
	assert_non_null(strstr(f->err.text, "lockstep.a/b-value"));
	assert_non_null(strstr(f->err.text, "READER_FIELD_MISSING: age"));
}

static void without_the_check_the_registry_is_not_asked_and_its_own_rule_still_stands(void **state)
{
	static const struct answer no = { 200, "{\"is_compatible\":false}" }, done = { 200, "{\"id\":41}" },
				   rule = { 409, "{\"error_code\":409,\"message\":\"incompatible\"}" };
	struct fixture *f = *state;
	uint64_t id = 0;
	char url[100];

	f->store->close(f->store);
	snprintf(url, sizeof(url), "http://bob:hunter2@127.0.0.1:%d/apis/v7/", ls_http_server_port(f->server));
	assert_int_equal(ls_registry_open(url, LS_COMPATIBILITY_NONE, &f->store, &f->err), LS_OK);

	assert_int_equal(publish(f, &no, &done, &id), LS_OK);
	assert_int_equal(id, 41);

	assert_int_equal(publish(f, &no, &rule, &id), LS_FATAL);
	assert_non_null(strstr(f->err.text, "compatibility level in the registry to NONE"));
}

static void a_registration_that_fails_has_its_class(void **state)
{
	static const struct answer fits = { 200, "{\"is_compatible\":true}" }, odd = { 200, "{}" };
	static const struct {
		struct answer answer;
		enum ls_class class;
	} table[] = {
		{ { 409, "{\"error_code\":409,\"message\":\"raced by another\"}" }, LS_FATAL },
		{ { 422, "{\"error_code\":42201,\"message\":\"Invalid schema\"}" }, LS_FATAL },
		{ { 403, "{}" }, LS_AUTH },
		{ { 500, "" }, LS_RETRY },
		{ { 200, "{\"id\":\"x\"}" }, LS_FATAL },
		{ { 200, "{\"id\":4294967296}" }, LS_FATAL },
	};
	struct fixture *f = *state;
	uint64_t id = 0;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_int_equal(publish(f, &fits, &table[i].answer, &id), table[i].class);
	assert_int_equal(publish(f, &odd, &odd, &id), LS_FATAL);
	assert_int_equal(id, 0);
}

static void a_registry_that_is_not_there_is_a_retry(void **state)
{
	struct ls_schema_store *store;
	struct ls_error err;
	char *json;

	(void)state;
	assert_int_equal(ls_registry_open("http://u:hunter2@127.0.0.1:1", LS_COMPATIBILITY_FULL, &store, &err), LS_OK);
	assert_int_equal(store->find(store, true, 1, &json, &err), LS_RETRY);
	assert_null(strstr(err.text, "hunter2"));
	store->close(store);
	assert_int_equal(ls_registry_open("ldap://u:hunter2@h", LS_COMPATIBILITY_FULL, &store, &err), LS_FATAL);
	assert_null(strstr(err.text, "hunter2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_schema_is_found_by_its_id),
		cmocka_unit_test(what_is_not_a_schema_has_its_class),
		cmocka_unit_test(a_compatible_schema_is_registered),
		cmocka_unit_test(the_first_schema_of_a_subject_needs_no_earlier_one),
		cmocka_unit_test(an_incompatible_schema_is_not_registered_and_the_reason_is_told),
		cmocka_unit_test(a_registration_that_fails_has_its_class),
		cmocka_unit_test(a_registry_that_is_not_there_is_a_retry),
		/* the last: the store stays so */
		cmocka_unit_test(without_the_check_the_registry_is_not_asked_and_its_own_rule_still_stands),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
