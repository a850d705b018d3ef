/* The source kind postgres: changes of tables by logical replication (pgoutput), after a snapshot of what they hold.
 * Its parts are in postgres/: setup and begin, protocol and stream, relation and event, snapshot, position. */
#include "sources/postgres/source.h"

#include "core/arena.h"

#include <stdlib.h>

static struct pgsrc *of(struct ls_source *source)
{
	return (struct pgsrc *)source;
}

struct pgsrc *pgsrc_free(struct pgsrc *src)
{
	if (!src)
		return NULL;
	src->snapshot = pgsrc_snapshot_free(src->snapshot);
	src->repl = ls_pg_close(src->repl);
	src->side = ls_pg_close(src->side);
	pgsrc_position_release(&src->position);
	src->memory = ls_arena_free(src->memory);
	free(src->message);
	free(src);
	return NULL;
}

static struct ls_source *pgsrc_close(struct ls_source *source)
{
	(void)pgsrc_free(of(source));
	return NULL;
}

struct pgsrc *pgsrc_new(const void *options, const struct ls_source_context *context)
{
	struct pgsrc *src = calloc(1, sizeof(*src));

	if (!src)
		abort();
	src->source.ops = &ls_source_postgres;
	src->options = *(const struct pgsrc_options *)options;
	src->context = *context;
	src->memory = ls_arena_new(0);
	src->message = calloc(1, sizeof(*src->message));
	if (!src->message)
		abort();
	src->relations = (struct pgsrc_relations){ .memory = src->memory,
						   .ledger_schema = context->ledger_schema,
						   .mapping = context->mapping,
						   .mapping_count = context->mapping_count };
	src->floor_next = LS_NONE;
	pgsrc_slot_name(&src->options, context->name, context->prefix, src->slot);
	src->publication = pgsrc_publication_name(&src->options, src->slot);
	pgsrc_position_init(&src->position);
	return src;
}

static enum ls_class prepare(struct pgsrc *src, struct ls_str position, int64_t floor, struct ls_error *err)
{
	enum ls_class class = ls_pg_connect(src->options.url, src->context.name, false, &src->side, err);

	if (!class)
		class = pgsrc_server(src, err);
	if (!class)
		class = pgsrc_tables(src, err);
	if (!class)
		class = pgsrc_publication(src, err);
	if (!class)
		class = pgsrc_members(src, err);
	if (!class)
		class = pgsrc_begin(src, position, floor, err);
	return class;
}

static enum ls_class pgsrc_open(const void *options, const struct ls_source_context *context, struct ls_str position,
				int64_t floor, struct ls_source **ret_src, struct ls_error *err)
{
	struct pgsrc *src = pgsrc_new(options, context);
	enum ls_class class = prepare(src, position, floor, err);

	if (class) {
		(void)ls_fail_in(err, "source \"%s\"", context->name);
		(void)pgsrc_close(&src->source);
		return class;
	}
	*ret_src = &src->source;
	return LS_OK;
}

/* announce hands over where we begin before anything is read: a start that leaves no trace could not be resumed. */
static void announce(struct pgsrc *src, struct ls_batch *into)
{
	into->position = pgsrc_position_print(&src->position, src->position.lsn, into->arena);
	src->announce = false;
}

static enum ls_class pgsrc_poll(struct ls_source *source, int timeout_ms, struct ls_batch *into, struct ls_error *err)
{
	struct pgsrc *src = of(source);
	enum ls_class class;

	into->floor = src->floor_next;
	into->position = (struct ls_str){ 0 };
	src->floor_next = LS_NONE;
	if (src->announce) {
		announce(src, into);
		return LS_OK;
	}
	class = src->snapshot ? pgsrc_snapshot_poll(src, timeout_ms, into, err)
			      : pgsrc_stream_poll(src, timeout_ms, into, err);
	return class ? ls_fail_in(err, "source \"%s\"", src->context.name) : LS_OK;
}

static enum ls_class pgsrc_confirm(struct ls_source *source, struct ls_str text, struct ls_error *err)
{
	struct pgsrc *src = of(source);
	struct pgsrc_position position;
	enum ls_class class;

	pgsrc_position_init(&position);
	class = pgsrc_position_parse(&position, text, err);
	if (!class) {
		pgsrc_snapshot_confirm(src, &position, text);
		src->tables_durable = src->tables_durable || pgsrc_position_all_read(&position);
		if (position.lsn > src->confirmed) {
			src->confirmed = position.lsn;
			src->confirm_due = true;
		}
		class = pgsrc_status(src, false, err);
	}
	pgsrc_position_release(&position);
	return class ? ls_fail_in(err, "source \"%s\"", src->context.name) : LS_OK;
}

static enum ls_class pgsrc_keepalive(struct ls_source *source, struct ls_error *err)
{
	struct pgsrc *src = of(source);
	enum ls_class class;

	src->confirm_due = true; /* pgsrc_status paces it, as the server's wal_sender_timeout asks for */
	class = pgsrc_status(src, false, err);
	return class ? ls_fail_in(err, "source \"%s\"", src->context.name) : LS_OK;
}

const struct ls_source_ops ls_source_postgres = {
	.kind = "postgres",
	.family = LS_FAMILY_CDC,
	.summary = "PostgreSQL 14 to 18 by logical replication, after a snapshot",
	.options = pgsrc_options,
	.option_count = PGSRC_OPTION_COUNT,
	.options_size = sizeof(struct pgsrc_options),
	.open = pgsrc_open,
	.poll = pgsrc_poll,
	.confirm = pgsrc_confirm,
	.keepalive = pgsrc_keepalive,
	.close = pgsrc_close,
	.check = pgsrc_check,
	.lookup = pgsrc_lookup,
	.resnapshot = pgsrc_resnapshot,
	.describe = pgsrc_describe,
};
