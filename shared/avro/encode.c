/* Change events to framed Avro bytes: one avro-c value per row schema, kept and filled again for every event. */
#include "avro/avro_text.h"
#include "avro/avsc.h"
#include "avro/codec.h"
#include "avro/encode_value.h"

#include "core/arena.h"
#include "core/buf.h"

#include <stdlib.h>

enum { FORMS_MAX = 64, SCHEMA_ROOM = 4 << 20 };

/* The fields of change_event.avsc, in its order. */
enum field {
	EVENT_ID,
	SOURCE,
	ENTITY_TYPE,
	ENTITY_ID,
	CHANGE_TYPE,
	TIMESTAMP,
	VERSION,
	BASE_VERSION,
	BASE_OFFSET,
	BEFORE,
	AFTER,
	ABSENT,
	METADATA,
	FIELDS,
};

/* What one ls_schema looks like in Avro. */
struct form {
	const struct ls_schema *schema;
	uint64_t look; /* of the schema, in case another came to stand at its address */
	avro_schema_t avro;
	avro_value_iface_t *class;
	avro_value_t value;
	avro_value_t field[FIELDS]; /* borrowed from value: records keep their fields in place */
	uint8_t frame[10];
	size_t frame_len;
	uint64_t used; /* when last, for eviction */
	char *refused; /* why events of this schema are not taken; NULL: they are */
};

struct ls_encoder {
	struct ls_schemas *schemas;
	struct ls_arena *scratch;
	avro_writer_t writer;
	struct form form[FORMS_MAX];
	size_t count;
	uint64_t clock;
	bool strict;
	size_t guess; /* bytes to reserve: what the largest event so far took */
};

struct ls_encoder *ls_encoder_new(struct ls_schemas *schemas)
{
	struct ls_encoder *encoder = calloc(1, sizeof(*encoder));

	if (!encoder)
		abort();
	encoder->schemas = schemas;
	encoder->scratch = ls_arena_new(0);
	encoder->writer = avro_writer_memory("", 0);
	encoder->guess = 1024;
	return encoder;
}

void ls_encoder_strict(struct ls_encoder *encoder)
{
	encoder->strict = true;
}

static void form_release(struct form *form)
{
	free(form->refused);
	if (form->value.iface)
		avro_value_decref(&form->value);
	if (form->class)
		avro_value_iface_decref(form->class);
	if (form->avro)
		avro_schema_decref(form->avro);
	*form = (struct form){ .schema = NULL };
}

struct ls_encoder *ls_encoder_free(struct ls_encoder *encoder)
{
	if (!encoder)
		return NULL;
	for (size_t i = 0; i < encoder->count; i++)
		form_release(&encoder->form[i]);
	avro_writer_free(encoder->writer);
	ls_arena_free(encoder->scratch);
	free(encoder);
	return NULL;
}

static enum ls_class from_avro(struct ls_error *err, enum ls_class class, const char *what, struct ls_str entity)
{
	char text[160];

	ls_avro_text(text);
	return ls_fail(err, class, "AVRO", "%s for entity \"%.*s\": %s", what, LS_ARG(entity), text);
}

/* Confluent: 00 and a big-endian id of 4 bytes. Single-object encoding: C3 01 and the fingerprint, little-endian. */
static void make_frame(struct form *form, bool by_id, uint64_t id)
{
	size_t len = 0;

	if (by_id) {
		form->frame[len++] = 0;
		for (int shift = 24; shift >= 0; shift -= 8)
			form->frame[len++] = (uint8_t)(id >> shift);
	} else {
		form->frame[len++] = 0xc3;
		form->frame[len++] = 0x01;
		for (int shift = 0; shift < 64; shift += 8)
			form->frame[len++] = (uint8_t)(id >> shift);
	}
	form->frame_len = len;
}

static enum ls_class form_build(struct form *form, const struct ls_schema *schema, struct ls_str json,
				struct ls_error *err)
{
	if (avro_schema_from_json_length(json.ptr, json.len, &form->avro))
		return from_avro(err, LS_FATAL, "the Avro schema could not be made", schema->entity);
	form->class = avro_generic_class_from_schema(form->avro);
	if (!form->class || avro_generic_value_new(form->class, &form->value))
		return from_avro(err, LS_FATAL, "the Avro value could not be made", schema->entity);
	for (size_t i = 0; i < FIELDS; i++)
		if (avro_value_get_by_index(&form->value, i, &form->field[i], NULL))
			return from_avro(err, LS_FATAL, "the Avro value has too few fields", schema->entity);
	form->schema = schema;
	return LS_OK;
}

static enum ls_class form_new(struct ls_encoder *encoder, struct form *form, const struct ls_schema *schema,
			      struct ls_error *err)
{
	struct ls_buf json;
	bool by_id = false;
	uint64_t id = 0;
	enum ls_class class = LS_OK;

	ls_buf_init(&json, SCHEMA_ROOM);
	ls_schema_avro(schema, &json);
	if (json.full)
		class = ls_fail(err, LS_FATAL, "SCHEMA", "the Avro schema of entity \"%.*s\" is larger than %d bytes",
				LS_ARG(schema->entity), SCHEMA_ROOM);
	else if (encoder->strict)
		class = ls_schemas_settled(encoder->schemas, schema->entity, ls_buf_str(&json), err);
	if (!class)
		class = ls_schemas_publish(encoder->schemas, schema->entity, ls_buf_str(&json), &by_id, &id, err);
	if (!class)
		class = form_build(form, schema, ls_buf_str(&json), err);
	ls_buf_release(&json);
	if (class)
		form_release(form);
	else
		make_frame(form, by_id, id);
	return class;
}

/* look sums up what a schema looks like: not its every letter, but what a changed table changes. */
static uint64_t look(const struct ls_schema *schema)
{
	uint64_t sum = schema->count * 31 + schema->entity.len;

	for (size_t i = 0; i < schema->count; i++) {
		const struct ls_column *column = &schema->column[i];

		sum = sum * 31 + column->name.len + (column->name.len ? (uint8_t)column->name.ptr[0] : 0);
		sum = sum * 31 + column->type.native.len * 64 + (uint64_t)column->type.kind * 2 + column->key;
		sum = sum * 31 + (uint64_t)(column->type.precision * 64 + column->type.scale);
	}
	return sum;
}

/* form_of finds the form of a row schema, or makes it in place of the one not used for longest. */
static enum ls_class form_of(struct ls_encoder *encoder, const struct ls_schema *schema, struct form **ret,
			     struct ls_error *err)
{
	struct form *oldest = &encoder->form[0];
	uint64_t sum = look(schema);
	enum ls_class class;

	encoder->clock++;
	for (size_t i = 0; i < encoder->count; i++) {
		struct form *form = &encoder->form[i];

		if (form->schema == schema && form->look == sum) {
			form->used = encoder->clock;
			*ret = form;
			return form->refused ? ls_fail(err, LS_POISON, "schema_change", "%s", form->refused) : LS_OK;
		}
		if (form->used < oldest->used)
			oldest = form;
	}
	if (encoder->count < FORMS_MAX)
		oldest = &encoder->form[encoder->count++];
	form_release(oldest);
	class = form_new(encoder, oldest, schema, err);
	if (class == LS_POISON && strcmp(err->code, "schema_change") == 0) {
		oldest->schema = schema;
		oldest->refused = strdup(err->text); /* asked once, not for every event */
	}
	if (class && !oldest->refused)
		return class;
	oldest->look = sum;
	oldest->used = encoder->clock;
	*ret = oldest;
	return class;
}

/* row_value of column i of the form's schema; rows of another schema are matched by name. */
static const struct ls_value *row_value(const struct form *form, const struct ls_row *row, size_t i)
{
	if (row->schema == form->schema)
		return &row->value[i];
	i = ls_schema_find(row->schema, form->schema->column[i].name);
	return i < row->schema->count ? &row->value[i] : NULL;
}

static enum ls_class set_row(struct ls_encoder *encoder, const struct form *form, enum field where,
			     const struct ls_row *row, struct ls_error *err)
{
	avro_value_t field = form->field[where], record, column, none;

	if (avro_value_set_branch(&field, row->schema != NULL, &record))
		return from_avro(err, LS_FATAL, "a row could not be encoded", form->schema->entity);
	for (size_t i = 0; row->schema && i < form->schema->count; i++) {
		const struct ls_value *value = row_value(form, row, i);
		enum ls_class class;

		if (avro_value_get_by_index(&record, i, &column, NULL))
			return from_avro(err, LS_FATAL, "a row could not be encoded", form->schema->entity);
		if (value && value->presence == LS_PRESENT) {
			class = ls_avro_set(&column, &form->schema->column[i], value->text, encoder->scratch, err);
			if (class)
				return class;
		} else if (avro_value_set_branch(&column, 0, &none)) {
			return from_avro(err, LS_FATAL, "a row could not be encoded", form->schema->entity);
		}
	}
	return LS_OK;
}

/* set_absent lists the columns that the source did not send: of the row that counts, `before` when it is a delete. */
static int set_absent(const struct form *form, const struct ls_row *row)
{
	avro_value_t list = form->field[ABSENT], item;
	int failed = avro_value_reset(&list);

	for (size_t i = 0; row->schema && !failed && i < form->schema->count; i++) {
		const struct ls_value *value = row_value(form, row, i);

		if (value && value->presence != LS_ABSENT)
			continue;
		failed = avro_value_append(&list, &item, NULL) ||
			 ls_avro_lend_string(&item, form->schema->column[i].name);
	}
	return failed;
}

static int set_metadata(struct ls_encoder *encoder, const struct form *form, const struct ls_event *event)
{
	avro_value_t map = form->field[METADATA], item;
	int failed = avro_value_reset(&map);

	for (size_t i = 0; !failed && i < event->metadata_count; i++)
		failed = avro_value_add(&map, ls_arena_str(encoder->scratch, event->metadata[i].name).ptr, &item, NULL,
					NULL) ||
			 ls_avro_lend_string(&item, event->metadata[i].value);
	return failed;
}

static int set_optional(const struct form *form, enum field where, int64_t number)
{
	avro_value_t field = form->field[where], child;

	if (avro_value_set_branch(&field, number != LS_NONE, &child))
		return -1;
	return number == LS_NONE ? 0 : avro_value_set_long(&child, number);
}

static int set_head(const struct form *form, const struct ls_event *event)
{
	const struct ls_str text[] = { event->event_id, event->source, event->entity, event->entity_id };
	avro_value_t field;

	for (size_t i = 0; i < 4; i++) {
		field = form->field[EVENT_ID + i];
		if (ls_avro_lend_string(&field, text[i]))
			return -1;
	}
	field = form->field[CHANGE_TYPE];
	if (avro_value_set_enum(&field, (int)event->change))
		return -1;
	field = form->field[TIMESTAMP];
	if (avro_value_set_long(&field, event->timestamp_us))
		return -1;
	return set_optional(form, VERSION, event->version) || set_optional(form, BASE_VERSION, event->base_version) ||
	       set_optional(form, BASE_OFFSET, event->base_offset);
}

static enum ls_class fill(struct ls_encoder *encoder, const struct form *form, const struct ls_event *event,
			  struct ls_error *err)
{
	const struct ls_row none = { NULL, NULL };
	const struct ls_row *after = event->change == LS_DELETE ? &none : &event->after;
	enum ls_class class = set_row(encoder, form, BEFORE, &event->before, err);

	if (!class)
		class = set_row(encoder, form, AFTER, after, err);
	if (class)
		return class;
	if (set_head(form, event) || set_absent(form, event->change == LS_DELETE ? &event->before : after) ||
	    set_metadata(encoder, form, event))
		return from_avro(err, LS_FATAL, "an event could not be encoded", event->entity);
	return LS_OK;
}

static enum ls_class write_out(struct ls_encoder *encoder, struct form *form, struct ls_buf *out, struct ls_error *err)
{
	size_t most = out->max - out->len;

	for (size_t want = encoder->guess;; want *= 2) {
		size_t space = want < most ? want : most;
		char *at = ls_buf_reserve(out, space);

		if (at && space > form->frame_len) {
			memcpy(at, form->frame, form->frame_len);
			avro_writer_memory_set_dest(encoder->writer, at + form->frame_len,
						    (int64_t)(space - form->frame_len));
			if (!avro_value_write(encoder->writer, &form->value)) {
				encoder->guess = want;
				out->len += form->frame_len + (size_t)avro_writer_tell(encoder->writer);
				out->ptr[out->len] = 0;
				return LS_OK;
			}
		}
		if (!at || space == most)
			return ls_fail(err, LS_POISON, "TOO_LARGE", "an event is larger than the %zu bytes allowed",
				       most);
	}
}

enum ls_class ls_encode(struct ls_encoder *encoder, const struct ls_event *event, struct ls_buf *out,
			struct ls_error *err)
{
	const struct ls_schema *schema =
		event->change != LS_DELETE && event->after.schema ? event->after.schema : event->before.schema;
	struct form *form;
	enum ls_class class;

	if (!schema || (event->change != LS_DELETE && !event->after.schema))
		return ls_fail(err, LS_POISON, "NO_ROW", "%s of \"%.*s\" %.*s has no row",
			       ls_change_name(event->change), LS_ARG(event->entity), LS_ARG(event->entity_id));
	class = form_of(encoder, schema, &form, err);
	if (class)
		return class;
	ls_arena_reset(encoder->scratch);
	class = fill(encoder, form, event, err);
	if (!class)
		class = write_out(encoder, form, out, err);
	if (class == LS_POISON)
		return ls_fail_in(err, "event %.*s of \"%.*s\" %.*s", LS_ARG(event->event_id), LS_ARG(event->entity),
				  LS_ARG(event->entity_id));
	return class;
}
