/* The PostgreSQL destination: exactly once, because rows, ledger and mark commit together. The parts are described in
 * postgres/internal.h. */
#include "destinations/postgres/internal.h"

static const struct ls_option options[] = {
	{ "url", LS_OPT_SECRET, NULL, offsetof(struct ls_pgd_options, url),
	  "connection URL, postgres://user:password@host:port/database", 0, 0, NULL, NULL },
	{ "synchronous_commit", LS_OPT_CHOICE, "default", offsetof(struct ls_pgd_options, synchronous_commit),
	  "wait for the disk at each commit; off is safe here as rows and mark are lost together", 0, 0,
	  "default|on|off", NULL },
	{ "statement_timeout", LS_OPT_DURATION, "5m", offsetof(struct ls_pgd_options, statement_timeout_ms),
	  "longest time one batch may take; 0 for none", 0, 86400000, NULL, "s" },
	{ "lock_timeout", LS_OPT_DURATION, "10s", offsetof(struct ls_pgd_options, lock_timeout_ms),
	  "longest wait for a lock before the batch is tried again; 0 for none", 0, 86400000, NULL, "s" },
};

static enum ls_class pg_open(const void *opts, const struct ls_destination_context *context,
			     struct ls_destination **ret_dst, struct ls_error *err);

static enum ls_class pg_claim(struct ls_destination *dst, struct ls_mark *mark, size_t count, struct ls_error *err)
{
	struct ls_pgd *pg = (struct ls_pgd *)dst;
	enum ls_class class = ls_pgd_ready(pg, err);

	if (!class)
		class = ls_pgd_claim(pg, mark, count, err);
	for (size_t i = 0; !class && i < count; i++)
		ls_pgd_guard_note(pg, &mark[i]);
	return class;
}

static enum ls_class pg_apply(struct ls_destination *dst, const struct ls_slice *slice, struct ls_arena *arena,
			      struct ls_outcome *ret, struct ls_error *err)
{
	return ls_pgd_apply((struct ls_pgd *)dst, slice, arena, ret, err);
}

static enum ls_class pg_waits(struct ls_destination *dst, struct ls_arena *arena, struct ls_wait **ret,
			      size_t *ret_count, struct ls_error *err)
{
	struct ls_pgd *pg = (struct ls_pgd *)dst;
	enum ls_class class = ls_pgd_ready(pg, err);

	return class ? class : ls_pgd_waits(pg, arena, ret, ret_count, err);
}

static enum ls_class pg_yield(struct ls_destination *dst, const struct ls_slice *slice, bool back,
			      struct ls_arena *arena, struct ls_error *err)
{
	return ls_pgd_yield((struct ls_pgd *)dst, slice, back, arena, err);
}

static enum ls_class pg_stand(struct ls_destination *dst, struct ls_arena *arena, struct ls_mark **ret,
			      size_t *ret_count, struct ls_error *err)
{
	struct ls_pgd *pg = (struct ls_pgd *)dst;
	enum ls_class class = ls_pgd_ready(pg, err);

	if (!class)
		class = ls_pgd_marks(pg, arena, ret, ret_count, err);
	if (class)
		ls_pgd_settle(pg);
	return class;
}

static enum ls_class pg_passed(struct ls_destination *dst, const struct ls_mark *mark, const int64_t *offset,
			       size_t count, struct ls_arena *arena, bool *ret, struct ls_error *err)
{
	struct ls_pgd *pg = (struct ls_pgd *)dst;
	enum ls_class class = ls_pgd_ready(pg, err);

	return class ? class : ls_pgd_passed(pg, mark, offset, count, arena, ret, err);
}

static struct ls_destination *pg_close(struct ls_destination *dst)
{
	ls_pgd_free((struct ls_pgd *)dst);
	return NULL;
}

static enum ls_class pg_marks(const void *opts, const struct ls_destination_context *context, struct ls_arena *arena,
			      struct ls_mark **ret, size_t *ret_count, struct ls_error *err)
{
	struct ls_pgd *pg = ls_pgd_new(opts, context);
	enum ls_class class = ls_pgd_ready(pg, err);

	if (!class)
		class = ls_pgd_marks(pg, arena, ret, ret_count, err);
	ls_pgd_free(pg);
	return class;
}

const struct ls_destination_ops ls_destination_postgres = {
	.kind = "postgres",
	.summary = "rows of PostgreSQL tables (14 to 18), each change exactly once",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.options_size = sizeof(struct ls_pgd_options),
	.open = pg_open,
	.claim = pg_claim,
	.apply = pg_apply,
	.waits = pg_waits,
	.yield = pg_yield,
	.passed = pg_passed,
	.stand = pg_stand,
	.close = pg_close,
	.check = ls_pgd_check,
	.marks = pg_marks,
	.lookup = ls_pgd_lookup,
};

static enum ls_class pg_open(const void *opts, const struct ls_destination_context *context,
			     struct ls_destination **ret_dst, struct ls_error *err)
{
	struct ls_pgd *pg = ls_pgd_new(opts, context);
	enum ls_class class;

	pg->base.ops = &ls_destination_postgres;
	pg->takes_origin = true;
	class = ls_pgd_ready(pg, err);
	if (!class)
		class = ls_pgd_ledger_make(pg, err);
	if (class)
		ls_pgd_free(pg);
	else
		*ret_dst = &pg->base;
	return class;
}
