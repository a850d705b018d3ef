/* Records of the schemas topic, as many as the input has: key, header "subject" and value, each behind its length.
 * What is looked up afterwards is what was kept, and a new schema is held against it. */
#include "../../shared/kafka/schema_topic.c"

enum { RECORDS_MAX = 64 };

struct input {
	const uint8_t *at, *end;
};

/* One byte for keys and subjects, two for values; what is missing is empty. */
static struct ls_str next(struct input *input, size_t digits)
{
	size_t len = 0, left;
	struct ls_str text;

	for (; digits > 0 && input->at < input->end; digits--)
		len = len << 8 | *input->at++;
	left = (size_t)(input->end - input->at);
	text = (struct ls_str){ (const char *)input->at, len < left ? len : left };
	input->at += text.len;
	return text;
}

static void take_records(struct store *store, struct input *input)
{
	for (int64_t offset = 0; offset < RECORDS_MAX && input->at < input->end; offset++) {
		uint8_t kind = *input->at++;
		struct ls_header header = { LS_STR("subject"), next(input, 1) };
		struct ls_message message = { .offset = offset,
					      .key = next(input, 1),
					      .value = next(input, 2),
					      .has_key = true,
					      .has_value = !(kind & 1),
					      .class = kind & 2 ? LS_RETRY : LS_OK,
					      .header = &header,
					      .header_count = 1 };

		take(store, &message);
	}
}

static void hold(struct store *store, const struct entry *entry)
{
	const struct entry *latest = latest_of(store, ls_str_of(entry->subject));
	struct ls_error err;
	uint64_t fingerprint;

	if (!latest || find_entry(store, entry->fingerprint) != entry)
		abort();
	(void)ls_avro_fingerprint(ls_str_of(entry->json), &fingerprint, &err);
	(void)held_against(store, latest, ls_str_of(entry->subject), ls_str_of(entry->json), &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store store = { .topic = (char[]){ "f.schemas" } };
	struct input input = { data, data + size };

	take_records(&store, &input);
	for (size_t i = 0; i < store.count; i++)
		hold(&store, &store.entry[i]);
	for (size_t i = 0; i < store.count; i++)
		free_entry(&store.entry[i]);
	free(store.entry);
	return 0;
}
