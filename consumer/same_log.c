/* Is the topic still the one that the mark is about? A topic that was deleted and made again has offsets of its own,
 * and one that has grown past the mark meanwhile would be read from there, with everything before it never seen. */
#include "core/map.h"
#include "lane.h"

enum { ID_SHOWN = 80 };

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
	struct ls_str id = item->event.event_id;

	if (message->offset != mark->next_offset - 1 || !mark->last_event || !is_plain(id))
		return LS_OK;
	/* Another event, and younger than the mark: one that is older is there because somebody moved the mark. */
	if (ls_hash(id) == mark->last_event || message->timestamp_us <= mark->moved_us)
		return LS_OK;
	return ls_fail(err, LS_FATAL, "topic",
		       "destination %s, topic %.*s partition %d: at offset %lld there is event \"%.*s\", younger than "
		       "the mark and not the one applied from there: the topic was made again, and what is in it below "
		       "offset %lld would never be applied. To apply all of it, stop the sinks and delete the rows of "
		       "this topic from sync_offsets; to go on behind it, set their last_event_id to NULL",
		       lane->config->name, LS_ARG(mark->topic), (int)mark->partition, (long long)message->offset,
		       id.len < ID_SHOWN ? (int)id.len : ID_SHOWN, id.ptr, (long long)mark->next_offset);
}
