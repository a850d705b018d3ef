/* Kafka's part of the safety report: reachable, topics with the right policy, partitions, copies and retention. */
#include "main/check_kafka.h"

#include "kafka/topics.h"
#include "main/app.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names of topics of which one thing is to be said, once. */
struct names {
	char text[200];
	size_t count;
};

struct look {
	struct ls_app *app;
	struct ls_report *report;
	struct ls_admin *admin;
	size_t fine;
	struct names missing, single; /* not there yet; one copy */
	char events[LS_TOPIC_NAME];   /* the events topic that the ones after it follow */
	int events_partitions;
};

enum { NAMES_SHOWN = 3, PATIENCE_MS = 4000 };

static void note_name(struct names *names, const char *name)
{
	size_t len = strlen(names->text);

	if (names->count++ < NAMES_SHOWN)
		snprintf(names->text + len, sizeof names->text - len, "%s%s", len ? ", " : "", name);
}

/* "a, b, c and 6 more" */
static const char *named(struct names *names)
{
	size_t len = strlen(names->text);

	if (names->count > NAMES_SHOWN)
		snprintf(names->text + len, sizeof names->text - len, " and %zu more", names->count - NAMES_SHOWN);
	return names->text;
}

/* Retention below a week leaves too little time to mend a destination over a holiday. */
static const int64_t least_retention_ms = 3 * 86400000LL;

static const char *wanted(const struct ls_topic_spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->config_count; i++)
		if (ls_str_equal(spec->config[i].name, ls_str_of(name)))
			return spec->config[i].value.ptr;
	return NULL;
}

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	while (*list) {
		size_t item = strcspn(list, ", ");

		if (item == len && strncmp(list, word, len) == 0)
			return true;
		list += item;
		list += strspn(list, ", ");
	}
	return false;
}

/* A versions topic that is not compacted grows for ever; an events topic that is loses what a replay needs. */
static bool check_policy(struct look *look, const struct ls_topic_spec *spec, const char *subject)
{
	const char *want = wanted(spec, "cleanup.policy") ? wanted(spec, "cleanup.policy") : "delete";
	struct ls_error err;
	char fix[200], have[128];

	if (ls_admin_config(look->admin, spec->name, "cleanup.policy", have, sizeof have, &err)) {
		ls_report_add(look->report, LS_CHECK_KAFKA, LS_LEVEL_WARNING, subject,
			      "allow DescribeConfigs on the topic to this user", "its policy cannot be read: %s",
			      err.text);
		return false;
	}
	if (has_word(want, "compact") == has_word(have, "compact") &&
	    has_word(want, "delete") == has_word(have, "delete"))
		return true;
	snprintf(fix, sizeof fix, "kafka-configs.sh --alter --topic %.120s --add-config cleanup.policy=[%s]",
		 spec->name, want);
	ls_report_add(look->report, LS_CHECK_KAFKA, LS_LEVEL_FAILED, subject, fix,
		      "cleanup.policy is %s, it must be %s", have, want);
	return false;
}

static bool check_retention(struct look *look, const struct ls_topic_spec *spec, const char *subject)
{
	struct ls_error err;
	char fix[200], have[64];
	long long ms;

	if (wanted(spec, "cleanup.policy") && has_word(wanted(spec, "cleanup.policy"), "compact"))
		return true;
	if (ls_admin_config(look->admin, spec->name, "retention.ms", have, sizeof have, &err))
		return true;
	ms = strtoll(have, NULL, 10);
	if (ms < 0 || ms >= least_retention_ms)
		return true;
	snprintf(fix, sizeof fix, "kafka-configs.sh --alter --topic %.120s --add-config retention.ms=604800000",
		 spec->name);
	ls_report_add(look->report, LS_CHECK_KAFKA, LS_LEVEL_WARNING, subject, fix,
		      "events are kept %.1f hours: a destination that is down longer loses them",
		      (double)ms / 3600000.0);
	return false;
}

/* Priority and versions topics stand beside their events topic, partition by partition. */
static bool follows_events(const struct look *look, const char *name)
{
	size_t len = strlen(look->events);

	return len && strncmp(name, look->events, len) == 0 &&
	       (strcmp(name + len, ".priority") == 0 || strncmp(name + len, ".versions.", 10) == 0);
}

static bool is_events(const struct ls_config *config, const char *name)
{
	char events[LS_TOPIC_NAME];

	for (size_t i = 0; i < config->entity_count; i++)
		if (strcmp(ls_topic_events(events, config->prefix, config->entity[i].name), name) == 0)
			return true;
	return false;
}

/* How many partitions the topic must have: what is configured, or as many as its events topic really has. */
static int wanted_partitions(struct look *look, const struct ls_topic_spec *spec, const struct ls_topic_info *info)
{
	if (is_events(look->app->config, spec->name)) {
		snprintf(look->events, sizeof look->events, "%s", spec->name);
		look->events_partitions = info->partitions ? info->partitions : spec->partitions;
		return spec->partitions;
	}
	return follows_events(look, spec->name) ? look->events_partitions : spec->partitions;
}

static bool check_size(struct look *look, const struct ls_topic_spec *spec, const struct ls_topic_info *info, int want,
		       const char *subject)
{
	char fix[400];

	if (info->replication_factor < 2)
		note_name(&look->single, spec->name);
	if (info->partitions == want)
		return info->replication_factor >= 2;
	if (follows_events(look, spec->name)) {
		snprintf(fix, sizeof fix,
			 "stop the sinks, delete %.120s and run `lockstep topics create`: it is filled again from the "
			 "events",
			 spec->name);
		ls_report_add(look->report, LS_CHECK_KAFKA, LS_LEVEL_FAILED, subject, fix,
			      "has %d partitions, but %s has %d and they must be equal", info->partitions, look->events,
			      want);
	} else {
		ls_report_add(look->report, LS_CHECK_KAFKA, LS_LEVEL_WARNING, subject,
			      "set topics.partitions to what is there; adding partitions would move keys",
			      "has %d partitions, %d are configured; what is there is used", info->partitions, want);
	}
	return false;
}

static void check_topic(const struct ls_topic_spec *spec, void *arg)
{
	struct look *look = arg;
	struct ls_topic_info info;
	struct ls_error err;
	char subject[LS_TOPIC_NAME + 16];
	int want;
	bool fine;

	snprintf(subject, sizeof subject, "topic %s", spec->name);
	if (ls_admin_topic(look->admin, spec->name, &info, &err)) {
		ls_report_add(look->report, LS_CHECK_KAFKA, LS_LEVEL_FAILED, subject,
			      "allow Describe on it to this user", "cannot be asked about: %s", err.text);
		return;
	}
	want = wanted_partitions(look, spec, &info);
	if (info.partitions == 0) {
		note_name(&look->missing, spec->name);
		return;
	}
	fine = check_policy(look, spec, subject);
	fine = check_retention(look, spec, subject) && fine;
	fine = check_size(look, spec, &info, want, subject) && fine;
	look->fine += fine;
}

static void count_topic(const struct ls_topic_info *info, void *arg)
{
	(void)info;
	++*(size_t *)arg;
}

static const char *brokers(const struct ls_config *config)
{
	for (size_t i = 0; i < config->kafka.count; i++)
		if (ls_str_equal(config->kafka.property[i].name, LS_STR("bootstrap.servers")))
			return config->kafka.property[i].value.ptr;
	return "";
}

static void check_topics(struct look *look)
{
	const struct ls_config *config = look->app->config;

	ls_topics_each(config, check_topic, look);
	if (look->fine)
		ls_report_add(look->report, LS_CHECK_KAFKA, LS_LEVEL_OK, "topics", NULL,
			      "%zu have the right policy, partitions and copies", look->fine);
	if (look->single.count)
		ls_report_add(look->report, LS_CHECK_KAFKA, LS_LEVEL_WARNING, "topics",
			      "three brokers and topics.replication_factor: 3",
			      "%zu have one copy, what is on a lost disk is lost: %s", look->single.count,
			      named(&look->single));
	if (look->missing.count)
		ls_report_add(look->report, LS_CHECK_KAFKA, LS_LEVEL_WARNING, "topics",
			      "`lockstep topics create` makes them now, `lockstep run` at its start",
			      "%zu are not there yet and will be created: %s", look->missing.count,
			      named(&look->missing));
	if (config->schema_compatibility == LS_COMPATIBILITY_NONE)
		ls_report_add(look->report, LS_CHECK_KAFKA, LS_LEVEL_WARNING, "schemas",
			      "schema_compatibility: full, once capture has gone on past the change",
			      "new writer schemas are published without asking whether old readers can follow");
}

void ls_check_kafka(struct ls_app *app, struct ls_report *report)
{
	struct look look = { .app = app, .report = report };
	int64_t begun = ls_monotonic_ms();
	struct ls_error err;
	size_t seen = 0;
	int count = 0;
	enum ls_class class;

	class = ls_kafka_reach(&app->config->kafka, PATIENCE_MS, &count, &err);
	app->kafka_away = class != LS_OK;
	if (class == LS_OK)
		class = ls_admin_open(&app->config->kafka, &look.admin, &err);
	if (class == LS_OK)
		class = ls_admin_list(look.admin, app->config->prefix, count_topic, &seen, &err);
	if (class) {
		ls_report_add(report, LS_CHECK_KAFKA, LS_LEVEL_FAILED, "kafka",
			      class == LS_AUTH ? "mend the credentials under kafka"
					       : "start it, or mend kafka: bootstrap.servers",
			      "%s", err.text);
	} else {
		ls_report_add(report, LS_CHECK_KAFKA, LS_LEVEL_OK, "kafka", NULL,
			      "%s answered in %lld ms: %d broker%s, %zu topics under the prefix %s",
			      brokers(app->config), (long long)(ls_monotonic_ms() - begun), count,
			      count == 1 ? "" : "s", seen, app->config->prefix);
		check_topics(&look);
	}
	ls_admin_close(look.admin);
}
