/* Writer schemas in {prefix}.schemas: what was read so far is kept, a miss reads what was written since. */
#include "kafka/schema_topic.h"

#include "core/failpoint.h"
#include "core/time.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_LEN = 16, HEADERS_MAX = 16, FLUSH_MS = 15000, SCHEMA_MAX = 4 << 20 };

struct entry {
	char key[KEY_LEN + 1];
	char *subject; /* empty when the publisher did not say */
	char *json;
	int64_t offset;
	uint64_t fingerprint;
};

struct store {
	struct ls_schema_store base;
	pthread_mutex_t lock; /* around everything: lanes share the store */
	struct ls_kafka_conf conf;
	char *topic;
	enum ls_compatibility compatibility;
	struct ls_reader *reader; /* NULL: to be opened */
	int64_t position;         /* the next offset to read */
	struct entry *entry;      /* in order of offsets, one per key */
	size_t count;
};

/* The key is the fingerprint as its bytes stand in a message: little-endian. */
static void make_key(uint64_t fingerprint, char out[KEY_LEN + 1])
{
	for (int i = 0; i < 8; i++)
		snprintf(out + 2 * i, 3, "%02x", (unsigned)(fingerprint >> (8 * i)) & 0xffu);
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_key(struct ls_str key, uint64_t *ret)
{
	uint64_t value = 0;

	if (key.len != KEY_LEN)
		return false;
	for (int i = 0; i < 8; i++) {
		int high = digit_of(key.ptr[2 * i]), low = digit_of(key.ptr[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		value |= (uint64_t)(high * 16 + low) << (8 * i);
	}
	*ret = value;
	return true;
}

static struct entry *find_entry(struct store *store, uint64_t fingerprint)
{
	for (size_t i = 0; i < store->count; i++)
		if (store->entry[i].fingerprint == fingerprint)
			return &store->entry[i];
	return NULL;
}

static void free_entry(struct entry *entry)
{
	free(entry->subject);
	free(entry->json);
}

static void remove_entry(struct store *store, struct entry *entry)
{
	size_t at = (size_t)(entry - store->entry);

	free_entry(entry);
	memmove(entry, entry + 1, (store->count - at - 1) * sizeof(*entry));
	store->count--;
}

static struct ls_str subject_of(const struct ls_message *message)
{
	struct ls_header header[HEADERS_MAX];
	size_t count = ls_message_headers(message, header, HEADERS_MAX);

	for (size_t i = 0; i < count && i < HEADERS_MAX; i++)
		if (ls_str_equal(header[i].name, LS_STR("subject")))
			return header[i].value;
	return LS_STR("");
}

static char *copy_of(struct ls_str text)
{
	char *copy = malloc(text.len + 1);

	if (!copy)
		abort();
	if (text.len)
		memcpy(copy, text.ptr, text.len);
	copy[text.len] = 0;
	return copy;
}

/* A later record of a key takes the place of the earlier one, as compaction would have it. Anyone may write here: what
 * is not a key and a text is passed over. */
static void take(struct store *store, const struct ls_message *message)
{
	uint64_t fingerprint;

	store->position = message->offset + 1;
	if (message->class || !read_key(message->key, &fingerprint))
		return;
	struct entry *old = find_entry(store, fingerprint);
	if (old)
		remove_entry(store, old);
	if (!message->has_value || message->value.len == 0 || message->value.len > SCHEMA_MAX)
		return;
	struct entry entry = { .offset = message->offset, .fingerprint = fingerprint };
	make_key(fingerprint, entry.key);
	entry.subject = copy_of(subject_of(message));
	entry.json = copy_of(message->value);
	store->entry = reallocarray(store->entry, store->count + 1, sizeof(entry));
	if (!store->entry)
		abort();
	store->entry[store->count++] = entry;
}

static enum ls_class drain(struct store *store, struct ls_error *err)
{
	int64_t deadline_ms = ls_monotonic_ms() + FLUSH_MS;
	struct ls_message message[64];
	bool end = false;

	while (!end) {
		size_t count = 0;
		enum ls_class class = ls_reader_next(store->reader, 100, message, 64, &count, &end, err);

		if (class)
			return class;
		for (size_t i = 0; i < count; i++) {
			take(store, &message[i]);
			ls_message_free(&message[i]);
		}
		if (!end && ls_monotonic_ms() > deadline_ms)
			return ls_fail(err, LS_RETRY, "timeout", "could not read topic \"%s\" to its end in %d s",
				       store->topic, FLUSH_MS / 1000);
	}
	return LS_OK;
}

/* Reads what was written since the last time. */
static enum ls_class catch_up(struct store *store, struct ls_error *err)
{
	enum ls_class class;

	LS_FAILPOINT_ERROR("schema.read", err);
	class = store->reader ? ls_reader_extend(store->reader, err)
			      : ls_reader_open(&store->conf, store->topic, 0, store->position, &store->reader, err);
	if (!class)
		class = drain(store, err);
	if (class)
		store->reader = ls_reader_close(store->reader);
	return class;
}

static enum ls_class find(struct ls_schema_store *base, bool by_id, uint64_t id, char **ret_json, struct ls_error *err)
{
	struct store *store = (struct store *)base;
	enum ls_class class = LS_OK;
	char key[KEY_LEN + 1];

	make_key(id, key);
	if (by_id)
		return ls_fail(err, LS_POISON, "schema",
			       "schema id %llu is a registry's, and no registry is configured", (unsigned long long)id);
	pthread_mutex_lock(&store->lock);
	struct entry *entry = find_entry(store, id);
	if (!entry) {
		class = catch_up(store, err);
		entry = class ? NULL : find_entry(store, id);
	}
	if (!class && !entry)
		class = ls_fail(err, LS_POISON, "schema",
				"topic \"%s\" has no schema with key %s: publish the writer's schema there, then retry",
				store->topic, key);
	if (entry && !(*ret_json = strdup(entry->json)))
		abort();
	pthread_mutex_unlock(&store->lock);
	return class;
}

static struct entry *latest_of(struct store *store, struct ls_str subject)
{
	for (size_t i = store->count; i-- > 0;)
		if (ls_str_equal(ls_str_of(store->entry[i].subject), subject))
			return &store->entry[i];
	return NULL;
}

struct receipt {
	enum ls_class class;
	char problem[160];
	bool came;
};

static void on_delivery(void *context, void *opaque, enum ls_class class, const char *problem, int64_t offset)
{
	struct receipt *receipt = opaque;

	(void)context, (void)offset;
	receipt->class = class;
	receipt->came = true;
	snprintf(receipt->problem, sizeof(receipt->problem), "%s", problem ? problem : "");
}

static enum ls_class write_schema(struct store *store, uint64_t fingerprint, struct ls_str subject, struct ls_str json,
				  struct ls_error *err)
{
	const struct ls_header header = { LS_STR("subject"), subject };
	struct receipt receipt = { .came = false };
	struct ls_producer *producer;
	char key[KEY_LEN + 1];
	enum ls_class class;

	LS_FAILPOINT_ERROR("schema.write", err);
	class = ls_producer_open(&store->conf, on_delivery, NULL, &producer, err);
	if (class)
		return class;
	make_key(fingerprint, key);
	class = ls_producer_send(producer, store->topic, 0, ls_str_of(key), json, &header, 1, &receipt, err);
	if (!class)
		class = ls_producer_flush(producer, FLUSH_MS, err);
	ls_producer_close(producer);
	if (!class && receipt.class)
		class = ls_fail(err, receipt.class, "schema", "could not write a schema to topic \"%s\": %s",
				store->topic, receipt.problem);
	if (!class)
		LS_FAILPOINT_ERROR("schema.written", err);
	return class;
}

/* The log holds the rows of the new type already: changing the table back would not take them out again. */
static enum ls_class held_against(struct store *store, const struct entry *latest, struct ls_str subject,
				  struct ls_str json, struct ls_error *err)
{
	struct ls_error why = { .text = "" };
	enum ls_class class = ls_avro_compatible(ls_str_of(latest->json), json, &why);

	if (!class)
		return LS_OK;
	return ls_fail(
		err, class, why.code,
		"topic \"%s\": the new schema of \"%.*s\" cannot follow the one with key %s: %.160s; change the "
		"column at the destinations, too, set schema_compatibility: none, run until capture goes on, and "
		"set it back to full (schemas/README.md)",
		store->topic, LS_ARG(subject), latest->key, why.text);
}

static enum ls_class publish_new(struct store *store, uint64_t fingerprint, struct ls_str subject, struct ls_str json,
				 struct ls_error *err)
{
	struct entry *latest = store->compatibility == LS_COMPATIBILITY_FULL ? latest_of(store, subject) : NULL;
	enum ls_class class = latest ? held_against(store, latest, subject, json, err) : LS_OK;

	if (!class)
		class = write_schema(store, fingerprint, subject, json, err);
	if (!class)
		class = catch_up(store, err);
	if (!class && !find_entry(store, fingerprint))
		class = ls_fail(err, LS_RETRY, "schema", "a schema written to topic \"%s\" does not come back",
				store->topic);
	return class;
}

static bool is_of(const struct entry *entry, struct ls_str subject)
{
	return entry && ls_str_equal(ls_str_of(entry->subject), subject);
}

/* to_publish: it is not there, or only as one that was kept aside, under a name made from the subject's. */
static bool to_publish(const struct entry *entry, struct ls_str subject)
{
	struct ls_str held = ls_str_of(entry ? entry->subject : "");

	return !entry || (held.len > subject.len && memcmp(held.ptr, subject.ptr, subject.len) == 0 &&
			  held.ptr[subject.len] == '-');
}

static enum ls_class publish(struct ls_schema_store *base, struct ls_str subject, struct ls_str json, bool *ret_by_id,
			     uint64_t *ret_id, struct ls_error *err)
{
	struct store *store = (struct store *)base;
	uint64_t fingerprint;
	enum ls_class class = ls_avro_fingerprint(json, &fingerprint, err);

	if (class)
		return class;
	pthread_mutex_lock(&store->lock);
	if (to_publish(find_entry(store, fingerprint), subject)) {
		class = catch_up(store, err);
		if (!class && to_publish(find_entry(store, fingerprint), subject))
			class = publish_new(store, fingerprint, subject, json, err);
	}
	/* Our own schemas say in Row's namespace what the fingerprint leaves out; a stranger's may not. */
	struct entry *same = class ? NULL : find_entry(store, fingerprint);
	if (same && !ls_str_equal(ls_str_of(same->json), json))
		class = ls_avro_compatible(ls_str_of(same->json), json, err);
	if (class == LS_FATAL && same)
		ls_fail_in(err, "topic \"%s\": the schema with key %s is another of the same fingerprint", store->topic,
			   same->key);
	pthread_mutex_unlock(&store->lock);
	if (class)
		return class;
	*ret_by_id = false;
	*ret_id = fingerprint;
	return LS_OK;
}

enum ls_class ls_schema_topic_unlike(struct ls_schema_store *base, struct ls_str subject, struct ls_str json,
				     char **ret_json, struct ls_error *err)
{
	struct store *store = (struct store *)base;
	struct entry *latest;
	uint64_t fingerprint;
	enum ls_class class = ls_avro_fingerprint(json, &fingerprint, err);

	*ret_json = NULL;
	if (class)
		return class;
	pthread_mutex_lock(&store->lock);
	class = catch_up(store, err);
	latest = class ? NULL : latest_of(store, subject);
	if (latest && !is_of(find_entry(store, fingerprint), subject) && !(*ret_json = strdup(latest->json)))
		abort();
	pthread_mutex_unlock(&store->lock);
	return class;
}

static struct ls_schema_store *close_store(struct ls_schema_store *base)
{
	struct store *store = (struct store *)base;

	if (!store)
		return NULL;
	ls_reader_close(store->reader);
	for (size_t i = 0; i < store->count; i++)
		free_entry(&store->entry[i]);
	free(store->entry);
	free(store->topic);
	pthread_mutex_destroy(&store->lock);
	free(store);
	return NULL;
}

enum ls_class ls_schema_topic_open(const struct ls_kafka_conf *conf, const char *topic,
				   enum ls_compatibility compatibility, struct ls_schema_store **ret,
				   struct ls_error *err)
{
	struct store *store = calloc(1, sizeof(*store));

	if (!store || !(store->topic = strdup(topic)))
		abort();
	store->base = (struct ls_schema_store){ find, publish, close_store };
	store->conf = *conf;
	store->compatibility = compatibility;
	store->position = -1;
	pthread_mutex_init(&store->lock, NULL);
	enum ls_class class = catch_up(store, err);
	if (class)
		close_store(&store->base);
	else
		*ret = &store->base;
	return class;
}
