/* The bytes of logical replication: XLogData, keepalives, and pgoutput messages (protocol version 1, text values).
 * Pure: no connection, no memory of its own; every read checks what is left.
 * https://www.postgresql.org/docs/15/protocol-logicalrep-message-formats.html */
#pragma once

#include "lockstep/schema.h"

/* One column of a row. status: n NULL, u unchanged TOAST (not sent), t text. */
struct pgout_cell {
	char status;
	struct ls_str text; /* view into the message */
};

struct pgout_column {
	bool identity; /* part of the replica identity */
	struct ls_str name;
	uint32_t type;
	int32_t typmod;
};

enum pgout_kind {
	PGOUT_BEGIN = 'B',
	PGOUT_COMMIT = 'C',
	PGOUT_ORIGIN = 'O',
	PGOUT_RELATION = 'R',
	PGOUT_TYPE = 'Y',
	PGOUT_INSERT = 'I',
	PGOUT_UPDATE = 'U',
	PGOUT_DELETE = 'D',
	PGOUT_TRUNCATE = 'T',
	PGOUT_MESSAGE = 'M',
};

/* One message. Which fields are set depends on kind. About 140 kB: made once, used again. */
struct pgout_message {
	enum pgout_kind kind;
	uint32_t relation;           /* R I U D */
	uint64_t lsn;                /* B and C: where the commit record is */
	uint64_t end_lsn;            /* C: where the transaction ends */
	int64_t time_us;             /* B, C: commit time, microseconds since 1970 UTC */
	uint32_t xid;                /* B */
	struct ls_str schema, name;  /* R; O: name is the origin's */
	char identity;               /* R: d default, n nothing, f full, i index */
	char old_kind;               /* U, D: K the identity's columns are true, O all are, 0 no old row */
	size_t old_count, new_count; /* U, D; I, U */
	size_t column_count;         /* R */
	size_t truncated;            /* T: how many relations follow in `truncate` */
	struct pgout_cell old_cell[LS_MAX_COLUMNS], new_cell[LS_MAX_COLUMNS];
	struct pgout_column column[LS_MAX_COLUMNS];
	uint32_t truncate[LS_MAX_COLUMNS];
};

/* pgout_read takes one message apart; views point into `bytes`. false: it is not one, or it is cut short. */
bool pgout_read(struct ls_str bytes, struct pgout_message *ret);

/* What stands around a message on the wire. */
struct pgout_frame {
	bool keepalive;
	bool reply;       /* keepalive: the server wants to hear from us at once */
	uint64_t wal_end; /* how far the server is */
	struct ls_str payload;
};
bool pgout_frame_read(struct ls_str bytes, struct pgout_frame *ret);

enum { PGOUT_STATUS = 34 };
/* pgout_status writes a Standby status update. */
void pgout_status(char out[PGOUT_STATUS], uint64_t written, uint64_t flushed, int64_t now_us, bool reply);

/* An LSN as text, 0/16B3748, and back. */
enum { PGOUT_LSN = 18 };
char *pgout_lsn_print(uint64_t lsn, char out[PGOUT_LSN]);
bool pgout_lsn_parse(struct ls_str text, uint64_t *ret);
