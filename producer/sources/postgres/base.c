/* What the writer of a local edit had seen: sync_offsets rows of the destination of the same name, read from the same
 * log, say how far it had applied each partition. Rows of other destinations in the same database say nothing about
 * this one. The values are a function of the log: they are saved in the position as they stood at its lsn.
 *
 * A topic's partition count is taken at the start, as everything else that counts on it. */
#include "sources/postgres/source.h"

#include "core/arena.h"
#include "core/mutant.h"
#include "kafka/client.h"
#include "kafka/topics.h"

#include <stdlib.h>

/* The new row, or what is left of a deleted one. */
static struct ls_str cell_text(const struct pgsrc_relation *relation, const struct pgout_message *message,
			       const char *name)
{
	bool old = message->kind == PGOUT_DELETE;
	const struct pgout_cell *cell = old ? message->old_cell : message->new_cell;
	size_t count = old ? message->old_count : message->new_count;

	for (size_t i = 0; i < relation->column_count && i < count; i++)
		if (ls_str_equal(relation->column[i].name, ls_str_of(name)) && cell[i].status == 't')
			return cell[i].text;
	return (struct ls_str){ 0 };
}

/* LS_NONE: NULL, or not there. */
static int64_t cell_number(const struct pgsrc_relation *relation, const struct pgout_message *message, const char *name)
{
	struct ls_str text = cell_text(relation, message, name);
	char digits[24], *end;
	int64_t number;

	if (!text.len || text.len >= sizeof(digits))
		return LS_NONE;
	memcpy(digits, text.ptr, text.len);
	digits[text.len] = 0;
	number = strtoll(digits, &end, 10);
	return *end ? LS_NONE : number;
}

static void restore(struct pgsrc *src, struct pgsrc_base *base)
{
	for (int32_t i = 0; i < base->partitions; i++) {
		struct pgsrc_seen *seen = &base->seen[i];

		seen->next_offset = seen->max_version = LS_NONE;
		pgsrc_position_seen(&src->position, base->topic, i, &seen->next_offset, &seen->max_version);
	}
}

void pgsrc_base_begin(struct pgsrc *src)
{
	const int32_t *partitions = src->context.partitions;
	char topic[LS_TOPIC_NAME];

	if (!src->context.is_destination || !partitions)
		return;
	src->base = ls_arena_zalloc(src->memory, (src->context.mapping_count + 1) * sizeof(*src->base));
	for (size_t i = 0; i < src->context.mapping_count; i++) {
		struct pgsrc_base *base = &src->base[i];

		ls_topic_events(topic, src->context.prefix, src->context.mapping[i].entity);
		base->topic = ls_arena_printf(src->memory, "%s", topic).ptr;
		base->partitions = partitions[i] > 0 ? partitions[i] : 0;
		base->seen = ls_arena_zalloc(src->memory, ((size_t)base->partitions + 1) * sizeof(*base->seen));
		restore(src, base);
	}
}

void pgsrc_base_note(struct pgsrc *src, const struct pgsrc_relation *relation, const struct pgout_message *message)
{
	struct ls_str topic = cell_text(relation, message, "topic");
	int64_t partition = cell_number(relation, message, "partition");
	int64_t next_offset = cell_number(relation, message, "next_offset");

	if (LS_MUTANT("base.frozen"))
		return;
	if (!src->base || !ls_str_equal(cell_text(relation, message, "destination"), ls_str_of(src->context.name)))
		return;
	for (size_t i = 0; i < src->context.mapping_count; i++) {
		struct pgsrc_base *base = &src->base[i];
		bool there = message->kind != PGOUT_DELETE && next_offset >= 0; /* -1: claimed, nothing applied yet */

		if (!ls_str_equal(ls_str_of(base->topic), topic) || partition < 0 || partition >= base->partitions)
			continue;
		base->seen[partition] = (struct pgsrc_seen){
			.next_offset = there ? next_offset : LS_NONE,
			.max_version = there ? cell_number(relation, message, "max_version") : LS_NONE,
			.moved = true,
		};
		src->base_moved = true;
	}
}

void pgsrc_base_settle(struct pgsrc *src)
{
	for (size_t i = 0; src->base_moved && i < src->context.mapping_count; i++) {
		struct pgsrc_base *base = &src->base[i];

		for (int32_t p = 0; p < base->partitions; p++) {
			struct pgsrc_seen *seen = &base->seen[p];

			if (seen->moved)
				pgsrc_position_see(&src->position, base->topic, p, seen->next_offset,
						   seen->max_version);
			seen->moved = false;
		}
	}
	src->base_moved = false;
}

void pgsrc_base_give(const struct pgsrc *src, size_t mapping, struct ls_event *event)
{
	const struct pgsrc_base *base = src->base ? &src->base[mapping] : NULL;
	const struct pgsrc_seen *seen;

	if (!base || !base->partitions || !event->entity_id.len)
		return;
	seen = &base->seen[ls_kafka_partition_of(event->entity_id, base->partitions)];
	event->base_offset = seen->next_offset;
	event->base_version = seen->max_version;
}

/* Rows that stood in the table before the publication held it are in no log that we read. Written again as they are,
 * they come by. Where the role may not do that, the next slice of each partition tells the same. */
enum ls_class pgsrc_base_recall(struct pgsrc *src, struct ls_error *err)
{
	const char *value[1] = { src->context.name };
	struct ls_error ignored;
	struct ls_buf sql;

	if (!src->base || !src->ledger || src->standby || json_object_size(src->position.base))
		return LS_OK;
	ls_buf_init(&sql, 4096);
	ls_buf_add_text(&sql, "UPDATE ");
	pgsrc_add_table(&sql, ls_str_of(src->context.ledger_schema), LS_STR("sync_offsets"));
	ls_buf_add_text(&sql, " SET updated_at = updated_at WHERE destination = $1");
	(void)ls_pg_params(src->side, sql.ptr, 1, value, NULL, &ignored);
	ls_buf_release(&sql);
	return PQstatus(src->side) == CONNECTION_OK ? LS_OK : ls_pg_check(src->side, NULL, err);
}
