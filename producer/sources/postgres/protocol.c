/* Decoding of replication messages through a cursor that looks before it moves. */
#include "sources/postgres/protocol.h"

#include <stdio.h>

/* Microseconds between 1970 and 2000, where PostgreSQL starts to count. */
static const int64_t epoch_us = 946684800LL * 1000000;

struct cursor {
	const char *ptr;
	size_t left;
};

static bool read_bytes(struct cursor *cur, size_t len, struct ls_str *ret)
{
	if (cur->left < len)
		return false;
	*ret = (struct ls_str){ cur->ptr, len };
	cur->ptr += len;
	cur->left -= len;
	return true;
}

static bool read_number(struct cursor *cur, size_t len, uint64_t *ret)
{
	struct ls_str bytes;
	uint64_t number = 0;

	if (!read_bytes(cur, len, &bytes))
		return false;
	for (size_t i = 0; i < len; i++)
		number = number << 8 | (unsigned char)bytes.ptr[i];
	*ret = number;
	return true;
}

static bool read_u32(struct cursor *cur, uint32_t *ret)
{
	uint64_t number;

	if (!read_number(cur, 4, &number))
		return false;
	*ret = (uint32_t)number;
	return true;
}

static bool read_char(struct cursor *cur, char *ret)
{
	struct ls_str byte;

	if (!read_bytes(cur, 1, &byte))
		return false;
	*ret = byte.ptr[0];
	return true;
}

static bool read_time(struct cursor *cur, int64_t *ret_us)
{
	uint64_t number;

	if (!read_number(cur, 8, &number))
		return false;
	*ret_us = (int64_t)(number + (uint64_t)epoch_us);
	return true;
}

static bool read_string(struct cursor *cur, struct ls_str *ret)
{
	const char *end = cur->left ? memchr(cur->ptr, 0, cur->left) : NULL;
	struct ls_str skipped;

	if (!end)
		return false;
	*ret = (struct ls_str){ cur->ptr, (size_t)(end - cur->ptr) };
	return read_bytes(cur, ret->len + 1, &skipped);
}

static bool read_count(struct cursor *cur, size_t *ret)
{
	uint64_t number;

	if (!read_number(cur, 2, &number) || number > LS_MAX_COLUMNS)
		return false;
	*ret = (size_t)number;
	return true;
}

static bool read_cell(struct cursor *cur, struct pgout_cell *cell)
{
	uint32_t len;

	if (!read_char(cur, &cell->status))
		return false;
	cell->text = (struct ls_str){ 0 };
	if (cell->status == 'n' || cell->status == 'u')
		return true;
	return cell->status == 't' && read_u32(cur, &len) && read_bytes(cur, len, &cell->text);
}

static bool read_tuple(struct cursor *cur, struct pgout_cell *cell, size_t *ret_count)
{
	size_t count;

	if (!read_count(cur, &count))
		return false;
	for (size_t i = 0; i < count; i++)
		if (!read_cell(cur, &cell[i]))
			return false;
	*ret_count = count;
	return true;
}

static bool read_relation(struct cursor *cur, struct pgout_message *ret)
{
	size_t count;

	if (!read_u32(cur, &ret->relation) || !read_string(cur, &ret->schema) || !read_string(cur, &ret->name) ||
	    !read_char(cur, &ret->identity) || !read_count(cur, &count))
		return false;
	for (size_t i = 0; i < count; i++) {
		struct pgout_column *column = &ret->column[i];
		char flags;
		uint32_t typmod;

		if (!read_char(cur, &flags) || !read_string(cur, &column->name) || !read_u32(cur, &column->type) ||
		    !read_u32(cur, &typmod))
			return false;
		column->identity = flags & 1;
		column->typmod = (int32_t)typmod;
	}
	/* An empty schema name stands for pg_catalog. */
	if (ret->schema.len == 0)
		ret->schema = LS_STR("pg_catalog");
	ret->column_count = count;
	return true;
}

static bool read_insert(struct cursor *cur, struct pgout_message *ret)
{
	char kind;

	return read_u32(cur, &ret->relation) && read_char(cur, &kind) && kind == 'N' &&
	       read_tuple(cur, ret->new_cell, &ret->new_count);
}

static bool read_update(struct cursor *cur, struct pgout_message *ret)
{
	char kind;

	if (!read_u32(cur, &ret->relation) || !read_char(cur, &kind))
		return false;
	if (kind == 'K' || kind == 'O') {
		ret->old_kind = kind;
		if (!read_tuple(cur, ret->old_cell, &ret->old_count) || !read_char(cur, &kind))
			return false;
	}
	return kind == 'N' && read_tuple(cur, ret->new_cell, &ret->new_count);
}

static bool read_delete(struct cursor *cur, struct pgout_message *ret)
{
	return read_u32(cur, &ret->relation) && read_char(cur, &ret->old_kind) &&
	       (ret->old_kind == 'K' || ret->old_kind == 'O') && read_tuple(cur, ret->old_cell, &ret->old_count);
}

static bool read_truncate(struct cursor *cur, struct pgout_message *ret)
{
	uint32_t count;
	char options;

	if (!read_u32(cur, &count) || !read_char(cur, &options) || cur->left / 4 < count)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t relation;

		if (!read_u32(cur, &relation))
			return false;
		if (ret->truncated < LS_MAX_COLUMNS)
			ret->truncate[ret->truncated++] = relation;
	}
	return true;
}

static bool read_begin(struct cursor *cur, struct pgout_message *ret)
{
	return read_number(cur, 8, &ret->lsn) && read_time(cur, &ret->time_us) && read_u32(cur, &ret->xid);
}

static bool read_commit(struct cursor *cur, struct pgout_message *ret)
{
	char flags;

	return read_char(cur, &flags) && read_number(cur, 8, &ret->lsn) && read_number(cur, 8, &ret->end_lsn) &&
	       read_time(cur, &ret->time_us);
}

bool pgout_read(struct ls_str bytes, struct pgout_message *ret)
{
	struct cursor cur = { bytes.ptr, bytes.len };
	char kind;

	if (!read_char(&cur, &kind))
		return false;
	ret->kind = (enum pgout_kind)(unsigned char)kind;
	ret->old_kind = 0;
	ret->old_count = ret->new_count = ret->column_count = ret->truncated = 0;
	switch (kind) {
	case 'B':
		return read_begin(&cur, ret);
	case 'C':
		return read_commit(&cur, ret);
	case 'O':
		return read_number(&cur, 8, &ret->lsn) && read_string(&cur, &ret->name);
	case 'R':
		return read_relation(&cur, ret);
	case 'Y':
		return read_u32(&cur, &ret->relation) && read_string(&cur, &ret->schema) &&
		       read_string(&cur, &ret->name);
	case 'I':
		return read_insert(&cur, ret);
	case 'U':
		return read_update(&cur, ret);
	case 'D':
		return read_delete(&cur, ret);
	case 'T':
		return read_truncate(&cur, ret);
	case 'M':
		return true;
	default:
		return false;
	}
}

bool pgout_frame_read(struct ls_str bytes, struct pgout_frame *ret)
{
	struct cursor cur = { bytes.ptr, bytes.len };
	struct pgout_frame frame = { 0 };
	uint64_t start, sent_at;
	char kind, reply = 0;

	if (!read_char(&cur, &kind))
		return false;
	if (kind == 'k') {
		if (!read_number(&cur, 8, &frame.wal_end) || !read_number(&cur, 8, &sent_at) ||
		    !read_char(&cur, &reply))
			return false;
		frame.keepalive = true;
		frame.reply = reply != 0;
	} else if (kind == 'w') {
		if (!read_number(&cur, 8, &start) || !read_number(&cur, 8, &frame.wal_end) ||
		    !read_number(&cur, 8, &sent_at))
			return false;
		frame.payload = (struct ls_str){ cur.ptr, cur.left };
	} else {
		return false;
	}
	*ret = frame;
	return true;
}

static void put_u64(char *out, uint64_t number)
{
	for (int i = 7; i >= 0; i--, number >>= 8)
		out[i] = (char)(number & 0xff);
}

void pgout_status(char out[PGOUT_STATUS], uint64_t written, uint64_t flushed, int64_t now_us, bool reply)
{
	out[0] = 'r';
	put_u64(out + 1, written);
	put_u64(out + 9, flushed);
	put_u64(out + 17, flushed);
	put_u64(out + 25, (uint64_t)(now_us - epoch_us));
	out[33] = reply;
}

char *pgout_lsn_print(uint64_t lsn, char out[PGOUT_LSN])
{
	(void)snprintf(out, PGOUT_LSN, "%X/%X", (unsigned int)(lsn >> 32), (unsigned int)(lsn & 0xffffffff));
	return out;
}

static bool read_hex(const char **at, const char *end, uint64_t *ret)
{
	const char *start = *at;
	uint64_t number = 0;

	for (; *at < end && *at - start < 8; (*at)++) {
		char c = **at;
		unsigned int digit;

		if (c >= '0' && c <= '9')
			digit = (unsigned int)(c - '0');
		else if (c >= 'A' && c <= 'F')
			digit = (unsigned int)(c - 'A') + 10;
		else if (c >= 'a' && c <= 'f')
			digit = (unsigned int)(c - 'a') + 10;
		else
			break;
		number = number << 4 | digit;
	}
	*ret = number;
	return *at > start;
}

bool pgout_lsn_parse(struct ls_str text, uint64_t *ret)
{
	const char *at = text.ptr, *end = text.ptr + text.len;
	uint64_t high, low;

	if (!text.len || !read_hex(&at, end, &high) || at == end || *at++ != '/' || !read_hex(&at, end, &low) ||
	    at != end)
		return false;
	*ret = high << 32 | low;
	return true;
}
