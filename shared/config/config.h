/* The configuration, read from one YAML file (DESIGN 5). Everything in it lives until ls_config_free. */
#pragma once

#include "avro/schemas.h"
#include "kafka/client.h"
#include "lockstep/destination.h"
#include "lockstep/source.h"

struct ls_log;

struct ls_entity_config {
	const char *name;
	const struct ls_str *key;
	size_t key_count;
};

enum ls_schema_change { LS_SCHEMA_FOLLOW, LS_SCHEMA_PARK, LS_SCHEMA_FAIL };

struct ls_source_config {
	const char *name;
	const struct ls_source_ops *ops; /* the kind */
	void *options;                   /* ops->options_size bytes, filled from the kind's option table */
	const struct ls_mapping *mapping;
	size_t mapping_count;
	int64_t polling_interval_ms;
	bool snapshot;     /* initial: snapshot */
	int schema_change; /* enum ls_schema_change */
	bool two_way;      /* a destination of this name exists */
};

struct ls_destination_config {
	const char *name;
	const struct ls_destination_ops *ops;
	void *options;
	const struct ls_mapping *mapping;
	size_t mapping_count;
	bool ledger_full;
	enum { LS_LAST_WRITE_WINS, LS_SOURCE_WINS, LS_TARGET_WINS, LS_MANUAL } conflict;
	int64_t ledger_retention_ms;
	int64_t batch_size, concurrency; /* rows of one apply; lanes */
	int64_t rate_limit;              /* requests per minute; 0: no limit */
	int64_t retry_max_attempts;      /* 0: no end */
	int64_t retry_initial_ms, retry_max_ms;
	int64_t breaker_failures, breaker_cooldown_ms;
	int64_t patience_ms; /* with an event that a constraint refuses */
	bool create_tables;  /* on_missing_table: create */
	bool add_columns;    /* on_missing_column: create */
	bool backup;         /* backup: before_first_run */
	bool two_way;
};

struct ls_config {
	const char *file;
	struct ls_kafka_conf kafka;
	const char *prefix;
	int64_t partitions, replication_factor;
	const char *instance;     /* NULL: dynamic membership */
	const char *registry_url; /* NULL: single-object encoding */
	const char *state_dir;
	const char *http_listen, *http_token; /* NULL: none */
	const char *ledger_schema;
	int64_t max_skew_ms, max_event_bytes;
	enum ls_compatibility schema_compatibility;
	const struct ls_entity_config *entity;
	size_t entity_count;
	const struct ls_source_config *source;
	size_t source_count;
	const struct ls_destination_config *destination;
	size_t destination_count;
	const char *const *secret; /* every value that must not be printed, for the log's mask; NULL-terminated */
};

/* ls_config_load reads and checks everything. LS_FATAL on any mistake: err->text is file:line:column: path: what, with
 * a near-miss hint; err->code "config". More mistakes than the first are in *ret_more (malloc'ed lines, may be
 * NULL). */
enum ls_class ls_config_load(const char *file, const struct ls_source_ops *const *sources,
			     const struct ls_destination_ops *const *destinations, struct ls_config **ret,
			     char **ret_more, struct ls_error *err);
/* ls_config_parse is the same from memory; `file` only for messages. */
enum ls_class ls_config_parse(const char *file, struct ls_str yaml, const struct ls_source_ops *const *sources,
			      const struct ls_destination_ops *const *destinations, struct ls_config **ret,
			      char **ret_more, struct ls_error *err);
struct ls_config *ls_config_free(struct ls_config *config);

const struct ls_entity_config *ls_config_entity(const struct ls_config *config, const char *name); /* or NULL */
const struct ls_source_config *ls_config_source(const struct ls_config *config, const char *name); /* or NULL */
const struct ls_destination_config *ls_config_destination(const struct ls_config *config, const char *name);

/* Printed option tables: `lockstep options [KIND]` and docs/configuration.md. markdown: as tables. */
struct ls_buf;
void ls_config_options(const char *kind, bool markdown, const struct ls_source_ops *const *sources,
		       const struct ls_destination_ops *const *destinations, struct ls_buf *out);
