/* The registry of counters, and its text read back by the rules of the Prometheus exposition format 0.0.4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/buf.h"
#include "metrics/stats.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static char *print(struct ls_stats *stats)
{
	struct ls_buf buf;

	ls_buf_init(&buf, 1 << 22);
	ls_stats_prometheus(stats, &buf);
	assert_false(buf.full);
	return ls_buf_take(&buf);
}

static const char *skip_name(const char *at)
{
	assert_true(isalpha((unsigned char)*at) || *at == '_');
	while (isalnum((unsigned char)*at) || *at == '_' || *at == ':')
		at++;
	return at;
}

/* name{label="value",...}: escapes are \\ \" and \n, nothing else. */
static const char *skip_labels(const char *at)
{
	while (*at != '}') {
		at = skip_name(at + 1); /* the brace or the comma before it */
		assert_memory_equal(at, "=\"", 2);
		for (at += 2; *at != '"'; at++) {
			assert_int_not_equal(*at, '\0');
			if (*at == '\\')
				assert_non_null(strchr("\\\"n", *++at));
		}
		at++;
	}
	return at + 1;
}

static void check_line(const char *line)
{
	const char *at;
	char *end;

	if (*line == '#') {
		assert_true(!strncmp(line, "# HELP lockstep_", 16) || !strncmp(line, "# TYPE lockstep_", 16));
		return;
	}
	assert_memory_equal(line, "lockstep_", 9);
	at = skip_name(line);
	if (*at == '{')
		at = skip_labels(at);
	assert_int_equal(*at, ' ');
	strtod(at + 1, &end);
	assert_true(end != at + 1 && !*end);
}

static void every_line_follows_the_exposition_format(void **state)
{
	struct ls_stats *stats = ls_stats_new();
	char *text, *at, *line;

	(void)state;
	ls_histogram_note(&ls_stats_lane(stats, "odd \"\\\n name")->commit_to_applied, 3000);
	LS_COUNT(ls_stats_lane(stats, "capture/crm"), events, 12);
	text = at = print(stats);
	assert_int_equal(text[strlen(text) - 1], '\n');
	while ((line = strsep(&at, "\n")) && *line)
		check_line(line);
	free(text);
	text = print(stats);
	assert_non_null(strstr(text, "# TYPE lockstep_events_total counter\n"));
	assert_non_null(strstr(text, "lockstep_events_total{lane=\"capture/crm\"} 12\n"));
	assert_non_null(strstr(text, "{lane=\"odd \\\"\\\\\\n name\"} "));
	assert_non_null(strstr(text, "lockstep_build_info{version=\"" LS_VERSION "\"} 1\n"));
	assert_null(strstr(text, "lockstep_process_resident_bytes 0\n"));
	free(text);
	ls_stats_free(stats);
}

static void histogram_buckets_are_cumulative_and_hold_their_upper_bound(void **state)
{
	struct ls_stats *stats = ls_stats_new();
	struct ls_histogram *histogram = &ls_stats_lane(stats, "a")->commit_to_published;
	char *text;

	(void)state;
	ls_histogram_note(histogram, 250);
	ls_histogram_note(histogram, 251);
	ls_histogram_note(histogram, -5);
	ls_histogram_note(histogram, INT64_C(1000000) * 86400);
	text = print(stats);
	assert_non_null(strstr(text, "commit_to_published_seconds_bucket{lane=\"a\",le=\"0.00025\"} 2\n"));
	assert_non_null(strstr(text, "commit_to_published_seconds_bucket{lane=\"a\",le=\"0.0005\"} 3\n"));
	assert_non_null(strstr(text, "commit_to_published_seconds_bucket{lane=\"a\",le=\"1048.576\"} 3\n"));
	assert_non_null(strstr(text, "commit_to_published_seconds_bucket{lane=\"a\",le=\"+Inf\"} 4\n"));
	assert_non_null(strstr(text, "commit_to_published_seconds_count{lane=\"a\"} 4\n"));
	assert_non_null(strstr(text, "commit_to_published_seconds_sum{lane=\"a\"} 86400.000501\n"));
	free(text);
	ls_stats_free(stats);
}

static void a_lane_is_made_once_and_remembers_its_last_error(void **state)
{
	struct ls_stats *stats = ls_stats_new();
	struct ls_lane_stats *lane = ls_stats_lane(stats, "sink/a");
	char text[600];

	(void)state;
	assert_ptr_equal(ls_stats_lane(stats, "sink/a"), lane);
	assert_ptr_not_equal(ls_stats_lane(stats, "sink/b"), lane);
	assert_int_equal(ls_stats_last_error(lane, text, sizeof(text)), 0);
	assert_string_equal(text, "");
	ls_stats_error(lane, "gone");
	assert_true(ls_stats_last_error(lane, text, sizeof(text)) > 0);
	assert_string_equal(text, "gone");
	ls_stats_free(stats);
}

enum { THREADS = 6, ROUNDS = 300 };

static void add_up(struct ls_lane_stats *lane, void *arg)
{
	*(long long *)arg += LS_READ(lane, events);
}

static void *count_and_read(void *arg)
{
	struct ls_stats *stats = arg;

	for (int i = 0; i < ROUNDS; i++) {
		char name[32], text[100];
		struct ls_lane_stats *lane;
		long long sum = 0;

		snprintf(name, sizeof(name), "lane/%d", i % 20);
		lane = ls_stats_lane(stats, name);
		LS_COUNT(lane, events, 1);
		ls_histogram_note(&lane->commit_to_applied, i * 100);
		ls_stats_error(lane, name);
		ls_stats_last_error(lane, text, sizeof(text));
		ls_stats_each(stats, add_up, &sum);
		if (i % 50 == 0)
			free(print(stats));
	}
	return NULL;
}

static void lanes_count_while_others_read(void **state)
{
	struct ls_stats *stats = ls_stats_new();
	pthread_t thread[THREADS];
	long long sum = 0;

	(void)state;
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, count_and_read, stats), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	ls_stats_each(stats, add_up, &sum);
	assert_int_equal(sum, THREADS * ROUNDS);
	ls_stats_free(stats);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_line_follows_the_exposition_format),
		cmocka_unit_test(histogram_buckets_are_cumulative_and_hold_their_upper_bound),
		cmocka_unit_test(a_lane_is_made_once_and_remembers_its_last_error),
		cmocka_unit_test(lanes_count_while_others_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
