/* Is the topic still the one that the mark is about? A topic that was deleted and made again has offsets of its own,
 * and one that has grown past the mark meanwhile would be read from there, with everything before it never seen. */
#include "core/map.h"
#include "lane.h"

/* An event id of plain ASCII stands in the ledger as it is in the event; of others nothing is concluded. */
static bool is_plain(struct ls_str id)
{
	for (size_t i = 0; i < id.len; i++)
		if (id.ptr[i] < ' ' || id.ptr[i] > '~')
			return false;
	return id.len > 0;
}

enum ls_class ls_sink_same_log(const struct ls_sink_lane *lane, const struct ls_part *part,
			       const struct ls_message *message, const struct ls_item *item, struct ls_error *err)
{
	const struct ls_mark *mark = &part->mark;

	if (message->offset != mark->next_offset - 1 || !mark->last_event || !is_plain(item->event.event_id))
		return LS_OK;
	/* Another event, and younger than the mark: one that is older is there because somebody moved the mark. */
	if (ls_hash(item->event.event_id) == mark->last_event || message->timestamp_us <= mark->moved_us)
		return LS_OK;
	return ls_fail(
		err, LS_FATAL, "topic",
		"destination %s, topic %.*s partition %d: at offset %lld there is event \"%.*s\", younger than "
		"the mark and not the one that was applied from there: the topic was deleted and made again, and "
		"what is in it now below offset %lld would never be applied. To apply all that is in it, stop the "
		"sinks and delete the rows of this topic from sync_offsets; to go on behind it, set their "
		"last_event_id to NULL",
		lane->config->name, LS_ARG(mark->topic), (int)mark->partition, (long long)message->offset,
		LS_ARG(item->event.event_id), (long long)mark->next_offset);
}
