/* Every kind of value: PostgreSQL's text to Avro and back, against what fastavro makes of it (fixtures/avro). */
#include "avro/codec.h"
#include "avro_store.h"
#include "core/arena.h"
#include "core/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const char *const KIND[] = { "bool",    "int32",     "int64",       "float32", "float64", "decimal",
				    "numeric", "string",    "bytes",       "uuid",    "json",    "date",
				    "time",    "timestamp", "timestamptz", "array" };

static enum ls_kind kind_of(const char *name)
{
	for (size_t i = 0; i < sizeof(KIND) / sizeof(*KIND); i++)
		if (!strcmp(name, KIND[i]))
			return (enum ls_kind)i;
	return LS_BOOL;
}

/* unquote undoes \\, \t and \n in place. */
static void unquote(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (*text == '\\' && *++text != '\\')
			*to++ = *text == 't' ? '\t' : '\n';
		else
			*to++ = *text;
	}
	*to = 0;
}

static size_t unhex(char *text)
{
	size_t len = strlen(text) / 2;

	for (size_t i = 0; i < len; i++) {
		const char two[] = { text[2 * i], text[2 * i + 1], 0 };

		text[i] = (char)strtoul(two, NULL, 16);
	}
	return len;
}

struct line {
	struct ls_column column;
	struct ls_schema schema;
	struct ls_value value;
	struct ls_event event;
	struct ls_str bytes;
};

static bool parse(char *text, struct line *line)
{
	char *field[7];

	text[strcspn(text, "\n")] = 0;
	for (int i = 0; i < 7; i++)
		field[i] = strsep(&text, "\t");
	if (field[0][0] == '#')
		return false;
	unquote(field[5]);
	line->column = (struct ls_column){
		.name = LS_STR("v"),
		.type = { .kind = kind_of(field[0]),
			  .item = kind_of(field[1]),
			  .precision = (int)strtol(field[2], NULL, 10),
			  .scale = (int)strtol(field[3], NULL, 10),
			  .native = ls_str_of(field[4]) },
	};
	line->schema = (struct ls_schema){ LS_STR("thing"), &line->column, 1 };
	line->value = (struct ls_value){ LS_PRESENT, ls_str_of(field[5]) };
	line->bytes = (struct ls_str){ field[6], unhex(field[6]) };
	line->event = (struct ls_event){
		.event_id = LS_STR("e1"),
		.source = LS_STR("s"),
		.entity = LS_STR("thing"),
		.entity_id = LS_STR("1"),
		.change = LS_UPDATE,
		.timestamp_us = 1700000000000000,
		.version = 7,
		.base_version = LS_NONE,
		.base_offset = LS_NONE,
		.after = { &line->schema, &line->value },
	};
	return true;
}

static void check_type(const struct ls_type *want, const struct ls_type *have)
{
	assert_int_equal(have->kind, want->kind);
	assert_int_equal(have->item, want->item);
	assert_int_equal(have->precision, want->precision);
	assert_int_equal(have->scale, want->scale);
	assert_true(ls_str_equal(have->native, want->native));
}

/* check_line returns false, having said why, when one value does not survive. */
static bool check_line(struct ls_arena *arena, const struct line *line)
{
	/* of its own: fingerprints leave logical types out, so that many of these schemas have the same one */
	struct ls_schemas *schemas = ls_schemas_new(&avro_store_new()->ops, NULL, "t");
	struct ls_decoder *decoder = ls_decoder_new(schemas);
	struct ls_encoder *encoder = ls_encoder_new(schemas);
	struct ls_buf out;
	struct ls_event back;
	struct ls_error err = { .text = "" };
	struct ls_str text = line->value.text;
	bool fine;

	ls_buf_init(&out, 1 << 20);
	fine = ls_encode(encoder, &line->event, &out, &err) == LS_OK && ls_str_equal(ls_buf_str(&out), line->bytes);
	if (!fine)
		print_error("%.*s %.*s: other bytes than fastavro's %s\n", LS_ARG(line->column.type.native),
			    LS_ARG(text), err.text);
	if (fine) {
		fine = ls_decode(decoder, line->bytes, 0, arena, &back, &err) == LS_OK &&
		       back.after.value[0].presence == LS_PRESENT && ls_str_equal(back.after.value[0].text, text);
		if (!fine)
			print_error("%.*s %.*s: came back as %s %s\n", LS_ARG(line->column.type.native), LS_ARG(text),
				    err.text[0] ? "" : back.after.value[0].text.ptr, err.text);
	}
	if (fine)
		check_type(&line->column.type, &back.after.schema->column[0].type);
	ls_buf_release(&out);
	ls_encoder_free(encoder);
	ls_decoder_free(decoder);
	ls_schemas_free(schemas);
	ls_arena_reset(arena);
	return fine;
}

static void every_value_of_the_fixture_becomes_the_bytes_of_fastavro_and_comes_back_as_the_same_text(void **unused)
{
	struct ls_arena *arena = ls_arena_new(0);
	FILE *file = fopen(LS_FIXTURES "/avro/values.tsv", "re");
	size_t room = 0, lines = 0, wrong = 0;
	char *text = NULL;
	struct line line;

	(void)unused;
	assert_non_null(file);
	while (getline(&text, &room, file) > 0)
		if (parse(text, &line)) {
			lines++;
			wrong += !check_line(arena, &line);
		}
	free(text);
	fclose(file);
	assert_int_equal(wrong, 0);
	assert_true(lines > 1000);
	ls_arena_free(arena);
}

/* refused encodes one text as one type and expects LS_POISON naming the column. */
static void refused(struct ls_type type, const char *text)
{
	struct ls_schemas *schemas = ls_schemas_new(&avro_store_new()->ops, NULL, "t");
	struct ls_encoder *encoder = ls_encoder_new(schemas);
	struct ls_column column = { LS_STR("amount"), type, false };
	struct ls_schema schema = { LS_STR("thing"), &column, 1 };
	struct ls_value value = { LS_PRESENT, ls_str_of(text) };
	struct ls_event event = { .change = LS_INSERT, .entity = LS_STR("thing"), .after = { &schema, &value } };
	struct ls_error err = { .text = "" };
	struct ls_buf out;

	ls_buf_init(&out, 1 << 20);
	if (ls_encode(encoder, &event, &out, &err) != LS_POISON)
		fail_msg("accepted: %s", text);
	assert_non_null(strstr(err.text, "amount"));
	assert_int_equal(out.len, 0);
	ls_buf_release(&out);
	ls_encoder_free(encoder);
	ls_schemas_free(schemas);
}

static void a_value_that_does_not_fit_its_type_is_poison_and_names_the_column(void **unused)
{
	static const struct {
		enum ls_kind kind;
		const char *text;
	} CASE[] = {
		{ LS_BOOL, "true" },
		{ LS_INT32, "2147483648" },
		{ LS_INT32, "" },
		{ LS_INT32, "1x" },
		{ LS_INT64, "9223372036854775808" },
		{ LS_INT64, "--1" },
		{ LS_FLOAT64, "0x10" },
		{ LS_FLOAT64, "" },
		{ LS_FLOAT64, "1e999" },
		{ LS_FLOAT32, "1e39" },
		{ LS_BYTES, "\\x0" },
		{ LS_BYTES, "00" },
		{ LS_BYTES, "\\xzz" },
		{ LS_DATE, "2026-02-29" },
		{ LS_DATE, "0000-01-01" },
		{ LS_DATE, "2026-13-01" },
		{ LS_DATE, "tomorrow" },
		{ LS_TIME, "24:00:01" },
		{ LS_TIME, "12:00" },
		{ LS_TIMESTAMP, "2026-01-01" },
		{ LS_TIMESTAMP, "2026-01-01 00:00:00+00" },
		{ LS_TIMESTAMPTZ, "2026-01-01 00:00:00" },
		{ LS_TIMESTAMPTZ, "2026-01-01 00:00:00+02" },
		{ LS_DECIMAL, "1.234" },
		{ LS_DECIMAL, "12345.00" },
		{ LS_DECIMAL, "1e5" },
		{ LS_DECIMAL, "" },
		{ LS_DECIMAL, "." },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(CASE) / sizeof(*CASE); i++)
		refused((struct ls_type){ .kind = CASE[i].kind, .precision = 6, .scale = 2 }, CASE[i].text);
	refused((struct ls_type){ .kind = LS_ARRAY, .item = LS_INT32 }, "{1,x}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			every_value_of_the_fixture_becomes_the_bytes_of_fastavro_and_comes_back_as_the_same_text),
		cmocka_unit_test(a_value_that_does_not_fit_its_type_is_poison_and_names_the_column),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
