/* What a source of type postgres is configured with. */
#pragma once

#include "lockstep/option.h"

enum pgsrc_truncate { PGSRC_TRUNCATE_IGNORE, PGSRC_TRUNCATE_FAIL };

struct pgsrc_options {
	char *url;
	char *slot;        /* NULL: made from the source's name */
	char *publication; /* NULL: as the slot */
	bool slot_failover;
	int64_t snapshot_connections, snapshot_chunk_rows;
	int64_t heartbeat_interval_ms; /* 0: none */
	int64_t wal_status_interval_ms;
	int on_truncate; /* enum pgsrc_truncate */
};

enum { PGSRC_OPTION_COUNT = 9, PGSRC_MAX_WORKERS = 32, PGSRC_NAME = 64, PGSRC_LABEL = 160 };
extern const struct ls_option pgsrc_options[PGSRC_OPTION_COUNT];

/* pgsrc_slot_name writes the slot's name: the option, or lockstep_<source> with what a slot's name cannot hold
 * replaced. A hash follows where that replaced something, or where the topic prefix is not "lockstep": two
 * installations, or two sources, never share a slot by accident. */
void pgsrc_slot_name(const struct pgsrc_options *options, const char *source, const char *prefix, char out[PGSRC_NAME]);
const char *pgsrc_publication_name(const struct pgsrc_options *options, const char *slot);
