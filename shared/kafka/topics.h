/* The names and policies of lockstep's topics: the one place that knows them (docs/publishing.md says them again). */
#pragma once

#include "kafka/client.h"

enum { LS_TOPIC_NAME = 250 };

/* Each writes a terminated name into out (LS_TOPIC_NAME bytes) and returns out. */
char *ls_topic_events(char *out, const char *prefix, const char *entity);
char *ls_topic_priority(char *out, const char *prefix, const char *entity);
char *ls_topic_versions(char *out, const char *prefix, const char *entity, const char *destination);
char *ls_topic_dlq(char *out, const char *prefix, const char *destination);
char *ls_topic_named(char *out, const char *prefix, const char *name); /* conflicts, schemas, control, positions */

struct ls_config;

/* ls_topics_ensure makes every topic that this configuration needs, with its policy, when missing; checks that the
 * versions topics have as many partitions as their events topic (LS_FATAL when not). */
enum ls_class ls_topics_ensure(const struct ls_config *config, struct ls_error *err);

/* ls_topics_each calls visit with the specification of every topic that this configuration needs. */
void ls_topics_each(const struct ls_config *config, void (*visit)(const struct ls_topic_spec *spec, void *arg),
		    void *arg);
