/* Counters of one lane, written by it and read by anyone; and the registry that prints them for Prometheus. */
#pragma once

#include "lockstep/str.h"

#include <stdatomic.h>
#include <stdint.h>

enum { LS_HISTOGRAM_BUCKETS = 24 }; /* upper bounds 1 ms * 2^i / 4: 0.25 ms .. about 17 min, the last is +Inf */

struct ls_histogram {
	atomic_llong bucket[LS_HISTOGRAM_BUCKETS];
	atomic_llong sum_us, count;
};
void ls_histogram_note(struct ls_histogram *histogram, int64_t us);
int64_t ls_histogram_bound_us(size_t bucket); /* upper bound, inclusive; INT64_MAX for the last */

/* All counters only grow; gauges are marked. X(field, type, prometheus name, help) */
#define LS_STATS(X)                                                                                                    \
	X(events, counter, "events_total", "events read from the source or consumed from the topic")                   \
	X(published, counter, "published_total", "events acknowledged by Kafka")                                       \
	X(applied, counter, "applied_total", "events applied to the destination")                                      \
	X(rows, counter, "rows_written_total", "rows that really changed in the destination")                          \
	X(stale, counter, "stale_total", "events that lost against a newer version")                                   \
	X(duplicate, counter, "duplicate_total", "events seen before")                                                 \
	X(dead, counter, "dead_letters_total", "events put into the dead letter topic")                                \
	X(conflict, counter, "conflicts_total", "concurrent changes of one entity by two sources")                     \
	X(retries, counter, "retries_total", "attempts that failed and were tried again")                              \
	X(batches, counter, "batches_total", "batches applied or published")                                           \
	X(lag_events, gauge, "lag_events", "events in the topic not yet applied, or bytes of WAL not yet read")        \
	X(lag_us, gauge, "lag_us", "age of the newest event when it was handled, microseconds")                        \
	X(partitions, gauge, "partitions", "partitions owned")                                                         \
	X(waiting, gauge, "waiting", "events applied past that wait for rows of other partitions")                     \
	X(held, gauge, "partitions_held", "partitions that wait until a person has mended the destination")            \
	X(pending, gauge, "pending", "events sent to Kafka and not yet acknowledged")                                  \
	X(snapshot_rows, gauge, "snapshot_rows", "rows read by the running snapshot")                                  \
	X(snapshot_total, gauge, "snapshot_rows_expected", "rows the running snapshot expects, estimated")             \
	X(up, gauge, "lane_up", "1 while the lane works, 0 while it waits to be restarted or is stopped")

struct ls_lane_stats {
	char lane[96];
#define X(field, type, name, help) atomic_llong field;
	LS_STATS(X)
#undef X
	struct ls_histogram commit_to_published, commit_to_applied;
	char last_error[600]; /* guarded by the registry's lock: use the two functions below */
	int64_t last_error_us;
	struct ls_lane_stats *next;
	struct ls_stats *registry;
};

struct ls_stats; /* the registry, one per process */

struct ls_stats *ls_stats_new(void);
struct ls_stats *ls_stats_free(struct ls_stats *stats);
struct ls_lane_stats *ls_stats_lane(struct ls_stats *stats, const char *lane); /* the registry's; made when missing */
void ls_stats_error(struct ls_lane_stats *lane, const char *text);             /* remembers the last error */
void ls_stats_each(struct ls_stats *stats, void (*visit)(struct ls_lane_stats *lane, void *arg), void *arg);

/* ls_stats_last_error copies the last error (empty text when there was none) and returns its time. */
int64_t ls_stats_last_error(struct ls_lane_stats *lane, char *out, size_t size);

struct ls_buf;
void ls_stats_prometheus(struct ls_stats *stats, struct ls_buf *out); /* text format 0.0.4, names lockstep_* */

#define LS_COUNT(stats, field, n) atomic_fetch_add_explicit(&(stats)->field, (long long)(n), memory_order_relaxed)
#define LS_GAUGE(stats, field, n) atomic_store_explicit(&(stats)->field, (long long)(n), memory_order_relaxed)
#define LS_READ(stats, field)     atomic_load_explicit(&(stats)->field, memory_order_relaxed)
