/* Edit distance with neighbours swapped as one edit: "tabels" is one away from "tables". */
#include "config/near.h"

#include <stdio.h>
#include <string.h>

static size_t least(size_t a, size_t b, size_t c)
{
	size_t d = a < b ? a : b;

	return d < c ? d : c;
}

/* Three rows are enough: a swap looks two rows back. Both words are shorter than LS_NEAR_WORD. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t row[3][LS_NEAR_WORD + 1];

	for (size_t j = 0; j <= b_len; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			now[j] = least(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < now[j])
				now[j] = before[j - 2] + 1;
		}
	}
	return row[a_len % 3][b_len];
}

void ls_near_init(struct ls_near *near, const char *word)
{
	size_t len = strlen(word);

	near->word = word;
	near->best = NULL;
	near->distance = len < 4 ? 2 : len / 3 + 2;
}

void ls_near_offer(struct ls_near *near, const char *known)
{
	size_t len = strlen(near->word), known_len = strlen(known), d;

	if (len == 0 || len > LS_NEAR_WORD || known_len > LS_NEAR_WORD)
		return;
	d = distance(near->word, len, known, known_len);
	if (d < near->distance && d < len) {
		near->distance = d;
		near->best = known;
	}
}

const char *ls_near_hint(const struct ls_near *near, char out[LS_NEAR_HINT])
{
	out[0] = 0;
	if (near->best)
		snprintf(out, LS_NEAR_HINT, " (did you mean \"%s\"?)", near->best);
	return out;
}
