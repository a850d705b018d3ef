/* The option table of type postgres, and the names that follow from it. */
#include "sources/postgres/options.h"

#include "core/map.h"

#include <stdio.h>

#define AT(field) offsetof(struct pgsrc_options, field)

const struct ls_option pgsrc_options[PGSRC_OPTION_COUNT] = {
	{ .name = "url",
	  .type = LS_OPT_SECRET,
	  .fallback = NULL,
	  .offset = AT(url),
	  .help = "connection URL, postgres://user:password@host:5432/database; needs the right to replicate" },
	{ .name = "slot",
	  .type = LS_OPT_STRING,
	  .fallback = "",
	  .offset = AT(slot),
	  .help = "replication slot; made from the source's name unless given" },
	{ .name = "publication",
	  .type = LS_OPT_STRING,
	  .fallback = "",
	  .offset = AT(publication),
	  .help = "publication; named as the slot unless given" },
	{ .name = "slot_failover",
	  .type = LS_OPT_BOOL,
	  .fallback = "false",
	  .offset = AT(slot_failover),
	  .help = "let the slot live on at a standby that takes over (PostgreSQL 17: sync_replication_slots there)" },
	{ .name = "snapshot_connections",
	  .type = LS_OPT_INT,
	  .fallback = "4",
	  .offset = AT(snapshot_connections),
	  .help = "sessions that read the first snapshot side by side",
	  .lo = 1,
	  .hi = PGSRC_MAX_WORKERS },
	{ .name = "snapshot_chunk_rows",
	  .type = LS_OPT_INT,
	  .fallback = "50000",
	  .offset = AT(snapshot_chunk_rows),
	  .help = "rows of a key range that is read at once, and read again after a kill",
	  .lo = 1,
	  .hi = 100000000 },
	{ .name = "heartbeat_interval",
	  .type = LS_OPT_DURATION,
	  .fallback = "10s",
	  .offset = AT(heartbeat_interval_ms),
	  .help = "how often a logical message is written so that idle tables hold no WAL; 0: never",
	  .lo = 0,
	  .hi = 3600000,
	  .unit = "s" },
	{ .name = "wal_status_interval",
	  .type = LS_OPT_DURATION,
	  .fallback = "10s",
	  .offset = AT(wal_status_interval_ms),
	  .help = "how often at least the server hears how far we are; oftener where its wal_sender_timeout asks for "
		  "it",
	  .lo = 100,
	  .hi = 3600000,
	  .unit = "s" },
	{ .name = "on_truncate",
	  .type = LS_OPT_CHOICE,
	  .fallback = "ignore",
	  .offset = AT(on_truncate),
	  .help = "TRUNCATE of a captured table: ignore (rows stay at the destinations, noted as the lane's error) or "
		  "fail",
	  .choices = "ignore|fail" },
};

void pgsrc_slot_name(const struct pgsrc_options *options, const char *source, const char *prefix, char out[PGSRC_NAME])
{
	struct ls_str name = ls_str_of(source);
	uint64_t hash = 0;
	size_t len;
	bool changed = false;

	if (options->slot && *options->slot) {
		(void)snprintf(out, PGSRC_NAME, "%s", options->slot);
		return;
	}
	len = (size_t)snprintf(out, PGSRC_NAME, "lockstep_");
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		bool fits = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';

		if (len >= PGSRC_NAME - 10) {
			changed = true;
			break;
		}
		changed = changed || !fits;
		out[len++] = fits ? c : '_';
	}
	out[len] = 0;
	if (strcmp(prefix, "lockstep") != 0)
		hash ^= ls_hash(ls_str_of(prefix));
	if (changed)
		hash ^= ls_hash(name) * 31;
	if (hash)
		(void)snprintf(out + len, PGSRC_NAME - len, "_%08x", (unsigned int)(hash ^ hash >> 32));
}

const char *pgsrc_publication_name(const struct pgsrc_options *options, const char *slot)
{
	return options->publication && *options->publication ? options->publication : slot;
}
