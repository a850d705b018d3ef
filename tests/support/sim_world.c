/* The scheduler of the simulated world: lets lanes run a little each, and does to them, to Kafka and to the destination
 * what happens to real ones. When it has done enough, one lane is left to finish, and the end is judged. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { TURNS_LEAST = 60, TURNS_MORE = 160, CALM_TURNS = 20000, SETTLE_TURNS = 10, QUIET_TURNS = 20 };

void sim_wrong(struct sim *sim, const char *fmt, ...)
{
	va_list args;

	if (sim->wrong[0])
		return;
	va_start(args, fmt);
	vsnprintf(sim->wrong, sizeof sim->wrong, fmt, args);
	va_end(args);
}

void sim_note(const struct sim *sim, const char *fmt, ...)
{
	const struct sim_lane *lane = sim_self();
	va_list args;

	if (!sim->told)
		return;
	printf("%6zu %8lld ", sim->steps, (long long)sim->now_ms - 1000000);
	printf(lane ? "lane %d: " : "        ", lane ? lane->number : 0);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
}

/* ---- lanes ---- */

static void kill_lane(struct sim_lane *lane)
{
	struct sim *sim = lane->sim;

	if (lane->killed)
		return;
	lane->killed = true;
	sim_note(sim, "lane %d dies", lane->number);
	atomic_store(&lane->app.stop.set, true);
	sim_leave(lane, test_chance(&sim->seed, 30));
}

bool sim_step(struct sim_lane *lane)
{
	struct sim *sim = lane->sim;

	if (lane->killed)
		return true;
	sim->steps++;
	sim->tools->steps++;
	if (sim->kill_at ? sim->steps == sim->kill_at : lane->kill_in >= 0 && lane->kill_in-- == 0) {
		lane->kill_in = -1;
		kill_lane(lane);
		return true;
	}
	if (lane->promise && test_chance(&sim->seed, 10))
		sim_keep_promise(lane);
	if (sim->chaos && !sim->calm && test_chance(&sim->seed, 4))
		sim_fiber_yield(lane->fiber);
	return lane->killed;
}

void sim_lane_work(void *arg)
{
	struct sim_lane *lane = arg;

	lane->err = (struct ls_error){ .class = LS_OK };
	lane->end = lane->lane->base.run(&lane->lane->base, &lane->err);
	lane->running = false;
	sim_note(lane->sim, "ends with %s %s", ls_class_name(lane->end), lane->end ? lane->err.text : "");
}

static void resume(struct sim_lane *lane)
{
	sim_set_self(lane);
	sim_fiber_resume(lane->fiber);
	sim_set_self(NULL);
	if (lane->running)
		return;
	if (lane->promise)
		sim_keep_promise(lane);
	if (!lane->killed && lane->end == LS_FATAL && !lane->sim->truncated)
		sim_wrong(lane->sim, "lane %d stopped: %s", lane->number, lane->err.text);
}

static void start(struct sim_lane *lane)
{
	lane->running = true;
	sim_note(lane->sim, "lane %d starts", lane->number);
	lane->killed = lane->paused = lane->joined = lane->fenced_out = false;
	lane->late_ms = 0;
	lane->kill_in = -1;
	atomic_store(&lane->app.stop.set, false);
}

static void finish(struct sim_lane *lane)
{
	while (lane->running)
		resume(lane);
}

/* ---- what happens to them ---- */

static struct sim_lane *any_lane(struct sim *sim)
{
	return &sim->lane[test_below(&sim->seed, SIM_LANES)];
}

static void fault_of_lane(struct sim *sim)
{
	struct sim_lane *lane = any_lane(sim);

	switch (test_below(&sim->seed, 6)) {
	case 0:
		lane->kill_in = (int)test_below(&sim->seed, 80);
		break;
	case 1:
	case 2:
		lane->paused = lane->running && !lane->paused;
		sim_note(sim, "lane %d %s", lane->number, lane->paused ? "is paused" : "goes on");
		break;
	case 3: /* its session ran out */
		if (lane->joined) {
			lane->fenced_out = true;
			sim_rebalance(sim);
		}
		break;
	case 4:
		sim_rebalance(sim);
		break;
	case 5: /* SIGTERM */
		atomic_store(&lane->app.stop.set, true);
		break;
	}
}

/* compact keeps the last record of each key among those that are old enough. */
static void compact(struct sim *sim, struct sim_log *log)
{
	size_t cut = 0, kept = 0;

	while (cut < log->count && log->record[cut].time_ms + SIM_COMPACTION_LAG_MS <= sim->now_ms)
		cut++;
	for (size_t i = 0; i < log->count; i++) {
		bool last = true;

		for (size_t j = i + 1; j < cut && last; j++)
			last = !ls_str_equal(log->record[j].key, log->record[i].key);
		if (i >= cut || last)
			log->record[kept++] = log->record[i];
	}
	log->count = kept;
}

static void lose_copy(struct sim *sim)
{
	size_t host = test_below(&sim->seed, SIM_HOSTS), p = test_below(&sim->seed, SIM_PARTITIONS);
	struct sim_copy *copy = &sim->copy[host][p], *old = &sim->old_copy[host][p];

	for (size_t i = 0; i < SIM_LANES; i++)
		if (sim->lane[i].host == (int)host && sim->lane[i].running)
			return; /* files are not taken away from under a process */
	sim_note(sim, "the copy of host %zu partition %zu is lost or old", host, p);
	switch (test_below(&sim->seed, 3)) {
	case 0:
		*copy = (struct sim_copy){ 0 };
		break;
	case 1:
		*old = *copy;
		break;
	case 2:
		if (old->meta.owner_epoch <= copy->meta.owner_epoch)
			*copy = *old;
		break;
	}
}

static void back_up_or_restore(struct sim *sim)
{
	if (!sim->restores)
		return;
	if (sim->backup_count == 0 || test_chance(&sim->seed, 60)) {
		sim_note(sim, "backup");
		sim->backup[sim->backup_count++ % SIM_BACKUPS] = sim->data;
		return;
	}
	sim_note(sim, "the destination is restored");
	sim->data =
		sim->backup[test_below(&sim->seed, sim->backup_count < SIM_BACKUPS ? sim->backup_count : SIM_BACKUPS)];
}

static void land_late(struct sim *sim)
{
	struct sim_pending *pending = sim->limbo;

	if (!sim->limbo_count)
		return;
	if (pending->log)
		sim_log_append(sim, pending->log, pending->key, pending->value, -1);
	memmove(pending, pending + 1, --sim->limbo_count * sizeof *pending);
}

/* owned: somebody works on every partition, and nobody is about to lose it. */
static bool owned(const struct sim *sim)
{
	unsigned given = 0;

	for (size_t i = 0; i < SIM_LANES; i++) {
		const struct sim_lane *lane = &sim->lane[i];

		if (lane->running && !lane->paused && !lane->killed && !lane->consumer.revoke && lane->joined)
			given |= lane->consumer.given;
	}
	return given == (1u << SIM_PARTITIONS) - 1;
}

/* replace_hosts: all die at once, and what they had on disk is gone. */
static void replace_hosts(struct sim *sim)
{
	for (size_t i = 0; i < SIM_LANES; i++) {
		struct sim_lane *lane = &sim->lane[i];

		lane->paused = false;
		if (lane->running)
			kill_lane(lane);
		finish(lane);
	}
	memset(sim->copy, 0, sizeof sim->copy);
}

/* quiet lets hours pass in which nothing happens; what a paused lane has yet to send stays with it. */
static void quiet(struct sim *sim)
{
	sim->calm = true;
	for (size_t turn = 0; turn < SETTLE_TURNS + QUIET_TURNS && (turn < SETTLE_TURNS || owned(sim)); turn++) {
		if (turn >= SETTLE_TURNS && turn % 4 == 0)
			sim->now_ms += SIM_COMPACTION_LAG_MS / 5;
		for (size_t i = 0; i < SIM_LANES; i++)
			if (sim->lane[i].running && !sim->lane[i].paused)
				resume(&sim->lane[i]);
	}
	sim->calm = false;
	for (size_t p = 0; p < SIM_PARTITIONS; p++)
		compact(sim, &sim->versions[p]);
	if (test_chance(&sim->seed, 40))
		replace_hosts(sim);
}

static void happen(struct sim *sim)
{
	size_t what = test_below(&sim->seed, 100);

	if (test_below(&sim->seed, sim->mutant == SIM_LATE_UNHEALED ? 40 : 250) == 0)
		quiet(sim);
	if (what < 35 && sim->next_edit < sim->edit_count)
		sim_append_next(sim);
	else if (what < 50)
		fault_of_lane(sim);
	else if (what < 56)
		lose_copy(sim);
	else if (what < 60)
		back_up_or_restore(sim);
	else if (what < 75)
		land_late(sim);
	else if (what < 85)
		sim_deliver(any_lane(sim), 1 + test_below(&sim->seed, 4));
	else if (what < 90)
		compact(sim, &sim->versions[test_below(&sim->seed, SIM_PARTITIONS)]);
}

static void run_lane(struct sim *sim, struct sim_lane *lane)
{
	if (!lane->running && (sim->calm || test_chance(&sim->seed, 40)))
		start(lane);
	if (lane->running && !lane->paused)
		resume(lane);
}

/* ---- the end ---- */

static bool drained(const struct sim *sim)
{
	for (size_t i = 0; i < SIM_TOPICS; i++)
		if (sim->events[i].count &&
		    sim->data.mark[i].next_offset < sim->events[i].record[sim->events[i].count - 1].offset + 1)
			return false;
	return true;
}

/* calm_down lets what is under way come to its end, and one lane bring the destination there. */
static void calm_down(struct sim *sim)
{
	struct sim_lane *last = any_lane(sim);

	sim->died_never = sim->kill_at && sim->steps < sim->kill_at;
	sim->kill_at = SIZE_MAX;
	while (sim->limbo_count)
		land_late(sim);
	for (size_t i = 0; i < SIM_LANES; i++) {
		struct sim_lane *lane = &sim->lane[i];

		lane->paused = false;
		for (size_t turn = test_below(&sim->seed, 40); lane->running && turn-- > 0;)
			resume(lane);
		if (lane->running && test_chance(&sim->seed, 50))
			kill_lane(lane);
		atomic_store(&lane->app.stop.set, true);
	}
	sim->calm = true;
	for (size_t i = 0; i < SIM_LANES; i++)
		finish(&sim->lane[i]);
	while (sim->limbo_count)
		land_late(sim);
	for (size_t turn = 0; turn < CALM_TURNS && (turn < 8 || !drained(sim)) && !sim->wrong[0]; turn++)
		run_lane(sim, last);
	if (!drained(sim))
		sim_wrong(sim, "the last lane does not come to the end of the log");
	atomic_store(&last->app.stop.set, true);
	finish(last);
	if (last->end && !sim->wrong[0])
		sim_wrong(sim, "the last lane ended with %s: %s", ls_class_name(last->end), last->err.text);
}

/* ---- a history ---- */

void sim_name_logs(struct sim *sim)
{
	for (size_t p = 0; p < SIM_PARTITIONS; p++) {
		ls_topic_events(sim->events[p].topic, "sim", "thing");
		ls_topic_priority(sim->events[sim_topic(1, p)].topic, "sim", "thing");
		ls_topic_versions(sim->versions[p].topic, "sim", "thing", "simulated");
		sim->events[p].partition = sim->events[sim_topic(1, p)].partition = sim->versions[p].partition =
			(int32_t)p;
	}
	ls_topic_dlq(sim->letters.topic, "sim", "simulated");
	sim->letters.partition = -1;
}

static void empty(struct sim_log *log)
{
	log->count = 0;
	log->low = log->next = 0;
}

static void clear(struct sim *sim, uint64_t seed)
{
	sim->seed = seed;
	sim->calm = false;
	sim->now_ms = 1000000;
	sim->steps = sim->next_edit = sim->backup_count = sim->limbo_count = 0;
	sim->wrong[0] = 0;
	ls_arena_reset(sim->arena);
	for (size_t i = 0; i < SIM_TOPICS; i++)
		empty(&sim->events[i]);
	for (size_t p = 0; p < SIM_PARTITIONS; p++)
		empty(&sim->versions[p]);
	empty(&sim->letters);
	memset(&sim->data, 0, sizeof sim->data);
	memset(sim->copy, 0, sizeof sim->copy);
	memset(sim->old_copy, 0, sizeof sim->old_copy);
	for (size_t i = 0; i < SIM_TOPICS; i++)
		sim->data.mark[i] = (struct sim_mark){ -1, 0, LS_NONE, -1 };
	for (size_t key = 0; key < SIM_KEYS; key++)
		sim->data.row[key] = (struct sim_row){ false, -1, -1, -1 };
}

static void choose(struct sim *sim)
{
	sim->full = test_chance(&sim->seed, 50);
	sim->two_way = test_chance(&sim->seed, 60);
	sim->restores = test_chance(&sim->seed, 50);
	sim->tools->destination.batch_size = SIM_BATCH;
	sim_make_edits(sim);
}

bool sim_run(struct sim *sim, uint64_t seed, enum sim_mutant mutant, size_t kill_at)
{
	size_t turns;

	clear(sim, seed);
	sim->mutant = mutant;
	sim->kill_at = kill_at;
	sim->chaos = kill_at == 0;
	sim->told = getenv("LS_SIM_TRACE") != NULL;
	choose(sim);
	turns = TURNS_LEAST + test_below(&sim->seed, TURNS_MORE);
	for (size_t turn = 0; turn < turns && !sim->wrong[0]; turn++) {
		if (sim->chaos)
			happen(sim);
		else if (sim->next_edit < sim->edit_count)
			sim_append_next(sim);
		run_lane(sim, sim->chaos ? any_lane(sim) : &sim->lane[0]);
	}
	while (sim->next_edit < sim->edit_count)
		sim_append_next(sim);
	calm_down(sim);
	if (!sim->wrong[0])
		sim_judge(sim);
	return !sim->wrong[0];
}
