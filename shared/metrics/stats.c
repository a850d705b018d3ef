/* The registry of lane counters, and its printing as Prometheus text 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). */
#include "metrics/stats.h"
#include "core/buf.h"
#include "core/time.h"

#include <inttypes.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FIRST_BOUND_US = 250 };

struct ls_stats {
	pthread_mutex_t lock; /* the list, and last_error of every lane */
	struct ls_lane_stats *first;
};

/* ---- histograms ---- */

int64_t ls_histogram_bound_us(size_t bucket)
{
	return bucket + 1 < LS_HISTOGRAM_BUCKETS ? (int64_t)FIRST_BOUND_US << bucket : INT64_MAX;
}

void ls_histogram_note(struct ls_histogram *histogram, int64_t us)
{
	size_t bucket = 0;

	if (us < 0) /* the clocks of two hosts: no event arrives before it was committed */
		us = 0;
	while (us > ls_histogram_bound_us(bucket))
		bucket++;
	LS_COUNT(histogram, bucket[bucket], 1);
	LS_COUNT(histogram, sum_us, us);
	LS_COUNT(histogram, count, 1);
}

/* ---- the registry ---- */

struct ls_stats *ls_stats_new(void)
{
	struct ls_stats *stats = calloc(1, sizeof(*stats));

	if (!stats)
		abort();
	pthread_mutex_init(&stats->lock, NULL);
	return stats;
}

struct ls_stats *ls_stats_free(struct ls_stats *stats)
{
	if (!stats)
		return NULL;
	for (struct ls_lane_stats *lane = stats->first, *next; lane; lane = next) {
		next = lane->next;
		free(lane);
	}
	pthread_mutex_destroy(&stats->lock);
	free(stats);
	return NULL;
}

static void copy_text(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%s", text);
}

struct ls_lane_stats *ls_stats_lane(struct ls_stats *stats, const char *lane)
{
	struct ls_lane_stats **link, *found;
	char name[sizeof(found->lane)];

	copy_text(name, sizeof(name), lane);
	pthread_mutex_lock(&stats->lock);
	for (link = &stats->first; *link && strcmp((*link)->lane, name); link = &(*link)->next)
		;
	if (!*link) {
		*link = calloc(1, sizeof(**link));
		if (!*link)
			abort();
		copy_text((*link)->lane, sizeof((*link)->lane), name);
		(*link)->registry = stats;
	}
	found = *link;
	pthread_mutex_unlock(&stats->lock);
	return found;
}

void ls_stats_error(struct ls_lane_stats *lane, const char *text)
{
	pthread_mutex_lock(&lane->registry->lock);
	copy_text(lane->last_error, sizeof(lane->last_error), text);
	lane->last_error_us = ls_now_us();
	pthread_mutex_unlock(&lane->registry->lock);
}

int64_t ls_stats_last_error(struct ls_lane_stats *lane, char *out, size_t size)
{
	int64_t time_us;

	pthread_mutex_lock(&lane->registry->lock);
	copy_text(out, size, lane->last_error);
	time_us = lane->last_error_us;
	pthread_mutex_unlock(&lane->registry->lock);
	return time_us;
}

/* Lanes are never taken out before the end, so only the step to the next one needs the lock. */
static struct ls_lane_stats *next_lane(struct ls_stats *stats, struct ls_lane_stats *lane)
{
	struct ls_lane_stats *next;

	pthread_mutex_lock(&stats->lock);
	next = lane ? lane->next : stats->first;
	pthread_mutex_unlock(&stats->lock);
	return next;
}

void ls_stats_each(struct ls_stats *stats, void (*visit)(struct ls_lane_stats *lane, void *arg), void *arg)
{
	for (struct ls_lane_stats *lane = NULL; (lane = next_lane(stats, lane));)
		visit(lane, arg);
}

/* ---- Prometheus ---- */

static void add_label(struct ls_buf *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '\n') {
			ls_buf_add_text(out, "\\n");
			continue;
		}
		if (*value == '"' || *value == '\\')
			ls_buf_add_char(out, '\\');
		ls_buf_add_char(out, *value);
	}
}

static void add_head(struct ls_buf *out, const char *name, const char *type, const char *help)
{
	ls_buf_printf(out, "# HELP lockstep_%s %s\n# TYPE lockstep_%s %s\n", name, help, name, type);
}

static void add_sample(struct ls_buf *out, const char *name, const char *suffix, const char *lane, const char *le)
{
	ls_buf_printf(out, "lockstep_%s%s{lane=\"", name, suffix);
	add_label(out, lane);
	ls_buf_printf(out, le ? "\",le=\"%s\"} " : "\"} ", le);
}

static const struct metric {
	const char *name, *type, *help;
	size_t offset;
} metrics[] = {
#define X(field, type, name, help) { name, #type, help, offsetof(struct ls_lane_stats, field) },
	LS_STATS(X)
#undef X
};

static long long read_metric(const struct ls_lane_stats *lane, const struct metric *metric)
{
	const void *at = (const char *)lane + metric->offset;

	return atomic_load_explicit((const atomic_llong *)at, memory_order_relaxed);
}

static void add_metrics(struct ls_stats *stats, struct ls_buf *out)
{
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
		add_head(out, metrics[i].name, metrics[i].type, metrics[i].help);
		for (struct ls_lane_stats *lane = NULL; (lane = next_lane(stats, lane));) {
			add_sample(out, metrics[i].name, "", lane->lane, NULL);
			ls_buf_printf(out, "%lld\n", read_metric(lane, &metrics[i]));
		}
	}
}

/* _count is summed from the buckets as they were read, so that it always equals the +Inf bucket. */
static void add_histogram(struct ls_buf *out, const char *name, const char *lane, const struct ls_histogram *histogram)
{
	long long total = 0;

	for (size_t i = 0; i < LS_HISTOGRAM_BUCKETS; i++) {
		char bound[32] = "+Inf";

		if (i + 1 < LS_HISTOGRAM_BUCKETS)
			snprintf(bound, sizeof(bound), "%.9g", (double)ls_histogram_bound_us(i) / 1e6);
		total += LS_READ(histogram, bucket[i]);
		add_sample(out, name, "_bucket", lane, bound);
		ls_buf_printf(out, "%lld\n", total);
	}
	add_sample(out, name, "_sum", lane, NULL);
	ls_buf_printf(out, "%.6f\n", (double)LS_READ(histogram, sum_us) / 1e6);
	add_sample(out, name, "_count", lane, NULL);
	ls_buf_printf(out, "%lld\n", total);
}

static void add_histograms(struct ls_stats *stats, struct ls_buf *out)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} table[] = {
		{ "commit_to_published_seconds", "from the commit in the source to Kafka's acknowledgement",
		  offsetof(struct ls_lane_stats, commit_to_published) },
		{ "commit_to_applied_seconds", "from the commit in the source to the commit in the destination",
		  offsetof(struct ls_lane_stats, commit_to_applied) },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		add_head(out, table[i].name, "histogram", table[i].help);
		for (struct ls_lane_stats *lane = NULL; (lane = next_lane(stats, lane));) {
			const void *at = (const char *)lane + table[i].offset;

			add_histogram(out, table[i].name, lane->lane, at);
		}
	}
}

static int64_t resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long pages = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%*s %ld", &pages) != 1)
		pages = 0;
	fclose(file);
	return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

void ls_stats_prometheus(struct ls_stats *stats, struct ls_buf *out)
{
	add_metrics(stats, out);
	add_histograms(stats, out);
	add_head(out, "process_resident_bytes", "gauge", "memory of the process that is in RAM");
	ls_buf_printf(out, "lockstep_process_resident_bytes %" PRId64 "\n", resident_bytes());
	add_head(out, "build_info", "gauge", "always 1; the version is in the label");
	ls_buf_add_text(out, "lockstep_build_info{version=\"" LS_VERSION "\"} 1\n");
}
