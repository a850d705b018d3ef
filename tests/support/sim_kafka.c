/* Kafka in memory: kafka/client.h for lanes of the simulated world. Logs have gaps and a first offset; what a producer
 * sent lands later, in part, after its sender's death, or never; the group gives partitions away without asking the one
 * that has them. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- logs ---- */

void sim_log_append(struct sim *sim, struct sim_log *log, struct ls_str key, struct ls_str value, int edit)
{
	if (log->count == log->room) {
		log->room = log->room ? log->room * 2 : 64;
		log->record = realloc(log->record, log->room * sizeof *log->record);
		if (!log->record)
			abort();
	}
	log->record[log->count++] = (struct sim_record){
		.offset = log->next,
		.time_ms = sim->now_ms,
		.key = key,
		.value = value,
		.edit = edit,
	};
	if (edit < 0 && log >= sim->versions && log < sim->versions + SIM_PARTITIONS)
		sim_note(sim, "versions/%d:%lld key %.*s", log->partition, (long long)log->next,
			 key.ptr[0] == 'k' ? 2 : 1, key.ptr[0] == 'k' ? key.ptr : "marker");
	log->next++;
}

struct sim_record *sim_log_at(const struct sim_log *log, int64_t offset)
{
	for (size_t i = 0; i < log->count; i++)
		if (log->record[i].offset == offset)
			return &log->record[i];
	return NULL;
}

static struct sim_log *log_of(struct sim *sim, struct ls_str topic, int32_t partition)
{
	struct sim_log *log = sim->events;

	for (size_t i = 0; i < SIM_TOPICS; i++)
		if (log[i].partition == partition && ls_str_equal(ls_str_of(log[i].topic), topic))
			return &log[i];
	for (size_t p = 0; p < SIM_PARTITIONS; p++)
		if ((int32_t)p == partition && ls_str_equal(ls_str_of(sim->versions[p].topic), topic))
			return &sim->versions[p];
	return ls_str_equal(ls_str_of(sim->letters.topic), topic) ? &sim->letters : NULL;
}

/* copy reads records from *position on and says how many there were. */
static size_t copy(const struct sim_log *log, int64_t *position, int64_t end, struct ls_message *out, size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < log->count && count < max && *position < end; i++) {
		const struct sim_record *record = &log->record[i];

		if (record->offset < *position || record->offset >= end)
			continue;
		out[count++] = (struct ls_message){
			.topic = ls_str_of(log->topic),
			.partition = log->partition,
			.offset = record->offset,
			.timestamp_us = record->time_ms * 1000,
			.key = record->key,
			.value = record->value,
			.has_key = true,
			.has_value = true,
		};
		*position = record->offset + 1;
	}
	return count;
}

/* ---- producer ---- */

enum ls_class ls_producer_open(const struct ls_kafka_conf *conf, ls_delivery *delivery, void *context,
			       struct ls_producer **ret, struct ls_error *err)
{
	struct sim_lane *lane = sim_self();
	struct ls_producer *producer;

	(void)conf;
	if (sim_step(lane))
		return ls_fail(err, LS_FATAL, "dead", "dead");
	producer = calloc(1, sizeof *producer);
	if (!producer)
		abort();
	producer->lane = lane;
	producer->delivery = delivery;
	producer->context = context;
	lane->producer = *ret = producer;
	return LS_OK;
}

static struct sim_pending *room_for_one(struct ls_producer *producer)
{
	if (producer->count == producer->room) {
		producer->room = producer->room ? producer->room * 2 : 32;
		producer->pending = realloc(producer->pending, producer->room * sizeof *producer->pending);
		if (!producer->pending)
			abort();
	}
	return &producer->pending[producer->count++];
}

enum ls_class ls_producer_send(struct ls_producer *producer, const char *topic, int32_t partition, struct ls_str key,
			       struct ls_str value, const struct ls_header *header, size_t header_count, void *opaque,
			       struct ls_error *err)
{
	struct sim_lane *lane = producer->lane;
	struct sim *sim = lane->sim;

	(void)header, (void)header_count;
	if (sim_step(lane))
		return ls_fail(err, LS_FATAL, "dead", "dead");
	if (!sim->calm && test_chance(&sim->seed, 1))
		return ls_fail(err, LS_RETRY, "queue", "the queue is full");
	*room_for_one(producer) = (struct sim_pending){
		.log = log_of(sim, ls_str_of(topic), partition),
		.key = ls_arena_str(sim->arena, key),
		.value = ls_arena_str(sim->arena, value),
		.opaque = opaque,
	};
	return LS_OK;
}

static void land(struct sim *sim, const struct sim_pending *pending)
{
	if (pending->log)
		sim_log_append(sim, pending->log, pending->key, pending->value, -1);
}

/* sim_deliver keeps the order within a producer; between two of them there is none. */
void sim_deliver(struct sim_lane *lane, size_t count)
{
	struct ls_producer *producer = lane->producer;

	while (producer && count-- && producer->sent < producer->count)
		land(lane->sim, &producer->pending[producer->sent++]);
}

static int64_t offset_of(const struct sim *sim, const struct sim_pending *pending)
{
	const struct sim_log *log = pending->log;

	(void)sim;
	for (size_t i = log ? log->count : 0; i-- > 0;)
		if (log->record[i].value.ptr == pending->value.ptr && log->record[i].key.ptr == pending->key.ptr)
			return log->record[i].offset;
	return -1;
}

/* tell runs the deliveries of what has landed, or, under a mutant, of what was sent. */
static int tell(struct ls_producer *producer)
{
	struct sim *sim = producer->lane->sim;
	size_t until = sim->mutant == SIM_MARKER_EARLY ? producer->count : producer->sent;
	int told = 0;

	for (; producer->told < until; told++) {
		const struct sim_pending *pending = &producer->pending[producer->told++];

		producer->delivery(producer->context, pending->opaque, LS_OK, NULL, offset_of(sim, pending));
	}
	return told;
}

int ls_producer_poll(struct ls_producer *producer, int timeout_ms)
{
	struct sim_lane *lane = producer->lane;

	if (sim_step(lane))
		return 0;
	lane->sim->now_ms += timeout_ms;
	sim_deliver(lane, lane->sim->calm ? SIZE_MAX : test_below(&lane->sim->seed, 4));
	return tell(producer);
}

size_t ls_producer_queued(const struct ls_producer *producer)
{
	return producer->count - producer->told;
}

enum ls_class ls_producer_flush(struct ls_producer *producer, int timeout_ms, struct ls_error *err)
{
	struct sim_lane *lane = producer->lane;

	if (sim_step(lane))
		return ls_fail(err, LS_RETRY, "dead", "dead");
	if (!lane->sim->calm && producer->sent < producer->count && test_chance(&lane->sim->seed, 20)) {
		lane->sim->now_ms += timeout_ms;
		return ls_fail(err, LS_RETRY, "timeout", "not everything went out");
	}
	sim_deliver(lane, SIZE_MAX);
	tell(producer);
	return LS_OK;
}

enum ls_class ls_producer_error(struct ls_producer *producer, struct ls_error *err)
{
	(void)producer, (void)err;
	return LS_OK;
}

void sim_leave(struct sim_lane *lane, bool to_limbo)
{
	struct ls_producer *producer = lane->producer;
	struct sim *sim = lane->sim;

	for (; to_limbo && producer && producer->sent < producer->count; producer->sent++)
		if (sim->limbo_count < sizeof sim->limbo / sizeof *sim->limbo)
			sim->limbo[sim->limbo_count++] = producer->pending[producer->sent];
	if (producer)
		producer->sent = producer->count;
	lane->joined = lane->fenced_out = false;
	sim_rebalance(sim);
}

struct ls_producer *ls_producer_close(struct ls_producer *producer)
{
	if (!producer)
		return NULL;
	producer->lane->producer = NULL;
	free(producer->pending);
	free(producer);
	return NULL;
}

/* ---- the group ---- */

/* sim_rebalance gives every partition to somebody. Whoever had it hears of it at his next poll, not before. */
void sim_rebalance(struct sim *sim)
{
	unsigned next[SIM_LANES] = { 0 };
	size_t members = 0, member[SIM_LANES];

	for (size_t i = 0; i < SIM_LANES; i++)
		if (sim->lane[i].joined && !sim->lane[i].fenced_out)
			member[members++] = i;
	for (unsigned p = 0; members && p < SIM_PARTITIONS; p++)
		next[member[test_below(&sim->seed, members)]] |= 1u << p;
	for (size_t i = 0; i < SIM_LANES; i++) {
		struct sim_lane *lane = &sim->lane[i];
		struct ls_consumer *consumer = &lane->consumer;

		if (!lane->joined)
			continue;
		consumer->next = next[i];
		if (consumer->count || consumer->given) {
			consumer->lost = consumer->lost || lane->fenced_out || test_chance(&sim->seed, 30);
			consumer->revoke = true;
		}
		consumer->assign = true;
	}
}

enum ls_class ls_consumer_open(const struct ls_kafka_conf *conf, const char *group, const char *instance,
			       const char *const *topic, size_t topic_count, struct ls_consumer **ret,
			       struct ls_error *err)
{
	struct sim_lane *lane = sim_self();

	(void)conf, (void)group, (void)instance, (void)topic, (void)topic_count;
	if (sim_step(lane))
		return ls_fail(err, LS_FATAL, "dead", "dead");
	lane->consumer = (struct ls_consumer){ .lane = lane };
	lane->joined = true;
	*ret = &lane->consumer;
	sim_rebalance(lane->sim);
	return LS_OK;
}

static void list_given(struct ls_consumer *consumer)
{
	struct sim *sim = consumer->lane->sim;

	consumer->count = 0;
	for (size_t log = 0; log < SIM_LOGS; log++)
		for (int32_t p = 0; p < SIM_PARTITIONS; p++) {
			if (!(consumer->given >> p & 1))
				continue;
			consumer->queue[consumer->count] =
				(struct ls_partition){ consumer->lane, &sim->events[sim_topic(log, (size_t)p)], 0 };
			consumer->assigned[consumer->count++] = (struct ls_assigned){
				.topic = sim->events[sim_topic(log, (size_t)p)].topic, .partition = p, .offset = -1
			};
		}
}

void ls_consumer_poll(struct ls_consumer *consumer, int timeout_ms, struct ls_consumer_event *ret)
{
	struct sim_lane *lane = consumer->lane;

	*ret = (struct ls_consumer_event){ .kind = LS_CONSUMER_NOTHING };
	if (sim_step(lane)) {
		ret->kind = LS_CONSUMER_ERROR;
		ls_fail(&ret->error, LS_FATAL, "dead", "dead");
		return;
	}
	lane->sim->now_ms += timeout_ms;
	if (consumer->revoke) {
		ret->kind = LS_CONSUMER_REVOKE;
		ret->lost = consumer->lost;
	} else if (lane->fenced_out) { /* joins again, as a client does by itself */
		lane->fenced_out = false;
		sim_rebalance(lane->sim);
		return;
	} else if (consumer->assign) {
		consumer->assign = false;
		consumer->given = consumer->next;
		list_given(consumer);
		ret->kind = LS_CONSUMER_ASSIGN;
	}
	ret->assigned = consumer->assigned;
	ret->count = consumer->count;
}

enum ls_class ls_consumer_assign(struct ls_consumer *consumer, struct ls_assigned *assigned, size_t count,
				 struct ls_error *err)
{
	if (sim_step(consumer->lane))
		return ls_fail(err, LS_FATAL, "dead", "dead");
	for (size_t i = 0; i < count; i++) {
		struct ls_partition *queue = &consumer->queue[i];

		queue->position = assigned[i].offset < 0 ? queue->log->low : assigned[i].offset;
		assigned[i].queue = queue;
	}
	return LS_OK;
}

void ls_consumer_revoke(struct ls_consumer *consumer)
{
	consumer->count = 0;
	consumer->given = 0;
	consumer->revoke = consumer->lost = false;
}

size_t ls_partition_fetch(struct ls_partition *partition, int timeout_ms, struct ls_message *out, size_t max)
{
	struct sim *sim = partition->lane->sim;
	const struct sim_log *log = partition->log;

	if (sim_step(partition->lane))
		return 0;
	sim->now_ms += timeout_ms;
	if (partition->position < log->low || partition->position > log->next) {
		*out = (struct ls_message){ .topic = ls_str_of(log->topic),
					    .partition = log->partition,
					    .offset = partition->position,
					    .class = LS_FATAL,
					    .problem = "the topic does not hold this offset" };
		return 1;
	}
	return copy(log, &partition->position, log->next, out, 1 + test_below(&sim->seed, max));
}

void ls_consumer_wait(struct ls_consumer *consumer, int timeout_ms)
{
	if (sim_step(consumer->lane))
		return;
	consumer->lane->sim->now_ms += 100 + timeout_ms;
	sim_fiber_yield(consumer->lane->fiber);
}

void ls_consumer_commit(struct ls_consumer *consumer, const char *topic, int32_t partition, int64_t next_offset)
{
	(void)topic, (void)partition, (void)next_offset;
	sim_step(consumer->lane);
}

int64_t ls_consumer_lag(struct ls_consumer *consumer, const char *topic, int32_t partition, int64_t next_offset)
{
	(void)consumer, (void)topic, (void)partition, (void)next_offset;
	return -1;
}

bool ls_consumer_lost(struct ls_consumer *consumer)
{
	return consumer->revoke && consumer->lost;
}

struct ls_consumer *ls_consumer_close(struct ls_consumer *consumer)
{
	if (consumer && consumer->lane->joined) {
		consumer->lane->joined = false;
		sim_rebalance(consumer->lane->sim);
	}
	return NULL;
}

/* ---- reader ---- */

struct ls_reader {
	struct sim_lane *lane;
	const struct sim_log *log;
	int64_t position, end;
};

enum ls_class ls_reader_open(const struct ls_kafka_conf *conf, const char *topic, int32_t partition, int64_t from,
			     struct ls_reader **ret, struct ls_error *err)
{
	struct sim_lane *lane = sim_self();
	struct ls_reader *reader;

	(void)conf;
	if (sim_step(lane))
		return ls_fail(err, LS_FATAL, "dead", "dead");
	reader = calloc(1, sizeof *reader);
	if (!reader)
		abort();
	reader->lane = lane;
	reader->log = log_of(lane->sim, ls_str_of(topic), partition);
	reader->end = reader->log->next;
	reader->position = from < reader->log->low || from > reader->end ? reader->log->low : from;
	*ret = reader;
	return LS_OK;
}

enum ls_class ls_reader_next(struct ls_reader *reader, int timeout_ms, struct ls_message *out, size_t max,
			     size_t *ret_count, bool *ret_end, struct ls_error *err)
{
	struct sim *sim = reader->lane->sim;

	(void)timeout_ms;
	if (sim_step(reader->lane))
		return ls_fail(err, LS_FATAL, "dead", "dead");
	*ret_count = copy(reader->log, &reader->position, reader->end, out, 1 + test_below(&sim->seed, max));
	*ret_end = *ret_count == 0;
	return LS_OK;
}

enum ls_class ls_reader_extend(struct ls_reader *reader, struct ls_error *err)
{
	(void)err;
	reader->end = reader->log->next;
	return LS_OK;
}

struct ls_reader *ls_reader_close(struct ls_reader *reader)
{
	free(reader);
	return NULL;
}
