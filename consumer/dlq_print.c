/* The printing of dead letters: see dlq_print.h. */
#include "dlq_print.h"

#include "core/buf.h"
#include "core/time.h"
#include "core/json.h"

#include <stdlib.h>

enum { COLUMNS = 6, MOST = 48 };

json_t *ls_dead_text(struct ls_str view)
{
	json_t *made = view.len ? json_stringn(view.ptr, view.len) : json_string("");
	char *text;
	struct ls_buf buf;

	if (made)
		return made;
	text = strndup(view.ptr, view.len);
	if (!text)
		abort();
	ls_buf_init(&buf, 16 << 20);
	ls_json_add_text(&buf, text);
	made = json_loadb(buf.ptr, buf.len, JSON_DECODE_ANY, NULL);
	ls_buf_release(&buf);
	free(text);
	return made ? made : json_string("");
}

static json_t *place(const struct ls_dead_letter *letter, int64_t number)
{
	return letter->topic.len ? json_integer((json_int_t)number) : json_null();
}

json_t *ls_dead_json(const struct ls_dead_letter *letter)
{
	json_t *object = json_object();
	char time[25];

	ls_time_format(letter->time_us, time);
	json_object_set_new(object, "id", ls_dead_text(letter->id));
	json_object_set_new(object, "owner", ls_dead_text(letter->owner));
	json_object_set_new(object, "side", json_string(letter->capture ? "capture" : "sink"));
	json_object_set_new(object, "topic", letter->topic.len ? ls_dead_text(letter->topic) : json_null());
	json_object_set_new(object, "partition", place(letter, letter->partition));
	json_object_set_new(object, "offset", place(letter, letter->offset));
	json_object_set_new(object, "key", ls_dead_text(letter->key));
	json_object_set_new(object, "code", ls_dead_text(letter->code));
	json_object_set_new(object, "reason", ls_dead_text(letter->reason));
	json_object_set_new(object, "bytes", json_integer((json_int_t)letter->bytes));
	json_object_set_new(object, "retries", json_integer((json_int_t)letter->retries));
	json_object_set_new(object, "can_retry", json_boolean(!letter->capture && letter->topic.len));
	json_object_set_new(object, "time", json_string(time));
	if (letter->capture) {
		json_object_set_new(object, "source", ls_dead_text(letter->source));
		json_object_set_new(object, "entity", ls_dead_text(letter->entity));
		json_object_set_new(object, "event_id", ls_dead_text(letter->event_id));
	}
	return object;
}

/* ---- the table ---- */

/* One cell as it may go to a terminal: no control characters, no broken UTF-8, at most `most` bytes. */
static char *cell(struct ls_str view, size_t most, char *out, size_t size)
{
	json_t *clean = ls_dead_text(view);
	const char *text = json_string_value(clean);
	size_t len = strlen(text), n = 0;

	if (most > size - 4)
		most = size - 4;
	for (size_t i = 0; i < len && n < most; i++)
		out[n++] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
	if (n < len) {
		while (n && ((unsigned char)text[n] & 0xC0) == 0x80)
			n--; /* cut between characters, not in one */
		memcpy(out + n, "...", 3);
		n += 3;
	}
	out[n] = 0;
	json_decref(clean);
	return out;
}

static int characters(const char *text)
{
	int count = 0;

	for (; *text; text++)
		count += ((unsigned char)*text & 0xC0) != 0x80;
	return count;
}

static struct ls_str field(const struct ls_dead_letter *letter, int column, char time[25])
{
	switch (column) {
	case 0:
		ls_time_format(letter->time_us, time);
		return ls_str_of(time);
	case 1:
		return letter->owner;
	case 2:
		return letter->id;
	case 3:
		return letter->key;
	case 4:
		return letter->code;
	default:
		return letter->reason;
	}
}

/* The id is what the other commands take: it is never cut. */
static size_t most_of(int column)
{
	return column == 2 || column == 5 ? 2000 : MOST;
}

static void print_row(const struct ls_dead_letter *letter, const int width[COLUMNS], int columns, FILE *out)
{
	char time[25], text[2048];
	int left = columns;

	for (int c = 0; c < COLUMNS; c++) {
		bool last = c == COLUMNS - 1;
		size_t most = last && columns > 0 ? (size_t)(left > 23 ? left - 3 : 20) : most_of(c);
		int used;

		cell(field(letter, c, time), most, text, sizeof text);
		used = characters(text);
		fprintf(out, "%s%*s", text, last || used > width[c] ? 0 : width[c] - used, "");
		fputs(last ? "\n" : "  ", out);
		left -= (used > width[c] ? used : width[c]) + 2;
	}
}

void ls_dead_table(const struct ls_dead_letter *const *letter, size_t count, int columns, FILE *out)
{
	static const char *const head[COLUMNS] = { "time", "owner", "id", "key", "code", "reason" };
	int width[COLUMNS] = { 24, 5, 2, 3, 4, 6 };
	char time[25], text[2048];

	for (size_t i = 0; i < count; i++)
		for (int c = 0; c < COLUMNS - 1; c++) {
			int used = characters(cell(field(letter[i], c, time), most_of(c), text, sizeof text));

			width[c] = used > width[c] ? used : width[c];
		}
	for (int c = 0; c < COLUMNS - 1; c++)
		fprintf(out, "%-*s  ", width[c], head[c]);
	fprintf(out, "%s\n", head[COLUMNS - 1]);
	for (size_t i = 0; i < count; i++)
		print_row(letter[i], width, columns, out);
}
