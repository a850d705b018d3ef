/* Where a source goes on from: the log position, and how far the tables were read before it.
 * {"lsn": "0/16B3748", "snapshot": {"tables": {"public.contacts": true, "public.orders": ["4711"]},
 *                                   "rounds": [{"lsn": "0/16B3700", "version": 1795252443120000}]},
 *  "base": {"lockstep.contact": {"0": [17, 1795252443120000]}},
 *  "log": {"system": "7575164232184430123", "timeline": 1, "tables": {"public.contacts": "16392.16384.16399"}}}
 * A table is true once it was read to its end, else the key below which it was, or false. A round is one consistent
 * reading: its rows carry the round's version, and the clock is raised to it where the stream passes the round's
 * lsn. lsn 0/0 asks for a new slot. base, two-way only: per topic and partition, the next offset and the highest
 * version that the destination of the same name had applied at lsn. log: which server's log lsn is a place in, and
 * which tables it was written for, see history.c and members.c. */
#pragma once

#include "lockstep/error.h"
#include "lockstep/str.h"

#include <jansson.h>
#include <stdint.h>

struct ls_arena;

struct pgsrc_round {
	uint64_t lsn;
	int64_t version;
};

enum { PGSRC_MAX_ROUNDS = 256 };

struct pgsrc_position {
	uint64_t lsn;
	json_t *tables;                             /* owned: label -> true, false, or the array of key texts */
	struct pgsrc_round round[PGSRC_MAX_ROUNDS]; /* those that the stream has not passed yet */
	size_t round_count;
	json_t *base; /* owned: topic -> partition -> [next offset, highest version] */
	json_t *log;  /* owned: {} where nothing is known */
	char *tail;   /* owned: the text after the lsn, NULL when it is to be made again */
	size_t tail_len;
};

void pgsrc_position_init(struct pgsrc_position *position);
void pgsrc_position_release(struct pgsrc_position *position); /* NULL members ok */

/* pgsrc_position_parse reads a saved position into an initialised one. LS_FATAL: it is not one. */
enum ls_class pgsrc_position_parse(struct pgsrc_position *position, struct ls_str text, struct ls_error *err);

/* pgsrc_position_print writes the text for `lsn`; the parts after it are kept between calls. */
struct ls_str pgsrc_position_print(struct pgsrc_position *position, uint64_t lsn, struct ls_arena *arena);

/* pgsrc_position_table notes how far a table is: takes the value. */
void pgsrc_position_table(struct pgsrc_position *position, const char *label, json_t *value);

/* pgsrc_position_all_read: every table was read to its end. */
bool pgsrc_position_all_read(const struct pgsrc_position *position);

/* pgsrc_position_round adds a round. LS_FATAL: too many. */
enum ls_class pgsrc_position_round(struct pgsrc_position *position, struct pgsrc_round round, struct ls_error *err);

/* pgsrc_position_see notes how far a partition was applied; next_offset LS_NONE: forgets it.
 * pgsrc_position_seen finds it again; leaves the numbers alone where nothing is known. */
void pgsrc_position_see(struct pgsrc_position *position, const char *topic, int32_t partition, int64_t next_offset,
			int64_t max_version);
void pgsrc_position_seen(const struct pgsrc_position *position, const char *topic, int32_t partition,
			 int64_t *ret_next_offset, int64_t *ret_max_version);

/* pgsrc_position_log sets a member of log: takes the value. */
void pgsrc_position_log(struct pgsrc_position *position, const char *name, json_t *value);

/* pgsrc_position_set_member notes as which table of the publication a table is known, "": not any more.
 * pgsrc_position_member returns that, NULL: not known. */
void pgsrc_position_set_member(struct pgsrc_position *position, const char *label, const char *token);
const char *pgsrc_position_member(const struct pgsrc_position *position, const char *label);

/* pgsrc_position_forget takes a table out that is captured no more: what happens to it meanwhile is not seen. */
void pgsrc_position_forget(struct pgsrc_position *position, const char *label);

/* pgsrc_position_restart: the log goes on from `lsn` (0: from where a new slot begins) with something missing before
 * it, so that nothing is known of what was seen. Tables and rounds stay. */
void pgsrc_position_restart(struct pgsrc_position *position, uint64_t lsn);

/* pgsrc_position_floor returns the highest version of the rounds at or before lsn, or LS_NONE. */
int64_t pgsrc_position_floor(const struct pgsrc_position *position, uint64_t lsn);

/* pgsrc_position_pass forgets the rounds at or before lsn. */
void pgsrc_position_pass(struct pgsrc_position *position, uint64_t lsn);
