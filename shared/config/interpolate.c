/* ${env:NAME} and ${file:PATH} inside scalars. What they bring in is never printed. */
#include "config/reader.h"
#include "core/buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct place {
	struct ls_reader *reader;
	const struct ls_node *at;
	const char *path;
};

static bool add_env(const struct place *place, const char *name, struct ls_buf *out)
{
	const char *value = getenv(name);

	if (!value)
		ls_mistake_add(place->reader, place->at, place->path, "environment variable \"%s\" is not set", name);
	else
		ls_buf_add_text(out, value);
	return value;
}

/* A path that does not start with a slash is beside the configuration file, wherever the command was started. */
static const char *beside(const struct place *place, const char *name)
{
	const char *slash = strrchr(place->reader->file, '/');

	if (name[0] == '/' || !slash)
		return name;
	return ls_arena_printf(place->reader->arena, "%.*s/%s", (int)(slash - place->reader->file), place->reader->file,
			       name)
		.ptr;
}

static bool read_all(FILE *file, char *bytes, size_t *ret_len)
{
	size_t len = fread(bytes, 1, LS_CONFIG_MAX_BYTES + 1, file);

	if (ferror(file))
		return false;
	if (len > LS_CONFIG_MAX_BYTES || memchr(bytes, 0, len)) {
		errno = len > LS_CONFIG_MAX_BYTES ? EFBIG : EILSEQ;
		return false;
	}
	*ret_len = len;
	return true;
}

/* The line end that editors and echo put at the end of a file is no part of a secret. */
static bool add_file(const struct place *place, const char *name, struct ls_buf *out)
{
	FILE *file = fopen(beside(place, name), "re");
	char *bytes = malloc(LS_CONFIG_MAX_BYTES + 1);
	size_t len = 0;
	bool ok = file && bytes && read_all(file, bytes, &len);

	if (!ok)
		ls_mistake_add(place->reader, place->at, place->path, "file \"%s\" cannot be read: %s", name,
			       strerror(errno));
	while (ok && len > 0 && (bytes[len - 1] == '\n' || bytes[len - 1] == '\r'))
		len--;
	if (ok)
		ls_buf_add(out, bytes, len);
	free(bytes);
	if (file)
		fclose(file);
	return ok;
}

static bool add_reference(const struct place *place, struct ls_str inside, struct ls_buf *out)
{
	const char *text = ls_arena_str(place->reader->arena, inside).ptr;

	if (strncmp(text, "env:", 4) == 0 && text[4])
		return add_env(place, text + 4, out);
	if (strncmp(text, "file:", 5) == 0 && text[5])
		return add_file(place, text + 5, out);
	ls_mistake_add(place->reader, place->at, place->path,
		       "\"${%.60s}\" is not known: write ${env:NAME} or ${file:/path}, and $${ for a plain ${", text);
	return false;
}

static bool expand(const struct place *place, const char *text, struct ls_buf *out, bool *changed)
{
	while (*text) {
		const char *end;

		if (strncmp(text, "$${", 3) == 0) {
			ls_buf_add_text(out, "${");
			text += 3;
		} else if (strncmp(text, "${", 2) == 0) {
			end = strchr(text, '}');
			if (!end) {
				ls_mistake_add(place->reader, place->at, place->path, "\"${\" has no \"}\"");
				return false;
			}
			if (!add_reference(place, (struct ls_str){ text + 2, (size_t)(end - text - 2) }, out))
				return false;
			*changed = true;
			text = end + 1;
		} else {
			ls_buf_add_char(out, *text++);
		}
	}
	return true;
}

const char *ls_interpolate(struct ls_reader *reader, const struct ls_node *at, const char *path, const char *text,
			   bool *ret_changed)
{
	struct place place = { reader, at, path };
	const char *result = NULL;
	bool changed = false;
	struct ls_buf out;

	if (!strstr(text, "${")) {
		*ret_changed = false;
		return text;
	}
	ls_buf_init(&out, 2 * LS_CONFIG_MAX_BYTES);
	if (expand(&place, text, &out, &changed)) {
		if (out.full)
			ls_mistake_add(reader, at, path, "the value is longer than %d bytes", 2 * LS_CONFIG_MAX_BYTES);
		else
			result = ls_arena_str(reader->arena, ls_buf_str(&out)).ptr;
	}
	ls_buf_release(&out);
	*ret_changed = changed;
	return result;
}
