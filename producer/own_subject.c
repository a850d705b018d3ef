/* Schemas under subjects of their own. */
#include "own_subject.h"

#include "kafka/topics.h"

#include <stdio.h>
#include <stdlib.h>

struct own_subject {
	struct ls_schema_store base;
	struct ls_schema_store *inner;
	const char *what;
};

static enum ls_class find(struct ls_schema_store *base, bool by_id, uint64_t id, char **ret_json, struct ls_error *err)
{
	struct own_subject *store = (struct own_subject *)base;

	return store->inner->find(store->inner, by_id, id, ret_json, err);
}

static enum ls_class publish(struct ls_schema_store *base, struct ls_str subject, struct ls_str json, bool *ret_by_id,
			     uint64_t *ret_id, struct ls_error *err)
{
	struct own_subject *store = (struct own_subject *)base;
	char own[LS_TOPIC_NAME + 64];
	uint64_t fingerprint;
	enum ls_class class = ls_avro_fingerprint(json, &fingerprint, err);

	if (class)
		return class;
	snprintf(own, sizeof(own), "%.*s-%s-%016llx", LS_ARG(subject), store->what, (unsigned long long)fingerprint);
	return store->inner->publish(store->inner, ls_str_of(own), json, ret_by_id, ret_id, err);
}

static struct ls_schema_store *close_store(struct ls_schema_store *base)
{
	struct own_subject *store = (struct own_subject *)base;

	if (store)
		store->inner->close(store->inner);
	free(store);
	return NULL;
}

struct ls_schema_store *ls_own_subject(struct ls_schema_store *inner, const char *what)
{
	struct own_subject *store = calloc(1, sizeof(*store));

	if (!store)
		abort();
	store->base = (struct ls_schema_store){ find, publish, close_store };
	store->inner = inner;
	store->what = what;
	return &store->base;
}
