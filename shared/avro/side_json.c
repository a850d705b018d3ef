/* One side of a conflict as JSON: the event whole, or what is known of it where its topic no longer has it. */
#include "avro/codec.h"
#include "core/buf.h"
#include "core/json.h"

#include "lockstep/destination.h"

void ls_side_json(const struct ls_side *side, bool payload, struct ls_buf *out)
{
	if (side->event && payload) {
		ls_event_json(side->event, out);
		return;
	}
	ls_buf_add_text(out, "{\"event_id\":");
	ls_json_quote(out, side->event_id);
	ls_buf_add_text(out, ",\"source\":");
	ls_json_quote(out, side->stamp.source);
	ls_buf_printf(out, ",\"timestamp\":%lld,\"version\":%lld,\"after\":null,\"left_out\":\"%s\"}",
		      (long long)side->stamp.timestamp_us, (long long)side->stamp.version,
		      side->event ? "too large" : "no longer in its topic");
}
