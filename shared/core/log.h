/* Structured log on stderr, logfmt or JSON, one line per fact. Lanes and commands log; libraries return errors.
 * Never row data, never a secret. */
#pragma once

#include "lockstep/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ls_log_level { LS_LOG_DEBUG, LS_LOG_INFO, LS_LOG_WARN, LS_LOG_ERROR };

struct ls_log; /* thread-safe */

struct ls_log *ls_log_new(int fd, bool json, enum ls_log_level least);
struct ls_log *ls_log_free(struct ls_log *log);

/* ls_log_secret: from now on this text is printed as *** wherever it would appear in a line. Copied. */
void ls_log_secret(struct ls_log *log, const char *secret);

/* A field of a line. Made by LS_F / LS_N, ended by LS_END. */
struct ls_log_field {
	const char *name;
	const char *text; /* NULL: a number */
	int64_t number;
};
#define LS_F(name, text)   ((struct ls_log_field){ (name), (text), 0 })
#define LS_N(name, number) ((struct ls_log_field){ (name), NULL, (int64_t)(number) })

/* ls_log_line writes ts, level, lane (NULL: left out), msg, then the fields. */
void ls_log_line(struct ls_log *log, enum ls_log_level level, const char *lane, const char *msg,
		 const struct ls_log_field *field, size_t count);
#define LS_LOG(log, level, lane, msg, ...)                                                                             \
	ls_log_line((log), (level), (lane), (msg), (const struct ls_log_field[]){ __VA_ARGS__ },                       \
		    sizeof((const struct ls_log_field[]){ __VA_ARGS__ }) / sizeof(struct ls_log_field))

/* ls_log_error writes an error with class, code and what happens next ("retry in 800 ms"). */
void ls_log_error(struct ls_log *log, enum ls_log_level level, const char *lane, const struct ls_error *err,
		  const char *next);
