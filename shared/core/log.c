/* Structured log: each line is built in one buffer under the lock and leaves by one write. Values are masked before
 * they are escaped or cut, so that no part of a secret is left over. */
#include "core/log.h"
#include "core/buf.h"
#include "core/time.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_VALUE = 4000, MAX_LINE = 16000, MAX_INPUT = 1 << 20 };

struct ls_log {
	pthread_mutex_t lock;
	int fd;
	bool json;
	enum ls_log_level least;
	struct ls_buf line, masked;
	char **secret;
	size_t secret_count;
};

struct ls_log *ls_log_new(int fd, bool json, enum ls_log_level least)
{
	struct ls_log *log = calloc(1, sizeof(*log));

	if (!log)
		abort();
	pthread_mutex_init(&log->lock, NULL);
	log->fd = fd;
	log->json = json;
	log->least = least;
	ls_buf_init(&log->line, MAX_LINE * 2);
	ls_buf_init(&log->masked, MAX_INPUT * 4);
	return log;
}

struct ls_log *ls_log_free(struct ls_log *log)
{
	if (!log)
		return NULL;
	for (size_t i = 0; i < log->secret_count; i++) {
		explicit_bzero(log->secret[i], strlen(log->secret[i]));
		free(log->secret[i]);
	}
	free(log->secret);
	ls_buf_release(&log->line);
	ls_buf_release(&log->masked);
	pthread_mutex_destroy(&log->lock);
	free(log);
	return NULL;
}

void ls_log_secret(struct ls_log *log, const char *secret)
{
	char **grown, *copy;

	if (!secret || !*secret)
		return;
	copy = strdup(secret);
	pthread_mutex_lock(&log->lock);
	grown = reallocarray(log->secret, log->secret_count + 1, sizeof(*grown));
	if (!copy || !grown)
		abort();
	grown[log->secret_count++] = copy;
	log->secret = grown;
	pthread_mutex_unlock(&log->lock);
}

/* Length of the longest secret that starts at text[0]; 0: none. */
static size_t secret_at(const struct ls_log *log, const char *text)
{
	size_t longest = 0;

	for (size_t i = 0; i < log->secret_count; i++) {
		size_t len = strlen(log->secret[i]);

		if (len > longest && !strncmp(text, log->secret[i], len))
			longest = len;
	}
	return longest;
}

/* text with every secret replaced; the buffer's until the next call. */
static struct ls_str mask(struct ls_log *log, const char *text)
{
	size_t len = strnlen(text, MAX_INPUT);

	if (!log->secret_count)
		return (struct ls_str){ text, len };
	ls_buf_clear(&log->masked);
	for (size_t at = 0; at < len && log->masked.len < MAX_VALUE * 2;) {
		size_t secret = secret_at(log, text + at);

		if (secret)
			ls_buf_add_text(&log->masked, "***");
		else
			ls_buf_add_char(&log->masked, text[at]);
		at += secret ? secret : 1;
	}
	return ls_buf_str(&log->masked);
}

/* Length of the UTF-8 character at text, 0 when there is none (RFC 3629, section 4). */
static size_t character(const unsigned char *text, size_t left)
{
	unsigned char lead = text[0];
	size_t len = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;

	if (!len || len > left)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((text[i] & 0xC0) != 0x80)
			return 0;
	}
	if ((lead == 0xE0 && text[1] < 0xA0) || (lead == 0xED && text[1] > 0x9F) || (lead == 0xF0 && text[1] < 0x90) ||
	    (lead == 0xF4 && text[1] > 0x8F))
		return 0;
	return len;
}

static void add_quoted(struct ls_buf *line, struct ls_str text)
{
	size_t start = line->len;

	ls_buf_add_char(line, '"');
	for (size_t at = 0; at < text.len;) {
		unsigned char c = (unsigned char)text.ptr[at];
		size_t len = character((const unsigned char *)text.ptr + at, text.len - at);

		if (line->len - start > MAX_VALUE) {
			ls_buf_add_text(line, "...");
			break;
		}
		if (!len)
			ls_buf_add_text(line, "\xEF\xBF\xBD"); /* not UTF-8: the replacement character */
		else if (c == '"' || c == '\\')
			ls_buf_printf(line, "\\%c", c);
		else if (c == '\n')
			ls_buf_add_text(line, "\\n");
		else if (c < 0x20 || c == 0x7F)
			ls_buf_printf(line, "\\u%04x", c);
		else
			ls_buf_add(line, text.ptr + at, len);
		at += len ? len : 1;
	}
	ls_buf_add_char(line, '"');
}

/* A logfmt value may stand without quotes when a reader cannot mistake it. */
static bool is_plain(struct ls_str text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c <= ' ' || c >= 0x7F || c == '"' || c == '=' || c == '\\')
			return false;
	}
	return text.len > 0 && text.len < MAX_VALUE;
}

static void add_name(struct ls_log *log, const char *name)
{
	if (log->json)
		ls_buf_printf(&log->line, "%c\"%s\":", log->line.len ? ',' : '{', name);
	else
		ls_buf_printf(&log->line, "%s%s=", log->line.len ? " " : "", name);
}

static void add_text(struct ls_log *log, const char *name, const char *value)
{
	struct ls_str text = mask(log, value);

	add_name(log, name);
	if (!log->json && is_plain(text))
		ls_buf_add_str(&log->line, text);
	else
		add_quoted(&log->line, text);
}

static void add_number(struct ls_log *log, const char *name, int64_t number)
{
	add_name(log, name);
	ls_buf_printf(&log->line, "%lld", (long long)number);
}

static void add_fields(struct ls_log *log, const struct ls_log_field *field, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (log->line.len > MAX_LINE - MAX_VALUE) {
			add_number(log, "fields_cut", (int64_t)(count - i));
			return;
		}
		if (field[i].text)
			add_text(log, field[i].name, field[i].text);
		else
			add_number(log, field[i].name, field[i].number);
	}
}

static void write_all(int fd, const char *ptr, size_t len)
{
	while (len) {
		ssize_t done = write(fd, ptr, len);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return; /* nobody reads the log: the work goes on */
		ptr += done;
		len -= (size_t)done;
	}
}

void ls_log_line(struct ls_log *log, enum ls_log_level level, const char *lane, const char *msg,
		 const struct ls_log_field *field, size_t count)
{
	static const char *const name[] = { "debug", "info", "warn", "error" };
	char now[25];

	if (!log || level < log->least)
		return;
	ls_time_format(ls_now_us(), now);
	pthread_mutex_lock(&log->lock);
	ls_buf_clear(&log->line);
	add_text(log, "ts", now);
	add_text(log, "level", name[level]);
	if (lane)
		add_text(log, "lane", lane);
	add_text(log, "msg", msg);
	add_fields(log, field, count);
	ls_buf_add_text(&log->line, log->json ? "}\n" : "\n");
	write_all(log->fd, log->line.ptr, log->line.len);
	pthread_mutex_unlock(&log->lock);
}

void ls_log_error(struct ls_log *log, enum ls_log_level level, const char *lane, const struct ls_error *err,
		  const char *next)
{
	const struct ls_log_field field[] = {
		LS_F("class", ls_class_name(err->class)),
		LS_F("code", err->code),
		LS_F("next", next ? next : ""),
	};

	ls_log_line(log, level, lane, err->text, field, next && *next ? 3 : 2);
}
