/* A destination in memory, for tests of the lane before it: it outlives its lanes as a database would, keeps marks,
 * ledger and rows together, and fails when the test says so. */
#pragma once

#include "core/arena.h"
#include "lockstep/destination.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { MARKS_MAX = 16 };

struct fake_row {
	char id[64], name[160], event_id[64];
	bool present;
};

struct fake_mark {
	char topic[200];
	int32_t partition;
	int64_t next_offset, epoch, max_version;
};

struct fake_event {
	char event_id[64];
	int effects; /* writes of this event that changed a row */
	bool in_ledger;
};

/* What is transactional of it, so that it can be put back as a backup would. */
struct fake_data {
	struct fake_row row[512];
	size_t rows;
	struct fake_mark mark[MARKS_MAX];
	size_t marks;
	struct fake_event event[4096];
	size_t events;
	struct {
		char topic[200];
		int32_t partition;
		int64_t offset;
	} passed[64]; /* what the mark passed without effect */
	size_t passed_count;
};

struct fake {
	pthread_mutex_t lock;
	struct fake_data data;
	/* what goes wrong; counted down */
	int stolen; /* another sink claims, and moves nothing, while the answer to an apply is lost */
	int open_fails, claim_fails, retry_before, retry_after, fenced;
	const char *poison; /* writes with this in their name can never succeed */
	const char *code;   /* of poison */
	bool names_write;   /* says which write is poison */
	bool ledger;        /* refuses event ids it knows */
	/* what was seen */
	int opens, claims, applies, refused;
	size_t dead_early; /* slices that passed a dead letter before it was in the topic */
	size_t dead_entries;
	size_t (*letters)(void *world);
	void *world;
	char order[64][64]; /* event ids of effective writes, the first ones */
	size_t ordered;
};

struct fake_options {
	struct fake *fake;
};

struct fake_destination {
	struct ls_destination base;
	struct fake *fake;
};

static inline void fake_copy(char *out, size_t size, struct ls_str text)
{
	snprintf(out, size, "%.*s", LS_ARG(text));
}

static inline struct fake_mark *fake_mark_of(struct fake_data *data, struct ls_str topic, int32_t partition)
{
	struct fake_mark *mark;

	for (size_t i = 0; i < data->marks; i++)
		if (data->mark[i].partition == partition && ls_str_equal(ls_str_of(data->mark[i].topic), topic))
			return &data->mark[i];
	mark = &data->mark[data->marks++];
	*mark = (struct fake_mark){ .partition = partition, .next_offset = -1, .max_version = LS_NONE };
	fake_copy(mark->topic, sizeof mark->topic, topic);
	return mark;
}

static inline struct fake_row *fake_row_of(struct fake_data *data, struct ls_str id)
{
	for (size_t i = 0; i < data->rows; i++)
		if (ls_str_equal(ls_str_of(data->row[i].id), id))
			return &data->row[i];
	if (data->rows == sizeof data->row / sizeof *data->row)
		abort();
	fake_copy(data->row[data->rows].id, sizeof data->row->id, id);
	return &data->row[data->rows++];
}

static inline struct fake_event *fake_event_of(struct fake_data *data, struct ls_str event_id)
{
	for (size_t i = data->events; i-- > 0;)
		if (ls_str_equal(ls_str_of(data->event[i].event_id), event_id))
			return &data->event[i];
	if (data->events == sizeof data->event / sizeof *data->event)
		abort();
	fake_copy(data->event[data->events].event_id, sizeof data->event->event_id, event_id);
	return &data->event[data->events++];
}

static inline struct ls_str fake_name(const struct ls_write *write)
{
	size_t at = ls_schema_find(write->row.schema, LS_STR("name"));

	return at < write->row.schema->count ? write->row.value[at].text : LS_STR("");
}

static enum ls_class fake_open(const void *options, const struct ls_destination_context *context,
			       struct ls_destination **ret, struct ls_error *err);

static enum ls_class fake_claim(struct ls_destination *base, struct ls_mark *mark, size_t count, struct ls_error *err)
{
	struct fake *fake = ((struct fake_destination *)base)->fake;
	bool fails;

	pthread_mutex_lock(&fake->lock);
	fake->claims++;
	fails = fake->claim_fails > 0;
	fake->claim_fails -= fails;
	for (size_t i = 0; !fails && i < count; i++) {
		struct fake_mark *held = fake_mark_of(&fake->data, mark[i].topic, mark[i].partition);

		mark[i].owner_epoch = ++held->epoch;
		mark[i].next_offset = held->next_offset;
		mark[i].max_version = held->max_version;
	}
	pthread_mutex_unlock(&fake->lock);
	return fails ? ls_fail(err, LS_RETRY, "08006", "the fake does not answer a claim") : LS_OK;
}

static inline void fake_write(struct fake *fake, const struct ls_write *write)
{
	size_t id = ls_schema_find(write->row.schema, LS_STR("id"));
	struct fake_row *row = fake_row_of(&fake->data, write->row.value[id].text);
	bool present = write->op == LS_WRITE_UPSERT;
	struct ls_str name = present ? fake_name(write) : LS_STR("");

	if (row->present == present && ls_str_equal(ls_str_of(row->name), name))
		return;
	row->present = present;
	fake_copy(row->name, sizeof row->name, name);
	fake_copy(row->event_id, sizeof row->event_id, write->event->event_id);
	fake_event_of(&fake->data, write->event->event_id)->effects++;
	if (fake->ordered < 64)
		fake_copy(fake->order[fake->ordered++], sizeof *fake->order, write->event->event_id);
}

static inline size_t fake_known(struct fake *fake, const struct ls_slice *slice, struct ls_arena *arena,
				struct ls_outcome *ret)
{
	ret->known = ls_arena_alloc(arena, (slice->entry_count + 1) * sizeof *ret->known);
	ret->known_count = 0;
	for (size_t i = 0; i < slice->entry_count; i++)
		if (slice->entry[i].status == LS_ENTRY_APPLIED &&
		    fake_event_of(&fake->data, slice->entry[i].event_id)->in_ledger)
			ret->known[ret->known_count++] = i;
	return ret->known_count;
}

static inline enum ls_class fake_refuses(struct fake *fake, const struct ls_slice *slice, struct ls_outcome *ret,
					 struct ls_error *err)
{
	for (size_t i = 0; fake->poison && i < slice->write_count; i++) {
		struct ls_str name = fake_name(&slice->write[i]);

		if (!name.len || !memmem(name.ptr, name.len, fake->poison, strlen(fake->poison)))
			continue;
		fake->refused++;
		ret->failed_write = fake->names_write ? i : SIZE_MAX;
		return ls_fail(err, LS_POISON, fake->code ? fake->code : "23514", "the fake cannot take \"%s\"",
			       fake->poison);
	}
	return LS_OK;
}

static inline void fake_note(struct fake_data *data, struct ls_str topic, int32_t partition, int64_t offset)
{
	if (data->passed_count == sizeof data->passed / sizeof *data->passed)
		abort();
	fake_copy(data->passed[data->passed_count].topic, sizeof data->passed->topic, topic);
	data->passed[data->passed_count].partition = partition;
	data->passed[data->passed_count++].offset = offset;
}

static enum ls_class fake_passed(struct ls_destination *base, const struct ls_mark *mark, const int64_t *offset,
				 size_t count, struct ls_arena *arena, bool *ret, struct ls_error *err)
{
	struct fake *fake = ((struct fake_destination *)base)->fake;
	const struct fake_data *data = &fake->data;

	(void)arena, (void)err;
	pthread_mutex_lock(&fake->lock);
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < data->passed_count; k++)
			ret[i] = ret[i] ||
				 (data->passed[k].offset == offset[i] && data->passed[k].partition == mark->partition &&
				  ls_str_equal(ls_str_of(data->passed[k].topic), mark->topic));
	pthread_mutex_unlock(&fake->lock);
	return LS_OK;
}

static inline void fake_commit(struct fake *fake, struct fake_mark *mark, const struct ls_slice *slice,
			       struct ls_outcome *ret)
{
	for (size_t i = 0; i < slice->write_count; i++)
		fake_write(fake, &slice->write[i]);
	for (size_t i = 0; fake->ledger && i < slice->entry_count; i++)
		if (slice->entry[i].status != LS_ENTRY_DUPLICATE)
			fake_event_of(&fake->data, slice->entry[i].event_id)->in_ledger =
				slice->entry[i].status == LS_ENTRY_APPLIED;
	for (size_t i = 0; i < slice->entry_count; i++)
		if (slice->entry[i].passed_over)
			fake_note(&fake->data, slice->mark.topic, slice->mark.partition, slice->entry[i].offset);
	mark->next_offset = slice->next_offset;
	mark->max_version = slice->max_version;
	ret->rows = slice->write_count;
}

static inline enum ls_class fake_apply_locked(struct fake *fake, const struct ls_slice *slice, struct ls_arena *arena,
					      struct ls_outcome *ret, struct ls_error *err)
{
	struct fake_mark *mark = fake_mark_of(&fake->data, slice->mark.topic, slice->mark.partition);
	enum ls_class class;

	fake->applies++;
	if (fake->stolen > 0 && fake->stolen--) {
		mark->epoch++;
		return ls_fail(err, LS_RETRY, "08006", "the fake is away");
	}
	if (fake->retry_before > 0 && fake->retry_before--)
		return ls_fail(err, LS_RETRY, "08006", "the fake is away");
	if (fake->fenced > 0 && fake->fenced--)
		mark->epoch++; /* another one claimed it */
	if (mark->epoch != slice->mark.owner_epoch || mark->next_offset != slice->mark.next_offset)
		return ls_fail(err, LS_FENCED, "mark", "the fake's mark is not as expected");
	if (fake->ledger && fake_known(fake, slice, arena, ret))
		return LS_OK;
	class = fake_refuses(fake, slice, ret, err);
	if (class)
		return class;
	fake_commit(fake, mark, slice, ret);
	if (fake->retry_after > 0 && fake->retry_after--)
		return ls_fail(err, LS_RETRY, "08006", "the fake's reply was lost");
	return LS_OK;
}

static enum ls_class fake_apply(struct ls_destination *base, const struct ls_slice *slice, struct ls_arena *arena,
				struct ls_outcome *ret, struct ls_error *err)
{
	struct fake *fake = ((struct fake_destination *)base)->fake;
	enum ls_class class;
	size_t dead = 0;

	*ret = (struct ls_outcome){ .failed_write = SIZE_MAX };
	for (size_t i = 0; i < slice->entry_count; i++)
		dead += slice->entry[i].status == LS_ENTRY_DEAD;
	if (dead && fake->letters && fake->letters(fake->world) < dead)
		fake->dead_early++;
	pthread_mutex_lock(&fake->lock);
	class = fake_apply_locked(fake, slice, arena, ret, err);
	if (!class && !ret->known_count)
		fake->dead_entries += dead;
	pthread_mutex_unlock(&fake->lock);
	return class;
}

static struct ls_destination *fake_close(struct ls_destination *base)
{
	free(base);
	return NULL;
}

static const struct ls_destination_ops fake_ops = {
	.kind = "fake",
	.summary = "a destination in memory",
	.options_size = sizeof(struct fake_options),
	.open = fake_open,
	.claim = fake_claim,
	.apply = fake_apply,
	.passed = fake_passed,
	.close = fake_close,
};

static enum ls_class fake_open(const void *options, const struct ls_destination_context *context,
			       struct ls_destination **ret, struct ls_error *err)
{
	struct fake *fake = ((const struct fake_options *)options)->fake;
	struct fake_destination *dst;
	bool fails;

	(void)context;
	pthread_mutex_lock(&fake->lock);
	fails = fake->open_fails > 0;
	fake->open_fails -= fails;
	fake->opens++;
	pthread_mutex_unlock(&fake->lock);
	if (fails)
		return ls_fail(err, LS_RETRY, "08006", "the fake is not there yet");
	dst = calloc(1, sizeof *dst);
	if (!dst)
		abort();
	dst->base.ops = &fake_ops;
	dst->fake = fake;
	*ret = &dst->base;
	return LS_OK;
}
