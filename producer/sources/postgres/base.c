/* What the writer of a local edit had seen: sync_offsets rows of the destination of the same name, read from the same
 * log, say how far it had applied each partition.
 *
 * NEEDSWORK: the map begins empty when the source opens. Until a row of a partition goes by, events of it carry no
 * base; it belongs into the position. And the publisher does not yet say how many partitions a topic has. */
#include "sources/postgres/source.h"

#include "core/arena.h"
#include "kafka/client.h"
#include "kafka/topics.h"

#include <stdlib.h>

static struct ls_str cell_text(const struct pgsrc_relation *relation, const struct pgout_message *message,
			       const char *name)
{
	for (size_t i = 0; i < relation->column_count && i < message->new_count; i++)
		if (ls_str_equal(relation->column[i].name, ls_str_of(name)) && message->new_cell[i].status == 't')
			return message->new_cell[i].text;
	return (struct ls_str){ 0 };
}

static bool cell_number(const struct pgsrc_relation *relation, const struct pgout_message *message, const char *name,
			int64_t *ret)
{
	struct ls_str text = cell_text(relation, message, name);
	char digits[24], *end;

	if (!text.len || text.len >= sizeof(digits))
		return false;
	memcpy(digits, text.ptr, text.len);
	digits[text.len] = 0;
	*ret = strtoll(digits, &end, 10);
	return !*end;
}

static struct pgsrc_base *base_at(struct pgsrc *src, struct ls_str topic, int32_t partition)
{
	for (size_t i = 0; i < src->base_count; i++)
		if (src->base[i].partition == partition && ls_str_equal(src->base[i].topic, topic))
			return &src->base[i];
	if (src->base_count == src->base_room) {
		src->base_room = src->base_room ? src->base_room * 2 : 16;
		src->base = realloc(src->base, src->base_room * sizeof(*src->base));
		if (!src->base)
			abort();
	}
	src->base[src->base_count] =
		(struct pgsrc_base){ .topic = ls_arena_str(src->memory, topic), .partition = partition };
	return &src->base[src->base_count++];
}

void pgsrc_base_note(struct pgsrc *src, const struct pgsrc_relation *relation, const struct pgout_message *message)
{
	struct ls_str topic = cell_text(relation, message, "topic");
	int64_t partition, next_offset, max_version;
	struct pgsrc_base *base;

	if (!ls_str_equal(cell_text(relation, message, "destination"), ls_str_of(src->context.name)) || !topic.len ||
	    !cell_number(relation, message, "partition", &partition) ||
	    !cell_number(relation, message, "next_offset", &next_offset) ||
	    !cell_number(relation, message, "max_version", &max_version))
		return;
	base = base_at(src, topic, (int32_t)partition);
	base->next_offset = next_offset;
	base->max_version = max_version;
}

void pgsrc_base_give(const struct pgsrc *src, struct ls_event *event, int32_t partitions)
{
	char topic[LS_TOPIC_NAME];
	int32_t partition;

	if (partitions <= 0 || !src->base_count)
		return;
	(void)ls_topic_events(topic, src->context.prefix, event->entity.ptr);
	partition = ls_kafka_partition_of(event->entity_id, partitions);
	for (size_t i = 0; i < src->base_count; i++) {
		const struct pgsrc_base *base = &src->base[i];

		if (base->partition != partition || !ls_str_equal(base->topic, ls_str_of(topic)))
			continue;
		event->base_version = base->max_version;
		event->base_offset = base->next_offset;
	}
}
