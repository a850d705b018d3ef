/* Log lines: both forms, masks, cutting, many threads. JSON is read back by jansson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/log.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What was written to the file so far, terminated. */
static char *read_back(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *text = calloc(1, (size_t)size + 1);

	assert_int_equal(pread(fd, text, (size_t)size, 0), size);
	return text;
}

static void a_logfmt_line_quotes_only_what_needs_it(void **state)
{
	int fd = memfd_create("log", 0);
	struct ls_log *log = ls_log_new(fd, false, LS_LOG_INFO);
	char *text;

	(void)state;
	LS_LOG(log, LS_LOG_DEBUG, NULL, "not said");
	LS_LOG(log, LS_LOG_WARN, "sink/crm", "slice \"a\" failed", LS_F("code", "57P01"), LS_N("attempt", 3),
	       LS_F("empty", ""), LS_F("line", "a\nb=c"));
	text = read_back(fd);
	assert_memory_equal(text, "ts=20", 5);
	assert_non_null(strstr(text, "Z level=warn lane=sink/crm msg=\"slice \\\"a\\\" failed\" code=57P01 attempt=3 "
				     "empty=\"\" line=\"a\\nb=c\"\n"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	free(text);
	ls_log_free(log);
	close(fd);
}

static void a_json_line_is_read_back_by_a_json_parser(void **state)
{
	int fd = memfd_create("log", 0);
	struct ls_log *log = ls_log_new(fd, true, LS_LOG_DEBUG);
	json_t *json;
	char *text;

	(void)state;
	LS_LOG(log, LS_LOG_ERROR, "sink/crm", "odd \x01 \"\\ \xC3\xA9 bytes", LS_N("n", INT64_MIN),
	       LS_F("bad", "\xFF\xC3(\xED\xA0\x80"));
	text = read_back(fd);
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "msg")), "odd \x01 \"\\ \xC3\xA9 bytes");
	assert_string_equal(json_string_value(json_object_get(json, "level")), "error");
	assert_true(json_integer_value(json_object_get(json, "n")) == INT64_MIN);
	json_decref(json);
	free(text);
	ls_log_free(log);
	close(fd);
}

static void a_secret_never_shows_however_it_comes(void **state)
{
	int fd = memfd_create("log", 0);
	struct ls_log *log = ls_log_new(fd, false, LS_LOG_INFO);
	struct ls_error err;
	char *text;

	(void)state;
	ls_log_secret(log, "hun\"ter2");
	ls_log_secret(log, "hun\"ter2-and-more");
	ls_log_secret(log, "");
	ls_fail(&err, LS_AUTH, "28P01", "password %s refused", "hun\"ter2");
	ls_log_error(log, LS_LOG_ERROR, "capture/hun\"ter2", &err, "stopped");
	LS_LOG(log, LS_LOG_INFO, NULL, "hun\"ter2-and-morehun\"ter2", LS_F("url", "postgres://u:hun\"ter2@h/db"));
	text = read_back(fd);
	assert_null(strstr(text, "ter2"));
	assert_null(strstr(text, "and-more"));
	assert_non_null(strstr(text, "msg=\"password *** refused\" class=auth code=28P01 next=stopped\n"));
	assert_non_null(strstr(text, "msg=****** url=postgres://u:***@h/db\n"));
	free(text);
	ls_log_free(log);
	close(fd);
}

static void a_long_line_is_cut_and_stays_well_formed(void **state)
{
	int fd = memfd_create("log", 0);
	struct ls_log *log = ls_log_new(fd, true, LS_LOG_INFO);
	struct ls_log_field field[50];
	char *big = malloc(100001), *text;
	json_t *json;

	(void)state;
	memset(big, 'x', 100000);
	big[100000] = '\0';
	memcpy(big + 50000, "secret", 6);
	for (size_t i = 0; i < 50; i++)
		field[i] = LS_F("f", big);
	ls_log_secret(log, "secret");
	ls_log_line(log, LS_LOG_INFO, NULL, big, field, 50);
	text = read_back(fd);
	assert_true(strlen(text) < 20000);
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	assert_true(json_integer_value(json_object_get(json, "fields_cut")) > 40);
	json_decref(json);
	free(text);
	free(big);
	ls_log_free(log);
	close(fd);
}

enum { THREADS = 8, LINES = 500 };

static void *log_lines(void *arg)
{
	struct ls_log *log = arg;

	for (int i = 0; i < LINES; i++) {
		if (i % 100 == 0)
			ls_log_secret(log, "hidden");
		LS_LOG(log, LS_LOG_INFO, "lane", "working hidden", LS_N("i", i),
		       LS_F("f", "a longer text of some words"));
	}
	return NULL;
}

static void lines_of_many_threads_never_mix(void **state)
{
	int fd = memfd_create("log", 0);
	struct ls_log *log = ls_log_new(fd, true, LS_LOG_INFO);
	pthread_t thread[THREADS];
	size_t lines = 0;
	char *text, *line, *at;

	(void)state;
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, log_lines, log), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	text = at = read_back(fd);
	while ((line = strsep(&at, "\n")) && *line) {
		json_t *json = json_loads(line, 0, NULL);

		assert_non_null(json);
		assert_string_equal(json_string_value(json_object_get(json, "msg")), "working ***");
		json_decref(json);
		lines++;
	}
	assert_int_equal(lines, THREADS * LINES);
	free(text);
	ls_log_free(log);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_logfmt_line_quotes_only_what_needs_it),
		cmocka_unit_test(a_json_line_is_read_back_by_a_json_parser),
		cmocka_unit_test(a_secret_never_shows_however_it_comes),
		cmocka_unit_test(a_long_line_is_cut_and_stays_well_formed),
		cmocka_unit_test(lines_of_many_threads_never_mix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
