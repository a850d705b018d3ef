/* Dead letters: the original bytes, key and headers, with the reason beside them. A dead letter is acknowledged before
 * the mark passes its event, so nothing is skipped silently. */
#include "core/arena.h"
#include "core/failpoint.h"
#include "core/mutant.h"
#include "core/json.h"
#include "lane.h"
#include "main/app.h"

#include <stdio.h>

enum { OWN_HEADERS = 9 };

void ls_item_kill(struct ls_sink_lane *lane, struct ls_item *item, const struct ls_error *why)
{
	struct ls_str reason = ls_arena_str(lane->arena, ls_str_of(why->text));

	item->fate = LS_FATE_DEAD;
	item->reason = reason.ptr;
	snprintf(item->code, sizeof item->code, "%s", why->code);
}

static struct ls_header header(struct ls_sink_lane *lane, const char *name, const char *fmt, long long number)
{
	return (struct ls_header){ ls_str_of(name), ls_arena_printf(lane->arena, fmt, number) };
}

/* copy_headers keeps the message's own headers, all of them, but not what an earlier round as a dead letter put there;
 * it leaves room for ours. */
static struct ls_header *copy_headers(struct ls_sink_lane *lane, const struct ls_message *message, size_t *ret_count)
{
	size_t count = ls_message_headers(message, NULL, 0), kept = 0;
	struct ls_header *all = ls_arena_alloc(lane->arena, (count + OWN_HEADERS) * sizeof *all);

	ls_message_headers(message, all, count);
	for (size_t i = 0; i < count; i++)
		if (all[i].name.len < 9 || memcmp(all[i].name.ptr, "lockstep.", 9) != 0 ||
		    ls_str_equal(all[i].name, LS_STR("lockstep.retries")))
			all[kept++] = all[i];
	*ret_count = kept;
	return all;
}

static enum ls_class send_one(struct ls_sink_lane *lane, const struct ls_message *message, const struct ls_item *item,
			      struct ls_error *err)
{
	size_t count = 0;
	struct ls_header *headers = copy_headers(lane, message, &count);
	char key[LS_TOPIC_NAME + 48];
	int key_len = snprintf(key, sizeof key, "%.*s-%d-%lld", LS_ARG(message->topic), message->partition,
			       (long long)message->offset);
	struct ls_str value = message->has_value ? message->value : (struct ls_str){ "", 0 };

	headers[count++] = (struct ls_header){ LS_STR("lockstep.reason"), ls_str_of(item->reason) };
	headers[count++] = (struct ls_header){ LS_STR("lockstep.code"), ls_str_of(item->code) };
	headers[count++] = (struct ls_header){ LS_STR("lockstep.destination"), ls_str_of(lane->config->name) };
	headers[count++] = (struct ls_header){ LS_STR("lockstep.topic"), message->topic };
	headers[count++] = header(lane, "lockstep.partition", "%lld", message->partition);
	headers[count++] = header(lane, "lockstep.offset", "%lld", (long long)message->offset);
	headers[count++] = header(lane, "lockstep.time", "%lld", (long long)ls_now_us());
	if (message->has_key)
		headers[count++] = (struct ls_header){ LS_STR("lockstep.key"), message->key };
	if (!message->has_value)
		headers[count++] = (struct ls_header){ LS_STR("lockstep.null"), LS_STR("true") };
	return ls_sink_send(lane, lane->dlq, -1, (struct ls_str){ key, (size_t)key_len }, value, headers, count,
			    &lane->dead, err);
}

static void log_dead(struct ls_sink_lane *lane, const struct ls_message *message, const struct ls_item *item)
{
	char topic[LS_TOPIC_NAME];

	snprintf(topic, sizeof topic, "%.*s", LS_ARG(message->topic));
	LS_LOG(lane->base.app->log, LS_LOG_WARN, lane->base.name, "dead letter", LS_F("class", "poison"),
	       LS_F("code", item->code), LS_F("topic", topic), LS_N("partition", message->partition),
	       LS_N("offset", message->offset), LS_F("reason", item->reason),
	       LS_F("next", "the event is in the dead letter topic, others go on; see `lockstep dlq list`"));
}

enum ls_class ls_sink_bury(struct ls_sink_lane *lane, const struct ls_message *message, struct ls_item *items,
			   size_t count, struct ls_error *err)
{
	enum ls_class class = LS_OK;
	bool any = false;

	for (size_t i = 0; !class && i < count; i++) {
		if (items[i].fate != LS_FATE_DEAD || items[i].dead_sent)
			continue;
		LS_FAILPOINT_ERROR("sink.dead_send", err);
		class = send_one(lane, &message[i], &items[i], err);
		if (!class)
			log_dead(lane, &message[i], &items[i]);
		any = true;
	}
	if (class || !any)
		return class;
	LS_FAILPOINT_ERROR("sink.dead_sent", err);
	if (!LS_MUTANT("letter.unacked"))
		class = ls_sink_settle(lane, &lane->dead, err);
	for (size_t i = 0; !class && i < count; i++)
		if (items[i].fate == LS_FATE_DEAD)
			items[i].dead_sent = true;
	if (!class)
		LS_FAILPOINT_ERROR("sink.dead_acked", err);
	return class;
}
