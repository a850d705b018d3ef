/* The whole configuration: top-level keys, the checks across its parts, and what becomes of the mistakes. */
#include "config/reader.h"
#include "core/buf.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

struct loaded {
	struct ls_config config; /* first: ls_config_free is given its address */
	struct ls_arena *arena;
};

static const struct ls_option top_options[] = {
	{ "instance", LS_OPT_STRING, "", offsetof(struct ls_config, instance),
	  "static group membership: a name that no other process has", 0, 0, NULL, NULL },
	{ "state_dir", LS_OPT_STRING, "/var/lib/lockstep", offsetof(struct ls_config, state_dir),
	  "local copy of the version state; losing it costs a restore, never data", 0, 0, NULL, NULL },
	{ "ledger_schema", LS_OPT_STRING, "identity", offsetof(struct ls_config, ledger_schema),
	  "schema of the tables that lockstep keeps in a database", 0, 0, NULL, NULL },
	{ "max_skew", LS_OPT_DURATION, "5m", offsetof(struct ls_config, max_skew_ms),
	  "an event whose version is further ahead of the clock is a dead letter", 1000, 365 * 86400000LL, NULL, "s" },
	{ "max_event_bytes", LS_OPT_INT, "1000000", offsetof(struct ls_config, max_event_bytes),
	  "a larger event is a dead letter; at most what Kafka takes", 1024, 1 << 30, NULL, NULL },
	{ "schema_compatibility", LS_OPT_CHOICE, "full", offsetof(struct ls_config, schema_compatibility),
	  "full: capture stops at a change of type that old events cannot be read as; none: it goes on, see "
	  "schemas/README.md",
	  0, 0, "full|none", NULL },
};

static const struct ls_part top_parts[] = {
	{ "kafka", "map", "properties of librdkafka, as they are; bootstrap.servers is required", true },
	{ "topics", "map", "names and sizes of the topics", false },
	{ "registry", "map", "a schema registry, where there is one", false },
	{ "http", "map", "health, metrics and status over HTTP", false },
	{ "entities", "list", "what is kept the same everywhere", true },
	{ "sources", "list", "where changes come from", false },
	{ "destinations", "list", "where changes go", false },
};

static const struct ls_option topics_options[] = {
	{ "prefix", LS_OPT_STRING, "lockstep", offsetof(struct ls_config, prefix), "first part of every topic's name",
	  0, 0, NULL, NULL },
	{ "partitions", LS_OPT_INT, "6", offsetof(struct ls_config, partitions),
	  "partitions of a topic that is created", 1, 10000, NULL, NULL },
	{ "replication_factor", LS_OPT_INT, "1", offsetof(struct ls_config, replication_factor),
	  "copies of a topic that is created; 3 in production", 1, 100, NULL, NULL },
};

static const struct ls_option registry_options[] = {
	{ "url", LS_OPT_STRING, NULL, offsetof(struct ls_config, registry_url),
	  "address of a Confluent-compatible registry; may hold user:password", 0, 0, NULL, NULL },
};

static const struct ls_option http_options[] = {
	{ "listen", LS_OPT_STRING, NULL, offsetof(struct ls_config, http_listen), "address and port: 127.0.0.1:8088", 0,
	  0, NULL, NULL },
	{ "token", LS_OPT_SECRET, "", offsetof(struct ls_config, http_token),
	  "bearer token for what is not for everybody; without one that is closed", 0, 0, NULL, NULL },
};

const struct ls_table ls_table_top = { "",        "top level",           top_options, LS_COUNT_OF(top_options),
				       top_parts, LS_COUNT_OF(top_parts) };
const struct ls_table ls_table_topics = { "topics",       "names and sizes of the topics",
					  topics_options, LS_COUNT_OF(topics_options),
					  NULL,           0 };
const struct ls_table ls_table_registry = {
	"registry", "a schema registry, where there is one", registry_options, LS_COUNT_OF(registry_options), NULL, 0
};
const struct ls_table ls_table_http = { "http",       "health, metrics and status over HTTP",
					http_options, LS_COUNT_OF(http_options),
					NULL,         0 };

enum { MESSAGE_MAX_BYTES = 1048588 /* what a broker takes unless told otherwise */ };

static bool is_secret_property(const char *name)
{
	return strstr(name, "password") || strstr(name, "secret") || strcmp(name, "ssl.key.pem") == 0 ||
	       strcmp(name, "sasl.oauthbearer.config") == 0;
}

static void read_kafka(struct ls_reader *reader, const struct ls_node *node, struct ls_config *config)
{
	size_t count;
	const struct ls_pair *pair = ls_read_pairs(reader, node, "kafka", &count);

	config->kafka = (struct ls_kafka_conf){ pair, count };
	for (size_t i = 0; i < count; i++)
		if (is_secret_property(pair[i].name.ptr))
			ls_secret_add(reader, pair[i].value.ptr);
	if (node && node->kind == LS_NODE_MAP && !ls_node_member(node, "bootstrap.servers"))
		ls_mistake_add(reader, node, "kafka",
			       "\"bootstrap.servers\" is missing: host:port of one or more brokers");
}

static void check_event_bytes(struct ls_reader *reader, const struct ls_node *root, const struct ls_config *config)
{
	const struct ls_node *own = ls_node_member(ls_node_member(root, "kafka"), "message.max.bytes");
	const struct ls_node *node = ls_node_member(root, "max_event_bytes");
	long long most = own && own->kind == LS_NODE_SCALAR ? strtoll(own->text, NULL, 10) : MESSAGE_MAX_BYTES;

	if (config->max_event_bytes > most)
		ls_mistake_add(reader, node ? node : own, "max_event_bytes",
			       "%lld is more than Kafka takes (%lld): raise message.max.bytes under kafka, and on the "
			       "broker, too",
			       (long long)config->max_event_bytes, most);
}

static void check_name_if_given(struct ls_reader *reader, const struct ls_node *node, const char *path,
				const char *name)
{
	if (node && name)
		ls_name_check(reader, node, path, name);
}

static void read_section(struct ls_reader *reader, const struct ls_node *root, const struct ls_table *table,
			 struct ls_config *config)
{
	const struct ls_node *node = ls_node_member(root, table->where);
	struct ls_fill fill = { table, config };

	ls_options_read(reader, node, table->where, &fill, 1);
}

/* Kafka refuses names above 249 bytes; the versions topic has the longest. */
static void check_topic_lengths(struct ls_reader *reader, const struct ls_node *root, const struct ls_config *config)
{
	for (size_t i = 0; i < config->destination_count; i++) {
		const struct ls_destination_config *destination = &config->destination[i];

		for (size_t k = 0; destination->name && k < destination->mapping_count; k++) {
			const char *entity = destination->mapping[k].entity;
			size_t len = strlen(config->prefix) + strlen(destination->name) + strlen("..versions.") +
				     (entity ? strlen(entity) : 0);

			if (len > 249)
				ls_mistake_add(reader, ls_node_member(root, "destinations"), "destinations",
					       "prefix, entity \"%s\" and destination \"%s\" make a topic name of %zu "
					       "characters, Kafka takes 249",
					       entity, destination->name, len);
		}
	}
}

/* A source and a destination of one name are one system, kept in step both ways. */
static void pair_up(struct ls_config *config)
{
	struct ls_source_config *source = (struct ls_source_config *)config->source;
	struct ls_destination_config *destination = (struct ls_destination_config *)config->destination;

	for (size_t i = 0; i < config->source_count; i++)
		for (size_t k = 0; k < config->destination_count; k++)
			if (source[i].name && destination[k].name && strcmp(source[i].name, destination[k].name) == 0)
				source[i].two_way = destination[k].two_way = true;
}

static void read_config(struct ls_reader *reader, const struct ls_node *root, struct ls_config *config)
{
	struct ls_fill fill = { &ls_table_top, config };
	const struct ls_node *topics = ls_node_member(root, "topics");

	ls_options_read(reader, root, "", &fill, 1);
	read_kafka(reader, ls_node_member(root, "kafka"), config);
	read_section(reader, root, &ls_table_topics, config);
	read_section(reader, root, &ls_table_registry, config);
	read_section(reader, root, &ls_table_http, config);
	check_name_if_given(reader, ls_node_member(root, "instance"), "instance", config->instance);
	check_name_if_given(reader, ls_node_member(topics, "prefix"), "topics.prefix", config->prefix);
	check_event_bytes(reader, root, config);
	ls_read_entities(reader, ls_node_member(root, "entities"), config);
	ls_read_sources(reader, ls_node_member(root, "sources"), config);
	ls_read_destinations(reader, ls_node_member(root, "destinations"), config);
	check_topic_lengths(reader, root, config);
	pair_up(config);
}

static int by_place(const void *a, const void *b)
{
	const struct ls_mistake *one = a, *two = b;

	if (one->line != two->line)
		return one->line < two->line ? -1 : 1;
	if (one->column != two->column)
		return one->column < two->column ? -1 : 1;
	return one->order < two->order ? -1 : one->order > two->order;
}

/* The first mistake of the file goes into err, the others line by line into *ret_more. */
static enum ls_class report(struct ls_reader *reader, char **ret_more, struct ls_error *err)
{
	struct ls_buf more;
	enum ls_class class;

	qsort(reader->mistake, reader->mistakes, sizeof reader->mistake[0], by_place);
	class = ls_fail(err, LS_FATAL, "config", "%s", reader->mistake[0].text);
	if (!ret_more || reader->mistakes == 1)
		return class;
	ls_buf_init(&more, 1 << 20);
	for (size_t i = 1; i < reader->mistakes; i++)
		ls_buf_printf(&more, "%s\n", reader->mistake[i].text);
	*ret_more = ls_buf_take(&more);
	return class;
}

enum ls_class ls_config_parse(const char *file, struct ls_str yaml, const struct ls_source_ops *const *sources,
			      const struct ls_destination_ops *const *destinations, struct ls_config **ret,
			      char **ret_more, struct ls_error *err)
{
	struct loaded *loaded = calloc(1, sizeof *loaded);
	struct ls_reader *reader;
	const struct ls_node *root;
	enum ls_class class = LS_OK;

	if (ret_more)
		*ret_more = NULL;
	if (!loaded)
		return ls_fail(err, LS_FATAL, "memory", "%s: out of memory", file);
	loaded->arena = ls_arena_new(0);
	reader = ls_arena_zalloc(loaded->arena, sizeof *reader);
	reader->arena = loaded->arena;
	reader->file = loaded->config.file = ls_arena_str(loaded->arena, ls_str_of(file)).ptr;
	reader->sources = sources;
	reader->destinations = destinations;
	reader->secret = ls_arena_zalloc(loaded->arena, sizeof *reader->secret);
	root = yaml.len > LS_CONFIG_MAX_BYTES ? NULL : ls_tree_read(reader, yaml);
	if (yaml.len > LS_CONFIG_MAX_BYTES)
		ls_mistake_add(reader, NULL, "", "the file is larger than %d bytes", LS_CONFIG_MAX_BYTES);
	if (root)
		read_config(reader, root, &loaded->config);
	loaded->config.secret = reader->secret;
	if (reader->mistakes) {
		class = report(reader, ret_more, err);
		ls_config_free(&loaded->config);
		return class;
	}
	*ret = &loaded->config;
	return LS_OK;
}

enum ls_class ls_config_load(const char *file, const struct ls_source_ops *const *sources,
			     const struct ls_destination_ops *const *destinations, struct ls_config **ret,
			     char **ret_more, struct ls_error *err)
{
	FILE *stream = fopen(file, "re");
	char *bytes = malloc(LS_CONFIG_MAX_BYTES + 1);
	enum ls_class class;
	size_t len;

	if (ret_more)
		*ret_more = NULL;
	if (!stream || !bytes) {
		class = ls_fail(err, LS_FATAL, "config",
				"%s: cannot be read: %s; `lockstep init` writes one to start from", file,
				strerror(errno));
	} else {
		len = fread(bytes, 1, LS_CONFIG_MAX_BYTES + 1, stream);
		class = ferror(stream)
				? ls_fail(err, LS_FATAL, "config", "%s: cannot be read: %s", file, strerror(errno))
				: ls_config_parse(file, (struct ls_str){ bytes, len }, sources, destinations, ret,
						  ret_more, err);
	}
	free(bytes);
	if (stream)
		fclose(stream);
	return class;
}

/* Secrets are wiped with the arena's memory, so that a later core dump does not hold them. */
struct ls_config *ls_config_free(struct ls_config *config)
{
	struct loaded *loaded = (struct loaded *)config;

	if (!loaded)
		return NULL;
	for (size_t i = 0; config->secret && config->secret[i]; i++)
		explicit_bzero((char *)config->secret[i], strlen(config->secret[i]));
	ls_arena_free(loaded->arena);
	free(loaded);
	return NULL;
}

const struct ls_entity_config *ls_config_entity(const struct ls_config *config, const char *name)
{
	for (size_t i = 0; i < config->entity_count; i++)
		if (config->entity[i].name && strcmp(config->entity[i].name, name) == 0)
			return &config->entity[i];
	return NULL;
}

const struct ls_source_config *ls_config_source(const struct ls_config *config, const char *name)
{
	for (size_t i = 0; i < config->source_count; i++)
		if (config->source[i].name && strcmp(config->source[i].name, name) == 0)
			return &config->source[i];
	return NULL;
}

const struct ls_destination_config *ls_config_destination(const struct ls_config *config, const char *name)
{
	for (size_t i = 0; i < config->destination_count; i++)
		if (config->destination[i].name && strcmp(config->destination[i].name, name) == 0)
			return &config->destination[i];
	return NULL;
}
