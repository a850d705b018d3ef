/* The topics that a configuration needs: names, policies, partition counts. docs/publishing.md says them again. */
#include "kafka/topics.h"

#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

enum {
	BATCH_BYTES = 1048588,      /* Kafka's own default: what a batch of small messages may weigh */
	EVENT_SLACK = 64 << 10,     /* key, headers and framing around the largest event */
	ENVELOPE_SLACK = 256 << 10, /* the same around an event that is kept with its reason */
};

char *ls_topic_events(char *out, const char *prefix, const char *entity)
{
	snprintf(out, LS_TOPIC_NAME, "%s.%s", prefix, entity);
	return out;
}

char *ls_topic_priority(char *out, const char *prefix, const char *entity)
{
	snprintf(out, LS_TOPIC_NAME, "%s.%s.priority", prefix, entity);
	return out;
}

char *ls_topic_versions(char *out, const char *prefix, const char *entity, const char *destination)
{
	snprintf(out, LS_TOPIC_NAME, "%s.%s.versions.%s", prefix, entity, destination);
	return out;
}

char *ls_topic_dlq(char *out, const char *prefix, const char *destination)
{
	snprintf(out, LS_TOPIC_NAME, "%s.dlq.%s", prefix, destination);
	return out;
}

char *ls_topic_named(char *out, const char *prefix, const char *name)
{
	snprintf(out, LS_TOPIC_NAME, "%s.%s", prefix, name);
	return out;
}

static const struct ls_pair events_policy[] = {
	{ LS_STR("cleanup.policy"), LS_STR("delete") },
	{ LS_STR("retention.ms"), LS_STR("604800000") },
};

/* State records are joined by greatest stamp: the newest by offset may be a late one, so both must stay readable for
 * an hour. Tombstones stay a week, longer than a sink should be away. */
static const struct ls_pair versions_policy[] = {
	{ LS_STR("cleanup.policy"), LS_STR("compact") },
	{ LS_STR("min.compaction.lag.ms"), LS_STR("3600000") },
	{ LS_STR("delete.retention.ms"), LS_STR("604800000") },
	{ LS_STR("segment.ms"), LS_STR("86400000") },
};

static const struct ls_pair dlq_policy[] = {
	{ LS_STR("cleanup.policy"), LS_STR("compact,delete") },
	{ LS_STR("retention.ms"), LS_STR("2592000000") },
};

static const struct ls_pair conflicts_policy[] = {
	{ LS_STR("cleanup.policy"), LS_STR("delete") },
	{ LS_STR("retention.ms"), LS_STR("2592000000") },
};

static const struct ls_pair small_policy[] = {
	{ LS_STR("cleanup.policy"), LS_STR("compact") },
	{ LS_STR("delete.retention.ms"), LS_STR("604800000") },
};

struct walk {
	const struct ls_config *config;
	void (*visit)(const struct ls_topic_spec *spec, void *arg);
	void *arg;
};

/* Visits one topic: its policy, and the message size that this configuration asks for. */
static void visit(const struct walk *walk, const char *name, int64_t partitions, const struct ls_pair *policy,
		  size_t count, int64_t slack)
{
	struct ls_pair config[8];
	char bytes[24];
	int64_t largest = walk->config->max_event_bytes + slack;

	snprintf(bytes, sizeof(bytes), "%lld", (long long)(largest > BATCH_BYTES ? largest : BATCH_BYTES));
	memcpy(config, policy, count * sizeof(*policy));
	config[count] = (struct ls_pair){ LS_STR("max.message.bytes"), ls_str_of(bytes) };
	struct ls_topic_spec spec = {
		.name = name,
		.partitions = (int)partitions,
		.replication_factor = (int)walk->config->replication_factor,
		.config = config,
		.config_count = count + 1,
	};
	walk->visit(&spec, walk->arg);
}

static bool is_mapped(const struct ls_mapping *mapping, size_t count, const char *entity)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(mapping[i].entity, entity) == 0)
			return true;
	return false;
}

static bool is_used(const struct ls_config *config, const char *entity)
{
	for (size_t i = 0; i < config->source_count; i++)
		if (is_mapped(config->source[i].mapping, config->source[i].mapping_count, entity))
			return true;
	for (size_t i = 0; i < config->destination_count; i++)
		if (is_mapped(config->destination[i].mapping, config->destination[i].mapping_count, entity))
			return true;
	return false;
}

static void visit_entity(const struct walk *walk, const char *entity)
{
	const struct ls_config *config = walk->config;
	char name[LS_TOPIC_NAME];

	visit(walk, ls_topic_events(name, config->prefix, entity), config->partitions, events_policy,
	      COUNT_OF(events_policy), EVENT_SLACK);
	visit(walk, ls_topic_priority(name, config->prefix, entity), config->partitions, events_policy,
	      COUNT_OF(events_policy), EVENT_SLACK);
	for (size_t i = 0; i < config->destination_count; i++) {
		const struct ls_destination_config *destination = &config->destination[i];

		if (is_mapped(destination->mapping, destination->mapping_count, entity))
			visit(walk, ls_topic_versions(name, config->prefix, entity, destination->name),
			      config->partitions, versions_policy, COUNT_OF(versions_policy), EVENT_SLACK);
	}
}

void ls_topics_each(const struct ls_config *config, void (*visitor)(const struct ls_topic_spec *spec, void *arg),
		    void *arg)
{
	static const char *const small[] = { "schemas", "control", "positions" };
	const struct walk walk = { config, visitor, arg };
	char name[LS_TOPIC_NAME];

	for (size_t i = 0; i < config->entity_count; i++)
		if (is_used(config, config->entity[i].name))
			visit_entity(&walk, config->entity[i].name);
	for (size_t i = 0; i < config->destination_count; i++)
		visit(&walk, ls_topic_dlq(name, config->prefix, config->destination[i].name), 1, dlq_policy,
		      COUNT_OF(dlq_policy), ENVELOPE_SLACK);
	/* A source that is a destination, too, shares its dead letters. */
	for (size_t i = 0; i < config->source_count; i++)
		if (!ls_config_destination(config, config->source[i].name))
			visit(&walk, ls_topic_dlq(name, config->prefix, config->source[i].name), 1, dlq_policy,
			      COUNT_OF(dlq_policy), ENVELOPE_SLACK);
	visit(&walk, ls_topic_named(name, config->prefix, "conflicts"), config->partitions, conflicts_policy,
	      COUNT_OF(conflicts_policy), ENVELOPE_SLACK);
	for (size_t i = 0; i < COUNT_OF(small); i++)
		visit(&walk, ls_topic_named(name, config->prefix, small[i]), 1, small_policy, COUNT_OF(small_policy),
		      EVENT_SLACK);
}

/* ---- making what is missing ---- */

struct ensure {
	const struct ls_config *config;
	struct ls_admin *admin;
	struct ls_topic_info *have; /* every topic that begins with the prefix */
	size_t have_count;
	char events[LS_TOPIC_NAME]; /* the events topic that priority and versions topics follow */
	int events_partitions;
	enum ls_class class;
	struct ls_error *err;
};

static void note_topic(const struct ls_topic_info *topic, void *arg)
{
	struct ensure *ensure = arg;

	ensure->have = reallocarray(ensure->have, ensure->have_count + 1, sizeof(*ensure->have));
	if (!ensure->have)
		abort();
	ensure->have[ensure->have_count++] = *topic;
}

static int partitions_of(const struct ensure *ensure, const char *name)
{
	for (size_t i = 0; i < ensure->have_count; i++)
		if (strcmp(ensure->have[i].name, name) == 0)
			return ensure->have[i].partitions;
	return 0;
}

/* Events topics come first of their entity, and all of it begins with their name and a dot. */
static bool follows(const struct ensure *ensure, const char *name)
{
	size_t len = strlen(ensure->events);
	const char *rest = name + len;

	return len > 0 && strncmp(name, ensure->events, len) == 0 &&
	       (strcmp(rest, ".priority") == 0 || strncmp(rest, ".versions.", 10) == 0);
}

static bool is_events(const struct ls_config *config, const char *name)
{
	char events[LS_TOPIC_NAME];

	for (size_t i = 0; i < config->entity_count; i++)
		if (strcmp(ls_topic_events(events, config->prefix, config->entity[i].name), name) == 0)
			return true;
	return false;
}

static void ensure_topic(const struct ls_topic_spec *wanted, void *arg)
{
	struct ensure *ensure = arg;
	struct ls_topic_spec spec = *wanted;

	if (ensure->class)
		return;
	int have = partitions_of(ensure, spec.name);
	if (is_events(ensure->config, spec.name)) {
		snprintf(ensure->events, sizeof(ensure->events), "%s", spec.name);
		ensure->events_partitions = have ? have : spec.partitions;
	} else if (follows(ensure, spec.name)) {
		spec.partitions = ensure->events_partitions;
		if (have && have != spec.partitions) {
			ensure->class = ls_fail(ensure->err, LS_FATAL, "partitions",
						"topic \"%s\" has %d partitions but \"%s\" has %d, and they must be "
						"equal: stop the sinks, delete \"%s\" and run lockstep topics create "
						"(it is filled again from the events)",
						spec.name, have, ensure->events, spec.partitions, spec.name);
			return;
		}
	}
	if (!have)
		ensure->class = ls_admin_create(ensure->admin, &spec, 1, ensure->err);
}

enum ls_class ls_topics_ensure(const struct ls_config *config, struct ls_error *err)
{
	struct ensure ensure = { .config = config, .err = err };
	enum ls_class class = ls_admin_open(&config->kafka, &ensure.admin, err);

	if (class)
		return class;
	class = ls_admin_list(ensure.admin, config->prefix, note_topic, &ensure, err);
	if (!class) {
		ls_topics_each(config, ensure_topic, &ensure);
		class = ensure.class;
	}
	free(ensure.have);
	ls_admin_close(ensure.admin);
	return class;
}
