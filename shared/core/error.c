/* Filling errors. Texts are cut at their size, never inside a UTF-8 character. */
#include "lockstep/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Copies text into out, cut on a character border: no lead byte without all of its followers stays at the end. */
static void copy_cut(char *out, size_t size, const char *text)
{
	size_t len = strnlen(text, size);

	if (len == size) {
		len = size - 1;
		while (len && ((unsigned char)text[len] & 0xC0) == 0x80)
			len--;
	}
	memcpy(out, text, len);
	out[len] = '\0';
}

enum ls_class ls_fail(struct ls_error *err, enum ls_class class, const char *code, const char *fmt, ...)
{
	char text[sizeof(err->text) +
		  4]; /* the arguments may be err's own text; 4: to see the character at the border */
	va_list args;

	va_start(args, fmt);
	if (vsnprintf(text, sizeof(text), fmt, args) < 0)
		text[0] = '\0';
	va_end(args);
	err->class = class;
	copy_cut(err->code, sizeof(err->code), code && *code ? code : ls_class_name(class));
	copy_cut(err->text, sizeof(err->text), text);
	return class;
}

enum ls_class ls_fail_in(struct ls_error *err, const char *fmt, ...)
{
	char text[2 * sizeof(err->text) + 4];
	va_list args;
	size_t len;

	va_start(args, fmt);
	if (vsnprintf(text, sizeof(err->text), fmt, args) < 0)
		text[0] = '\0';
	va_end(args);
	len = strlen(text);
	snprintf(text + len, sizeof(text) - len, ": %s", err->text);
	copy_cut(err->text, sizeof(err->text), text);
	return err->class;
}

const char *ls_class_name(enum ls_class class)
{
	static const char *const name[] = {
		[LS_OK] = "ok",         [LS_RETRY] = "retry", [LS_POISON] = "poison",
		[LS_FENCED] = "fenced", [LS_AUTH] = "auth",   [LS_FATAL] = "fatal",
	};

	return (size_t) class < sizeof(name) / sizeof(name[0]) ? name[class] : "unknown";
}
