/* `lockstep check`, the part that is tried on Kafka: conflict resolution, error handling and idempotency on scratch
 * topics. */
#pragma once

#include <stdint.h>

struct ls_app;
struct ls_report;

/* ls_check_topics makes {prefix}.check-<time>-<random>.events, .versions and .dlq, walks a few events through them
 * as a sink does, and deletes them again, also when something went wrong. It adds one finding to each of the
 * three checks. */
void ls_check_topics(struct ls_app *app, struct ls_report *report);

/* ls_check_topic_age returns the seconds since a scratch topic was named, or -1 when `name` is none of ours.
 *
 * prefix  topics.prefix */
int64_t ls_check_topic_age(const char *name, const char *prefix, int64_t now_s);
