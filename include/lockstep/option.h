/* One row per option: parsing, checking, `lockstep options`, `--help` and the docs' tables all come from it. */
#pragma once

#include "lockstep/str.h"

#include <stdint.h>

enum ls_option_type {
	LS_OPT_STRING,   /* char *, owned by the options struct */
	LS_OPT_SECRET,   /* char *; printed as *** everywhere */
	LS_OPT_INT,      /* int64_t; lo..hi inclusive */
	LS_OPT_BOOL,     /* bool */
	LS_OPT_CHOICE,   /* int: index into choices, a |-separated list */
	LS_OPT_DURATION, /* int64_t milliseconds; written 500ms, 5s, 10m, 7d or a bare number in `unit` */
};

struct ls_option {
	const char *name;
	enum ls_option_type type;
	const char *fallback; /* default as it would be written; NULL: required; "": unset (NULL string, 0, false) */
	size_t offset;        /* offsetof into the kind's own options struct */
	const char *help;     /* one line, lower case, no final stop */
	int64_t lo, hi;       /* LS_OPT_INT and LS_OPT_DURATION (ms); 0,0: unbounded */
	const char *choices;  /* LS_OPT_CHOICE: "full|offsets" */
	const char *unit;     /* LS_OPT_DURATION: unit of a bare number, "ms", "s", "m", "h" or "d" */
};
