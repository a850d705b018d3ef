/* What went wrong, and what kind of wrong it is: the class decides who acts, the text is for a person. */
#pragma once

#define LS_MUST_USE          __attribute__((warn_unused_result))
#define LS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum ls_class {
	LS_OK = 0,
	LS_RETRY,  /* the same input may succeed later: back off, keep polling, try again */
	LS_POISON, /* this one event can never succeed: dead letter, go on */
	LS_FENCED, /* another instance owns it now: drop state, wait to be given it again */
	LS_AUTH,   /* a credential was refused: stop this lane, the others go on */
	LS_FATAL,  /* configuration, a bug, or a guarantee lost: stop */
};

/* A value on the caller's stack. It is the last parameter, never NULL, untouched on LS_OK. */
struct ls_error {
	enum ls_class class;
	char code[32];  /* SQLSTATE, HTTP status or Kafka error name; never empty after ls_fail */
	char text[480]; /* whole sentence: what, which source, destination, entity or offset, what to do */
};

/* ls_fail fills err (text is cut at its size, on a character border) and returns class, so that a
 * failing function ends in `return ls_fail(err, LS_RETRY, "08006", "...", ...);`. */
enum ls_class ls_fail(struct ls_error *err, enum ls_class class, const char *code, const char *fmt, ...)
	LS_PRINTF(4, 5);

/* ls_fail_in puts "where: " before the text that err already has. Returns err->class. */
enum ls_class ls_fail_in(struct ls_error *err, const char *fmt, ...) LS_PRINTF(2, 3);

/* ls_class_name returns "ok", "retry", "poison", "fenced", "auth" or "fatal". */
const char *ls_class_name(enum ls_class class);
