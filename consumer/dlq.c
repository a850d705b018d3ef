/* The dead letter topics as lists: see dlq.h. */
#include "dlq.h"

#include "core/arena.h"
#include "core/map.h"
#include "kafka/topics.h"
#include "main/app.h"

#include <stdlib.h>

enum { STEP = 500 };

void ls_dead_list_init(struct ls_dead_list *list)
{
	*list = (struct ls_dead_list){ .arena = ls_arena_new(0) };
}

void ls_dead_list_release(struct ls_dead_list *list)
{
	free(list->letter);
	list->arena = ls_arena_free(list->arena);
	list->letter = NULL;
	list->count = list->room = 0;
}

static struct ls_dead_letter *add(struct ls_dead_list *list)
{
	if (list->count == list->room) {
		list->room = list->room ? list->room * 2 : 64;
		list->letter = realloc(list->letter, list->room * sizeof *list->letter);
		if (!list->letter)
			abort();
	}
	list->letter[list->count] = (struct ls_dead_letter){ 0 };
	return &list->letter[list->count++];
}

static int64_t number(struct ls_str text)
{
	char digits[24];
	size_t len = text.len < sizeof digits - 1 ? text.len : sizeof digits - 1;

	memcpy(digits, text.ptr, len);
	digits[len] = 0;
	return strtoll(digits, NULL, 10);
}

static void read_header(struct ls_dead_letter *letter, const struct ls_header *header, struct ls_arena *arena)
{
	struct ls_str name = header->name, value = header->value;

	if (ls_str_equal(name, LS_STR("lockstep.reason")))
		letter->reason = ls_arena_str(arena, value);
	else if (ls_str_equal(name, LS_STR("lockstep.code")))
		letter->code = ls_arena_str(arena, value);
	else if (ls_str_equal(name, LS_STR("lockstep.topic")))
		letter->topic = ls_arena_str(arena, value);
	else if (ls_str_equal(name, LS_STR("lockstep.key")))
		letter->key = ls_arena_str(arena, value);
	else if (ls_str_equal(name, LS_STR("lockstep.partition")))
		letter->partition = (int32_t)number(value);
	else if (ls_str_equal(name, LS_STR("lockstep.offset")))
		letter->offset = number(value);
	else if (ls_str_equal(name, LS_STR("lockstep.time")))
		letter->time_us = number(value);
	else if (ls_str_equal(name, LS_STR("lockstep.retries")))
		letter->retries = number(value);
	else if (ls_str_equal(name, LS_STR("lockstep.side")))
		letter->capture = ls_str_equal(value, LS_STR("capture"));
	else if (ls_str_equal(name, LS_STR("lockstep.source")))
		letter->source = ls_arena_str(arena, value);
	else if (ls_str_equal(name, LS_STR("lockstep.entity")))
		letter->entity = ls_arena_str(arena, value);
	else if (ls_str_equal(name, LS_STR("lockstep.event_id")))
		letter->event_id = ls_arena_str(arena, value);
}

static void read_letter(struct ls_dead_letter *letter, const struct ls_message *message, struct ls_arena *arena)
{
	size_t count = ls_message_headers(message, NULL, 0);
	struct ls_header *header = calloc(count + 1, sizeof *header);

	if (!header)
		abort();
	ls_message_headers(message, header, count);
	letter->bytes = message->value.len;
	letter->dlq_partition = message->partition;
	letter->dlq_offset = message->offset;
	letter->alive = true;
	letter->time_us = message->timestamp_us;
	for (size_t i = 0; i < count; i++)
		read_header(letter, &header[i], arena);
	free(header);
}

/* Calls take for every message of the topic up to its end. */
typedef enum ls_class take_message(void *context, const struct ls_message *message, struct ls_error *err);

static enum ls_class read_topic(const struct ls_app *app, const char *topic, int32_t partition, int64_t from,
				take_message *take, void *context, struct ls_error *err)
{
	struct ls_message *message = calloc(STEP, sizeof *message);
	struct ls_reader *reader = NULL;
	enum ls_class class = ls_reader_open(&app->config->kafka, topic, partition, from, &reader, err);
	bool end = false;

	if (!message)
		abort();
	while (!class && !end && !ls_stop_is_set(&app->stop)) {
		size_t count = 0;

		class = ls_reader_next(reader, 200, message, STEP, &count, &end, err);
		for (size_t i = 0; i < count; i++) {
			if (!class)
				class = take(context, &message[i], err);
			ls_message_free(&message[i]);
		}
	}
	ls_reader_close(reader);
	free(message);
	return class;
}

static bool topic_exists(const struct ls_app *app, const char *topic, enum ls_class *ret_class, struct ls_error *err)
{
	struct ls_topic_info info = { 0 };
	struct ls_admin *admin = NULL;

	*ret_class = ls_admin_open(&app->config->kafka, &admin, err);
	if (!*ret_class)
		*ret_class = ls_admin_topic(admin, topic, &info, err);
	ls_admin_close(admin);
	return !*ret_class && info.partitions > 0;
}

struct collect {
	struct ls_dead_list *list;
	struct ls_map by_id; /* id -> index + 1 */
	struct ls_str owner;
};

static enum ls_class collect_one(void *context, const struct ls_message *message, struct ls_error *err)
{
	struct collect *collect = context;
	struct ls_map_slot *slot;
	size_t index;

	(void)err;
	if (!message->has_key || message->class)
		return LS_OK;
	slot = ls_map_at(&collect->by_id, ls_arena_str(collect->list->arena, message->key));
	index = (size_t)(uintptr_t)slot->value;
	if (index)
		collect->list->letter[index - 1].alive = false;
	slot->value = NULL;
	if (!message->has_value)
		return LS_OK;
	read_letter(add(collect->list), message, collect->list->arena);
	index = collect->list->count;
	collect->list->letter[index - 1].id = slot->key;
	collect->list->letter[index - 1].owner = collect->owner;
	slot->value = (void *)(uintptr_t)index;
	return LS_OK;
}

enum ls_class ls_dead_list_read(const struct ls_app *app, const char *owner, struct ls_dead_list *list,
				struct ls_error *err)
{
	struct collect collect = { .list = list, .owner = ls_arena_str(list->arena, ls_str_of(owner)) };
	char topic[LS_TOPIC_NAME];
	size_t kept = list->count;
	enum ls_class class;

	ls_topic_dlq(topic, app->config->prefix, owner);
	if (!topic_exists(app, topic, &class, err))
		return class;
	ls_map_init(&collect.by_id);
	class = read_topic(app, topic, -1, -1, collect_one, &collect, err);
	ls_map_release(&collect.by_id);
	for (size_t i = kept; i < list->count; i++)
		if (list->letter[i].alive)
			list->letter[kept++] = list->letter[i];
	list->count = kept;
	return class;
}

static int by_time(const void *a, const void *b)
{
	const struct ls_dead_letter *one = a, *other = b;

	if (one->time_us != other->time_us)
		return one->time_us < other->time_us ? -1 : 1;
	return one->dlq_offset < other->dlq_offset ? -1 : one->dlq_offset > other->dlq_offset;
}

void ls_dead_list_sort(struct ls_dead_list *list)
{
	if (list->count)
		qsort(list->letter, list->count, sizeof *list->letter, by_time);
}

/* The chosen letters of one owner in the order of the topic, so that each record finds its letter by halving. */
struct each {
	const struct ls_dead_letter **letter;
	size_t count, seen;
	ls_dead_visit *visit;
	void *context;
};

static int by_place(const void *a, const void *b)
{
	const struct ls_dead_letter *one = *(const struct ls_dead_letter *const *)a;
	const struct ls_dead_letter *other = *(const struct ls_dead_letter *const *)b;

	if (one->dlq_partition != other->dlq_partition)
		return one->dlq_partition < other->dlq_partition ? -1 : 1;
	return one->dlq_offset < other->dlq_offset ? -1 : one->dlq_offset > other->dlq_offset;
}

static enum ls_class each_one(void *context, const struct ls_message *message, struct ls_error *err)
{
	const struct ls_dead_letter place = { .dlq_partition = message->partition, .dlq_offset = message->offset };
	const struct ls_dead_letter *key = &place, **found;
	struct each *each = context;

	found = bsearch(&key, each->letter, each->count, sizeof(const struct ls_dead_letter *), by_place);
	if (!found)
		return LS_OK;
	each->seen++;
	return each->visit(each->context, *found, message, err);
}

static void gather(struct each *each, const struct ls_dead_list *list, struct ls_str owner)
{
	each->letter = calloc(list->count + 1, sizeof(const struct ls_dead_letter *));
	if (!each->letter)
		abort();
	for (size_t i = 0; i < list->count; i++)
		if (list->letter[i].chosen && ls_str_equal(list->letter[i].owner, owner))
			each->letter[each->count++] = &list->letter[i];
	qsort(each->letter, each->count, sizeof(const struct ls_dead_letter *), by_place);
}

static enum ls_class read_partition(const struct ls_app *app, const char *topic, struct each *each, size_t first,
				    size_t end, struct ls_error *err)
{
	struct each part = { each->letter + first, end - first, 0, each->visit, each->context };
	const struct ls_dead_letter *at = part.letter[0];
	enum ls_class class = read_topic(app, topic, at->dlq_partition, at->dlq_offset, each_one, &part, err);

	if (!class && part.seen != part.count && !ls_stop_is_set(&app->stop))
		class = ls_fail(
			err, LS_RETRY, "dlq",
			"%zu dead letters of topic %s were taken away meanwhile: look again with `lockstep dlq list`",
			part.count - part.seen, topic);
	return class;
}

enum ls_class ls_dead_each(const struct ls_app *app, const char *owner, const struct ls_dead_list *list,
			   ls_dead_visit *visit, void *context, struct ls_error *err)
{
	struct each each = { .visit = visit, .context = context };
	char topic[LS_TOPIC_NAME];
	enum ls_class class = LS_OK;

	ls_topic_dlq(topic, app->config->prefix, owner);
	gather(&each, list, ls_str_of(owner));
	for (size_t first = 0, end; !class && first < each.count; first = end) {
		for (end = first + 1; end < each.count; end++)
			if (each.letter[end]->dlq_partition != each.letter[first]->dlq_partition)
				break;
		class = read_partition(app, topic, &each, first, end, err);
	}
	free(each.letter);
	return class;
}
